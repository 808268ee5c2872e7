"""A hook that does not return costs its connection, and never the pool."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any, cast

import pytest
import trio

import pgproto_asyncio
import pgproto_blocking
from pgproto import ConnectError, Error, Outcome, PoolTimeout, client
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer


class Hanging:
    """A hook that hangs while it is told to."""

    def __init__(self, pg: Driver) -> None:
        self.name = pg.name
        self.hangs = True
        self.begun = threading.Event()
        self.enough = threading.Event()

    async def __call__(self, conn: Any) -> None:
        self.begun.set()
        if self.hangs:
            if self.name == "asyncio":
                await asyncio.sleep(60)
            elif self.name == "trio":
                await trio.sleep(60)
            else:
                self.enough.wait(60)


@pytest.mark.holds("T4")
@pytest.mark.parametrize("which", ["on_close", "on_release", "on_connect"])
@pytest.mark.parametrize("timeout", [0.0, 0.3])
def test_a_hanging_hook_does_not_keep_a_pool_from_its_end(
    driver: Driver, pg18: PostgresServer, which: str, timeout: float
) -> None:
    if driver.name == "blocking" and which != "on_close":
        return  # the borrower's own thread, or the attempt's own: nobody waits for them, see below

    async def scenario(pg: Driver) -> None:
        hook = Hanging(pg)
        hook.hangs = which != "on_connect"
        told: list[str] = []
        if pg.name == "asyncio":
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: told.append(str(context["message"])))
        async with pg.Pool(pg18.dsn(), min_size=1, **{which: hook}) as pool:
            assert await pool.fetchval("select 1") == 1
            hook.hangs = True
            if which == "on_connect":
                pool.expire()
            elif which == "on_release":
                assert await pg.in_thread(lambda: hook.begun.wait(10))
            begun = time.monotonic()
            await pool.close(timeout=timeout)
            assert time.monotonic() - begun < timeout + 2.5
            assert pool.stats().size == 0
        assert set(told) == ({f"{which} raised"} if pg.name == "asyncio" and which != "on_connect" else set())
        hook.enough.set()

    driver.run(scenario, deadline=20)


@pytest.mark.holds("T4")
@pytest.mark.parametrize("which", ["on_close", "on_release"])
def test_a_hanging_hook_costs_its_connection(driver: Driver, pg18: PostgresServer, which: str) -> None:
    if driver.name == "blocking" and which == "on_release":
        return  # it hangs its own caller

    async def scenario(pg: Driver) -> None:
        hook = Hanging(pg)
        options: dict[str, Any] = {which: hook, "max_size": 1, "reset_timeout": 0.3, "acquire_timeout": 5.0}
        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        async with pg.Pool(pg18.dsn(), **options) as pool:
            pid = await pool.fetchval("select pg_backend_pid()")
            if which == "on_close":
                pool.expire()
            assert await pg.in_thread(lambda: hook.begun.wait(10))
            hook.hangs = False
            assert await pool.fetchval("select pg_backend_pid()") != pid
        hook.enough.set()

    driver.run(scenario, deadline=20)


@pytest.mark.holds("T4")
def test_a_hanging_on_acquire_has_the_acquires_time(driver: Driver, pg18: PostgresServer) -> None:
    if driver.name == "blocking":
        return  # it hangs its own caller

    async def scenario(pg: Driver) -> None:
        hook = Hanging(pg)
        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=hook, acquire_timeout=0.5) as pool:
            with pytest.raises(PoolTimeout):
                await pool.fetchval("select 1")
            hook.hangs = False
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario, deadline=20)


@pytest.mark.holds("T4")
def test_a_hook_that_blocks_a_thread_for_ever(pg18: PostgresServer) -> None:
    import pgproto_blocking

    enough = threading.Event()
    for which in ("on_connect", "on_release", "on_acquire", "on_close"):
        hook = {which: lambda conn: enough.wait(60) and None}
        pool = pgproto_blocking.Pool(pg18.dsn(), min_size=0, **hook)  # type: ignore[arg-type]
        pool.open(wait=False)

        def use(pool: Any = pool) -> None:
            with contextlib.suppress(Error):
                pool.fetch("select 1", timeout=5)

        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(0.5)
        begun = time.monotonic()
        pool.close(timeout=0.2)
        assert time.monotonic() - begun < 3, which
    enough.set()


@pytest.mark.holds("T4")
@pytest.mark.parametrize("which", ["on_release", "on_close"])
def test_a_pool_is_closed_in_the_moment_in_which_a_hooks_time_is_over(
    pg18: PostgresServer, which: str
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        begun = asyncio.Event()

        async def hook(conn: object) -> None:
            begun.set()
            await asyncio.sleep(60)

        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        options: dict[str, Any] = {which: hook, "reset_timeout": 0.2}
        async with pgproto_asyncio.Pool(pg18.dsn(), max_size=1, **options) as pool:
            await pool.fetchval("select 1")
            pool.expire()
            await begun.wait()
            bound: Any
            driver = pool._driver
            assert isinstance(driver, client.Driver)
            (bound,) = driver._jobs._asking
            end = bound._timeout.when()
            assert end is not None
            closing = pool.close(timeout=0.1)
            # After the timer, and before the task that it cancels.
            loop.call_at(end + 1e-9, closing.send, None)
            await asyncio.sleep(max(0.0, end - loop.time()) + 0.01)
            closing.close()
        assert pool.stats().size == 0
        assert told == [f"{which} raised"]

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.holds("D7")
def test_a_cancellation_out_of_a_hook_costs_an_attempt_and_not_the_slot(pg18: PostgresServer) -> None:
    async def main() -> None:
        calls = 0

        async def on_connect(conn: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                task = asyncio.ensure_future(asyncio.sleep(60))
                task.cancel()
                await task

        async with pgproto_asyncio.Pool(
            pg18.dsn(), min_size=0, max_size=1, on_connect=on_connect, backoff=0.01
        ) as pool:
            with pytest.raises(ConnectError, match="CancelledError"):
                await pool.fetchval("select 1")
            assert await pool.fetchval("select 1") == 1
            assert (calls, pool.stats().open_failures) == (2, 1)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.holds("T4")
@only("asyncio")
def test_a_pool_may_be_closed_when_a_hooks_time_is_just_over(driver: Driver, pg18: PostgresServer) -> None:
    """Between the deadline and the hook's end, which takes some turns of the event loop."""

    async def hang(conn: Any) -> None:
        await asyncio.sleep(60)

    async def scenario(pg: Driver) -> None:
        pool = pgproto_asyncio.Pool(pg18.dsn(), max_size=1, on_release=hang, reset_timeout=0.1)
        await pool.open()
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(str(context)))
        lease = asyncio.create_task(pool.fetchval("select 1"))
        while not any(bound._timeout.expired() for bound in cast(Any, pool)._driver._jobs._asking):  # noqa: ASYNC110 - a turn, not a time
            await asyncio.sleep(0)
        await pool.close()
        assert await lease == 1
        assert len(told) == 1
        assert "on_release did not return in time" in told[0]

    driver.run(scenario)


