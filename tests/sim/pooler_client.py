"""A client of the model pooler: its login, its messages, and the pooler's last words to it.

A message is forwarded as it comes, piece by piece.  In transaction mode the server is given away at
ReadyForQuery if no further one is owed, and a segment is owed only once its Sync was seen: so what was
forwarded of the next segment stays with the old server, and what is left of a message that was half forwarded
goes there too, whoever is being served by then.  (PgBouncer up to 1.20.)

Where statements are followed, whole messages are forwarded, and the server is given away when no request is
under way: the first message of a segment counts.  (PgBouncer from 1.21 on.)

Texts: pgbouncer's source (client.c, objects.c, janitor.c, sbuf.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pgproto.protocol import NEED_DATA, SERVER, PGConnection
from pgproto.wire import (
    PROTOCOL_3_0,
    AuthenticationOk,
    BackendKeyData,
    CancelRequest,
    EncryptionResponse,
    ErrorResponse,
    GSSENCRequest,
    NegotiateProtocolVersion,
    ParameterStatus,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
)
from tests.sim.pooler_accounts import CLOSED, Counted, Followed, Refused, closed
from tests.sim.world import ServerEnd, Timer

if TYPE_CHECKING:
    from tests.sim.pooler import Pooler, ServerLink

__all__ = ["Frames", "PoolerClient", "last_words"]

_KNOWN: Final = frozenset(
    name
    for names in ("user database replication options application_name client_encoding", "datestyle timezone")
    for name in (*names.split(), "standard_conforming_strings", "extra_float_digits")
)


def last_words(text: str, code: str = "08P01", *, old: bool = False) -> bytes:
    """What a pooler says before it hangs up: S, C and M."""
    return ErrorResponse({"S": "ERROR" if old else "FATAL", "C": code, "M": text}).encode()


class Frames:
    """Cuts a stream into whole messages, bytes untouched."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = b""

    def add(self, data: bytes) -> Iterator[bytes]:
        """Take bytes; the messages that are whole now."""
        data = self.pending + data
        start = 0
        size = len(data)
        while size - start >= 5:
            end = start + 1 + int.from_bytes(data[start + 1 : start + 5], "big")
            if end > size:
                break
            self.pending = data[end:]
            yield data[start:end]
            start = end
        self.pending = data[start:]


