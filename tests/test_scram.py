"""SCRAM: the RFC's vector, both roles against each other, and every lie that a peer can tell."""

from __future__ import annotations

import base64
import gc
import hashlib
import hmac
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import ConfigError, Error, LocalProtocolError, RemoteProtocolError
from pgproto.protocol import scram
from pgproto.protocol.scram import MAX_ITERATIONS, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, ScramServer
from pgproto.protocol.verifier import ScramVerifier

PASSWORD = "CANARY-pencil"
NONCE = "client-nonce-0123456789"
SERVER_NONCE = "server-nonce-0123456789"
SALT = bytes(range(16))
BINDING = hashlib.sha256(b"certificate").digest()

# RFC 7677, section 3
RFC_NONCE = "rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
RFC_SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

SERVER_FIRST = f"r={NONCE}{SERVER_NONCE},s={base64.b64encode(SALT).decode()},i=2".encode()


def client() -> ScramClient:
    """A client that has sent its first message."""
    made = ScramClient(PASSWORD, NONCE)
    made.first_message()
    return made


def challenged(challenge: bytes) -> ScramClient:
    made = client()
    made.receive_challenge(challenge)
    return made


def answered() -> ScramClient:
    made = challenged(SERVER_FIRST)
    made.final_message()
    return made


def a_verifier(iterations: int = 2) -> ScramVerifier:
    return ScramVerifier.from_password(PASSWORD, SALT, iterations)


# --- the vector ---------------------------------------------------------------------------------------


def test_rfc_7677_client() -> None:
    made = ScramClient("pencil", RFC_NONCE, username="user")
    assert made.mechanism == SCRAM_SHA_256
    assert made.first_message() == RFC_CLIENT_FIRST
    made.receive_challenge(RFC_SERVER_FIRST)
    assert made.iterations == 4096
    assert made.final_message() == RFC_CLIENT_FINAL
    made.verify(RFC_SERVER_FINAL)
    assert made.verified
    assert not made.channel_bound


def test_rfc_7677_server() -> None:
    server = ScramServer(ScramVerifier.from_password("pencil", RFC_SALT, 4096), RFC_SERVER_NONCE)
    assert server.challenge(RFC_CLIENT_FIRST) == RFC_SERVER_FIRST
    assert not server.verified
    assert server.finish(RFC_CLIENT_FINAL) == RFC_SERVER_FINAL
    assert server.verified


def test_the_name_is_empty_as_in_libpq_and_escaped_where_it_is_not() -> None:
    assert ScramClient("x", NONCE).first_message() == b"n,,n=,r=" + NONCE.encode()
    assert ScramClient("x", NONCE, username="a=b,c").first_message().startswith(b"n,,n=a=3Db=2Cc,r=")


# --- both roles -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_binding", "supported", "server_binding", "mechanism", "header"),
    [
        (None, False, None, SCRAM_SHA_256, b"n,,"),
        (None, False, BINDING, SCRAM_SHA_256, b"n,,"),
        (None, True, None, SCRAM_SHA_256, b"y,,"),
        (BINDING, False, BINDING, SCRAM_SHA_256_PLUS, b"p=tls-server-end-point,,"),
    ],
)
def test_both_roles(
    client_binding: bytes | None, supported: bool, server_binding: bytes | None, mechanism: str, header: bytes
) -> None:
    one = ScramClient(PASSWORD, NONCE, channel_binding=client_binding, binding_supported=supported)
    other = ScramServer(a_verifier(), SERVER_NONCE, channel_binding=server_binding, mechanism=mechanism)
    assert one.mechanism == mechanism
    first = one.first_message()
    assert first.startswith(header)
    one.receive_challenge(other.challenge(first))
    final = other.finish(one.final_message())
    assert final is not None
    assert not one.channel_bound
    one.verify(final)
    assert one.verified
    assert other.verified
    assert one.channel_bound == (mechanism == SCRAM_SHA_256_PLUS)


@settings(deadline=None, max_examples=50)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    st.text(min_size=1),
)
def test_only_the_right_password_passes(password: str, other: str) -> None:
    known = ScramVerifier.from_password(password, SALT, 1)
    server = ScramServer(known, SERVER_NONCE)
    try:
        one = ScramClient(other, NONCE)
        challenge = server.challenge(one.first_message())
        one.receive_challenge(challenge)
        final = server.finish(one.final_message())
    except ConfigError:
        return
    same = ScramVerifier.from_password(other, SALT, 1).stored_key == known.stored_key
    assert (final is not None) == same == known.matches(other)


