"""The pool for blocking code, safe to share between threads: the borrowing.  `Driver` does the rest."""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from pgproto import Batch, LocalProtocolError, QueuedQuery
from pgproto.client import Unique
from pgproto.client.blocking import DEFAULT, NamedRecords, Queries, Query, Records, Timeout
from pgproto.pool import PoolStats, Resetting, Retry
from pgproto.pool.options import PoolOptions, split_options
from pgproto.session import CopyOut, Transaction
from pgproto.session.batch import Refusing
from pgproto.session.deadlines import patience, remaining, seconds, waiting
from pgproto_sockets import environment, readiness

from .connection import Connection
from .copying import Pieces, Source
from .driver import Driver, Held
from .handles import TransactionContext
from .hooks import Hook, Hooks

if TYPE_CHECKING:
    from .transport import Transport

__all__ = ["Lease", "Pool", "PoolTransaction"]

T = TypeVar("T")

_NO_CONNECTION: Final = (
    "a lease is no connection, so it has no {!r}: use `with pool.acquire() as conn`, or "
    "`conn = pool.acquire().start()`"
)


class Pool(Queries):
    """A pool of connections: `with Pool(dsn, max_size=10) as pool: pool.fetch(...)`.

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

    `on_acquire` and `on_release` are called by the thread that borrows: if they hang, it hangs.  The
    others, and `on_release` for a connection that nobody gave back, are called by threads of the pool, for
    `acquire_timeout` (`on_connect`) or `reset_timeout` seconds at the most.
    A process that is forked begins with an empty pool; the connections stay the parent's.

    A signal handler, a finalizer or a callback may come in the middle of what its own thread does to the
    pool.  There `release`, `expire` and `close` take effect soon after, without waiting; a call that needs a
    connection is refused with LocalProtocolError.  When the interpreter is shutting down, connections that
    come back are closed, without hooks, and none is lent (PoolClosed).
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
        connector = environment.connector(dsn, connection_options, server_settings)
        self._command_timeout = connector.config.command_timeout
        self._acquire_timeout = settings.acquire_timeout
        hooks = Hooks(on_connect, on_acquire, on_release, on_close)
        self._driver = Driver(connector, settings, hooks, Resetting(reset))

    # ---- Life

    def open(self, *, wait: bool = True) -> Pool:
        """Open the pool: `pool.open()`, or `with pool.open(wait=False) as pool`.

        `with pool` is the same as `with pool.open()`.  A pool that fails to open is closed again.

        Args:
            wait: True to wait for the first connection, so that a wrong address or password is told here
                (not with `min_size=0`: then nothing is opened yet); False to begin to open `min_size`
                connections, and let an outage pass.

        Raises:
            ConnectError: the first attempts to connect failed.
            PoolTimeout: they took longer than `acquire_timeout`.
            PoolClosed: the pool was closed before.
        """
        started = self._driver.start()
        if wait:
            try:
                self._driver.first()
            except BaseException:
                if started:
                    self.close(timeout=0.0)
                raise
        return self

    def close(self, *, timeout: Timeout = DEFAULT) -> None:
        """End the pool: waiting callers get PoolClosed, connections are closed as they come back.

        Args:
            timeout: seconds after which borrowed connections are taken away, `close_timeout` by default;
                None for no limit.
        """
        self._driver.close(patience(timeout))

    def __enter__(self) -> Pool:
        return self.open(wait=not self._driver.started)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(timeout=DEFAULT if error is None else 0.0)

    def expire(self) -> None:
        """Replace every connection at its next idle moment (after a failover, a changed role, ...)."""
        self._driver.expire()

    def stats(self) -> PoolStats:
        """What the pool has and has done."""
        return self._driver.stats()

    # ---- Borrowing

    def acquire(self, *, timeout: Timeout = DEFAULT) -> Lease:
        """Borrow a connection: `with pool.acquire() as conn`, or `conn = pool.acquire().start()`.

        What was started is given back by `release`.

        Args:
            timeout: seconds to wait for one, `acquire_timeout` by default; None for no limit; 0 to take one
                that is free, or fail; a negative one has passed.

        Raises:
            PoolTimeout: none became free in time.
            PoolClosed: the pool is closed.
            TooManyWaiting: `max_waiting` callers wait already.
        """
        return Lease(self._driver, patience(timeout))

    def release(self, conn: Connection) -> None:
        """Give a connection back: its handle is dead from now on.  Idempotent.

        Raises:
            LocalProtocolError: this pool has not lent it.
        """
        if conn.lent_by is not self._driver:
            raise LocalProtocolError("the connection was not lent by this pool")
        lease = None if conn.lease is None else conn.lease()
        if lease is not None:
            lease.release(conn)

    def transaction(
        self,
        *,
        timeout: Timeout = DEFAULT,
        isolation: str = "",
        readonly: bool | None = None,
        deferrable: bool = False,
    ) -> PoolTransaction:
        """Borrow a connection and open a transaction: `with pool.transaction() as conn`.

        `timeout` is for the wait, as in `acquire`; the rest is for `Connection.transaction`.
        """
        return PoolTransaction(self.acquire(timeout=timeout), isolation, readonly, deferrable)

    def _lease(self, timeout: Timeout) -> Lease:
        """A connection for a call that takes `timeout`, the wait for it included."""
        return Lease(self._driver, waiting(timeout, self._acquire_timeout))

    def _run_item(self, item: QueuedQuery, timeout: Timeout) -> None:
        lease = self._lease(timeout)
        with lease as conn:
            conn._run_item(item, lease._remaining(timeout))

    def send_batch(self, batch: Batch, *, timeout: Timeout = DEFAULT) -> list[QueuedQuery]:
        """`Connection.send_batch` on a borrowed connection; the wait for it is a part of `timeout`."""
        with Refusing(batch):
            lease = self._lease(timeout)
            with lease as conn:
                return conn.send_batch(batch, timeout=lease._remaining(timeout))

    def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """`Connection.executemany` on a borrowed connection; the wait for it has `timeout`, too."""
        with self._lease(timeout) as conn:
            return conn.executemany(query, records, timeout=timeout)

    def copy_in(self, sql: str, source: Source, *, timeout: Timeout = DEFAULT) -> int:
        """`Connection.copy_in` on a borrowed connection; the wait for it has `timeout`, too."""
        with self._lease(timeout) as conn:
            return conn.copy_in(sql, source, timeout=timeout)

    def copy_records(
        self,
        table: str,
        records: NamedRecords,
        *,
        columns: list[str] | tuple[str, ...],
        schema: str = "",
        timeout: Timeout = DEFAULT,
    ) -> int:
        """`Connection.copy_records` on a borrowed connection; the wait for it has `timeout`, too."""
        with self._lease(timeout) as conn:
            return conn.copy_records(table, records, columns=columns, schema=schema, timeout=timeout)

    def copy_out(self, sql: str, *, timeout: Timeout = DEFAULT) -> Pieces[bytes]:
        """`Connection.copy_out` on a connection borrowed until its end; the wait has `timeout`, too."""
        operation = CopyOut(sql)
        lease = self._lease(timeout)

        def start() -> tuple[Transport, int]:
            return lease.__enter__().opened()

        longest = seconds(timeout, self._command_timeout)
        return Pieces(start, operation, operation.take, longest, lease.release)

    def retry(self, fn: Callable[[Connection], T], *, retry: Retry | None = None) -> T:
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
                with block as conn:
                    return fn(conn)
            except Exception as error:
                if not policy.should_repeat(error, attempt, block.block):
                    raise
            readiness.pause(policy.delay_before(attempt, random.random))


class Lease(Unique):
    """A connection to borrow: `with pool.acquire() as conn`, or `conn = pool.acquire().start()`.

    What was started is given back by `pool.release(conn)`.  A lease can be used again after its end.
    """

    def __init__(self, driver: Driver, timeout: float | None) -> None:
        self.driver = driver
        self._timeout = timeout
        self._in_use = threading.Lock()
        self._held: Held | None = None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Somebody takes it for the connection."""
            raise AttributeError(_NO_CONNECTION.format(name), name=name, obj=self)

    def start(self) -> Connection:
        """Borrow a connection; it is the handle that keeps the lease, from now on.

        Raises:
            LocalProtocolError: the lease has one already.
            Error: see `Pool.acquire`.
        """
        conn = self.__enter__()
        conn.keeps = self
        return conn

    def _remaining(self, timeout: Timeout) -> Timeout:
        """What the wait for the connection has left of the time of the call that it is for."""
        held = self._held
        assert held is not None
        return remaining(timeout, self._timeout, held.ticket.deadline, time.monotonic)

    def release(self, conn: Connection | None = None) -> None:
        """Give the connection back, if it is (still) this one.  Idempotent."""
        held = self._held
        if held is not None and (conn is None or conn is held.lent) and held.claim():
            self.driver.give_back(held, self._let_go)
            held.lent.keeps = None

    def __enter__(self) -> Connection:
        if not self._in_use.acquire(blocking=False):
            raise LocalProtocolError("the lease is in use: call acquire() for each connection")
        try:
            return self.driver.acquire(self._timeout, self._keep)
        except BaseException:
            held = self._held
            if held is not None and held.claim():  # an interrupt came after it was lent
                self.driver.give_back(held, self._let_go)
            else:
                self._held = None
                self._in_use.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        held: Held | None = getattr(self, "_held", None)
        if held is not None:  # an interrupt came between the moment it was lent and the `with` block
            self.driver.drop(held)

    def _keep(self, held: Held) -> None:
        self._held = held
        held.lent.lease = weakref.ref(self)
        held.lent.lent_by = self.driver

    def _let_go(self) -> None:
        if self._held is not None:
            self._held = None
            self._in_use.release()


class PoolTransaction(Unique):
    """`with pool.transaction() as conn`."""

    def __init__(self, lease: Lease, isolation: str, readonly: bool | None, deferrable: bool) -> None:
        self._lease = lease
        self._options = (isolation, readonly, deferrable)
        self._context: TransactionContext | None = None

    @property
    def committing(self) -> bool:
        """True once COMMIT was submitted."""
        return self._context is not None and self._context.committing

    @property
    def block(self) -> Transaction | None:
        """The core's side of it; None before a connection was borrowed."""
        return None if self._context is None else self._context.block

    def __enter__(self) -> Connection:
        conn = self._lease.__enter__()
        self._context = None
        isolation, readonly, deferrable = self._options
        try:
            context = conn.transaction(isolation=isolation, readonly=readonly, deferrable=deferrable)
            self._context = context
            context.__enter__()
        except BaseException:
            self._lease.__exit__(None, None, None)
            raise
        return conn

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._context is not None:
                self._context.__exit__(kind, error, trace)
        finally:
            self._lease.__exit__(kind, error, trace)
