"""The operations that open a session, by themselves: what goes wrong on the way ends them, and says why."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from pgproto import (
    ConfigError,
    ConnectError,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
)
from pgproto.protocol import Authenticator
from pgproto.protocol.tls import TLS
from pgproto.session import Cancel, Engine, Startup
from pgproto.session.startup import ENCRYPT_DIRECT, ENCRYPT_NEVER, ENCRYPT_REQUIRE, ENCRYPT_TRY
from pgproto.wire import AuthenticationMD5Password, BackendKeyData, ErrorResponse, SSLRequest
from tests.support.backend import error_fields
from tests.support.pair import Pair
from tests.support.queries import SCRIPT, error_of, query


def local(encrypted: bool, binding: bytes | None) -> Authenticator:
    del encrypted, binding
    return Authenticator(user="app", password="secret", nonce="0123456789abcdef0123", local=True)


def start(operation: Startup | Cancel) -> Engine:
    engine = Engine(clock=lambda: 0.0)
    engine.start(operation)
    return engine


@pytest.mark.parametrize("way", [ENCRYPT_DIRECT, ENCRYPT_TRY])
def test_tls_that_was_not_set_up(way: int) -> None:
    startup = Startup({"user": "app"}, local, encryption=way)
    engine = start(startup)
    if way == ENCRYPT_TRY:
        assert engine.data_to_send() == SSLRequest().encode()
        engine.data_sent(8)
        engine.receive_data(b"S")
    assert str(error_of(startup)) == "TLS was asked for, but not set up"
    assert engine.finished
    assert not startup.opened


@pytest.mark.parametrize("required", [False, True])
def test_no_for_an_answer(required: bool) -> None:
    startup = Startup({"user": "app"}, local, encryption=ENCRYPT_REQUIRE if required else ENCRYPT_TRY)
    engine = start(startup)
    engine.data_sent(len(engine.data_to_send()))
    engine.receive_data(b"N")
    assert startup.opened is not required
    assert startup.finished is required
    if required:
        assert str(startup.error) == "the server does not support TLS, but TLS was required"


def test_a_reply_that_cannot_be_computed_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_md5(*args: object, **options: object) -> object:
        raise ValueError("disabled for FIPS")

    monkeypatch.setattr(hashlib, "md5", no_md5)
    startup = Startup({"user": "app"}, local)
    engine = start(startup)
    engine.receive_data(AuthenticationMD5Password(b"salt").encode())
    assert isinstance(error_of(startup), ConfigError)
    assert engine.finished
    assert engine.connection.closed is not None
    assert engine.connection.closed.error is startup.error


def test_a_session_that_is_over_cannot_be_started() -> None:
    engine = Engine(clock=lambda: 0.0)
    engine.receive_eof()
    startup = Startup({"user": "app"}, local)
    engine.start(startup)
    assert isinstance(error_of(startup), ConnectionLost)
    assert engine.data_to_send() == b""


def test_the_first_error_of_a_start_counts() -> None:
    startup = Startup({"user": "app"}, local)
    engine = start(startup)
    engine.receive_data(ErrorResponse(error_fields("28P01", severity="FATAL")).encode())
    engine.receive_data(ErrorResponse(error_fields("57P01", severity="FATAL")).encode())
    engine.receive_eof()
    error = error_of(startup)
    assert isinstance(error, PostgresError)
    assert error.sqlstate == "28P01"


@pytest.mark.parametrize("cause", [OSError("gone"), ConnectionLost("lost"), None])
def test_what_a_start_that_was_cut_off_says(cause: Exception | None) -> None:
    startup = Startup({"user": "app"}, local)
    engine = start(startup)
    engine.connection.close(cause)
    engine.receive_eof()
    engine.close()
    error = error_of(startup)
    if isinstance(cause, ConnectionLost):
        assert error is cause
    else:
        assert (type(error), str(error)) == (ConnectError, "the connection was closed")


@pytest.mark.parametrize(("taken", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.NOT_SENT)])
def test_a_cancel_request_whose_connection_fails(taken: bool, outcome: Outcome) -> None:
    cancel = Cancel(BackendKeyData(7, b"0123"), encryption=ENCRYPT_NEVER if taken else ENCRYPT_TRY)
    engine = start(cancel)
    engine.data_sent(len(engine.data_to_send()))
    engine.transport_failed(OSError("reset"))
    error = error_of(cancel)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is outcome


def test_a_tls_layer_that_will_not_encrypt_ends_the_session() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    tls = TLS(ssl.create_default_context(), "db.example")
    tls.close()
    pair.engine.channel.tls = tls
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.engine.data_to_send()
    assert isinstance(pair.engine.cause, LocalProtocolError)
    assert pair.engine.finished
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert isinstance(error_of(operation), ConnectionLost)


def test_a_tls_layer_that_will_not_encrypt_the_good_bye() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    tls = TLS(ssl.create_default_context(), "db.example")
    tls.close()
    pair.engine.channel.tls = tls
    pair.engine.close()
    closed = pair.engine.connection.closed
    assert closed is not None
    assert [type(each) for each in closed.also] == [LocalProtocolError]
    assert pair.engine.cause is None
    assert pair.engine.finished
