"""What a connection hands out: prepared statements, notifications, transaction blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from pgproto import Error, LocalProtocolError
from pgproto.client import DEFAULT, Unique
from pgproto.session import (
    GRACE,
    Listener,
    Notification,
    Operation,
    Transaction,
    listen,
    unlisten,
)

from .transport import Waiter

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
        await self._connection.run_flow(listen(self._connection.engine, self._listener), DEFAULT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._connection
        await trio.lowlevel.cancel_shielded_checkpoint()
        if connection.closed:
            connection.listeners.remove(self._listener)
            return
        flow = unlisten(connection.engine, self._listener)
        if error is None:
            await connection.run_flow(flow, DEFAULT)
        elif isinstance(error, Exception):
            # An error of the clean-up must not hide the one that made it necessary.
            with contextlib.suppress(Error):
                await connection.run_flow(flow, DEFAULT)
        else:
            with trio.CancelScope(shield=True), contextlib.suppress(Error):
                await connection.run_flow(flow, GRACE)

    def __aiter__(self) -> Notifications:
        return self

    async def __anext__(self) -> Notification:
        listener = self._listener
        await trio.lowlevel.checkpoint()
        if listener.waiter is not None:
            raise LocalProtocolError("another task waits for these notifications already")
        if listener.ended is None:
            self._connection.open_transport().turn()
        while True:
            notification = listener.take()
            if notification is not None:
                return notification
            transport = self._connection.open_transport()
            transport.engine.check_open()
            waiter = Waiter()
            listener.waiter = waiter
            try:
                await transport.wait_until_woken(waiter)
            except BaseException:
                await transport.rest()
                raise
            finally:
                listener.waiter = None


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
        self._connection.open_transport()
        await trio.lowlevel.checkpoint()
        self._block.enter()
        return self._connection

    async def commit(self) -> None:
        """COMMIT, or RELEASE SAVEPOINT.  Any task may end the block.  Cancelled before that, it is undone.

        Raises:
            LocalProtocolError: it is not open, a block inside it is, or a statement has ended it.
            TransactionAborted: the server has rolled back instead.
            Error: the commit failed; its `outcome` says what is known.
        """
        await self._end(self._block.commit)

    async def rollback(self) -> None:
        """ROLLBACK, or ROLLBACK TO SAVEPOINT; blocks that are open inside it end with it.

        Raises:
            LocalProtocolError: it is not open, or a statement has ended it.
        """
        await self._end(self._block.rollback)

    async def __aenter__(self) -> Connection:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.commit()
        elif isinstance(error, Exception):
            # An error of the clean-up must not hide the one that made it necessary.
            with contextlib.suppress(Error):
                await self.rollback()
        else:
            await self._undo()
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _end(self, flow: Callable[[], Generator[Operation, None, None]]) -> None:
        try:
            # From here to the submission of COMMIT or ROLLBACK there is no further checkpoint.
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            await self._undo()
            raise
        try:
            await self._connection.run_flow(flow(), DEFAULT)
        finally:
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _undo(self) -> None:
        """Cancelled: ROLLBACK is still sent, and has GRACE."""
        with trio.CancelScope(shield=True), contextlib.suppress(Error):
            await self._connection.run_flow(self._block.rollback(), GRACE)
