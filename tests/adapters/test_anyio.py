"""pgproto_anyio in a program that anyio has not started: callbacks of asyncio's loop have no task there."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import pgproto_anyio as pg
from tests.support.postgres import PostgresServer

MANY = "select generate_series(1, 200000)"


async def whole(pool: Any) -> None:
    """Its one connection is there again."""
    assert await pool.fetchval("select 1") == 1
    assert pool.stats().used == 0


def drop(garbage: list[Any]) -> None:
    garbage.clear()
    gc.collect()


def test_an_iterator_that_is_dropped(pg18: PostgresServer) -> None:
    async def first(pool: Any) -> bytes:
        async for chunk in pool.copy_out(f"copy ({MANY}) to stdout"):
            return bytes(chunk)
        raise AssertionError("nothing came")

    async def main() -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, acquire_timeout=5) as pool:
            assert await first(pool)
            await whole(pool)

    asyncio.run(main())


def test_a_stream_that_is_dropped(pg18: PostgresServer) -> None:
    async def first(conn: Any) -> int:
        async for row in conn.stream(MANY):
            return int(row[0])
        raise AssertionError("nothing came")

    async def main() -> None:
        async with pg.connect(pg18.dsn()) as conn:
            assert await first(conn) == 1
            assert await conn.fetchval("select 2", timeout=5) == 2

    asyncio.run(main())


def test_a_lease_that_is_dropped(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, acquire_timeout=5) as pool:
            conn = await pool.acquire()
            assert await conn.fetchval("select 1") == 1
            garbage = [conn]
            del conn
            with pytest.warns(ResourceWarning):
                drop(garbage)
            await whole(pool)

    asyncio.run(main())
