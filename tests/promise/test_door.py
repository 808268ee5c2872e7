"""What is passed for a statement or a record is looked at before anything is touched: the right things, a
TypeError of that call, or a DataError that names the record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest

from pgproto import Batch, DataError, LocalProtocolError, Outcome
from pgproto_pytest import Database, Driver
from tests.support.postgres import PostgresServer


class Odd(str):
    """A text whose methods are the caller's own."""

    __slots__ = ()

    def _refuse(self, *_: object) -> Any:
        raise RuntimeError

    __hash__ = __eq__ = __contains__ = isascii = lower = _refuse


NOT_TEXTS: tuple[Any, ...] = (None, 123, b"select 1", ["select 1"], object(), Batch().queue("select 1"))


@pytest.mark.holds("L15")
@pytest.mark.parametrize("place", ["connection", "pool"])
def test_what_is_no_statement(driver: Driver, pg18: PostgresServer, place: str) -> None:
    async def refused(work: Callable[..., Awaitable[Any]], *args: Any) -> None:
        with pytest.raises(TypeError) as caught:
            await work(*args)
        assert "must be a str" in str(caught.value) or "object expected" in str(caught.value)

    async def scenario(pg: Driver) -> None:
        made = pg.connect(pg18.dsn()) if place == "connection" else pg.Pool(pg18.dsn(), max_size=1)
        async with made as db:
            for bad in NOT_TEXTS:
                for name in ("fetch", "fetchrow", "fetchval", "execute"):
                    await refused(getattr(db, name), bad)
                await refused(db.executemany, bad, [(1,)])
                await refused(db.copy_in, bad, b"")
                with pytest.raises(TypeError):
                    Batch().queue(bad)
                if place == "connection":
                    await refused(db.script, bad)
                    await refused(db.prepare, bad)
                    await refused(db.reset, bad)
                    for iterate in (db.stream, db.copy_out):
                        with pytest.raises(TypeError):
                            async for _ in iterate(bad):
                                raise AssertionError
                    with pytest.raises(TypeError):
                        async with db.listen("x", bad):
                            raise AssertionError
                with pytest.raises(TypeError, match="Batch"):
                    await db.send_batch(bad)
                neighbours = await db.fetchval("select 5")
                assert neighbours == 5
            if place == "pool":
                assert db.stats().idle == 1
            else:
                assert not db.listeners.everyone()

    driver.run(scenario)


