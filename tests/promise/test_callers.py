"""Every call into the caller's own code, with every kind of exception raised there.

A `Trap` counts the calls that the library makes into values, records and sources of the caller's, and raises
at one of them.  Each operation runs with the trap at its first call, its second, and so on, until it ends
without reaching it: so what is called need not be known.  After each run: the call has failed with what was
raised, or with an error of pgproto's that it caused; nothing is stored of what is atomic; the label allows a
repetition; the same session goes on, and the pool's slot is there.

By default each call gets one of the exceptions, the first and the last one all of them; with
PGPROTO_PROMISE=whole, all get all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pytest

import pgproto
from pgproto import Batch, DataError, Outcome
from pgproto_pytest import Database, Driver
from tests.support.postgres import PostgresServer

WHOLE: Final = os.environ.get("PGPROTO_PROMISE") == "whole"
ERRORS: Final[tuple[type[BaseException], ...]] = (
    RuntimeError,
    TypeError,
    KeyboardInterrupt,
    MemoryError,
    asyncio.CancelledError,
    StopIteration,
    RecursionError,
    GeneratorExit,
    StopAsyncIteration,
)
# What says nothing but the end of a source, and what Python itself passes over (tuple() asks for a length,
# and a TypeError means that there is none).
NO_ERRORS: Final = {("next", StopIteration), ("anext", StopAsyncIteration), ("len", TypeError)}

TABLE: Final = "a int4, b float8, c text, d timestamptz, e jsonb, f date, g numeric, h uuid, i timetz"


class Trap:
    """Counts calls, and raises at one of them."""

    def __init__(self, at: int, error: type[BaseException]) -> None:
        self.at = at
        self.error = error("the trap")
        self.calls = 0
        self.struck = ""

    def forget(self) -> None:
        """Let go of the frames: no collector finds a cycle with a datetime in it, which it does not know."""
        self.error.__traceback__ = None

    @property
    def reached(self) -> bool:
        return self.calls >= self.at

    def __call__(self, what: str) -> None:
        self.calls += 1
        if self.calls == self.at and (what, type(self.error)) not in NO_ERRORS:
            self.struck = what
            raise self.error


# ---- Values, records and sources


class Zone(tzinfo):
    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def utcoffset(self, _: datetime | None) -> timedelta:
        self.trap("utcoffset")
        return timedelta(hours=1)

    def dst(self, _: datetime | None) -> timedelta:
        self.trap("dst")
        return timedelta(0)

    def tzname(self, _: datetime | None) -> str:
        self.trap("tzname")
        return "here"


def trapped(base: type[Any], trap: Trap, *names: str) -> type[Any]:
    """A subclass some of whose methods pass the trap."""

    def method(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            trap(name.strip("_"))
            return getattr(base, name)(self, *args)

        return call

    return type(f"Trapped{base.__name__}", (base,), {name: method(name) for name in names})


def values(trap: Trap) -> tuple[Any, ...]:
    """One value for each column of the table; what of each is called is for the library to say."""
    whole = trapped(int, trap, "__index__", "__int__", "__float__", "__le__", "__ge__", "__str__", "__len__")
    items = trapped(dict, trap, "items", "keys", "__iter__", "__len__", "__getitem__")
    listed = trapped(list, trap, "__iter__", "__len__", "__getitem__")

    def sixteen(_: UUID) -> bytes:
        trap("bytes")
        return bytes(16)

    unique = type("Unique", (UUID,), {"bytes": property(sixteen)})
    return (
        whole(7),
        whole(8),
        trapped(str, trap, "encode", "__str__", "__len__", "__iter__", "isascii")("text"),
        datetime(2020, 1, 1, tzinfo=Zone(trap)),
        items(a=listed([1, 2]), b=trapped(float, trap, "__repr__", "__float__")(1.5)),
        trapped(date, trap, "toordinal", "__str__")(2020, 1, 1),
        trapped(Decimal, trap, "as_tuple", "is_finite", "is_nan", "is_signed", "__str__")("1.5"),
        unique("00000000-0000-0000-0000-000000000000"),
        datetime(2020, 1, 1, 1, tzinfo=Zone(trap)).timetz(),
    )


class Record(Sequence[Any]):
    def __init__(self, trap: Trap, row: Sequence[Any]) -> None:
        self.trap = trap
        self.row = row

    def __len__(self) -> int:
        self.trap("len")
        return len(self.row)

    def __getitem__(self, index: Any) -> Any:
        self.trap("getitem")
        return self.row[index]


class Named(Mapping[str, Any]):
    def __init__(self, trap: Trap, row: Sequence[Any]) -> None:
        self.trap = trap
        self.row = row

    def __len__(self) -> int:
        self.trap("len")
        return len(self.row)

    def __iter__(self) -> Iterator[str]:
        self.trap("iter")
        return iter(NAMES)

    def __getitem__(self, name: str) -> Any:
        self.trap("getitem")
        return self.row[NAMES.index(name)]


class Source:
    """An iterable, an async iterable or a file, of so many pieces."""

    def __init__(self, trap: Trap, pieces: Sequence[Any]) -> None:
        self.trap = trap
        self.pieces = list(pieces)

    def take(self, what: str) -> Any:
        self.trap(what)
        return self.pieces.pop(0) if self.pieces else None


class Iterable(Source):
    def __iter__(self) -> Iterator[Any]:
        self.trap("iter")
        return self

    def __next__(self) -> Any:
        if (piece := self.take("next")) is None:
            raise StopIteration
        return piece


class Async(Source):
    def __aiter__(self) -> AsyncIterator[Any]:
        self.trap("aiter")
        return self

    async def __anext__(self) -> Any:
        if (piece := self.take("anext")) is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        pass


class File(Source):
    def read(self, _: int) -> bytes:
        piece: bytes | None = self.take("read")
        return piece or b""


NAMES: Final = [column.split()[0] for column in TABLE.split(", ")]
PLAIN: Final = values(Trap(0, RuntimeError))


def insert(table: str) -> str:
    return f"insert into {table} values ({', '.join(f'${n + 1}' for n in range(len(NAMES)))})"


# ---- Operations


class Run:
    """One run of an operation.

    Attributes:
        db: a connection or a pool.
        items: those of its batch.
        isolated: an Exception of one item leaves the others alone.
    """

    def __init__(self, pg: Driver, db: Any, table: str, trap: Trap, number: int) -> None:
        self.pg = pg
        self.db = db
        self.table = table
        self.trap = trap
        self.items: list[Any] = []
        self.isolated = False
        self.sql = insert(table)
        self.fresh = f"{self.sql} -- {number}"  # nobody has described it yet

    @property
    def args(self) -> tuple[Any, ...]:
        return values(self.trap)

    def records(self, kind: str) -> Any:
        rows: list[Any] = [PLAIN, self.args, Record(self.trap, PLAIN), list(self.args)]
        if kind == "named":
            return [*rows, Named(self.trap, self.args)]
        return rows if kind == "list" else SOURCES[kind](self.trap, rows)

    async def batch(self, sql: str, atomic: bool) -> None:
        batch = Batch(atomic=atomic)
        self.items = batch.items
        self.isolated = not atomic
        for args in (self.args, PLAIN, self.args, self.args):
            batch.queue(sql, *args)
        await self.db.send_batch(batch)
        for item in self.items:
            if item.error is not None:
                raise item.error


SOURCES: Final[dict[str, type[Source]]] = {"iterable": Iterable, "async": Async, "file": File}
Operation = Callable[[Run], Awaitable[Any]]


async def stream(run: Run) -> None:
    async for _ in run.db.stream(f"{run.sql} returning a", *run.args):
        pass


async def prepared(run: Run, name: str) -> None:
    statement = await run.db.prepare(run.sql)
    try:
        await getattr(statement, name)(*([run.records("list")] if name == "executemany" else run.args))
    finally:
        await statement.close()


async def in_transaction(run: Run, work: Operation) -> None:
    made = run.db.transaction()
    async with made as conn:
        run.db, db = conn, run.db
        try:
            await conn.execute(run.sql, *PLAIN)
            await work(run)
        finally:
            run.db = db


async def queued(run: Run, work: Operation) -> None:
    """Its values are encoded while a neighbour's answer is read, and another one waits after it."""

    async def told() -> BaseException | None:
        try:
            await work(run)
        except BaseException as error:
            return error
        return None

    neighbour = "select 41 + $1::int4"
    results = await run.pg.together(
        lambda: run.db.fetchval(neighbour, 1), told, lambda: run.db.fetchval(neighbour, 2)
    )
    assert (results[0], results[2]) == (42, 43), results
    if results[1] is not None:
        raise results[1]


