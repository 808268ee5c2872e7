"""What one thread waits for and another one brings about."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

__all__ = ["Event", "Turn"]


class Event:
    """Something that happens once.

    Attributes:
        happened: it has.
    """

    def __init__(self) -> None:
        self.happened = False
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def set(self) -> None:
        """It has happened."""
        self.happened = True
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):  # it has happened before, or nobody waits any more
                ends[0].send(b"\0")

    def open(self) -> int:
        """A file descriptor that can be read once it has happened after this; closed by `close`."""
        self._ends = ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        return ends[1].fileno()

    def close(self) -> None:
        """Nobody waits any more."""
        if self._ends is not None:
            for end in self._ends:
                end.close()


class Turn:
    """What one thread has at a time: the others queue up.

    It is the thread's own still if an interrupt has kept it from leaving.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def take(self, deadline: float | None) -> bool:
        """Have it; False if another thread has had it until the deadline."""
        left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        return self._lock.acquire(timeout=min(left, threading.TIMEOUT_MAX))

    def leave(self) -> None:
        """Let the next one have it."""
        self._lock.release()
