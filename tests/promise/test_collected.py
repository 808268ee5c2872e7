"""The garbage collector runs at the worst moment: in the middle of a step of the pool's machine."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pgproto_asyncio
from pgproto.client import driver as pool_driver
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer


class Moment:
    """The machine looks at an idle connection: `then` is called in the middle of that step, once.

    Attributes:
        skip: how many looks come before that one.
    """

    def __init__(self) -> None:
        self.then: Callable[[], object] | None = None
        self.skip = 0
        self.came = False

    def __call__(self, conn: Any) -> bool:
        if self.then is not None and self.skip:
            self.skip -= 1
        elif self.then is not None:
            then, self.then = self.then, None
            then()
            self.came = True
        return not conn.closed


class Knot:
    """Something that only the collector finds."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.itself = self


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Moment]:
    moment = Moment()
    monkeypatch.setattr(pool_driver, "is_alive", moment)
    gc.collect()
    gc.disable()
    yield moment
    gc.enable()


not_given_back = pytest.mark.filterwarnings("ignore:a connection was borrowed:ResourceWarning")


async def two_idle(pool: Any) -> None:
    async with pool.acquire() as one, pool.acquire() as two:
        assert one.pid != two.pid


async def all_free(pg: Driver, pool: Any) -> None:
    """Whatever the collector has put on the loop is done by then, or never."""
    for _ in range(5):
        await pg.together(*[lambda: pool.fetchval("select 1") for _ in range(4)])
    assert pool.stats().used == 0
    async with pool.acquire(timeout=1) as one, pool.acquire(timeout=1) as two:
        assert one.pid != two.pid
        assert pool.stats().used == 2


@not_given_back
def test_pieces_that_are_collected_while_somebody_borrows(
    parallel: Driver, pg18: PostgresServer, moment: Moment
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=2) as pool:
            await two_idle(pool)
            pieces = pool.copy_out("copy (select 1) to stdout")
            assert await anext(pieces) == b"1\n"
            while not pieces._operation.finished:
                await pool.fetchval("select 1")
            Knot(pieces)
            del pieces
            assert pool.stats().used == 1
            moment.then = gc.collect
            async with pool.acquire() as conn:
                assert moment.came
                assert await conn.fetchval("select 1") == 1
            await all_free(pg, pool)

    parallel.run(scenario)


@not_given_back
@pytest.mark.parametrize("skip", range(4))
def test_nothing_is_lent_twice_when_several_wait(
    parallel: Driver, pg18: PostgresServer, moment: Moment, skip: int
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=4, check_after=1e-9) as pool:
            async with pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire():
                pass
            pieces = pool.copy_out("copy (select 1) to stdout")
            assert await anext(pieces) == b"1\n"
            while not pieces._operation.finished:
                await pool.fetchval("select 1")
            Knot(pieces)
            del pieces
            lent: set[int] = set()

            async def borrow() -> None:
                async with pool.acquire() as conn:
                    assert conn.pid not in lent
                    lent.add(conn.pid)
                    assert await conn.fetchval("select pg_backend_pid() from pg_sleep(0)") == conn.pid
                    lent.remove(conn.pid)

            moment.then, moment.skip = gc.collect, skip
            assert await pg.together(*[borrow for _ in range(9)]) == [None] * 9
            assert moment.came
            assert pool.stats().used == 0
            await all_free(pg, pool)

    parallel.run(scenario)


@pytest.mark.holds("T6")
@only("asyncio")
def test_a_connection_that_is_collected_is_ended_by_the_loop(driver: Driver, pg18: PostgresServer) -> None:
    """Not there and then: the collector may have come in the middle of a step of its engine."""

    async def scenario(pg: Driver) -> None:
        conn = await pgproto_asyncio.connect(pg18.dsn())
        engine = conn.engine
        held = [conn]
        del conn
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            held.clear()
        assert not engine.closed
        await asyncio.sleep(0)
        assert engine.closed

    driver.run(scenario)


