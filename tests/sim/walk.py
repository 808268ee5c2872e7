"""Walks through the protocol core itself: any message in any state, for the states that no pool ever enters.

The adapters send no FunctionCall and start no replication, but embedders of `pgproto.protocol` do.  A walk
plays such an embedder: it sends whatever is legal, the server answers legally or with nonsense, and the
bytes come in pieces.  A twin gets the same bytes whole: its events must be the same (I11).  Every request
must be settled once (I2), nonsense must end the session for good (I5), and nothing else may be raised (I1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgproto import LocalProtocolError, RemoteProtocolError
from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection, states
from pgproto.wire import (
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    ErrorResponse,
    Execute,
    Flush,
    FunctionCall,
    GSSResponse,
    Message,
    Parse,
    PasswordMessage,
    Query,
    ReadyForQuery,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Sync,
    tags,
)

from .lies import MESSAGES

if TYPE_CHECKING:
    from .world import World

__all__ = ["walk"]

_REQUESTS: Final[tuple[Message, ...]] = (
    Parse("", "select 1"),
    Bind("", "", (), (), ()),
    Describe("S", ""),
    Describe("P", ""),
    Execute(),
    Close("S", "x"),
    Sync(),
    Query("select 1"),
    FunctionCall(1, (), (), 0),
    Flush(),
    CopyData(b"x"),
    CopyDone(),
    CopyFail("no"),
)
_ANSWERS: Final = {message.tag: message for message in reversed(MESSAGES)}
_STARTS: Final[dict[int, Message]] = {
    states.PASSWORD: PasswordMessage(b"secret"),
    states.SASL: SASLInitialResponse("SCRAM-SHA-256", b"n,,n=,r=x"),
    states.SASL_CONTINUE: SASLResponse(b"c=biws,r=x,p=AAAA"),
    states.GSS: GSSResponse(b"token"),
}
_COPIES: Final = frozenset({tags.COPY_IN_RESPONSE, tags.COPY_OUT_RESPONSE, tags.COPY_BOTH_RESPONSE})
_STEPS: Final = 40


def walk(world: World, count: int = 12) -> int:
    """Take some walks; how many requests were made."""
    return sum(_Walk(world).go() for _ in range(count))


class _Walk:
    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self.conn = PGConnection(CLIENT)
        self.twin = PGConnection(CLIENT)
        self.requests = 0
        self.settled = 0
        # When nonsense is said: after so many messages of the server; most walks say it once they are ready.
        self.nonsense = self.rng.randrange(6) if self.rng.random() < 0.25 else 4 + self.rng.randrange(12)
        self.said = 0

    def go(self) -> int:
        """One session."""
        rng = self.rng
        conn = self.conn
        self._send(StartupMessage({"user": "sim"}))
        for _ in range(_STEPS):
            if conn.closed is not None:
                break
            phase = conn.phase
            if phase in _STARTS and rng.random() < 0.9:
                self._send(_STARTS[phase])
            elif phase == states.READY and rng.random() < 0.55:
                copying = conn.head_state in states.COPY_SENDS
                self._send(rng.choice(_REQUESTS[-3:] if copying else _REQUESTS))
            else:
                self._receive(self._answer(phase))
        if conn.closed is None:
            self._receive(b"")
        self._check_end()
        return self.requests

    def _answer(self, phase: int) -> bytes:
        rng = self.rng
        chosen: Message
        self.said += 1
        if self.said > self.nonsense:
            chosen = rng.choice(MESSAGES)
        elif phase == states.READY:
            legal = states.ANSWERS[self.conn.head_state]
            if not legal:
                self.said -= rng.random() < 0.7
                return _ANSWERS[tags.NOTICE_RESPONSE].encode()
            copies = [tag for tag in legal if tag in _COPIES]
            tag = rng.choice(copies if copies and rng.random() < 0.3 else list(legal))
            chosen = ReadyForQuery(rng.choice("IITE")) if tag == tags.READY_FOR_QUERY else _ANSWERS[tag]
            if rng.random() < 0.08:
                chosen = ErrorResponse({"S": "ERROR", "C": "22012", "M": "made up"})
        else:
            legal_types = states.BACKEND_PHASES.get(phase, {})
            fitting = [message for message in MESSAGES if type(message) in legal_types]
            if phase == states.STARTUP and rng.random() < 0.6:
                fitting = [_ANSWERS[tags.AUTHENTICATION]]
            chosen = rng.choice(fitting or MESSAGES)
            if phase == states.AUTHENTICATED and rng.random() < 0.8:
                chosen = ReadyForQuery("I")
        return chosen.encode()

    def _send(self, message: Message) -> None:
        try:
            data = self.conn.send(message)
        except LocalProtocolError:
            try:
                self.twin.send(message)
            except LocalProtocolError:
                return
            self._wrong("only one of the twins refuses to send")
            return
        if self.twin.send(message) != data:
            self._wrong("the twins write different bytes")
        if message.tag in states.FIRST_STATE and self.conn.phase == states.READY:
            self.requests += 1

    def _receive(self, data: bytes) -> None:
        world = self.world
        conn = self.conn
        if world.tracing:
            where = states.PHASE_NAMES[conn.phase], states.HEAD_NAMES[conn.head_state]
            world.note("walk: %s <- %s", where, data)
        found: list[str] = []
        if not data:
            conn.receive_data(b"")
            found += self._drain(conn, count=True)
        at = 0
        while at < len(data):
            size = self.rng.choice((1, 3, 1000))
            conn.receive_data(data[at : at + size])
            found += self._drain(conn, count=True)
            at += size
        self.twin.receive_data(data)
        other = self._drain(self.twin, count=False)
        if found != other:
            self._wrong(f"in pieces {found}, whole {other}")

    def _drain(self, conn: PGConnection, *, count: bool) -> list[str]:
        found: list[str] = []
        while True:
            event = conn.next_event()
            if event is NEED_DATA:
                return found
            found.append(type(event).__name__)
            if isinstance(event, Closed):
                if count:
                    self.settled += len(event.unanswered)
                return found
            if len(found) > 200:
                self._wrong("events without end")
                return found

    def _check_end(self) -> None:
        conn = self.conn
        closed = conn.closed
        if closed is None:
            self._wrong("EOF did not end the session")
            return
        if conn.in_flight:
            self._wrong("requests are in flight behind the end")
        for data in (b"Z\0\0\0\x05I", b"\0", b""):
            conn.receive_data(data)
            if conn.next_event() is not closed:
                self._wrong("the end was not the end")
        try:
            conn.send(Query("select 1"))
        except LocalProtocolError:
            pass
        else:
            self._wrong("something can be sent behind the end")
        if isinstance(closed.error, RemoteProtocolError) and not str(closed.error):
            self._wrong("an error without a text")

    def _wrong(self, text: str) -> None:
        self.world.violation(f"walk: {text}", "core")
