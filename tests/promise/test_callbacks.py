"""What callbacks and hooks raise where nobody's call is for them: it is told, and breaks nothing.

A callback runs in the middle of somebody's call, or of the event loop: `on_lost` in `abort()`, `on_notice` in
whoever's query reads the notice.  What it raises is told to the loop's exception handler (asyncio) or logged
(trio, blocking).  KeyboardInterrupt and SystemExit go up, and leave a session that has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

import pgproto_asyncio
import pgproto_blocking
from pgproto import ConnectError, ConnectionClosed, Error
from pgproto_pytest import Driver
from pgproto_pytest.process import wait_until
from tests.support.postgres import PostgresServer


class Interrupt(BaseException):
    """What a signal handler or a test's time limit raises: no Exception."""


KINDS: Final = (RuntimeError, StopIteration, GeneratorExit, asyncio.CancelledError, Interrupt)
INTERRUPTS: Final = (KeyboardInterrupt, SystemExit)
NOTICE: Final = "do $$ begin raise notice 'hello'; end $$"

kinds = pytest.mark.parametrize("kind", KINDS)


class Told:
    """What was told of the exceptions that nobody's call is for."""

    def __init__(self, pg: Driver, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._contexts: list[dict[str, Any]] = []
        if pg.name == "asyncio":
            handler = lambda loop, context: self._contexts.append(context)  # noqa: E731
            asyncio.get_running_loop().set_exception_handler(handler)

    def of(self, error: BaseException) -> int:
        """How often it was told, or something that it is the cause of."""
        told: list[BaseException | None] = [context.get("exception") for context in self._contexts]
        told += [record.exc_info[1] for record in self._caplog.records if record.exc_info]
        return sum(each is error or (each is not None and each.__cause__ is error) for each in told)


def asleep(server: PostgresServer, pid: int) -> bool:
    return bool(server.query(f"select 1 from pg_stat_activity where wait_event = 'PgSleep' and pid = {pid}"))


class Raising:
    """A callback or a hook that raises, once, when it is told to."""

    def __init__(self, error: BaseException, *, armed: bool = True) -> None:
        self.error = error
        self.armed = armed
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.armed:
            self.armed = False
            raise self.error


@kinds
def test_on_notice_breaks_no_call(
    parallel: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        callback = Raising(kind("a callback"))
        async with pg.connect(pg18.dsn()) as conn:
            conn.on_notice = callback
            answers = await pg.together(
                lambda: conn.fetchval("select 1"),
                lambda: conn.execute(NOTICE),
                lambda: conn.fetchval("select 2"),
            )
            assert answers == [1, "DO", 2]
            assert await conn.fetchval("select 3") == 3
            assert (callback.calls, told.of(callback.error)) == (1, 1)

    parallel.run(scenario)


@kinds
@pytest.mark.parametrize("end", ["abort", "close", "server"])
def test_on_lost_breaks_no_end(
    parallel: Driver,
    pg18: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
    end: str,
) -> None:
    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        callback = Raising(kind("a callback"))
        async with pg.connect(pg18.dsn()) as conn:
            pid = conn.pid
            conn.on_lost = callback

            async def stop() -> None:
                await pg.in_thread(lambda: wait_until(lambda: asleep(pg18, pid), 10, "a query that sleeps"))
                if end == "abort":
                    conn.abort()
                elif end == "close":
                    await conn.close()
                else:
                    await pg.in_thread(lambda: pg18.query(f"select pg_terminate_backend({pid})"))

            sleep = "select pg_sleep(60)"
            first, second, stopped = await pg.together(
                lambda: conn.fetchval(sleep), lambda: conn.fetchval(sleep), stop
            )
            assert isinstance(first, Error)
            assert isinstance(second, Error)
            assert stopped is None
            assert conn.closed
            assert (callback.calls, told.of(callback.error)) == (1, 1)
        await pg.in_thread(lambda: wait_until(lambda: not asleep(pg18, pid), 10, "the end of the query"))
        if pg.name == "asyncio":  # what is left sends the cancel request
            left = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*left)

    parallel.run(scenario)


@pytest.mark.parametrize("kind", INTERRUPTS)
@pytest.mark.parametrize("end", ["abort", "close"])
def test_an_interrupt_out_of_on_lost_goes_up_and_the_session_has_ended(
    parallel: Driver, pg18: PostgresServer, kind: type[BaseException], end: str
) -> None:
    async def scenario(pg: Driver) -> None:
        callback = Raising(kind("a callback"))
        async with pg.connect(pg18.dsn()) as conn:
            await conn.fetchval("select 1")
            conn.on_lost = callback
            with pytest.raises(kind, match="a callback"):
                if end == "abort":
                    conn.abort()
                else:
                    await conn.close()
            assert conn.closed
            with pytest.raises(ConnectionClosed):
                await conn.fetchval("select 1")
            await conn.close()
            assert callback.calls == 1

    parallel.run(scenario)


@pytest.mark.parametrize("kind", [*INTERRUPTS, GeneratorExit, Interrupt])
def test_an_interrupt_out_of_on_notice_ends_the_session_of_its_thread_alone(
    pg18: PostgresServer, kind: type[BaseException]
) -> None:
    # The blocking adapter cannot tell what a callback raises from what a signal handler does meanwhile.
    with pgproto_blocking.Pool(pg18.dsn(), min_size=0, max_size=1, acquire_timeout=5.0) as pool:
        with pytest.raises(kind, match="a callback"), pool.acquire() as conn:
            conn.on_notice = Raising(kind("a callback"))
            try:
                conn.script(NOTICE)
            finally:
                assert conn.closed
        assert pool.fetchval("select 1") == 1
        assert pool.stats().size == 1


async def used(pool: Any) -> None:
    """Use the pool, so that each of its hooks is called soon."""
    for number in range(3):
        assert await pool.fetchval("select $1::int4", number) == number
        pool.expire()


@pytest.mark.holds("T4")
@kinds
@pytest.mark.parametrize("which", ["on_release", "on_close"])
@pytest.mark.parametrize("awaited", [False, True])
def test_a_hook_that_raises_costs_its_connection_alone(
    driver: Driver,
    pg18: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    kind: type[BaseException],
    which: str,
    awaited: bool,
) -> None:
    # The blocking pool calls `on_release` in the borrower's own call.
    goes_up = repr(driver) == "blocking" and which == "on_release" and not issubclass(kind, Exception)

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        hook = Raising(kind("a hook"))

        async def later(conn: object) -> None:
            hook(conn)

        hooks: dict[str, Any] = {which: later if awaited else hook}
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, acquire_timeout=5.0, **hooks) as pool:
            if goes_up:
                with pytest.raises(kind, match="a hook"):
                    await pool.fetchval("select 1")
            await used(pool)
        assert pool.stats().size == 0
        assert hook.calls > 1
        assert told.of(hook.error) == (0 if goes_up else 1)

    driver.run(scenario)


