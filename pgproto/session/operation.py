"""What an operation is, the channel that it writes to, and the segments that it writes.

An *operation* is one conversation with the server: what to send, which events belong to it, how it ends.
Its state lives here and not in the task that waits for it, so that the task can go away at any moment.

A *segment* is what lies between two Syncs (or one simple Query).  The server answers it with exactly one
ReadyForQuery and, outside of a transaction block, commits what is in it only there.  So it is the unit of
honesty: it remembers where in the outgoing stream it starts and where its Sync starts, and together with
the number of bytes that the transport took, that decides what can be said about a query whose answer
never came.  The transport is given no benefit of the doubt: a byte counts once it was handed over.

Contract of an operation: `produce` writes through the channel and says whether it wants to write more;
`handle` gets every event of its segments; `segment_done` says that ReadyForQuery arrived; `lost` that it
never will.  The operation calls `finish` when it has ended, exactly once.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import (
    DataError,
    Error,
    LocalProtocolError,
    Outcome,
    PostgresError,
    RemoteProtocolError,
)
from ..protocol import Connection
from ..wire import Bind, Close, CopyFail, CopyOutResponse, Execute, Message, Parse, Query, Sync, tags
from .advice import annotate
from .blocks import Block, Blocks
from .listening import Listeners
from .loss import Loss, cancelled
from .sql import NO_DATA, unlistened
from .statements import StatementCache

if TYPE_CHECKING:  # ssl is not loaded before TLS is asked for
    from ..protocol.tls import TLS

__all__ = [
    "GONE",
    "HIGH_WATER",
    "MORE",
    "NOT_FAILED",
    "NOT_YET",
    "SENT",
    "TELLING_TAGS",
    "WAITING",
    "Channel",
    "Operation",
    "Segment",
    "refuse_copy",
    "unasked",
    "undecodable",
]

# Tags of statements after which the server has forgotten something: `Channel.told` wants to know of them.
TELLING_TAGS: Final = frozenset(("DEALLOCATE ALL", "DISCARD ALL", "ROLLBACK", "UNLISTEN"))

# What `produce` answers.
MORE: Final = 0  # call again when there is room
WAITING: Final = 1  # nothing to write before an answer (or data of the caller) has arrived
SENT: Final = 2  # all is written: the next operation may write
GONE: Final = 3  # it has ended meanwhile, and is not queued any more

_SESSIONS: Final = itertools.count(1)

NOT_YET: Final = -1
NOT_FAILED: Final = -2

# Output is produced up to here and no further, so that a batch of any size needs bounded memory.
# asyncpg uses four buffers of 32 KiB, libpq one of 16 KiB.
HIGH_WATER: Final = 65536

# A transport is offered pieces of this size at most.  What it does not take is copied, which would make
# sending one large value through a small socket buffer quadratic.
_PIECE: Final = 4 * HIGH_WATER


def unasked(event: Message) -> RemoteProtocolError:
    """The error of an answer that the protocol knows, to a question that no operation here asks.

    PortalSuspended would pass a part of the rows off as the whole (every Execute is without a limit), and
    behind CopyBothResponse (replication) both sides would wait for each other.
    """
    return RemoteProtocolError(
        f"unexpected {tags.backend_name(event.tag)}: it answers nothing that was asked"
    )


def undecodable(raised: Exception) -> DataError:
    """The error of a query whose rows could not be made of what has come."""
    if isinstance(raised, DataError):
        return raised
    error = DataError(f"decoding its rows was ended by {type(raised).__name__}")
    error.__cause__ = raised
    return error


class Operation:
    """Base of all operations.  A plain one writes nothing and ends at once.

    Attributes:
        finished: it has ended; `error` says how.
        error: what the caller gets raised; None if it succeeded.  No `Error` if it came from the caller's own
            code and is no Exception: KeyboardInterrupt, a cancellation.
        abandoned: nobody waits for it any more; its answers are read and dropped.
        exclusive: nothing may be queued behind it (COPY and streams: the caller feeds or drains them).
        deadline: when it times out, in seconds of the engine's clock; None for never.
        again: it asks the engine for another turn, from the beginning; see `Execution`.
        begun: something of it was written that the server executes; it cannot be taken back.
        cancel_asked: a cancel request was asked for on its behalf, or is not needed.
        work: a computation that takes long enough to be run outside of an event loop, in a thread; after
            it the adapter calls `Engine.resume`.
        progressed: there is something new for the waiter to look at.
        stopped: why it is being cancelled, for a caller who waits: its deadline has passed, or the lease is
            over; None if it is not, or nobody asks.
        transaction: the innermost transaction block that was open when it was submitted, or None.
        last_word: it is what ends that block: COMMIT, ROLLBACK, ...
        waiter: what the adapter keeps with it, to wake whoever waits.
    """

    __slots__ = (
        "abandoned",
        "again",
        "begun",
        "cancel_asked",
        "deadline",
        "error",
        "exclusive",
        "finished",
        "last_word",
        "progressed",
        "stopped",
        "transaction",
        "waiter",
        "work",
    )

    def __init__(self) -> None:
        self.finished = False
        self.error: BaseException | None = None
        self.abandoned = False
        self.again = False
        self.begun = False
        self.cancel_asked = False
        self.progressed = False
        self.exclusive = False
        self.stopped: Loss | None = None
        self.deadline: float | None = None
        self.transaction: Block | None = None
        self.last_word = False
        self.waiter: object = None
        self.work: Callable[[], None] | None = None

    def turned_away(self, error: BaseException) -> None:
        """It was not queued: the connection is closed or somebody else's, or the caller went away."""
        if isinstance(error, Error):
            error.outcome = Outcome.NOT_SENT

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """It ends with this error; nothing of it was sent that counts, and nothing will be."""
        self.fail(channel, error)

    def prepare(self, channel: Channel) -> None:
        """Called once when the operation is queued behind others: write what may go ahead of its turn."""

    def produce(self, channel: Channel) -> int:
        """Write some output: MORE, WAITING or SENT."""
        self.finish(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """An event of one of its segments arrived (all but its ReadyForQuery)."""

    def handle_start(self, channel: Channel, event: Message) -> None:
        """An event of the start of the session arrived; only what `Engine.start` got is asked."""

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery of the segment arrived."""

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The connection is over.  `segment` is the operation's oldest unanswered one, if there is one."""
        self.fail(channel, loss.error(channel.fate(segment)))

    def lost_query(self, channel: Channel, segment: Segment | None, loss: Loss, *, executed: bool) -> None:
        """`lost` for a simple Query: the server's own error decides, if it named one before it went.

        A simple Query commits before it says CommandComplete: behind that (`executed`), an error decides
        nothing, and neither does a pooler's, which has no `V` field, or one that crossed what was not sent.
        A FATAL may come while the data of a COPY is not all sent: then it was not committed.
        """
        fate = channel.fate(segment)
        error = segment.error if segment is not None and segment.plain else None
        if error is None or executed or fate is Outcome.NOT_SENT or "V" not in error.fields:
            self.fail(channel, loss.error(fate, executed=executed))
        elif error.fatal:
            self.fail(channel, loss.error(fate if fate is Outcome.NOT_COMMITTED else Outcome.FAILED))
        else:
            error.outcome = Outcome.FAILED
            self.fail(channel, error)

    def half_written(self) -> bool:
        """True while it can neither go on nor stop without closing the connection."""
        return False

    def needs_cancel(self) -> bool:
        """False where it can be brought to an end without a cancel request."""
        return True

    def skip_rest(self, channel: Channel) -> None:
        """Nobody wants the rest: write no more than what brings it to an end."""

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """True if a statement of this segment, which is not plain and in a block, has ended a transaction.

        In doubt it has.  What sends such statements asks `sql.ends_transaction`, with their tags.
        """
        return True

    def has_room(self) -> bool:
        """False while its consumer has to catch up, so that nothing more should be read."""
        return True

    @property
    def unwanted(self) -> bool:
        """True if its caller is gone or will not wait longer."""
        return self.abandoned or self.stopped is not None

    def progress(self, channel: Channel) -> None:
        """There is something new for the waiter to look at."""
        if not self.progressed:
            self.progressed = True
            channel.ready.append(self)

    def take_progress(self) -> bool:
        """True if there was progress since the last call."""
        progressed = self.progressed
        self.progressed = False
        return progressed

    def take_work(self) -> Callable[[], None] | None:
        """The computation to run now, if there is one."""
        work = self.work
        self.work = None
        return work

    def give_up(self, channel: Channel) -> None:
        """Its time is over, and the session goes on for others: end now, drop the answers."""
        own = [segment for segment in channel.segments if segment.operation is self]
        self.abandoned = True
        self.error = None
        self.lost(channel, own[0] if own else None, self.why())

    def fail(self, channel: Channel, error: BaseException) -> None:
        """End with an error, unless an earlier one is there already."""
        if self.error is None:
            self.error = error
        self.finish(channel)

    def finish(self, channel: Channel) -> None:
        """It has ended."""
        if self.finished:
            return
        self.finished = True
        error = self.error
        if error is not None:
            if isinstance(error, PostgresError):
                self.error = error = self.unless_stopped(error)
            channel.sign(error)
            self.explain()
        channel.ready.append(self)

    def explain(self) -> None:
        """Say on its errors which statement they are about."""
        annotate(self.error, self.text())

    def text(self) -> str:
        """The statement that it runs, as it was sent; "" if there is none."""
        return ""

    def why(self) -> Loss:
        """Why it is being stopped, as far as it is known."""
        return cancelled() if self.stopped is None else self.stopped

    def cut_short(self) -> Error:
        """The error of what was not read to its end; the server will say what became of it."""
        error = self.why().error(None)
        error.add_note("not all of its rows are here")
        return error

    def unless_stopped(self, error: Exception) -> Exception:
        """The error as it is; why it was stopped, if it is the answer to our own cancel request."""
        if not self.was_cancelled(error):
            return error
        assert isinstance(error, PostgresError)
        told = self.why().error(error.outcome)
        told.__cause__ = error
        return told

    def was_cancelled(self, error: Exception) -> bool:
        """True if the server's error says nothing but that we have stopped it."""
        return self.stopped is not None and isinstance(error, PostgresError) and error.sqlstate == "57014"


class Segment:
    """One stretch of requests that ends in one ReadyForQuery, on behalf of one operation.

    Attributes:
        operation: whose it is.
        start: stream position of its first byte.
        sync: stream position of what makes the server commit it (Sync, Query, CopyDone), or NOT_YET.
        plain: nothing in it ends a transaction or commits on its own.
        in_transaction: it runs inside of a transaction block, which it cannot end if it is plain.
        preparing: it only prepares statements.
        first, last: the operation's items that it carries, as a half-open range of their indexes.
        position: the item that is being answered.
        prologue: how many statements in front of the items (BEGIN, SAVEPOINT) are unanswered.
        stale: the error is about a prepared statement, not what it does: see `stale`.
        error: the server's error in it, and failed_at: the item that it concerned (`first - 1` for the
            prologue, `last` for the Sync).
    """

    __slots__ = (
        "error",
        "failed_at",
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
        "sync",
    )

    def __init__(self, operation: Operation, start: int) -> None:
        self.operation = operation
        self.start = start
        self.sync = NOT_YET
        self.plain = True
        self.in_transaction = False
        self.preparing = False
        self.first = 0
        self.last = 0
        self.position = 0
        self.prologue = 0
        self.error: PostgresError | None = None
        self.failed_at = NOT_FAILED
        self.stale = False

    def fail(self, error: PostgresError) -> None:
        """The server reported an error at the current position.  The first one counts."""
        if self.error is None:
            self.error = error
            self.failed_at = self.first - 1 if self.prologue else self.position

    def decided(self, fate: Outcome) -> bool:
        """True if the server's own last words name the statement that it was at, whatever `fate` says.

        All before it is undone with it.  At the Sync a FATAL decides nothing: the commit may have been done.
        Nor do a pooler's words, ever, or those that crossed what was not handed over.
        """
        error = self.error
        if error is None or fate is Outcome.NOT_SENT or "V" not in error.fields:
            return False
        return not error.fatal or self.failed_at < self.last

    def lost(self, handed_over: int, *, in_block: bool) -> Outcome:
        """What became of a query of this segment whose answer will never come, seen by itself."""
        if self.start >= handed_over:
            return Outcome.NOT_SENT
        if self.plain:
            if self.sync == NOT_YET or self.sync >= handed_over:
                return Outcome.NOT_COMMITTED
            if in_block:
                # Its COMMIT was never handed over, and the transaction died with the session.
                return Outcome.ROLLED_BACK
        return Outcome.UNKNOWN


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

    def __init__(self, connection: Connection, statements: StatementCache) -> None:
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
        self._untouched = 0  # the stream's position when the traces were forgotten
        self.begin_failed = False
        self.pipelining = True
        self.tls: TLS | None = None
        self.produced = 0
        self.handed_over = 0
        self._output: list[bytes] = []
        self._piece = b""  # what the transport is being offered; `_output` comes behind it
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

    def told(self, tag: str, sql: str) -> None:
        """A statement has completed after which the server knows less: see TELLING_TAGS."""
        if tag == "ROLLBACK":
            self.listeners.transaction_ended(committed=False)
            return
        if tag != "UNLISTEN":
            self.statements.clear()
        if tag != "DEALLOCATE ALL":
            self.listeners.unlistened(unlistened(sql) if tag == "UNLISTEN" else ["*"], tag)

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
                self._output = []
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
        segment.sync = self.produced
        self.write(Query(text))
        return text

    def sync(self, segment: Segment) -> None:
        """End the segment."""
        segment.sync = self.produced
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
        if self.connection.closed is None and segment.sync != NOT_YET:
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
        """True if the segment, which is in flight, certainly runs inside of a transaction block.

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
        """True if what the operation writes next certainly runs inside of a transaction block.

        Certain is: its transaction has sent its BEGIN (or is about to), or the server said T (or E), and
        nothing that is unanswered could have ended the block.
        """
        status = self.connection.transaction_status
        if operation.transaction is None:
            return status in ("T", "E") and not self.segments
        if self.segments:
            return all(segment.plain for segment in self.segments)
        return bool(self.prologue) or status in ("T", "E")


def refuse_copy(channel: Channel, segment: Segment, event: Message) -> LocalProtocolError | None:
    """Somebody ran COPY as a query: there is no data, or the data are dropped.

    Returns:
        The error of the latter, without an outcome; of COPY FROM STDIN the server makes one itself.
    """
    if isinstance(event, CopyOutResponse):
        return LocalProtocolError("the data of COPY TO STDOUT were dropped: use copy_out")
    channel.write(CopyFail(NO_DATA))
    if segment.sync != NOT_YET:
        channel.sync(segment)  # the server ignores the one that lies before CopyFail
    return None