class Begun:
    """Pieces of which the first one was read when the block begins."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    async def __aenter__(self) -> Any:
        await self._pieces.__aenter__()
        await anext(self._pieces)
        return self._pieces

    async def __aexit__(self, *error: Any) -> None:
        await self._pieces.__aexit__(*error)


async def suspended(manager: Any, begun: asyncio.Event, conn: Any) -> None:
    """A task that waits for what nobody but itself knows: nothing keeps it from being collected."""
    async with manager as entered:
        if conn is not None:
            await conn.execute("select 1")
        begun.set()
        await asyncio.get_running_loop().create_future()
        del entered


async def suspend(manager: Any, conn: Any = None) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(suspended(manager, begun, conn))
    await begun.wait()
    task.get_loop().set_exception_handler(lambda *_: None)  # "destroyed but it is pending", which is so


@not_given_back
@only("asyncio")  # trio keeps its tasks
def test_a_task_that_is_collected_while_somebody_borrows(
    driver: Driver, pg18: PostgresServer, moment: Moment
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=2) as pool:
            await two_idle(pool)
            await suspend(pool.acquire())
            assert pool.stats().used == 1
            moment.then = gc.collect
            async with pool.acquire() as conn:
                assert moment.came
                assert await conn.fetchval("select 1") == 1
            await all_free(pg, pool)

    driver.run(scenario)


@not_given_back
@only("asyncio")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it cannot wait: see below
@pytest.mark.parametrize("what", ["transaction", "pool.transaction", "copy_out", "listen", "connection"])
def test_a_block_that_is_collected_is_brought_to_its_end(
    driver: Driver, pg18: PostgresServer, moment: Moment, what: str
) -> None:
    """Python says "coroutine ignored GeneratorExit", and drops it; the end is a task's by then."""

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=2) as pool, pg.connect(pg18.dsn()) as conn:
            await two_idle(pool)
            if what == "transaction":
                await suspend(conn.transaction(), conn)
                assert conn.transaction_status == "T"
            elif what == "pool.transaction":
                await suspend(pool.transaction())
            elif what == "copy_out":
                await suspend(Begun(pool.copy_out("copy (select 1) to stdout")))
            elif what == "listen":
                await suspend(conn.listen("here"))
            else:
                await suspend(pgproto_asyncio.connect(pg18.dsn(), application_name="collected"))
            moment.then = gc.collect
            innocent = asyncio.current_task()
            async with pool.acquire() as other:
                assert moment.came
                assert await other.fetchval("select 1") == 1
            await all_free(pg, pool)
            if what == "transaction":
                assert await conn.fetchval("select 1") == 1
                assert conn.transaction_status == "I"
            elif what == "listen":
                assert await conn.fetchval("select count(*) from pg_listening_channels()") == 0
            elif what == "connection":
                there = "select from pg_stat_activity where application_name = 'collected'"
                until = time.monotonic() + 5
                while await conn.fetch(there):
                    assert time.monotonic() < until, "it is still open"
            assert innocent is not None
            assert not innocent.cancelling()
            timers: list[Any] = getattr(asyncio.get_running_loop(), "_scheduled")  # noqa: B009
            assert sum("Timeout" in repr(timer) for timer in timers) <= 1  # the one around this test

    driver.run(scenario)


@only("asyncio")
def test_an_async_generator_is_closed_in_order(driver: Driver, pg18: PostgresServer) -> None:
    """The other GeneratorExit: this one may wait, and does."""

    async def rows(block: Any, conn: Any) -> Any:
        async with block as entered:
            await (conn or entered).execute("select 1")
            yield conn or entered

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool, pg.connect(pg18.dsn()) as conn:
            for block, on in ((conn.transaction(), conn), (pool.transaction(), None), (pool.acquire(), None)):
                generator = rows(block, on)
                entered = await anext(generator)
                await generator.aclose()
                if on is not None:
                    assert entered.transaction_status == "I"
                assert await pool.fetchval("select 1") == 1
            assert sum(pool.stats().retired.values()) == 0
            assert pool.stats().used == 0

    driver.run(scenario)


def test_a_ticket_is_not_lost_where_the_driver_is_interrupted(parallel: Driver, pg18: PostgresServer) -> None:
    class Interrupt(BaseException):
        pass

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            assert await pool.fetchval("select 1") == 1
            driver = pool._driver
            act = driver._act

            def interrupted() -> None:
                driver._act = act
                raise Interrupt

            driver._act = interrupted
            with pytest.raises(Interrupt):
                await pool.acquire()
            assert pool.stats().used == 0
            assert await pool.fetchval("select 1") == 1

    parallel.run(scenario)
