"""The accepted values of `timeout=`, and their meaning."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from fractions import Fraction

import pytest

from pgproto import Batch, Error, LocalProtocolError, Outcome, PoolTimeout, QueryTimeout
from pgproto.session import Statement
from pgproto.session.batch import Refusing, refuse
from pgproto.session.deadlines import DEFAULT, Timeout, limit, patience, remaining, seconds, waiting

NO_NUMBERS: list[object] = ["1", "", b"1", Decimal(5), Fraction(1, 2), True, False, [], object(), 1j]


@pytest.mark.holds("T2")
@pytest.mark.parametrize("wrong", NO_NUMBERS)
def test_what_is_no_number_is_refused(wrong: object) -> None:
    for door in (patience, lambda timeout: limit(timeout, 1.0), lambda timeout: seconds(timeout, 1.0)):
        with pytest.raises(TypeError, match=f"or None, not {type(wrong).__name__}$"):
            door(wrong)


@pytest.mark.holds("T2")
def test_nan_is_refused() -> None:
    for door in (patience, lambda timeout: limit(timeout, 1.0), lambda timeout: seconds(timeout, 1.0)):
        with pytest.raises(ValueError, match="NaN"):
            door(float("nan"))


@pytest.mark.holds("T1")
@pytest.mark.parametrize("passed", [-0.001, -1.0, -1, 0, 0.0, -0.0, float("-inf"), -(10**400)])
def test_one_that_has_passed(passed: float) -> None:
    with pytest.raises(QueryTimeout) as caught:
        seconds(passed, 300.0)
    assert caught.value.outcome is Outcome.NOT_SENT
    time = limit(passed, 300.0)
    assert time is not None
    assert time <= 0.0
    assert patience(passed) == time


def test_not_given_is_the_default() -> None:
    assert (limit(DEFAULT, 3.0), seconds(DEFAULT, 3.0), patience(DEFAULT)) == (3.0, 3.0, None)
    assert (limit(DEFAULT, None), seconds(DEFAULT, None)) == (None, None)
    assert repr(DEFAULT) == "DEFAULT"


@pytest.mark.parametrize("endless", [None, float("inf"), 1e9, 1e300, 10**400])
def test_no_limit(endless: float | None) -> None:
    assert (limit(endless, 3.0), seconds(endless, 3.0), patience(endless)) == (None, None, float("inf"))


def test_a_number_is_itself() -> None:
    for given in (1, 0.5, 86400):
        for found in (limit(given, None), seconds(given, None), patience(given)):
            assert found == given
            assert type(found) is float


@pytest.mark.holds("T1")
@pytest.mark.parametrize(
    ("timeout", "longest", "wait"),
    [(2, 30.0, 2.0), (60.0, 30.0, 30.0), (2.0, float("inf"), 2.0), (2.0, 0.0, 0.0)],
)
def test_the_time_of_a_pools_call_is_for_the_wait_too(timeout: float, longest: float, wait: float) -> None:
    assert waiting(timeout, longest) == wait
    start = 100.0
    for waited in (0.0, 1.5, 2.5):
        left = remaining(timeout, wait, start + wait, lambda: start + waited)  # noqa: B023
        assert left == timeout - waited
        assert type(left) is float


@pytest.mark.parametrize("timeout", [DEFAULT, None, float("inf")])
def test_a_pools_call_without_a_limit_of_its_own(timeout: Timeout) -> None:
    """The pool's own holds for the wait, and the rest is as on any connection; no clock is asked."""
    assert waiting(timeout, 30.0) is None

    def clock() -> float:
        raise AssertionError("the clock was asked")

    assert remaining(timeout, None, 130.0, clock) is timeout


@pytest.mark.holds("T1", "T2")
def test_a_pools_call_whose_time_is_over_or_none() -> None:
    for given, kind in (
        (-1.0, QueryTimeout),
        (0, QueryTimeout),
        ("1", TypeError),
        (float("nan"), ValueError),
    ):
        with pytest.raises(kind):
            waiting(given, 30.0)


@pytest.mark.holds("S3")
def test_a_batch_that_was_refused_says_so_and_can_be_sent_again() -> None:
    batch = Batch()
    items = [batch.queue("select 1"), batch.queue("select 2")]
    refused = PoolTimeout("no connection")
    with pytest.raises(PoolTimeout), Refusing(batch):
        raise refused
    assert [(item.outcome, item.error) for item in items] == [(Outcome.NOT_SENT, refused)] * 2
    taken = batch.take()
    assert taken == batch.items
    # What is queued later could never be sent.
    with pytest.raises(LocalProtocolError, match="was sent before"):
        batch.queue("select 3")
    assert len(taken) == len(batch) == 2
    assert [(item.outcome, item.error) for item in items] == [(None, None)] * 2
    with pytest.raises(PoolTimeout), Refusing(batch):
        raise refused  # it was sent: whoever sends it labels it
    assert [item.outcome for item in items] == [None, None]


@pytest.mark.holds("S3")
def test_a_batch_whose_caller_was_cancelled() -> None:
    batch = Batch()
    item = batch.queue("select 1")
    cancelled = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError), Refusing(batch):
        raise cancelled
    assert item.outcome is Outcome.NOT_SENT
    assert isinstance(item.error, Error)
    assert item.error.outcome is Outcome.NOT_SENT
    assert item.error.__cause__ is cancelled


@pytest.mark.holds("S3")
def test_a_batch_that_was_taken_and_never_submitted() -> None:
    batch = Batch()
    items = [batch.queue("select 1"), batch.queue("select 2")]
    with pytest.raises(KeyboardInterrupt), Refusing(batch) as refusing:
        assert refusing.take() == items
        items[0].outcome = Outcome.UNKNOWN  # that one was
        raise KeyboardInterrupt
    assert [item.outcome for item in items] == [Outcome.UNKNOWN, Outcome.NOT_SENT]
    items[0].outcome = None
    with pytest.raises(LocalProtocolError, match="was sent before"), Refusing(batch) as refusing:
        refusing.take()
    assert items[0].outcome is None  # it is another call's


@pytest.mark.holds("S3")
def test_a_batch_of_which_nothing_was_sent_can_be_sent_again() -> None:
    batch = Batch()
    batch.queue("select 1")
    kept = batch.queue(Statement("select 2", "mine", kept=True))
    with pytest.raises(KeyboardInterrupt), Refusing(batch) as refusing:
        for item in refusing.take():
            item.statement = item.statement or Statement("select 1", "of that session")
            item.parameters = b""
        raise KeyboardInterrupt
    assert {item.outcome for item in batch.items} == {Outcome.NOT_SENT}
    again = batch.take()
    assert again == batch.items
    assert [item.outcome for item in again] == [None, None]
    assert [item.statement for item in again] == [None, kept.statement]
    assert [item.parameters for item in again] == [None, None]


def test_items_that_have_ended_keep_their_labels() -> None:
    batch = Batch()
    done, item = batch.queue("select 1"), batch.queue("select 2")
    done.outcome = Outcome.FAILED
    refuse([done, item], PoolTimeout("no connection"))
    assert [done.outcome, item.outcome] == [Outcome.FAILED, Outcome.NOT_SENT]


def test_a_batch_that_is_not_refused_is_left_alone() -> None:
    batch = Batch()
    item = batch.queue("select 1")
    with Refusing(batch):
        pass
    assert (item.outcome, item.error) == (None, None)
