"""Whose connection it is: tasks and threads that share one, blocks that nest, handles that are passed on.

Everything is tried as applications do it: a dependency that a web framework enters in one thread and uses in
another, a fixture whose set-up, test and tear-down are tasks of their own, executors, exit stacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import trio

import pgproto_blocking
from pgproto import ConnectionClosed, Error, LocalProtocolError, Outcome, Retry, sqlstates
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere
from tests.support.owned import Owned

Work = Callable[[], Awaitable[Any]]


class Tasks:
    """Tasks of an asynchronous adapter, one after the other: each is over before the next one begins."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def __call__(self, work: Work) -> Any:
        """Run in a task of its own; what it returns."""
        (result,) = await self._driver.together(work)
        if isinstance(result, BaseException):
            raise result
        return result


def event(driver: Driver) -> Any:
    """An event that one task waits for and another one sets."""
    return {"asyncio": asyncio.Event, "trio": trio.Event}[driver.name]()


# ---- Savepoints of several tasks


@pytest.mark.holds("L9")
@pytest.mark.parametrize("lent", [False, True])
def test_a_task_that_shares_a_transaction_does_not_get_into_anothers_savepoint(
    parallel: Driver, owned: Owned, lent: bool
) -> None:
    async def scenario(pg: Driver) -> None:
        entered, tried = event(pg), event(pg)

        async def first(conn: Any) -> None:
            with contextlib.suppress(ZeroDivisionError):
                async with conn.transaction():
                    await conn.execute(owned.insert(1))
                    entered.set()
                    await tried.wait()
                    raise ZeroDivisionError

        async def second(conn: Any) -> None:
            await entered.wait()
            try:
                for work in (conn.transaction().start, lambda: conn.execute(owned.insert(2))):
                    with pytest.raises(LocalProtocolError, match="another task's savepoint"):
                        await work()
            finally:
                tried.set()

        async def main(conn: Any) -> None:
            async with conn.transaction():
                assert await pg.together(lambda: first(conn), lambda: second(conn)) == [None, None]
                await conn.execute(owned.insert(3))

        if lent:
            async with pg.Pool(owned.dsn, max_size=1) as pool, pool.acquire() as conn:
                await main(conn)
        else:
            async with pg.connect(owned.dsn) as conn:
                await main(conn)
        assert owned.stored == [3]

    parallel.run(scenario)


@pytest.mark.holds("L9")
def test_a_thread_does_not_get_into_anothers_savepoint(owned: Owned) -> None:
    with (
        pgproto_blocking.Pool(owned.dsn, max_size=1) as pool,
        pool.transaction() as conn,
        ThreadPoolExecutor(1) as executor,
    ):
        with pytest.raises(ZeroDivisionError), conn.transaction():
            conn.execute(owned.insert(1))
            for work in (conn.transaction().start, lambda: conn.execute(owned.insert(2))):
                with pytest.raises(LocalProtocolError, match="another thread's savepoint"):
                    executor.submit(work).result()
            raise ZeroDivisionError
        executor.submit(conn.execute, owned.insert(3)).result()
    assert owned.stored == [3]


