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

    `on_acquire` and `on_release` are called by the thread that borrows: if they hang, it hangs.  The
    others, and `on_release` for a connection that nobody gave back, are called by threads of the pool, for
    `acquire_timeout` (`on_connect`) or `reset_timeout` seconds at the most.
    A process that is forked begins with an empty pool; the connections stay the parent's.

    A signal handler, a finalizer or a callback may come in the middle of what its own thread does to the
    pool.  There `release`, `expire` and `close` take effect soon after, without waiting; a call that needs a
    connection is refused with LocalProtocolError.  When the interpreter is shutting down, connections that
    come back are closed, without hooks, and none is lent (PoolClosed).
    """

    runtime = RUNTIME
    _driver: Driver

    def _lender(self, jobs: blocking.Jobs) -> Driver:
        """Threads do the work."""
        return Driver(jobs)

    def open(self, *, wait: bool = True) -> Self:
        """Open the pool: `pool.open()`, or `with pool.open(wait=False) as pool`.

        `with pool` is the same as `with pool.open()`.  A pool that fails to open is closed again.

        Args:
            wait: True to wait for the first connection, so that a wrong address or password is told here
                (not with `min_size=0`: then nothing is opened yet); False to begin to open `min_size`
                connections, and let an outage pass.

        Raises:
            ConnectError: the first attempts to connect failed.
            PoolTimeout: they took longer than `acquire_timeout`.
            PoolClosed: the pool was closed before.
        """
        return self._open(wait)
