"""The client's side of PGConnection up to the first ReadyForQuery."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.errors import PostgresError
from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection, Secure, states
from pgproto.wire import (
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    BackendKeyData,
    EncryptionResponse,
    ErrorResponse,
    GSSENCRequest,
    Message,
    NegotiateProtocolVersion,
    ParameterStatus,
    Query,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    tags,
)
from tests.support.backend import FATAL, POOLER_FATAL, error_fields
from tests.support.drive import drain, ready, receive

ERROR = ErrorResponse(error_fields("22012"))


@pytest.mark.parametrize("request_type", [SSLRequest, GSSENCRequest])
def test_the_answer_to_a_request_for_encryption_is_one_byte(request_type: type[Message]) -> None:
    yes = b"S" if request_type is SSLRequest else b"G"
    for rest in (b"x", FATAL, yes):
        connection = PGConnection(CLIENT)
        connection.send(request_type())
        connection.receive_data(yes + rest)
        closed = connection.next_event()
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, RemoteProtocolError)
    connection = PGConnection(CLIENT)
    connection.send(request_type())
    assert connection.next_event() is NEED_DATA
    connection.receive_data(yes)
    assert isinstance(connection.next_event(), Secure)
    assert connection.next_event() is NEED_DATA
    connection.receive_data(b"x")
    with pytest.raises(LocalProtocolError, match="TLS cannot begin here"):
        connection.secured()
    assert isinstance(connection.next_event(), Closed)
    for byte in set(range(256)) - {ord("N"), yes[0]}:
        connection = PGConnection(CLIENT)
        connection.send(request_type())
        connection.receive_data(bytes((byte,)))
        assert isinstance(connection.next_event(), Closed)
    connection = PGConnection(CLIENT)
    connection.send(request_type())
    connection.receive_data(b"N")
    assert connection.next_event() == EncryptionResponse(b"N")
    connection.send(StartupMessage({"user": "a"}))


def test_encryption_begins_once_and_before_anything_else() -> None:
    connection = PGConnection(CLIENT)
    connection.secured()
    with pytest.raises(LocalProtocolError):
        connection.secured()
    with pytest.raises(LocalProtocolError):
        ready().secured()


def test_authentication_ok_at_every_state_of_sasl() -> None:
    for steps in range(5):
        connection = PGConnection(CLIENT)
        connection.send(StartupMessage({"user": "a"}))
        conversation: list[Message] = [
            AuthenticationSASL(("SCRAM-SHA-256",)),
            SASLInitialResponse("SCRAM-SHA-256", b""),
            AuthenticationSASLContinue(b""),
            SASLResponse(b""),
            AuthenticationSASLFinal(b""),
        ]
        for message in conversation[:steps]:
            if message.tag == tags.PASSWORD_MESSAGE:
                connection.send(message)
            else:
                connection.receive_data(message.encode())
                assert connection.next_event() == message
        connection.receive_data(AuthenticationOk().encode())
        event = connection.next_event()
        if steps == 0:
            assert event == AuthenticationOk()
        else:
            assert isinstance(event, Closed)
            assert "unexpected Authentication in state SASL" in str(event.error)


@pytest.mark.parametrize("version", [196608, 196609, 196610, 196611, 131072, 0, 262144])
def test_negotiation_of_the_protocol_version(version: int) -> None:
    connection = PGConnection(CLIENT)
    connection.send(StartupMessage({"user": "a"}))
    assert connection.protocol == 196610
    connection.receive_data(NegotiateProtocolVersion(version, ()).encode())
    event = connection.next_event()
    if version in (196608, 196609, 196610):
        assert isinstance(event, NegotiateProtocolVersion)
        assert connection.protocol == version
    else:
        assert isinstance(event, Closed)
        assert isinstance(event.error, RemoteProtocolError)


@pytest.mark.parametrize(("protocol", "length"), [(196608, 4), (196608, 8), (196610, 4), (196610, 256)])
def test_the_length_of_a_cancel_key(protocol: int, length: int) -> None:
    connection = PGConnection(CLIENT)
    connection.send(StartupMessage({"user": "a"}, protocol))
    connection.receive_data(AuthenticationOk().encode() + BackendKeyData(1, bytes(length)).encode())
    event = drain(connection)[-1]
    if protocol == 196608 and length != 4:
        assert isinstance(event, Closed)
        assert str(event.error) == "the server sent a cancel key of 8 bytes in protocol 3.0"
    else:
        assert event == connection.backend_key


def test_a_flood_of_parameters_is_bounded() -> None:
    connection = ready()
    for number in range(3000):
        connection.receive_data(ParameterStatus(f"p{number}", "v").encode())
    drain(connection)
    assert len(connection.parameters) == 1000
    for number in range(10_000):  # 4 MB, of which the last is kept
        connection.receive_data(ParameterStatus("p1", f"{number:0400}").encode())
        connection.next_event()
    assert connection.parameters["p1"] == f"{9_999:0400}"
    assert connection.phase == states.READY
    for number in range(1000):
        connection.receive_data(ParameterStatus(f"p{number}", "v" * 20_000).encode())
    closed = drain(connection)[-1]
    assert isinstance(closed, Closed)
    assert str(closed.error) == "the server's parameters exceed 1 MiB"


def test_the_error_of_a_refused_start_is_an_event_and_the_cause() -> None:
    connection = PGConnection(CLIENT)
    connection.send(StartupMessage({"user": "a"}))
    error, closed = receive(connection, [ERROR.encode() + POOLER_FATAL])
    assert error == ERROR
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, PostgresError)
    assert len(closed.also) == 1


def test_what_does_not_fit_the_wire_changes_nothing() -> None:
    connection = ready()
    with pytest.raises(LocalProtocolError):
        connection.send(Query("a\0b"))
    assert connection.in_flight == 0
    assert repr(connection) == "<PGConnection CLIENT READY IDLE, 0 in flight>"
    assert connection.unread == 0
    assert connection.head is None
