"""The adapter's own threads, and the locks that they wait for."""

from __future__ import annotations

import sys
import threading

from pgproto import ConnectError

__all__ = ["Helper", "is_helper", "new_waiter", "start", "wake"]


class Helper(threading.Thread):
    """A thread that does a pool's work."""


def is_helper() -> bool:
    """True in a thread that does the work of any pool."""
    return isinstance(threading.current_thread(), Helper)


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        ConnectError: the system's limit of threads is reached, or the interpreter is shutting down.
    """
    if sys.is_finalizing():  # `start` would wait for ever in CPython 3.11
        raise ConnectError("no thread can be started: the interpreter is shutting down")
    try:
        thread.start()
    except RuntimeError as error:
        raise ConnectError(f"no thread can be started: {error}") from error


def new_waiter() -> threading.Lock:
    """A locked lock, to wait for with `acquire` until `wake` releases it."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def wake(waiter: threading.Lock) -> None:
    """Wake the thread that waits for it, or the next one that will."""
    try:
        waiter.release()
    except RuntimeError:  # already released, and not yet acquired
        pass
