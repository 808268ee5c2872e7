"""Features of trio's pool only: its nursery, its shielded tasks, and leaving its block in every way."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

import pgproto_trio as pg
from pgproto import (
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    Retry,
)
from pgproto_trio import Connection
from tests.support.postgres import PostgresServer
from tests.support.under_trio import run


def test_the_pool_once_around(pg: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg, max_size=2) as pool:
            assert await pool.fetchval("select $1::int4", 1) == 1
            assert await pool.execute("create table if not exists trio_pool (a int4)") == "CREATE TABLE"
            await pool.execute("truncate trio_pool")
            async with pool.transaction() as conn:
                await conn.execute("insert into trio_pool values (1)")
            with pytest.raises(ZeroDivisionError):
                async with pool.transaction() as conn:
                    await conn.execute("insert into trio_pool values (2)")
                    raise ZeroDivisionError
            assert await pool.copy_in("copy trio_pool from stdin", b"3\n") == 1
            assert await pool.copy_records("trio_pool", [(4,)], columns=["a"]) == 1
            async with pool.copy_out("copy (select a from trio_pool order by a) to stdout") as chunks:
                assert b"".join([chunk async for chunk in chunks]) == b"1\n3\n4\n"
            attempts = []

            async def work(conn: Connection) -> object:
                attempts.append(conn)
                if len(attempts) == 1:
                    await conn.execute("do $$ begin raise sqlstate '40001'; end $$")
                return await conn.fetchval("select 'done'")

            assert await pool.retry(work, retry=Retry(delay=0.001)) == "done"
            with pytest.raises(PostgresError):
                await pool.retry(lambda conn: conn.fetchval("select 1/0"))
            await pool.execute("drop table trio_pool")
            assert len(attempts) == 2
            before = pool.stats().opens
            pool.expire()
            await pool.fetchval("select 1")
            assert pool.stats().opens == before + 1
        with pytest.raises(PoolClosed):
            await pool.fetchval("select 1")

    run(main)


def new_pool(server: PostgresServer, **options: Any) -> pg.Pool:
    return pg.Pool(server.dsn(), **options)


def test_what_leaves_the_block_is_no_group(pg18: PostgresServer) -> None:
    async def main() -> None:
        error = RuntimeError("the block's own")
        with pytest.raises(RuntimeError) as caught:
            async with new_pool(pg18) as pool:
                await pool.fetchval("select 1")
                raise error
        assert caught.value is error
        with trio.CancelScope() as scope, pytest.raises(trio.Cancelled):
            async with new_pool(pg18) as pool:
                scope.cancel()
                await pool.fetchval("select 1")
        assert pool.stats().size == 0

    run(main)


def test_a_pool_is_entered_once(pg18: PostgresServer) -> None:
    async def main() -> None:
        pool = new_pool(pg18)
        async with pool:
            with pytest.raises(LocalProtocolError, match="entered already"):
                await pool.__aenter__()
            lease = pool.acquire()
            async with lease:
                with pytest.raises(LocalProtocolError, match="in use"):
                    await lease.__aenter__()
            await pool.close()
            await pool.close()

    run(main)


def test_a_pool_that_was_never_opened_can_be_closed(pg18: PostgresServer) -> None:
    async def main() -> None:
        await new_pool(pg18).close()

    run(main)


def test_a_returned_handle_does_nothing_any_more(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18) as pool:
            async with pool.acquire() as conn:
                pass
            with pytest.raises(ConnectionClosed):
                await conn.fetchval("select 1")

    run(main)


def test_close_takes_away_what_is_not_returned(pg18: PostgresServer) -> None:
    async def main() -> None:
        lost: list[ConnectionLost] = []

        async def borrow(pool: pg.Pool) -> None:
            async with pool.acquire() as conn:
                try:
                    await conn.execute("select pg_sleep(60)")
                except ConnectionLost as error:
                    lost.append(error)

        async with trio.open_nursery() as nursery, new_pool(pg18, max_size=1) as pool:
            nursery.start_soon(borrow, pool)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await pool.close(timeout=0.1)
        assert len(lost) == 1
        assert pool.stats().size == 0

    run(main)


def test_a_cancelled_close_does_not_wait_for_borrowers(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, max_size=1) as pool, pool.acquire() as conn:
            with trio.move_on_after(0.05) as scope:
                await pool.close(timeout=100)
            assert scope.cancelled_caught
            assert conn.closed

    run(main)


def test_attempts_to_connect_are_called_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async def main() -> None:
            before = trio.current_time()
            pool = pg.Pool(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable", min_size=3)
            async with pool.open(wait=False):
                with pytest.raises(PoolTimeout):
                    await _acquire(pool, 0.05)
                assert pool.stats().opening == 3
            assert trio.current_time() - before < 5
            assert pool.stats().size == 0

        run(main)


async def _acquire(pool: pg.Pool, timeout: float) -> None:
    async with pool.acquire(timeout=timeout):
        pass


def test_a_permanent_failure_fails_its_callers_at_once(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with pg.Pool(pg18.dsn(dbname="nowhere")).open(wait=False) as pool:
            with pytest.raises(ConnectError):
                await pool.fetchval("select 1")

    run(main)


def test_hooks(pg18: PostgresServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        seen: list[str] = []
        answers = [False, True]

        async def on_connect(conn: Connection) -> None:
            seen.append("connect")
            await conn.execute("set application_name = 'hooked'")

        def on_acquire(conn: Connection) -> bool:
            seen.append("acquire")
            return answers.pop(0)

        async def on_release(conn: Connection) -> bool:
            await trio.lowlevel.checkpoint()
            seen.append("release")
            return False

        def on_close(conn: Connection) -> None:
            seen.append("close")
            raise RuntimeError("a bad hook")

        async with new_pool(
            pg18,
            min_size=0,
            on_connect=on_connect,
            on_acquire=on_acquire,
            on_release=on_release,
            on_close=on_close,
        ) as pool:
            assert await pool.fetchval("show application_name") == "hooked"
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert sorted(seen) == ["acquire", "acquire", "close", "close", "connect", "connect", "release"]
            assert pool.stats().size == 0
        assert "a bad hook" in caplog.text

    run(main)


def test_a_hook_that_hangs_holds_nothing_up(pg18: PostgresServer) -> None:
    async def hang(conn: Connection) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        before = trio.current_time()
        async with new_pool(pg18, min_size=0, on_release=hang, on_close=hang, reset_timeout=0.1) as pool:
            await pool.fetchval("select 1")
            await pool.fetchval("select 1")
        assert trio.current_time() - before < 2
        with trio.move_on_after(0.1):
            async with new_pool(pg18, min_size=1, on_connect=hang) as pool:
                await pool.fetchval("select 1")
        assert pool.stats().size == 0

    run(main)


def test_idle_connections_age_on_trios_clock(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, min_size=0, max_idle=100, max_lifetime=None) as pool:
            await pool.fetchval("select 1")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert pool.stats().idle == 1
            clock.jump(101)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert pool.stats().retired["idle"] == 1

    clock = trio.testing.MockClock(rate=1.0)
    run(main, seconds=1000, clock=clock)


def test_a_dead_idle_connection_is_not_lent(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, max_size=1) as pool:
            pid = await pool.fetchval("select pg_backend_pid()")
            pg18.query(f"select pg_terminate_backend({pid}, 5000)")
            assert await pool.fetchval("select pg_backend_pid()") != pid
            assert pool.stats().lost == 1

    run(main)


def test_a_long_idle_connection_is_asked_first(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, max_size=1, check_after=0) as pool:
            pid = await pool.fetchval("select pg_backend_pid()")
            assert await pool.fetchval("select pg_backend_pid()") == pid

    run(main)


def test_a_dropped_iterator_returns_its_connection(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, max_size=1) as pool:
            async for chunk in pool.copy_out("copy (select generate_series(1, 20000)) to stdout"):
                assert chunk.startswith(b"1\n2\n")
                break
            assert await pool.fetchval("select 1") == 1
            unused = pool.copy_out("copy (select 1) to stdout")
            await unused.aclose()
            del unused
            assert await pool.fetchval("select 2") == 2

    run(main)


def test_a_cancelled_new_query_does_not_cost_the_connection(pg18: PostgresServer) -> None:
    async def main() -> None:
        async with new_pool(pg18, max_size=1) as pool:
            pid = await pool.fetchval("select pg_backend_pid()")
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pool.fetchval, "select 'never prepared before'")
                    await trio.lowlevel.checkpoint()
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert await pool.fetchval("select pg_backend_pid()") == pid

    run(main)


def test_a_crash_in_a_task_of_the_pool_ends_the_block(pg18: PostgresServer) -> None:
    def interrupted(conn: Connection) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with new_pool(pg18, min_size=1, on_connect=interrupted):
                await trio.sleep_forever()
        assert caught.value.split(KeyboardInterrupt)[1] is None

    run(main)
