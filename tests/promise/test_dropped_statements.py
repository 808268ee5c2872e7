"""A prepared statement that is dropped is closed at the server with what is sent next."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
import trio

from pgproto import Batch, Error
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer

LEFT = "select statement from pg_prepared_statements where statement like '%mark%' and from_sql = false"


async def left(conn: Any) -> int:
    """How many of the prepared statements the server has, besides the question itself."""
    return len([row for row in await conn.fetch(LEFT) if "pg_prepared" not in row[0]])


def test_it_is_closed(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), statement_cache_size=0) as conn:
            for _ in range(20):
                statement = await conn.prepare("select $1::int4 as mark")
                assert await statement.fetchval(1) == 1
            assert await left(conn) == 1
            assert await statement.fetchval(2) == 2
            del statement
            gc.collect()
            assert await left(conn) == 0
            assert not conn.dirty

    driver.run(scenario)


def test_not_while_something_is_to_be_run_with_it(driver: Driver, pg18: PostgresServer, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), statement_cache_size=0) as conn:
            rows = conn.stream(await conn.prepare("select generate_series(1, 9) as mark"))
            batch = Batch()
            item = batch.queue(await conn.prepare("select $1::int4 as mark"), 4)
            gc.collect()
            assert await left(conn) == 2
            await conn.send_batch(batch)
            assert [row[0] for row in item.rows] == [4]
            assert len([row async for row in rows]) == 9
            assert await conn.fetchval(await conn.prepare("select 1 as mark")) == 1
            insert = await conn.prepare(f"insert into {owned.name} values ($1)")
            assert await conn.executemany(insert, [(number,) for number in range(5)]) == 5
            del rows, batch, item, insert
            gc.collect()
            assert await left(conn) == 0

    driver.run(scenario)


def test_in_a_pool_it_keeps_nothing_dirty(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, reset="never", statement_cache_size=0) as pool:
            async with pool.acquire() as conn:
                await conn.prepare("select 1 as mark")
            del conn
            gc.collect()
            async with pool.acquire() as conn:
                assert await left(conn) == 0

    driver.run(scenario)


@only("blocking")
def test_in_another_thread(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), statement_cache_size=0) as conn:
            held = [await conn.prepare("select 1 as mark") for _ in range(50)]
            thread = threading.Thread(target=held.clear)
            thread.start()
            for _ in range(50):
                await conn.fetchval("select 1")
            thread.join()
            assert await left(conn) == 0

    driver.run(scenario)


def test_whose_preparing_was_cancelled(parallel: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), statement_cache_size=0) as conn:
            if pg.name == "asyncio":
                task = asyncio.ensure_future(conn.prepare("select 1 as mark"))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                del task
            else:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await conn.prepare("select 1 as mark")
            with pytest.raises(Error):
                await conn.prepare("select nonsense as mark")
            gc.collect()
            await conn.execute("select 1")
            assert await left(conn) == 0
            assert not conn.dirty

    parallel.run(scenario)
