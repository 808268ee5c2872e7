"""The channel: what operations write to, and what is known of what was written.

It has the output that the transport did not take yet, the segments in flight, and the transaction blocks
that are open; from these it says what may be written now, and what became of a query that gets no answer.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from ..errors import Error, Outcome
from ..protocol import PGConnection
from ..wire import Bind, Close, Execute, Message, Parse, Query, Sync
from .blocks import Block, Blocks
from .listening import Listeners
from .segment import Segment
from .sql import ALTERING_TAGS, alters, to_savepoint, unlistened
from .statements import StatementCache

if TYPE_CHECKING:  # ssl is not loaded before TLS is asked for
    from ..protocol.tls import TLS
    from .operation import Operation

__all__ = ["HIGH_WATER", "TELLING_TAGS", "Channel"]

# Tags of statements after which the server has forgotten something, or will not forget it any more:
# `Channel.told` wants to know of them.
TELLING_TAGS: Final = ALTERING_TAGS | {"COMMIT", "DEALLOCATE ALL", "DISCARD ALL", "ROLLBACK", "UNLISTEN"}

_SESSIONS: Final = itertools.count(1)

# Output is produced up to here and no further, so that a batch of any size needs bounded memory.
# asyncpg uses four buffers of 32 KiB, libpq one of 16 KiB.
HIGH_WATER: Final = 65536

# A transport is offered pieces of this size at most.  What it does not take is copied, which would make
# sending one large value through a small socket buffer quadratic.
_PIECE: Final = 4 * HIGH_WATER


class Channel:
    """What operations write to: the connection, its statements, and the output not yet handed over.

    Attributes:
        connection: the protocol's state.
        statements: the statement cache.
        segments: the segments in flight, oldest first.
        status_before: the transaction status before the oldest of them, until its ReadyForQuery was handled.
        blocks: the transaction blocks that are open: who is not inside may not submit.
        prologue: those of them that the server was not told of yet.  What opens them (BEGIN, SAVEPOINT) goes
            in front of the first segment that belongs inside.
        begin_failed: the server refused the transaction's BEGIN: nothing of it may be run.
        session: a number that no other session of this process has; errors carry it.
        ready: operations that have ended or made progress, for the adapter to wake their waiters.
        dirty: a statement may have left a trace in the session since `forget_traces`.
        pipelining: several segments may be in flight; False for one at a time.
        listeners: who waits for notifications.
        tls: the encryption of the byte stream, once it was agreed upon.
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
        "listeners",
        "pipelining",
        "produced",
        "prologue",
        "ready",
        "segments",
        "session",
        "statements",
        "status_before",
        "tls",
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
        self._altered = False  # in the transaction that is open, or was the last
        self._untouched = 0  # the stream's position when the traces were forgotten
        self.begin_failed = False
        self.pipelining = True
        self.tls: TLS | None = None
        self.produced = 0
        self.handed_over = 0
        self._output: list[bytes] = []
        self._piece = b""  # what the transport is being offered; `_output` comes after it
        self._savepoints = 0

    def sign(self, error: BaseException | None) -> None:
        """Note on an error which session it came from."""
        if isinstance(error, Error):
            error.session = self.session

    @property
    def dirty(self) -> bool:
        """True if a statement may have left a trace in the session, or one that was prepared is kept."""
        return self._traces or bool(self.statements.kept)

    @dirty.setter
    def dirty(self, dirty: bool) -> None:
        self._traces = dirty

    def told(self, operation: Operation, tag: str, sql: str, before: int = 0) -> None:
        """A statement has completed after which the server knows less: see TELLING_TAGS.

        Args:
            operation: whose it is.
            tag: its command tag.
            sql: the text that it is in.
            before: how many statements of the text came before it.
        """
        block = operation.transaction
        depth = 0 if block is None else block.depth
        if tag in ALTERING_TAGS:
            self.statements.relearn(alters(tag, sql))
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
        """A transaction is over; None: nobody knows how."""
        self.listeners.transaction_ended(committed=committed)
        if not committed:
            self._relearn()
        self._altered = False

    def _relearn(self) -> None:
        """What was altered is undone: what was learned of it since is not so any more."""
        if self._altered:
            self.statements.relearn(None)

    @property
    def touched(self) -> bool:
        """True if anything was written since `forget_traces`."""
        return self.produced != self._untouched

    def forget_traces(self) -> None:
        """The session as it is now is the one to come back to."""
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
        """How many bytes were produced and not handed over."""
        return self.produced - self.handed_over

    def output(self) -> bytes:
        """The next bytes that were produced and not handed over: all of them, or a piece of many."""
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
        """The transport took the first `count` bytes of `output()`."""
        self.handed_over += count
        self._piece = self._piece[count:]

    def discard(self) -> None:
        """Nothing more can be sent: drop what was not handed over."""
        self._output = []
        self._piece = b""
        self.produced = self.handed_over

    def awaits(self, operation: Operation) -> bool:
        """True if an answer to the operation is due."""
        return any(segment.operation is operation for segment in self.segments)

    def open(self, operation: Operation, first: int = 0) -> Segment:
        """Begin a segment that carries the operation's items from `first` on."""
        segment = Segment(operation, self.produced)
        segment.first = segment.last = segment.position = first
        segment.in_transaction = self.in_transaction(operation)
        self.segments.append(segment)
        return segment

    def preamble(self, segment: Segment) -> None:
        """Write what goes in front of an extended segment: closed names, BEGIN, SAVEPOINT.

        One round trip serves both: if BEGIN fails, the server skips the rest of the segment.
        """
        for name in self.statements.take_closes():
            self.write(Close("S", name))
        if self.prologue:
            for sql in self._begin(segment):
                self.write(Parse("", sql))
                self.write(Bind("", "", (), (), ()))
                self.write(Execute())
            if segment.prologue:
                segment.in_transaction = True  # or nothing of it is run

    def savepoint_due(self, operation: Operation) -> bool:
        """True if the operation is in a savepoint that the server was not told of."""
        block = operation.transaction
        return block is not None and any(
            each.savepoint and each.depth <= block.depth for each in self.prologue
        )

    def simple_query(self, segment: Segment, sql: str) -> str:
        """Write a simple Query; BEGIN, if it is due, goes into the same string, so that it fails as one.

        Returns:
            The string.
        """
        text = sql
        if self.prologue:
            text = "; ".join([*self._begin(segment), sql])
        segment.commit = self.produced
        self.write(Query(text))
        return text

    def sync(self, segment: Segment) -> None:
        """End the segment."""
        segment.commit = self.produced
        self.write(Sync())

    def _begin(self, segment: Segment) -> list[str]:
        """What opens the blocks that the segment's operation is in, as far as the server was not told.

        What was submitted before a block was entered may be written after that, and does not belong inside.
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
        """The transaction block that is open, or None."""
        blocks = self.blocks.open
        return blocks[0] if blocks else None

    @property
    def may_open(self) -> bool:
        """True if a segment may be opened now.

        Not after a BEGIN that is unanswered: what is sent after it would run without it if it failed.  Nor
        after a statement in a block that is not plain: it may be what ends the block.  And without pipelining
        not while anything at all is unanswered: a pooler may give the server to somebody else at each
        ReadyForQuery, whatever has followed by then.
        """
        segments = self.segments
        if not segments:
            return True
        last = segments[-1]
        if not self.pipelining or last.prologue > 0:
            return False
        return last.plain or last.operation.transaction is None

    def in_block(self, segment: Segment) -> bool:
        """True if the segment, whose ReadyForQuery is being handled, may have run in a transaction block."""
        outside = self.status_before == "I" and self.connection.transaction_status == "I"
        return segment.in_transaction or not (outside and segment.plain)

    def may_repeat(self, segment: Segment) -> bool:
        """True if what was in this segment would run outside of any block, if it were sent once more."""
        if self.transaction is not None or segment.operation.transaction is not None:
            return False
        for each in self.segments:
            if each is not segment and (not each.plain or each.in_transaction or each.operation.exclusive):
                return False
        return True

    def fate(self, segment: Segment | None) -> Outcome:
        """What became of a query of this segment (None: it has none) if no answer comes any more."""
        if segment is None:
            return Outcome.NOT_SENT
        if self.connection.closed is None and segment.commit is not None:
            return Outcome.UNKNOWN  # the session goes on without its caller: what was written will be run
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

        More may be known by now than when it was written: a BEGIN before it has been answered.  One that was
        not may have failed (it was cancelled, say), and what came after it was committed by its own Sync.
        """
        # An E would not do: it may be the first byte of a pooler's FATAL.
        if segment.in_transaction or self.status_before != "T":
            return segment.in_transaction
        segments = list(self.segments)
        return all(each.plain for each in segments[: segments.index(segment)])

    def next_savepoint(self) -> int:
        """A number that no other savepoint of this session has."""
        self._savepoints += 1
        return self._savepoints

    def in_transaction(self, operation: Operation) -> bool:
        """True if what the operation writes next certainly runs in a transaction block.

        Certain is: its transaction has sent its BEGIN (or is about to), or the server said T (or E), and
        nothing that is unanswered could have ended the block.
        """
        status = self.connection.transaction_status
        if operation.transaction is None:
            return status in ("T", "E") and not self.segments
        if self.segments:
            return all(segment.plain for segment in self.segments)
        return bool(self.prologue) or status in ("T", "E")
