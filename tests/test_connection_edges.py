"""A connection at its limits: what is kept, what is refused, and which of two causes is reported."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, LocalProtocolError, PostgresError, RemoteProtocolError
from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, PGConnection
from pgproto.wire import (
    CancelRequest,
    CommandComplete,
    EncryptionResponse,
    ErrorResponse,
    GSSENCRequest,
    NoticeResponse,
    ParameterStatus,
    Query,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
)
from tests.support.drive import LOGIN, drain, ready, walk


def error(code: str, severity: str = "ERROR") -> ErrorResponse:
    return ErrorResponse({"S": severity, "V": severity, "C": code, "M": code})


def closed(connection: PGConnection) -> Closed:
    event = drain(connection)[-1]
    assert isinstance(event, Closed)
    return event


def test_eight_causes_are_kept_beside_the_first() -> None:
    connection = ready()
    first = OSError("first")
    connection.close(first)
    connection.close(first)
    connection.close(None)
    later = [OSError(str(number)) for number in range(20)]
    for each in later:
        connection.close(each)
    assert closed(connection).error is first
    assert closed(connection).also == later[:8]


def test_errors_behind_the_end_are_looked_for_in_64_kib() -> None:
    notice = NoticeResponse({"M": "x" * 1000}).encode()
    for count, found in ((60, True), (70, False)):
        connection = ready()
        connection.receive_data(error("57P01", "FATAL").encode())
        assert isinstance(closed(connection).error, PostgresError)
        for _ in range(count):
            connection.receive_data(notice)
        connection.receive_data(error("57P02", "FATAL").encode())
        assert [each.sqlstate for each in closed(connection).also if isinstance(each, PostgresError)] == (
            ["57P02"] if found else []
        )


def test_an_error_explains_an_eof_and_nothing_else() -> None:
    connection = ready(Query("select"))
    connection.receive_data(error("22012").encode() + CommandComplete("SELECT 1").encode())
    event = closed(connection)
    assert isinstance(event.error, RemoteProtocolError)
    assert event.also == []
    assert len(event.unanswered) == 1


def test_parameters_take_one_mib_together() -> None:
    for count, fits in ((41, True), (42, False)):
        connection = ready()
        for number in range(count):
            connection.receive_data(ParameterStatus(f"p{number:02}", "x" * 25_000).encode())
        event = drain(connection)[-1]
        assert isinstance(event, Closed) is not fits
        if isinstance(event, Closed):
            assert str(event.error) == "the server's parameters exceed 1 MiB"
            continue
        for _ in range(9):  # a new value takes the place of the old one
            connection.receive_data(ParameterStatus("p00", "y" * 25_000).encode())
        drain(connection)
        assert connection.closed is None
        assert connection.parameters["p00"] == "y" * 25_000


def test_a_refusal_with_the_start_behind_it_in_one_segment() -> None:
    connection = PGConnection(SERVER)
    start = StartupMessage({"user": "app"})
    connection.receive_data(SSLRequest().encode() + start.encode())
    assert connection.next_event() == SSLRequest()
    connection.send(EncryptionResponse(b"N"))
    assert connection.next_event() == start


def test_the_answer_is_to_the_last_request_for_encryption() -> None:
    client, server = PGConnection(CLIENT), PGConnection(SERVER)
    for request, answer in ((GSSENCRequest(), b"N"), (SSLRequest(), b"S")):
        server.receive_data(client.send(request))
        assert server.next_event() == request
        client.receive_data(server.send(EncryptionResponse(answer)))
        event = client.next_event()
        assert type(event).__name__ == ("EncryptionResponse" if answer == b"N" else "Secure")
    for each in (client, server):
        each.secured()
        assert each.encrypted
        assert each.next_event() is NEED_DATA


def test_new_connections() -> None:
    for role in (CLIENT, SERVER):
        connection = PGConnection(role)
        assert (connection.role, connection.encrypted, connection.protocol) == (role, False, 0x30000)
        assert (connection.parameters, connection.backend_key, connection.transaction_status) == (
            {},
            None,
            "",
        )
        assert (connection.in_flight, connection.head, connection.unread) == (0, None, 0)
        assert connection.closed is None


def test_the_status_is_what_the_last_ready_for_query_said() -> None:
    connection = ready(Query("begin"))
    assert connection.transaction_status == "I"
    connection.receive_data(CommandComplete("BEGIN").encode() + ReadyForQuery("T").encode())
    drain(connection)
    assert connection.transaction_status == "T"


def test_nothing_is_encrypted_twice() -> None:
    client = PGConnection(CLIENT)
    client.send(SSLRequest())
    client.receive_data(b"S")
    client.next_event()
    client.secured()
    for request in (SSLRequest(), GSSENCRequest()):
        with pytest.raises(LocalProtocolError):
            client.send(request)


def test_a_server_knows_the_status_that_it_has_told() -> None:
    server = walk(SERVER, LOGIN)
    assert server.transaction_status == "I"


@pytest.mark.parametrize(
    ("code", "told"), [("57P01", True), ("57P02", True), ("01000", False), ("00000", False)]
)
def test_only_a_notice_of_the_end_explains_it(code: str, told: bool) -> None:
    connection = ready()
    connection.receive_data(NoticeResponse({"S": "WARNING", "C": code, "M": "text"}).encode())
    connection.receive_data(b"")
    event = closed(connection)
    assert isinstance(event.error, PostgresError if told else ConnectionLost)


def test_the_answer_to_an_earlier_request_for_encryption_is_refused() -> None:
    client = PGConnection(CLIENT)
    client.send(GSSENCRequest())
    client.receive_data(b"N")
    client.next_event()
    client.send(SSLRequest())
    client.receive_data(b"G")
    assert isinstance(closed(client).error, RemoteProtocolError)


def test_half_an_answer_to_a_request_to_cancel() -> None:
    for data, clean in ((b"", True), (b"E\0\0", False)):
        client = PGConnection(CLIENT)
        client.send(CancelRequest(7, b"0123"))
        if data:
            client.receive_data(data)
        client.receive_data(b"")
        assert (closed(client).error is None) is clean
