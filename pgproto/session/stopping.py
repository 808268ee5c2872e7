"""How an operation ends that its caller no longer wants.

Requests that were not written are dropped.  Requests that were written are cancelled, and their answers are
read and dropped, within GRACE.  Where neither is possible, the session ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..errors import QueryTimeout
from .alarm import Alarm
from .cancelling import Cancelling
from .ending import GRACE
from .loss import lease_over, out_of_time
from .operation import Operation
from .turns import Turns

__all__ = ["LONGEST_GRACE", "Stopping"]

# The longest time for an abandoned query to end while its answers keep arriving, in seconds.
LONGEST_GRACE: Final = 3 * GRACE


class Stopping:
    """Stops operations.

    Args:
        clock: returns monotonic time in seconds.
        turns: the session's operations.
        alarm: when to look at them again.
        cancelling: sends cancel requests.

    Attributes:
        received: how many times bytes came from the server.
    """

    __slots__ = ("_alarm", "_cancelling", "_clock", "_heard", "_patience", "_turns", "received")

    def __init__(
        self, clock: Callable[[], float], turns: Turns, alarm: Alarm, cancelling: Cancelling
    ) -> None:
        self._clock = clock
        self._turns = turns
        self._alarm = alarm
        self._cancelling = cancelling
        self.received = 0
        self._heard = 0  # `received` when the session last got GRACE
        self._patience = 0.0  # the time after which it gets no more GRACE

    def due(self, now: float) -> list[Operation]:
        """The operations whose deadlines have passed, if the alarm has gone off."""
        alarm = self._alarm
        if alarm.at is None or now < alarm.at:
            return []
        alarm.clear()
        self._cancelling.tick(now)
        found: list[Operation] = []
        for operation in self._turns.all():
            deadline = operation.deadline
            if deadline is None:
                continue
            if now < deadline:
                alarm.set(deadline)
            else:
                found.append(operation)
        return found

    def overdue(self, operation: Operation, now: float) -> bool:
        """The deadline of an operation has passed.

        Returns:
            True if the connection had to be closed.
        """
        if operation.unwanted or operation.finished:
            return self._out_of_grace(operation, now)
        operation.stopped = out_of_time()
        if operation is self._turns.starting:
            self._turns.channel.connection.close(
                QueryTimeout("the server did not complete the start-up in time")
            )
            return True
        return self.stop(operation)

    def lease_over(self) -> Iterator[Operation]:
        """The session goes back to its pool: the operations to stop, whose callers get an error.

        Newest first, so that the running statement asks for the cancel request; the others ask in turn.
        """
        why = lease_over()
        busy = self._turns.exclusive
        for operation in reversed(self._turns.all()):
            if operation.finished:
                continue
            wanted = not operation.unwanted
            if operation is busy:
                operation.abandoned = True
            if wanted:
                operation.stopped = why
                yield operation

    def stop(self, operation: Operation) -> bool:
        """Stop an operation that is no longer wanted.

        Returns:
            True if the connection had to be closed.
        """
        turns = self._turns
        channel = turns.channel
        operation.cancel_asked = not operation.needs_cancel()
        if not operation.begun:
            turns.leave(operation)
            if turns.left_alone(operation):
                operation.skip_rest(channel)  # it ends when its Parse is answered
            else:
                operation.lost(channel, None, operation.why())
        elif operation.half_written():
            channel.connection.close(QueryTimeout("the query was stopped before all of it was sent"))
            return True
        else:
            operation.skip_rest(channel)
        now = self._clock()
        self._wait_for(operation, now + GRACE)
        self._heard = self.received
        self._patience = now + LONGEST_GRACE
        self._cancelling.ask(operation)
        return False

    def _out_of_grace(self, operation: Operation, now: float) -> bool:
        """A stopped operation, or its remaining answers, did not end in time."""
        turns = self._turns
        if operation.finished and self._cancelling.ask(operation):
            # When its caller gave up, wanted operations were in flight.  Now only unwanted ones are left.
            self._wait_for(operation, now + GRACE)
            return False
        if turns.unwanted():
            if operation.abandoned and self.received != self._heard and now < self._patience:
                # Nobody waits for it, and answers that were already on their way are still arriving.
                self._heard = self.received
                self._wait_for(operation, min(now + GRACE, self._patience))
                return False
            turns.channel.connection.close(
                QueryTimeout("the deadline passed, and the query could not be cancelled")
            )
            return True
        # Other callers wait for later answers, so the session goes on, and only this operation ends.
        if not operation.finished:
            operation.give_up(turns.channel)
        self._wait_for(operation, now + GRACE)
        return False

    def _wait_for(self, operation: Operation, until: float) -> None:
        operation.deadline = until
        self._alarm.set(until)