@pytest.mark.holds("L9")
def test_a_block_that_ends_before_the_one_inside_it_takes_it_along_and_says_so(
    driver: Driver, owned: Owned
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            outer, inner = conn.transaction(), conn.transaction()
            await outer.start()
            await inner.start()
            await conn.execute(owned.insert(1))
            with pytest.raises(LocalProtocolError, match="still open") as caught:
                await outer.commit()
            assert caught.value.outcome is Outcome.ROLLED_BACK
            with pytest.raises(LocalProtocolError, match="rolled back with it"):
                await inner.commit()
            await conn.execute(owned.insert(2))
        assert owned.stored == [2]

    driver.run(scenario)


# ---- Tasks that outlive their block


@pytest.mark.holds("L10")
@pytest.mark.parametrize("lent", [False, True])
def test_a_task_that_outlives_its_block_is_refused(parallel: Driver, owned: Owned, lent: bool) -> None:
    async def scenario(pg: Driver) -> None:
        began, left = event(pg), event(pg)

        async def writer(conn: Any, pool: Any) -> None:
            await conn.execute(owned.insert(1))
            began.set()
            await left.wait()
            for work in (lambda: conn.execute(owned.insert(2)), conn.transaction().start):
                with pytest.raises(LocalProtocolError, match="in which this task began has ended"):
                    await work()
            await pool.execute(owned.insert(3))  # in a connection of its own it does what it likes

        async def block(conn: Any) -> AsyncIterator[None]:
            async with conn.transaction():
                yield
                await began.wait()
            left.set()

        async with (
            pg.Pool(owned.dsn, max_size=2) as pool,
            pool.acquire() if lent else pg.connect(owned.dsn) as conn,
        ):
            if pg.name == "asyncio":
                async for _ in block(conn):
                    task = asyncio.ensure_future(writer(conn, pool))
                await task
            else:
                async with trio.open_nursery() as nursery:
                    async for _ in block(conn):
                        nursery.start_soon(writer, conn, pool)
        assert owned.stored == [1, 3]

    parallel.run(scenario)


@pytest.mark.holds("L10")
def test_a_thread_with_the_context_of_a_block_that_has_ended_is_refused(owned: Owned) -> None:
    with (
        pgproto_blocking.Pool(owned.dsn, max_size=1) as pool,
        ThreadPoolExecutor(1) as executor,
    ):
        with pool.acquire() as conn:
            with conn.transaction():
                context = contextvars.copy_context()  # as asyncio.to_thread and the web frameworks do
                executor.submit(context.run, conn.execute, owned.insert(1)).result()
            with pytest.raises(LocalProtocolError, match="block in which this thread began has ended"):
                executor.submit(context.run, conn.execute, owned.insert(2)).result()
            conn.execute(owned.insert(3))
        # The next lease of the session is another story.
        with pool.acquire() as conn:
            executor.submit(context.run, conn.execute, owned.insert(4)).result()
    assert owned.stored == [1, 3, 4]


# ---- What works


def test_a_dependency_that_is_entered_used_and_left_in_different_threads(owned: Owned) -> None:
    """FastAPI runs each part of a synchronous dependency in some thread, each in a copy of a context."""

    def dependency(pool: pgproto_blocking.Pool) -> Iterator[pgproto_blocking.Connection]:
        with pool.transaction() as conn:
            yield conn

    def in_a_thread(work: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(contextvars.copy_context().run, work).result()

    def endpoint(conn: pgproto_blocking.Connection, n: int) -> None:
        conn.execute(owned.insert(n))
        with contextlib.suppress(ZeroDivisionError), conn.transaction():
            conn.execute(owned.insert(-n))
            raise ZeroDivisionError

    with pgproto_blocking.Pool(owned.dsn, max_size=1) as pool:
        for n in (1, 2):
            request = dependency(pool)
            conn = in_a_thread(partial(next, request))
            in_a_thread(partial(endpoint, conn, n))
            assert in_a_thread(partial(next, request, None)) is None
    assert owned.stored == [1, 2]


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_fixture_whose_parts_are_tasks_of_their_own(
    parallel: Driver, owned: Owned, lent: bool, nested: bool
) -> None:
    """pytest-asyncio runs set-up, test and tear-down in three tasks, each in a context of its own."""

    async def scenario(pg: Driver) -> None:
        task = Tasks(pg)
        async with pg.Pool(owned.dsn, max_size=1) as pool:

            async def fixture() -> Any:
                async with pool.acquire() if lent else pg.connect(owned.dsn) as conn, conn.transaction():
                    if nested:
                        async with conn.transaction():
                            yield conn
                    else:
                        yield conn

            for n in (1, 2):
                parts = fixture()
                conn = await task(partial(_anext, parts))
                await task(partial(conn.execute, owned.insert(n)))

                async def test(conn: Any = conn, n: int = n) -> None:
                    async with conn.transaction():
                        await conn.execute(owned.insert(n + 10))

                await task(test)
                with pytest.raises(StopAsyncIteration):
                    await task(partial(_anext, parts))
        assert owned.stored == [1, 2, 11, 12]

    parallel.run(scenario)


async def _anext(iterator: Any) -> Any:
    return await anext(iterator)


def test_work_that_is_handed_to_an_executor(owned: Owned) -> None:
    with pgproto_blocking.Pool(owned.dsn, max_size=1) as pool, ThreadPoolExecutor(4) as executor:
        with pool.transaction() as conn:
            work = [executor.submit(conn.execute, owned.insert(n)) for n in range(8)]
            assert [each.result() for each in work] == ["INSERT 0 1"] * 8
        assert owned.stored == list(range(8))


@pytest.mark.parametrize("lent", [False, True])
def test_an_exit_stack_that_is_left_by_another_task(parallel: Driver, owned: Owned, lent: bool) -> None:
    async def scenario(pg: Driver) -> None:
        task = Tasks(pg)
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            stack = contextlib.AsyncExitStack()

            async def enter() -> Any:
                conn = await stack.enter_async_context(pool.acquire() if lent else pg.connect(owned.dsn))
                await stack.enter_async_context(conn.transaction())
                await conn.execute(owned.insert(1))
                return conn

            conn = await task(enter)
            await conn.execute(owned.insert(2))
            await task(stack.aclose)
            await pool.execute(owned.insert(3))
        assert owned.stored == [1, 2, 3]

    parallel.run(scenario)


# ---- Statements that end the block


@pytest.mark.holds("L11")
@pytest.mark.parametrize("sql", ["commit", "rollback", "commit and chain", "commit; begin", "end; select 1"])
def test_a_block_that_a_statement_has_ended_runs_nothing_more_and_says_so(
    driver: Driver, owned: Owned, sql: str
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(LocalProtocolError, match="statement in the transaction block has ended"):
                async with conn.transaction():
                    await conn.execute(owned.insert(1))
                    await (conn.script(sql) if ";" in sql else conn.execute(sql))
                    for work in (lambda: conn.execute(owned.insert(2)), conn.transaction().start):
                        with pytest.raises(LocalProtocolError, match="statement in the transaction block"):
                            await work()
            assert conn.transaction_status == "I"
            with pytest.raises(ZeroDivisionError):  # the reason why the block is left comes first
                async with conn.transaction():
                    await conn.script(sql)
                    raise ZeroDivisionError
            await conn.execute(owned.insert(3))
        assert owned.stored == ([3] if sql == "rollback" else [1, 3])

    driver.run(scenario)


# ---- The explicit forms


def test_a_transaction_in_steps(driver: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            tx = conn.transaction()
            for early in (tx.commit, tx.rollback):
                with pytest.raises(LocalProtocolError, match="not open"):
                    await early()
            await tx.start()
            with pytest.raises(LocalProtocolError, match="open already"):
                await tx.start()
            await conn.execute(owned.insert(1))
            nested = conn.transaction()
            await nested.start()
            await conn.execute(owned.insert(2))
            await nested.rollback()
            await tx.commit()
            for late in (tx.commit, tx.rollback):
                with pytest.raises(LocalProtocolError, match="not open"):
                    await late()
            await tx.start()  # again
            await conn.execute(owned.insert(3))
            await tx.rollback()
            await conn.execute(owned.insert(4))
        assert owned.stored == [1, 4]

    driver.run(scenario)


def test_a_lease_in_steps(driver: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool, pg.Pool(owned.dsn, max_size=1) as other:
            conn = await pool.acquire()
            assert await conn.fetchval("select 1") == 1
            with pytest.raises(LocalProtocolError, match="not lent by this pool"):
                await other.release(conn)
            async with pg.connect(owned.dsn) as foreign:
                with pytest.raises(LocalProtocolError, match="not lent by this pool"):
                    await pool.release(foreign)
            await pool.release(conn)
            with pytest.raises(ConnectionClosed):
                await conn.fetchval("select 1")
            async with pool.acquire() as again:
                await pool.release(conn)  # it came back before: nothing happens to the next borrower
                assert await again.fetchval("select 2") == 2
                await pool.release(again)
            assert (pool.stats().used, pool.stats().size) == (0, 1)

    driver.run(scenario)


@everywhere
@pytest.mark.holds("A3")
@pytest.mark.parametrize("what", ["acquire", "transaction"])
def test_a_lease_that_is_entered_twice(driver: Driver, owned: Owned, what: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=2) as pool:
            lease = getattr(pool, what)()
            for n in (1, 2):  # one after the other is allowed
                async with lease as conn:
                    await conn.execute(owned.insert(n))
                    with pytest.raises(LocalProtocolError, match="in use"):
                        await lease.__aenter__()
                    assert pool.stats().used == 1
                assert pool.stats().used == 0
        assert owned.stored == [1, 2]

    driver.run(scenario)


@pytest.mark.parametrize("forgotten", ["handle", "transaction"])
def test_a_handle_that_nobody_gives_back(driver: Driver, owned: Owned, forgotten: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            conn = await pool.acquire()
            if forgotten == "transaction":
                await conn.transaction().start()
                await conn.execute(owned.insert(1))
                await pool.release(conn)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ResourceWarning)
                    del conn
                    gc.collect()
            await pool.execute(owned.insert(2))
        assert owned.stored == [2]

    driver.run(scenario)


# ---- What retry judges


@pytest.mark.holds("L11")
@pytest.mark.parametrize("how", ["unknown", "40001", "timeout", "by hand"])
def test_retry_judges_only_what_its_own_connection_says(driver: Driver, owned: Owned, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool, pg.Pool(owned.dsn, max_size=1) as other:
            runs = 0

            async def work(conn: Any) -> None:
                nonlocal runs
                runs += 1
                await conn.execute(owned.insert(1))
                if how == "by hand":
                    await conn.execute("commit")
                    raise sqlstates.SerializationFailure({"S": "ERROR", "C": "40001"})
                if how == "timeout":
                    async with other.acquire():
                        await other.execute("select 1", timeout=0)
                await other.execute(owned.insert(2))
                if how == "40001":
                    await other.execute("do $$ begin raise exception using errcode = '40001'; end $$")
                async with other.acquire() as second:
                    await second.script("select pg_terminate_backend(pg_backend_pid()); select 1")

            with pytest.raises((Error, TimeoutError)):
                await pool.retry(work, retry=Retry(5, delay=0.001))
            assert runs == 1
            assert owned.stored == ([1] if how == "by hand" else [] if how == "timeout" else [2])

            async def own(conn: Any) -> int:
                nonlocal runs
                runs += 1
                await conn.execute(owned.insert(3))
                if runs < 3:
                    await conn.execute("do $$ begin raise exception using errcode = '40001'; end $$")
                return runs

            assert await pool.retry(own, retry=Retry(5, delay=0.001)) == 3

    driver.run(scenario)
