"""Whether a socket can be read or written, now or within some time; and its unread bytes."""

from __future__ import annotations

import contextlib
import math
import os
import select
import socket
import threading
from typing import Final

__all__ = ["READABLE", "WRITABLE", "is_quiet", "pause", "read_rest", "wait"]

READABLE: Final = 1
WRITABLE: Final = 2

# A longer wait is cut to this; it then returns 0, and the caller waits again.
_MAX_WAIT: Final = 86400.0


def is_quiet(descriptor: int) -> bool:
    """True if there is nothing to read: an idle session whose socket is readable is dead or dying."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return not poll.poll(0)
        return not select.select([descriptor], [], [], 0)[0]
    except (OSError, ValueError):
        return False


def read_rest(descriptor: int, limit: int = 1 << 18) -> bytes:
    """The bytes in the receive queue after a failed write: the peer's last messages."""
    data = b""
    with contextlib.suppress(OSError):
        sock = socket.socket(fileno=os.dup(descriptor))
        with sock:
            sock.setblocking(False)
            while len(data) < limit:
                more = sock.recv(65536)
                if not more:
                    break
                data += more
    return data


def wait(descriptor: int, interest: int, seconds: float | None, waker: int = -1) -> int:
    """Wait until a socket is ready.

    Args:
        descriptor: its file descriptor.
        interest: READABLE, WRITABLE, or both.
        seconds: the longest wait; None for ever.
        waker: another descriptor that ends the wait when it becomes readable; -1 for none.

    Returns:
        READABLE, WRITABLE, or both; 0 if neither.  A broken socket is READABLE: reading raises its error.
    """
    if seconds is not None:
        seconds = min(max(seconds, 0.0), _MAX_WAIT)
    if not hasattr(select, "poll"):
        return _select(descriptor, interest, seconds, waker)
    poll = select.poll()
    wanted = select.POLLIN if interest & READABLE else 0
    poll.register(descriptor, wanted | select.POLLOUT if interest & WRITABLE else wanted)
    if waker >= 0:
        poll.register(waker, select.POLLIN)
    # Rounded up, so that after the wait for a deadline it has passed.
    for found, events in poll.poll(math.ceil(seconds * 1000.0) if seconds is not None else None):
        if found == descriptor:
            ready = WRITABLE if events & select.POLLOUT else 0
            return ready | READABLE if events & ~select.POLLOUT else ready
    return 0


def _select(descriptor: int, interest: int, seconds: float | None, waker: int) -> int:
    """`wait` without poll(): on Windows, which reports a failed connect as "exceptional"."""
    reading = [waker] if waker >= 0 else []
    if interest & READABLE:
        reading.append(descriptor)
    writing = [descriptor] if interest & WRITABLE else []
    readable, writable, broken = select.select(reading, writing, writing, seconds)
    ready = WRITABLE if writable else 0
    return ready | READABLE if broken or descriptor in readable else ready


def pause(seconds: float) -> None:
    """Sleep; an interrupt ends it."""
    threading.Event().wait(seconds)