def test_wrong_password() -> None:
    one = client()
    server = ScramServer(ScramVerifier.from_password("something else", SALT, 2), SERVER_NONCE)
    one.receive_challenge(server.challenge(b"n,,n=,r=" + NONCE.encode()))
    assert server.finish(one.final_message()) is None
    assert not server.verified


def test_man_in_the_middle_with_another_certificate() -> None:
    one = ScramClient(PASSWORD, NONCE, channel_binding=BINDING)
    server = ScramServer(
        a_verifier(), SERVER_NONCE, channel_binding=b"another hash", mechanism=SCRAM_SHA_256_PLUS
    )
    one.receive_challenge(server.challenge(one.first_message()))
    with pytest.raises(RemoteProtocolError, match="channel binding check failed"):
        server.finish(one.final_message())


def test_a_cut_offer_of_plus_is_noticed() -> None:
    one = ScramClient(PASSWORD, NONCE, binding_supported=True)
    server = ScramServer(a_verifier(), SERVER_NONCE, channel_binding=BINDING)
    with pytest.raises(RemoteProtocolError, match="thinks the server does not"):
        server.challenge(one.first_message())


# --- a hostile server -------------------------------------------------------------------------------------

FULL = NONCE + SERVER_NONCE
B64 = base64.b64encode(SALT).decode()

BAD_CHALLENGES = [
    ("", "attribute r expected"),
    (",", "attribute r expected"),
    ("r=", "attribute s expected"),
    (f"r={FULL}", "attribute s expected"),
    (f"r={FULL},s={B64}", "attribute i expected"),
    (f"s={B64},r={FULL},i=2", "attribute r expected"),
    (f"r={FULL},i=2,s={B64}", "attribute s expected"),
    (f"m=ext,r={FULL},s={B64},i=2", "garbage at the end"),
    ("m=ext,s=x", "attribute r expected"),
    (f"R={FULL},s={B64},i=2", "attribute r expected"),
    (f"r{FULL},s={B64},i=2", "attribute r expected"),
    (f"r={FULL},s={B64},i=2,", "garbage at the end"),
    (f"r={FULL},s={B64},i=2,x=1", "garbage at the end"),
    (f"r={FULL},s={B64},i=2\0", "invalid iteration count"),
    (f"r={FULL},s={B64},i=2\n", "invalid iteration count"),
    ("e=other-error", "attribute r expected"),
    # nonces
    (f"r={NONCE},s={B64},i=2", "added nothing"),
    (f"r={NONCE[:-1]},s={B64},i=2", "does not start with the client's"),
    (f"r={SERVER_NONCE}{NONCE},s={B64},i=2", "does not start with the client's"),
    (f"r=,s={B64},i=2", "does not start with the client's"),
    (f"r={FULL} ,s={B64},i=2", "invalid nonce"),
    (f"r={FULL}\x7f,s={B64},i=2", "invalid nonce"),
    (f"r={FULL}\x80,s={B64},i=2", "invalid nonce"),
    (f"r={FULL}\0,s={B64},i=2", "invalid nonce"),
    (f"r={NONCE}{'x' * 1024},s={B64},i=2", "invalid nonce"),
    # salts
    (f"r={FULL},s=,i=2", "invalid salt"),
    (f"r={FULL},s=====,i=2", "invalid salt"),
    (f"r={FULL},s=AAA,i=2", "invalid salt"),
    (f"r={FULL},s=AAB=,i=2", "invalid salt"),
    (f"r={FULL},s=AA\nA=,i=2", "invalid salt"),
    (f"r={FULL},s=AAA=A,i=2", "invalid salt"),
    (f"r={FULL},s=AA-_,i=2", "invalid salt"),
    (f"r={FULL},s={'AAAA' * 257},i=2", "invalid salt"),
    # iterations
    (f"r={FULL},s={B64},i=", "invalid iteration count"),
    (f"r={FULL},s={B64},i=0", "invalid iteration count"),
    (f"r={FULL},s={B64},i=-1", "invalid iteration count"),
    (f"r={FULL},s={B64},i=+1", "invalid iteration count"),
    (f"r={FULL},s={B64},i=01", "invalid iteration count"),
    (f"r={FULL},s={B64},i= 1", "invalid iteration count"),
    (f"r={FULL},s={B64},i=1_0", "invalid iteration count"),
    (f"r={FULL},s={B64},i=1e9", "invalid iteration count"),
    (f"r={FULL},s={B64},i=0x10", "invalid iteration count"),
    (f"r={FULL},s={B64},i=\u0661", "invalid iteration count"),
    (f"r={FULL},s={B64},i={MAX_ITERATIONS + 1}", "more SCRAM iterations than the 1000000"),
    (f"r={FULL},s={B64},i={2**31 - 1}", "more SCRAM iterations"),
    (f"r={FULL},s={B64},i={2**63}", "more SCRAM iterations"),
]


