"""Queues for notices and notifications, until they are taken.

They are bounded in number and size, so that a server that floods its client costs a fixed amount of memory.
The oldest messages are dropped and counted.  The class is not generic, because generic classes compiled by
mypyc 2.4 crash in garbage collection.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..wire import Message, NoticeResponse, NotificationResponse

__all__ = ["Inbox", "Unasked"]

# As many as a busy channel sends during a slow query; PostgreSQL's own queue holds far more.
LIMIT: Final = 10_000

# Characters of all messages together: 2,000 of PostgreSQL's longest payloads (8,000 bytes).
MAX_SIZE: Final = 1 << 24


class Inbox:
    """A bounded queue.

    Args:
        limit: the largest number of messages.
        max_size: their largest size together; the newest one is kept whatever its size.

    Attributes:
        dropped: the number of messages dropped because it was full.
        messages: the messages, oldest first.
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
        """Add a message of so many characters."""
        while self.messages and (len(self.messages) >= self._limit or self._size + size > self._max_size):
            self.next()
            self.dropped += 1
        self.messages.append(message)
        self._sizes.append(size)
        self._size += size

    def next(self) -> object:
        """Take the oldest message; None if there is none."""
        if not self.messages:
            return None
        self._size -= self._sizes.popleft()
        return self.messages.popleft()

    def take(self) -> list[object]:
        """Take all messages, oldest first."""
        taken = list(self.messages)
        self.messages.clear()
        self._sizes.clear()
        self._size = 0
        return taken


class Unasked:
    """The notices and notifications of one session that were not taken yet."""

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
        """The number of messages dropped because nobody took them."""
        return self._notices.dropped + self._notifications.dropped

    def put(self, event: Message) -> None:
        """Add a notice or notification."""
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
