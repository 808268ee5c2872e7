"""Every exception of pgproto, and what became of a query that did not succeed.

Error:
    ├── ConfigError (ValueError)      a connection string, option or file that cannot be used
    ├── LocalProtocolError            you did it: not legal now, or it does not fit the protocol
    │   └── ConnectionClosed          the connection (or its pool slot) was closed before you asked
    ├── RemoteProtocolError           they did it: bytes that no PostgreSQL server would send
    ├── PostgresError                 the server said so; one class per SQLSTATE, and one per SQLSTATE class,
    │   └── ...                       in pgproto.sqlstates
    ├── ConnectError                  no connection could be made; .errors has every attempt
    ├── ConnectionLost                the connection, or its lease, ended under a query; see __cause__
    │   └── ServerCrash               ... after a crash notice (57P02)
    ├── TransactionAborted            COMMIT was asked for, ROLLBACK was done
    ├── QueryTimeout (TimeoutError)   your deadline passed
    ├── DataError (ValueError)        a value cannot be encoded or decoded
    ├── PoolTimeout (TimeoutError)    no connection became free in time
    ├── PoolClosed                    the pool is closing or closed
    └── TooManyWaiting                the pool's queue is full (max_waiting)

Rule: a ConnectionClosed that is the server's doing says so, in its text and `.sqlstate`.
Rule: the statement of a query's error is in `.query`, and never in its text: texts go to logs.
Rule: the first cause is kept.  What came after it (the pooler's 08P01 after the server's 57P01, the
EPIPE of a write) is in `.also`.  Rule: an error that ends a query carries that query's `.outcome`.

This file is not compiled: mypyc's native exceptions cannot also be a TimeoutError.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, TypeVar

__all__ = [
    "ConfigError",
    "ConnectError",
    "ConnectionClosed",
    "ConnectionLost",
    "DataError",
    "Error",
    "LocalProtocolError",
    "Outcome",
    "PoolClosed",
    "PoolTimeout",
    "PostgresError",
    "QueryTimeout",
    "RemoteProtocolError",
    "ServerCrash",
    "TooManyWaiting",
    "TransactionAborted",
]


MASK: Final = "******"
"""The text that is shown in place of a secret."""

E = TypeVar("E", bound=Exception)


def because(error: E, cause: BaseException) -> E:
    """The error, with its cause.

    Use it as `raise because(error, cause) from cause`: code compiled by mypyc 2.4.1 drops the `from` of a
    `raise`, and the first cause must never be lost.
    """
    error.__cause__ = cause
    return error


class Outcome(enum.Enum):
    """What became of one query, judged only by the bytes sent and received.

    `safe_to_retry` is true where the server cannot have made the query's effects permanent.
    """

    NOT_SENT = "not sent"
    """No byte of the query's segment was handed to the transport."""
    NOT_COMMITTED = "not committed"
    """Bytes went out, but the Sync that would commit them did not."""
    FAILED = "failed"
    """Its own ErrorResponse arrived; the SQLSTATE says whether a repetition makes sense."""
    SKIPPED = "skipped"
    """An earlier query of the same segment failed, so the server never looked at this one."""
    ROLLED_BACK = "rolled back"
    """It completed, and was undone: by ROLLBACK, by a later query that failed, or by the session's end."""
    COMMITTED = "committed"
    """Its COMMIT arrived, or ReadyForQuery outside of a transaction block."""
    OK_IN_TX = "ok in transaction"
    """ReadyForQuery arrived in a transaction block, which has yet to commit."""
    PREPARED = "prepared"
    """PREPARE TRANSACTION has put its transaction aside: COMMIT PREPARED or ROLLBACK PREPARED will decide."""
    UNKNOWN = "unknown"
    """The Sync (or COMMIT) was handed over, and there is no answer that says what the server did.

    Also a procedure, script or batch that failed after a part of it may have been committed."""

    @property
    def safe_to_retry(self) -> bool:
        """True where repeating the query cannot make its effects happen twice."""
        return self in _SAFE_TO_RETRY


