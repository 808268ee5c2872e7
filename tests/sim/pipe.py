"""One direction of a link: a latency, a rule by which the stream is cut into pieces, a window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .world import World

__all__ = ["Pipe"]

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
        "_timer",
        "chunks",
        "cuts",
        "dead",
        "drained",
        "end",
        "finished",
        "gap",
        "held",
        "latency",
        "pieces",
        "size",
        "take",
        "window",
        "world",
    )

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
        self._go_on()

    def _go_on(self) -> None:
        """Behind a piece: who took it may have done anything meanwhile."""
        if self.dead or self._timer is not None or self.held:
            return
        if self.chunks:
            self._timer = self.world.loop.call_later(self.gap, self._arrive)
        elif self.finished:
            self.dead = True
            self.end()


def _ignore(data: bytes) -> None:
    """Nobody is there."""


def _nothing() -> None:
    """Nobody is there."""
