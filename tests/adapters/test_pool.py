"""The pool on a real server: sessions are reset, dead connections replaced, callers served in order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pgproto import (
    Batch,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Outcome,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    Retry,
    TooManyWaiting,
)
from pgproto.session import DEFAULT
from pgproto_pytest import Driver
from pgproto_pytest.process import wait_until
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

TICK = 0.01
"""More than the resolution of every loop's clock, in seconds (uvloop's has milliseconds)."""


@pytest.fixture(autouse=True)
def tables(pg18: PostgresServer) -> Iterator[None]:
    pg18.query("""
        create table retried (run int not null);
        create table suicidal (a int);
        create function suicide() returns trigger language plpgsql as
            $$ begin perform pg_terminate_backend(pg_backend_pid()), pg_sleep(1); return null; end $$;
        create constraint trigger at_commit after insert on suicidal
            deferrable initially deferred for each row execute function suicide();
    """)
    yield
    pg18.query("drop table retried, suicidal; drop function suicide")


@pytest.fixture
def dsn(pg18: PostgresServer) -> str:
    return pg18.dsn()


async def until(pg: Driver, condition: Callable[[], bool], what: str, timeout: float = 5.0) -> None:
    """Wait while the adapter goes on."""
    await pg.in_thread(lambda: wait_until(condition, timeout, what))


# ---- Connecting


def test_a_wrong_password(driver: Driver, pg18: PostgresServer) -> None:
    """A permanent failure reaches who waits at once, and is not tried for ever."""

    async def scenario(pg: Driver) -> None:
        dsn = pg18.dsn(user="scram_user", password="not-this-one")
        async with pg.Pool(dsn, min_size=0, max_size=2) as pool:
            with pytest.raises(ConnectError) as caught:
                await pool.fetchval("select 1")
            assert caught.value.sqlstate == "28P01"
            assert "not-this-one" not in str(caught.value)
            assert pool.stats().open_failures == 1

    driver.run(scenario)


# ---- The lease


def test_a_handle_ends_with_its_lease(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            async with pool.acquire() as conn:
                assert await conn.fetchval("select 1") == 1
            with pytest.raises(ConnectionClosed) as caught:
                await conn.fetchval("select 1")
            assert caught.value.outcome is Outcome.NOT_SENT
            batch = Batch()
            batch.queue("select 1")
            with pytest.raises(ConnectionClosed):
                await conn.send_batch(batch)
            assert conn.closed
            await conn.close()  # not the next borrower's business
            assert await pool.fetchval("select 2") == 2
            assert pool.stats().opens == 1

    driver.run(scenario)


# ---- Dead connections


def test_dead_idle_connections_are_replaced_without_an_error(
    driver: Driver, dsn: str, pg18: PostgresServer
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, min_size=5, max_size=5) as pool:
            async with contextlib.AsyncExitStack() as stack:
                conns = [await stack.enter_async_context(pool.acquire()) for _ in range(5)]
                pids = [conn.pid for conn in conns]
            dead = pids[:3]
            kill = f"select pg_terminate_backend(pid, 5000) from unnest('{set(dead)}'::int[]) pid"
            assert await pg.in_thread(lambda: pg18.query(kill)) == [["t"]] * 3
            assert await pool.fetchval("select 42") == 42
            async with contextlib.AsyncExitStack() as stack:
                now = [(await stack.enter_async_context(pool.acquire())).pid for _ in range(5)]
            assert set(now) & set(pids) == set(pids[3:])
            stats = pool.stats()
            assert stats.opens == 8
            assert stats.lost == 3
            assert stats.size == 5

    driver.run(scenario)


def test_all_are_dead(driver: Driver, dsn: str, pg18: PostgresServer) -> None:
    """They have been dead for so short a time that nobody was told: a look at their sockets shows it."""

    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            async with pg.Pool(pg18.dsn(port=proxy.port), min_size=3, max_size=3) as pool:
                await until(pg, lambda: pool.stats().idle == 3, "three connections")
                # A connection that was heard of in this very moment is not looked at.
                opened = time.monotonic()
                await until(pg, lambda: time.monotonic() > opened + TICK, "another moment")
                proxy.close_connections()
                assert await pool.fetchval("select 42") == 42
                assert pool.stats().lost == 3

    driver.run(scenario)


def test_a_connection_that_dies_while_it_is_used(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            with pytest.raises(ConnectionLost) as caught:
                await pool.fetchval("select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
            assert caught.value.sqlstate == "57P01"
            assert await pool.fetchval("select 42") == 42
            stats = pool.stats()
            assert (stats.opens, stats.lost, stats.size) == (2, 1, 1)

    driver.run(scenario)


# ---- The queue


def test_first_come_first_served(driver: Driver, dsn: str) -> None:
    served: list[int] = []

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:

            def borrower(number: int) -> Callable[[], Awaitable[None]]:
                async def run() -> None:
                    await until(pg, lambda: _queue(pool) == (1, number), f"turn {number}")
                    async with pool.acquire() as conn:
                        served.append(number)
                        await conn.fetchval("select 1")

                return run

            async def holder() -> None:
                async with pool.acquire():
                    await until(pg, lambda: pool.stats().waiting == 5, "a queue of five")

            async with pool.acquire():
                pass
            ends = await pg.together(holder, *[borrower(number) for number in range(5)])
            assert ends == [None] * 6
            assert pool.stats().waits >= 5

    driver.run(scenario)
    assert served == list(range(5))


def _queue(pool: Any) -> tuple[int, int]:
    """How many connections are lent, and how many callers wait."""
    stats = pool.stats()
    return stats.used, stats.waiting


def test_acquire_timeout(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1, acquire_timeout=0.2) as pool, pool.acquire():
            for timeout, least in ((DEFAULT, 0.2), (0.1, 0.1), (0, 0.0)):
                started = time.monotonic()
                with pytest.raises(PoolTimeout) as caught:
                    async with pool.acquire(timeout=timeout):
                        pass
                assert caught.value.outcome is Outcome.NOT_SENT
                assert least - TICK <= time.monotonic() - started < least + 0.5
            assert pool.stats().timeouts == 3

    driver.run(scenario)


def test_max_waiting(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1, max_waiting=1) as pool:
            refused: list[Exception] = []

            async def holder() -> None:
                async with pool.acquire():
                    await until(pg, lambda: bool(refused), "the third is refused")

            async def second() -> None:
                await until(pg, lambda: pool.stats().used == 1, "the first has it")
                assert await pool.fetchval("select 2") == 2

            async def third() -> None:
                await until(pg, lambda: pool.stats().waiting == 1 and pool.stats().used == 1, "one waits")
                with pytest.raises(TooManyWaiting) as caught:
                    await pool.fetchval("select 3")
                assert caught.value.outcome is Outcome.NOT_SENT
                refused.append(caught.value)

            assert await pg.together(holder, second, third) == [None] * 3
            assert pool.stats().rejected == 1

    driver.run(scenario)


# ---- Retry


def test_retry_repeats_a_serialization_failure(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            runs: list[int] = []

            async def work(conn: Any) -> int:
                runs.append(conn.pid)
                await conn.execute("insert into retried values ($1)", len(runs))
                if len(runs) < 3:
                    await conn.execute("do $$ begin raise exception using errcode = '40001'; end $$")
                return 42

            assert await pool.retry(work, retry=Retry(delay=0.01)) == 42
            assert len(runs) == 3
            assert [row[0] for row in await pool.fetch("select run from retried")] == [3]

            async def broken(conn: Any) -> None:
                runs.append(0)
                await conn.execute("insert into retried values (null)")

            with pytest.raises(PostgresError) as caught:
                await pool.retry(broken)
            assert caught.value.sqlstate == "23502"
            assert runs.count(0) == 1

    driver.run(scenario)


def test_retry_repeats_a_transaction_that_was_lost(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            async with pg.Pool(pg18.dsn(port=proxy.port), max_size=1) as pool:
                runs: list[int] = []

                async def work(conn: Any) -> None:
                    runs.append(conn.pid)
                    await conn.execute("insert into retried values ($1)", len(runs))
                    if len(runs) == 1:
                        proxy.reset()
                        await conn.fetchval("select 1")  # unknown itself, but the block never got to COMMIT

                await pool.retry(work, retry=Retry(delay=0.01))
                assert len(runs) == 2

    driver.run(scenario)


def test_an_unknown_commit_is_not_repeated(driver: Driver, pg18: PostgresServer) -> None:
    """A deferred trigger kills the session during COMMIT, after it was handed over: UNKNOWN, so only once."""

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            runs: list[int] = []

            async def work(conn: Any) -> None:
                runs.append(conn.pid)
                await conn.execute("insert into suicidal values (1)")

            with pytest.raises(ConnectionLost) as caught:
                await pool.retry(work, retry=Retry(delay=0.01))
            assert caught.value.sqlstate == "57P01"
            assert caught.value.outcome is Outcome.UNKNOWN
            assert len(runs) == 1
            assert await pool.fetchval("select 42") == 42

    driver.run(scenario)


# ---- Hooks


def test_hooks(driver: Driver, dsn: str) -> None:
    seen: list[str] = []

    async def on_connect(conn: Any) -> None:
        await conn.execute("set my.tenant = '7'")
        seen.append("connect")

    async def on_acquire(conn: Any) -> bool:
        seen.append("acquire")
        return bool(await conn.fetchval("select current_setting('my.tenant') = '7'"))

    def on_release(conn: Any) -> None:
        seen.append("release")

    def on_close(conn: Any) -> None:
        seen.append("close")

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(
            dsn,
            max_size=1,
            on_connect=on_connect,
            on_acquire=on_acquire,
            on_release=on_release,
            on_close=on_close,
        ) as pool:
            assert await pool.fetchval("select 1") == 1
            await until(pg, lambda: pool.stats().idle == 1, "it came back")

    driver.run(scenario)
    assert seen == ["connect", "acquire", "release", "close"]


def test_hooks_that_say_no(driver: Driver, dsn: str) -> None:
    pids: list[int] = []

    def picky(conn: Any) -> bool:
        pids.append(conn.pid)
        return len(pids) > 1

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=2, on_acquire=picky) as pool:
            async with pool.acquire() as conn:
                assert conn.pid == pids[1]
            assert pids[0] != pids[1]
        async with pg.Pool(dsn, max_size=2, on_acquire=lambda conn: False) as pool:
            with pytest.raises(ConnectError, match="refused"):
                await pool.fetchval("select 1")
        async with pg.Pool(dsn, max_size=1, on_release=lambda conn: False) as pool:
            first = await pool.fetchval("select pg_backend_pid()")
            assert await pool.fetchval("select pg_backend_pid()") != first

    driver.run(scenario)


def test_on_connect_that_raises(driver: Driver, dsn: str) -> None:
    tries: list[int] = []

    def fails_at_first(conn: Any) -> None:
        tries.append(conn.pid)
        if len(tries) < 3:
            raise OSError("not today")

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, min_size=0, max_size=1, on_connect=fails_at_first) as pool:
            assert await pool.fetchval("select 42") == 42
            assert pool.stats().open_failures == 2

    driver.run(scenario)


@pytest.mark.parametrize("uses", [True, False], ids=["on_connect fails", "on_connect succeeds"])
def test_a_session_that_ends_before_it_is_lent(
    driver: Driver, dsn: str, pg18: PostgresServer, uses: bool
) -> None:
    """The server ends it while `on_connect` has it: nobody's fault, the next one is as good."""
    killed: list[int] = []

    async def scenario(pg: Driver) -> None:
        async def on_connect(conn: Any) -> None:
            if killed:
                return
            killed.append(conn.pid)
            with pytest.raises(ConnectionLost):
                await conn.script(f"select pg_terminate_backend({conn.pid}), pg_sleep(5)")
            if uses:
                await conn.script("select 1")  # ConnectionClosed

        async with pg.Pool(dsn, min_size=0, max_size=1, on_connect=on_connect) as pool:
            assert await pool.fetchval("select 42") == 42
            assert pool.stats().open_failures == 1

    driver.run(scenario)


