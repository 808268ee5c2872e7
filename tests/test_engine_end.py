"""How a session ends: once, with the first cause, and a label for each query."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import (
    Batch,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    ServerCrash,
)
from pgproto.protocol import states
from pgproto.session import (
    GRACE,
    CopyIn,
    CopyOut,
    Execution,
    Operation,
    Script,
)
from pgproto.wire import (
    BindComplete,
    CommandComplete,
    CopyBothResponse,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    ErrorResponse,
    ParameterStatus,
    PortalSuspended,
    ReadyForQuery,
)
from tests.support.backend import CRASH, FATAL, POOLER_FATAL, Answer, error_fields, rows_of
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import SCRIPT, error_of, query

ERROR = ErrorResponse(error_fields("22012")).encode()


@pytest.fixture(params=[whole, byte_by_byte], ids=["whole", "bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    chop: Callable[[bytes], list[bytes]] = request.param
    return Pair(SCRIPT, chop=chop)


def test_write_failed_and_the_fatal_arrives() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    sent, unsent = query("select 1"), query("select 1")
    pair.engine.submit(sent)
    pair.send()
    pair.engine.submit(unsent)
    broken = BrokenPipeError("broken pipe")
    pair.engine.write_failed(broken)
    pair.engine.write_failed(ValueError("again"))
    assert pair.engine.closed
    assert pair.engine.cause is broken
    assert pair.engine.data_to_send() == b""
    with pytest.raises(ConnectionClosed) as caught:
        pair.engine.submit(query("select 1"))
    assert caught.value.__cause__ is broken
    assert not sent.finished
    pair.deliver(FATAL + POOLER_FATAL)
    pair.eof()
    error = error_of(sent)
    assert isinstance(error, ConnectionLost)
    assert error.sqlstate == "57P01"
    assert [type(each) for each in error.also] == [type(PostgresError.of({"C": "08P01"})), BrokenPipeError]
    assert unsent.items[0].outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("eof", [True, False])
def test_write_failed_and_nothing_arrives(eof: bool) -> None:
    pair = Pair(SCRIPT)
    operation = query("select 1")
    pair.engine.submit(operation)
    broken = BrokenPipeError("broken pipe")
    pair.engine.write_failed(broken)
    if eof:
        pair.eof()
    else:
        pair.pass_time(GRACE)
    error = error_of(operation)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is Outcome.NOT_SENT
    assert broken in (*error.also, *([error.__cause__.__cause__] if error.__cause__ else []))
    assert pair.engine.finished


def test_a_write_that_fails_after_the_end_changes_nothing() -> None:
    pair = Pair(SCRIPT)
    pair.engine.close()
    pair.engine.write_failed(BrokenPipeError("broken pipe"))
    assert pair.engine.finished
    assert pair.engine.next_deadline() is None
    assert pair.engine.cause is None


def test_fatal_without_eof_ends_after_grace() -> None:
    pair = Pair(SCRIPT)
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.send()
    pair.deliver(FATAL)
    assert not operation.finished
    assert pair.engine.next_deadline() == pair.now + GRACE
    pair.deliver(POOLER_FATAL)
    pair.pass_time(GRACE)
    error = error_of(operation)
    assert isinstance(error, ConnectionLost)
    assert len(error.also) == 1
    pair.deliver(POOLER_FATAL)
    pair.eof()
    pair.engine.transport_failed(OSError())
    pair.engine.close()
    assert pair.engine.next_deadline() is None


def test_a_crash_is_a_crash(pair: Pair) -> None:
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.send()
    pair.deliver(CRASH)
    pair.eof()
    error = error_of(operation)
    assert isinstance(error, ServerCrash)
    assert error.sqlstate == "57P02"


def test_fatal_while_idle_is_what_the_next_query_hears(pair: Pair) -> None:
    pair.deliver(FATAL)
    pair.eof()
    assert pair.engine.finished
    with pytest.raises(ConnectionClosed) as caught:
        pair.engine.submit(query("select 1"))
    assert isinstance(caught.value.__cause__, PostgresError)
    assert caught.value.outcome is Outcome.NOT_SENT


def test_close_says_good_bye_once(pair: Pair) -> None:
    pair.run(query("select 1"))
    pair.engine.close()
    pair.engine.close()
    assert pair.send() == b"X\0\0\0\4"
    assert pair.engine.finished
    assert pair.engine.cause is None
    with pytest.raises(ConnectionClosed):
        pair.engine.check_open()


def test_close_in_the_middle() -> None:
    pair = Pair(SCRIPT)
    running = query("select 1")
    pair.engine.submit(running)
    pair.engine.close()
    assert pair.send() == b""  # what was not sent is not sent any more
    assert running.items[0].outcome is Outcome.NOT_SENT
    pair = Pair(SCRIPT)
    copy = pair.run(CopyIn("copy t from stdin"))
    assert pair.engine.connection.head_state == states.QUERY_COPY_IN
    pair.engine.close()
    assert isinstance(copy.error, ConnectionLost)
    assert copy.error.outcome is Outcome.NOT_COMMITTED
    pair = Pair(SCRIPT, started=False)
    pair.engine.close()
    assert pair.engine.data_to_send() == b""


def test_a_row_that_is_malformed_ends_the_session(pair: Pair) -> None:
    pair.backend.script["select 1"] = Answer("SELECT 1", columns=[("n", 23)], rows=[[b"\0\0\0\1", b"extra"]])
    operations = [query("select 1"), query("select 2")]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    for operation in operations:
        assert isinstance(operation.error, RemoteProtocolError)
        assert operation.error.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT)
    assert pair.engine.finished


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        (query("select 1"), BindComplete().encode() + PortalSuspended().encode()),
        (Script("select 1"), CopyBothResponse(0, ()).encode()),
        (CopyIn("copy t from stdin"), CopyBothResponse(0, ()).encode()),
        (CopyOut("copy t to stdout"), CopyBothResponse(0, ()).encode()),
    ],
    ids=["suspended", "script", "copy in", "copy out"],
)
def test_an_answer_to_what_nobody_asked_ends_the_session(operation: Operation, answer: bytes) -> None:
    """A part of the rows is not the result; and replication would wait for us for ever."""
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    pair.backend.silent = True
    pair.run(operation)
    pair.deliver(answer)
    error = error_of(operation)
    assert isinstance(error, RemoteProtocolError)
    assert str(error).startswith("unexpected ")
    assert pair.engine.closed


@pytest.mark.parametrize(("name", "closed"), [("LATIN1", True), ("SQL_ASCII", True), ("UTF8", False)])
def test_texts_are_not_read_in_another_encoding(pair: Pair, name: str, closed: bool) -> None:
    """The bytes of one encoding are often good ones of another, and mean something else."""
    pair.run(query("select 1"))
    pair.backend.silent = True
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.pump()
    pair.deliver(ParameterStatus("client_encoding", name).encode())
    assert pair.engine.closed is closed
    if closed:
        assert f"client_encoding {name}" in str(error_of(operation))


def test_one_callers_timeout_is_a_lost_connection_to_the_others() -> None:
    pair = Pair({"insert": Answer("INSERT 0 1", types=[25]), "select 1": rows_of(1)})
    pair.run(query("insert", "x"))
    pair.run(query("select 1"))
    pair.backend.silent = True
    first = query("select 1")
    pair.engine.submit(first)
    batch = Batch()
    for _ in range(10):
        batch.queue("insert", "x" * 30_000)
    operation = Execution(batch.take())
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send(70_000)
    pair.pass_time(1)
    assert isinstance(operation.error, QueryTimeout)
    assert not isinstance(first.error, QueryTimeout)
    assert isinstance(first.error, ConnectionLost)
    assert isinstance(first.error.__cause__, ConnectionLost)


def test_last_words_are_not_drowned_by_a_deadline() -> None:
    """While the rest of the server's last words is awaited, the time that runs out is no better reason."""
    pair = Pair(SCRIPT)
    preparing = query("select 1", timeout=pair.now + GRACE / 2)
    pair.engine.submit(preparing)
    pair.send()
    pair.deliver(FATAL)
    pair.now += GRACE / 2
    pair.engine.tick()
    pair.eof()
    error = error_of(preparing)
    assert isinstance(error, ConnectionLost)
    assert error.sqlstate == "57P01"
    assert error.outcome is Outcome.NOT_SENT


