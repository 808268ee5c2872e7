"""What one borrower leaves in a session, the next one does not find; what `on_connect` set up, it does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgproto import ConfigError, PostgresError
from pgproto.pool.resetting import KEEP_STATEMENTS
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

# Everything that a session can be told apart by, prepared statements apart.
STATE = """
select current_user, session_user, current_setting('role'), current_setting('search_path'),
    current_setting('work_mem'), current_setting('TimeZone'),
    coalesce(current_setting('my.tenant', true), ''),
    current_setting('default_transaction_read_only'), current_setting('application_name'),
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    (select count(*) from pg_listening_channels()),
    (select count(*) from pg_cursors where is_holdable)
"""

SET_UP = """
create table reset_rows (a int);
create sequence reset_numbers;
create role reset_role;
create role reset_login superuser login;
alter role reset_login set role = 'reset_role';
alter role reset_login set work_mem = '7MB';
create function reset_hidden() returns int volatile language plpgsql as $$
begin
    perform set_config('work_mem', '1MB', false), pg_advisory_lock(77), nextval('reset_numbers');
    execute 'set my.tenant = 7';
    execute 'create temp table hidden (a int)';
    execute 'listen hidden';
    return 1;
end $$;
create view reset_view as select reset_hidden() as a;
create view reset_lock as select pg_try_advisory_lock(78);
create view reset_settings as select * from pg_settings;
"""
CLEAN_UP = """
drop view reset_view, reset_lock, reset_settings; drop function reset_hidden(); drop table reset_rows;
drop sequence reset_numbers; drop role reset_role; drop role reset_login;
"""


@pytest.fixture(scope="module", params=["pg18", "pg15"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Each version of the server, with what the tests need."""
    chosen: PostgresServer = request.getfixturevalue(request.param)
    chosen.query(SET_UP)
    yield chosen
    chosen.query(CLEAN_UP)


async def state(conn: Any) -> tuple[Any, ...]:
    """What the session, or one of a pool, can be told apart by now."""
    return tuple((await conn.fetch(STATE))[0])


async def is_as_new(conn: Any, as_new: tuple[Any, ...], what: str = "") -> None:
    """The reset that keeps prepared statements brings the session back, whatever was left in it."""
    await conn.reset(KEEP_STATEMENTS)
    assert await state(conn) == as_new, what
    statements = await conn.fetch("select statement from pg_prepared_statements")
    assert STATE in [statement for (statement,) in statements]


async def _copy_out(conn: Any, sql: str) -> None:
    async with contextlib.aclosing(conn.copy_out(sql)) as chunks:
        async for _ in chunks:
            pass


async def _stream(conn: Any, sql: str) -> None:
    async with contextlib.aclosing(conn.stream(sql)) as rows:
        async for _ in rows:
            pass


async def _prepared(conn: Any, sql: str) -> None:
    await (await conn.prepare(sql)).fetch()


async def _reset_halfway(conn: Any, sql: str) -> None:
    """The borrower's own reset is no reset of the pool's."""
    await conn.execute(sql)
    await conn.reset("reset timezone")


async def _copy_in(conn: Any, sql: str) -> None:
    await conn.copy_in(sql, b"1\n")


