"""Closing a pool whose connections are still being opened: at every moment of it, `close` comes to an end."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import pgproto
import pgproto_asyncio
from pgproto_pytest.process import listening_socket
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("steps", range(8))
def test_close_ends_while_connections_are_being_opened(pg18: PostgresServer, steps: int) -> None:
    async def main() -> None:
        pool = pgproto_asyncio.Pool(pg18.dsn(), min_size=3)
        await pool.open()
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await pool.close()
        stats = pool.stats()
        assert (stats.size, stats.opening, stats.closing) == (0, 0, 0)
        with pytest.raises(pgproto.PoolClosed):
            await pool.fetchval("select 1")

    asyncio.run(main())


def test_an_on_release_that_raises_is_reported_and_closes_the_connection(pg18: PostgresServer) -> None:
    reports: list[dict[str, Any]] = []

    def on_release(conn: pgproto_asyncio.Connection) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        async with pgproto_asyncio.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            first = await pool.fetchval("select pg_backend_pid()")
            assert await pool.fetchval("select pg_backend_pid()") != first
        gc.collect()

    asyncio.run(main())
    assert [report["message"] for report in reports] == ["on_release raised"] * 2


def test_close_ends_while_a_server_does_not_answer() -> None:
    async def main(port: int) -> None:
        pool = pgproto_asyncio.Pool(f"postgresql://app@127.0.0.1:{port}/app", min_size=2)
        await pool.open(wait=False)
        waiting = asyncio.ensure_future(pool.fetchval("select 1"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (pool.stats().waiting, pool.stats().opening) == (1, 2)
        async with asyncio.timeout(5):
            await pool.close()
        with pytest.raises(pgproto.PoolClosed):
            await waiting

    with listening_socket() as listener:
        asyncio.run(main(listener.getsockname()[1]))
