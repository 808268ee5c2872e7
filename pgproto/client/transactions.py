"""Transaction blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING

from pgproto.errors import Error, LocalProtocolError
from pgproto.session import Operation, Transaction

from .unique import Unique

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["TransactionContext"]


class TransactionContext(Unique):
    """`async with conn.transaction()`; or `start`, and then `commit` or `rollback`."""

    def __init__(self, connection: Connection, block: Transaction) -> None:
        self._connection = connection
        self._block = block

    @property
    def block(self) -> Transaction:
        """The core's transaction."""
        return self._block

    @property
    def committing(self) -> bool:
        """True once COMMIT was submitted."""
        return self._block.committing

    async def start(self) -> Connection:
        """Open the block.

        Raises:
            LocalProtocolError: it is already open, or another task's block is open.
        """
        self._connection.check_here()
        await self._connection.runtime.checkpoint()
        try:
            self._connection.link.alone(self._block.enter)
            return self._connection
        except Error:  # refused, so there is nothing to end
            raise
        except BaseException:
            self._cut_off()
            raise

    async def commit(self) -> None:
        """COMMIT, or RELEASE SAVEPOINT.  Any task may end the block.  If cancelled before, it rolls back.

        Raises:
            LocalProtocolError: it is not open, a block inside it is, or a statement has ended it.
            TransactionAborted: the server has rolled back instead.
            Error: the commit failed; its `outcome` says what is known.
        """
        await self._end(self._block.commit)

    async def rollback(self) -> None:
        """ROLLBACK, or ROLLBACK TO SAVEPOINT; open blocks inside it end with it.

        Raises:
            LocalProtocolError: it is not open, or a statement has ended it.
        """
        await self._end(self._block.rollback)

    async def __aenter__(self) -> Connection:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.commit()
            elif isinstance(error, Exception):
                # An error of the rollback must not hide the error that made it necessary.
                with contextlib.suppress(Error):
                    await self.rollback()
            else:
                await self._connection.clean_up(self._block.rollback, error)
        finally:
            if not self._block.ending:  # else another task is ending it
                self._cut_off()

    async def _end(self, flow: Callable[[], Generator[Operation, None, None]]) -> None:
        connection = self._connection
        try:
            # After this there is no checkpoint before the submission of COMMIT or ROLLBACK.
            await connection.runtime.checkpoint_if_cancelled()
        except BaseException as error:
            await connection.clean_up(self._block.rollback, error)
            raise
        try:
            await connection.run_flow(flow())
        except LocalProtocolError:  # refused, so nothing was begun
            raise
        except BaseException:
            self._cut_off()
            raise
        finally:
            await connection.runtime.shielded_checkpoint()

    def _cut_off(self) -> None:
        """End the session if the block is still open, because later statements would be part of it.

        That is so after an interrupt between two steps, or if COMMIT or ROLLBACK came too late.
        """
        if self._block.entered:
            with contextlib.suppress(LocalProtocolError):  # it cannot be used here
                self._connection.abort()
