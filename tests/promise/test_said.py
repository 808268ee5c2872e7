"""What a caller is told: at the start of a pool, by its hooks, and when there is no connection."""

from __future__ import annotations

import importlib
import time
from typing import Any

import pytest

import pgproto
import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from pgproto import Batch, ConnectError, Outcome, PoolTimeout, TooManyWaiting
from pgproto_pytest import Driver
from pgproto_pytest.process import listening_socket
from tests.promise.everywhere import everywhere
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PostgresServer
from tests.support.scripted import Peer, ScriptedServer, fatal

SOON = 5.0
"""Seconds: far from the 30 that a pool's caller waits by default."""


def closed_port() -> int:
    """A port on which nobody listens."""
    with listening_socket() as listener:
        port: int = listener.getsockname()[1]
    return port


WRONG = {
    "port": "postgresql://app@127.0.0.1:{closed}/app?sslmode=disable",
    "TLS": "postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=require",
    "DNS": "postgresql://app@nowhere.invalid/app",
    "database": "postgresql://postgres@127.0.0.1:{port}/nowhere?sslmode=disable",
    "role": "postgresql://nobody@127.0.0.1:{port}/postgres?sslmode=disable",
    "parameter": "postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable&options=-c%20nothing%3D1",
}


@pytest.mark.holds("T10")
@pytest.mark.parametrize("what", WRONG)
def test_a_pool_that_cannot_connect_says_so_at_its_start(
    driver: Driver, pg18: PostgresServer, what: str
) -> None:
    dsn = WRONG[what].format(closed=closed_port(), port=pg18.port)

    async def scenario(pg: Driver) -> None:
        for options in ({}, {"min_size": 3}):
            started = time.monotonic()
            with pytest.raises(ConnectError) as caught:
                async with pg.Pool(dsn, **options):
                    raise AssertionError("opened")
            assert time.monotonic() - started < SOON
            assert caught.value.errors
            assert caught.value.outcome is Outcome.NOT_SENT

    driver.run(scenario, deadline=20.0)  # it fails if a task or a thread is left behind


@pytest.mark.holds("T10")
def test_a_parameter_that_the_pooler_does_not_know(
    driver: Driver, pg18: PostgresServer, pgbouncer_factory: PgBouncerFactory
) -> None:
    pooler = pgbouncer_factory(pg18)

    async def scenario(pg: Driver) -> None:
        with pytest.raises(ConnectError, match="unsupported startup parameter"):
            async with pg.Pool(pooler.dsn(), server_settings={"jit": "off"}):
                raise AssertionError("opened")
        # Later on, too: whoever waits is told at once.
        async with pg.Pool(pooler.dsn(), server_settings={"jit": "off"}, min_size=0) as pool:
            started = time.monotonic()
            for _ in range(2):
                with pytest.raises(ConnectError, match="unsupported startup parameter"):
                    await pool.fetchval("select 1")
            assert time.monotonic() - started < SOON
            assert "unsupported startup parameter" in str(pool.stats().last_error)

    driver.run(scenario, deadline=20.0)


@pytest.mark.holds("T10")
@pytest.mark.parametrize("what", ["TLS", "database", "role", "parameter"])
def test_what_is_wrong_for_good_is_told_at_once(driver: Driver, pg18: PostgresServer, what: str) -> None:
    dsn = WRONG[what].format(closed=closed_port(), port=pg18.port)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, min_size=0) as pool:
            for _ in range(2):
                started = time.monotonic()
                with pytest.raises(ConnectError):
                    await pool.fetchval("select 1")
                assert time.monotonic() - started < SOON

    driver.run(scenario, deadline=20.0)


@pytest.mark.holds("T10")
def test_a_pool_that_need_not_wait_outlives_an_outage(driver: Driver, pg_restartable: PostgresServer) -> None:
    server = pg_restartable
    server.stop()

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(server.dsn(), max_size=1).open(wait=False) as pool:
            with pytest.raises(PoolTimeout) as caught:
                await acquire(pool, 0.2)
            assert isinstance(caught.value.__cause__, ConnectError)
            assert pool.stats().last_error is not None
            await pg.in_thread(server.start)
            assert await pool.fetchval("select 42") == 42
            assert pool.stats().last_error is None
        async with pg.Pool(server.dsn()) as pool:
            assert pool.stats().idle == 1  # it was waited for

    driver.run(scenario, deadline=60.0)


