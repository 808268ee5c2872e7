"""The simulated network: links, each of two pipes; what weather they have; the two ends.

A pipe has a latency, a rule by which it cuts the stream into pieces, and a window: what is beyond the
window waits at its sender, and a server whose answers wait takes no further requests, as PostgreSQL does
when its send blocks.  The near end is an asyncio transport, as strict as asyncio's own; its bytes lie in an
inbox (the kernel's receive queue) before the loop reads them.  The far end is a server's.

Faults act on links: `fin`, `rst`, `hole`, `stall`, `fail_writes`, `cut`.  When is `faults`' business.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .near import NearEnd
from .pipe import Pipe
from .tap import Tap
from .versions import Versions

if TYPE_CHECKING:
    from .world import Receiver, Server, World

__all__ = ["FarEnd", "Link", "NearEnd", "Network", "Pipe"]

_HIGH_WATER = 65536


class Link:
    """A connection: two pipes, two ends, and the tap on it.

    Attributes:
        number: counts the links of this world; the near end's file descriptor too.
        name: whom was dialled.
        up, down: to the server, to the client.
        tap: what went over it.
        lent: the client's code is using it (for the positions of faults).
        lied: a fault has put words into the server's mouth: its answers prove nothing about the database.
        dialled: when its connecting began.
        made: when it was connected; returned: when a borrower gave it back last.
        pooled: the pool has dialled it; session: for a session, not for a cancel request.
        waiting: the server's send blocks.
        hung_up: the client has ended it, before the server's end was heard of.
        phase: the position that it is in (see `catalogue`).
    """

    __slots__ = (
        "dialled",
        "down",
        "far",
        "hung_up",
        "lent",
        "lied",
        "made",
        "name",
        "near",
        "network",
        "number",
        "phase",
        "pooled",
        "returned",
        "session",
        "tap",
        "up",
        "waiting",
    )

    def __init__(self, network: Network, name: str) -> None:
        world = network.world
        self.network = network
        self.name = name
        network.links.append(self)
        self.number = 100 + len(network.links)
        weather = network.weather
        self.up = Pipe(world, weather.latency(), weather.pieces_up, weather.gap, weather.window)
        self.down = Pipe(world, weather.latency(), weather.pieces_down, weather.gap, weather.window)
        self.tap = Tap()
        self.lent = 0
        self.lied = False
        self.waiting = False
        self.hung_up = False
        self.pooled = name == "pool"
        self.dialled = self.made = self.returned = world.now
        self.session = False
        self.phase = "P12"
        self.near: NearEnd | None = None
        self.far = FarEnd(self)

    @property
    def alive(self) -> bool:
        """True while the client has not been told that it is over."""
        return self.near is not None and not self.near.lost

    # ---- What faults do

    def fin(self) -> None:
        """The server's side is closed, behind what it has said; its process is gone."""
        self.network.world.note("link %d: FIN", self.number)
        self.far.kill(fin=True)

    def rst(self, *, keep: bool) -> None:
        """Reset both ways.  `keep`: what the server said before arrives still."""
        self.network.world.note("link %d: RST, unread bytes %s", self.number, "kept" if keep else "lost")
        near = self.near
        rest = self.down.take_all() if keep else b""
        self.far.kill(fin=False)
        self.up.stop()
        self.down.stop()
        if near is not None:
            near.reset(rest)

    def hole(self, seconds: float | None) -> None:
        """Nothing gets through, either way, for so long (None: for ever)."""
        self.network.world.note("link %d: black hole for %s s", self.number, seconds)
        for pipe in (self.up, self.down):
            pipe.hold()
            if seconds is not None:
                self.network.world.loop.call_later(seconds, pipe.release)

    def fail_writes(self) -> None:
        """The server is gone; the client finds out by writing, with the server's last words unread."""
        self.network.world.note("link %d: the next write fails", self.number)
        near = self.near
        if near is not None:
            near.failing = True
        self.far.kill(fin=True)

    def cut(self) -> None:
        """Drop what the server's last words are, and FIN."""
        self.down.take_all()
        self.fin()


