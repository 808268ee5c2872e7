"""The caller's classes of `into=`, with every kind of exception raised in them.

As in `test_callers`: the trap is at the first call, the second, and so on.  What is raised while the columns
are looked at comes before anything is sent; what is raised while objects are made comes after the end of the
query, in its own caller, and says that it was run.  The same session goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from pgproto import Batch, DataError, Error, Outcome, RowMaker
from pgproto_pytest import Database, Driver
from tests.promise.test_callers import ERRORS, NO_ERRORS, Trap, caused, errors_for
from tests.support.postgres import PostgresServer

ROWS: Final = 3
BEFORE: Final = {"prepare", "signature"}
"""What is called before anything is sent."""


def a_class(trap: Trap) -> Any:
    class Trapped:
        def __init__(self, a: int) -> None:
            trap("init")
            self.a = a

    return Trapped


def a_metaclass(trap: Trap) -> Any:
    class Meta(type):
        @property
        def __signature__(cls) -> Any:
            trap("signature")
            raise AttributeError

        def __call__(cls, *args: Any, **values: Any) -> Any:
            trap("call")
            return super().__call__(*args, **values)

    class Trapped(metaclass=Meta):
        def __init__(self, a: int) -> None:
            self.a = a

    return Trapped


def a_maker(trap: Trap) -> Any:
    def make(values: tuple[Any, ...]) -> Any:
        trap("make")
        return values

    def prepare(_: object) -> Callable[[tuple[Any, ...]], Any]:
        trap("prepare")
        return make

    return RowMaker(prepare)


INTO: Final = (a_class, a_metaclass, a_maker)


class Run:
    """One call, with its items."""

    def __init__(self, db: Any, sql: str, into: Any) -> None:
        self.db = db
        self.sql = sql
        self.into = into
        self.items: list[Any] = []

    async def batch(self, atomic: bool) -> None:
        batch = Batch(atomic=atomic)
        self.items = batch.items
        batch.queue("select 1")
        batch.queue(self.sql, into=self.into)
        await self.db.send_batch(batch)
        for item in self.items:
            if item.error is not None:
                raise item.error

    async def stream(self) -> None:
        async for _ in self.db.stream(self.sql, into=self.into):
            pass

    async def prepared(self, name: str) -> None:
        statement = await self.db.prepare(self.sql)
        try:
            await getattr(statement, name)(into=self.into)
        finally:
            await statement.close()


Operation = Callable[[Run], Awaitable[Any]]
ON_BOTH: Final[dict[str, Operation]] = {
    "fetch": lambda run: run.db.fetch(run.sql, into=run.into),
    "fetchrow": lambda run: run.db.fetchrow(run.sql, into=run.into),
    "batch": lambda run: run.batch(True),
    "batch, isolated": lambda run: run.batch(False),
}
ON_A_CONNECTION: Final[dict[str, Operation]] = {
    "stream": Run.stream,
    "prepared fetch": lambda run: run.prepared("fetch"),
    "prepared fetchrow": lambda run: run.prepared("fetchrow"),
}


async def strike(db: Any, table: str, work: Operation, into: Any, trap: Trap, pid: int) -> None:
    values = ", ".join(f"({number})" for number in range(ROWS))
    run = Run(db, f"insert into {table} values {values} returning a", into)
    raised: BaseException | None = None
    try:
        await work(run)
    except BaseException as error:
        raised = error
    stored = await db.fetchval(f"select count(*) from {table}")
    assert await db.fetchval("select pg_backend_pid()") == pid, "it is another session"
    if not trap.struck:
        assert raised is None
    else:
        assert caused(raised, trap), (trap.struck, raised)
        sent = trap.struck not in BEFORE
        if isinstance(raised, Error):
            assert isinstance(raised, DataError)
            # A stream may be cancelled before its end; this one is too short for it.
            expected = {Outcome.COMMITTED, Outcome.UNKNOWN} if sent else {Outcome.NOT_SENT}
            assert raised.outcome in expected
            if work is not Run.stream:
                assert raised.outcome is not Outcome.UNKNOWN
        if work is not Run.stream:
            assert stored == (ROWS if sent else 0)
        for item in run.items[1:]:
            assert item.outcome is (Outcome.COMMITTED if sent else Outcome.NOT_SENT)
            assert item.rows == []
    await db.execute(f"delete from {table}")


@pytest.mark.holds("L2", "L3")
@pytest.mark.parametrize("make", INTO)
@pytest.mark.parametrize("place", ["connection", "pool"])
def test_every_call_into_the_callers_class(
    driver: Driver, pg18: PostgresServer, place: str, make: Callable[[Trap], Any]
) -> None:
    struck: set[str] = set()

    async def scenario(pg: Driver) -> None:
        db = Database(pg18, f"into_{place}_{pg.name}_{make.__name__}")
        table = db.make_table("a int4")
        made = pg.connect(db.dsn) if place == "connection" else pg.Pool(db.dsn, min_size=1, max_size=1)
        async with made as client:
            pid = await client.fetchval("select pg_backend_pid()")
            for work in [*ON_BOTH.values(), *(ON_A_CONNECTION.values() if place == "connection" else ())]:
                at = 0
                reached = True
                while reached:
                    at += 1
                    for error in errors_for(at, False, place):
                        trap = Trap(at, error)
                        await strike(client, table, work, make(trap), trap, pid)
                        struck.add(trap.struck)
                        trap.forget()
                        reached = trap.reached

    driver.run(scenario, deadline=120.0)
    assert struck - {""} >= {"a_class": {"init"}, "a_maker": {"prepare", "make"}}.get(
        make.__name__, {"call", "signature"}
    )
    assert not NO_ERRORS & {(name, error) for name in struck for error in ERRORS}
