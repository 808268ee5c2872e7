"""What a connection hands out: prepared statements, notifications, transaction blocks."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

from pgproto import Error, LocalProtocolError
from pgproto.client import Unique
from pgproto.session import Listener, Notification, Transaction, listen, unlisten

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Notifications", "TransactionContext"]


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
        connection = self._connection
        if connection.closed:
            connection.listeners.remove(self._listener)
            return
        work = connection.run_flow(unlisten(connection.engine, self._listener))
        if error is None:
            await work
        else:
            # An error of the clean-up must not hide the one that made it necessary, a cancellation least.
            with contextlib.suppress(Error):
                await connection.cleaned_up(work, error)

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Notification:
        if not self._connection.closed:  # else the listener says why
            self._connection.check_here()
        if self._listener.waiter is not None:
            raise LocalProtocolError("another task waits for these notifications already")
        while True:
            notification = self._listener.take()
            if notification is not None:
                return notification
            self._connection.engine.check_open()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._listener.waiter = waiter
            try:
                await waiter
            finally:
                self._listener.waiter = None


class TransactionContext(Unique):
    """`async with conn.transaction()`; or `start`, and `commit` or `rollback`, each by itself."""

    def __init__(self, connection: Connection, block: Transaction) -> None:
        self._connection = connection
        self._block = block

    @property
    def block(self) -> Transaction:
        """The core's side of it."""
        return self._block

    @property
    def committing(self) -> bool:
        """True once COMMIT was submitted."""
        return self._block.committing

    async def start(self) -> Connection:
        """Open the block.

        Raises:
            LocalProtocolError: it is open already, or another task's block is.
        """
        self._connection.check_here()
        self._block.enter()
        return self._connection

    async def commit(self) -> None:
        """COMMIT, or RELEASE SAVEPOINT.  Any task may end the block.

        Raises:
            LocalProtocolError: it is not open, a block inside it is, or a statement has ended it.
            TransactionAborted: the server has rolled back instead.
            Error: the commit failed; its `outcome` says what is known.
        """
        await self._connection.run_flow(self._block.commit())

    async def rollback(self) -> None:
        """ROLLBACK, or ROLLBACK TO SAVEPOINT; blocks that are open inside it end with it.

        Raises:
            LocalProtocolError: it is not open, or a statement has ended it.
        """
        await self._connection.run_flow(self._block.rollback())

    async def __aenter__(self) -> Connection:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.commit()
        else:
            # An error of the clean-up must not hide the one that made it necessary.
            with contextlib.suppress(Error):
                await self._connection.cleaned_up(self.rollback(), error)
