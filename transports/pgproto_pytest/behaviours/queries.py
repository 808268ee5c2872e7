"""Connections, queries and rows, prepared statements."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

import pgproto
from pgproto import Batch, Column, DataError, LocalProtocolError, Outcome, PostgresError, named
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver


@behaviour
async def c07_runtime_parameters(pg: Driver, db: Database) -> None:
    settings = {"search_path": "pg_catalog", "work_mem": "5MB"}
    async with pg.connect(db.dsn, application_name="mine", server_settings=settings) as conn:
        assert await conn.fetchval("show application_name") == "mine"
        assert await conn.fetchval("show search_path") == "pg_catalog"
        assert await conn.fetchval("show work_mem") == "5MB"
        assert conn.parameters["application_name"] == "mine"


@behaviour
async def c08_fallback_hosts(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        last = conn.config.hosts[-1]
    async with pg.connect(db.dsn, host=["127.0.0.1", last.host], port=[1, last.port]) as conn:
        assert await conn.fetchval("select 1") == 1


@behaviour
async def c09_every_attempt_is_reported(pg: Driver, db: Database) -> None:
    with pytest.raises(pgproto.ConnectError) as caught:
        async with pg.connect(db.dsn, host=["127.0.0.1", "no-such-host.invalid"], port=[1, 2]):
            raise AssertionError("connected")
    text = str(caught.value)
    assert "127.0.0.1:1" in text
    assert "no-such-host.invalid:2" in text
    assert len(caught.value.errors) == 2
    assert caught.value.outcome is Outcome.NOT_SENT


@behaviour
async def c16_protocol_version(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        new = int(conn.parameters["server_version"].partition(".")[0]) >= 18
        key = conn.engine.connection.backend_key
        assert len(key.secret_key) == (32 if new else 4)
    async with pg.connect(db.dsn, max_protocol_version="3.0") as conn:
        assert len(conn.engine.connection.backend_key.secret_key) == 4
        assert await conn.fetchval("select pg_backend_pid()") == conn.pid


@behaviour
async def c18_script(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        results = await conn.script(
            "select 1 as a, null; create temp table t (a int); insert into t values (1), (2); "
        )
        assert [result.tag for result in results] == ["SELECT 1", "CREATE TABLE", "INSERT 0 2"]
        assert [result.columns for result in results] == [("a", "?column?"), (), ()]
        assert tuple(results[0].rows[0]) == ("1", None)
        assert results[2].rowcount == 2


@behaviour
async def c21_script_error(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            await conn.script("select 1; select 1/0; select 1")
        assert caught.value.sqlstate == "22012"
        assert await conn.fetchval("select 1") == 1


@behaviour
async def c24_parameters(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        row = await conn.fetchrow("select $1::int4, $2::text, $3::bool, $4::bytea", 1, "x", None, b"\0")
        assert tuple(row) == (1, "x", None, b"\0")


@behaviour
async def c28_too_many_parameters(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        most = ",".join(f"${number}" for number in range(1, 65536))
        assert await conn.fetchval(f"select cardinality(array[{most}]::int[])", *range(65535)) == 65535
        with pytest.raises(pgproto.LocalProtocolError, match="65535 parameters"):
            await conn.fetchval(f"select cardinality(array[{most},$65536]::int[])", *range(65536))
        assert await conn.fetchval("select 1") == 1


@behaviour
async def c35_notices(pg: Driver, db: Database) -> None:
    notices: list[PostgresError] = []
    async with pg.connect(db.dsn) as conn:
        conn.on_notice = notices.append
        await conn.execute("do $$ begin raise notice 'hello %', 1; raise warning 'careful'; end $$")
    assert [(notice.severity, notice.message) for notice in notices] == [
        ("NOTICE", "hello 1"),
        ("WARNING", "careful"),
    ]


@behaviour
async def c39_closed_connection(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        await conn.close()
        await conn.close()
        with pytest.raises(pgproto.ConnectionClosed) as caught:
            await conn.fetch("select 1")
        assert caught.value.outcome is Outcome.NOT_SENT


@behaviour
async def c46_terminated_while_waiting(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as killer:

        async def kill() -> None:
            sql = "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'"
            while not await killer.fetchval(sql, conn_pid):
                pass
            await killer.fetchval("select pg_terminate_backend($1)", conn_pid)

        conn_pid = conn.pid
        lost, _ = await pg.together(lambda: conn.fetch("select pg_sleep(30)"), kill)
        assert isinstance(lost, pgproto.ConnectionLost)
        assert lost.sqlstate == "57P01"
        assert lost.outcome is Outcome.FAILED
        assert conn.closed


@behaviour
async def c50_command_tags(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for sql, tag in (
            ("create temp table t (a int)", "CREATE TABLE"),
            ("insert into t select generate_series(1, 5)", "INSERT 0 5"),
            ("update t set a = a + 1 where a > 3", "UPDATE 2"),
            ("delete from t where a = 1", "DELETE 1"),
            ("select * from t", "SELECT 4"),
            ("-- nothing", ""),
            ("drop table t", "DROP TABLE"),
        ):
            assert await conn.execute(sql) == tag
        assert await conn.fetchval("select 1 -- " + "x" * 200_000) == 1


@behaviour
async def c51_syntax_error(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            await conn.execute("selct")
        error = caught.value
        assert (error.sqlstate, error.severity, error.position) == ("42601", "ERROR", 1)
        assert error.outcome is Outcome.FAILED
        assert type(error) is pgproto.sqlstates.SQLSyntaxError
        assert await conn.fetchval("select 1") == 1


@behaviour
async def c_error_fields(pg: Driver, db: Database) -> None:
    table = db.make_table("a int constraint positive check (a > 0)")
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            await conn.execute(f"insert into {table} values (-1)")
        error = caught.value
        assert (error.sqlstate, error.table_name, error.constraint_name) == ("23514", table, "positive")
        assert error.detail is not None


@behaviour
async def q01_rows(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        rows = await conn.fetch("select n as id, 'v' || n as name from generate_series(1, 3) n")
        assert [row["id"] for row in rows] == [1, 2, 3]
        number, name = rows[0]
        assert (number, name) == (1, "v1")
        assert rows[1].as_dict() == {"id": 2, "name": "v2"}
        wide = await conn.fetchrow("select " + ",".join(f"{n} as c{n}" for n in range(500)))
        assert list(wide) == list(range(500))


@behaviour
async def q02_tag_without_rows(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        assert await conn.fetch("create temp table t (a int)") == []
        assert await conn.fetchrow("insert into t values (1)") is None
        assert await conn.fetchval("delete from t") is None


@behaviour
async def q03_stream_left_early(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        rows = conn.stream("select n, repeat('x', 100) from generate_series(1, 100000) n")
        async for row in rows:
            assert row[0] == 1
            break
        await rows.aclose()
        assert await conn.fetchval("select 1") == 1


@behaviour
async def q03_stream_dropped(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        async for row in conn.stream("select n, repeat('x', 100) from generate_series(1, 100000) n"):
            assert row[0] == 1
            break
        assert await conn.fetchval("select 1") == 1


@behaviour
async def q03_the_time_that_the_consumer_takes_is_not_the_servers(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        seen = 0
        sql = "select repeat('x', 1000) from generate_series(1, 3000)"
        async for row in conn.stream(sql, timeout=0.2):
            seen += len(row[0])
            if seen in (1000, 2_000_000):
                threading.Event().wait(0.3)
        assert seen == 3_000_000


@behaviour
async def q03_progress_of_columns(pg: Driver, db: Database) -> None:
    """The function is called by the caller's own thread, with more rows each time."""
    sql = "select n, repeat('x', 100) from generate_series(1, $1::int4) n"
    here = threading.get_ident()
    seen: list[int] = []

    def progress(rows: int) -> None:
        assert threading.get_ident() == here
        seen.append(rows)

    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, max_size=1) as pool:
        for where in (conn, pool):
            seen.clear()
            assert len(await where.fetch_columns(sql, 20_000, progress=progress)) == 20_000
            assert len(seen) > 1
            assert sorted(set(seen)) == seen
            assert seen[-1] == 20_000
            seen.clear()
            lengths = [
                len(part) async for part in where.stream_columns(sql, 20_000, size=5000, progress=progress)
            ]
            assert sum(lengths) == seen[-1] == 20_000
            assert 1 < len(seen) <= len(lengths)
            seen.clear()
            assert len(await where.fetch_columns(sql, 0, progress=progress)) == 0
            assert seen == []


