"""What `fetch_columns` gives of every type, `copy_columns` stores as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from pgproto import ColumnBatch, DataError
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer
from tests.types.test_complete import catalog_of
from tests.types.values import SCHEMA

# What no Python value stands for, and columns nevertheless hold; what the samples of the types do not have.
ODD = {
    "date": "('4714-11-24 BC'), ('0001-12-31 BC'), ('10000-01-01'), ('5870000-01-01'), (null)",
    "date[]": "('{4714-11-24 BC,NULL,10000-01-01}'), ('{}'), (null)",
    "time": "('00:00'), ('24:00:00'), (null)",
    "time[]": "('{00:00,NULL,23:59:59.000001}')",
    "timestamp": "('4714-11-24 BC'), ('0044-03-15 01:02:03.4 BC'), ('10000-01-01 23:59:59.999999'), (null)",
    "timestamptz": "('4714-11-24 BC'), ('0044-03-15 01:02:03.4 BC'), ('10000-01-01 23:59:59.999999')",
    "timestamptz[]": "('{0044-03-15 01:02:03.4 BC,10000-01-01 23:59:59.999999,NULL}')",
    "daterange": "('[10000-01-01,)'), ('[0044-03-15 BC,infinity]'), ('empty'), (null)",
    "timetz": "('24:00:00+00'), ('23:59:60-15:59')",
    "interval": "('-1 mon +2 days -00:00:00.000001'), ('1 mon -2 days'), ('2562047:47:16.854775')",
    "numeric": "('NaN'), ('Infinity'), ('-Infinity'), ('1e131071'), ('0.00'), ('-0.10'), (null)",
    "numeric(38,38)": "('0.1'), (null)",
    "numeric(5,2)": "('-0.10'), ('123.45'), (null)",
    "numeric[]": "('{NaN,Infinity,1.10,NULL}')",
    "numeric(10,2)[]": "('{1.10,NULL}'), ('{}'), (null)",
    "text": r"(E'\\.'), (E'\\N'), (''), (null), (E'\t\n\r\b\f\v\\')",
    "text[]": r"(array[E'\\.', E'\\N', '', null, 'NULL', E'\t\n\r\b\f\v\\\"'])",
    "bytea[]": r"(array['\x'::bytea, '\x00ff5c', null])",
    "json": """('[1.0, 1e400, "\\u0001"]'), (' { "a" : 1, "a": 2 } ')""",
    "jsonb[]": """(array['[1, 2]', '{"a": 1.00}', null]::jsonb[])""",
    "bit(3)": "('101'), (null)",
    "char(3)": "('a'), ('')",
    "char(3)[]": "('{a}')",
    "varchar(3)": "('abc')",
    "point[]": """('{"(1,2)",NULL}')""",
    "box[]": "('{(3,4),(1,2);NULL}')",
    "every.mood[]": r"""(array['ä "quoted", \ {}', 'NULL', null]::every.mood[])""",
    "float4": "('nan'), ('-0'), ('1e-45'), ('3.4028235e38'), ('-inf')",
    "float8[]": "('{nan,-0,5e-324,inf,NULL}')",
    "int2vector": "(''), ('1 2'), (null)",
    "oidvector": "(''), ('1 2')",
    "int2vector[]": """('{"1 2","",NULL}')""",
}
# What a column of Arrow's does not have, and `fetch_columns` refuses.
REFUSED = re.compile(
    r"row (\d+), column 'c': (an array of \d dimensions is no list|more nanoseconds|.* 86400000000)"
)


@pytest.fixture(params=["pg18", "pg15"])
def dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    server: PostgresServer = request.getfixturevalue(request.param)
    with server.database() as name:
        server.query(SCHEMA, dbname=name)
        yield server.dsn(dbname=name)


async def wrong_after_copying(conn: Any, type_: str, values: str) -> list[str]:
    """What is wrong with a column of some values, by itself and in a COPY in text."""
    wrong: list[str] = []
    for beside in ("", ", r int4range default '[1,2)'"):
        await conn.script(
            "drop table if exists source, target;"
            f"create temp table source (n serial, c {type_}{beside}); create temp table target (like source)"
        )
        try:
            await conn.script(f"insert into source (c) values {values}")
            batch = await fetched(conn)
            assert await conn.copy_columns("target", batch) == len(batch)
        except Exception as error:
            return [f"{type_}: {error}"[:300]]
        same = "select n, c::text, c is null from"
        found = await conn.fetch(f"{same} target order by n")
        expected = await conn.fetch(f"{same} source order by n")
        wrong += [
            f"{type_}: {one[1]!r:.200} is stored as {other[1]!r:.200}"
            for one, other in zip(expected, found, strict=True)
            if one != other
        ]
    return wrong


async def fetched(conn: Any) -> ColumnBatch:
    """The rows of the source, from which those are deleted that are no columns of Arrow's."""
    while True:
        try:
            batch: ColumnBatch = await conn.fetch_columns("select * from source order by n")
            return batch
        except DataError as error:
            if str(error).startswith("an element of column 'c': more nanoseconds"):
                await conn.execute("delete from source where c::text like '%2562047788:00:54%'")
                continue
            refused = REFUSED.match(str(error))
            if refused is None:
                raise
            await conn.execute(
                "delete from source where n = (select n from source order by n offset $1 limit 1)",
                int(refused[1]) - 1,
            )


@only("blocking")
def test_every_type(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        wrong: list[str] = []
        checked = 0
        async with pg.connect(dsn) as conn:
            catalog = await catalog_of(conn)
            for row in catalog:
                if catalog.valueless(row.oid) or row.name.startswith(("pg_", "information_schema.")):
                    continue
                checked += 1
                values = ", ".join([f"({each.sql})" for each in catalog.samples(row.oid)])
                wrong += await wrong_after_copying(conn, row.name, values)
        assert wrong == [], "\n".join(wrong)
        assert checked > 150

    driver.run(scenario, deadline=110)


@only("blocking")
def test_what_python_does_not_have(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        wrong: list[str] = []
        async with pg.connect(dsn) as conn:
            for type_, values in ODD.items():
                wrong += await wrong_after_copying(conn, type_, values)
        assert wrong == [], "\n".join(wrong)

    driver.run(scenario, deadline=60)
