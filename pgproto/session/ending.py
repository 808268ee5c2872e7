"""How a session ends, and how its operations end with it.

Whatever the reason, `settle` runs once and gives every query its outcome.

    ALIVE        nothing has ended the session yet
    LAST_WORDS   the server has sent a FATAL, or a write has failed.  The engine waits for EOF, up to GRACE,
                 because further errors may be on their way; they are kept
    FINISHED     every operation has ended
"""

from __future__ import annotations

from typing import Final

from ..errors import ConnectionClosed, ConnectionLost, PostgresError, QueryTimeout
from ..protocol import Closed
from .loss import Loss
from .segment import Segment
from .turns import Turns

__all__ = ["ALIVE", "FINISHED", "GRACE", "LAST_WORDS", "Ending"]

# How long to wait for the last messages of a session that is over, or of a cancelled query, in seconds.
# Long enough for a round trip, short enough that no call exceeds its deadline by a second.
GRACE: Final = 0.8

ALIVE: Final = 0
LAST_WORDS: Final = 1
FINISHED: Final = 2


class Ending:
    """The end of one session.

    Args:
        turns: the session's operations.

    Attributes:
        stage: ALIVE, LAST_WORDS or FINISHED.
        until: when LAST_WORDS ends, in seconds of the engine's clock; not valid before it.
        write_failed: the error of the first failed write; None if there was none.
    """

    __slots__ = ("_turns", "stage", "until", "write_failed")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.stage = ALIVE
        self.until = 0.0
        self.write_failed: Exception | None = None

    def begin(self, now: float) -> None:
        """Wait for last words for GRACE, or for what is left of a stopped operation's GRACE."""
        if self.stage == FINISHED:
            return
        self.stage = LAST_WORDS
        self.until = now + GRACE
        for operation in self._turns.all():
            if operation.unwanted and operation.deadline is not None:
                self.until = min(self.until, operation.deadline)

    def settle(self, closed: Closed) -> None:
        """End every operation that has not ended.  Runs once."""
        self.stage = FINISHED  # first, so that nothing below can make it run again
        cause = closed.error
        failed = self.write_failed
        if failed is not None and (cause is None or cause.__cause__ is not failed):
            closed.also.append(failed)
        loss = Loss(cause, closed.also)
        others = loss
        if isinstance(cause, QueryTimeout):
            # The deadline of one query has ended the session: for the others the connection was lost.
            lost = ConnectionLost(f"the connection was closed: {cause}")
            lost.__cause__ = cause
            others = Loss(lost, closed.also)
        turns = self._turns
        # `lost` gets the oldest unanswered segment: the one that has got furthest.
        oldest: dict[int, Segment] = {}
        for segment in turns.channel.segments:
            oldest.setdefault(id(segment.operation), segment)
        for operation in turns.all():
            if not operation.finished:
                stopped = operation.stopped
                if stopped is not None and isinstance(stopped.cause, ConnectionClosed):
                    why = stopped  # the lease had ended before
                else:
                    why = loss if operation.unwanted else others
                operation.lost(turns.channel, oldest.get(id(operation)), why)
        turns.clear()

    def cause(self, closed: Closed | None) -> Exception | None:
        """The first cause; None if there is none or this side has closed the session."""
        return closed.error if closed is not None else self.write_failed

    def refusal(self, closed: Closed | None) -> ConnectionClosed:
        """The error of a call after the end."""
        cause = self.cause(closed)
        text = "the connection is closed"
        if isinstance(cause, PostgresError):
            text = f"the server ended the session before this call: {cause}"
        elif cause is not None:
            text = f"the session ended before this call: {cause}"
        error = ConnectionClosed(text)
        error.__cause__ = cause
        if closed is not None:
            error.also = closed.also
        return error
