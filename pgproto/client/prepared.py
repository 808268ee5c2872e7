"""Prepared statements that the caller keeps."""

from __future__ import annotations

from typing import Any, Protocol

from pgproto.session import Statement
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.types import Row

from .queries import Query
from .records import Records
from .unique import Unique

__all__ = ["Keeper", "PreparedStatement"]


class Keeper(Protocol):
    """The methods of its connection that a prepared statement uses."""

    async def fetch(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> list[Row]:
        """See `Queries`."""
        ...

    async def fetchrow(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Row | None:
        """See `Queries`."""
        ...

    async def fetchval(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> Any:
        """See `Queries`."""
        ...

    async def execute(self, query: Query, *args: object, timeout: Timeout = DEFAULT) -> str:
        """See `Queries`."""
        ...

    async def executemany(self, query: Query, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """See `Connection.executemany`."""
        ...

    async def close_statement(self, statement: Statement) -> None:
        """Close a statement on the server with the next query.  Idempotent."""


class PreparedStatement(Unique):
    """A statement that was prepared with `Connection.prepare`; see `Queries` for the methods.

    The server keeps it until `close`, or until nobody refers to this object any more.
    """

    def __init__(self, connection: Keeper, statement: Statement, dropped: list[Statement]) -> None:
        self._connection = connection
        self.statement = statement
        self._dropped = dropped

    def __del__(self) -> None:
        self._dropped.append(self.statement)

    async def fetch(self, *args: object, timeout: Timeout = DEFAULT) -> list[Row]:
        """Run it and return its rows."""
        return await self._connection.fetch(self.statement, *args, timeout=timeout)

    async def fetchrow(self, *args: object, timeout: Timeout = DEFAULT) -> Row | None:
        """Run it and return its first row, or None."""
        return await self._connection.fetchrow(self.statement, *args, timeout=timeout)

    async def fetchval(self, *args: object, timeout: Timeout = DEFAULT) -> Any:
        """Run it and return the first column of its first row, or None."""
        return await self._connection.fetchval(self.statement, *args, timeout=timeout)

    async def execute(self, *args: object, timeout: Timeout = DEFAULT) -> str:
        """Run it and return its command tag."""
        return await self._connection.execute(self.statement, *args, timeout=timeout)

    async def executemany(self, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """Run it once for each record, all or nothing; see `Connection.executemany`."""
        return await self._connection.executemany(self.statement, records, timeout=timeout)

    async def close(self) -> None:
        """Close it on the server, with the next query."""
        await self._connection.close_statement(self.statement)
