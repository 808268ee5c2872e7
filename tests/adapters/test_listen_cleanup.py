"""An error of UNLISTEN at the end of `listen` does not hide the error that ended the block."""

from __future__ import annotations

import asyncio

import pytest
import trio

import pgproto
import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from tests.support.postgres import PostgresServer


def test_asyncio(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with pgproto_asyncio.connect(pg18.dsn()) as conn, conn.transaction(), conn.listen("c"):
            await conn.fetch("select 1/0")

    with pytest.raises(pgproto.PostgresError) as caught:
        asyncio.run(main())
    assert caught.value.sqlstate == "22012"


def test_asyncio_cancelled_while_the_connection_is_lost(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with pgproto_asyncio.connect(pg18.dsn()) as conn, pgproto_asyncio.connect(pg18.dsn()) as other:

            async def listen() -> None:
                async with conn.listen("c"):
                    inside.set()
                    await asyncio.Event().wait()

            inside = asyncio.Event()
            task = asyncio.create_task(listen())
            await inside.wait()
            # UNLISTEN waits behind this one, which ends the session.
            last = asyncio.create_task(conn.execute("select pg_sleep(60)"))
            while not await other.fetch(
                "select 1 from pg_stat_activity where query ~ '^select pg_sleep' and pid = $1", conn.pid
            ):
                pass
            task.cancel()
            await asyncio.sleep(0)
            await other.execute("select pg_terminate_backend($1)", conn.pid)
            assert isinstance((await asyncio.gather(last, return_exceptions=True))[0], pgproto.ConnectionLost)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_trio(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with pgproto_trio.connect(pg18.dsn()) as conn, conn.transaction(), conn.listen("c"):
            await conn.fetch("select 1/0")

    with pytest.raises(pgproto.PostgresError) as caught:
        trio.run(main)
    assert caught.value.sqlstate == "22012"


def test_blocking(pg18: PostgresServer) -> None:
    with (
        pytest.raises(pgproto.PostgresError) as caught,
        pgproto_blocking.connect(pg18.dsn()) as conn,
        conn.transaction(),
        conn.listen("c"),
    ):
        conn.fetch("select 1/0")
    assert caught.value.sqlstate == "22012"
