"""Statements and batches that are stopped half-way, refused in part, or answered oddly."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, Outcome, PostgresError, QueryTimeout
from pgproto.session import GRACE, Execution, Prepare, QueuedQuery, Statement, Stream, Transaction
from pgproto.session.statements import READY
from pgproto.wire import (
    BindComplete,
    Close,
    CommandComplete,
    CopyFail,
    CopyInResponse,
    ErrorResponse,
    Message,
    NoData,
    ParameterDescription,
    ParseComplete,
    ReadyForQuery,
    Sync,
)
from tests.support.backend import Answer, error_fields, fails, ok, rows_of
from tests.support.builds import pure_only
from tests.support.pair import Pair
from tests.support.queries import batch, error_of, query

SCRIPT = {
    "select 1": rows_of(1),
    "select 2": rows_of(2),
    "insert": ok(),
    "insert text": Answer("INSERT 0 1", types=[25]),
    "bad": fails("22012"),
    "bad parse": fails("42601", "parse"),
    "many bytes": Answer("INSERT 0 1", types=[17] * 4),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


@pytest.mark.parametrize("answered", ["none", "rows", "an item"])
def test_the_answers_of_a_batch_that_was_given_up_are_dropped(pair: Pair, answered: str) -> None:
    pair.run(batch("select 1", "select 2"))
    pair.backend.silent = True
    slow, other = batch("select 1", "select 2", "select 1"), query("select 2")
    slow.deadline = pair.now + 5
    pair.engine.submit(slow)
    pair.engine.submit(other)
    pair.send()
    pair.backend.go_on()
    said = {"none": 0, "rows": 20, "an item": 34}[answered]
    pair.deliver(bytes(pair.backend.out[:said])) if said else None
    del pair.backend.out[:said]
    pair.pass_time(5 + GRACE)
    assert isinstance(error_of(slow), QueryTimeout)
    labels = [item.outcome for item in slow.items]
    assert labels == [Outcome.UNKNOWN] * 3
    pair.pump()
    assert [item.outcome for item in slow.items] == labels
    assert other.error is None
    assert other.items[0].rows[0][0] == 2
    assert pair.engine.idle


def test_a_batch_that_isolates_keeps_what_ended_before_it_was_stopped(pair: Pair) -> None:
    values: list[object] = [*["x" * 40_000] * 3, 7, "y"]
    operation = Execution([QueuedQuery("insert text", (value,)) for value in values], atomic=False)
    operation.deadline = pair.now + 5
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()  # described; from here on the transport takes nothing
    pair.pass_time(5)
    assert operation.items[3].outcome is Outcome.NOT_SENT
    assert type(operation.items[3].error).__name__ == "DataError"
    assert operation.items[4].outcome is Outcome.NOT_SENT
    assert isinstance(operation.items[4].error, QueryTimeout)
    pair.pump()
    assert [item.outcome for item in operation.items][:2] == [Outcome.COMMITTED] * 2
    assert isinstance(error_of(operation), QueryTimeout)


def test_a_batch_ends_whose_last_item_was_waiting_to_be_written_and_does_not_fit() -> None:
    pair = Pair(SCRIPT, pipelining=False)  # as in a transaction block, whose BEGIN is unanswered
    items = [QueuedQuery("insert text", ("one",)), QueuedQuery("insert text", (2,))]
    operation = pair.run(Execution(items, atomic=False))
    assert operation.finished
    assert [item.outcome for item in items] == [Outcome.COMMITTED, Outcome.NOT_SENT]


@pytest.mark.parametrize("unfit", range(4))
def test_a_value_that_does_not_fit_hurts_no_other_item_with_the_same_text(pair: Pair, unfit: int) -> None:
    pair.run(query("insert text", "x"))
    values: list[object] = ["x"] * 4
    values[unfit] = 7
    operation = pair.run(Execution([QueuedQuery("insert text", (each,)) for each in values], atomic=False))
    expected = [Outcome.COMMITTED] * 4
    expected[unfit] = Outcome.NOT_SENT
    assert [item.outcome for item in operation.items] == expected
    assert pair.run(query("insert text", "x")).error is None
    assert [each.name for each in pair.backend.heard if isinstance(each, Close)] == ["s1"]


def test_an_item_that_fails_hurts_no_other_that_is_yet_to_be_written(pair: Pair) -> None:
    """The statement is dropped, but its name is closed only when the batch has ended."""
    pair.run(query("insert text", "x"))
    operation = Execution([QueuedQuery("insert text", ("x" * 40_000,)) for _ in range(6)], atomic=False)
    good = pair.backend.script["insert text"]
    pair.backend.script["insert text"] = fails("23505")
    pair.engine.submit(operation)
    pair.send(41_000)
    pair.backend.script["insert text"] = good
    pair.deliver()
    assert [item.outcome for item in operation.items] == [Outcome.FAILED, *[None] * 5]
    pair.pump()
    assert [item.outcome for item in operation.items] == [Outcome.FAILED, *[Outcome.COMMITTED] * 5]
    assert pair.run(query("insert text", "x")).error is None
    assert [each.name for each in pair.backend.heard if isinstance(each, Close)] == ["s1"]


def test_what_was_prepared_ahead_and_timed_out_in_the_queue_was_not_sent(pair: Pair) -> None:
    pair.run(query("insert text", "x"))
    front = Execution([QueuedQuery("insert text", ("x" * 40_000,)) for _ in range(6)], atomic=False)
    first, late = query("select 2"), query("select 1", timeout=pair.now + 5)
    pair.backend.silent = True
    pair.engine.submit(first)
    pair.engine.submit(front)
    pair.engine.submit(late)  # its Parse goes ahead of its turn
    pair.send(200)
    pair.backend.go_on()
    pair.deliver()
    pair.send(40_000)
    assert not late.preparing
    assert front.begun
    assert not front.finished
    pair.pass_time(5)
    assert isinstance(error_of(late), QueryTimeout)
    assert late.items[0].outcome is Outcome.NOT_SENT
    assert pair.engine.channel.statements.get("select 1").state == READY
    assert isinstance(late.items[0].error, QueryTimeout)
    pair.pump()
    assert front.error is None
    assert "select 1" not in pair.backend.committed
    assert pair.engine.idle


@pytest.mark.parametrize("atomic", [True, False])
def test_a_refusal_that_comes_after_the_deadline_changes_no_label(pair: Pair, atomic: bool) -> None:
    pair.backend.silent = True
    operation = batch("insert", "bad parse", atomic=atomic)
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send()
    pair.pass_time(1)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert isinstance(error_of(operation), QueryTimeout)
    for item in operation.items:
        assert item.outcome is Outcome.NOT_SENT
        assert isinstance(item.error, QueryTimeout)
    assert pair.engine.idle


def test_an_empty_batch_that_waits_when_the_session_ends(pair: Pair) -> None:
    pair.backend.silent = True
    front, empty = query("select 1"), batch()
    pair.engine.submit(front)
    pair.engine.submit(empty)
    pair.send()
    assert not empty.finished
    pair.eof()
    assert getattr(error_of(empty), "outcome", None) is Outcome.NOT_SENT


def test_rows_of_a_begin_are_nobodys(pair: Pair) -> None:
    pair.backend.script["BEGIN"] = Answer("BEGIN", columns=[("n", 23)], rows=[[b"\0\0\0\1"]])
    pair.run(query("select 2"))
    Transaction(pair.engine).enter()
    operation = pair.run(query("select 2"))
    assert operation.error is None
    assert [row[0] for row in operation.items[0].rows] == [2]


def test_a_copy_in_a_batch_is_refused(pair: Pair) -> None:
    pair.backend.script["hidden copy"] = Answer("COPY 0", copy="in")
    operation = pair.run(query("hidden copy"))
    assert any(isinstance(message, CopyFail) for message in pair.backend.heard)
    assert operation.items[0].outcome is Outcome.FAILED
    assert pair.engine.idle


def test_a_copy_from_stdin_in_a_batch_is_not_sent(pair: Pair) -> None:
    """On the wire it would take for data what lies behind it."""
    batch = Execution([QueuedQuery(sql, ()) for sql in ("select 2", "copy t from stdin", "select 2")])
    assert isinstance(error_of(pair.run(batch)), LocalProtocolError)
    assert [item.outcome for item in batch.items] == [Outcome.NOT_SENT] * 3
    parts = Execution([QueuedQuery(sql, ()) for sql in ("select 2", "copy t from stdin")], atomic=False)
    pair.run(parts)
    assert [item.outcome for item in parts.items] == [Outcome.COMMITTED, Outcome.NOT_SENT]
    with pytest.raises(LocalProtocolError, match="use copy_in"):
        Statement("copy t from stdin", "mine", kept=True)
    assert pair.engine.idle


@pytest.mark.parametrize("atomic", [True, False])
def test_the_data_of_a_copy_out_are_not_dropped_in_silence(pair: Pair, atomic: bool) -> None:
    pair.backend.script["copy t to stdout"] = Answer("COPY 1", copy="out", rows=[[b"1"]])
    texts = ["select 2", "copy t to stdout", "select 2"]
    batch = pair.run(Execution([QueuedQuery(sql, ()) for sql in texts], atomic=atomic))
    assert [item.outcome for item in batch.items] == [Outcome.COMMITTED] * 3
    error = batch.items[1].error
    assert isinstance(error, LocalProtocolError)
    assert str(error) == "the data of COPY TO STDOUT were dropped: use copy_out"
    assert error.outcome is Outcome.COMMITTED
    assert batch.error is (error if atomic else None)
    stream = pair.run(Stream(QueuedQuery("copy t to stdout", ())))
    assert isinstance(stream.error, LocalProtocolError)
    assert pair.engine.idle


def test_values_that_no_message_can_carry(pair: Pair) -> None:
    block = bytes(300 << 20)  # zeros that nobody touches take no memory
    operation = pair.run(query("many bytes", block, block, block, block))
    error = error_of(operation)
    assert isinstance(error, LocalProtocolError)
    assert str(error) == "the values are 1258291216 bytes, more than a message can carry"
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert pair.run(query("many bytes", None, b"", None, b"x")).error is None
    assert pair.engine.idle


@pytest.mark.parametrize("kept", [True, False])
def test_an_error_at_the_sync_of_a_prepare(pair: Pair, kept: bool) -> None:
    """All was described when it came: a Prepare has failed, and a query goes on with what it has."""
    operation = Prepare(Statement("insert", "mine", kept=True)) if kept else query("insert")
    pair.backend.silent = True
    pair.engine.submit(operation)
    pair.send()
    pair.backend.connection.next_event()
    answers = (ParseComplete(), ParameterDescription([]), NoData(), ErrorResponse(error_fields("57014")))
    pair.deliver(b"".join(message.encode() for message in (*answers, ReadyForQuery("I"))))
    if kept:
        error = error_of(operation)
        assert isinstance(error, PostgresError)
        assert (error.sqlstate, error.outcome) == ("57014", Outcome.FAILED)
        return
    assert not operation.finished
    assert pair.engine.data_to_send().startswith(b"B")
    pair.deliver(BindComplete().encode())
    assert not pair.engine.closed


def test_a_copy_in_the_middle_of_a_batch_gets_no_sync_of_its_own(pair: Pair) -> None:
    """A server that answers before it can have heard all: the segment's own Sync is still to come."""
    pair.backend.script["hidden copy"] = Answer("COPY 0", copy="in")
    pair.run(query("insert text", "x"))
    pair.run(Prepare(Statement("hidden copy", "mine", kept=True)))
    copy = Execution([QueuedQuery("hidden copy", ())])
    pair.run(copy)  # so it is cached
    pair.backend.silent = True
    texts = [("insert text", "x" * 65_480), ("hidden copy",), ("insert text", "y")]
    operation = Execution([QueuedQuery(text, tuple(values)) for text, *values in texts])
    pair.engine.submit(operation)
    if operation.preparing:
        pair.backend.go_on()
        pair.send()
        pair.deliver()
        pair.backend.silent = True
    answers: list[Message] = [BindComplete(), CommandComplete("INSERT 0 1"), BindComplete()]
    pair.deliver(b"".join(message.encode() for message in (*answers, CopyInResponse(0, ()))))
    rest = pair.send()
    assert rest.count(Sync().encode()) == 1
    assert rest.index(b"f\0\0\0") < rest.index(Sync().encode())
    pair.deliver(ErrorResponse(error_fields("57014")).encode() + ReadyForQuery("I").encode())
    labels = [item.outcome for item in operation.items]
    assert labels == [Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.SKIPPED]
    assert pair.engine.idle


