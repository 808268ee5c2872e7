"""One session: its calls, each of which runs an operation of the core or a flow of operations.

Several tasks may call at once: their queries are pipelined, in order, each with its own result.
After the cancellation of a call the connection is either in sync or closed: the core cancels the query, reads
and drops its answers, or closes the connection.
"""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

from pgproto.errors import ConnectError, DataError, Error, PostgresError
from pgproto.pool import Resetting
from pgproto.session import (
    GRACE,
    MODES,
    Batch,
    Connector,
    CopyIn,
    ExecuteMany,
    Listener,
    Listeners,
    Operation,
    Prepare,
    QueuedQuery,
    Reset,
    Resolve,
    Script,
    ScriptResult,
    Statement,
    Stream,
    Transaction,
    check_new,
)
from pgproto.session.batch import Refusing, as_item, make_items
from pgproto.session.columnar import ColumnsCopy
from pgproto.session.copytarget import CopyTarget
from pgproto.session.deadlines import DEFAULT, Timeout, limit, seconds
from pgproto.session.modes import chosen
from pgproto.session.sources import ExecutionBuffer, RecordBuffer
from pgproto.types import CopyRowEncoder, Into, Row
from pgproto.wire import ErrorResponse

from . import logs, refusals
from .columnar import ColumnQueries
from .copying import Copies, Reach
from .cursors import Cursor
from .explaining import explained, plans
from .feeding import Chunks, encoded, feed
from .notifications import Notifications, wake
from .pieces import Pieces, RowStream
from .prepared import PreparedStatement
from .queries import Mode, Queries, Query
from .records import FileMode, NamedRecords, Path, Progress, Records
from .runtime import Link, Runtime
from .state import State
from .steps import open_session
from .transactions import TransactionContext

if TYPE_CHECKING:
    from .leases import Lease

__all__ = ["Connection", "Hook"]

T = TypeVar("T")

Hook = Callable[["Connection"], Awaitable[bool | None] | bool | None]
"""A hook of the application, called with a connection; some hooks return False to refuse it."""


