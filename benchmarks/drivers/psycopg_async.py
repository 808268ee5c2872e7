"""psycopg 3 under asyncio: as `psycopg_session`, with what only makes sense concurrently."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from .psycopg_session import connect_arguments, percent
from .session import POOL, Operation, Session, Statements, repeated

__all__ = ["PsycopgAsync"]


class PsycopgAsync(Session):
    """psycopg.AsyncConnection."""

    ways = {"batch": "pipeline", "many": "executemany", "gather": "pool of 10"}  # noqa: RUF012

    def __init__(self) -> None:
        self._psycopg: Any = importlib.import_module("psycopg")
        self._pool: Any = None

    async def connect(self, dsn: str) -> None:
        self._arguments = connect_arguments(dsn)
        self._conn: Any = await self._psycopg.AsyncConnection.connect(**self._arguments)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self._conn.close()

    async def _open_pool(self) -> Any:
        module: Any = importlib.import_module("psycopg_pool")
        arguments = dict(self._arguments)
        self._pool = module.AsyncConnectionPool(
            arguments.pop("conninfo"), kwargs=arguments, min_size=POOL, max_size=POOL, open=False
        )
        await self._pool.open(wait=True)
        return self._pool

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn, sql = self._conn, percent(sql)

        async def operation() -> Any:
            return await (await conn.execute(sql, args, binary=True)).fetchall()

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn
        texts = [(percent(sql), args) for sql, args in statements]

        async def operation() -> Any:
            cursors = []
            async with conn.pipeline() as pipeline:
                for sql, args in texts:
                    cursors.append(await conn.execute(sql, args, binary=True))
                    if not atomic:
                        await pipeline.sync()
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn, sql = self._conn, percent(sql)

        async def operation() -> None:
            async with conn.cursor() as cursor:
                await cursor.executemany(sql, records)

        return operation

    async def gather(self, sql: str, values: Sequence[Any]) -> Operation:
        pool, sql = await self._open_pool(), percent(sql)

        async def one(value: Any) -> Any:
            async with pool.connection() as conn:
                return await (await conn.execute(sql, (value,), binary=True)).fetchall()

        async def operation() -> Any:
            return await asyncio.gather(*[one(value) for value in values])

        return operation

    def transaction(self, statements: Statements) -> Operation:
        conn = self._conn
        texts = [(percent(sql), args) for sql, args in statements]

        async def operation() -> Any:
            async with conn.transaction():
                cursors = [await conn.execute(sql, args, binary=True) for sql, args in texts]
            return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

        return operation

    def connecting(self, sql: str) -> Operation:
        connect, arguments = self._psycopg.AsyncConnection.connect, self._arguments

        async def operation() -> Any:
            async with await connect(**arguments) as conn:
                return await (await conn.execute(sql)).fetchall()

        return operation

    async def pool_cycle(self, sql: str) -> Operation:
        pool = await self._open_pool()

        async def operation() -> Any:
            async with pool.connection() as conn:
                return await (await conn.execute(sql, binary=True)).fetchall()

        return operation

    async def tasks(self, count: int, sql: str) -> Operation:
        query = await self.pool_cycle(sql)

        async def operation() -> int:
            return sum(await asyncio.gather(*[repeated(query) for _ in range(count)]))

        return operation
