"""The engine in virtual time: deadlines, cancelling, abandoning; nothing hangs, nothing hits a bystander."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import (
    Batch,
    ConnectionLost,
    Error,
    Outcome,
    PostgresError,
    QueryTimeout,
)
from pgproto.session import (
    GRACE,
    CopyIn,
    CopyOut,
    Execution,
    Operation,
    Prepare,
    QueuedQuery,
    Script,
    Statement,
    Stream,
)
from pgproto.wire import (
    ErrorResponse,
    NoticeResponse,
    ReadyForQuery,
)
from tests.support.backend import Answer, error_fields, fails, ok, rows_of
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import SCRIPT, error_of, query


@pytest.fixture(params=[whole, byte_by_byte], ids=["whole", "bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    chop: Callable[[bytes], list[bytes]] = request.param
    return Pair(SCRIPT, chop=chop)


def test_a_deadline_while_queued_sends_nothing(pair: Pair) -> None:
    assert pair.run(query("select 1")).error is None
    first = query("select 1")
    pair.engine.submit(first)
    pair.backend.silent = True
    pair.send()
    copy = CopyIn("copy t from stdin")
    copy.deadline = pair.now + 100
    pair.engine.submit(copy)  # sent, and waits for its turn
    assert pair.engine.next_deadline() == pair.now + 100
    pair.engine.set_deadline(copy, pair.now + 1)
    assert pair.engine.next_deadline() == pair.now + 1


def test_what_is_being_stopped_keeps_its_grace(pair: Pair) -> None:
    """A caller that is late with a deadline of its own does not take the engine's away."""
    pair.backend.silent = True
    stopped = query("select 1")
    pair.engine.submit(stopped)
    pair.pump()
    pair.engine.abandon(stopped)
    pair.engine.set_deadline(stopped, None)
    assert pair.engine.next_deadline() == pair.now + GRACE
    pair.pass_time(GRACE)
    assert pair.engine.closed


def test_a_deadline_of_what_was_not_begun() -> None:
    pair = Pair(SCRIPT)
    first, second = query("select 1"), query("insert", timeout=pair.now + 1)
    pair.backend.silent = True
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.send()
    pair.pass_time(1)
    error = error_of(second)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.NOT_SENT
    assert second.items[0].outcome is Outcome.NOT_SENT
    assert not pair.engine.wants_cancel
    pair.backend.go_on()
    pair.pump()
    assert first.error is None
    assert pair.backend.committed == ["select 1"]
    assert pair.engine.idle


def test_a_query_that_times_out_is_cancelled_and_nothing_is_sent_meanwhile() -> None:
    pair = Pair(SCRIPT)
    engine = pair.engine
    pair.run(query("select 1"))
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 5)
    engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    assert not slow.finished
    assert engine.wants_cancel
    late = query("select 1")
    engine.submit(late)
    assert pair.send() == b""
    key = engine.take_cancel()
    assert key is not None
    assert key.process_id == 4711
    assert engine.take_cancel() is None
    pair.deliver(ErrorResponse(error_fields("57014", "canceling statement")).encode())
    pair.deliver(ReadyForQuery("I").encode())
    error = error_of(slow)
    assert isinstance(error, QueryTimeout)
    assert isinstance(error.__cause__, PostgresError)
    assert error.outcome is Outcome.FAILED
    assert pair.send() == b""
    assert not engine.idle
    engine.cancel_done()
    assert pair.send() != b""
    assert not late.finished


LATE: list[tuple[Callable[[], CopyOut | Stream], list[object]]] = [
    (lambda: Stream(QueuedQuery("rows", ())), [1, 2, 3]),
    (lambda: CopyOut("copy t to stdout"), [b"1\n2\n"]),
]
LATE_SCRIPT = {
    "rows": rows_of(1, 2, 3),
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
}


@pytest.mark.parametrize(("make", "pieces"), LATE, ids=["stream", "copy out"])
def test_pieces_that_come_after_the_deadline_are_delivered_or_there_is_an_error(
    make: Callable[[], CopyOut | Stream], pieces: list[object]
) -> None:
    """The cancel request may come too late: then the answer is whole.  It is never cut short in silence."""
    pair = Pair(LATE_SCRIPT)
    pair.run(make()).take()
    pair.backend.silent = True
    late = make()
    late.deadline = pair.now + 1
    pair.engine.submit(late)
    pair.send()
    pair.pass_time(1)
    assert late.stopped is not None
    assert pair.engine.take_cancel() is not None
    pair.backend.go_on()
    pair.deliver()
    assert late.finished
    assert late.error is None
    taken = [piece if isinstance(piece, bytes) else piece[0] for piece in late.take()]
    assert taken == pieces