@pytest.mark.parametrize(("challenge", "text"), BAD_CHALLENGES)
def test_bad_challenges(challenge: str, text: str) -> None:
    one = client()
    with pytest.raises(RemoteProtocolError, match=text):
        one.receive_challenge(challenge.encode("latin-1" if challenge.isascii() else "utf-8"))
    # It is over: neither a proof nor a second chance.
    with pytest.raises(LocalProtocolError, match="out of order"):
        one.final_message()
    with pytest.raises(LocalProtocolError, match="out of order"):
        one.receive_challenge(SERVER_FIRST)
    assert not one.verified


def test_ten_megabytes_of_digits() -> None:
    one = client()
    with pytest.raises(RemoteProtocolError, match="more SCRAM iterations"):
        one.receive_challenge(SERVER_FIRST[:-1] + b"9" * 10_000_000)


@pytest.mark.parametrize("iterations", [1, 4096, MAX_ITERATIONS])
def test_iterations_that_are_allowed(iterations: int) -> None:
    one = client()
    assert one.iterations == 0
    one.receive_challenge(SERVER_FIRST[:-1] + str(iterations).encode())
    assert one.iterations == iterations


def test_the_cap_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ScramClient(PASSWORD, NONCE, max_iterations=10)
    one.first_message()
    calls: list[object] = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *arguments: calls.append(arguments))
    with pytest.raises(RemoteProtocolError, match="more SCRAM iterations than the 10 "):
        one.receive_challenge(SERVER_FIRST[:-1] + b"11")
    assert not calls


def good_signature() -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, 2)
    key = hmac.digest(salted, b"Server Key", "sha256")
    bare = f"n=,r={NONCE}".encode()
    message = bare + b"," + SERVER_FIRST + b",c=biws,r=" + FULL.encode()
    return base64.b64encode(hmac.digest(key, message, "sha256"))


def test_the_helper_is_right() -> None:
    one = answered()
    one.verify(b"v=" + good_signature())
    assert one.verified


BAD_FINALS: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda v: b"", "attribute v expected"),
    (lambda v: v, "attribute v expected"),
    (lambda v: b"V=" + v, "attribute v expected"),
    (lambda v: b"v=", "invalid signature"),
    (lambda v: b"v=" + v[:-4], "invalid signature"),
    (lambda v: b"v=" + v[:-1], "invalid signature"),
    (lambda v: b"v=" + v + b"\0", "invalid signature"),
    (lambda v: b"v=" + v + b",", "garbage at the end"),
    (lambda v: b"v=" + v + b",x=1", "garbage at the end"),
    (lambda v: b"v=" + base64.b64encode(bytes(32)), "incorrect server signature"),
    (lambda v: b"v=" + base64.b64encode(bytes(33)), "invalid signature"),
    (lambda v: b"e=invalid-proof", "ended SCRAM with the error invalid-proof"),
    (lambda v: b"e=", "invalid error value"),
    (lambda v: b"e=\x1b[31m", "invalid error value"),
    (lambda v: b"e=" + b"x" * 65, "invalid error value"),
    (lambda v: b"e=other-error,v=" + v, "garbage at the end"),
]


@pytest.mark.parametrize(("make", "text"), BAD_FINALS)
def test_bad_finals(make: Callable[[bytes], bytes], text: str) -> None:
    one = answered()
    with pytest.raises(RemoteProtocolError, match=text):
        one.verify(make(good_signature()))
    assert not one.verified
    with pytest.raises(LocalProtocolError, match="out of order"):
        one.verify(b"v=" + good_signature())
    assert not one.verified


