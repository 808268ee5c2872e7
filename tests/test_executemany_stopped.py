"""ExecuteMany as it is given up, and as it is lost."""

from __future__ import annotations

import pytest

from pgproto import (
    DataError,
    Error,
    Outcome,
    QueryTimeout,
)
from pgproto.session import (
    GRACE,
    ExecuteMany,
)
from pgproto.session.loss import out_of_time
from pgproto.session.sources import ExecutionBuffer, encoded
from pgproto.wire import Execute, Parse, ReadyForQuery
from tests.support.backend import (
    CRASH,
    FATAL,
    INT4,
    POOLER_FATAL,
    Answer,
    error_fields,
)
from tests.support.many import INSERT, execute_many, hand_over, ones, outcome_of, script
from tests.support.pair import Pair
from tests.support.queries import error_of, query, sql_error


@pytest.fixture
def pair() -> Pair:
    return Pair(script())


# ---- As it is given up


@pytest.mark.parametrize("sent", [0, 1, 5000])
def test_a_record_that_does_not_fit_undoes_all(pair: Pair, sent: int) -> None:
    operation = pair.run(ExecuteMany(INSERT))
    with pytest.raises(DataError, match=r"parameter \$1") as caught:
        hand_over(pair, operation, [*ones(sent), ("no number",), (1,)])
    assert caught.value.__notes__ == [f"in record {sent + 1}"]
    operation.stop(caught.value)
    pair.engine.resume()
    pair.pump()
    assert operation.finished
    assert caught.value.outcome is (Outcome.ROLLED_BACK if sent > 1 else Outcome.NOT_SENT)
    assert pair.backend.committed == []
    assert pair.engine.reusable
    undone = [message for message in pair.backend.heard if isinstance(message, Execute) and message.portal]
    assert len(undone) == (sent > 1)
    if sent > 1:
        assert outcome_of(operation) is Outcome.ROLLED_BACK
    assert execute_many(pair, INSERT, ones(1)).rowcount == 1
    assert sum(isinstance(message, Parse) for message in pair.backend.heard) == 1  # it is no fault of its own


def test_a_stop_does_not_undo_what_commits(pair: Pair) -> None:
    operation = pair.run(ExecuteMany("commit"))
    hand_over(pair, operation, [()])
    error = DataError("odd")
    operation.stop(error)
    assert error.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("stage", ["queued", "preparing", "prepared", "fed", "busy", "ended"])
def test_its_deadline(pair: Pair, stage: str) -> None:
    if stage != "preparing":
        execute_many(pair, INSERT, [])
    pair.backend.silent = stage in ("queued", "preparing", "busy", "ended")
    if stage == "queued":
        pair.engine.submit(query("select 1"))
    operation = ExecuteMany(INSERT)
    operation.deadline = pair.now + 5
    pair.engine.submit(operation)
    if stage != "queued":
        pair.pump()
    if stage in ("fed", "busy", "ended"):
        for run in encoded(ExecutionBuffer(operation), ones(3)):
            operation.feed(run)
        if stage == "ended":
            operation.end()
        pair.engine.resume()
        pair.pump()
    pair.pass_time(5)
    asked = pair.engine.take_cancel() is not None
    assert asked == (stage in ("preparing", "busy", "ended"))
    if asked:
        pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    if stage == "ended":  # the cancel request was too late
        assert operation.error is None
        assert len(pair.backend.committed) == 3
    else:
        assert isinstance(error_of(operation), QueryTimeout)
        late = Outcome.ROLLED_BACK if stage in ("fed", "busy") else Outcome.NOT_SENT
        assert outcome_of(operation) is late
        assert INSERT not in pair.backend.committed
    assert pair.engine.reusable


def test_a_deadline_that_the_cancel_request_meets(pair: Pair) -> None:
    pair.backend.script[INSERT] = Answer(types=[INT4], error=error_fields("57014"))
    operation = pair.run(ExecuteMany(INSERT))
    operation.feed(next(iter(encoded(ExecutionBuffer(operation), ones(3)))))
    operation.stopped = out_of_time()
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert isinstance(error_of(operation), QueryTimeout)
    assert outcome_of(operation) is Outcome.ROLLED_BACK


def test_what_was_executed_is_not_cancelled_once_more(pair: Pair) -> None:
    """What is left of it is what the server refuses by itself."""
    operation = pair.run(ExecuteMany(INSERT))
    pair.backend.silent = True
    hand_over(pair, operation, ones(3))
    pair.engine.abandon(operation)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.send()
    pair.backend.go_on()
    answers = bytes(pair.backend.out)
    pair.backend.out.clear()
    refusal = answers.index(b"E\0\0")
    pair.deliver(answers[:refusal])
    pair.pass_time(0.2)
    assert not pair.engine.wants_cancel
    pair.deliver(answers[refusal:])
    assert pair.engine.reusable


