"""Statement modes on real servers and poolers: the same values, no injection, and what poolers allow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pgproto_blocking
from pgproto import (
    CACHE_DESCRIBE,
    CACHE_STATEMENT,
    DESCRIBE_EXEC,
    EXEC,
    SIMPLE_PROTOCOL,
    Batch,
    BitString,
    DataError,
    LocalProtocolError,
    Multirange,
    Outcome,
    Point,
    PostgresError,
    QueryTimeout,
    Range,
    RawJSON,
    StatementMode,
)
from pgproto.session import MODES
from pgproto_pytest import Driver
from tests.postgres.test_readme_examples import LITERALS
from tests.support.drivers import DRIVERS
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

ALL = tuple(MODES.values())
BLIND = (EXEC, SIMPLE_PROTOCOL)
VALUES: list[tuple[str, object]] = [
    ("bool", True),
    ("int2", -7),
    ("int4", -(2**31)),
    ("int8", 2**63 - 1),
    ("numeric", Decimal("-1.50")),
    ("numeric", Decimal("NaN")),
    ("float4", 1.5),
    ("float8", -1e-300),
    ("float8", float("inf")),
    ("text", ""),
    ("text", 'it\'s \\ "$1" /* -- ; é \U0001f600 \n'),
    ("varchar", "-- '"),
    ("bytea", bytes(range(256))),
    ("date", date(2024, 2, 29)),
    ("time", time(1, 2, 3, 4)),
    ("timetz", time(1, 2, 3, tzinfo=UTC)),
    ("timestamp", datetime(1, 1, 1, 1)),
    ("timestamptz", datetime(2024, 2, 29, 12, tzinfo=UTC)),
    ("interval", timedelta(days=-1, microseconds=1)),
    ("uuid", UUID(int=7)),
    ("inet", ip_address("10.0.0.1")),
    ("cidr", ip_network("10.0.0.0/8")),
    ("jsonb", {"a": [1, None, "it's \\"]}),
    ("json", RawJSON('{"a": "\\u00e9"}')),
    ("varbit", BitString("101")),
    ("point", Point(1, -2)),
    ("int4[]", [1, None, -3]),
    ("int8[]", [[1, 2], [2**40, -1]]),
    ("text[]", ["a", None, "", "null", "it's {\\}\","]),
    ("int4[]", []),
    ("bytea[]", [b"\\'", None]),
    ("int4range", Range(1, 5)),
    ("numrange", Range(None, Decimal("1.5"))),
    ("tstzrange", Range(datetime(2024, 1, 1, tzinfo=UTC), None)),
    ("daterange", Range(empty=True)),
    ("int4multirange", Multirange([Range(1, 3), Range(5, 9)])),
    ("int4", None),
]


@pytest.fixture(params=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, PostgresServer)
    return found


def test_the_same_values_in_every_mode(server: PostgresServer) -> None:
    with pgproto_blocking.connect(server.dsn()) as conn:
        for name, value in VALUES:
            found = [conn.fetchrow(f"select $1::{name}, $1::{name}", value, mode=mode) for mode in ALL]
            assert found[0] is not None
            assert len({repr(tuple(row)) for row in found if row is not None}) == 1, (name, found)
            assert len({type(row[0]) for row in found if row is not None}) == 1, name
        for name, literal in LITERALS.items():
            if literal is None or name.endswith(("geometry", "geography")):
                continue
            quoted = literal.replace("'", "''")
            sql = f"select '{quoted}'::{name}, array['{quoted}'::{name}, null]"
            rows = [repr(tuple(conn.fetch(sql, mode=mode)[0])) for mode in ALL]
            assert len(set(rows)) == 1, (name, rows)


def test_types_of_the_users(server: PostgresServer) -> None:
    setup = """
      drop schema if exists modes cascade; create schema modes;
      create type modes.mood as enum ('sad', 'it''s ok');
      create domain modes.positive as int4 check (value > 0);
      create type modes.pair as (n int4, m modes.mood)"""
    sql = """select 'sad'::modes.mood, array['sad', 'it''s ok']::modes.mood[], 3::modes.positive,
      row(1, 'sad')::modes.pair, array[row(1, null)::modes.pair], $1::modes.mood"""
    with pgproto_blocking.connect(server.dsn()) as conn:
        conn.script(setup)
    seen = set()
    for mode in ALL:
        for block in (False, True):
            with pgproto_blocking.connect(server.dsn(), statement_mode=mode) as conn:
                if block:
                    with conn.transaction():
                        seen.add(repr(tuple(conn.fetch(sql, "it's ok")[0])))
                else:
                    seen.add(repr(tuple(conn.fetch(sql, "it's ok")[0])))
    assert len(seen) == 1, seen


@pytest.fixture(scope="module")
def simple(pg18: PostgresServer) -> Iterator[Any]:
    with pgproto_blocking.connect(pg18.dsn(), statement_mode="simple_protocol") as conn:
        yield conn


NASTY = st.text(st.sampled_from("'\\\"$1;-/*e E\n{}(),é%?:\x01"), max_size=12)
TEMPLATES = [
    "select $1::text",
    "select $1::text -- $1 ' \\",
    'select /* $1 \' */ $1::text as "$1"',
    "select $$ $1 $$ || $1::text || '$1' || e'\\'$1' from (select 1) a$1",
    "select-$2::int4,$1::text,1-$2,$2-$2",
]


@given(text=NASTY, number=st.integers(-(2**70), 2**70))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_breaks_out_of_its_literal(simple: Any, text: str, number: int) -> None:
    assert simple.fetchval("select $1::text", text) == text
    assert simple.fetchval("select $1", text) == text
    assert simple.fetchval(TEMPLATES[1], text) == text
    assert simple.fetchval(TEMPLATES[2], text) == text
    assert simple.fetchval(TEMPLATES[3], text) == f" $1 {text}$1'$1"
    row = simple.fetchrow("select-$2::numeric,$1,1-$2,$2-$2", text, number)
    assert tuple(row) == (-number, text, 1 - number, 0)
    assert simple.fetchval("select $1::text[]", [text, None]) == [text, None]
    assert simple.fetchval("select $1::bytea", text.encode()) == text.encode()
    assert simple.fetchval("select $1::jsonb", {text: text}) == {text: text}


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_strings_that_are_read_otherwise_are_refused(pg18: PostgresServer, driver: Driver) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            await conn.execute("set standard_conforming_strings = off")
            with pytest.raises(LocalProtocolError, match="standard_conforming_strings is off") as caught:
                await conn.fetchval("select $1", "\\'", mode=SIMPLE_PROTOCOL)
            assert caught.value.outcome is Outcome.NOT_SENT
            assert await conn.fetchval("select $1::text", "\\'", mode=EXEC) == "\\'"

    driver.run(scenario)


# ---- Round trips, per session and per call

COSTS = {
    CACHE_STATEMENT: (2, 1),
    CACHE_DESCRIBE: (2, 1),
    DESCRIBE_EXEC: (2, 2),
    EXEC: (1, 1),
    SIMPLE_PROTOCOL: (1, 1),
}


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("mode", ALL, ids=repr)
@pytest.mark.parametrize("by_call", [False, True])
def test_round_trips(pg18: PostgresServer, driver: Driver, mode: StatementMode, by_call: bool) -> None:
    async def scenario(pg: Driver) -> None:
        options: dict[str, Any] = {} if by_call else {"statement_mode": mode.name}
        call: dict[str, Any] = {"mode": mode} if by_call else {}
        async with pg.connect(pg18.dsn(port=proxy.port), **options) as conn:
            for expected in (*COSTS[mode], COSTS[mode][1]):
                proxy.reset_counters()
                assert await conn.fetchval("select $1::int4", 7, **call) == 7
                assert proxy.round_trips == expected
            named = await conn.fetchval("select count(*) from pg_prepared_statements", mode=EXEC)
            assert bool(named) is (mode is CACHE_STATEMENT)
            for atomic in (True, False):
                batch = Batch(atomic=atomic)
                items = [batch.queue("select $1::int4 + 1", number) for number in range(20)]
                await conn.send_batch(batch, **call)
                assert [item.value() for item in items] == list(range(1, 21))

    with Proxy((pg18.host, pg18.port)) as proxy:
        driver.run(scenario)


# ---- Promises


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("mode", ALL, ids=repr)
def test_the_same_promises(server: PostgresServer, driver: Driver, mode: StatementMode) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(server.dsn(), max_size=1, statement_mode=mode) as pool:
            with pytest.raises(PostgresError) as failed:
                await pool.fetchval("select 1 / $1::int4", 0)
            assert (failed.value.sqlstate, failed.value.outcome) == ("22012", Outcome.FAILED)
            with pytest.raises(PostgresError) as refused:
                await pool.fetchval("selec $1", 0)
            assert (refused.value.sqlstate, refused.value.outcome) == ("42601", Outcome.FAILED)
            with pytest.raises(QueryTimeout) as late:
                await pool.fetchval("select pg_sleep(60)", timeout=0.2)
            assert late.value.outcome is Outcome.FAILED
            with pytest.raises(DataError) as unfit:
                await pool.fetchval("select $1::int4", object())
            assert unfit.value.outcome is Outcome.NOT_SENT
            batch = Batch()
            items = [batch.queue(sql) for sql in ("select 1", "select 1 / 0", "select 2")]
            with pytest.raises(PostgresError):
                await pool.send_batch(batch)
            outcomes = [Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.SKIPPED]
            assert [item.outcome for item in items] == outcomes
            async with pool.transaction() as conn:
                await conn.execute("create temp table t (n int4) on commit drop")
                async with conn.transaction():
                    assert await conn.execute("insert into t values ($1)", 7) == "INSERT 0 1"
                assert await conn.fetch("select n from t", into=int) == [7]
                assert [row[0] async for row in conn.stream("select n from t")] == [7]
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("mode", ALL, ids=repr)
def test_a_migration_between_two_runs(server: PostgresServer, driver: Driver, mode: StatementMode) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(server.dsn(), statement_mode=mode) as conn, pg.connect(server.dsn()) as other:
            await other.script(
                "drop table if exists moved; create table moved (n int4); insert into moved values (7)"
            )
            assert [tuple(row) for row in await conn.fetch("select * from moved where n = $1", 7)] == [(7,)]
            await other.execute("alter table moved alter n type numeric, add t text default 'x'")
            rows = await conn.fetch("select * from moved where n = $1", 7)
            assert [tuple(row) for row in rows] == [(Decimal(7), "x")]
            await other.execute("alter table moved drop n")
            assert [tuple(row) for row in await conn.fetch("select * from moved")] == [("x",)]

    driver.run(scenario)


# ---- Poolers


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("mode", ALL[1:], ids=repr)
def test_a_pooler_that_tracks_no_statements(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver, mode: StatementMode
) -> None:
    bouncer = pgbouncer_factory(pg15, "transaction")

    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn()
        async with pg.Pool(dsn, max_size=1, statement_mode=mode) as one, pg.connect(dsn) as holder:
            for number in range(6):
                async with holder.transaction():  # it keeps one server, so the others change
                    await holder.execute("select 1", mode=EXEC)
                    assert await one.fetchval("select $1::int4 + 1", number) == number + 1
                assert await one.fetchval("select $1::text", str(number)) == str(number)

    driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_the_console_of_a_pooler(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver
) -> None:
    bouncer = pgbouncer_factory(pg15, "transaction")

    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn(user="postgres", dbname="pgbouncer")
        async with pg.connect(dsn, statement_mode=SIMPLE_PROTOCOL) as console:
            assert re.match(r"PgBouncer 1\.", await console.fetchval("show version"))
            rows = await console.fetch("show databases")
            assert "pgbouncer" in [row["name"] for row in rows]
            assert {type(row["pool_size"]) for row in rows} == {int}
            with pytest.raises(PostgresError):
                await console.fetch("show nonsense")
            assert await console.fetch("show lists")
        async with pg.connect(dsn) as console:
            assert await console.fetchval("show version", mode=SIMPLE_PROTOCOL)

    driver.run(scenario)
