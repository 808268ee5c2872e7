"""pg8000 by its native interface, with prepared statements.  It has no batch: one by one."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from .session import Operation, Session, Statements

__all__ = ["Pg8000"]


class Pg8000(Session):
    """pg8000.native."""

    ways = {  # noqa: RUF012
        "batch": "one by one",
        "many": "one by one",
        "copy": "as text",
        "stream": "all at once",
    }

    def __init__(self) -> None:
        self._native: Any = importlib.import_module("pg8000.native")
        self._prepared: dict[str, Any] = {}

    def connect(self, dsn: str) -> None:
        address = urlsplit(dsn)
        self._arguments = {
            "user": address.username,
            "host": address.hostname,
            "port": address.port,
            "database": address.path.removeprefix("/"),
        }
        self._conn: Any = self._native.Connection(**self._arguments)

    def close(self) -> None:
        self._conn.close()

    def _statement(self, sql: str) -> Any:
        """The prepared statement: its `run` takes the values by the names p1, p2, ..."""
        if sql not in self._prepared:
            self._prepared[sql] = self._conn.prepare(re.sub(r"\$(\d+)", r":p\1", sql))
        return self._prepared[sql]

    def _call(self, sql: str, args: Sequence[Any]) -> tuple[Any, dict[str, Any]]:
        return self._statement(sql), {f"p{number}": value for number, value in enumerate(args, 1)}

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        statement, values = self._call(sql, args)

        def operation() -> Any:
            return statement.run(**values)

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        run = self._conn.run
        calls = [self._call(sql, args) for sql, args in statements]

        def operation() -> Any:
            if not atomic:
                return [statement.run(**values) or [] for statement, values in calls]
            run("begin")
            results = [statement.run(**values) or [] for statement, values in calls]
            run("commit")
            return results

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        return self.batch([(sql, record) for record in records], True)

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn
        sql = f"copy {table} ({', '.join(columns)}) from stdin"

        def lines() -> Iterator[str]:
            for record in records:
                yield "\t".join([str(value) for value in record]) + "\n"

        def operation() -> Any:
            conn.run(sql, stream=lines())
            return conn.row_count

        return operation

    def transaction(self, statements: Statements) -> Operation:
        return self.batch(statements, True)

    def connecting(self, sql: str) -> Operation:
        connection, arguments = self._native.Connection, self._arguments

        def operation() -> Any:
            conn = connection(**arguments)
            try:
                return conn.run(sql)
            finally:
                conn.close()

        return operation

    def stream(self, sql: str) -> Operation:
        statement = self._statement(sql)

        def operation() -> int:
            return len(statement.run())

        return operation
