"""The trace of a connection: every byte of both sides, message by message, as it was sent and taken in."""

from __future__ import annotations

import pytest

from pgproto.protocol import CLIENT, SERVER, Closed, DataRows, Executes, PGConnection
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationOk,
    Bind,
    BindComplete,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyOutResponse,
    DataRow,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    FieldDescription,
    Message,
    NoticeResponse,
    ParseComplete,
    PasswordMessage,
    Query,
    ReadyForQuery,
    RowDescription,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
    trace_bytes,
)
from tests.support.drive import drain, ready
from tests.support.pair import byte_by_byte, whole

SENT: list[tuple[int, list[Message]]] = [
    (CLIENT, [SSLRequest()]),
    (SERVER, [EncryptionResponse(b"N")]),
    (CLIENT, [StartupMessage({"user": "u"})]),
    (SERVER, [AuthenticationCleartextPassword()]),
    (CLIENT, [PasswordMessage(b"hush")]),
    (SERVER, [AuthenticationOk(), ReadyForQuery("I")]),
    (CLIENT, [Query("select"), Query("copy")]),
    (SERVER, [RowDescription([FieldDescription("n", 0, 0, 23, 4, -1)]), DataRow((b"1",)), DataRow((b"2",))]),
    (SERVER, [NoticeResponse({"M": "x"}), DataRow((b"3",)), CommandComplete("SELECT 3"), ReadyForQuery("I")]),
    (SERVER, [CopyOutResponse(0, ()), CopyData(b"1"), CopyData(b"2"), CopyDone(), CommandComplete("COPY 2")]),
    (SERVER, [ErrorResponse({"S": "FATAL", "M": "bye"})]),
]


@pytest.mark.parametrize("chop", [whole, byte_by_byte])
@pytest.mark.parametrize("raw", [False, True])
def test_it_has_every_message_of_both_sides(chop: object, raw: bool) -> None:
    assert callable(chop)
    halves = {role: PGConnection(role, raw=raw) for role in (CLIENT, SERVER)}
    traces: dict[int, list[tuple[str, bytes, bool]]] = {CLIENT: [], SERVER: []}
    for role, half in halves.items():
        half.trace = lambda *shown, seen=traces[role]: seen.append(shown)
    expected: list[tuple[str, bytes]] = []
    for role, messages in SENT:
        data = b"".join([halves[role].send(message) for message in messages])
        for piece in chop(data):
            halves[1 - role].receive_data(piece)
            drain(halves[1 - role])
        expected.append(("F" if role == CLIENT else "B", data))
    for seen in traces.values():
        for direction in ("F", "B"):
            bytes_seen = b"".join([data for sender, data, _ in seen if sender == direction])
            assert bytes_seen == b"".join([data for sender, data in expected if sender == direction])
        assert [startup for _, _, startup in seen][:4] == [True, True, True, False]
        lines = [line for shown in seen for line in trace_bytes(*shown)]
        assert len(lines) == sum(len(messages) for _, messages in SENT)
        assert not any(line.startswith("#") for line in lines)
        assert "hush" not in "".join(lines)
        assert lines[0] == "F\t8\tSSLRequest"


def test_a_run_of_executions_is_shown_whole() -> None:
    connection = ready()
    seen: list[str] = []
    connection.trace = lambda *shown: seen.extend(trace_bytes(*shown))
    one = Bind("", "s", (), (), ()).encode() + Execute().encode()
    connection.send(Executes("s", 3 * one, 3))
    connection.send(Sync())
    connection.receive_data(3 * (BindComplete().encode() + CommandComplete("INSERT 0 1").encode()))
    drain(connection)
    assert [line.split("\t")[2] for line in seen] == [
        *(["Bind", "Execute"] * 3),
        "Sync",
        *(["BindComplete", "CommandComplete"] * 3),
    ]


def test_what_is_refused_is_not_shown_and_what_is_unexpected_is() -> None:
    connection = ready()
    seen: list[str] = []
    connection.trace = lambda *shown: seen.extend(trace_bytes(*shown))
    with pytest.raises(Exception, match="cannot send"):
        connection.send(CopyDone())
    connection.receive_data(ParseComplete().encode())
    assert isinstance(connection.next_event(), Closed)
    assert seen == ["B\t4\tParseComplete"]


def test_a_hook_that_raises_is_taken_out() -> None:
    connection = ready()
    error = RuntimeError("full disk")

    def fail(*_: object) -> None:
        raise error

    connection.trace = fail
    assert connection.send(Query("select")) == Query("select").encode()
    assert connection.trace_error is error
    assert getattr(connection, "trace") is None  # noqa: B009 - mypy would call the rest unreachable
    connection.trace = fail
    connection.receive_data(RowDescription(()).encode() + DataRow(()).encode())
    assert [type(event) for event in drain(connection)] == [RowDescription, DataRows]
    connection.send(Terminate())