async def acquire(pool: Any, timeout: float) -> None:
    """Borrow a connection, for a moment."""
    async with pool.acquire(timeout=timeout):
        pass


@pytest.mark.holds("T10")
def test_a_silent_server_keeps_no_pool_for_ever(driver: Driver) -> None:
    with listening_socket() as silent:
        dsn = f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/app?sslmode=disable"

        async def scenario(pg: Driver) -> None:
            with pytest.raises(PoolTimeout):
                async with pg.Pool(dsn, acquire_timeout=0.2):
                    raise AssertionError("opened")
            with pytest.raises(ConnectError):
                async with pg.Pool(dsn, connect_timeout=0.2):
                    raise AssertionError("opened")

        driver.run(scenario)


@everywhere
@pytest.mark.holds("T10", "A6")
def test_open_is_idempotent_and_a_pool_that_failed_is_closed(driver: Driver, pg18: PostgresServer) -> None:
    package: Any = importlib.import_module(f"pgproto_{driver.name.partition('_')[0]}")

    async def good(pool: Any) -> None:
        assert await pool.open() is pool
        assert await pool.open(wait=False) is pool
        assert pool.stats().idle == 1
        await pool.close()
        with pytest.raises(pgproto.PoolClosed):
            await pool.open()

    async def bad(pool: Any) -> None:
        with pytest.raises(ConnectError):
            await pool.open()
        with pytest.raises(pgproto.PoolClosed):
            await pool.fetchval("select 1")
        assert pool.stats().size == 0

    async def scenario(pg: Driver) -> None:
        nowhere = pg18.dsn(dbname="nowhere")
        if pg.name != "blocking":
            await good(package.Pool(pg18.dsn()))
            await bad(package.Pool(nowhere))
            return
        pool = package.Pool(pg18.dsn())
        assert pool.open() is pool.open(wait=False) is pool
        assert pool.stats().idle == 1
        pool.close()
        with pytest.raises(pgproto.PoolClosed):
            pool.open()
        pool = package.Pool(nowhere)
        with pytest.raises(ConnectError):
            pool.open()
        with pytest.raises(pgproto.PoolClosed):
            pool.fetchval("select 1")
        assert pool.stats().size == 0

    driver.run(scenario)


@pytest.mark.holds("D7")
def test_a_mistake_of_on_connect_is_told_at_once(driver: Driver, pg18: PostgresServer) -> None:
    async def mistaken(conn: Any) -> None:
        await conn.execute("select 1")
        raise KeyError("no such setting")

    async def refused(conn: Any) -> None:
        await conn.execute("select * from no_such_table")

    async def scenario(pg: Driver) -> None:
        for hook, kind in ((mistaken, KeyError), (refused, pgproto.PostgresError)):
            started = time.monotonic()
            with pytest.raises(ConnectError, match="on_connect raised") as caught:
                async with pg.Pool(pg18.dsn(), on_connect=hook):
                    raise AssertionError("opened")
            assert isinstance(caught.value.__cause__, kind)
            async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, on_connect=hook) as pool:
                for end in await pg.together(*[lambda: pool.fetchval("select 1")] * 4):
                    assert isinstance(end, ConnectError)
                    assert isinstance(end.__cause__, kind)
            assert time.monotonic() - started < SOON

    driver.run(scenario, deadline=20.0)


@pytest.mark.holds("D8")
def test_a_session_that_had_answered_is_no_failed_connect(driver: Driver, pg18: PostgresServer) -> None:
    """With back-off the next caller would wait for a minute."""

    async def scenario(pg: Driver) -> None:
        slow = {"backoff": 60.0, "max_backoff": 60.0, "acquire_timeout": SOON}
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, **slow) as pool:
            for _ in range(3):
                async with pool.acquire() as conn:
                    assert await conn.fetchval("select 1") == 1
                    with pytest.raises(pgproto.ConnectionLost):
                        await conn.fetchval("select pg_terminate_backend(pg_backend_pid())")
            assert pool.stats().lost == 3

    driver.run(scenario, deadline=20.0)


