"""COPY, streams, scripts and resets: each as it runs, fails, and is given up."""

from __future__ import annotations

import gc
import weakref
from datetime import datetime, timedelta, tzinfo

import pytest

from pgproto import ConnectionClosed, ConnectionLost, DataError, LocalProtocolError, Outcome
from pgproto.session import (
    CopyIn,
    CopyOut,
    ExecuteMany,
    Prepare,
    QueuedQuery,
    Reset,
    Script,
    Statement,
    Stream,
)
from pgproto.session.operation import Operation
from pgproto.session.segment import NOWHERE, Segment
from pgproto.session.sources import ExecutionBuffer
from pgproto.wire import CopyFail, NoticeResponse, ParameterStatus
from tests.support.backend import FATAL, Answer, error_fields, fails, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import query, sql_error

SCRIPT = {
    "copy t from stdin": Answer("COPY 2", copy="in"),
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
    "copy big to stdout": Answer("COPY 9", copy="out", rows=[[b"x" * 60_000]] * 9),
    "copy nowhere from stdin": fails("42P01"),
    "insert": ok(),
    "bad": fails("22012"),
    "select": rows_of(1, 2, 3),
    "select text": Answer("SELECT 1", columns=[("t", 25)], rows=[[b"\xff"]]),
    "": Answer(""),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


# ---- COPY


def test_copy_in(pair: Pair) -> None:
    copy = CopyIn("copy t from stdin")
    assert not copy.copying
    pair.run(copy)
    assert [copy.copying, copy.over, copy.full] == [True, False, False]
    for _ in range(3):
        copy.feed(b"x" * 150_000)
    full = [copy.full]
    pair.engine.resume()
    pair.pump()
    copy.end()
    pair.engine.resume()
    pair.pump()
    full.append(copy.full)
    assert full == [True, False]
    assert copy.error is None
    assert copy.rowcount == 2
    assert [len(piece) for piece in pair.backend.copied] == [65_536, 84_464] * 3
    copy.feed(b"late")
    assert pair.engine.reusable


def test_copy_in_never_holds_more_than_the_high_water_mark(pair: Pair) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    most = fed = 0
    while fed < 300:
        if not copy.full:
            copy.feed(b"x" * 10_000)
            fed += 1
            pair.engine.resume()
        data = pair.engine.data_to_send()
        most = max(most, len(data))
        pair.engine.data_sent(min(len(data), 5_000))
        pair.backend.receive(data[:5_000])
    copy.end()
    pair.engine.resume()
    pair.pump()
    assert copy.finished
    assert most < 80_000
    assert sum(map(len, pair.backend.copied)) == 3_000_000


def test_golden_copy_that_the_caller_stops() -> None:
    pair = Pair(SCRIPT)
    copy = pair.run(CopyIn("copy t from stdin"))
    copy.feed(b"1\n")
    pair.engine.resume()
    pair.pump()
    copy.stop("the source\0 failed")
    copy.end()  # it stays stopped
    pair.engine.resume()
    pair.pump()
    assert sql_error(copy) == "57014"
    assert pair.trace() == [
        'F\t22\tQuery\t "copy t from stdin"',
        "B\t7\tCopyInResponse\t 0 0",
        "F\t6\tCopyData",
        'F\t22\tCopyFail\t "the source failed"',
        'B\t69\tErrorResponse\t S "ERROR" V "ERROR" C "57014" '
        'M "COPY from stdin failed: the source failed" \\x00',
        "B\t5\tReadyForQuery\t I",
    ]
    assert pair.backend.committed == []


def test_the_server_stops_a_copy_in(pair: Pair) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    pair.backend._fail(error_fields("23505"))
    pair.backend._sync()
    copy.feed(b"x" * 200_000)
    pair.deliver()
    assert copy.over
    assert not copy.full
    copy.feed(b"more")
    pair.engine.resume()
    pair.pump()
    assert sql_error(copy) == "23505"
    assert pair.run(query("insert")).error is None
    assert pair.engine.idle


def test_an_error_of_the_source_gets_to_know_that_nothing_is_stored(pair: Pair) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    error = DataError("no number")
    copy.stop(error)
    assert error.outcome is Outcome.NOT_COMMITTED
    with pytest.raises(TypeError, match="COPY data must be bytes, not str"):
        copy.feed("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("ended", [False, True])
def test_a_lost_copy_in(pair: Pair, ended: bool) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    if ended:
        copy.end()
        pair.engine.resume()
        pair.send()
    pair.deliver(FATAL) if not ended else None
    pair.eof()
    assert copy.error is not None
    assert getattr(copy.error, "outcome", None) is (Outcome.UNKNOWN if ended else Outcome.NOT_COMMITTED)
    assert copy.over


def test_an_abandoned_copy_in_is_undone(pair: Pair) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    pair.engine.abandon(copy)
    pair.pump()
    assert CopyFail("the caller has gone away") in pair.backend.heard
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    assert pair.engine.reusable
    pair.backend.silent = True
    copy = pair.run(CopyIn("copy t from stdin"))
    pair.engine.abandon(copy)
    pair.engine.take_cancel()
    pair.backend.go_on()
    pair.pump()
    pair.engine.cancel_done()
    pair.pump()
    assert copy.finished
    assert pair.engine.reusable
    assert pair.backend.committed == []


def test_what_is_asked_behind_an_abandoned_copy_waits_for_its_end(pair: Pair) -> None:
    pair.backend.silent = True
    copy = pair.run(CopyIn("copy t from stdin"))
    pair.engine.abandon(copy)
    pair.engine.take_cancel()
    cold = query("select")
    pair.engine.submit(cold)
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert cold.error is None
    assert pair.engine.reusable


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("copy t to stdout", "the statement is COPY TO STDOUT"),
        ("insert", "the statement is not COPY FROM STDIN"),
    ],
)
def test_copy_in_of_something_else(pair: Pair, sql: str, text: str) -> None:
    copy = pair.run(CopyIn(sql))
    assert str(copy.error) == text
    assert pair.engine.reusable
    assert sql_error(pair.run(CopyIn("copy nowhere from stdin"))) == "42P01"
    assert pair.engine.reusable