def test_two_finals() -> None:
    one = answered()
    one.verify(b"v=" + good_signature())
    with pytest.raises(LocalProtocolError, match="out of order"):
        one.verify(b"v=" + good_signature())


def test_out_of_order() -> None:
    one = ScramClient(PASSWORD, NONCE)
    for call in (
        one.final_message,
        lambda: one.receive_challenge(SERVER_FIRST),
        lambda: one.verify(RFC_SERVER_FINAL),
    ):
        with pytest.raises(LocalProtocolError, match="out of order"):
            call()
    one.first_message()
    with pytest.raises(LocalProtocolError, match="out of order"):
        one.first_message()


# --- a hostile client -------------------------------------------------------------------------------------

BAD_FIRSTS = [
    (b"", "unsupported GS2 header"),
    (b"n", "unsupported GS2 header"),
    (b"n,", "unsupported GS2 header"),
    (b"x,,n=,r=" + NONCE.encode(), "unsupported GS2 header"),
    (b"n,a=admin,n=,r=" + NONCE.encode(), "unsupported GS2 header"),
    (b"p=tls-unique,,n=,r=" + NONCE.encode(), "unsupported GS2 header"),
    (b"p=tls-server-end-point,,n=,r=" + NONCE.encode(), "does not fit the mechanism"),
    (b"n,,", "attribute n expected"),
    (b"n,,m=x,n=,r=" + NONCE.encode(), "garbage at the end"),
    (b"n,,r=" + NONCE.encode(), "attribute n expected"),
    (b"n,,n=", "attribute r expected"),
    (b"n,,n=,r=", "invalid nonce"),
    (b"n,,n=,r=a b", "invalid nonce"),
    (b"n,,n=,r=" + b"x" * 513, "invalid nonce"),
    (b"n,,n=,r=abc,x=1", "garbage at the end"),
]


@pytest.mark.parametrize(("first", "text"), BAD_FIRSTS)
def test_bad_client_firsts(first: bytes, text: str) -> None:
    server = ScramServer(a_verifier(), SERVER_NONCE)
    with pytest.raises(RemoteProtocolError, match=text):
        server.challenge(first)
    with pytest.raises(LocalProtocolError, match="out of order"):
        server.finish(b"")


@pytest.mark.parametrize("header", [b"n,,", b"y,,"])
def test_plus_without_binding(header: bytes) -> None:
    server = ScramServer(a_verifier(), SERVER_NONCE, channel_binding=BINDING, mechanism=SCRAM_SHA_256_PLUS)
    with pytest.raises(RemoteProtocolError, match="does not fit the mechanism"):
        server.challenge(header + b"n=,r=" + NONCE.encode())


def proof() -> bytes:
    return challenged(SERVER_FIRST).final_message()


BAD_CLIENT_FINALS: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda final: b"", "attribute c expected"),
    (lambda final: final + b",", "garbage at the end"),
    (lambda final: final + b"\0", "invalid proof"),
    (lambda final: final[:-4], "invalid proof"),
    (lambda final: final[: final.index(b",p=")], "attribute p expected"),
    (lambda final: final.replace(b"c=biws", b"c=eSws"), "channel binding check failed"),
    (lambda final: final.replace(b"c=biws", b"c="), "channel binding check failed"),
    (lambda final: final.replace(b"c=biws", b"c=*"), "channel binding check failed"),
    (lambda final: final.replace(b",r=", b",r=x"), "not the one that was agreed"),
    (lambda final: final.replace(SERVER_NONCE.encode(), b""), "not the one that was agreed"),
    (lambda final: final.replace(b",r=", b",x=1,r="), "garbage at the end"),
]


@pytest.mark.parametrize(("make", "text"), BAD_CLIENT_FINALS)
def test_bad_client_finals(make: Callable[[bytes], bytes], text: str) -> None:
    server = ScramServer(a_verifier(), SERVER_NONCE)
    assert server.challenge(b"n,,n=,r=" + NONCE.encode()) == SERVER_FIRST
    good = proof()
    with pytest.raises(RemoteProtocolError, match=text):
        server.finish(make(good))
    with pytest.raises(LocalProtocolError, match="out of order"):
        server.finish(good)
    assert not server.verified


