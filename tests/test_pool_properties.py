"""Properties of the pool machine: a random driver, random callers and a model that only watches from outside.

The model never looks into the machine.  It sees slots and tickets through what it is handed, and checks
after every step:

- slots in any state never exceed the maximum, and the counts are the slots that exist, each once;
- slots and tickets only change as the diagrams in `pgproto.pool.slots` allow;
- callers are served in the order of their arrival, and one that was cancelled never;
- no lost wake-up: with a connection that may be lent, nobody waits; with room for another, it is opened
  now or at the machine's next deadline;
- a connection is lent to one caller at a time, and never one that was lost, dirty, refused or expired;
- stale events change nothing;
- a tick leaves no deadline in the past.

At the end the faults stop: everybody who waits is served or fails at its own deadline, and after `close`
nothing is left.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgproto.errors import ConnectError, PoolClosed, PoolTimeout, TooManyWaiting
from pgproto.pool import (
    CANCELLED,
    FAILED,
    GRANTED,
    LOST,
    RELEASED,
    WAITING,
    Check,
    Close,
    Fail,
    Grant,
    Open,
    PoolMachine,
    PoolSettings,
    Reset,
    Slot,
    Ticket,
)
from pgproto.pool.slots import (
    CHECKING,
    CLOSED,
    CLOSING,
    IDLE,
    OPENING,
    RESETTING,
    USED,
    SlotAction,
)
from tests.support.pool_script import SLOT_PATHS, TICKET_PATHS


class Connection:
    """What the driver opens."""

    def __init__(self) -> None:
        self.alive = True  # what a look at the socket shows
        self.spoiled = False  # must never be lent again
        self.dirty = False  # must be reset first
        self.borrower: Ticket | None = None


class Pool(RuleBasedStateMachine):
    """Callers, a driver that answers in any order, a network with faults, and the model."""

    @initialize(
        min_size=st.integers(0, 3),
        extra=st.integers(0, 3),
        max_waiting=st.sampled_from([None, 0, 2]),
        max_lifetime=st.sampled_from([None, None, 6.0, 20.0]),
        max_idle=st.sampled_from([None, None, 5.0, 20.0]),
        check_after=st.sampled_from([0.0, 0.5, 3.0, None]),
        draw=st.sampled_from([0.0, 0.5, 0.99]),
    )
    def begin(
        self,
        min_size: int,
        extra: int,
        max_waiting: int | None,
        max_lifetime: float | None,
        max_idle: float | None,
        check_after: float | None,
        draw: float,
    ) -> None:
        self.settings = PoolSettings(
            min_size=min_size,
            max_size=max(1, min_size + extra),
            acquire_timeout=10.0,
            max_waiting=max_waiting,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            check_after=check_after,
        )
        self.pool: PoolMachine = PoolMachine(self.settings, lambda: draw, self.is_alive)
        self.now = 1000.0
        self.slots: dict[int, Slot] = {}
        self.tickets: list[Ticket] = []
        self.queue: list[Ticket] = []  # the model's: who waits, in the order of arrival
        self.todo: list[SlotAction] = []  # what the driver has been asked and not answered
        self.old: list[tuple[str, Callable[[], object]]] = []  # events that have happened, to be replayed
        self.slot_states: dict[int, int] = {}
        self.ticket_states: dict[int, int] = {}
        self.closed = False
        self.deadline = 0.0  # of close()
        self.paused = False  # after a permanent failure
        self.idle_retired = 0
        self.condemned: set[int] = set()  # slots that expire() was meant for
        self.pool.start(self.now)
        self.drain()

    def is_alive(self, connection: Connection) -> bool:
        if not connection.alive:
            connection.spoiled = True
        return connection.alive

    # --- the driver ---

    def drain(self) -> None:
        for action in self.pool.take_actions():
            if isinstance(action, (Grant, Fail)):
                assert action.ticket.state == (GRANTED if isinstance(action, Grant) else FAILED)
                continue
            assert isinstance(action, (Open, Check, Reset, Close))
            slot = action.slot
            known = self.slots.setdefault(slot.number, slot)
            assert known is slot
            assert action.generation == slot.generation
            if isinstance(action, Close) and slot.connection is not None:
                slot.connection.spoiled = True
                slot.connection.borrower = None
            if isinstance(action, Open):
                assert not self.closed
                assert slot.connection is None
            if action not in self.todo:
                self.todo.append(action)
        self.settle()

    def settle(self) -> None:
        """Compare the tickets with the model's queue: who was served, and in which order?"""
        served = [ticket for ticket in self.queue if ticket.state == GRANTED]
        still = [ticket for ticket in self.queue if ticket.state == WAITING]
        if served and still:
            assert max(t.number for t in served) < min(t.number for t in still), "not first come first served"
        for ticket in served:
            self.lent(ticket)
        self.queue = still

    def lent(self, ticket: Ticket) -> None:
        connection = ticket.connection
        assert not connection.spoiled, "lent a connection that must not be used"
        assert not connection.dirty, "lent a connection that was not reset"
        assert connection.borrower is None, "lent twice"
        assert connection.alive
        assert ticket.slot is not None
        assert ticket.slot.number not in self.condemned
        assert ticket.slot.state == USED
        connection.borrower = ticket

    def held(self) -> list[Ticket]:
        return [ticket for ticket in self.tickets if ticket.state == GRANTED]

    def returned(self, ticket: Ticket) -> None:
        connection = ticket.connection
        if connection.borrower is ticket:
            connection.borrower = None

    def answer(self, action: SlotAction, good: bool, permanent: bool) -> None:
        self.todo.remove(action)
        pool, slot, generation, now = self.pool, action.slot, action.generation, self.now
        if isinstance(action, Open):
            if good:
                connection = Connection()
                fresh = slot.state == OPENING and slot.generation == generation
                self.paused = self.paused and not fresh
                assert pool.opened(slot, generation, connection, now) is fresh
                self.old.append(("opened", lambda: pool.opened(slot, generation, Connection(), self.now)))
            else:
                error = ConnectionRefusedError()
                self.paused = self.paused or (permanent and slot.state == OPENING)
                pool.open_failed(slot, generation, error, permanent, now)
                self.old.append(
                    ("open_failed", lambda: pool.open_failed(slot, generation, error, permanent, self.now))
                )
        elif isinstance(action, Check):
            pool.check_done(slot, generation, good, now)
            self.old.append(("check", lambda: pool.check_done(slot, generation, not good, self.now)))
        elif isinstance(action, Reset):
            if good and slot.generation == generation and slot.connection is not None:
                slot.connection.dirty = False
            pool.reset_done(slot, generation, good, now)
            self.old.append(("reset", lambda: pool.reset_done(slot, generation, not good, self.now)))
        else:
            pool.closed(slot, generation, now)
            self.old.append(("closed", lambda: pool.closed(slot, generation, self.now)))
        self.drain()

    @precondition(lambda self: self.todo)
    @rule(data=st.data(), good=st.booleans(), permanent=st.sampled_from([False, False, False, True]))
    def answer_any(self, data: st.DataObject, good: bool, permanent: bool) -> None:
        self.answer(data.draw(st.sampled_from(self.todo)), good, permanent)

    @precondition(lambda self: self.todo)
    @rule()
    def answer_all_well(self) -> None:
        for action in list(self.todo):
            if action in self.todo:
                self.answer(action, True, False)

    # --- callers ---

    @rule(timeout=st.sampled_from([None, None, 0.0, 1.0, 40.0]))
    def acquire(self, timeout: float | None) -> None:
        ticket = self.pool.acquire(self.now, timeout)
        self.tickets.append(ticket)
        if ticket.state == FAILED:
            assert isinstance(ticket.error, (PoolClosed if self.closed else (PoolTimeout, TooManyWaiting)))
            assert not isinstance(ticket.error, PoolTimeout) or timeout == 0.0
        else:
            self.queue.append(ticket)
        self.drain()

    @precondition(lambda self: not self.closed)
    @rule(count=st.integers(1, 4), seconds=st.sampled_from([0.0, 0.0, 0.5, 4.0]), answered=st.booleans())
    def come_in_numbers(self, count: int, seconds: float, answered: bool) -> None:
        self.now += seconds
        for _ in range(count):
            self.acquire(None)
        if answered:
            self.answer_all_well()

    @precondition(lambda self: self.held())
    @rule(dirty=st.booleans())
    def leave_together(self, dirty: bool) -> None:
        for ticket in self.held():
            self.give_back(ticket, "dirty" if dirty else "clean")

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def cancel_waiting(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.queue))
        self.pool.cancel(ticket, self.now)
        assert ticket.state == CANCELLED
        self.drain()

    @precondition(lambda self: self.held())
    @rule(
        data=st.data(), how=st.sampled_from(["clean", "clean", "dirty", "broken", "lost", "refuse", "cancel"])
    )
    def end_lease(self, data: st.DataObject, how: str) -> None:
        self.give_back(data.draw(st.sampled_from(self.held())), how)

    def give_back(self, ticket: Ticket, how: str) -> None:
        pool, connection = self.pool, ticket.connection
        self.returned(ticket)
        if how == "refuse":
            connection.spoiled = True
            pool.refused(ticket, self.now)
            if ticket.state == FAILED:
                assert isinstance(ticket.error, (ConnectError, PoolTimeout, PoolClosed))
            else:
                self.queue.append(ticket)
                self.queue.sort(key=lambda waiting: waiting.number)
        elif how == "cancel":
            pool.cancel(ticket, self.now)
        else:
            usable = how in ("clean", "dirty")
            if not usable:
                connection.spoiled = True
            connection.dirty = how == "dirty"
            reason = LOST if how == "lost" else "broken"
            pool.release(ticket, self.now, usable=usable, clean=how == "clean", reason=reason)
            assert ticket.state == RELEASED
        if ticket.state not in (WAITING, GRANTED):
            self.old.append(("release", lambda: pool.release(ticket, self.now, usable=False)))
            self.old.append(("cancel", lambda: pool.cancel(ticket, self.now)))
            self.old.append(("refuse", lambda: pool.refused(ticket, self.now)))
        self.drain()

    # --- the world ---

    @rule(
        seconds=st.sampled_from([0.001, 0.3, 1.0, 2.5, 7.0, 25.0]), tick=st.sampled_from([True, True, False])
    )
    def wait(self, seconds: float, tick: bool) -> None:
        self.now += seconds
        if tick:
            self.tick()

    @rule()
    def wait_for_the_deadline(self) -> None:
        due = self.pool.next_deadline()
        if due is not None:
            self.now = max(self.now, due)
            self.tick()

    def tick(self) -> None:
        self.pool.tick(self.now)
        due = self.pool.next_deadline()
        assert due is None or due > self.now, "a tick leaves no deadline behind"
        for ticket in self.tickets:
            assert ticket.state != WAITING or ticket.deadline > self.now
            if ticket.state == WAITING:
                assert due is not None
                assert due <= ticket.deadline
            if ticket.state == FAILED and isinstance(ticket.error, PoolTimeout):
                assert ticket.deadline <= self.now
        for slot in self.slots.values():
            if slot.state == IDLE:
                assert slot.expires_at > self.now
            if slot.state in (CHECKING, RESETTING):
                assert slot.deadline > self.now
            if self.closed and self.deadline <= self.now:
                assert slot.state == CLOSED or slot.forced
        self.drain()

    def living(self) -> list[Slot]:
        return [slot for slot in self.slots.values() if slot.state in (IDLE, USED, CHECKING, RESETTING)]

    @precondition(lambda self: self.living())
    @rule(data=st.data(), told=st.booleans())
    def connection_ends(self, data: st.DataObject, told: bool) -> None:
        """The server ends a connection; the driver is told, or a look at the idle socket would show it."""
        slot = data.draw(st.sampled_from(self.living()))
        assert slot.connection is not None
        if told:
            slot.connection.spoiled = True
            self.pool.lost(slot, self.now)
            assert slot.state == CLOSING
            self.old.append(("lost", lambda: self.pool.lost(slot, self.now)))
            self.drain()
        elif slot.state == IDLE and slot.verified_at < self.now:
            slot.connection.alive = False

    @rule()
    def expire(self) -> None:
        self.condemned.update(slot.number for slot in self.slots.values() if slot.state != CLOSED)
        self.pool.expire(self.now)
        self.drain()

    @precondition(lambda self: len(self.tickets) > 12)
    @rule(timeout=st.sampled_from([0.0, 1.0, 5.0]))
    def close(self, timeout: float) -> None:
        deadline = self.now + timeout
        self.deadline = min(self.deadline, deadline) if self.closed else deadline
        self.closed = True
        self.pool.close(self.now, timeout)
        assert not any(ticket.state == WAITING for ticket in self.tickets)
        self.drain()

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def replay_a_stale_event(self, data: st.DataObject) -> None:
        name, event = data.draw(st.sampled_from(self.old), label="stale event")
        before = self.picture()
        result = event()
        assert result in (None, False)
        assert self.pool.take_actions() == []
        assert self.picture() == before, name

    def picture(self) -> object:
        """All that can be seen from outside."""
        slots = [(s.number, s.state, s.generation, s.forced, s.proven) for s in self.slots.values()]
        tickets = [(t.number, t.state, t.attempts, t.slot, t.error) for t in self.tickets]
        return slots, tickets, self.pool.stats().as_dict(), self.pool.next_deadline(), self.pool.done

    # --- what must hold at any time ---

    @invariant()
    def states_change_as_drawn(self) -> None:
        for number, slot in self.slots.items():
            assert slot.state in SLOT_PATHS[self.slot_states.get(number, OPENING)]
            self.slot_states[number] = slot.state
        for ticket in self.tickets:
            assert ticket.state in TICKET_PATHS[self.ticket_states.get(ticket.number, WAITING)]
            self.ticket_states[ticket.number] = ticket.state

    @invariant()
    def counts_are_the_slots(self) -> None:
        stats = self.pool.stats()
        assert stats.size <= self.settings.max_size
        by_state = [0] * (CLOSED + 1)
        for slot in self.slots.values():
            by_state[slot.state] += 1
        counted = (stats.opening, stats.checking, stats.idle, stats.used, stats.resetting, stats.closing)
        assert tuple(by_state[:CLOSED]) == counted
        assert stats.size == sum(counted)
        assert stats.waiting == len(self.queue) == sum(t.state == WAITING for t in self.tickets)
        assert stats.used == sum(t.slot is not None and t.slot.ticket is t for t in self.held())

    @invariant()
    def everything_asked_has_somebody_to_answer(self) -> None:
        """Opening, checking, resetting and closing slots have exactly one current action with the driver."""
        for slot in self.slots.values():
            asked = [a for a in self.todo if a.slot is slot and a.generation == slot.generation]
            kinds = {OPENING: Open, CHECKING: Check, RESETTING: Reset, CLOSING: Close}
            if slot.state in kinds:
                assert asked
                assert all(isinstance(action, kinds[slot.state]) for action in asked)
                assert len(asked) == 1 or slot.state == CLOSING
            else:
                assert not asked

    @invariant()
    def no_lost_wake_up(self) -> None:
        stats = self.pool.stats()
        due = self.pool.next_deadline()
        if stats.waiting:
            assert not self.closed
            assert due is not None
            for slot in self.slots.values():
                if slot.state == IDLE:
                    assert slot.verified_at + self.settings.check_after <= self.now
                    assert stats.checking >= stats.waiting
        uncovered = stats.waiting - stats.opening - stats.checking
        if uncovered > 0 and stats.size < self.settings.max_size:
            assert due is not None
            assert due <= self.now + 0.6, "nobody is on his way to those who wait"
        limit = self.settings.max_waiting
        if limit is not None and not any(ticket.attempts for ticket in self.tickets):
            assert stats.waiting <= limit + self.settings.max_size

    @invariant()
    def min_size_is_kept_up(self) -> None:
        stats, due = self.pool.stats(), self.pool.next_deadline()
        too_few = stats.size - stats.closing < self.settings.min_size
        if too_few and stats.size < self.settings.max_size and not self.closed and not self.paused:
            assert due is not None
            assert due <= self.now + 0.6, "held back by more than the back-off"
        if stats.retired["idle"] > self.idle_retired:
            self.idle_retired = stats.retired["idle"]
            assert stats.size - stats.closing >= self.settings.min_size

    @invariant()
    def closed_pools_only_shrink(self) -> None:
        stats = self.pool.stats()
        if self.closed:
            assert stats.idle == stats.opening == stats.checking == stats.resetting == stats.waiting == 0
            assert self.pool.done == (stats.size == 0)
            assert not self.pool.done or self.pool.next_deadline() is None

    # --- when the faults are over ---

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        waiting = list(self.queue)
        while self.queue or self.todo or self.held():
            self.answer_all_well()
            for ticket in self.held():
                self.returned(ticket)
                self.pool.release(ticket, self.now)
                self.drain()
            due = self.pool.next_deadline()
            if self.queue and not self.todo:
                assert due is not None
                self.now = max(self.now, due)
                self.tick()
        for ticket in waiting:
            served = ticket.state == RELEASED
            assert served or (isinstance(ticket.error, PoolTimeout) and ticket.deadline <= self.now)
        if not self.closed:
            again = self.pool.acquire(self.now, 2.0)
            self.tickets.append(again)
            if again.state == WAITING:
                self.queue.append(again)
            self.drain()
            while again.state == WAITING:
                self.answer_all_well()
                if again.state == WAITING:
                    self.wait_for_the_deadline()
            assert again.state == GRANTED or isinstance(again.error, TooManyWaiting)
            self.close(1.0)
        self.wait(5.0, True)
        while self.todo:
            self.answer_all_well()
        assert self.pool.done
        assert self.pool.stats().size == 0
        assert self.pool.next_deadline() is None
        for name, event in self.old:
            before = self.picture()
            event()
            assert self.picture() == before, name
        assert self.pool.take_actions() == []


TestPool = pytest.mark.slow(Pool.TestCase)
TestPool.settings = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
