"""Notifications: the listeners of each channel, and what has arrived for them.  Manual: "LISTEN", "NOTIFY".

Every listener sends LISTEN, which is idempotent, so nothing depends on a count; the last listener of a
channel sends UNLISTEN.  If LISTEN was run for a `listen()` that was cancelled, UNLISTEN follows as soon as no
transaction block is open.  Every listener has a bounded queue; if nobody takes its notifications, the oldest
are dropped and counted.

LISTEN and UNLISTEN take effect when their transaction commits.  So an UNLISTEN ends a listener only then, and
not if it is rolled back; if that cannot be known, the listener ends.

A listener never goes silent: if it cannot receive anything more (its lease is over, the session was reset,
its LISTEN was rolled back), it ends with an error that says why.  The flows are in `listen`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..errors import ConnectionClosed, Error, LocalProtocolError, not_sent
from ..types import quote_identifier
from ..wire import NotificationResponse
from .inbox import Inbox
from .sql import as_text

__all__ = ["ListenGap", "Listener", "Listeners", "Notification"]


class Notification:
    """One notification.

    Attributes:
        channel: the name of the channel.
        payload: the payload of NOTIFY; "" if it had none.
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


class ListenGap:
    """Some notifications may be missing between the one before and the one after.

    Attributes:
        error: why the connection was lost; None if notifications were dropped because nobody took them.
        since: when everything had still arrived, in seconds of the event loop's clock (blocking: monotonic).
        until: when it listened again, or the loss was noticed.
        dropped: how many were dropped; 0 if that is not known.
    """

    __slots__ = ("dropped", "error", "since", "until")

    def __init__(self, error: Exception | None, since: float, until: float, dropped: int) -> None:
        self.error = error
        self.since = since
        self.until = until
        self.dropped = dropped

    def __repr__(self) -> str:
        seconds = self.until - self.since
        return f"ListenGap(error={self.error!r}, dropped={self.dropped}, seconds={seconds:.3f})"


# Manual: "Identifiers and Key Words": the server truncates names to NAMEDATALEN - 1 bytes, and notifications
# with the short name would never match a longer one.
_MAX_NAME: Final = 63


class Listener:
    """One listener: the notifications that have arrived on some channels.

    Args:
        channels: the names of the channels, at least one.
        owner: the owner of the lease with which it ends.

    Attributes:
        inbox: the notifications that have arrived.
        waiter: the adapter's object for waking the task that waits.
        heard: the server has confirmed its LISTEN.
        unsure: the LISTEN was in a transaction that can still be rolled back.
        depth: the number of savepoints around that LISTEN.

    Raises:
        TypeError: a name is not a str.
        LocalProtocolError: a name is empty, too long, or one that no message can carry.
    """

    __slots__ = ("channels", "depth", "ended", "heard", "inbox", "owner", "unsure", "waiter")

    def __init__(self, channels: tuple[object, ...], owner: object = None) -> None:
        if not channels:
            raise not_sent("listen() needs the name of a channel")
        self.channels = tuple([_checked(name) for name in channels])
        self.owner = owner
        self.waiter: Any = None
        self.inbox = Inbox()
        self.heard = False
        self.unsure = False
        self.depth = 0
        self.ended: Error | None = LocalProtocolError(
            "nothing listens yet: enter it first, as in `async with conn.listen(...) as notifications:`"
        )

    @property
    def dropped(self) -> int:
        """The number of notifications dropped because nobody took them."""
        return self.inbox.dropped

    def take(self) -> Notification | None:
        """Take the oldest notification; None if there is none yet.

        Raises:
            Error: there is none, and nothing more will arrive.
        """
        oldest = self.inbox.next()
        if isinstance(oldest, Notification):
            return oldest
        if self.ended is not None:
            raise self.ended
        return None


class _Unlisten:
    """An UNLISTEN that was run: it takes effect when its transaction commits.

    Args:
        names: the channels; "*" for all.
        what: the statement, for the error.
        heard: the listeners at that time.
        depth: the number of savepoints in which it was run.
    """

    __slots__ = ("depth", "doubtful", "heard", "names", "what")

    def __init__(self, names: list[str], what: str, heard: list[Listener], depth: int) -> None:
        self.names = names
        self.what = what
        self.heard = heard
        self.depth = depth
        self.doubtful = False  # a part of the transaction was rolled back, perhaps including this UNLISTEN