def copy_in(kind: str) -> Operation:
    def work(run: Run) -> Any:
        pieces = [f"{number}\n".encode() for number in range(3)]
        return run.db.copy_in(f"copy {run.table} (a) from stdin", SOURCES[kind](run.trap, pieces))

    return work


ON_BOTH: Final[dict[str, Operation]] = {
    "fetch": lambda run: run.db.fetch(run.sql, *run.args),
    "fetchrow": lambda run: run.db.fetchrow(run.sql, *run.args),
    "fetchval": lambda run: run.db.fetchval(run.sql, *run.args),
    "execute": lambda run: run.db.execute(run.sql, *run.args),
    "execute, not described": lambda run: run.db.execute(run.fresh, *run.args),
    "batch": lambda run: run.batch(run.sql, True),
    "batch, not described": lambda run: run.batch(run.fresh, True),
    "batch, isolated": lambda run: run.batch(run.sql, False),
    "executemany list": lambda run: run.db.executemany(run.sql, run.records("list")),
    "executemany iterable": lambda run: run.db.executemany(run.fresh, run.records("iterable")),
    "executemany async": lambda run: run.db.executemany(run.sql, run.records("async")),
    "copy_records list": lambda run: run.db.copy_records(run.table, run.records("named"), columns=NAMES),
    "copy_records iterable": lambda run: run.db.copy_records(
        run.table, run.records("iterable"), columns=NAMES
    ),
    "copy_records async": lambda run: run.db.copy_records(run.table, run.records("async"), columns=NAMES),
    "copy_in iterable": copy_in("iterable"),
    "copy_in async": copy_in("async"),
    "copy_in file": copy_in("file"),
    "transaction execute": lambda run: in_transaction(run, ON_BOTH["execute"]),
    "transaction batch": lambda run: in_transaction(run, ON_BOTH["batch"]),
    "transaction executemany": lambda run: in_transaction(run, ON_BOTH["executemany list"]),
    "transaction copy_records": lambda run: in_transaction(run, ON_BOTH["copy_records list"]),
}
ON_A_CONNECTION: Final[dict[str, Operation]] = {
    "stream": stream,
    "prepared fetch": lambda run: prepared(run, "fetch"),
    "prepared execute": lambda run: prepared(run, "execute"),
    "prepared executemany": lambda run: prepared(run, "executemany"),
    "queued execute": lambda run: queued(run, ON_BOTH["execute"]),
    "queued execute, not described": lambda run: queued(run, ON_BOTH["execute, not described"]),
    "queued batch": lambda run: queued(run, ON_BOTH["batch, not described"]),
}


