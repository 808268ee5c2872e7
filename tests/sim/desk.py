"""A world for the model servers alone: virtual time, links without delay, a client that speaks messages.

For the tests of the models; the simulation has `world` and `network`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection, Skipped
from pgproto.protocol.events import DataRows
from pgproto.wire import (
    CopyData,
    ErrorResponse,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
    StartupMessage,
)
from tests.sim.world import Receiver, Server

__all__ = ["Client", "Desk", "words"]


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Desk:
    """Time, randomness and servers, on a desk.

    Attributes:
        now: virtual time in seconds.
        servers: who can be dialled, by name.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.notes: list[str] = []
        self.servers: dict[str, Server] = {}
        self._timers: list[tuple[float, int, _Timer]] = []
        self._numbers = itertools.count()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> _Timer:
        """Call after so much virtual time."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self.now + seconds, next(self._numbers), timer))
        return timer

    def note(self, text: str, *args: object) -> None:
        """Keep a line."""
        self.notes.append(text % args if args else text)

    def dial(self, name: str, receiver: Receiver) -> End:
        """Connect to a server; a link without delay."""
        near, far = End(self), End(self)
        near.peer, far.peer = far, near
        near.receiver = receiver
        far.receiver = self.servers[name].connected(far)
        return near

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled:
                timer.callback()
        self.now = until


class End:
    """One end of a link; what it writes arrives with the next `Desk.run`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.peer: End | None = None
        self.receiver: Receiver | None = None
        self.closed = False

    def _tell(self, method: str, *args: bytes) -> None:
        peer = self.peer
        assert peer is not None

        def tell() -> None:
            assert peer is not None
            if peer.receiver is not None and (not peer.closed or method == "received"):
                getattr(peer.receiver, method)(*args)

        self.desk.call_later(0.0, tell)

    def write(self, data: bytes) -> None:
        """Send bytes; nothing if the link is closed."""
        if not self.closed:
            self._tell("received", data)

    def close(self) -> None:
        """FIN."""
        if not self.closed:
            self.closed = True
            self._tell("eof")

    def reset(self) -> None:
        """RST."""
        if not self.closed:
            self.closed = True
            self._tell("lost")


class Client:
    """A client that sends what it is told, and keeps what it hears.

    Args:
        desk: where.
        server: whom to dial.
        start: send this; None to send nothing.

    Attributes:
        heard: every event, in order; the last one is Closed once the server has hung up.
        eof: the server has closed the link.
    """

    def __init__(self, desk: Desk, server: str = "postgres", start: Message | None = None) -> None:
        self.desk = desk
        self.connection = PGConnection(CLIENT)
        self.heard: list[Message] = []
        self.raw = b""
        self.eof_seen = False
        self.end = desk.dial(server, self)
        if start is None:
            start = StartupMessage({"user": "app", "database": "app"})
        self.send(start)

    def received(self, data: bytes) -> None:
        """Bytes of the server."""
        self.raw += data
        self.connection.receive_data(data)
        while True:
            event = self.connection.next_event()
            if event is NEED_DATA:
                return
            if isinstance(event, Closed):
                if event not in self.heard:
                    self.heard.append(event)
                return
            self.heard.append(event)

    def eof(self) -> None:
        """The server has closed the link."""
        self.eof_seen = True
        self.received(b"")

    def lost(self) -> None:
        """The server has reset the link."""
        self.eof()

    def send(self, *messages: Message) -> None:
        """Send messages in one write, and let what costs no time happen."""
        self.end.write(b"".join(self.connection.send(message) for message in messages))
        self.desk.run()

    def take(self) -> list[str]:
        """What was heard since the last call, in words."""
        heard = [word for event in self.heard for word in words(event)]
        self.heard.clear()
        return heard


def words(event: Message) -> list[str]:
    """An event in words that two servers can be compared by; [] for what the client makes up itself."""
    name = type(event).__name__
    if isinstance(event, ErrorResponse | NoticeResponse):
        return [f"{event.fields.get('S', '?')} {event.fields.get('C', '?')}"]
    if isinstance(event, ReadyForQuery):
        return [f"ReadyForQuery {event.status}"]
    if isinstance(event, DataRows):
        return [f"DataRow {body!r}" for body in event.bodies()]
    if isinstance(event, RowDescription):
        columns = [f"{field.name}:{field.type_oid}:{field.format}" for field in event.fields]
        return [f"RowDescription {' '.join(columns)}"]
    if isinstance(event, ParameterStatus):
        return [f"ParameterStatus {event.name}={event.value}"]
    if isinstance(event, NotificationResponse):
        return [f"NotificationResponse {event.channel} {event.payload}"]
    if isinstance(event, CopyData):
        return [f"CopyData {event.data!r}"]
    if isinstance(event, Skipped):
        return []
    rest = [str(getattr(event, field, "")) for field in _TOLD if hasattr(event, field)]
    return [" ".join([name, *rest])]


_TOLD = ("command_tag", "parameter_types", "format", "column_formats")
