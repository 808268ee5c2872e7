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

import contextlib
import logging
import random
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from pgproto import ConnectError, Error
from pgproto.client.blocking import Connection, Held, Hook, Hooks, Runtime
from pgproto.pool import (
    FAILED,
    GRANTED,
    WAITING,
    Action,
    Check,
    Close,
    Fail,
    Grant,
    HookTimeout,
    Open,
    PoolMachine,
    PoolSettings,
    PoolStats,
    Reset,
    Resetting,
    Slot,
    Ticket,
    ending,
    hook_failed,
    is_permanent,
)
from pgproto.session import GRACE, Connector, check_left, check_new
from pgproto_sockets import forks

from . import threads
from .hooks import Questions
from .link import HERE
from .looks import is_alive, state_left
from .runtime import RUNTIME
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
        connector: makes the connections.
        settings: the pool's limits and times.
        hooks: what to ask the owner.
        resetting: which script makes a returned session as new.
    """

    inherited = False  # a child begins anew
    home = HERE
    over = False

    def __init__(
        self, connector: Connector, settings: PoolSettings, hooks: Hooks, resetting: Resetting
    ) -> None:
        self.runtime: Runtime = RUNTIME
        self._connector = connector
        self._settings = settings
        self._hooks = hooks
        self._resetting = resetting
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
        self._questions = Questions()
        # What came in the middle of a step: for the next one, and leases to end for the keeper.
        self._events: deque[Callable[[PoolMachine, float], None]] = deque()
        self._left: deque[tuple[Held, bool, Callable[[], None]]] = deque()
        self._found()

    def _found(self) -> None:
        """What there is when a new machine takes over."""
        self._machine = PoolMachine(self._settings, random.random, is_alive)
        self._inside = False  # somebody is inside of it, or was interrupted there
        self._connections: set[Connection] = set()
        self._opening: dict[int, Stop] = {}
        self._closing: set[int] = set()
        self._waiting: set[threading.Lock] = set()

    # ---- Called by the pool

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
            tickets.append(ticket)
            if ticket.state == WAITING:
                ticket.waiter = waiter
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
            self._end(held, done)
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
            self._questions.end(time.monotonic() + patience + GRACE)
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
        self._questions.end(limit - GRACE)
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
            tickets.append(ticket)
            if ticket.state == WAITING:
                ticket.waiter = waiter
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
                if self._accepted(conn):
                    held = Held(machine, ticket, conn)
                    keep(held)
                    return held.lent
                asked = None

                def refuse(now: float, ticket: Ticket = ticket) -> None:
                    machine.refused(ticket, now)
                    if ticket.state == WAITING:
                        ticket.waiter = waiter

                self._tell(machine, refuse)
        except BaseException:
            if held is not None:
                if held.claim():  # else the lease has been told to end it
                    self.give_back(held, _nothing)
            elif asked is not None and self._hooks.acquire is not None:
                self._end(Held(machine, tickets[0], asked), _nothing)  # the hook may have used it
            elif tickets:
                self._tell(machine, lambda now: machine.cancel(tickets[0], now))
            raise
        finally:
            self._waiting.discard(waiter)
        return None

    def _accepted(self, conn: Connection) -> bool:
        """Ask `on_acquire`.  One that closes the connection does not want it either."""
        hook = self._hooks.acquire
        if hook is None:
            return True
        if hook(conn) is False or conn.closed or conn.engine.retiring:
            return False
        check_left(conn.engine, "on_acquire")
        return True

    def _wait(self, machine: PoolMachine, ticket: Ticket, waiter: threading.Lock) -> None:
        while ticket.state == WAITING and machine is self._machine:
            left = ticket.deadline - time.monotonic()
            if left > 0:
                waiter.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            else:
                self._tell(machine, machine.tick)

    # ---- Giving back

    def _end(self, held: Held, done: Callable[[], None]) -> None:
        wanted = False
        try:
            held.lent.take_back()
            wanted = self._released(held.conn, self._hooks.release)
        finally:  # an interrupt, out of the hook or not, ends the lease too
            self._take(held, wanted, done)

    def _end_left(self, held: Held, wanted: bool, done: Callable[[], None]) -> None:
        """Do for a lease what its borrower would have done, and close its connection if it is not wanted."""
        hook = self._hooks.release
        try:
            held.lent.take_back()
            if wanted:
                wanted = False
                seconds = self._settings.reset_timeout
                bounded = None if hook is None else partial(self._questions.ask, "on_release", hook, seconds)
                wanted = self._released(held.conn, bounded)
        except BaseException:  # noqa: BLE001 - nobody waits for this thread
            _log.exception("on_release raised")
        finally:
            self._take(held, wanted, done)

    def _released(self, conn: Connection, hook: Hook | None) -> bool:
        """Ask `on_release` whether a connection that came back is wanted."""
        if hook is None or conn.closed:
            return True
        orderly = conn.reusable
        try:
            wanted = hook(conn) is not False
            if orderly:
                check_left(conn.engine, "on_release")
        except Exception:  # noqa: BLE001 - the connection comes back all the same, to be closed
            _log.exception("on_release raised")
            return False
        return wanted

    def _take(self, held: Held, wanted: bool, done: Callable[[], None]) -> None:
        machine, ticket, conn = held.machine, held.ticket, held.conn
        usable, clean = state_left(conn, self._resetting)

        def event(now: float) -> bool:
            done()
            if conn.closed:
                engine = conn.engine
                machine.release(
                    ticket, now, usable=False, reason=ending(engine.cause), answered=engine.answered
                )
            else:
                machine.release(ticket, now, usable=wanted and usable, clean=clean)
            return True

        if self._tell(machine, event) is None:
            conn.abort()  # the machine that lent it is not in charge any more
            done()

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
        elif isinstance(action, Check):
            self._spawn(self._check, machine, action.slot, action.generation)
        elif isinstance(action, Reset):
            self._spawn(self._reset, machine, action.slot, action.generation)
        elif isinstance(action, Close):
            conn: Connection | None = action.slot.connection
            if conn is None:
                opening = self._opening.get(action.slot.number)
                if opening is not None:
                    opening.ask()  # its thread tells the machine when it has ended
            else:
                if action.force and action.slot.number in self._closing:
                    self._spawn(conn.abort)
                else:
                    self._closing.add(action.slot.number)
                    work = self._cut_off if action.force else self._close
                    self._spawn(work, machine, action.slot, action.generation)

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
            self._spawn(self._end_left, *self._left.popleft())
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
            finally:
                self._workers.discard(thread)

        thread = threads.Helper(target=run, name=f"pgproto pool{work.__name__}", daemon=True)
        self._workers.add(thread)
        try:
            threads.start(thread)
        except ConnectError:  # it is done all the same
            run()

    def _open(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        conn = Connection(RUNTIME, self._connector)
        stop = Stop()
        self._opening[slot.number] = stop
        failure: Exception | None = None
        try:
            if slot.generation != generation:
                raise ConnectError("the connection is not wanted any more")
            with stop:
                conn.open()
            self._set_up(conn, self._settings.acquire_timeout)
        except Exception as error:  # noqa: BLE001 - the machine decides
            failure = error
        if failure is not None:
            conn.close()  # before its slot is free for another one

        def event(now: float) -> bool:
            self._opening.pop(slot.number, None)
            if failure is not None:
                wanted = slot.generation == generation  # else a Close waits for its answer
                machine.open_failed(slot, generation, failure, is_permanent(failure), now)
                return wanted
            self._connections.add(conn)
            return machine.opened(slot, generation, conn, now)

        if not self._tell(machine, event):
            conn.close()
            # The Close that made it unwanted is answered here: without a connection nobody else does.
            self._gone(machine, slot, slot.generation, conn)

    def _set_up(self, conn: Connection, seconds: float) -> None:
        """Make a session that is as new what every borrower gets."""
        hook = self._hooks.connect
        if hook is not None:
            try:
                self._questions.ask("on_connect", hook, seconds, conn)
            except BaseException as error:  # SystemExit of a hook ends nothing but the attempt
                raise hook_failed(error) from error
        check_new(conn.engine, "" if hook is None else "on_connect")
        conn.forget_traces()

    def _check(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        conn: Connection = slot.connection
        usable = False
        try:
            with contextlib.suppress(Error):
                conn.script("", timeout=self._settings.check_timeout)
                usable = conn.reusable
        finally:  # a callback may have raised SystemExit, which ends this thread
            self._tell(machine, lambda now: machine.check_done(slot, generation, usable, now))

    def _reset(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        conn: Connection = slot.connection
        seconds = self._settings.reset_timeout
        usable = False
        try:
            with contextlib.suppress(Error):
                conn.reset(conn.reset_script(self._resetting), timeout=seconds)
                try:
                    self._set_up(conn, seconds)
                    usable = conn.reusable
                except Error as error:
                    cause = error.__cause__
                    wanted = slot.generation == generation  # else the pool has closed it meanwhile
                    if isinstance(cause, HookTimeout) or (wanted and is_permanent(error)):
                        # Nobody waits for this thread: say it.
                        _log.error("on_connect raised", exc_info=cause or error)
        finally:
            self._tell(machine, lambda now: machine.reset_done(slot, generation, usable, now))

    def _cut_off(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        conn: Connection = slot.connection
        conn.abort()
        self._close(machine, slot, generation)

    def _close(self, machine: PoolMachine, slot: Slot, generation: int) -> None:
        conn: Connection = slot.connection
        hook = self._hooks.close
        try:
            if hook is not None:
                self._questions.ask("on_close", hook, self._settings.reset_timeout, conn)
        except BaseException:  # noqa: BLE001 - a hook must not keep a connection open
            _log.exception("on_close raised")
        finally:
            conn.close()
            self._gone(machine, slot, generation, conn)

    def _gone(self, machine: PoolMachine, slot: Slot, generation: int, conn: Connection) -> None:
        def event(now: float) -> None:
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