@pytest.mark.holds("L15")
def test_a_text_of_a_class_of_the_callers(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            assert await conn.fetchval(Odd("select $1::int4"), 5) == 5
            assert await conn.fetchval("select $1::int4", 6) == 6
            assert await conn.executemany(Odd("select $1::int4"), [(1,), (2,)]) == 2
            statement = await conn.prepare(Odd("select 7"))
            assert await statement.fetchval() == 7
            assert len(await conn.script(Odd("select 1; select 2"))) == 2
            assert [row[0] async for row in conn.stream(Odd("select 8"))] == [8]
            assert (
                b"".join([each async for each in conn.copy_out(Odd("copy (select 9) to stdout"))]) == b"9\n"
            )
            async with conn.listen(Odd("odd")):
                pass
            batch = Batch()
            item = batch.queue(Odd("select 10"))
            await conn.send_batch(batch)
            assert item.rows[0][0] == 10
            assert type(item.sql) is str
            await conn.reset(Odd("discard all"))

    driver.run(scenario)


@pytest.mark.holds("L15")
def test_a_prepared_statement_wherever_a_statement_is_taken(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            prepared = await conn.prepare("select $1::int4 + 1")
            for statement in (prepared, prepared.statement):
                assert (await conn.fetch(statement, 1))[0][0] == 2
                assert (await conn.fetchrow(statement, 2))[0] == 3
                assert await conn.fetchval(statement, 3) == 4
                assert await conn.execute(statement, 3) == "SELECT 1"
                assert await conn.executemany(statement, [(1,), (2,)]) == 2
                assert [row[0] async for row in conn.stream(statement, 4)] == [5]
                batch = Batch()
                items = [batch.queue(statement, number) for number in (5, 6)]
                await conn.send_batch(batch)
                assert [item.rows[0][0] for item in items] == [6, 7]
            with pytest.raises(TypeError):
                await conn.prepare(prepared)

    driver.run(scenario)


@pytest.mark.holds("L15")
@pytest.mark.parametrize("named", [True, False])
def test_a_statement_of_another_connection(driver: Driver, pg18: PostgresServer, named: bool) -> None:
    """It is never sent: under its name, the other session has something else."""

    async def scenario(pg: Driver) -> None:
        options: dict[str, Any] = {"statement_mode": "cache_statement" if named else "cache_describe"}
        async with pg.connect(pg18.dsn(), **options) as one, pg.connect(pg18.dsn(), **options) as two:
            await two.prepare("select 'two ' || $1::text")
            foreign = await one.prepare("select 'one ' || $1::text")

            async def refused(why: str, work: Callable[..., Awaitable[Any]], *args: Any) -> None:
                with pytest.raises(LocalProtocolError, match=why) as caught:
                    await work(*args)
                assert caught.value.outcome is Outcome.NOT_SENT
                assert await two.fetchval("select 1") == 1

            async def many(conn: Any, atomic: bool) -> Any:
                batch = Batch(atomic=atomic)
                batch.queue("select 1")
                item = batch.queue(foreign, "x")
                await conn.send_batch(batch)
                raise item.error if item.error is not None else AssertionError

            async def streamed(conn: Any) -> None:
                async for _ in conn.stream(foreign, "x"):
                    raise AssertionError

            for conn, why in ((two, "another connection"), (one, "was closed")):
                if conn is one:
                    if not named:
                        break  # what has no name cannot be forgotten
                    await one.reset()
                await refused(why, conn.fetch, foreign, "x")
                await refused(why, conn.executemany, foreign, [("x",)])
                await refused(why, many, conn, True)
                await refused(why, many, conn, False)
                await refused(why, streamed, conn)

    driver.run(scenario)


class Point(NamedTuple):
    a: int
    b: str


class Pair(Sequence[Any]):
    """A sequence of the caller's own."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


@pytest.mark.holds("L13")
def test_records(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        db = Database(pg18, f"records_{pg.name}")
        table = db.make_table("a int, b text, c int")
        insert = f"insert into {table} (a, b) values ($1, $2)"
        bad: tuple[Any, ...] = (
            {1, "x"},
            frozenset({1, "x"}),
            "1x",
            b"1x",
            bytearray(b"1x"),
            memoryview(b"1x"),
        )
        bad += (5, None, object(), iter((1, "x")), (each for each in (1, "x")))
        async with pg.connect(db.dsn) as conn:
            row = await conn.fetchrow("select 5 as x, 'five' as y")
            good: list[Any] = [(1, "x"), [2, "y"], row, Point(3, "z"), Pair(4, "w"), deque([6, "v"])]
            assert await conn.executemany(insert, good) == 6
            assert await conn.copy_records(table, good, columns=["a", "b"]) == 6
            for each in (*bad, {"a": 1, "b": "x"}):
                for before in ([], good):
                    with pytest.raises(DataError, match="sequence, not") as caught:
                        await conn.executemany(insert, [*before, each])
                    assert f"in record {len(before) + 1}" in caught.value.__notes__
            for each in bad:
                with pytest.raises(DataError, match=r"record 7: .*sequence, not"):
                    await conn.copy_records(table, [*good, each], columns=["a", "b"])
            assert await conn.fetchval(f"select count(*) from {table}") == 12
            named = [{"b": "x", "a": 21}, {"a": 22, "b": None, "c": 1}]
            assert await conn.copy_records(table, named, columns=["a", "b"]) == 2
            assert await conn.copy_records(table, named, columns=["b"]) == 2
            with pytest.raises(DataError, match=r"record 2: the value of column 'c' is missing"):
                await conn.copy_records(table, [{"a": 1, "b": "", "c": 1}, {"a": 1}], columns=["a", "c"])
            rows = await conn.fetch(f"select a, b from {table} where a > 20 or a is null order by a, b")
            assert [tuple(row) for row in rows] == [(21, "x"), (22, None), (None, "x"), (None, None)]

    driver.run(scenario)
