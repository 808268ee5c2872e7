"""What a pool's users see of it, and who does the work: the contract between them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Protocol

from pgproto.pool import PoolMachine, PoolStats, Ticket

from .connection import Connection
from .runtime import Runtime

__all__ = ["Held", "Hook", "Hooks", "Lender"]

Hook = Callable[[Connection], Awaitable[bool | None] | bool | None]
"""A function of the pool's owner: called with a connection; False closes it, where the pool asks."""


class Hooks(NamedTuple):
    """What the pool's owner wants to be asked; see `Pool`."""

    connect: Hook | None
    acquire: Hook | None
    release: Hook | None
    close: Hook | None


class Held:
    """A connection that is lent.

    Args:
        machine: what has granted it.
        ticket: to whom.
        conn: the connection.

    Attributes:
        lent: the handle that the borrower has.
    """

    __slots__ = ("_unclaimed", "conn", "lent", "machine", "ticket")

    def __init__(self, machine: PoolMachine, ticket: Ticket, conn: Connection) -> None:
        self.machine = machine
        self.ticket = ticket
        self.conn = conn
        self.lent = conn.lend()
        self._unclaimed = [True]

    def claim(self) -> bool:
        """True for the first who wants to end it; several may, in threads of their own, too."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False


class Lender(Protocol):
    """Who does a pool's work.

    Attributes:
        runtime: with which.
        inherited: the parent process has it (see `fork`).
    """

    runtime: Runtime
    inherited: bool

    @property
    def started(self) -> bool:
        """True once it has begun to open connections."""
        ...

    @property
    def home(self) -> object:
        """Where it belongs; None if that is nowhere (yet)."""
        ...

    @property
    def over(self) -> bool:
        """True if nothing can be done any more."""
        ...

    def check_here(self) -> None:
        """Raise if the caller runs elsewhere, or in a process that was forked meanwhile.

        Raises:
            ConnectionClosed, LocalProtocolError: so it is.
        """

    def start(self) -> bool:
        """Begin to open `min_size` connections; False if that was done before."""
        ...

    async def first(self) -> None:
        """Wait for the first connection.

        Raises:
            ConnectError, PoolTimeout, PoolClosed: there is none.
        """

    async def enter(self) -> None:
        """The pool is entered with `async with`."""

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """And left, after its end."""
        ...

    async def close(self, timeout: float | None) -> None:
        """End the pool; see `Pool.close`.

        Args:
            timeout: seconds until borrowed connections are taken away; None for `close_timeout`.
        """

    def expire(self) -> None:
        """See `Pool.expire`."""

    def stats(self) -> PoolStats:
        """What the pool has and has done."""
        ...

    async def borrow(self, timeout: float | None, keep: Callable[[Held], None]) -> Connection:
        """Lend a connection.

        Args:
            timeout: seconds to wait for one; None for the pool's `acquire_timeout`.
            keep: gets the lease as soon as it exists.
        """
        ...

    def give_back(self, held: Held, done: Callable[[], None]) -> None:
        """A lease that was claimed ends; `done` is called as soon as another one may begin."""

    def give_back_later(self, held: Held, done: Callable[[], None]) -> None:
        """The same where the block of a generator is closed, perhaps by the garbage collector."""

    def drop(self, held: Held) -> bool:
        """A lease was lost, where garbage is collected; True if somebody should be told."""
        ...
