"""The four ways to run one statement, which a connection and a pool share."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final

from pgproto import QueuedQuery, Row
from pgproto.session import Statement
from pgproto.session.batch import as_item

__all__ = ["DEFAULT", "Queries"]

DEFAULT: Final = -1.0
"""`timeout=DEFAULT` means the connection's `command_timeout`; None means no limit."""


class Queries:
    """`fetch`, `fetchrow`, `fetchval` and `execute`, all of them `_run_item` with another answer.

    Args of each:
        query: one SQL statement with parameters $1, $2, ..., or a prepared one.
        args: the values of the parameters.
        timeout: in seconds; None for no limit.

    Raises:
        DataError: a value cannot be encoded (nothing was sent), or one that came cannot be decoded.
        PostgresError: the server refused the statement.
        ConnectionLost, QueryTimeout: see `outcome` for what became of it.
    """

    async def fetch(
        self, query: str | Statement, *args: object, timeout: float | None = DEFAULT
    ) -> list[Row]:
        """Run a statement and return its rows."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        return item.rows

    async def fetchrow(
        self, query: str | Statement, *args: object, timeout: float | None = DEFAULT
    ) -> Row | None:
        """Run a statement and return its first row, or None."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        rows = item.rows
        return rows[0] if rows else None

    async def fetchval(self, query: str | Statement, *args: object, timeout: float | None = DEFAULT) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        rows = item.rows
        return rows[0][0] if rows else None

    async def execute(self, query: str | Statement, *args: object, timeout: float | None = DEFAULT) -> str:
        """Run a statement and return its command tag, such as "INSERT 0 1"."""
        item = as_item(query, args)
        await self._run_item(item, timeout)
        return item.tag

    def _run_item(self, item: QueuedQuery, timeout: float | None) -> Awaitable[None]:
        raise NotImplementedError