def test_on_connect_that_leaves_a_transaction_open(driver: Driver, dsn: str) -> None:
    async def on_connect(conn: Any) -> None:
        await conn.script("begin")

    async def scenario(pg: Driver) -> None:
        with pytest.raises(ConnectError, match="or in a transaction"):
            async with pg.Pool(dsn, max_size=1, on_connect=on_connect):
                raise AssertionError("opened")
        async with pg.Pool(dsn, min_size=0, max_size=1, on_connect=on_connect) as pool:
            with pytest.raises(ConnectError, match="or in a transaction"):
                await pool.fetchval("select 42")

    driver.run(scenario)


# ---- Size and life


def test_min_size_is_opened_at_once_and_kept(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, min_size=3, max_size=5) as pool:
            await until(pg, lambda: pool.stats().idle == 3, "min_size")
            async with pool.acquire() as conn:
                await conn.close()
            await until(pg, lambda: pool.stats().idle == 3, "min_size again")
            assert pool.stats().opens == 4

    driver.run(scenario)


def test_expire(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=2) as pool:
            async with pool.acquire() as conn:
                pid = conn.pid
                pool.expire()
                assert await conn.fetchval("select pg_backend_pid()") == pid
            assert await pool.fetchval("select pg_backend_pid()") != pid
            assert pool.stats().retired["expired"] >= 1

    driver.run(scenario)


