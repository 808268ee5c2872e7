"""What a pool lends: a connection, or a transaction on one."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pgproto.errors import LocalProtocolError
from pgproto.pool import Ticket
from pgproto.session import Transaction
from pgproto.session.deadlines import Timeout, remaining

from .connection import Connection
from .transactions import TransactionContext
from .unique import Unique

if TYPE_CHECKING:
    from .driver import Driver

__all__ = ["Lease", "PoolTransaction"]

_NO_CONNECTION: Final = (
    "a lease is no connection, so it has no {!r}: use `async with pool.acquire() as conn`, or "
    "`conn = await pool.acquire()`"
)


class Lease(Unique):
    """A connection to borrow: `async with pool.acquire() as conn`, or `conn = await pool.acquire()`.

    What was awaited is given back by `await pool.release(conn)`.  A lease can be used again after its end.
    """

    def __init__(self, driver: Driver, timeout: float | None) -> None:
        self.driver = driver
        self._timeout = timeout
        self._in_use = False
        self._held: tuple[Ticket, Connection] | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Somebody takes it for the connection."""
            raise AttributeError(_NO_CONNECTION.format(name), name=name, obj=self)

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self.start().__await__()

    async def start(self) -> Connection:
        """Borrow a connection; the same as `await`.

        Raises:
            LocalProtocolError: the lease has one already.
            Error: see `Pool.acquire`.
        """
        if self._in_use:
            raise LocalProtocolError("the lease is in use: call acquire() for each connection")
        self._in_use = True
        try:
            self._held = await self.driver.borrow(self._timeout)
        except BaseException:
            self._in_use = False
            raise
        conn = self._held[1]
        conn.lease = self
        return conn

    def remaining(self, timeout: Timeout) -> Timeout:
        """What the wait for the connection has left of the time of the call that it is for."""
        assert self._held is not None
        return remaining(timeout, self._timeout, self._held[0].deadline, self.driver.runtime.now)

    def release(self, conn: Connection | None = None) -> None:
        """Give the connection back, if it is (still) this one.  Idempotent."""
        if self._held is None or (conn is not None and conn is not self._held[1]):
            return
        if not self.driver.inherited:
            if self.driver.over:  # its loop is gone, and there is nobody to give it back to
                return
            self.driver.check_here()
        (ticket, lent), self._held = self._held, None
        self._in_use = False
        self.driver.give_back(ticket, lent.take_back())

    async def __aenter__(self) -> Connection:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, GeneratorExit):
            self.release()
        elif self._held is not None:
            held, self._held = self._held, None
            self._in_use = False
            self.driver.drop(*held)

    def __del__(self) -> None:
        held: tuple[Ticket, Connection] | None = getattr(self, "_held", None)
        if held is not None and self.driver.drop(*held):
            warnings.warn("a connection was borrowed and not given back", ResourceWarning, stacklevel=1)


class PoolTransaction(Unique):
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

    @property
    def block(self) -> Transaction | None:
        """The core's side of it; None before a connection was borrowed."""
        return None if self._context is None else self._context.block

    async def __aenter__(self) -> Connection:
        conn = await self._lease.start()
        self._context = None
        try:
            self._context = conn.transaction(
                isolation=self._isolation, readonly=self._readonly, deferrable=self._deferrable
            )
            await self._context.start()
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
            await self._lease.__aexit__(kind, error, trace)