class FarEnd:
    """The server's end of a link: `world.ServerEnd`."""

    __slots__ = ("closed", "link", "receiver")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.receiver: Receiver | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        """Send bytes (the faults see them first)."""
        if self.closed or not data:
            return
        faults = self.link.network.faults
        if faults is not None:
            faults.answering(self.link, data)
        else:
            self.send(data)

    def send(self, data: bytes) -> None:
        """Send bytes, faults or no faults."""
        if self.closed or not data:
            return
        link = self.link
        link.down.write(data)
        if link.down.size > link.down.window and not link.waiting and not link.down.dead:
            link.network.cell(27, "P5")
            link.waiting = True  # its send blocks: it reads nothing before it can go on
            link.up.hold()

    def close(self) -> None:
        """FIN behind what was written."""
        if self.closed:
            return
        faults = self.link.network.faults
        if faults is not None:
            faults.closing(self.link)
        if not self.closed:
            self.closed = True
            self.link.down.finish()

    def reset(self) -> None:
        """RST, now."""
        if not self.closed:
            self.closed = True
            self.link.rst(keep=False)

    def kill(self, *, fin: bool) -> None:
        """A fault takes the server's process away."""
        receiver = self.receiver
        if self.closed:
            if fin:
                self.link.down.finish()
            return
        self.closed = True
        if fin:
            self.link.down.finish()
        if receiver is not None:
            self.link.network.world.loop.call_soon(receiver.lost)

    def arrived(self, data: bytes) -> None:
        """The client's bytes."""
        if self.closed:
            # The kernel answers for a process that is gone.
            self.link.network.world.loop.call_later(self.link.down.latency, self._refuse)
        elif self.receiver is not None:
            self.receiver.received(data)

    def _refuse(self) -> None:
        near = self.link.near
        if near is not None:
            near.reset(b"")

    def ended(self) -> None:
        """The client's FIN."""
        if not self.closed and self.receiver is not None:
            self.receiver.eof()

    def dropped(self) -> None:
        """The client's RST."""
        if not self.closed:
            self.closed = True
            self.link.down.stop()
            if self.receiver is not None:
                self.receiver.lost()

    def drained(self) -> None:
        """The window is open again."""
        link = self.link
        if link.waiting and link.down.size <= link.down.window // 2:
            link.waiting = False
            link.up.release()


class Weather:
    """How all links of a schedule are: drawn once."""

    __slots__ = ("_base", "_rng", "busy", "deaf", "gap", "high_water", "pieces_down", "pieces_up", "window")

    def __init__(self, world: World) -> None:
        rng = world.rng
        self._rng = rng
        self._base = rng.choice((0.0002, 0.001, 0.005, 0.02))
        chop = rng.random()
        whole = chop < 0.8 and world.profile != "tangled"
        self.pieces_up = 0 if whole else rng.choice((1, 7, 64, 512))
        self.pieces_down = 0 if 0.1 < chop < 0.75 else rng.choice((1, 5, 33, 300))
        self.gap = rng.choice((0.0, 0.0001, 0.001)) if world.profile != "tangled" else 0.002
        profile = world.profile  # narrow windows leave batches half written; a slow loop sees an EOF late
        self.window = (
            1 << 20 if rng.random() < (0.5 if profile == "corners" else 0.9) else rng.choice((64, 512, 4096))
        )
        self.high_water = _HIGH_WATER if rng.random() < 0.9 else rng.choice((0, 256, 4096))
        self.busy = (
            0.0 if rng.random() < (0.3 if profile == "pool" else 0.8) else rng.choice((0.002, 0.002, 0.03))
        )
        self.deaf = rng.random() < 0.2  # cancel requests, in schedules with faults

    @property
    def brisk(self) -> bool:
        """True if nothing takes long."""
        small = self.pieces_up or self.pieces_down or self.window < 1 << 20
        return not small and self._base <= 0.005

    def latency(self) -> float:
        """One way, in seconds."""
        return self._base * (0.5 + self._rng.random())


