"""The simulated network: links, each of two pipes; what weather they have; the two ends.

A pipe has a latency, a rule by which it cuts the stream into pieces, and a window: what is beyond the
window waits at its sender, and a server whose answers wait takes no further requests, as PostgreSQL does
when its send blocks.  The near end is an asyncio transport, as strict as asyncio's own; its bytes lie in an
inbox (the kernel's receive queue) before the loop reads them.  The far end is a server's.

Faults act on links: `fin`, `rst`, `hole`, `stall`, `fail_writes`, `cut`.  When to do it is `faults`' business.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .tap import CANCEL_REQUEST, Tap

if TYPE_CHECKING:
    from .world import Receiver, Server, World

__all__ = ["FarEnd", "Link", "NearEnd", "Network", "Pipe"]

_HIGH_WATER = 65536
# So often a pipe cuts its stream into pieces at the most: every byte by itself is instructive, not for long.
_MAX_CUTS = 80


class Pipe:
    """One direction of a link.

    Attributes:
        take: gets the bytes that arrive.
        end: called when FIN arrives.
        latency: seconds.
        pieces: 0: whole; n: pieces of 1..n bytes, in steps of `gap` seconds.
        window: how many bytes may be under way.
        held: nothing moves (a black hole, a stall, a reader that reads no more).
    """

    __slots__ = (
        "_timer", "chunks", "cuts", "dead", "drained", "end", "finished", "gap", "held", "latency", "pieces", "size",
        "take", "window", "world",
    )  # fmt: skip

    def __init__(self, world: World, latency: float, pieces: int, gap: float, window: int) -> None:
        self.world = world
        self.latency = latency
        self.pieces = pieces
        self.gap = gap
        self.window = window
        self.chunks: list[bytes] = []
        self.size = 0
        self.cuts = _MAX_CUTS
        self.finished = False
        self.dead = False
        self.held = 0
        self.take: Callable[[bytes], None] = _ignore
        self.end: Callable[[], None] = _nothing
        self.drained: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Put bytes on the way."""
        if self.finished or self.dead:
            return
        self.chunks.append(data)
        self.size += len(data)
        self.go()

    def finish(self) -> None:
        """FIN behind what is on the way."""
        self.finished = True
        self.go()

    def stop(self) -> None:
        """Drop what is on the way; nothing arrives any more."""
        self.dead = True
        self.chunks.clear()
        self.size = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def hold(self) -> None:
        """Stop moving; `release` as often to move again."""
        self.held += 1

    def release(self) -> None:
        """Undo one `hold`."""
        self.held = max(0, self.held - 1)
        self.go()

    def go(self) -> None:
        """See that the next piece arrives."""
        if self._timer is None and not self.held and not self.dead and (self.chunks or self.finished):
            self._timer = self.world.loop.call_later(self.latency, self._arrive)

    def take_all(self) -> bytes:
        """What is on the way, taken off it."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        self.size = 0
        return data

    def _arrive(self) -> None:
        self._timer = None
        if self.held or self.dead:
            return
        if self.chunks:
            data = b"".join(self.chunks) if len(self.chunks) > 1 else self.chunks[0]
            self.chunks.clear()
            if self.pieces and len(data) > 1 and self.cuts > 0:
                self.cuts -= 1
                count = self.world.rng.randint(1, self.pieces)
                if count < len(data):
                    self.chunks.append(data[count:])
                    data = data[:count]
            self.size -= len(data)
            self.take(data)
            if self.drained is not None:
                self.drained()
        if self.dead or self._timer is not None or self.held:
            return
        if self.chunks:
            self._timer = self.world.loop.call_later(self.gap, self._arrive)
        elif self.finished:
            self.dead = True
            self.end()


class Link:
    """A connection: two pipes, two ends, and the tap on it.

    Attributes:
        number: counts the links of this world; the near end's file descriptor too.
        name: whom was dialled.
        up, down: to the server, to the client.
        tap: what went over it.
        lent: the client's code is using it (for the positions of faults).
        lied: a fault has put words into the server's mouth: its answers prove nothing about the database.
        made: when it was connected.
        pooled: the pool has dialled it; session: for a session, not for a cancel request.
        waiting: the server's send blocks.
        phase: the position that it is in (see `catalogue`).
    """

    __slots__ = (
        "down", "far", "lent", "lied", "made", "name", "near", "network", "number", "phase", "pooled", "session", "tap",
        "up", "waiting",
    )  # fmt: skip

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
        self.pooled = name == "pool"
        self.made = world.now
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


class _Socket:
    """What the adapter wants to know about a socket."""

    family = socket.AF_UNIX

    def __init__(self, near: NearEnd) -> None:
        self._near = near

    def fileno(self) -> int:
        """A number by which `Network` finds the link."""
        return -1 if self._near.gone else self._near.link.number


class NearEnd(asyncio.Transport):
    """The client's end of a link, as asyncio's socket transport behaves."""

    def __init__(self, link: Link, protocol: Any) -> None:
        super().__init__()
        self.link = link
        self.protocol = protocol
        self.loop = link.network.world.loop
        self.inbox = b""
        self.readable_since = 0.0
        self.heard_at = self.loop.time()
        self.backlog: list[bytes] = []
        self.failing = False
        self.lost = False  # connection_lost was called, or will be
        self.gone = False  # connection_lost was called
        self._closing = False
        self._eof = False
        self._eof_read = False
        self._paused = False
        self._read_scheduled = False
        self._write_paused = False
        self._backlog_size = 0
        self.high_water = link.network.weather.high_water
        link.near = self
        link.down.take = self._arrived
        link.down.end = self._ended
        link.down.drained = link.far.drained
        link.up.take = link.far.arrived
        link.up.end = link.far.ended
        link.up.drained = self._drained

    # ---- asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Only "socket" is known."""
        return _Socket(self) if name == "socket" else default

    def is_closing(self) -> bool:
        """True from `close` or a failure on."""
        return self._closing

    def is_reading(self) -> bool:
        """False while paused."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Leave what comes in the inbox."""
        if not self._paused and not self._closing:
            self._paused = True
            if self.backlog:
                self.loop.call_later(0.5, self._see_if_stuck)
            self.link.network.cell(28, "P5")
            self.link.down.hold()

    def _see_if_stuck(self) -> None:
        if self._paused and self.backlog and self.link.waiting and not self._closing:
            text = f"link {self.link.number}: both sides wait to write, and neither reads"
            self.link.network.world.violation(text, "hang")

    def resume_reading(self) -> None:
        """Read on."""
        if self._paused and not self._closing:
            self._paused = False
            self.link.down.release()
            self._schedule_read()

    def write(self, data: Any) -> None:
        """Take bytes."""
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if not data or self.lost:
            return
        if self._write_paused:
            self.link.network.world.violation(
                f"link {self.link.number}: written to while it is full", "memory"
            )
        data = bytes(data)
        link = self.link
        new = not link.tap.sent
        frames = link.tap.handed_over(data)
        if new and frames and frames[0][2][:4] != CANCEL_REQUEST:
            link.session = True
            link.network.on_link()
        faults = link.network.faults
        if faults is not None:
            faults.asking(link, frames)
        if self.failing:
            self._fail(BrokenPipeError(32, "Broken pipe"))
            return
        if self.backlog or link.up.size + len(data) > link.up.window:
            self.backlog.append(data)
            self._backlog_size += len(data)
            self._drained()
            if self._backlog_size > self.high_water and not self._write_paused:
                self._write_paused = True
                link.network.cell(27, "P1")
                self.protocol.pause_writing()
        else:
            link.up.write(data)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the window."""
        return self._backlog_size

    def can_write_eof(self) -> bool:
        """Sockets can."""
        return True

    def write_eof(self) -> None:
        """FIN behind what was written."""
        if not self._eof:
            self._eof = True
            if not self.backlog:
                self.link.up.finish()

    def close(self) -> None:
        """Send what was written, then close."""
        if self._closing:
            return
        self._closing = True
        if not self.backlog:
            self._lose(None)

    def abort(self) -> None:
        """Close at once."""
        self._fail(None)

    # ---- The network's side

    def reset(self, rest: bytes) -> None:
        """RST has arrived; `rest` can still be read."""
        if self.lost:
            return
        if rest:
            self.inbox += rest
            self._read()
            if self.lost:
                return
        self._fail(ConnectionResetError(104, "Connection reset by peer"))

    @property
    def readable(self) -> bool:
        """True if the socket is: bytes, or FIN, lie there unread."""
        return bool(self.inbox) or self._eof_read or self.gone

    def take_rest(self) -> bytes:
        """What a failed transport can still read."""
        data = self.inbox + (self.link.down.take_all() if self.failing else b"")
        self.inbox = b""
        self.link.tap.delivered(data)
        return data

    def _arrived(self, data: bytes) -> None:
        if self.lost:
            return
        if not self.readable:
            self.readable_since = self.loop.time()
        self.inbox = self.inbox + data if self.inbox else data
        self._schedule_read()

    def _ended(self) -> None:
        if not self.readable:
            self.readable_since = self.loop.time()
        self._eof_read = True
        self._schedule_read()

    def _schedule_read(self) -> None:
        if not self._read_scheduled:
            self._read_scheduled = True
            pause = self.link.network.weather.busy
            if pause:
                self.loop.call_later(pause * self.link.network.world.rng.random(), self._read)
            else:
                self.loop.call_soon(self._read)

    def _read(self) -> None:
        self._read_scheduled = False
        if self._closing or self._paused:
            return
        while self.inbox and not self._closing and not self._paused:
            view = self.protocol.get_buffer(-1)
            chunk = self.inbox[: len(view)]
            self.inbox = self.inbox[len(chunk) :]
            view[: len(chunk)] = chunk
            self.link.tap.delivered(chunk)
            self.heard_at = self.loop.time()
            world = self.link.network.world
            if world.tracing:
                world.note("link %d <- %s", self.link.number, chunk[:200])
            self.protocol.buffer_updated(len(chunk))
            poison = self.link.tap.poison
            if poison and not self._closing:
                world.violation(f"link {self.link.number}: {poison} did not end the session", "poison")
        if self._eof_read and not self.inbox and not self._closing:
            self.link.network.world.note("link %d: the client reads EOF", self.link.number)
            if not self.protocol.eof_received():
                self.close()

    def _drained(self) -> None:
        up = self.link.up
        while self.backlog and up.size < up.window and not self.lost:
            data = self.backlog.pop(0)
            room = max(1, up.window - up.size)
            if len(data) > room:
                self.backlog.insert(0, data[room:])
                data = data[:room]
            self._backlog_size -= len(data)
            up.write(data)
        if self.backlog:
            return
        if self._write_paused:
            self._write_paused = False
            self.loop.call_soon(self._resume)
        if self._eof:
            up.finish()
        if self._closing and not self.lost:
            self._lose(None)

    def _resume(self) -> None:
        if not self.lost:
            self.protocol.resume_writing()

    def _fail(self, error: Exception | None) -> None:
        if self.lost:
            return
        self._closing = True
        self.backlog.clear()
        self._backlog_size = 0
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        self.lost = True
        self.loop.call_soon(self._tell_lost, error)

    def _tell_lost(self, error: Exception | None) -> None:
        link = self.link
        link.network.world.note("link %d: closed at the client (%s)", link.number, error)
        try:
            self.protocol.connection_lost(error)
            for timer in self.loop.timers():
                if getattr(timer._callback, "__self__", None) is self.protocol:  # type: ignore[attr-defined]
                    link.network.world.violation(f"a timer outlives link {link.number}", "leak")
        finally:
            self.gone = True
            unread = bool(self.inbox)
            link.down.stop()
            if link.waiting:
                link.waiting = False  # its send fails, so it reads again
                link.up.release()
            if error is None and not unread:
                if not link.far.closed:
                    link.up.finish()
                else:
                    link.up.stop()
            else:
                link.up.stop()
                self.loop.call_soon(link.far.dropped)


class Weather:
    """How all links of a schedule are: drawn once."""

    __slots__ = ("_base", "_rng", "busy", "gap", "high_water", "pieces_down", "pieces_up", "window")

    def __init__(self, world: World) -> None:
        rng = world.rng
        self._rng = rng
        self._base = rng.choice((0.0002, 0.001, 0.005, 0.02))
        chop = rng.random()
        self.pieces_up = 0 if chop < 0.8 else rng.choice((1, 7, 64, 512))
        self.pieces_down = 0 if 0.1 < chop < 0.75 else rng.choice((1, 5, 33, 300))
        self.gap = rng.choice((0.0, 0.0001, 0.001))
        self.window = 1 << 20 if rng.random() < 0.9 else rng.choice((64, 512, 4096))
        self.high_water = _HIGH_WATER if rng.random() < 0.9 else rng.choice((0, 256, 4096))
        self.busy = 0.0 if rng.random() < 0.8 else rng.choice((0.002, 0.002, 0.03))

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
        faults: who is asked before anything happens; None for good weather.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather(world)
        self.links: list[Link] = []
        self.refused: list[float] = []
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
        delay = self.weather.latency()
        verdict = self.faults.dialling() if self.faults is not None else None
        if verdict == "hang":
            await world.loop.create_future()
        await asyncio.sleep(delay * 2)
        server = self.server(host)
        if verdict == "dns":
            self.refused.append(world.now)
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        if verdict == "refused" or server is None or not getattr(server, "listening", True):
            self.refused.append(world.now)
            raise ConnectionRefusedError(111, "Connect call failed")
        link = Link(self, host)
        near = NearEnd(link, protocol_factory())
        link.far.receiver = server.connected(link.far)
        world.note("link %d: connected to %s", link.number, host)
        near.protocol.connection_made(near)
        return near, near.protocol

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
        other.receiver = server.connected(other)  # type: ignore[arg-type]
        return one  # type: ignore[return-value]

    def quiet(self, descriptor: int) -> bool:
        """`system.is_quiet` of the simulated sockets."""
        near = self._near(descriptor)
        return near is not None and not near.readable

    def read_rest(self, descriptor: int, limit: int = 0) -> bytes:
        """`system.read_rest` of the simulated sockets."""
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
            if not peer.closed:
                peer.closed = True
                self.world.loop.call_soon(peer.receiver.lost)


def _ignore(data: bytes) -> None:
    """Nobody is there."""


def _idle() -> None:
    """Nobody counts."""


def _nothing() -> None:
    """Nobody is there."""
