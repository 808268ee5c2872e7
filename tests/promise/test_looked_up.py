"""Types of the user's own are looked up, once for all who share a map, and never in anybody's way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest

from pgproto import Interval
from pgproto.types import BUILT_IN, Codec, Range, TypeMap
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, _Pipe

_TYPES = """
create schema {0};
set search_path = {0};
create type mood as enum ('sad', 'ok', 'happy');
create domain even as int check (value % 2 = 0);
create type point3 as (x float8, y float8, z float8);
create type path3 as (name text, points point3[], level even);
create type span as range (subtype = float8);
"""
_PATH = "row('p', array[row(1,2,3)::point3], 2)::path3"
_ALL = f"select '{{sad,ok}}'::mood[], '{{2,4}}'::even[], {_PATH}, '[1,2)'::span"


class Place:
    """A schema with types of this test's own."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.dsn = server.dsn(options=f"-csearch_path={name}")

    def query(self, sql: str) -> list[list[str]]:
        """Run SQL in it."""
        return self.server.query(f"set search_path = {self.name}; {sql}")


@pytest.fixture
def place(pg18: PostgresServer) -> Iterator[Place]:
    name = f"own_{threading.get_native_id()}"
    pg18.query(f"drop schema if exists {name} cascade")
    pg18.query(_TYPES.format(name))
    yield Place(pg18, name)
    pg18.query(f"drop schema {name} cascade")


class Counting(Proxy):
    """Counts the look-ups that pass through it."""

    look_ups = 0

    def _send(self, pipe: _Pipe, data: bytes) -> int:
        if pipe.to_server:
            self.look_ups += data.count(b"WITH t0 AS MATERIALIZED")
        return super()._send(pipe, data)


@pytest.fixture
def counting(place: Place) -> Iterator[Counting]:
    with Counting(("127.0.0.1", place.server.port)) as proxy:
        yield proxy


def _through(proxy: Counting, place: Place) -> str:
    return place.server.dsn(host="127.0.0.1", port=proxy.port, options=f"-csearch_path={place.name}")


def _checked(row: Any) -> None:
    moods, evens, path, span = row
    assert moods == ["sad", "ok"]
    assert evens == [2, 4]
    assert tuple(path) == ("p", [(1.0, 2.0, 3.0)], 2)
    assert (span.lower, span.upper) == (1.0, 2.0)


def test_a_first_query_needs_one_round_trip_more_and_none_with_a_loaded_map(
    driver: Driver, place: Place, counting: Counting
) -> None:
    learned = TypeMap()
    dsn = _through(counting, place)

    async def trips(pg: Driver, sql: str, types: TypeMap | None) -> tuple[int, int]:
        async with pg.connect(dsn, types=types) as conn:
            before = counting.round_trips, counting.look_ups
            rows = await conn.fetch(sql)
            if sql == _ALL:
                _checked(rows[0])
            return counting.round_trips - before[0], counting.look_ups - before[1]

    async def scenario(pg: Driver) -> None:
        plain = await trips(pg, "select 1", None)
        assert plain[1] == 0
        assert await trips(pg, _ALL, None) == (plain[0] + 1, 1)
        assert await trips(pg, _ALL, learned) == (plain[0] + 1, 1)
        assert await trips(pg, _ALL, learned) == plain
        assert learned.named("mood[]") is not None

    driver.run(scenario)


def test_a_map_of_ones_own_is_used_as_it_is(driver: Driver, place: Place) -> None:
    """BUILT_IN itself learns nothing: then types of one's own travel as text."""

    async def scenario(pg: Driver) -> None:
        types = TypeMap()
        async with pg.connect(place.dsn, types=types) as conn:
            assert (await conn.fetch("select '{sad}'::mood[]"))[0][0] == ["sad"]
        [array] = [codec for codec in types if codec.name == "mood[]"]
        assert isinstance(array, Codec)
        async with pg.connect(place.dsn, types=BUILT_IN) as conn:
            assert (await conn.fetch("select '{sad}'::mood[]"))[0][0] == "{sad}"
        assert BUILT_IN.named("mood[]") is None
        async with pg.Pool(place.dsn, types=types, max_size=1) as pool:
            assert (await pool.fetch("select '{ok}'::mood[]"))[0][0] == ["ok"]
        assert types.known(array.oid) is array

    driver.run(scenario)


@only("asyncio", "trio")
def test_fifty_connections_of_a_pool_make_one_look_up(
    driver: Driver, place: Place, counting: Counting
) -> None:
    async def scenario(pg: Driver) -> None:
        pool = pg.Pool(_through(counting, place), min_size=50, max_size=50)
        async with pool as pool:
            conns = [await pool.acquire() for _ in range(50)]

            async def one(conn: Any) -> Any:
                return (await conn.fetch(_ALL))[0]

            for row in await pg.together(*[lambda conn=conn: one(conn) for conn in conns]):
                _checked(row)
            for conn in conns:
                await pool.release(conn)
        assert counting.look_ups == 1

    driver.run(scenario, deadline=30)


