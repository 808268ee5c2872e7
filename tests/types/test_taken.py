"""What is taken for a type, and what is refused, is the same wherever a value can be."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from pgproto import Batch, DataError, RawJSON
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer


class Mood(enum.Enum):
    HAPPY = "happy"


class Color(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Half(enum.Enum):
    HALF = 0.5


class Index:
    def __index__(self) -> int:
        return 7


class Real:
    def __float__(self) -> float:
        return 0.25


MIDNIGHT = datetime(2020, 1, 2)
# Type, value, and what the server stores, as text.
TAKEN: list[tuple[str, Any, str]] = [
    ("int4", np.int32(5), "5"),
    ("int8", np.uint64(5), "5"),
    ("int2", np.int8(-5), "-5"),
    ("int4", Index(), "7"),
    ("int4", 5.0, "5"),
    ("int8", np.float64(5), "5"),
    ("int4", Decimal("5.00"), "5"),
    ("int4", Level.HIGH, "3"),
    ("oid", np.int64(5), "5"),
    ("float8", np.float32(0.5), "0.5"),
    ("float8", np.int64(5), "5"),
    ("float8", Decimal("0.5"), "0.5"),
    ("float8", Fraction(1, 2), "0.5"),
    ("float8", Real(), "0.25"),
    ("float8", 5, "5"),
    ("float8", Half.HALF, "0.5"),
    ("float4", np.float16(0.5), "0.5"),
    ("numeric", "1.10", "1.10"),
    ("numeric", 0.1, "0.1"),
    ("numeric", np.float64(0.1), "0.1"),
    ("numeric", np.int16(5), "5"),
    ("numeric", 5, "5"),
    ("numeric", "NaN", "NaN"),
    ("numeric", Level.HIGH, "3"),
    ("bool", np.bool_(True), "true"),
    ("text", Mood.HAPPY, "happy"),
    ("text", Color.RED, "red"),
    ("varchar", np.str_("a"), "a"),
    ("mood", Mood.HAPPY, "happy"),
    ("mood", "happy", "happy"),
    ("bytea", bytearray(b"a"), "\\x61"),
    ("bytea", memoryview(b"a"), "\\x61"),
    ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    ("uuid", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("inet", ip_address("10.1.2.3"), "10.1.2.3/32"),
    ("inet", ip_interface("10.1.2.3/8"), "10.1.2.3/8"),
    ("inet", "10.1.2.3", "10.1.2.3/32"),
    ("cidr", ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    ("date", MIDNIGHT, "2020-01-02"),
    ("timestamp", date(2020, 1, 2), "2020-01-02 00:00:00"),
    ("timestamptz", MIDNIGHT.replace(tzinfo=UTC), "2020-01-02 00:00:00+00"),
    ("interval", timedelta(days=1, seconds=2), "1 day 00:00:02"),
    ("jsonb", RawJSON('{"a": 1}'), '{"a": 1}'),
    ("jsonb", "a", '"a"'),
    ("int4[]", (1, 2), "{1,2}"),
    ("int4[]", range(1, 3), "{1,2}"),
    ("int4[]", {1}, "{1}"),
    ("int4[]", frozenset({1}), "{1}"),
    ("int4[]", deque([1, None]), "{1,NULL}"),
    ("int4[]", {1: 2}.values(), "{2}"),
    ("int4[]", np.array([[1, 2], [3, 4]]), "{{1,2},{3,4}}"),
    ("float8[]", np.array([0.5, 1.5], dtype=np.float32), "{0.5,1.5}"),
    ("mood[]", [Mood.HAPPY, "happy"], "{happy,happy}"),
    ("text[]", np.array(["a", "b"]), "{a,b}"),
    ("even", 4, "4"),
    ("even", np.int64(4), "4"),
]
# Type, value, and a part of the error's text.
REFUSED: list[tuple[str, Any, str]] = [
    ("int4", True, "expected int, got bool; if it is meant as a number, pass int(value)"),
    ("int4", np.bool_(True), "expected int, got"),
    ("int4", 1.5, "float that is no whole number"),
    ("int4", Decimal("1.5"), "Decimal that is no whole number"),
    ("int4", "1", "expected int, got str"),
    ("int2", 32768, "out of range"),
    ("float8", True, "expected float, got bool"),
    ("float8", "1.5", "expected float, got str"),
    ("numeric", True, "expected Decimal, got bool"),
    ("numeric", "one", "str that is no number"),
    ("bool", 1, "expected bool, got int"),
    ("text", 1, "expected str, got int"),
    ("text", b"a", "expected str, got bytes"),
    ("bytea", "a", "expected"),
    ("timestamptz", MIDNIGHT, "datetime without time zone; pass one with tzinfo, such as timezone.utc"),
    ("timestamptz", date(2020, 1, 2), "expected datetime, got date; pass midnight with tzinfo"),
    ("timestamp", MIDNIGHT.replace(tzinfo=UTC), "datetime with time zone; pass one without tzinfo, or use"),
    (
        "date",
        datetime(2020, 1, 2, 3),
        "expected date, got datetime whose time would be lost; pass its date()",
    ),
    ("date", "2020-01-02", "expected date, got str"),
    ("int4[]", "{1}", "expected list, got str"),
    ("int4[]", {1: 2}, "expected list, got dict"),
    ("int4[]", b"1", "expected list, got bytes"),
    ("int4[]", 1, "expected list, got int"),
    ("int4[]", [True], "expected int, got bool"),
    ("mood", 1, "expected str, got int"),
    ("even", True, "expected int, got bool"),
]
SCHEMA = """
create type mood as enum ('happy', 'sad');
create domain even as int4 check (value % 2 = 0);
"""
Way = Callable[[Any, str, str, Any], Any]


async def as_parameter(conn: Any, table: str, name: str, value: Any) -> Any:
    return await conn.fetchval(f"select ($1::{name})::text", value)


async def in_a_batch(conn: Any, table: str, name: str, value: Any) -> Any:
    batch = Batch()
    batch.queue(f"insert into {table} values ($1)", value)
    await conn.send_batch(batch)
    return await conn.fetchval(f"select v::text from {table}")


async def in_executemany(conn: Any, table: str, name: str, value: Any) -> Any:
    await conn.executemany(f"insert into {table} values ($1)", [(value,)])
    return await conn.fetchval(f"select v::text from {table}")


async def in_copy(conn: Any, table: str, name: str, value: Any) -> Any:
    await conn.copy_records(table, [(value,)], columns=["v"])
    return await conn.fetchval(f"select v::text from {table}")


async def in_an_array(conn: Any, table: str, name: str, value: Any) -> Any:
    if name.endswith("[]"):
        return await as_parameter(conn, table, name, value)
    return await conn.fetchval(f"select (($1::{name}[])[2])::text", [None, value])


async def in_a_composite(conn: Any, table: str, name: str, value: Any) -> Any:
    return await conn.fetchval(f"select (($1::{table}).v)::text", (value,))


WAYS = [as_parameter, in_a_batch, in_executemany, in_copy, in_an_array, in_a_composite]
TABLES = {name: f"t{number}" for number, name in enumerate(sorted({row[0] for row in [*TAKEN, *REFUSED]}))}


@pytest.fixture(scope="module")
def taken_dsn(pg18: PostgresServer) -> Iterator[str]:
    with pg18.database() as name:
        pg18.query(SCHEMA, dbname=name)
        for kind, table in TABLES.items():
            pg18.query(f"create table {table} (v {kind})", dbname=name)
        yield pg18.dsn(dbname=name, options="-ctimezone=UTC")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_taken_everywhere(driver: Driver, taken_dsn: str, way: Way) -> None:
    async def scenario(pg: Driver) -> None:
        wrong = []
        async with pg.connect(taken_dsn) as conn:
            for name, value, text in TAKEN:
                table = TABLES[name]
                await conn.execute(f"truncate {table}")
                found: Any = None
                try:
                    found = await way(conn, table, name, value)
                except Exception as error:
                    found = error
                if found != text:
                    wrong.append((name, value, text, found))
        assert wrong == []

    driver.run(scenario, deadline=120)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_refused_everywhere(driver: Driver, taken_dsn: str, way: Way) -> None:
    async def scenario(pg: Driver) -> None:
        wrong = []
        async with pg.connect(taken_dsn) as conn:
            for name, value, text in REFUSED:
                table = TABLES[name]
                await conn.execute(f"truncate {table}")
                found: Any = None
                try:
                    found = await way(conn, table, name, value)
                except DataError as error:
                    found = str(error)
                if text not in str(found):
                    wrong.append((name, value, text, found))
                assert await conn.fetchval(f"select count(*) from {table}") == 0
        assert wrong == []

    driver.run(scenario, deadline=120)
