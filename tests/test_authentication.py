"""The client's side: channel binding, the order of messages, and servers that misbehave."""

from __future__ import annotations

import base64
import gc
import hashlib
import itertools
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import ConfigError, Error, LocalProtocolError, RemoteProtocolError
from pgproto.protocol import authentication
from pgproto.protocol.authentication import Authenticator
from pgproto.protocol.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramServer
from pgproto.protocol.verifier import ScramVerifier, md5_password
from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSSPI,
    Message,
    PasswordMessage,
    Query,
    SASLInitialResponse,
    SASLResponse,
)

PASSWORD = "CANARY-pass"
NONCE = "client-nonce-0123456789"
SERVER_NONCE = "server-nonce-0123456789"
BINDING = hashlib.sha256(b"certificate").digest()
VERIFIER = ScramVerifier.from_password(PASSWORD, b"salt", 1)
MD5_SALT = b"\x00\xff,="


def make(
    require_auth: str = "",
    *,
    channel_binding: str = "prefer",
    encrypted: bool = False,
    local: bool = False,
    binding: bytes | None = None,
    password: str | None = PASSWORD,
    max_iterations: int = 1_000_000,
) -> Authenticator:
    return Authenticator(
        user="joe",
        password=password,
        nonce=NONCE,
        require_auth=require_auth,
        channel_binding=channel_binding,
        encrypted=encrypted,
        local=local,
        channel_binding_data=binding,
        max_iterations=max_iterations,
    )


def drive(auth: Authenticator, method: str) -> None:
    """An honest server of one method, to the end."""
    if method == "password":
        assert auth.respond(AuthenticationCleartextPassword()) == PasswordMessage(PASSWORD.encode())
    elif method == "md5":
        answer = auth.respond(AuthenticationMD5Password(MD5_SALT))
        assert answer == PasswordMessage(md5_password("joe", PASSWORD, MD5_SALT))
    elif method.startswith("scram"):
        plus = method == "scram-sha-256-plus"
        offer = [SCRAM_SHA_256_PLUS, SCRAM_SHA_256] if plus else [SCRAM_SHA_256]
        first = auth.respond(AuthenticationSASL(offer))
        assert isinstance(first, SASLInitialResponse)
        assert first.data is not None
        server = ScramServer(
            VERIFIER, SERVER_NONCE, channel_binding=BINDING if plus else None, mechanism=first.mechanism
        )
        proof = auth.respond(AuthenticationSASLContinue(server.challenge(first.data)))
        assert isinstance(proof, SASLResponse)
        final = server.finish(proof.data)
        assert final is not None
        assert auth.respond(AuthenticationSASLFinal(final)) is None
    assert not auth.authenticated
    assert auth.respond(AuthenticationOk()) is None


# --- the link -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "message"),
    [("password", AuthenticationCleartextPassword()), ("md5", AuthenticationMD5Password(MD5_SALT))],
)
def test_no_password_over_plain_tcp(method: str, message: Message) -> None:
    for require_auth in ("", "!none", "!scram-sha-256"):
        with pytest.raises(RemoteProtocolError, match=f"over an unencrypted connection.*={method} "):
            make(require_auth).respond(message)
    for allowed in (make(method), make(encrypted=True), make(local=True), make(f"none,{method}")):
        drive(allowed, method)
        assert allowed.authenticated
    drive(make(), "scram-sha-256")
    drive(make(), "trust")


# --- channel binding ------------------------------------------------------------------------------

BOTH = [SCRAM_SHA_256, SCRAM_SHA_256_PLUS]