@pytest.mark.holds("D7")
@kinds
@pytest.mark.parametrize("awaited", [False, True])
def test_what_on_connect_raises_is_told_to_who_waits(
    driver: Driver, pg18: PostgresServer, kind: type[BaseException], awaited: bool
) -> None:
    async def scenario(pg: Driver) -> None:
        hook = Raising(kind("a hook"))

        async def later(conn: object) -> None:
            hook(conn)

        options: dict[str, Any] = {"on_connect": later if awaited else hook, "backoff": 0.01}
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, acquire_timeout=5.0, **options) as pool:
            with pytest.raises(ConnectError, match="on_connect raised") as caught:
                await pool.fetchval("select 1")
            cause = caught.value.__cause__
            assert hook.error in (cause, cause and cause.__cause__)
            await used(pool)
            assert pool.stats().open_failures == 1

    driver.run(scenario)


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_the_event_loop_leaves_it_with_the_session_ended(
    pg18: PostgresServer, kind: type[BaseException]
) -> None:
    callback = Raising(kind("a callback"))
    left: list[pgproto_asyncio.Connection] = []

    async def main() -> None:
        async with pgproto_asyncio.connect(pg18.dsn()) as conn:
            left.append(conn)
            conn.on_notice = callback
            with pytest.raises(Error):
                await conn.execute(NOTICE)
            assert conn.closed

    with pytest.raises(kind, match="a callback"):
        asyncio.run(main())
    assert callback.calls == 1
    assert left[0].closed
