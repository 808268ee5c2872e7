"""A session whose client_encoding is not UTF-8: bytes go out as given, and what comes in keeps its bytes."""

from __future__ import annotations

import pytest

from pgproto import LocalProtocolError, PostgresError
from pgproto.wire import ErrorResponse, decode_backend
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
