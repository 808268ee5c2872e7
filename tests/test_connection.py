"""The client's side of PGConnection: events, attribution, the end that comes once."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.errors import ConnectionClosed, ConnectionLost, PostgresError
from pgproto.protocol import CLIENT, NEED_DATA, Closed, DataRows, PGConnection, Skipped, states
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    Bind,
    BindComplete,
    CommandComplete,
    CopyData,
    CopyInResponse,
    DataRow,
    Describe,
    ErrorResponse,
    Execute,
    Flush,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    RowDescription,
    StartupMessage,
    Sync,
    Terminate,
)
from tests.support.backend import CRASH, FATAL, POOLER_ERROR, POOLER_FATAL, error_fields
from tests.support.drive import LOGIN, comparable, drain, ready, receive, walk
from tests.support.pair import byte_by_byte, whole
from tests.support.vectors import FRAMED, Vector
from tests.test_states import HEADS, PHASES

BACKEND_VECTORS = [vector for vector in FRAMED if vector.direction == "B"]
each_backend_vector = pytest.mark.parametrize("vector", BACKEND_VECTORS, ids=[v.id for v in BACKEND_VECTORS])
ERROR = ErrorResponse(error_fields("22012"))


def place_for(vector: Vector) -> PGConnection:
    """A client in a state in which the vector is legal, if there is one."""
    tag, kind = vector.message.tag, type(vector.message)
    for phase, table in states.BACKEND_PHASES.items():
        if kind in table:
            return walk(CLIENT, PHASES[phase])
    for state, row in states.ANSWERS.items():
        if tag in row:
            return walk(CLIENT, HEADS[state])
    return walk(CLIENT, LOGIN)


@each_backend_vector
def test_every_vector_in_every_segmentation_gives_the_same_events(vector: Vector) -> None:
    data = vector.data
    for rest in (b"", ReadyForQuery("I").encode() + NoticeResponse({"M": "x"}).encode(), b"Z\0\0"):
        for ending in (b"", b"\0"):
            stream = data + rest + ending
            connection = place_for(vector)
            expected = comparable(receive(connection, [stream, b""]))
            assert expected
            assert len([each for each in expected if each[0] == "closed"]) == 1
            partitions = [byte_by_byte(stream)]
            partitions += [[stream[:cut], stream[cut:]] for cut in range(1, len(stream))]
            for pieces in partitions:
                connection = place_for(vector)
                got = comparable(receive(connection, [*pieces, b""]))
                assert got == expected


@each_backend_vector
def test_every_vector_truncated_is_no_event(vector: Vector) -> None:
    for cut in range(len(vector.data)):
        connection = place_for(vector)
        if cut:
            connection.receive_data(vector.data[:cut])
        assert connection.next_event() is NEED_DATA
        connection.receive_data(b"")
        (closed,) = drain(connection)
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, ConnectionLost)
        where = f", {cut} bytes into a message" if cut else ""
        assert str(closed.error) == "the server closed the connection unexpectedly" + where


@pytest.mark.parametrize("chop", [whole, byte_by_byte])
def test_a_pipeline_in_any_segmentation(chop: Callable[[bytes], list[bytes]]) -> None:
    first, second = Query("select 1"), Parse("s", "select 2")
    bind, execute, sync = Bind("", "s", (), (), ()), Execute(), Sync()
    connection = ready(first, second, bind, execute, sync)
    answer: list[Message] = [
        RowDescription(()),
        DataRow((b"1",)),
        DataRow((None,)),
        NoticeResponse({"S": "NOTICE"}),
        DataRow((b"3",)),
        CommandComplete("SELECT 3"),
        ReadyForQuery("I"),
        ParseComplete(),
        BindComplete(),
        DataRow((b"4",)),
        CommandComplete("SELECT 1"),
        ReadyForQuery("T"),
    ]
    events = receive(connection, chop(b"".join([message.encode() for message in answer])))
    rows = [
        (body, event.request) for event in events if isinstance(event, DataRows) for body in event.bodies()
    ]
    assert rows == [
        (DataRow((b"1",)).encode()[5:], first),
        (DataRow((None,)).encode()[5:], first),
        (DataRow((b"3",)).encode()[5:], first),
        (DataRow((b"4",)).encode()[5:], execute),
    ]
    others = [(type(event).__name__, event.request) for event in events if not isinstance(event, DataRows)]
    assert others == [
        ("RowDescription", first),
        ("NoticeResponse", None),
        ("CommandComplete", first),
        ("ReadyForQuery", first),
        ("ParseComplete", second),
        ("BindComplete", bind),
        ("CommandComplete", execute),
        ("ReadyForQuery", sync),
    ]
    assert connection.transaction_status == "T"
    assert connection.unread == 0


def test_a_run_of_rows_is_one_event() -> None:
    connection = ready(Execute())
    rows = [DataRow((str(number).encode(),)) for number in range(100)]
    connection.receive_data(b"".join([row.encode() for row in rows]) + b"D\0")
    event = connection.next_event()
    assert isinstance(event, DataRows)
    assert event.bodies() == [row.encode()[5:] for row in rows]
    assert connection.next_event() is NEED_DATA
    assert connection.unread == 2


def test_single_bytes_take_linear_time() -> None:
    def seconds(size: int) -> float:
        connection = ready(Query("select 1"))
        connection.receive_data(RowDescription(()).encode())
        data = DataRow((bytes(size),)).encode() + CommandComplete("SELECT 1").encode()
        begin = time.process_time()
        for piece in byte_by_byte(data):
            connection.receive_data(piece)
            connection.next_event()
        assert connection.head_state == states.QUERY_NEXT
        return time.process_time() - begin

    assert seconds(200_000) < 40 * seconds(20_000) + 0.1  # quadratic time would be a hundredfold


def test_a_length_without_a_body_takes_no_memory() -> None:
    connection = ready(Query("select 1"))
    connection.receive_data(b"D\x7f\xff\xff\xff")
    (closed,) = drain(connection)
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)
    connection = PGConnection(CLIENT, max_message_size=1000)
    connection.send(StartupMessage({"user": "a"}))
    connection.receive_data(AuthenticationOk().encode() + ReadyForQuery("I").encode())
    drain(connection)
    connection.send(Query("select 1"))
    connection.receive_data(RowDescription(()).encode() + b"D\0\0\x03\xe9" + bytes(10))
    closed = drain(connection)[-1]
    assert isinstance(closed, Closed)
    assert "allowed are 4 to 1000" in str(closed.error)
    connection = PGConnection(CLIENT)
    connection.send(StartupMessage({"user": "a"}))
    connection.receive_data(b"R\x00\x00\xff\xff")
    assert isinstance(connection.next_event(), Closed)


# ---- The end


@pytest.mark.parametrize("chop", [whole, byte_by_byte])
@pytest.mark.parametrize("eof", [True, False])
def test_two_fatals_in_one_read(chop: Callable[[bytes], list[bytes]], eof: bool) -> None:
    requests = [Parse("", "select 1"), Sync()]
    connection = ready(*requests)
    junk = CommandComplete("SELECT 1").encode() + ReadyForQuery("I").encode() + b"\xff\xff\xff\xff\xff\xff"
    events = receive(connection, [*chop(FATAL + POOLER_FATAL + junk), *([b""] if eof else [])])
    assert [type(event) for event in events] == [ErrorResponse, Closed]
    assert events[0].request is requests[0]
    closed = events[1]
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, PostgresError)
    assert closed.error.sqlstate == "57P01"
    assert [error.sqlstate for error in closed.also if isinstance(error, PostgresError)] == ["08P01"]
    assert closed.unanswered == tuple(requests)
    assert connection.in_flight == 0
    assert connection.next_event() is closed
    connection.receive_data(b"")
    connection.receive_data(POOLER_FATAL)
    connection.close()
    connection.close(ValueError("late"))
    assert connection.next_event() is closed
    assert closed.error.sqlstate == "57P01"
    with pytest.raises(ConnectionClosed, match="cannot send Query"):
        connection.send(Query("select 1"))
    assert repr(connection) == "<PGConnection CLIENT CLOSED>"


def test_what_is_kept_behind_the_end_is_bounded() -> None:
    connection = ready(Query("select 1"))
    connection.receive_data(FATAL)
    for _ in range(100):
        connection.receive_data(POOLER_FATAL * 10)
    closed = drain(connection)[-1]
    assert isinstance(closed, Closed)
    assert len(closed.also) == 8
    connection = ready(Query("select 1"))
    connection.receive_data(FATAL)
    assert len(drain(connection)) == 2
    for _ in range(1000):
        connection.receive_data(b"D\0\0\x70\x00" + bytes(995))
    assert connection.unread < 1 << 17


def test_bytes_behind_a_broken_frame_are_not_looked_at() -> None:
    connection = ready(Query("select 1"))
    connection.receive_data(b"?\0\0\0\x20" + FATAL)
    connection.receive_data(FATAL)
    (closed,) = drain(connection)
    assert isinstance(closed, Closed)
    assert str(closed.error) == "unexpected message type 0x3f in state QUERY"
    assert closed.also == []


def test_error_and_then_eof_keeps_the_servers_words() -> None:
    for data in (POOLER_ERROR, ERROR.encode()):
        requests = [Parse("", "select 1"), Bind("", "", (), (), ()), Sync()]
        connection = ready(*requests)
        error, skipped, closed = receive(connection, [data, b""])
        assert isinstance(error, ErrorResponse)
        assert isinstance(skipped, Skipped)
        assert skipped.request is requests[1]
        assert skipped.cause is error
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, PostgresError)
        assert closed.error.sqlstate == error.fields["C"]
        assert isinstance(closed.also[0], ConnectionLost)
        assert closed.unanswered == (requests[2],)


def test_an_error_that_was_answered_for_is_no_hint() -> None:
    connection = ready(Query("select 1"))
    events = receive(connection, [ERROR.encode(), ReadyForQuery("I").encode(), b""])
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, ConnectionLost)
    assert closed.also == []


def test_an_error_while_idle_ends_the_session() -> None:
    error, closed = receive(ready(), [ERROR.encode()])
    assert error == ERROR
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, PostgresError)


def test_fatal_behind_command_complete() -> None:
    query = Query("select 1")
    events = receive(ready(query), [CommandComplete("SELECT 1").encode() + FATAL])
    assert [type(event) for event in events] == [CommandComplete, ErrorResponse, Closed]
    closed = events[2]
    assert isinstance(closed, Closed)
    assert closed.unanswered == (query,)


def test_a_crash_notice_is_the_cause() -> None:
    for requests in ((), (Query("select 1"),)):
        events = receive(ready(*requests), [CRASH, b""])
        closed = events[-1]
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, PostgresError)
        assert closed.error.sqlstate == "57P02"
    events = receive(
        ready(Query("x")), [CRASH, CommandComplete("x").encode(), ReadyForQuery("I").encode(), b""]
    )
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, ConnectionLost)


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_the_untranslated_severity_decides(severity: str) -> None:
    fields = {"S": "SCHWERWIEGEND", "V": severity, "C": "57P01", "M": "bye"}
    events = receive(ready(Query("select 1")), [ErrorResponse(fields).encode()])
    assert isinstance(events[-1], Closed)
    fields["S"], fields["V"] = "FATAL", "ERROR"
    events = receive(ready(Query("select 1")), [ErrorResponse(fields).encode()])
    assert [type(event) for event in events] == [ErrorResponse]


def test_an_extra_ready_for_query_poisons() -> None:
    connection = ready(Query("select 1"))
    done = CommandComplete("SELECT 1").encode() + ReadyForQuery("I").encode()
    events = receive(connection, [done + ReadyForQuery("I").encode()])
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert str(closed.error) == "unexpected ReadyForQuery in state IDLE"


def test_ready_for_query_without_an_answer_poisons() -> None:
    closed = receive(ready(Query("select 1")), [ReadyForQuery("I").encode()])[-1]
    assert isinstance(closed, Closed)
    assert str(closed.error) == "unexpected ReadyForQuery in state QUERY"


def test_a_local_close_tells_what_was_unanswered() -> None:
    query = Query("select 1")
    connection = ready(query)
    why = ValueError("why")
    connection.close(why)
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert closed.error is why
    assert closed.unanswered == (query,)
    connection = ready(query)
    assert connection.send(Terminate()) == b"X\0\0\0\4"
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert closed.error is None
    assert connection.closed is closed


def test_events_before_eof_come_first() -> None:
    connection = ready(Query("select 1"))
    connection.receive_data(
        RowDescription(()).encode() + DataRow(()).encode() + CommandComplete("S").encode()
    )
    connection.receive_data(b"")
    assert connection.phase == states.CLOSED
    events = drain(connection)
    assert [type(event) for event in events] == [RowDescription, DataRows, CommandComplete, Closed]
    with pytest.raises(ConnectionClosed):
        connection.send(Sync())


# ---- Pipelines


def test_requests_behind_an_error_are_skipped_even_if_they_are_sent_later() -> None:
    parse, bind, sync = Parse("", "x"), Bind("", "", (), (), ()), Sync()
    connection = ready(parse, bind)
    events = receive(connection, [ERROR.encode()])
    assert [(type(event), event.request) for event in events] == [(ErrorResponse, parse), (Skipped, bind)]
    late, query = Execute(), Query("select 1")
    connection.send(late)
    connection.send(query)
    connection.send(sync)
    events = drain(connection)
    assert [(type(event), event.request) for event in events] == [(Skipped, late), (Skipped, query)]
    connection.send(parse)
    events = receive(connection, [ReadyForQuery("I").encode() + ParseComplete().encode()])
    assert [event.request for event in events] == [sync, parse]


def test_flush_without_sync() -> None:
    connection = ready(Parse("", "x"), Flush())
    assert [type(each) for each in receive(connection, [ParseComplete().encode()])] == [ParseComplete]
    assert connection.in_flight == 0
    connection.send(Execute())
    connection.send(Flush())
    events = receive(connection, [CommandComplete("SELECT 0").encode()])
    assert [type(each) for each in events] == [CommandComplete]


@pytest.mark.parametrize(
    "message",
    [NoticeResponse({"S": "NOTICE"}), ParameterStatus("a", "b"), NotificationResponse(1, "jobs", "")],
    ids=lambda message: type(message).__name__,
)
def test_asynchronous_messages_between_any_two(message: Message) -> None:
    answers: list[Message] = [
        AuthenticationOk(),
        BackendKeyData(1, b"0123"),
        ReadyForQuery("I"),
        ParseComplete(),
        BindComplete(),
        DataRow((b"1",)),
        CommandComplete("SELECT 1"),
        ReadyForQuery("I"),
    ]
    for place in range(len(answers) + 1):
        connection = PGConnection(CLIENT)
        connection.send(StartupMessage({"user": "a"}))
        events: list[Message] = []
        for index, answer in enumerate(answers):
            if index == place:
                connection.receive_data(message.encode())
            connection.receive_data(answer.encode())
            events += drain(connection)
            if index == 2:
                for request in (Parse("", ""), Bind("", "", (), (), ()), Execute(), Sync()):
                    connection.send(request)
        if place == len(answers):
            events += receive(connection, [message.encode()])
        assert [type(event) for event in events if event == message] == [type(message)]
        assert len(events) == len(answers) + 1
        assert connection.phase == states.READY
        assert connection.in_flight == 0


def test_copy_in_with_requests_behind_it_cannot_go_on() -> None:
    connection = ready(Execute(), Sync(), Query("select 1"))
    event, closed = receive(connection, [CopyInResponse(0, ()).encode()])
    assert event == CopyInResponse(0, ())
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, LocalProtocolError)


def test_copy_in_of_an_extended_query_needs_a_new_sync() -> None:
    execute, sync = Execute(), Sync()
    connection = ready(execute, sync)
    receive(connection, [CopyInResponse(0, ()).encode()])
    assert connection.in_flight == 1
    with pytest.raises(LocalProtocolError, match="cannot send Sync in state EXECUTE_COPY_IN"):
        connection.send(Sync())
    connection.send(CopyData(b"1\n"))
    events = receive(connection, [ERROR.encode()])
    assert [event.request for event in events] == [execute]
    assert connection.send(CopyData(b"2\n")) == b""
    connection.send(Sync())
    with pytest.raises(LocalProtocolError, match="cannot send CopyData in state SYNC"):
        connection.send(CopyData(b"3\n"))
    assert [type(each) for each in receive(connection, [ReadyForQuery("I").encode()])] == [ReadyForQuery]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (Execute(), b"C\0\0\0\x06no"),
        (Parse("", ""), b"1\0\0\0\x05x"),
        (Describe("P", ""), b"T\0\0\0\x06\0\1"),
        (Sync(), b"Z\0\0\0\x05?"),
    ],
)
def test_an_answer_that_cannot_be_read_has_answered_nothing(request_: Message, answer: bytes) -> None:
    behind = Sync()
    connection = ready(request_, behind)
    (closed,) = receive(connection, [answer])
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)
    assert list(map(id, closed.unanswered)) == [id(request_), id(behind)]
