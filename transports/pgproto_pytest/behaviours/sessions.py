"""Transactions, COPY, notifications, deadlines."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

import pgproto
from pgproto import Outcome, PostgresError
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

FAR = "select pg_sleep(30)"


@behaviour
async def t01_commit_and_rollback(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction():
            await conn.execute(f"insert into {table} values (1)")
            assert conn.transaction_status == "T"
        assert conn.transaction_status == "I"
        with pytest.raises(KeyError):
            async with conn.transaction():
                await conn.execute(f"insert into {table} values (2)")
                raise KeyError
        assert await conn.fetchval(f"select sum(a) from {table}") == 1


@behaviour
async def t02_isolation_and_access(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
            assert await conn.fetchval("show transaction_isolation") == "serializable"
            assert await conn.fetchval("show transaction_read_only") == "on"
        with pytest.raises(PostgresError) as caught:
            async with conn.transaction(readonly=True):
                await conn.execute(f"insert into {table} values (1)")
        assert caught.value.sqlstate == "25006"
        with pytest.raises(pgproto.LocalProtocolError, match="isolation"):
            conn.transaction(isolation="wishful")


@behaviour
async def t03_deferred_constraint(pg: Driver, db: Database) -> None:
    table = db.make_table("a int unique deferrable initially deferred")
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            async with conn.transaction():
                await conn.execute(f"insert into {table} values (1)")
                await conn.execute(f"insert into {table} values (1)")
        assert (caught.value.sqlstate, caught.value.outcome) == ("23505", Outcome.FAILED)
        assert conn.transaction_status == "I"
        assert await conn.fetchval("select 1") == 1


@behaviour
async def t04_swallowed_error(pg: Driver, db: Database) -> None:
    """COMMIT of a failed transaction is a ROLLBACK, and is not taken for success."""
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(pgproto.TransactionAborted) as caught:
            async with conn.transaction():
                await conn.execute(f"insert into {table} values (1)")
                with pytest.raises(PostgresError):
                    await conn.execute("select 1/0")
        assert caught.value.outcome is Outcome.ROLLED_BACK
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def t_swallowed_error_in_a_savepoint(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction():
            await conn.execute(f"insert into {table} values (1)")
            with pytest.raises(pgproto.TransactionAborted, match="savepoint"):
                async with conn.transaction():
                    await conn.execute(f"insert into {table} values (2)")
                    with pytest.raises(PostgresError):
                        await conn.execute("select 1 / 0")
            assert conn.transaction_status == "T"
            await conn.execute(f"insert into {table} values (3)")
        assert [row[0] for row in await conn.fetch(f"select a from {table} order by a")] == [1, 3]


@behaviour
async def t06_error_unchanged(pg: Driver, db: Database) -> None:
    mine = ValueError("mine")
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(ValueError, match="mine") as caught:
            async with conn.transaction():
                await conn.fetchval("select 1")
                raise mine
        assert caught.value is mine


@behaviour
async def t07_nested(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        insert = f"insert into {table} values ($1)"
        async with conn.transaction():
            await conn.execute(insert, 1)
            async with conn.transaction():
                await conn.execute(insert, 2)
                with pytest.raises(PostgresError):
                    async with conn.transaction():
                        await conn.execute(insert, 3)
                        await conn.execute("select 1/0")
                await conn.execute(insert, 4)
            with pytest.raises(KeyError):
                async with conn.transaction():
                    await conn.execute(insert, 5)
                    raise KeyError
        rows = await conn.fetch(f"select a from {table} order by a")
        assert [row[0] for row in rows] == [1, 2, 4]


@behaviour
async def t08_connection_closed_inside(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(pgproto.ConnectionClosed):
            async with conn.transaction():
                await conn.fetchval("select 1")
                await conn.close()
                await conn.fetchval("select 2")


@behaviour
async def t_empty_transaction(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        async with conn.transaction(), conn.transaction():
            pass
        assert conn.transaction_status == "I"
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y01_copy_out(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        sql = "copy (select n, 'v' || n from generate_series(1, 20000) n) to stdout"
        data = b"".join([chunk async for chunk in conn.copy_out(sql)])
        assert data == b"".join(b"%d\tv%d\n" % (n, n) for n in range(1, 20001))
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y03_copy_out_errors(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            async for _ in conn.copy_out("copy no_such_table to stdout"):
                raise AssertionError("data")
        assert caught.value.sqlstate == "42P01"
        taken = []
        with pytest.raises(PostgresError) as caught:
            async for chunk in conn.copy_out("copy (select 1/(3-n) from generate_series(1, 9) n) to stdout"):
                taken.append(chunk)  # noqa: PERF401 - what came before the error counts
        assert caught.value.sqlstate == "22012"
        assert b"".join(taken) in (b"", b"0\n1\n")
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y04_copy_out_left_early(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        chunks = conn.copy_out("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout")
        async for chunk in chunks:
            assert chunk.startswith(b"xxx")
            break
        await chunks.aclose()
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y11_wrong_statement(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        for sql in (f"copy {table} to stdout", "select 1", ""):
            with pytest.raises(pgproto.LocalProtocolError, match="COPY"):
                await conn.copy_in(sql, b"1\n")
        for sql in (f"copy {table} from stdin", "select 1", ""):
            with pytest.raises(pgproto.LocalProtocolError, match="COPY"):
                async for _ in conn.copy_out(sql):
                    raise AssertionError("data")
        for run in (conn.fetch, conn.execute, conn.script):
            with pytest.raises(pgproto.LocalProtocolError, match="copy_in"):
                await run(f"copy {table} from stdin")
        await conn.execute("set standard_conforming_strings = off")
        with pytest.raises(PostgresError, match="copy_in"):  # the text can be read in another way as well
            await conn.script(rf"select '\''; copy {table} from stdin --'")
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def y_copy_out_as_a_query(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for run in (conn.execute, conn.script, conn.fetch):
            with pytest.raises(pgproto.LocalProtocolError, match="copy_out"):
                await run("copy (select 1) to stdout")
            assert await conn.fetchval("select 1") == 1


@behaviour
async def y12_notices_during_copy(pg: Driver, db: Database) -> None:
    table = db.make_table()
    notices: list[str] = []
    async with pg.connect(db.dsn) as conn:
        conn.on_notice = lambda notice: notices.append(notice.message)
        await conn.script(f"""create or replace function {table}_noisy() returns trigger language plpgsql as
            $$ begin raise notice 'row %', new.a; return new; end $$;
            create trigger noisy before insert on {table} for each row execute function {table}_noisy()""")
        data = b"".join(b"%d\n" % n for n in range(500))
        assert await conn.copy_in(f"copy {table} from stdin", data) == 500
        assert notices == [f"row {n}" for n in range(500)]


@behaviour
async def y15_copy_sources(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        sql = f"copy {table} from stdin"
        assert await conn.copy_in(sql, b"1\n2\n") == 2
        assert await conn.copy_in(sql, io.BytesIO(b"3\n4\n5\n")) == 3
        assert await conn.copy_in(sql, [b"6", b"\n7\n", b""]) == 2
        assert await conn.copy_in(sql, (b"%d\n" % n for n in range(8, 50_000))) == 49_992
        assert await conn.copy_in(sql, b"") == 0
        assert await conn.fetchval(f"select sum(a) from {table}") == sum(range(50_000))


@behaviour
async def y15_copy_records(pg: Driver, db: Database) -> None:
    table = db.make_table('id int, "Name" text, flags bool[], x float8')
    async with pg.connect(db.dsn) as conn:
        records = [(n, f"n{n}" if n % 2 else None, [True, None], n / 2) for n in range(3000)]
        columns = ["id", "Name", "flags", "x"]
        assert await conn.copy_records(table, records, columns=columns, schema="public") == 3000
        assert [tuple(row) for row in await conn.fetch(f"select * from {table} order by id")] == records


@behaviour
async def y16_refused_midway(pg: Driver, db: Database) -> None:
    table = db.make_table("a int not null")
    async with pg.connect(db.dsn) as conn:
        lines = [b"\\N\n" if n == 5000 else b"%d\n" % n for n in range(20_000)]
        with pytest.raises(PostgresError) as caught:
            await conn.copy_in(f"copy {table} from stdin", lines)
        assert (caught.value.sqlstate, caught.value.outcome) == ("23502", Outcome.FAILED)
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def y17_refused_early(pg: Driver, db: Database) -> None:
    """A source without an end is stopped by the server's error."""
    table = db.make_table()

    def endless() -> Iterator[bytes]:
        yield b"not a number\n"
        while True:
            yield b"1\n" * 1000

    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            await conn.copy_in(f"copy {table} from stdin", endless())
        assert caught.value.sqlstate == "22P02"
        assert await conn.fetchval("select 1") == 1


