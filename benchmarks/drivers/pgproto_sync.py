"""pgproto_blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pgproto_blocking

from .pgproto_async import batch_of
from .session import POOL, Operation, Session, Statements

__all__ = ["PgprotoBlocking"]


class PgprotoBlocking(Session):
    """Blocking sockets."""

    ways = {"batch": "send_batch", "many": "executemany"}  # noqa: RUF012

    def __init__(self) -> None:
        self._pool: pgproto_blocking.Pool | None = None

    def connect(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn = pgproto_blocking.connect(dsn)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._conn.close()

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn = self._conn

        def operation() -> Any:
            return conn.fetch(sql, *args)

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn

        def operation() -> Any:
            return [item.rows for item in conn.send_batch(batch_of(statements, atomic=atomic))]

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        def operation() -> None:
            conn.executemany(sql, records)

        return operation

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        def operation() -> Any:
            return conn.copy_records(table, records, columns=columns)

        return operation

    def transaction(self, statements: Statements) -> Operation:
        conn = self._conn

        def operation() -> Any:
            with conn.transaction():
                return [conn.fetch(sql, *args) for sql, args in statements]

        return operation

    def connecting(self, sql: str) -> Operation:
        dsn = self._dsn

        def operation() -> Any:
            with pgproto_blocking.connect(dsn) as conn:
                return conn.fetch(sql)

        return operation

    def pool_cycle(self, sql: str) -> Operation:
        pool = self._pool = pgproto_blocking.Pool(self._dsn, min_size=POOL, max_size=POOL)
        pool.open()

        def operation() -> Any:
            with pool.acquire() as conn:
                return conn.fetch(sql)

        return operation

    def stream(self, sql: str) -> Operation:
        conn = self._conn

        def operation() -> int:
            return sum(1 for _ in conn.stream(sql))

        return operation
