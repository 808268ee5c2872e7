"""What an engine does with a connection: transactions, cursors on the server, two phases, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    exc,
    func,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import pgproto
from pgproto_blocking import dbapi
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PostgresServer

SERIES = text("select n from generate_series(1, 3000) n")


def run(url: str, main: Callable[[AsyncEngine], Awaitable[Any]], **options: Any) -> Any:
    async def whole() -> Any:
        engine = create_async_engine(url, **options)
        try:
            return await main(engine)
        finally:
            await engine.dispose()

    return asyncio.run(whole())


def test_the_dialects_are_registered(engine: Engine, url: str) -> None:
    assert engine.dialect.driver == "pgproto"
    assert create_engine(url.replace("+pgproto", "+pgproto_async")).dialect.is_async
    assert create_async_engine(url).dialect.driver == "pgproto_async"
    with engine.connect() as connection:
        assert connection.dialect.server_version_info is not None
        raw = connection.connection.driver_connection
        assert raw is not None
        assert raw.fetchval("select 1") == 1


def test_options_are_in_the_url() -> None:
    dialect = create_engine("postgresql+pgproto://").dialect
    for query, wanted in (
        ("host=a:1&host=b:2", {"host": "a,b", "port": "1,2"}),
        ("host=a&host=b", {"host": "a,b"}),
        ("host=/tmp&command_timeout=9", {"host": "/tmp", "command_timeout": "9"}),
    ):
        _, options = dialect.create_connect_args(make_url(f"postgresql+pgproto://app:secret@/x?{query}"))
        assert isinstance(options.pop("types"), pgproto.TypeMap)
        assert options == {"user": "app", "password": "secret", "dbname": "x", **wanted}


def test_begin_goes_with_the_first_statement(engine: Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        assert raw.transaction_status == "I"
        connection.execute(select(1))
        assert raw.transaction_status == "T"
        connection.commit()
        assert raw.transaction_status == "I"


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_isolation_levels(engine: Engine, level: str) -> None:
    with engine.connect().execution_options(
        isolation_level=level, postgresql_readonly=True, postgresql_deferrable=True
    ) as connection:
        shown = [
            connection.execute(text(f"show transaction_{name}")).scalar()
            for name in ("isolation", "read_only", "deferrable")
        ]
        assert shown == [level.lower(), "on", "on"]
    with engine.connect() as connection:
        assert connection.execute(text("show transaction_read_only")).scalar() == "off"
        assert connection.get_isolation_level() == "READ COMMITTED"


def test_autocommit(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum pg_class"))
        rows = connection.execute(SERIES, execution_options={"stream_results": True})
        first = rows.fetchmany(10)
        assert connection.execute(text("select count(*) from pg_cursors where name <> ''")).scalar() == 1
        assert len(first) + len(rows.all()) == 3000
        assert connection.execute(text("select count(*) from pg_cursors where name <> ''")).scalar() == 0


def test_rows_stay_on_the_server_while_others_run(engine: Engine) -> None:
    with engine.connect().execution_options(stream_results=True, max_row_buffer=100) as connection:
        rows = connection.execute(SERIES)
        assert rows.fetchone() == (1,)
        assert connection.execute(text("select 7")).scalar() == 7
        assert sum(1 for _ in rows) == 2999


def test_executemany_returning_and_insertmanyvalues(engine: Engine) -> None:
    table = Table("many", MetaData(), Column("id", Integer, primary_key=True), Column("n", Integer))
    with engine.connect() as connection:
        table.create(connection)
        many = insert(table).execution_options(preserve_rowcount=True)
        assert connection.execute(many, [{"n": n} for n in range(2500)]).rowcount == 2500
        ids = connection.execute(
            insert(table).returning(table.c.id, sort_by_parameter_order=True), [{"n": n} for n in range(2500)]
        )
        assert ids.scalars().all() == list(range(2501, 5001))
        updated = connection.execute(text("update many set n = :n where id = :id"), [{"n": 1, "id": 1}] * 3)
        assert updated.rowcount == 3


def test_two_phases(engine: Engine) -> None:
    table = Table("phased", MetaData(), Column("n", Integer))
    table.create(engine)
    try:
        with engine.connect() as connection:
            transaction = connection.begin_twophase()
            connection.execute(insert(table).values(n=1))
            transaction.prepare()
            assert connection.recover_twophase() == [transaction.xid]
            transaction.commit()
            transaction = connection.begin_twophase()
            connection.execute(insert(table).values(n=2))
            transaction.rollback()
            transaction = connection.begin_twophase("mine")
            connection.execute(insert(table).values(n=3))
            transaction.prepare()
            connection.invalidate()  # to close it would be to roll back
        with engine.connect() as connection:
            assert connection.recover_twophase() == ["mine"]
            connection.commit_prepared("mine", recover=True)
            assert sorted(connection.execute(select(table)).scalars()) == [1, 3]
    finally:
        table.drop(engine)


def test_errors_are_those_of_sqlalchemy_and_know_ours(engine: Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(exc.ProgrammingError) as missing:
            connection.execute(text("select * from nowhere"))
        assert isinstance(missing.value.orig, dbapi.ProgrammingError)
        assert missing.value.orig.pgcode == "42P01"
        assert missing.value.orig.outcome is pgproto.Outcome.FAILED
        assert isinstance(missing.value.orig.__cause__, pgproto.sqlstates.UndefinedTable)
        if hasattr(exc, "EmulatedDBAPIException"):
            assert missing.value.driver_exception is missing.value.orig.__cause__
        connection.rollback()
        connection.execute(text("create temporary table u (n int4 unique)"))
        with pytest.raises(exc.IntegrityError):
            connection.execute(text("insert into u values (1), (1)"))


def test_a_session_that_the_server_has_ended(engine: Engine) -> None:
    with engine.connect() as connection, engine.connect() as other:
        pid = connection.execute(select(func.pg_backend_pid())).scalar()
        other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(exc.OperationalError) as lost:
            connection.execute(select(1))
        assert lost.value.connection_invalidated
        connection.rollback()
        assert connection.execute(select(1)).scalar() == 1


@pytest.mark.parametrize("options", [{"pool_pre_ping": True}])
def test_a_ping_begins_no_transaction(engine: Engine) -> None:
    seen = []
    event.listen(engine, "checkout", lambda raw, record, proxy: seen.append(raw.in_transaction))
    for _ in range(2):
        with engine.connect() as connection:
            pid = connection.execute(select(func.pg_backend_pid())).scalar()
    with engine.connect() as connection:
        other = create_engine(engine.url)
        with other.connect() as killer:
            connection.close()
            killer.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        other.dispose()
    with engine.connect() as connection:
        assert connection.execute(select(func.pg_backend_pid())).scalar() != pid
    assert seen == [False] * len(seen)


def test_ddl_of_another_connection(engine: Engine) -> None:
    """The first statement of a transaction meets a statement that is out of date: it is prepared again."""
    with engine.connect() as one, engine.connect() as two:
        two.execute(text("create table altered (n int4)"))
        two.commit()
        try:
            for wanted in ("n", "more"):
                assert wanted in list(one.execute(text("select * from altered")).keys())
                one.rollback()
                two.execute(text("alter table altered add column if not exists more text"))
                two.commit()
        finally:
            one.rollback()
            two.execute(text("drop table altered"))
            two.commit()


def test_notices_are_logged(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "sqlalchemy.dialects.postgresql"), engine.connect() as connection:
        connection.execute(text("do $$ begin raise notice 'hear, hear'; end $$"))
    assert "NOTICE: hear, hear" in caplog.text


def test_behind_a_pooler(database: PostgresServer, pgbouncer_factory: PgBouncerFactory) -> None:
    pooler = pgbouncer_factory(database)
    engine = create_engine(
        pooler.dsn().replace("postgresql:", "postgresql+pgproto:"),
        connect_args={"statement_mode": "cache_describe"},
    )
    for _ in range(3):
        with engine.connect() as connection:
            assert connection.execute(text("select :n + 1"), {"n": 1}).scalar() == 2
    engine.dispose()


# ---- asyncio


def test_tasks_wait_for_one_another(url: str) -> None:
    async def main(engine: AsyncEngine) -> list[Any]:
        async with engine.connect() as connection:
            statements = [connection.scalar(text("select :n"), {"n": str(n)}) for n in range(20)]
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            found = await asyncio.gather(*statements)
            assert raw.transaction_status == "T"
            return found

    assert run(url, main) == [str(n) for n in range(20)]


def test_rows_are_streamed(url: str) -> None:
    async def main(engine: AsyncEngine) -> None:
        for options in ({}, {"isolation_level": "AUTOCOMMIT"}):
            async with engine.connect() as connection:
                await connection.execution_options(**options)
                rows = await connection.stream(SERIES)
                count = 0
                async for _ in rows:
                    count += 1
                    if count == 10:
                        assert (await connection.execute(text("select 7"))).scalar() == 7
                assert count == 3000

    run(url, main)


def test_notifications_are_at_hand(url: str) -> None:
    async def main(engine: AsyncEngine) -> str:
        async with engine.connect() as connection, engine.connect() as other:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            async with raw.listen("jobs") as notifications:
                await other.execute(text("notify jobs, '7'"))
                await other.commit()
                notification = await anext(notifications)
                return str(notification.payload)

    assert run(url, main) == "7"


def test_a_task_that_is_cancelled_leaves_a_pool_that_works(url: str) -> None:
    async def main(engine: AsyncEngine) -> None:
        async def slow() -> None:
            async with engine.connect() as connection:
                await connection.execute(text("select pg_sleep(60)"))

        async with engine.connect() as watcher:
            await watcher.execution_options(isolation_level="AUTOCOMMIT")
            running = text(
                "select count(*) from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"
            )
            task = asyncio.create_task(slow())
            while not await watcher.scalar(running):
                pass
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await watcher.scalar(running) == 0
            async with engine.connect() as connection:
                assert await connection.scalar(select(1)) == 1

    run(url, main)


def test_a_session_that_the_server_has_ended_async(url: str) -> None:
    async def main(engine: AsyncEngine) -> None:
        async with engine.connect() as connection, engine.connect() as other:
            pid = await connection.scalar(select(func.pg_backend_pid()))
            await other.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            with pytest.raises(exc.OperationalError) as lost:
                await connection.execute(select(1))
            assert lost.value.connection_invalidated
            await connection.rollback()
            assert await connection.scalar(select(1)) == 1

    run(url, main)


def test_a_creator_of_ones_own(url: str, database: PostgresServer) -> None:
    import pgproto_asyncio

    made = []

    async def create(**options: Any) -> Any:
        made.append(options)
        return await pgproto_asyncio.connect(database.dsn(), types=options["types"])

    async def main(engine: AsyncEngine) -> Any:
        async with engine.connect() as connection:
            return await connection.scalar(select(1))

    assert run(url, main, connect_args={"async_creator_fn": create}) == 1
    assert made


def test_what_does_not_connect(url: str) -> None:
    wrong = url.replace("sqlalchemy_dialect", "nowhere_at_all")
    engine = create_engine(wrong)
    with pytest.raises(exc.OperationalError, match="3D000") as refused:
        engine.connect()
    assert isinstance(refused.value.orig, dbapi.Error)
