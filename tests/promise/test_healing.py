"""Tables change under prepared statements, functions discard them, and no request fails for it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Batch, Error, PostgresError, Retry
from tests.support.drivers import Driver
from tests.support.postgres import PostgresServer

CONNECTIONS = 10
REQUESTS = 180
_numbers = itertools.count()


def texts(table: str) -> tuple[str, str, str]:
    return f"select * from {table}", f"select * from {table} where id = $1", f"select value from {table}"


async def setup(conn: Any) -> str:
    table = f"healing_{next(_numbers)}"
    await conn.script(
        f"create table {table} (id int primary key, value int); insert into {table} values (1, 2)"
    )
    return table


def changes(table: str) -> list[str]:
    """The first of them adds columns, the second changes a type: other sizes, other formats."""
    found = []
    for number in range(6):
        found.append(f"alter table {table} add column more_{number} int default {number}")
        kind = ("int8", "text", "int4")[number % 3]
        found.append(f"alter table {table} alter column value type {kind} using value::{kind}")
    return found


async def warm(pg: Driver, pool: Any, table: str) -> None:
    """Every connection has the three statements."""

    async def one() -> None:
        async with pool.acquire() as conn:
            for text in texts(table):
                await conn.fetch(text, *([1] if "$1" in text else []))
            await conn.fetchval("select 1 from pg_sleep(0.05)")

    for result in await pg.together(*[one] * CONNECTIONS):
        assert result is None


def right(rows: list[Any], text: str) -> None:
    assert len(rows) == 1
    assert rows[0]["value"] in (2, "2"), (text, tuple(rows[0]))
    if "*" in text:
        assert rows[0]["id"] == 1


def test_no_request_fails_when_a_table_changes(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            table = await setup(conn)
        async with pg.Pool(pg18.dsn(), min_size=CONNECTIONS, max_size=CONNECTIONS, reset="never") as pool:
            await warm(pg, pool, table)

            async def one(number: int) -> None:
                text = texts(table)[number % 3]
                async with pool.acquire() as conn:
                    if number % 4:
                        right(await conn.fetch(text, *([1] if "$1" in text else [])), text)
                        return
                    batch = Batch()
                    items = [batch.queue(each, *([1] if "$1" in each else [])) for each in texts(table)]
                    await conn.send_batch(batch)
                    for item in items:
                        right(item.rows, item.sql)

            errors = await run(pg, one, table, pg18)
            assert errors == []
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(f"drop table {table}")

    driver.run(scenario, deadline=60)


async def run(
    pg: Driver, one: Callable[[int], Awaitable[None]], table: str, server: PostgresServer
) -> list[object]:
    """Ten workers with eighteen requests each, and a table that changes between them: the errors."""
    alterations = changes(table)
    numbers = itertools.count()
    workers = itertools.count()

    async def worker() -> None:
        alters = next(workers) == 0
        for _ in range(REQUESTS // CONNECTIONS):
            if alters and alterations:
                async with pg.connect(server.dsn()) as admin:
                    await admin.execute(alterations.pop(0))
            await one(next(numbers))

    results = await pg.together(*[worker] * CONNECTIONS)
    errors = [result for result in results if result is not None]
    assert errors or (next(numbers) == REQUESTS and not alterations)
    return errors


def test_no_transaction_fails_that_is_retried(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            table = await setup(conn)
        retry = Retry(20, delay=0.001)
        async with pg.Pool(pg18.dsn(), min_size=CONNECTIONS, max_size=CONNECTIONS, reset="never") as pool:
            await warm(pg, pool, table)

            async def work(conn: Any) -> None:
                for text in texts(table):
                    right(await conn.fetch(text, *([1] if "$1" in text else [])), text)

            async def one(number: int) -> None:
                await pool.retry(work, retry=retry)

            errors = await run(pg, one, table, pg18)
            assert errors == []
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(f"drop table {table}")

    driver.run(scenario, deadline=60)


def test_discarded_by_a_function(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(
                "create or replace function pg_temp.forget() returns int language plpgsql"
                " as $$ begin execute 'deallocate all'; return 1; end $$"
            )
            kept = await conn.prepare("select $1::int + 1")
            for number in range(3):
                assert await conn.fetchval("select 7") == 7
                assert await kept.fetchval(number) == number + 1
                await conn.script("select pg_temp.forget()")
                assert await conn.fetchval("select 7") == 7
            async with conn.transaction():
                await conn.fetchval("select 7")
                assert await kept.fetchval(1) == 2

    driver.run(scenario)


def test_in_a_block_once_more_is_enough(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            table = await setup(conn)
            for text in texts(table):
                await conn.fetch(text, *([1] if "$1" in text else []))
            await conn.script(changes(table)[0])
            with pytest.raises(PostgresError) as caught:
                async with conn.transaction():
                    await conn.fetch(texts(table)[0])
            assert caught.value.stale_statement
            assert "transaction can be run again" in "".join(caught.value.__notes__)
            async with conn.transaction():
                for text in texts(table):
                    right(await conn.fetch(text, *([1] if "$1" in text else [])), text)
            with pytest.raises(Error):
                async with conn.transaction():
                    await conn.fetch("execute nothing_of_that_name")
            await conn.script(f"drop table {table}")

    driver.run(scenario)
