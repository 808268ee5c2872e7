"""The four ways to run one statement, which a connection and a pool share."""

from __future__ import annotations

from typing import Any, Final

from pgproto import QueuedQuery, Row
from pgproto.session import Statement

__all__ = ["DEFAULT", "Queries"]

DEFAULT: Final = -1.0
"""`timeout=DEFAULT` means the connection's `command_timeout`; None means no limit."""


class Queries:
    """`fetch`, `fetchrow`, `fetchval` and `execute`, all of them `_execute` with another answer.

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
        return (await self._execute(query, args, timeout)).rows

    async def fetchrow(
        self, query: str | Statement, *args: object, timeout: float | None = DEFAULT
    ) -> Row | None:
        """Run a statement and return its first row, or None."""
        rows = (await self._execute(query, args, timeout)).rows
        return rows[0] if rows else None

    async def fetchval(self, query: str | Statement, *args: object, timeout: float | None = DEFAULT) -> Any:
        """Run a statement and return the first column of its first row, or None."""
        rows = (await self._execute(query, args, timeout)).rows
        return rows[0][0] if rows else None

    async def execute(self, query: str | Statement, *args: object, timeout: float | None = DEFAULT) -> str:
        """Run a statement and return its command tag, such as "INSERT 0 1"."""
        return (await self._execute(query, args, timeout)).tag

    async def _execute(
        self, query: str | Statement, args: tuple[object, ...], timeout: float | None
    ) -> QueuedQuery:
        raise NotImplementedError
