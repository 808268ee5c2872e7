"""The pool for blocking code, safe to share between threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgproto.client import blocking

from .driver import Driver
from .runtime import RUNTIME

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Pool"]


class Pool(blocking.Pool):
    """A pool of connections for threads: see `pgproto.client.blocking.Pool`.

    `on_acquire` and `on_release` are called by the borrowing thread: if they hang, it hangs.  The other
    hooks, and `on_release` for a connection that was not given back, are called by threads of the pool, for
    at most `acquire_timeout` (`on_connect`) or `reset_timeout` seconds.
    A forked process begins with an empty pool; the connections remain the parent's.

    A signal handler, a finalizer or a callback may run in the middle of a pool's call by the same thread.
    There `release`, `expire` and `close` take effect soon after, without waiting; a call that needs a
    connection is refused with LocalProtocolError.  When the interpreter is shutting down, connections that
    are given back are closed, without hooks, and none is lent (PoolClosed).
    """

    runtime = RUNTIME
    _driver: Driver

    def _lender(self, jobs: blocking.Jobs) -> Driver:
        """The driver, which works with threads."""
        return Driver(jobs)

    def open(self, *, wait: bool = True) -> Self:
        """Open the pool: `pool.open()`, or `with pool.open(wait=False) as pool`.

        `with pool` is the same as `with pool.open()`.  A pool that fails to open is closed again.

        Args:
            wait: True to wait for the first connection, so that a wrong address or password is an error here
                (not with `min_size=0`: then nothing is opened yet); False to begin to open `min_size`
                connections without waiting, so that an outage is no error.

        Raises:
            ConnectError: the first attempts to connect failed.
            PoolTimeout: they took longer than `acquire_timeout`.
            PoolClosed: the pool is closed.
        """
        return self._open(wait)
