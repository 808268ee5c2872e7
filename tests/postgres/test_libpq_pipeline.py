"""The thirteen sub-tests of PostgreSQL's libpq_pipeline, on the three adapters.

libpq_pipeline is a program in PostgreSQL's own tests (src/test/modules) for what a pipeline must do.  Each
test here has the name and the assertions of one of its sub-tests; where libpq's rule is one of its API and
not of the protocol, ours is tested instead, and the docstring says so.  The wire itself, with golden traces,
is in `test_libpq_pipeline_traces`.
"""

from __future__ import annotations

from typing import Any

import pytest

import pgproto
from pgproto import Batch, LocalProtocolError, Outcome, PostgresError, QueryTimeout
from pgproto.wire import NoticeResponse
from pgproto_pytest import Driver, Scenario
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer

COMMITTED, FAILED, SKIPPED, ROLLED_BACK = (
    Outcome.COMMITTED,
    Outcome.FAILED,
    Outcome.SKIPPED,
    Outcome.ROLLED_BACK,
)
ROWS = 700
TABLE = "create temp table pq_pipeline_demo (id serial primary key, itemno integer, int8filler int8)"
INSERT = "INSERT INTO pq_pipeline_demo(itemno) VALUES ($1)"
ITEMS = "SELECT itemno FROM pq_pipeline_demo ORDER BY itemno"


@pytest.fixture(params=DRIVERS, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


def run(driver: Driver, scenario: Scenario) -> None:
    driver.run(scenario, deadline=30)


async def items(conn: Any) -> list[int]:
    """What is in the table."""
    return [row[0] for row in await conn.fetch(ITEMS)]


@pytest.mark.parametrize("version", ["3.2", "3.0"])
def test_cancel(driver: Driver, pg: PostgresServer, version: str) -> None:
    """A running pg_sleep ends with 57014, again and again on one connection; with both lengths of keys.

    libpq has five functions for it.  Here a query is cancelled when its caller's time is up, and the proof
    that the server heard of it is that the same backend answers the next query at once.
    """

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn(max_protocol_version=version)) as conn:
            pid = conn.pid
            for _ in range(3):
                with pytest.raises(QueryTimeout):
                    await conn.fetch("select pg_sleep(180)", timeout=0.15)
                assert await conn.fetchval("select pg_backend_pid()", timeout=10) == pid
            assert len(conn.engine.connection.backend_key.secret_key) == (
                32 if version == "3.2" and pg.version == "18" else 4
            )

    run(driver, scenario)
    assert "canceling statement due to user request" in pg.log_text()


def test_disallowed_in_pipeline(driver: Driver, pg: PostgresServer) -> None:
    """While rows are streamed nothing else may run: a clear error at once, and the stream goes on.

    libpq refuses PQexec and PQfn in pipeline mode, and to enter or leave it twice is no error.  Here every
    connection is a pipeline, and what cannot be pipelined is what would have to wait for its own caller.
    """

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            rows = conn.stream("select generate_series(1, $1)", 100_000)
            assert (await anext(rows))[0] == 1
            for call in (conn.fetch, conn.execute, conn.script, conn.prepare):
                with pytest.raises(LocalProtocolError) as caught:
                    await call("select 1")
                assert caught.value.outcome is Outcome.NOT_SENT
            assert (await anext(rows))[0] == 2
            await rows.aclose()
            assert await conn.fetchval("select 1") == 1

    run(driver, scenario)


def test_multi_pipelines(driver: Driver, pg: PostgresServer) -> None:
    """Three segments are queued before an answer is read: each gets its own, in order.

    On a connection of the blocking adapter nobody else can queue; there it is a batch with three Syncs.
    """

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            if pg_.asynchronous:
                calls = [lambda n=n: conn.fetchval("SELECT $1::int", n) for n in (1, 2, 3)]
                assert await pg_.together(*calls) == [1, 2, 3]
            batch = Batch(atomic=False)
            for number in (1, 2, 3):
                batch.queue("SELECT $1::int", number)
            sent = await conn.send_batch(batch)
            assert [item.rows[0][0] for item in sent] == [1, 2, 3]
            assert [item.outcome for item in sent] == [COMMITTED] * 3

    run(driver, scenario)


