"""The segment: the requests between two Syncs, or one simple Query.

The server answers it with exactly one ReadyForQuery and, outside of a transaction block, commits it only
then.  So outcomes are decided by segment: it records the stream positions of its first byte and of the
message that makes the server commit.  Compared with the number of bytes handed over to the transport, they
give the outcome of a query whose answer never came.  Bytes that were handed over are assumed to have arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import Outcome, PostgresError

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["AT_SYNC", "IN_ITEM", "IN_PROLOGUE", "NOWHERE", "Segment"]

# Where in a segment the server's error was: `Segment.failed`.
NOWHERE: Final = 0  # there was no error
IN_PROLOGUE: Final = 1  # in BEGIN or SAVEPOINT: no item was run
IN_ITEM: Final = 2  # in `failed_item`: the items before it were run, those after it skipped
AT_SYNC: Final = 3  # after the last item: all items were run, and could not be committed


class Segment:
    """Requests of one operation that are answered by one ReadyForQuery.

    Attributes:
        operation: the operation.
        start: stream position of its first byte.
        commit: stream position of the message that makes the server commit it (Sync, Query, CopyDone); None
            if that was not written (yet).
        plain: no statement in it ends a transaction or commits on its own.
        in_transaction: it runs in a transaction block, which it cannot end if it is plain.
        preparing: it only prepares statements.
        first, last: the operation's items in it, as a half-open range of indexes.
        position: the item that is being answered.
        prologue: the number of unanswered statements before the items (BEGIN, SAVEPOINT).
        stale: the error is about the prepared statement, not about its execution: see `stale`.
        error: the server's error in it; None if there was none.
        failed_item: the index of the item with the error, if `failed` is IN_ITEM.
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
        """The server reported an error at the current position.  Only the first error counts."""
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
        """Whether the transaction that ended with this segment was committed; None if that is not known."""
        error = self.error
        return error is None or (None if error.outcome in (None, Outcome.UNKNOWN) else False)

    def decided(self, fate: Outcome) -> bool:
        """True if the server's error tells the outcome of the items, whatever `fate` says.

        The items before the failed one are rolled back.  A FATAL at the Sync decides nothing, because the
        commit may have happened.  Nor does a pooler's error, or one for a segment that was not handed over.
        """
        error = self.error
        if error is None or fate is Outcome.NOT_SENT or "V" not in error.fields:
            return False
        return not error.fatal or self.failed != AT_SYNC

    def lost(self, handed_over: int, *, in_block: bool) -> Outcome:
        """The outcome of a query whose answer will never come, judged by this segment alone."""
        if self.start >= handed_over:
            return Outcome.NOT_SENT
        if self.plain:
            if self.commit is None or self.commit >= handed_over:
                return Outcome.NOT_COMMITTED
            if in_block:
                # It has no COMMIT, so the session's end rolled it back; `Channel.fate` looks for a later one.
                return Outcome.ROLLED_BACK
        return Outcome.UNKNOWN
