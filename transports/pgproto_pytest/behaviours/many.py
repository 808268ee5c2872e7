"""executemany: one statement with many records, all or nothing.

The collection of what pgx's tests assert has no row for it; asyncpg's and psycopg's tests do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import pgproto
from pgproto import DataError, Outcome, PostgresError, QueryTimeout
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver


@behaviour
async def m01_many_records(pg: Driver, db: Database) -> None:
    table = db.make_table("id int, name text, at timestamptz default now()")
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn) as pool:
        records = [(n, f"n{n}" * (n % 7) if n % 3 else None) for n in range(20_000)]
        insert = f"insert into {table} (id, name) values ($1, $2)"
        assert await conn.executemany(insert, records) == 20_000
        assert [
            tuple(row) for row in await conn.fetch(f"select id, name from {table} order by id")
        ] == records
        assert await conn.fetchval(f"select count(distinct at) from {table}") == 1  # one transaction
        update = f"update {table} set name = $2 where id < $1"
        assert await pool.executemany(update, iter([(5, "a"), (7, "b")])) == 12
        statement = await conn.prepare(f"delete from {table} where id = $1")
        assert await statement.executemany([[1], [2], [-1]]) == 2
        assert await conn.executemany(insert, []) == 0
        assert await conn.executemany("select $1::int4", [(1,), (2,)]) == 2


@behaviour
async def m02_all_or_nothing(pg: Driver, db: Database) -> None:
    table = db.make_table("id int primary key")
    insert = f"insert into {table} values ($1)"
    async with pg.connect(db.dsn) as conn:
        records = [(n if n != 12_345 else 7,) for n in range(20_000)]
        with pytest.raises(PostgresError) as caught:
            await conn.executemany(insert, records)
        assert (caught.value.sqlstate, caught.value.outcome) == ("23505", Outcome.FAILED)
        assert caught.value.__notes__ == ["in record 12346"]
        assert await conn.fetchval(f"select count(*) from {table}") == 0
        with pytest.raises(PostgresError) as caught:
            await conn.executemany("insert into nowhere values ($1)", records)
        assert caught.value.sqlstate == "42P01"
        assert await conn.executemany(insert, records[:100]) == 100


@behaviour
async def m03_values_and_sources_that_fail(pg: Driver, db: Database) -> None:
    table = db.make_table("id int primary key")
    insert = f"insert into {table} values ($1)"

    def source(good: int) -> Iterator[tuple[int]]:
        for n in range(good):
            yield (n,)
        raise OSError("the disk is on fire")

    async with pg.connect(db.dsn) as conn:
        for good in (0, 1, 50_000):
            with pytest.raises(OSError, match="on fire"):
                await conn.executemany(insert, source(good))
            assert conn.transaction_status == "I"
            with pytest.raises(DataError, match=r"parameter \$1") as caught:
                await conn.executemany(insert, [*((n,) for n in range(good)), ("x",)])
            assert caught.value.__notes__ == [f"in record {good + 1}"]
            assert caught.value.outcome is (Outcome.ROLLED_BACK if good > 1 else Outcome.NOT_SENT)
            assert await conn.fetchval(f"select count(*) from {table}") == 0
        with pytest.raises(DataError, match="sequence, not int"):
            await conn.executemany(insert, [1, 2])
        assert await conn.executemany(insert, [(1,)]) == 1


@behaviour
async def m04_inside_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table("id int primary key")
    insert = f"insert into {table} values ($1)"
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction():
            assert await conn.executemany(insert, [(1,), (2,)]) == 2
            with pytest.raises(DataError):
                async with conn.transaction():
                    await conn.executemany(insert, [*((n,) for n in range(3, 20_000)), ("x",)])
            with pytest.raises(PostgresError):
                async with conn.transaction():
                    await conn.executemany(insert, [(3,), (1,)])
            assert await conn.executemany(insert, [(3,)]) == 1
        assert await conn.fetchval(f"select count(*) from {table}") == 3


@behaviour
async def m05_deadline(pg: Driver, db: Database) -> None:
    table = db.make_table("id int")
    async with pg.connect(db.dsn) as conn:
        sql = f"insert into {table} select 1 from pg_sleep($1)"
        with pytest.raises(QueryTimeout) as caught:
            await conn.executemany(sql, [(0.0,), (60.0,), (0.0,)], timeout=0.3)
        assert caught.value.outcome in (Outcome.FAILED, Outcome.ROLLED_BACK)
        assert await conn.fetchval(f"select count(*) from {table}") == 0
        assert not conn.closed


@behaviour
async def m06_without_named_statements(pg: Driver, db: Database) -> None:
    table = db.make_table("id int")
    async with pg.connect(db.dsn, statement_cache_size=0) as conn:
        assert await conn.executemany(f"insert into {table} values ($1)", [(n,) for n in range(5000)]) == 5000
        assert await conn.fetchval(f"select sum(id) from {table}") == 5000 * 4999 // 2


@behaviour
async def m07_pipelined_behind_others(pg: Driver, db: Database) -> None:
    """It is fed while its answers come: neither side ever waits for the other to read."""
    table = db.make_table("id int, filler text")
    async with pg.connect(db.dsn) as conn:
        big = "x" * 100_000
        sql = f"insert into {table} values ($1, $2) returning repeat('y', 100000)"
        assert await conn.executemany(sql, ((n, big) for n in range(300))) == 300
        assert await conn.fetchval(f"select count(*) from {table}") == 300


@behaviour
async def m08_what_is_awaited(pg: Driver, db: Database) -> None:
    if not pg.asynchronous:
        return
    table = db.make_table("id int")

    async def records(good: int, error: bool) -> AsyncIterator[Any]:
        for n in range(good):
            yield (n,)
        if error:
            raise OSError("the network is on fire")

    async with pg.connect(db.dsn) as conn:
        insert = f"insert into {table} values ($1)"
        assert await conn.executemany(insert, records(5000, error=False)) == 5000
        with pytest.raises(OSError, match="on fire"):
            await conn.executemany(insert, records(5000, error=True))
        assert await conn.fetchval(f"select count(*) from {table}") == 5000


@behaviour
async def m09_the_end_of_the_server(pg: Driver, db: Database) -> None:
    table = db.make_table("id int")
    async with pg.connect(db.dsn) as conn:
        sql = f"insert into {table} select pg_terminate_backend(pg_backend_pid())::int where $1"
        with pytest.raises(pgproto.Error) as caught:
            await conn.executemany(sql, [(False,), (True,), (False,)])
        assert caught.value.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
        assert conn.closed
    assert db.server.query(f"select count(*) from {table}") == [["0"]]
