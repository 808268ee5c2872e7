# Written by scripts/blocking.py out of pgproto/client/listening.py: change that one.
"""`Pool.listen`: notifications that go on after the loss of a connection, and say where some may be missing.

There is no task: the caller who asks for the next event connects again.  So nothing happens that nobody waits
for, and what is raised has a caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import TracebackType

from pgproto.errors import ConnectionClosed, ConnectionLost, LocalProtocolError, PoolClosed
from pgproto.pool import Backoff, is_permanent
from pgproto.session import Listener, ListenGap, Notification
from pgproto.session.deadlines import Timeout, limit

from .. import logs
from ..unique import Unique
from .connection import Connection
from .jobs import Jobs
from .lending import Lender
from .notifications import Notifications
from .runtime import Bound

__all__ = ["PoolNotifications"]


class PoolNotifications(Unique):
    """What `Pool.listen` returns: a context manager, and in its block an async iterator.

    It yields a `Notification` for each that has arrived, in order, and a `ListenGap` wherever some may be
    missing: after it has connected again, and if nobody took them in time.  It ends with the pool.

    Args:
        lender: the pool's driver.
        jobs: opens connections, with the pool's hooks.
        channels: the names of the channels.
    """

    def __init__(self, lender: Lender, jobs: Jobs, channels: tuple[str, ...]) -> None:
        Listener(channels)
        self._lender = lender
        self._jobs = jobs
        self._channels = channels
        self._runtime = jobs.runtime
        self._turn = self._runtime.turn("another thread waits for these notifications already")
        self._backoff = Backoff(jobs.settings, self._runtime.random)
        self._opening: Bound | None = None  # around an attempt to connect
        self._connection: Connection | None = None
        self._heard: Notifications | None = None
        self._dropped = 0  # of `_heard`, as far as told
        self._lost: Exception | None = None  # why there is no connection
        self._since = 0.0  # when the last one was known to work
        self._gap: ListenGap | None = None  # to be told next
        self._entered = False
        self.over = False
        """True once the pool is closed, or the block is left."""

    # ---- The block

    def __enter__(self) -> PoolNotifications:
        if self._entered:
            raise LocalProtocolError("it is entered already: call listen() for each block")
        if self._lender.closing:
            raise PoolClosed("the pool is closed")
        self._lender.start()
        self._entered = True
        try:
            self._while_open(self._connect)
            if self.over:
                raise PoolClosed("the pool is closed")
        except BaseException:
            self._entered = False
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over = True
        self._runtime.do_last(self._lender.home, self._close, error)

    def end(self) -> None:
        """The pool is closed."""
        self.over = True
        if self._opening is not None:
            self._opening.shorten(self._runtime.now())
        if self._connection is not None:
            self._connection.abort()

    # ---- The events

    def __iter__(self) -> PoolNotifications:
        return self

    def __next__(self) -> Notification | ListenGap:
        event = None
        while event is None:
            event = self._next(None)
        return event

    def get(self, timeout: Timeout = None) -> Notification | ListenGap | None:
        """The next event; None if there is none in time.

        Args:
            timeout: in seconds; 0 or less not to wait, None to wait for ever.  A lost connection is replaced
                first: an attempt to connect may take longer, but no other one begins later.

        Raises:
            ConnectError: no server accepts, for a reason that does not pass by itself.  The next call tries
                again.
            PoolClosed: the pool is closed, or the block was left.
        """
        left = limit(timeout, None)
        try:
            return self._next(None if left is None else self._runtime.now() + left)
        except StopIteration:
            raise PoolClosed("the pool is closed, or the block of listen() was left") from None

    def _next(self, deadline: float | None) -> Notification | ListenGap | None:
        if not self._entered:
            raise LocalProtocolError("nothing listens yet: `with pool.listen(...) as events:`")
        self._lender.check_here()
        if not self._turn.take(deadline):
            return None
        try:
            return self._event(deadline)
        finally:
            self._turn.leave()

    def _event(self, deadline: float | None) -> Notification | ListenGap | None:
        while not self.over:
            heard = self._heard
            if heard is None:
                if not self._connect_again(deadline):
                    return None
            elif self._gap is not None:
                gap, self._gap = self._gap, None
                return gap
            elif heard.dropped > self._dropped:
                dropped, self._dropped = heard.dropped - self._dropped, heard.dropped
                now = self._runtime.now()
                return ListenGap(None, self._since, now, dropped)
            else:
                try:
                    return heard.get(None if deadline is None else deadline - self._runtime.now())
                except (ConnectionClosed, ConnectionLost) as error:
                    self._lost = error
                    self._close()
        raise StopIteration

    # ---- Its connection

    def _connect_again(self, deadline: float | None) -> bool:
        """Open another connection; say that there was a gap.

        Returns:
            False if there is none in time.

        Raises:
            BaseException: there is none, and trying again would not help.
        """
        self._while_open(partial(self._try, deadline))
        return self.over or self._heard is not None

    def _while_open(self, work: Callable[[], None]) -> None:
        """Do what the end of the pool ends."""
        self._opening = bound = self._runtime.bound(math.inf)
        try:
            with bound:
                work()
        finally:
            self._opening = None
        if self.over:
            self._close()

    def _try(self, deadline: float | None) -> None:
        lost, since, backoff = self._lost, self._since, self._backoff
        now = self._runtime.now
        while True:
            if not self.over and backoff.admit(now()):
                try:
                    self._connect()
                except Exception as error:
                    if is_permanent(error):
                        raise
                    logs.listening_failed(error)
                    backoff.failed(now())
                else:
                    backoff.succeeded()
                    self._gap = ListenGap(lost, since, now(), 0)
                    return
            if self.over or (deadline is not None and deadline <= now()):
                return
            due = backoff.due if deadline is None else min(backoff.due, deadline)
            self._runtime.sleep(max(0.0, due - now()))

    def _connect(self) -> None:
        conn = self._jobs.open()
        self._connection = conn
        try:
            heard = conn.listen(*self._channels)
            heard.__enter__()
        except BaseException as error:
            self._runtime.do_last(self._lender.home, self._close, error)
            raise
        self._dropped = 0
        self._since = self._runtime.now()
        self._heard = heard

    def _close(self) -> None:
        """Close the connection, whatever became of it."""
        conn, self._connection = self._connection, None
        self._heard = None
        if conn is not None:
            conn.close()
