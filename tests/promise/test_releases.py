"""A lease ends once, whoever ends it: two threads or tasks at once, a hook, a call that goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio

import pgproto_blocking
import pgproto_sockets.link
import pgproto_trio
from pgproto import Batch, ConnectionClosed, ConnectionLost, Error, Outcome, PoolTimeout, PostgresError
from pgproto_blocking.transport import Transport
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer

BOUND = 10.0


class Slow:
    """An `on_release` of the blocking pool that goes on when it is told to."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.enough = threading.Event()

    def __call__(self, conn: Any) -> None:
        self.calls += 1
        self.begun.set()
        assert self.enough.wait(BOUND)
        assert conn.fetchval("select 1") == 1


@pytest.mark.parametrize("second", ["release", "exit"])
def test_two_threads_give_one_connection_back(pg18: PostgresServer, second: str) -> None:
    hook = Slow()
    with pgproto_blocking.Pool(pg18.dsn(), max_size=1, on_release=hook) as pool:
        lease = pool.acquire()
        conn = lease.__enter__()
        pid = conn.pid
        thread = threading.Thread(target=pool.release, args=(conn,))
        thread.start()
        assert hook.begun.wait(BOUND)
        if second == "release":
            pool.release(conn)
        else:
            lease.__exit__(None, None, None)
        assert (hook.calls, pool.stats().used) == (1, 1)  # the hook has it still
        with pytest.raises(ConnectionClosed):
            conn.fetchval("select 1")
        hook.enough.set()
        with pool.transaction() as other:
            thread.join(BOUND)
            pool.release(conn)
            assert other.fetchval("select pg_backend_pid()") == pid
            assert (other.transaction_status, pool.stats().used) == ("T", 1)
        assert (hook.calls, pool.stats().used, pool.stats().size) == (2, 0, 1)


