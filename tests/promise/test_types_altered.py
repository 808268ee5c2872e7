"""Types that are altered while connections use them: it heals, at worst after one error that says so."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pgproto import Batch, DataError, Error, PostgresError
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

_SET_UP = """
create type mood as enum ('sad', 'ok');
create type pair as (a int, b text);
create domain even as int;
create table t (m mood, ms mood[], p pair, e even);
insert into t values ('ok', '{ok}', (1, 'x'), 2);
"""
_READ = "select m, ms, p, e from t"
_CHANGES = {
    "enum value added": (
        "alter type mood add value 'glad'; update t set m = 'glad', ms = '{glad,ok}'",
        ("glad", ["glad", "ok"], (1, "x"), 2),
    ),
    "enum recreated": (
        "alter table t drop m, drop ms; drop type mood; create type mood as enum ('new');"
        " alter table t add m mood, add ms mood[]; update t set m = 'new', ms = '{new}'",
        ("new", ["new"], (1, "x"), 2),
    ),
    "field added": (
        "alter type pair add attribute c int cascade; update t set p = (1, 'x', 3)",
        ("ok", ["ok"], (1, "x", 3), 2),
    ),
    "field dropped": ("alter type pair drop attribute b cascade", ("ok", ["ok"], (1,), 2)),
    "field's type": (
        "alter table t drop p; alter type pair alter attribute a type text cascade;"
        " alter table t add p pair; update t set p = ('1', 'x')",
        ("ok", ["ok"], ("1", "x"), 2),
    ),
    "domain recreated": (
        "alter table t drop e; drop domain even; create domain even as text; alter table t add e even;"
        " update t set e = 'two'",
        ("ok", ["ok"], (1, "x"), "two"),
    ),
}


class Place:
    """A schema of this test's own."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.dsn = server.dsn(options=f"-csearch_path={name}")

    def query(self, sql: str) -> None:
        """Run SQL in it."""
        for each in sql.split(";"):
            self.server.query(f"set search_path = {self.name}; {each}")


@pytest.fixture
def place(pg18: PostgresServer) -> Iterator[Place]:
    name = f"altered_{threading.get_native_id()}"
    pg18.query(f"drop schema if exists {name} cascade; create schema {name}")
    place = Place(pg18, name)
    place.query(_SET_UP)
    yield place
    _KEPT.clear()
    pg18.query(f"drop schema {name} cascade")


async def _fetch(conn: Any) -> Any:
    return (await conn.fetch(_READ))[0]


async def _batch(conn: Any) -> Any:
    batch = Batch()
    item = batch.queue(_READ)
    batch.queue("select 1")
    await conn.send_batch(batch)
    return item.rows[0]


async def _stream(conn: Any) -> Any:
    async with conn.stream(_READ) as stream:
        rows = [row async for row in stream]
    return rows[0]


async def _prepared(conn: Any) -> Any:
    kept = _KEPT.get(id(conn)) or await conn.prepare(_READ)
    _KEPT[id(conn)] = kept
    return (await kept.fetch())[0]


_KEPT: dict[int, Any] = {}  # the prepared statements of one test's connections
_READS = {"fetch": _fetch, "batch": _batch, "stream": _stream, "prepared": _prepared}


async def _until_healed(read: Callable[[], Awaitable[Any]]) -> tuple[Any, list[Error]]:
    errors: list[Error] = []
    while True:
        try:
            return await read(), errors
        except (DataError, PostgresError) as error:
            errors.append(error)
            assert len(errors) < 4


