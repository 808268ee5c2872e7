"""`copy_columns`, on connections and pools of every adapter."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import Enum

import pytest

from pgproto import ColumnBatch, DataError, Outcome, PostgresError, TypeMap
from pgproto.columns import ColumnData
from pgproto_pytest import Driver
from tests.support.columns import plain
from tests.support.postgres import PostgresServer

COLUMNS = """
    big int8, small int2, float float8, even bool, text text, part int4, at timestamptz, day date, time time,
    span interval, price numeric(10, 2), mood mood, list int4[], moods mood[], raw bytea, doc jsonb, id uuid
"""
EVERY = """
    select n::int8, n::int2, n::float8, n % 2 = 0, n::text, case when n % 3 > 0 then n end,
      timestamptz '2024-02-29 12:00Z' + n * interval '1 day', date '1999-12-31' + n,
      time '00:00' + n * interval '1 s', interval '1 month' * n, n::numeric(10, 2),
      (array['sad', 'ok'])[n % 2 + 1]::mood, array[n, null], array['sad', null]::mood[],
      decode('00ff', 'hex'),
      jsonb_build_object('n', n), gen_random_uuid()
    from generate_series(1, 3000) n
"""
MADE = f"""
    create type mood as enum ('sad', 'ok');
    create table source ({COLUMNS}); insert into source {EVERY};
    create table target ({COLUMNS}); create schema other; create table other.target (n int8)
"""


@pytest.fixture(scope="module")
def dsn(pg18: PostgresServer) -> Iterator[str]:
    with pg18.database() as name:
        pg18.query(MADE, dbname=name)
        yield pg18.dsn(dbname=name)


def numbers(*values: int) -> ColumnBatch:
    return ColumnBatch(
        len(values), [ColumnData("n", 20, "l", len(values), 0, [None, bytearray(array("q", values))])]
    )


def test_a_table_is_copied(driver: Driver, dsn: str) -> None:
    differs = "select count(*) from (table source except table target) rows"

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            await pool.execute("truncate target")
            batch = await pool.fetch_columns("table source")
            assert await pool.copy_columns("target", batch) == 3000
            assert await pool.fetchval("select count(*) from target") == 3000
            assert await pool.fetchval(differs) == 0
        async with pg.connect(dsn) as conn:
            await conn.execute("truncate other.target")
            assert await conn.copy_columns("target", numbers(1, 2), columns=["n"], schema="other") == 2
            assert await conn.copy_columns("target", numbers(), columns=["n"], schema="other") == 0
            assert await conn.fetchval("select sum(n)::int8 from other.target") == 3
            async with conn.transaction():
                batch = await conn.fetch_columns("table source")
                assert await conn.copy_columns("target", batch) == 3000

    driver.run(scenario)


def test_classes_and_codecs_of_the_users_are_not_used(driver: Driver, dsn: str) -> None:
    class Mood(Enum):
        SAD = "sad"
        OK = "ok"

    async def scenario(pg: Driver) -> None:
        types = TypeMap()
        types.set_enum("mood", Mood)
        types.set_codec("text", decode=lambda text: text + "!", format="text")
        async with pg.connect(dsn, types=types) as conn:
            await conn.execute("create temporary table feelings (mood mood, moods mood[], other text)")
            batch = await conn.fetch_columns(
                "select 'ok'::mood as mood, array['sad', null]::mood[] as moods, 'x' as other"
            )
            assert [plain(each) for each in batch] == [["ok"], [["sad", None]], ["x"]]
            assert batch["mood"].dictionary is not None
            assert await conn.copy_columns("feelings", batch) == 1
            (row,) = await conn.fetch("table feelings")
            assert tuple(row) == (Mood.OK, [Mood.SAD, None], "x!")

    driver.run(scenario)


def test_what_does_not_fit(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            await conn.execute("truncate target")
            with pytest.raises(
                DataError, match="column 'text' of type text does not take the Arrow type 'l'"
            ) as caught:
                await conn.copy_columns("target", numbers(1), columns=["text"])
            assert caught.value.outcome is Outcome.NOT_SENT
            with pytest.raises(DataError, match="the data has no columns"):
                await conn.copy_columns("target", await conn.fetch_columns("select"))
            with pytest.raises(DataError, match="row 2, column 'small': the number is out of") as caught:
                await conn.copy_columns("target", numbers(1, 70_000), columns=["small"])
            assert caught.value.outcome in (Outcome.NOT_COMMITTED, Outcome.ROLLED_BACK)
            with pytest.raises(TypeError, match="must have __arrow_c_stream__"):
                await conn.copy_columns("target", [])
            with pytest.raises(PostgresError, match='column "n" does not exist'):
                await conn.copy_columns("target", numbers(1))
            assert await conn.fetchval("select count(*) from target") == 0

    driver.run(scenario)


def test_a_type_that_another_session_alters(driver: Driver, dsn: str) -> None:
    """One error at most: the next copy asks again."""
    known = "select count(*)::int4 from pg_prepared_statements where statement like 'SELECT \"n\"%'"

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn, pg.connect(dsn) as other:
            await other.execute("drop table if exists altered")
            await other.execute("create table altered (n int8)")
            assert await conn.copy_columns("altered", numbers(1)) == 1
            assert await conn.copy_columns("altered", numbers(2)) == 1
            assert await conn.fetchval(known) == 1
            await other.execute("alter table altered alter n type int4")
            assert await conn.copy_columns("altered", numbers(3)) == 1
            assert await conn.copy_columns("altered", numbers(4)) == 1  # looked up anew
            for _ in range(2):  # a look-up of before the change, then one after it
                await other.execute("alter table altered alter n type text")
                with pytest.raises(DataError, match="'n' of type text does not take the Arrow type 'l'"):
                    await conn.copy_columns("altered", numbers(5))
            await other.execute("alter table altered alter n type numeric using n::numeric")
            assert await conn.copy_columns("altered", numbers(6)) == 1
            assert await conn.fetchval("select array_agg(n)::int4[] from altered") == [1, 2, 3, 4, 6]

    driver.run(scenario)
