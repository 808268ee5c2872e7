"""A connection that is dropped without being closed says so, and is closed at once."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest

import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer


async def opened(pg: Driver, dsn: str) -> Any:
    if pg.name == "asyncio":
        return await pgproto_asyncio.connect(dsn)
    if pg.name == "trio":
        return await pgproto_trio.connect(dsn)
    return pgproto_blocking.connect(dsn)


def there(pg18: PostgresServer, *pids: int) -> bool:
    return pg18.query(f"select 1 from pg_stat_activity where pid in ({', '.join(map(str, pids))})") != []


def ended(pg18: PostgresServer, *pids: int) -> None:
    limit = time.monotonic() + 5
    while there(pg18, *pids):
        assert time.monotonic() < limit, "it is still open"


@pytest.mark.holds("T6")
def test_a_connection_that_is_dropped(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        conn = await opened(pg, pg18.dsn())
        pid = conn.pid
        assert there(pg18, pid)
        held = [conn]
        del conn
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            held.clear()
        await pg.in_thread(lambda: ended(pg18, pid))

    driver.run(scenario)


@pytest.mark.holds("T6")
@only("asyncio", "blocking")  # trio's lives in its `async with`
def test_a_pool_that_is_dropped(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        threads: list[threading.Thread] = []
        pool: Any
        if pg.name == "asyncio":
            pool = await pgproto_asyncio.Pool(pg18.dsn(), max_size=2).open()
            one, two = await pool.acquire(), await pool.acquire()
            pids = (one.pid, two.pid)
            await pool.release(one)
            await pool.release(two)
        else:
            pool = pgproto_blocking.Pool(pg18.dsn(), max_size=2).open()
            one, two = pool.acquire().start(), pool.acquire().start()
            pids = (one.pid, two.pid)
            pool.release(one)
            pool.release(two)
            threads = [*pool._driver._workers, pool._driver._keeper]
        assert pool.stats().idle == 2
        del one, two
        gone = weakref.ref(pool)
        held = [pool]
        del pool

        def drop() -> None:
            held.clear()
            assert gone() is None
            for thread in threads:  # one of them may have held the rest of it just then
                thread.join(5)

        with pytest.warns(ResourceWarning, match="unclosed connection") as told:
            drop()
        assert len(told) == 2
        await pg.in_thread(lambda: ended(pg18, *pids))

    driver.run(scenario)


@pytest.mark.holds("T6")
def test_a_loop_ends_with_a_pool_that_nobody_closed(pg18: PostgresServer) -> None:
    async def main() -> int:
        pool = pgproto_asyncio.Pool(pg18.dsn())
        pid: int = await pool.fetchval("select pg_backend_pid()")
        return pid

    with pytest.warns(ResourceWarning, match="unclosed connection"):
        pid = asyncio.run(main())
    ended(pg18, pid)


@pytest.mark.holds("T6")
@pytest.mark.filterwarnings("error::ResourceWarning")
def test_one_that_was_closed_says_nothing(
    driver: Driver, pg18: PostgresServer, recwarn: pytest.WarningsRecorder
) -> None:
    async def scenario(pg: Driver) -> None:
        for way in ("close", "abort", "with", "pool"):
            if way in ("close", "abort"):
                conn = await opened(pg, pg18.dsn())
                if way == "abort":
                    conn.abort()
                elif pg.name == "blocking":
                    conn.close()
                else:
                    await conn.close()
                del conn
            elif way == "with":
                async with pg.connect(pg18.dsn()) as conn:
                    assert await conn.fetchval("select 1") == 1
                del conn
            else:
                async with pg.Pool(pg18.dsn()) as pool:
                    assert await pool.fetchval("select 1") == 1
                del pool
            gc.collect()
        assert [each for each in recwarn if each.category is ResourceWarning] == []

    driver.run(scenario)