@pytest.mark.holds("S3")
def test_a_batch_that_gets_no_connection_was_not_sent(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, acquire_timeout=0.1) as pool:
            batch = Batch()
            items = [batch.queue("select 1"), batch.queue("select 2")]
            async with pool.acquire():
                with pytest.raises(PoolTimeout) as caught:
                    await pool.send_batch(batch)
            for item in items:
                assert item.outcome is Outcome.NOT_SENT
                assert item.error is caught.value
            await pool.send_batch(batch)  # it was not sent, so it can be
            assert [item.rows for item in items] == [[(1,)], [(2,)]]
            with pytest.raises(pgproto.LocalProtocolError, match="sent before"):
                await pool.send_batch(batch)
            assert [item.outcome for item in items] == [Outcome.COMMITTED] * 2
        async with pg.connect(pg18.dsn()) as conn:
            await conn.close()
            batch = Batch(atomic=False)
            item = batch.queue("select 1")
            with pytest.raises(pgproto.ConnectionClosed) as closed:
                await conn.send_batch(batch)
            assert (item.outcome, item.error) == (Outcome.NOT_SENT, closed.value)

    driver.run(scenario)


@pytest.mark.holds("S7")
def test_two_hundred_callers_without_a_connection_are_one_message(
    driver: Driver, pg18: PostgresServer
) -> None:
    callers = 200

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, acquire_timeout=0.3) as pool, pool.acquire():
            ends = await pg.together(*[lambda: pool.fetchval("select 1")] * callers)
            assert {type(end) for end in ends} == {PoolTimeout}
            assert {str(end) for end in ends} == {"no connection became free in time"}
            assert {(end.size, end.used, end.idle, end.opening) for end in ends} == {(1, 1, 0, 0)}
            assert max(end.waiting for end in ends) > 0
        async with pg.Pool(pg18.dsn(), max_size=1, max_waiting=0) as pool, pool.acquire():
            with pytest.raises(TooManyWaiting) as caught:
                await pool.fetchval("select 1")
            assert str(caught.value) == "the pool's queue of waiting callers is full"
            assert (caught.value.size, caught.value.used) == (1, 1)

    driver.run(scenario, deadline=30.0)


@pytest.mark.holds("S7", "T10")
def test_a_timeout_says_why_connecting_fails(driver: Driver) -> None:
    def starting_up(peer: Peer) -> None:
        peer.receive_startup()
        peer.raw(fatal("57P03", "the database system is starting up"))
        peer.finish()

    with ScriptedServer(starting_up, then=starting_up) as server:

        async def scenario(pg: Driver) -> None:
            with pytest.raises(ConnectError) as told:
                async with pg.Pool(server.dsn()):
                    raise AssertionError("opened")
            assert told.value.sqlstate == "57P03"
            async with pg.Pool(server.dsn(), min_size=0, acquire_timeout=0.3) as pool:
                with pytest.raises(PoolTimeout) as caught:
                    await pool.fetchval("select 1")
                assert isinstance(caught.value.__cause__, ConnectError)
                last = pool.stats().last_error
                assert isinstance(last, ConnectError)
                assert last.sqlstate == "57P03"

        driver.run(scenario)


