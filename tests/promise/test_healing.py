"""Tables change under prepared statements, functions discard them, and no request fails for it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Batch, DataError, Error, PostgresError, Retry
from pgproto_pytest import Driver
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
            pg18.query(changes(table)[0])  # another session: of its own changes it knows
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


CHANGED = "cached plan must not change result type"


@pytest.mark.parametrize("keep", [False, True])
def test_what_a_function_raises_is_told_and_runs_once(
    driver: Driver, pg18: PostgresServer, keep: bool
) -> None:
    """A sequence counts how often: what it gives is not rolled back."""

    async def scenario(pg: Driver) -> None:
        name = f"raises_{pg.name}_{keep}".lower()
        async with pg.connect(pg18.dsn()) as conn:
            await conn.script(
                f"create sequence {name};"
                f" create function {name}(code text, text text) returns int language plpgsql as $$"
                f" begin perform nextval('{name}'); raise exception '%', text using errcode = code; end $$;"
                # An EXECUTE of the function's own is out of date: the same error, from the same routine.
                f" create table t_{name} (a int);"
                f" create function x_{name}() returns int language plpgsql"
                f" as $$ begin perform nextval('{name}'); execute 'execute own'; return 1; end $$"
            )
            await conn.script(f"prepare own as select * from t_{name}; execute own")
            await conn.script(f"alter table t_{name} add column b int")
            raising = f"select {name}($1, $2)"
            executing = f"select x_{name}()"
            if keep:
                raising, executing = await conn.prepare(raising), await conn.prepare(executing)
            else:  # known, so that it might be out of date
                with pytest.raises(PostgresError):
                    await conn.fetch(raising, "22012", "first")
                with pytest.raises(PostgresError):
                    await conn.fetch(executing)
            before = await conn.fetchval(f"select last_value from {name}") if not keep else 0
            raised: tuple[tuple[Any, tuple[str, ...]], ...] = (
                (raising, ("0A000", CHANGED)),
                (raising, ("26000", 'prepared statement "pgproto_1" does not exist')),
                (executing, ()),
            )
            for calls, (text, args) in enumerate(raised, 1):
                with pytest.raises(PostgresError) as caught:
                    await conn.fetch(text, *args)
                error = caught.value
                assert error.sqlstate == (args[0] if args else "0A000")
                assert error.message == (args[1] if args else CHANGED)
                assert not error.stale_statement
                assert await conn.fetchval(f"select last_value from {name}") == before + calls
            await conn.script(
                f"drop function {name}(text, text); drop function x_{name}(); drop sequence {name};"
                f" drop table t_{name}"
            )

    driver.run(scenario)


@pytest.mark.parametrize(
    "way", ["fetch", "batch", "isolated", "prepared", "executemany", "prepared many", "block"]
)
@pytest.mark.parametrize("named", [True, False])
def test_a_column_that_has_another_type_now(
    driver: Driver, pg18: PostgresServer, way: str, named: bool
) -> None:
    """int became text, in another session: what is text now is taken, the first time."""

    async def scenario(pg: Driver) -> None:
        table = f"retyped_{next(_numbers)}_{pg.name}"
        insert = f"insert into {table} values ($1)"
        async with (
            pg.connect(pg18.dsn(), statement_mode="cache_statement" if named else "cache_describe") as conn,
            pg.connect(pg18.dsn()) as other,
        ):
            await conn.script(f"create table {table} (a int)")
            prepared = await conn.prepare(insert)
            await conn.execute(insert, 1)
            await prepared.execute(2)
            await other.execute(f"alter table {table} alter column a type text")

            async def batch(*, atomic: bool) -> None:
                queue = Batch(atomic=atomic)
                items = [queue.queue(insert, "three"), queue.queue("select 1"), queue.queue(insert, "four")]
                await conn.send_batch(queue)
                assert all(item.error is None for item in items)

            if way == "fetch":
                await conn.fetch(insert, "three")
            elif way in ("batch", "isolated"):
                await batch(atomic=way == "batch")
            elif way == "prepared":
                await prepared.fetch("three")
            elif way == "executemany":
                assert await conn.executemany(insert, [("three",), ("four",)]) == 2
            elif way == "prepared many":
                assert await prepared.executemany([("three",)]) == 1
            else:
                async with conn.transaction():
                    await conn.execute(insert, "three")
                    await prepared.execute("four")
            stored = [row[0] for row in await conn.fetch(f"select a from {table} order by a")]
            assert stored == sorted(["1", "2", "three", *(["four"] if len(stored) == 4 else [])])
            with pytest.raises(DataError):
                await conn.execute(insert, 5.5)
            with pytest.raises(DataError):
                await conn.executemany(insert, [(5.5,)])
            await conn.execute(insert, "five")
            await conn.script(f"drop table {table}")

    driver.run(scenario)
