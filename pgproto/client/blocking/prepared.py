# Written by scripts/blocking.py out of pgproto/client/prepared.py: change that one.
"""Prepared statements that the caller keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from pgproto.session import Statement
from pgproto.session.deadlines import DEFAULT, Timeout
from pgproto.types import Column, Into, Row

from ..unique import Unique
from .records import Records

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["PreparedStatement"]

T = TypeVar("T")


class PreparedStatement(Unique):
    """A statement that was prepared with `Connection.prepare`; see `Queries` for the methods.

    The server keeps it until `close`, or until nobody refers to this object any more.
    """

    def __init__(self, connection: Connection, statement: Statement, dropped: list[Statement]) -> None:
        self._connection = connection
        self.statement = statement
        self._dropped = dropped

    def __del__(self) -> None:
        self._dropped.append(self.statement)

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns of its rows, with their types; () if it returns none."""
        return self.statement.decoder.description

    @overload
    def fetch(self, *args: object, into: None = None, timeout: Timeout = DEFAULT) -> list[Row]: ...

    @overload
    def fetch(self, *args: object, into: Into[T], timeout: Timeout = DEFAULT) -> list[T]: ...

    def fetch(self, *args: object, into: Into[Any] | None = None, timeout: Timeout = DEFAULT) -> list[Any]:
        """Run it and return its rows."""
        return self._connection.fetch(self.statement, *args, into=into, timeout=timeout)

    @overload
    def fetchrow(self, *args: object, into: None = None, timeout: Timeout = DEFAULT) -> Row | None: ...

    @overload
    def fetchrow(self, *args: object, into: Into[T], timeout: Timeout = DEFAULT) -> T | None: ...

    def fetchrow(self, *args: object, into: Into[Any] | None = None, timeout: Timeout = DEFAULT) -> Any:
        """Run it and return its first row, or None."""
        return self._connection.fetchrow(self.statement, *args, into=into, timeout=timeout)

    def fetchval(self, *args: object, column: int | str = 0, timeout: Timeout = DEFAULT) -> Any:
        """Run it and return a column of its first row, or None."""
        return self._connection.fetchval(self.statement, *args, column=column, timeout=timeout)

    def execute(self, *args: object, timeout: Timeout = DEFAULT) -> str:
        """Run it and return its command tag."""
        return self._connection.execute(self.statement, *args, timeout=timeout)

    def executemany(self, records: Records, *, timeout: Timeout = DEFAULT) -> int:
        """Run it once for each record, all or nothing; see `Connection.executemany`."""
        return self._connection.executemany(self.statement, records, timeout=timeout)

    def close(self) -> None:
        """Close it on the server, with the next query."""
        self._connection.close_statement(self.statement)
