"""A session that is given up leaves nothing behind: what the server runs is cancelled, with its locks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import pgproto
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere
from tests.support.drivers import only
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

_numbers = itertools.count(os.getpid() % 1_000_000 * 1000)


class Sleep:
    """A statement that sleeps for half a minute and holds a lock, and can be looked for."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.key = next(_numbers)
        self.sql = f"select pg_advisory_lock({self.key}), pg_sleep(30)"

    def running(self) -> bool:
        found = self.server.query(
            f"select count(*) from pg_locks where locktype = 'advisory' and objid = {self.key}"
        )
        active = self.server.query(
            "select count(*) from pg_stat_activity"
            f" where state = 'active' and query like '%pg_advisory_lock({self.key})%'"
            " and pid <> pg_backend_pid()"
        )
        return (found, active) != ([["0"]], [["0"]])

    def wait(self, running: bool, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while self.running() is not running:
            assert time.monotonic() < limit, f"running is {not running} still"

    def begun(self) -> None:
        self.wait(True, 10)

    def gone(self) -> None:
        self.wait(False, 1.5)


async def beside(pg: Driver, run: Callable[[], Awaitable[Any]], then: Callable[[], Awaitable[Any]]) -> Any:
    """Run both, one after the other has begun; what the first one raised, or returned."""
    return (await pg.together(run, then))[0]


@pytest.mark.holds("T5")
def test_a_cancel_request_that_overtakes_its_statement(driver: Driver, pg18: PostgresServer) -> None:
    """It finds the server idle, and is lost; the next one finds the statement."""

    async def scenario(pg: Driver) -> None:
        dsn = pg18.dsn(user="postgres", host=proxy.host, port=proxy.port, sslmode="disable")
        async with pg.connect(dsn) as conn:
            assert await conn.fetchval("select 1") == 1
            proxy.latency = 0.5  # of the statement, but not of what is sent a little later
            timer = threading.Timer(0.1, setattr, (proxy, "latency", 0.0))
            timer.start()
            with pytest.raises(pgproto.QueryTimeout):
                await conn.script("select pg_sleep(30)", timeout=0.2)
            timer.join()
            assert await conn.fetchval("select 1", timeout=5) == 1

    with Proxy((pg18.host, pg18.port)) as proxy:
        driver.run(scenario)
        assert proxy.connections > 2, "there was nothing to repeat"


@everywhere
@pytest.mark.holds("T5", "A5")
@pytest.mark.parametrize("times", [1, 2])
def test_close_while_a_statement_runs(driver: Driver, pg18: PostgresServer, times: int) -> None:
    sleep = Sleep(pg18)
    if times > 1 and not driver.asynchronous:
        times = 1

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:

            async def close() -> None:
                await pg.in_thread(sleep.begun)
                begun = time.monotonic()
                await conn.close(timeout=0.5)
                assert time.monotonic() - begun < 1.5
                await pg.in_thread(sleep.gone)

            results = await pg.together(*[lambda: conn.execute(sleep.sql)] * times, close)
            assert results[-1] is None, results[-1]
            assert all(isinstance(each, pgproto.Error) for each in results[:-1]), results

    driver.run(scenario)


@everywhere
@pytest.mark.holds("T5", "A5")
@pytest.mark.parametrize("manner", ["close", "abort", "pool.close"])
def test_a_pool_that_is_closed_while_a_statement_runs(
    driver: Driver, pg18: PostgresServer, manner: str
) -> None:
    sleep = Sleep(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn()) as pool:
            held: list[Any] = []

            async def run() -> None:
                async with pool.acquire() as conn:
                    held.append(conn)
                    await conn.execute(sleep.sql)

            async def end() -> None:
                await pg.in_thread(sleep.begun)
                begun = time.monotonic()
                if manner == "close":
                    await held[0].close(timeout=0.5)
                elif manner == "abort":
                    held[0].abort()
                else:
                    await pool.close(timeout=0.1)
                assert time.monotonic() - begun < 1.5
                await pg.in_thread(sleep.gone)

            results = await pg.together(run, end)
            assert results[1] is None, results[1]
            assert isinstance(results[0], pgproto.Error)

    driver.run(scenario)


@pytest.mark.holds("T5b")
@pytest.mark.parametrize("manner", ["abort", "close", "pool.close"])
def test_giving_up_in_the_handler_of_a_cancellation(pg18: PostgresServer, manner: str) -> None:
    async def in_asyncio(sleep: Sleep) -> None:
        async with _pool("asyncio", pg18) as pool, pool.acquire() as conn:

            async def work() -> None:
                try:
                    await conn.execute(sleep.sql)
                finally:
                    if manner == "abort":
                        conn.abort()
                    elif manner == "close":
                        await conn.close(timeout=0)
                    else:
                        await pool.close(timeout=0)

            task = asyncio.ensure_future(work())
            await asyncio.to_thread(sleep.begun)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await asyncio.to_thread(sleep.gone)

    async def in_trio(sleep: Sleep) -> None:
        async with _pool("trio", pg18) as pool, pool.acquire() as conn:

            async def work() -> None:
                try:
                    await conn.execute(sleep.sql)
                finally:
                    with trio.CancelScope(shield=True):
                        if manner == "abort":
                            conn.abort()
                        elif manner == "close":
                            await conn.close(timeout=0)
                        else:
                            await pool.close(timeout=0)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(work)
                await trio.to_thread.run_sync(sleep.begun)
                nursery.cancel_scope.cancel()
            await trio.to_thread.run_sync(sleep.gone)

    asyncio.run(in_asyncio(Sleep(pg18)))
    trio.run(in_trio, Sleep(pg18))


CALLS: dict[str, Callable[[Any, str], Awaitable[Any]]] = {
    "fetch": lambda conn, table: conn.fetch(f"select n from {table}", timeout=0.3),
    "batch": lambda conn, table: conn.send_batch(_batch(f"select n from {table}"), timeout=0.3),
    "single": lambda conn, table: conn.send_batch(
        _batch(f"select n from {table}", atomic=False), timeout=0.3
    ),
    "stream": lambda conn, table: _all(conn.stream(f"select n from {table}", timeout=0.3)),
    "executemany": lambda conn, table: conn.executemany(
        f"insert into {table} select n + $1 from {table}", [(1,)], timeout=0.3
    ),
    "prepare": lambda conn, table: conn.prepare(f"select n from {table}", timeout=0.3),
    "copy_records": lambda conn, table: conn.copy_records(table, [(1,)], columns=["n"], timeout=0.3),
}


def _batch(sql: str, *, atomic: bool = True) -> pgproto.Batch:
    batch = pgproto.Batch(atomic=atomic)
    batch.queue(sql)
    batch.queue("select 1")
    return batch


async def _all(rows: Any) -> list[Any]:
    return [row async for row in rows]


def _waiting(owned: Owned) -> bool:
    sql = f"select count(*) from pg_locks where not granted and relation = '{owned.name}'::regclass"
    return owned.server.query(sql) != [["0"]]


@pytest.mark.holds("T5")
@pytest.mark.parametrize("call", CALLS)
def test_a_new_text_that_waits_for_a_lock_in_time(driver: Driver, owned: Owned, call: str) -> None:
    """Its Parse takes the lock, before anything is executed."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.server.dsn()) as conn, pg.connect(owned.server.dsn()) as other:
            async with other.transaction():
                await other.execute(f"lock table {owned.name}")
                with pytest.raises(pgproto.QueryTimeout) as caught:
                    await CALLS[call](conn, owned.name)
                assert not _waiting(owned)
                if call not in ("prepare", "copy_records"):
                    assert caught.value.outcome is pgproto.Outcome.NOT_SENT
            assert await conn.fetchval(f"select count(*) from {owned.name}") == 0  # the session is well

    driver.run(scenario)


@pytest.mark.holds("T5")
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_new_text_that_waits_for_a_lock_is_cancelled(parallel: Driver, owned: Owned, shared: bool) -> None:
    """Also where its caller has gone at once, because others shared the connection, and nobody asks again."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.server.dsn()) as conn, pg.connect(owned.server.dsn()) as other:
            async with other.transaction():
                await other.execute(f"lock table {owned.name}")
                if shared:
                    await conn.execute("select pg_sleep($1)", 0.0)

                async def neighbour() -> None:
                    if shared:
                        await conn.execute("select pg_sleep($1)", 0.6)

                async def cold() -> None:
                    with pytest.raises(pgproto.QueryTimeout) as caught:
                        await conn.fetch(f"select n from {owned.name}", timeout=0.2)
                    assert caught.value.outcome is pgproto.Outcome.NOT_SENT

                assert await pg.together(neighbour, cold) == [None, None]
                await pg.in_thread(lambda: _wait_until(lambda: not _waiting(owned), 3))
            await conn.close()

    parallel.run(scenario)


def _wait_until(done: Callable[[], bool], seconds: float) -> None:
    limit = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < limit


def _pool(name: str, server: PostgresServer) -> Any:
    import pgproto_asyncio
    import pgproto_trio

    return {"asyncio": pgproto_asyncio, "trio": pgproto_trio}[name].Pool(server.dsn())


@pytest.mark.holds("T5b")
def test_the_cancel_request_outlives_the_loop_that_ends(pg18: PostgresServer) -> None:
    import pgproto_asyncio
    import pgproto_trio

    async def in_asyncio(sleep: Sleep) -> None:
        conn = await pgproto_asyncio.connect(pg18.dsn())
        task = asyncio.ensure_future(conn.execute(sleep.sql))
        await asyncio.to_thread(sleep.begun)
        task.cancel()
        conn.abort()

    async def in_trio(sleep: Sleep) -> None:
        conn = await pgproto_trio.connect(pg18.dsn())

        async def work() -> None:
            with pytest.raises(pgproto.Error):
                await conn.execute(sleep.sql)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await trio.to_thread.run_sync(sleep.begun)
            conn.abort()

    for run, main in ((asyncio.run, in_asyncio), (lambda main: trio.run(lambda: main), in_trio)):
        sleep = Sleep(pg18)
        run(main(sleep))
        sleep.gone()


SCRIPTS = {
    "asyncio": """
        import asyncio, sys, pgproto_asyncio as pg
        async def main():
            async with pg.Pool(sys.argv[1]) as pool:
                await pool.fetchval(sys.argv[2])
        asyncio.run(main())
    """,
    "trio": """
        import trio, sys, pgproto_trio as pg
        async def main():
            async with pg.Pool(sys.argv[1]) as pool:
                await pool.fetchval(sys.argv[2])
        trio.run(main)
    """,
    "blocking": """
        import sys, pgproto_blocking as pg
        with pg.Pool(sys.argv[1]) as pool:
            pool.fetchval(sys.argv[2])
    """,
}


@pytest.mark.holds("T5")
@only("asyncio", "trio")
def test_close_outlasts_the_cancel_request_of_what_was_aborted(driver: Driver, pg18: PostgresServer) -> None:
    """The server hangs up first, and the request is still under way: nobody needs it any more."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as watch:
            conn = await pg.connect(pg18.dsn()).__aenter__()
            asked: list[float] = []
            really = conn.link.send_cancel

            async def slowly(key: Any, timeout: float) -> None:
                asked.append(timeout)
                await watch.execute("select pg_terminate_backend($1)", conn.pid)
                while await watch.fetchval("select count(*) from pg_stat_activity where pid = $1", conn.pid):
                    pass
                await really(key, timeout)

            async def call() -> None:
                with contextlib.suppress(pgproto.Error):
                    await conn.execute("select pg_sleep(30)")

            async def abort() -> None:
                while not await watch.fetchval(
                    "select count(*) from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'",
                    conn.pid,
                ):
                    pass
                conn.link.send_cancel = slowly
                conn.abort()
                await conn.close()

            await pg.together(call, abort)
            assert asked
            # The driver sees to it that no task is left behind.

    driver.run(scenario)


@pytest.mark.holds("T5")
@pytest.mark.parametrize("name", SCRIPTS)
def test_ctrl_c(pg18: PostgresServer, name: str) -> None:
    sleep = Sleep(pg18)
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", script + textwrap.dedent(SCRIPTS[name]), pg18.dsn(), sleep.sql]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        sleep.begun()
        process.send_signal(signal.SIGINT)
        sleep.gone()
        _, said = process.communicate(timeout=5)
    finally:
        process.kill()
        process.wait()
    assert "KeyboardInterrupt" in said
    assert "never" not in said
    assert "ResourceWarning" not in said