@pytest.mark.holds("T4")
def test_a_close_that_is_given_up(pg18: PostgresServer) -> None:
    """A coroutine that is closed cannot wait: the pool ends without it, and at once."""

    async def main() -> None:
        pool = pgproto_asyncio.Pool(pg18.dsn(), max_size=1)
        async with pool, pool.acquire() as conn:
            await conn.fetchval("select 1")
            closing = pool.close(timeout=60)
            closing.send(None)
            closing.close()
            with pytest.raises(Error) as told:
                await conn.fetchval("select 2")
            assert told.value.outcome is Outcome.NOT_SENT
        assert pool.stats().size == 0

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.holds("O4")
@pytest.mark.parametrize(
    ("left", "asked", "expected"),
    [
        ("set work_mem = '5MB'", "show work_mem", "4MB"),
        ("listen news", "select count(*) from pg_listening_channels()", 0),
        ("select pg_advisory_lock(7)", "select count(*) from pg_locks where locktype = 'advisory'", 0),
    ],
)
def test_what_accept_leaves_is_not_lent(
    pg18: PostgresServer, left: str, asked: str, expected: object
) -> None:
    with pgproto_blocking.Pool(pg18.dsn(), max_size=1, accept=lambda conn: conn.script(left) != []) as pool:
        for _ in range(2):
            assert pool.fetchval(asked) == expected
            pool.execute("set application_name = 'mine'")  # it is reset after that
