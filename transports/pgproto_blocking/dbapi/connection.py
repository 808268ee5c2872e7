"""`Connection`: a session with the transactions of PEP 249.

Rule: BEGIN is sent in one batch with the first statement of a transaction; so a statement that the server
refuses to prepare has begun none.
Rule: the state of the transaction is the server's (ReadyForQuery), so that BEGIN and COMMIT as statements do
no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pgproto.errors import ConnectionLost, Outcome, PostgresError, TransactionAborted
from pgproto.errors import Error as PgprotoError
from pgproto.session import Execution, Operation, QueuedQuery, ScriptResult
from pgproto.types import Column, quote_literal

from . import errors
from .cursor import Cursor
from .held import HeldCursor, held_name
from .server import ServerCursor
from .styles import Parameters, Style
from .turn import Turn
from .xid import Xid

__all__ = ["Connection", "Link", "Portal", "Session"]

_T = TypeVar("_T")
_LEVELS = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")


class Portal(Protocol):
    """What a server-side cursor needs of `pgproto_blocking`'s cursor."""

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns, once it has begun."""
        ...

    def piece(self) -> list[Any]:
        """Some rows; [] at the end."""
        ...

    def fetch(self, n: int, *, timeout: float | None = None) -> list[Any]:
        """So many rows, or as many as there are."""
        ...

    def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip rows; how many."""
        ...

    def drop(self) -> None:
        """Close it with the next statement."""
        ...


class Link(Protocol):
    """What a connection needs of `pgproto_blocking`'s link."""

    def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        ...


