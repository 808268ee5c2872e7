"""The `timeout=` of a pool's call is for the whole call: the wait for a connection is a part of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Outcome, PoolTimeout, QueryTimeout
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

from .test_doors import QUERIES, table, untouched

WHOLE = ("fetch", "fetchrow", "fetchval", "execute", "send_batch")
PROGRESS = ("executemany", "copy_in", "copy_records", "copy_out")


@pytest.mark.holds("T1")
@pytest.mark.parametrize("name", [*WHOLE, *PROGRESS])
def test_of_a_pool_without_a_free_connection(driver: Driver, pg18: PostgresServer, name: str) -> None:
    table(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool, pool.acquire():
            start = time.monotonic()
            with pytest.raises(PoolTimeout, match=r"\Ano connection became free in time\Z") as caught:
                await QUERIES[name](pool, 0.1)
            assert time.monotonic() - start < 5.0  # acquire_timeout is 30
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.outcome is Outcome.NOT_SENT
            assert (pool.stats().waiting, pool.stats().used) == (0, 1)

    driver.run(scenario)
    untouched(pg18)


@pytest.mark.holds("T1")
@pytest.mark.parametrize("given", ["a longer one", "none", "no limit"])
def test_the_wait_has_the_pools_time_at_most(driver: Driver, pg18: PostgresServer, given: str) -> None:
    """A call without a number has `acquire_timeout` for the wait, however short `command_timeout` is."""
    options: dict[str, Any] = {}
    if given != "none":
        options["timeout"] = 60 if given == "a longer one" else None

    async def scenario(pg: Driver) -> None:
        limits = {"acquire_timeout": 0.2, "command_timeout": 0.05}
        async with pg.Pool(pg18.dsn(), max_size=1, **limits) as pool, pool.acquire():
            start = time.monotonic()
            with pytest.raises(PoolTimeout):
                await pool.fetchval("select 1", **options)
            assert 0.19 < time.monotonic() - start < 5.0

    driver.run(scenario)


def taking(seconds: float) -> Callable[[Any], Awaitable[Any]]:
    """A hook that takes longer than the calls have."""
    return lambda conn: conn.execute(f"select pg_sleep({seconds})")


@pytest.mark.holds("T1")
@pytest.mark.parametrize("name", WHOLE)
def test_the_query_has_what_is_left(driver: Driver, pg18: PostgresServer, name: str) -> None:
    table(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=taking(0.15)) as pool:
            with pytest.raises(QueryTimeout, match="the deadline had passed before the call") as caught:
                await QUERIES[name](pool, 0.1)
            assert caught.value.outcome is Outcome.NOT_SENT
            for timeout in (5.0, None):
                assert await pool.fetchval("select 1", timeout=timeout) == 1
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)
    untouched(pg18)


async def copied(pool: Any) -> bytes:
    return b"".join([chunk async for chunk in pool.copy_out("copy (select 1) to stdout", timeout=0.4)])


LONG: dict[str, tuple[Callable[[Any], Awaitable[Any]], object]] = {
    "executemany": (lambda pool: pool.executemany("insert into doors values ($1)", [(1,)], timeout=0.4), 1),
    "copy_in": (lambda pool: pool.copy_in("copy doors from stdin", [b"1\n"], timeout=0.4), 1),
    "copy_records": (lambda pool: pool.copy_records("doors", [(1,)], columns=["a"], timeout=0.4), 1),
    "copy_out": (copied, b"1\n"),
}


@pytest.mark.holds("T1")
@pytest.mark.parametrize("name", PROGRESS)
def test_progress_counts_from_then_on(driver: Driver, pg18: PostgresServer, name: str) -> None:
    """Where a timeout is the longest time without progress, the wait for the connection is one of its own."""
    table(pg18)
    call, result = LONG[name]

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=taking(0.45)) as pool:
            assert await call(pool) == result

    driver.run(scenario)
