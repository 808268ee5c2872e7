"""What is fuzzed: each target takes bytes, and raises if something that must hold does not.

A target swallows the errors that its subject declares, and no others.  Besides it checks what can be known
of any input: that the segmentation changes nothing, that what was decoded is the same after encoding and
decoding it again, that everything in flight ends once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Final

from pgproto.config import parse_config
from pgproto.config.files import FileText, find_password, parse_passfile, parse_service_file
from pgproto.errors import (
    ConfigError,
    ConnectionLost,
    DataError,
    Error,
    LocalProtocolError,
    PostgresError,
    RemoteProtocolError,
)
from pgproto.protocol import CLIENT, NEED_DATA, SERVER, Closed, DataRows, PGConnection, states
from pgproto.protocol.saslprep import prepare_password
from pgproto.protocol.scram import ScramClient, ScramServer
from pgproto.protocol.verifier import ScramVerifier
from pgproto.session import Engine, Operation, Startup, StatementCache, quote_identifier
from pgproto.session.sql import check_sql, describes_late, first_words, is_plain, leaves_no_trace
from pgproto.types import RowDecoder
from pgproto.types.copyrows import CopyRowEncoder
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    FieldDescription,
    FrameReader,
    Message,
    ReadyForQuery,
    Terminate,
    decode_backend,
    decode_frontend,
    decode_startup,
    frames,
    tags,
    trace_bytes,
)
from pgproto.wire.backend import Report
from pgproto.wire.decode import decode_password
from tests.corpus.operations import labels, make
from tests.support.codecs import binary_codec
from tests.support.drive import comparable, walk
from tests.support.pair import authenticator
from tests.test_states import HEADS, PHASES

DECLARED: Final = (RemoteProtocolError, ConnectionLost, PostgresError, LocalProtocolError)
PLACES: Final = [*PHASES.values(), *HEADS.values()]
VOID: Final = 2278
OIDS: Final = [oid for oid in range(6000) if binary_codec(oid) is not None]
NONCE: Final = "0123456789abcdef0123"

Target = Callable[[bytes], None]


def client(data: bytes) -> None:
    """A server says anything, at any place of a conversation."""
    _role(CLIENT, data)


def server(data: bytes) -> None:
    """A client says anything."""
    _role(SERVER, data)


def _role(role: int, data: bytes) -> None:
    """Byte 0: the place in the conversation; byte 1: where to cut; the rest is said."""
    if len(data) < 2:
        return
    path, cut, stream = PLACES[data[0] % len(PLACES)], data[1], data[2:]
    whole = _events(walk(role, path), [stream])
    parts = _events(
        walk(role, path),
        [stream[:cut], *(bytes((each,)) for each in stream[cut : cut + 8]), stream[cut + 8 :]],
    )
    # Whether a byte behind the answer to SSLRequest came with it or later is a difference: the answer is one
    # byte, and whoever has got no more begins TLS.
    if walk(role, path).phase != states.ENCRYPTION:
        assert comparable(whole) == comparable(parts), "the segmentation made a difference"


def _events(connection: PGConnection, pieces: list[bytes]) -> list[Message]:
    sent = sum(len(piece) for piece in pieces)
    events: list[Message] = []
    for piece in [*filter(None, pieces), b""]:
        connection.receive_data(piece)
        while not (events and isinstance(events[-1], Closed)):
            event = connection.next_event()
            if event is NEED_DATA:
                break
            assert len(events) <= 3 * sent + 10, "events without end"
            if isinstance(event, DataRows):
                assert len(event.bodies()) == event.count
            repr(event)
            events.append(event)
    end = events[-1]
    assert isinstance(end, Closed), "no end"
    assert connection.next_event() is end
    assert connection.in_flight == 0
    assert end.error is None or isinstance(end.error, DECLARED)
    assert all(isinstance(error, DECLARED) for error in end.also)
    assert len(end.also) <= 16
    return events


def messages(data: bytes) -> None:
    """Frames of either direction, their decoders, and back."""
    if not data:
        return
    kind = data[0] % 3
    reader = FrameReader()
    reader.receive_data(data[1:])
    limits = frames.frontend_limits(100_000) if kind else frames.backend_limits(100_000)
    try:
        while reader.next_startup() if kind == 2 else reader.next_frame(limits):
            assert 0 <= reader.start <= reader.end <= len(data)
            for message in _decoded(kind, reader):
                _back(message, kind, reader.tag)
    except RemoteProtocolError:
        pass
    "\n".join(trace_bytes("F" if kind else "B", data[1:], kind == 2))


def _decoded(kind: int, reader: FrameReader) -> list[Message]:
    body = reader.buffer, reader.start, reader.end
    if kind == 2:
        return [decode_startup(*body)]
    if kind == 0:
        return [decode_backend(reader.tag, *body)]
    if reader.tag != tags.PASSWORD_MESSAGE:
        return [decode_frontend(reader.tag, *body)]
    found: list[Message] = []
    for password in range(4):
        try:
            found.append(decode_password(password, *body))
        except RemoteProtocolError:
            continue
    return found


def _back(message: Message, kind: int, tag: int) -> None:
    """Encode it and decode it again."""
    repr(message)
    try:
        again = message.encode()
    except LocalProtocolError:
        # What is read generously is not written: an error's fields have codes in ASCII.
        assert isinstance(message, Report), message
        assert not "".join(message.fields).isascii(), message
        return
    reader = FrameReader()
    reader.receive_data(again)
    if kind == 2:
        assert reader.next_startup(1 << 30)
    else:
        assert reader.next_frame(frames.Limits(1 << 30, {}))
    assert reader.pending == 0
    assert message in _decoded(kind, reader), f"{message!r} came back as another message"


SCENARIOS: Final[list[list[list[object]]]] = [
    [["atomic", ["select $1", 1], "select 2"], ["script", "select 3"]],
    [["isolated", "select 1", "select 2", "commit"], ["atomic", "select 1"]],
    [["script", "begin"], ["script", "select 1; select 2"], ["atomic", "rollback"]],
    [["atomic", "select 1"], ["copy in", "copy t from stdin", "1\n", "2\n"]],
    [["copy stopped", "copy t from stdin", "1\n"]],
    [["script", "select 1"], ["copy out", "copy t to stdout"]],
    [["stream", "select 1"]],
]
HELLO: Final = AuthenticationOk().encode() + BackendKeyData(1, b"0123").encode() + ReadyForQuery("I").encode()


def engine(data: bytes) -> None:
    """Operations in flight.  Byte 0: which; byte 1: how the session ends; byte 2: the size of the pieces."""
    if len(data) < 3:
        return
    engine = Engine(clock=lambda: 1.0, statements=StatementCache(2, "s"))
    engine.start(Startup({"user": "app"}, authenticator))
    _take(engine)
    engine.receive_data(HELLO)
    operations = [make(spec) for spec in SCENARIOS[data[0] % len(SCENARIOS)]]
    for operation in operations:
        engine.submit(operation)
    stream, size = data[3:], data[2] + 1
    for start in range(0, len(stream), size):
        _take(engine)
        engine.receive_data(stream[start : start + size])
        engine.take_ready()
    _end(engine, operations, data[1])
    assert engine.finished
    assert engine.data_to_send() in (b"", Terminate().encode())
    for operation in operations:
        assert operation.finished, operation
        assert operation.error is None or isinstance(operation.error, Error), repr(operation.error)
        done = [
            label
            for label in labels(operation)
            if label is not None and label.name in ("COMMITTED", "OK_IN_TX")
        ]
        assert None not in labels(operation), "a query without an outcome"
        assert not done or b"Z\0\0\0\x05" in stream, "acknowledged by nobody"


def _take(engine: Engine) -> None:
    while data := engine.data_to_send():
        engine.data_sent(len(data))


def _end(engine: Engine, operations: list[Operation], how: int) -> None:
    if how % 4 == 0:
        engine.transport_failed(ConnectionResetError("reset"))
    elif how % 4 == 1:
        for operation in operations:
            engine.abandon(operation)
        engine.close()
    elif how % 4 == 2:
        engine.write_failed(BrokenPipeError("pipe"))
    engine.receive_eof()


def rows(data: bytes) -> None:
    """Rows of up to four columns.  Byte 0: how many, then the type of each; the rest is DataRow messages."""
    if not data:
        return
    count = data[0] % 5
    oids = [OIDS[byte % len(OIDS)] for byte in data[1 : count + 1]]
    decoder = RowDecoder([FieldDescription(f"c{oid}", 0, 0, oid, -1, -1) for oid in oids])
    reader = FrameReader()
    reader.receive_data(data[count + 1 :])
    limits = frames.backend_limits(100_000)
    try:
        while reader.next_frame(limits):
            if reader.tag == tags.DATA_ROW:
                start = reader.start - 5
                count = reader.skip_run(limits)
                decoded = decoder.decode(reader.buffer, start, reader.end)
                assert len(decoded) == count
                repr(decoded)
    except (DataError, RemoteProtocolError):
        pass


def values(data: bytes) -> None:
    """One value of one type (arrays are types, too).  Byte 0: which; what can be decoded comes back."""
    if not data:
        return
    oid = OIDS[data[0] % len(OIDS)]
    codec = binary_codec(oid)
    assert codec is not None
    body = data[1:]
    try:
        value = codec.decode(b"\xff" + body + b"\xff", 1, 1 + len(body))
    except DataError:
        return
    repr(value)
    try:
        encoded = codec.encode(value)
    except TypeError:
        assert oid == VOID, "void is the only type without values"
        return
    except ValueError:
        # What PostgreSQL never sends, as a NUL in a text.
        return
    again = codec.decode(encoded, 0, len(encoded))
    assert _same(value, again), f"{oid}: {value!r} came back as {again!r}"
    row = CopyRowEncoder(["c"], [oid]).encode([value])
    assert value is None or row.endswith(encoded)


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other or repr(one) == repr(other)


def dsn(data: bytes) -> None:
    """A connection string, or a service or password file.  Byte 0: which."""
    if not data:
        return
    text = data[1:].decode("utf-8", "surrogateescape")
    kind = data[0] % 4

    def read(path: str) -> FileText | None:
        return FileText("[s]\nport=1\n" + text) if path in ("service", "pass") else None

    try:
        if kind == 0:
            config = parse_config(text, environ={}, read_file=read, os_user=lambda: "me")
            assert config.hosts
            repr(config)
        elif kind == 1:
            parse_service_file(text, "s", "service")
        elif kind == 2:
            entries = parse_passfile(text)
            find_password(entries, "h", 5432, "d", "u")
            assert len(entries) <= text.count("\n") + 1
        else:
            name, _, value = text.partition("=")
            parse_config(
                "",
                environ={name: value, "PGSERVICEFILE": "service", "PGPASSFILE": "pass"},
                read_file=read,
                os_user=lambda: "me",
            )
    except ConfigError:
        pass


@cache
def _verifier() -> ScramVerifier:
    return ScramVerifier.from_password("secret", b"0123456789abcdef", 1)


def scram(data: bytes) -> None:
    """Both halves of SCRAM.  Byte 0: which; a line feed ends a message."""
    if not data:
        return
    first, _, second = data[1:].partition(b"\n")
    try:
        if data[0] % 2:
            half = ScramServer(_verifier(), NONCE)
            half.challenge(first)
            half.finish(second)
            assert not half.verified, "logged in without the password"
        else:
            other = ScramClient("secret", NONCE, max_iterations=16)
            other.first_message()
            other.receive_challenge(first)
            assert other.iterations <= 16
            other.final_message()
            other.verify(second)
            raise AssertionError("a server without the password was believed")
    except RemoteProtocolError:
        pass
    try:
        ScramVerifier.parse(data[1:].decode("latin-1"))
    except (ConfigError, LocalProtocolError):
        pass


def saslprep(data: bytes) -> None:
    """Passwords; what was prepared is prepared."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        prepared = prepare_password(text)
    except (LocalProtocolError, ConfigError):
        return
    assert prepare_password(prepared.decode("utf-8", "surrogateescape")) == prepared


def sql(data: bytes) -> None:
    """The look at a statement's first words."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        check_sql(text)
    except LocalProtocolError:
        return
    first, second = first_words(text)
    assert first == first.lower()
    assert second == second.lower()
    if is_plain(text):
        assert first not in ("commit", "rollback", "end", "abort", "vacuum", "call", "do")
    describes_late(text)
    leaves_no_trace(text)
    assert quote_identifier(text or "x").count('"') % 2 == 0


TARGETS: Final[dict[str, Target]] = {
    each.__name__: each
    for each in (client, server, messages, engine, rows, values, dsn, scram, saslprep, sql)
}
