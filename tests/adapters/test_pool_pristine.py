"""The next borrower gets a session in its initial state, whatever the last one did to it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pgproto import Batch, PostgresError
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

Dirt = Callable[[Any], Awaitable[None]]


async def _interrupted_transaction(conn: Any) -> None:
    await conn.execute("begin")
    await conn.execute("create table never (a int)")


async def _failed_transaction(conn: Any) -> None:
    await conn.execute("begin")
    with contextlib.suppress(PostgresError):
        await conn.execute("select 1/0")


async def _portal(conn: Any) -> None:
    await conn.execute("begin")
    await conn.execute("declare c cursor with hold for select 1")
    await conn.execute("commit")


async def _prepared(conn: Any) -> None:
    await conn.prepare("select 1 as mine")


async def _listening(conn: Any) -> None:
    await conn.script("listen mine")


async def _stream_abandoned(conn: Any) -> None:
    async with contextlib.aclosing(conn.stream("select generate_series(1, 1000000)")) as rows:
        async for _ in rows:
            break


async def _copy_out_abandoned(conn: Any) -> None:
    async with contextlib.aclosing(
        conn.copy_out("copy (select generate_series(1, 1000000)) to stdout")
    ) as chunks:
        async for _ in chunks:
            break


async def _copy_in_failed(conn: Any) -> None:
    def source() -> Iterator[bytes]:
        yield b"1\n"
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        await conn.copy_in("copy pool_rows from stdin", source())


async def _batch_left_in_transaction(conn: Any) -> None:
    batch = Batch()
    batch.queue("begin")
    batch.queue("set local work_mem = '1MB'")
    await conn.send_batch(batch)


async def _timed_out(conn: Any) -> None:
    with contextlib.suppress(TimeoutError):
        await conn.fetch("select pg_sleep(30)", timeout=0.05)


async def _error_in_block(conn: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with conn.transaction():
            await conn.execute("insert into pool_rows values (1)")
            raise ZeroDivisionError


def _sql(*statements: str) -> Dirt:
    async def dirty(conn: Any) -> None:
        for statement in statements:
            await conn.execute(statement)

    return dirty


def _script(text: str) -> Dirt:
    async def dirty(conn: Any) -> None:
        await conn.script(text)

    return dirty


DIRT: dict[str, Dirt] = {
    "set": _sql("set work_mem = '1MB'"),
    "set timezone": _sql("set timezone = 'Asia/Tokyo'"),
    "set application_name": _sql("set application_name = 'mine'"),
    "set search_path": _sql("set search_path = nowhere"),
    "set role": _sql("set role scram_user"),
    "set session authorization": _sql("set session authorization scram_user"),
    "set_config": _sql("select set_config('work_mem', '1MB', false)"),
    "custom setting": _sql("set my.tenant = '7'"),
    "set through pg_settings": _sql("update pg_settings set setting = '1024' where name = 'work_mem'"),
    "isolation level": _sql("set session characteristics as transaction isolation level serializable"),
    "read only": _sql("set default_transaction_read_only = on"),
    "temporary table": _sql("create temp table mine (a int)"),
    "select into temp": _sql("select 1 as a into temp mine"),
    "temporary view": _script("create temp view mine as select 1"),
    "advisory lock": _sql("select pg_advisory_lock(4711)"),
    "shared advisory lock": _sql("select pg_try_advisory_lock_shared(4711)"),
    "listen": _listening,
    "prepared statement": _prepared,
    "sql prepare": _sql("prepare mine as select 1"),
    "cursor with hold": _portal,
    "do block": _sql("do $$ begin perform set_config('work_mem', '1MB', false); end $$"),
    "open transaction": _interrupted_transaction,
    "failed transaction": _failed_transaction,
    "batch that begins": _batch_left_in_transaction,
    "sequence value": _sql("select nextval('pool_numbers')"),
    "load": _sql("load 'plpgsql'"),
    "abandoned stream": _stream_abandoned,
    "abandoned copy out": _copy_out_abandoned,
    "failed copy in": _copy_in_failed,
    "timed out": _timed_out,
    "error in a transaction": _error_in_block,
    "setting in a script": _script("begin; set work_mem = '1MB'; commit; select 1"),
}

# Everything that a session can be told apart by.
STATE = """
select current_user, session_user, current_setting('search_path'), current_setting('work_mem'),
    current_setting('TimeZone'), current_setting('application_name'),
    coalesce(current_setting('my.tenant', true), ''),
    current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'),
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()),
    (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    (select count(*) from pg_listening_channels()),
    (select count(*) from pg_prepared_statements where statement ~ '^(prepare|select 1 as) mine'),
    (select count(*) from pg_cursors where name = 'c'),
    (select count(*) from pool_rows)
"""


@pytest.fixture(scope="module", autouse=True)
def tables(pg18: PostgresServer) -> Iterator[None]:
    pg18.query("create table pool_rows (a int); create sequence pool_numbers")
    yield
    pg18.query("drop table pool_rows; drop sequence pool_numbers")


def _explodes(dirt: Dirt) -> Dirt:
    async def run(pool: Any) -> None:
        with contextlib.suppress(ZeroDivisionError):
            async with pool.acquire() as conn:
                await dirt(conn)
                raise ZeroDivisionError

    return run


def _returns(dirt: Dirt) -> Dirt:
    async def run(pool: Any) -> None:
        async with pool.acquire() as conn:
            await dirt(conn)

    return run


@pytest.mark.parametrize("path", [_returns, _explodes], ids=["returned", "exception"])
@pytest.mark.parametrize("what", DIRT)
def test_the_next_borrower_sees_a_pristine_session(
    driver: Driver, pg18: PostgresServer, what: str, path: Callable[[Any], Any]
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with pool.acquire() as conn:
                pristine = tuple((await conn.fetch(STATE))[0])
            await path(DIRT[what])(pool)
            async with pool.acquire() as conn:
                assert conn.transaction_status == "I"
                assert tuple((await conn.fetch(STATE))[0]) == pristine
                with pytest.raises(PostgresError, match="not yet defined"):
                    await conn.fetch("select currval('pool_numbers')")
            assert pool.stats().size == 1

    driver.run(scenario)
