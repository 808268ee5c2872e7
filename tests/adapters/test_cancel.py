"""Cancelling at every await: nothing is swallowed, nobody gets somebody else's rows, the pool is whole again.

A task that is about to be suspended for the k-th time is cancelled there, for k = 1, 2, ... until its work
ends before.  In two ways: *asleep*, before what it waits for has happened, and *waking*, when that has
happened and the task is about to run again, so that what it was just given must not get lost.

After each cancellation the pool serves others at once, and then has all its connections again, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import types
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

import pytest

import pgproto_asyncio
from pgproto import Batch, QueryTimeout
from tests.support.postgres import PostgresServer

MAX = 3
ROWS = 5_000
Work = Callable[[Any, int], Coroutine[Any, Any, None]]

tags = itertools.count(1_000)

# Every row of an answer carries the tag of who asked.
QUERY = "select $1::int8 as tag, g from generate_series(1, $2::int) g"


# ---- The work, each with a tag of its own


async def fetch(conn: Any, tag: int, rows: int = ROWS) -> None:
    answer = await conn.fetch(QUERY, tag, rows)
    assert len(answer) == rows
    assert {row[0] for row in answer} == {tag}


async def cold_fetch(conn: Any, tag: int) -> None:
    assert await conn.fetchval(f"select $1::int8 + 0 * {tag}", tag) == tag


async def sleep(conn: Any, tag: int) -> None:
    assert await conn.fetchval("select $1::int8 from pg_sleep(0.02)", tag) == tag


async def transaction(conn: Any, tag: int) -> None:
    async with conn.transaction():
        await fetch(conn, tag, 1)
        async with conn.transaction():
            await conn.execute("insert into cancelled values ($1)", tag)
        await fetch(conn, tag, 1)


async def send_batch(conn: Any, tag: int) -> None:
    batch = Batch()
    for _ in range(200):
        batch.queue("insert into cancelled values ($1)", tag)
        batch.queue("select $1::int8 as tag, repeat('x', 1000)", tag)
    items = await conn.send_batch(batch)
    assert {item.rows[0][0] for item in items[1::2]} == {tag}


async def send_isolated_batch(conn: Any, tag: int) -> None:
    batch = Batch(atomic=False)
    for _ in range(200):
        batch.queue("select $1::int8 as tag", tag)
    items = await conn.send_batch(batch)
    assert {item.rows[0][0] for item in items} == {tag}


async def copy_in(conn: Any, tag: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield f"{tag}\n".encode() * 1000

    assert await conn.copy_in("copy cancelled from stdin", pieces()) == 20_000


async def copy_records(conn: Any, tag: int) -> None:
    records = [(tag,)] * 20_000
    assert await conn.copy_records("cancelled", records, columns=["tag"]) == 20_000


async def copy_out(conn: Any, tag: int) -> None:
    sql = f"copy (select {tag} from generate_series(1, 50000)) to stdout"
    async with contextlib.aclosing(conn.copy_out(sql)) as chunks:
        lines = b"".join([chunk async for chunk in chunks]).splitlines()
    assert set(lines) == {str(tag).encode()}
    assert len(lines) == 50_000


async def stream(conn: Any, tag: int) -> None:
    async with contextlib.aclosing(conn.stream(QUERY, tag, 4 * ROWS)) as rows:
        found = [row[0] async for row in rows]
    assert len(found) == 4 * ROWS
    assert set(found) == {tag}


async def listen(conn: Any, tag: int) -> None:
    async with conn.listen(f"channel_{tag}") as notifications:
        await conn.fetch("select pg_notify($1, $2)", f"channel_{tag}", str(tag))
        notification = await anext(notifications)
        assert notification.payload == str(tag)


async def prepare(conn: Any, tag: int) -> None:
    statement = await conn.prepare(f"select $1::int8 + 0 * {tag}")
    assert await statement.fetchval(tag) == tag


async def reset(conn: Any, tag: int) -> None:
    await conn.reset()
    await fetch(conn, tag, 1)


ON_A_CONNECTION: tuple[Work, ...] = (
    fetch,
    cold_fetch,
    sleep,
    transaction,
    send_batch,
    send_isolated_batch,
    copy_in,
    copy_records,
    copy_out,
    stream,
    listen,
    prepare,
    reset,
)


def borrowed(work: Work) -> Work:
    """The work on a connection that is acquired for it."""

    async def run(pool: Any, tag: int) -> None:
        async with pool.acquire() as conn:
            await work(conn, tag)

    run.__name__ = f"acquire_{work.__name__}"
    return run


async def pool_transaction(pool: Any, tag: int) -> None:
    async with pool.transaction() as conn:
        await conn.execute("insert into cancelled values ($1)", tag)
        await fetch(conn, tag, 1)


async def retry(pool: Any, tag: int) -> None:
    async def work(conn: Any) -> None:
        await conn.execute("insert into cancelled values ($1)", tag)

    await pool.retry(work)


async def contended(pool: Any, tag: int) -> None:
    """Wait in the queue: all connections are taken."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX):
            await stack.enter_async_context(pool.acquire())
        waiter = asyncio.ensure_future(fetch(pool, tag))
        try:
            await asyncio.sleep(0)
            await stack.aclose()
            await waiter
        finally:
            waiter.cancel()
            await asyncio.wait([waiter])


