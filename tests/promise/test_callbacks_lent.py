"""Callbacks on a connection that a pool has lent; and handles that two tasks use at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pgproto import Error, LocalProtocolError
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere, in_tasks
from tests.support.drivers import only
from tests.support.postgres import PostgresServer

_NOTICE = "do $$ begin raise notice 'hello'; end $$"


@everywhere
@pytest.mark.holds("A1")
def test_notices_are_for_who_lends_and_who_borrows(driver: Driver, pg18: PostgresServer) -> None:
    owned: list[str] = []
    borrowed: list[str] = []

    async def on_connect(conn: Any) -> None:
        conn.on_notice = lambda notice: owned.append(notice.message)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect, reset="never") as pool:
            async with pool.acquire() as conn:
                conn.on_notice = lambda notice: borrowed.append(notice.message)
                await conn.script(_NOTICE)
            assert (owned, borrowed) == (["hello"], ["hello"])
            async with pool.acquire() as conn:
                await conn.script(_NOTICE)
            assert (owned, borrowed) == (["hello"] * 2, ["hello"])

    driver.run(scenario)


@everywhere
@pytest.mark.holds("A1")
def test_the_end_is_told_to_who_lends_and_who_borrows(driver: Driver, pg18: PostgresServer) -> None:
    told: list[str] = []

    async def on_connect(conn: Any) -> None:
        conn.on_lost = lambda: told.append("lender")

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect) as pool:
            async with pool.acquire() as conn:
                conn.on_lost = lambda: told.append("gone before")
            async with pool.acquire() as conn:
                conn.on_lost = lambda: told.append("borrower")
                pg18.query(f"select pg_terminate_backend({conn.pid}, 5000)")
                for _ in range(2):  # the server's last words, and that it has hung up behind them
                    with pytest.raises(Error):
                        await conn.fetchval("select 1")
                assert told == ["lender", "borrower"]
            assert await pool.fetchval("select 1") == 1
            assert pool.stats().opens == 2
            told.clear()
        assert told == ["lender"]

    driver.run(scenario)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_end_is_told_to_who_connected(driver: Driver, pg18: PostgresServer, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        told: list[str] = []
        async with pg.connect(pg18.dsn()) as conn:
            conn.on_lost = lambda: told.append("lost")
            assert await conn.fetchval("select 1") == 1
            assert told == []
            if how == "close":
                await conn.close()
            else:
                conn.abort()
            assert told == ["lost"]
        assert told == ["lost"]

    driver.run(scenario)


@in_tasks
@pytest.mark.holds("L7", "A2")
def test_two_tasks_that_wait_for_one_listener(parallel: Driver, pg18: PostgresServer) -> None:
    """The second is refused, and the first one hears."""

    async def scenario(pg: Driver) -> None:
        refused = threading.Event()
        async with pg.connect(pg18.dsn()) as conn, conn.listen("two_tasks") as notifications:

            async def waits() -> str:
                try:
                    return str((await anext(notifications)).payload)
                except LocalProtocolError:
                    refused.set()
                    raise

            async def sends() -> None:
                await pg.in_thread(lambda: refused.wait(5))
                pg18.query("notify two_tasks, 'hello'")

            results = await pg.together(waits, waits, sends)
            assert results[2] is None
            found = sorted(str(each) for each in results[:2])
            assert found == ["another task waits for these notifications already", "hello"]

    parallel.run(scenario)


@only("blocking")
@pytest.mark.holds("L7", "A2")
def test_two_threads_that_wait_for_one_listener(driver: Driver, pg18: PostgresServer) -> None:
    """Each gets one: threads queue up, for this as for every call."""

    async def scenario(pg: Driver) -> None:
        began = threading.Barrier(3)
        async with pg.connect(pg18.dsn()) as conn, conn.listen("two_threads") as notifications:

            async def waits() -> str:
                began.wait()
                return str((await notifications.get(timeout=8)).payload)

            async def sends() -> None:
                began.wait()
                pg18.query("notify two_threads, 'a'; notify two_threads, 'b'")

            assert sorted((await pg.together(waits, waits, sends))[:2]) == ["a", "b"]

    driver.run(scenario)


@in_tasks
@pytest.mark.holds("A3")
def test_what_connect_returns_is_entered_once_at_a_time(parallel: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        connecting = pg.connect(pg18.dsn())
        async with connecting as conn:
            with pytest.raises(LocalProtocolError, match="entered already"):
                async with connecting:
                    pass
            assert await conn.fetchval("select 1") == 1
        assert conn.closed
        async with connecting as again:
            assert again is not conn
            assert await again.fetchval("select 1") == 1

    parallel.run(scenario)