def test_a_late_stream_waits_for_its_consumer_but_not_for_long() -> None:
    pair = Pair({"rows": Answer("SELECT 9", columns=[("t", 25)], rows=[[b"x" * 60_000]] * 9)})
    assert len(pair.run(Stream(QueuedQuery("rows", ()))).take()) == 9
    pair.backend.silent = True
    late = Stream(QueuedQuery("rows", ()))
    late.deadline = pair.now + 1
    pair.engine.submit(late)
    pair.send()
    pair.pass_time(1)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.limit = 500_000
    pair.pump()
    assert not pair.engine.wants_read
    pair.pass_time(GRACE)
    assert isinstance(error_of(late), QueryTimeout)
    assert pair.engine.finished


def test_the_item_that_a_deadline_cancelled_says_so() -> None:
    """Its neighbours in a batch that is not atomic have ends of their own."""
    pair = Pair({"first": ok(), "slow": fails("57014"), "last": ok()}, named=False)
    batch = Batch(atomic=False)
    items = [batch.queue("first"), batch.queue("slow"), batch.queue("last")]
    operation = Execution(batch.take(), atomic=False)
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()  # described
    pair.backend.silent = True
    pair.send()
    pair.pass_time(1)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert [item.outcome for item in items] == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]
    error = items[1].error
    assert isinstance(error, QueryTimeout)
    assert isinstance(error.__cause__, PostgresError)
    assert error.outcome is Outcome.FAILED


def test_a_query_that_does_not_heed_the_cancel_is_closed_after_grace() -> None:
    pair = Pair(SCRIPT)
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 5)
    pair.engine.submit(slow)
    pair.send()
    pair.pass_time(5 + GRACE + 0.1)
    error = error_of(slow)
    assert isinstance(error, QueryTimeout)
    assert pair.engine.finished
    assert not pair.engine.wants_cancel
    assert pair.engine.take_cancel() is None


def test_who_was_to_be_told_by_then_does_not_wait_for_more_last_words() -> None:
    """The server says FATAL within the grace of a query that was stopped, and does not hang up."""
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 5)
    pair.engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    pair.pass_time(GRACE / 2)
    pair.deliver(ErrorResponse(error_fields("57P01", "terminating", severity="FATAL")).encode())
    assert pair.engine.next_deadline() == pytest.approx(pair.now + GRACE / 2)
    pair.pass_time(GRACE / 2)
    assert pair.engine.finished
    assert isinstance(error_of(slow), ConnectionLost)


def test_a_cancel_that_is_not_heeded_is_repeated_until_it_is() -> None:
    """It may have overtaken its statement: then it found the server idle."""
    pair = Pair(SCRIPT)
    engine = pair.engine
    pair.run(query("select 1"))
    pair.backend.silent = True
    slow, late = query("select 1", timeout=pair.now + 5), query("select 1")
    engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    times = []
    while not engine.finished:
        if engine.take_cancel() is not None:
            times.append(pair.now)
            assert pair.send() == b""
            engine.cancel_done()
        pair.pass_time(0.01)
    assert [time - times[0] for time in times] == pytest.approx([0.0, 0.05, 0.15, 0.35, 0.75], abs=0.05)
    assert isinstance(error_of(slow), QueryTimeout)
    with pytest.raises(Error):
        engine.submit(late)


@pytest.mark.parametrize("end", ["answered", "another"])
def test_a_cancel_that_is_not_needed_any_more_is_not_repeated(end: str) -> None:
    pair = Pair(SCRIPT)
    engine = pair.engine
    pair.run(query("select 1"))
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 5)
    engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    assert engine.take_cancel() is not None
    engine.cancel_done()
    if end == "answered":
        pair.backend.go_on()
        pair.pump()
    else:
        engine.submit(query("select 1"))
        pair.send()
    pair.pass_time(0.2)
    assert not engine.wants_cancel
    assert not engine.closed


