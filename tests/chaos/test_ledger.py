"""The ledger finds every way in which a label and the table can disagree."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, DataError, Outcome, PostgresError, QueuedQuery
from tests.chaos.ledger import ABSENT, OVERRUN, Ledger, Page


def written(outcome: Outcome | None) -> Ledger:
    """A ledger with one call, which stored id 1."""
    ledger = Ledger("t")
    page = Page(ledger, "call")
    page.new(1)
    if outcome is Outcome.COMMITTED:
        ledger.ended(page, 0, None)
    else:
        error = ConnectionLost("gone")
        error.outcome = outcome
        ledger.ended(page, 0, error)
    return ledger


def test_what_agrees() -> None:
    written(Outcome.COMMITTED).check([1])
    written(Outcome.UNKNOWN).check([1])
    written(Outcome.UNKNOWN).check([])
    for outcome in ABSENT:
        written(outcome).check([])
    assert written(Outcome.UNKNOWN).doubtful([1]) == 1


@pytest.mark.parametrize(
    ("outcome", "stored", "found"),
    [
        (Outcome.COMMITTED, [], "acknowledged and is lost"),
        (Outcome.COMMITTED, [1, 1], "stored 2 times"),
        (Outcome.UNKNOWN, [1, 1], "stored 2 times"),
        (Outcome.COMMITTED, [1, 2], "nobody was told"),
        (Outcome.OK_IN_TX, [], "OK_IN_TX"),
        (None, [], "says nothing"),
        *[(outcome, [1], f"called {outcome.name}") for outcome in sorted(ABSENT, key=str)],
    ],
)
def test_what_does_not(outcome: Outcome | None, stored: list[int], found: str) -> None:
    with pytest.raises(AssertionError, match=found):
        written(outcome).check(stored)


def test_errors_that_nobody_declared() -> None:
    ledger = Ledger("t")
    ledger.ended(Page(ledger, "call"), 0, KeyError("x"))
    with pytest.raises(AssertionError, match="KeyError"):
        ledger.check([])
    ledger = Ledger("t")
    ledger.ended(Page(ledger, "call"), 0, DataError("x"))
    with pytest.raises(AssertionError, match="DataError"):
        ledger.check([])


def test_a_stray_cancel_request() -> None:
    ledger = Ledger("t")
    message = "canceling statement due to user request"
    ledger.ended(Page(ledger, "call"), 0, PostgresError.of({"S": "ERROR", "C": "57014", "M": message}))
    with pytest.raises(AssertionError, match="nobody cancelled"):
        ledger.check([])


def test_a_call_that_is_late() -> None:
    ledger = Ledger("t")
    ledger.waited("slow", OVERRUN - 0.1)
    ledger.check([])
    ledger.waited("slower", OVERRUN + 0.1)
    with pytest.raises(AssertionError, match="slower"):
        ledger.check([])


def test_an_item_that_disagrees_with_its_error() -> None:
    ledger = Ledger("t")
    page = Page(ledger, "batch")
    item = QueuedQuery("select 1", ())
    item.error, item.outcome = ConnectionLost("gone"), Outcome.COMMITTED
    page.told(page.new(1), [item])
    with pytest.raises(AssertionError, match="disagrees"):
        ledger.check([])
