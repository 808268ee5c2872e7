"""The public face of a pool of connections.  `Driver` does the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Generic, Self, TypeVar, Unpack

from pgproto.config import Config
from pgproto.errors import LocalProtocolError, PostgresError
from pgproto.pool import PoolSettings, PoolStats, Resetting, Retry
from pgproto.pool.options import PoolOptions, split_options
from pgproto.session import Batch, CopyIn, ExecuteMany, Operation, QueuedQuery, Stream
from pgproto.session.batch import Refusing
from pgproto.session.columnar import ColumnsCopy
from pgproto.session.copytarget import CopyTarget
from pgproto.session.deadlines import DEFAULT, Timeout, patience, seconds, waiting
from pgproto.types import TypeMap

from . import refusals
from .columnar import ColumnQueries
from .connection import Connection
from .copying import Copies, Reach
from .driver import Driver
from .feeding import Chunks
from .jobs import Jobs
from .leases import Lease, PoolTransaction
from .lending import Hook, Hooks, Lender
from .listening import PoolNotifications
from .pieces import Pieces, RowStream
from .queries import Mode, Queries, Query
from .records import FileMode, NamedRecords, Path, Progress, Records
from .runtime import Link, Runtime
from .seeing import Observers, Trace, watched
from .unique import Unique

__all__ = ["Pool"]

T = TypeVar("T")
P = TypeVar("P", bound="Pool")


class Pool(Queries, ColumnQueries, Copies):
    """A pool of connections: `async with Pool(dsn, max_size=10) as pool: await pool.fetch(...)`.

    Attributes:
        runtime: the adapter's runtime.
    """

    runtime: ClassVar[Runtime]

    def __init__(
        self,
        dsn: str | Config | None = None,
        *,
        on_connect: Hook | None = None,
        on_acquire: Hook | None = None,
        on_release: Hook | None = None,
        on_close: Hook | None = None,
        accept: Hook | None = None,
        ping: Callable[[Connection], bool] | None = None,
        retire_on: Callable[[PostgresError], bool] | None = None,
        reset: str = "auto",
        server_settings: Mapping[str, str] | None = None,
        types: TypeMap | None = None,
        observers: Observers = (),
        trace: Trace | None = None,
        **options: Unpack[PoolOptions],
    ) -> None:
        """A pool that is not open yet: nothing is connected before it is opened or used.

        Args:
            dsn: a connection string or a Config; see `connect`.
            on_connect: called with every new connection before it is lent for the first time, and again
                after each reset, so that every borrower gets the session as it is set up here.
            on_acquire: called before a connection is lent; False closes it, and another one is tried.
            on_release: called when a connection is given back that has not ended; False closes it.
            on_close: called before a connection is closed.
            accept: called with each candidate before it is taken, as in `connect`: False refuses it.
            ping: called with an idle connection that is to be lent, instead of `check_after`: True has the
                server asked first whether it is there.  A plain function that does not wait, and asks only
                for what is known, such as `idle_for` and `data`.
            retire_on: called with each error of the server: True has the connection closed at the end of its
                lease.  A plain function.  Errors of a server that shuts down or is a standby by now do that
                in any case.
            reset: how to reset the session after a lease.  "auto": DISCARD ALL, unless the statements, by
                their texts, cannot have changed the session's state; "always": after every lease in which
                anything was sent, by a script that keeps prepared statements if possible; "never"; or a
                script of your own, which runs after every lease in which anything was sent.
            server_settings: run-time parameters of every session.
            types: the types that its connections know, and where they learn others; by default a new map.
            observers: who is told of each query of its connections, and of what the pool does: one
                `pgproto.Observer` or `pgproto.PoolObserver`, or several.
            trace: where the messages of its connections are written; see `connect`.
            options: the pool's settings (`pgproto.pool.PoolSettings`) and the connections' options.

        Hooks may be plain functions or return something to await.  One that hangs costs its connection:
        `on_connect` and `on_acquire` have `acquire_timeout`, the others `reset_timeout` seconds, and then
        they are cancelled.
        """
        settings, connection_options = split_options(options)
        connector = self.runtime.connector(dsn, connection_options, server_settings, types)
        watched(self.runtime, connector, observers, trace)
        hooks = Hooks(on_connect, on_acquire, on_release, on_close, accept, ping, retire_on)
        self._types = connector.types
        self._jobs = Jobs(self.runtime, connector, settings, hooks, Resetting(reset))
        self._driver = self._lender(self._jobs)
        self._entered = False
        self._settings = settings
        self._config = connector.config
        self._acquire_timeout = settings.acquire_timeout
        self._command_timeout = connector.config.command_timeout

    def _lender(self, jobs: Jobs) -> Lender:
        """The driver that does the work."""
        return Driver(jobs)

    @property
    def config(self) -> Config:
        """The configuration of its connections."""
        return self._config

    @property
    def settings(self) -> PoolSettings:
        """Its own settings."""
        return self._settings

    # ---- Life

    def open(self, *, wait: bool = True) -> Opening[Self]:
        """Open the pool: `await pool.open()`, or `async with pool.open(wait=False) as pool`.

        `async with pool` is the same as `async with pool.open()`.  A pool that fails to open is closed again.

        It belongs to the event loop in which it was opened, or used for the first time.

        Args:
            wait: True to wait for the first connection, so that a wrong address or password is an error here
                (not with `min_size=0`: then nothing is opened yet); False to begin to open `min_size`
                connections without waiting, so that an outage is no error.

        Raises:
            ConnectError: the first attempts to connect failed.
            PoolTimeout: they took longer than `acquire_timeout`.
            PoolClosed: the pool is closed.
        """
        return Opening(self, wait)

    async def _open(self, wait: bool) -> Self:
        started = self._driver.start()
        if wait:
            try:
                await self._driver.first()
            except BaseException as error:
                if started:
                    await self.runtime.do_last(self._driver.home, lambda: self.close(timeout=0.0), error)
                raise
        return self

    async def _enter(self, wait: bool) -> Self:
        """Open the pool as the context manager of a block."""
        if self._entered:
            raise LocalProtocolError("the pool is entered already")
        driver = self._driver
        driver.check_here()
        await driver.enter()
        self._entered = True
        try:
            return await self._open(wait)
        except BaseException:
            self._entered = False
            await driver.leave(None, None, None)
            raise

    def __await__(self) -> None:
        """Say how to open it; `await create_pool()` is asyncpg's way.

        Raises:
            TypeError: always.
        """
        raise TypeError(refusals.POOL_AWAITED)

    async def close(self, *, timeout: Timeout = DEFAULT) -> None:
        """End the pool: waiting callers get PoolClosed, connections are closed as they are given back.

        Args:
            timeout: seconds after which borrowed connections are closed by force, `close_timeout` by default;
                None for no limit.
        """
        await self._driver.close(patience(timeout))

    async def __aenter__(self) -> Self:
        return await self._enter(wait=not self._driver.started)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        driver = self._driver
        try:
            work = partial(self.close, timeout=DEFAULT if error is None else 0.0)
            await self.runtime.do_last(driver.home, work, error)
        finally:
            self._entered = False
            answer = await driver.leave(kind, error, trace)
        return answer

    def expire(self) -> None:
        """Replace every connection at its next idle moment (after a failover, a changed role, ...).

        The types of the catalog are looked up anew as well.
        """
        self._driver.expire()
        self._types.forget()

    def stats(self) -> PoolStats:
        """The pool's statistics."""
        return self._driver.stats()

    # ---- Borrowing

    def acquire(self, *, timeout: Timeout = DEFAULT) -> Lease:
        """Borrow a connection: `async with pool.acquire() as conn`, or `conn = await pool.acquire()`.

        What was awaited is given back by `release`.

        Args:
            timeout: seconds to wait for one, `acquire_timeout` by default; None for no limit; 0 to take a
                free one or fail; a negative one has passed.

        Raises:
            PoolTimeout: none became free in time.
            PoolClosed: the pool is closed.
            TooManyWaiting: there are already `max_waiting` waiting callers.
        """
        return Lease(self._driver, patience(timeout))

    async def release(self, conn: Connection) -> None:
        """Give a connection back: its handle cannot be used any more.  Idempotent.

        Raises:
            LocalProtocolError: this pool has not lent it.
        """
        if conn.lent_by is not self._driver:
            raise LocalProtocolError("the connection was not lent by this pool")
        lease = None if conn.lease is None else conn.lease()
        if lease is not None:
            lease.release(conn)
        await self.runtime.shielded_checkpoint()

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
        """The lease for a call whose `timeout` includes the wait for a connection."""
        return Lease(self._driver, waiting(timeout, self._acquire_timeout))

    async def _run_item(self, item: QueuedQuery, timeout: Timeout, mode: Mode = None) -> None:
        lease = self._lease(timeout)
        async with lease as conn:
            await conn._run_item(item, lease.remaining(timeout), mode)

    async def send_batch(
        self, batch: Batch, *, mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> list[QueuedQuery[Any]]:
        """`Connection.send_batch` on a borrowed connection; `timeout` includes the wait for it."""
        with Refusing(batch):
            lease = self._lease(timeout)
            async with lease as conn:
                return await conn.send_batch(batch, mode=mode, timeout=lease.remaining(timeout))

    async def _run(self, operation: Operation, timeout: Timeout) -> None:
        lease = self._lease(timeout)
        async with lease as conn:
            await conn._run(operation, lease.remaining(timeout))

    async def _copy_columns(self, copy: ColumnsCopy, timeout: Timeout) -> int:
        async with self._lease(timeout) as conn:
            return await conn._copy_columns(copy, timeout)

    async def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """`Connection.executemany` on a borrowed connection; the wait for it has `timeout`, too."""
        async with self._lease(timeout) as conn:
            return await conn.executemany(query, records, timeout=timeout)

    def _open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        return self.runtime.open_file(path, mode)

    def _reach(self, timeout: Timeout) -> Reach:
        lease = self._lease(timeout)
        return self.runtime, _linked(lease), seconds(timeout, self._command_timeout), lease.release

    async def _feed(
        self,
        operation: CopyIn | ExecuteMany,
        source: Callable[[], Chunks],
        timeout: Timeout,
        tell: Callable[[], object] | None = None,
    ) -> None:
        async with self._lease(timeout) as conn:
            await conn._feed(operation, source, timeout, tell)

    async def _copy_records(
        self, target: CopyTarget, records: NamedRecords, progress: Progress | None, timeout: Timeout
    ) -> int:
        async with self._lease(timeout) as conn:
            return await conn._copy_records(target, records, progress, timeout)

    def _stream(self, item: QueuedQuery[T], timeout: Timeout) -> RowStream[T]:
        time = seconds(timeout, self._command_timeout)
        lease = self._lease(timeout)
        return RowStream(self.runtime, _linked(lease), Stream(item), time, lease.release)

    def _pieces(self, operation: Operation, take: Callable[[], list[T]], timeout: Timeout) -> Pieces[T]:
        time = seconds(timeout, self._command_timeout)
        lease = self._lease(timeout)
        return Pieces(self.runtime, _linked(lease), operation, take, time, lease.release)

    async def explain(
        self,
        query: Query,
        *args: object,
        analyze: bool = False,
        rollback: bool = True,
        timeout: Timeout = DEFAULT,
        **options: bool,
    ) -> list[dict[str, Any]]:
        """`Connection.explain` on a borrowed connection; the wait for it has `timeout`, too."""
        async with self._lease(timeout) as conn:
            return await conn.explain(
                query, *args, analyze=analyze, rollback=rollback, timeout=timeout, **options
            )

    def listen(self, *channels: str) -> PoolNotifications:
        """Listen to channels: `async with pool.listen("jobs") as events: async for event in events: ...`.

        The block has a connection of its own, which does not count in `max_size`.  If it is lost, the next
        step of the iteration connects again, as often as it takes, with the pool's `backoff`; then a
        `ListenGap` says that notifications may be missing.  So it does if too many were waiting to be taken.
        The iteration ends when the pool is closed.

        Raises:
            TypeError, LocalProtocolError: a name is not one of a channel.
            ConnectError: on entering, the first attempt failed; later, it fails for good (a wrong password).
        """
        listening = PoolNotifications(self._driver, self._jobs, channels)
        self._jobs.listening.add(listening)
        return listening

    async def retry(self, fn: Callable[[Connection], Awaitable[T]], *, retry: Retry | None = None) -> T:
        """Run `fn(conn)` in a transaction, and again where that is safe and useful.

        It is repeated only if the transaction was certainly not committed, and another attempt can avoid
        the error: see `Retry`.  Effects of `fn` outside of the database are repeated, too.

        Args:
            fn: the work; called with a connection in a new transaction each time.
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
            await self.runtime.sleep(policy.delay_before(attempt, self.runtime.random))


def _linked(lease: Lease) -> Callable[[], Awaitable[Link]]:
    """What `Pieces` begins with: take the lease."""

    async def start() -> Link:
        conn = await lease.__aenter__()
        return conn.link

    return start


class Opening(Unique, Generic[P]):
    """The result of `Pool.open`: to await, or to enter."""

    def __init__(self, pool: P, wait: bool) -> None:
        self._pool = pool
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, P]:
        return self._pool._open(self._wait).__await__()

    async def __aenter__(self) -> P:
        return await self._pool._enter(self._wait)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._pool.__aexit__(kind, error, trace)
