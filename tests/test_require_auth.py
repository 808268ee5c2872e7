"""require_auth: libpq's matrix (001_password.pl of its test suite), its grammar and its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgproto.config import parse_config
from pgproto.config.requireauth import METHODS, parse_require_auth
from pgproto.errors import ConfigError, RemoteProtocolError

from .test_authentication import drive, make

TRUST = "server did not complete authentication"
CLEARTEXT = "server requested a cleartext password"
HASHED = "server requested a hashed password"
SASL = "server requested SASL authentication"
SCRAM = "server requested SCRAM-SHA-256 authentication"

MATRIX = [
    ("trust", "", None),
    ("trust", "gss", TRUST),
    ("trust", "sspi", TRUST),
    ("trust", "password", TRUST),
    ("trust", "md5", TRUST),
    ("trust", "scram-sha-256", TRUST),
    ("trust", "oauth", TRUST),
    ("trust", "password,scram-sha-256", TRUST),
    ("trust", "!gss", None),
    ("trust", "!sspi", None),
    ("trust", "!password", None),
    ("trust", "!md5", None),
    ("trust", "!scram-sha-256", None),
    ("trust", "!password,!scram-sha-256", None),
    ("trust", "none", None),
    ("trust", "!none", TRUST),
    ("trust", "none,password", None),
    ("password", "", None),
    ("password", "password", None),
    ("password", "!none", None),
    ("password", "scram-sha-256,password,md5", None),
    ("password", "md5", CLEARTEXT),
    ("password", "scram-sha-256", CLEARTEXT),
    ("password", "none", CLEARTEXT),
    ("password", "!password", CLEARTEXT),
    ("password", "!password,!md5,!scram-sha-256", CLEARTEXT),
    ("md5", "", None),
    ("md5", "md5", None),
    ("md5", "!none", None),
    ("md5", "md5,scram-sha-256,password", None),
    ("md5", "password", HASHED),
    ("md5", "scram-sha-256", HASHED),
    ("md5", "none", HASHED),
    ("md5", "!md5", HASHED),
    ("md5", "!password,!md5,!scram-sha-256", HASHED),
    ("scram-sha-256", "", None),
    ("scram-sha-256", "scram-sha-256", None),
    ("scram-sha-256", "!none", None),
    ("scram-sha-256", "none,scram-sha-256", None),
    ("scram-sha-256", "password,scram-sha-256,md5", None),
    ("scram-sha-256", "password", SASL),
    ("scram-sha-256", "md5", SASL),
    ("scram-sha-256", "none", SASL),
    ("scram-sha-256", "oauth", SCRAM),
    ("scram-sha-256", "!scram-sha-256", SCRAM),
    ("scram-sha-256", "!password,!md5,!scram-sha-256", SCRAM),
    ("scram-sha-256", "!scram-sha-256,!oauth", SASL),
]


@pytest.mark.parametrize(("method", "require_auth", "reason"), MATRIX)
@pytest.mark.parametrize("local", [True, False])
def test_require_auth(method: str, require_auth: str, reason: str | None, local: bool) -> None:
    auth = make(require_auth, local=local, encrypted=not local)
    if reason is None:
        drive(auth, method)
        assert auth.authenticated
        assert auth.method == ("none" if method == "trust" else method)
        return
    with pytest.raises(RemoteProtocolError) as caught:
        drive(auth, method)
    assert str(caught.value) == f'authentication method requirement "{require_auth}" failed: {reason}'
    assert not auth.authenticated


@pytest.mark.holds("S8")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("scram-sha-256,!md5", 'method "md5": "!" must be in front of all methods or none'),
        (
            "!password,!none,scram-sha-256",
            'method "scram-sha-256": "!" must be in front of all methods or none',
        ),
        ("!none,none", 'method "none": "!" must be in front of all methods or none'),
        ("password,md5,password", 'method "password" is specified more than once'),
        ("!password,!md5,!password", 'method "!password" is specified more than once'),
        ("none,md5,none", 'method "none" is specified more than once'),
        ("!none,!none", 'method "!none" is specified more than once'),
        ("md5,", "expected a comma-separated list of gss, md5, none, oauth, password, scram-sha-256, sspi"),
        ("none,abcdefg", "expected a comma-separated list"),
        (",", "expected a comma-separated list"),
        ("!", "expected a comma-separated list"),
        ("!!md5", "expected a comma-separated list"),
        ("md5, password", "expected a comma-separated list"),
        ("MD5", "expected a comma-separated list"),
        (" md5", "expected a comma-separated list"),
    ],
)
def test_the_configuration_and_the_authentication_refuse_it_in_the_same_words(text: str, error: str) -> None:
    messages = set()
    for refuse in (parse_require_auth, make, lambda text: parse_config(user="u", require_auth=text)):
        with pytest.raises(ConfigError) as caught:
            refuse(text)
        messages.add(str(caught.value))
    assert len(messages) == 1
    assert messages.pop().startswith(f"require_auth: {error}")


def test_parsed_lists() -> None:
    everything = frozenset(METHODS)
    for text, allowed, listed, required in [
        ("", everything, frozenset(), False),
        ("none", frozenset(), frozenset(), False),
        ("!none", everything, frozenset(), True),
        ("!md5", everything - {"md5"}, frozenset(), False),
        ("md5,none", frozenset({"md5"}), frozenset({"md5"}), False),
    ]:
        parsed = parse_require_auth(text)
        assert (parsed.allowed, parsed.listed, parsed.required) == (allowed, listed, required)
        assert repr(parsed) == f"RequiredAuth({text!r})"


@given(st.text(alphabet="md5!,none ", max_size=20))
def test_noise_as_require_auth(text: str) -> None:
    try:
        parsed = parse_require_auth(text)
    except ConfigError:
        return
    assert parsed.text == text
    assert parsed.listed <= parsed.allowed
