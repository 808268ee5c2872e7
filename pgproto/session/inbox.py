"""Messages that come unasked (notices, notifications), until somebody takes them.

Bounded, in number and in size: a server that floods its client costs a fixed amount of memory.  The oldest
are dropped, and counted.  Not generic: native generic classes of mypyc 2.4 crash in garbage collection.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..wire import Message, NoticeResponse, NotificationResponse

__all__ = ["Inbox", "Unasked"]

# As many as a busy channel brings in the time of a slow query; PostgreSQL's own queue holds far more.
LIMIT: Final = 10_000

# Characters of all messages together: 2,000 of the longest payloads that PostgreSQL takes (8,000 bytes).
MAX_SIZE: Final = 1 << 24


class Inbox:
    """A bounded queue.

    Args:
        limit: how many messages it holds.
        max_size: how large they may be together; the newest one is kept whatever its size.

    Attributes:
        dropped: how many messages were dropped because it was full.
        messages: what it holds, oldest first.
    """

    __slots__ = ("_limit", "_max_size", "_size", "_sizes", "dropped", "messages")

    def __init__(self, limit: int = LIMIT, max_size: int = MAX_SIZE) -> None:
        self.dropped = 0
        self._limit = limit
        self._max_size = max_size
        self.messages: deque[object] = deque()
        self._sizes: deque[int] = deque()
        self._size = 0

    def put(self, message: object, size: int) -> None:
        """One has arrived, with so many characters."""
        while self.messages and (len(self.messages) >= self._limit or self._size + size > self._max_size):
            self.next()
            self.dropped += 1
        self.messages.append(message)
        self._sizes.append(size)
        self._size += size

    def next(self) -> object:
        """The oldest one, taken; None if there is none."""
        if not self.messages:
            return None
        self._size -= self._sizes.popleft()
        return self.messages.popleft()

    def take(self) -> list[object]:
        """All of them, oldest first."""
        taken = list(self.messages)
        self.messages.clear()
        self._sizes.clear()
        self._size = 0
        return taken


class Unasked:
    """The notices and notifications of one session that nobody has taken yet."""

    __slots__ = ("_notices", "_notifications")

    def __init__(self) -> None:
        self._notices = Inbox()
        self._notifications = Inbox()

    @property
    def empty(self) -> bool:
        """True if there are none."""
        return not (self._notices.messages or self._notifications.messages)

    @property
    def dropped(self) -> int:
        """How many were dropped because nobody took them."""
        return self._notices.dropped + self._notifications.dropped

    def put(self, event: Message) -> None:
        """One has arrived."""
        if isinstance(event, NoticeResponse):
            self._notices.put(event, sum(map(len, event.fields.values())))
        else:
            assert isinstance(event, NotificationResponse)  # see ASYNCHRONOUS
            self._notifications.put(event, len(event.channel) + len(event.payload))

    def take_notices(self) -> list[NoticeResponse]:
        """The notices, oldest first."""
        return [each for each in self._notices.take() if isinstance(each, NoticeResponse)]

    def take_notifications(self) -> list[NotificationResponse]:
        """The notifications, oldest first."""
        return [each for each in self._notifications.take() if isinstance(each, NotificationResponse)]