def test_a_wish_to_cancel_ends_with_the_answer() -> None:
    pair = Pair(SCRIPT)
    slow = query("select 1", timeout=pair.now + 5)
    pair.backend.silent = True
    pair.engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    assert pair.engine.wants_cancel
    pair.backend.go_on()
    pair.pump()
    assert pair.engine.take_cancel() is None
    assert pair.run(query("select 1")).error is None


def test_without_a_key_there_is_no_cancel_and_nothing_stalls() -> None:
    pair = Pair(SCRIPT)
    pair.engine.connection.backend_key = None
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 5)
    pair.engine.submit(slow)
    pair.send()
    pair.pass_time(5)
    assert not pair.engine.wants_cancel
    pair.engine.submit(query("select 2"))
    assert pair.send() != b""


def test_a_timed_out_query_in_front_of_others_is_given_up_and_they_go_on() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("insert"))
    pair.run(query("select 2"))
    pair.backend.silent = True
    slow, other = query("insert", timeout=pair.now + 5), query("select 2")
    pair.engine.submit(slow)
    pair.engine.submit(other)
    pair.send()
    pair.pass_time(5)
    assert not pair.engine.wants_cancel  # it could hit the other one
    pair.pass_time(GRACE)
    error = error_of(slow)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.UNKNOWN  # it was sent, Sync and all
    assert not other.finished
    pair.backend.go_on()
    pair.pump()
    assert other.error is None
    assert other.items[0].rows[0][0] == 2
    assert pair.engine.idle


@pytest.mark.holds("L8")
@pytest.mark.parametrize("in_block", [False, True])
def test_what_is_given_up_before_it_was_handed_over_is_run_later(in_block: bool) -> None:
    pair = Pair(SCRIPT)
    pair.run(query("insert"))
    if in_block:
        pair.run(query("begin"))
    pair.backend.silent = True
    slow, other = query("insert", timeout=pair.now + 5), query("commit" if in_block else "select 2")
    pair.engine.submit(slow)
    if in_block:
        pair.send()
    pair.engine.submit(other)
    pair.pass_time(5)
    pair.pass_time(GRACE)
    assert isinstance(slow.error, QueryTimeout)
    assert slow.error.outcome is Outcome.UNKNOWN  # the session goes on, and what was written is run
    pair.backend.go_on()
    pair.pump()
    assert other.error is None
    assert pair.backend.committed.count("insert") == 2


@pytest.mark.parametrize("kind", ["script", "copy", "prepare"])
def test_what_is_given_up_was_sent_and_is_labelled_so(kind: str) -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 2"))
    pair.backend.silent = True
    first = query("select 2")
    slow: Operation = Script("insert")
    if kind == "copy":
        slow = CopyIn("copy t from stdin")
    elif kind == "prepare":
        slow = Prepare(Statement("insert", "mine", kept=True))
    slow.deadline = pair.now + 1
    pair.engine.submit(first)
    pair.engine.submit(slow)
    pair.send()
    pair.pass_time(1 + GRACE)
    error = error_of(slow)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is (Outcome.NOT_COMMITTED if kind == "copy" else Outcome.UNKNOWN)
    late = query("select 1")
    pair.engine.submit(late)
    if kind == "copy":
        pair.send()  # the server has yet to hear that it is over, so nothing may be sent behind it
    pair.backend.go_on()
    pair.pump()
    assert first.error is None
    assert late.error is None
    assert pair.run(query("select 2")).error is None
    assert pair.engine.idle
    assert "insert" not in pair.backend.committed or kind == "script"


def test_what_was_never_submitted_can_be_abandoned() -> None:
    """An interrupt may come between the two, and who was interrupted cannot tell."""
    pair = Pair(SCRIPT)
    never = query("insert")
    pair.engine.abandon(never)
    assert never.items[0].outcome is Outcome.NOT_SENT
    pair.run(query("select 1"))
    assert pair.backend.committed == ["select 1"]
    assert pair.engine.reusable


def test_what_was_given_up_does_not_hold_the_session_for_ever() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("insert"))
    pair.backend.silent = True
    abandoned, waiting = query("insert"), query("select 1", timeout=pair.now + 10)
    pair.engine.submit(abandoned)
    pair.send()
    pair.engine.submit(waiting)
    pair.engine.abandon(abandoned)
    pair.pass_time(9)
    assert not waiting.finished
    pair.pass_time(3)
    assert isinstance(error_of(waiting), QueryTimeout)
    assert pair.engine.finished  # nobody waits for anything, and the server says nothing


