"""Whose connection it is: tasks and threads that share one, blocks that nest, handles that are passed on.

Everything is tried as applications do it: a dependency that a web framework enters in one thread and uses in
another, a fixture whose set-up, test and tear-down are tasks of their own, executors, exit stacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import trio

import pgproto_asyncio
import pgproto_blocking
from pgproto import Batch, ConnectionClosed, Error, LocalProtocolError, Outcome, Retry, sqlstates
from tests.support.drivers import DRIVERS, Driver
from tests.support.postgres import PostgresServer

Work = Callable[[], Awaitable[Any]]


class Owned:
    """A table of this test's own, and the server that it is in."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.dsn = server.dsn()
        self.server = server
        self.name = name

    def insert(self, n: int) -> str:
        """A statement that stores a number."""
        return f"insert into {self.name} values ({n})"

    @property
    def stored(self) -> list[int]:
        """What is committed."""
        return [int(row[0]) for row in self.server.query(f"select n from {self.name} order by n")]


@pytest.fixture
def owned(pg18: PostgresServer) -> Iterator[Owned]:
    name = f"owned_{threading.get_native_id()}"
    pg18.query(f"drop table if exists {name}; create table {name} (n int)")
    yield Owned(pg18, name)
    pg18.query(f"drop table {name}")


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


@pytest.fixture(params=[driver for driver in DRIVERS if driver.shares_connections], ids=repr)
def parallel(request: pytest.FixtureRequest) -> Driver:
    """The adapters that have tasks."""
    chosen: Driver = request.param
    return chosen


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
                with pytest.raises(LocalProtocolError, match="another task's savepoint"):
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
            with pytest.raises(LocalProtocolError, match="block in which this task began has ended"):
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


# ---- Two event loops


async def _in_another_loop(pg: Driver, work: Work) -> None:
    """Run in the event loop of another thread, which has to refuse it."""

    async def refused() -> None:
        with pytest.raises(LocalProtocolError, match="belongs to another event loop") as caught:
            await work()
        assert caught.value.outcome is Outcome.NOT_SENT

    run = asyncio.run if pg.name == "asyncio" else lambda work: trio.run(lambda: work)
    await pg.in_thread(lambda: run(refused()))


async def _call(work: Callable[[], Any]) -> Any:
    return work()


