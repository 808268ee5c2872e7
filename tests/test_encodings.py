"""A session whose client_encoding is not UTF-8: bytes go out as given, and what comes in keeps its bytes."""

from __future__ import annotations

import pytest

from pgproto import Config, ConfigError, LocalProtocolError, PostgresError
from pgproto.protocol import Authenticator
from pgproto.session import Connector, Dial, Engine, Startup
from pgproto.wire import (
    AuthenticationOk,
    Bind,
    Close,
    CopyFail,
    Describe,
    ErrorResponse,
    Execute,
    FieldDescription,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    StartupMessage,
    decode_backend,
)
from pgproto.wire.messages import cstring

REPORT = b"SERROR\0C42P01\0Mkein caf\xe9\0Mtwice\0\0"


def report() -> ErrorResponse:
    """An error in LATIN1."""
    message = decode_backend(ord("E"), REPORT, 0, len(REPORT))
    assert isinstance(message, ErrorResponse)
    return message


def test_an_error_has_the_bytes_beside_the_text() -> None:
    message = report()
    assert message.fields == {"S": "ERROR", "C": "42P01", "M": "kein caf\\xe9"}
    assert message.raw_fields == {"S": b"ERROR", "C": b"42P01", "M": b"kein caf\xe9"}
    error = PostgresError.of(message.fields)
    assert error.raw_fields == message.raw_fields
    assert error.message == "kein caf\\xe9"
    assert PostgresError.of({"M": "café"}).raw_fields == {"M": "café".encode()}


def test_an_error_is_sent_on_with_its_bytes() -> None:
    message = report()
    assert message.encode()[5:] == REPORT.replace(b"Mtwice\0", b"")
    assert ErrorResponse(message.fields).encode() == message.encode()
    message.fields["M"] = "kein café"
    assert message.encode()[5:] == "SERROR\0C42P01\0Mkein café\0\0".encode()


def test_a_string_is_text_or_bytes() -> None:
    assert cstring("é") == b"\xc3\xa9\0"
    assert cstring(b"\xe9") == b"\xe9\0"
    for text in ("a\0", b"a\0"):
        with pytest.raises(LocalProtocolError, match="NUL"):
            cstring(text)


SENT_AS_BYTES: list[tuple[Message, Message]] = [
    (Query("select 'é'"), Query(b"select '\xe9'")),
    (Parse("é", "select 'é'", (23,)), Parse(b"\xe9", b"select '\xe9'", (23,))),
    (Bind("é", "é", (), (), ()), Bind(b"\xe9", b"\xe9", (), (), ())),
    (Describe("S", "é"), Describe("S", b"\xe9")),
    (Close("P", "é"), Close("P", b"\xe9")),
    (Execute("é", 1), Execute(b"\xe9", 1)),
    (CopyFail("é"), CopyFail(b"\xe9")),
]


@pytest.mark.parametrize(("text", "raw"), SENT_AS_BYTES)
def test_sql_and_names_may_be_bytes(text: Message, raw: Message) -> None:
    assert raw.encode()[5:] == text.encode()[5:].replace("é".encode(), b"\xe9")
    assert repr(raw) == repr(text).replace("é", "\\\\xe9")
    name = text.field_names[-1] if isinstance(text, CopyFail) else text.field_names[0]
    assert "\\xe9" in str(getattr(raw, name)) or isinstance(raw, (Describe, Close))


def test_bytes_that_are_utf_8_are_the_text() -> None:
    assert Query("é".encode()) == Query("é")
    assert Query("é".encode()).encode() == Query("é").encode()
    changed = Query(b"\xe9")
    changed.query = "select"
    assert changed.encode() == Query("select").encode()


