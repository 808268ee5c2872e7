"""A query with a new text whose Parse is not answered: it waits for a lock, or the server hangs."""

from __future__ import annotations

import pytest

from pgproto import Batch, Error, Outcome, QueryTimeout
from pgproto.session import GRACE, ExecuteMany, Execution, Operation, QueuedQuery, Stream
from pgproto.wire import ReadyForQuery
from tests.support.backend import fails, ok
from tests.support.pair import Pair
from tests.support.queries import SCRIPT, error_of, query


def new_texts() -> list[Operation]:
    """Operations whose first message is a Parse of a text that the session has not seen."""
    batch = Batch(atomic=False)
    batch.queue("insert")
    batch.queue("select 1")
    many = ExecuteMany("insert")
    many.end()
    return [query("insert"), Execution(batch.take(), atomic=False), Stream(QueuedQuery("insert", ())), many]


def stopped(pair: Pair, kind: int, way: str) -> Operation:
    """An operation whose Parse is not answered, and which nobody wants any more."""
    cold = new_texts()[kind]
    pair.backend.silent = True
    if way == "deadline":
        cold.deadline = pair.now + 5
    pair.engine.submit(cold)
    pair.send()
    if way == "deadline":
        pair.pass_time(5)
    else:
        pair.engine.abandon(cold)
    assert not cold.finished
    return cold


@pytest.mark.parametrize("way", ["deadline", "abandon"])
@pytest.mark.parametrize("kind", range(4), ids=["query", "batch", "stream", "executemany"])
def test_a_parse_that_waits_for_a_lock_is_cancelled(kind: int, way: str) -> None:
    """Its caller stays for that, as for any other: without a task of its own nobody else would send it."""
    pair = Pair(SCRIPT)
    cold = stopped(pair, kind, way)
    assert pair.engine.draining
    assert pair.engine.take_cancel() is not None
    pair.backend.script["insert"] = fails("57014", "parse")
    pair.backend.go_on()
    pair.deliver()
    error = error_of(cold)
    assert isinstance(error, Error)
    assert isinstance(error, QueryTimeout) is (way == "deadline")
    assert error.outcome is Outcome.NOT_SENT
    if isinstance(cold, Execution):
        assert {item.outcome for item in cold.items} == {Outcome.NOT_SENT}
        assert {str(item.error) for item in cold.items} == {str(error)}
    pair.engine.cancel_done()
    pair.backend.script["insert"] = ok()
    assert pair.run(query("insert")).error is None
    assert pair.backend.committed == ["insert"]
    pair.pass_time(10)
    assert pair.engine.reusable


@pytest.mark.parametrize("way", ["deadline", "abandon"])
@pytest.mark.parametrize("kind", range(4), ids=["query", "batch", "stream", "executemany"])
def test_a_parse_that_is_not_answered_costs_the_session(kind: int, way: str) -> None:
    pair = Pair(SCRIPT)
    cold = stopped(pair, kind, way)
    pair.pass_time(GRACE)
    error = error_of(cold)
    assert isinstance(error, Error)
    assert error.outcome is Outcome.NOT_SENT
    assert pair.engine.finished


def test_a_parse_that_is_not_answered_does_not_cost_the_neighbours_theirs() -> None:
    pair = Pair(SCRIPT)
    pair.backend.silent = True
    cold, waiting = query("insert", timeout=pair.now + 5), query("select 1", timeout=pair.now + 20)
    pair.engine.submit(cold)
    pair.engine.submit(waiting)
    pair.send()
    pair.pass_time(5)
    assert not pair.engine.wants_cancel  # it could hit the other one's Parse
    assert isinstance(error_of(cold), QueryTimeout)  # told at once: it has nothing to wait for
    pair.pass_time(10)
    assert not waiting.finished
    assert not pair.engine.closed
    pair.backend.go_on()
    pair.pump()
    assert waiting.error is None
    assert "insert" not in pair.backend.committed
    assert pair.engine.idle


def test_those_that_wait_after_a_hanging_parse_keep_their_deadlines() -> None:
    pair = Pair(SCRIPT, pipelining=False)
    pair.backend.silent = True
    cold, waiting = query("insert", timeout=pair.now + 5), query("select 1", timeout=pair.now + 20)
    pair.engine.submit(cold)
    pair.engine.submit(waiting)
    pair.send()
    pair.pass_time(5)
    assert not cold.finished
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.pass_time(GRACE)
    assert isinstance(error_of(cold), QueryTimeout)
    assert cold.items[0].outcome is Outcome.NOT_SENT
    pair.pass_time(10)
    assert not waiting.finished
    pair.pass_time(5)
    error = error_of(waiting)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.NOT_SENT
    pair.pass_time(GRACE)
    assert pair.engine.finished


def test_what_was_told_at_once_is_cancelled_when_it_holds_up_the_session() -> None:
    """Its Parse was sent ahead of its turn; now it is at the front, and waits for a lock."""
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    pair.backend.silent = True
    first, told = query("select 1"), query("insert", timeout=pair.now + 1)
    pair.engine.submit(first)
    pair.engine.submit(told)
    pair.send()
    pair.pass_time(1)
    assert isinstance(error_of(told), QueryTimeout)
    pair.backend.go_on()
    answers = bytes(pair.backend.out)
    pair.backend.out.clear()
    ready = ReadyForQuery("I").encode()
    end = answers.index(ready) + len(ready)
    pair.deliver(answers[:end])
    assert first.error is None
    assert not pair.engine.wants_cancel  # as a rule it is answered right now
    pair.pass_time(GRACE)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.pass_time(GRACE / 2)
    assert not pair.engine.closed
    pair.deliver(answers[end:])
    pair.pass_time(10)
    assert pair.engine.reusable
