"""What an observer can do to the calls that it is told of: nothing, but to delay them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import pgproto
from pgproto import Exchange, Outcome, PoolObserver, PostgresError, QueryTimeout
from pgproto_pytest import Driver
from tests.promise.test_hooks import Told
from tests.support.postgres import PostgresServer

SLOW = 0.4
TIMEOUT = 0.1


class Seen(PoolObserver):
    """Counts the calls of each method, by exchange."""

    def __init__(self) -> None:
        self.begun: list[Exchange] = []
        self.ended_ones: list[Exchange] = []

    def submitted(self, exchange: Exchange) -> None:
        self.begun.append(exchange)

    def ended(self, exchange: Exchange) -> None:
        self.ended_ones.append(exchange)


class Raising(PoolObserver):
    """Raises whenever it is told anything."""

    def __init__(self) -> None:
        self.calls = 0

    def _raise(self, _: object) -> None:
        self.calls += 1
        raise ZeroDivisionError("an observer's own fault")

    submitted: Any = _raise
    sent = answered = ended = moved = queued = served = submitted


class Slow(PoolObserver):
    """Blocks for as long as it is told to, in one of the methods."""

    def __init__(self, where: str) -> None:
        self.seconds = 0.0
        self.never = threading.Event()
        setattr(self, where, self.block)

    def block(self, exchange: Exchange) -> None:
        self.never.wait(self.seconds)


async def work(pool: Any) -> list[object]:
    """Calls of many kinds, some of which fail; what came of them."""
    found: list[object] = [await pool.fetchval("select $1::int4", 1)]
    batch = pgproto.Batch()
    items = [batch.queue("select $1::int4", n) for n in range(3)]
    await pool.send_batch(batch)
    found += [item.outcome for item in items]
    try:
        await pool.execute("select 1 / $1::int4", 0)
    except PostgresError as error:
        found += [error.sqlstate, error.outcome]
    async with pool.transaction() as conn:
        await conn.execute("create temporary table kept (n int4) on commit drop")
        await conn.executemany("insert into kept values ($1)", [(n,) for n in range(5)])
        await conn.copy_records("kept", [(5,), (6,)], columns=["n"])
        found.append(await conn.fetchval("select sum(n) from kept"))
    try:
        await pool.fetchval("select pg_sleep(60)", timeout=TIMEOUT)
    except QueryTimeout as error:
        found.append(error.outcome)
    found.append(await pool.fetchval("select 2"))
    return found


@pytest.mark.holds("O1", "O2")
def test_an_observer_that_raises_at_every_call(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time is reported, and nobody else notices."""

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=2) as pool:
            expected = await work(pool)
        raising, seen = Raising(), Seen()
        observers = [raising, seen]
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=2, observers=observers) as pool:
            assert await work(pool) == expected
        assert pool.stats().size == 0
        said = told.take()
        assert set(said) == {("an observer raised", "an observer's own fault")}
        assert len(said) == raising.calls
        assert raising.calls > 4 * len(seen.begun)
        assert len(seen.begun) == len({id(exchange) for exchange in seen.begun}) > 10
        assert {id(exchange) for exchange in seen.ended_ones} == {id(exchange) for exchange in seen.begun}
        assert len(seen.ended_ones) == len(seen.begun)

    driver.run(scenario)


@pytest.mark.holds("O3")
@pytest.mark.parametrize("where", ["submitted", "sent", "answered", "ended"])
def test_an_observer_that_blocks_delays_and_no_more(driver: Driver, pg18: PostgresServer, where: str) -> None:
    """A call with a timeout ends in time or after the observer has returned, with its result or a label."""
    slow, seen = Slow(where), Seen()

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, observers=[slow, seen]) as pool:
            await pool.execute("select 1")
            slow.seconds = SLOW
            began = time.monotonic()
            try:
                came: object = await pool.fetchval("select $1::int4", 7, timeout=TIMEOUT)
            except QueryTimeout as error:
                came = error.outcome
            assert came in (7, Outcome.NOT_SENT, Outcome.UNKNOWN)
            assert SLOW <= time.monotonic() - began < SLOW + 5
            slow.seconds = 0.0
            assert await pool.fetchval("select 8") == 8
        assert pool.stats().size == 0
        assert len(seen.begun) == len(seen.ended_ones) == 3
        assert seen.ended_ones[1].seconds is not None
        assert seen.ended_ones[1].seconds < SLOW + 5

    driver.run(scenario)