def test_time_of_the_start(pair: Pair) -> None:
    fresh = Pair(SCRIPT, started=False)
    fresh.backend.silent = True
    startup = fresh.start(deadline=fresh.now + 3)
    fresh.pass_time(3)
    assert str(error_of(startup)) == "the server did not complete the start-up in time"
    assert fresh.engine.finished
    fresh = Pair(SCRIPT, started=False)
    fresh.backend.silent = True
    startup = fresh.start()
    fresh.engine.abandon(startup)
    assert fresh.engine.finished
    assert isinstance(error_of(startup), ConnectionLost)
    assert pair.engine.next_deadline() is None
    pair.engine.tick()


def test_the_time_of_a_start_is_no_deadline_of_the_session() -> None:
    fresh = Pair(SCRIPT, started=False)
    assert fresh.start(deadline=fresh.now + 3).finished
    assert fresh.engine.next_deadline() is None
    fresh = Pair(SCRIPT, started=False)
    fresh.backend.silent = True
    fresh.start(deadline=fresh.now + 3)
    waiting = query("select 1")
    waiting.deadline = fresh.now + 5
    fresh.engine.submit(waiting)
    assert fresh.engine.next_deadline() == fresh.now + 3
    fresh.backend.go_on()
    fresh.pump()
    assert fresh.engine.next_deadline() == fresh.now + 5


def test_what_was_not_begun_is_not_sent(pair: Pair) -> None:
    pair.backend.silent = True
    first, second = query("select 1"), query("insert")
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.send()
    pair.engine.abandon(second)
    pair.engine.abandon(second)
    assert second.finished
    pair.backend.go_on()
    pair.pump()
    assert first.error is None
    assert pair.backend.committed == ["select 1"]
    assert pair.engine.reusable


def test_what_nobody_wants_is_cancelled_when_it_comes_to_the_front(pair: Pair) -> None:
    pair.run(query("insert"))
    pair.run(query("select 1"))
    wanted, dropped = query("select 1"), query("insert")
    pair.engine.submit(wanted)
    pair.send()  # the server has answered the first
    pair.backend.silent = True
    pair.engine.submit(dropped)
    pair.send()
    pair.engine.abandon(dropped)
    assert not pair.engine.wants_cancel  # it would hit the other one
    pair.deliver()
    assert wanted.finished
    assert wanted.error is None
    assert not dropped.finished
    assert pair.engine.wants_cancel


def test_what_was_begun_is_drained(pair: Pair) -> None:
    pair.run(query("insert"))
    pair.backend.silent = True
    lone = query("insert")
    pair.engine.submit(lone)
    pair.send()
    draining = [pair.engine.draining]
    pair.engine.abandon(lone)
    draining.append(pair.engine.draining)
    assert pair.engine.wants_cancel
    assert pair.engine.take_cancel() is not None
    pair.backend.go_on()
    pair.pump()
    assert [*draining, pair.engine.draining] == [False, True, False]
    idle = [pair.engine.idle]
    pair.engine.cancel_done()
    idle.append(pair.engine.idle)
    assert idle == [False, True]
    assert lone.finished
    pair.pass_time(10)
    assert pair.engine.reusable


def test_an_abandoned_prepare_is_drained(pair: Pair) -> None:
    pair.backend.silent = True
    operation = Prepare(Statement("select 1", "mine", kept=True))
    pair.engine.submit(operation)
    pair.send()
    pair.engine.abandon(operation)
    pair.engine.cancel_done()
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert operation.finished
    assert pair.engine.idle


def test_abandoned_after_its_deadline_is_stopped_once() -> None:
    pair = Pair(SCRIPT)
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 1)
    pair.run(slow)
    pair.pass_time(1)
    pair.engine.take_cancel()
    pair.pass_time(0.5)
    pair.engine.abandon(slow)
    assert not pair.engine.wants_cancel
    pair.pass_time(GRACE - 0.5)
    assert pair.engine.finished


