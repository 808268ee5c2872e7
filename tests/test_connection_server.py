"""The server's side of PGConnection: what servers, proxies and test doubles are written with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.errors import ConnectionClosed, ConnectionLost
from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, PGConnection, states
from pgproto.wire import (
    AuthenticationOk,
    Bind,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    Flush,
    GSSENCRequest,
    Message,
    NoticeResponse,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
)
from tests.support.backend import error_fields
from tests.support.drive import LOGIN, comparable, drain, receive, walk
from tests.support.pair import byte_by_byte, whole
from tests.support.vectors import FRAMED, Vector
from tests.test_states import HEADS, PHASES

FRONTEND_VECTORS = [vector for vector in FRAMED if vector.direction == "F"]
each_frontend_vector = pytest.mark.parametrize(
    "vector", FRONTEND_VECTORS, ids=[vector.id for vector in FRONTEND_VECTORS]
)
ERROR = ErrorResponse(error_fields("22012"))
FATAL = ErrorResponse(error_fields("57P01", severity="FATAL"))


def server(*received: Message) -> PGConnection:
    """A server that is ready and has received these."""
    connection = walk(SERVER, LOGIN)
    for message in received:
        connection.receive_data(message.encode())
        assert connection.next_event() == message
    return connection


def place_for(vector: Vector) -> PGConnection:
    """A server in a state in which the vector is legal."""
    for phase, table in states.FRONTEND_PHASES.items():
        if type(vector.message) in table:
            return walk(SERVER, PHASES[phase])
    for state, row in states.COPY_SENDS.items():
        if vector.message.tag in row:
            return walk(SERVER, HEADS[state])
    return walk(SERVER, LOGIN)


@each_frontend_vector
def test_every_vector_in_every_segmentation_gives_the_same_events(vector: Vector) -> None:
    legal = place_for(vector)
    legal.receive_data(vector.data)
    assert legal.next_event() == vector.message
    for rest in (b"", Flush().encode() + Sync().encode(), b"S\0\0\0", b"\xff" * 9):
        stream = vector.data + rest
        expected = comparable(receive(place_for(vector), [stream, b""]))
        assert expected[-1][0] == "closed"
        partitions = [byte_by_byte(stream)]
        partitions += [[stream[:cut], stream[cut:]] for cut in range(1, len(stream))]
        for pieces in partitions:
            got = comparable(receive(place_for(vector), [*pieces, b""]))
            assert got == expected


@each_frontend_vector
def test_every_vector_truncated_is_no_event(vector: Vector) -> None:
    for cut in range(1, len(vector.data)):
        connection = place_for(vector)
        connection.receive_data(vector.data[:cut])
        assert connection.next_event() is NEED_DATA
        connection.receive_data(b"")
        (closed,) = drain(connection)
        assert isinstance(closed, Closed)
        assert isinstance(closed.error, ConnectionLost)
        assert "the client closed the connection unexpectedly" in str(closed.error)


@pytest.mark.parametrize("chop", [whole, byte_by_byte])
def test_two_connections_talk(chop: Callable[[bytes], list[bytes]]) -> None:
    client, host = PGConnection(CLIENT), PGConnection(SERVER)
    dialogue: list[tuple[PGConnection, Message]] = [
        (client, SSLRequest()),
        (host, EncryptionResponse(b"N")),
        (client, GSSENCRequest()),
        (host, EncryptionResponse(b"N")),
        (client, StartupMessage({"user": "a"})),
        (host, NoticeResponse({"S": "NOTICE"})),
        (host, AuthenticationOk()),
        (host, ReadyForQuery("I")),
        (client, Query("copy t from stdin")),
        (host, CopyInResponse(0, ())),
        (client, CopyData(b"1\n")),
        (client, CopyDone()),
        (host, CommandComplete("COPY 1")),
        (host, ReadyForQuery("I")),
        (client, Query("copy t to stdout")),
        (host, CopyOutResponse(0, ())),
        (host, CopyData(b"1\n")),
        (host, CopyDone()),
        (host, CommandComplete("COPY 1")),
        (host, ReadyForQuery("T")),
        (client, Flush()),
        (client, Terminate()),
    ]
    for speaker, message in dialogue:
        listener = host if speaker is client else client
        events = receive(listener, chop(speaker.send(message)))
        assert events[0] == message
    assert host.phase == client.phase == states.CLOSED
    assert repr(host) == "<PGConnection SERVER CLOSED>"
    assert host.protocol == 196610
    assert host.transaction_status == client.transaction_status == "T"


@pytest.mark.parametrize(("request_type", "code"), [(SSLRequest, b"S"), (GSSENCRequest, b"G")])
def test_nothing_may_lie_behind_a_request_for_encryption(request_type: type[Message], code: bytes) -> None:
    connection = PGConnection(SERVER)
    connection.receive_data(request_type().encode() + b"x")
    assert connection.next_event() == request_type()
    with pytest.raises(LocalProtocolError, match="bytes after its request"):
        connection.send(EncryptionResponse(code))
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)
    connection = PGConnection(SERVER)
    connection.receive_data(request_type().encode())
    assert connection.next_event() == request_type()
    with pytest.raises(LocalProtocolError, match="did not ask for encryption of kind"):
        connection.send(EncryptionResponse(b"G" if code == b"S" else b"S"))
    assert connection.send(EncryptionResponse(code)) == code
    assert connection.next_event() is NEED_DATA
    assert connection.phase == states.SECURING
    connection.secured()
    assert connection.encrypted
    assert connection.next_event() is NEED_DATA
    connection.receive_data(request_type().encode())
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert str(closed.error) == f"a second {request_type.__name__}"


def test_bytes_before_the_handshake_are_fatal() -> None:
    connection = PGConnection(SERVER)
    connection.receive_data(SSLRequest().encode())
    assert connection.next_event() == SSLRequest()
    connection.send(EncryptionResponse(b"S"))
    connection.receive_data(b"\x16")
    assert isinstance(connection.next_event(), Closed)
    with pytest.raises(ConnectionClosed):
        connection.send(AuthenticationOk())
    with pytest.raises(LocalProtocolError):
        connection.secured()


def test_a_refusal_lets_the_client_go_on_in_clear_in_one_segment() -> None:
    connection = PGConnection(SERVER)
    connection.receive_data(SSLRequest().encode())
    assert connection.next_event() == SSLRequest()
    connection.send(EncryptionResponse(b"N"))
    connection.receive_data(StartupMessage({"user": "a"}).encode())
    assert connection.next_event() == StartupMessage({"user": "a"})
    with pytest.raises(LocalProtocolError, match="cannot send EncryptionResponse in state STARTUP"):
        connection.send(EncryptionResponse(b"N"))


def test_after_an_error_the_server_discards_until_sync() -> None:
    connection = server(Parse("", "x"))
    connection.send(ERROR)
    for message in (Bind("", "", (), (), ()), Query("select 1"), Execute()):
        connection.receive_data(message.encode())
        assert connection.next_event() is NEED_DATA
    connection.receive_data(Flush().encode() + Sync().encode() + Query("select 2").encode())
    assert drain(connection) == [Flush(), Sync(), Query("select 2")]
    connection.send(ReadyForQuery("I"))
    assert connection.head == Query("select 2")


def test_requests_that_were_read_before_the_error_are_discarded_too() -> None:
    connection = server(Parse("", "x"), Bind("", "", (), (), ()), Sync())
    connection.send(ERROR)
    with pytest.raises(LocalProtocolError, match="cannot send ParseComplete in state SYNC"):
        connection.send(ParseComplete())
    connection.send(ReadyForQuery("I"))
    with pytest.raises(LocalProtocolError, match="cannot send ErrorResponse in state IDLE"):
        connection.send(ERROR)


def test_an_error_during_the_start_and_a_fatal_end_the_session() -> None:
    connection = PGConnection(SERVER)
    connection.receive_data(StartupMessage({"user": "a"}).encode())
    assert connection.next_event() == StartupMessage({"user": "a"})
    assert connection.send(ERROR) == ERROR.encode()
    assert isinstance(connection.next_event(), Closed)
    connection = server(Query("select 1"))
    connection.send(FATAL)
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert closed.unanswered == (Query("select 1"),)
    connection.receive_data(FATAL.encode())  # a client has no last words
    assert closed.also == []


def test_copy_messages_after_a_failed_copy_are_dropped() -> None:
    connection = server(Query("copy t from stdin"))
    connection.send(CopyInResponse(0, ()))
    connection.send(ERROR)
    for message in (CopyData(b"1"), CopyDone(), CopyFail("x")):
        connection.receive_data(message.encode())
        assert connection.next_event() is NEED_DATA
    connection.send(ReadyForQuery("I"))


def test_a_copy_in_of_an_extended_query_ignores_flush_and_sync() -> None:
    connection = server(Execute(), Sync())
    connection.send(CopyInResponse(0, ()))
    assert connection.in_flight == 1
    for message in (Flush(), Sync()):
        connection.receive_data(message.encode())
        assert connection.next_event() is NEED_DATA
    connection.receive_data(CopyDone().encode())
    assert connection.next_event() == CopyDone()
    connection.send(CommandComplete("COPY 0"))
    connection.receive_data(Sync().encode())
    assert connection.next_event() == Sync()
    connection.send(ReadyForQuery("I"))


@pytest.mark.parametrize(
    "data", [b"\0\0\0\x07....", b"\0\0\x27\x15\0\3\0\0", b"\0\0\0\x08\0\2\0\0", b"GET / HT"]
)
def test_a_start_that_is_none(data: bytes) -> None:
    connection = PGConnection(SERVER)
    connection.receive_data(data + bytes(100))
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)


def test_a_client_that_floods_before_it_is_known() -> None:
    connection = walk(SERVER, PHASES[states.PASSWORD])
    connection.receive_data(b"p\0\1\0\1" + bytes(10))
    closed = connection.next_event()
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, RemoteProtocolError)
