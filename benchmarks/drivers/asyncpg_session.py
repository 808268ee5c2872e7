"""asyncpg, with its cache of prepared statements.  It has no batch of different statements: one by one."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from pgproto import types

from .session import POOL, Operation, Session, Statements, repeated

__all__ = ["Asyncpg"]


class Asyncpg(Session):
    """asyncpg."""

    ways = {"batch": "one by one", "many": "executemany", "gather": "pool of 10", "stream": "cursor"}  # noqa: RUF012

    def __init__(self) -> None:
        self._asyncpg: Any = importlib.import_module("asyncpg")
        self._pool: Any = None

    def plain(self, kind: str, result: Any) -> Any:
        rows = super().plain(kind, result)
        if kind != "read":
            return rows
        ours, theirs = self._values
        return [tuple([ours if value == theirs else value for value in row]) for row in rows]

    async def connect(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: Any = await self._asyncpg.connect(dsn)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
        await self._conn.close()

    async def _open_pool(self) -> Any:
        self._pool = await self._asyncpg.create_pool(self._dsn, min_size=POOL, max_size=POOL)
        return self._pool

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            return await conn.fetch(sql, *args)

        return operation

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            if not atomic:
                return [await conn.fetch(sql, *args) for sql, args in statements]
            async with conn.transaction():
                return [await conn.fetch(sql, *args) for sql, args in statements]

        return operation

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        async def operation() -> None:
            await conn.executemany(sql, records)

        return operation

    async def read(self, sql: str, values: tuple[Any, Any], count: int) -> Operation:
        await self._know(sql)
        self._values = (values[0], self._own(values[1]))
        return self.fetch(sql, (count,))

    async def write(self, sql: str, values: tuple[Any, Any], count: int, width: int) -> Operation:
        await self._know(sql)
        return self.many(sql, [(self._own(values[1]),) * width] * count)

    async def _know(self, sql: str) -> None:
        """Set the codecs that its documentation has for these types."""
        for name in ("json", "jsonb"):
            if sql.count(f"::{name}") and not sql.count(f"::{name}p"):
                await self._conn.set_type_codec(
                    name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
                )
        if "::hstore" in sql:
            await self._conn.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore")

    def _own(self, value: Any) -> Any:
        """What asyncpg takes and gives for a value of pgproto's classes."""
        module, own = self._asyncpg, self._own
        match value:
            case list():
                return [own(each) for each in value]
            case types.Multirange():
                return [own(each) for each in value]
            case types.Range():
                return module.Range(
                    value.lower, value.upper, lower_inc=value.lower_inc, upper_inc=value.upper_inc
                )
            case types.BitString():
                return module.BitString(str(value))
            case types.Interval():
                return value.to_timedelta()
            case types.Path():
                return module.Path(*value.points, is_closed=value.closed)
            case types.Polygon():
                return module.Polygon(*value.points)
            case types.Point() | types.Line() | types.LineSegment() | types.Box() | types.Circle():
                return getattr(module, type(value).__name__)(*value)
        return value

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        conn = self._conn

        async def operation() -> Any:
            tag = await conn.copy_records_to_table(table, columns=columns, records=records)
            return int(tag.split()[-1])

        return operation

    async def gather(self, sql: str, values: Sequence[Any]) -> Operation:
        pool = await self._open_pool()

        async def operation() -> Any:
            return await asyncio.gather(*[pool.fetch(sql, value) for value in values])

        return operation

    def transaction(self, statements: Statements) -> Operation:
        return self.batch(statements, True)

    def connecting(self, sql: str) -> Operation:
        module, dsn = self._asyncpg, self._dsn

        async def operation() -> Any:
            conn = await module.connect(dsn)
            try:
                return await conn.fetch(sql)
            finally:
                await conn.close()

        return operation

    async def pool_cycle(self, sql: str) -> Operation:
        pool = await self._open_pool()

        async def operation() -> Any:
            async with pool.acquire() as conn:
                return await conn.fetch(sql)

        return operation

    async def tasks(self, count: int, sql: str) -> Operation:
        pool = await self._open_pool()

        async def operation() -> int:
            return sum(await asyncio.gather(*[repeated(partial(pool.fetch, sql)) for _ in range(count)]))

        return operation

    def stream(self, sql: str) -> Operation:
        conn = self._conn

        async def operation() -> int:
            count = 0
            async with conn.transaction():
                async for _ in conn.cursor(sql, prefetch=1000):
                    count += 1
            return count

        return operation