ON_A_POOL: tuple[Work, ...] = (*map(borrowed, ON_A_CONNECTION), fetch, pool_transaction, retry, contended)


# ---- Cancelling


class Cancelled:
    """Runs work and cancels it at its k-th suspension; `reached` says whether there was one."""

    def __init__(self, work: Coroutine[Any, Any, None], suspension: int, *, waking: bool) -> None:
        self._work = work
        self._suspension = suspension
        self._waking = waking
        self.reached = False

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        thrown: BaseException | None = None
        for count in itertools.count(1):
            try:
                waits_for = self._work.throw(thrown) if thrown is not None else self._work.send(None)
            except StopIteration:
                return
            thrown = None
            if count == self._suspension:
                self.reached = True
                if self._waking and waits_for is not None:
                    waits_for.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield waits_for
            except BaseException as error:
                thrown = error

    async def run(self) -> None:
        await self._steps()


async def survives(pool: Any, watch: Any) -> None:
    """The pool serves everybody at once with their own rows, then is whole."""
    before = time.monotonic()
    await asyncio.gather(*[fetch(pool, next(tags), 10) for _ in range(2 * MAX)])
    while (stats := pool.stats()).size != stats.idle:
        assert time.monotonic() - before < 2, stats
        await asyncio.sleep(0.001)
    assert stats.waiting == 0
    assert time.monotonic() - before < 2
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(pool.acquire(timeout=2)) for _ in range(MAX)]
        assert len({conn.pid for conn in conns}) == MAX
        for conn in conns:
            assert conn.transaction_status == "I"
            await fetch(conn, next(tags), 2)
        states = await watch.fetch(
            "select pid, state, xact_start is null from pg_stat_activity where application_name = $1", APP
        )
        assert len(states) <= MAX, states
        assert all(tuple(row)[1:] == ("idle", True) for row in states), states


APP = "pgproto cancelled"


@pytest.fixture(scope="module", autouse=True)
def table(pg18: PostgresServer) -> Iterator[None]:
    pg18.query("create unlogged table cancelled (tag int8)")
    yield
    pg18.query("drop table cancelled")


def run(main: Coroutine[Any, Any, None]) -> None:
    problems: list[str] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(str(context)))
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())
    assert not problems, problems


