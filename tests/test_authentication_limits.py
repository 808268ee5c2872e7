"""The limits of SCRAM, its verifiers and SASLprep: the last value that passes, the first that does not."""

from __future__ import annotations

import pytest

from pgproto.errors import ConfigError, LocalProtocolError
from pgproto.protocol import scram
from pgproto.protocol.saslprep import prepare_password
from pgproto.protocol.scram import check_binding, check_nonce
from pgproto.protocol.verifier import ScramVerifier


def test_the_numbers() -> None:
    assert scram.MAX_ITERATIONS == 1_000_000
    assert ScramVerifier.from_password("x", b"salt").iterations == 4096
    assert ScramVerifier.mock("joe", b"secret").iterations == 4096


@pytest.mark.parametrize(("length", "good"), [(15, False), (16, True), (512, True), (513, False)])
def test_the_length_of_our_own_nonce(length: int, good: bool) -> None:
    if good:
        assert check_nonce("n" * length) == b"n" * length
    else:
        with pytest.raises(LocalProtocolError, match="16 to 512 printable"):
            check_nonce("n" * length)


@pytest.mark.parametrize(("length", "good"), [(0, False), (1, True), (1024, True), (1025, False)])
def test_the_length_of_channel_binding_data(length: int, good: bool) -> None:
    if good:
        check_binding(bytes(length))
    else:
        with pytest.raises(LocalProtocolError, match="1 to 1024 bytes"):
            check_binding(bytes(length))


@pytest.mark.parametrize(("length", "good"), [(0, False), (1, True), (768, True), (769, False)])
def test_the_length_of_a_salt(length: int, good: bool) -> None:
    if good:
        verifier = ScramVerifier.from_password("x", b"s" * length, 1)
        assert ScramVerifier.parse(verifier.format()).salt == b"s" * length
    else:
        with pytest.raises(ConfigError, match="salt is empty or too long"):
            ScramVerifier.from_password("x", b"s" * length, 1)


@pytest.mark.parametrize(("count", "good"), [(0, False), (1, True), (2**31 - 1, True), (2**31, False)])
def test_the_iterations_of_a_verifier(count: int, good: bool) -> None:
    key = bytes(32)
    if good:
        verifier = ScramVerifier(b"salt", count, key, key)
        assert ScramVerifier.parse(verifier.format()).iterations == count
    else:
        with pytest.raises(ConfigError, match="iteration count is out of range"):
            ScramVerifier(b"salt", count, key, key)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_base64_that_is_none_makes_no_verifier(place: int) -> None:
    texts = ["c2FsdA==", "A" * 43 + "=", "A" * 43 + "="]
    assert ScramVerifier.parse("SCRAM-SHA-256$1:{}${}:{}".format(*texts)).salt == b"salt"
    texts[place] = "!" * len(texts[place])
    with pytest.raises(ConfigError, match=r"^invalid SCRAM verifier$"):
        ScramVerifier.parse("SCRAM-SHA-256$1:{}${}:{}".format(*texts))


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("a\u00aa", "aa"),  # left to right: normalised
        ("\u0627\ufe8d", "\u0627\u0627"),  # right to left from end to end: normalised
        ("\u0627\u00b2\u0627", "\u06272\u0627"),  # what has no direction may stand between
        ("1\ufe8d", None),  # the first must be right to left ...
        ("\ufe8d1", None),  # ... and the last ...
        ("\ufe8da\ufe8d", None),  # ... and none left to right (RFC 3454 section 6)
        ("\u00ad\u00ad", None),  # nothing is left of it
    ],
)
def test_bidirectional_passwords(password: str, prepared: str | None) -> None:
    assert prepare_password(password) == (password if prepared is None else prepared).encode()
