"""What a pool does: it carries out what `pgproto.pool.PoolMachine` decides.

Every event goes to the machine by one call without an await, and ends in `_act`, which carries out what
the machine answers: waking a caller, or a task that opens, checks, resets or closes.  The tasks belong to
the pool, so that a caller who is cancelled cancels nothing but its own waiting.

Neither the alarm nor a connection keeps the pool alive, and it is part of no cycle: if nobody refers to it
any more it ends at once, and so do its connections, with a ResourceWarning each.
"""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType

from pgproto.errors import ConnectError, Error, PoolTimeout
from pgproto.pool import (
    FAILED,
    GRANTED,
    WAITING,
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
from pgproto.session import GRACE, LONGEST_GRACE, Connector, check_left, check_new

from . import refusals
from .connection import Connection
from .lending import Held, Hook, Hooks
from .runtime import Alarm, Bound, Event, Runtime, Task

__all__ = ["Driver"]


class Driver:
    """One pool's machine, and the hands that it has.

    Args:
        runtime: where it works.
        connector: makes the sessions.
        settings: limits and times.
        hooks: whom to ask.
        resetting: what makes a session as new.

    Attributes:
        inherited: the parent process has it (see `fork`).
    """

    def __init__(
        self,
        runtime: Runtime,
        connector: Connector,
        settings: PoolSettings,
        hooks: Hooks,
        resetting: Resetting,
    ) -> None:
        self.runtime = runtime
        self.inherited = False
        self._connector = connector
        self._settings = settings
        self._hooks = hooks
        self._resetting = resetting
        self._machine: PoolMachine = PoolMachine(settings, runtime.random, _is_alive)
        self._home: object = None
        self._closed: Event | None = None
        self._tasks = runtime.tasks()
        self._alarm: Alarm | None = None
        self._opening: dict[int, Task] = {}
        self._slots: dict[int, Slot] = {}  # those that have a connection
        self._closing: set[int] = set()
        self._asking: set[Bound] = set()  # around the hooks that tasks of the pool have called
        self._limit = math.inf  # when they have to be at their end
        runtime.forget_in_child(self)

    # ---- Life

    @property
    def started(self) -> bool:
        """True once it has begun to open connections."""
        return self._home is not None

    @property
    def home(self) -> object:
        """Where it belongs; None if that is nowhere yet, or in the parent process."""
        return None if self.inherited else self._home

    @property
    def over(self) -> bool:
        """True if nothing can be done any more: its event loop has ended, or is the parent process's."""
        home = self.home
        return home is None or self.runtime.is_gone(home)

    def check_here(self) -> None:
        """Raise if the caller runs in another event loop, or in a process that was forked meanwhile.

        Raises:
            ConnectionClosed, LocalProtocolError: so it is.
        """
        if self.inherited:
            raise refusals.inherited("pool")
        if self._home is not None and self.runtime.home() is not self._home:
            raise refusals.not_here("pool")

    def forget(self) -> None:
        """In a forked child: the connections are the parent's.  A pool that was never opened is nobody's."""
        if self._alarm is not None:
            self.inherited = True
            self._alarm.set(None)

    def start(self) -> bool:
        """Begin to open `min_size` connections; False if that was done before."""
        self.check_here()
        if self.started:
            return False
        self._home = self.runtime.home()
        self._closed = self.runtime.event()
        self._alarm = self._tasks.alarm(partial(_ring, weakref.ref(self)))
        self._machine.start(self._now())
        self._act()
        return True

    async def first(self) -> None:
        """Wait for the first connection.

        Raises:
            ConnectError, PoolTimeout, PoolClosed: there is none.
        """
        ticket = self._machine.first(self._now())
        self._act()
        try:
            await self._decided(ticket)
        finally:
            if ticket.state == WAITING:
                self._machine.cancel(ticket, self._now())
        if ticket.error is not None:
            raise ticket.error

    async def close(self, timeout: float | None) -> None:
        """End the pool; see `Pool.close`.

        Args:
            timeout: seconds until borrowed connections are taken away; None for `close_timeout`.
        """
        if self._closed is None:
            self._machine.close(0.0, 0.0)
            return
        if self.inherited or self._machine.done:
            return
        self.check_here()
        try:
            self._begin_to_close(self._settings.close_timeout if timeout is None else timeout)
            await self._closed.wait()
        except BaseException:
            if self.over:
                raise
            self._begin_to_close(0.0)
            async with self.runtime.shield(LONGEST_GRACE):
                await self._closed.wait()
            raise
        await self._tasks.wait()

    async def enter(self) -> None:
        """The pool is entered with `async with`."""
        await self._tasks.enter()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """And left, after its end."""
        return await self._tasks.leave(kind, error, trace)

    def _begin_to_close(self, seconds: float) -> None:
        now = self._now()
        self._machine.close(now, seconds)
        self._limit = min(self._limit, now + GRACE + seconds)
        for bound in self._asking:
            bound.shorten(self._limit)
        self._act()

    def expire(self) -> None:
        """See `Pool.expire`."""
        if self.started:
            self.check_here()
            self._machine.expire(self._now())
            self._act()

    def stats(self) -> PoolStats:
        """What the pool has and has done."""
        return self._machine.stats()

    # ---- Borrowing

    async def borrow(self, timeout: float | None, keep: Callable[[Held], None]) -> Connection:
        """What a Lease does at first.  A caller that is cancelled has borrowed nothing."""
        self.start()
        await self.runtime.checkpoint()
        ticket: Ticket | None = None
        asked: Connection | None = None  # whom the hook is asked about
        try:
            ticket = self._machine.acquire(self._now(), timeout)
            self._act()
            while True:
                await self._decided(ticket)
                if ticket.state == FAILED and ticket.error is not None:
                    raise ticket.error
                conn: Connection = ticket.connection
                if not conn.closed:  # it may have died since it was granted
                    asked = conn
                    if await self._accepted(ticket, conn):
                        held = Held(self._machine, ticket, conn)
                        keep(held)
                        return held.lent
                asked = None
                self._machine.refused(ticket, self._now())
                self._act()
        except BaseException:
            if ticket is not None and asked is not None and ticket.state == GRANTED:
                self._end(ticket, asked)  # the hook may have used it
            elif ticket is not None:
                self._machine.cancel(ticket, self._now())
                self._act()
            raise

    async def _decided(self, ticket: Ticket) -> None:
        """Wait for what the machine decides about it."""
        while ticket.state == WAITING:
            ticket.waiter = told = self.runtime.event()
            await told.wait()

    async def _accepted(self, ticket: Ticket, conn: Connection) -> bool:
        """Ask `on_acquire`.  One that closes the connection does not want it either."""
        hook = self._hooks.acquire
        if hook is None:
            return True
        wanted = False
        async with self.runtime.bound(max(ticket.deadline, self._now() + GRACE)) as bound:
            answer = hook(conn)
            wanted = (await answer if isinstance(answer, Awaitable) else answer) is not False
            if conn.draining:
                await conn.settled()
        if bound.expired:
            raise PoolTimeout("on_acquire did not return in time") from TimeoutError()
        if not wanted or conn.closed or conn.engine.retiring:
            return False
        check_left(conn.engine, "on_acquire")
        return True

    def drop(self, held: Held) -> bool:
        """A lease ends where garbage is collected; False if it is too late for that."""
        home = self.home
        if home is None or not held.claim():
            return False
        return self.runtime.soon(home, lambda: self._end(held.ticket, held.lent.take_back()))

    def give_back_later(self, held: Held, done: Callable[[], None]) -> None:
        """The same for a lease that was claimed already."""
        done()
        home = self.home
        if home is not None:
            self.runtime.soon(home, lambda: self._end(held.ticket, held.lent.take_back()))

    def give_back(self, held: Held, done: Callable[[], None]) -> None:
        """What a Lease does at last."""
        done()
        self._end(held.ticket, held.lent.take_back())

    def _end(self, ticket: Ticket, conn: Connection) -> None:
        """Never waits: what has to be waited for is a task of the pool's."""
        if self.over:
            return
        if conn.draining or self._hooks.release is not None:
            self._tasks.spawn(self._release_later, ticket, conn)
        else:
            self._give_back(ticket, conn, wanted=True)

    async def _release_later(self, ticket: Ticket, conn: Connection) -> None:
        wanted = False
        try:
            await conn.settled()
            orderly = conn.reusable
            seconds = self._settings.reset_timeout
            wanted = await self._ask("on_release", self._hooks.release, conn, seconds) is not False
            if conn.draining:
                await conn.settled()
            if orderly:
                check_left(conn.engine, "on_release")
        except BaseException as error:  # nobody waits for this task: say it, and close the connection
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self.home, "on_release", error)
        finally:
            self._give_back(ticket, conn, wanted=wanted)

    def _give_back(self, ticket: Ticket, conn: Connection, *, wanted: bool) -> None:
        usable = wanted and conn.reusable
        if conn.closed:
            engine = conn.engine
            self._machine.release(
                ticket, self._now(), usable=False, reason=ending(engine.cause), answered=engine.answered
            )
        else:
            clean = not conn.reset_script(self._resetting)
            self._machine.release(ticket, self._now(), usable=usable, clean=clean)
        self._act()

    # ---- The machine

    def _now(self) -> float:
        # A task that is collected after the end of its loop changes nothing any more, whatever the time is.
        return 0.0 if self.over else self.runtime.now()

    def _act(self) -> None:
        """Carry out what the machine has decided, then keep its deadline."""
        alarm = self._alarm
        if alarm is None or self.over:
            return
        machine, spawn = self._machine, self._tasks.spawn
        while actions := machine.take_actions():
            for action in actions:
                if isinstance(action, Grant | Fail):
                    if action.ticket.waiter is not None:
                        action.ticket.waiter.set()
                elif isinstance(action, Open):
                    self._opening[action.slot.number] = spawn(self._open, action.slot, action.generation)
                elif isinstance(action, Check):
                    spawn(self._check, action.slot, action.generation)
                elif isinstance(action, Reset):
                    spawn(self._reset, action.slot, action.generation)
                else:
                    assert isinstance(action, Close)
                    self._close_slot(action)
        if machine.done and self._closed is not None:
            self._closed.set()
        alarm.set(machine.next_deadline())

    def _ring(self) -> None:
        self._machine.tick(self._now())
        self._act()

    async def _ask(self, name: str, hook: Hook | None, conn: Connection, seconds: float) -> bool | None:
        """Call a hook from a task of the pool.

        Raises:
            HookTimeout: it took too long, or until after the end of the pool.
        """
        if hook is None:
            return None
        bound = self.runtime.bound(min(self._now() + seconds, self._limit))
        self._asking.add(bound)
        try:
            return await self.runtime.ask(partial(hook, conn), bound)
        except TimeoutError:
            if not bound.expired:
                raise
        finally:
            self._asking.discard(bound)
        raise HookTimeout(name)

    # ---- Its tasks

    async def _open(self, slot: Slot, generation: int) -> None:
        conn = Connection(self.runtime, self._connector)
        try:
            await conn.open()
            await self._set_up(conn, self._settings.acquire_timeout)
        except BaseException as error:
            if self.over:
                raise
            conn.abort()
            try:
                async with self.runtime.shield(LONGEST_GRACE):
                    await conn.close()  # it counts until the server has been told to stop, and is gone
            finally:
                self._open_failed(slot, generation, error)
            if isinstance(error, Exception):
                return
            raise
        if self._machine.opened(slot, generation, conn, self._now()):
            self._opening.pop(slot.number, None)
            self._slots[slot.number] = slot
            conn.when_lost = partial(_lost, weakref.ref(self), slot.number)
        else:
            await conn.close()
        self._act()

    def _open_failed(self, slot: Slot, generation: int, error: BaseException) -> None:
        self._opening.pop(slot.number, None)
        failure = error
        if not isinstance(failure, Exception):
            # The pool stopped the attempt, or it comes out of `on_connect`: the slot is free either way.
            failure = ConnectError(f"the connection attempt ended with {type(error).__name__}")
            failure.__cause__ = error
        self._machine.open_failed(slot, generation, failure, is_permanent(failure), self._now())
        self._act()

    async def _set_up(self, conn: Connection, seconds: float) -> None:
        """Make a session that is as new what every borrower gets."""
        hook = self._hooks.connect
        try:
            await self._ask("on_connect", hook, conn, seconds)
        except BaseException as error:
            if self.runtime.goes_up(error):
                raise
            raise hook_failed(error) from error
        await conn.settled()
        check_new(conn.engine, "" if hook is None else "on_connect")
        conn.forget_traces()

    def _lost(self, slot: Slot) -> None:
        engine = slot.connection.engine
        self._machine.lost(slot, self._now(), ending(engine.cause), answered=engine.answered)
        self._act()

    async def _check(self, slot: Slot, generation: int) -> None:
        usable = False
        conn: Connection | None = slot.connection
        try:
            if conn is not None:
                await conn.script("", timeout=self._settings.check_timeout)
                usable = conn.reusable
        except Error:
            pass
        finally:
            self._machine.check_done(slot, generation, usable, self._now())
            self._act()

    async def _reset(self, slot: Slot, generation: int) -> None:
        usable = False
        conn: Connection | None = slot.connection
        try:
            if conn is not None:
                seconds = self._settings.reset_timeout
                with contextlib.suppress(Error):
                    await conn.reset(conn.reset_script(self._resetting), timeout=seconds)
                    usable = await self._set_up_again(slot, conn, seconds)
        finally:
            self._machine.reset_done(slot, generation, usable, self._now())
            self._act()

    async def _set_up_again(self, slot: Slot, conn: Connection, seconds: float) -> bool:
        generation = slot.generation
        try:
            await self._set_up(conn, seconds)
        except Error as error:
            cause = error.__cause__
            wanted = slot.generation == generation  # else the pool has closed it meanwhile
            if isinstance(cause, HookTimeout) or (wanted and is_permanent(error)):
                self.runtime.report(self.home, "on_connect", cause or error)  # nobody waits for this task
            return False
        return conn.reusable

    def _close_slot(self, action: Close) -> None:
        slot = action.slot
        conn: Connection | None = slot.connection
        if conn is None:
            self._tasks.spawn(self._stop_opening, slot, action.generation)
            return
        if action.force:
            conn.abort()
        if slot.number not in self._closing:
            self._closing.add(slot.number)
            self._tasks.spawn(self._close, slot, action.generation, conn)

    async def _stop_opening(self, slot: Slot, generation: int) -> None:
        """Stop the task that opens a connection; it may not have begun, or be at its end already."""
        task = self._opening.get(slot.number)
        if task is not None:
            await task.stop()
        self._opening.pop(slot.number, None)
        self._machine.closed(slot, generation, self._now())
        self._act()

    async def _close(self, slot: Slot, generation: int, conn: Connection) -> None:
        try:
            await self._ask("on_close", self._hooks.close, conn, self._settings.reset_timeout)
        except BaseException as error:  # a hook must not keep a connection open
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self.home, "on_close", error)
        finally:
            if not self.over:
                await conn.close()
            self._closing.discard(slot.number)
            self._slots.pop(slot.number, None)
            self._machine.closed(slot, generation, self._now())
            self._act()


def _ring(reference: Callable[[], Driver | None]) -> None:
    driver = reference()
    if driver is not None:
        driver._ring()


def _lost(reference: Callable[[], Driver | None], number: int) -> None:
    driver = reference()
    slot = None if driver is None else driver._slots.get(number)
    if driver is not None and slot is not None:
        driver._lost(slot)


def _is_alive(conn: Connection) -> bool:
    return not conn.closed and conn.quiet
