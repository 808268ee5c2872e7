"""A COPY IN that the server fails while its data is still being sent."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError
from pgproto.protocol import SERVER, PGConnection
from pgproto.wire import (
    Bind,
    BindComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    ErrorResponse,
    Execute,
    Message,
    Query,
    ReadyForQuery,
    Sync,
)
from tests.support.drive import LOGIN, drain, ready, walk

ERROR = ErrorResponse({"S": "ERROR", "C": "22P02", "M": "no number"})


def take(connection: PGConnection, *answers: Message) -> None:
    connection.receive_data(b"".join([answer.encode() for answer in answers]))
    drain(connection)


def is_refused(connection: PGConnection) -> bool:
    return connection.copy_refused


def failed(begin: Message) -> PGConnection:
    """A client whose simple COPY has failed under its hands."""
    connection = ready(Query("copy t from stdin"))
    take(connection, begin)
    assert connection.send(CopyData(b"1"))
    assert not is_refused(connection)
    take(connection, ERROR, ReadyForQuery("I"))
    return connection


@pytest.mark.parametrize("begin", [CopyInResponse(0, ()), CopyBothResponse(0, ())])
@pytest.mark.parametrize("end", [CopyDone(), CopyFail("enough")])
def test_what_comes_after_the_error_goes_nowhere(begin: Message, end: Message) -> None:
    connection = failed(begin)
    assert is_refused(connection)
    assert connection.send(CopyData(b"2")) == connection.send(CopyData(b"3")) == b""
    assert is_refused(connection)
    assert connection.send(end) == b""
    assert not is_refused(connection)
    for late in (CopyData(b"4"), end):
        with pytest.raises(LocalProtocolError, match="in state IDLE"):
            connection.send(late)
    assert connection.send(Query("select"))


def test_another_request_ends_it_too() -> None:
    connection = failed(CopyInResponse(0, ()))
    connection.send(Query("copy t from stdin"))
    assert not is_refused(connection)
    with pytest.raises(LocalProtocolError):
        connection.send(CopyData(b"2"))
    take(connection, CopyInResponse(0, ()))
    assert connection.send(CopyData(b"3")) == CopyData(b"3").encode()


def test_in_an_extended_query_the_sync_follows() -> None:
    connection = ready(Bind("", "", (), (), ()), Execute())
    take(connection, BindComplete(), CopyInResponse(0, ()), ERROR)
    assert connection.send(CopyData(b"1")) == connection.send(CopyDone()) == b""
    assert connection.send(Sync()) == Sync().encode()
    take(connection, ReadyForQuery("I"))
    assert connection.in_flight == 0


def test_an_error_after_the_end_of_the_data_refuses_nothing() -> None:
    connection = ready(Query("copy t from stdin"))
    take(connection, CopyInResponse(0, ()))
    connection.send(CopyDone())
    take(connection, ERROR)
    assert not is_refused(connection)
    with pytest.raises(LocalProtocolError):
        connection.send(CopyData(b"1"))


def test_what_cannot_be_encoded_is_refused_all_the_same() -> None:
    connection = failed(CopyInResponse(0, ()))
    with pytest.raises(LocalProtocolError, match="NUL"):
        connection.send(CopyFail("a\0"))
    assert is_refused(connection)


def test_a_server_sends_its_own_copy_after_it() -> None:
    server = walk(SERVER, LOGIN)
    server.receive_data(Query("copy t from stdin").encode())
    server.next_event()
    server.send(CopyInResponse(0, ()))
    server.send(ERROR)
    server.receive_data(CopyData(b"1").encode() + CopyDone().encode())
    assert drain(server) == []
    with pytest.raises(LocalProtocolError, match="cannot send CopyData"):
        server.send(CopyData(b"1"))
    with pytest.raises(LocalProtocolError, match="cannot send CommandComplete"):
        server.send(CommandComplete("COPY 1"))