@pytest.mark.holds("S1")
@pytest.mark.parametrize("how", ["57P05", "25P03", "57P01"])
def test_a_session_that_the_server_ended_while_it_was_idle(
    driver: Driver, pg18: PostgresServer, how: str
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            pid = conn.pid
            if how == "57P05":
                await conn.script("set idle_session_timeout = 50")
            elif how == "25P03":
                await conn.script("set idle_in_transaction_session_timeout = 50; begin")
            else:
                await pg.in_thread(lambda: pg18.query(f"select pg_terminate_backend({pid}, 10000)"))
            gone = f"select count(*) from pg_stat_activity where pid = {pid}"
            await pg.in_thread(lambda: wait_until(lambda: pg18.query(gone) == [["0"]]))
            with pytest.raises((pgproto.ConnectionClosed, pgproto.ConnectionLost)) as caught:
                while True:  # asyncio may not have read it yet
                    await conn.fetchval("select 1")
            error = caught.value
            assert getattr(error, "sqlstate", "") == how
            assert "server ended" in str(error) or "was lost" in str(error)
            assert how in str(error)
            with pytest.raises(pgproto.ConnectionClosed, match="the server ended the session") as again:
                await conn.fetchval("select 1")
            assert again.value.sqlstate == how
            assert again.value.outcome is Outcome.NOT_SENT
            assert pgproto.Retry().should_retry(again.value, 1)

    driver.run(scenario)


def wait_until(happened: Any) -> None:
    """Ask until it is so, or the scenario's deadline ends it."""
    end = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < end


@pytest.mark.holds("S2", "S5")
def test_the_statement_of_an_error(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            with pytest.raises(pgproto.PostgresError) as caught:
                await conn.fetch("select *\nfrom no_such_table where a = $1", 1)
            error = caught.value
            assert error.query == "select *\nfrom no_such_table where a = $1"
            assert error.report().splitlines()[1:3] == [
                "LINE 2: from no_such_table where a = $1",
                "             ^",
            ]
            assert "where" not in f"{error} {error!r}"
            with pytest.raises(pgproto.PostgresError) as caught:
                async with conn.transaction():
                    await conn.script("select nonsense")  # behind a BEGIN that goes out with it
            assert "              ^" in caught.value.report()
            assert caught.value.report().splitlines()[1].endswith("select nonsense")
            for wrong in ("select 1; select 2", "select %s", "select 1 in $1"):
                with pytest.raises(pgproto.PostgresError) as caught:
                    await conn.fetch(wrong)
                assert len(caught.value.__notes__) == 1
            with pytest.raises(pgproto.PostgresError) as caught:
                await conn.copy_in("copy no_such_table from stdin", [b"1\n"])
            assert caught.value.query == "copy no_such_table from stdin"

    driver.run(scenario)


@pytest.mark.holds("S2")
@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_s_error_names_the_statement_and_the_step(
    driver: Driver, pg18: PostgresServer, atomic: bool
) -> None:
    wrong: list[tuple[str, str, tuple[object, ...]]] = [
        ("prepare", "select secret from no_such_table", ()),
        ("encode", "select $1::int4 as secret", ("x",)),
        ("run", "select 1 / $1::int4 as secret", (0,)),
    ]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            for step, sql, args in wrong:
                batch = Batch(atomic=atomic)
                batch.queue("select 1")
                item = batch.queue(sql, *args)
                if atomic:
                    with pytest.raises(pgproto.Error):
                        await conn.send_batch(batch)
                else:
                    await conn.send_batch(batch)
                error = item.error
                assert isinstance(error, pgproto.Error)
                assert error.query == sql
                assert error.__notes__ == [f"in statement 2 of the batch ({step})"]
                assert "secret" not in f"{error} {error!r}"

    driver.run(scenario)


@pytest.mark.holds("S5")
def test_a_lease_that_is_taken_for_a_connection(driver: Driver, pg18: PostgresServer) -> None:
    make: dict[str, Any] = {
        "asyncio": pgproto_asyncio.Pool,
        "trio": pgproto_trio.Pool,
        "blocking": pgproto_blocking.Pool,
    }
    way = "with pool.acquire() as conn" if driver.name == "blocking" else "async with pool.acquire() as conn"

    async def scenario(pg: Driver) -> None:
        lease = make[pg.name](pg18.dsn()).acquire()
        for name in ("fetch", "execute", "transaction", "listen"):
            with pytest.raises(AttributeError, match="a lease is no connection") as caught:
                getattr(lease, name)
            assert f"`{way}`" in str(caught.value)
            assert repr(name) in str(caught.value)
        assert not hasattr(lease, "anything")

    driver.run(scenario)
