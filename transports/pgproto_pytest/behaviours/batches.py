"""Batches and pipelines."""

from __future__ import annotations

import pytest

import pgproto
from pgproto import Batch, Outcome, PostgresError
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

COMMITTED, FAILED, SKIPPED = Outcome.COMMITTED, Outcome.FAILED, Outcome.SKIPPED
ROLLED_BACK, NOT_SENT = Outcome.ROLLED_BACK, Outcome.NOT_SENT


@behaviour
async def b01_results_in_order(pg: Driver, db: Database) -> None:
    table = db.make_table("id int, name text")
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        insert = f"insert into {table} values ($1, $2)"
        inserts = [batch.queue(insert, number, f"n{number}") for number in range(3)]
        count = batch.queue(f"select count(*) from {table}")
        total = batch.queue(f"select sum(id) from {table} where id > $1", 0)
        nothing = batch.queue(f"select id from {table} where false")
        names = batch.queue(f"select name from {table} order by id")
        items = await conn.send_batch(batch)
        assert items == [*inserts, count, total, nothing, names]
        assert [item.tag for item in inserts] == ["INSERT 0 1"] * 3
        assert [item.rowcount for item in items] == [1, 1, 1, 1, 1, 0, 3]
        assert count.rows[0][0] == 3
        assert total.rows[0][0] == 3
        assert (nothing.rows, nothing.columns) == ([], ("id",))
        assert [row["name"] for row in names.rows] == ["n0", "n1", "n2"]
        assert all(item.outcome is COMMITTED and item.error is None for item in items)