_SAFE_TO_RETRY: Final = frozenset(
    {Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK}
)


class Error(Exception):
    """Base class of everything that pgproto raises on purpose."""

    outcome: Outcome | None = None
    """What became of the query that this error ended; None if it ended no query."""
    executed: bool = False
    """True if a CommandComplete of the query was seen, although its outcome is UNKNOWN."""
    likely_committed: bool = False
    """True if the server said that the transaction was committed locally before it hung up."""
    session: int | None = None
    """The number of the session that the error came from (`Engine.session`), unique in this process."""
    query: str | None = None
    """The text of the statement that this error is about, as it was sent; never a part of `str()`."""
    also: Sequence[Exception] = ()
    """Further errors after the first cause, in order."""


class ConfigError(Error, ValueError):
    """A connection string, option or file cannot be used.  The text never quotes a password."""


class LocalProtocolError(Error):
    """You did it: the call is not legal now, or a value does not fit the protocol.

    Nothing was sent because of it.
    """


def not_sent(text: str, sql: str | None = None) -> LocalProtocolError:
    """The error of a call that is refused on this side: nothing of it was sent.

    Args:
        text: why.
        sql: the statement that it is about, for `Error.query`.
    """
    error = LocalProtocolError(text)
    error.outcome = Outcome.NOT_SENT
    error.query = sql
    return error


class ConnectionClosed(LocalProtocolError):
    """The connection was closed before this call; nothing was sent.

    If this side did not close it, `__cause__` is the first thing that went wrong, and the text names it: the
    server's timeout for idle sessions (57P05, 25P03), its shutdown (57P01), the network.
    """

    outcome = Outcome.NOT_SENT

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of the server's last words (57P05, ...); "" if it said nothing."""
        return _last_words(self)


def _last_words(error: Error) -> str:
    """The SQLSTATE of the server's error among the causes of a session's end."""
    for each in (error.__cause__, *error.also):
        if isinstance(each, PostgresError):
            return each.sqlstate
    return ""


class RemoteProtocolError(Error):
    """They did it: the peer sent what the protocol does not allow here.

    The connection is closed: pgproto never tries to resynchronise.
    """


class ReportFields(dict[str, str]):
    """The fields of an error or notice by their one-letter code, when some of them are not UTF-8.

    Their texts have escapes for the bytes that are not UTF-8; `raw` has the original bytes.
    """

    raw: Mapping[str, bytes]

    def __init__(self, fields: Mapping[str, str], raw: Mapping[str, bytes]) -> None:
        super().__init__(fields)
        self.raw = raw


def raw_field(fields: Mapping[str, str], code: str) -> bytes | None:
    """The bytes of a field as the server sent them, if its text has escapes for some; else None."""
    data = fields.raw.get(code) if isinstance(fields, ReportFields) else None
    return data if data is not None and escaped(data) == fields[code] else None


def raw_fields(fields: Mapping[str, str]) -> dict[str, bytes]:
    """The bytes of each field."""
    found: dict[str, bytes] = {}
    for code, text in fields.items():
        data = raw_field(fields, code)
        found[code] = text.encode(errors="backslashreplace") if data is None else data
    return found


def escaped(data: bytes) -> str:
    """A server's text, decoded as UTF-8 with escapes for the bytes that are not."""
    return data.decode("utf-8", "backslashreplace")