LOCK = "select pg_advisory_lock(99)"
LEFT: dict[str, Callable[[Any], Any]] = {
    "copy": lambda conn: _copy_out(conn, f"copy ({LOCK}) to stdout"),
    "copy in": lambda conn: _copy_in(
        conn, "copy reset_rows from stdin where set_config('my.tenant', '1', false) = '1' and a = 0"
    ),
    "into pg_temp": lambda conn: conn.execute("select 1 as a into pg_temp.leak"),
    "comment": lambda conn: conn.execute("select pg_advisory_lock/* not a call? */(99)"),
    "line comment": lambda conn: conn.execute("select pg_advisory_lock -- not a call? \r (99)"),
    "nested comment": lambda conn: conn.execute("/* /* */ select '*/ set my.tenant = 1 --'"),
    "dollar quotes": lambda conn: conn.fetch("select $a$'$a$, pg_advisory_lock(99), ''"),
    "escaped quotes": lambda conn: conn.fetch(r"select E'\'', pg_advisory_lock(99), E'\''"),
    "executemany": lambda conn: conn.executemany("select pg_advisory_lock/**/($1)", [(1,), (2,)]),
    "stream": lambda conn: _stream(conn, "select pg_advisory_lock/**/(99)"),
    "prepared": lambda conn: _prepared(conn, LOCK),
    "script": lambda conn: conn.script("select 1; select pg_advisory_lock/**/(99)"),
    "own reset": lambda conn: _reset_halfway(conn, LOCK),
    "role": lambda conn: conn.execute("set role reset_role"),
    "session authorization": lambda conn: conn.execute("set session authorization reset_role"),
    "settings": lambda conn: conn.script(
        "set search_path = nowhere; set my.tenant = 7; set work_mem = '1MB'"
    ),
    "read only": lambda conn: conn.execute("set default_transaction_read_only = on"),
    "temporary table": lambda conn: conn.execute("create temp table leak (a int)"),
    "listener": lambda conn: conn.script("listen leak"),
    "cursor": lambda conn: conn.script("begin; declare leak cursor with hold for select 1; commit"),
    "sequence": lambda conn: conn.fetch("select nextval('reset_numbers')"),
}