@behaviour
async def q03_progress_that_raises_ends_the_query(pg: Driver, db: Database) -> None:
    sql = "select repeat('x', 100) from generate_series(1, 300000)"

    def progress(rows: int) -> None:
        raise error

    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, max_size=1) as pool:
        for error in (KeyError("mine"), DataError("mine")):
            for where in (conn, pool):
                with pytest.raises(type(error)) as caught:
                    await where.fetch_columns(sql, progress=progress)
                assert caught.value is error
                with pytest.raises(type(error)) as caught:
                    async for _ in where.stream_columns(sql, progress=progress):
                        raise AssertionError("a batch without its progress")
                assert caught.value is error
                assert await where.fetchval("select 1") == 1


@behaviour
async def q03_stream(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        total = 0
        async for row in conn.stream("select n from generate_series(1, $1::int4) n", 20_000):
            total += row[0]
        assert total == 20_000 * 20_001 // 2
        assert await conn.fetchval("select 1") == 1


@behaviour
async def q06_error_while_streaming(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        rows = []
        with pytest.raises(PostgresError) as caught:
            async for row in conn.stream("select 100 / (10 - n) from generate_series(1, 100) n"):
                rows.append(row[0])  # noqa: PERF401 - what came before the error counts
        assert caught.value.sqlstate == "22012"
        assert len(rows) == 9
        assert await conn.fetchval("select 1") == 1


@behaviour
async def q07_no_rows(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        assert await conn.fetchrow("select 1 where false") is None
        assert await conn.fetchval("select 1 where false") is None
        assert await conn.fetch("select 1 where false") == []
        with pytest.raises(PostgresError):
            await conn.fetchrow("select 1/0")
        assert await conn.fetchval("select 1") == 1


@behaviour
async def q_rows_without_columns(pg: Driver, db: Database) -> None:
    """They are rows all the same; it is only that no value can be had of one."""
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, max_size=1) as pool:
        await conn.execute("create temp table bare (n int4)")
        insert = "insert into bare values (1), (2)"
        assert await conn.execute(insert) == "INSERT 0 2"
        statement = await conn.prepare("select from bare")
        assert [tuple(row) for row in await conn.fetch("select from bare")] == [(), ()]
        assert tuple(await statement.fetchrow()) == ()
        assert (await conn.script("select from bare"))[0].tag == "SELECT 2"
        assert await conn.fetchval("select from bare where n = 3") is None
        works = [
            lambda: conn.fetchval("select from bare"),
            statement.fetchval,
            lambda: pool.fetchval("select"),
        ]
        for work in works:
            with pytest.raises(pgproto.DataError, match="the result has no columns") as caught:
                await work()
            assert caught.value.outcome is Outcome.COMMITTED
            assert caught.value.query is not None
        async with conn.transaction():
            with pytest.raises(pgproto.DataError, match="no columns") as caught:
                await conn.fetchval("select from bare")
            assert caught.value.outcome is Outcome.OK_IN_TX
        rows = [tuple(row) async for row in conn.stream("select from bare")]
        assert rows == [(), ()]


@behaviour
async def q08_empty_queries(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for sql in ("", " ", "-- comment", "/* a /* nested */ comment */", ";"):
            assert await conn.fetch(sql) == []
            assert await conn.execute(sql) == ""
            assert [result.tag for result in await conn.script(sql)] == [""]


@behaviour
async def q12_cursor_fetch(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, conn.transaction():
        await conn.execute("declare c cursor for select n from generate_series(1, 5) n")
        assert [row[0] for row in await conn.fetch("fetch 2 from c")] == [1, 2]
        assert [row[0] for row in await conn.fetch("fetch 2 from c")] == [3, 4]
        await conn.execute("close c")
        await conn.execute("declare c cursor for select 'x'::text as t, 1.5::float8 as f")
        assert tuple(await conn.fetchrow("fetch 2 from c")) == ("x", 1.5)


@behaviour
async def q04_wrong_value_type(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(pgproto.DataError, match=r"\$2") as caught:
            await conn.fetch("select $1::int4, $2::int4", 1, "two")
        assert "str" in str(caught.value)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert await conn.fetchval("select $1::int4", 3) == 3


@behaviour
async def q_concurrent_callers(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        works = [lambda number=number: conn.fetchval("select $1::int4", number) for number in range(50)]
        assert await pg.together(*works) == list(range(50))


@behaviour
async def s02_prepare_twice(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        first, second = await conn.prepare("select 1"), await conn.prepare("select 1")
        assert first.statement.name != second.statement.name
        await first.close()
        assert await second.fetchval() == 1


@behaviour
async def s04_prepare_bad_sql(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        with pytest.raises(PostgresError) as caught:
            await conn.prepare("selct")
        assert caught.value.sqlstate == "42601"
        assert await conn.fetchval("select 1") == 1


@behaviour
async def s06_closed_statement(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        statement = await conn.prepare("select 1")
        assert await statement.fetchval() == 1
        await statement.close()
        await statement.close()
        with pytest.raises(pgproto.LocalProtocolError, match="closed"):
            await statement.fetchval()
        assert (
            await conn.fetchval("select count(*) from pg_prepared_statements where statement = 'select 1'")
            == 0
        )


@behaviour
async def s08_deallocate_behind_our_back(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        assert await conn.fetchval("select 5") == 5
        await conn.execute("deallocate all")
        assert await conn.fetchval("select 5") == 5
        await conn.script("discard all")
        assert await conn.fetchval("select 5") == 5
        await conn.script("do $$ begin execute 'deallocate all'; end $$")
        assert await conn.fetchval("select 5") == 5  # 26000 was healed


@behaviour
async def s09_schema_change(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        assert await conn.fetch(f"select * from {table}") == []
        await conn.execute(f"alter table {table} add b text")
        assert await conn.fetch(f"select * from {table}") == []  # 0A000 was healed


@behaviour
async def s12_parameter_type_changes(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        insert = f"insert into {table} values ($1)"
        await conn.execute(insert, 1)
        await conn.execute(f"alter table {table} alter a type text")
        await conn.execute(insert, "two")
        assert await conn.fetchval(f"select count(*) from {table}") == 2


@behaviour
async def s13_cache_size(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn, statement_cache_size=5) as conn:
        for number in range(30):
            assert await conn.fetchval(f"select {number}") == number
        assert await conn.fetchval("select count(*) from pg_prepared_statements") <= 7


@behaviour
async def s14_error_without_cache(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn, statement_cache_size=0) as conn:
        for _ in range(3):
            with pytest.raises(PostgresError):
                await conn.fetch("select 1/0")
            assert await conn.fetchval("select 1") == 1


@dataclass
class Pair:
    """What rows become."""

    id: int
    name: str = "nobody"


@behaviour
async def q_rows_become_objects(pg: Driver, db: Database) -> None:
    sql = "select n as id, 'x' || n as name from generate_series(1, $1) as n"
    expected = [Pair(number, f"x{number}") for number in range(1, 4)]
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, min_size=1, max_size=1) as pool:
        for db_or_pool in (conn, pool):
            assert await db_or_pool.fetch(sql, 3, into=Pair) == expected
            assert await db_or_pool.fetchrow(sql, 3, into=Pair) == expected[0]
            assert await db_or_pool.fetchrow(sql, 0, into=Pair) is None
            assert await db_or_pool.fetch(sql, 2, into=dict) == [
                {"id": 1, "name": "x1"},
                {"id": 2, "name": "x2"},
            ]
            assert await db_or_pool.fetchval(sql, 3, column="name") == "x1"
            with pytest.raises(DataError) as caught:
                await db_or_pool.fetch(sql, 3, into=int)
            assert caught.value.outcome is Outcome.NOT_SENT
            batch = Batch()
            batch.queue("select 1")
            pairs = batch.queue(sql, 3, into=Pair)
            await db_or_pool.send_batch(batch)
            assert pairs.rows == expected
        statement = await conn.prepare(sql)
        assert await statement.fetch(3, into=Pair) == expected
        assert await statement.fetchrow(3, into=Pair) == expected[0]
        assert await statement.fetchval(3, column=1) == "x1"
        assert [pair async for pair in conn.stream(sql, 3, into=Pair)] == expected


@behaviour
async def q_the_columns_of_an_empty_result(pg: Driver, db: Database) -> None:
    sql = "select 1::int8 as a, 'x'::text, array[now()] as c where $1::bool"
    expected = (Column("a", 20, "int8"), Column("text", 25, "text"), Column("c", 1185, "timestamptz[]"))
    async with pg.connect(db.dsn) as conn:
        statement = await conn.prepare(sql)
        assert statement.description == expected
        batch = Batch()
        empty = batch.queue(sql, False)
        silent = batch.queue("set application_name = ''")
        await conn.send_batch(batch)
        assert (empty.rows, empty.description, silent.description) == ([], expected, ())
        stream = conn.stream(sql, False)
        assert stream.description == ()
        assert [row async for row in stream] == []
        assert stream.description == expected
        results = await conn.script(sql.replace("$1::bool", "false") + "; set application_name = ''")
        assert [result.description for result in results] == [expected, ()]


@behaviour
async def q_named_parameters(pg: Driver, db: Database) -> None:
    sql = """select :a::int4 as one, $b || ':a' as two, e'\\':a' as three, (array[1, 2, 3])[:2] as four,
        (array[:a, 7, :a])[2] as five, $x$ :a $x$ as six, /* :a /* */ */ 1 = any(:c) as seven -- :a"""
    query = named(sql, {"a": 5, "b": "b", "c": [1, 2]})
    expected = (5, "b:a", "':a", [1, 2], 7, " :a ", True)
    async with pg.connect(db.dsn) as conn, pg.Pool(db.dsn, min_size=1, max_size=1) as pool:
        for db_or_pool in (conn, pool):
            assert await db_or_pool.fetchrow(query) == expected
            assert await db_or_pool.fetchrow(query, into=tuple) == expected
            batch = Batch()
            item = batch.queue(query)
            await db_or_pool.send_batch(batch)
            assert item.rows == [expected]
        assert [row async for row in conn.stream(query)] == [expected]
        with pytest.raises(LocalProtocolError) as caught:
            await conn.fetch(named("select :a", b=1))
        assert caught.value.outcome is Outcome.NOT_SENT


@behaviour
async def q_a_row_of_which_no_object_can_be_made(pg: Driver, db: Database) -> None:
    sql = "select n as id, null as name from generate_series(1, $1) as n"

    def odd(id: int, name: None) -> int:
        return 1 // (id - 3)

    async with pg.connect(db.dsn) as conn:
        with pytest.raises(DataError, match=r"row 3: .*odd raised ZeroDivisionError") as caught:
            await conn.fetch(sql, 5, into=odd)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert caught.value.outcome is Outcome.COMMITTED
        before = 0
        with pytest.raises(DataError, match=r"row 3: .*odd raised ZeroDivisionError"):
            async for number in conn.stream(sql, 5, into=odd):
                before += number
        assert before == -2
        async with conn.transaction():
            with pytest.raises(DataError) as caught:
                await conn.fetch(sql, 5, into=odd)
            assert caught.value.outcome is Outcome.OK_IN_TX
            assert await conn.fetchval("select 1") == 1
        for atomic in (True, False):
            batch = Batch(atomic=atomic)
            item = batch.queue(sql, 5, into=odd)
            if atomic:
                with pytest.raises(DataError):
                    await conn.send_batch(batch)
            else:
                await conn.send_batch(batch)
            assert isinstance(item.error, DataError)
            assert (item.rows, item.outcome) == ([], Outcome.COMMITTED)
        assert await conn.fetchval("select 1") == 1


@behaviour
async def c_a_config_in_place_of_a_dsn(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn, application_name="first") as conn:
        config = conn.config
    changed = config.replace(application_name="second")
    async with pg.connect(changed) as conn:
        assert conn.config is changed
        assert await conn.fetchval("show application_name") == "second"
    async with pg.Pool(changed, max_size=3) as pool:
        assert pool.config is changed
        assert pool.settings.max_size == 3
        assert await pool.fetchval("show application_name") == "second"
    with pytest.raises(pgproto.ConfigError, match="takes no options"):
        async with pg.connect(changed, port=1):
            raise AssertionError("connected")
