"""The five methods to run one statement, common to connection and pool."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from pgproto.session import NamedQuery, QueuedQuery, Statement, StatementMode
from pgproto.session.batch import as_item
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.types import Into, Row

from .pieces import RowStream
from .unique import Unique

if TYPE_CHECKING:
    from .prepared import PreparedStatement

__all__ = ["DEFAULT", "Mode", "Queries", "Query", "Timeout"]

T = TypeVar("T")

Mode: TypeAlias = StatementMode | None
"""How a call runs its statements; None for the way of its session."""

Query: TypeAlias = "str | NamedQuery | Statement | PreparedStatement"
"""A text, what `named` has returned, or a statement that `prepare` has returned."""


class Queries(Unique):
    """`fetch`, `fetchrow`, `fetchval` and `execute`, each of which returns another part, and `stream`.

    Args of each:
        query: one SQL statement with parameters $1, $2, ..., or what `pgproto.named` has returned, or a
            prepared statement.
        args: the values of the parameters.
        into: what each row becomes; None for a `Row`.  dict, tuple; a dataclass, NamedTuple, attrs class or
            TypedDict, a pydantic model, or a function, whose fields are the columns (each column is a field,
            each field without a default a column); a type of values or an Enum for a result of one column;
            or a `RowMaker`.
        mode: the `StatementMode` of this call; None for that of the session.  (`stream` has none of its own.)
        timeout: in seconds, `command_timeout` by default; None for no limit; 0 or less has already passed.
            On a pool, a number includes the wait for a connection.

    Raises:
        DataError: a value cannot be encoded, or `into` does not fit the columns (nothing was sent); a value
            cannot be decoded, or an object not be made of a row (see `outcome`).
        PostgresError: the server refused the statement.
        ConnectionLost, QueryTimeout: see `outcome` for what became of it.
        PoolTimeout: the pool had no connection in that time, or in `acquire_timeout`; nothing was sent.
        TypeError, ValueError: `query` is not a statement, or `timeout` not a number; nothing was sent.
        BaseException: raised by a value's own code, such as KeyboardInterrupt; nothing was sent.  If it is an
            Exception, it is the `__cause__` of a DataError instead.
    """

    @overload
    async def fetch(
        self, query: Query, *args: object, into: None = None, mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> list[Row]: ...

    @overload
    async def fetch(
        self, query: Query, *args: object, into: Into[T], mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> list[T]: ...

    async def fetch(
        self,
        query: Query,
        *args: object,
        into: Into[Any] | None = None,
        mode: Mode = None,
        timeout: Timeout = DEFAULT,
    ) -> list[Any]:
        """Run a statement and return its rows."""
        item = as_item(query, args, into)
        await self._run_item(item, timeout, mode)
        return item.rows if into is None else item.take(item.rows)

    @overload
    async def fetchrow(
        self, query: Query, *args: object, into: None = None, mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> Row | None: ...

    @overload
    async def fetchrow(
        self, query: Query, *args: object, into: Into[T], mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> T | None: ...

    async def fetchrow(
        self,
        query: Query,
        *args: object,
        into: Into[Any] | None = None,
        mode: Mode = None,
        timeout: Timeout = DEFAULT,
    ) -> Any:
        """Run a statement and return its first row, or None."""
        item = as_item(query, args, into)
        await self._run_item(item, timeout, mode)
        rows = item.rows if into is None else item.take(item.rows[:1])
        return rows[0] if rows else None

    async def fetchval(
        self,
        query: Query,
        *args: object,
        column: int | str = 0,
        mode: Mode = None,
        timeout: Timeout = DEFAULT,
    ) -> Any:
        """Run a statement and return a column of its first row (by position or name), or None.

        Raises:
            DataError: its rows have no such column; the statement was run nevertheless.
        """
        item = as_item(query, args)
        await self._run_item(item, timeout, mode)
        return item.value(column)

    async def execute(
        self, query: Query, *args: object, mode: Mode = None, timeout: Timeout = DEFAULT
    ) -> str:
        """Run a statement and return its command tag, such as "INSERT 0 1"."""
        item = as_item(query, args)
        await self._run_item(item, timeout, mode)
        return item.tag

    @overload
    def stream(
        self, query: Query, *args: object, into: None = None, timeout: Timeout = DEFAULT
    ) -> RowStream[Row]: ...

    @overload
    def stream(
        self, query: Query, *args: object, into: Into[T], timeout: Timeout = DEFAULT
    ) -> RowStream[T]: ...

    def stream(
        self, query: Query, *args: object, into: Into[Any] | None = None, timeout: Timeout = DEFAULT
    ) -> RowStream[Any]:
        """Run a statement and iterate over its rows as they arrive, in bounded memory.

        `async for row in conn.stream(...)`; nothing else can use the connection until the iteration has
        ended, however few rows there are.  In a transaction block other statements can: there the rows come
        by a cursor.  A pool borrows a connection until the end.  `timeout` is the longest wait for the next
        rows, and in a pool for the connection, too.
        """
        return self._stream(as_item(query, args, into), timeout)

    def _run_item(self, item: QueuedQuery, timeout: Timeout, mode: Mode = None) -> Awaitable[None]:
        raise NotImplementedError

    def _stream(self, item: QueuedQuery[T], timeout: Timeout) -> RowStream[T]:
        raise NotImplementedError