@pytest.mark.holds("L5")
@pytest.mark.parametrize("reset", ["auto", "always"])
@pytest.mark.parametrize("what", LEFT)
def test_the_next_borrower_finds_nothing(
    driver: Driver, server: PostgresServer, what: str, reset: str
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(server.dsn(), max_size=1, reset=reset) as pool:
            async with pool.acquire() as conn:
                as_new = await state(conn)
            async with pool.acquire() as conn:
                with contextlib.suppress(PostgresError):
                    await LEFT[what](conn)
            async with pool.acquire() as conn:
                assert await state(conn) == as_new
                with pytest.raises(PostgresError, match="not yet defined"):
                    await conn.fetch("select currval('reset_numbers')")
            assert pool.stats().opens == 1

    driver.run(scenario)


@pytest.mark.holds("L5")
def test_the_session_is_as_at_its_start_with_its_statements(driver: Driver, server: PostgresServer) -> None:
    """What the server, the role and the connection string gave the session survives, and nothing else."""

    async def scenario(pg: Driver) -> None:
        options = "-c TimeZone=Asia/Tokyo -c my.tenant=5"
        dsn = server.dsn()
        async with pg.connect(dsn, user="reset_login", options=options, application_name="tests") as conn:
            as_new = await state(conn)
            assert as_new[:3] == ("reset_role", "reset_login", "reset_role")
            assert as_new[4:7] == ("7MB", "Asia/Tokyo", "5")
            for what, leave in LEFT.items():
                with contextlib.suppress(PostgresError):
                    await leave(conn)
                await is_as_new(conn, as_new, what)

    driver.run(scenario)


@pytest.mark.holds("L5")
@pytest.mark.parametrize(
    "hidden",
    [
        "select * from reset_view",
        "select * from reset_lock",
        "update reset_settings set setting = '1MB' where name = 'work_mem'",
    ],
)
def test_what_cannot_be_seen_takes_always(driver: Driver, server: PostgresServer, hidden: str) -> None:
    async def scenario(pg: Driver) -> None:
        for reset, left in (("auto", True), ("never", True), ("always", False), ("DISCARD ALL", False)):
            async with pg.Pool(server.dsn(), max_size=1, reset=reset) as pool:
                as_new = await state(pool)
                await pool.fetch(hidden)
                assert (await state(pool) != as_new) is left
                assert pool.stats().opens == 1

    driver.run(scenario)


@pytest.mark.holds("L5")
def test_always_costs_the_caller_no_round_trip_and_no_statement(
    driver: Driver, server: PostgresServer
) -> None:
    async def scenario(pg: Driver) -> None:
        trips = {}
        with Proxy((server.host, server.port)) as proxy:
            for reset in ("never", "always", "DISCARD ALL"):
                dsn = server.dsn(host=proxy.host, port=proxy.port)
                async with pg.Pool(dsn, max_size=1, reset=reset) as pool:
                    await pool.fetchval("select 1")
                    async with pool.acquire():  # the reset has ended
                        before = proxy.round_trips
                    async with pool.acquire() as conn:
                        assert await conn.fetchval("select 1") == 1
                        trips[reset] = proxy.round_trips - before
        assert trips == {"never": 1, "always": 1, "DISCARD ALL": 2}

    driver.run(scenario)


@pytest.mark.holds("L5")
@pytest.mark.parametrize("reset", [None, 5, True, b"always", "allways", "discard", "a\0b"])
def test_what_is_no_way_to_reset_is_refused_at_the_door(driver: Driver, reset: Any) -> None:
    with pytest.raises(ConfigError, match="reset must be"):
        driver.Pool("host=nowhere.invalid", reset=reset)


@pytest.mark.holds("L6")
@pytest.mark.parametrize("reset", ["auto", "always", "RESET ALL; RESET ROLE"])
def test_every_borrower_gets_what_on_connect_set_up(
    driver: Driver, server: PostgresServer, reset: str
) -> None:
    calls: list[int] = []

    async def on_connect(conn: Any) -> None:
        calls.append(conn.pid)
        await conn.execute("set role reset_role")
        await conn.script("set search_path = 'tenant'")

    async def scenario(pg: Driver) -> None:
        calls.clear()
        async with pg.Pool(server.dsn(), max_size=1, reset=reset, on_connect=on_connect) as pool:
            as_new = await state(pool)
            assert as_new[0] == "reset_role"
            assert as_new[3] == "tenant"
            for text in ("set work_mem = '1MB'", "discard all", "reset all", "reset role", "select 1"):
                await pool.execute(text)
                assert await state(pool) == as_new, text
            async with pool.acquire() as conn:
                await conn.reset()
            assert await state(pool) == as_new
            assert pool.stats().opens == 1

    driver.run(scenario)


@pytest.mark.holds("L6")
def test_on_connect_runs_again_only_after_a_reset(driver: Driver, server: PostgresServer) -> None:
    calls: list[int] = []

    async def on_connect(conn: Any) -> None:
        calls.append(conn.pid)
        await conn.execute("set work_mem = '5MB'")

    async def scenario(pg: Driver) -> None:
        calls.clear()
        async with pg.Pool(server.dsn(), max_size=1, on_connect=on_connect) as pool:
            for text, count in (("select 1", 1), ("select 1", 1), ("set a.b = 1", 1), ("select 1", 2)):
                async with pool.acquire() as conn:  # the reset comes after it, at any time
                    await conn.execute(text)
                    assert len(calls) == count

    driver.run(scenario)


@pytest.mark.holds("L6")
@pytest.mark.parametrize("how", ["query", "error", "transaction"])
def test_a_session_that_cannot_be_set_up_again_is_not_lent(
    driver: Driver, server: PostgresServer, how: str
) -> None:
    calls: list[int] = []

    async def on_connect(conn: Any) -> None:
        calls.append(conn.pid)
        if len(calls) == 2:
            if how == "error":
                raise KeyError("on_connect")
            await conn.execute("begin" if how == "transaction" else "select 1/0")

    async def scenario(pg: Driver) -> None:
        calls.clear()
        told: list[object] = []
        if pg.name == "asyncio":
            handler = asyncio.get_running_loop().set_exception_handler
            handler(lambda _, context: told.append(context["exception"]))
        async with pg.Pool(server.dsn(), max_size=1, on_connect=on_connect) as pool:
            await pool.execute("set work_mem = '1MB'")
            assert await pool.fetchval("select pg_backend_pid()") == calls[2]
            assert len(set(calls)) == 2
            assert pool.stats().opens == 2
        if pg.name == "asyncio":
            reports = {
                "error": ["KeyError"],
                "query": ["DivisionByZero"],
                "transaction": ["LocalProtocolError"],
            }
            assert [type(each).__name__ for each in told] == reports[how]

    driver.run(scenario)