def test_a_batch_raises_its_query_s_error_although_silence_follows() -> None:
    """ERROR, and no ReadyForQuery: the time that runs out ends the session, but it is not what was wrong."""
    pair = Pair(SCRIPT)
    batch = Batch()
    items = [batch.queue(sql) for sql in ("insert", "bad", "insert")]
    operation = Execution(batch.take())
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()
    pair.send()
    pair.deliver(bytes(pair.backend.out).removesuffix(ReadyForQuery("I").encode()))
    pair.pass_time(1 + 2 * GRACE)
    assert [item.outcome for item in items] == [Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.SKIPPED]
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert error.sqlstate == "22012"
    assert isinstance(items[0].error, QueryTimeout)


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("words", [FATAL, POOLER_FATAL, ERROR], ids=["fatal", "pooler", "error"])
def test_last_words_during_copy(direction: str, words: bytes) -> None:
    """The server's own error names the COPY that it was at; a pooler's does not know."""
    sql = "copy t from stdin" if direction == "in" else "copy t to stdout"
    pair = Pair({sql: Answer("COPY 1", copy=direction)})
    copy = CopyIn(sql) if direction == "in" else CopyOut(sql)
    pair.engine.submit(copy)
    pair.send()
    pair.deliver(CopyInResponse(0, ()).encode() if direction == "in" else CopyOutResponse(0, ()).encode())
    pair.deliver(words)
    pair.eof()
    error = error_of(copy)
    assert isinstance(error, ConnectionLost if words is not ERROR else PostgresError)
    undecided = Outcome.NOT_COMMITTED if direction == "in" else Outcome.UNKNOWN
    decided = words is ERROR or (words is FATAL and direction == "out")
    assert error.outcome is (Outcome.FAILED if decided else undecided)


