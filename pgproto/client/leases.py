"""The leases of a pool: a connection, or a transaction on one."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from pgproto.errors import LocalProtocolError
from pgproto.session import Transaction
from pgproto.session.deadlines import Timeout, remaining

from . import logs
from .connection import Connection
from .lending import Held, Lender
from .transactions import TransactionContext
from .unique import Unique

__all__ = ["Lease", "PoolTransaction"]

_NO_CONNECTION: Final = (
    "a lease is no connection, so it has no {!r}: use `async with pool.acquire() as conn`, or "
    "`conn = await pool.acquire()`"
)


class Lease(Unique):
    """A connection to borrow: `async with pool.acquire() as conn`, or `conn = await pool.acquire()`.

    What was awaited is given back by `await pool.release(conn)`.  A lease can be used again after its end.
    """

    def __init__(self, driver: Lender, timeout: float | None) -> None:
        self.driver = driver
        self._timeout = timeout
        self._in_use = False
        self._held: Held | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The lease was taken for the connection: say how to get that."""
            raise AttributeError(_NO_CONNECTION.format(name), name=name, obj=self)

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self.start().__await__()

    async def start(self) -> Connection:
        """Borrow a connection, as `await` does: its handle keeps the lease.

        Raises:
            LocalProtocolError: the lease already has a connection.
            Error: see `Pool.acquire`.
        """
        conn = await self.__aenter__()
        conn.keeps = self
        return conn

    def remaining(self, timeout: Timeout) -> Timeout:
        """The rest of a call's timeout after the wait for the connection."""
        held = self._held
        assert held is not None
        return remaining(timeout, self._timeout, held.ticket.deadline, self.driver.runtime.now)

    def release(self, conn: Connection | None = None) -> None:
        """Give the connection back, if it is (still) lent by this lease.  Idempotent."""
        held = self._held
        if held is None or (conn is not None and conn is not held.lent):
            return
        driver = self.driver
        if not driver.inherited:
            if driver.over:  # nothing can be given back any more
                return
            driver.check_here()
        if held.claim():
            driver.give_back(held, self._let_go)
            self._given_back(held)

    async def __aenter__(self) -> Connection:
        if self._in_use:
            raise LocalProtocolError("the lease is in use: call acquire() for each connection")
        self._in_use = True
        try:
            return await self.driver.borrow(self._timeout, self._keep)
        except BaseException as error:
            logs.waited_in_vain(error)
            held = self._held
            if held is not None and held.claim():  # interrupted after the connection was lent
                self.driver.give_back(held, self._let_go)
            else:
                self._let_go()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self._held
        if not isinstance(error, GeneratorExit):
            self.release()
        elif held is not None and held.claim():
            self.driver.give_back_later(held, self._let_go)
            self._given_back(held)

    def __del__(self) -> None:
        held: Held | None = getattr(self, "_held", None)  # `__init__` may have been interrupted
        if held is not None and self.driver.drop(held):
            warnings.warn("a connection was borrowed and not given back", ResourceWarning, stacklevel=1)

    def _keep(self, held: Held) -> None:
        self._held = held
        held.lent.lease = weakref.ref(self)
        held.lent.lent_by = self.driver

    def _given_back(self, held: Held) -> None:
        held.lent.keeps = None
        if self._held is held:  # now: `_let_go` may come later, and `__del__` must not drop it before
            self._held = None

    def _let_go(self) -> None:
        self._held = None
        self._in_use = False


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
        """The core's transaction; None before a connection was borrowed."""
        return None if self._context is None else self._context.block

    async def __aenter__(self) -> Connection:
        conn = await self._lease.__aenter__()
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