class Connection(State, Queries, ColumnQueries, Copies):
    """A session with a PostgreSQL server.  Made by `connect` or lent by a `Pool`."""

    # Defaults of the class cost nothing when a handle is made, which happens with every lease.
    on_notice: Callable[[PostgresError], None] | None = None
    """Called with every notice of the server, as an object with an error's fields.

    Its exceptions, and those of `on_lost`, are reported (asyncio: to the event loop's exception handler; else
    logged); KeyboardInterrupt and SystemExit end the session and propagate.
    """
    on_lost: Callable[[], None] | None = None
    """Called once when the session has ended, on either side.

    Callbacks set on a handle that a pool has lent are called while it is lent; those that `on_connect` has
    set are called at any time.
    """
    when_lost: Callable[[], None] | None = None
    """The pool's own `on_lost`, called before any of the caller's."""
    lease: weakref.ref[Lease] | None = None
    """The lease that ends this handle, if a pool has lent it."""
    keeps: Lease | None = None
    """The lease, if only the handle keeps it alive."""
    lent_by: object = None
    """The driver of the pool that has lent it."""
    _told = False  # its end was logged
    _rested = -1  # what was written when it went to the pool's idle connections

    def __init__(self, runtime: Runtime, connector: Connector, lender: Connection | None = None) -> None:
        super().__init__(runtime, connector, lender)
        self._command_timeout = connector.config.command_timeout
        self._execution = MODES[connector.config.statement_mode].by_default
        self.listeners: Listeners = Listeners() if lender is None else lender.listeners
        """The session's listeners."""
        self._lease = object()  # the owner of listeners, which end with the lease

    def __del__(self) -> None:
        link = self._link
        if link is not None and self._lender is None and not link.engine.closed:
            link.drop()

    def __repr__(self) -> str:
        if self.closed:
            return "<Connection closed>"
        return f"<Connection to {self.engine.host}, pid {self.pid}, {self.transaction_status}>"

    # ---- Queries

    async def script(self, sql: str, *, timeout: Timeout = DEFAULT) -> list[ScriptResult]:
        """Run several statements in one simple query; their rows come as text."""
        operation = Script(sql)
        await self._run(operation, timeout)
        return operation.results

    async def send_batch(
        self, batch: Batch, *, mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> list[QueuedQuery[Any]]:
        """Send a batch in one round trip.

        Returns:
            The batch's items, with their rows, tags, errors and outcomes.

        Raises:
            Error: an atomic batch failed (the items have the error and all outcomes), or the connection was
                lost.  With `atomic=False` an item's own error is only in the item.
        """
        with Refusing(batch) as refusing:
            link = self.link
            time = self._seconds(timeout)
            make = self._execution if mode is None else chosen(mode)
            operation = make(refusing.take(), atomic=batch.atomic)
            try:
                await link.run(operation, time)
            except BaseException:
                await link.ended(operation)
                make_items(operation.items)
                raise
        refused = make_items(operation.items)
        if refused is not None and batch.atomic:
            raise refused
        return operation.items

    @overload
    def cursor(
        self,
        query: Query,
        *args: object,
        into: None = None,
        prefetch: int | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Cursor[Row]: ...

    @overload
    def cursor(
        self,
        query: Query,
        *args: object,
        into: Into[T],
        prefetch: int | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Cursor[T]: ...

    def cursor(
        self,
        query: Query | None = None,
        *args: object,
        into: Into[Any] | None = None,
        prefetch: int | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Cursor[Any]:
        """A cursor over the rows of a statement: `async with conn.cursor(...) as cursor`, in a transaction.

        Args:
            query: a statement, as for `fetch`; so are `args` and `into`.
            args: the values of its parameters.
            into: what each row becomes.
            prefetch: how many rows an iteration fetches at once; by default what makes about 256 KiB.
            timeout: the longest time for one fetch, in seconds.
        """
        if query is None:
            raise TypeError(refusals.CURSOR_OF_NOTHING)
        item = as_item(query, args, into)
        return Cursor(self.runtime, self._opened, item, prefetch, self._seconds(timeout))

    async def prepare(self, query: str, *, timeout: Timeout = DEFAULT) -> PreparedStatement:
        """Prepare a statement to be run many times."""
        engine = self.engine
        prepared = PreparedStatement(self, engine.prepare(query), engine.dropped_statements)
        await self._run(Prepare(prepared.statement), timeout)
        return prepared

    async def close_statement(self, statement: Statement) -> None:
        """Close a statement on the server with the next query.  Idempotent."""
        if not self.closed:
            link = self.link
            link.alone(lambda: link.engine.forget(statement))
        await self.runtime.shielded_checkpoint()

    async def explain(
        self,
        query: Query,
        *args: object,
        analyze: bool = False,
        rollback: bool = True,
        timeout: Timeout = DEFAULT,
        **options: bool,
    ) -> list[dict[str, Any]]:
        """The plans of a statement: what EXPLAIN (FORMAT JSON) says.

        Args:
            query: a statement, as for `fetch`; so are `args` and `timeout`.
            args: the values of its parameters.
            analyze: True to run it and measure.  That is rolled back, in a block of its own; what it does
                outside of transactions (to sequences, over dblink) is not.
            rollback: False to keep what `analyze` has done, and to open no block.
            timeout: in seconds.
            options: other options of EXPLAIN: `verbose=True`, `buffers=True`, `costs=False`, ...

        Returns:
            One dict for each statement that the server makes of it, which is one unless there are rules.
        """
        sql, values = explained(as_item(query, args), analyze, options)
        if not (analyze and rollback):
            return plans(await self.fetchval(sql, *values, timeout=timeout))
        block = self.transaction()
        await block.start()
        try:
            answer = await self.fetchval(sql, *values, timeout=timeout)
        except BaseException as error:
            await block.__aexit__(type(error), error, None)
            raise
        await block.rollback()
        return plans(answer)

    def transaction(
        self, *, isolation: str = "", readonly: bool | None = None, deferrable: bool = False
    ) -> TransactionContext:
        """A transaction block: `async with conn.transaction(): ...`; inside another one, a savepoint.

        Args:
            isolation: "read committed", "repeatable read" or "serializable"; "" for the default.
            readonly: True for READ ONLY, False for READ WRITE; None for the default.
            deferrable: wait for a safe snapshot (serializable and read-only).
        """
        block = Transaction(self.engine, isolation=isolation, readonly=readonly, deferrable=deferrable)
        return TransactionContext(self, block)

    async def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """Run a statement once for each record, all or nothing, in bounded memory.

        Rows that the statement returns are dropped; a `Batch` keeps them.

        Args:
            query: one SQL statement with parameters $1, $2, ..., or a prepared statement.
            records: an iterable or async iterable of records: sequences with a value per parameter.
            timeout: the longest time without progress, in seconds: of the server, or of an async source.

        Returns:
            The number of rows affected by all executions together.

        Raises:
            DataError: a value does not fit its parameter; nothing was stored.
            PostgresError: the server refused a record (a note says which); nothing was stored.
            Exception: the iterable's exception; nothing was stored.
        """
        operation = ExecuteMany.of(query)

        def source() -> Chunks:
            return encoded(self.runtime, ExecutionBuffer(operation), records)

        await self._feed(operation, source, timeout)
        return operation.rowcount

    # ---- COPY

    def _open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        return self.runtime.open_file(path, mode)

    def _reach(self, timeout: Timeout) -> Reach:
        return self.runtime, self._opened, self._seconds(timeout), None

    def _pieces(self, operation: Operation, take: Callable[[], list[T]], timeout: Timeout) -> Pieces[T]:
        return Pieces(self.runtime, self._opened, operation, take, self._seconds(timeout))

    async def _copy_records(
        self, target: CopyTarget, records: NamedRecords, progress: Progress | None, timeout: Timeout
    ) -> int:
        types = self._connector.types
        if target.columns is None:
            item = target.listing()
            await self._run_item(item, timeout)
            target.choose([row[0] for row in item.rows])
        columns = target.columns or ()
        resolve = Resolve(target.select)
        await self._run(resolve, timeout)
        operation = target.records(resolve.result_types, types)
        handed: list[RecordBuffer] = []

        def source() -> Chunks:
            encoder = operation.in_text(columns, types) or CopyRowEncoder(columns, operation.types, types)
            handed.append(RecordBuffer(encoder))
            return encoded(self.runtime, handed[0], records)

        tell = None if progress is None else lambda: refusals.check_done(progress(handed[0].rows))
        await self._feed(operation, source, timeout, tell)
        return operation.rowcount

    async def _copy_columns(self, copy: ColumnsCopy, timeout: Timeout) -> int:
        types = self._connector.types
        resolve = Resolve(copy.target.select)
        await self._run(resolve, timeout)
        try:
            operation = copy.operation(resolve.result_types, types)
        except DataError:
            # Another session may have altered the table: described anew, its columns may take the data.
            assert resolve.statement is not None
            await self.close_statement(resolve.statement)
            resolve = Resolve(copy.target.select)
            await self._run(resolve, timeout)
            operation = copy.operation(resolve.result_types, types)
        await self._feed(operation, lambda: copy.chunks(operation, types), timeout)
        return operation.rowcount

    async def _feed(
        self,
        operation: CopyIn | ExecuteMany,
        source: Callable[[], Chunks],
        timeout: Timeout,
        tell: Callable[[], object] | None = None,
    ) -> None:
        """Run an operation with the chunks of a source, which is opened when the server is ready."""
        time = self._seconds(timeout)
        link = self.link
        if time is not None:
            operation.deadline = link.engine.clock() + time
        try:
            await link.begin(operation)
            await feed(self.runtime, link, operation, source, time, tell)
        finally:
            await link.leave(operation)
        if operation.error is not None:
            raise operation.take_error()

    # ---- LISTEN

    def listen(self, *channels: str) -> Notifications:
        """Listen to channels: `async with conn.listen("jobs") as notifications: async for n in ...`."""
        return Notifications(self, Listener(channels, self._lease))

    # ---- The session itself

    async def reset(self, script: str = "DISCARD ALL", *, timeout: Timeout = DEFAULT) -> None:
        """Bring the session back to its state after connecting."""
        await self._run(Reset(script), timeout)

    async def close(self, *, timeout: Timeout = 1.0) -> None:
        """End the session, within `timeout` seconds (None: no limit).  Idempotent.

        Raises:
            LocalProtocolError: it belongs to another event loop.
        """
        time = limit(timeout, 1.0)
        link = self._link
        if link is not None and not link.inherited and not link.over:
            link.check_here()
            await link.close(time)
        await self.runtime.shielded_checkpoint()

    def abort(self) -> None:
        """End the session at once, without waiting."""
        link = self._link
        if link is not None and not link.inherited and not link.over:
            link.check_here()
            link.abort()

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.runtime.do_last(self._home, self.close, error)

    async def clean_up(
        self, flow: Callable[[], Generator[Operation, None, None]], error: BaseException
    ) -> None:
        """Run the last flow of a block that an error has ended; its own error must not hide that one.

        After a cancellation it gets little time; then the session ends.
        """
        try:
            if isinstance(error, Exception | GeneratorExit):
                await self.runtime.do_last(self._home, lambda: self.run_flow(flow()), error)
                return
            async with self.runtime.shield(2 * GRACE) as bound:
                await self.run_flow(flow(), GRACE)
            if bound.expired:
                self.abort()
        except Error:
            pass
        await self.runtime.shielded_checkpoint()

    # ---- For the pool

    @property
    def reusable(self) -> bool:
        """True if it may be lent again: nothing is in flight, unread or open."""
        link = self._link
        return link is not None and not link.shut and link.engine.reusable

    @property
    def lent(self) -> bool:
        """True while a borrower has a handle."""
        return self._borrower is not None

    @property
    def draining(self) -> bool:
        """True while the answers of an abandoned call are still being read."""
        link = self._link
        return link is not None and not link.engine.idle and not link.shut

    @property
    def dirty(self) -> bool:
        """True if a statement may have changed the session's state."""
        return not self.closed and self.engine.dirty

    def reset_script(self, resetting: Resetting) -> str:
        """The script that resets the session after a lease; "" for none."""
        engine = self.engine
        return resetting.script_for(touched=engine.touched, dirty=engine.dirty)

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read.  An idle session whose socket is readable is dead."""
        return self._link is not None and self._link.quiet

    def rest(self) -> None:
        """It goes to the pool's idle connections, where nobody uses it."""
        self._rested = self.engine.channel.produced

    @property
    def rested(self) -> bool:
        """True if nothing was written since `rest`, by a hook that has kept it."""
        return self._rested == self.engine.channel.produced

    def forget_traces(self) -> None:
        """Take the session's present state as clean."""
        self.engine.forget_traces()

    async def settled(self) -> None:
        """Wait until nothing is in flight any more, or the session is over.

        Not for a stream or COPY that its caller has not left: it does not end by itself.
        """
        if self._link is None or self.closed:
            return
        self._link.flush()  # a stream that was just dropped is abandoned here
        busy = self.engine.exclusive
        if busy is None or busy.unwanted:
            await self._link.settled()

    def lend(self) -> Connection:
        """A handle for one borrower; it stops working with `take_back`."""
        self.engine.blocks.lend()
        lent = Connection(self.runtime, self._connector, self)
        lent._link = None if self._link is None else self._link.lend()
        self._borrower = weakref.ref(lent)
        return lent

    def take_back(self) -> Connection:
        """End the lease of this handle; return the pool's connection."""
        lender: Connection = self._lender or self
        lender._borrower = None  # first: an interrupt may come in between, and the pool goes on with it
        link, self._link = self._link, None
        self.listeners.end_lease(self._lease)
        wake(self.listeners.dispatch([]))
        if link is not None:
            link.engine.blocks.take_back()
            link.engine.turns.end_lease()
            link.dismiss()
        return lender

    # ---- Internals

    def check_here(self) -> None:
        """Raise if the connection cannot be used, or not here: see `link`."""
        self.link.check_here()

    @property
    def _home(self) -> object:
        link = self._link
        return None if link is None or link.inherited else link.home

    async def _opened(self) -> Link:
        return self.link

    def _seconds(self, timeout: Timeout) -> float | None:
        return self._command_timeout if timeout is DEFAULT else seconds(timeout, None)

    def _stream(self, item: QueuedQuery[T], timeout: Timeout) -> RowStream[T]:
        time = self._seconds(timeout)
        cursor = Cursor(self.runtime, self._opened, item, None, time)
        return RowStream(self.runtime, self._opened, Stream(item), time, cursor=cursor)

    def _run_item(self, item: QueuedQuery, timeout: Timeout, mode: Mode = None) -> Coroutine[Any, Any, None]:
        make = self._execution if mode is None else chosen(mode)
        return self.link.run(make([item]), self._seconds(timeout))

    async def _run(self, operation: Operation, timeout: Timeout) -> None:
        await self.link.run(operation, self._seconds(timeout))

    async def run_flow(self, flow: Generator[Operation, None, None], timeout: Timeout = DEFAULT) -> None:
        """Run a flow whose steps are operations of this session, each within `timeout`."""
        link = self.link
        time = self._seconds(timeout)
        try:
            operation = link.alone(partial(next, flow), time)
            while True:
                try:
                    await self._run(operation, timeout)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    operation = link.alone(partial(flow.throw, error), time, error)
                else:
                    operation = link.alone(partial(next, flow), time)
        except StopIteration:
            return
        except BaseException:
            with suppress(Error):  # after an interrupt between two steps; a compiled flow needs it
                link.alone(flow.close, GRACE)
            raise
        finally:
            if self.runtime.is_gone(link.home):
                pass  # the garbage collector has ended the flow
            elif link.engine.finished:  # the flow may have ended the session
                self.abort()
            else:
                link.flush()  # or have left something to be sent

    async def open(self, timeout: Timeout = DEFAULT, accept: Hook | None = None) -> None:
        """Connect (`connect` and the pool do it); `accept` is asked about each candidate."""
        budget = limit(timeout, self.config.connect_timeout)
        ask = None if accept is None else partial(self._ask_about, accept)
        try:
            self._attach(await open_session(self.runtime, self._connector, budget, ask))
        except Exception as error:
            logs.connect_failed(error)
            raise

    async def _ask_about(self, hook: Hook, link: Link, deadline: float) -> None:
        """Ask a hook about a session, which it gets as a connection that ends with its return.

        Raises:
            ConnectError: it has refused the session, raised something, or taken too long.
            ConnectionClosed, LocalProtocolError: it has left the session so that nobody can use it.
        """
        candidate = Connection(self.runtime, self._connector)
        candidate._attach(link)
        bound = self.runtime.bound(deadline)
        try:
            answer = await self.runtime.ask(partial(hook, candidate), bound)
            await candidate.settled()
        except Exception as error:
            late = isinstance(error, TimeoutError) and bound.expired
            what = "did not return in time" if late else f"raised {type(error).__name__}"
            raise ConnectError(f"accept {what}") from error
        finally:
            link.on_change = candidate._link = None
        check_new(link.engine, "accept")
        if answer is False:
            raise ConnectError("accept has refused the server")

    def retire_on(self, hook: Callable[[PostgresError], bool] | None) -> None:
        """Have a hook say which errors of the server retire the session, besides those that always do."""
        channel = self.engine.channel
        always = channel.retires
        home, runtime = self._home, self.runtime

        def retires(event: ErrorResponse) -> bool:
            assert hook is not None
            try:
                answer = hook(event.error)
                refusals.check_done(answer)
                asked = bool(answer)
            except BaseException as error:
                if runtime.goes_up(error):
                    raise
                runtime.report(home, "retire_on", error)
                asked = False
            return asked or always(event)

        if hook is not None:
            channel.retires = retires

    def _attach(self, link: Link) -> None:
        self._link = link
        self._opened_at = self.runtime.now()
        link.on_change = _weakly(self)
        blocks = link.engine.blocks
        blocks.task = self.runtime.task
        blocks.is_over = self.runtime.is_over
        self.listeners = link.engine.listeners

    def _on_change(self) -> None:
        """Distribute the engine's notifications and notices; report its end."""
        engine = self.engine
        woken = self.listeners.dispatch(engine.take_notifications())
        if engine.finished:  # not before: the server's last words are still being read
            woken = [*woken, *self.listeners.everyone()]
        wake(woken)
        if engine.finished:
            self._tell_of_the_end()
        for notice in engine.take_notices():
            for handle in self._handles():
                if handle.on_notice is not None:
                    self._call_back("on_notice", handle.on_notice, PostgresError.of(notice.fields))
                if handle._notices is not None:
                    for callback in handle._notices.callbacks():
                        self._call_back("a listener for notices", callback, PostgresError.of(notice.fields))

    def _handles(self) -> list[Connection]:
        """The handles with callbacks: its own (set by `on_connect`), and its borrower's."""
        borrower = None if self._borrower is None else self._borrower()
        return [self] if borrower is None else [self, borrower]

    def _tell_of_the_end(self) -> None:
        if not self._told:
            self._told = True
            logs.lost(self.engine)
        when_lost, self.when_lost = self.when_lost, None
        if when_lost is not None:
            when_lost()
        for handle in self._handles():
            on_lost, handle.on_lost = handle.on_lost, None
            if on_lost is not None:
                self._call_back("on_lost", on_lost)

    def _call_back(self, name: str, callback: Callable[..., None], *args: object) -> None:
        """Call a callback; this may happen within the call of another task."""
        try:
            callback(*args)
        except BaseException as error:  # a callback must not end the session
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self._home, name, error)


def _weakly(connection: Connection) -> Callable[[], None]:
    """`_on_change`, without a reference from the link that keeps the connection alive."""
    reference = weakref.ref(connection)

    def call() -> None:
        alive = reference()
        if alive is not None:
            alive._on_change()

    return call
