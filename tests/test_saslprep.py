"""SASLprep: the RFC's examples, PostgreSQL's 002_saslprep, and the ways to fail."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgproto.errors import ConfigError
from pgproto.protocol.saslprep import encode_password, prepare_password

PREPARED = [
    ("I\u00adX", b"IX", "RFC 4013 #1: soft hyphen is mapped to nothing"),
    ("user", b"user", "RFC 4013 #2: no transformation"),
    ("USER", b"USER", "RFC 4013 #3: case is preserved"),
    ("\u00aa", b"a", "RFC 4013 #4: NFKC"),
    ("\u2168", b"IX", "RFC 4013 #5: NFKC, the same as #1"),
    ("a\u00a0b", b"a b", "non-ASCII space becomes a space"),
    ("a\u200bb", b"a b", "U+200B is in both tables, and a space for PostgreSQL"),
    ("a\u3000b", b"a b", "ideographic space"),
    ("\u0627\u0628", "\u0627\u0628".encode(), "right-to-left alone"),
    ("\u06271\u0628", "\u06271\u0628".encode(), "a number between right-to-left characters"),
    ("\u00e4\u0308", "\u00e4\u0308".encode(), "normalised already"),
    ("a\u0308", "\u00e4".encode(), "composed"),
]

RAW = [
    ("\u0007", "RFC 4013 #6: prohibited"),
    ("foo\u0007bar", "002_saslprep #6"),
    ("\u06271", "RFC 4013 #7: bidirectional check"),
    ("foo\u06271bar", "002_saslprep #7"),
    ("\u0627a\u0628", "right-to-left and left-to-right mixed"),
    ("1\u0627", "right-to-left, but not first"),
    ("\u00ad\u200d", "empty after mapping"),
    ("\u0221x\u00aa", "unassigned in Unicode 3.2"),
    ("\u0080\u00aa", "control character"),
    ("\ue000\u00aa", "private use"),
    ("\ufdd0\u00aa", "non-character"),
    ("\ufffd\u00aa", "inappropriate for plain text"),
    ("\u2ff0\u00aa", "inappropriate for canonical representation"),
    ("\u200e\u00aa", "changes display properties"),
    ("\U000e0020\u00aa", "tagging character"),
    ("\u3250\u00aa", "unassigned in 3.2 although what it normalises to is not: checked before NFKC"),
]


@pytest.mark.parametrize(("password", "prepared", "why"), PREPARED)
def test_prepared(password: str, prepared: bytes, why: str) -> None:
    assert prepare_password(password) == prepared, why


@pytest.mark.parametrize(("password", "why"), RAW)
def test_refused_passwords_are_used_as_they_are(password: str, why: str) -> None:
    assert prepare_password(password) == password.encode(), why


def test_bytes_that_are_not_utf8() -> None:
    password = b"p\xe9\xff\xc2\xaa".decode("utf-8", "surrogateescape")
    assert prepare_password(password) == b"p\xe9\xff\xc2\xaa"
    assert encode_password(password) == b"p\xe9\xff\xc2\xaa"


def test_cleartext_is_not_prepared() -> None:
    assert encode_password("\u2168") == "\u2168".encode()


@pytest.mark.parametrize("password", ["CANARY\0", "CANARY\ud800", "\udfffCANARY"])
@pytest.mark.parametrize("function", [prepare_password, encode_password])
def test_impossible_passwords(password: str, function: object) -> None:
    assert callable(function)
    with pytest.raises(ConfigError) as caught:
        function(password)
    assert caught.value.__context__ is None
    assert "CANARY" not in "".join(traceback.format_exception(caught.value)).replace(repr(password), "")
    assert "CANARY" not in str(caught.value)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text(password: str) -> None:
    prepared = prepare_password(password)
    prepared.decode("utf-8")
    if password.isascii():
        assert prepared == password.encode()
    assert prepare_password(prepared.decode()) == prepared