class Listeners:
    """All listeners of one session.

    Attributes:
        woken: listeners that have ended, for the adapter to wake; `dispatch` takes them.
        unsettled: something must be done when no transaction is open: a listener depends on the open one, or
            the server may be listening to a channel without a listener.
    """

    __slots__ = ("_all", "_confirmed", "_leaving", "unsettled", "woken")

    def __init__(self) -> None:
        self._all: list[Listener] = []
        self._confirmed: set[str] = set()  # the channels that the server listens to
        self._leaving: list[_Unlisten] = []  # in the open transaction
        self.woken: list[Listener] = []
        self.unsettled = False

    def add(self, listener: Listener) -> str:
        """Register a listener; return the SQL to run.

        Raises:
            LocalProtocolError: it is already registered.
        """
        if listener in self._all:
            raise not_sent("these notifications are listened to already")
        listener.ended = None
        listener.heard = listener.unsure = False
        self._all.append(listener)
        return "; ".join("LISTEN " + quote_identifier(name) for name in dict.fromkeys(listener.channels))

    def confirm(self, listener: Listener, *, sealed: bool, depth: int) -> None:
        """The server has run the listener's LISTEN, in `depth` savepoints.

        `sealed` is false if its transaction can still be rolled back.
        """
        listener.heard = True
        listener.depth = depth
        listener.unsure = not sealed
        self._confirmed.update(listener.channels)
        if not sealed or listener not in self._all:
            self.unsettled = True

    def remove(self, listener: Listener) -> str:
        """Forget a listener; return the SQL to run, "" if others still listen to its channels."""
        if listener not in self._all:
            return ""
        self._end(listener, LocalProtocolError("nothing listens any more: the block of listen() was left"))
        return self._unlisten(dict.fromkeys(listener.channels))

    def take_leftover(self) -> str:
        """The UNLISTENs for channels without a listener; "" if there are none."""
        self.unsettled = False
        return self._unlisten(sorted(self._confirmed))

    def dispatch(self, messages: list[NotificationResponse]) -> list[Listener]:
        """Distribute notifications; return the listeners to wake."""
        woken = self.woken
        self.woken = []
        for message in messages:
            notification = Notification(message.channel, message.payload, message.process_id)
            for listener in list(self._all):  # the garbage collector may end one meanwhile
                if message.channel in listener.channels:
                    listener.inbox.put(notification, len(message.channel) + len(message.payload))
                    if listener not in woken:
                        woken.append(listener)
        return woken

    def everyone(self) -> list[Listener]:
        """All listeners, to be woken: the session has ended."""
        return list(self._all)

    # ---- The end of listeners

    def end_lease(self, owner: object) -> None:
        """End the listeners that were registered in this lease."""
        for listener in [each for each in self._all if each.owner is owner]:
            self._end(listener, ConnectionClosed("nothing listens any more: the lease is over"))

    def unlistened(self, names: list[str], what: str, depth: int) -> None:
        """An UNLISTEN of these channels ("*" for all), or a reset, was run in `depth` savepoints."""
        heard = [each for each in self._all if each.heard and _concerns(names, each)]
        self._leaving.append(_Unlisten(names, what, heard, depth))
        self.unsettled = True

    def rolled_back(self, depth: int) -> None:
        """Everything at least `depth` savepoints deep was rolled back; 0 for an unknown part."""
        for unlisten in self._leaving:
            unlisten.doubtful = unlisten.doubtful or not depth
        if depth:
            self._leaving = [each for each in self._leaving if each.depth < depth]
        self._undone(depth)

    def transaction_ended(self, *, committed: bool | None) -> None:
        """The transaction with a LISTEN or UNLISTEN is over; `committed` is None if that is not known."""
        if not committed:
            self._undone(0)
        for listener in self._all:
            listener.unsure = False
        leaving = self._leaving
        self._leaving = []
        if committed is False:
            return
        for unlisten in leaving:
            for listener in unlisten.heard:
                if listener in self._all:
                    self._end(
                        listener, LocalProtocolError(f"nothing listens any more: {unlisten.what} was run")
                    )
            if committed and not unlisten.doubtful:
                self._confirmed -= self._only_of_others(unlisten.names)

    def _only_of_others(self, names: list[str]) -> set[str]:
        """The channels that have no listener whose LISTEN came after the UNLISTEN."""
        gone = self._confirmed if "*" in names else names
        return {name for name in gone if not any(each.heard and name in each.channels for each in self._all)}

    def _undone(self, depth: int) -> None:
        """End the listeners whose LISTEN was, or may have been, rolled back."""
        for listener in [each for each in self._all if each.unsure and each.depth >= depth]:
            text = "nothing listens: the transaction with its LISTEN was rolled back"
            listener.unsure = False
            self._end(listener, LocalProtocolError(text))

    def _end(self, listener: Listener, error: Error) -> None:
        self._all.remove(listener)
        listener.ended = error
        self.woken.append(listener)

    def _unlisten(self, channels: Iterable[str]) -> str:
        nobody = [name for name in channels if not any(name in each.channels for each in self._all)]
        return "; ".join("UNLISTEN " + quote_identifier(name) for name in nobody)


def _concerns(names: list[str], listener: Listener) -> bool:
    return "*" in names or any(name in listener.channels for name in names)


def _checked(channel: object) -> str:
    name = as_text(channel, "a channel's name")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise not_sent(f"no message can carry the name of the channel {name!r}") from None
    if not size or "\0" in name:
        raise not_sent(f"a channel cannot be called {name!r}")
    if size > _MAX_NAME:
        text = f"the name of a channel has {_MAX_NAME} bytes at most, not {size}: {name!r}"
        raise not_sent(text)
    return name
