"""`Waiting`: a connection of `pgproto_asyncio` with blocking methods, for SQLAlchemy's greenlets."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy.util.concurrency import await_only

from pgproto.session import Operation, ScriptResult
from pgproto.types import Column
from pgproto_asyncio import Connection
from pgproto_blocking.dbapi.turn import busy

from .errors import ERRORS

__all__ = ["Lock", "Waiting"]


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop runs, as in a finalizer
        return None


class Lock:
    """A lock for `with` in a greenlet, which is handed over in order.  If it is free, nothing is awaited."""

    def __init__(self) -> None:
        self._held = False
        self._owner: object = None
        self._queue: deque[asyncio.Future[None]] = deque()

    def __enter__(self) -> None:
        me = _current_task()
        if self._held and me is not None and self._owner is me:
            raise busy(ERRORS["InterfaceError"])
        if self._held:
            self._wait()
        self._held = True
        self._owner = me

    def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await_only(turn)
        except BaseException:
            if turn.done() and not turn.cancelled():  # it is ours already, and the task was cancelled
                self.__exit__()
            turn.cancel()  # else it would be handed over to nobody
            raise

    def __exit__(self, *error: object) -> None:
        self._owner = None
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._held = False


class WaitingPortal:
    """A cursor of `pgproto_asyncio`."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns."""
        found: tuple[Column, ...] = self._cursor.description
        return found

    def piece(self) -> list[Any]:
        """Some rows; [] at the end."""
        return await_only(self._cursor.piece())

    def fetch(self, n: int, *, timeout: float | None = None) -> list[Any]:
        """So many rows, or as many as there are."""
        return await_only(self._cursor.fetch(n, timeout=timeout))

    def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip rows; how many."""
        skipped: int = await_only(self._cursor.forward(n, timeout=timeout))
        return skipped

    def drop(self) -> None:
        """Close it with the next statement."""
        self._cursor.drop()


class WaitingLink:
    """The link of a connection of `pgproto_asyncio`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        await_only(self._connection.link.run(operation, timeout))


class Waiting:
    """What `pgproto_blocking.dbapi` needs of a session, by awaiting.

    Args:
        connection: the connection of `pgproto_asyncio`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.link = WaitingLink(connection)

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        return self.connection.closed

    @property
    def transaction_status(self) -> str:
        """The status of the last ReadyForQuery."""
        return self.connection.transaction_status

    def script(self, sql: str, *, timeout: float | None = None) -> list[ScriptResult]:
        """Run a text as a simple query."""
        return await_only(self.connection.script(sql, timeout=timeout))

    def executemany(
        self, query: str, records: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> int:
        """Run a statement with many records."""
        return await_only(self.connection.executemany(query, records, timeout=timeout))

    def cursor(
        self, query: str, *args: object, into: type[tuple[Any, ...]], timeout: float | None = None
    ) -> WaitingPortal:
        """A portal that has not begun."""
        return WaitingPortal(self.connection.cursor(query, *args, into=into, timeout=timeout))

    def close(self) -> None:
        """End the session."""
        await_only(self.connection.close())
