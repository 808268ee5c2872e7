"""The channel: the output of operations, and the record of what was written.

It has the output that the transport has not taken, the segments in flight, and the open transaction blocks.
From these it knows what may be written now, and the outcome of a query whose answer never comes.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import Error, Outcome
from ..protocol import PGConnection
from ..wire import Bind, Close, ErrorResponse, Execute, Message, Parse, Query, Sync
from .blocks import Block, Blocks
from .listening import Listeners
from .observing import Watch
from .retiring import retires
from .segment import Segment
from .sql import ALTERING_TAGS, alters, to_savepoint, unlistened
from .statements import StatementCache

if TYPE_CHECKING:  # ssl is not loaded before TLS is asked for
    from ..protocol.tls import TLS
    from .operation import Operation

__all__ = ["HIGH_WATER", "TELLING_TAGS", "Channel"]

# Command tags that `Channel.told` must hear of: these statements drop state of the session, or make it last.
TELLING_TAGS: Final = ALTERING_TAGS | {"COMMIT", "DEALLOCATE ALL", "DISCARD ALL", "ROLLBACK", "UNLISTEN"}

_SESSIONS: Final = itertools.count(1)

# Requests that are always the same.
_BIND: Final = Bind("", "", (), (), ())
_EXECUTE: Final = Execute()
_SYNC: Final = Sync()

# The limit for produced output, in bytes, so that a batch of any size needs bounded memory.
# asyncpg uses four buffers of 32 KiB, libpq one of 16 KiB.
HIGH_WATER: Final = 65536

# A transport is offered pieces of this size at most.  The part that it does not take is copied, which would
# make sending a large value through a small socket buffer quadratic.
_PIECE: Final = 4 * HIGH_WATER


class Channel:
    """The connection, its statements, and the output that was not yet handed over.

    Attributes:
        connection: the protocol's state machine.
        statements: the statement cache.
        segments: the segments in flight, oldest first.
        status_before: the transaction status before the oldest segment, until its ReadyForQuery was handled.
        blocks: the open transaction blocks, which restrict who may submit.
        prologue: the open blocks whose BEGIN or SAVEPOINT is not sent yet.  It is sent before the first
            request of the block, in the same segment.
        begin_failed: the server refused the transaction's BEGIN: nothing may be run in it.
        session: a number that no other session of this process has; it is put on errors.
        ready: operations that have ended or made progress, for the adapter to wake their waiters.
        dirty: a statement may have changed the session's state since `forget_traces`.
        pipelining: True if several segments may be in flight.
        listeners: the listeners for notifications.
        left: functions that return the names of portals to close with the next requests, or "".  They are
            appended from any thread.
        tls: the encryption of the byte stream, once it was negotiated.
        retires: says of an error of the server that the session should not be lent again.
        watch: tells the observers; None if there are none.
        produced, handed_over: stream positions: bytes written by operations, bytes taken by the transport.
    """

    __slots__ = (
        "_altered",
        "_output",
        "_piece",
        "_savepoints",
        "_traces",
        "_untouched",
        "begin_failed",
        "blocks",
        "connection",
        "handed_over",
        "left",
        "listeners",
        "pipelining",
        "produced",
        "prologue",
        "ready",
        "retires",
        "segments",
        "session",
        "statements",
        "status_before",
        "tls",
        "watch",
    )

    def __init__(self, connection: PGConnection, statements: StatementCache) -> None:
        self.connection = connection
        self.statements = statements
        self.listeners = Listeners()
        self.segments: deque[Segment] = deque()
        self.session = next(_SESSIONS)
        self.status_before = "I"
        self.blocks = Blocks()
        self.prologue: list[Block] = []
        self.ready: list[Operation] = []
        self._traces = False
        self._altered = False  # the open transaction, or the last one, has altered tables or types
        self._untouched = 0  # the stream position at the last `forget_traces`
        self.begin_failed = False
        self.pipelining = True
        self.retires: Callable[[ErrorResponse], bool] = retires
        self.left: list[Callable[[Channel], str]] = []
        self.tls: TLS | None = None
        self.watch: Watch | None = None
        self.produced = 0
        self.handed_over = 0
        self._output: list[bytes] = []
        self._piece = b""  # the bytes offered to the transport; `_output` follows them
        self._savepoints = 0

    def sign(self, error: BaseException | None) -> None:
        """Put the session's number on an error."""
        if isinstance(error, Error):
            error.session = self.session

    @property
    def dirty(self) -> bool:
        """True if a statement may have changed the session's state, or a prepared one is kept."""
        return self._traces or bool(self.statements.kept)

    @dirty.setter
    def dirty(self, dirty: bool) -> None:
        self._traces = dirty

    def told(self, operation: Operation, tag: str, sql: str, before: int = 0) -> None:
        """A statement with one of TELLING_TAGS has completed.

        Args:
            operation: the operation that ran it.
            tag: its command tag.
            sql: the text that contains it.
            before: the number of statements before it in the text.
        """
        block = operation.transaction
        depth = 0 if block is None else block.depth
        if tag in ALTERING_TAGS:
            self.statements.relearn(alters(tag, sql))
            if tag.startswith("ALTER"):
                self.statements.types.forget()
            self._altered = self.listeners.unsettled = True
            return
        if tag == "COMMIT":
            self.transaction_ended(committed=True)
            return
        if tag == "ROLLBACK":
            if not to_savepoint(sql, before):
                self.transaction_ended(committed=False)
            else:
                self._relearn()
                self.listeners.rolled_back(depth if operation.last_word else 0)
            return
        if tag != "UNLISTEN":
            self.statements.clear()
        if tag != "DEALLOCATE ALL":
            self.listeners.unlistened(unlistened(sql) if tag == "UNLISTEN" else ["*"], tag, depth)

    def transaction_ended(self, *, committed: bool | None) -> None:
        """A transaction is over; `committed` is None if its outcome is not known."""
        self.listeners.transaction_ended(committed=committed)
        if not committed:
            self._relearn()
        self._altered = False

    def _relearn(self) -> None:
        """Alterations were rolled back: forget what was learned of the altered tables and types."""
        if self._altered:
            self.statements.relearn(None)
            self.statements.types.forget()

    @property
    def touched(self) -> bool:
        """True if anything was written since `forget_traces`."""
        return self.produced != self._untouched

    def forget_traces(self) -> None:
        """Take the session's present state as clean."""
        self._traces = False
        self._untouched = self.produced
        self.statements.kept.clear()

    def write(self, message: Message) -> None:
        """Send one message."""
        data = self.connection.send(message)
        self._output.append(data)
        self.produced += len(data)

    @property
    def pending(self) -> int:
        """The number of bytes produced and not handed over."""
        return self.produced - self.handed_over

    def output(self) -> bytes:
        """The next bytes to hand over: all that are pending, or a piece if they are many."""
        parts = self._output
        if parts:
            if self.pending <= _PIECE:
                if self._piece:
                    parts.insert(0, self._piece)
                self._piece = parts[0] if len(parts) == 1 else b"".join(parts)
                parts.clear()
            elif not self._piece:
                self._piece = self._next_piece()
        return self._piece

    def _next_piece(self) -> bytes:
        parts = self._output
        first = parts[0]
        if len(first) > _PIECE:
            parts[:1] = [first[start : start + _PIECE] for start in range(0, len(first), _PIECE)]
        count = 1
        size = len(parts[0])
        while count < len(parts) and size + len(parts[count]) <= _PIECE:
            size += len(parts[count])
            count += 1
        piece = b"".join(parts[:count])
        del parts[:count]
        return piece

    def taken(self, count: int) -> None:
        """The transport has taken the first `count` bytes of `output()`."""
        self.handed_over += count
        if self.watch is not None:
            self.watch.handed_over(self.handed_over)
        self._piece = self._piece[count:]

    def discard(self) -> None:
        """Nothing more can be sent: drop the pending output."""
        self._output = []
        self._piece = b""
        self.produced = self.handed_over

    def awaits(self, operation: Operation) -> bool:
        """True if a segment of the operation is in flight."""
        return operation.unanswered > 0

    def open(self, operation: Operation, first: int = 0) -> Segment:
        """Begin a segment for the operation's items from `first` on."""
        segment = Segment(operation, self.produced)
        segment.first = segment.last = segment.position = first
        segment.in_transaction = self.in_transaction(operation)
        operation.unanswered += 1
        if self.watch is not None:
            self.watch.opened(operation, self.produced)
        self.segments.append(segment)
        return segment

    def preamble(self, segment: Segment) -> None:
        """Write the start of an extended segment: Close messages, BEGIN, SAVEPOINT.

        BEGIN needs no round trip of its own: if it fails, the server skips the rest of the segment.
        """
        if self.left:
            self._close_portals()
        for name in self.statements.take_closes():
            self.write(Close("S", name))
        if self.prologue:
            for sql in self._begin(segment):
                self.write(Parse("", sql))
                self.write(_BIND)
                self.write(_EXECUTE)
            if segment.prologue:
                segment.in_transaction = True  # if BEGIN fails, nothing of it is run

    def _close_portals(self) -> None:
        """Close what cursors have left.  It needs no Sync of its own: a Close never fails."""
        left = self.left
        while left:
            name = left.pop()(self)
            if name:
                self.write(Close("P", name))

    def savepoint_due(self, operation: Operation) -> bool:
        """True if the operation is in a savepoint whose SAVEPOINT is not sent yet."""
        block = operation.transaction
        return block is not None and any(
            each.savepoint and each.depth <= block.depth for each in self.prologue
        )

    def due(self, operation: Operation) -> bool:
        """True if a BEGIN or SAVEPOINT that the operation is in is not sent yet."""
        block = operation.transaction
        return block is not None and any(each.depth <= block.depth for each in self.prologue)

    def simple_query(self, segment: Segment, sql: str) -> str:
        """Write a simple Query; a BEGIN that is due goes first in the same string, so that both fail as one.

        Returns:
            The whole string.
        """
        text = sql
        if self.left:
            self._close_portals()
        if self.prologue:
            text = "; ".join([*self._begin(segment), sql])
        segment.commit = self.produced
        self.write(Query(text))
        return text

    def sync(self, segment: Segment) -> None:
        """End the segment."""
        segment.commit = self.produced
        self.write(_SYNC)

    def _begin(self, segment: Segment) -> list[str]:
        """The statements that open the blocks of the segment's operation and are not sent yet.

        An operation submitted before a block was entered may be written later; it is not in the block.
        """
        block = segment.operation.transaction
        if block is None:
            return []
        begun = [each.begin for each in self.prologue if each.depth <= block.depth]
        del self.prologue[: len(begun)]
        segment.prologue = len(begun)
        return begun

    @property
    def transaction(self) -> Block | None:
        """The open transaction block, or None."""
        blocks = self.blocks.open
        return blocks[0] if blocks else None

    @property
    def may_open(self) -> bool:
        """True if a segment may be opened now.

        Not after an unanswered BEGIN: if it failed, the new segment would run outside of the block.  Nor
        after a statement in a block that is not plain: it may end the block.  And without pipelining not
        while anything is unanswered: a pooler may give the server to another client at each ReadyForQuery,
        even if more requests have arrived.
        """
        segments = self.segments
        if not segments:
            return True
        last = segments[-1]
        if not self.pipelining or last.prologue > 0:
            return False
        return last.plain or last.operation.transaction is None

    @property
    def between(self) -> bool:
        """True if a request sent now runs in no transaction block, and neither ends nor splits anything.

        A segment in flight may open a transaction block; or be a COPY, after which nothing may be sent; or be
        half written, and another Sync would commit that half.
        """
        if self.connection.transaction_status != "I":
            return False
        for each in self.segments:
            if not each.plain or each.in_transaction or each.operation.exclusive or each.commit is None:
                return False
        return True

    def in_block(self, segment: Segment) -> bool:
        """True if the segment whose ReadyForQuery is being handled may have run in a transaction block."""
        outside = self.status_before == "I" and self.connection.transaction_status == "I"
        return segment.in_transaction or not (outside and segment.plain)

    def may_repeat(self, segment: Segment) -> bool:
        """True if the segment's statements, sent again, would run outside of any transaction block."""
        if self.transaction is not None or segment.operation.transaction is not None:
            return False
        for each in self.segments:
            if each is not segment and (not each.plain or each.in_transaction or each.operation.exclusive):
                return False
        return True

    def fate(self, segment: Segment | None) -> Outcome:
        """The outcome of a query in this segment (None: it has no segment) whose answer never comes."""
        if segment is None:
            return Outcome.NOT_SENT
        if self.connection.closed is None and segment.commit is not None:
            return Outcome.UNKNOWN  # the session goes on without the caller, so the server will still run it
        outcome = segment.lost(self.handed_over, in_block=self._ran_in_block(segment))
        if outcome is Outcome.ROLLED_BACK:
            behind = list(self.segments)
            del behind[: behind.index(segment) + 1]
            for later in behind:
                if not later.plain and later.start < self.handed_over:
                    return Outcome.UNKNOWN  # it may be the COMMIT
        return outcome

    def _ran_in_block(self, segment: Segment) -> bool:
        """True if the segment, which is in flight, certainly runs in a transaction block.

        More may be known now than when it was written: a BEGIN before it may have been answered.  A BEGIN
        without an answer may have failed (cancelled, for example); then the segment's own Sync committed it.
        """
        # Only T is certain: an E may belong to a pooler's own error.
        if segment.in_transaction or self.status_before != "T":
            return segment.in_transaction
        segments = list(self.segments)
        return all(each.plain for each in segments[: segments.index(segment)])

    def next_savepoint(self) -> int:
        """A number that no other savepoint of this session has."""
        self._savepoints += 1
        return self._savepoints

    def in_transaction(self, operation: Operation) -> bool:
        """True if the operation's next statements certainly run in a transaction block.

        That is certain if BEGIN was sent (or is about to be), or the status was T or E, and no unanswered
        segment could have ended the block.
        """
        status = self.connection.transaction_status
        if operation.transaction is None:
            return status in ("T", "E") and not self.segments
        if self.segments:
            return all(segment.plain for segment in self.segments)
        return bool(self.prologue) or status in ("T", "E")
