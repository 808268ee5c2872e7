"""The reset that keeps prepared statements, on a standby, and on what was one until it was promoted.

A standby refuses LISTEN, nextval and temporary tables, so the script for a primary might be refused as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgproto import PostgresError
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer, Version

from .test_reset import LEFT, is_as_new, state

SET_UP = "create role reset_role; create table reset_rows (a int); create sequence reset_numbers;"
# What a standby does not let anybody leave.
REFUSED = {"copy in", "into pg_temp", "temporary table", "listener", "sequence"}


@pytest.fixture(scope="module", params=["18", "15"])
def primary(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    version: Version = request.param
    with PostgresServer(version, tls=False) as server:
        server.query(SET_UP)
        yield server


@pytest.fixture(scope="module")
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    with PostgresServer(primary.version, standby_of=primary) as server:
        yield server


@pytest.fixture
def promotable(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A standby of one's own."""
    with PostgresServer(primary.version, standby_of=primary) as server:
        yield server


@pytest.mark.holds("L5")
def test_a_session_of_a_standby_is_as_at_its_start_with_its_statements(
    driver: Driver, standby: PostgresServer
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(standby.dsn(user="postgres")) as conn:
            assert conn.parameters["in_hot_standby"] == "on"
            as_new = await state(conn)
            for what, leave in LEFT.items():
                if what in REFUSED:
                    with pytest.raises(PostgresError):
                        await leave(conn)
                else:
                    await leave(conn)
                    assert await state(conn) != as_new, what
                await is_as_new(conn, as_new, what)

    driver.run(scenario)


@pytest.mark.holds("L5")
def test_a_pool_on_a_standby_keeps_its_sessions_and_their_statements(
    driver: Driver, standby: PostgresServer
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(standby.dsn(user="postgres"), max_size=1, reset="always") as pool:
            prepared = "select count(*), min(prepare_time) from pg_prepared_statements"
            seen = {tuple((await pool.fetch(prepared))[0]) for _ in range(4)}
            assert len(seen) == 1
            stats = pool.stats()
            assert (stats.opens, stats.size) == (1, 1)

    driver.run(scenario)


@pytest.mark.holds("L5")
def test_a_promotion_ends_no_reset_and_retires_the_pools_sessions(
    driver: Driver, promotable: PostgresServer
) -> None:
    async def scenario(pg: Driver) -> None:
        dsn = promotable.dsn(user="postgres")
        async with pg.connect(dsn) as conn, pg.Pool(dsn, max_size=1, reset="always") as pool:
            as_new = await state(conn)
            pid = await pool.fetchval("select pg_backend_pid()")
            with pytest.raises(PostgresError, match="25006"):
                await conn.execute("insert into reset_rows values (1)")
            await pg.in_thread(lambda: promotable.query("select pg_promote()"))
            await is_as_new(conn, as_new)
            assert conn.parameters["in_hot_standby"] == "off"
            assert await conn.execute("insert into reset_rows values (1)") == "INSERT 0 1"
            await LEFT["temporary table"](conn)
            await LEFT["listener"](conn)
            await is_as_new(conn, as_new)
            # The pool's session says so with its next answer, and is replaced: who asked for a standby or a
            # primary has another one now.
            await pool.execute("insert into reset_rows values (2)")
            assert await pool.fetchval("select pg_backend_pid()") != pid
            assert await pool.fetchval("select count(*) from reset_rows") == 2

    driver.run(scenario, deadline=30)