async def cancel_everywhere(dsn: str, work: Work, *, waking: bool) -> int:
    """Cancel the work at each of its suspensions; how many there were."""
    async with (
        pgproto_asyncio.connect(dsn) as watch,
        pgproto_asyncio.Pool(dsn, min_size=MAX, max_size=MAX, application_name=APP) as pool,
    ):
        await survives(pool, watch)
        for suspension in itertools.count(1):
            cancelled = Cancelled(work(pool, next(tags)), suspension, waking=waking)
            task = asyncio.ensure_future(cancelled.run())
            await asyncio.wait([task], timeout=5)
            assert task.done(), f"suspension {suspension}: it hangs"
            if not cancelled.reached:
                task.result()
                return suspension - 1
            assert task.cancelled(), f"suspension {suspension}: {task.exception()!r}, not cancelled"
            await survives(pool, watch)
    raise AssertionError("unreachable")


@pytest.mark.parametrize("waking", [False, True], ids=["asleep", "waking"])
@pytest.mark.parametrize("work", ON_A_POOL, ids=lambda work: work.__name__)
def test_cancel_at_every_suspension(pg18: PostgresServer, work: Work, waking: bool) -> None:
    async def main() -> None:
        assert await cancel_everywhere(pg18.dsn(), work, waking=waking) >= 1

    run(main())
    # All of it or nothing: what was cancelled before its end has left nothing behind by halves.
    counts = {row[0] for row in pg18.query("select count(*) from cancelled group by tag")}
    assert counts <= {"1", "200", "20000"}
    pg18.query("truncate cancelled")


@pytest.mark.parametrize("waking", [False, True], ids=["asleep", "waking"])
def test_cancel_while_connecting(pg18: PostgresServer, waking: bool) -> None:
    async def main() -> None:
        for suspension in itertools.count(1):
            made: list[Any] = []

            async def connect(made: list[Any] = made) -> None:
                made.append(await pgproto_asyncio.connect(pg18.dsn(), application_name=APP))

            cancelled = Cancelled(connect(), suspension, waking=waking)
            task = asyncio.ensure_future(cancelled.run())
            await asyncio.wait([task], timeout=5)
            if not cancelled.reached:
                await made[0].close()
                break
            assert task.cancelled()
            assert not made
        assert suspension > 2

    run(main())
    gone = f"select count(*) from pg_stat_activity where application_name = '{APP}'"
    deadline = time.monotonic() + 5
    while pg18.query(gone) != [["0"]]:
        assert time.monotonic() < deadline, "a connection was left behind"


@pytest.mark.parametrize("timeout", [None, 0.05], ids=["cancelled", "timed out"])
def test_closing_does_not_leave_the_abandoned_statement_running(
    pg18: PostgresServer, timeout: float | None
) -> None:
    """The cancel request is on its way when `async with` ends: it must get there."""

    async def main() -> None:
        with contextlib.suppress(TimeoutError, QueryTimeout):
            async with (
                asyncio.timeout(None if timeout else 0.05),
                pgproto_asyncio.connect(pg18.dsn(), application_name=APP) as conn,
            ):
                await conn.fetch("select pg_sleep(60)", timeout=timeout)

    run(main())
    active = f"select count(*) from pg_stat_activity where application_name = '{APP}' and state = 'active'"
    deadline = time.monotonic() + 5
    while pg18.query(active) != [["0"]]:
        assert time.monotonic() < deadline, "it runs on for nobody"


@pytest.mark.parametrize("work", [fetch, sleep, send_batch, cold_fetch], ids=lambda work: work.__name__)
def test_neighbours_on_the_connection_are_not_disturbed(pg18: PostgresServer, work: Work) -> None:
    """One of three callers of a connection is cancelled; the other two get their rows."""

    async def main() -> None:
        async with pgproto_asyncio.connect(pg18.dsn()) as conn:
            for suspension in itertools.count(1):
                before = asyncio.ensure_future(fetch(conn, next(tags)))
                await asyncio.sleep(0)
                cancelled = Cancelled(work(conn, next(tags)), suspension, waking=False)
                task = asyncio.ensure_future(cancelled.run())
                await asyncio.sleep(0)
                await asyncio.gather(before, fetch(conn, next(tags)))
                await asyncio.wait([task], timeout=5)
                if not cancelled.reached:
                    task.result()
                    return
                assert task.cancelled()

    run(main())