def test_nosync(driver: Driver, pg: PostgresServer) -> None:
    """Ten queries: exactly one result for each, and nothing extra.

    libpq leaves the Sync out and flushes.  Our batches end with one always (without it nothing is
    committed), so the ten share a single Sync.
    """

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            batch = Batch()
            for _ in range(10):
                batch.queue("SELECT repeat('xyzxz', 12)")
            sent = await conn.send_batch(batch)
            assert [[tuple(row) for row in item.rows] for item in sent] == [[("xyzxz" * 12,)]] * 10
            assert conn.engine.connection.in_flight == 0
            assert await conn.fetchval("select 1") == 1

    run(driver, scenario)


def test_pipeline_abort(driver: Driver, pg: PostgresServer) -> None:
    """OK, ERROR, ABORTED, SYNC, OK, SYNC; then 42601; then three rows and 22012; one row is in the table."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            await conn.execute(TABLE)
            batch = Batch()
            good = batch.queue(INSERT, 1)
            bad = batch.queue("SELECT 1/$1::int", 0)
            late = batch.queue(INSERT, 2)
            with pytest.raises(PostgresError) as caught:
                await conn.send_batch(batch)
            assert caught.value.sqlstate == "22012"
            assert (good.outcome, bad.outcome, late.outcome) == (ROLLED_BACK, FAILED, SKIPPED)
            assert await conn.execute(INSERT, 3) == "INSERT 0 1"
            for sql, sqlstate in (
                ("SELECT no_such_function($1)", "42883"),
                ("SELECT 1; SELECT 2", "42601"),
            ):
                with pytest.raises(PostgresError) as caught:
                    await conn.fetch(sql, *([1] if "$1" in sql else []))
                assert caught.value.sqlstate == sqlstate
            count = 0
            with pytest.raises(PostgresError) as caught:
                async for _ in conn.stream("SELECT 1.0/g FROM generate_series(3, -1, -1) g"):
                    count += 1
            assert caught.value.sqlstate == "22012"
            assert count == 3
            assert await items(conn) == [3]

    run(driver, scenario)


def test_pipeline_idle(driver: Driver, pg: PostgresServer) -> None:
    """A WARNING in the middle of a result disturbs nothing, and nobody is told what did not happen."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            notices: list[NoticeResponse] = []
            conn.on_notice = notices.append
            assert await conn.fetchval("SELECT 1") == 1
            assert await conn.fetchval("SELECT 1") == 1
            assert notices == []
            assert await conn.fetchval("SELECT pg_catalog.pg_advisory_unlock(1,1)") is False
            assert await conn.fetchval("SELECT 1") == 1
            assert len(notices) == 1

    run(driver, scenario)


def test_pipelined_insert(driver: Driver, pg: PostgresServer) -> None:
    """BEGIN, DROP, CREATE, 700 inserts and COMMIT in one batch: no deadlock, and every tag in its place."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            await conn.execute(TABLE)
            batch = Batch()
            batch.queue("BEGIN TRANSACTION")
            batch.queue("TRUNCATE pq_pipeline_demo")
            sql = "INSERT INTO pq_pipeline_demo(itemno, int8filler) VALUES ($1, $2)"
            for number in range(ROWS):
                batch.queue(sql, number, 1 << 62)
            batch.queue("COMMIT TRANSACTION")
            sent = await conn.send_batch(batch)
            assert [item.tag for item in sent] == [
                "BEGIN",
                "TRUNCATE TABLE",
                *["INSERT 0 1"] * ROWS,
                "COMMIT",
            ]
            assert {item.outcome for item in sent} == {COMMITTED}
            assert await items(conn) == list(range(ROWS))

    run(driver, scenario)


def test_prepared(driver: Driver, pg: PostgresServer) -> None:
    """A statement's types are known once it is prepared; closed, it is gone; to close it again is fine."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            stmt = await conn.prepare("SELECT $1::int, '42'::text, $1::numeric, interval '1 sec'")
            assert stmt.statement.result_types == (23, 25, 1700, 1186)
            assert len(stmt.statement.columns) == 4
            name = stmt.statement.name
            known = "SELECT count(*) FROM pg_prepared_statements WHERE name = $1"
            assert len(await stmt.fetch(1)) == 1  # a server before 18 is not told the name before that
            assert await conn.fetchval(known, name) == 1
            await stmt.close()
            await stmt.close()
            assert await conn.fetchval(known, name) == 0
            async with conn.transaction():
                await conn.execute("DECLARE cursor_one CURSOR FOR SELECT 1")
                assert await conn.fetchval("FETCH cursor_one") == 1
                await conn.execute("CLOSE cursor_one")
            with pytest.raises(PostgresError) as caught:
                await conn.fetch("FETCH cursor_one")
            assert caught.value.sqlstate == "34000"

    run(driver, scenario)


