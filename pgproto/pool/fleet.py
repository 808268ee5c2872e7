"""The pool's connections: their states, their ageing, and the actions on them.

Rule: only `move` changes the state of a slot, so that the counts, the idle list and the generation are always
right.  Who gets a connection is decided in `machine`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .backoff import Backoff
from .observing import PoolWatch, Tell
from .settings import INFINITY, PoolSettings
from .slots import (
    CHECK_FAILED,
    CHECKING,
    CLOSED,
    CLOSING,
    DIRTY,
    EXPIRED,
    GRANTED,
    IDLE,
    LIFETIME,
    LOST,
    OPENING,
    POOL_CLOSED,
    RESETTING,
    UNUSED,
    USED,
    Action,
    Check,
    Close,
    Grant,
    Open,
    Reset,
    Slot,
    SlotAction,
)
from .stats import Counters

__all__ = ["Fleet"]

_HOPELESS: Final = (LOST, CHECK_FAILED, DIRTY)  # reasons after which a Terminate makes no sense
_INFANCY: Final = 1.0  # seconds; a connection that ends earlier, unused, counts as a failed connect


class Fleet:
    """The slots of one pool.

    Attributes:
        slots: every slot that is not CLOSED, by number.
        idle: the idle slots, the one verified last at the end.
        counts: the number of slots in each state.
        due: a time not later than the earliest deadline in the pool.
        closing: True once the pool is being closed.
        watch: makes what observers are told; None if there are none.
    """

    __slots__ = (
        "_actions",
        "_epoch",
        "_forcing",
        "_is_alive",
        "_made",
        "_ping",
        "_random",
        "backoff",
        "closing",
        "counters",
        "counts",
        "due",
        "idle",
        "settings",
        "slots",
        "watch",
    )

    def __init__(
        self,
        settings: PoolSettings,
        counters: Counters,
        random: Callable[[], float],
        is_alive: Callable[[Any], bool] | None,
        ping: Callable[[Any], bool] | None,
        watch: PoolWatch | None,
    ) -> None:
        self.settings: Final[PoolSettings] = settings
        self.counters: Final[Counters] = counters
        self.backoff: Final[Backoff] = Backoff(settings, random)
        self.slots: Final[dict[int, Slot]] = {}
        self.idle: Final[list[Slot]] = []
        self.counts: Final[list[int]] = [0] * CLOSED
        self.due: float = INFINITY
        self.closing: bool = False
        self.watch = watch
        self._random = random
        self._is_alive = is_alive
        self._ping = ping
        self._actions: list[Action] = []
        self._epoch: int = 0
        self._forcing: bool = False
        self._made: int = 0

    # --- states ---

    def move(
        self, slot: Slot, state: int, now: float, reason: str = "", error: Exception | None = None
    ) -> None:
        """Give a slot another state, and a new generation; reason and error are for observers."""
        before = slot.state
        if before == IDLE:
            self.idle.remove(slot)
        self.counts[before] -= 1
        slot.state = state
        slot.generation += 1
        if self.watch is not None:
            self.ask(self.watch.moved(slot, before, now, reason, error))
        if state == CLOSED:
            del self.slots[slot.number]
            return
        self.counts[state] += 1
        if state == IDLE:
            place = len(self.idle)
            while place and self.idle[place - 1].verified_at > slot.verified_at:
                place -= 1
            self.idle.insert(place, slot)

    def open(self, now: float) -> None:
        """Ask for one more connection."""
        self._made += 1
        slot: Slot = Slot(self._made, self._epoch)
        self.slots[slot.number] = slot
        self.counts[OPENING] += 1
        if self.watch is not None:
            self.ask(self.watch.moved(slot, -1, now, "", None))
        self.ask(Open(slot, slot.generation))

    def launch(self, slot: Slot, connection: Any, now: float) -> None:
        """The connection has been opened."""
        settings = self.settings
        slot.connection = connection
        slot.expires_at = now + settings.max_lifetime * (1.0 - settings.lifetime_jitter * self._random())
        slot.idle_since = slot.verified_at = now
        self.rest(slot, now)

    def rest(self, slot: Slot, now: float) -> None:
        """The connection is free: keep it, unless it is unfit to be lent again."""
        unfit = self.unfit(slot, now)
        if unfit:
            self.retire(slot, unfit, now)
            return
        self.move(slot, IDLE, now)
        self.wake(slot.expires_at)
        self.wake(slot.idle_since + self.settings.max_idle)

    def check(self, slot: Slot, now: float) -> None:
        """Ask for a ping."""
        self.move(slot, CHECKING, now)
        slot.deadline = now + self.settings.check_timeout
        self.wake(slot.deadline)
        self.ask(Check(slot, slot.generation))

    def reset(self, slot: Slot, now: float) -> None:
        """Ask for a reset of the session."""
        self.move(slot, RESETTING, now)
        slot.deadline = now + self.settings.reset_timeout
        self.wake(slot.deadline)
        self.ask(Reset(slot, slot.generation))

    def retire(self, slot: Slot, reason: str, now: float) -> None:
        """Close the connection and give up the slot."""
        retired = self.counters.retired
        retired[reason] = retired.get(reason, 0) + 1
        if reason == LOST and not slot.proven and now < slot.idle_since + _INFANCY:
            self.backoff.failed(now)
        slot.forced = self._forcing or slot.connection is None or reason in _HOPELESS
        slot.ticket = None
        self.move(slot, CLOSING, now, reason)
        self.ask(Close(slot, slot.generation, slot.forced, reason))

    # --- properties of a connection ---

    @property
    def live(self) -> int:
        """The number of slots that are not closing."""
        return len(self.slots) - self.counts[CLOSING]

    def unfit(self, slot: Slot, now: float) -> str:
        """The reason why the connection must not be lent any more; "" if it may be lent."""
        if self.closing:
            return POOL_CLOSED
        if slot.epoch != self._epoch:
            return EXPIRED
        if slot.expires_at <= now:
            return LIFETIME
        return ""

    def is_dead(self, slot: Slot) -> bool:
        """True if `is_alive` finds that the idle connection has ended."""
        return self._is_alive is not None and not self._is_alive(slot.connection)

    def needs_check(self, slot: Slot, now: float) -> bool:
        """True if the server's last answer on it is too long ago, or `ping` says so."""
        if slot.verified_at >= now:
            return False
        if self._ping is not None:
            return self._ping(slot.connection)
        return slot.verified_at + self.settings.check_after <= now

    def verified(self, slot: Slot, now: float) -> None:
        """The server has just answered on this connection."""
        slot.verified_at = now
        self.proven(slot)

    def proven(self, slot: Slot) -> None:
        """The server has answered a query on this connection, so connecting really works."""
        if not slot.proven:
            slot.proven = True
            self.backoff.proven()

    def check_failed(self, slot: Slot, now: float) -> None:
        """Retire it, and check all other idle connections that are due at the same time."""
        self.retire(slot, CHECK_FAILED, now)
        for other in list(self.idle):
            if self.needs_check(other, now) and other.state == IDLE:  # the caller's code may have ended it
                self.check(other, now)

    # --- the fleet as a whole ---

    def age(self, now: float) -> None:
        """Retire connections that are too old, idle for too long, or do not answer a check or reset."""
        for slot in list(self.slots.values()):
            if slot.state == CHECKING and slot.deadline <= now:
                self.check_failed(slot, now)
            elif slot.state == RESETTING and slot.deadline <= now:
                self.retire(slot, DIRTY, now)
        for slot in list(self.idle):
            unfit = self.unfit(slot, now)
            if unfit:
                self.retire(slot, unfit, now)
            elif slot.idle_since + self.settings.max_idle <= now and self.live > self.settings.min_size:
                self.retire(slot, UNUSED, now)

    def expire(self, now: float) -> None:
        """Retire every connection at its next idle moment."""
        self._epoch += 1
        for slot in list(self.idle):
            self.retire(slot, EXPIRED, now)

    def close(self, now: float) -> None:
        """Retire every unused connection; the others follow when they are released."""
        self.closing = True
        for slot in list(self.slots.values()):
            if slot.state != USED and slot.state != CLOSING:
                self.retire(slot, POOL_CLOSED, now)

    def force(self, now: float) -> None:
        """Close all remaining connections, even lent ones, by force."""
        self._forcing = True
        for slot in list(self.slots.values()):
            if slot.state == USED:
                self.retire(slot, POOL_CLOSED, now)
            elif not slot.forced:
                slot.forced = True
                self.ask(Close(slot, slot.generation, True, POOL_CLOSED))

    def wake_for_slots(self) -> None:
        """Move `due` to the earliest deadline of a slot, if that is earlier."""
        above_minimum = self.live > self.settings.min_size
        for slot in self.slots.values():
            if slot.state == CHECKING or slot.state == RESETTING:
                self.wake(slot.deadline)
            elif slot.state == IDLE:
                self.wake(slot.expires_at)
                if above_minimum:
                    self.wake(slot.idle_since + self.settings.max_idle)

    def wake(self, at: float) -> None:
        """Have the next tick at `at` or before."""
        if at < self.due:
            self.due = at

    # --- actions ---

    def ask(self, action: Action) -> None:
        """Add an action for the driver."""
        self._actions.append(action)

    def take_actions(self) -> list[Action]:
        """The actions to do, without those that a later event has made obsolete; observers come last."""
        asked = self._actions
        self._actions = []
        wanted: list[Action] = []
        news: list[Action] = []
        for action in asked:
            if isinstance(action, Tell):
                news.append(action)
                continue
            if isinstance(action, SlotAction):
                if action.generation != action.slot.generation:
                    continue
            elif isinstance(action, Grant) and action.ticket.state != GRANTED:
                continue
            wanted.append(action)
        return wanted + news
