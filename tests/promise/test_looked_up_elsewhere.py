"""Look-ups behind poolers, and where they cannot be: the row still works."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pgproto import PostgresError, QueryTimeout
from pgproto_pytest import Driver
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer, PoolMode, Version
from tests.support.postgres import PostgresServer

VERSIONS: tuple[Version, ...] = ("1.18", "1.24")
MODES: tuple[PoolMode, ...] = ("session", "transaction", "statement")
_SET_UP = """
create type faces as enum ('sad', 'ok');
create type two as (a int, b faces);
create table kept (f faces[], p two);
"""
_READ = "select f, p from kept"


@pytest.fixture
def named(pg18: PostgresServer) -> Iterator[str]:
    """A database of this test's own."""
    name = f"elsewhere_{threading.get_native_id()}"
    pg18.query(f"drop database if exists {name}")
    pg18.query(f"create database {name}")
    pg18.query(_SET_UP, dbname=name)
    yield name
    pg18.query(f"drop database {name} with (force)")


@pytest.fixture(params=[(v, m) for v in VERSIONS for m in MODES], ids=lambda pair: " ".join(pair))
def bouncer(request: pytest.FixtureRequest, pg18: PostgresServer) -> Iterator[PgBouncer]:
    """Each version in each mode, with fewer servers than clients."""
    version, mode = request.param
    reason = pgbouncer.missing(version)
    if reason is not None:
        pytest.skip(reason)
    settings = {"default_pool_size": "2" if mode != "session" else "20"}
    with PgBouncer(pg18, mode, version=version, settings=settings) as started:
        yield started


async def _used(conn: Any) -> None:
    await conn.execute("insert into kept values ($1, $2)", ["sad", None], (1, "ok"))
    for row in await conn.fetch(_READ):
        assert (row[0], tuple(row[1])) == (["sad", None], (1, "ok"))


def test_behind_a_pooler(driver: Driver, pg18: PostgresServer, named: str, bouncer: PgBouncer) -> None:
    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn(dbname=named)
        old = bouncer.version == "1.18" and bouncer.pool_mode != "session"
        options = {"statement_mode": "cache_describe", "pipelining": False} if old else {}
        async with pg.Pool(dsn, min_size=4, max_size=4, **options) as pool:

            async def one() -> None:
                async with pool.acquire() as conn:
                    await _used(conn)
                    if bouncer.pool_mode != "statement":
                        async with conn.transaction():
                            await _used(conn)
                    assert (
                        await conn.copy_records("kept", [(["sad", None], (1, "ok"))], columns=["f", "p"]) == 1
                    )

            for result in await pg.together(*[one] * 4):
                assert result is None, result
            count = await pool.fetchval("select count(*) from kept")
            assert count == (8 if bouncer.pool_mode == "statement" else 12)

    driver.run(scenario, deadline=30)


@pytest.mark.parametrize("block", [False, True])
def test_without_rights_on_the_catalog(driver: Driver, pg18: PostgresServer, named: str, block: bool) -> None:
    """Text; and in a transaction block nothing is lost."""
    pg18.query(
        "insert into kept values ('{sad,null}', (1,'ok')); grant all on kept to plain_user;"
        " revoke select on pg_catalog.pg_type from public",
        dbname=named,
    )

    async def used(conn: Any) -> None:
        rows = await conn.fetch(_READ)
        assert tuple(rows[0]) == ("{sad,NULL}", "(1,ok)")
        await conn.execute("insert into kept values ($1, $2)", "{ok}", "(2,sad)")
        assert await conn.copy_records("kept", [("{ok}", "(3,sad)")], columns=["f", "p"]) == 1

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(user="plain_user", dbname=named)) as conn:
            if block:
                async with conn.transaction():
                    await conn.execute("insert into kept values (null, null)")
                    await used(conn)
            else:
                await used(conn)
            assert await conn.fetchval("select count(*) from kept") == (4 if block else 3)

    driver.run(scenario)


def test_in_a_failed_transaction(driver: Driver, pg18: PostgresServer, named: str) -> None:
    pg18.query("insert into kept values ('{sad}', (1,'ok'))", dbname=named)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(dbname=named)) as conn:
            await conn.script("begin")
            with pytest.raises(PostgresError):
                await conn.execute("select 1/0")
            with pytest.raises(PostgresError) as raised:
                await conn.fetch(_READ)
            assert raised.value.sqlstate == "25P02"
            await conn.script("rollback")
            assert (await conn.fetch(_READ))[0][0] == ["sad"]

    driver.run(scenario)


def test_in_a_transaction_that_reads_only_the_past(driver: Driver, pg18: PostgresServer, named: str) -> None:
    """Its snapshot does not show a type that was made since."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(dbname=named)) as conn:
            async with conn.transaction(isolation="repeatable read"):
                await conn.fetch("select count(*) from kept")
                pg18.query("create type late as enum ('x')", dbname=named)
                assert await conn.fetchval("select 'x'::late") == "x"
                assert await conn.fetchval("select '{x}'::late[]") in (["x"], "{x}")
            assert await conn.fetchval("select 'x'::late") == "x"

    driver.run(scenario)


def test_a_statement_timeout_does_not_end_what_waits(
    driver: Driver, pg18: PostgresServer, named: str
) -> None:
    """The catalog is locked, so the look-up is cancelled by the server; the query needs it no more then."""
    pg18.query("insert into kept values ('{sad}', (1,'ok'))", dbname=named)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(dbname=named)) as locker, pg.connect(pg18.dsn(dbname=named)) as conn:
            await conn.execute("set lock_timeout = '50ms'")
            async with locker.transaction():
                await locker.execute("lock table pg_catalog.pg_range in access exclusive mode")
                assert await conn.fetchval("select f from kept") == "{sad}"
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


def test_a_look_up_that_waits_for_a_lock_is_cancelled(driver: Driver, pg18: PostgresServer) -> None:
    """With its caller: else the next query would wait for the lock, too."""
    name = f"locked_{driver.name}".lower()

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as other, pg.connect(pg18.dsn()) as conn:
            await other.script(f"create type {name} as enum ('sad')")
            await other.script("begin; lock table pg_range in access exclusive mode")
            with pytest.raises(QueryTimeout):
                await conn.fetchval(f"select array['sad'::{name}]", timeout=0.3)
            assert await conn.fetchval("select 1", timeout=5) == 1
            await other.script("rollback")
            assert await conn.fetchval(f"select array['sad'::{name}]") == ["sad"]
            await other.script(f"drop type {name}")

    driver.run(scenario)
