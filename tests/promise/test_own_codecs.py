"""Codecs of the user's own, on real servers: in every place, per pool and connection, whatever they raise."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from pgproto import Batch, DataError, Outcome, RawJSON, TypeMap
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, _Pipe
from tests.support.standin import GEOMETRY

SCHEMA = f"""
{GEOMETRY}
create schema s;
create type s.mood as enum ('happy', 'sad');
create type s.item as (name text, price numeric, at geometry, mood s.mood);
create type s.span as range (subtype = numeric);
create domain s.price as numeric;
create table t (m s.mood[], i s.item, g geometry, p s.price, r s.span, n numeric);
"""


class Mood(enum.Enum):
    HAPPY = "happy"
    SAD = "sad"


@dataclass
class Item:
    name: str
    price: float
    at: complex
    mood: Mood


def to_bytes(point: complex) -> bytes:
    return f"{point.real} {point.imag}".encode()


def to_point(data: bytes) -> complex:
    return complex(*map(float, data.split()))


def own_types() -> TypeMap:
    types = TypeMap()
    types.set_enum("mood", Mood)
    types.set_composite("s.item", Item)
    types.set_codec("geometry", encode=to_bytes, decode=to_point, format="binary")
    types.set_codec("numeric", encode=str, decode=float, format="value")
    return types


@pytest.fixture(scope="module")
def dsn(pg18: PostgresServer) -> Iterator[str]:
    with pg18.database() as name:
        pg18.query(SCHEMA, dbname=name)
        yield pg18.dsn(dbname=name)


ITEM = Item("a", 1.5, 1 + 2j, Mood.SAD)
VALUES = ([Mood.HAPPY, None, Mood.SAD], ITEM, 3j, 2.5, None, 0.25)
INSERT = "insert into t values ($1, $2, $3, $4, $5, $6)"
COLUMNS = ["m", "i", "g", "p", "r", "n"]


async def checked(client: Any, count: int) -> None:
    rows = await client.fetch("select * from t")
    assert len(rows) == count
    for row in rows:
        assert tuple(row) == VALUES
        assert type(row["n"]) is type(row["p"]) is float
    assert await client.fetchval("select array_agg(i) from t") == [ITEM] * count
    assert await client.fetchval("select row(1.5, 'x'::text)") == (1.5, "x")


@pytest.mark.parametrize("place", ["connection", "pool"])
def test_in_every_place(driver: Driver, dsn: str, place: str) -> None:
    async def scenario(pg: Driver) -> None:
        types = own_types()
        made = (
            pg.connect(dsn, types=types) if place == "connection" else pg.Pool(dsn, types=types, max_size=2)
        )
        async with made as client:
            await client.execute("truncate t")
            await client.execute(INSERT, *VALUES)
            batch = Batch()
            batch.queue(INSERT, *VALUES)
            await client.send_batch(batch)
            await client.executemany(INSERT, [VALUES, VALUES])
            await client.copy_records("t", [VALUES, dict(zip(COLUMNS, VALUES, strict=True))], columns=COLUMNS)
            await checked(client, 6)
        async with pg.connect(dsn) as plain:
            row = await plain.fetchrow("select * from t")
            assert row["m"] == ["happy", None, "sad"]
            assert row["n"] == Decimal("0.25")
            assert row["g"] == "\\x302e3020332e30"

    driver.run(scenario, deadline=60)


class Stop(BaseException):
    """Like KeyboardInterrupt, for code that does not know it."""


def raising(error: BaseException) -> Callable[[Any], Any]:
    def work(_: object) -> Any:
        raise error

    return work


@pytest.mark.holds("L2")
@pytest.mark.parametrize("kind", [KeyError, Stop])
def test_what_an_encoder_raises(driver: Driver, dsn: str, kind: type[BaseException]) -> None:
    async def scenario(pg: Driver) -> None:
        error = kind("here")
        types = TypeMap()
        types.set_codec("numeric", encode=raising(error), format="value")
        async with pg.connect(dsn, types=types) as conn:
            pid = await conn.fetchval("select pg_backend_pid()")
            calls: list[Callable[[], Any]] = [
                lambda: conn.fetchval("select $1::numeric", 1),
                lambda: conn.fetchval("select $1::numeric[]", [[1]]),
                lambda: conn.executemany("insert into t (n) values ($1)", [(1,)]),
                lambda: conn.copy_records("t", [(1,)], columns=["n"]),
            ]
            for call in calls:
                with pytest.raises(BaseException) as caught:
                    await call()
                if kind is Stop:
                    assert caught.value is error
                else:
                    assert isinstance(caught.value, DataError)
                    assert caught.value.__cause__ is error
                assert await conn.fetchval("select pg_backend_pid()") == pid
                assert conn.transaction_status == "I"

    driver.run(scenario, deadline=60)


@pytest.mark.holds("L2")
@pytest.mark.parametrize("kind", [KeyError, Stop])
def test_what_a_decoder_raises(driver: Driver, dsn: str, kind: type[BaseException]) -> None:
    async def scenario(pg: Driver) -> None:
        error = kind("here")
        types = TypeMap()
        types.set_codec("numeric", decode=raising(error), format="value")
        async with pg.connect(dsn, types=types) as conn:
            pid = await conn.fetchval("select pg_backend_pid()")
            for sql in ("select 1.5", "select array[1.5]", "select numrange(1, 2)", "select row(1.5)"):
                with pytest.raises(BaseException) as caught:
                    await conn.fetch(f"{sql} from generate_series(1, 3)")
                if kind is Stop:
                    assert caught.value is error
                else:
                    assert isinstance(caught.value, DataError)
                    assert caught.value.__cause__ is error
                    assert caught.value.outcome is Outcome.COMMITTED
                assert await conn.fetchval("select pg_backend_pid()") == pid
            with pytest.raises(BaseException) as caught:
                async for _ in conn.stream("select n + 0.5 from generate_series(1, 3) n"):
                    raise AssertionError("no row can be read")
            assert (caught.value if kind is Stop else caught.value.__cause__) is error
            assert await conn.fetchval("select pg_backend_pid()") == pid

    driver.run(scenario, deadline=60)


def test_a_label_that_is_added_later(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        types = TypeMap()
        types.set_enum("later", Mood)
        async with pg.connect(dsn, types=types) as conn:
            await conn.script("drop type if exists later; create type later as enum ('happy')")
            assert await conn.fetchval("select 'happy'::later") is Mood.HAPPY
            await conn.execute("alter type later add value 'new'")
            with pytest.raises(DataError, match="'new' of type later is no member of Mood"):
                await conn.fetchval("select 'new'::later")
            assert await conn.fetchval("select 'new'::later::text") == "new"

    driver.run(scenario, deadline=60)


def test_a_class_that_no_longer_fits(driver: Driver, dsn: str) -> None:
    @dataclass
    class Pair:
        a: int
        b: int = 0

    async def scenario(pg: Driver) -> None:
        types = TypeMap()
        types.set_composite("pair", Pair)
        async with pg.connect(dsn, types=types) as conn, pg.connect(dsn) as other:
            await other.script("drop type if exists pair; create type pair as (a int)")
            assert await conn.fetchval("select $1::pair", Pair(1)) == Pair(1)
            await other.script("alter type pair add attribute b int")
            with pytest.raises(DataError, match="it was altered"):
                await conn.fetchval("select row(1, 2)::pair")
            assert await conn.fetchval("select row(1, 2)::pair") == Pair(1, 2)
            await other.script("alter type pair add attribute c int")
            texts = []
            for _ in range(2):
                with pytest.raises(DataError) as caught:
                    await conn.fetchval("select row(1, 2, 3)::pair")
                texts.append(str(caught.value))
            assert "type pair does not fit its class: Pair does not take c" in texts[1]

    driver.run(scenario, deadline=60)


def test_json(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        types = TypeMap()
        types.set_json(
            dumps=lambda value: json.dumps(value, default=str),
            loads=lambda text: json.loads(text, parse_float=Decimal),
        )
        async with pg.connect(dsn, types=types) as conn:
            for kind in ("json", "jsonb"):
                sent = {"a": Decimal("1.5")}
                assert await conn.fetchval(f"select $1::{kind}", sent) == {"a": "1.5"}
                raw = RawJSON('{"a": 1.5}')
                assert await conn.fetchval(f"select $1::{kind}[]", [raw, None]) == [
                    {"a": Decimal("1.5")},
                    None,
                ]

    driver.run(scenario, deadline=60)


# ---- A map that was saved


class Counting(Proxy):
    """Counts the look-ups that pass through it."""

    look_ups = 0

    def _send(self, pipe: _Pipe, data: bytes) -> int:
        if pipe.to_server:
            self.look_ups += data.count(b"WITH t0 AS MATERIALIZED")
        return super()._send(pipe, data)


QUERY = "select '{happy}'::s.mood[], row('a', 1, '1 2', 'sad')::s.item, '[1,2)'::s.span, 1::s.price"


def test_a_loaded_map_makes_no_look_up(driver: Driver, dsn: str, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        with Counting(("127.0.0.1", pg18.port)) as proxy:
            through = dsn.replace(str(pg18.port), str(proxy.port))
            types = TypeMap()
            async with pg.connect(through, types=types) as conn:
                expected = tuple(await conn.fetchrow(QUERY))
            assert proxy.look_ups == 1
            document = json.loads(json.dumps(types.save()))
            loaded = TypeMap()
            loaded.load(document)
            async with pg.Pool(through, types=loaded, min_size=2, max_size=2) as pool:
                assert tuple(await pool.fetchrow(QUERY)) == expected
            assert proxy.look_ups == 1

    driver.run(scenario, deadline=60)


def test_a_map_that_is_out_of_date_heals(driver: Driver, dsn: str, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as other:
            await other.script("drop type if exists old cascade; create type old as (a int)")
            types = TypeMap()
            async with pg.connect(dsn, types=types) as conn:
                assert await conn.fetchval("select row(1)::old") == (1,)
            await other.script("alter type old add attribute b text")
            for sql, args in (
                ("select row(1, 'x')::old", ()),
                ("select $1::old", ((1, "x"),)),
                ("select array_agg(o) from (select row(1, 'x')::old) t(o)", ()),
            ):
                expected = [(1, "x")] if "agg" in sql else (1, "x")
                loaded = TypeMap()
                loaded.load(types.save())
                async with pg.connect(dsn, types=loaded) as conn:
                    errors = 0
                    for _ in range(3):
                        try:
                            assert await conn.fetchval(sql, *args) == expected
                        except DataError:
                            errors += 1
                    assert errors <= 1
            await other.script("drop type old cascade; create type old as (c bool)")
            loaded = TypeMap()
            loaded.load(types.save())
            async with pg.connect(dsn, types=loaded) as conn:
                assert await conn.fetchval("select row(true)::old") == (True,)

    driver.run(scenario, deadline=60)