def caused(raised: BaseException | None, trap: Trap) -> bool:
    """It is the error itself, or an error of pgproto's (Python's, for a StopIteration) that it caused."""
    error = trap.error
    if raised is error:
        return True
    if trap.struck == "iter" and isinstance(error, TypeError) and isinstance(raised, DataError):
        return True  # the json module says with its own TypeError that it cannot iterate
    cause = raised.__cause__ if isinstance(raised, pgproto.Error) else raised
    if isinstance(error, ENDS) and isinstance(cause, RuntimeError):
        cause = cause.__cause__  # what becomes of it in any generator
    return cause is error


ENDS: Final = (StopIteration, StopAsyncIteration)


async def strike(pg: Driver, db: Any, table: str, name: str, trap: Trap, number: int, pid: int) -> None:
    """One run, and what must be true after it."""
    run = Run(pg, db, table, trap, number)
    raised: BaseException | None = None
    try:
        await (ON_BOTH.get(name) or ON_A_CONNECTION[name])(run)
    except BaseException as error:
        raised = error
    stored = await db.fetchval(f"select count(*) from {table}")
    assert await db.fetchval("select pg_backend_pid()") == pid, "it is another session"
    if "stats" in dir(getattr(db, "target", db)):
        assert (db.stats().idle, db.stats().size) == (1, 1)
    else:
        assert db.transaction_status == "I"
    if not trap.struck:
        assert raised is None
        assert stored > 0
    else:
        assert caused(raised, trap), (trap.struck, raised)
        alone = run.isolated and isinstance(trap.error, Exception)
        assert stored == (len(run.items) - 1 if alone else 0)
        if isinstance(raised, pgproto.Error):
            assert raised.outcome is not None
            assert raised.outcome.safe_to_retry
        for item in run.items:
            hit = item.error is not None and (item.error.__cause__ is trap.error or caused(item.error, trap))
            assert item.outcome is (Outcome.COMMITTED if alone and not hit else Outcome.NOT_SENT)
        assert sum(item.error is not None for item in run.items) == (1 if run.items else 0)
    if stored:
        await db.execute(f"truncate {table}")


