"""The segment: what lies between two Syncs, or one simple Query.

The server answers it with exactly one ReadyForQuery and, outside of a transaction block, commits what is in
it only there.  So it is the unit of honesty: it remembers where in the outgoing stream it starts and where
that stands which makes the server commit it, and together with the number of bytes that the transport took,
that decides what can be said about a query whose answer never came.  The transport is given no benefit of
the doubt: a byte counts once it was handed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import Outcome, PostgresError

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["AT_SYNC", "IN_ITEM", "IN_PROLOGUE", "NOWHERE", "Segment"]

# Where in a segment the server's error was: `Segment.failed`.
NOWHERE: Final = 0  # there was none
IN_PROLOGUE: Final = 1  # in what opens its transaction block: none of its items was run
IN_ITEM: Final = 2  # in `failed_item`: those before it were run, those after it skipped
AT_SYNC: Final = 3  # after its last item: all were run, and could not be committed


class Segment:
    """One stretch of requests that ends in one ReadyForQuery, on behalf of one operation.

    Attributes:
        operation: whose it is.
        start: stream position of its first byte.
        commit: stream position of what makes the server commit it (Sync, Query, CopyDone); None if that was
            not written (yet).
        plain: nothing in it ends a transaction or commits on its own.
        in_transaction: it runs in a transaction block, which it cannot end if it is plain.
        preparing: it only prepares statements.
        first, last: the operation's items that it carries, as a half-open range of their indexes.
        position: the item that is being answered.
        prologue: how many statements in front of the items (BEGIN, SAVEPOINT) are unanswered.
        stale: the error is about a prepared statement, not what it does: see `stale`.
        error: the server's error in it; None if there was none.
        failed_item: the index of the item that it concerned, if `failed` is IN_ITEM.
    """

    __slots__ = (
        "_prologue_failed",
        "commit",
        "error",
        "failed_item",
        "first",
        "in_transaction",
        "last",
        "operation",
        "plain",
        "position",
        "preparing",
        "prologue",
        "stale",
        "start",
    )

    def __init__(self, operation: Operation, start: int) -> None:
        self.operation = operation
        self.start = start
        self.commit: int | None = None
        self.plain = True
        self.in_transaction = False
        self.preparing = False
        self.first = 0
        self.last = 0
        self.position = 0
        self.prologue = 0
        self.error: PostgresError | None = None
        self.failed_item = 0
        self._prologue_failed = False
        self.stale = False

    def fail(self, error: PostgresError) -> None:
        """The server reported an error at the current position.  The first one counts."""
        if self.error is None:
            self.error = error
            self.failed_item = self.position
            self._prologue_failed = self.prologue > 0

    @property
    def failed(self) -> int:
        """Where the server's error was: NOWHERE, IN_PROLOGUE, IN_ITEM, AT_SYNC."""
        if self.error is None:
            return NOWHERE
        if self._prologue_failed:
            return IN_PROLOGUE
        return IN_ITEM if self.failed_item < self.last else AT_SYNC

    @property
    def committed(self) -> bool | None:
        """Whether the transaction that has ended with it was committed; None if nobody knows."""
        error = self.error
        return error is None or (None if error.outcome in (None, Outcome.UNKNOWN) else False)

    def decided(self, fate: Outcome) -> bool:
        """True if the server's own last words name the statement that it was at, whatever `fate` says.

        All before it is undone with it.  At the Sync a FATAL decides nothing: the commit may have been done.
        Nor do a pooler's words, ever, or those that crossed what was not handed over.
        """
        error = self.error
        if error is None or fate is Outcome.NOT_SENT or "V" not in error.fields:
            return False
        return not error.fatal or self.failed != AT_SYNC

    def lost(self, handed_over: int, *, in_block: bool) -> Outcome:
        """What became of a query of this segment whose answer will never come, seen by itself."""
        if self.start >= handed_over:
            return Outcome.NOT_SENT
        if self.plain:
            if self.commit is None or self.commit >= handed_over:
                return Outcome.NOT_COMMITTED
            if in_block:
                # Its COMMIT was never handed over, and the transaction died with the session.
                return Outcome.ROLLED_BACK
        return Outcome.UNKNOWN
