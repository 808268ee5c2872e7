"""The four ways to run one statement, which a connection and a pool share."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeAlias

from pgproto.session import QueuedQuery, Statement
from pgproto.session.batch import as_item
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.types import Row

from .unique import Unique

if TYPE_CHECKING:
    from .prepared import PreparedStatement

__all__ = ["DEFAULT", "Queries", "Query", "Timeout"]

Query: TypeAlias = "str | Statement | PreparedStatement"
"""A text, or what `prepare` returned."""


class Queries(Unique):
    """`fetch`, `fetchrow`, `fetchval` and `execute`, all of them `_run_item` with another answer.

    Args of each:
        query: one SQL statement with parameters $1, $2, ..., or what `prepare` returned.
        args: the values of the parameters.
        timeout: in seconds, `command_timeout` by default; None for no limit; one that is 0 or less has
            passed.  A number that a pool is given is for the wait for a connection, too.

    Raises:
        DataError: a value cannot be encoded (nothing was sent), or one that came cannot be decoded.
        PostgresError: the server refused the statement.
        ConnectionLost, QueryTimeout: see `outcome` for what became of it.
        PoolTimeout: the pool had no connection in that time, or in `acquire_timeout`; nothing was sent.
        TypeError, ValueError: `query` is no statement, or `timeout` no number; nothing was sent.
        BaseException: what a value's own code raised, if it is no Exception (KeyboardInterrupt, say); else it
            is the `__cause__` of a DataError.  Nothing was sent.
    """

    async def fetch(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> list[Row]:
        """Run a statement and return its rows."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        return item.rows

    async def fetchrow(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Row | None:
        """Run a statement and return its first row, or None."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        rows = item.rows
        return rows[0] if rows else None

    async def fetchval(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Any:
        """Run a statement and return the first column of its first row, or None.

        Raises:
            DataError: its rows have no columns; it has run all the same.
        """
        item = as_item(query, args)
        await self._run_item(item, timeout)
        return item.value()

    async def execute(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> str:
        """Run a statement and return its command tag, such as "INSERT 0 1"."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        return item.tag

    def _run_item(self, item: QueuedQuery, timeout: Timeout) -> Awaitable[None]:
        raise NotImplementedError
