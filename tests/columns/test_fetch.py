"""`fetch_columns` and `stream_columns`, on connections and pools of every adapter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgproto import DataError
from pgproto_pytest import Driver
from tests.support.columns import plain
from tests.support.postgres import PostgresServer

EVERY = """
    select n::int8 as big, n::int2 as small, n::float8 as float, n % 2 = 0 as even, n::text as text,
      case when n % 3 > 0 then n end as some, timestamptz '2024-02-29 12:00Z' + n * interval '1 day' as at,
      date '1999-12-31' + n as day, time '00:00' + n * interval '1 s' as time, interval '1 month' * n as span,
      n::numeric(10, 2) as price, n / 4.0 as quarter, (array['sad', 'ok'])[n % 2 + 1]::mood as mood,
      array[n, null] as list, array['sad']::mood[] as moods, decode('00ff', 'hex') as raw, '{"a": 1}'::jsonb,
      int4range(1, n + 2) as range, '00000000-0000-0000-0000-000000000001'::uuid as id, n::positive as domain
    from generate_series(0, $1 - 1) n
"""


@pytest.fixture(scope="module")
def dsn(pg18: PostgresServer) -> Iterator[str]:
    with pg18.database() as name:
        pg18.query("create type mood as enum ('sad', 'ok'); create domain positive as int4", dbname=name)
        yield pg18.dsn(dbname=name)


def test_every_kind_of_column(driver: Driver, dsn: str) -> None:
    day = 86_400_000_000

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            batch = await conn.fetch_columns(EVERY, 4)
            assert len(batch) == 4
            found = {each.name: plain(each) for each in batch}
            for name in ("big", "small", "float", "domain"):
                assert found[name] == [0, 1, 2, 3]
            assert found["even"] == [True, False, True, False]
            assert found["text"] == ["0", "1", "2", "3"]
            assert found["some"] == [None, 1, 2, None]
            first = 19782 * day + day // 2  # 2024-02-29 is so many days after 1970-01-01
            assert found["at"] == [first + n * day for n in range(4)]
            assert found["day"] == [10956, 10957, 10958, 10959]
            assert found["time"] == [n * 1_000_000 for n in range(4)]
            assert found["span"] == [(n, 0, 0) for n in range(4)]
            assert batch["price"].format == "d:10,2"
            assert found["price"] == [0, 100, 200, 300]
            assert found["quarter"][1] == "0.25000000000000000000"
            assert found["mood"] == ["sad", "ok", "sad", "ok"]
            assert found["list"] == [[n, None] for n in range(4)]
            assert found["moods"] == [["sad"]] * 4
            assert found["raw"] == [b"\x00\xff"] * 4
            assert found["jsonb"] == ['{"a": 1}'] * 4
            assert found["range"] == ["[1,2)", "[1,3)", "[1,4)", "[1,5)"]
            assert found["id"] == [bytes(15) + b"\x01"] * 4
            rows = await conn.fetch(EVERY, 4)  # the statement has its own formats again
            assert [row["big"] for row in rows] == found["big"]
            assert plain((await conn.fetch_columns(EVERY, 4, numeric="float64"))["quarter"])[1] == 0.25

    driver.run(scenario)


def test_many_rows(driver: Driver, dsn: str) -> None:
    sql = "select n, case when n % 7 = 0 then null else n::text end t from generate_series(1, $1) n"
    texts = [None if n % 7 == 0 else str(n) for n in range(1, 30_001)]

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            batch = await pool.fetch_columns(sql, 30_000)
            assert plain(batch["n"]) == list(range(1, 30_001))
            assert plain(batch["t"]) == texts
            batches = [batch async for batch in pool.stream_columns(sql, 30_000, size=1000)]
            assert all(len(batch) >= 1000 for batch in batches[:-1])
            assert [text for batch in batches for text in plain(batch["t"])] == texts
            prepared = [batch async for batch in pool.stream_columns("select 1 where false")]
            assert [len(batch) for batch in prepared] == [0]
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)


def test_a_stream_that_is_left(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            async with conn.stream_columns("select n from generate_series(1, 1000000) n", size=10) as batches:
                async for batch in batches:
                    assert plain(batch["n"])[:3] == [1, 2, 3]
                    break
            assert await conn.fetchval("select 1") == 1
            statement = await conn.prepare("select $1::int8 as n")
            assert plain((await conn.fetch_columns(statement.statement, 7))["n"]) == [7]

    driver.run(scenario)


def test_errors(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            with pytest.raises(
                DataError, match="row 1, column 'at': the column's Arrow type has no infinity"
            ):
                await conn.fetch_columns("select 'infinity'::timestamptz as at")
            batch = await conn.fetch_columns("select 'infinity'::timestamptz as at", unfit="null")
            assert plain(batch["at"]) == [None]
            with pytest.raises(ValueError, match="unfit must be"):
                await conn.fetch_columns("select 1", unfit="drop")
            with pytest.raises(ValueError, match="at least one row"):
                conn.stream_columns("select 1", size=0)
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


def test_a_table_that_was_altered(driver: Driver, dsn: str) -> None:
    """The statement is described again, and its columns with it."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            await conn.execute("drop table if exists altered")
            await conn.execute("create table altered (n int4)")
            await conn.execute("insert into altered values (7)")
            for type_, value in (("int8", 7), ("text", "7"), ("numeric(5, 1)", 70)):
                await conn.fetch_columns("select n from altered")
                async with pg.connect(dsn) as other:
                    await other.execute(f"alter table altered alter n type {type_} using n::{type_}")
                assert plain((await conn.fetch_columns("select n from altered"))["n"]) == [value]
            await conn.execute("drop table altered")

    driver.run(scenario)
