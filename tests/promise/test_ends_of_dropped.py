"""A connection that is dropped without being closed says so, and is closed at once."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from tests.support.drivers import Driver
from tests.support.postgres import PostgresServer


async def opened(pg: Driver, dsn: str) -> Any:
    if pg.name == "asyncio":
        return await pgproto_asyncio.connect(dsn)
    if pg.name == "trio":
        return await pgproto_trio.connect(dsn)
    return pgproto_blocking.connect(dsn)


@pytest.mark.holds("T6")
def test_a_connection_that_is_dropped(driver: Driver, pg18: PostgresServer) -> None:
    def there(pid: int) -> bool:
        return pg18.query(f"select 1 from pg_stat_activity where pid = {pid}") != []

    def gone(pid: int) -> None:
        limit = time.monotonic() + 5
        while there(pid):
            assert time.monotonic() < limit, "it is still open"

    async def scenario(pg: Driver) -> None:
        conn = await opened(pg, pg18.dsn())
        pid = conn.pid
        assert there(pid)
        held = [conn]
        del conn
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            held.clear()
        await pg.in_thread(lambda: gone(pid))

    driver.run(scenario)


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
