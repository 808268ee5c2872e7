"""One step of a pool's machine at a time, and no second one in the middle of it.

The garbage collector, a signal handler or a callback can call the pool in the middle of a step of its own
thread.  That call can neither wait for the step nor change the machine, so it is postponed or refused.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from pgproto import LocalProtocolError, Outcome, PoolClosed

__all__ = ["Steps"]

T = TypeVar("T")


class Steps:
    """The lock of a pool's machine.

    Attributes:
        lock: an RLock, which a thread can take again in the middle of its step, to read something.
    """

    __slots__ = ("_owner", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._owner = 0  # the thread that is in the middle of a step

    @property
    def is_mine(self) -> bool:
        """True if the running thread is in the middle of a step."""
        return self._owner == threading.get_ident()

    def check(self) -> None:
        """Raise if no step is possible now.

        Raises:
            LocalProtocolError: the running thread is in the middle of a step.
            PoolClosed: the interpreter is shutting down; a thread that has the lock will never release it.
        """
        if sys.is_finalizing():
            raise PoolClosed("the interpreter is shutting down, and the pool's threads have ended")
        if self.is_mine:
            error = LocalProtocolError("the pool is in the middle of a call by this very thread")
            error.outcome = Outcome.NOT_SENT
            raise error

    def with_lock(self, step: Callable[[], T]) -> T:
        """Do a step, after `check`."""
        me = threading.get_ident()
        # A nested call before `_owner` is set, or after it is cleared, is a whole step: the RLock lets it in.
        with self.lock:
            try:
                self._owner = me
                return step()
            finally:
                self._owner = 0
