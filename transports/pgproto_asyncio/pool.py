"""The pool for asyncio: does what `pgproto.pool.PoolMachine` decides.

Every event goes to the machine by one call without an await, and ends in `_act`, which carries out what
the machine answers: waking a caller, or a task that opens, checks, resets or closes.  The tasks belong to
the pool, so that a caller who is cancelled cancels nothing but its own waiting.

Neither the timer nor a connection keeps the pool alive, and it is part of no cycle: if nobody refers to it
any more it ends at once, and so do its connections, with a ResourceWarning each.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import random
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from pgproto import Batch, ConnectError, Error, LocalProtocolError, PoolTimeout, QueuedQuery
from pgproto.client import DEFAULT, NamedRecords, Queries, Query, Records, Timeout, Unique, refusals
from pgproto.pool import (
    FAILED,
    WAITING,
    Check,
    Close,
    Fail,
    Grant,
    HookTimeout,
    Open,
    PoolMachine,
    PoolStats,
    Reset,
    Resetting,
    Retry,
    Slot,
    Ticket,
    ending,
    hook_failed,
    is_permanent,
)
from pgproto.pool.options import PoolOptions, split_options
from pgproto.session import GRACE, CopyOut, Operation, check_left, check_new
from pgproto.session.batch import Refusing
from pgproto.session.deadlines import patience, seconds, waiting
from pgproto_sockets import environment, forks

from .callbacks import goes_up, seen, tell
from .collected import do_last, soon, spawn
from .connection import Connection
from .copying import Pieces, Source
from .leases import Lease, PoolTransaction

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Pool"]

T = TypeVar("T")
Hook = Callable[[Connection], Awaitable[bool | None] | bool | None]


class Pool(Queries):
    """A pool of connections: `async with Pool(dsn, max_size=10) as pool: await pool.fetch(...)`.

    Args:
        dsn: a connection string; see `connect`.
        on_connect: called with every new connection before it is lent for the first time, and again
            after each reset: what it sets up is what every borrower gets.
        on_acquire: called before a connection is lent; False closes it, and another one is tried.
        on_release: called when one comes back; False closes it.
        on_close: called before one is closed.
        reset: what makes a returned session as new.  "auto": DISCARD ALL, unless nothing whose text was
            seen can have left a trace; "always": after every lease in which anything was sent, by a
            script that keeps prepared statements where it can; "never"; or a script of your own, which
            runs after every lease in which anything was sent.
        server_settings: run-time parameters of every session.
        options: the pool's settings (`pgproto.pool.PoolSettings`) and the connections' options.

    Hooks may be plain functions or return something to await.  One that hangs costs its connection:
    `on_connect` and `on_acquire` have `acquire_timeout`, the others `reset_timeout` seconds, and then
    they are cancelled.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        on_connect: Hook | None = None,
        on_acquire: Hook | None = None,
        on_release: Hook | None = None,
        on_close: Hook | None = None,
        reset: str = "auto",
        server_settings: Mapping[str, str] | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        settings, connection_options = split_options(options)
        self._connector = environment.connector(dsn, connection_options, server_settings)
        self._machine: PoolMachine = PoolMachine(settings, random.random, _is_alive)
        self._on_connect = on_connect
        self._on_acquire = on_acquire
        self._on_release = on_release
        self._on_close = on_close
        self._resetting = Resetting(reset)
        self._tasks: set[asyncio.Task[None]] = set()
        self._hooks: set[asyncio.Timeout] = set()  # around those that run in tasks of the pool
        self._limit = math.inf  # when they have to be at their end
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._slots: dict[int, Slot] = {}  # those that have a connection
        self._closing: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: asyncio.Event | None = None
        self.inherited = False
        forks.forget_in_child(self)

    # ---- Life

    def open(self, *, wait: bool = True) -> Opening:
        """Open the pool: `await pool.open()`, or `async with pool.open(wait=False) as pool`.

        `async with pool` is the same as `async with pool.open()`.  A pool that fails to open is closed again.

        It belongs to the event loop in which it was opened, or used for the first time.

        Args:
            wait: True to wait for the first connection, so that a wrong address or password is told here
                (not with `min_size=0`: then nothing is opened yet); False to begin to open `min_size`
                connections, and let an outage pass.

        Raises:
            ConnectError: the first attempts to connect failed.
            PoolTimeout: they took longer than `acquire_timeout`.
            PoolClosed: the pool was closed before.
        """
        return Opening(self, wait)

    async def _enter(self, wait: bool) -> Pool:
        started = self._start()
        if wait:
            try:
                await self._first()
            except BaseException:
                if started:
                    await self.close(timeout=0.0)
                raise
        return self

    def _start(self) -> bool:
        """Begin to open `min_size` connections; False if that was done before."""
        self.check_here()
        if self._loop is not None:
            return False
        self._loop = asyncio.get_running_loop()
        self._closed = asyncio.Event()
        self._machine.start(self._now())
        self._act()
        return True

    async def _first(self) -> None:
        """Wait for the first connection."""
        ticket = self._machine.first(self._now())
        self._act()
        try:
            while ticket.state == WAITING:
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                ticket.waiter = waiter
                await waiter
        finally:
            if ticket.state == WAITING:
                self._machine.cancel(ticket, self._now())
        if ticket.error is not None:
            raise ticket.error

    async def close(self, *, timeout: Timeout = DEFAULT) -> None:
        """End the pool: waiting callers get PoolClosed, connections are closed as they come back.

        Args:
            timeout: seconds after which borrowed connections are taken away, `close_timeout` by default;
                None for no limit.
        """
        time = patience(timeout)
        if self._loop is None or self._closed is None:
            self._machine.close(0.0, 0.0)
            return
        if self.inherited or self._machine.done:
            return
        self.check_here()
        self._machine.close(self._now(), time)
        self._limit = self._now() + GRACE + (self._machine.settings.close_timeout if time is None else time)
        for scope in self._hooks:
            if not scope.expired():  # one whose hook is being cancelled cannot be changed any more
                scope.reschedule(min(scope.when() or math.inf, self._limit))
        self._act()
        await self._closed.wait()
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def __aenter__(self) -> Pool:
        return await self._enter(wait=self._loop is None)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await do_last(self.loop, self.close(timeout=DEFAULT if error is None else 0.0), error)

    def expire(self) -> None:
        """Replace every connection at its next idle moment (after a failover, a changed role, ...)."""
        if self._loop is None:
            return
        self.check_here()
        self._machine.expire(self._now())
        self._act()

    def stats(self) -> PoolStats:
        """What the pool has and has done."""
        return self._machine.stats()

    # ---- Borrowing

    def acquire(self, *, timeout: Timeout = DEFAULT) -> Lease:
        """Borrow a connection: `async with pool.acquire() as conn`, or `conn = await pool.acquire()`.

        What was awaited is given back by `release`.

        Args:
            timeout: seconds to wait for one, `acquire_timeout` by default; None for no limit; 0 to take one
                that is free, or fail; a negative one has passed.

        Raises:
            PoolTimeout: none became free in time.
            PoolClosed: the pool is closed.
            TooManyWaiting: `max_waiting` callers wait already.
        """
        return Lease(self, patience(timeout))

    async def release(self, conn: Connection) -> None:
        """Give a connection back: its handle is dead from now on.  Idempotent.

        Raises:
            LocalProtocolError: this pool has not lent it.
        """
        lease = conn.lease
        if lease is None or lease.pool is not self:
            raise LocalProtocolError("the connection was not lent by this pool")
        lease.release(conn)

    def transaction(
        self,
        *,
        timeout: Timeout = DEFAULT,
        isolation: str = "",
        readonly: bool | None = None,
        deferrable: bool = False,
    ) -> PoolTransaction:
        """Borrow a connection and open a transaction: `async with pool.transaction() as conn`.

        `timeout` is for the wait, as in `acquire`; the rest is for `Connection.transaction`.
        """
        return PoolTransaction(self.acquire(timeout=timeout), isolation, readonly, deferrable)

    def _lease(self, timeout: Timeout) -> Lease:
        """A connection for a call that takes `timeout`, the wait for it included."""
        return Lease(self, waiting(timeout, self._machine.settings.acquire_timeout))

    async def _run_item(self, item: QueuedQuery, timeout: Timeout) -> None:
        lease = self._lease(timeout)
        async with lease as conn:
            await conn._run_item(item, lease._remaining(timeout))

    async def send_batch(self, batch: Batch, *, timeout: Timeout = DEFAULT) -> list[QueuedQuery]:
        """`Connection.send_batch` on a borrowed connection; the wait for it is a part of `timeout`."""
        with Refusing(batch):
            lease = self._lease(timeout)
            async with lease as conn:
                return await conn.send_batch(batch, timeout=lease._remaining(timeout))

    async def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """`Connection.executemany` on a borrowed connection; the wait for it has `timeout`, too."""
        async with self._lease(timeout) as conn:
            return await conn.executemany(query, records, timeout=timeout)

    async def copy_in(self, sql: str, source: Source, *, timeout: Timeout = DEFAULT) -> int:
        """`Connection.copy_in` on a borrowed connection; the wait for it has `timeout`, too."""
        async with self._lease(timeout) as conn:
            return await conn.copy_in(sql, source, timeout=timeout)

    async def copy_records(
        self,
        table: str,
        records: NamedRecords,
        *,
        columns: list[str] | tuple[str, ...],
        schema: str = "",
        timeout: Timeout = DEFAULT,
    ) -> int:
        """`Connection.copy_records` on a borrowed connection; the wait for it has `timeout`, too."""
        async with self._lease(timeout) as conn:
            return await conn.copy_records(table, records, columns=columns, schema=schema, timeout=timeout)

    def copy_out(self, sql: str, *, timeout: Timeout = DEFAULT) -> Pieces[bytes]:
        """`Connection.copy_out` on a connection borrowed until its end; the wait has `timeout`, too."""
        operation = CopyOut(sql)
        lease = self._lease(timeout)

        async def start(operation: Operation) -> Transport:
            return await (await lease.start()).begin(operation)

        time = seconds(timeout, self._connector.config.command_timeout)
        return Pieces(start, operation, operation.take, time, lease.release)

    async def retry(self, fn: Callable[[Connection], Awaitable[T]], *, retry: Retry | None = None) -> T:
        """Run `fn(conn)` in a transaction, and again where that is safe and makes sense.

        It is repeated only if the transaction certainly was not committed, and the error is one that
        another attempt can avoid: see `Retry`.  What `fn` does besides the database is repeated too.

        Args:
            fn: the work; called with a connection inside of a new transaction each time.
            retry: how often and when; `Retry()` by default.
        """
        policy = Retry() if retry is None else retry
        attempt = 0
        while True:
            attempt += 1
            block = self.transaction()
            try:
                async with block as conn:
                    return await fn(conn)
            except Exception as error:
                if not policy.should_repeat(error, attempt, block.block):
                    raise
            await asyncio.sleep(policy.delay_before(attempt, random.random))

    # ---- The driver

    def _now(self) -> float:
        return 0.0 if self._loop is None else self._loop.time()

    @property
    def over(self) -> bool:
        """True if nothing can be done any more: the loop is closed, or the parent process's."""
        loop = self.loop
        return loop is None or loop.is_closed()

    def check_here(self) -> None:
        """Raise if the caller runs in another event loop, or in a process that was forked meanwhile."""
        if self.inherited:
            raise refusals.inherited("pool")
        if self._loop is not None and asyncio._get_running_loop() is not self._loop:
            raise refusals.not_here("pool")

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that it belongs to; None if that is none yet, or the parent process's."""
        return None if self.inherited else self._loop

    def forget(self) -> None:
        """In a forked child: the connections are the parent's.  A pool that was never opened is nobody's."""
        if self._loop is not None:
            self.inherited = True
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def borrow(self, timeout: float | None) -> tuple[Ticket, Connection]:
        """What a Lease does at first.  A caller that is cancelled has borrowed nothing."""
        self._start()
        ticket: Ticket | None = None
        try:
            ticket = self._machine.acquire(self._now(), timeout)
            self._act()
            while True:
                while ticket.state == WAITING:
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    ticket.waiter = waiter
                    await waiter
                if ticket.state == FAILED and ticket.error is not None:
                    raise ticket.error
                conn = ticket.connection
                # It may have died since it was granted.
                if not conn.closed and await self._accepted(ticket, conn):
                    return ticket, conn.lend()
                self._machine.refused(ticket, self._now())
                self._act()
        except BaseException:
            if ticket is not None:
                self._machine.cancel(ticket, self._now())
                self._act()
            raise

    async def _accepted(self, ticket: Ticket, conn: Connection) -> bool:
        """Ask `on_acquire`; if that is interrupted, the connection may be used already, and is given back."""
        if self._on_acquire is None:
            return True
        scope = asyncio.timeout_at(max(ticket.deadline, self._now() + GRACE))
        try:
            async with scope:
                wanted = await _call(self._on_acquire, conn) is not False
                if conn.draining:
                    await conn.settled()
            if not wanted or conn.closed or conn.engine.retiring:
                return False
            check_left(conn.engine, "on_acquire")
            return True
        except BaseException as error:
            self.give_back(ticket, conn)
            if isinstance(error, TimeoutError) and scope.expired():
                raise PoolTimeout("on_acquire did not return in time") from error
            raise

    async def _ask(self, name: str, hook: Hook | None, conn: Connection, seconds: float) -> bool | None:
        """Call a hook from a task of the pool, in a task of its own: it may not end when it is cancelled.

        Raises:
            HookTimeout: it took too long, or until after the end of the pool.
        """
        if hook is None:
            return None
        answer = hook(conn)
        if not inspect.isawaitable(answer):
            return answer
        task: asyncio.Future[bool | None] = asyncio.ensure_future(answer)
        task.add_done_callback(seen)
        scope = asyncio.timeout_at(min(self._now() + seconds, self._limit))
        self._hooks.add(scope)
        try:
            async with scope:
                await asyncio.wait([task])
        except TimeoutError:
            raise HookTimeout(name) from None
        finally:
            self._hooks.discard(scope)
            if not task.done() and not self.over:
                task.cancel()
                await asyncio.wait([task], timeout=GRACE)
        return task.result()

    def drop(self, ticket: Ticket, lent: Connection) -> bool:
        """A lease ends where garbage is collected (see `collected`); False if it is too late for that."""
        loop = self.loop
        return loop is not None and soon(loop, lambda: self.give_back(ticket, lent.take_back()))

    def give_back(self, ticket: Ticket, conn: Connection) -> None:
        """What a Lease does at last.  Never waits: what has to be waited for is a task of the pool's."""
        if self.over:
            return
        if conn.draining or self._on_release is not None:
            self._spawn(self._release_later(ticket, conn))
        else:
            self._give_back(ticket, conn, wanted=True)

    async def _release_later(self, ticket: Ticket, conn: Connection) -> None:
        wanted = False
        try:
            await conn.settled()
            orderly = conn.reusable
            seconds = self._machine.settings.reset_timeout
            wanted = await self._ask("on_release", self._on_release, conn, seconds) is not False
            if conn.draining:
                await conn.settled()
            if orderly:
                check_left(conn.engine, "on_release")
        except BaseException as error:  # nobody waits for this task: say it, and close the connection
            if goes_up(error):
                raise
            tell(self._loop, "on_release", error)
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

    def _act(self) -> None:
        """Carry out what the machine has decided, then keep its deadline."""
        if self.over:
            return
        machine = self._machine
        while actions := machine.take_actions():
            for action in actions:
                if isinstance(action, Grant | Fail):
                    waiter = action.ticket.waiter
                    if isinstance(waiter, asyncio.Future) and not waiter.done():
                        waiter.set_result(None)
                elif isinstance(action, Open):
                    task = self._spawn(self._open_slot(action.slot, action.generation))
                    self._opening[action.slot.number] = task
                elif isinstance(action, Check):
                    self._spawn(self._check(action.slot, action.generation))
                elif isinstance(action, Reset):
                    self._spawn(self._reset(action.slot, action.generation))
                elif isinstance(action, Close):
                    self._close_slot(action)
        if machine.done and self._closed is not None:
            self._closed.set()
        self._keep_time()

    def _keep_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._machine.next_deadline()
        if deadline is not None and self._loop is not None:
            self._timer = self._loop.call_at(deadline, _tick, weakref.ref(self))

    def _tick(self) -> None:
        self._timer = None
        self._machine.tick(self._now())
        self._act()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return spawn(asyncio.get_running_loop(), work, self._tasks)

    async def _open_slot(self, slot: Slot, generation: int) -> None:
        machine = self._machine
        conn = Connection(self._connector)
        try:
            await conn.open()
            await self._set_up(conn, self._machine.settings.acquire_timeout)
        except BaseException as error:
            if self.over:
                raise
            conn.abort()
            try:
                if isinstance(error, Exception):
                    await conn.close()  # it counts until the server has been told to stop, and is gone
            finally:
                self._open_failed(slot, generation, error)
            if isinstance(error, Exception):
                return
            raise
        if machine.opened(slot, generation, conn, self._now()):
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
        try:
            await self._ask("on_connect", self._on_connect, conn, seconds)
        except BaseException as error:
            if goes_up(error):
                raise
            raise hook_failed(error) from error
        await conn.settled()
        check_new(conn.engine, "" if self._on_connect is None else "on_connect")
        conn.forget_traces()

    def _lost(self, slot: Slot) -> None:
        engine = slot.connection.engine
        self._machine.lost(slot, self._now(), ending(engine.cause), answered=engine.answered)
        self._act()

    async def _check(self, slot: Slot, generation: int) -> None:
        usable = False
        conn = slot.connection
        try:
            if conn is not None:
                await conn.script("", timeout=self._machine.settings.check_timeout)
                usable = conn.reusable
        except Error:
            pass
        finally:
            self._machine.check_done(slot, generation, usable, self._now())
            self._act()

    async def _reset(self, slot: Slot, generation: int) -> None:
        usable = False
        conn = slot.connection
        try:
            if conn is not None:
                seconds = self._machine.settings.reset_timeout
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
                tell(self._loop, "on_connect", cause or error)  # nobody waits for this task
            return False
        return conn.reusable

    def _close_slot(self, action: Close) -> None:
        slot = action.slot
        conn = slot.connection
        if conn is None:
            self._spawn(self._stop_opening(action))
            return
        if action.force:
            conn.abort()
        if slot.number not in self._closing:
            self._closing.add(slot.number)
            self._spawn(self._close(slot, action.generation, conn))

    async def _stop_opening(self, action: Close) -> None:
        """Cancel the task that opens a connection; it may not have begun, or be at its end already."""
        task = self._opening.get(action.slot.number)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
        self._opening.pop(action.slot.number, None)
        self._machine.closed(action.slot, action.generation, self._now())
        self._act()

    async def _close(self, slot: Slot, generation: int, conn: Connection) -> None:
        try:
            await self._ask("on_close", self._on_close, conn, self._machine.settings.reset_timeout)
        except BaseException as error:  # a hook must not keep a connection open
            if goes_up(error):
                raise
            tell(self._loop, "on_close", error)
        finally:
            if not self.over:
                await conn.close()
            self._closing.discard(slot.number)
            self._slots.pop(slot.number, None)
            self._machine.closed(slot, generation, self._now())
            self._act()


class Opening(Unique):
    """What `Pool.open` returns: to await, or to enter."""

    def __init__(self, pool: Pool, wait: bool) -> None:
        self._pool = pool
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, Pool]:
        return self._pool._enter(self._wait).__await__()

    async def __aenter__(self) -> Pool:
        return await self._pool._enter(self._wait)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)


async def _call(hook: Hook | None, conn: Connection) -> bool | None:
    """Call a hook, and wait for it if it is asynchronous."""
    if hook is None:
        return None
    answer = hook(conn)
    if inspect.isawaitable(answer):
        return await answer
    return answer


def _tick(reference: Callable[[], Pool | None]) -> None:
    pool = reference()
    if pool is not None:
        pool._tick()


def _lost(reference: Callable[[], Pool | None], number: int) -> None:
    pool = reference()
    slot = None if pool is None else pool._slots.get(number)
    if pool is not None and slot is not None:
        pool._lost(slot)


def _is_alive(conn: Connection) -> bool:
    return not conn.closed and conn.quiet
