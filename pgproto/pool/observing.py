"""The seam for observers of a pool: each move of a slot, each caller that waits, and how its wait ends.

The machine notes what happens (`PoolWatch`), and a `Tell` among its actions has the driver tell it: after the
decision, and outside of any lock, so that an observer may ask the pool for its statistics.

Rule: without observers there is no `PoolWatch`, and each place that has something to tell costs one
comparison.  Rule: what an observer raises goes to `report`, and the pool goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..session.observing import Observer, Report
from ..wire.hints import mypyc_attr
from .slots import CLOSED, SLOT_STATES, WAITING, Action, Slot, Ticket

__all__ = ["Move", "PoolObserver", "PoolWatch", "Tell", "Wait"]

_NAMES: Final = tuple([name.lower() for name in SLOT_STATES])
_ENDS: Final = ("waiting", "granted", "failed", "cancelled", "granted")


class Move:
    """A slot, the place of one connection, has changed its state.

    Attributes:
        slot: its number, which no other slot of this pool ever has.
        before: "opening", "checking", "idle", "used", "resetting" or "closing"; "" for a new slot.
        after: the same, or "closed" for a slot that is gone.
        seconds: how long it was in the state before; 0.0 for a new slot.
        reason: why it is "closing" (the keys of `PoolStats.retired`); "" for other moves.
        error: why it could not be opened (from "opening" to "closed"); else None.
        at: when it happened, on the pool's clock.
    """

    __slots__ = ("after", "at", "before", "error", "reason", "seconds", "slot")

    def __init__(self, slot: int, before: str, after: str, at: float) -> None:
        self.slot = slot
        self.before = before
        self.after = after
        self.at = at
        self.seconds = 0.0
        self.reason = ""
        self.error: Exception | None = None

    def __repr__(self) -> str:
        why = f", {self.reason}" if self.reason else ""
        return f"<Move of slot {self.slot}: {self.before or 'new'} to {self.after}{why}>"


class Wait:
    """A caller that wants a connection.

    Attributes:
        number: its number, in the order of arrival.
        state: "waiting"; "granted", "failed" (see `error`) or "cancelled" at the end of the wait.
        queued: it has found no free connection, so `PoolObserver.queued` is told of it.
        seconds: how long it has waited; 0.0 if there was a connection at once.
        slot: the slot that was lent; 0 for none.
        error: why there is no connection: PoolTimeout, TooManyWaiting, PoolClosed or ConnectError; or None.
        at: when it happened, on the pool's clock.
    """

    __slots__ = ("at", "error", "number", "queued", "seconds", "slot", "state")

    def __init__(self, ticket: Ticket, at: float) -> None:
        self.number = ticket.number
        self.state = _ENDS[ticket.state]
        self.queued = ticket.waited
        self.seconds = max(0.0, at - ticket.since)
        self.slot = 0 if ticket.slot is None else ticket.slot.number
        self.error = ticket.error
        self.at = at

    def __repr__(self) -> str:
        return f"<Wait {self.number}: {self.state} after {self.seconds:.3f} s>"


@mypyc_attr(allow_interpreted_subclasses=True)
class PoolObserver(Observer):
    """Is told what a pool does, and what its connections do; see `Observer`.

    The methods are called after the decision that they are about.  They must be quick and must not wait; what
    they raise is reported, and changes nothing.  To tell pools apart, give each an observer of its own.
    """

    __slots__ = ()

    def moved(self, move: Move) -> None:
        """A slot has changed its state: a connection is being opened, lent, given back, retired, ...

        Where threads share a pool, two may tell in another order than things happened: `Move.at` says when.

        Args:
            move: from where to where, and why.
        """

    def queued(self, wait: Wait) -> None:
        """A caller has found no free connection, and waits.

        Args:
            wait: the caller.
        """

    def served(self, wait: Wait) -> None:
        """A caller's wait has ended: with a connection, with an error, or because the caller went away.

        Also told of a caller who did not have to wait.

        Args:
            wait: the caller; another object than in `queued`.
        """


class PoolWatch:
    """Makes what the observers of one pool are told.

    Args:
        observers: whom to tell.
        report: takes what they raise; None to drop it.
    """

    __slots__ = ("_observers", "_report", "_since")

    def __init__(self, observers: Sequence[PoolObserver], report: Report | None = None) -> None:
        self._observers = list(observers)
        self._report = report
        self._since: dict[int, float] = {}  # when each slot got its state

    def moved(self, slot: Slot, before: int, now: float, reason: str, error: Exception | None) -> Tell:
        """A slot has changed its state; `before` is -1 for a new one."""
        number = slot.number
        move = Move(number, "" if before < 0 else _NAMES[before], _NAMES[slot.state], now)
        move.seconds = max(0.0, now - self._since.pop(number, now))
        move.reason = reason
        move.error = error
        if slot.state != CLOSED:
            self._since[number] = now
        return Tell(self, move)

    def waits(self, ticket: Ticket, now: float) -> Tell:
        """A caller waits, or its wait has ended."""
        return Tell(self, Wait(ticket, now))

    def tell(self, news: Move | Wait) -> None:
        """Tell the observers."""
        for observer in self._observers:
            try:
                if isinstance(news, Move):
                    observer.moved(news)
                elif news.state == _ENDS[WAITING]:
                    observer.queued(news)
                else:
                    observer.served(news)
            except BaseException as error:  # noqa: BLE001 - an observer changes nothing
                if self._report is not None:
                    self._report("an observer", error)


class Tell(Action):
    """Call `deliver`.  It needs no answer."""

    __slots__ = ("_news", "_watch")

    def __init__(self, watch: PoolWatch, news: Move | Wait) -> None:
        self._watch = watch
        self._news = news

    def deliver(self) -> None:
        """Tell the observers what has happened."""
        self._watch.tell(self._news)
