"""One session for blocking code: the calls, each an operation of the core or a flow of them.

Several threads may use a connection: their calls queue up, each runs to its end.  A transaction belongs to
the thread that opened it, a stream or COPY to whoever iterates: meanwhile the others get an error, at once.
An interrupt (KeyboardInterrupt) never leaves the connection in doubt: the query is cancelled and its answer
read to the end and dropped, or the connection is closed.
"""

from __future__ import annotations

import logging
import socket
import threading
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Unpack

from pgproto import Batch, ConnectionClosed, PostgresError, QueuedQuery, Row, ScriptResult
from pgproto.client import refusals
from pgproto.client.blocking import DEFAULT, NamedRecords, PreparedStatement, Queries, Query, Records, Timeout
from pgproto.config import Config, ConnectOptions
from pgproto.pool import Resetting
from pgproto.session import (
    Connector,
    CopyIn,
    CopyOut,
    CopyRecords,
    Engine,
    ExecuteMany,
    Execution,
    Listener,
    Listeners,
    Operation,
    Prepare,
    Reset,
    Script,
    Statement,
    Stream,
    Transaction,
    quote_identifier,
)
from pgproto.session.batch import Refusing, as_item
from pgproto.session.deadlines import limit, seconds
from pgproto.session.sources import ExecutionBuffer, RecordBuffer, chunks, encoded
from pgproto.types import CopyRowEncoder
from pgproto_sockets import environment, readiness

from .connecting import Opening, cancel, cancel_running
from .copying import Chunks, Pieces, Source, feed
from .handles import Notifications, TransactionContext
from .transport import Transport

if TYPE_CHECKING:
    from .pool import Lease

__all__ = ["Connection", "Notifications", "PreparedStatement", "connect"]

_MOMENT: Final = 0.01  # seconds

_log = logging.getLogger("pgproto")


