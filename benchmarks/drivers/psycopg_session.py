"""psycopg 3 with its C implementation: autocommit, prepared from the first use, binary results.

A batch is its pipeline mode.  Without a Sync in between, the server runs all of it as one transaction; where
each statement shall stand on its own, `Pipeline.sync` follows each.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .session import POOL, Operation, Session, Statements

__all__ = ["Psycopg", "connect_arguments", "percent"]


def percent(sql: str) -> str:
    """`$1` as `%s`: psycopg's placeholders.  Good for parameters that occur once and in order."""
    number = 1
    while f"${number}" in sql:
        sql = sql.replace(f"${number}", "%s", 1)
        number += 1
    return sql


def connect_arguments(dsn: str) -> dict[str, Any]:
    """The arguments of every connection, whose C implementation is made sure of."""
    psycopg = importlib.import_module("psycopg")
    if psycopg.pq.__impl__ == "python":
        raise RuntimeError("psycopg runs with its Python implementation, not with C")
    return {"conninfo": dsn, "autocommit": True, "prepare_threshold": 0, "gssencmode": "disable"}


class Psycopg(Session):
    """psycopg, blocking."""

    ways = {"batch": "pipeline", "many": "executemany", "stream": "Cursor.stream"}  # noqa: RUF012

    def __init__(self) -> None:
        self._psycopg: Any = importlib.import_module("psycopg")
        self._pool: Any = None

    def connect(self, dsn: str) -> None:
        self._arguments = connect_arguments(dsn)
        self._conn: Any = self._psycopg.connect(**self._arguments)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._conn.close()

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn, sql = self._conn, percent(sql)

        def operation() -> Any:
            return conn.execute(sql, args, binary=True).fetchall()

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn
        texts = [(percent(sql), args) for sql, args in statements]

        def operation() -> Any:
            cursors = []
            with conn.pipeline() as pipeline:
                for sql, args in texts:
                    cursors.append(conn.execute(sql, args, binary=True))
                    if not atomic:
                        pipeline.sync()
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn, sql = self._conn, percent(sql)

        def operation() -> None:
            with conn.cursor() as cursor:
                cursor.executemany(sql, records)

        return operation

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn
        names = ", ".join(columns)
        described = conn.execute(f"select {names} from {table} limit 0").description
        types = [column.type_code for column in described]

        def operation() -> int:
            with conn.cursor() as cursor:
                with cursor.copy(f"copy {table} ({names}) from stdin (format binary)") as copy:
                    copy.set_types(types)
                    for record in records:
                        copy.write_row(record)
                return int(cursor.rowcount)

        return operation

    def transaction(self, statements: Statements) -> Operation:
        conn = self._conn
        texts = [(percent(sql), args) for sql, args in statements]

        def operation() -> Any:
            with conn.transaction():
                cursors = [conn.execute(sql, args, binary=True) for sql, args in texts]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

        return operation

    def connecting(self, sql: str) -> Operation:
        module, arguments = self._psycopg, self._arguments

        def operation() -> Any:
            with module.connect(**arguments) as conn:
                return conn.execute(sql).fetchall()

        return operation

    def pool_cycle(self, sql: str) -> Operation:
        module: Any = importlib.import_module("psycopg_pool")
        arguments = dict(self._arguments)
        pool = module.ConnectionPool(
            arguments.pop("conninfo"), kwargs=arguments, min_size=POOL, max_size=POOL, open=True
        )
        self._pool = pool
        pool.wait()

        def operation() -> Any:
            with pool.connection() as conn:
                return conn.execute(sql, binary=True).fetchall()

        return operation

    def stream(self, sql: str) -> Operation:
        conn = self._conn

        def operation() -> int:
            with conn.cursor() as cursor:
                return sum(1 for _ in cursor.stream(sql, binary=True, size=1000))

        return operation
