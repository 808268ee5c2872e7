"""The server's half of SCRAM with one lie in it, and the honest one."""

from __future__ import annotations

from collections.abc import Callable

from pgproto.protocol.scram import ScramServer
from pgproto.protocol.verifier import ScramVerifier
from pgproto.wire import (
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    BackendKeyData,
    Message,
    ParameterStatus,
    ReadyForQuery,
    SASLInitialResponse,
    SASLResponse,
)
from tests.support.memory import CANARY
from tests.support.scripted import PARAMETERS, Peer, Script, ScriptError

SCRAM = AuthenticationSASL(["SCRAM-SHA-256"])
LET_IN: tuple[Message, ...] = (
    AuthenticationOk(),
    *(ParameterStatus(name, value) for name, value in PARAMETERS.items()),
    BackendKeyData(1, b"1234"),
    ReadyForQuery("I"),
)
"""What any driver takes for a session, once it has let the server in."""
SALT = "c2FsdHNhbHRzYWx0c2FsdA=="
"""As long as PostgreSQL's: a challenge must be refused for its lie alone."""
SIGNATURE = b"v=" + b"A" * 43 + b"="
"""The server's final message, wrong."""
SERVER_NONCE = "server-nonce-0123456789"


def first_message(peer: Peer, offer: Message = SCRAM) -> bytes:
    """Ask for SASL; the client-first-message."""
    peer.receive_startup()
    peer.send(offer)
    return peer.expect_one(SASLInitialResponse).data or b""


def asked(*parts: Message | bytes) -> Script:
    """Take the client-first-message, then say these."""

    def script(peer: Peer) -> None:
        first_message(peer)
        peer.raw(*parts)
        peer.keep_open()

    return script


def challenge(peer: Peer, template: str = f"r={{}}server,s={SALT},i=4096") -> None:
    """The server's first SCRAM message, with the client's nonce for `{}`."""
    nonce = first_message(peer).decode().partition(",r=")[2]
    text = template.replace("{}", nonce)
    peer.send(AuthenticationSASLContinue(text.encode("utf-8", "surrogateescape")))


def challenged(template: str) -> Script:
    """A challenge that must be refused: no proof may follow."""

    def script(peer: Peer) -> None:
        challenge(peer, template)
        if isinstance(peer.receive(), SASLResponse):
            raise ScriptError("the client went on")

    return script


def ten_megabytes(peer: Peer) -> None:
    """A count of ten million digits, piece by piece so that the script itself is small."""
    first_message(peer)
    peer.raw(b"R\0\x98\x96\xa0\0\0\0\x0br=x,s=eA==,i=")
    for _ in range(10_000_000 // 8000):
        peer.raw(b"9" * 8000)
    peer.keep_open()


def with_nonce(nonce: str) -> Script:
    """A challenge with this nonce; `{}` is the client's."""
    return challenged(f"r={nonce},s={SALT},i=4096")


def with_salt(salt: str) -> Script:
    """A challenge with this salt."""
    return challenged(f"r={{}}server,s={salt},i=4096")


def with_iterations(count: str) -> Script:
    """A challenge with this iteration count."""
    return challenged(f"r={{}}server,s={SALT},i={count}")


def proven(*parts: Message | bytes) -> Script:
    """Take the client's proof of an honest-looking challenge, then say these."""

    def script(peer: Peer) -> None:
        challenge(peer)
        peer.expect(SASLResponse)
        peer.raw(*parts)
        peer.keep_open()

    return script


def honest(peer: Peer) -> bytes:
    """Everything up to the client's proof, as a server that knows the password; its final message."""
    first = first_message(peer)
    server = ScramServer(ScramVerifier.from_password(CANARY, b"0123456789abcdef"), SERVER_NONCE)
    peer.send(AuthenticationSASLContinue(server.challenge(first)))
    final = server.finish(peer.expect_one(SASLResponse).data)
    if final is None:
        raise ScriptError("the client's proof is wrong")
    return final


def verified(*parts: Message | bytes) -> Script:
    """A server that knows the password, up to its final message; then these."""

    def script(peer: Peer) -> None:
        peer.raw(AuthenticationSASLFinal(honest(peer)), *parts)
        peer.keep_open()

    return script


def distorted(change: Callable[[bytes], bytes]) -> Script:
    """A server that knows the password, and spoils its own final message."""

    def script(peer: Peer) -> None:
        peer.raw(AuthenticationSASLFinal(change(honest(peer))), *LET_IN)
        peer.keep_open()

    return script


def echoed(peer: Peer) -> None:
    """The client's own proof comes back as the signature."""
    challenge(peer)
    proof = peer.expect_one(SASLResponse).data.partition(b",p=")[2]
    peer.raw(AuthenticationSASLFinal(b"v=" + proof), *LET_IN)
    peer.keep_open()
