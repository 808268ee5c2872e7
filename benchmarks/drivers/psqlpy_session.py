"""psqlpy, which is tokio-postgres underneath.  Its pipeline belongs to a transaction; else one by one.

It works in threads of its own; their CPU time is its process's.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from .session import POOL, Operation, Session, Statements, repeated

__all__ = ["Psqlpy"]


def _rows(result: Any) -> Any:
    return result.result(as_tuple=True)


class Psqlpy(Session):
    """psqlpy."""

    ways = {  # noqa: RUF012
        "batch": "pipeline; not atomic: one by one",
        "many": "execute_many",
        "gather": "pool of 10",
        "stream": "cursor",
    }

    def __init__(self) -> None:
        self._psqlpy: Any = importlib.import_module("psqlpy")
        self._pool: Any = None

    async def connect(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: Any = await self._psqlpy.connect(dsn=dsn)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.close()
        self._conn.close()

    def _open_pool(self) -> Any:
        self._pool = self._psqlpy.connect_pool(dsn=self._dsn, max_db_pool_size=POOL)
        return self._pool

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn, values = self._conn, list(args)

        async def operation() -> Any:
            return _rows(await conn.execute(sql, values))

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn
        queries = [(sql, list(args)) for sql, args in statements]

        async def pipelined() -> Any:
            async with conn.transaction() as transaction:
                return [_rows(result) for result in await transaction.pipeline(queries)]

        async def one_by_one() -> Any:
            return [_rows(await conn.execute(sql, args)) for sql, args in queries]

        return pipelined if atomic else one_by_one

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn, values = self._conn, [list(record) for record in records]

        async def operation() -> None:
            await conn.execute_many(sql, values)

        return operation

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            return await conn.copy_records_to_table(table, records, columns=columns)

        return operation

    def gather(self, sql: str, values: Sequence[Any]) -> Operation:
        pool = self._open_pool()

        async def one(value: Any) -> Any:
            async with pool.acquire() as conn:
                return _rows(await conn.execute(sql, [value]))

        async def operation() -> Any:
            return await asyncio.gather(*[one(value) for value in values])

        return operation

    def transaction(self, statements: Statements) -> Operation:
        conn = self._conn
        queries = [(sql, list(args)) for sql, args in statements]

        async def operation() -> Any:
            async with conn.transaction() as transaction:
                return [_rows(await transaction.execute(sql, args)) for sql, args in queries]

        return operation

    def connecting(self, sql: str) -> Operation:
        module, dsn = self._psqlpy, self._dsn

        async def operation() -> Any:
            conn = await module.connect(dsn=dsn)
            try:
                return _rows(await conn.execute(sql))
            finally:
                conn.close()

        return operation

    def pool_cycle(self, sql: str) -> Operation:
        pool = self._open_pool()

        async def operation() -> Any:
            async with pool.acquire() as conn:
                return _rows(await conn.execute(sql))

        return operation

    def tasks(self, count: int, sql: str) -> Operation:
        query = self.pool_cycle(sql)

        async def operation() -> int:
            return sum(await asyncio.gather(*[repeated(query) for _ in range(count)]))

        return operation

    def stream(self, sql: str) -> Operation:
        conn = self._conn

        async def operation() -> int:
            count = 0
            async with conn.transaction() as transaction:
                cursor = transaction.cursor(sql)
                cursor.array_size = 1000
                await cursor.start()
                while rows := _rows(await cursor.fetchmany(1000)):
                    count += len(rows)
                cursor.close()
            return count

        return operation
