"""Decides who gets which connection, and when to open or close one.

Contract.  Events are method calls, each with the time (`now`, monotonic seconds).  No method waits, none
raises because of an external failure, and a stale event (an old generation, a ticket that has ended, a slot
that is gone) changes nothing.  `take_actions()` returns what has to be done.  A driver:

    1. calls one event method (threads: under a lock),
    2. executes `take_actions()` (threads: outside of the lock) until the list is empty; executing an
       action may produce further events, now or later,
    3. arranges for `tick(now)` at `next_deadline()`.  There are no other timers.

`acquire` and `refused` may grant or fail the ticket before they return; a Grant or Fail action comes only
if it was still WAITING then.  The lease of a GRANTED ticket ends with `release`, with `cancel` if the
caller was cancelled before it used the connection, or with `refused` if `on_acquire` (or a look at the
connection) rejected it.  Every Open, Check, Reset and Close must be answered once, with its generation.

Rules.
- The number of slots, including CLOSING ones, never exceeds `max_size`.
- Callers are served strictly in the order of their arrival; the first one gets a released connection.
- There is one Open for each caller for whom no OPENING or CHECKING slot is on its way.  The attempt goes on
  if the caller goes away: the connection is for the next caller, or stays idle.  Connections below `min_size`
  are replaced at once.
- The connection that was used last is lent first, so that the others can grow old and be closed.
- A transient connect failure fails nobody: callers wait until their own deadline, and then get PoolTimeout
  with the last connect error as its `__cause__`.  That holds even if the pool has no connection at all,
  because an outage shorter than a caller's timeout does not concern it.  A permanent failure (see
  `backoff.is_permanent`) fails all waiting callers at once.
- After a failed check every other idle connection that is due for a check is checked at the same time: a dead
  network costs one `check_timeout`, not one per connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ..errors import ConnectError, PoolClosed, PoolTimeout, TooManyWaiting
from .fleet import Fleet
from .observing import PoolWatch
from .settings import INFINITY, PoolSettings
from .slots import (
    BROKEN,
    CANCELLED,
    CHECKING,
    CLOSED,
    CLOSING,
    DIRTY,
    FAILED,
    GRANTED,
    IDLE,
    LOST,
    OPENING,
    REFUSED,
    RELEASED,
    RESETTING,
    USED,
    WAITING,
    Action,
    Fail,
    Grant,
    Slot,
    Ticket,
)
from .stats import Counters, PoolStats

__all__ = ["PoolMachine"]


class PoolMachine:
    """The pool without its I/O.

    Args:
        settings: limits and times.
        random: returns a new float in [0, 1) at each call, for jitter.
        is_alive: looks at an idle connection before it is lent, without a round trip (is its socket
            readable or closed?).  It must be cheap, must not raise, and must not call the machine.
        ping: decides about an idle connection whether it is checked before it is lent, instead of
            `check_after`; under the same rules.
        watch: makes what observers are told, by the action Tell; None for no observers.
    """

    __slots__ = (
        "_close_deadline",
        "_counters",
        "_fleet",
        "_last_error",
        "_starters",
        "_tickets",
        "_waiters",
        "settings",
    )

    def __init__(
        self,
        settings: PoolSettings,
        random: Callable[[], float],
        is_alive: Callable[[Any], bool] | None = None,
        ping: Callable[[Any], bool] | None = None,
        watch: PoolWatch | None = None,
    ) -> None:
        self.settings: Final[PoolSettings] = settings
        self._counters: Final[Counters] = Counters()
        self._fleet: Final[Fleet] = Fleet(settings, self._counters, random, is_alive, ping, watch)
        self._waiters: Final[deque[Ticket]] = deque()
        self._starters: list[Ticket] = []
        self._tickets: int = 0
        self._last_error: Exception | None = None
        self._close_deadline: float = INFINITY

    # --- events: callers ---

    def acquire(self, now: float, timeout: float | None = None) -> Ticket:
        """A caller wants a connection.

        Args:
            now: the time.
            timeout: seconds to wait; None: the pool's `acquire_timeout`; 0: take one that is free or fail;
                negative: the deadline has passed, so fail.

        Returns:
            The ticket: GRANTED, FAILED (`error` is PoolClosed, PoolTimeout or TooManyWaiting) or WAITING.
        """
        patience = self.settings.acquire_timeout if timeout is None else timeout
        self._tickets += 1
        ticket: Ticket = Ticket(self._tickets, now + patience, now)
        if patience < 0.0 and not self._fleet.closing:
            self._time_out(ticket, now)
            return ticket
        self._waiters.append(ticket)
        self._seat(ticket, now)
        limit = self.settings.max_waiting
        if ticket.state == WAITING and limit is not None and self._uncovered() > limit:
            self._waiters.remove(ticket)
            self._counters.rejected += 1
            full = TooManyWaiting("the pool's queue of waiting callers is full")
            self._count(full)
            self._fail(ticket, full, now)
        self._told(ticket, now)
        return ticket

    def cancel(self, ticket: Ticket, now: float) -> None:
        """The caller went away: before it was served, or before it used the connection."""
        if ticket in self._starters:
            self._starters.remove(ticket)
            ticket.state = CANCELLED
            return
        if ticket.state == WAITING:
            self._waiters.remove(ticket)
            self._waited(ticket, now)
            ticket.state = CANCELLED
            self._tell(ticket, now)
        elif ticket.state != GRANTED:
            return
        ticket.state = CANCELLED
        self._counters.cancelled += 1
        slot = ticket.slot
        if slot is not None and slot.ticket is ticket:
            slot.ticket = None
            self._fleet.rest(slot, now)  # without a reset, because it was not used
        self._balance(now)

    def release(
        self,
        ticket: Ticket,
        now: float,
        *,
        usable: bool = True,
        clean: bool = True,
        reason: str = BROKEN,
        answered: bool = False,
    ) -> None:
        """The lease ends.

        Args:
            ticket: the ticket from `acquire`.
            now: the time.
            usable: False if the connection must not be lent again: it is closed, not idle, or has
                something outstanding or unread.
            clean: True if its session is in its initial state; otherwise it is reset first.
            reason: the reason to count if it is not usable; see `ending`.
            answered: True if the server had answered a query on it; see `lost`.
        """
        if ticket.state != GRANTED:
            return
        ticket.state = RELEASED
        slot = ticket.slot
        if slot is None or slot.ticket is not ticket:
            return  # `lost` or `close` has already retired the slot: only the lease ends
        slot.ticket = None
        fleet = self._fleet
        if not usable:
            if answered:  # it had worked, so its end does not count as a failed connect
                fleet.proven(slot)
            fleet.retire(slot, reason, now)
        else:
            fleet.verified(slot, now)
            slot.idle_since = now
            if clean or fleet.unfit(slot, now):  # `rest` closes an unfit one: a reset would be wasted
                fleet.rest(slot, now)
            else:
                fleet.reset(slot, now)
        self._balance(now)

    def refused(self, ticket: Ticket, now: float) -> None:
        """The granted connection was rejected (by `on_acquire`): close it and try another one.

        The ticket keeps its deadline and its place in the queue.  As after `acquire` it may be GRANTED on
        return, or WAITING, or FAILED: with a ConnectError after `max_size + 1` refusals in a row.
        """
        if ticket.state != GRANTED:
            return
        slot = ticket.slot
        if slot is not None and slot.ticket is ticket:
            self._fleet.retire(slot, REFUSED, now)
        ticket.slot = None
        ticket.state = WAITING
        ticket.waited = False
        ticket.since = now
        ticket.attempts += 1
        if ticket.attempts > self.settings.max_size and not self._fleet.closing:
            text = f"on_acquire refused {ticket.attempts} connections in a row"
            self._fail(ticket, ConnectError(text), now)
            self._balance(now)
            return
        place = 0
        while place < len(self._waiters) and self._waiters[place].number < ticket.number:
            place += 1
        self._waiters.insert(place, ticket)
        self._seat(ticket, now)
        self._told(ticket, now)

    # --- events: answers to actions, and lost connections ---

    def opened(self, slot: Slot, generation: int, connection: Any, now: float) -> bool:
        """The answer to Open.

        Returns:
            False if the connection is no longer wanted.  Then the driver must close it, and call `closed` for
            the Close action that was or will be among the actions.
        """
        if slot.generation != generation or slot.state != OPENING:
            return False
        self._counters.opens += 1
        self._last_error = None
        self._fleet.backoff.succeeded()
        self._fleet.launch(slot, connection, now)
        self._balance(now)
        self._end_start(None)
        return True

    def open_failed(self, slot: Slot, generation: int, error: Exception, permanent: bool, now: float) -> None:
        """The other answer to Open; `permanent` is the result of `backoff.is_permanent(error)`."""
        if slot.generation != generation or slot.state != OPENING:
            return
        self._counters.open_failures += 1
        self._last_error = error
        self._fleet.backoff.failed(now)
        self._fleet.move(slot, CLOSED, now, error=error)
        if permanent:
            self._fleet.backoff.paused = True
            while self._waiters:
                self._fail(self._waiters.popleft(), _copy(error), now)
        if permanent or not self._fleet.counts[OPENING]:
            self._end_start(error)
        self._balance(now)

    def check_done(self, slot: Slot, generation: int, usable: bool, now: float) -> None:
        """The answer to Check; usable if the server has replied and the session is idle."""
        if slot.generation != generation or slot.state != CHECKING:
            return
        if usable:
            self._fleet.verified(slot, now)
            self._fleet.rest(slot, now)
        else:
            self._fleet.check_failed(slot, now)
        self._balance(now)

    def reset_done(self, slot: Slot, generation: int, usable: bool, now: float) -> None:
        """The answer to Reset; usable if the session is in its initial state."""
        if slot.generation != generation or slot.state != RESETTING:
            return
        if usable:
            self._fleet.verified(slot, now)
            self._fleet.rest(slot, now)
        else:
            self._fleet.retire(slot, DIRTY, now)
        self._balance(now)

    def lost(self, slot: Slot, now: float, reason: str = LOST, *, answered: bool = False) -> None:
        """The connection has ended (see `ending`), lent or not.  A `release` may follow, but need not.

        Args:
            slot: its slot.
            now: the time.
            reason: the reason to count.
            answered: True if the server had answered a query on it (`Engine.answered`).
        """
        if slot.state in (CHECKING, IDLE, USED, RESETTING):
            if answered:
                self._fleet.proven(slot)
            self._fleet.retire(slot, reason, now)
            self._balance(now)

    def closed(self, slot: Slot, generation: int, now: float) -> None:
        """The answer to Close: the connection is gone (or the attempt to open one has ended)."""
        if slot.generation == generation and slot.state == CLOSING:
            self._fleet.move(slot, CLOSED, now)
            self._balance(now)

    # --- events: the pool as a whole ---

    def start(self, now: float) -> None:
        """Begin to open `min_size` connections.  `acquire` works without it."""
        self._balance(now)

    def first(self, now: float, timeout: float | None = None) -> Ticket:
        """A caller waits for the pool's first connection, which is not lent to it.

        Args:
            now: the time.
            timeout: seconds to wait; None: the pool's `acquire_timeout`.

        Returns:
            The ticket: GRANTED, without a slot, if there is a connection or `min_size` is 0; WAITING until
            the first connection is open (Grant), or all attempts under way or one permanently have failed
            (Fail: here even a transient error is reported, because a pool that cannot connect at its start
            probably has a wrong address); FAILED.
        """
        patience = self.settings.acquire_timeout if timeout is None else timeout
        self._tickets += 1
        ticket: Ticket = Ticket(self._tickets, now + patience, now)
        fleet = self._fleet
        if fleet.closing:
            ticket.state = FAILED
            ticket.error = PoolClosed("the pool is closed")
        elif self.settings.min_size == 0 or fleet.live > fleet.counts[OPENING]:
            ticket.state = GRANTED
        else:
            self._starters.append(ticket)
            fleet.wake(ticket.deadline)
            self._balance(now)
        return ticket

    def expire(self, now: float) -> None:
        """Replace every connection that exists or is being opened, each at its next idle moment."""
        self._fleet.expire(now)
        self._balance(now)

    def close(self, now: float, timeout: float | None = None) -> None:
        """End the pool: waiting callers get PoolClosed, connections are closed once they are not in use.

        Connections that are still lent after `timeout` seconds (None: the settings' `close_timeout`) are
        closed by force.  It may be called again; the earliest deadline counts.
        """
        patience = self.settings.close_timeout if timeout is None else timeout
        self._fleet.close(now)
        while self._waiters:
            self._fail(self._waiters.popleft(), PoolClosed("the pool is closed"), now)
        self._end_start(PoolClosed("the pool is closed"))
        self._close_deadline = min(self._close_deadline, now + patience)
        self._fleet.wake(self._close_deadline)
        self.tick(now)

    def tick(self, now: float) -> None:
        """See which deadlines have passed.  It may be called early or often."""
        fleet = self._fleet
        if now < fleet.due:
            return
        for ticket in list(self._waiters):
            if ticket.deadline <= now:
                self._waiters.remove(ticket)
                self._time_out(ticket, now)
        for ticket in list(self._starters):
            if ticket.deadline <= now:
                self._starters.remove(ticket)
                self._started(ticket, self._out_of_time())
        fleet.age(now)
        if self._close_deadline <= now:
            self._close_deadline = INFINITY
            fleet.force(now)
        # From here on `due` is computed again, exactly.
        fleet.due = self._close_deadline
        self._balance(now)
        fleet.wake_for_slots()
        for ticket in (*self._waiters, *self._starters):
            fleet.wake(ticket.deadline)

    # --- results ---

    def take_actions(self) -> list[Action]:
        """The actions to do now, in order, without those that a later event has made obsolete."""
        return self._fleet.take_actions()

    def next_deadline(self) -> float | None:
        """When to call `tick` next, if nothing happens before; None for never."""
        due = self._fleet.due
        return None if due == INFINITY or self.done else due

    @property
    def closing(self) -> bool:
        """True from `close` on."""
        return self._fleet.closing

    @property
    def done(self) -> bool:
        """True when the pool is closed and no slot is left."""
        return self._fleet.closing and not self._fleet.slots

    def stats(self) -> PoolStats:
        """A snapshot of all gauges and counters."""
        return PoolStats(
            self.settings, self._fleet.counts, len(self._waiters), self._counters, self._last_error
        )

    # --- tickets ---

    def _seat(self, ticket: Ticket, now: float) -> None:
        """Serve a ticket that was just queued, if possible; else set its deadline."""
        if self._fleet.closing:
            self._waiters.remove(ticket)
            self._fail(ticket, PoolClosed("the pool is closed"), now)
            return
        self._balance(now)
        if ticket.state != WAITING:
            return
        if ticket.deadline <= now:
            self._waiters.remove(ticket)
            self._time_out(ticket, now)
        else:
            self._fleet.wake(ticket.deadline)

    def _told(self, ticket: Ticket, now: float) -> None:
        """The method is about to return: if the ticket still waits, an action will report its end."""
        if ticket.state == WAITING:
            ticket.waited = True
            self._counters.waits += 1
            self._tell(ticket, now)

    def _waited(self, ticket: Ticket, now: float) -> None:
        if ticket.waited:
            self._counters.wait_seconds += max(0.0, now - ticket.since)

    def _end_start(self, error: Exception | None) -> None:
        """End the tickets of `first`: with success, or with the error."""
        starters, self._starters = self._starters, []
        for ticket in starters:
            self._started(ticket, error if error is None or isinstance(error, PoolClosed) else _copy(error))

    def _started(self, ticket: Ticket, error: Exception | None) -> None:
        ticket.state = GRANTED if error is None else FAILED
        ticket.error = error
        self._fleet.ask(Grant(ticket) if error is None else Fail(ticket))

    def _fail(self, ticket: Ticket, error: Exception, now: float) -> None:
        self._waited(ticket, now)
        ticket.state = FAILED
        ticket.error = error
        if ticket.waited:
            self._fleet.ask(Fail(ticket))
        self._tell(ticket, now)

    def _tell(self, ticket: Ticket, now: float) -> None:
        watch = self._fleet.watch
        if watch is not None:
            self._fleet.ask(watch.waits(ticket, now))

    def _time_out(self, ticket: Ticket, now: float) -> None:
        self._counters.timeouts += 1
        self._fail(ticket, self._out_of_time(), now)

    def _out_of_time(self) -> PoolTimeout:
        text = "no connection became free in time"
        cause = self._last_error
        if cause is not None:
            text += f"; connecting fails: {cause}"
        error = PoolTimeout(text)
        error.__cause__ = cause
        self._count(error)
        return error

    def _count(self, error: PoolTimeout | TooManyWaiting) -> None:
        """Put the present counts on an error."""
        counts = self._fleet.counts
        error.size = len(self._fleet.slots)
        error.used = counts[USED]
        error.idle = counts[IDLE]
        error.opening = counts[OPENING]
        error.waiting = len(self._waiters)

    # --- the rules ---

    def _uncovered(self) -> int:
        """The number of callers for whom no connection is on its way."""
        return len(self._waiters) - self._fleet.counts[OPENING] - self._fleet.counts[CHECKING]

    def _balance(self, now: float) -> None:
        """Lend idle connections to waiting callers, and open missing ones.  Every event ends with it."""
        fleet = self._fleet
        if fleet.closing:
            return
        while self._waiters and fleet.idle:
            slot = fleet.idle[-1]
            unfit = LOST if fleet.is_dead(slot) else fleet.unfit(slot, now)
            needs_check = not unfit and fleet.needs_check(slot, now)
            if slot.state != IDLE or not self._waiters:
                continue  # the caller's code was asked, which has ended the connection, or the pool
            if unfit:
                fleet.retire(slot, unfit, now)
            elif not needs_check:
                self._grant(self._waiters.popleft(), slot, now)
            elif fleet.counts[CHECKING] < len(self._waiters):
                fleet.check(slot, now)
            else:
                break  # enough checks are under way, and all other idle ones need a check, too
        if not fleet.closing:
            self._open_missing(now)

    def _grant(self, ticket: Ticket, slot: Slot, now: float) -> None:
        self._waited(ticket, now)
        self._fleet.move(slot, USED, now)
        slot.ticket = ticket
        ticket.slot = slot
        ticket.state = GRANTED
        self._counters.acquires += 1
        if ticket.waited:
            self._fleet.ask(Grant(ticket))
        self._tell(ticket, now)

    def _open_missing(self, now: float) -> None:
        fleet = self._fleet
        paused = fleet.backoff.paused and not self._starters
        missing = 0 if paused else self.settings.min_size - fleet.live
        missing = max(missing, self._uncovered())
        while missing > 0 and len(fleet.slots) < self.settings.max_size:
            if not fleet.backoff.admit(now):
                fleet.wake(fleet.backoff.due)
                return
            fleet.open(now)
            missing -= 1


def _copy(error: Exception) -> ConnectError:
    """A copy of a connect error: each caller must raise an exception object of its own."""
    if not isinstance(error, ConnectError):
        failure = ConnectError(str(error), (error,))
        failure.__cause__ = error
        return failure
    failure = ConnectError(str(error), error.errors, permanent=error.permanent)
    failure.__cause__ = error if error.__cause__ is None else error.__cause__
    return failure