class PostgresError(Error):
    """The server reported an error (ErrorResponse).

    Raised as the subclass of `pgproto.sqlstates` for its SQLSTATE, or for the SQLSTATE's class.
    All fields of the message are attributes, None where the server sent none.  Manual: "Error and
    Notice Message Fields".

    Args:
        fields: the message's fields by their one-letter code, as in `ErrorResponse.fields`.
    """

    by_sqlstate: ClassVar[dict[str, type[PostgresError]]] = {}
    stale_statement: bool = False
    """True if the only fault was a prepared statement out of date.  It was forgotten, so repeat the query."""

    def __init_subclass__(cls, code: str | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            PostgresError.by_sqlstate[code] = cls

    def __init__(self, fields: Mapping[str, str]) -> None:
        own = ReportFields(fields, fields.raw) if isinstance(fields, ReportFields) else dict(fields)
        super().__init__(own)
        self.fields: dict[str, str] = own

    @staticmethod
    def of(fields: Mapping[str, str]) -> PostgresError:
        """The error, as an instance of the most specific class for its SQLSTATE."""
        code = fields.get("C", "")
        known = PostgresError.by_sqlstate
        return (known.get(code) or known.get(code[:2]) or PostgresError)(fields)

    @property
    def raw_fields(self) -> dict[str, bytes]:
        """The fields' bytes as the server sent them, in the session's client_encoding.

        `fields` has them as text, with escapes for bytes that are not UTF-8.
        """
        return raw_fields(self.fields)

    @property
    def severity(self) -> str:
        """ERROR, FATAL or PANIC: the untranslated `V` field, else `S` (pgbouncer sends no `V`)."""
        return self.fields.get("V") or self.fields.get("S") or "ERROR"

    @property
    def fatal(self) -> bool:
        """True if the server ends the session with this error (FATAL or PANIC)."""
        return self.severity in ("FATAL", "PANIC")

    @property
    def sqlstate(self) -> str:
        """The five-character SQLSTATE; "" if the server sent none."""
        return self.fields.get("C", "")

    @property
    def message(self) -> str:
        """The primary message, in the server's language."""
        return self.fields.get("M", "")

    @property
    def detail(self) -> str | None:
        """The secondary message with more detail."""
        return self.fields.get("D")

    @property
    def hint(self) -> str | None:
        """A suggestion of what to do about the problem."""
        return self.fields.get("H")

    @property
    def position(self) -> int | None:
        """The 1-based position of the error in the query, in characters."""
        return _number(self.fields.get("P"))

    @property
    def internal_query(self) -> str | None:
        """The text of a failed internally generated command."""
        return self.fields.get("q")

    @property
    def where(self) -> str | None:
        """The context in which the error occurred, a call stack one entry a line."""
        return self.fields.get("W")

    @property
    def schema_name(self) -> str | None:
        """The schema of the object that the error is about."""
        return self.fields.get("s")

    @property
    def table_name(self) -> str | None:
        """The table that the error is about."""
        return self.fields.get("t")

    @property
    def column_name(self) -> str | None:
        """The column that the error is about."""
        return self.fields.get("c")

    @property
    def data_type_name(self) -> str | None:
        """The data type that the error is about."""
        return self.fields.get("d")

    @property
    def constraint_name(self) -> str | None:
        """The constraint that the error is about."""
        return self.fields.get("n")

    def __str__(self) -> str:
        text = f"{self.severity} {self.sqlstate}: {self.message}".strip()
        for title, value in (("DETAIL", self.detail), ("HINT", self.hint)):
            if value:
                text += f"\n{title}: {value}"
        return text

    def report(self, sql: str | None = None) -> str:
        """The error as psql shows it: LINE and caret, DETAIL, HINT, QUERY and CONTEXT.

        It quotes the statement, so show it to the author of the statement and do not log it.  If the
        statement is not known, the first line ends with the position ("at character 8").
        Manual: "Error and Notice Message Fields"; libpq: PQresultErrorMessage.

        Args:
            sql: the statement, if `query` does not have it.
        """
        first = f"{self.fields.get('S') or self.severity}:  {self.sqlstate}: {self.message}"
        statement, position = self.query if sql is None else sql, self.position
        if self.internal_query is not None:
            statement, position = self.internal_query, _number(self.fields.get("p"))
        lines = [first]
        if statement is not None:
            lines += _line_and_caret(statement, position)
        elif position:
            lines[0] += f" at character {position}"
        for title, value in (("DETAIL", self.detail), ("HINT", self.hint), ("QUERY", self.internal_query)):
            if value:
                lines.append(f"{title}:  {value}")
        if self.where:
            lines.append(f"CONTEXT:  {self.where}")
        return "\n".join(lines)


_SHOWN: Final = 60  # columns of a long line that are shown around the caret, as psql does


def _number(text: str | None) -> int | None:
    """A field of an ErrorResponse as a number; None if it is not one."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) >= 12:
        return None
    return int(text)


def _line_and_caret(sql: str, position: int | None) -> list[str]:
    """The line ("LINE n: ...") and the line with the caret; nothing if the position is not in the text.

    Args:
        sql: the statement.
        position: in characters, counted from 1; a position after the end means the end.
    """
    if position is None or not 1 <= position <= len(sql) + 1:
        return []
    before = sql[: position - 1]
    number = before.count("\n") + 1
    start = before.rfind("\n") + 1
    end = sql.find("\n", start)
    line = sql[start : len(sql) if end < 0 else end].rstrip("\r").replace("\t", " ").replace("\r", " ")
    column = position - 1 - start
    first = max(0, min(column - _SHOWN // 2, len(line) - _SHOWN))
    shown = line[first : first + _SHOWN]
    head = f"LINE {number}: " + ("..." if first else "")
    tail = "..." if first + _SHOWN < len(line) else ""
    width = sum(_width(character) for character in line[first:column])
    return [head + shown + tail, " " * (len(head) + width) + "^"]


def _width(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class ConnectError(Error):
    """No connection could be made.

    `errors` has one error for every address that was tried, in order.  The last of them, or the one that
    ended the attempts, is the `__cause__`.

    Args:
        message: what went wrong.
        errors: see above.
        permanent: True if every further attempt would fail in the same way, whatever `errors` say.
    """

    outcome = Outcome.NOT_SENT

    def __init__(self, message: str, errors: Sequence[Exception] = (), *, permanent: bool = False) -> None:
        super().__init__(message)
        self.errors: tuple[Exception, ...] = tuple(errors)
        self.permanent = permanent

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of the last server that answered with one; "" if none did."""
        for error in reversed(self.errors):
            if isinstance(error, PostgresError):
                return error.sqlstate
        return ""


class ConnectionLost(Error):
    """The connection ended, or was given back to its pool, while the query ran; see `outcome`.

    `__cause__` is the first thing that went wrong.
    """

    @property
    def sqlstate(self) -> str:
        """The SQLSTATE of the server's last words (57P01, ...); "" if it said nothing."""
        return _last_words(self)


class ServerCrash(ConnectionLost):
    """The server announced a crash (WARNING 57P02) before the connection ended."""


class TransactionAborted(Error):
    """The end of a block was ROLLBACK, or ROLLBACK TO its savepoint, because a statement in it had failed."""

    outcome = Outcome.ROLLED_BACK


class QueryTimeout(Error, TimeoutError):
    """The deadline of the call passed; `outcome` says what is known about the query."""


class DataError(Error, ValueError):
    """A value cannot be encoded for, or decoded from, its SQL type.

    On the way out nothing has been sent; the text names parameter, SQL type and Python type.
    """


class _PoolBusy(Error):
    """A pool has no connection for a caller.  The text is constant and the counts are attributes.

    Tools that group errors by text then show two hundred callers that time out together as one error.
    """

    outcome = Outcome.NOT_SENT

    size: int = 0
    """Connections in any state at that moment, at most `max_size`."""
    used: int = 0
    """Connections that were lent."""
    idle: int = 0
    """Connections that were free, but due for a check or past their lifetime."""
    opening: int = 0
    """Connections that were being opened."""
    waiting: int = 0
    """Other callers in the queue."""


class PoolTimeout(_PoolBusy, TimeoutError):
    """No connection of the pool became free before the deadline.

    If connecting fails, the last connect error is the `__cause__`.
    """


class PoolClosed(Error):
    """The pool is closing or closed."""

    outcome = Outcome.NOT_SENT


class TooManyWaiting(_PoolBusy):
    """The pool's queue of waiting callers is full (`max_waiting`)."""


class HookTimeout(TimeoutError):
    """A hook of a pool did not return in time: the `__cause__` of the error that the caller gets.

    Args:
        hook: its name.
    """

    def __init__(self, hook: str) -> None:
        super().__init__(f"{hook} did not return in time")
