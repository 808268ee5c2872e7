# Written by scripts/blocking.py out of pgproto/client/lending.py: change that one.
"""The contract between a pool's public face and its driver, which does the work."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from pgproto.errors import PostgresError
from pgproto.pool import PoolMachine, PoolStats, Ticket

from .connection import Connection, Hook
from .runtime import Runtime

__all__ = ["Held", "Hook", "Hooks", "Lender"]


class Hooks(NamedTuple):
    """The hooks of a pool; see `Pool`."""

    connect: Hook | None
    acquire: Hook | None
    release: Hook | None
    close: Hook | None
    accept: Hook | None = None
    ping: Callable[[Connection], bool] | None = None
    retire_on: Callable[[PostgresError], bool] | None = None


class Held:
    """A connection that is lent.

    Args:
        machine: the machine that has granted it.
        ticket: the borrower's ticket.
        conn: the pool's connection.

    Attributes:
        lent: the borrower's handle.
    """

    __slots__ = ("_unclaimed", "conn", "lent", "machine", "ticket")

    def __init__(self, machine: PoolMachine, ticket: Ticket, conn: Connection) -> None:
        self.machine = machine
        self.ticket = ticket
        self.conn = conn
        self.lent = conn.lend()
        self._unclaimed = [True]

    def claim(self) -> bool:
        """True for the first call: several tasks or threads may want to end the lease, but only one does."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False


class Lender(Protocol):
    """The part that does a pool's work.

    Attributes:
        runtime: the adapter's runtime.
        inherited: it belongs to the parent process (see `fork`).
    """

    runtime: Runtime
    inherited: bool

    @property
    def started(self) -> bool:
        """True once it has begun to open connections."""
        ...

    @property
    def home(self) -> object:
        """Its home (see `runtime`); None if it has none (yet)."""
        ...

    @property
    def over(self) -> bool:
        """True if nothing can be done any more."""
        ...

    @property
    def closing(self) -> bool:
        """True once the pool's end has begun."""
        ...

    def check_here(self) -> None:
        """Check that the pool can be used here.

        Raises:
            ConnectionClosed, LocalProtocolError: the caller has another home, or is a forked child.
        """

    def start(self) -> bool:
        """Begin to open `min_size` connections; False if that was already done."""
        ...

    def first(self) -> None:
        """Wait for the first connection.

        Raises:
            ConnectError, PoolTimeout, PoolClosed: there will be none.
        """

    def enter(self) -> None:
        """The pool is entered with `with`."""

    def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """The block of the pool is left, after the pool's end."""
        ...

    def close(self, timeout: float | None) -> None:
        """End the pool; see `Pool.close`.

        Args:
            timeout: seconds until borrowed connections are closed by force; None for `close_timeout`.
        """

    def expire(self) -> None:
        """See `Pool.expire`."""

    def stats(self) -> PoolStats:
        """The pool's statistics."""
        ...

    def borrow(self, timeout: float | None, keep: Callable[[Held], None]) -> Connection:
        """Lend a connection.

        Args:
            timeout: seconds to wait for one; None for the pool's `acquire_timeout`.
            keep: called with the lease as soon as it exists.
        """
        ...

    def give_back(self, held: Held, done: Callable[[], None]) -> None:
        """End a lease that was claimed; `done` is called as soon as another one may begin."""

    def give_back_later(self, held: Held, done: Callable[[], None]) -> None:
        """The same for a generator's block that is closed, perhaps by the garbage collector."""

    def drop(self, held: Held) -> bool:
        """The garbage collector has found a lease; return True if a warning is due."""
        ...
