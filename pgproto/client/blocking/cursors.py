# Written by scripts/blocking.py out of pgproto/client/cursors.py: change that one.
"""Cursors: rows that are fetched piece by piece in a transaction, with other statements in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic, TypeVar

from pgproto.errors import DataError, LocalProtocolError, Outcome
from pgproto.session import Operation, Portal, QueuedQuery, Script
from pgproto.session.batch import rowcount
from pgproto.session.deadlines import DEFAULT, Timeout, seconds
from pgproto.types import Column

from ..unique import Unique
from .runtime import Link, Runtime

__all__ = ["Cursor"]

T = TypeVar("T")

# An iteration fetches few rows first, and then as many as make a piece, judged by the rows before.  Rows may
# get longer, so that it is never many at once.
_FIRST: Final = 16
_GROWTH: Final = 4
_MOST: Final = 2000
_PIECE: Final = 262_144

_MOST_ROWS: Final = 0x7FFFFFFF  # of one Execute


class Cursor(Unique, Generic[T]):
    """The rows of a statement as they are wanted; made by `Connection.cursor`.

    `with conn.cursor(sql) as cursor`: iterate over it, or call `fetch`, `fetchrow` and `forward`, in
    any order.  The statement runs with the first of these, and the cursor ends with its transaction block.
    Between two steps the connection is free for other statements.  After an error, a timeout or a
    cancellation the cursor is closed.

    Leaving costs nothing: no round trip, and no cancel request, since the server has computed no more rows
    than were fetched.  The cursor is closed with the next statement, also one that was just dropped.

    Args:
        runtime: the adapter's runtime.
        start: returns the link of the connection, if it can be used here.
        item: the statement with its values.
        prefetch: how many rows an iteration fetches at once; None for what makes about 256 KiB.
        time: the longest time for one fetch, in seconds; None for no limit.
    """

    def __init__(
        self,
        runtime: Runtime,
        start: Callable[[], Link],
        item: QueuedQuery[T],
        prefetch: int | None,
        time: float | None,
    ) -> None:
        if prefetch is not None:
            prefetch = _rows("prefetch", prefetch)
        self._runtime = runtime
        self._start = start
        self._portal = Portal(item)
        self._prefetch = prefetch
        self._limit = prefetch or _FIRST
        self._time = time
        self._rows: deque[T] = deque()
        self._refused: DataError | None = None  # the error of the next row
        self._waiting = False

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns, with their types; () before the first fetch."""
        return self._portal.item.description

    @property
    def begun(self) -> bool:
        """True once rows were asked for."""
        return self._portal.begun

    @property
    def name(self) -> str:
        """Its name on the server, for SQL such as `update ... where current of "name"`, once it has begun."""
        return self._portal.name

    def __iter__(self) -> Cursor[T]:
        return self

    def __next__(self) -> T:
        while not self._rows:
            rows = self.piece()
            if not rows:
                raise StopIteration
            self._rows.extend(rows)
        return self._rows.popleft()

    def piece(self) -> list[T]:
        """As many rows as an iteration fetches at once; [] at the end."""
        return self._fetch(self._limit, self._time)

    def fetch(self, n: int, *, timeout: Timeout = DEFAULT) -> list[T]:
        """The next `n` rows, or as many as there are; [] at the end.

        Args:
            n: at least 1.
            timeout: in seconds; by default that of the cursor.

        Raises:
            LocalProtocolError: the cursor is closed, its block has ended, or there is none.
            TypeError, ValueError: `n` is no int, or less than 1.
        """
        n = _rows("n", n)
        time = seconds(timeout, self._time)
        self._check_turn()
        rows = self._at_hand(n)
        if len(rows) < n:
            rows += self._fetch(n - len(rows), time)
        return rows

    def fetchrow(self, *, timeout: Timeout = DEFAULT) -> T | None:
        """The next row; None at the end."""
        rows = self.fetch(1, timeout=timeout)
        return rows[0] if rows else None

    def forward(self, n: int, *, timeout: Timeout = DEFAULT) -> int:
        """Skip the next `n` rows, which stay on the server; the number of rows that were there to skip."""
        n = _rows("n", n)
        time = seconds(timeout, self._time)
        self._check_turn()
        link = self._start()
        if not self._portal.done or self._portal.closed:
            self._portal.check(link.engine)
        skipped = len(self._at_hand(n))
        if skipped < n and not self._portal.bound:
            skipped += len(self._fetch(1, time))  # MOVE needs a cursor that is there
        if skipped < n and not self._portal.done:
            # As a simple query, because each text is another one: it would drive others out of the cache.
            move = Script(f'MOVE FORWARD {n - skipped} IN "{self.name}"')
            self._run(link, move, time)
            skipped += rowcount(move.results[0].tag)
        return skipped

    def drop(self) -> None:
        """What `close` does, without a checkpoint; from any thread."""
        self._rows.clear()
        self._portal.close()

    def close(self) -> None:
        """Close it with the next statement.  Idempotent."""
        self.drop()
        self._runtime.shielded_checkpoint()

    def __enter__(self) -> Cursor[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_waiting"):
            self.drop()

    # ---- Internals

    def _at_hand(self, n: int) -> list[T]:
        rows = self._rows
        return [rows.popleft() for _ in range(min(n, len(rows)))]

    def _check_turn(self) -> None:
        if self._waiting:
            raise LocalProtocolError("another thread reads from this cursor already")

    def _fetch(self, limit: int, time: float | None) -> list[T]:
        """Fetch rows from the server; [] at the end."""
        portal = self._portal
        link = self._start()
        self._check_turn()
        if self._refused is not None or (portal.done and not portal.closed):
            self._runtime.checkpoint()
            return self._at_end()
        operation = portal.fetch(link.engine, limit)
        self._run(link, operation, time)
        if portal.closed:  # by another thread, during the wait
            portal.check(link.engine)
        rows = len(operation.items[0].rows)
        if self._prefetch is None and rows:
            self._limit = max(1, min(rows * _PIECE // operation.size, _GROWTH * self._limit, _MOST))
        try:
            made, self._refused = operation.take()
        except BaseException:
            self.drop()
            raise
        return made or self._at_end()

    def _at_end(self) -> list[T]:
        """There are no more rows, or the next one is refused."""
        refused, self._refused = self._refused, None
        if refused is not None:
            self.drop()
            raise refused
        return []

    def _run(self, link: Link, operation: Operation, time: float | None) -> None:
        self._waiting = True
        try:
            link.run(operation, time)
        except BaseException as error:
            # A call that was refused where it was made, such as another thread's, does not end the cursor.
            if not (isinstance(error, LocalProtocolError) and error.outcome is Outcome.NOT_SENT):
                self.drop()
            raise
        finally:
            self._waiting = False


def _rows(name: str, n: object) -> int:
    """A number of rows.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"{name} must be a number of rows, not {type(n).__name__}")
    if n < 1:
        raise ValueError(f"{name} must be at least 1 row, not {n}")
    return min(n, _MOST_ROWS)
