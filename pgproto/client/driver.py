"""What a pool does: it carries out what `pgproto.pool.PoolMachine` decides.

Every event goes to the machine by one call without an await, and ends in `_act`, which carries out what
the machine answers: waking a caller, or a task that opens, checks, resets or closes.  The tasks belong to
the pool, so that a caller who is cancelled cancels nothing but its own waiting.

Neither the alarm nor a connection keeps the pool alive, and it is part of no cycle: if nobody refers to it
any more it ends at once, and so do its connections, with a ResourceWarning each.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType

from pgproto.pool import (
    FAILED,
    GRANTED,
    WAITING,
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
    ending,
)
from pgproto.session import GRACE, LONGEST_GRACE

from . import logs, refusals
from .connection import Connection
from .jobs import Jobs, is_alive, looked_after, open_failed, release
from .lending import Held
from .runtime import Alarm, Event, Task

__all__ = ["Driver"]


class Driver:
    """One pool's machine, and the hands that it has.

    Args:
        jobs: what they do.

    Attributes:
        inherited: the parent process has it (see `fork`).
    """

    def __init__(self, jobs: Jobs) -> None:
        self.runtime = runtime = jobs.runtime
        self.inherited = False
        self._jobs = jobs
        self._machine: PoolMachine = PoolMachine(
            jobs.settings, runtime.random, is_alive, jobs.ping, jobs.watch
        )
        self._closed: Event | None = None
        self._tasks = runtime.tasks()
        self._alarm: Alarm | None = None
        self._opening: dict[int, Task] = {}
        self._slots: dict[int, Slot] = {}  # those that have a connection
        self._closing: set[int] = set()
        runtime.forget_in_child(self)

    # ---- Life

    @property
    def started(self) -> bool:
        """True once it has begun to open connections."""
        return self._alarm is not None

    @property
    def home(self) -> object:
        """Where it belongs; None if that is nowhere yet, or in the parent process."""
        return self._jobs.home

    @property
    def over(self) -> bool:
        """True if nothing can be done any more: its event loop has ended, or is the parent process's."""
        return self._jobs.over

    @property
    def closing(self) -> bool:
        """True once its end has begun."""
        return self._machine.closing

    def check_here(self) -> None:
        """Raise LocalProtocolError in another event loop, ConnectionClosed in a process that was forked."""
        if self.inherited:
            raise refusals.inherited("pool")
        if self._alarm is not None and self.runtime.home() is not self._jobs.home:
            raise refusals.not_here("pool")

    def forget(self) -> None:
        """In a forked child: the connections are the parent's.  A pool that was never opened is nobody's."""
        if self._alarm is not None:
            self.inherited = True
            self._jobs.home = None
            self._alarm.set(None)

    def start(self) -> bool:
        """Begin to open `min_size` connections; False if that was done before."""
        self.check_here()
        if self.started:
            return False
        self._jobs.home = self.runtime.home()
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
            self._begin_to_close(self._jobs.settings.close_timeout if timeout is None else timeout)
            await self._closed.wait()
        except BaseException as error:
            if self.over:
                raise
            self._begin_to_close(0.0)
            if not isinstance(error, GeneratorExit):  # a coroutine that is being closed cannot await
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
        self._jobs.end(now + GRACE + seconds)
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
                asked = conn = ticket.connection
                if await self._jobs.accepted(conn, ticket.deadline):
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
        if self._jobs.over:
            return
        usable, clean = self._jobs.state_left(conn)
        if (not usable and conn.draining) or (self._jobs.hooks.release is not None and not conn.closed):
            self._tasks.spawn(self._release_later, ticket, conn)
        else:
            self._give_back(ticket, conn, usable, clean)

    async def _release_later(self, ticket: Ticket, conn: Connection) -> None:
        usable = clean = False
        try:
            if await self._jobs.released(conn):
                usable, clean = self._jobs.state_left(conn)
        finally:
            self._give_back(ticket, conn, usable, clean)

    def _give_back(self, ticket: Ticket, conn: Connection, usable: bool, clean: bool) -> None:
        release(self._machine, ticket, conn, self._now(), usable, clean)
        self._act()

    # ---- The machine

    def _now(self) -> float:
        # A task that is collected after the end of its loop changes nothing any more, whatever the time is.
        return 0.0 if self._jobs.over else self.runtime.now()

    def _act(self) -> None:
        """Carry out what the machine has decided, then keep its deadline."""
        alarm = self._alarm
        if alarm is None or self._jobs.over:
            return
        machine, spawn = self._machine, self._tasks.spawn
        while actions := machine.take_actions():
            for action in actions:
                if isinstance(action, Grant | Fail):
                    if action.ticket.waiter is not None:
                        action.ticket.waiter.set()
                elif isinstance(action, Open):
                    self._opening[action.slot.number] = spawn(self._open, action.slot, action.generation)
                elif isinstance(action, Check | Reset):
                    spawn(self._look_after, action)
                elif isinstance(action, Tell):
                    action.deliver()
                else:
                    assert isinstance(action, Close)
                    self._close_slot(action)
        if machine.done and self._closed is not None:
            self._closed.set()
        alarm.set(machine.next_deadline())

    def _ring(self) -> None:
        self._machine.tick(self._now())
        self._act()

    # ---- Its tasks

    async def _open(self, slot: Slot, generation: int) -> None:
        try:
            conn = await self._jobs.open()
        except BaseException as error:
            if self.over:
                raise
            self._opening.pop(slot.number, None)
            open_failed(self._machine, slot, generation, error, self._now())
            self._act()
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

    def _lost(self, slot: Slot) -> None:
        engine = slot.connection.engine
        self._machine.lost(slot, self._now(), ending(engine.cause), answered=engine.answered is not None)
        self._act()

    async def _look_after(self, action: Check | Reset) -> None:
        usable = False
        try:
            usable = await self._jobs.look_after(action)
        finally:
            looked_after(self._machine, action, usable, self._now())
            self._act()

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
            logs.retired(action)
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
            await self._jobs.close(conn)
        finally:
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