class Network:
    """All links of a world.

    Attributes:
        links: every link that was ever made.
        refused: when attempts to make one were refused.
        versions: what the pool knows of its server's protocol version.
        faults: who is asked before anything happens; None for good weather.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather(world)
        self.links: list[Link] = []
        self.refused: list[float] = []
        self.versions = Versions()
        self.inner: list[Link] = []
        self.faults: Any = None
        self.hosts: dict[str, str] = {}
        self.wrong_secret = ""
        self.on_link: Callable[[], None] = _idle
        world.network = self
        world.loop.connector = self.connect

    def server(self, name: str) -> Server | None:
        """Who answers to a host name."""
        return self.world.servers.get(self.hosts.get(name, name))

    async def connect(self, protocol_factory: Callable[[], Any], host: str, port: int) -> Any:
        """`create_connection`: (transport, protocol)."""
        world = self.world
        dialled = world.now
        delay = self.weather.latency()
        verdict = self.faults.dialling() if self.faults is not None else None
        if verdict == "hang":
            try:
                await world.loop.create_future()
            finally:
                self._unreachable(host)
        try:
            await asyncio.sleep(delay * 2)
        except asyncio.CancelledError:  # its time was over, as when an hour passes at once
            self._unreachable(host)
            raise
        server = self.server(host)
        if verdict == "dns":
            self.refused.append(world.now)
            self._unreachable(host)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        if verdict == "refused" or server is None or not getattr(server, "listening", True):
            self.refused.append(world.now)
            self._unreachable(host)
            raise ConnectionRefusedError(111, "Connect call failed")
        link = Link(self, host)
        link.dialled = dialled
        near = NearEnd(link, protocol_factory())
        link.far.receiver = server.connected(link.far)
        world.note("link %d: connected to %s", link.number, host)
        near.protocol.connection_made(near)
        return near, near.protocol

    def _unreachable(self, host: str) -> None:
        if host == "pool":
            self.versions.unreachable()

    def cell(self, number: int, position: str) -> None:
        """Something of the catalogue has come about by itself."""
        if self.faults is not None:
            self.faults.hit.add((number, position))

    def heal(self) -> None:
        """Good weather for everything that is still there."""
        for link in self.links:
            for pipe in (link.up, link.down):
                pipe.gap = 0.0
                pipe.pieces = 0
                pipe.window = 1 << 20
                link.waiting = False
                if pipe.held and not (
                    link.near is not None and pipe is link.down and not link.near.is_reading()
                ):
                    pipe.held = 0
                    pipe.go()
            if link.far.closed and link.alive:
                link.down.finish()  # whoever was silent for good is seen to be gone now

    def dial(self, name: str, receiver: Receiver) -> FarEnd:
        """A link between two servers; the dialler's end of it."""
        world = self.world
        one = _Inner(world, receiver)
        server = self.server(name)
        if server is None or not getattr(server, "listening", True):
            world.loop.call_later(self.weather.latency(), receiver.lost)
            one.closed = True
            return one  # type: ignore[return-value]
        other = _Inner(world, None)
        one.join(other, self.weather.latency())
        other.receiver = server.connected(other)
        return one  # type: ignore[return-value]

    def quiet(self, descriptor: int) -> bool:
        """`readiness.is_quiet` of the simulated sockets."""
        near = self._near(descriptor)
        return near is not None and not near.readable

    def read_rest(self, descriptor: int, limit: int = 0) -> bytes:
        """`readiness.read_rest` of the simulated sockets."""
        near = self._near(descriptor)
        return near.take_rest() if near is not None else b""

    def _near(self, descriptor: int) -> NearEnd | None:
        index = descriptor - 101
        return self.links[index].near if 0 <= index < len(self.links) else None


class _Inner:
    """One end of a link between two servers: no weather but latency."""

    __slots__ = ("_latency", "_peer", "closed", "pipe", "receiver", "world")

    def __init__(self, world: World, receiver: Any) -> None:
        self.world = world
        self.receiver = receiver
        self.closed = False
        self.pipe: Pipe | None = None
        self._peer: _Inner | None = None

    def join(self, other: _Inner, latency: float) -> None:
        """Connect the two."""
        for end, peer in ((self, other), (other, self)):
            pipe = end.pipe = Pipe(self.world, latency, 0, 0.0, 1 << 30)
            end._peer = peer
            pipe.take = peer.arrived
            pipe.end = peer.ended

    def arrived(self, data: bytes) -> None:
        """The peer's bytes."""
        if not self.closed:
            self.receiver.received(data)

    def ended(self) -> None:
        """The peer's FIN."""
        if not self.closed:
            self.receiver.eof()

    def write(self, data: bytes) -> None:
        """Send."""
        if self.pipe is not None and not self.closed:
            self.pipe.write(data)

    def close(self) -> None:
        """FIN."""
        if not self.closed:
            self.closed = True
            if self.pipe is not None:
                self.pipe.finish()

    def reset(self) -> None:
        """RST."""
        if self.closed:
            return
        self.closed = True
        if self.pipe is not None:
            self.pipe.stop()
            peer = self._peer
            if peer is not None and not peer.closed:
                peer.closed = True
                self.world.loop.call_soon(peer.receiver.lost)


def _idle() -> None:
    """Nobody counts."""