def test_lifetime_and_idle_limit(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, min_size=0, max_size=2, max_idle=0.1) as pool:
            await pool.fetchval("select 1")
            await until(pg, lambda: pool.stats().size == 0, "idle ones are closed")
        async with pg.Pool(dsn, min_size=1, max_size=1, max_lifetime=0.1) as pool:
            await until(pg, lambda: pool.stats().opens >= 3, "old ones are replaced")

    driver.run(scenario)


def test_an_old_connection_is_pinged_before_it_is_lent(driver: Driver, pg18: PostgresServer) -> None:
    """A silent network is found out by the ping, not by the caller's query."""

    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            dsn = pg18.dsn(port=proxy.port)
            async with pg.Pool(dsn, max_size=1, check_after=0, check_timeout=0.2) as pool:
                assert await pool.fetchval("select 1") == 1
                proxy.black_hole()
                with pytest.raises(PoolTimeout):
                    async with pool.acquire(timeout=0.5):
                        pass
                proxy.heal()
                started = time.monotonic()
                assert await pool.fetchval("select 2") == 2
                assert time.monotonic() - started < 1
                assert pool.stats().retired["check_failed"] >= 1

    driver.run(scenario)


# ---- The end


def test_close_waits_for_borrowers_and_then_takes_away(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        pool: Any
        async with pg.Pool(dsn, max_size=2) as pool:
            async with pool.acquire() as conn:
                started = time.monotonic()
                await pool.close(timeout=0.2)
                assert 0.2 - TICK <= time.monotonic() - started < 1.5
                with pytest.raises((ConnectionClosed, ConnectionLost)):
                    await conn.fetchval("select 1")
            with pytest.raises(PoolClosed):
                await pool.fetchval("select 1")
            await pool.close()
            assert pool.stats().size == 0

    driver.run(scenario)


def test_close_tells_those_who_wait(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool, pool.acquire():

            async def waiter() -> None:
                await pool.fetchval("select 1")

            async def closer() -> None:
                await until(pg, lambda: pool.stats().waiting == 1, "one waits")
                await pool.close(timeout=0.1)

            ends = await pg.together(waiter, closer)
            assert isinstance(ends[0], PoolClosed)
            assert ends[0].outcome is Outcome.NOT_SENT
            assert ends[1] is None

    driver.run(scenario)
