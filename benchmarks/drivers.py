"""Who is measured: a table of drivers.  Each runs in a process of its own, with one connection.

A driver is a session class: `connect` opens the connection, and each kind of workload that it can do is
a method, which gets the statements and returns the operation to be timed.  What the operation returns is
the driver's own row objects; `plain` turns them into tuples for the check, outside of the timing.

Each driver does the work in the way that its own documentation recommends, with its defaults.  What is
not a default is said in `way`, which the report prints.

To add a driver: write a session class with `connect`, `close`, `plain` and the kinds that it can do, and
add it to the table at the end of this file.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import pgproto
from pgproto_blocking import connect as connect_blocking

from .floor import Floor
from .workloads import Rows, Statements

__all__ = ["DRIVERS", "FLOOR", "Driver"]

Operation = Callable[[], Any]
FLOOR: Final = "raw socket"


def _rows(results: Iterable[Iterable[Iterable[object]]]) -> Rows:
    return [[tuple(row) for row in rows] for rows in results]


# ---- pgproto: three adapters, the same calls


def _batch(statements: Statements) -> pgproto.Batch:
    batch = pgproto.Batch()
    for sql, args in statements:
        batch.queue(sql, *args)
    return batch


class PgprotoAsync:
    """pgproto_asyncio or pgproto_trio, whichever module is given."""

    def __init__(self, module: str) -> None:
        self._module: Any = importlib.import_module(module)
        self._conn: Any = None

    async def connect(self, dsn: str) -> None:
        self._context = self._module.connect(dsn)
        self._conn = await self._context.__aenter__()

    async def close(self) -> None:
        await self._context.__aexit__(None, None, None)

    def batch(self, statements: Statements) -> Operation:
        conn = self._conn

        async def operation() -> list[list[pgproto.Row]]:
            return [item.rows for item in await conn.send_batch(_batch(statements))]

        return operation

    def single(self, statements: Statements) -> Operation:
        conn = self._conn

        async def operation() -> list[list[pgproto.Row]]:
            return [await conn.fetch(sql, *args) for sql, args in statements]

        return operation

    plain = staticmethod(_rows)


class PgprotoBlocking:
    """pgproto_blocking."""

    def connect(self, dsn: str) -> None:
        self._conn = connect_blocking(dsn)

    def close(self) -> None:
        self._conn.close()

    def batch(self, statements: Statements) -> Operation:
        conn = self._conn

        def operation() -> list[list[pgproto.Row]]:
            return [item.rows for item in conn.send_batch(_batch(statements))]

        return operation

    def single(self, statements: Statements) -> Operation:
        conn = self._conn

        def operation() -> list[list[pgproto.Row]]:
            return [conn.fetch(sql, *args) for sql, args in statements]

        return operation

    plain = staticmethod(_rows)


# ---- The floor


class FloorSession:
    """The raw socket: see `floor.py`."""

    def connect(self, dsn: str) -> None:
        self._floor = Floor(dsn)

    def close(self) -> None:
        self._floor.close()

    def batch(self, statements: Statements) -> Operation:
        return self._floor.batch(statements)

    def plain(self, result: object) -> Rows:
        return self._floor.plain(result)


# ---- Peers


class Psycopg:
    """psycopg 3 with its C implementation, in autocommit mode as the others are."""

    def connect(self, dsn: str) -> None:
        psycopg = importlib.import_module("psycopg")
        if psycopg.pq.__impl__ != "binary":
            raise RuntimeError(f"psycopg runs with its {psycopg.pq.__impl__} implementation, not with C")
        self._conn: Any = psycopg.connect(dsn, autocommit=True)

    def close(self) -> None:
        self._conn.close()

    def single(self, statements: Statements) -> Operation:
        conn, texts = self._conn, _percent(statements)

        def operation() -> list[Any]:
            return [conn.execute(sql, args, prepare=True).fetchall() for sql, args in texts]

        return operation

    plain = staticmethod(_rows)


class PsycopgPipeline(Psycopg):
    """Its pipeline mode: any statements, one cursor each."""

    def batch(self, statements: Statements) -> Operation:
        conn, texts = self._conn, _percent(statements)

        def operation() -> list[Any]:
            with conn.pipeline():
                cursors = [conn.execute(sql, args, prepare=True) for sql, args in texts]
                return [cursor.fetchall() for cursor in cursors]

        return operation


class PsycopgMany(Psycopg):
    """`executemany`, which can do one statement only: its fastest way for this workload."""

    def batch(self, statements: Statements) -> Operation:
        conn, texts = self._conn, _percent(statements)
        (sql,) = {sql for sql, _ in texts}
        values = [args for _, args in texts]

        def operation() -> list[Any]:
            with conn.cursor() as cursor:
                cursor.executemany(sql, values, returning=True)
                return [result.fetchall() for result in cursor.results()]

        return operation


def _percent(statements: Statements) -> Statements:
    """`$1` as `%s`: psycopg's placeholders.  Good for parameters that occur once and in order."""
    found: Statements = []
    for sql, args in statements:
        for number in range(1, len(args) + 1):
            sql = sql.replace(f"${number}", "%s")
        found.append((sql, args))
    return found


