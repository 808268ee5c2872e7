"""Whose turn it is: the operations of one session, and who may queue another one.

Operations are answered in the order in which they were submitted.  First comes the operation that starts the
session, then those with segments in flight (`Channel.segments`), then those that wait for their turn to
write.  An operation that is not completely written can be both in flight and in the queue.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..errors import LocalProtocolError, TransactionAborted
from .blocks import INSIDE, Block
from .channel import Channel
from .loss import Loss
from .operation import Operation
from .script import Script
from .segment import Segment

__all__ = ["Turns"]

_NOT_BEGUN: Final = "BEGIN failed: nothing of the transaction was run"
_NOT_PARSED: Final = (
    "the transaction has not begun: its first script or COPY, with which BEGIN was sent, could not be parsed"
)
_BUSY: Final = (
    "the connection is busy with a COPY, a stream or an executemany; a stream ends when its last row was read"
    " (in a transaction, streams and cursors leave the connection free)"
)
_BY_HAND: Final = (
    "a statement in the transaction block has ended the transaction (COMMIT, ROLLBACK, PREPARE TRANSACTION), "
    "which is for the block to do"
)


class Turns:
    """The operations of one session.

    Args:
        channel: the channel that they write to.

    Attributes:
        starting: the operation that starts the session; None before it and once it has ended.
        queue: the operations that wait for their turn or are writing.
    """

    __slots__ = ("_busy", "channel", "queue", "starting")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.starting: Operation | None = None
        self.queue: deque[Operation] = deque()
        self._busy: Operation | None = None  # the last exclusive operation

    def all(self) -> list[Operation]:
        """Every operation that is queued or in flight, without duplicates; some may have ended."""
        found = [] if self.starting is None else [self.starting]
        found += [segment.operation for segment in self.channel.segments]
        found += self.queue
        unique = {id(operation): operation for operation in found}
        return list(unique.values())

    @property
    def exclusive(self) -> Operation | None:
        """The COPY or stream that has the session to itself until it ends, if there is one."""
        busy = self._busy
        return None if busy is None or busy.finished else busy

    def has_room(self) -> bool:
        """False while the consumer of a COPY or stream has to catch up: then nothing should be read."""
        busy = self._busy
        return busy is None or busy.finished or busy.has_room()

    def enter(self, operation: Operation) -> None:
        """Admit an operation that is about to be queued, and note its transaction block.

        Raises:
            LocalProtocolError: the running task cannot queue it now.
        """
        busy = self._busy
        if busy is not None:
            # One that has ended may be in the queue, after data that the transport has not taken.
            if not busy.abandoned and (not busy.finished or busy.kept or self.channel.awaits(busy)):
                raise LocalProtocolError(_BUSY)
            self._busy = None
        blocks = self.channel.blocks
        if (blocks.open or INSIDE.get()) and not operation.last_word:
            blocks.check_turn()
            if blocks.open:
                operation.transaction = blocks.open[-1]
        if operation.exclusive:
            self._busy = operation

    def all_answered(self) -> None:
        """Nothing is in flight: drop the reference to an exclusive operation that has ended."""
        busy = self._busy
        if busy is not None and busy.finished and not busy.kept and busy not in self.queue:
            self._busy = None

    def end_lease(self) -> None:
        """The session goes to its pool: an iterator of the last borrower's has no say any more."""
        busy = self._busy
        if busy is not None:
            busy.kept = False

    def again(self, operation: Operation) -> None:
        """Queue an operation again, before all operations that have not begun."""
        operation.again = False
        queue = self.queue
        queue.insert(1 if queue and queue[0].begun else 0, operation)

    def unlisten(self) -> None:
        """Queue an UNLISTEN for the channels that have lost their last listener, if there are any."""
        sql = self.channel.listeners.take_leftover()
        if sql:
            script = Script(sql)
            script.abandoned = True  # it has no caller
            self.again(script)

    def leave(self, operation: Operation) -> None:
        """Remove an operation from the queue, if it is there."""
        if operation in self.queue:  # an interrupt may have come before it was queued
            self.queue.remove(operation)

    def clear(self) -> None:
        """The session is over, and all operations have ended."""
        for segment in self.channel.segments:
            segment.operation.unanswered = 0
        self.channel.segments.clear()
        self.queue.clear()
        self.starting = self._busy = None

    @property
    def quiet(self) -> bool:
        """True if nothing is queued or in flight, and no transaction block is open."""
        channel = self.channel
        return channel.connection.transaction_status == "I" and not self.queue and not channel.segments

    # ---- Who is wanted

    def unwanted(self) -> bool:
        """True if nobody waits for any operation."""
        return all(operation.unwanted or operation.finished for operation in self.all())

    def flight_unwanted(self) -> bool:
        """True if nobody wants any outstanding answer."""
        return all(segment.operation.unwanted for segment in self.channel.segments)

    def left_alone(self, operation: Operation) -> bool:
        """True if answers of the operation are outstanding, and no wanted ones.

        A Parse executes nothing, but it can wait for a lock, or for a server that hangs.
        """
        return self.channel.awaits(operation) and self.flight_unwanted()

    # ---- Transaction blocks

    def queued_inside(self, block: Block) -> bool:
        """True if an operation in the queue was submitted in this block, or in one inside it."""
        for operation in self.queue:
            transaction = operation.transaction
            if transaction is not None and transaction.depth >= block.depth:
                return True
        return False

    def see_to_block(self, segment: Segment) -> None:
        """A segment in a transaction block was answered: check that the block is still open."""
        idle = self.channel.connection.transaction_status == "I"
        if segment.operation.last_word:
            return
        if idle and segment.prologue:
            self._begin_failed(segment)
        elif idle or (not segment.plain and segment.operation.ends_block(self.channel, segment)):
            self._ended_by_hand(segment)

    def _begin_failed(self, segment: Segment) -> None:
        """BEGIN failed, so the operations that wait for their turn in the block must not be run."""
        self.channel.begin_failed = True
        error = segment.error
        parsed = error is None or error.position is None  # an error of BEGIN itself has no position
        self._stop_block(segment, _NOT_BEGUN if parsed else _NOT_PARSED, by_hand=False)

    def _ended_by_hand(self, segment: Segment) -> None:
        """A statement in the block has ended it, so later ones would run outside of it."""
        self._stop_block(segment, _BY_HAND, by_hand=True)

    def _stop_block(self, segment: Segment, problem: str, *, by_hand: bool) -> None:
        channel = self.channel
        channel.blocks.stop(problem, by_hand=by_hand)
        loss = Loss(TransactionAborted(problem), [])
        for operation in list(self.queue):
            # The operation of a preparing segment has already got the error of that segment.
            told = segment.preparing and operation is segment.operation
            if operation.transaction is not None and not told and not operation.last_word:
                self.queue.remove(operation)
                if not operation.finished:  # a COPY in the queue may have ended already
                    operation.lost(channel, None, loss)
