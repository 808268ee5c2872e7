"""How a session ends, and what its operations are told then.

The end is a state.  Whatever brings it about, `_settle` runs once: it labels every query, and from then on
the engine only says that it is `finished`.  After the server's last words (FATAL), or after a failed
write, it waits up to GRACE for the peer's EOF first: more words may be under way, and they are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ..errors import (
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    PostgresError,
    QueryTimeout,
    TransactionAborted,
)
from ..protocol import Closed, Connection
from .blocks import INSIDE, Block
from .channel import Channel
from .loss import Loss, out_of_time
from .operation import Operation
from .segment import Segment

__all__ = ["GRACE", "LONGEST_GRACE", "Lifeline"]

# How long a session that is over, or a query that was cancelled, may take to say its last words, in
# seconds.  Long enough for a round trip, short enough for no call to exceed its deadline by a second.
GRACE: Final = 0.8

# And how long an abandoned query may take at the most, as long as its answers keep coming.
LONGEST_GRACE: Final = 3 * GRACE

# A cancel request that overtakes its statement finds the server idle, and is lost.  So it is repeated after
# so many seconds, and then after twice as many, again and again.
_PAUSE: Final = 0.05

_NOT_BEGUN: Final = "BEGIN failed: nothing of the transaction was run"
_NOT_PARSED: Final = (
    "the transaction has not begun: its first script or COPY, with which BEGIN was sent, could not be parsed"
)
_BY_HAND: Final = (
    "a statement in the transaction block has ended the transaction (COMMIT, ROLLBACK, PREPARE TRANSACTION), "
    "which is for the block to do"
)


class Lifeline:
    """The part of an `Engine` that knows what is alive: the session, and the operations in it.

    Attributes:
        clock: tells monotonic time in seconds.
        channel: what the operations write to.
        connection: the protocol's state.
        finished: the session is over and every operation has been told.
        retiring: it still answers, but should not be lent again.
        answered: the server has answered at least one operation.
    """

    __slots__ = (
        "_busy",
        "_cancelling",
        "_earliest",
        "_over_at",
        "_pause",
        "_producing",
        "_queue",
        "_repeat",
        "_starting",
        "_tls_output",
        "_wants_cancel",
        "_write_failed",
        "answered",
        "channel",
        "clock",
        "connection",
        "finished",
        "retiring",
    )

    def __init__(self, clock: Callable[[], float], channel: Channel) -> None:
        self.clock = clock
        self.channel = channel
        self.connection: Connection = channel.connection
        self.finished = False
        self._queue: deque[Operation] = deque()
        self._busy: Operation | None = None  # the last one that nothing could be queued behind
        self._starting: Operation | None = None
        self._over_at: float | None = None
        self._earliest: float | None = None  # no deadline is earlier
        self._write_failed: Exception | None = None
        self._wants_cancel = False
        self._cancelling = False
        self._pause = _PAUSE
        self._repeat: float | None = None  # when the cancel request is repeated, if it is needed still
        self._producing = False  # operations are being asked for what they have to write
        self._tls_output = b""
        self.retiring = False
        self.answered = False

    @property
    def closed(self) -> bool:
        """True once no operation can be submitted any more."""
        return self.connection.closed is not None or self._write_failed is not None

    @property
    def session(self) -> int:
        """A number that no other session of this process has; see `Error.session`."""
        return self.channel.session

    @property
    def cause(self) -> Exception | None:
        """The first cause of the session's end; None if it is alive, or was closed on this side."""
        closed = self.connection.closed
        return closed.error if closed is not None else self._write_failed

    @property
    def transaction_status(self) -> str:
        """What the last ReadyForQuery said: "I" idle, "T" in a transaction, "E" in a failed one."""
        return self.connection.transaction_status

    @property
    def idle(self) -> bool:
        """True if nothing is in flight, queued, unread or unsent."""
        return (
            not self.closed
            and not self._queue
            and not self.channel.segments
            and not self.channel.pending
            and not self._tls_output
            and not self.connection.unread
            and not self._cancelling
            and not self._wants_cancel
        )

    @property
    def reusable(self) -> bool:
        """True if the session may be lent to somebody else: idle, in no transaction, no sign of decay."""
        return (
            self.idle
            and not self.retiring
            and self.transaction_status == "I"
            and not self.channel.blocks.open
        )

    def check_open(self) -> None:
        """Raise ConnectionClosed, with the first cause, if the session is over."""
        if self.closed or self.finished:
            cause = self.cause
            text = "the connection is closed"
            if isinstance(cause, PostgresError):
                text = f"the server ended the session before this call: {cause}"
            elif cause is not None:
                text = f"the session ended before this call: {cause}"
            error = ConnectionClosed(text)
            error.__cause__ = cause
            if self.connection.closed is not None:
                error.also = self.connection.closed.also
            self.channel.sign(error)
            raise error

    def _check_turn(self, operation: Operation) -> None:
        """Raise if the running task cannot queue the operation now."""
        self.check_open()
        busy = self._busy
        if busy is not None:
            if not busy.abandoned and (not busy.finished or busy in self._operations()):
                raise LocalProtocolError("the connection is busy with a COPY, a stream or an executemany")
            self._busy = None
        blocks = self.channel.blocks
        if (blocks.open or INSIDE.get()) and not operation.last_word:
            blocks.check_turn()

    def queued_inside(self, block: Block) -> bool:
        """True if an operation waits for its turn that was submitted in this block, or in one inside it."""
        for operation in self._queue:
            transaction = operation.transaction
            if transaction is not None and transaction.depth >= block.depth:
                return True
        return False

    def _begin_failed(self, segment: Segment) -> None:
        """The transaction has not begun, so what waits to be run in it must not be run."""
        self.channel.begin_failed = True
        error = segment.error
        parsed = error is None or error.position is None  # BEGIN alone has nothing to point at
        self._stop_block(segment, _NOT_BEGUN if parsed else _NOT_PARSED, by_hand=False)

    def _ended_by_hand(self, segment: Segment) -> None:
        """A statement in the block has ended it, and what follows would run without it."""
        self._stop_block(segment, _BY_HAND, by_hand=True)

    def _stop_block(self, segment: Segment, problem: str, *, by_hand: bool) -> None:
        channel = self.channel
        channel.blocks.stop(problem, by_hand=by_hand)
        loss = Loss(TransactionAborted(problem), [])
        for operation in list(self._queue):
            # Who was preparing has been told by its own segment.
            told = segment.preparing and operation is segment.operation
            if operation.transaction is not None and not told and not operation.last_word:
                self._queue.remove(operation)
                if not operation.finished:  # a COPY that has ended itself so
                    operation.lost(channel, None, loss)

    def _operations(self) -> list[Operation]:
        """Every operation that is queued or has answers outstanding, once; some may have ended."""
        found = [] if self._starting is None else [self._starting]
        found += [segment.operation for segment in self.channel.segments]
        found += self._queue
        unique = {id(operation): operation for operation in found}
        return list(unique.values())

    def _too_late(self, operation: Operation) -> bool:
        """True if its deadline has passed before anything was sent; it has ended with that, then."""
        if operation.deadline is None or operation.deadline > self.clock():
            return False
        operation.stopped = loss = out_of_time()
        operation.lost(self.channel, None, loss)
        return True

    @property
    def draining(self) -> bool:
        """True while something is in flight, and nobody waits for any of it."""
        return bool(self.channel.segments) and self._unwanted()

    def _unwanted(self) -> bool:
        return all(operation.unwanted or operation.finished for operation in self._operations())

    def _left_alone(self, operation: Operation) -> bool:
        """True if answers of the operation are outstanding, and none that anybody wants.

        A Parse is no more than a question, but it can wait for a lock, or for a server that hangs.
        """
        return self.channel.awaits(operation) and self._all_unwanted()

    def _all_unwanted(self) -> bool:
        return all(segment.operation.unwanted for segment in self.channel.segments)

    def _ask_for_cancel(self, operation: Operation) -> bool:
        """Ask, once, for a cancel request on behalf of an operation that nobody wants.

        Not while others want what is in flight: a request that comes late hits the next one.

        Returns:
            True if it was asked for now.
        """
        if operation.cancel_asked or self._cancelling or self.connection.backend_key is None:
            return False
        if not self.channel.segments or not self._all_unwanted():
            return False
        operation.cancel_asked = True
        self._wants_cancel = True
        self._pause = _PAUSE
        return True

    def _repeat_later(self) -> None:
        """A cancel request was delivered: see after a while whether the server has heeded it."""
        self._repeat = self.clock() + self._pause
        self._pause *= 2
        self._note_time(self._repeat)

    def _repeat_cancel(self) -> None:
        """It has not, if the statement is unanswered; nobody else must want what is in flight by now."""
        self._repeat = None
        segments = self.channel.segments
        if segments and segments[0].operation.needs_cancel() and self._all_unwanted():
            self._wants_cancel = not self._cancelling

    def _note_deadline(self, operation: Operation) -> None:
        if operation.deadline is not None:
            self._note_time(operation.deadline)

    def _note_time(self, due: float) -> None:
        if self._earliest is None or due < self._earliest:
            self._earliest = due

    def _started(self) -> None:
        """The session is there, and the time that this could take is nobody's deadline any more."""
        self._starting = None
        self._earliest = None
        for operation in self._operations():
            self._note_deadline(operation)

    def _ended(self, closed: Closed) -> None:
        """The session is over.  After the server's own last words, its EOF is awaited: more may follow."""
        if closed.error is not None:
            self.channel.discard()
        if self._over_at is None:
            self._await_the_end()
        if not isinstance(closed.error, PostgresError):
            self._settle()

    def _await_the_end(self) -> None:
        """Give the peer's last words GRACE, and not more than what is left of a stopped operation's."""
        over = self.clock() + GRACE
        for operation in self._operations():
            if operation.unwanted and operation.deadline is not None:
                over = min(over, operation.deadline)
        self._over_at = over

    def _settle(self) -> None:
        """Label everything that has no outcome.  Runs once."""
        closed = self.connection.closed
        if self.finished or closed is None:
            return
        self.finished = True
        cause = closed.error
        failed = self._write_failed
        if failed is not None and (cause is None or cause.__cause__ is not failed):
            closed.also.append(failed)
        loss = Loss(cause, closed.also)
        others = loss
        if isinstance(cause, QueryTimeout):
            # One query ran out of time and took the session with it: to the others it was just lost.
            lost = ConnectionLost(f"the connection was closed: {cause}")
            lost.__cause__ = cause
            others = Loss(lost, closed.also)
        oldest: dict[int, Segment] = {}
        for segment in self.channel.segments:
            oldest.setdefault(id(segment.operation), segment)
        for operation in self._operations():
            if not operation.finished:
                stopped = operation.stopped
                if stopped is not None and isinstance(stopped.cause, ConnectionClosed):
                    why = stopped  # it was not its caller's any more
                else:
                    why = loss if operation.unwanted else others
                operation.lost(self.channel, oldest.get(id(operation)), why)
        self.channel.segments.clear()
        self._queue.clear()
        self._starting = None
        self._wants_cancel = False
        self._cancelling = False
