# Written by scripts/blocking.py out of pgproto/client/queries.py: change that one.
"""The four methods to run one statement, common to connection and pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from pgproto.session import QueuedQuery, Statement
from pgproto.session.batch import as_item
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.types import Row

from ..unique import Unique

if TYPE_CHECKING:
    from .prepared import PreparedStatement

__all__ = ["DEFAULT", "Queries", "Query", "Timeout"]

Query: TypeAlias = "str | Statement | PreparedStatement"
"""A text, or a statement that `prepare` has returned."""


class Queries(Unique):
    """`fetch`, `fetchrow`, `fetchval` and `execute`: each calls `_run_item` and returns another part.

    Args of each:
        query: one SQL statement with parameters $1, $2, ..., or a prepared statement.
        args: the values of the parameters.
        timeout: in seconds, `command_timeout` by default; None for no limit; 0 or less has already passed.
            On a pool, a number includes the wait for a connection.

    Raises:
        DataError: a value cannot be encoded (nothing was sent), or a received one cannot be decoded.
        PostgresError: the server refused the statement.
        ConnectionLost, QueryTimeout: see `outcome` for what became of it.
        PoolTimeout: the pool had no connection in that time, or in `acquire_timeout`; nothing was sent.
        TypeError, ValueError: `query` is not a statement, or `timeout` not a number; nothing was sent.
        BaseException: raised by a value's own code, such as KeyboardInterrupt; nothing was sent.  If it is an
            Exception, it is the `__cause__` of a DataError instead.
    """

    def fetch(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> list[Row]:
        """Run a statement and return its rows."""
        item = as_item(query, args)
        self._run_item(item, timeout)
        return item.rows

    def fetchrow(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Row | None:
        """Run a statement and return its first row, or None."""
        item = as_item(query, args)
        self._run_item(item, timeout)
        rows = item.rows
        return rows[0] if rows else None

    def fetchval(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Any:
        """Run a statement and return the first column of its first row, or None.

        Raises:
            DataError: its rows have no columns; the statement was run nevertheless.
        """
        item = as_item(query, args)
        self._run_item(item, timeout)
        return item.value()

    def execute(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> str:
        """Run a statement and return its command tag, such as "INSERT 0 1"."""
        item = as_item(query, args)
        self._run_item(item, timeout)
        return item.tag

    def _run_item(self, item: QueuedQuery, timeout: Timeout) -> None:
        raise NotImplementedError
