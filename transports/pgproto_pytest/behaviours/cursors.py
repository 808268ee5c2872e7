"""Cursors, and streams inside and outside of a transaction block: the size of a result decides nothing."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import LocalProtocolError, Outcome, PostgresError
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

_SIZES = (10, 1_000_000)
_NUMBERS = "select n from generate_series(1, $1::int4) n"
_OPEN = "select count(*) from pg_cursors where name like 'pgproto%'"


@behaviour
async def u01_cursor(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, conn.transaction():
        async with conn.cursor(_NUMBERS, 1000, into=int) as cursor:
            assert await cursor.fetch(3) == [1, 2, 3]
            assert await conn.fetchval("select 7") == 7
            assert await cursor.fetchrow() == 4
            assert await cursor.forward(10) == 10
            assert await cursor.fetchrow() == 15
            assert [n async for n in cursor] == list(range(16, 1001))
            assert await cursor.fetch(1) == []
            assert await cursor.forward(5) == 0
        assert await conn.fetchval(_OPEN) == 0


@behaviour
async def u02_cursors_take_turns(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, conn.transaction():
        first = conn.cursor(_NUMBERS, 500, into=int, prefetch=7)
        second = conn.cursor(_NUMBERS, 500, into=int)
        async for n in first:
            assert await second.fetchrow() == n
        assert await second.fetchrow() is None


@behaviour
async def u03_a_cursor_that_is_left_keeps_nothing(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn, conn.transaction():
        await conn.execute(f"insert into {table} select generate_series(1, 1000)")
        for follow in (conn.execute, conn.script):
            async with conn.cursor(f"select a from {table}") as cursor:
                await cursor.fetch(1)
            await follow(f"alter table {table} add c{id(follow)} int")  # refused while a portal reads it


@behaviour
async def u04_a_cursor_ends_with_its_block(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(LocalProtocolError, match="lives in a transaction") as caught:
            await conn.cursor(_NUMBERS, 3).fetch(1)
        assert caught.value.outcome is Outcome.NOT_SENT
        async with conn.transaction():
            outer = conn.cursor(_NUMBERS, 30, into=int)
            assert await outer.fetch(1) == [1]
            async with conn.transaction():
                inner = conn.cursor(_NUMBERS, 30)
                await inner.fetch(1)
                assert await outer.fetch(1) == [2]
            with pytest.raises(LocalProtocolError, match="has ended"):
                await inner.fetch(1)
            with pytest.raises(PostgresError):
                async with conn.transaction():
                    await conn.fetch("select 1 / 0")
            assert await outer.fetch(1) == [3]
        assert await conn.fetchval("select 1") == 1


@behaviour
async def u05_a_query_inside_of_a_stream(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for size in _SIZES:
            async with conn.transaction():
                async for row in conn.stream(_NUMBERS, size):
                    assert await conn.fetchval("select $1::int4", row[0]) == row[0]
                    if row[0] == 5:
                        break
                assert await conn.fetchval("select 1") == 1
                assert await conn.fetchval(_OPEN) == 0
            seen: list[int] = []
            with pytest.raises(LocalProtocolError, match="busy with a COPY, a stream") as caught:
                async for row in conn.stream(_NUMBERS, size):
                    seen.append(row[0])
                    await conn.fetchval("select 1")
            assert caught.value.outcome is Outcome.NOT_SENT
            assert seen == [1]
            await conn.settled()
            assert await conn.fetchval("select 1") == 1


@behaviour
async def u06_a_stream_that_is_left_in_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        for size in _SIZES:
            async with conn.transaction():
                await conn.execute(f"insert into {table} values ($1)", size)
                rows = conn.stream(_NUMBERS, size)
                async for row in rows:
                    assert row[0] == 1
                    break
                await rows.aclose()
        assert [row[0] for row in await conn.fetch(f"select a from {table}")] == list(_SIZES)


@behaviour
async def u07_a_pools_stream(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, max_size=1) as pool:
        assert [n async for n in pool.stream(_NUMBERS, 20_000, into=int)] == list(range(1, 20_001))
        async with pool.stream(_NUMBERS, 1_000_000) as rows:
            async for row in rows:
                assert row[0] == 1
                break
        assert await pool.fetchval("select 1") == 1


@behaviour
async def u08_cursor_over_prepared_statements_and_commands(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn, conn.transaction():
        statement: Any = await conn.prepare(_NUMBERS)
        cursor = conn.cursor(statement, 5, into=int, prefetch=2)
        assert await cursor.fetch(1) == [1]
        await statement.close()
        assert [n async for n in cursor] == [2, 3, 4, 5]
        insert = f"insert into {table} select generate_series(1, 5) returning a"
        async with conn.cursor(insert, into=int) as cursor:
            assert await cursor.fetch(2) == [1, 2]
        assert await conn.fetchval(f"select count(*) from {table}") == 5
        async with conn.cursor("show server_version_num") as cursor:
            assert len(await cursor.fetch(2)) == 1
        async with conn.cursor(f"delete from {table}") as cursor:
            assert await cursor.fetch(2) == []
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def u09_an_error_in_the_middle_of_a_cursor(pg: Driver, db: Database) -> None:
    sql = "select 10 / (5 - n) from generate_series(1, 9) n"
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            async with conn.transaction(), conn.cursor(sql) as cursor:
                assert [row[0] for row in await cursor.fetch(3)] == [2, 3, 5]
                await cursor.fetch(3)
        assert caught.value.sqlstate == "22012"
        assert await conn.fetchval("select 1") == 1