class Session(Protocol):
    """What a connection needs of `pgproto_blocking`'s connection; other things may have it as well."""

    @property
    def closed(self) -> bool:
        """True once nothing can be sent any more."""
        ...

    @property
    def transaction_status(self) -> str:
        """The status of the last ReadyForQuery: "I", "T" or "E"."""
        ...

    @property
    def link(self) -> Link:
        """What runs operations."""
        ...

    def script(self, sql: str, *, timeout: float | None = None) -> list[ScriptResult]:
        """Run a text as a simple query."""
        ...

    def executemany(
        self, query: str, records: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> int:
        """Run a statement with many records."""
        ...

    def cursor(
        self, query: str, *args: object, into: type[tuple[Any, ...]], timeout: float | None = None
    ) -> Portal:
        """A portal that has not begun."""
        ...

    def close(self) -> None:
        """End the session."""
        ...


class Connection:
    """A connection of PEP 249.  Threads may share it: its statements run one after the other.

    The exceptions of the module are its attributes.

    Args:
        session: the connection of pgproto that it uses.
        paramstyle: how the parameters are written.
        autocommit: see there.
        timeout: the longest time for one statement, in seconds; None for no limit.
        lock: what keeps one statement at a time.
    """

    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(
        self,
        session: Session,
        *,
        paramstyle: Style = "numeric_dollar",
        autocommit: bool = False,
        timeout: float | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.session = session
        self.paramstyle: Style = paramstyle
        self.timeout = timeout
        self._lock = Turn(self.InterfaceError) if lock is None else lock
        self._autocommit = autocommit
        self._isolation_level: str | None = None
        self._read_only: bool | None = None
        self._deferrable: bool | None = None
        self._begin = "BEGIN"
        self._xid: Xid | None = None
        self._prepared = False
        self._undone = False
        self._closing = False
        self._held: set[int] = set()
        self._dropped: list[int] = []

    # ---- State

    @property
    def driver_connection(self) -> Any:
        """The connection of pgproto, for what PEP 249 does not have: COPY, LISTEN, batches."""
        return self.session

    @property
    def closed(self) -> bool:
        """True once it cannot be used any more, whoever has ended it."""
        return self.session.closed

    @property
    def in_transaction(self) -> bool:
        """True while a transaction is open on the server, which may have failed."""
        return not self.closed and self.session.transaction_status != "I"

    @property
    def autocommit(self) -> bool:
        """True if each statement is a transaction of its own.

        Raises:
            ProgrammingError: on setting, a transaction is open.
        """
        return self._autocommit

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        self._between_transactions("autocommit")
        self._autocommit = bool(value)

    @property
    def isolation_level(self) -> str | None:
        """The isolation level of the next transactions, such as "SERIALIZABLE"; None: the session's default.

        Raises:
            ProgrammingError: on setting, there is no such level, or a transaction is open.
        """
        return self._isolation_level

    @isolation_level.setter
    def isolation_level(self, value: str | None) -> None:
        if value is not None:
            value = value.upper().replace("_", " ")
            if value not in _LEVELS:
                raise self.ProgrammingError(f"no isolation level: {value!r}")
        self._between_transactions("isolation_level")
        self._isolation_level = value
        self._make_begin()

    @property
    def read_only(self) -> bool | None:
        """Whether the next transactions are READ ONLY; None for the session's default."""
        return self._read_only

    @read_only.setter
    def read_only(self, value: bool | None) -> None:
        self._between_transactions("read_only")
        self._read_only = value
        self._make_begin()

    @property
    def deferrable(self) -> bool | None:
        """Whether the next transactions are DEFERRABLE; None for the session's default."""
        return self._deferrable

    @deferrable.setter
    def deferrable(self, value: bool | None) -> None:
        self._between_transactions("deferrable")
        self._deferrable = value
        self._make_begin()

    # ---- PEP 249

    def cursor(self, name: str | None = None) -> Cursor:
        """A cursor.

        Args:
            name: for a cursor whose rows stay on the server, and come as they are fetched; any name.  In a
                transaction it is a portal and ends with it, with autocommit it is WITH HOLD.
        """
        self.check_open()
        if name is None:
            return Cursor(self)
        return HeldCursor(self, name) if self._autocommit else ServerCursor(self, name)

    def execute(self, operation: str, parameters: Parameters | None = None) -> Cursor:
        """Run a statement on a new cursor, and return the cursor."""
        cursor = self.cursor()
        cursor.execute(operation, parameters)
        return cursor

    def commit(self) -> None:
        """End the transaction.

        Raises:
            InternalError: a statement of it had failed, and the server has rolled it back.
        """
        self._not_in_two_phases("commit")
        self._end("COMMIT")

    def rollback(self) -> None:
        """End the transaction, and undo it."""
        if self._undone:
            self._forget()
        self._not_in_two_phases("rollback")
        self._end("ROLLBACK")

    def close(self) -> None:
        """Close the connection; an open transaction is rolled back.  Idempotent."""
        self._closing = True
        self.session.close()

    def __enter__(self) -> Self:
        self.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or roll back after an error, and close."""
        try:
            if self._xid is None and not self.closed:
                if error is None:
                    self.commit()
                elif isinstance(error, Exception):
                    self.rollback()
        except errors.Error:
            if error is None:
                raise
        finally:
            self.close()

    # ---- Transactions in two phases

    def xid(self, format_id: int, gtrid: str, bqual: str) -> Xid:
        """An identifier for a transaction in two phases."""
        return Xid(format_id, gtrid, bqual)

    def tpc_begin(self, xid: Xid | str) -> None:
        """Begin a transaction in two phases.

        Raises:
            ProgrammingError: a transaction is open, or autocommit is on.
        """
        self.check_open()
        self._between_transactions("tpc_begin")
        if self._autocommit:
            raise self.ProgrammingError("tpc_begin: autocommit is on")
        with self._lock:
            self._script(self._begin)
        self._xid = Xid.parse(xid) if isinstance(xid, str) else xid

    def tpc_prepare(self) -> None:
        """The first phase: afterwards only `tpc_commit` and `tpc_rollback` are allowed.

        Raises:
            ProgrammingError: there is no transaction in two phases, or it is prepared already.
            InternalError: a statement of it had failed, and the server has rolled it back.
        """
        xid = self._current("tpc_prepare")
        if self._prepared:
            raise self.ProgrammingError("tpc_prepare: it is prepared already")
        self._phase("PREPARE TRANSACTION", f"PREPARE TRANSACTION {quote_literal(str(xid))}")
        self._prepared = True

    def tpc_commit(self, xid: Xid | str | None = None) -> None:
        """The second phase, or the only one if there was no first; with `xid` of an earlier transaction."""
        self._finish("COMMIT", xid)

    def tpc_rollback(self, xid: Xid | str | None = None) -> None:
        """Roll the transaction in two phases back; with `xid` an earlier one."""
        self._finish("ROLLBACK", xid)

    def tpc_recover(self) -> list[Xid]:
        """The prepared transactions of the database that nobody has committed or rolled back."""
        with self._lock:
            status = self.session.transaction_status
            item = self._send("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()", ())
            if status == "I" and self.in_transaction:
                self._script("ROLLBACK")
        return [Xid.parse(row[0]) for row in item.rows]

    # ---- For cursors

    def check_open(self) -> None:
        """Raise InterfaceError if it is closed."""
        if self.session.closed:
            # The session knows why, and says so.
            try:
                self.session.script("")
            except PgprotoError as error:
                raise self.translated(error) from error
            raise self.InterfaceError("the connection is closed")  # pragma: no cover - it always raises

    def run(self, sql: str, values: Sequence[Any]) -> QueuedQuery[Any]:
        """Run a statement, in a transaction unless autocommit is on."""
        with self._lock:
            self._before()
            return self._send(sql, values)

    def run_many(self, sql: str, records: Iterable[Sequence[Any]]) -> int:
        """Run a statement once for each record; how many rows that has concerned."""

        def call() -> int:
            self._begun()
            return self.session.executemany(sql, records, timeout=self.timeout)

        return self.alone(call)

    def run_script(self, sql: str, *, begin: bool = True) -> list[ScriptResult]:
        """Run several statements."""
        with self._lock:
            if begin:
                self._begun()
            return self._script(sql)

    def portal(self, sql: str, values: Sequence[Any]) -> tuple[Portal, list[Any]]:
        """A portal for a statement, and its first rows."""

        def call() -> tuple[Portal, list[Any]]:
            self._begun()
            portal = self.session.cursor(sql, *values, into=tuple, timeout=self.timeout)
            return portal, portal.piece()

        return self.alone(call)

    def alone(self, call: Callable[[], _T]) -> _T:
        """Call something of the session's while no other statement runs."""
        with self._lock:
            try:
                return call()
            except PgprotoError as error:
                raise self.translated(error) from error

    def hold(self, sql: str, values: Sequence[Any]) -> int:
        """Declare a cursor WITH HOLD; its number.  Few, so that few texts of FETCH are in the cache."""
        with self._lock:
            self._before()
            number = next(n for n in range(len(self._held) + 1) if n not in self._held)
            self._held.add(number)
            try:
                self._send(f"DECLARE {held_name(number)} NO SCROLL CURSOR WITH HOLD FOR {sql}", values)
            except BaseException:
                self.let_go(number)  # it may be there: a statement that timed out, for one
                raise
            return number

    def let_go(self, number: int) -> None:
        """The cursor WITH HOLD is closed before the next statement.  A finalizer may call this."""
        self._dropped.append(number)

    def translated(self, error: PgprotoError) -> errors.Error:
        """An error of pgproto as one of this connection's classes."""
        own: type[errors.Error] = getattr(self, errors.kind_of(error).__name__)
        made = errors.translated(error, own)
        # `close` in another thread has ended it, by a request to cancel it or by closing the socket.
        if self._closing and (made.sqlstate == "57014" or isinstance(error, ConnectionLost)):
            made.args = ("the connection was closed while the statement ran",)
        return made

    # ---- Internals

    def _send(self, sql: str, values: Sequence[Any]) -> QueuedQuery[Any]:
        first = False
        try:
            first = not self._autocommit and self.session.transaction_status == "I"
            try:
                return self._run(sql, values, first)
            except PostgresError as error:
                if not (first and error.stale_statement):
                    raise
                # Only BEGIN has run, so that nothing is lost by a rollback: the statement is prepared again.
                self._script("ROLLBACK")
                return self._run(sql, values, first)
        except PgprotoError as error:
            made = self.translated(error)
            if first and self.session.closed and made.outcome is Outcome.UNKNOWN:
                made.outcome = Outcome.ROLLED_BACK  # its BEGIN came first, and no COMMIT was sent
            raise made from error

    def _run(self, sql: str, values: Sequence[Any], first: bool) -> QueuedQuery[Any]:
        item: QueuedQuery[Any] = QueuedQuery(sql, values, into=tuple)
        items: list[QueuedQuery[Any]] = [QueuedQuery(self._begin, ()), item] if first else [item]
        self.session.link.run(Execution(items), self.timeout)
        return item

    def _before(self) -> None:
        """What comes before a statement."""
        if self._prepared or self._undone:
            which = "prepared: tpc_commit or tpc_rollback" if self._prepared else "rolled back: tpc_rollback"
            raise self.ProgrammingError(f"the transaction in two phases is {which} comes first")
        self._sweep()

    def _sweep(self) -> None:
        """Close cursors WITH HOLD; in no transaction, which an error would end."""
        while self._dropped and not self.closed and self.session.transaction_status == "I":
            number = self._dropped[-1]
            try:
                self._script(f"CLOSE {held_name(number)}")
            except errors.Error as error:
                if error.sqlstate != "34000":  # else it is gone: its transaction was rolled back
                    raise
            self._dropped.remove(number)
            self._held.discard(number)

    def _begun(self) -> None:
        """What cannot take a BEGIN with it has to send one before."""
        self._before()
        if not self._autocommit and self.session.transaction_status == "I":
            self._script(self._begin)

    def _script(self, sql: str) -> list[ScriptResult]:
        try:
            return self.session.script(sql, timeout=self.timeout)
        except PgprotoError as error:
            raise self.translated(error) from error

    def _end(self, command: str) -> None:
        with self._lock:
            self.check_open()
            if self.session.transaction_status != "I":
                self._checked(command, self._script(command))
            self._sweep()

    def _checked(self, command: str, results: list[ScriptResult]) -> None:
        if results and results[0].tag == "ROLLBACK" and command != "ROLLBACK":
            error = TransactionAborted(
                f"{command} was answered with ROLLBACK, because a statement had failed"
            )
            raise self.translated(error) from error

    def _make_begin(self) -> None:
        words = ["BEGIN"]
        if self._isolation_level is not None:
            words.append(f"ISOLATION LEVEL {self._isolation_level}")
        if self._read_only is not None:
            words.append("READ ONLY" if self._read_only else "READ WRITE")
        if self._deferrable is not None:
            words.append("DEFERRABLE" if self._deferrable else "NOT DEFERRABLE")
        self._begin = " ".join(words)

    def _between_transactions(self, what: str) -> None:
        if self._xid is not None or self.in_transaction:
            raise self.ProgrammingError(f"{what}: a transaction is open")

    def _not_in_two_phases(self, what: str) -> None:
        if self._xid is not None:
            raise self.ProgrammingError(f"{what}: the transaction was begun by tpc_begin")

    def _current(self, what: str) -> Xid:
        self.check_open()
        if self._xid is None:
            raise self.ProgrammingError(f"{what}: no transaction was begun by tpc_begin")
        return self._xid

    def _finish(self, command: str, xid: Xid | str | None) -> None:
        if xid is None:
            xid = self._current(f"tpc_{command.lower()}")
            prepared = self._prepared
        else:
            self.check_open()
            self._between_transactions(command)
            prepared = True
        if self._undone and command == "COMMIT":
            error = TransactionAborted("tpc_commit: the transaction was rolled back, because it had failed")
            raise self.translated(error) from error
        if not self._undone:
            self._phase(command, f"{command} PREPARED {quote_literal(str(xid))}" if prepared else command)
        self._forget()

    def _phase(self, command: str, text: str) -> None:
        with self._lock:
            try:
                self._checked(command, self._script(text))
            except errors.Error:
                # What was not prepared is over once the server says so; only a rollback is left to call.
                over = not self.closed and self.session.transaction_status == "I"
                self._undone = over and self._xid is not None and not self._prepared
                raise

    def _forget(self) -> None:
        self._xid, self._prepared, self._undone = None, False, False