class Asyncpg:
    """asyncpg, one by one: it has no batch of different statements."""

    def __init__(self) -> None:
        self._conn: Any = None

    async def connect(self, dsn: str) -> None:
        self._conn = await importlib.import_module("asyncpg").connect(dsn)

    async def close(self) -> None:
        await self._conn.close()

    def single(self, statements: Statements) -> Operation:
        conn = self._conn

        async def operation() -> list[Any]:
            return [await conn.fetch(sql, *args) for sql, args in statements]

        return operation

    def plain(self, result: Any) -> Rows:
        return _rows(result)


class AsyncpgMany(Asyncpg):
    """`fetchmany`, which can do one statement only: its fastest way for this workload."""

    def batch(self, statements: Statements) -> Operation:
        conn = self._conn
        (sql,) = {sql for sql, _ in statements}
        values = [args for _, args in statements]

        async def operation() -> list[Any]:
            rows: list[Any] = await conn.fetchmany(sql, values)
            return rows

        return operation

    def plain(self, result: Any) -> Rows:
        """It returns the rows of all executions in one list."""
        return [[tuple(row)] for row in result]


# ---- How a driver's process runs


def _plainly(session: Any, work: Callable[[Any], Any]) -> None:
    work(session)


def _on_asyncio(session: Any, work: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        await work(session)

    asyncio.run(main())


def _on_uvloop(session: Any, work: Callable[[Any], Awaitable[None]]) -> None:
    uvloop = importlib.import_module("uvloop")

    async def main() -> None:
        await work(session)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _on_trio(session: Any, work: Callable[[Any], Awaitable[None]]) -> None:
    trio = importlib.import_module("trio")

    async def main() -> None:
        await work(session)

    trio.run(main)


class Driver:
    """One entry of the table.

    Args:
        name: as in the report.
        way: how it does the work, where that has a name.
        kind: which kind of a workload it does.
        make: makes a session.
        run: runs the session's work, in its event loop if it has one.
        packages: what has to be installed, and whose versions are reported.
    """

    def __init__(
        self,
        name: str,
        way: str,
        kind: str,
        make: Callable[[], Any],
        run: Callable[[Any, Any], None] = _plainly,
        packages: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.way = way
        self.kind = kind
        self.make = make
        self.run = run
        self.packages = packages

    @property
    def blocking(self) -> bool:
        """True if its operations are plain calls."""
        return self.run is _plainly

    @property
    def ours(self) -> bool:
        """True for pgproto itself."""
        return self.name.startswith("pgproto")


def _asyncio() -> PgprotoAsync:
    return PgprotoAsync("pgproto_asyncio")


def _trio() -> PgprotoAsync:
    return PgprotoAsync("pgproto_trio")


_UVLOOP = ("uvloop",)
_ALL = (
    Driver(FLOOR, "the same bytes, answer not parsed", "batch", FloorSession),
    Driver("pgproto blocking", "send_batch", "batch", PgprotoBlocking),
    Driver("pgproto asyncio", "send_batch", "batch", _asyncio, _on_asyncio),
    Driver("pgproto asyncio, uvloop", "send_batch", "batch", _asyncio, _on_uvloop, _UVLOOP),
    Driver("pgproto trio", "send_batch", "batch", _trio, _on_trio, ("trio",)),
    Driver("psycopg pipeline", "pipeline(), prepare=True", "batch", PsycopgPipeline, packages=("psycopg",)),
    Driver("psycopg executemany", "executemany(returning=True)", "batch", PsycopgMany, packages=("psycopg",)),
    Driver("asyncpg fetchmany", "fetchmany", "batch", AsyncpgMany, _on_asyncio, ("asyncpg",)),
    Driver("asyncpg fetchmany, uvloop", "fetchmany", "batch", AsyncpgMany, _on_uvloop, ("asyncpg", "uvloop")),
    Driver("pgproto asyncio, one by one", "fetch", "single", _asyncio, _on_asyncio),
    Driver("asyncpg, one by one", "fetch", "single", Asyncpg, _on_asyncio, ("asyncpg",)),
    Driver("asyncpg, one by one, uvloop", "fetch", "single", Asyncpg, _on_uvloop, ("asyncpg", "uvloop")),
)

DRIVERS: Final[dict[str, Driver]] = {driver.name: driver for driver in _ALL}
"""Every driver by name."""
