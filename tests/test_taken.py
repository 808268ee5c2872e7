"""A stream, a COPY or an executemany whose lease ends before it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import ConnectionClosed, ConnectionLost, Error, Outcome
from pgproto.session import (
    GRACE,
    CopyIn,
    CopyOut,
    ExecuteMany,
    Operation,
    QueuedQuery,
    Script,
    Stream,
    Transaction,
)
from pgproto.wire import ErrorResponse, ReadyForQuery
from tests.support.backend import FATAL, INT4, Answer, error_fields, fails, ok, rows_of
from tests.support.many import hand_over, ones
from tests.support.pair import Pair
from tests.support.queries import error_of

INSERT = "insert into t values ($1)"
SCRIPT = {
    "rows": rows_of(1, 2, 3),
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
    "copy t from stdin": Answer("COPY 2", copy="in"),
    INSERT: ok(types=[INT4]),
    "begin": ok("BEGIN"),
}

READING: list[Callable[[], Stream | CopyOut]] = [
    lambda: Stream(QueuedQuery("rows", ())),
    lambda: CopyOut("copy t to stdout"),
]
reading = pytest.mark.parametrize("make", READING, ids=["stream", "copy"])


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def take_away(pair: Pair, operation: Operation) -> None:
    pair.engine.end_lease()
    pair.send()
    if pair.engine.take_cancel() is not None:
        pair.engine.cancel_done()


def told(operation: Operation) -> Outcome | None:
    error = error_of(operation)
    assert isinstance(error, Error)
    assert type(error) is (ConnectionClosed if error.outcome is Outcome.NOT_SENT else ConnectionLost)
    assert not isinstance(error.__cause__, ConnectionClosed)
    assert str(error) == "the lease is over: the connection was given back to its pool"
    return error.outcome


@reading
@pytest.mark.parametrize("block", [False, True])
def test_what_is_dropped_is_an_error(pair: Pair, make: Callable[[], Stream | CopyOut], block: bool) -> None:
    """The cancel request was too late: all of it came, for nobody."""
    pair.run(make())
    if block:
        pair.run(Script("begin"))
    pair.backend.silent = True
    operation = pair.run(make())
    take_away(pair, operation)
    pair.backend.go_on()
    answer = bytes(pair.backend.out)
    pair.backend.out.clear()
    for byte in answer:  # so that no two of the rows come together
        pair.deliver(bytes([byte]))
    assert told(operation) is (Outcome.OK_IN_TX if block else Outcome.COMMITTED)
    assert operation.take() == []
    assert pair.engine.idle


@reading
def test_what_has_arrived_before_is_whole(pair: Pair, make: Callable[[], Stream | CopyOut]) -> None:
    pair.run(make())
    operation = make()
    pair.engine.submit(operation)
    pair.send()
    answer = bytes(pair.backend.out)
    pair.backend.out.clear()
    ready = len(ReadyForQuery("I").encode())
    pair.deliver(answer[:-ready])
    take_away(pair, operation)
    pair.deliver(answer[-ready:])
    assert operation.finished
    assert operation.error is None
    taken = operation.take()
    assert len(taken) == 3 if isinstance(operation, Stream) else b"".join(taken) == b"1\n2\n"


@reading
def test_what_was_cancelled_says_why(make: Callable[[], Stream | CopyOut]) -> None:
    pair = Pair({"rows": fails("57014"), "copy t to stdout": fails("57014")})
    pair.backend.silent = True
    operation = pair.run(make())
    if isinstance(operation, Stream):
        pair.backend.go_on()
        pair.deliver()  # described
        pair.backend.silent = True
        pair.send()
    take_away(pair, operation)
    pair.backend.go_on()
    pair.pump()
    assert told(operation) is Outcome.FAILED


@reading
@pytest.mark.parametrize("last", ["silence", "eof", "fatal"])
def test_what_the_session_does_not_survive(
    pair: Pair, make: Callable[[], Stream | CopyOut], last: str
) -> None:
    pair.run(make())
    pair.backend.silent = True
    operation = pair.run(make())
    take_away(pair, operation)
    if last == "silence":
        pair.pass_time(4 * GRACE)
    else:
        pair.deliver(FATAL) if last == "fatal" else None
        pair.eof()
    assert told(operation) is (Outcome.FAILED if last == "fatal" else Outcome.UNKNOWN)
    assert pair.engine.finished


@pytest.mark.parametrize("stage", ["queued", "asked", "copying", "fed"])
def test_copy_in(stage: str) -> None:
    pair = Pair(SCRIPT, pipelining=False)
    pair.backend.silent = stage in ("queued", "asked")
    if stage == "queued":
        pair.engine.submit(Script("begin"))
    operation = CopyIn("copy t from stdin")
    pair.engine.submit(operation)
    if stage != "queued":
        pair.pump()
    if stage == "fed":
        operation.feed(b"1\n")
        pair.engine.resume()
        pair.pump()
    take_away(pair, operation)
    pair.backend.go_on()
    pair.pump()
    assert told(operation) is (Outcome.NOT_SENT if stage == "queued" else Outcome.ROLLED_BACK)
    operation.end()
    pair.engine.resume()
    assert pair.backend.committed == []


@pytest.mark.parametrize("stage", ["preparing", "prepared", "fed", "busy", "committed"])
def test_executemany(pair: Pair, stage: str) -> None:
    pair.backend.silent = stage == "preparing"
    operation = pair.run(ExecuteMany(INSERT))
    if stage in ("fed", "busy", "committed"):
        pair.backend.silent = stage == "busy"
        hand_over(pair, operation, ones(3))
        if stage == "committed":
            operation.end()
            pair.engine.resume()
            pair.send()
    take_away(pair, operation)
    pair.backend.go_on()
    pair.pump()
    if stage == "committed":  # all of it was sent before
        assert operation.error is None
        assert len(pair.backend.committed) == 3
    else:
        sent = stage in ("fed", "busy")
        assert told(operation) is (Outcome.ROLLED_BACK if sent else Outcome.NOT_SENT)
        assert pair.backend.committed == []
    assert pair.engine.reusable


def test_a_deadline_that_had_passed_before_is_what_is_told(pair: Pair) -> None:
    pair.run(READING[0]())
    pair.backend.silent = True
    operation = READING[0]()
    operation.deadline = pair.now + 1
    pair.run(operation)
    pair.pass_time(1)
    take_away(pair, operation)
    pair.backend.go_on()
    pair.pump()
    error = error_of(operation)
    assert isinstance(error, Error)
    assert str(error) == "the query's deadline passed"
    assert error.outcome is Outcome.COMMITTED


def canceled() -> bytes:
    """What a server answers that a cancel request has reached."""
    return ErrorResponse(error_fields("57014")).encode() + ReadyForQuery("I").encode()


def test_calls_that_are_under_way(pair: Pair) -> None:
    """Each is stopped in its turn, by a cancel request of its own."""
    pair.backend.silent = True
    scripts = [pair.run(Script("rows")) for _ in range(3)]
    pair.engine.end_lease()
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    assert not pair.engine.wants_cancel
    pair.deliver(canceled())
    assert told(scripts[0]) is Outcome.FAILED
    assert pair.engine.take_cancel() is not None
    pair.deliver(canceled())  # before it is known that the request was delivered
    assert not pair.engine.wants_cancel
    pair.engine.cancel_done()
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.deliver(canceled())
    assert [told(each) for each in scripts] == [Outcome.FAILED] * 3
    assert pair.engine.reusable


def test_what_the_server_answers_all_the_same_is_theirs(pair: Pair) -> None:
    pair.backend.silent = True
    sent = pair.run(Script("rows"))
    pair.engine.end_lease()
    pair.engine.end_lease()
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert sent.error is None
    assert [tuple(row) for row in sent.results[0].rows] != []
    assert pair.engine.idle


def test_a_call_that_was_given_up_needs_no_end(pair: Pair) -> None:
    """Its answers are still under way."""
    pair.backend.silent = True
    script = pair.run(Script("rows"))
    pair.engine.give_up(script)
    assert script.finished
    given_up = error_of(script)
    pair.engine.end_lease()
    assert error_of(script) is given_up
    assert pair.engine.take_cancel() is not None


def test_calls_that_nothing_stops(pair: Pair) -> None:
    pair.backend.silent = True
    script = pair.run(Script("rows"))
    pair.engine.end_lease()
    pair.pass_time(GRACE)
    assert told(script) is Outcome.UNKNOWN
    assert pair.engine.finished


def test_a_session_that_is_over_says_so_itself(pair: Pair) -> None:
    pair.backend.silent = True
    script = pair.run(Script("rows"))
    pair.deliver(FATAL)
    pair.engine.end_lease()
    pair.eof()
    assert type(error_of(script)) is ConnectionLost


@reading
@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_what_a_block_ends_over(pair: Pair, make: Callable[[], Stream | CopyOut], end: str) -> None:
    """It is left as if its consumer had dropped it, and the block's last word comes after it."""
    block = Transaction(pair.engine)
    block.enter()
    pair.run(make())  # it is whole: nothing is left of it
    pair.backend.silent = True
    operation = pair.run(make())
    flow = block.commit() if end == "commit" else block.rollback()
    last = next(flow)
    pair.engine.submit(last)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert operation.finished
    assert str(error_of(operation)) == "the transaction block ended before this did"
    assert last.finished
    with pytest.raises(StopIteration):
        flow.send(None)
    assert pair.engine.reusable
