"""psycopg 3 with psycopg_pool, asynchronous and blocking; the C build where it is installed."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from tests.faults.columns import ACQUIRE, CONNECT, QUERY, Play
from tests.faults.columns.looped import Looped
from tests.faults.columns.ours import copy_data

__all__ = ["Psycopg", "PsycopgBlocking"]

psycopg: Any = importlib.import_module("psycopg")
psycopg_pool: Any = importlib.import_module("psycopg_pool")

BATCH = "insert into matrix_batch values (%s) returning n"
COPY_OUT = "copy matrix to stdout"
BIG = "insert into matrix_big values (%s) returning v"


def _conninfo(dsn: str, best: bool) -> str:
    """The options that the column adds; libpq's least connect_timeout is 2 s."""
    more = f"{dsn}&connect_timeout={max(2, round(CONNECT))}"
    if best and urlsplit(dsn).password:
        more += "&require_auth=scram-sha-256"
    return more


class Psycopg(Looped, Play):
    """psycopg's AsyncConnection."""

    package = "psycopg"
    DECLARED = (psycopg.Error, TimeoutError)

    def _limit(self) -> Any:
        return asyncio.timeout(self.query if self.best else None)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        async with asyncio.timeout(ACQUIRE + QUERY if self.best else None), self.pool.connection() as conn:
            yield conn

    async def _listen(self, conn: Any) -> None:
        conn.add_notice_handler(lambda notice: self.notices.append(notice.sqlstate))

    async def open(self, dsn: str, *, wait: bool = True) -> None:
        """Open a pool of one connection."""
        options = {"check": psycopg_pool.AsyncConnectionPool.check_connection} if self.best else {}
        self.pool = psycopg_pool.AsyncConnectionPool(
            _conninfo(dsn, self.best),
            min_size=1, max_size=1, open=False, timeout=ACQUIRE, kwargs={"autocommit": True},
            configure=self._listen, **options,
        )  # fmt: skip
        await self.pool.open(wait=wait, timeout=ACQUIRE)

    async def close(self) -> None:
        """Close the pool."""
        await self.pool.close(timeout=ACQUIRE)

    async def connect(self, dsn: str) -> list[int]:
        """Connect, without a pool."""
        conn = await psycopg.AsyncConnection.connect(_conninfo(dsn, self.best), autocommit=True)
        await conn.close()
        return []

    async def _rows(self, sql: str) -> list[int]:
        async with self._connection() as conn, self._limit():
            cursor = await conn.execute(sql)
            return [row[0] for row in await cursor.fetchall()]

    async def value(self, number: int) -> int:
        """A query whose answer is known."""
        return (await self._rows(f"select {number}"))[0]

    async def spoil(self) -> None:
        """Leave a trace in the session."""
        async with self._connection() as conn, self._limit():
            await conn.execute("set matrix.trace to 1")

    async def single(self) -> list[int]:
        """One query."""
        return await self._rows("select n from matrix")

    async def twice(self) -> list[int]:
        """The same query twice on one connection, prepared; the second one's rows."""
        async with self._connection() as conn, self._limit():
            await conn.execute("select n from matrix", prepare=True)
            cursor = await conn.execute("select n from matrix", prepare=True)
            return [row[0] for row in await cursor.fetchall()]

    async def timed_out(self) -> list[int]:
        """One query, whose task is cancelled at the time limit."""
        async with self._connection() as conn, asyncio.timeout(QUERY):
            cursor = await conn.execute("select n from matrix")
            return [row[0] for row in await cursor.fetchall()]

    async def _pipeline(self, sql: str, values: list[Any]) -> list[Any]:
        async with self._connection() as conn, self._limit():
            async with conn.pipeline():
                cursors = [await conn.execute(sql, (value,)) for value in values]
            return [(await cursor.fetchone())[0] for cursor in cursors]

    async def batch(self) -> list[int]:
        """A pipeline of 100."""
        return await self._pipeline(BATCH, list(range(100)))

    async def big(self) -> list[int]:
        """A pipeline of 100 with 64 KiB each way in each."""
        text = "x" * 65536
        rows = await self._pipeline(BIG, [text] * 100)
        assert all(row == text for row in rows)
        return [len(rows)]

    async def stream(self) -> list[int]:
        """The rows of a query one by one."""
        async with self._connection() as conn, self._limit():
            return [row[0] async for row in conn.cursor().stream("select n from matrix_stream")]

    async def abandon(self) -> list[int]:
        """The first row of a query; nobody reads the others."""
        async with self._connection() as conn, self._limit():
            async for row in conn.cursor().stream("select n from matrix_stream"):
                return [row[0]]
        return []

    async def copy_in(self) -> list[int]:
        """8 MB of COPY data."""
        async with self._connection() as conn, self._limit():
            cursor = conn.cursor()
            async with cursor.copy("copy matrix from stdin") as copy:
                for piece in copy_data():
                    await copy.write(piece)
            return [cursor.rowcount]

    async def copy_out(self) -> list[int]:
        """Three lines of COPY data."""
        async with self._connection() as conn, self._limit(), conn.cursor().copy(COPY_OUT) as copy:
            data = b"".join([bytes(piece) async for piece in copy])
        return [int(line) for line in data.split()]

    async def acquire(self, dsn: str) -> list[int]:
        """A pool's first query."""
        await self.open(dsn, wait=False)
        return await self.single()

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Play`."""
        self.loop(work)


class PsycopgBlocking(Play):
    """psycopg's Connection."""

    package = "psycopg"
    DECLARED = (psycopg.Error,)
    LACKS = {"timed_out": "no time limit for a query"}  # noqa: RUF012

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """See `Play`: nothing here ever suspends."""
        try:
            work().send(None)
        except StopIteration:
            return
        raise AssertionError("a blocking driver awaited something")

    def _listen(self, conn: Any) -> None:
        conn.add_notice_handler(lambda notice: self.notices.append(notice.sqlstate))

    def open(self, dsn: str, *, wait: bool = True) -> Any:
        """Open a pool of one connection."""
        options = {"check": psycopg_pool.ConnectionPool.check_connection} if self.best else {}
        info = _conninfo(dsn, self.best) + "&tcp_user_timeout=400"
        self.pool = psycopg_pool.ConnectionPool(
            info, min_size=1, max_size=1, open=False, timeout=ACQUIRE, kwargs={"autocommit": True},
            configure=self._listen, **options,
        )  # fmt: skip
        self.pool.open(wait=wait, timeout=ACQUIRE)
        return _Done()

    def close(self) -> None:
        """Close the pool."""
        self.pool.close(timeout=ACQUIRE)

    def connect(self, dsn: str) -> list[int]:
        """Connect, without a pool."""
        psycopg.Connection.connect(_conninfo(dsn, self.best), autocommit=True).close()
        return []

    def value(self, number: int) -> int:
        """A query whose answer is known."""
        with self.pool.connection() as conn:
            row: tuple[int] = conn.execute(f"select {number}").fetchone()
            return row[0]

    def spoil(self) -> None:
        """Leave a trace in the session."""
        with self.pool.connection() as conn:
            conn.execute("set matrix.trace to 1")

    def single(self) -> list[int]:
        """One query."""
        with self.pool.connection() as conn:
            return [row[0] for row in conn.execute("select n from matrix").fetchall()]

    def twice(self) -> list[int]:
        """The same query twice on one connection, prepared; the second one's rows."""
        with self.pool.connection() as conn:
            conn.execute("select n from matrix", prepare=True)
            return [row[0] for row in conn.execute("select n from matrix", prepare=True).fetchall()]

    def _pipeline(self, sql: str, values: list[Any]) -> list[Any]:
        with self.pool.connection() as conn:
            with conn.pipeline():
                cursors = [conn.execute(sql, (value,)) for value in values]
            return [cursor.fetchone()[0] for cursor in cursors]

    def batch(self) -> list[int]:
        """A pipeline of 100."""
        return self._pipeline(BATCH, list(range(100)))

    def big(self) -> list[int]:
        """A pipeline of 100 with 64 KiB each way in each."""
        text = "x" * 65536
        rows = self._pipeline(BIG, [text] * 100)
        assert all(row == text for row in rows)
        return [len(rows)]

    def stream(self) -> list[int]:
        """The rows of a query one by one."""
        with self.pool.connection() as conn:
            return [row[0] for row in conn.cursor().stream("select n from matrix_stream")]

    def abandon(self) -> list[int]:
        """The first row of a query; nobody reads the others."""
        with self.pool.connection() as conn:
            for row in conn.cursor().stream("select n from matrix_stream"):
                return [row[0]]
        return []

    def copy_in(self) -> list[int]:
        """8 MB of COPY data."""
        with self.pool.connection() as conn:
            cursor = conn.cursor()
            with cursor.copy("copy matrix from stdin") as copy:
                for piece in copy_data():
                    copy.write(piece)
            return [cursor.rowcount]

    def copy_out(self) -> list[int]:
        """Three lines of COPY data."""
        with self.pool.connection() as conn, conn.cursor().copy("copy matrix to stdout") as copy:
            data = b"".join([bytes(piece) for piece in copy])
        return [int(line) for line in data.split()]

    def acquire(self, dsn: str) -> list[int]:
        """A pool's first query."""
        self.open(dsn, wait=False)
        return self.single()


class _Done:
    """Something to await that is done."""

    def __await__(self) -> Any:
        return iter(())