@behaviour
async def y19_source_fails(pg: Driver, db: Database) -> None:
    table = db.make_table()

    def source(good: int) -> Iterator[bytes]:
        for n in range(good):
            yield b"%d\n" % n
        raise OSError("the disk is on fire")

    async with pg.connect(db.dsn) as conn:
        for good in (0, 1, 50_000):
            with pytest.raises(OSError, match="on fire"):
                await conn.copy_in(f"copy {table} from stdin", source(good))
            assert await conn.fetchval(f"select count(*) from {table}") == 0
        with pytest.raises(TypeError, match="bytes"):
            await conn.copy_in(f"copy {table} from stdin", ["text"])
        with pytest.raises(pgproto.DataError):
            await conn.copy_records(table, [(1,), ("two",)], columns=["a"])
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def n01_notification_while_busy(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        async with conn.listen("jobs", "Other Jobs") as notifications:
            await other.execute("notify jobs, 'one'")
            await other.fetch("select pg_notify('Other Jobs', 'two')")
            await other.execute("notify unheard, 'three'")
            assert await conn.fetchval("select 1") == 1
            got = []
            async for notification in notifications:
                got.append((notification.channel, notification.payload, notification.pid))
                if len(got) == 2:
                    break
            assert got == [("jobs", "one", other.pid), ("Other Jobs", "two", other.pid)]
        assert await conn.fetch("select pg_listening_channels()") == []


@behaviour
async def n02_waiting_for_a_notification(pg: Driver, db: Database) -> None:
    async with (
        pg.connect(db.dsn) as conn,
        pg.connect(db.dsn) as other,
        conn.listen(db.name) as notifications,
    ):

        async def first() -> str:
            async for notification in notifications:
                payload: str = notification.payload
                return payload
            raise AssertionError("ended")

        async def notify() -> None:
            await other.execute(f"notify {db.name}, 'hello'")

        payload, _ = await pg.together(first, notify)
        assert payload == "hello"


@behaviour
async def n06_many(pg: Driver, db: Database) -> None:
    async with (
        pg.connect(db.dsn) as conn,
        pg.connect(db.dsn) as other,
        conn.listen(db.name) as notifications,
    ):
        for start in range(0, 5000, 1000):
            sql = f"select pg_notify('{db.name}', n::text) from generate_series($1::int4, $2::int4) n"
            await other.fetch(sql, start, start + 999)
            assert await conn.fetchval("select $1::int4", start) == start
        got = []
        async for notification in notifications:
            got.append(int(notification.payload))
            if len(got) == 5000:
                break
        assert got == list(range(5000))


@behaviour
async def n07_self_notification(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, conn.listen(db.name) as notifications:
        await conn.execute(f"notify {db.name}, 'me'")
        await conn.fetchval("select 1")
        async for notification in notifications:
            assert (notification.payload, notification.pid) == ("me", conn.pid)
            break


@behaviour
async def x02_no_time_at_all(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(pgproto.QueryTimeout):
            await conn.fetch(FAR, timeout=0)
        assert await conn.fetchval("select 1") == 1


@behaviour
async def x08_the_server_stops(pg: Driver, db: Database) -> None:
    """A timeout cancels the query on the server, and the connection stays usable."""
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        copy = f"copy {db.make_table()} from stdin where pg_sleep(30) is null"
        works: tuple[tuple[Callable[[], Awaitable[Any]], Outcome], ...] = (
            (lambda: conn.fetch(FAR, timeout=0.1), Outcome.FAILED),
            (lambda: conn.script(FAR, timeout=0.1), Outcome.FAILED),
            (lambda: conn.copy_in(copy, b"1\n", timeout=0.1), Outcome.ROLLED_BACK),
        )
        for work, outcome in works:
            with pytest.raises(pgproto.QueryTimeout) as caught:
                await work()
            assert isinstance(caught.value, TimeoutError)
            assert caught.value.outcome is outcome
            busy = "select count(*) from pg_stat_activity where state = 'active' and pid = $1"
            assert await other.fetchval(busy, conn.pid) == 0
        assert await conn.fetchval("select 1") == 1


@behaviour
async def x10_late_cancels_hit_nobody(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for number in range(40):
            timeout = 0.005 + number * 0.0003
            (result,) = await pg.together(partial(conn.fetch, "select pg_sleep(0.01)", timeout=timeout))
            if isinstance(result, Exception):
                assert isinstance(result, pgproto.QueryTimeout)
                assert result.outcome in (Outcome.FAILED, Outcome.NOT_SENT)
            assert await conn.fetchval("select $1::int4", number) == number


@behaviour
async def x14_statements_after_a_timeout(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for _ in range(3):
            with pytest.raises(pgproto.QueryTimeout):
                await conn.fetch("select pg_sleep($1::float8)", 30, timeout=0.05)
            assert await conn.fetchval("select $1::int4", 1) == 1
        left = await conn.fetchval(
            "select count(*) from pg_prepared_statements where statement like '%sleep%'"
        )
        assert left <= 1


@behaviour
async def x_command_timeout(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn, command_timeout=0.1) as conn:
        with pytest.raises(pgproto.QueryTimeout):
            await conn.fetch(FAR)
        with pytest.raises(pgproto.QueryTimeout):
            async for _ in conn.stream(FAR):
                raise AssertionError("a row")
        assert await conn.fetchval("select 1 from pg_sleep(0.15)", timeout=None) == 1


@behaviour
async def x_timeout_inside_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(pgproto.QueryTimeout):
            async with conn.transaction():
                await conn.execute(f"insert into {table} values (1)")
                await conn.fetch(FAR, timeout=0.05)
        assert conn.transaction_status == "I"
        assert await conn.fetchval(f"select count(*) from {table}") == 0