def _plain(value: Any) -> Any:
    return tuple(_plain(each) for each in value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("way", _READS)
def test_results_heal(driver: Driver, place: Place, change: str, way: str) -> None:
    ddl, expected = _CHANGES[change]
    read = _READS[way]

    async def scenario(pg: Driver) -> None:
        async with (
            pg.Pool(place.dsn, max_size=2, min_size=2) as pool,
            pool.acquire() as one,
            pool.acquire() as two,
        ):
            for conn in (one, two):
                assert _plain(await read(conn)) == ("ok", ["ok"], (1, "x"), 2)
            place.query(ddl)
            row, errors = await _until_healed(lambda: read(one))
            assert _plain(row) == expected
            assert len(errors) <= 1
            for error in errors:
                assert "altered" in str(error)
                assert "OID" not in str(error)
            row, more = await _until_healed(lambda: read(two))
            assert _plain(row) == expected
            assert len(errors) + len(more) <= 1

    driver.run(scenario)


_INSERT = "insert into t values ($1, $2, $3, $4)"


async def _execute(conn: Any, values: Any) -> None:
    await conn.execute(_INSERT, *values)


async def _executemany(conn: Any, values: Any) -> None:
    await conn.executemany(_INSERT, [values])


async def _copy(conn: Any, values: Any) -> None:
    await conn.copy_records("t", [values], columns=["m", "ms", "p", "e"])


_WRITES = {"execute": _execute, "executemany": _executemany, "copy": _copy}


@pytest.mark.parametrize("change", _CHANGES)
@pytest.mark.parametrize("way", _WRITES)
def test_parameters_heal(driver: Driver, place: Place, change: str, way: str) -> None:
    ddl, expected = _CHANGES[change]
    write = _WRITES[way]
    place.query("alter table t rename to u; create table t (like u)")

    async def scenario(pg: Driver) -> None:
        async with (
            pg.Pool(place.dsn, max_size=2, min_size=2) as pool,
            pool.acquire() as one,
            pool.acquire() as two,
        ):
            for conn in (one, two):
                await write(conn, ("ok", ["ok"], (1, "x"), 2))
            place.query("drop table u; insert into t values ('ok', '{ok}', (1, 'x'), 2)")
            place.query(ddl)
            place.query(
                "create table named as select m, ms, p, e from t limit 0; drop table t;"
                " alter table named rename to t"
            )
            values = expected
            _, errors = await _until_healed(lambda: write(one, values))
            assert len(errors) <= 1
            for error in errors:
                assert "OID" not in str(error)
            _, more = await _until_healed(lambda: write(two, values))
            assert len(errors) + len(more) <= 1
            rows = await one.fetch(_READ)
            assert [_plain(row) for row in rows] == [expected] * 2

    driver.run(scenario)


SWAP = (
    "alter type {0} rename attribute first to t; alter type {0} rename attribute last to first;"
    " alter type {0} rename attribute t to last"
)


@pytest.mark.parametrize("by", ["another session", "a transaction that is rolled back"])
def test_attributes_that_have_other_names(driver: Driver, pg18: PostgresServer, by: str) -> None:
    """No value would tell.  What is rolled back is forgotten; what others do, `expire` has looked up anew."""
    name = f"swapped_{driver.name}_{by[0:4]}".lower().replace(" ", "_")
    read = f"select row('A', 'B')::{name}"

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as other, pg.Pool(pg18.dsn(), max_size=2) as pool:
            await other.script(f"create type {name} as (first text, last text)")
            assert dict(await pool.fetchval(read)) == {"first": "A", "last": "B"}
            if by == "another session":
                await other.script(SWAP.format(name))
                pool.expire()
                assert dict(await pool.fetchval(read)) == {"last": "A", "first": "B"}
                row = await pool.fetchval(f"select ($1::{name}).first", {"first": "F", "last": "L"})
                assert row == "F"
            else:
                async with pool.acquire() as one, pool.acquire() as two:
                    await one.script("begin")
                    await one.script(SWAP.format(name))
                    assert await one.fetchval(f"select null::{name}") is None
                    assert dict(await one.fetchval(read)) == {"last": "A", "first": "B"}
                    await one.script("rollback")
                    for conn in (one, two):
                        assert dict(await conn.fetchval(read)) == {"first": "A", "last": "B"}
            await other.script(f"drop type {name}")

    driver.run(scenario)


def test_a_type_that_is_gone_is_at_most_one_error(driver: Driver, pg18: PostgresServer) -> None:
    """Whatever plans it is in, on whatever connections."""
    name = f"gone_{driver.name}".lower()
    texts = [f"select array['sad'::{name}], {number}" for number in range(5)]
    texts += [f"select 'sad'::{name}::text", f"select 'sad'::{name} = 'sad'"]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as other, pg.Pool(pg18.dsn(), max_size=2) as pool:
            await other.script(f"create type {name} as enum ('sad')")
            async with pool.acquire() as one, pool.acquire() as two:
                for conn in (one, two):
                    for text in texts:
                        await conn.fetch(text)
                await other.script(f"drop type {name}; create type {name} as enum ('sad')")
                errors = []
                for conn in (one, two):
                    for text in texts:
                        try:
                            await conn.fetch(text)
                        except Error as error:
                            errors.append(error)
                assert len(errors) <= 1
            await other.script(f"drop type {name}")

    driver.run(scenario)