def test_two_tasks_give_one_connection_back(parallel: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        calls = 0

        async def on_release(conn: Any) -> None:
            nonlocal calls
            calls += 1
            await conn.execute("select pg_sleep(0.05)")

        async with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            for _ in range(2):
                lease = pool.acquire()
                conn = await lease.start()
                again = lambda conn=conn: pool.release(conn)  # noqa: E731
                leave = lambda lease=lease: lease.__aexit__(None, None, None)  # noqa: E731
                assert await pg.together(again, leave, again) == [None] * 3
                async with pool.transaction() as other:
                    await pool.release(conn)
                    assert await other.fetchval("select 1") == 1
                    assert (other.transaction_status, pool.stats().used) == ("T", 1)
            await pool.fetchval("select 1")
        assert (calls, pool.stats().retired["broken"]) == (5, 0)

    parallel.run(scenario)


def test_a_hook_that_gives_the_connection_back(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        handles: list[Any] = []
        pools: list[Any] = []

        async def on_release(conn: Any) -> None:
            await pools[0].release(handles[0])
            assert await conn.fetchval("select 1") == 1

        async with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            pools.append(pool)
            handles.append(await pool.acquire())
            await pool.release(handles[0])
            async with pool.acquire() as conn:
                assert await conn.fetchval("select 1") == 1
                assert pool.stats().used == 1
            assert (pool.stats().retired["broken"], pool.stats().opens) == (0, 1)

    driver.run(scenario)


@pytest.mark.parametrize("hooked", [False, True])
def test_a_connection_that_is_given_back_while_a_thread_uses_it(pg18: PostgresServer, hooked: bool) -> None:
    calls: list[bool] = []

    def on_release(conn: pgproto_blocking.Connection) -> None:
        calls.append(conn.fetchval("select 1") == 1)

    options: dict[str, Any] = {"on_release": on_release} if hooked else {}
    with pgproto_blocking.Pool(pg18.dsn(), max_size=1, acquire_timeout=5.0, **options) as pool:
        conn = pool.acquire().start()
        asleep = threading.Event()
        conn.on_notice = lambda notice: asleep.set()
        ends: list[BaseException | None] = []

        def use() -> None:
            try:
                conn.script("do $$ begin raise notice 'now'; perform pg_sleep(0.3); end $$")
            except Error as error:
                ends.append(error)
            else:
                ends.append(None)

        thread = threading.Thread(target=use)
        thread.start()
        assert asleep.wait(BOUND)
        pool.release(conn)
        with pool.transaction() as other:
            assert other.fetchval("select 1") == 1
            assert other.fetchval("select 2") == 2
        thread.join(BOUND)
        (end,) = ends  # its own end, or that of its connection
        assert end is None or isinstance(end, ConnectionLost | PostgresError)
        assert end is None or end.outcome in (Outcome.UNKNOWN, Outcome.FAILED)
        assert calls == [True] * len(calls)


CALLS: dict[str, Callable[[pgproto_blocking.Connection], object]] = {
    "execute": lambda conn: conn.execute("set application_name = 'late'"),
    "script": lambda conn: conn.script("set application_name = 'late'"),
    "batch": lambda conn: conn.send_batch(_batch()),
    "stream": lambda conn: list(conn.stream("select set_config('application_name', 'late', false)")),
    "executemany": lambda conn: conn.executemany(
        "select set_config('application_name', $1, false)", [["late"]]
    ),
    "transaction": lambda conn: conn.transaction().start(),
    "copy_out": lambda conn: list(conn.copy_out("copy (values (1)) to stdout")),
}


def _batch() -> Batch:
    batch = Batch()
    batch.queue("set application_name = 'late'")
    return batch


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_comes_too_late_does_not_reach_the_next_borrower(
    pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Its thread had the handle, and was about to call; when its turn has come the lease is over."""
    with pgproto_blocking.Pool(pg18.dsn(), max_size=1) as pool:
        conn = pool.acquire().start()
        if call == "transaction":
            assert conn.fetchval("select 1") == 1
        pid, others = conn.pid, []
        alone = Transport.alone

        def late(self: Transport, *args: Any, **options: Any) -> None:
            monkeypatch.undo()
            pool.release(conn)
            others.append(pool.acquire().start())
            others[0].script("begin")
            alone(self, *args, **options)

        monkeypatch.setattr(Transport, "alone", late)
        with pytest.raises(ConnectionClosed, match="given back") as caught:
            CALLS[call](conn)
        assert caught.value.outcome is Outcome.NOT_SENT
        (other,) = others
        assert (other.pid, other.transaction_status) == (pid, "T")
        assert other.fetchval("show application_name") != "late"
        other.script("rollback")
        pool.release(other)


@pytest.mark.parametrize("call", ["execute", "script", "stream"])
def test_a_task_that_comes_too_late_does_not_reach_the_next_borrower(
    pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """It waits for what another task has abandoned, and meanwhile the lease ends."""

    async def main() -> None:
        async with pgproto_trio.Pool(pg18.dsn(), max_size=1) as pool:
            conn = await pool.acquire()
            pid, others = conn.pid, []
            rest = pgproto_sockets.link.Link.rest

            async def late(self: Any) -> None:
                monkeypatch.undo()
                await pool.release(conn)
                others.append(await pool.acquire())
                await others[0].script("begin")
                await rest(self)

            monkeypatch.setattr(pgproto_sockets.link.Link, "rest", late)
            with pytest.raises(ConnectionClosed, match="given back"):
                if call == "stream":
                    query = "select set_config('application_name', 'late', false)"
                    async with conn.stream(query) as rows:
                        await anext(rows)
                else:
                    await getattr(conn, call)("set application_name = 'late'")
            (other,) = others
            assert (other.pid, other.transaction_status) == (pid, "T")
            assert await other.fetchval("show application_name") != "late"
            await other.script("rollback")
            await pool.release(other)

    trio.run(main)


@pytest.mark.holds("D9")
def test_an_interrupt_while_a_connection_is_taken_back(
    pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: Transport) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with pgproto_blocking.Pool(pg18.dsn(), max_size=1) as pool:
        lease = pool.acquire()
        for count in (1, 2):
            conn = lease.__enter__()
            monkeypatch.setattr(Transport, "dismiss", interrupted)
            with pytest.raises(KeyboardInterrupt):
                lease.__exit__(None, None, None)
            assert pool.stats().used == 0
            assert pool.stats().retired["broken"] == count
            with pytest.raises(ConnectionClosed):
                conn.fetchval("select 1")
        assert pool.fetchval("select 1") == 1


# ---- Nobody gives it back


@pytest.fixture
def unwarned() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


class Failing:
    """An `on_release` that hangs, or raises."""

    def __init__(self, pg: Driver, how: str) -> None:
        self.name = pg.name
        self.how = how
        self.calls = 0
        self.enough = threading.Event()

    async def __call__(self, conn: Any) -> None:
        self.calls += 1
        if self.calls > 1:
            return
        if self.how == "raises":
            raise ZeroDivisionError
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "interrupts":
            raise KeyboardInterrupt
        if self.how == "begins":
            await conn.script("begin")
        elif self.name == "asyncio":
            await asyncio.sleep(60)
        elif self.name == "trio":
            await trio.sleep(60)
        else:
            self.enough.wait(60)


@pytest.mark.holds("T4")
@pytest.mark.usefixtures("unwarned")
@pytest.mark.parametrize("how", ["hangs", "raises", "begins"])
def test_a_dropped_lease_and_an_on_release_that_fails(driver: Driver, pg18: PostgresServer, how: str) -> None:
    """The hook has its limit, costs its connection, and the pool goes on."""
    drop_a_lease(driver, pg18, how)


@pytest.mark.holds("T4")
@pytest.mark.usefixtures("unwarned")
@only("blocking")
@pytest.mark.parametrize("how", ["exits", "interrupts"])
def test_a_dropped_lease_and_an_on_release_that_ends_its_thread(
    driver: Driver, pg18: PostgresServer, how: str
) -> None:
    """It is no thread of the caller's.  (In a task it ends the loop, or the run: that is what it is for.)"""
    drop_a_lease(driver, pg18, how)


def drop_a_lease(driver: Driver, pg18: PostgresServer, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        hook = Failing(pg, how)
        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        options: dict[str, Any] = {"max_size": 1, "reset_timeout": 0.3, "acquire_timeout": 5.0}
        async with pg.Pool(pg18.dsn(), on_release=hook, **options) as pool:
            conn = await pool.acquire()
            pid = conn.pid
            del conn
            gc.collect()
            assert await pool.fetchval("select pg_backend_pid()") != pid
            begun = time.monotonic()
            async with pool.acquire():
                with pytest.raises(PoolTimeout):
                    await pool.acquire(timeout=0.2)
            assert time.monotonic() - begun < 3
            assert pool.stats().retired["in_transaction" if how == "begins" else "broken"] == 1
        hook.enough.set()

    driver.run(scenario)


@pytest.mark.holds("T4")
@pytest.mark.usefixtures("unwarned")
def test_the_keeper_goes_on_while_an_on_release_of_a_dropped_lease_hangs(pg18: PostgresServer) -> None:
    hook = Slow()
    closed = threading.Event()
    options: dict[str, Any] = {"min_size": 0, "max_size": 2, "max_idle": 0.05}
    with pgproto_blocking.Pool(
        pg18.dsn(), on_release=hook, on_close=lambda conn: closed.set(), **options
    ) as pool:
        conn = pool.acquire().start()
        del conn
        gc.collect()
        assert hook.begun.wait(BOUND)
        pool._driver._jobs.hooks = pool._driver._jobs.hooks._replace(release=None)
        assert pool.fetchval("select 1") == 1
        assert closed.wait(BOUND)  # after `max_idle`, which only the keeper knows
        assert (hook.enough.is_set(), pool.stats().used) == (False, 1)
        begun = time.monotonic()
        pool.close(timeout=0.2)
        assert time.monotonic() - begun < 3
        assert pool.stats().size == 0
    hook.enough.set()