class PoolerClient:
    """A client.

    Attributes:
        pid, key: for its cancel requests.
        server: who works for it; None for nobody.
        statements: those that it has prepared, by its names, where the pooler follows them.
        waits_for_welcome: it cannot be logged in before a server is there.
        timer: query_wait_timeout, or idle_transaction_timeout.
        dead: it was disconnected.
        complaint: what it did that no client may do, or None.
    """

    def __init__(self, pooler: Pooler, end: ServerEnd, pid: int, key: bytes) -> None:
        self.pooler = pooler
        self.pid = pid
        self.key = key
        self.server: ServerLink | None = None
        self.statements: dict[bytes, bytes] = {}
        self.waits_for_welcome = False
        self.timer: Timer | None = None
        self.dead = False
        self.complaint: str | None = None
        self._end = end
        self._login: PGConnection | None = PGConnection(SERVER)
        self._unread = b""  # it starts with a message
        self._left = 0  # bytes of the message that is half forwarded
        self._halfway: ServerLink | None = None  # where the first half went

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self.dead:
            self._end.write(data)

    def received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self.dead or self.pooler.hold(self, data):
            return
        if self._login is not None:
            self._log_in(self._login, data)
            return
        if self._left and self._halfway is not None:
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self._halfway.write(piece)
        self._unread += data
        self.go_on()

    # ---- Login

    def _log_in(self, login: PGConnection, data: bytes) -> None:
        login.receive_data(data)
        while not self.dead and (event := login.next_event()) is not NEED_DATA:
            if isinstance(event, SSLRequest | GSSENCRequest):
                self.write(login.send(EncryptionResponse(b"N")))
            elif isinstance(event, CancelRequest):
                self.pooler.cancel_request(event.process_id, event.secret_key, self)
                return
            elif isinstance(event, StartupMessage):
                self._start(login, event)
                return
            else:
                self.disconnect("bad packet header")
                return

    def _start(self, login: PGConnection, event: StartupMessage) -> None:
        unknown = [name for name in event.parameters if name.lower() not in _KNOWN]
        if event.protocol != PROTOCOL_3_0 and not self.pooler.names.limit:
            self.disconnect("bad packet header")
        elif unknown:
            self.disconnect(f"unsupported startup parameter: {unknown[0]}")
        else:
            if event.protocol != PROTOCOL_3_0:
                self.write(login.send(NegotiateProtocolVersion(PROTOCOL_3_0, ())))
            self.waits_for_welcome = True
            self.log_in()
            if self.waits_for_welcome and not self.pooler.fails_fast(self):
                self.pooler.open_server()

    def log_in(self) -> None:
        """Say welcome, if it is known what a server says."""
        login = self._login
        if not self.waits_for_welcome or login is None or not self.pooler.knows_server:
            return
        self.waits_for_welcome = False
        self._login = None
        server = next(server for server in self.pooler.servers if server.ready)
        out = [login.send(AuthenticationOk())]
        out += [login.send(ParameterStatus(name, value)) for name, value in server.parameters.items()]
        out += [login.send(BackendKeyData(self.pid, self.key)), login.send(ReadyForQuery("I"))]
        self.write(b"".join(out))

    # ---- Messages

    def attach(self, server: ServerLink) -> None:
        """A server works for it now."""
        self._stop_timer()
        self.server = server
        server.client = self
        server.accounts.statements = self.statements
        self.go_on()

    def go_on(self) -> None:
        """Forward what waits, or wait for a server."""
        data = self._unread
        if len(data) < 5 or self._left or self.dead:
            return
        if data[:1] == b"X":
            self.disconnect(words=False)
            return
        server = self.server
        if server is None:
            if not self._closes_alone():
                self.pooler.want(self)
            return
        self._stop_timer()
        accounts = server.accounts
        if isinstance(accounts, Followed):
            self._follow(server, accounts)
            return
        assert isinstance(accounts, Counted)
        end = 0
        while len(data) - end >= 5 and data[end] != ord("X"):
            accounts.sent(data[end])
            end += 1 + int.from_bytes(data[end + 1 : end + 5], "big")
        self._left = max(0, end - len(data))
        self._halfway = server if self._left else None
        self._unread = data[end:]
        server.clean = False
        server.write(data[:end])
        self.go_on()

    def _closes_alone(self) -> bool:
        """Close what needs no server to be closed; True if that was all."""
        frames = Frames()
        for frame in frames.add(self._unread):
            name = closed(frame) if self.pooler.names.limit else None
            if name is None:
                return False
            self._unread = frames.pending
            self.statements.pop(name, None)
            self.write(CLOSED)
        return len(self._unread) < 5

    def _follow(self, server: ServerLink, accounts: Followed) -> None:
        """Forward the messages that are whole, one by one."""
        frames = Frames()
        for frame in frames.add(self._unread):
            self._unread = frames.pending
            if frame[:1] == b"X":
                self.disconnect(words=False)
                return
            server.clean = False
            try:
                answer = accounts.forward(frame)
            except Refused as error:
                self.complaint = str(error)
                self.disconnect(str(error))
                return
            if answer:
                self.write(answer)
            if self.server is not server:
                return

    def watch_transaction(self) -> None:
        """It has a transaction open, and nothing under way."""
        seconds = self.pooler.idle_transaction
        server = self.server
        if seconds and server is not None and server.status != "I" and server.accounts.settled:
            self._stop_timer()
            self.timer = self.pooler.world.call_later(seconds, self._idle_too_long)

    def _idle_too_long(self) -> None:
        if self.server is not None and self.server.accounts.settled:
            self.disconnect("idle transaction timeout")

    # ---- The end

    def disconnect(
        self, text: str = "", code: str = "08P01", *, first: bytes = b"", words: bool = True
    ) -> None:
        """Say the last words, if there are any, and hang up.

        Args:
            text, code: the words.
            first: what goes out in front of them, in the same write.
            words: False to say nothing.
        """
        if self.dead:
            return
        last = first
        if words and text:
            last += last_words(text, code, old=self.pooler.old)
        if last:
            self.write(last)
        self.dead = True
        self._stop_timer()
        self.pooler.clients.remove(self)
        if self in self.pooler.waiting:
            self.pooler.waiting.remove(self)
        server, self.server = self.server, None
        if server is not None:
            server.release()
        self._end.close()

    def eof(self) -> None:
        """The client has gone."""
        if not self.pooler.hold(self, None):
            self.disconnect(words=False)

    def lost(self) -> None:
        """Its link was reset."""
        self.eof()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
