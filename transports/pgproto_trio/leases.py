"""What a pool lends: a connection, or a transaction on one."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from pgproto import LocalProtocolError
from pgproto.pool import Ticket

from .connection import Connection
from .handles import TransactionContext

if TYPE_CHECKING:
    from .pool import Pool

__all__ = ["Lease", "PoolTransaction"]


class Lease:
    """`async with pool.acquire() as conn`."""

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._held: tuple[Ticket, Connection] | None = None

    async def __aenter__(self) -> Connection:
        if self._held is not None:
            raise LocalProtocolError("the lease was entered before")
        self._held = await self._pool.borrow(self._timeout)
        return self._held[1]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the connection back.  Idempotent."""
        if self._held is not None:
            (ticket, lent), self._held = self._held, None
            self._pool.give_back(ticket, lent.take_back())


class PoolTransaction:
    """`async with pool.transaction() as conn`."""

    def __init__(self, lease: Lease, isolation: str, readonly: bool | None, deferrable: bool) -> None:
        self._lease = lease
        self._isolation = isolation
        self._readonly = readonly
        self._deferrable = deferrable
        self._context: TransactionContext | None = None

    @property
    def committing(self) -> bool:
        """True once COMMIT was submitted."""
        return self._context is not None and self._context.committing

    async def __aenter__(self) -> Connection:
        conn = await self._lease.__aenter__()
        try:
            self._context = conn.transaction(
                isolation=self._isolation, readonly=self._readonly, deferrable=self._deferrable
            )
            await self._context.__aenter__()
        except BaseException:
            self._lease.release()
            raise
        return conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._context is not None:
                await self._context.__aexit__(kind, error, trace)
        finally:
            self._lease.release()