# --- arguments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonce", ["", "x" * 15, "x" * 513, "comma,comma,comma,comma", "space space space", "é" * 20]
)
def test_bad_nonces_of_our_own(nonce: str) -> None:
    with pytest.raises(LocalProtocolError, match="nonce"):
        ScramClient(PASSWORD, nonce)
    with pytest.raises(LocalProtocolError, match="nonce"):
        ScramServer(a_verifier(), nonce)


@pytest.mark.parametrize("binding", [b"", b"x" * 1025])
def test_bad_bindings_of_our_own(binding: bytes) -> None:
    with pytest.raises(LocalProtocolError, match="channel binding"):
        ScramClient(PASSWORD, NONCE, channel_binding=binding)
    with pytest.raises(LocalProtocolError, match="channel binding"):
        ScramServer(a_verifier(), SERVER_NONCE, channel_binding=binding)


def test_other_bad_arguments() -> None:
    with pytest.raises(LocalProtocolError, match="empty password"):
        ScramClient("", NONCE)
    with pytest.raises(LocalProtocolError, match="needs channel binding data"):
        ScramServer(a_verifier(), SERVER_NONCE, mechanism=SCRAM_SHA_256_PLUS)
    one = ScramClient("a\0b", NONCE)
    one.first_message()
    one.receive_challenge(SERVER_FIRST)
    with pytest.raises(ConfigError, match="NUL"):
        one.final_message()


# --- secrets, and noise -----------------------------------------------------------------------------------


def test_no_secret_is_shown() -> None:
    known = a_verifier()
    shown = [
        repr(known),
        str(known),
        repr(client()),
        repr(answered()),
        repr(ScramServer(known, SERVER_NONCE)),
    ]
    secrets = ["CANARY", known.format()[-44:], known.stored_key.hex(), repr(known.stored_key)[2:-1]]
    failures: list[BaseException] = []
    for challenge, _ in BAD_CHALLENGES:
        try:
            client().receive_challenge(challenge.encode())
        except Error as error:
            failures.append(error)
    for make, _ in BAD_FINALS:
        try:
            answered().verify(make(good_signature()))
        except Error as error:
            failures.append(error)
    for make, _ in BAD_CLIENT_FINALS:
        server = ScramServer(known, SERVER_NONCE)
        server.challenge(b"n,,n=,r=" + NONCE.encode())
        try:
            server.finish(make(proof()))
        except Error as error:
            failures.append(error)
    secrets += [good_signature().decode(), proof()[-44:].decode()]
    assert len(failures) == len(BAD_CHALLENGES) + len(BAD_FINALS) + len(BAD_CLIENT_FINALS)
    for failure in failures:
        shown += ["".join(traceback.format_exception(failure)), repr(failure), repr(failure.args)]
    for text in shown:
        for secret in secrets:
            assert secret not in text


def test_the_password_is_forgotten() -> None:
    one = answered()
    assert PASSWORD in gc.get_referents(challenged(SERVER_FIRST))
    assert PASSWORD not in gc.get_referents(one)


PIECES = [b"r=", b"s=", b"i=", b"v=", b"e=", b"n=", b"c=", b"p=", b"m=", b",", b"=", b"n,,", b"y,,", b"biws"]
PIECES += [NONCE.encode(), SERVER_NONCE.encode(), B64.encode(), b"2", b"0", b"-1", b"\0", b"\xff"]
NOISE = st.one_of(st.binary(max_size=64), st.lists(st.sampled_from(PIECES)).map(b"".join))


@settings(deadline=None, max_examples=300)
@given(NOISE)
def test_noise_raises_only_declared_errors(data: bytes) -> None:
    server = ScramServer(a_verifier(), SERVER_NONCE)
    waiting = ScramServer(a_verifier(), SERVER_NONCE)
    waiting.challenge(b"n,,n=,r=" + NONCE.encode())
    for call in (client().receive_challenge, answered().verify, server.challenge, waiting.finish):
        try:
            call(data)
        except RemoteProtocolError:
            pass
    assert not server.verified
    assert not waiting.verified


def test_public_names() -> None:
    assert all(hasattr(scram, name) for name in scram.__all__)