@pytest.mark.parametrize("atomic", [True, False])
def test_rows_that_nobody_waited_for_are_missing_and_not_cut_short(atomic: bool) -> None:
    """The items of a batch are its caller's, who may read them after the call was cancelled."""
    long = Answer("SELECT 9", columns=[("t", 25)], rows=[[b"x" * 60_000]] * 9)
    pair = Pair({"insert": ok(), "rows": long, "select 1": rows_of(1)})
    for sql in ("insert", "rows", "select 1"):
        pair.run(query(sql))
    batch = Batch(atomic=atomic)
    items = [batch.queue("select 1"), batch.queue("rows"), batch.queue("insert")]
    operation = Execution(batch.take(), atomic=atomic)
    pair.engine.submit(operation)
    pair.send()
    answers = bytes(pair.backend.out)
    pair.backend.out.clear()
    pair.deliver(answers[:200_000])
    assert 0 < len(items[1].rows) < 9
    pair.engine.abandon(operation)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.deliver(answers[200_000:])
    assert operation.finished
    assert [item.outcome for item in items] == [Outcome.COMMITTED] * 3
    assert [len(item.rows) for item in items] == [1, 0, 0]
    assert [item.error is None for item in items] == [True, False, True]
    error = items[1].error
    assert isinstance(error, Error)
    assert str(error) == "the call was cancelled"
    assert error.outcome is Outcome.COMMITTED
    assert error.__notes__[0] == "not all of its rows are here"
    assert pair.engine.reusable


def test_a_stream_that_nobody_reads_to_its_end_says_so() -> None:
    pair = Pair({"rows": Answer("SELECT 9", columns=[("t", 25)], rows=[[b"x" * 60_000]] * 9)})
    pair.run(query("rows"))
    stream = Stream(QueuedQuery("rows", ()))
    pair.engine.submit(stream)
    pair.send()
    answers = bytes(pair.backend.out)
    pair.backend.out.clear()
    pair.deliver(answers[:100_000])
    assert len(stream.take()) == 1
    pair.engine.abandon(stream)
    pair.deliver(answers[100_000:])
    error = error_of(stream)
    assert isinstance(error, Error)
    assert str(error) == "the call was cancelled"
    assert error.outcome is Outcome.COMMITTED
    assert stream.take() == []


def test_what_is_given_up_now_is_told_now_and_stays_so() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("insert"))
    pair.backend.silent = True
    operation = query("insert")
    pair.engine.submit(operation)
    pair.send()
    pair.engine.give_up(operation)
    assert operation.finished
    (item,) = operation.items
    told = (item.outcome, str(item.error), item.tag, item.executed)
    assert told == (Outcome.UNKNOWN, "the call was cancelled", "", False)
    pair.engine.give_up(operation)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert (item.outcome, str(item.error), item.tag, item.executed) == told
    assert pair.engine.reusable
    late = query("insert")
    pair.engine.give_up(late)
    assert late.items[0].outcome is Outcome.NOT_SENT


def test_half_a_batch_cannot_be_taken_back() -> None:
    pair = Pair({"insert": Answer("INSERT 0 1", types=[25])})
    pair.run(query("insert", "x"))
    batch = Batch()
    for _ in range(10):
        batch.queue("insert", "x" * 30_000)
    operation = Execution(batch.take())
    pair.engine.submit(operation)
    assert operation.half_written()
    pair.send(50_000)
    pair.engine.abandon(operation)
    assert {item.outcome for item in operation.items} == {Outcome.NOT_COMMITTED, Outcome.NOT_SENT}
    assert pair.engine.data_to_send() == b""
    assert pair.backend.committed == ["insert"]


@pytest.mark.holds("D6")
def test_what_is_still_being_read_gets_more_grace() -> None:
    """The network had it before it was abandoned; silence ends the session, or three times GRACE."""
    notice = NoticeResponse({"S": "NOTICE", "C": "00000", "M": "on and on"}).encode()
    for talks, lasts in ((0, 1), (1, 2), (100, 3)):
        pair = Pair(SCRIPT)
        pair.run(query("select 1"))
        pair.backend.silent = True
        stopped = query("select 1")
        pair.engine.submit(stopped)
        pair.send()
        pair.engine.abandon(stopped)
        for turn in range(1, 10):
            if turn <= talks:
                pair.deliver(notice)
            pair.pass_time(GRACE + 0.01)
            assert pair.engine.finished is (turn >= lasts), (talks, turn)
            if pair.engine.finished:
                break
