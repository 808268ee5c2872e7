"""A lease that ends while another task's call runs on its connection: the call ends at once, and says why."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Batch, ConnectionClosed, ConnectionLost, Outcome
from pgproto_pytest import Driver
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer

SLOW = "select pg_sleep(60)"


async def batch(conn: Any, sql: str) -> None:
    """The statement, in a batch."""
    items = Batch()
    items.queue(sql)
    await conn.send_batch(items)


CALLS: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "fetch": lambda conn, sql: conn.fetch(sql),
    "execute": lambda conn, sql: conn.execute(sql),
    "script": lambda conn, sql: conn.script(sql),
    "batch": batch,
}


async def lease_ends_in(pg: Driver, server: PostgresServer, pool: Any, call: Any, sql: str) -> Any:
    """What the call raises when the lease ends that it uses, while the server runs its statement."""
    conn = await pool.acquire()
    state = f"select 1 from pg_stat_activity where wait_event = 'PgSleep' and pid = {conn.pid}"

    def runs() -> None:
        while not server.query(state):
            pass

    async def end() -> float:
        await pg.in_thread(runs)
        await pool.release(conn)
        return time.monotonic()

    async def caller() -> tuple[BaseException, float]:
        with pytest.raises(BaseException) as caught:
            await call(conn, sql)
        return caught.value, time.monotonic()

    (error, told), ended = await pg.together(caller, end)
    assert told - ended < 1.5
    return error


@pytest.mark.parametrize("call", CALLS)
def test_a_call_is_told(driver: Driver, pg18: PostgresServer, call: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            error = await lease_ends_in(pg, pg18, pool, CALLS[call], SLOW)
            assert type(error) is ConnectionLost
            assert str(error).startswith("the lease is over")
            if pg.name == "blocking":  # the session is closed under the call
                assert error.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
            else:
                assert error.outcome is Outcome.FAILED
            assert await pool.fetchval("select 1") == 1
            assert pool.stats().opens == (2 if pg.name == "blocking" else 1)

    driver.run(scenario)


def test_calls_that_wait_behind_it(parallel: Driver, pg18: PostgresServer) -> None:
    """Each of them is stopped by a cancel request of its own (or, where a server missed that, by the end)."""

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            conn = await pool.acquire()
            state = f"select 1 from pg_stat_activity where wait_event = 'PgSleep' and pid = {conn.pid}"

            def runs() -> None:
                while not pg18.query(state):
                    pass

            async def end() -> None:
                await pg.in_thread(runs)
                await pool.release(conn)

            works = [lambda: conn.fetch(SLOW), lambda: conn.script(SLOW), lambda: conn.execute(SLOW)]
            *errors, _ = await pg.together(*works, end)
            for error in errors:
                unsent = error.outcome is Outcome.NOT_SENT
                assert type(error) is (ConnectionClosed if unsent else ConnectionLost)
                assert str(error).startswith("the lease is over")
                assert error.outcome in (Outcome.FAILED, Outcome.NOT_SENT, Outcome.UNKNOWN)
            assert await pool.fetchval("select 1") == 1

    parallel.run(scenario)


def test_what_has_completed_is_told_so(driver: Driver, pg18: PostgresServer, owned: Owned) -> None:
    """Not a row is stored that its caller was told is not."""

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            sql = f"insert into {owned.name} select 1 from (select pg_sleep(60)) s"
            error = await lease_ends_in(pg, pg18, pool, CALLS["execute"], sql)
            assert type(error) is ConnectionLost
            assert error.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
            assert await pool.fetchval(f"select count(*) from {owned.name}") == 0

    driver.run(scenario)