class Connection(Queries):
    """A session with a PostgreSQL server.  Made by `connect` or lent by a `Pool`."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._command_timeout = connector.config.command_timeout
        self._transport: Transport | None = None
        self._opening: Opening | None = None
        self._lender: Connection | None = None
        self._lease = object()  # what listeners end with
        self._number = 0  # the lease's own, if a pool has lent it
        self._borrower: weakref.ref[Connection] | None = None
        self._given_up = False
        self.lease: weakref.ref[Lease] | None = None
        """Whose end is the end of this handle, if a pool has lent it."""
        self.keeps: Lease | None = None
        """The lease, if nobody but the handle keeps it."""
        self.lent_by: object = None
        """What the pool knows itself by."""
        self.listeners = Listeners()
        """Who waits for notifications."""
        self.on_notice: Callable[[PostgresError], None] | None = None
        """Called with every notice of the server, as an object with an error's fields, while a call runs."""
        self.on_lost: Callable[[], None] | None = None
        """Called once when a call has seen or brought about the session's end.

        On a connection that a pool has lent, both are called while it is lent; those that `on_connect` has
        set are called whenever the connection lives.  What they raise is logged.
        """

    # ---- What is known

    @property
    def engine(self) -> Engine:
        """The core's side of the session."""
        return self._open_transport().engine

    @property
    def config(self) -> Config:
        """How it was connected."""
        return self._connector.config

    @property
    def closed(self) -> bool:
        """True once nothing can be asked any more."""
        return self._transport is None or self._transport.closed

    @property
    def transaction_status(self) -> str:
        """The server's last word: "I" idle, "T" in a transaction block, "E" in a failed one."""
        return self.engine.transaction_status

    @property
    def parameters(self) -> Mapping[str, str]:
        """The server's parameters as reported (`server_version`, `TimeZone`, ...)."""
        return self.engine.parameters

    @property
    def pid(self) -> int:
        """The process ID of the server's end of the session; 0 if it was not told."""
        key = self.engine.connection.backend_key
        return key.process_id if key is not None else 0

    def __repr__(self) -> str:
        if self.closed:
            return "<Connection closed>"
        return f"<Connection to {self.engine.host}, pid {self.pid}, {self.transaction_status}>"

    # ---- Queries

    def script(self, sql: str, *, timeout: Timeout = DEFAULT) -> list[ScriptResult]:
        """Run several statements in one simple query; their rows come as text."""
        operation = Script(sql)
        self._run(operation, timeout)
        return operation.results

    def send_batch(self, batch: Batch, *, timeout: Timeout = DEFAULT) -> list[QueuedQuery]:
        """Send a batch in one round trip.

        Returns:
            The batch's items; each knows its rows, tag, error and outcome.

        Raises:
            Error: an atomic batch failed (the items say which one, and what became of the others), or the
                connection was lost.  With `atomic=False` an item's own error is only in the item.
        """
        with Refusing(batch) as refusing:
            transport = self._open_transport()
            time = self._seconds(timeout)
            operation = Execution(refusing.take(), atomic=batch.atomic)
            transport.run(operation, time, self._number)
        return operation.items

    def stream(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Pieces[Row]:
        """Run a statement and iterate over its rows as they come, in bounded memory.

        The connection can do nothing else until the iteration has ended.  `timeout` is the longest wait
        for the next rows.
        """
        operation = Stream(as_item(query, args))
        return Pieces(self.opened, operation, operation.take, self._seconds(timeout))

    def prepare(self, query: str, *, timeout: Timeout = DEFAULT) -> PreparedStatement:
        """Prepare a statement to be run many times."""
        engine = self.engine
        prepared = PreparedStatement(self, engine.prepare(query), engine.dropped_statements)
        self._run(Prepare(prepared.statement), timeout)
        return prepared

    def close_statement(self, statement: Statement) -> None:
        """Have the server forget a statement, with the next flight.  Idempotent."""
        if not self.closed:
            self.alone(lambda: self.engine.forget(statement))

    def transaction(
        self, *, isolation: str = "", readonly: bool | None = None, deferrable: bool = False
    ) -> TransactionContext:
        """A transaction block: `with conn.transaction(): ...`; inside of another, a savepoint.

        Args:
            isolation: "read committed", "repeatable read" or "serializable"; "" for the default.
            readonly: True or False to say so.
            deferrable: wait for a safe snapshot (serializable and read-only).
        """
        block = Transaction(self.engine, isolation=isolation, readonly=readonly, deferrable=deferrable)
        return TransactionContext(self, block)

    def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """Run a statement once for each record, all or nothing, in bounded memory.

        Rows that the statement returns are dropped; a `Batch` keeps them.

        Args:
            query: one SQL statement with parameters $1, $2, ..., or what `prepare` returned.
            records: an iterable of records: sequences with a value per parameter.
            timeout: the longest time without progress, in seconds.

        Returns:
            How many rows were affected, all together.

        Raises:
            DataError: a value does not fit its parameter; nothing was stored.
            PostgresError: the server refused one (a note says which); nothing was stored.
            Exception: whatever the iterable raises; nothing was stored.
        """
        operation = ExecuteMany.of(query)
        return feed(
            self._open_transport(),
            operation,
            lambda: encoded(ExecutionBuffer(operation), records),
            self._seconds(timeout),
            self._number,
        )

    # ---- COPY

    def copy_in(self, sql: str, source: Source, *, timeout: Timeout = DEFAULT) -> int:
        """Run COPY ... FROM STDIN with data from a source; the number of rows.

        Args:
            sql: the COPY statement.
            source: bytes, a file open for reading bytes, or an iterable of bytes.
            timeout: the longest time without progress, in seconds.

        Raises:
            PostgresError: the server refused it; no row was stored.
            Exception: whatever the source raises; no row was stored.
        """
        transport, time = self._open_transport(), self._seconds(timeout)
        return feed(transport, CopyIn(sql), lambda: chunks(source), time, self._number)

    def copy_records(
        self,
        table: str,
        records: NamedRecords,
        *,
        columns: Sequence[str],
        schema: str = "",
        timeout: Timeout = DEFAULT,
    ) -> int:
        """Store records in a table by binary COPY; the number of rows.

        Args:
            table: the table's name (quoted as it is).
            records: an iterable of records: sequences with a value per column, or mappings
                with the columns' names (others are ignored).
            columns: the columns' names.
            schema: the table's schema; "" to search for it.
            timeout: the longest time without progress, in seconds.

        Raises:
            DataError: a value does not fit its column; no row was stored.
        """
        target = quote_identifier(table)
        if schema:
            target = f"{quote_identifier(schema)}.{target}"
        names = ", ".join(quote_identifier(name) for name in columns)
        operation = CopyRecords(
            f"SELECT {names} FROM {target}",  # noqa: S608
            f"COPY {target} ({names}) FROM STDIN (FORMAT binary)",
        )

        def source() -> Chunks:
            return encoded(RecordBuffer(CopyRowEncoder(tuple(columns), operation.types)), records)

        transport, time = self._open_transport(), self._seconds(timeout)
        return feed(transport, operation, source, time, self._number)

    def copy_out(self, sql: str, *, timeout: Timeout = DEFAULT) -> Pieces[bytes]:
        """Run COPY ... TO STDOUT and iterate over its data, in bounded memory.

        The connection can do nothing else until the iteration has ended.
        """
        operation = CopyOut(sql)
        return Pieces(self.opened, operation, operation.take, self._seconds(timeout))

    # ---- LISTEN

    def listen(self, *channels: str) -> Notifications:
        """Listen to channels: `with conn.listen("jobs") as notifications: for n in notifications: ...`."""
        return Notifications(self, Listener(channels, self._lease))

    # ---- The session itself

    def reset(self, script: str = "DISCARD ALL", *, timeout: Timeout = DEFAULT) -> None:
        """Bring the session back to where it was after connecting."""
        self._run(Reset(script), timeout)

    def close(self, *, timeout: Timeout = 1.0) -> None:
        """End the session.  Idempotent, never raises.

        Args:
            timeout: seconds that a call of another thread gets to end, before it is cut off; None for no
                limit.
        """
        time = limit(timeout, 1.0)
        if self._transport is not None:
            self._transport.close(time)

    def abort(self) -> None:
        """End the session at once, from any thread; a call that is under way gets ConnectionLost."""
        self._given_up = True
        opening = self._opening
        if opening is not None:
            opening.abort()
        if self._transport is not None:
            self._transport.abort()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- For the pool and the handles

    def open(self, timeout: Timeout = DEFAULT) -> None:
        """Connect (`connect` and the pool do it)."""
        opening = Opening(self._connector, limit(timeout, self.config.connect_timeout))
        self._opening = opening
        if self._given_up:
            opening.abort()
        try:
            transport = self._transport = opening.session()
        finally:
            self._opening = None
        blocks = transport.engine.blocks
        blocks.task = threading.current_thread
        blocks.caller = "thread"
        blocks.is_over = _is_over
        self.listeners = transport.engine.listeners
        transport.on_change = _weakly(self, Connection._on_change)
        transport.on_cancel = _weakly(self, Connection._on_cancel)
        transport.send_cancel = partial(cancel_running, self._connector, transport.engine, transport.address)

    @property
    def reusable(self) -> bool:
        """True if it may be lent to somebody else: nothing is in flight, unread or open."""
        return not self.closed and self.engine.reusable

    @property
    def dirty(self) -> bool:
        """True if something that was run may have left a trace in the session."""
        return not self.closed and self.engine.dirty

    def reset_script(self, resetting: Resetting) -> str:
        """What makes the session as new after a lease; "" for nothing."""
        engine = self.engine
        return resetting.script_for(touched=engine.touched, dirty=engine.dirty)

    def is_alive(self) -> bool:
        """True if a look at an idle session shows that it can be used.  Costs no round trip.

        What can be read from it is its end, most likely.  It may be a notice, which is taken in; but a
        notice can announce the end, so the end gets a moment to follow.
        """
        transport = self._transport
        if transport is not None and not transport.closed and not readiness.is_quiet(transport.descriptor):
            transport.alone(transport.look)
            if transport.closed or readiness.wait(transport.descriptor, readiness.READABLE, _MOMENT):
                return False
        return self.reusable

    def state_left(self, resetting: Resetting) -> tuple[bool, bool]:
        """How a lease has left the session: (True if it may be lent again, True if it is as new).

        While another thread is inside of a call nothing can be said, so it may not.
        """
        state = (False, False)

        def look() -> None:
            nonlocal state
            state = (self.reusable, not self.reset_script(resetting))

        transport = self._transport
        if transport is not None and not transport.closed:
            transport.try_alone(look)
        return state

    @property
    def is_lent(self) -> bool:
        """True while a borrower has a handle of it."""
        return self._borrower is not None

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 if there is none."""
        return self._transport.descriptor if self._transport is not None else -1

    def forget_traces(self) -> None:
        """The session as it is now is the one to come back to."""
        self.engine.forget_traces()

    def lend(self) -> Connection:
        """A handle for one borrower; it stops working with `take_back`."""
        lent = Connection(self._connector)
        lent._transport = self._transport
        lent.listeners = self.listeners
        lent._lender = self
        self._borrower = weakref.ref(lent)
        blocks = self.engine.blocks
        blocks.lend()
        lent._number = blocks.lease
        return lent

    def take_back(self) -> Connection:
        """The lease of this handle is over: the connection behind it."""
        lender = self._lender
        if lender is None:
            return self
        transport, self._transport = self._transport, None
        lender._borrower = None
        self.listeners.end_lease(self._lease)
        _wake(self.listeners.dispatch([]))
        if transport is not None:
            transport.engine.blocks.take_back()
            transport.dismiss()
        return lender

    def alone(self, work: Callable[[], None]) -> None:
        """Do some work on the engine while no other thread does."""
        self._open_transport().alone(work, lease=self._number)

    def look(self) -> None:
        """Take in what has arrived, without waiting; called inside of `alone`."""
        self._open_transport().look()

    def check_open(self) -> None:
        """Raise ConnectionClosed if the session is over."""
        self.engine.check_open()
        if self.closed:
            raise ConnectionClosed("the connection is closed")

    def run_flow(self, flow: Generator[Operation, None, None], timeout: Timeout = DEFAULT) -> None:
        """Run a flow whose steps are operations of this session."""
        try:
            operation = self._step(flow, None)
            while operation is not None:
                error: BaseException | None = None
                try:
                    self._run(operation, timeout)
                except BaseException as raised:  # noqa: BLE001 - the flow decides
                    error = raised
                operation = self._step(flow, error)
        finally:
            if self.engine.finished:  # the flow may have ended the session
                self.abort()

    def _step(self, flow: Generator[Operation, None, None], error: BaseException | None) -> Operation | None:
        """Ask a flow for its next operation, while no other thread is at the engine; None at its end."""
        steps: list[Operation] = []
        raised: list[BaseException] = []

        def step() -> None:
            try:
                steps.append(next(flow) if error is None else flow.throw(error))
            except StopIteration:
                pass
            except BaseException as problem:
                if problem is not error:
                    raise
                raised.append(problem)  # not a problem of the flow's: nothing is torn
                transport.flush()  # it may have left something to be sent

        transport = self._open_transport()
        transport.alone(step, None, self._seconds(DEFAULT), self._number)
        if raised:
            raise raised[0]
        return steps[0] if steps else None

    # ---- The inside

    def opened(self) -> tuple[Transport, int]:
        """The transport, and the number of the lease for it: see `Transport.alone`."""
        return self._open_transport(), self._number

    def _open_transport(self) -> Transport:
        """The transport, if there is one still.

        Raises:
            ConnectionClosed: there is none: it was never opened, or it was lent and is returned.
        """
        if self._transport is None:
            raise refusals.not_open(lent=self._lender is not None)
        return self._transport

    def _seconds(self, timeout: Timeout) -> float | None:
        return self._command_timeout if timeout is DEFAULT else seconds(timeout, None)

    def _run_item(self, item: QueuedQuery, timeout: Timeout) -> None:
        self._open_transport().run(Execution([item]), self._seconds(timeout), self._number)

    def _run(self, operation: Operation, timeout: Timeout) -> None:
        self._open_transport().run(operation, self._seconds(timeout), self._number)

    def _on_change(self) -> None:
        """Take what the engine has besides answers: notifications and notices."""
        transport = self._transport
        if transport is None:
            return
        engine = transport.engine
        woken = self.listeners.dispatch(engine.take_notifications())
        if transport.closed:
            woken = [*woken, *self.listeners.everyone()]
        _wake(woken)
        borrower = None if self._borrower is None else self._borrower()
        handles = [self] if borrower is None else [self, borrower]
        for notice in engine.take_notices():
            for handle in handles:
                if handle.on_notice is not None:
                    _call_back("on_notice", handle.on_notice, PostgresError.of(notice.fields))
        if engine.finished:
            for handle in handles:
                on_lost, handle.on_lost = handle.on_lost, None
                if on_lost is not None:
                    _call_back("on_lost", on_lost)

    def _on_cancel(self) -> None:
        transport = self._open_transport()
        cancel(self._connector, transport.engine, transport.address)


def connect(
    dsn: str | None = None,
    *,
    timeout: Timeout = DEFAULT,
    server_settings: Mapping[str, str] | None = None,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open a session with a server; as a context manager it is closed at the end.

    Args:
        dsn: a connection string, URI or keywords; see `pgproto.parse_config`.
        timeout: in seconds for each host; the `connect_timeout` option by default; None for no limit.
        server_settings: run-time parameters for the session.
        options: libpq's options by name, and pgproto's own.

    Raises:
        ConfigError: the options cannot be used.
        ConnectError: no server would do.
    """
    limit(timeout, None)
    connection = Connection(environment.connector(dsn, options, server_settings))
    connection.open(timeout)
    return connection


def _weakly(connection: Connection, method: Callable[[Connection], None]) -> Callable[[], None]:
    """The bound method, without keeping alive whom it is bound to: no cycle, so that __del__ comes soon."""
    reference = weakref.ref(connection)

    def call() -> None:
        alive = reference()
        if alive is not None:
            method(alive)

    return call


def _call_back(name: str, callback: Callable[..., None], *args: object) -> None:
    """Call the caller's code, in the middle of a call."""
    try:
        callback(*args)
    except Exception:  # noqa: BLE001 - a callback must not end the session
        _log.exception("%s raised", name)


def _is_over(task: object) -> bool:
    return isinstance(task, threading.Thread) and not task.is_alive()


def _wake(woken: list[Listener]) -> None:
    for listener in woken:
        if isinstance(listener.waiter, socket.socket):
            try:
                listener.waiter.send(b"\0")
            except OSError:  # it has been woken often enough, or has gone away
                pass