def test_the_first_of_two_errors_in_a_segment_counts(pair: Pair) -> None:
    pair.run(query("insert"))
    pair.backend.silent = True
    operation = query("insert")
    pair.engine.submit(operation)
    pair.send()
    both = [ErrorResponse(error_fields(code)).encode() for code in ("23505", "40001")]
    pair.deliver(BindComplete().encode() + b"".join(both) + ReadyForQuery("I").encode())
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert error.sqlstate == "23505"
    assert operation.items[0].outcome is Outcome.FAILED


def test_an_error_and_then_the_end(pair: Pair) -> None:
    """What the server has said decides: committed by a COMMIT of the batch, failed, or skipped."""
    pair.run(batch("insert", "commit", "bad", "select 1"))
    operation = batch("insert", "commit", "bad", "select 1")
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()  # what "bad" means is asked anew
    pair.send()
    said = bytes(pair.backend.out)
    pair.deliver(said[: -len(ReadyForQuery("I").encode())])
    pair.eof()
    committed, failed = Outcome.COMMITTED, Outcome.FAILED
    assert [item.outcome for item in operation.items] == [committed, committed, failed, Outcome.SKIPPED]
    assert [type(item.error).__name__ for item in operation.items] == [
        "NoneType",
        "NoneType",
        "DivisionByZero",
        "ConnectionLost",
    ]
    whole = error_of(operation)
    assert isinstance(whole, PostgresError)
    assert isinstance(operation.items[2].error, PostgresError)
    assert (whole.outcome, operation.items[2].error.outcome) == (
        Outcome.UNKNOWN,
        failed,
    )  # "insert" is stored