def test_a_server_that_never_answers_costs_the_session(pair: Pair) -> None:
    operation = pair.run(ExecuteMany(INSERT))
    pair.backend.silent = True
    hand_over(pair, operation, ones(3))
    operation.deadline = pair.now + 5
    pair.engine.set_deadline(operation, pair.now + 5)
    pair.pump()
    pair.pass_time(5 + GRACE)
    assert isinstance(error_of(operation), QueryTimeout)
    assert outcome_of(operation) is Outcome.NOT_COMMITTED
    assert pair.engine.closed


def test_others_are_served_behind_an_abandoned_one(pair: Pair) -> None:
    operation = pair.run(ExecuteMany(INSERT))
    hand_over(pair, operation, ones(3))
    pair.engine.abandon(operation)
    other = query("select 1")
    pair.engine.submit(other)
    if pair.engine.take_cancel() is not None:
        pair.engine.cancel_done()
    pair.pump()
    assert other.error is None
    assert INSERT not in pair.backend.committed
    assert pair.engine.reusable


# ---- As it is lost


@pytest.mark.parametrize("words", [b"", FATAL, POOLER_FATAL, CRASH])
@pytest.mark.parametrize(
    ("stage", "outcome"),
    [
        ("preparing", Outcome.NOT_SENT),
        ("prepared", Outcome.NOT_SENT),
        ("held back", Outcome.NOT_SENT),
        ("fed", Outcome.NOT_COMMITTED),
        ("stopped", Outcome.NOT_COMMITTED),
        ("ended", Outcome.UNKNOWN),
        ("executed", Outcome.UNKNOWN),
    ],
)
def test_lost(pair: Pair, stage: str, outcome: Outcome, words: bytes) -> None:
    pair.backend.silent = stage == "preparing"
    operation = ExecuteMany(INSERT)
    pair.engine.submit(operation)
    pair.pump()
    if stage not in ("preparing", "prepared"):
        pair.backend.silent = True
        operation.feed(next(iter(encoded(ExecutionBuffer(operation), ones(3)))))
        if stage == "stopped":
            pair.engine.resume()
            operation.stop("enough")
        elif stage in ("ended", "executed"):
            operation.end()
        pair.engine.resume()
        if stage != "held back":
            pair.send()
    if stage == "executed":
        pair.backend.go_on()
        del pair.backend.out[-6:]
        pair.deliver()
    pair.deliver(words)
    pair.eof()
    # A FATAL of the server while it executes is its verdict.
    decided = words == FATAL and stage in ("fed", "ended", "stopped")
    assert outcome_of(operation) is (Outcome.FAILED if decided else outcome)
    error = error_of(operation)
    assert isinstance(error, Error)
    assert error.executed == (stage == "executed")
    assert operation.over


def test_the_servers_error_counts_though_it_died_then(pair: Pair) -> None:
    operation = pair.run(ExecuteMany("third"))
    pair.backend.silent = True
    hand_over(pair, operation, ones(3))
    operation.end()
    pair.engine.resume()
    pair.send()
    pair.backend.go_on()
    del pair.backend.out[-6:]
    pair.deliver()
    pair.eof()
    assert sql_error(operation) == "23505"
    assert outcome_of(operation) is Outcome.FAILED


def test_a_record_that_kills_the_server(pair: Pair) -> None:
    operation = pair.run(ExecuteMany("third dies"))
    hand_over(pair, operation, ones(5))
    pair.pump()
    pair.eof()
    assert outcome_of(operation) is Outcome.FAILED
    assert "57P01" in repr(error_of(operation).__cause__)


def test_it_waits_for_a_statement_that_an_abandoned_caller_prepares(pair: Pair) -> None:
    pair.backend.silent = True
    front = query(INSERT, 1)
    pair.engine.submit(front)
    operation = ExecuteMany(INSERT)
    pair.engine.submit(operation)
    pair.engine.abandon(front)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    starting = [operation.starting]
    pair.send()
    pair.backend.go_on()
    pair.pump()
    starting.append(operation.starting)
    assert starting == [True, False]
    hand_over(pair, operation, ones(2))
    operation.end()
    pair.engine.resume()
    pair.pump()
    assert operation.rowcount == 2


def test_what_was_sent_before_the_preparation_was_all_answered_is_not_called_unsent(pair: Pair) -> None:
    """The statement is known as soon as it is described, and ReadyForQuery may be another read."""
    operation = ExecuteMany(INSERT)
    pair.engine.submit(operation)
    pair.send()
    described = bytes(pair.backend.out)[: -len(ReadyForQuery("I").encode())]
    pair.backend.out.clear()
    pair.deliver(described)
    hand_over(pair, operation, ones(3))
    operation.end()
    pair.engine.resume()
    pair.send()
    assert pair.backend.committed
    pair.eof()
    assert outcome_of(operation) is Outcome.UNKNOWN
