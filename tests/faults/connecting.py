"""Servers that go wrong while a client connects: the hostile ones that the adapters meet, and some more.

Here the whole connection is a script; the client has a password, which nobody may see who did not prove that
it knows it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pgproto.wire import AuthenticationOk, BackendKeyData, ParameterStatus, ReadyForQuery, SSLRequest
from tests.faults.faults import NOISE
from tests.hostile.case import Case, after_startup, finish
from tests.hostile.scram import LET_IN
from tests.hostile.servers_authentication import AUTHENTICATION
from tests.hostile.servers_startup import STARTUP
from tests.support.memory import CANARY
from tests.support.scripted import PARAMETERS, Peer, Script, fatal

__all__ = ["CANARY", "CONNECTING", "Connecting"]


@dataclass(frozen=True)
class Connecting:
    """One way to go wrong while connecting; the attributes are those of `Cell` and `Fault`."""

    name: str
    number: int
    title: str
    script: Script
    state: str = ""
    expect: str = "error"
    workload: str = "connect"
    options: str = "sslmode=disable"
    unsafe: bool = False


def _noise(peer: Peer, *, early: bool = False) -> None:
    """A healthy start-up with asynchronous messages between all others; PostgreSQL has none before the Ok."""
    from tests.faults.server import FaultServer, Session

    peer.receive_startup()
    if early:
        peer.raw(*NOISE[:2])
    peer.raw(AuthenticationOk(), *NOISE[:2])
    peer.connection.send(AuthenticationOk())
    peer.welcome(ready=False)
    peer.raw(*NOISE[:2], ReadyForQuery("I"))
    assert isinstance(peer.server, FaultServer)
    Session(peer, peer.server).run()


def _refuses(state: str, message: str) -> Script:
    return after_startup(fatal(state, message), end=finish)


def _after_s(*parts: bytes) -> Script:
    def script(peer: Peer) -> None:
        if isinstance(peer.receive(), SSLRequest):
            peer.raw(*parts)
        peer.keep_open()

    return script


# The plain text that passes for what came through TLS, and the server that says N to whom requires TLS.
_S_AND_MORE = _after_s(b"S" + b"".join(part.encode() for part in LET_IN))

_STARTING, _WRONG = "the database system is starting up", "password authentication failed"
_STARTUP_NUMBERS = {
    "closes": 8, "resets": 9, "closes after startup": 8, "half a header": 8, "half a message": 8, "fatal": 20,
    "version 4": 41, "newer than asked": 41, "many options": 41, "a key of 257 bytes in 3.2": 41,
    "a key of 3 bytes in 3.2": 41,
}  # fmt: skip
# A server may have its reasons for these; whoever can live with them may.
_EITHER = {
    "client_encoding SQL_ASCII", "newer than asked", "version 4", "a key of 257 bytes in 3.2",
    "a key of 3 bytes in 3.2",
}  # fmt: skip


# These let the client in, so they must say all that PostgreSQL says: a driver may ask for the version.
_TOLD = [ParameterStatus(name, value) for name, value in PARAMETERS.items()]
_COMPLETE = {
    "client_encoding SQL_ASCII": (
        ParameterStatus("client_encoding", "SQL_ASCII"),
        BackendKeyData(1, b"1234"),
    ),
    "a key of 3 bytes in 3.2": (b"K" + (11).to_bytes(4, "big") + bytes(7),),
    "a key of 257 bytes in 3.2": (b"K" + (265).to_bytes(4, "big") + bytes(261),),
}


def _script(case: Case) -> Script:
    own = _COMPLETE.get(case.name)
    return case.script if own is None else after_startup(AuthenticationOk(), *_TOLD, *own, ReadyForQuery("I"))


def _startup(case: Case) -> Connecting:
    name = case.name.replace(" ", "-")
    if name.startswith("silence"):
        return Connecting(name, 11, case.name, case.script, unsafe=case.name == "silence after final")
    return Connecting(
        name, _STARTUP_NUMBERS.get(case.name, 18), f"instead of a start-up: {case.name}", _script(case),
        state="57P03" if case.name == "fatal" else "", expect="either" if case.name in _EITHER else "error",
    )  # fmt: skip


CONNECTING = (
    *(_startup(case) for case in STARTUP.values() if case.tcp),
    *(
        Connecting(f"auth-{name.replace(' ', '-')}", 0, f"authentication: {name}", case.script, unsafe=True)
        for name, case in AUTHENTICATION.items()
        if case.tcp
    ),
    Connecting("silence-after-ssl", 26, "silence after SSLRequest", _after_s(), options="sslmode=require"),
    Connecting("silence-inside-the-handshake", 26, "silence inside of the TLS handshake", _after_s(b"S"),
               options="sslmode=require"),
    Connecting("starting-up", 20, "57P03, the server starts up", _refuses("57P03", _STARTING), "57P03"),
    Connecting("too-many", 20, "53300, too many clients", _refuses("53300", "too many clients"), "53300"),
    Connecting("pool-starting-up", 20, "57P03 for the whole of the acquire timeout",
               _refuses("57P03", _STARTING), "57P03", workload="acquire"),
    Connecting("password", 21, "28P01, wrong password", _refuses("28P01", _WRONG), "28P01"),
    Connecting("pool-password", 21, "28P01 for a pool", _refuses("28P01", _WRONG), "28P01",
               workload="acquire"),
    Connecting("noise", 13, "Notice and ParameterStatus between all messages of the start-up", _noise,
               expect="result"),
    Connecting("noise-before-ok", 13, "Notice and ParameterStatus before AuthenticationOk too",
               partial(_noise, early=True), expect="result"),
    Connecting("tls-s-and-more", 26, "plain text in the segment of the S that promises TLS", _S_AND_MORE,
               options="sslmode=require", unsafe=True),
    Connecting("tls-refused", 26, "N, where TLS is required", _after_s(b"N"), options="sslmode=require",
               unsafe=True),
    Connecting("tls-nonsense", 26, "G, where S or N must come", _after_s(b"G"), options="sslmode=require"),
    Connecting("tls-http", 26, "HTTP, where S or N must come", _after_s(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
               options="sslmode=require"),
)  # fmt: skip