@pytest.mark.parametrize(
    ("policy", "encrypted", "binding", "offered", "expected"),
    [
        ("prefer", False, None, [SCRAM_SHA_256], b"n,,"),
        ("prefer", True, BINDING, [SCRAM_SHA_256], b"y,,"),
        ("prefer", True, BINDING, BOTH, b"p=tls-server-end-point,,"),
        ("prefer", True, BINDING, BOTH[::-1], b"p=tls-server-end-point,,"),
        ("prefer", True, BINDING, [SCRAM_SHA_256_PLUS], b"p=tls-server-end-point,,"),
        ("prefer", True, None, [SCRAM_SHA_256], b"n,,"),
        ("prefer", True, None, BOTH, b"n,,"),
        ("prefer", True, None, [SCRAM_SHA_256_PLUS], "none of the server's SASL"),
        ("disable", True, BINDING, BOTH, b"n,,"),
        ("disable", True, BINDING, [SCRAM_SHA_256], b"n,,"),
        ("disable", True, BINDING, [SCRAM_SHA_256_PLUS], "none of the server's SASL"),
        ("disable", False, None, BOTH, "over a non-SSL connection"),
        ("prefer", False, None, BOTH, "over a non-SSL connection"),
        ("prefer", False, BINDING, BOTH, "over a non-SSL connection"),
        ("prefer", False, BINDING, [SCRAM_SHA_256], b"n,,"),
        ("require", False, None, BOTH, "SSL not in use"),
        ("require", False, BINDING, [SCRAM_SHA_256], "SSL not in use"),
        ("require", True, BINDING, BOTH, b"p=tls-server-end-point,,"),
        ("require", True, BINDING, [SCRAM_SHA_256], "did not offer an authentication method"),
        ("require", True, None, BOTH, "has no channel binding data"),
        ("require", True, None, [SCRAM_SHA_256_PLUS], "has no channel binding data"),
        ("require", True, None, [SCRAM_SHA_256], "did not offer an authentication method"),
        ("prefer", False, None, [], "it offers nothing"),
        ("prefer", False, None, ["OAUTHBEARER", "X\x1b[1m"], r"it offers OAUTHBEARER, X\\x1b\[1m\)"),
        ("prefer", False, None, ["scram-sha-256"], "it offers scram-sha-256"),
    ],
)
def test_choice_of_mechanism(
    policy: str, encrypted: bool, binding: bytes | None, offered: list[str], expected: bytes | str
) -> None:
    auth = make(channel_binding=policy, encrypted=encrypted, binding=binding)
    if isinstance(expected, str):
        with pytest.raises(RemoteProtocolError, match=expected):
            auth.respond(AuthenticationSASL(offered))
        return
    first = auth.respond(AuthenticationSASL(offered))
    assert isinstance(first, SASLInitialResponse)
    assert first.data == expected + b"n=,r=" + NONCE.encode()
    assert first.mechanism == (SCRAM_SHA_256_PLUS if expected.startswith(b"p") else SCRAM_SHA_256)


@pytest.mark.parametrize("method", ["trust", "password", "md5"])
@pytest.mark.parametrize("require_auth", ["", "none,password,md5"])
def test_required_binding_and_every_other_method(method: str, require_auth: str) -> None:
    auth = make(require_auth, channel_binding="require", encrypted=True, binding=BINDING)
    expected = "server authenticated client without" if method == "trust" else "not supported by server's"
    with pytest.raises(RemoteProtocolError, match=f"channel binding required.*{expected}"):
        drive(auth, method)
    assert not auth.authenticated


def test_required_binding_is_satisfied() -> None:
    auth = make("scram-sha-256", channel_binding="require", encrypted=True, binding=BINDING)
    drive(auth, "scram-sha-256-plus")
    assert auth.authenticated
    assert auth.channel_bound
    assert auth.method == "scram-sha-256"


def test_binding_that_was_not_required() -> None:
    auth = make(channel_binding="disable", encrypted=True, binding=BINDING)
    drive(auth, "scram-sha-256")
    assert auth.authenticated
    assert not auth.channel_bound


def test_plus_and_require_auth() -> None:
    auth = make("!scram-sha-256", encrypted=True, binding=BINDING)
    with pytest.raises(RemoteProtocolError, match="server requested SCRAM-SHA-256-PLUS authentication"):
        auth.respond(AuthenticationSASL(BOTH))


# --- the order of messages ------------------------------------------------------------------------


def script(*, final: bool = True) -> tuple[list[Message], ScramServer]:
    """The honest server's messages for a client with NONCE, which can be computed ahead."""
    server = ScramServer(VERIFIER, SERVER_NONCE)
    auth = make()
    first = auth.respond(AuthenticationSASL([SCRAM_SHA_256]))
    assert isinstance(first, SASLInitialResponse)
    assert first.data is not None
    challenge = AuthenticationSASLContinue(server.challenge(first.data))
    proof = auth.respond(challenge)
    assert isinstance(proof, SASLResponse)
    signature = server.finish(proof.data)
    assert signature is not None
    messages: list[Message] = [AuthenticationSASL([SCRAM_SHA_256]), challenge]
    return [*messages, AuthenticationSASLFinal(signature), AuthenticationOk()], server


