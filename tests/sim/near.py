"""The client's end of a link: an asyncio transport, as strict as asyncio's own.

What arrives lies in an inbox (the kernel's receive queue) before the loop reads it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from .tap import CANCEL_REQUEST

if TYPE_CHECKING:
    from .network import Link

__all__ = ["NearEnd"]


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
        self.heard_eof = False  # the client was told of it
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
            if link.pooled:
                link.network.versions.asked(link)
        faults = link.network.faults
        if faults is not None:
            faults.asking(link, frames)
            if new and not link.session and link.network.weather.deaf and not faults.stopped:
                faults.cell(37, "P2")
                link.hole(None)
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
            if not self._is_over():
                self.link.tap.delivered(chunk)
                if self.link.pooled and self.link.session:
                    self.link.network.versions.heard(self.link)
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
            self.heard_eof = True
            if not self.protocol.eof_received():
                self.close()

    def _is_over(self) -> bool:
        """True once everybody has been told: what still arrives is read for its end, and tells nothing."""
        engine = getattr(self.protocol, "engine", None)
        return engine is not None and bool(engine.finished)

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
            if link.pooled and link.session:
                link.network.versions.lost(link)
            took = self.loop.time() - link.made
            if not link.session and link.tap.sent and 1.5 < took < 1000:
                link.network.world.violation(f"a cancel request took {took:.3f} s", "late")
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
