"""The wish to cancel the statement that the server is running.

    NO_WISH     --ask-->   WANTED      all operations in flight are unwanted
    WANTED      --take-->  UNDER_WAY   the adapter sends the request, over a connection of its own
    NO_WISH     --take_running-->  UNDER_WAY   the same, for a statement whose caller still waits for it
    UNDER_WAY   --done-->  NO_WISH     it was delivered, or could not be

While there is a wish nothing new is sent, so that a late request cannot hit a wanted query.  A request that
arrives before its statement finds the server idle and is lost, so it is repeated, after pauses that double.
"""

from __future__ import annotations

from typing import Final

from ..wire import BackendKeyData
from .alarm import Alarm
from .operation import Operation
from .turns import Turns

__all__ = ["NO_WISH", "UNDER_WAY", "WANTED", "Cancelling"]

NO_WISH: Final = 0
WANTED: Final = 1
UNDER_WAY: Final = 2

# Seconds from the first request to the second, if it is still needed.
_PAUSE: Final = 0.05


class Cancelling:
    """Whether a cancel request should be sent, or is being sent.

    Args:
        turns: the session's operations.
        alarm: when to look at them again.

    Attributes:
        state: NO_WISH, WANTED or UNDER_WAY.
    """

    __slots__ = ("_alarm", "_pause", "_repeat_at", "_turns", "state")

    def __init__(self, turns: Turns, alarm: Alarm) -> None:
        self._turns = turns
        self._alarm = alarm
        self.state = NO_WISH
        self._pause = _PAUSE
        self._repeat_at: float | None = None

    def ask(self, operation: Operation) -> bool:
        """Ask, once, for a cancel request on behalf of an unwanted operation.

        Not while a wanted operation is in flight: a late request could hit that one.

        Returns:
            True if the wish is new.
        """
        turns = self._turns
        channel = turns.channel
        if operation.cancel_asked or self.state == UNDER_WAY or channel.connection.backend_key is None:
            return False
        if not channel.segments or not turns.flight_unwanted():
            return False
        operation.cancel_asked = True
        self.state = WANTED
        self._pause = _PAUSE
        return True

    def ask_for_next(self) -> None:
        """The next operation in flight may be unwanted as well: ask for it."""
        segments = self._turns.channel.segments
        if segments and segments[0].operation.unwanted and not segments[0].operation.finished:
            self.ask(segments[0].operation)

    def take(self) -> BackendKeyData | None:
        """The key for a request to send now; None if there is no wish.  Then call `done`."""
        if self.state != WANTED:
            return None
        key = self._turns.channel.connection.backend_key
        self.state = NO_WISH if key is None else UNDER_WAY
        return key

    def take_running(self) -> BackendKeyData | None:
        """The key for a request to cancel what runs, whoever wants it; None if nothing does.

        Also None if there is no key, or a request is wanted or under way.  It is not repeated: see `tick`.
        """
        if self.state == NO_WISH and self._turns.channel.segments:
            self.state = WANTED
            self._pause = _PAUSE
            return self.take()
        return None

    def done(self, now: float) -> None:
        """The request was delivered, or could not be: check after a pause whether it had an effect."""
        if self.state == UNDER_WAY:
            self.state = NO_WISH
        self._repeat_at = now + self._pause
        self._pause *= 2
        self._alarm.set(self._repeat_at)
        self.ask_for_next()

    def tick(self, now: float) -> None:
        """Repeat the request if the pause is over and the statement is still unanswered.

        Not if a wanted operation is in flight by now.
        """
        if self._repeat_at is None or now < self._repeat_at:
            self._alarm.set(self._repeat_at)
            return
        self._repeat_at = None
        segments = self._turns.channel.segments
        needed = segments and segments[0].operation.needs_cancel() and self._turns.flight_unwanted()
        if needed and self.state == NO_WISH:
            self.state = WANTED

    def drop(self) -> None:
        """Forget the wish: the server is idle, or the session is over."""
        self.state = NO_WISH