@pytest.mark.parametrize(
    "body",
    [
        b"T\0\1caf\xe9\0" + bytes(18),
        b"A\0\0\0\7c\xe9\0p\xe8\0",
        b"Ssearch_path\0caf\xe9\0",
        b"NMcaf\xe9\0\0",
    ],
)
def test_what_the_server_says_keeps_its_bytes(body: bytes) -> None:
    message = decode_backend(body[0], body, 1, len(body))
    assert message.encode()[5:] == body[1:]
    if isinstance(message, RowDescription):
        assert (message.fields[0].name, message.fields[0].raw_name) == ("caf\\xe9", b"caf\xe9")
    elif isinstance(message, NotificationResponse):
        assert (message.channel, message.raw_channel) == ("c\\xe9", b"c\xe9")
        assert (message.payload, message.raw_payload) == ("p\\xe8", b"p\xe8")
    elif isinstance(message, ParameterStatus):
        assert (message.value, message.raw_value) == ("caf\\xe9", b"caf\xe9")
    else:
        assert isinstance(message, NoticeResponse)
        assert message.raw_fields == {"M": b"caf\xe9"}


def test_a_text_that_says_it_all_is_its_own_bytes() -> None:
    assert NotificationResponse(1, "é", "").raw_channel == "é".encode()
    assert FieldDescription("é", 0, 0, 0, 0, 0).raw_name == "é".encode()
    assert ParameterStatus("n", "é").raw_value == "é".encode()
    with pytest.raises(LocalProtocolError, match="UTF-8"):
        RowDescription([FieldDescription("\ud800", 0, 0, 0, 0, 0)]).encode()


def start(asked: str, got: str) -> Engine:
    """A session that asked for one encoding and got another."""
    engine = Engine(clock=lambda: 0.0)
    parameters = {"user": "u", **({"client_encoding": asked} if asked else {})}
    engine.start(
        Startup(parameters, lambda *_: Authenticator(user="u", password=None, nonce="n" * 24, local=True))
    )
    answer = (AuthenticationOk(), ParameterStatus("client_encoding", got), ReadyForQuery("I"))
    engine.receive_data(b"".join([each.encode() for each in answer]))
    return engine


def test_another_encoding_is_for_those_who_ask_for_it() -> None:
    engine = start("LATIN1", "LATIN1")
    assert not engine.closed
    assert engine.connection.asked_encoding == "LATIN1"
    engine.receive_data(ParameterStatus("client_encoding", "WIN1252").encode())
    assert not engine.closed
    for asked in ("", "utf-8"):
        assert start(asked, "LATIN1").closed
        engine = start(asked, "UTF8")
        engine.receive_data(ParameterStatus("client_encoding", "LATIN1").encode())
        assert engine.closed


def test_a_connector_takes_another_encoding_if_it_is_told_to() -> None:
    config = Config("u", client_encoding="LATIN1")
    assert config.startup_parameters()["client_encoding"] == "LATIN1"
    with pytest.raises(ConfigError, match="client_encoding: must be UTF8"):
        Connector(config, clock=lambda: 0.0, random_bytes=bytes)
    Connector(config, clock=lambda: 0.0, random_bytes=bytes, any_encoding=True)
    Connector(Config("u", client_encoding="unicode"), clock=lambda: 0.0, random_bytes=bytes)
    with pytest.raises(ConfigError, match="NUL"):
        Config("u", client_encoding="a\0")


def test_a_connector_may_ask_for_no_encoding_and_take_the_servers() -> None:
    config = Config("u", client_encoding="")
    assert "client_encoding" not in config.startup_parameters()
    with pytest.raises(ConfigError, match="client_encoding: must be UTF8"):
        Connector(config, clock=lambda: 0.0, random_bytes=bytes)
    connector = Connector(config, clock=lambda: 0.0, random_bytes=bytes, any_encoding=True)
    flow = connector.connect()
    dial = next(flow)
    assert isinstance(dial, Dial)
    assert dial.engine.connection.asked_encoding == ""
    dial.engine.connection.send(StartupMessage(config.startup_parameters()))
    assert dial.engine.connection.asked_encoding == ""