@pytest.mark.holds("L14")
def test_a_connection_in_another_event_loop(parallel: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn, conn.listen("news") as notifications:
            prepared = await conn.prepare(owned.insert(1))
            started = conn.transaction()
            batch = Batch()
            item = batch.queue(owned.insert(1))
            rows = conn.stream("select generate_series(1, 100000)")
            works: dict[str, Work] = {
                "fetch": lambda: conn.fetch("select 1"),
                "fetchrow": lambda: conn.fetchrow("select 1"),
                "fetchval": lambda: conn.fetchval("select 1"),
                "execute": lambda: conn.execute(owned.insert(1)),
                "script": lambda: conn.script(owned.insert(1)),
                "send_batch": lambda: conn.send_batch(batch),
                "executemany": lambda: conn.executemany(f"insert into {owned.name} values ($1)", [(1,)]),
                "copy_records": lambda: conn.copy_records(owned.name, [(1,)], columns=["n"]),
                "copy_in": lambda: conn.copy_in(f"copy {owned.name} from stdin", b"1\n"),
                "copy_out": lambda: anext(conn.copy_out(f"copy {owned.name} to stdout")),
                "stream": lambda: anext(conn.stream("select 1")),
                "prepare": lambda: conn.prepare("select 1"),
                "prepared": prepared.execute,
                "prepared.close": prepared.close,
                "transaction": conn.transaction().__aenter__,
                "start": started.start,
                "commit": started.commit,
                "rollback": started.rollback,
                "listen": conn.listen("other").__aenter__,
                "notification": notifications.__anext__,
                "reset": conn.reset,
                "close": conn.close,
                "abort": lambda: _call(conn.abort),
            }
            async with conn.transaction():
                for work in works.values():
                    await _in_another_loop(pg, work)
                assert item.outcome is Outcome.NOT_SENT
            assert (await anext(rows))[0] == 1
            for work in (rows.aclose, lambda: _drain(rows)):
                await _in_another_loop(pg, work)
            await rows.aclose()
            assert await conn.fetchval("select 42") == 42
        assert owned.stored == []

    parallel.run(scenario)


async def _drain(rows: Any) -> None:
    while True:
        await anext(rows)


@pytest.mark.holds("L14")
def test_a_pool_in_another_event_loop(parallel: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            lease = pool.acquire()
            works: dict[str, Work] = {
                "fetch": lambda: pool.fetch("select 1"),
                "execute": lambda: pool.execute(owned.insert(1)),
                "acquire": pool.acquire().__aenter__,
                "transaction": pool.transaction().__aenter__,
                "retry": lambda: pool.retry(lambda conn: conn.execute(owned.insert(1))),
                "copy_out": lambda: anext(pool.copy_out(f"copy {owned.name} to stdout")),
                "send_batch": lambda: pool.send_batch(Batch()),
                "expire": lambda: _call(pool.expire),
                "close": pool.close,
            }
            async with lease as conn:
                works |= {
                    "release": lambda: pool.release(conn),
                    "leave": lambda: lease.__aexit__(None, None, None),
                    "its connection": lambda: conn.execute(owned.insert(1)),
                }
                for work in works.values():
                    await _in_another_loop(pg, work)
                assert await pg.in_thread(lambda: pool.stats().used) == 1
                assert await conn.fetchval("select 42") == 42
            assert await pool.fetchval("select 42") == 42
        assert owned.stored == []

    parallel.run(scenario)


@pytest.mark.holds("L14")
def test_a_loop_that_is_over_leaves_nothing_usable_behind(owned: Owned) -> None:
    """A session-wide fixture: opened in a loop that has ended, used in the next one."""

    async def make() -> tuple[pgproto_asyncio.Pool, pgproto_asyncio.Connection]:
        pool = await pgproto_asyncio.Pool(owned.dsn, max_size=1).open()
        return pool, await pgproto_asyncio.connect(owned.dsn)

    async def use(pool: pgproto_asyncio.Pool, conn: pgproto_asyncio.Connection) -> None:
        for work in (pool.fetch, conn.fetch):
            with pytest.raises(LocalProtocolError, match="belongs to another event loop"):
                await work("select 1")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        opened = asyncio.run(make())
        asyncio.run(use(*opened))
        del opened
        gc.collect()


# ---- Two processes

FORK = """
import asyncio, gc, os, sys, warnings
import trio
import pgproto_asyncio, pgproto_blocking, pgproto_trio
from pgproto import LocalProtocolError

warnings.simplefilter("ignore")
dsn, adapter, insert, kind = sys.argv[1:]


async def touched(work):
    try:
        await work()
    except LocalProtocolError as error:
        assert "parent process" in str(error), error
    else:
        raise AssertionError("the child could use it")


async def child(pool, conn, lent):
    await touched(lambda: conn.execute(insert))
    await touched(conn.transaction().__aenter__)
    await touched(lambda: lent.execute(insert))
    await touched(lambda: pool.execute(insert))
    await touched(pool.acquire().__aenter__)
    await conn.close()
    conn.abort()
    assert conn.closed and lent.closed
    await pool.close()


def in_child(run, pool, conn, lent):
    if kind == "use":
        run(pool, conn, lent)
        del pool, conn, lent
        gc.collect()
        sys.stdout.write("child was refused ")
        sys.stdout.flush()
    if kind == "leave":
        raise SystemExit(0)  # through every context manager, and the interpreter's end
    os._exit(0)


def fork(run, pool, conn, lent):
    pid = os.fork()
    if not pid:
        try:
            in_child(run, pool, conn, lent)
        except Exception as error:
            sys.stdout.write(repr(error))
            sys.stdout.flush()
            os._exit(1)
    return pid


def new_loop(pool, conn, lent):
    asyncio.run(child(pool, conn, lent))


def new_run(pool, conn, lent):
    trio.run(child, pool, conn, lent)


def elsewhere(start, *args):
    import threading

    problems = []

    def target():
        try:
            start(*args)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


async def parent(connect, pools, run):
    async with pools(dsn, max_size=2) as pool, connect(dsn) as conn, pool.acquire() as lent:
        unused = pools(dsn, max_size=1)
        assert await conn.fetchval("select 1") == 1
        assert await lent.fetchval("select 1") == 1
        pid = fork(lambda *args: elsewhere(run, *args), pool, conn, lent)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
        for n in range(50):
            assert await conn.fetchval("select $1::int4", n) == n
            assert await lent.fetchval("select $1::int4", n) == n
            assert await pool.fetchval("select $1::int4", n) == n
        assert not conn.closed and not lent.closed


if adapter == "asyncio":
    asyncio.run(parent(pgproto_asyncio.connect, pgproto_asyncio.Pool, new_loop))
else:
    trio.run(parent, pgproto_trio.connect, pgproto_trio.Pool, new_run)
print("parent goes on")
"""


@pytest.mark.holds("L4")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("kind", ["use", "leave", "exit"])
def test_a_forked_child_neither_uses_nor_ends_its_parents_connections(
    parallel: Driver, owned: Owned, kind: str
) -> None:
    if parallel.name == "trio" and kind == "leave":
        pytest.skip("a forked child cannot go on in its parent's trio run")
    done = subprocess.run(
        [sys.executable, "-c", FORK, owned.dsn, parallel.name, owned.insert(1), kind],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    expected = "child was refused parent goes on\n" if kind == "use" else "parent goes on\n"
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr
    assert owned.stored == []


FORKED_BLOCKING = """
import os, sys
import pgproto_blocking
from pgproto import LocalProtocolError

dsn, insert = sys.argv[1:]
with pgproto_blocking.connect(dsn) as conn, pgproto_blocking.Pool(dsn, max_size=1) as pool:
    with pool.acquire() as lent:
        pid = os.fork()
        if not pid:
            for each in (conn, lent):
                try:
                    each.execute(insert)
                except LocalProtocolError:
                    pass
                else:
                    os._exit(1)
            assert pool.fetchval("select 5") == 5  # with a connection of its own
            pool.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert lent.fetchval("select 1") == 1
    assert conn.fetchval("select 2") == 2
    assert pool.fetchval("select 3") == 3
"""


@pytest.mark.holds("L4")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_of_blocking_code(owned: Owned) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED_BLOCKING, owned.dsn, owned.insert(1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert owned.stored == []