HONEST, _ = script()
MESSAGES: dict[str, Message] = {
    "ok": AuthenticationOk(),
    "cleartext": AuthenticationCleartextPassword(),
    "md5": AuthenticationMD5Password(MD5_SALT),
    "sasl": HONEST[0],
    "continue": HONEST[1],
    "final": HONEST[2],
    "gss": AuthenticationGSS(),
    "gss continue": AuthenticationGSSContinue(b"token"),
    "sspi": AuthenticationSSPI(),
    "kerberos": AuthenticationKerberosV5(),
    "query": Query("select 1"),
}

# Every prefix of a legal conversation, and what may follow it; everything else is an error.
FOLLOWS: dict[tuple[str, ...], set[str]] = {
    (): {"ok", "cleartext", "md5", "sasl"},
    ("ok",): set(),
    ("cleartext",): {"ok"},
    ("md5",): {"ok"},
    ("cleartext", "ok"): set(),
    ("md5", "ok"): set(),
    ("sasl",): {"continue"},
    ("sasl", "continue"): {"final"},
    ("sasl", "continue", "final"): {"ok"},
    ("sasl", "continue", "final", "ok"): set(),
}


@pytest.mark.parametrize("prefix", list(FOLLOWS))
@pytest.mark.parametrize("name", list(MESSAGES))
@pytest.mark.parametrize("require_auth", ["", "none,password,md5,scram-sha-256,gss,sspi", "!gss"])
def test_every_message_in_every_state(prefix: tuple[str, ...], name: str, require_auth: str) -> None:
    auth = make(require_auth, encrypted=True)
    for earlier in prefix:
        auth.respond(MESSAGES[earlier])
    was = auth.authenticated
    assert was == (prefix[-1:] == ("ok",))
    if name in FOLLOWS[prefix]:
        auth.respond(MESSAGES[name])
        assert auth.authenticated == (name == "ok")
        return
    with pytest.raises(RemoteProtocolError):
        auth.respond(MESSAGES[name])
    # It is final: the honest rest of the conversation does not heal it.
    assert not auth.authenticated
    for message in [*HONEST, AuthenticationOk()]:
        with pytest.raises(RemoteProtocolError, match="after authentication failed"):
            auth.respond(message)
    assert not auth.authenticated


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("require_auth", ["", "none", "scram-sha-256", "none,scram-sha-256", "!none", "!md5"])
def test_ok_before_the_signature(steps: int, require_auth: str) -> None:
    auth = make(require_auth)
    expected = "before the server's SCRAM signature|at the start of the SASL exchange"
    if require_auth in ("scram-sha-256", "!none"):
        expected = "server did not complete authentication"
    if require_auth == "none":
        expected = "server requested SASL authentication"
    with pytest.raises(RemoteProtocolError, match=expected):
        for message in [*HONEST[:steps], AuthenticationOk()]:
            auth.respond(message)
    assert not auth.authenticated


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gss", "GSSAPI authentication not supported"),
        ("sspi", "SSPI authentication not supported"),
        ("kerberos", "Kerberos 5 authentication not supported"),
        ("gss continue", "unexpected AuthenticationGSSContinue"),
    ],
)
def test_unsupported_methods(name: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text):
        make(encrypted=True).respond(MESSAGES[name])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gss", "server requested GSSAPI authentication"),
        ("gss continue", "server requested GSSAPI authentication"),
        ("sspi", "server requested SSPI authentication"),
        ("kerberos", "server requested an unknown authentication type"),
    ],
)
def test_unsupported_methods_that_are_not_wanted_either(name: str, reason: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        make("scram-sha-256").respond(MESSAGES[name])
    assert str(caught.value) == f'authentication method requirement "scram-sha-256" failed: {reason}'


def test_rogue_signature() -> None:
    auth = make()
    for message in HONEST[:2]:
        auth.respond(message)
    with pytest.raises(RemoteProtocolError, match="does not know the password"):
        auth.respond(AuthenticationSASLFinal(b"v=" + base64.b64encode(bytes(32))))
    with pytest.raises(RemoteProtocolError):
        auth.respond(AuthenticationOk())
    assert not auth.authenticated


# --- receive and reply ----------------------------------------------------------------------------


def test_hashing_can_be_done_elsewhere() -> None:
    auth = make()
    auth.receive(HONEST[0])
    assert auth.pending_iterations == 0
    assert isinstance(auth.reply(), SASLInitialResponse)
    auth.receive(HONEST[1])
    assert auth.pending_iterations == 1
    with pytest.raises(LocalProtocolError, match="was not taken"):
        auth.receive(HONEST[2])
    assert isinstance(auth.reply(), SASLResponse)
    assert auth.pending_iterations == 0
    assert auth.reply() is None
    auth.receive(HONEST[2])
    assert auth.reply() is None
    auth.receive(HONEST[3])
    assert auth.authenticated


def test_the_iteration_cap() -> None:
    auth = make(max_iterations=4096)
    auth.respond(HONEST[0])
    challenge = f"r={NONCE}{SERVER_NONCE},s=c2FsdA==,i=4097".encode()
    with pytest.raises(RemoteProtocolError, match="more SCRAM iterations than the 4096"):
        auth.receive(AuthenticationSASLContinue(challenge))
    assert auth.pending_iterations == 0
    assert auth.reply() is None


# --- passwords and arguments ----------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, ""])
@pytest.mark.parametrize("name", ["cleartext", "md5", "sasl"])
def test_no_password(password: str | None, name: str) -> None:
    auth = make(password=password, encrypted=True)
    with pytest.raises(ConfigError, match="no password supplied"):
        auth.respond(MESSAGES[name])
    drive(make(password=password), "trust")


@pytest.mark.parametrize("name", ["cleartext", "md5", "sasl"])
def test_passwords_that_cannot_be_sent(name: str) -> None:
    for password in ("CANARY\0", "CANARY\ud800"):
        with pytest.raises(ConfigError, match="password") as caught:
            make(password=password, encrypted=True).respond(MESSAGES[name])
        assert "CANARY" not in str(caught.value)
        assert caught.value.__context__ is None


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match='invalid channel_binding value: "maybe"'):
        make(channel_binding="maybe")
    with pytest.raises(LocalProtocolError, match="channel binding data"):
        make(binding=b"")
    with pytest.raises(LocalProtocolError, match="nonce"):
        Authenticator(user="joe", password=PASSWORD, nonce="")


