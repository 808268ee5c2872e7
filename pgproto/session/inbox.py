"""Messages that come unasked (notices, notifications), until somebody takes them.

Bounded: a server that floods its client costs a fixed amount of memory.  The oldest are dropped, and
counted.  Not generic: native generic classes of mypyc 2.4 crash in garbage collection.
"""

from __future__ import annotations

from collections import deque
from typing import Final

__all__ = ["Inbox"]

# As many as a busy channel brings in the time of a slow query; PostgreSQL's own queue holds far more.
LIMIT: Final = 10_000


class Inbox:
    """A bounded queue.

    Attributes:
        dropped: how many messages were dropped because it was full.
    """

    __slots__ = ("_limit", "_messages", "dropped")

    def __init__(self, limit: int = LIMIT) -> None:
        self.dropped = 0
        self._limit = limit
        self._messages: deque[object] = deque()

    def put(self, message: object) -> None:
        """One has arrived."""
        if len(self._messages) >= self._limit:
            self._messages.popleft()
            self.dropped += 1
        self._messages.append(message)

    def next(self) -> object:
        """The oldest one, taken; None if there is none."""
        return self._messages.popleft() if self._messages else None

    def take(self) -> list[object]:
        """All of them, oldest first."""
        taken = list(self._messages)
        self._messages.clear()
        return taken
