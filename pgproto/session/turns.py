"""Whose turn it is: the operations of one session, and who may queue another one.

Operations are answered in the order in which they were submitted.  First comes the one that starts the
session, then those whose segments are in flight (`Channel.segments`), then those that wait for their turn to
write.  One can be both, in flight and in the queue, while not all of it is written.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..errors import LocalProtocolError, TransactionAborted
from .blocks import INSIDE, Block
from .channel import Channel
from .loss import Loss
from .operation import Operation
from .segment import Segment

__all__ = ["Turns"]

_NOT_BEGUN: Final = "BEGIN failed: nothing of the transaction was run"
_NOT_PARSED: Final = (
    "the transaction has not begun: its first script or COPY, with which BEGIN was sent, could not be parsed"
)
_BY_HAND: Final = (
    "a statement in the transaction block has ended the transaction (COMMIT, ROLLBACK, PREPARE TRANSACTION), "
    "which is for the block to do"
)


class Turns:
    """The operations of one session.

    Args:
        channel: what they write to.

    Attributes:
        starting: what starts the session; None before that, and once it has.
        queue: those that wait for their turn, or are writing.
    """

    __slots__ = ("_busy", "channel", "queue", "starting")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.starting: Operation | None = None
        self.queue: deque[Operation] = deque()
        self._busy: Operation | None = None  # the last one after which nothing could be queued

    def all(self) -> list[Operation]:
        """Every operation that is queued or has answers outstanding, once; some may have ended."""
        found = [] if self.starting is None else [self.starting]
        found += [segment.operation for segment in self.channel.segments]
        found += self.queue
        unique = {id(operation): operation for operation in found}
        return list(unique.values())

    @property
    def exclusive(self) -> Operation | None:
        """The COPY or the stream that has the session for itself until it ends, if there is one."""
        busy = self._busy
        return None if busy is None or busy.finished else busy

    def has_room(self) -> bool:
        """False while the consumer of a COPY or a stream has to catch up: nothing more should be read."""
        busy = self._busy
        return busy is None or busy.finished or busy.has_room()

    def enter(self, operation: Operation) -> None:
        """It is about to be queued, in the block that is open; an exclusive one has the session for itself.

        Raises:
            LocalProtocolError: the running task cannot queue it now.
        """
        busy = self._busy
        if busy is not None:
            if not busy.abandoned and (not busy.finished or busy in self.all()):
                raise LocalProtocolError("the connection is busy with a COPY, a stream or an executemany")
            self._busy = None
        blocks = self.channel.blocks
        if (blocks.open or INSIDE.get()) and not operation.last_word:
            blocks.check_turn()
            if blocks.open:
                operation.transaction = blocks.open[-1]
        if operation.exclusive:
            self._busy = operation

    def all_answered(self) -> None:
        """Nothing is in flight: an exclusive one that has ended is let go of, and its error with it."""
        busy = self._busy
        if busy is not None and busy.finished and busy not in self.queue:
            self._busy = None

    def again(self, operation: Operation) -> None:
        """It goes before all that has not begun."""
        operation.again = False
        queue = self.queue
        queue.insert(1 if queue and queue[0].begun else 0, operation)

    def leave(self, operation: Operation) -> None:
        """It does not wait for its turn any more, if it did."""
        if operation in self.queue:  # an interrupt may have come before it was
            self.queue.remove(operation)

    def clear(self) -> None:
        """The session is over, and all of them have been told."""
        self.channel.segments.clear()
        self.queue.clear()
        self.starting = self._busy = None

    @property
    def quiet(self) -> bool:
        """True if nothing is queued or in flight, and no transaction is open."""
        channel = self.channel
        return channel.connection.transaction_status == "I" and not self.queue and not channel.segments

    # ---- Who is wanted

    def unwanted(self) -> bool:
        """True if nobody waits for any of them."""
        return all(operation.unwanted or operation.finished for operation in self.all())

    def flight_unwanted(self) -> bool:
        """True if nobody wants any of the answers that are outstanding."""
        return all(segment.operation.unwanted for segment in self.channel.segments)

    def left_alone(self, operation: Operation) -> bool:
        """True if answers of the operation are outstanding, and none that anybody wants.

        A Parse is no more than a question, but it can wait for a lock, or for a server that hangs.
        """
        return self.channel.awaits(operation) and self.flight_unwanted()

    # ---- Transaction blocks

    def queued_inside(self, block: Block) -> bool:
        """True if an operation waits for its turn that was submitted in this block, or in one inside it."""
        for operation in self.queue:
            transaction = operation.transaction
            if transaction is not None and transaction.depth >= block.depth:
                return True
        return False

    def see_to_block(self, segment: Segment) -> None:
        """A segment in a transaction block was answered: is there a block still?"""
        idle = self.channel.connection.transaction_status == "I"
        if segment.operation.last_word:
            return
        if idle and segment.prologue:
            self._begin_failed(segment)
        elif idle or (not segment.plain and segment.operation.ends_block(self.channel, segment)):
            self._ended_by_hand(segment)

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
        for operation in list(self.queue):
            # Who was preparing has been told by its own segment.
            told = segment.preparing and operation is segment.operation
            if operation.transaction is not None and not told and not operation.last_word:
                self.queue.remove(operation)
                if not operation.finished:  # a COPY that has ended itself so
                    operation.lost(channel, None, loss)
