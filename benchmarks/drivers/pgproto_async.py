"""pgproto_asyncio and pgproto_trio: the same calls."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pgproto

from .session import POOL, Operation, Session, Statements, repeated

__all__ = ["PgprotoAsyncio", "PgprotoTrio", "batch_of"]


def batch_of(statements: Statements, *, atomic: bool) -> pgproto.Batch:
    """The batch, built anew: that belongs to what is timed."""
    batch = pgproto.Batch(atomic=atomic)
    for sql, args in statements:
        batch.queue(sql, *args)
    return batch


class _PgprotoAsync(Session):
    ways = {"batch": "send_batch", "many": "executemany", "gather": "one connection"}  # noqa: RUF012
    module = ""

    def __init__(self) -> None:
        self._module: Any = importlib.import_module(self.module)
        self._pool: Any = None

    async def connect(self, dsn: str) -> None:
        self._dsn = dsn
        self._context = self._module.connect(dsn)
        self._conn: Any = await self._context.__aenter__()

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.__aexit__(None, None, None)
        await self._context.__aexit__(None, None, None)

    async def _together(self, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        raise NotImplementedError

    async def _open_pool(self) -> Any:
        self._pool = self._module.Pool(self._dsn, min_size=POOL, max_size=POOL)
        return await self._pool.__aenter__()

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            return await conn.fetch(sql, *args)

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            items = await conn.send_batch(batch_of(statements, atomic=atomic))
            return [item.rows for item in items]

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        async def operation() -> None:
            await conn.executemany(sql, records)

        return operation

    def read(self, sql: str, values: tuple[Any, Any], count: int) -> Operation:
        return self.fetch(sql, (count,))

    def write(self, sql: str, values: tuple[Any, Any], count: int, width: int) -> Operation:
        return self.many(sql, [(values[0],) * width] * count)

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            return await conn.copy_records(table, records, columns=columns)

        return operation

    def gather(self, sql: str, values: Sequence[Any]) -> Operation:
        conn, together = self._conn, self._together

        async def operation() -> Any:
            return await together([partial(conn.fetch, sql, value) for value in values])

        return operation

    def transaction(self, statements: Statements) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            async with conn.transaction():
                return [await conn.fetch(sql, *args) for sql, args in statements]

        return operation

    def connecting(self, sql: str) -> Operation:
        module, dsn = self._module, self._dsn

        async def operation() -> Any:
            async with module.connect(dsn) as conn:
                return await conn.fetch(sql)

        return operation

    async def pool_cycle(self, sql: str) -> Operation:
        pool = await self._open_pool()

        async def operation() -> Any:
            async with pool.acquire() as conn:
                return await conn.fetch(sql)

        return operation

    async def tasks(self, count: int, sql: str) -> Operation:
        pool, together = await self._open_pool(), self._together

        async def operation() -> int:
            return sum(await together([partial(repeated, partial(pool.fetch, sql))] * count))

        return operation

    def stream(self, sql: str) -> Operation:
        conn = self._conn

        async def operation() -> int:
            count = 0
            async for _ in conn.stream(sql):
                count += 1
            return count

        return operation


class PgprotoAsyncio(_PgprotoAsync):
    """pgproto_asyncio."""

    module = "pgproto_asyncio"

    async def _together(self, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        return await asyncio.gather(*[call() for call in calls])


class PgprotoTrio(_PgprotoAsync):
    """pgproto_trio."""

    module = "pgproto_trio"

    async def _together(self, calls: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        trio: Any = importlib.import_module("trio")
        results: list[Any] = [None] * len(calls)

        async def run(index: int, call: Callable[[], Awaitable[Any]]) -> None:
            results[index] = await call()

        async with trio.open_nursery() as nursery:
            for index, call in enumerate(calls):
                nursery.start_soon(run, index, call)
        return results