def test_last_words_behind_the_tag_of_a_copy_decide_nothing() -> None:
    pair = Pair(SCRIPT)
    copy = CopyOut("copy t to stdout")
    pair.engine.submit(copy)
    pair.send()
    pair.deliver(CopyOutResponse(0, ()).encode() + CopyDone().encode() + CommandComplete("COPY 0").encode())
    pair.deliver(FATAL)
    pair.eof()
    error = error_of(copy)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is Outcome.UNKNOWN
    assert error.executed


@pytest.mark.parametrize("make", [CopyIn, CopyOut, Script])
def test_the_error_of_a_simple_query_counts_without_ready_for_query(make: Callable[[str], Operation]) -> None:
    pair = Pair(SCRIPT)
    operation = make("copy nowhere")
    pair.engine.submit(operation)
    pair.send()
    pair.deliver(ErrorResponse(error_fields("42P01")).encode())
    pair.eof()
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert (error.sqlstate, error.outcome) == ("42P01", Outcome.FAILED)


@pytest.mark.parametrize(
    ("operation", "answer", "outcome"),
    [
        (CopyOut("copy t from stdin"), CopyInResponse(0, ()), Outcome.FAILED),
        (CopyIn("copy t to stdout"), CopyOutResponse(0, ()), Outcome.UNKNOWN),  # of an INSERT, perhaps
    ],
)
def test_a_copy_in_the_wrong_direction_that_is_lost(
    operation: Operation, answer: CopyInResponse | CopyOutResponse, outcome: Outcome
) -> None:
    pair = Pair(SCRIPT)
    pair.engine.submit(operation)
    pair.send()
    pair.deliver(answer.encode())
    pair.eof()
    error = error_of(operation)
    assert isinstance(error, LocalProtocolError)
    assert error.outcome is outcome


@pytest.mark.parametrize("operation", [Script("select 1"), query("select 1")], ids=["script", "batch"])
def test_a_fatal_that_crosses_a_query_does_not_make_it_sent(operation: Operation) -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))  # prepared by now
    pair.engine.submit(operation)
    pair.deliver(FATAL)
    pair.eof()
    error = error_of(operation)
    assert isinstance(error, ConnectionLost)
    assert (error.sqlstate, error.outcome) == ("57P01", Outcome.NOT_SENT)


def test_what_the_server_runs_is_known_until_the_session_is_closed() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    running = [pair.engine.running]
    pair.engine.submit(query("select 1"))
    pair.send()
    running.append(pair.engine.running)
    pair.engine.close()
    running.append(pair.engine.running)
    key = pair.engine.connection.backend_key
    assert key is not None
    assert running == [None, key, None]