def test_copy_in_of_something_else_that_is_lost_may_have_happened(pair: Pair) -> None:
    pair.backend.silent = True
    copy = pair.run(CopyIn("insert"))
    pair.eof()
    assert getattr(copy.error, "outcome", None) is Outcome.UNKNOWN


def test_copy_out(pair: Pair) -> None:
    copy = CopyOut("copy t to stdout")
    pair.run(copy)
    assert copy.take() == [b"1\n2\n"]  # a message for each row, one piece for what has arrived
    assert copy.take() == []
    assert copy.rowcount == 2
    assert copy.take_progress()
    assert not copy.take_progress()
    copy = CopyOut("copy big to stdout")
    pair.limit = 500_000
    pair.run(copy)
    room = [pair.engine.wants_read]
    assert [len(piece) for piece in copy.take()] == [8 * 60_000]
    room.append(pair.engine.wants_read)
    pair.deliver(b"")
    assert room == [False, True]


def test_an_abandoned_copy_out_is_dropped(pair: Pair) -> None:
    copy = CopyOut("copy big to stdout")
    pair.limit = 100_000
    pair.run(copy)
    pair.engine.abandon(copy)
    pair.limit = -1
    assert pair.engine.wants_read
    assert pair.engine.take_cancel() is not None


# ---- Streams, scripts, resets


def test_stream(pair: Pair) -> None:
    stream = pair.run(Stream(QueuedQuery("select", ())))
    assert [row[0] for row in stream.take()] == [1, 2, 3]
    assert stream.take() == []
    assert stream.error is None
    broken = pair.run(Stream(QueuedQuery("select text", ())))
    assert isinstance(broken.error, DataError)
    assert broken.error.outcome is Outcome.COMMITTED
    dropped = Stream(QueuedQuery("select", ()))
    pair.engine.submit(dropped)
    pair.send()
    pair.engine.abandon(dropped)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.pump()
    assert dropped.take() == []


def test_script(pair: Pair) -> None:
    script = pair.run(Script("insert; select; bad; insert"))
    assert sql_error(script) == "22012"
    assert [result.tag for result in script.results] == ["INSERT 0 1", "SELECT 3"]
    assert script.results[1].columns == ("n",)
    assert len(script.results[1].rows) == 3
    assert script.results[0].rowcount == 1
    assert repr(script.results[0]) == "<ScriptResult 'INSERT 0 1', 0 rows>"
    assert pair.backend.committed == []
    assert [result.tag for result in pair.run(Script("")).results] == [""]
    assert pair.run(Script("DISCARD ALL")).error is None


