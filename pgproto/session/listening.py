"""Notifications: who listens to which channel, and what has arrived for them.  Manual: "LISTEN", "NOTIFY".

Two listeners of one channel share one LISTEN; the last one to leave sends UNLISTEN.  Every listener has a
bounded queue of its own: where nobody takes, the oldest are dropped, and counted.
"""

from __future__ import annotations

from ..wire import NotificationResponse
from .inbox import Inbox
from .sql import as_text, quote_identifier

__all__ = ["Listener", "Listeners", "Notification"]


class Notification:
    """One notification.

    Attributes:
        channel: the name of the channel.
        payload: what NOTIFY sent; "" if nothing.
        pid: the process ID of the notifying server process.
    """

    __slots__ = ("channel", "payload", "pid")

    def __init__(self, channel: str, payload: str, pid: int) -> None:
        self.channel = channel
        self.payload = payload
        self.pid = pid

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Notification):
            return NotImplemented
        return (self.channel, self.payload, self.pid) == (other.channel, other.payload, other.pid)

    def __hash__(self) -> int:
        return hash((self.channel, self.payload, self.pid))

    def __repr__(self) -> str:
        return f"Notification(channel={self.channel!r}, payload={self.payload!r}, pid={self.pid})"


class Listener:
    """What has arrived on some channels, for one taker.

    Attributes:
        inbox: what has arrived.
        waiter: what the adapter keeps with it, to wake whoever waits.
    """

    __slots__ = ("channels", "inbox", "waiter")

    def __init__(self, channels: tuple[str, ...]) -> None:
        self.channels = tuple([as_text(name, "a channel's name") for name in channels])
        for name in self.channels:
            quote_identifier(name)  # refused here, before it is listened to
        self.waiter: object = None
        self.inbox = Inbox()

    @property
    def dropped(self) -> int:
        """How many notifications were dropped because nobody took them."""
        return self.inbox.dropped

    def take(self) -> Notification | None:
        """The oldest that has arrived; None if there is none."""
        oldest = self.inbox.next()
        return oldest if isinstance(oldest, Notification) else None


class Listeners:
    """All listeners of one session."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all: list[Listener] = []

    def add(self, listener: Listener) -> str:
        """Register; the SQL to run, "" if the session listens to all of the channels already."""
        new = [name for name in dict.fromkeys(listener.channels) if not self._listened(name)]
        self._all.append(listener)
        return "; ".join("LISTEN " + quote_identifier(name) for name in new)

    def remove(self, listener: Listener) -> str:
        """Forget; the SQL to run, "" if others still listen to its channels."""
        if listener not in self._all:
            return ""
        self._all.remove(listener)
        old = [name for name in dict.fromkeys(listener.channels) if not self._listened(name)]
        return "; ".join("UNLISTEN " + quote_identifier(name) for name in old)

    def dispatch(self, messages: list[NotificationResponse]) -> list[Listener]:
        """Hand out what has arrived; the listeners to wake."""
        woken: list[Listener] = []
        for message in messages:
            notification = Notification(message.channel, message.payload, message.process_id)
            for listener in self._all:
                if message.channel in listener.channels:
                    listener.inbox.put(notification, len(message.channel) + len(message.payload))
                    if listener not in woken:
                        woken.append(listener)
        return woken

    def everyone(self) -> list[Listener]:
        """All of them: the session has ended."""
        return list(self._all)

    def _listened(self, channel: str) -> bool:
        return any(channel in listener.channels for listener in self._all)