def errors_for(place: int, last: bool, name: str) -> tuple[type[BaseException], ...]:
    """Which exceptions the call at this place raises."""
    if WHOLE or place == 1 or last:
        return ERRORS
    return (ERRORS[(place + len(name)) % len(ERRORS)],)


@pytest.mark.holds("L2", "L3")
@pytest.mark.parametrize("place", ["connection", "pool"])
def test_every_call_into_the_callers_code(
    driver: Driver, pg18: PostgresServer, place: str, record_property: Callable[[str, object], None]
) -> None:
    combinations = 0

    async def scenario(pg: Driver) -> None:
        nonlocal combinations
        db = Database(pg18, f"callers_{place}_{pg.name}")
        table = db.make_table(TABLE)
        names = [*ON_BOTH, *(ON_A_CONNECTION if place == "connection" else ())]
        made = pg.connect(db.dsn) if place == "connection" else pg.Pool(db.dsn, min_size=1, max_size=1)
        async with made as client:
            pid = await client.fetchval("select pg_backend_pid()")
            for name in names:
                if pg.name == "blocking" and ("async" in name or name.startswith("queued")):
                    continue
                counting = Trap(0, RuntimeError)
                await strike(pg, client, table, name, counting, 0, pid)
                assert counting.calls > 0, name
                for at in range(1, counting.calls + 2):
                    for error in errors_for(at, at == counting.calls, name):
                        if pg.name == "asyncio" and error is KeyboardInterrupt and " async" in name:
                            continue  # out of any task, it ends asyncio's loop
                        trap = Trap(at, error)
                        combinations += 1
                        try:
                            await strike(pg, client, table, name, trap, combinations, pid)
                        except BaseException as problem:
                            text = f"{name}: {error.__name__} at call {at} ({trap.struck})"
                            raise AssertionError(text) from problem
                        trap.forget()

    driver.run(scenario, deadline=1200.0 if WHOLE else 120.0)
    record_property("combinations", combinations)
    print(f"counted: {combinations} combinations of call and exception, {driver.name}, {place}")
    assert combinations > 400
