"""LISTEN: an iterator over notifications."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from pgproto.errors import LocalProtocolError
from pgproto.session import Listener, Notification, listen, unlisten

from .unique import Unique

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Notifications"]


class Notifications(Unique):
    """An async iterator over notifications; a context manager that listens while it is open.

    It ends with ConnectionClosed when the session does: what was missed then, nobody knows.
    """

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self._connection = connection
        self._listener = listener

    @property
    def dropped(self) -> int:
        """How many notifications were dropped because nobody took them."""
        return self._listener.dropped

    async def __aenter__(self) -> Notifications:
        await self._connection.run_flow(listen(self._connection.engine, self._listener))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, listener = self._connection, self._listener
        await connection.runtime.shielded_checkpoint()
        if connection.closed:
            connection.listeners.remove(listener)
        elif error is None:
            await connection.run_flow(unlisten(connection.engine, listener))
        else:
            await connection.clean_up(lambda: unlisten(connection.engine, listener), error)

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Notification:
        connection, listener = self._connection, self._listener
        await connection.runtime.checkpoint()
        if not connection.closed:  # else the listener says why
            connection.check_here()
        if listener.waiter is not None:
            raise LocalProtocolError("another task waits for these notifications already")
        if listener.ended is None:
            connection.link.flush()
        while True:
            notification = listener.take()
            if notification is not None:
                return notification
            link = connection.link
            link.engine.check_open()
            listener.waiter = happened = connection.runtime.event()
            try:
                await link.wait_for(happened)
            finally:
                listener.waiter = None
