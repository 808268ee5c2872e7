"""Verifiers: PostgreSQL's text form and everything that is not one, mock users, MD5."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import ConfigError
from pgproto.protocol import verifier
from pgproto.protocol.verifier import ScramVerifier, md5_answer, md5_password, md5_verifier

# RFC 7677, section 3
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_verifier_text_form() -> None:
    made = ScramVerifier.from_password("pencil", RFC_SALT, 4096)
    text = made.format()
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    parsed = ScramVerifier.parse(text)
    assert (parsed.salt, parsed.iterations) == (made.salt, made.iterations)
    assert (parsed.stored_key, parsed.server_key) == (made.stored_key, made.server_key)
    assert parsed.matches("pencil")
    assert not parsed.matches("Pencil")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text + "$",
        lambda text: text + "A",
        lambda text: text.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
        lambda text: text.replace("$4096", "$0"),
        lambda text: text.replace("$4096", "$-1"),
        lambda text: text.replace("$4096", "$"),
        lambda text: text.replace("$4096", "$99999999999"),
        lambda text: text.replace("$4096", "$4294967296"),
        lambda text: text.replace("$4096:", "$4096:1:"),
        lambda text: text.replace(":W22Z", ":\u00e922"),
        lambda text: text.replace(":W22ZaJ0SNY7soEsUEjb6gQ==", ":"),
        lambda text: text.replace(":W22ZaJ0SNY7soEsUEjb6gQ==", ":*"),
        lambda text: text[:-44] + "AAAA",
        lambda text: text[:-5],
    ],
)
def test_verifiers_that_are_none(change: Callable[[str], str]) -> None:
    text = change(ScramVerifier.from_password("pencil", RFC_SALT, 4096).format())
    with pytest.raises(ConfigError, match="invalid SCRAM verifier") as caught:
        ScramVerifier.parse(text)
    assert "W22Z" not in str(caught.value)


def test_mock_verifiers() -> None:
    one = ScramVerifier.mock("nobody", b"secret")
    assert one.format() == ScramVerifier.mock("nobody", b"secret").format()
    assert one.salt != ScramVerifier.mock("somebody", b"secret").salt
    assert one.salt != ScramVerifier.mock("nobody", b"another").salt
    assert len(one.salt) == 16
    assert not one.matches("")
    with pytest.raises(ConfigError, match="secret"):
        ScramVerifier.mock("nobody", b"")


def test_md5() -> None:
    # select 'md5' || md5(md5('secret' || 'joe') || salt), by hand
    inner = hashlib.md5(b"secretjoe").hexdigest()
    outer = b"md5" + hashlib.md5(inner.encode() + b"\x01\x02\x03\xff").hexdigest().encode()
    assert md5_password("joe", "secret", b"\x01\x02\x03\xff") == outer
    assert md5_verifier("joe", "secret") == "md5" + inner
    assert md5_answer(md5_verifier("joe", "secret"), b"\x01\x02\x03\xff") == outer
    assert md5_verifier("md5_role", "\u2168") == "md5" + hashlib.md5("\u2168md5_role".encode()).hexdigest()
    with pytest.raises(ConfigError, match="user name"):
        md5_verifier("joe\ud800", "secret")


def test_md5_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    def disabled(data: bytes) -> object:
        raise ValueError("[digital envelope routines] unsupported")

    monkeypatch.setattr(hashlib, "md5", disabled)
    with pytest.raises(ConfigError, match="FIPS"):
        md5_password("joe", "secret", b"1234")


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=100), st.booleans())
def test_noise_as_a_verifier(text: str, headed: bool) -> None:
    with pytest.raises(ConfigError):
        ScramVerifier.parse("SCRAM-SHA-256$" + text if headed else text)


@pytest.mark.parametrize(
    ("salt", "iterations", "keys"),
    [(b"", 1, 32), (b"x" * 769, 1, 32), (b"x", 0, 32), (b"x", 2**31, 32), (b"x", 1, 31)],
)
def test_bad_arguments(salt: bytes, iterations: int, keys: int) -> None:
    with pytest.raises(ConfigError, match="invalid SCRAM verifier"):
        ScramVerifier(salt, iterations, bytes(keys), bytes(keys))


def test_repr() -> None:
    assert repr(ScramVerifier(b"salt", 7, bytes(32), bytes(32))) == "ScramVerifier(iterations=7, <redacted>)"


def test_public_names() -> None:
    assert all(hasattr(verifier, name) for name in verifier.__all__)