@pytest.mark.parametrize(
    ("asked", "spoken"), [("3.0", 196608), ("3.2", 196610), ("latest", 196610), (None, 196610)]
)
def test_protocol_version(driver: Driver, pg: PostgresServer, asked: str | None, spoken: int) -> None:
    """The newest version that both sides know; an older server answers with its own."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn(max_protocol_version=asked)) as conn:
            expected = spoken if pg.version == "18" else 196608
            assert conn.engine.connection.protocol == expected
            assert await conn.fetchval("select 1") == 1

    run(driver, scenario)


@pytest.mark.parametrize("version", ["3.1", "3.3", "2.0", "new"])
def test_protocol_version_that_is_none(driver: Driver, pg: PostgresServer, version: str) -> None:
    """3.1 was never given out: refused here, before anything is sent."""

    async def scenario(pg_: Driver) -> None:
        with pytest.raises(pgproto.ConfigError, match="max_protocol_version"):
            async with pg_.connect(f"{pg.dsn()}&max_protocol_version={version}"):
                raise AssertionError("connected")

    run(driver, scenario)


def test_simple_pipeline(driver: Driver, pg: PostgresServer) -> None:
    """One query, one result, and the connection is idle only behind the Sync's answer."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            assert conn.reusable
            rows = await conn.fetch("SELECT $1::int", 1)
            assert [tuple(row) for row in rows] == [(1,)]
            assert conn.reusable
            assert conn.engine.connection.in_flight == 0

    run(driver, scenario)


def test_singlerow(driver: Driver, pg: PostgresServer) -> None:
    """Rows one by one for two queries, at once for the third; the mode of one is not that of the next.

    libpq's chunked mode says how many rows are handed over together, which is the adapter's business here.
    """

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            sql = "SELECT generate_series(42, $1::int)"
            for last in (44, 45):
                assert [row[0] async for row in conn.stream(sql, last)] == list(range(42, last + 1))
            assert [row[0] for row in await conn.fetch(sql, 46)] == list(range(42, 47))

    run(driver, scenario)


def test_transaction(driver: Driver, pg: PostgresServer) -> None:
    """BEGIN and an error: what follows is skipped, then refused, until ROLLBACK; exactly row 3 is left."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            await conn.execute(TABLE)
            rollback = await conn.prepare("ROLLBACK")
            batch = Batch()
            for sql in ("BEGIN", "SELECT 0/0", "ROLLBACK"):
                batch.queue(sql)
            batch.queue(INSERT, 1)
            with pytest.raises(PostgresError) as caught:
                await conn.send_batch(batch)
            assert caught.value.sqlstate == "22012"
            assert conn.transaction_status == "E"
            with pytest.raises(PostgresError) as caught:
                await conn.execute(INSERT, 2)
            assert caught.value.sqlstate == "25P02"
            assert await rollback.execute() == "ROLLBACK"
            await conn.execute(INSERT, 3)
            assert await items(conn) == [3]

    run(driver, scenario)


def test_uniqviol(driver: Driver, pg: PostgresServer) -> None:
    """More than the socket holds, and one unique violation in its middle: one error, the rest is skipped."""
    count, dup = 4000, 3000

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            await conn.execute("create temp table ppln_uniqviol (id bigint primary key, idata text)")
            batch = Batch()
            sql = "insert into ppln_uniqviol values ($1, $2) returning id"
            for number in range(count):
                batch.queue(sql, 0 if number == dup else number, "x" * 2000)
            queued = list(batch.items)
            with pytest.raises(PostgresError) as caught:
                await conn.send_batch(batch)
            assert caught.value.sqlstate == "23505"
            outcomes = [item.outcome for item in queued]
            assert outcomes[:dup] == [ROLLED_BACK] * dup
            assert outcomes[dup] is FAILED
            assert outcomes[dup + 1 :] == [SKIPPED] * (count - dup - 1)
            assert await conn.fetchval("select count(*) from ppln_uniqviol") == 0

    run(driver, scenario)