def test_a_script_whose_rows_cannot_be_decoded(pair: Pair) -> None:
    script = pair.run(Script("select text"))
    assert isinstance(script.error, DataError)
    assert script.error.outcome is Outcome.COMMITTED
    assert pair.engine.reusable


def test_a_script_that_completed_is_committed_before_it_is_said(pair: Pair) -> None:
    for limit, expected in ((0, Outcome.FAILED), (1, Outcome.UNKNOWN)):
        fresh = Pair(SCRIPT)
        fresh.backend.messages_left = limit
        fresh.backend.last_words = FATAL
        script = fresh.run(Script("insert"))
        fresh.eof()
        assert getattr(script.error, "outcome", None) is expected
        assert getattr(script.error, "executed", None) is bool(limit)


def test_reset(pair: Pair) -> None:
    pair.deliver(ParameterStatus("a", "b").encode())
    dirty = [pair.engine.dirty]
    assert pair.run(Reset("DISCARD ALL")).error is None
    dirty.append(pair.engine.dirty)
    pair.engine.forget_traces()
    dirty += [pair.engine.dirty, pair.engine.touched]
    pair.run(Script(""))
    dirty += [pair.engine.dirty, pair.engine.touched]
    pair.run(Script("set x = 1"))
    dirty.append(pair.engine.dirty)
    pair.engine.forget_traces()
    pair.run(CopyOut("copy (select f()) to stdout"))
    dirty.append(pair.engine.dirty)
    assert dirty == [True, True, False, False, False, True, True, True]
    assert isinstance(pair.run(Reset("BEGIN")).error, LocalProtocolError)
    pair.run(Script("ROLLBACK"))
    assert sql_error(pair.run(Reset("bad"))) == "22012"


def test_notices_in_the_middle_change_nothing(pair: Pair) -> None:
    prepare = Prepare(Statement("select", "mine", kept=True))
    pair.engine.submit(prepare)
    pair.send()
    pair.deliver(NoticeResponse({"M": "x"}).encode())
    pair.pump()
    assert prepare.statement.columns == ("n",)


def test_what_an_operation_without_parts_says() -> None:
    operation = Operation()
    operation.turned_away(KeyboardInterrupt())  # has no outcome to carry
    closed = ConnectionClosed("closed")
    operation.turned_away(closed)
    assert closed.outcome is Outcome.NOT_SENT
    assert closed.sqlstate == ""
    segment = Segment(operation, 0)
    assert operation.ends_block(Pair(SCRIPT).engine.channel, segment)
    assert segment.failed == NOWHERE


@pytest.mark.holds("L2")
def test_an_interrupt_out_of_a_record_leaves_nothing_of_it() -> None:
    class Zone(tzinfo):
        def utcoffset(self, when: datetime | None) -> timedelta:
            raise KeyboardInterrupt

        dst = utcoffset

        def tzname(self, when: datetime | None) -> str:
            return "?"

    statement = Statement("insert $1", "s")
    statement.parameters_described((1184,))
    buffer = ExecutionBuffer(ExecuteMany(statement.sql, statement))
    with pytest.raises(KeyboardInterrupt):
        buffer.add((datetime(2020, 1, 1, tzinfo=Zone()),))
    assert buffer.end() is None


def test_an_error_that_is_taken_is_not_kept() -> None:
    operation = Script("select 1/0")
    Pair({"select 1/0": fails("22012")}).run(operation)
    error = operation.error
    assert error is not None
    assert operation.take_error() is error
    assert operation.error is None


class Thing:
    """What a caller has."""


def test_a_session_that_was_lost_keeps_no_callers_frames() -> None:
    """The error of its last COPY has them, once it was raised."""
    pair = Pair(SCRIPT)
    thing = Thing()
    gone = weakref.ref(thing)

    def call(thing: Thing) -> None:
        operation = CopyIn("copy t from stdin")
        pair.engine.submit(operation)
        pair.deliver(FATAL)
        pair.eof()
        pair.ready.clear()
        assert operation.error is not None
        raise operation.error

    with pytest.raises(ConnectionLost):
        call(thing)
    del thing
    gc.collect()
    assert gone() is None
