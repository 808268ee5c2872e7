"""pgproto's three adapters, through the one face that the tests have for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import trio

import pgproto
from pgproto_pytest import Driver
from tests.faults.columns import ACQUIRE, CONNECT, QUERY, Play
from tests.support.drivers import DRIVERS

__all__ = ["Asyncio", "Blocking", "Trio"]


class Ours(Play):
    """One adapter."""

    package = "pgproto"
    DECLARED = (pgproto.Error,)
    driver: Driver

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Play`; the driver looks for what is left behind itself."""
        self.driver.run(lambda _: work(), deadline=60)

    async def open(self, dsn: str) -> None:
        """Open a pool of one connection."""
        self._stack = contextlib.AsyncExitStack()
        waits = {"acquire_timeout": ACQUIRE, "reset_timeout": QUERY, "backoff": 0.05}
        pool = self.driver.Pool(dsn, min_size=0, max_size=1, **waits, **self._times())
        self.pool = await self._stack.enter_async_context(pool)

    def _times(self) -> dict[str, float]:
        return {"connect_timeout": CONNECT, "command_timeout": self.query}

    async def spoil(self) -> None:
        """Leave a trace in the session, so that it must be reset."""
        await self.pool.execute("set matrix.trace to 1")

    async def close(self) -> None:
        """Close the pool."""
        await self._stack.aclose()

    async def connect(self, dsn: str) -> list[int]:
        """Connect, without a pool."""
        async with self.driver.connect(dsn, **self._times()):
            return []

    async def value(self, number: int) -> int:
        """A query whose answer is known."""
        value: int = await self.pool.fetchval(f"select {number}")
        return value

    async def single(self) -> list[int]:
        """One query."""
        return [row[0] for row in await self.pool.fetch("select n from matrix")]

    async def twice(self) -> list[int]:
        """The same query twice on one connection; the second one's rows."""
        async with self.pool.acquire() as conn:
            await conn.fetch("select n from matrix")
            return [row[0] for row in await conn.fetch("select n from matrix")]

    async def timed_out(self) -> list[int]:
        """One query with a time limit."""
        return [row[0] for row in await self.pool.fetch("select n from matrix", timeout=QUERY)]

    async def batch(self) -> list[int]:
        """A batch of 100 in one segment."""
        batch = pgproto.Batch()
        items = [
            batch.queue("insert into matrix_batch values ($1) returning n", number) for number in range(100)
        ]
        try:
            await self.pool.send_batch(batch)
        finally:
            self.outcomes = [item.outcome.value if item.outcome else "" for item in items]
        return [item.rows[0][0] for item in items]

    async def big(self) -> list[int]:
        """A batch of 100, with 64 KiB each way in each."""
        batch = pgproto.Batch()
        text = "x" * 65536
        items = [batch.queue("insert into matrix_big values ($1) returning v", text) for _ in range(100)]
        await self.pool.send_batch(batch)
        assert all(item.rows[0][0] == text for item in items)
        return [len(items)]

    async def stream(self) -> list[int]:
        """The rows of a query one by one."""
        rows = []
        async with self.pool.acquire() as conn:
            async for row in conn.stream("select n from matrix_stream"):
                rows.append(row[0])  # noqa: PERF401 - blocking has no async comprehension that stops
        return rows

    async def abandon(self) -> list[int]:
        """The first row of a query; nobody reads the others."""
        async with self.pool.acquire() as conn:
            async for row in conn.stream("select n from matrix_stream"):
                return [row[0]]
        return []

    async def copy_in(self) -> list[int]:
        """8 MB of COPY data."""
        return [await self.pool.copy_in("copy matrix from stdin", copy_data())]

    async def copy_out(self) -> list[int]:
        """Three lines of COPY data."""
        data = b"".join([bytes(chunk) async for chunk in self.pool.copy_out("copy matrix to stdout")])
        return [int(line) for line in data.split()]

    async def acquire(self, dsn: str) -> list[int]:
        """A pool's first query."""
        await self.open(dsn)
        return await self.single()


def copy_data() -> Iterator[bytes]:
    """What the workload `copy_in` sends."""
    return (b"1\n" * 8000 for _ in range(500))


class Asyncio(Ours):
    """pgproto_asyncio."""

    driver = DRIVERS[0]

    async def turns(self) -> None:
        """See `Play`."""
        import asyncio

        for _ in range(5):
            await asyncio.sleep(0)


class Trio(Ours):
    """pgproto_trio."""

    driver = DRIVERS[1]

    async def turns(self) -> None:
        """See `Play`."""
        for _ in range(5):
            await trio.lowlevel.checkpoint()


class Blocking(Ours):
    """pgproto_blocking."""

    driver = DRIVERS[2]
