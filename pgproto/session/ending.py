"""How a session ends, and what its operations are told then.

The end is a state.  Whatever brings it about, `settle` runs once: it labels every query, and from then on
the engine only says that it is `finished`.

    ALIVE        nothing has ended it yet
    LAST_WORDS   the server has said its last words (FATAL), or a write has failed.  The peer's EOF is awaited
                 first, up to GRACE: more words may be under way, and they are kept
    FINISHED     every operation has been told
"""

from __future__ import annotations

from typing import Final

from ..errors import ConnectionClosed, ConnectionLost, PostgresError, QueryTimeout
from ..protocol import Closed
from .loss import Loss
from .segment import Segment
from .turns import Turns

__all__ = ["ALIVE", "FINISHED", "GRACE", "LAST_WORDS", "Ending"]

# How long a session that is over, or a query that was cancelled, may take to say its last words, in
# seconds.  Long enough for a round trip, short enough for no call to exceed its deadline by a second.
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
        until: how long last words are awaited, in seconds of the engine's clock; of no meaning before that.
        write_failed: why nothing can be sent any more; None while it can.
    """

    __slots__ = ("_turns", "stage", "until", "write_failed")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.stage = ALIVE
        self.until = 0.0
        self.write_failed: Exception | None = None

    def begin(self, now: float) -> None:
        """Give the peer's last words GRACE, and not more than what is left of a stopped operation's."""
        if self.stage == FINISHED:
            return
        self.stage = LAST_WORDS
        self.until = now + GRACE
        for operation in self._turns.all():
            if operation.unwanted and operation.deadline is not None:
                self.until = min(self.until, operation.deadline)

    def settle(self, closed: Closed) -> None:
        """Label everything that has no outcome.  Runs once."""
        self.stage = FINISHED
        cause = closed.error
        failed = self.write_failed
        if failed is not None and (cause is None or cause.__cause__ is not failed):
            closed.also.append(failed)
        loss = Loss(cause, closed.also)
        others = loss
        if isinstance(cause, QueryTimeout):
            # One query ran out of time and took the session with it: to the others it was just lost.
            lost = ConnectionLost(f"the connection was closed: {cause}")
            lost.__cause__ = cause
            others = Loss(lost, closed.also)
        turns = self._turns
        oldest: dict[int, Segment] = {}
        for segment in turns.channel.segments:
            oldest.setdefault(id(segment.operation), segment)
        for operation in turns.all():
            if not operation.finished:
                stopped = operation.stopped
                if stopped is not None and isinstance(stopped.cause, ConnectionClosed):
                    why = stopped  # it was not its caller's any more
                else:
                    why = loss if operation.unwanted else others
                operation.lost(turns.channel, oldest.get(id(operation)), why)
        turns.clear()

    def cause(self, closed: Closed | None) -> Exception | None:
        """The first cause; None if there is none, or this side has closed the session."""
        return closed.error if closed is not None else self.write_failed

    def refusal(self, closed: Closed | None) -> ConnectionClosed:
        """The error of a call that comes after the end."""
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