@behaviour
async def b02_empty_query(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        items = [batch.queue(sql) for sql in ("-- nothing", "select 1", "", "/* nothing */", "select 2")]
        await conn.send_batch(batch)
        assert [item.tag for item in items] == ["", "SELECT 1", "", "", "SELECT 1"]
        assert [len(item.rows) for item in items] == [0, 1, 0, 0, 1]
        assert await conn.fetchval("select 1") == 1


@behaviour
async def b03_cursor_fetch(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, conn.transaction():
        batch = Batch()
        batch.queue("declare c cursor for select n, n::text as t from generate_series(1, 3) n")
        await conn.send_batch(batch)
        batch = Batch()
        item = batch.queue("fetch 2 from c")
        await conn.send_batch(batch)
        assert item.columns == ("n", "t")
        assert [tuple(row) for row in item.rows] == [(1, "1"), (2, "2")]


@behaviour
async def b06_empty_batch(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        assert await conn.send_batch(Batch()) == []
        assert await conn.send_batch(Batch(atomic=False)) == []
        assert await conn.fetchval("select 1") == 1


@behaviour
async def b08_prepared_statement(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        statement = await conn.prepare("select $1::int4 * 2")
        batch = Batch()
        items = [batch.queue(statement.statement, number) for number in (1, 2, 3)]
        await conn.send_batch(batch)
        assert [item.rows[0][0] for item in items] == [2, 4, 6]


@behaviour
async def b10_without_cache(pg: Driver, db: Database) -> None:
    for options in ({"statement_cache_size": 0}, {"statement_mode": "cache_describe"}):
        async with pg.connect(db.dsn, **options) as conn:
            for _ in range(3):
                batch = Batch()
                items = [batch.queue(f"select $1::int4 + {number}", 1) for number in range(3)]
                await conn.send_batch(batch)
                assert [item.rows[0][0] for item in items] == [1, 2, 3]
            left = await conn.script("select name from pg_prepared_statements")
            assert len(left[0].rows) <= 3


@behaviour
async def b12_error_after_rows(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        first = batch.queue("select 10 / (5 - n) as q from generate_series(1, 10) n")
        second = batch.queue("select 1")
        with pytest.raises(PostgresError) as caught:
            await conn.send_batch(batch)
        assert caught.value.sqlstate == "22012"
        assert caught.value is first.error
        assert (first.outcome, second.outcome) == (FAILED, SKIPPED)
        assert await conn.fetchval("select 1") == 1


@behaviour
async def b13_syntax_error(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        first = batch.queue(f"insert into {table} values (1)")
        wrong = batch.queue("select 1 1")
        with pytest.raises(PostgresError) as caught:
            await conn.send_batch(batch)
        assert caught.value.sqlstate == "42601"
        assert wrong.error is caught.value
        assert (first.outcome, wrong.outcome) == (NOT_SENT, FAILED)
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def b17_in_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction():
            batch = Batch()
            item = batch.queue(f"insert into {table} values (1) returning a")
            await conn.send_batch(batch)
            assert item.outcome is Outcome.OK_IN_TX
            batch = Batch()
            batch.queue(f"insert into {table} values ($1)", item.rows[0][0] + 1)
            await conn.send_batch(batch)
        assert [row[0] for row in await conn.fetch(f"select a from {table} order by a")] == [1, 2]


@behaviour
async def b21_deferred_constraint(pg: Driver, db: Database) -> None:
    table = db.make_table("a int unique deferrable initially deferred")
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        items = [batch.queue(f"insert into {table} values (1) returning a") for _ in range(2)]
        with pytest.raises(PostgresError) as caught:
            await conn.send_batch(batch)
        assert caught.value.sqlstate == "23505"
        assert [item.tag for item in items] == ["INSERT 0 1"] * 2
        assert [item.outcome for item in items] == [ROLLED_BACK] * 2
        assert await conn.fetchval(f"select count(*) from {table}") == 0
        with pytest.raises(PostgresError) as one:
            await conn.execute(f"insert into {table} values (1), (1)")
        assert (one.value.sqlstate, one.value.outcome) == ("23505", FAILED)


@behaviour
async def b26_no_orphaned_statements(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        await conn.execute(f"drop table {table}")
        for exists in (False, False, True):
            if exists:
                await conn.execute(f"create table {table} (a int)")
            batch = Batch()
            batch.queue("select 'first'")
            item = batch.queue(f"select count(*) from {table}")
            batch.queue("select 'last'")
            if exists:
                await conn.send_batch(batch)
                assert item.rows[0][0] == 0
            else:
                with pytest.raises(PostgresError) as caught:
                    await conn.send_batch(batch)
                assert caught.value.sqlstate == "42P01"


@behaviour
async def b27_statement_timeout(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        await conn.execute("set statement_timeout = 50")
        batch = Batch()
        item = batch.queue("select pg_sleep(20)")
        with pytest.raises(PostgresError) as caught:
            await conn.send_batch(batch)
        assert caught.value.sqlstate == "57014"
        assert item.outcome is FAILED
        assert await conn.fetchval("select 1") == 1


@behaviour
async def b30_formats_of_each_item(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        number = batch.queue("select 7::int4 as a")
        words = batch.queue("select 'x'::text as b, null::int4, true, '{1,2}'::int4[]")
        as_text = batch.queue("select 'a & b'::tsquery, 5::int8")
        await conn.send_batch(batch)
        assert tuple(number.rows[0]) == (7,)
        assert tuple(words.rows[0]) == ("x", None, True, [1, 2])
        assert tuple(as_text.rows[0]) == ("'a' & 'b'", 5)


@behaviour
async def b38_huge(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        items = [batch.queue("select $1::int4", number) for number in range(20_000)]
        await conn.send_batch(batch)
        assert [item.rows[0][0] for item in items] == list(range(20_000))


@behaviour
async def b39_implicit_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        items = [batch.queue(f"insert into {table} values ($1)", number) for number in range(3)]
        items += [batch.queue("select 1 / $1::int4", 0), batch.queue(f"insert into {table} values (9)")]
        with pytest.raises(PostgresError):
            await conn.send_batch(batch)
        assert [item.outcome for item in items] == [ROLLED_BACK] * 3 + [FAILED, SKIPPED]
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def b39_isolated_errors(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        batch = Batch(atomic=False)
        items = [
            batch.queue(f"insert into {table} values (10 / $1::int4)", number) for number in (1, 0, 5, 0)
        ]
        await conn.send_batch(batch)
        assert [item.outcome for item in items] == [COMMITTED, FAILED, COMMITTED, FAILED]
        assert [row[0] for row in await conn.fetch(f"select a from {table} order by a")] == [2, 10]


@behaviour
async def b41_batch_twice_and_closed(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        batch.queue("select 1")
        await conn.send_batch(batch)
        with pytest.raises(pgproto.LocalProtocolError, match="sent before"):
            await conn.send_batch(batch)
        assert await conn.fetchval("select 1") == 1


@behaviour
async def b42_schema_change(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        for attempt in range(3):
            if attempt == 1:
                await other.execute(f"alter table {table} alter a type text")
            batch = Batch()
            item = batch.queue(f"select * from {table}")
            await conn.send_batch(batch)
            assert item.outcome is COMMITTED


@behaviour
async def b43_schema_change_in_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        await conn.fetch(f"select * from {table}")
        await conn.script(f"alter table {table} add b int")
        async with conn.transaction():  # of its own changes the session knows
            assert await conn.fetch(f"select * from {table}") == []
        await other.script(f"alter table {table} add c int")
        with pytest.raises(PostgresError) as caught:
            async with conn.transaction():
                with pytest.raises(PostgresError) as first:
                    await conn.fetch(f"select * from {table}")
                assert first.value.sqlstate == "0A000"
                await conn.fetch(f"select * from {table}")
        assert caught.value.sqlstate == "25P02"
        async with conn.transaction():
            assert await conn.fetch(f"select * from {table}") == []


@behaviour
async def b49_explicit_begin_in_a_batch(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            pid = conn.pid
            batch = Batch()
            items = [
                batch.queue("begin"),
                batch.queue(f"insert into {table} values (1)"),
                batch.queue("select 1/0"),
            ]
            with pytest.raises(PostgresError):
                await conn.send_batch(batch)
            assert conn.transaction_status == "E"
            assert items[1].outcome is ROLLED_BACK
        async with pool.acquire() as conn:
            assert conn.transaction_status == "I"
            assert conn.pid != pid or await conn.fetchval("select txid_current_if_assigned()") is None
            assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def b50_many_at_once(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=1, max_size=4) as pool:

        async def work(number: int) -> None:
            batch = Batch()
            items = [batch.queue("select $1::int4 + $2::int4", number, k) for k in range(10)]
            await pool.send_batch(batch)
            assert [item.rows[0][0] for item in items] == [number + k for k in range(10)]

        results = await pg.together(*[lambda number=number: work(number) for number in range(40)])
        assert results == [None] * 40
        assert pool.stats().size <= 4


@behaviour
async def b52_through_a_pool_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        with pytest.raises(ZeroDivisionError):
            async with pool.transaction() as conn:
                batch = Batch()
                batch.queue(f"insert into {table} values (1)")
                await conn.send_batch(batch)
                raise ZeroDivisionError
        assert await pool.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def p01_prepare_all_kinds(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        table = db.make_table()
        two = await conn.prepare("select $1::int4 as a, $2::text as b")
        none = await conn.prepare("select 1 as one")
        silent = await conn.prepare(f"insert into {table} values ($1)")
        assert (two.statement.parameter_types, two.statement.columns) == ((23, 25), ("a", "b"))
        assert (none.statement.parameter_types, none.statement.columns) == ((), ("one",))
        assert (silent.statement.parameter_types, silent.statement.columns) == ((23,), ())
        assert tuple(await two.fetchrow(1, "x")) == (1, "x")
        assert await silent.execute(5) == "INSERT 0 1"


@behaviour
async def p07_wrong_number_of_arguments(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for arguments in ((), (1,), (1, 2, 3)):
            with pytest.raises(pgproto.DataError) as caught:
                await conn.fetch("select $1::int4 + $2::int4", *arguments)
            assert caught.value.outcome is NOT_SENT
        assert await conn.fetchval("select $1::int4 + $2::int4", 1, 2) == 3


@behaviour
async def p13_errors_leave_neighbours_alone(pg: Driver, db: Database) -> None:
    """Concurrent callers on one connection: each is closed by a Sync of its own."""
    async with pg.connect(db.dsn) as conn:
        works = [lambda number=number: conn.fetchval("select 100 / $1::int4", number) for number in range(10)]
        results = await pg.together(*works)
        assert isinstance(results[0], PostgresError)
        assert results[1:] == [100 // number for number in range(1, 10)]


@behaviour
async def b17_encode_error_sends_nothing(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        batch = Batch()
        items = [batch.queue(f"insert into {table} values ($1)", value) for value in (1, "one", 2)]
        with pytest.raises(pgproto.DataError, match=r"int4|integer") as caught:
            await conn.send_batch(batch)
        assert items[1].error is caught.value
        assert [item.outcome for item in items] == [NOT_SENT] * 3
        assert not conn.closed
        assert await conn.fetchval(f"select count(*) from {table}") == 0
