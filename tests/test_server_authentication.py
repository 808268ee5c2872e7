"""The server's side: every method against the real client, and clients that are wrong or hostile."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from pgproto.protocol import server_authentication
from pgproto.protocol.authentication import Authenticator
from pgproto.protocol.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS
from pgproto.protocol.server_authentication import SERVER_METHODS, ServerAuthenticator
from pgproto.protocol.verifier import ScramVerifier, md5_verifier
from pgproto.wire import (
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    ErrorResponse,
    Message,
    PasswordMessage,
    Query,
    SASLInitialResponse,
    SASLResponse,
)

RANDOM = bytes(range(18))
SECRET = b"the server's own"
BINDING = hashlib.sha256(b"certificate").digest()
SCRAM = ScramVerifier.from_password("right", b"salt", 3).format()
MD5 = md5_verifier("joe", "right")


def serve(
    method: str, secret: str | None = SCRAM, *, binding: bytes | None = None, user: str = "joe"
) -> ServerAuthenticator:
    return ServerAuthenticator(
        method,
        user=user,
        secret=secret,
        random=RANDOM,
        mock_secret=SECRET,
        channel_binding_data=binding,
        iterations=3,
    )


def connect(password: str, *, binding: bytes | None = None) -> Authenticator:
    return Authenticator(
        user="joe",
        password=password,
        nonce="client-nonce-0123456789",
        encrypted=True,
        channel_binding_data=binding,
    )


def talk(server: ServerAuthenticator, client: Authenticator) -> list[Message]:
    """Both to the end; what the server said."""
    said = [server.start()]
    i = 0
    while i < len(said) and not isinstance(said[i], ErrorResponse):
        answer = client.respond(said[i])
        if answer is not None:
            said += server.receive(answer)
        i += 1
    return said


KINDS = [
    ("password", SCRAM, None, "password"),
    ("password", MD5, None, "password"),
    ("md5", MD5, None, "md5"),
    ("scram-sha-256", SCRAM, None, "scram-sha-256"),
    ("scram-sha-256", SCRAM, BINDING, "scram-sha-256"),
    ("scram-sha-256-plus", SCRAM, BINDING, "scram-sha-256"),
]


@pytest.mark.parametrize(("method", "secret", "binding", "name"), KINDS)
def test_right_password(method: str, secret: str, binding: bytes | None, name: str) -> None:
    server, client = serve(method, secret, binding=binding), connect("right", binding=binding)
    said = talk(server, client)
    assert said[-1] == AuthenticationOk()
    assert server.authenticated
    assert client.authenticated
    assert not server.failed
    assert client.method == name
    assert client.channel_bound == (binding is not None)


@pytest.mark.parametrize(("method", "secret", "binding", "name"), KINDS)
def test_wrong_password_and_unknown_user_look_the_same(
    method: str, secret: str, binding: bytes | None, name: str
) -> None:
    said: list[list[Message]] = []
    # "right" as an unknown user's password: there must be no way in.
    for known, password in ((secret, "wrong"), (None, "wrong"), (None, "right")):
        server, client = serve(method, known, binding=binding), connect(password, binding=binding)
        said.append(talk(server, client))
        assert server.failed
        assert not server.authenticated
        assert not client.authenticated
    for other in said[1:]:
        assert [type(message) for message in other] == [type(message) for message in said[0]]
        assert [len(message.encode()) for message in other[:1]] == [len(said[0][0].encode())]
    last = said[0][-1]
    assert isinstance(last, ErrorResponse)
    assert last.fields["C"] == "28P01"
    assert last.fields["M"] == 'password authentication failed for user "joe"'
    assert all(other[-1] == last for other in said)


@pytest.mark.parametrize(("method", "secret"), [("md5", SCRAM), ("scram-sha-256", MD5)])
def test_a_secret_of_another_kind_is_none(method: str, secret: str) -> None:
    server = serve(method, secret)
    assert isinstance(talk(server, connect("right"))[-1], ErrorResponse)
    assert server.failed


def test_an_unknown_user_is_always_challenged_with_the_same_salt() -> None:
    challenges = []
    for user in ("nobody", "nobody", "somebody"):
        server = serve("scram-sha-256", None, user=user)
        server.start()
        (challenge,) = server.receive(SASLInitialResponse(SCRAM_SHA_256, b"n,,n=,r=abcdefghijkl"))
        assert isinstance(challenge, AuthenticationSASLContinue)
        assert challenge.data.endswith(b",i=3")
        challenges.append(challenge.data)
    assert challenges[0] == challenges[1] != challenges[2]


def test_trust() -> None:
    server = serve("trust", None)
    assert server.start() == AuthenticationOk()
    assert server.authenticated
    with pytest.raises(LocalProtocolError):
        server.start()
    with pytest.raises(RemoteProtocolError):
        server.receive(PasswordMessage(b"x"))
    assert not server.authenticated


def test_what_is_offered() -> None:
    assert serve("scram-sha-256").start() == AuthenticationSASL([SCRAM_SHA_256])
    both = serve("scram-sha-256", binding=BINDING).start()
    assert both == AuthenticationSASL([SCRAM_SHA_256_PLUS, SCRAM_SHA_256])
    assert serve("scram-sha-256-plus", binding=BINDING).start() == AuthenticationSASL([SCRAM_SHA_256_PLUS])
    assert serve("md5").start() == AuthenticationMD5Password(RANDOM[:4])


@pytest.mark.parametrize("password", [b"", b"right\0", b"\xff\xfe", b"righ", "ri\u00adght".encode()])
def test_cleartext_answers(password: bytes) -> None:
    empty = ScramVerifier.from_password("", b"salt", 3).format()
    for secret in (SCRAM, empty):
        server = serve("password", secret)
        server.start()
        (answer,) = server.receive(PasswordMessage(password))
        right = password == "ri\u00adght".encode() and secret == SCRAM  # SASLprep drops the soft hyphen
        assert isinstance(answer, AuthenticationOk if right else ErrorResponse)
        assert server.authenticated == right


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (PasswordMessage(b"right"), "unexpected PasswordMessage"),
        (SASLResponse(b"x"), "unexpected SASLResponse"),
        (Query("select 1"), "unexpected Query"),
        (SASLInitialResponse("SCRAM-SHA-1", b"n,,n=,r=x"), "invalid SASL authentication mechanism"),
        (SASLInitialResponse(SCRAM_SHA_256_PLUS, b"n,,n=,r=x"), "invalid SASL authentication mechanism"),
        (SASLInitialResponse(SCRAM_SHA_256, None), "without the client-first-message"),
        (SASLInitialResponse(SCRAM_SHA_256, b""), "malformed SCRAM client-first-message"),
    ],
)
def test_hostile_answers(message: Message, text: str) -> None:
    server = serve("scram-sha-256")
    server.start()
    with pytest.raises(RemoteProtocolError, match=text):
        server.receive(message)
    assert server.failed
    with pytest.raises(RemoteProtocolError, match="unexpected"):
        server.receive(SASLInitialResponse(SCRAM_SHA_256, b"n,,n=,r=x"))


def test_answers_before_a_question() -> None:
    for method in SERVER_METHODS:
        server = serve(method, binding=BINDING)
        with pytest.raises(RemoteProtocolError, match="unexpected PasswordMessage"):
            server.receive(PasswordMessage(b"right"))
        with pytest.raises(LocalProtocolError):
            server.start()


def test_bad_arguments() -> None:
    with pytest.raises(ConfigError, match='unknown authentication method "gss"'):
        serve("gss")
    with pytest.raises(ConfigError, match="invalid SCRAM verifier"):
        serve("scram-sha-256", "md5nothex")
    with pytest.raises(LocalProtocolError, match="needs channel binding data"):
        serve("scram-sha-256-plus")
    with pytest.raises(LocalProtocolError, match="channel binding data"):
        serve("scram-sha-256", binding=b"")
    with pytest.raises(LocalProtocolError, match="18 random bytes"):
        ServerAuthenticator("md5", user="joe", secret=None, random=b"x" * 17, mock_secret=SECRET)
    with pytest.raises(ConfigError, match="secret"):
        ServerAuthenticator("md5", user="joe", secret=None, random=RANDOM, mock_secret=b"")


def test_repr_shows_nothing() -> None:
    text = repr(serve("md5", MD5)) + str(serve("scram-sha-256"))
    assert MD5[3:] not in text
    assert SCRAM[-44:] not in text


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(SERVER_METHODS),
    st.lists(
        st.one_of(
            st.binary(max_size=40).map(PasswordMessage),
            st.binary(max_size=40).map(SASLResponse),
            st.builds(SASLInitialResponse, st.sampled_from([SCRAM_SHA_256, ""]), st.binary(max_size=40)),
            st.just(SASLInitialResponse(SCRAM_SHA_256, b"n,,n=,r=x")),
        ),
        max_size=4,
    ),
)
def test_noise_raises_only_declared_errors(method: str, messages: list[Message]) -> None:
    server = serve(method, binding=BINDING)
    server.start()
    for message in messages:
        try:
            server.receive(message)
        except RemoteProtocolError:
            assert server.failed
        assert not server.authenticated


def test_public_names() -> None:
    assert all(hasattr(server_authentication, name) for name in server_authentication.__all__)
