"""asyncpg, with its pool."""

from __future__ import annotations

import asyncio
import importlib
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tests.faults.columns import ACQUIRE, CONNECT, QUERY, Play
from tests.faults.columns.looped import Looped
from tests.faults.columns.ours import copy_data

__all__ = ["Asyncpg"]

asyncpg: Any = importlib.import_module("asyncpg")


class Asyncpg(Looped, Play):
    """asyncpg's documented API, one connection in the pool."""

    package = "asyncpg"
    DECLARED = (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, OSError)
    INTERNAL = (asyncpg.InternalClientError,)

    async def open(self, dsn: str, *, size: int = 1) -> None:
        """Open a pool of one connection."""
        options = {"command_timeout": self.query} if self.best else {}
        self.pool = await asyncpg.create_pool(
            dsn, min_size=size, max_size=1, timeout=CONNECT, setup=self._listen, **options
        )

    async def _listen(self, conn: Any) -> None:
        conn.add_log_listener(lambda _, message: self.notices.append(message.sqlstate))

    async def close(self) -> None:
        """Close the pool; asyncpg advises to use a timeout."""
        async with asyncio.timeout(ACQUIRE if self.best else None):
            await self.pool.close()

    async def connect(self, dsn: str) -> list[int]:
        """Connect, without a pool."""
        conn = await asyncpg.connect(dsn, timeout=CONNECT)
        await conn.close(timeout=CONNECT)
        return []

    def _acquire(self) -> Any:
        return self.pool.acquire(timeout=ACQUIRE if self.best else None)

    async def value(self, number: int) -> int:
        """A query whose answer is known."""
        async with self._acquire() as conn:
            value: int = await conn.fetchval(f"select {number}")
            return value

    async def spoil(self) -> None:
        """Leave a trace in the session, so that it must be reset."""
        async with self._acquire() as conn:
            await conn.execute("set matrix.trace to 1")

    async def single(self) -> list[int]:
        """One query."""
        async with self._acquire() as conn:
            return [row[0] for row in await conn.fetch("select n from matrix")]

    async def twice(self) -> list[int]:
        """The same query twice on one connection; the second one's rows."""
        async with self._acquire() as conn:
            await conn.fetch("select n from matrix")
            return [row[0] for row in await conn.fetch("select n from matrix")]

    async def timed_out(self) -> list[int]:
        """One query with a time limit."""
        async with self._acquire() as conn:
            return [row[0] for row in await conn.fetch("select n from matrix", timeout=QUERY)]

    async def batch(self) -> list[int]:
        """`fetchmany`, which is one flight."""
        async with self._acquire() as conn:
            sql = "insert into matrix_batch values ($1) returning n"
            return [row[0] for row in await conn.fetchmany(sql, [(number,) for number in range(100)])]

    async def big(self) -> list[int]:
        """`fetchmany` with 64 KiB each way in each."""
        text = "x" * 65536
        async with self._acquire() as conn:
            rows = await conn.fetchmany("insert into matrix_big values ($1) returning v", [(text,)] * 100)
            assert all(row[0] == text for row in rows)
            return [len(rows)]

    async def stream(self) -> list[int]:
        """A cursor, which asyncpg has in a transaction only."""
        async with self._acquire() as conn, conn.transaction():
            return [row[0] async for row in conn.cursor("select n from matrix_stream", prefetch=1000)]

    async def abandon(self) -> list[int]:
        """The first row of a cursor."""
        async with self._acquire() as conn, conn.transaction():
            async for row in conn.cursor("select n from matrix_stream", prefetch=1000):
                return [row[0]]
        return []

    async def copy_in(self) -> list[int]:
        """8 MB of COPY data."""

        async def source() -> AsyncIterator[bytes]:
            for piece in copy_data():
                yield piece

        async with self._acquire() as conn:
            tag = await conn.copy_to_table("matrix", source=source())
        return [int(tag.split()[-1])]

    async def copy_out(self) -> list[int]:
        """Three lines of COPY data."""
        target = io.BytesIO()
        async with self._acquire() as conn:
            await conn.copy_from_table("matrix", output=target)
        return [int(line) for line in target.getvalue().split()]

    async def acquire(self, dsn: str) -> list[int]:
        """A pool's first query, which makes its first connection."""
        await self.open(dsn, size=0)
        return await self.single()

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Play`."""
        self.loop(work)