def test_a_batch_that_ran_out_of_time_says_so_although_the_session_ends(pair: Pair) -> None:
    """What was not written is given up at the deadline; what was sent is lost a moment later."""
    pair.run(query("many bytes", b"", b"", b"", b""))
    values = (b"x" * 60_000,) * 4
    slow = Execution([QueuedQuery("many bytes", values) for _ in range(20)], atomic=False)
    slow.deadline = pair.now + 1
    pair.engine.submit(slow)
    pair.engine.data_sent(len(pair.engine.data_to_send()))
    pair.now += 1
    pair.engine.tick()
    assert slow.error is not None
    pair.eof()
    assert isinstance(error_of(slow), QueryTimeout)
    outcomes = [item.outcome for item in slow.items]
    assert outcomes[0] is Outcome.UNKNOWN
    assert outcomes[-1] is Outcome.NOT_SENT


@pure_only("it replaces a method")
@pytest.mark.holds("D9")
@pytest.mark.parametrize("where", ["preparing.Preparing.go_on_preparing", "execution.Execution.send_prepare"])
def test_a_statement_whose_preparing_failed_is_new_again(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Nothing of it was written, so the session lives: who comes next must not wait for what nobody sent."""

    def fail(self: object, channel: object, new: object = None) -> None:
        raise kind

    kind: type[BaseException] = MemoryError
    pair = Pair(SCRIPT)
    with monkeypatch.context() as patch:
        patch.setattr(f"pgproto.session.{where}", fail)
        operation = query("select 1")
        pair.engine.submit(operation)
        assert isinstance(operation.error, MemoryError)
    assert pair.run(query("select 1")).error is None
    # An interrupt can have torn more than that: it comes out of the call, and the session is over.
    kind = KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(f"pgproto.session.{where}", fail)
        operation = query("select 2")
        with pytest.raises(KeyboardInterrupt):
            pair.engine.submit(operation)
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert pair.engine.finished
