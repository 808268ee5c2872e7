"""The threads that the adapter starts itself, and what they wait for."""

from __future__ import annotations

import sys
import threading

from pgproto import ConnectError

__all__ = ["Helper", "is_helper", "new_waiter", "start", "wake"]


class Helper(threading.Thread):
    """A thread that does a pool's work: a hook that hangs must not keep it from that."""


def is_helper() -> bool:
    """True in a thread that does the work of a pool, of whichever."""
    return isinstance(threading.current_thread(), Helper)


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        ConnectError: there can be no more threads, or the interpreter is shutting down.
    """
    if sys.is_finalizing():  # in CPython 3.11 `start` would wait for ever
        raise ConnectError("no thread can be started: the interpreter is shutting down")
    try:
        thread.start()
    except RuntimeError as error:
        raise ConnectError(f"no thread can be started: {error}") from error


def new_waiter() -> threading.Lock:
    """A lock to wait for, until somebody wakes who waits."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def wake(waiter: threading.Lock) -> None:
    """Wake who waits for it, or who will."""
    try:
        waiter.release()
    except RuntimeError:  # it was woken before, and nobody has noticed yet
        pass
