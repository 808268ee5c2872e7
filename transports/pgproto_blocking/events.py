"""Events and turns for threads."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

__all__ = ["Event", "Turn"]


class Event:
    """An event that one thread waits for and another one sets, once.

    Attributes:
        happened: it was set.
    """

    def __init__(self) -> None:
        self.happened = False
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def set(self) -> None:
        """Set it."""
        self.happened = True
        ends = self._ends
        if ends is not None:
            with contextlib.suppress(OSError):  # set twice, or nobody waits any more
                ends[0].send(b"\0")

    def open(self) -> int:
        """A file descriptor that becomes readable when the event is set after this call; see `close`."""
        self._ends = ends = socket.socketpair()
        for end in ends:
            end.setblocking(False)
        return ends[1].fileno()

    def close(self) -> None:
        """Close the file descriptor."""
        if self._ends is not None:
            for end in self._ends:
                end.close()


class Turn:
    """A turn that one thread has at a time; the others queue up.

    It is an RLock: a thread that an interrupt kept from `leave` can still take it again.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def take(self, deadline: float | None) -> bool:
        """Take the turn; False if another thread has had it until the deadline."""
        left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        return self._lock.acquire(timeout=min(left, threading.TIMEOUT_MAX))

    def leave(self) -> None:
        """Release the turn."""
        self._lock.release()
