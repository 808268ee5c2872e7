"""Bodies that are cut, overlong, malformed or random: a message comes out, or RemoteProtocolError."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import pytest

from pgproto.errors import LocalProtocolError, RemoteProtocolError
from pgproto.wire import (
    BackendKeyData,
    CancelRequest,
    CommandComplete,
    CopyData,
    ErrorResponse,
    Message,
    NoticeResponse,
    SASLResponse,
    StartupMessage,
    decode_backend,
    decode_frontend,
    decode_password,
    decode_startup,
    frames,
    tags,
)
from tests.support.vectors import (
    FRAMED,
    LONG_KEY,
    VECTORS,
    Vector,
    decode_slice,
)

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])
each_framed = pytest.mark.parametrize("vector", FRAMED, ids=[vector.id for vector in FRAMED])


def header_size(vector: Vector) -> int:
    return 4 if vector.message.tag == tags.NO_TAG else 5


def body_of(vector: Vector) -> bytes:
    return vector.data[header_size(vector) :]


@each_framed
def test_body_cut_short_is_an_error_or_another_message(vector: Vector) -> None:
    # The frame says that the body is shorter than what its counts and strings ask for.  What still can
    # be decoded is another message that encodes to exactly these bytes (a shorter key, fewer pairs).
    body = body_of(vector)
    for size in range(len(body)):
        # The bytes behind the border are there, and must not be read.
        try:
            message = decode_slice(vector, vector.message.tag, body, 0, size)
        except RemoteProtocolError:
            continue
        assert message.encode()[header_size(vector) :] == body[:size]
        assert message != vector.message


@each_framed
def test_bytes_left_over_are_an_error(vector: Vector) -> None:
    body = body_of(vector) + b"\x00"
    try:
        message = decode_slice(vector, vector.message.tag, body, 0, len(body))
    except RemoteProtocolError:
        return
    # Data of any bytes, and keys, which may be longer.
    assert isinstance(message, (CopyData, SASLResponse, BackendKeyData, CancelRequest)) or "data" in (
        message.field_names
    )
    assert message.encode()[header_size(vector) :] == body


@each_framed
def test_position_in_the_buffer_plays_no_part(vector: Vector) -> None:
    body = body_of(vector)
    padded = b"\xff\x00" * 9 + body + b"\xff\x00" * 9
    assert decode_slice(vector, vector.message.tag, padded, 18, 18 + len(body)) == vector.message


# Bodies that no server or client would send.

BACKEND_BODIES: list[tuple[str, bytes]] = [
    ("R", b"\x00\x00\x00"),
    ("R", b"\x00\x00\x00\x01"),
    ("R", b"\xff\xff\xff\xff"),
    ("R", b"\x00\x00\x00\x00\x00"),
    ("R", b"\x00\x00\x00\x05abc"),
    ("R", b"\x00\x00\x00\x05abcde"),
    ("R", b"\x00\x00\x00\x0aSCRAM"),
    ("R", b"\x00\x00\x00\x0aSCRAM\x00"),
    ("R", b"\x00\x00\x00\x0aSCRAM\x00\x00\x00"),
    ("K", b"\x00\x00\x00\x01abc"),
    ("K", b"\x00\x00\x00\x01" + LONG_KEY + b"x"),
    ("K", b"\x00\x00"),
    ("C", b""),
    ("C", b"SELECT 1"),
    ("C", b"SELECT 1\x00x"),
    ("C", b"SELECT\x001\x00"),
    ("G", b""),
    ("G", b"\x02\x00\x00"),
    ("G", b"\x00\x00\x01\x00\x02"),
    ("H", b"\x00\x00\x01\xff\xff"),
    ("W", b"\x00\xff\xff\x00\x00"),
    ("D", b"\x00"),
    ("D", b"\xff\xff"),
    ("D", b"\x00\x01\xff\xff\xff\xfe"),
    ("D", b"\x00\x01\x80\x00\x00\x00"),
    ("D", b"\x00\x01\x7f\xff\xff\xff"),
    ("D", b"\x00\x02\x00\x00\x00\x04abcd\x00\x00"),
    ("D", b"\x00\x01\x00\x00\x00\x00x"),
    ("E", b""),
    ("E", b"SERROR"),
    ("E", b"SERROR\x00"),
    ("N", b"\x00\x00"),
    ("V", b"\x00\x00\x00"),
    ("V", b"\xff\xff\xff\xfe"),
    ("V", b"\x7f\xff\xff\xffx"),
    ("V", b"\xff\xff\xff\xffx"),
    ("v", b"\x00\x03\x00\x00"),
    ("v", b"\x00\x03\x00\x00\xff\xff\xff\xff"),
    ("v", b"\x00\x03\x00\x00\x7f\xff\xff\xff"),
    ("v", b"\x00\x03\x00\x00\x00\x00\x00\x01x"),
    ("v", b"\x00\x03\x00\x00\x00\x00\x00\x00x"),
    ("A", b"\x00\x00\x00\x01channel"),
    ("A", b"\x00\x00\x00\x01channel\x00payload"),
    ("A", b"\x00\x00\x00\x01channel\x00payload\x00\x00"),
    ("t", b"\x00\x01\x00\x00\x00"),
    ("t", b"\x00\x00\x00"),
    ("S", b"name\x00value"),
    ("S", b"name\x00value\x00x"),
    ("Z", b""),
    ("Z", b"X"),
    ("Z", b"II"),
    ("T", b"\xff\xff"),
    ("T", b"\x00\x01" + b"x" * 19),
    ("T", b"\x00\x01" + b"x" * 5 + b"\x00" + b"x" * 17),
    ("T", b"\x00\x01x\x00" + b"\x00" * 17 + b"\x02"),
    ("T", b"\x00\x00x"),
    ("1", b"x"),
    ("c", b"x"),
    ("?", b""),
    ("\x00", b""),
]
FRONTEND_BODIES: list[tuple[str, bytes]] = [
    ("B", b""),
    ("B", b"p\x00s"),
    ("B", b"\x00\x00\x00\x01\x00"),
    ("B", b"\x00\x00\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00"),
    ("B", b"\x00\x00\x00\x00\x00\x00\x00\x01\x00"),
    ("B", b"\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
    ("C", b""),
    ("C", b"S"),
    ("C", b"Xst\x00"),
    ("D", b"Pst"),
    ("D", b"Pst\x00x"),
    ("E", b"p\x00\x00\x00"),
    ("E", b"\x00\x00\x00\x00\x00\x00"),
    ("F", b"\x00\x00\x00"),
    ("F", b"\x00\x00\x00\x01\x00\x00\x00\x00\x80\x00"),
    ("F", b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"),
    ("P", b"n\x00select"),
    ("P", b"\x00\x00\x00\x01"),
    ("P", b"\x00\x00\xff\xff"),
    ("Q", b"select 1"),
    ("Q", b"select\x00 1\x00"),
    ("Q", b"\xff\x00"),
    ("f", b""),
    ("S", b"\x00"),
    ("p", b"secret\x00"),
    ("?", b""),
]


@pytest.mark.parametrize(("tag", "body"), BACKEND_BODIES)
def test_malformed_from_the_backend(tag: str, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_backend(ord(tag), body, 0, len(body))


@pytest.mark.parametrize(("tag", "body"), FRONTEND_BODIES)
def test_malformed_from_the_frontend(tag: str, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_frontend(ord(tag), body, 0, len(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x03\x00",
        b"\x00\x03\x00\x00",
        b"\x00\x03\x00\x00user\x00",
        b"\x00\x03\x00\x00user\x00app\x00",
        b"\x00\x03\x00\x00user\x00app\x00\x00\x00",
        b"\x00\x03\x00\x00us\xffr\x00app\x00\x00",
        b"\x00\x02\x00\x00user\x00app\x00\x00",
        b"\x00\x04\x00\x00\x00",
        b"\xff\xff\xff\xff\x00",
        b"\x04\xd2\x16\x2f\x00",
        b"\x04\xd2\x16\x30\x00",
        b"\x04\xd2\x16\x2e",
        b"\x04\xd2\x16\x2e\x00\x00\x00\x01abc",
        b"\x04\xd2\x16\x2e\x00\x00\x00\x01" + LONG_KEY + b"x",
    ],
)
def test_malformed_startup(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_startup(body, 0, len(body))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (tags.PASSWORD_KIND, b"hunter2"),
        (tags.PASSWORD_KIND, b"hunter2\x00x"),
        (tags.SASL_INITIAL_KIND, b"hunter2"),
        (tags.SASL_INITIAL_KIND, b"hunter2\x00"),
        (tags.SASL_INITIAL_KIND, b"hunter2\x00\x00\x00\x00\x09hunter2"),
        (tags.SASL_INITIAL_KIND, b"hunter2\x00\x00\x00\x00\x01hunter2"),
        (tags.SASL_INITIAL_KIND, b"hunter2\x00\xff\xff\xff\xfe"),
        (tags.SASL_INITIAL_KIND, b"hunter2\xff\x00\x00\x00\x00\x00"),
    ],
)
def test_malformed_authentication_keeps_the_secret(kind: int, body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed authentication message") as caught:
        decode_password(kind, body, 0, len(body))
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_errors_name_the_message() -> None:
    with pytest.raises(
        RemoteProtocolError, match=r"^malformed DataRow: 65535 values announced, 0 bytes left$"
    ):
        decode_backend(tags.DATA_ROW, b"\xff\xff", 0, 2)
    with pytest.raises(RemoteProtocolError, match=r"^malformed BindComplete: 3 bytes left over$"):
        decode_backend(tags.BIND_COMPLETE, b"abc", 0, 3)
    with pytest.raises(RemoteProtocolError, match=r"^malformed Bind: a string without its NUL$"):
        decode_frontend(tags.BIND, b"abc", 0, 3)
    with pytest.raises(RemoteProtocolError, match=r"^unknown message type '\?' \(0x3f\) from the backend$"):
        decode_backend(ord("?"), b"", 0, 0)
    with pytest.raises(RemoteProtocolError, match=r"^unknown message type 0x00 from the frontend$"):
        decode_frontend(0, b"", 0, 0)
    with pytest.raises(RemoteProtocolError, match="outside of authentication"):
        decode_frontend(tags.PASSWORD_MESSAGE, b"x\x00", 0, 2)
    with pytest.raises(RemoteProtocolError, match=r"unsupported frontend protocol 2\.1"):
        decode_startup(b"\x00\x02\x00\x01", 0, 4)
    assert tags.backend_name(tags.DATA_ROW) == "DataRow"
    assert tags.frontend_name(tags.DATA_ROW) == "Describe"
    assert tags.backend_name(1) == "unknown type 0x01"
    assert tags.frontend_name(1) == "unknown type 0x01"


# Text.


def test_backend_text_that_is_not_utf8_is_shown_as_escapes() -> None:
    body = b"SFATAL\x00Mbase \xab\xe4\xbb\x00\x00"
    message = decode_backend(tags.ERROR_RESPONSE, body, 0, len(body))
    assert message == ErrorResponse({"S": "FATAL", "M": "base \\xab\\xe4\\xbb"})
    assert decode_backend(tags.COMMAND_COMPLETE, b"\xff\x00", 0, 2) == CommandComplete("\\xff")


def test_error_fields_unknown_repeated_and_empty() -> None:
    body = b"Mfirst\x00Msecond\x00?\x00\xe9x\x00\x00"
    message = decode_backend(tags.ERROR_RESPONSE, body, 0, len(body))
    assert message == ErrorResponse({"M": "first", "?": "", "é": "x"})


def test_startup_parameter_given_twice_the_last_counts() -> None:
    # As the server does: it applies them one after the other.
    body = b"\x00\x03\x00\x00user\x00a\x00user\x00b\x00\x00"
    assert decode_startup(body, 0, len(body)) == StartupMessage({"user": "b"}, tags.PROTOCOL_3_0)


# Fuzz: random bodies, and vectors with a few bytes changed, through every decoder.


def _random_body(rng: random.Random) -> bytes:
    size = rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40))
    return rng.randbytes(size) if rng.random() < 0.5 else bytes(rng.choices((0, 1, 2, 73, 255), k=size))


def _mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        kind = rng.randrange(4)
        position = rng.randrange(len(changed) + 1)
        if kind == 0:
            changed.insert(position, rng.choice((0, 1, 127, 128, 255)))
        elif kind == 1:
            del changed[position : position + rng.randrange(1, 4)]
        elif position < len(changed):
            changed[position] = rng.choice((0, 1, 2, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def _fuzz_one(
    rng: random.Random, decode: Callable[[int, bytes, int, int], Message], tag: int, body: bytes
) -> bool:
    """Decode; whatever comes out as a message survives a round trip.  True if a message came out."""
    before, after = rng.randrange(3), rng.randrange(3)
    buffer = b"\x00" * before + body + b"\x00" * after
    try:
        message = decode(tag, buffer, before, before + len(body))
    except RemoteProtocolError:
        return False
    try:
        data = message.encode()
    except LocalProtocolError:
        # An ErrorResponse may hold field codes that are no ASCII.
        assert isinstance(message, (ErrorResponse, NoticeResponse))
        return True
    offset = 5 if message.tag else 4
    again = decode(tag, data, offset, len(data))
    assert again == message
    return True


def _startup_decoder(tag: int, buffer: bytes, start: int, end: int) -> Message:
    return decode_startup(buffer, start, end)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_fuzz_decoders(seed: int) -> None:
    rng = random.Random(seed)
    inputs = decoded = 0
    targets: list[tuple[Callable[[int, bytes, int, int], Message], list[int], list[Vector]]] = [
        (decode_backend, sorted(tags.BACKEND_NAMES), [v for v in FRAMED if v.direction == "B"]),
        (
            decode_frontend,
            sorted(tags.FRONTEND_NAMES),
            [v for v in FRAMED if v.direction == "F" and v.message.tag not in (0, tags.PASSWORD_MESSAGE)],
        ),
        (
            decode_password,
            [tags.PASSWORD_KIND, tags.SASL_INITIAL_KIND, tags.SASL_RESPONSE_KIND, tags.GSS_KIND],
            [],
        ),
        (_startup_decoder, [0], [v for v in FRAMED if not v.message.tag]),
    ]
    for decode, known, vectors in targets:
        for _ in range(4_000):
            tag = rng.choice(known) if rng.random() < 0.95 else rng.randrange(256)
            if decode is decode_password:
                tag = rng.choice(known)
            decoded += _fuzz_one(rng, decode, tag, _random_body(rng))
            inputs += 1
        if vectors:
            for _ in range(10_000):
                vector = rng.choice(vectors)
                decoded += _fuzz_one(rng, decode, vector.message.tag, _mutated(rng, body_of(vector)))
                inputs += 1
    assert inputs == 4 * 4_000 + 3 * 10_000
    # The fuzzer reaches behind the first check of every kind: not everything it makes is refused.
    assert inputs // 20 < decoded < inputs - inputs // 20


@pytest.mark.parametrize("size", [1, 63, 64, 5000])
def test_a_command_tag_of_any_length_comes_out_each_time(size: int) -> None:
    body = b"T" * size + b"\0"
    for _ in range(2):
        assert decode_backend(tags.COMMAND_COMPLETE, body, 0, len(body)) == CommandComplete("T" * size)


def test_limits_of_struct_are_what_the_decoders_assume() -> None:
    assert struct.calcsize(">IhIhih") == 18
    assert frames.DEFAULT_MAX_MESSAGE_SIZE == 2**30 - 2
