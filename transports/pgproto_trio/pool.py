"""The pool for trio: does what `pgproto.pool.PoolMachine` decides.

Every event goes to the machine by one call without an await, and ends in `_act`, which carries out what
the machine answers: waking a caller, or a task that opens, checks, resets or closes.  These tasks live in
the pool's own nursery, which `async with` opens and closes.  They are shielded from a cancellation of the
block, because bringing connections to rest is what has to be done then; the machine's deadlines bound them.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
import random
import warnings
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar, Unpack

import trio

from pgproto import Batch, Error, LocalProtocolError, PoolClosed, PoolTimeout, QueuedQuery
from pgproto.client import DEFAULT, NamedRecords, Queries, Query, Records, Timeout, Unique, refusals
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
from pgproto.session import GRACE, CopyOut, check_left, check_new
from pgproto.session.batch import Refusing
from pgproto.session.deadlines import patience, seconds, waiting
from pgproto_sockets import environment, forks

from .callbacks import goes_up, tell
from .connection import Connection
from .copying import Pieces, Source
from .leases import Lease, PoolTransaction
from .transport import running

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Pool"]

T = TypeVar("T")
Hook = Callable[[Connection], Awaitable[bool | None] | bool | None]

_log = logging.getLogger("pgproto_trio")


class _Opening:
    """An attempt to connect, which can be called off."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.ended = trio.Event()


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
    they are cancelled.  One that shields itself against that holds the pool until it ends.
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
        self._connector = environment.connector(
            dsn, connection_options, server_settings, clock=trio.current_time
        )
        self._machine: PoolMachine = PoolMachine(settings, random.random, _is_alive)
        self._on_connect = on_connect
        self._on_acquire = on_acquire
        self._on_release = on_release
        self._on_close = on_close
        self._resetting = Resetting(reset)
        self._opening: dict[int, _Opening] = {}
        self._closing: set[int] = set()
        self._manager = trio.open_nursery()
        self._nursery: trio.Nursery | None = None
        self._opened = False
        self._token: trio.lowlevel.TrioToken | None = None
        self.inherited = False
        forks.forget_in_child(self)
        self._closed = trio.Event()
        self._hooks: set[trio.CancelScope] = set()  # around those that run in tasks of the pool
        self._limit = math.inf  # when they have to be at their end
        self._timer = trio.CancelScope()

    # ---- Life

    def open(self, *, wait: bool = True) -> Opening:
        """Open the pool: `async with pool.open(wait=False) as pool`.

        `async with pool` is the same as `async with pool.open()`.  A pool that fails to open is closed again.

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

    async def __aenter__(self) -> Pool:
        return await self._enter(wait=True)

    async def _enter(self, wait: bool) -> Pool:
        if self._opened:
            raise LocalProtocolError("a pool can be entered only once")
        self._opened = True
        self._token = trio.lowlevel.current_trio_token()
        self._nursery = await self._manager.__aenter__()
        self._machine.start(trio.current_time())
        self._spawn(self._keep_time)
        self._act()
        if wait:
            try:
                await self._first()
            except BaseException as error:
                await self.__aexit__(type(error), error, error.__traceback__)
                raise
        return self

    async def _first(self) -> None:
        """Wait for the first connection."""
        ticket = self._machine.first(trio.current_time())
        self._act()
        try:
            while ticket.state == WAITING:
                waiter = trio.Event()
                ticket.waiter = waiter
                await waiter.wait()
        finally:
            if ticket.state == WAITING:
                self._machine.cancel(ticket, trio.current_time())
        if ticket.error is not None:
            raise ticket.error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        crashed = nursery is not None and nursery.cancel_scope.cancel_called
        try:
            await self.close(timeout=DEFAULT if error is None else 0.0)
        finally:
            self._nursery = None
            # An error of the block is not the nursery's, so that it leaves as it is, in no group.
            if crashed:
                answer = await self._manager.__aexit__(kind, error, trace)
            else:
                await self._manager.__aexit__(None, None, None)
                answer = None  # what the nursery says is about no error at all
        return answer

    async def close(self, *, timeout: Timeout = DEFAULT) -> None:
        """End the pool: waiting callers get PoolClosed, connections are closed as they come back.

        Args:
            timeout: seconds after which borrowed connections are taken away, `close_timeout` by default;
                None for no limit.
                If the waiting is cancelled, they are taken away at once.
        """
        time = patience(timeout)
        if self.inherited:
            self._timer.cancel()
            return
        self.check_here()
        now = trio.current_time() if self._opened else 0.0
        self._machine.close(now, time)
        self._limit = now + GRACE + (self._machine.settings.close_timeout if time is None else time)
        for scope in self._hooks:
            scope.deadline = min(scope.deadline, self._limit)
        self._act()
        try:
            await trio.lowlevel.checkpoint()
            if self._nursery is not None:
                await self._closed.wait()
        except BaseException:
            self._machine.close(trio.current_time(), 0.0)
            self._limit = trio.current_time() + GRACE
            for scope in self._hooks:
                scope.deadline = min(scope.deadline, self._limit)
            self._act()
            with trio.CancelScope(shield=True):
                await self._closed.wait()
            raise

    def expire(self) -> None:
        """Replace every connection at its next idle moment (after a failover, a changed role, ...)."""
        self.check_here()
        self._machine.expire(trio.current_time())
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
        await trio.lowlevel.cancel_shielded_checkpoint()

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

        async def start() -> Transport:
            return (await lease.start()).open_transport()

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
            await trio.sleep(policy.delay_before(attempt, random.random))

    def check_here(self) -> None:
        """Raise if the caller runs in another trio run, or in a process that was forked meanwhile."""
        if self.inherited:
            raise refusals.inherited("pool")
        if self._token is not None and running() is not self._token:
            raise refusals.not_here("pool")

    def forget(self) -> None:
        """In a forked child: the connections are the parent's.  A pool that was never opened is nobody's."""
        self.inherited = self._opened

    def drop(self, ticket: Ticket, lent: Connection) -> None:
        """A lease was lost without being ended.  Called by the garbage collector, in any thread."""
        if self._token is None or self.inherited or self._nursery is None:
            return
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(lambda: self.give_back(ticket, lent.take_back()))
        warnings.warn("a connection was borrowed and not given back", ResourceWarning, stacklevel=2)

    async def borrow(self, timeout: float | None) -> tuple[Ticket, Connection]:
        """What a Lease does at first.  A caller that is cancelled has borrowed nothing."""
        self.check_here()
        await trio.lowlevel.checkpoint()
        if not self._opened:
            raise PoolClosed("the pool is not open: use `async with`")
        ticket: Ticket | None = None
        asked: Connection | None = None  # whom the hook is asked about
        try:
            ticket = self._machine.acquire(trio.current_time(), timeout)
            self._act()
            while True:
                while ticket.state == WAITING:
                    waiter = trio.Event()
                    ticket.waiter = waiter
                    await waiter.wait()
                if ticket.state == FAILED and ticket.error is not None:
                    raise ticket.error
                conn: Connection = ticket.connection
                if not conn.closed:  # it may have died since it was granted
                    asked = conn
                    if await self._accepted(ticket, conn):
                        return ticket, conn.lend()
                asked = None
                self._machine.refused(ticket, trio.current_time())
                self._act()
        except BaseException:
            if ticket is not None and asked is not None and ticket.state == GRANTED:
                self.give_back(ticket, asked)  # the hook may have used it
            elif ticket is not None:
                self._machine.cancel(ticket, trio.current_time())
                self._act()
            raise

    async def _accepted(self, ticket: Ticket, conn: Connection) -> bool:
        """Ask `on_acquire`.  One that closes the connection does not want it either."""
        if self._on_acquire is None:
            return True
        wanted = False
        with trio.CancelScope(deadline=max(ticket.deadline, trio.current_time() + GRACE)) as scope:
            wanted = await _call(self._on_acquire, conn) is not False
            if conn.draining:
                await conn.settled()
        if scope.cancelled_caught:
            raise PoolTimeout("on_acquire did not return in time")
        if not wanted or conn.closed or conn.engine.retiring:
            return False
        check_left(conn.engine, "on_acquire")
        return True

    def give_back(self, ticket: Ticket, conn: Connection) -> None:
        """What a Lease does at last.  Never waits: what has to be waited for is a task of the pool's."""
        if self.inherited:
            return
        if (conn.draining or self._on_release is not None) and self._nursery is not None:
            self._spawn(self._give_back_later, ticket, conn)
        else:
            self._take(ticket, conn, wanted=True)

    # ---- The driver

    async def _give_back_later(self, ticket: Ticket, conn: Connection) -> None:
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
            tell("on_release", error)
        finally:
            self._take(ticket, conn, wanted=wanted)

    async def _ask(self, name: str, hook: Hook | None, conn: Connection, seconds: float) -> bool | None:
        """Call a hook from a task of the pool.

        Raises:
            HookTimeout: it took too long, or until after the end of the pool.
        """
        if hook is None:
            return None
        with trio.CancelScope(deadline=min(trio.current_time() + seconds, self._limit)) as scope:
            self._hooks.add(scope)
            try:
                return await _call(hook, conn)
            finally:
                self._hooks.discard(scope)
        raise HookTimeout(name)

    def _take(self, ticket: Ticket, conn: Connection, *, wanted: bool) -> None:
        usable = wanted and conn.reusable
        now = trio.current_time()
        if conn.closed:
            engine = conn.engine
            self._machine.release(
                ticket, now, usable=False, reason=ending(engine.cause), answered=engine.answered
            )
        else:
            clean = not conn.reset_script(self._resetting)
            self._machine.release(ticket, now, usable=usable, clean=clean)
        self._act()

    def _act(self) -> None:
        """Carry out what the machine has decided, then keep its deadline."""
        if self.inherited:
            return
        machine = self._machine
        while actions := machine.take_actions():
            for action in actions:
                if isinstance(action, Grant | Fail):
                    waiter = action.ticket.waiter
                    if isinstance(waiter, trio.Event):
                        waiter.set()
                elif isinstance(action, Open):
                    opening = self._opening[action.slot.number] = _Opening()
                    self._spawn(self._open, action.slot, action.generation, opening)
                elif isinstance(action, Check):
                    self._spawn(self._check, action.slot, action.generation)
                elif isinstance(action, Reset):
                    self._spawn(self._reset, action.slot, action.generation)
                elif isinstance(action, Close):
                    self._close_slot(action)
        if machine.done:
            self._closed.set()
            self._timer.cancel()
        deadline = machine.next_deadline()
        self._timer.deadline = math.inf if deadline is None else deadline

    def _spawn(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(_shielded, work, args)

    async def _keep_time(self) -> None:
        while not (self._machine.done or self.inherited):
            deadline = self._machine.next_deadline()
            with trio.CancelScope(deadline=math.inf if deadline is None else deadline) as self._timer:
                await trio.sleep_forever()
            self._machine.tick(trio.current_time())
            self._act()

    async def _open(self, slot: Slot, generation: int, opening: _Opening) -> None:
        machine = self._machine
        conn = Connection(self._connector)
        failure: Exception | None = None
        finished = False
        try:
            with opening.scope:
                try:
                    await conn.open()
                    await self._set_up(conn, machine.settings.acquire_timeout)
                    finished = True
                except Exception as error:  # noqa: BLE001 - the machine decides who gets it
                    failure = error
        finally:
            if finished:
                conn.when_lost = lambda: self._lost(slot, conn)
                finished = machine.opened(slot, generation, conn, trio.current_time())
            if not finished:
                conn.abort()
                await conn.close()  # it counts until the server has been told to stop, and is gone
            if failure is not None:
                machine.open_failed(slot, generation, failure, is_permanent(failure), trio.current_time())
            del self._opening[slot.number]
            opening.ended.set()
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

    def _lost(self, slot: Slot, conn: Connection) -> None:
        engine = conn.engine
        self._machine.lost(slot, trio.current_time(), ending(engine.cause), answered=engine.answered)
        self._act()

    async def _check(self, slot: Slot, generation: int) -> None:
        usable = False
        conn: Connection | None = slot.connection
        try:
            if conn is not None:
                await conn.script("", timeout=self._machine.settings.check_timeout)
                usable = conn.reusable
        except Error:
            pass
        finally:
            self._machine.check_done(slot, generation, usable, trio.current_time())
            self._act()

    async def _reset(self, slot: Slot, generation: int) -> None:
        usable = False
        conn: Connection | None = slot.connection
        try:
            if conn is not None:
                seconds = self._machine.settings.reset_timeout
                with contextlib.suppress(Error):
                    await conn.reset(conn.reset_script(self._resetting), timeout=seconds)
                    usable = await self._set_up_again(slot, conn, seconds)
        finally:
            self._machine.reset_done(slot, generation, usable, trio.current_time())
            self._act()

    async def _set_up_again(self, slot: Slot, conn: Connection, seconds: float) -> bool:
        generation = slot.generation
        try:
            await self._set_up(conn, seconds)
        except Error as error:
            cause = error.__cause__
            wanted = slot.generation == generation  # else the pool has closed it meanwhile
            if isinstance(cause, HookTimeout) or (wanted and is_permanent(error)):
                tell("on_connect", cause or error)  # nobody waits for this task
            return False
        return conn.reusable

    def _close_slot(self, action: Close) -> None:
        conn: Connection | None = action.slot.connection
        if conn is None:
            self._spawn(self._call_off, action.slot, action.generation)
            return
        if action.force:
            conn.abort()
        if action.slot.number not in self._closing:
            self._closing.add(action.slot.number)
            self._spawn(self._close, action.slot, action.generation, conn)

    async def _call_off(self, slot: Slot, generation: int) -> None:
        opening = self._opening.get(slot.number)
        if opening is not None:
            opening.scope.cancel()
            await opening.ended.wait()
        self._machine.closed(slot, generation, trio.current_time())
        self._act()

    async def _close(self, slot: Slot, generation: int, conn: Connection) -> None:
        try:
            await self._ask("on_close", self._on_close, conn, self._machine.settings.reset_timeout)
        except BaseException as error:  # a hook must not keep a connection open
            if goes_up(error):
                raise
            tell("on_close", error)
        finally:
            await conn.close()
            self._closing.discard(slot.number)
            self._machine.closed(slot, generation, trio.current_time())
            self._act()


class Opening(Unique):
    """What `Pool.open` returns: to enter."""

    def __init__(self, pool: Pool, wait: bool) -> None:
        self._pool = pool
        self._wait = wait

    async def __aenter__(self) -> Pool:
        return await self._pool._enter(self._wait)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._pool.__aexit__(kind, error, trace)


async def _shielded(work: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
    """A task of the pool.  What a hook raises in it is logged: nobody else is there to tell."""
    try:
        with trio.CancelScope(shield=True):
            await work(*args)
    except BaseException as error:
        if goes_up(error):
            raise
        _log.error("an error in a task of the pool", exc_info=error)


async def _call(hook: Hook | None, conn: Connection) -> bool | None:
    """Call a hook, and wait for it if it is asynchronous."""
    if hook is None:
        return None
    answer = hook(conn)
    if inspect.isawaitable(answer):
        return await answer
    return answer


def _is_alive(conn: Connection) -> bool:
    return not conn.closed and conn.quiet
