"""The parts of a proxy: messages forwarded unchanged, and rows as raw values."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.protocol import (
    CLIENT,
    NEED_DATA,
    SERVER,
    Closed,
    CommandCompletes,
    DataRows,
    Frames,
    PGConnection,
    Skipped,
    states,
)
from pgproto.wire import (
    Bind,
    BindComplete,
    Close,
    CloseComplete,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    ErrorResponse,
    Execute,
    FieldDescription,
    Flush,
    FunctionCall,
    FunctionCallResponse,
    Message,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    Terminate,
    frames,
    tags,
)
from pgproto.wire.binding import BindTemplate, Executes
from tests.support.drive import LOGIN, drain, ready
from tests.support.vectors import FRAMED
from tests.test_states import HEADS

COLUMNS = RowDescription([FieldDescription("n", 0, 0, 23, 4, -1, 0)])
ROWS = DataRow((b"1", None)).encode() + DataRow((b"", b"22")).encode()


class Proxy:
    """A proxy in memory: what its client and its server said, and what it told them."""

    def __init__(self) -> None:
        self.client_side = PGConnection(SERVER, raw=True)
        self.server_side = PGConnection(CLIENT, raw=True)
        self.events: list[Message] = []
        for role, message in LOGIN:
            (self.asks if role == CLIENT else self.answers)(message.encode())

    def asks(self, data: bytes) -> bytes:
        """The client sends: what the server is told."""
        return self._forward(data, self.client_side, self.server_side)

    def answers(self, data: bytes) -> bytes:
        """The server sends: what the client is told."""
        return self._forward(data, self.server_side, self.client_side)

    def _forward(self, data: bytes, source: PGConnection, target: PGConnection) -> bytes:
        source.receive_data(data)
        events = drain(source)
        self.events += events
        return b"".join([target.send(event) for event in events if not isinstance(event, (Skipped, Closed))])


def rows(data: bytes = ROWS, count: int = 2) -> DataRows:
    return DataRows(b"??" + data + b"?", 2, 2 + len(data), count)


def test_a_run_of_rows_is_given_raw() -> None:
    assert rows().values() == [[b"1", None], [b"", b"22"]]
    assert rows().encode() == ROWS


@pytest.mark.parametrize("body", [b"", b"\0\1", b"\0\0?"])
def test_a_malformed_row_is_said_to_be_one(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        rows(b"D" + (4 + len(body)).to_bytes(4, "big") + body, 1).values()


def test_a_server_sends_a_run_of_rows_as_it_is() -> None:
    proxy = Proxy()
    proxy.asks(Query("select").encode())
    server = proxy.client_side
    with pytest.raises(LocalProtocolError, match="cannot send DataRows in state QUERY"):
        server.send(rows())
    server.send(COLUMNS)
    assert server.send(rows()) == ROWS
    assert server.head_state == states.QUERY_ROWS
    server.send(CommandComplete("SELECT 2"))


def test_a_client_sends_no_rows() -> None:
    with pytest.raises(LocalProtocolError, match="cannot send DataRows"):
        ready().send(rows())


@pytest.mark.parametrize("event", [NEED_DATA, Skipped(None), CommandCompletes("SELECT 1", 1), Message()])
def test_an_event_that_is_no_message_is_not_sent(event: Message) -> None:
    with pytest.raises(LocalProtocolError, match="is no message that can be sent"):
        ready().send(event)


# Requests and the answers to them, on both ways byte for byte.  é is one byte here, which is no UTF-8.
CONVERSATIONS: list[tuple[str, list[bytes], list[bytes]]] = [
    (
        "simple",
        [b"Q\0\0\0\x0fselect '\xe9'\0"],
        [
            b"T\0\0\0\x1a\0\1\xe9\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0",
            ROWS,
            CommandComplete("SELECT 2").encode(),
            ReadyForQuery("I").encode(),
        ],
    ),
    (
        "extended",
        [
            Parse("s", "select", (23,)).encode(),
            Describe("S", "s").encode(),
            Bind("p", "s", (), (b"1",), ()).encode(),
            Describe("P", "p").encode(),
            Execute("p", 5).encode(),
            Close("P", "p").encode(),
            Flush().encode(),
            Sync().encode(),
        ],
        [
            ParseComplete().encode(),
            ParameterDescription((23,)).encode(),
            COLUMNS.encode(),
            BindComplete().encode(),
            NoData().encode(),
            ROWS,
            CommandComplete("SELECT 2").encode(),
            CloseComplete().encode(),
            ReadyForQuery("I").encode(),
        ],
    ),
    (
        "function",
        [FunctionCall(1, (), (b"x",), 0).encode()],
        [FunctionCallResponse(b"y").encode(), ReadyForQuery("I").encode()],
    ),
    (
        "copy out",
        [Query("copy").encode()],
        [
            CopyOutResponse(0, (0,)).encode(),
            CopyData(b"1\n").encode() + CopyData(b"\xe9\n").encode(),
            CopyDone().encode(),
            CommandComplete("COPY 2").encode(),
            ReadyForQuery("T").encode(),
        ],
    ),
    (
        "asynchronous",
        [Query("").encode()],
        [
            b"N\0\0\0\x0aM\xe9!?\0\0",
            NotificationResponse(7, "c", "p").encode(),
            ParameterStatus("TimeZone", "UTC").encode(),
        ],
    ),
]


@pytest.mark.parametrize(
    ("asked", "answered"), [each[1:] for each in CONVERSATIONS], ids=[each[0] for each in CONVERSATIONS]
)
def test_a_proxy_sends_on_byte_for_byte(asked: list[bytes], answered: list[bytes]) -> None:
    proxy = Proxy()
    assert proxy.asks(b"".join(asked)) == b"".join(asked)
    assert proxy.answers(b"".join(answered)) == b"".join(answered)
    assert (proxy.client_side.closed, proxy.server_side.closed) == (None, None)
    if answered[-1][:1] == b"Z":
        assert proxy.client_side.in_flight == proxy.server_side.in_flight == 0
        assert proxy.client_side.transaction_status == proxy.server_side.transaction_status


def test_frames_are_decoded_when_somebody_asks() -> None:
    proxy = Proxy()
    proxy.events.clear()
    query = Query("select 1")
    proxy.asks(query.encode())
    proxy.answers(COLUMNS.encode())
    asked, answered = proxy.events
    assert isinstance(asked, Frames)
    assert asked.messages() == [query]
    assert isinstance(answered, Frames)
    assert answered.messages() == [COLUMNS]
    assert answered.request == asked
    assert repr(answered).startswith("Frames(sender='B', type_byte=84, data=b'T")


def test_copy_data_that_came_together_is_one_event() -> None:
    proxy = Proxy()
    proxy.asks(Query("copy").encode())
    proxy.answers(CopyInResponse(0, (0,)).encode())
    proxy.events.clear()
    lines = [CopyData(b"1\n"), CopyData(b"2\n")]
    data = b"".join([line.encode() for line in lines])
    assert proxy.asks(data + CopyFail("no").encode()) == data + CopyFail("no").encode()
    run = proxy.events[0]
    assert isinstance(run, Frames)
    assert run.count == 2
    assert run.messages() == lines
    assert proxy.server_side.head_state == states.QUERY_COPY_IN_FAILED


def test_after_an_error_both_halves_are_where_the_server_is() -> None:
    proxy = Proxy()
    proxy.asks(b"".join([each.encode() for each in (Parse("", "selec"), Execute(), Sync())]))
    error = ErrorResponse({"S": "ERROR", "V": "ERROR", "C": "42601", "M": "no"})
    assert proxy.answers(error.encode()) == error.encode()
    assert proxy.client_side.head_state == proxy.server_side.head_state == states.SYNC
    assert proxy.answers(ReadyForQuery("I").encode()) == ReadyForQuery("I").encode()


def test_a_proxy_says_good_bye() -> None:
    proxy = Proxy()
    assert proxy.asks(Terminate().encode()) == Terminate().encode()
    assert proxy.server_side.closed is not None


def test_what_is_not_legal_ends_a_raw_session_too() -> None:
    for data in (b"?\0\0\0\4", b"d\0\0\0\3"):
        proxy = Proxy()
        assert proxy.asks(data) == b""
        assert isinstance(proxy.events[-1], Closed)
    proxy = Proxy()
    proxy.answers(COLUMNS.encode())
    assert isinstance(proxy.events[-1], Closed)


def test_a_run_of_executions_is_counted_in_a_raw_session() -> None:
    connection = PGConnection(CLIENT, raw=True)
    for role, message in LOGIN:
        if role == CLIENT:
            connection.send(message)
        else:
            connection.receive_data(message.encode())
            connection.next_event()
    template = BindTemplate("s", (), ())
    one = template.encode(b"") + Execute().encode()
    connection.send(Executes("s", one * 2, 2))
    connection.receive_data((BindComplete().encode() + CommandComplete("INSERT 0 1").encode()) * 2)
    assert drain(connection) == [CommandCompletes("INSERT 0 1", 2)]


@pytest.mark.parametrize(
    "message",
    [
        CommandComplete("x"),
        DataRow(()),
        ErrorResponse({"M": "x"}),
        ParameterStatus("a", "b"),
        CopyOutResponse(0, ()),
        Frames("B", tags.DATA_ROW, ROWS, 2),
    ],
)
def test_a_client_sends_nothing_that_only_servers_send(message: Message) -> None:
    """Each has a type byte that means something else from a client."""
    with pytest.raises(LocalProtocolError, match="cannot send"):
        ready().send(message)


@pytest.mark.parametrize(
    "message",
    [
        Close("S", "x"),
        Describe("S", "x"),
        Execute(),
        Flush(),
        Sync(),
        Frames("F", tags.CLOSE, Close("S", "x").encode()),
    ],
)
def test_a_server_sends_nothing_that_only_clients_send(message: Message) -> None:
    server = Proxy().client_side
    server.receive_data(Query("select").encode())
    server.next_event()
    with pytest.raises(LocalProtocolError, match="cannot send"):
        server.send(message)


def test_the_limits_hold_in_a_raw_session() -> None:
    proxy = Proxy()
    proxy.asks(b"Q" + (frames.DEFAULT_MAX_MESSAGE_SIZE + 5).to_bytes(4, "big"))
    assert isinstance(proxy.events[-1], Closed)


def test_a_notice_is_a_notice_in_a_raw_session() -> None:
    proxy = Proxy()
    proxy.answers(NoticeResponse({"S": "WARNING", "C": "57P02", "M": "crash"}).encode())
    proxy.answers(b"")
    closed = proxy.events[-1]
    assert isinstance(closed, Closed)
    assert str(closed.error) == "WARNING 57P02: crash"


def after(role: int, state: int, data: bytes, *, raw: bool) -> tuple[object, ...]:
    """Where a connection is that has received some bytes in a state of its head, and what was sent on."""
    connection = PGConnection(role, raw=raw)
    for speaker, message in HEADS[state]:
        if speaker == role:
            connection.send(message)
        else:
            connection.receive_data(message.encode())
            drain(connection)
    connection.receive_data(data)
    events = drain(connection)
    told = b"".join([event.encode() for event in events if not isinstance(event, (Closed, Skipped))])
    skipped = [event for event in events if isinstance(event, Skipped)]
    closed = connection.closed
    return (
        connection.phase,
        connection.head_state,
        connection.in_flight,
        connection.transaction_status,
        dict(connection.parameters),
        len(skipped),
        told,
        None if closed is None else (repr(closed.error), len(closed.unanswered)),
    )


@pytest.mark.parametrize("state", sorted(HEADS), ids=lambda state: states.HEAD_NAMES[state])
@pytest.mark.parametrize("role", [CLIENT, SERVER])
def test_a_raw_session_walks_as_any_other(role: int, state: int) -> None:
    """In every state, for every message of the other side, and for types that nobody knows."""
    vectors = [vector for vector in FRAMED if vector.direction == ("B" if role == CLIENT else "F")]
    pieces = [vector.data for vector in vectors if vector.data[:1] != b"p"]
    pieces += [bytes((tag, 0, 0, 0, 4)) for tag in b"?!\xff"]
    for data in pieces:
        for twice in (data, data + data):
            assert after(role, state, twice, raw=True) == after(role, state, twice, raw=False), data