# --- secrets, and noise ---------------------------------------------------------------------------


def test_no_secret_is_shown() -> None:
    secrets = ["CANARY", PASSWORD, hashlib.md5((PASSWORD + "joe").encode()).hexdigest()]
    failures = 0
    policies = itertools.product(
        ["", "md5", "!md5", "scram-sha-256", "password"], ["prefer", "require"], [True, False]
    )
    for require_auth, channel_binding, encrypted in policies:
        for prefix, name in itertools.product(FOLLOWS, MESSAGES):
            auth = make(require_auth, channel_binding=channel_binding, encrypted=encrypted, binding=BINDING)
            shown = [repr(auth), str(auth)]
            try:
                for step in (*prefix, name, "ok"):
                    auth.respond(MESSAGES[step])
                    shown.append(repr(auth))
            except Error as error:
                failures += 1
                shown += [str(error), repr(error), "".join(traceback.format_exception(error))]
            for text in shown:
                assert not any(secret in text for secret in secrets)
    assert failures > 1000


@pytest.mark.parametrize("method", ["trust", "password", "md5", "scram-sha-256"])
def test_the_password_is_forgotten(method: str) -> None:
    auth = make(local=True)
    assert PASSWORD in gc.get_referents(auth)
    drive(auth, method)
    held = gc.get_referents(auth)
    assert PASSWORD not in held
    assert PASSWORD not in gc.get_referents(*held)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(list(MESSAGES.values())),
            st.binary(max_size=40).map(AuthenticationSASLContinue),
            st.binary(max_size=40).map(AuthenticationSASLFinal),
            st.lists(st.text(max_size=20), max_size=3).map(AuthenticationSASL),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_noise_raises_only_declared_errors(messages: list[Message], encrypted: bool) -> None:
    auth = make(encrypted=encrypted)
    failed = False
    for message in messages:
        try:
            auth.respond(message)
        except RemoteProtocolError:
            failed = True
        assert not (failed and auth.authenticated)


def test_public_names() -> None:
    assert all(hasattr(authentication, name) for name in authentication.__all__)
