"""The pool's driver: does what `pgproto.pool.PoolMachine` decides, with threads.

Every event goes to the machine through `tell`, one step at a time: with a lock held, which is never held
while anything is waited for.  What the machine answers is done after that: a waiting caller is woken, or a
short-lived thread opens, checks, resets or closes a connection.  One more thread keeps the deadlines.

What comes in the middle of a step of this very thread (see `Steps`) and needs no answer waits for the next
step, or is handed to another thread; the rest is refused.

All waiting is for plain locks, which an interrupt cannot break.  An interrupt that strikes inside of
`tell` may have torn the machine, or lost an answer of it: then the pool starts over with a new machine, its
idle connections are closed, and those that are lent are closed as they come back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from pgproto import ConnectError
from pgproto.client import logs
from pgproto.client.blocking import (
    Connection,
    Held,
    Jobs,
    is_alive,
    looked_after,
    open_failed,
    release,
)
from pgproto.pool import (
    FAILED,
    GRANTED,
    WAITING,
    Action,
    Check,
    Close,
    Fail,
    Grant,
    Open,
    PoolMachine,
    PoolStats,
    Reset,
    Slot,
    Tell,
    Ticket,
)
from pgproto.session import GRACE
from pgproto_sockets import forks

from . import threads
from .link import HERE, Link
from .steps import Steps
from .stops import Stop

__all__ = ["Driver"]

T = TypeVar("T")

_FOREVER: Final = float("inf")
_log = logging.getLogger("pgproto")


class _Torn(Exception):
    """An interrupt has struck inside of the machine, and its thread has not come to start over yet."""


class Driver:
    """Runs a pool's machine: a `Lender`.

    Args:
        jobs: what its threads do.
    """

    inherited = False  # a child begins anew
    home = HERE
    over = False

    def __init__(self, jobs: Jobs) -> None:
        self.runtime = jobs.runtime
        self._jobs = jobs
        self._jobs.home = HERE
        self._settings = jobs.settings
        self._closed = False
        self._begin()
        forks.forget_in_child(self)

    def _begin(self) -> None:
        """What there is when nothing has happened yet."""
        self._steps = Steps()
        self._alarm = threads.new_waiter()
        self._keeper: threading.Thread | None = None
        self._wakes_at = _FOREVER  # when the keeper will look at the machine next
        self._workers: set[threading.Thread] = set()
        self._closers: list[threading.Lock] = []
        # What came in the middle of a step: for the next one, and leases to end for the keeper.
        self._events: deque[Callable[[PoolMachine, float], None]] = deque()
        self._left: deque[tuple[Held, bool, Callable[[], None]]] = deque()
        self._found()

    def _found(self) -> None:
        """What there is when a new machine takes over."""
        jobs = self._jobs
        self._machine = PoolMachine(self._settings, self.runtime.random, is_alive, jobs.ping, jobs.watch)
        self._inside = False  # somebody is inside of it, or was interrupted there
        self._connections: set[Connection] = set()
        self._opening: dict[int, Stop] = {}
        self._closing: set[int] = set()
        self._waiting: set[threading.Lock] = set()

    # ---- Called by the pool

    @property
    def closing(self) -> bool:
        """True once its end has begun."""
        return self._machine.closing

    @property
    def started(self) -> bool:
        """True once `start` was called."""
        return self._keeper is not None

    def start(self) -> bool:
        """Begin to open `min_size` connections; False if that was done before.

        Raises:
            ConnectError: there can be no more threads.
            LocalProtocolError, PoolClosed: see `Steps.check`.
        """
        if self._keeper is not None or self._closed:
            return False
        self._steps.check()
        self._steps.with_lock(self._hire)
        machine = self._machine
        self._tell(machine, machine.start)
        return True

    def _hire(self) -> None:
        if self._keeper is None:
            # It does not keep the pool alive: a pool that nobody refers to ends, and with it the thread.
            arguments = (weakref.ref(self), self._alarm)
            keeper = threads.Helper(target=_keep, args=arguments, name="pgproto pool keeper", daemon=True)
            threads.start(keeper)
            self._keeper = keeper

    def check_here(self) -> None:
        """Every thread may use it."""

    def enter(self) -> None:
        """Its threads belong to no block."""

    def leave(self, *error: object) -> None:
        """So there is nothing to wait for."""

    def first(self) -> None:
        """Wait for the first connection.

        Raises:
            ConnectError, PoolTimeout, PoolClosed: see `Pool.open`.
        """
        machine = self._machine
        waiter = threads.new_waiter()
        tickets: list[Ticket] = []

        def ask(now: float) -> None:
            ticket = machine.first(now)
            ticket.waiter = waiter
            tickets.append(ticket)
            self._waiting.add(waiter)

        def stop(now: float) -> None:
            if tickets and tickets[0].state == WAITING:
                machine.cancel(tickets[0], now)

        try:
            self._tell(machine, ask)
            for ticket in tickets:
                self._wait(machine, ticket, waiter)
        finally:
            self._waiting.discard(waiter)
            self._tell(machine, stop)
        for ticket in tickets:
            if ticket.error is not None:
                raise ticket.error

    def borrow(self, timeout: float | None, keep: Callable[[Held], None]) -> Connection:
        """Borrow a connection.

        Args:
            timeout: seconds to wait; None for the pool's `acquire_timeout`.
            keep: gets the lease as soon as it exists.
        """
        self.start()
        patience = self._settings.acquire_timeout if timeout is None else timeout
        deadline = time.monotonic() + patience
        while True:
            left = patience if patience < 0.0 else max(0.0, deadline - time.monotonic())
            conn = self._try_acquire(self._machine, left, keep)
            if conn is not None:
                return conn

    def give_back(self, held: Held, done: Callable[[], None]) -> None:
        """A lease that was claimed ends; `done` is called in the moment in which it has."""
        if sys.is_finalizing() or self._is_between:
            self._leave(held, done, wanted=True)
            return
        try:
            self._end(held, True, done)
        except BaseException:  # an interrupt: what it has left undone is for a thread of the pool's
            if held.ticket.state == GRANTED:
                self._leave(held, done, wanted=False)
            raise

    give_back_later = give_back

    def drop(self, held: Held) -> bool:
        """A lease was lost without being ended.  Called by the garbage collector, at any moment.

        Nobody should be told: an interrupt came before the `with` block, perhaps.
        """
        # One that was claimed was interrupted on its way: whether the hook has run, nobody knows.
        self._leave(held, _nothing, wanted=held.claim())
        return False

    def _leave(self, held: Held, done: Callable[[], None], *, wanted: bool) -> None:
        """Leave the end of a lease to a thread of the pool's."""
        if sys.is_finalizing():  # there is none any more
            held.lent.take_back()
            held.conn.close(timeout=0.0)
            done()
        else:
            self._left.append((held, wanted, done))
            threads.wake(self._alarm)

    def expire(self) -> None:
        """Replace every connection at its next idle moment."""
        self._soon(PoolMachine.expire)

    def stats(self) -> PoolStats:
        """A snapshot; in the middle of a step of this very thread, of how far that is."""
        if sys.is_finalizing():  # a thread that has the lock will never release it
            return self._machine.stats()
        with self._steps.lock:
            return self._machine.stats()

    def close(self, timeout: float | None) -> None:
        """End the pool and wait until nothing of it is left: connections, threads.

        In the middle of a step of this very thread, and in a thread of a pool's, it is begun, not waited for.
        """
        self._closed = True
        if sys.is_finalizing():
            for conn in list(self._connections):
                conn.close(timeout=0.0)
            return
        patience = self._settings.close_timeout if timeout is None else timeout
        if self._is_between:
            self._jobs.end(time.monotonic() + patience + GRACE)
            self._soon(partial(PoolMachine.close, timeout=timeout))
            return
        machine = self._machine
        closer = threads.new_waiter()

        def event(now: float) -> bool:
            self._closers.append(closer)
            machine.close(now, timeout)
            return True

        while self._tell(machine, event) is None:
            machine = self._machine  # another one has taken over
        # Behind the deadline everything is cut off; the rest is the end of the threads that do it.
        limit = time.monotonic() + patience + 2 * GRACE
        self._jobs.end(limit - GRACE)
        if not machine.done:
            closer.acquire(timeout=min(max(0.0, limit - time.monotonic()), threading.TIMEOUT_MAX))
        for thread in [*list(self._workers), self._keeper]:
            # One that an interrupt kept from being started, or that is starting, cannot be joined.
            if thread is not None and thread.is_alive() and thread is not threading.current_thread():
                thread.join(min(max(0.0, limit - time.monotonic()), threading.TIMEOUT_MAX))

    def forget(self) -> None:
        """In a forked child: the connections are the parent's, and its threads are not here.  Begin anew."""
        self._begin()

    def __del__(self) -> None:
        alarm: threading.Lock | None = getattr(self, "_alarm", None)
        if alarm is not None:
            threads.wake(alarm)

    # ---- Borrowing

    def _try_acquire(
        self, machine: PoolMachine, patience: float, keep: Callable[[Held], None]
    ) -> Connection | None:
        """Borrow from this machine; None if another one is in charge by now."""
        waiter = threads.new_waiter()
        tickets: list[Ticket] = []
        asked: Connection | None = None  # whom `on_acquire` is asked about
        held: Held | None = None

        def ask(now: float) -> None:
            ticket = machine.acquire(now, patience)
            ticket.waiter = waiter
            tickets.append(ticket)
            self._waiting.add(waiter)

        try:
            self._tell(machine, ask)
            while machine is self._machine:
                ticket = tickets[0]
                self._wait(machine, ticket, waiter)
                if ticket.state == FAILED and ticket.error is not None:
                    raise ticket.error
                if ticket.state == WAITING:
                    break
                asked = conn = ticket.connection
                if self._jobs.accepted(conn, ticket.deadline):
                    held = Held(machine, ticket, conn)
                    keep(held)
                    return held.lent
                asked = None
                self._tell(machine, partial(machine.refused, ticket))
        except BaseException:
            if held is not None:
                if held.claim():  # else the lease has been told to end it
                    self.give_back(held, _nothing)
            elif asked is not None and self._jobs.hooks.acquire is not None:
                self._end(Held(machine, tickets[0], asked), True, _nothing)  # the hook may have used it
            elif tickets:
                self._tell(machine, partial(machine.cancel, tickets[0]))
            raise
        finally:
            self._waiting.discard(waiter)
        return None

    def _wait(self, machine: PoolMachine, ticket: Ticket, waiter: threading.Lock) -> None:
        while ticket.state == WAITING and machine is self._machine:
            left = ticket.deadline - time.monotonic()
            if left > 0:
                waiter.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            else:
                self._tell(machine, machine.tick)

    # ---- Giving back

    def _end(self, held: Held, wanted: bool, done: Callable[[], None]) -> None:
        answer = False
        try:
            held.lent.take_back()
            answer = wanted and (self._jobs.hooks.release is None or self._jobs.released(held.conn))
        finally:  # an interrupt, out of the hook or not, ends the lease too
            self._take(held, answer, done)

    def _take(self, held: Held, wanted: bool, done: Callable[[], None]) -> None:
        machine, ticket, conn = held.machine, held.ticket, held.conn
        # One that is not wanted may still be lent: an interrupt came before its handle was taken back.
        usable, clean = self._state_left(conn) if wanted else (False, False)

        def event(now: float) -> bool:
            done()
            release(machine, ticket, conn, now, usable, clean)
            return True

        if self._tell(machine, event) is None:
            conn.abort()  # the machine that lent it is not in charge any more
            done()

    def _state_left(self, conn: Connection) -> tuple[bool, bool]:
        """See `Jobs.state_left`.  While another thread is in a call nothing can be said, so it may not."""
        state = (False, False)

        def look() -> None:
            nonlocal state
            state = self._jobs.state_left(conn)

        link = conn.link
        assert isinstance(link, Link)
        if not link.transport.closed:
            link.transport.try_alone(look)
        return state

    # ---- The machine

    @property
    def _is_between(self) -> bool:
        """True if this very thread has something else to finish: a step, or a pool's work."""
        return self._steps.is_mine or threads.is_helper()

    def _soon(self, event: Callable[[PoolMachine, float], None]) -> None:
        """Let something happen to the machine, now or after the step that this thread is in."""
        self._events.append(event)
        if self._steps.is_mine:
            threads.wake(self._alarm)
        elif not sys.is_finalizing():
            self._tell(self._machine, _at_once)

    def _tell(self, machine: PoolMachine, event: Callable[[float], T]) -> T | None:
        """Let something happen to the machine, then do what it decides.  None if it is not in charge.

        Raises:
            LocalProtocolError, PoolClosed: see `Steps.check`.
        """
        self._steps.check()
        actions: list[Action] = []
        done = early = False

        def step() -> T | None:
            nonlocal actions, done, early
            if machine is not self._machine:
                return None
            if self._inside:
                raise _Torn
            self._inside = True
            now = time.monotonic()
            while self._events:
                self._events.popleft()(machine, now)
            result = event(now)
            actions = machine.take_actions()
            done = machine.done
            due = machine.next_deadline()
            early = due is not None and due < self._wakes_at
            if early and due is not None:
                self._wakes_at = due
            self._inside = False
            return result

        try:
            result = self._steps.with_lock(step)
            for action in actions:
                self._act(machine, action)
            if done:
                for closer in self._closers:
                    threads.wake(closer)
        except _Torn:
            self._start_over(machine)
            return None
        except BaseException:
            self._start_over(machine)
            raise
        if early or done:
            threads.wake(self._alarm)
        return result

    def _act(self, machine: PoolMachine, action: Action) -> None:
        if isinstance(action, Grant | Fail):
            waiter = action.ticket.waiter
            if waiter is not None:
                threads.wake(waiter)
        elif isinstance(action, Open):
            self._spawn(self._open, machine, action.slot, action.generation)
        elif isinstance(action, Check | Reset):
            self._spawn(self._look_after, machine, action)
        elif isinstance(action, Tell):
            action.deliver()
        elif isinstance(action, Close):
            conn: Connection | None = action.slot.connection
            if conn is None:
                opening = self._opening.get(action.slot.number)
                if opening is not None:
                    opening.ask()  # its thread tells the machine when it has ended
            else:
                first = action.slot.number not in self._closing
                self._closing.add(action.slot.number)
                if first:
                    logs.retired(action)
                if first or action.force:
                    self._spawn(self._close, machine, action, conn, first)

    def _start_over(self, machine: PoolMachine) -> None:
        """The machine may be torn: let a new one take over."""
        connections: set[Connection] = set()
        waiting: set[threading.Lock] = set()
        opening: dict[int, Stop] = {}

        def step() -> bool:
            nonlocal connections, waiting, opening
            if machine is not self._machine:
                return False
            connections, waiting, opening = self._connections, self._waiting, self._opening
            self._found()
            if self._closed:
                self._machine.close(time.monotonic(), 0.0)
            return True

        if not self._steps.with_lock(step):
            return
        for conn in connections:
            if not conn.lent:
                conn.abort()
        for attempt in opening.values():
            attempt.ask()
        for waiter in [*waiting, *(self._closers if self._closed else ()), self._alarm]:
            threads.wake(waiter)

    def nap(self) -> float | None:
        """For the keeper: do what is due; seconds until there is more to do, None if never."""
        while self._left:
            self._spawn(self._end, *self._left.popleft())
        machine = self._machine
        due = machine.next_deadline()
        if self._events or (due is not None and due <= time.monotonic()):
            self._tell(machine, machine.tick)
        return self._steps.with_lock(self._sleep)

    def _sleep(self) -> float | None:
        if self._machine.done:
            return None
        due = self._machine.next_deadline()
        self._wakes_at = _FOREVER if due is None else due
        return self._wakes_at - time.monotonic()

    # ---- What is done by threads

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                if not threads.is_helper():  # see below: it is the caller's
                    raise
                self.runtime.report(HERE, "a thread of the pool", error)
            finally:
                self._workers.discard(thread)

        thread = threads.Helper(target=run, name=f"pgproto pool{work.__name__}", daemon=True)
        self._workers.add(thread)
        try:
            threads.start(thread)
        except ConnectError:  # it is done all the same
            run()

    def _open(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        stop = self._opening[slot.number] = Stop()
        conn: Connection | None = None
        failure: BaseException = ConnectError("the connection is not wanted any more")
        try:
            if slot.generation == generation:
                with stop:
                    conn = self._jobs.open()
        except BaseException as error:
            failure = error
            if not isinstance(error, Exception):
                raise
        finally:

            def event(now: float) -> bool:
                self._opening.pop(slot.number, None)
                if conn is not None:
                    self._connections.add(conn)
                    return machine.opened(slot, generation, conn, now)
                wanted = slot.generation == generation  # else a Close waits for its answer
                open_failed(machine, slot, generation, failure, now)
                return wanted

            if not self._tell(machine, event):
                if conn is not None:
                    conn.close()
                # The Close that made it unwanted is answered here: without a connection nobody else does.
                self._gone(machine, slot, slot.generation, conn)

    def _look_after(self, machine: PoolMachine, action: Check | Reset) -> None:
        usable = False
        try:
            usable = self._jobs.look_after(action)
        finally:  # a callback may have raised SystemExit, which ends this thread
            self._tell(machine, partial(looked_after, machine, action, usable))

    def _close(self, machine: PoolMachine, action: Close, conn: Connection, first: bool) -> None:
        try:
            if action.force:
                conn.abort()
            if first:
                self._jobs.close(conn)
        finally:
            if first:
                self._gone(machine, action.slot, action.generation, conn)

    def _gone(self, machine: PoolMachine, slot: Slot, generation: int, conn: Connection | None) -> None:
        def event(now: float) -> None:
            if conn is not None:
                self._connections.discard(conn)
            self._closing.discard(slot.number)
            machine.closed(slot, generation, now)

        self._tell(machine, event)


def _keep(driver: weakref.ref[Driver], alarm: threading.Lock) -> None:
    """The keeper's life."""
    while True:
        alive = driver()
        if alive is None:
            return
        try:
            seconds = alive.nap()
        except BaseException:  # noqa: BLE001 - it goes on as long as the pool lives
            _log.exception("the pool's keeper failed")
            seconds = 1.0
        del alive
        if seconds is None:
            return
        if seconds > 0:
            alarm.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


def _nothing() -> None:
    """Nobody wants to know."""


def _at_once(now: float) -> None:
    """Nothing but what waits for a step already."""
