"""A small storm of cancellations, and checks that its rig finds planted faults."""

from __future__ import annotations

import asyncio

import pytest
import trio

from pgproto import Outcome
from pgproto_pytest import Driver, postgres
from tests.chaos.campaign import SETTINGS, prepare
from tests.chaos.cancellations import Storm, cut_asyncio, cut_trio
from tests.chaos.ledger import Ledger, Page
from tests.chaos.load import ATOMIC
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("driver", [each for each in DRIVERS if each.asynchronous], ids=repr)
def test_a_storm_of_cancellations(driver: Driver) -> None:
    """750 calls cut short: every row belongs to who asked, and only what was cancelled is."""
    reason = postgres.missing("18")
    if reason is not None:
        pytest.skip(reason)
    with PostgresServer("18", tls=False, settings=SETTINGS) as server:
        prepare(server)
        storm = Storm(driver, server, 750)
        storm.run(deadline=100)
    assert storm.count >= 750
    assert storm.ledger.cancelled.total() > 300
    assert storm.moments["QueryTimeout"] > 5


def test_a_cancellation_that_is_swallowed() -> None:
    async def deaf() -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            return

    async def main() -> None:
        with pytest.raises(AssertionError, match="swallowed"):
            await cut_asyncio(deaf, 1)
        assert await cut_asyncio(lambda: asyncio.sleep(0), 5) is None
        late = await cut_asyncio(lambda: asyncio.sleep(5), 0.001)
        assert late is not None
        assert late < 1

    asyncio.run(main())


def test_a_cancellation_that_is_heard_under_trio() -> None:
    async def main() -> None:
        assert await cut_trio(trio.lowlevel.checkpoint, 5) is None
        late = await cut_trio(trio.sleep_forever, 0.001)
        assert late is not None
        assert late < 1

    trio.run(main)


def test_what_is_stored_by_halves() -> None:
    ledger = Ledger("t")
    page = Page(ledger, "atomic batch")
    page.new(2)
    ledger.cut(page)
    ledger.check_halves([], ATOMIC)
    ledger.check_halves([1, 2], ATOMIC)
    with pytest.raises(AssertionError, match="atomic batch"):
        ledger.check_halves([2], ATOMIC)
    other = Page(ledger, "batch")
    other.new(2)
    ledger.cut(other)
    ledger.check_halves([3], ATOMIC)


def test_a_transaction_that_was_cancelled_before_its_commit() -> None:
    ledger = Ledger("t")
    page = Page(ledger, "transaction")
    page.new(1)
    page.fate = Outcome.ROLLED_BACK
    ledger.cut(page)
    with pytest.raises(AssertionError, match="ROLLED_BACK"):
        ledger.check([1])
