"""LISTEN: an iterator over notifications."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from pgproto.errors import Error
from pgproto.session import GRACE, Listener, Notification, listen, unlisten
from pgproto.session.deadlines import Timeout, limit

from .unique import Unique

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Notifications", "wake"]


class Notifications(Unique):
    """An async iterator over notifications; a context manager that listens while it is open.

    It ends with ConnectionClosed when the session ends, because later notifications are missed.
    """

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self._connection = connection
        self._listener = listener
        self._turn = connection.runtime.turn("another task waits for these notifications already")

    @property
    def dropped(self) -> int:
        """The number of notifications dropped because nobody took them."""
        return self._listener.dropped

    async def __aenter__(self) -> Notifications:
        try:
            await self._connection.run_flow(listen(self._connection.engine, self._listener))
            return self
        except Error:  # refused, and it may already be listening for another task
            raise
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            connection, listener = self._connection, self._listener
            await connection.runtime.shielded_checkpoint()
            if connection.closed:
                connection.listeners.remove(listener)
            elif error is None:
                await connection.run_flow(unlisten(connection.engine, listener))
            else:
                await connection.clean_up(lambda: unlisten(connection.engine, listener), error)
        finally:
            self._leave()

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Notification:
        notification = None
        while notification is None:
            notification = await self._next(None)
        return notification

    async def get(self, timeout: Timeout = None) -> Notification | None:
        """The next notification; None if there is none in time.

        Args:
            timeout: in seconds; 0 or less not to wait, None to wait for ever.

        Raises:
            ConnectionClosed: the session has ended.
            LocalProtocolError: another task is waiting, or the listener has ended.
        """
        left = limit(timeout, None)
        return await self._next(None if left is None else self._connection.runtime.now() + left)

    async def _next(self, deadline: float | None) -> Notification | None:
        connection = self._connection
        await connection.runtime.checkpoint()
        if not connection.closed:  # else the listener has an error that says why
            connection.check_here()
        if not await self._turn.take(deadline):
            return None
        interrupted = self._listener.waiter  # of a call that a signal handler of this thread has interrupted
        try:
            if self._listener.ended is None:
                connection.link.flush()
            return await self._taken(deadline)
        finally:
            self._listener.waiter = interrupted
            wake([self._listener])  # the interrupted call looks again: notifications may be left
            self._turn.leave()

    async def _taken(self, deadline: float | None) -> Notification | None:
        connection, listener = self._connection, self._listener
        late = False
        while True:
            # Set before the next look, because another thread may add a notification after it.
            listener.waiter = happened = connection.runtime.event()
            notification = listener.take()
            if notification is not None or late:
                return notification
            link = connection.link
            link.engine.check_open()
            late = not await link.wait_for(happened, deadline)

    def _leave(self) -> None:
        """Forget the listener, even if the flow of UNLISTEN has failed."""
        connection = self._connection
        if self._listener.ended is None:
            connection.listeners.remove(self._listener)
            connection.listeners.unsettled = True  # UNLISTEN follows at the end of the running call, or here
            with contextlib.suppress(Error):
                connection.link.alone(connection.engine.stop_listening, GRACE)
                connection.link.flush()


def wake(listeners: list[Listener]) -> None:
    """Wake the tasks that wait for these listeners."""
    for listener in listeners:
        waiter = listener.waiter
        if waiter is not None:
            waiter.set()