def test_fifty_threads_make_one_look_up(place: Place, counting: Counting) -> None:
    from pgproto_blocking import Pool

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(Pool(_through(counting, place), min_size=50, max_size=50))
        conns = [stack.enter_context(pool.acquire()) for _ in range(50)]
        together = threading.Barrier(50)
        rows: list[Any] = []

        def one(conn: Any) -> None:
            together.wait(20)
            rows.append(conn.fetch(_ALL)[0])

        threads = [threading.Thread(target=one, args=(conn,), daemon=True) for conn in conns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(rows) == 50
        for row in rows:
            _checked(row)
    assert counting.look_ups == 1


_COLUMNS = {
    "a_bool": ("bool", True),
    "a_int2": ("int2", -5),
    "a_int4": ("int4", 7),
    "a_int8": ("int8", 2**40),
    "a_float4": ("float4", 1.5),
    "a_float8": ("float8", 0.1),
    "a_numeric": ("numeric", Decimal("12.50")),
    "a_money": ("money", "$1,234.50"),
    "a_text": ("text", "a\tb\\N\nc"),
    "a_varchar": ("varchar(9)", "\\."),
    "a_char": ("char(3)", "abc"),
    "a_bytea": ("bytea", b"\0\xff\\"),
    "a_date": ("date", date(2024, 2, 29)),
    "a_time": ("time", time(1, 2, 3)),
    "a_timestamp": ("timestamp", datetime(2024, 1, 2, 3, 4, 5, 6)),
    "a_timestamptz": ("timestamptz", datetime(2024, 1, 2, tzinfo=UTC)),
    "a_interval": ("interval", Interval(1, 2, 3)),
    "a_uuid": ("uuid", UUID(int=5)),
    "a_json": ("json", {"a": [1, None]}),
    "a_jsonb": ("jsonb", {"b": "x"}),
    "a_inet": ("inet", IPv4Address("10.0.0.1")),
    "a_mood": ("mood", "ok"),
    "a_even": ("even", 4),
    "a_point3": ("point3", (1.0, 2.0, 3.0)),
    "a_path3": ("path3", ("p", [(1.0, 2.0, 3.0)], 2)),
    "a_span": ("span", Range(1.0, 2.0)),
    "a_moods": ("mood[]", ["sad", None]),
    "a_evens": ("even[]", [2, 4]),
    "a_points": ("point3[]", [(0.0, 0.5, 1.0)]),
    "a_monies": ("money[]", ["$1.00", None]),
    "a_tsvector": ("tsvector", "'a':1 'b'"),
    "a_regclass": ("regclass", "pg_class"),
    "a_bits": ("varbit", None),
}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("block", [False, True])
def test_copy_records_fills_any_table_that_insert_can_fill(
    driver: Driver, place: Place, binary: bool, block: bool
) -> None:
    """In text if a column has no binary form; generated columns and defaults are filled as always."""
    text_only = ("a_money", "a_monies", "a_regclass", "a_tsvector")
    chosen = {name: what for name, what in _COLUMNS.items() if not binary or name not in text_only}
    columns = ", ".join(f"{name} {sql}" for name, (sql, _) in chosen.items())
    place.query(
        f"create table wide (id int generated always as identity, {columns},"
        " twice int generated always as (a_int4 * 2) stored, d text default 'x')"
    )
    values = tuple(value for _, value in chosen.values())
    names = list(chosen)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(place.dsn) as conn:
            if block:
                async with conn.transaction():
                    assert await conn.copy_records("wide", [values] * 2, columns=names) == 2
            else:
                assert await conn.copy_records("wide", [values] * 2, columns=names) == 2
            assert (
                await conn.copy_records("wide", [dict(zip(names, values, strict=True))], columns=names) == 1
            )
            marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
            await conn.execute(f"insert into wide ({', '.join(names)}) values ({marks})", *values)
            rows = await conn.fetch("select * from wide order by id")
            assert [(row["id"], row["twice"], row["d"]) for row in rows] == [
                (n, 14, "x") for n in (1, 2, 3, 4)
            ]
            for name in names:
                assert len({repr(row[name]) for row in rows}) == 1, name
            assert rows[0]["a_text"] == "a\tb\\N\nc"
            assert rows[0]["a_moods"] == ["sad", None]

    driver.run(scenario)


def test_copy_records_asks_once_for_what_it_needs(driver: Driver, place: Place, counting: Counting) -> None:
    place.query("create table faces (m mood, n int); create table plain (n int)")

    async def scenario(pg: Driver) -> None:
        async with pg.connect(_through(counting, place)) as conn:
            await conn.execute("select 1")
            trips: list[int] = []
            for _ in range(3):
                counting.reset_counters()
                await conn.copy_records("faces", [("ok", 1)], columns=["m", "n"])
                trips.append(counting.round_trips)
            assert trips == [4, 2, 2]
            counting.reset_counters()
            await conn.copy_records("plain", [(1,)], columns=["n"])
            assert counting.round_trips == 3
            assert counting.look_ups == 1

    driver.run(scenario)
