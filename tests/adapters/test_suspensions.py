"""Cancelled at every suspension of every operation, on every loop: the pool stays whole.

The k-th time that an operation runs, it is cancelled where it suspends for the k-th time, for k = 1, 2, ...
until it ends before.  On asyncio's loops in two ways: *asleep*, before what it waits for has happened, and
*waking*, when that has happened and the task is about to run again, so that what it was just given must not
get lost.  After each cancellation the pool serves others at once, with their own rows, has all of its
connections again, idle at the server, and what was cancelled is stored as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pgproto import Batch, PostgresError, QueryTimeout, client
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer
from tests.support.suspensions import LOOPS, Loop

MAX = 3
ROWS = 1_000
MANY = 400  # no operation suspends as often
APP = "pgproto cancelled"


@dataclass
class Here:
    """Where an operation runs: the adapter, and the server."""

    driver: Driver
    dsn: str


Operation = Callable[[Here, Any, int], Coroutine[Any, Any, None]]

tags = itertools.count(1_000)

# Every row of an answer carries the tag of who asked.
QUERY = "select $1::int8 as tag, g from generate_series(1, $2::int) g"
SESSIONS = "select count(*) from pg_stat_activity where application_name = $1"
STORE = "insert into suspended values ($1)"


async def ask(conn: Any, tag: int, rows: int = ROWS) -> None:
    answer = await conn.fetch(QUERY, tag, rows)
    assert len(answer) == rows
    assert {row[0] for row in answer} == {tag}


async def all_of(here: Here, *works: Callable[[], Awaitable[Any]]) -> None:
    """Run all at once; an error of one of them is raised."""
    for result in await here.driver.together(*works):
        if isinstance(result, BaseException):
            raise result


# ---- On a connection


async def fetch(here: Here, conn: Any, tag: int) -> None:
    await ask(conn, tag)


async def fetchrow(here: Here, conn: Any, tag: int) -> None:
    row = await conn.fetchrow("select $1::int8 as tag", tag)
    assert row["tag"] == tag


async def new_text(here: Here, conn: Any, tag: int) -> None:
    # Another text each time: it has to be prepared first.
    assert await conn.fetchval(f"select $1::int8 + 0 * {tag}", tag) == tag


async def sleep(here: Here, conn: Any, tag: int) -> None:
    assert await conn.fetchval("select $1::int8 from pg_sleep(0.02)", tag) == tag


async def timed_out(here: Here, conn: Any, tag: int) -> None:
    with pytest.raises(QueryTimeout):
        await conn.fetchval("select pg_sleep(60)", timeout=0.02)


async def execute(here: Here, conn: Any, tag: int) -> None:
    assert await conn.execute(STORE, tag) == "INSERT 0 1"


async def executemany(here: Here, conn: Any, tag: int) -> None:
    assert await conn.executemany(STORE, [(tag,)] * 200) == 200


async def script(here: Here, conn: Any, tag: int) -> None:
    await conn.script(f"insert into suspended values ({tag}); select {tag}")


async def transaction(here: Here, conn: Any, tag: int) -> None:
    async with conn.transaction():
        await ask(conn, tag, 1)
        async with conn.transaction():
            await conn.execute(STORE, tag)
        await ask(conn, tag, 1)


async def transaction_that_fails(here: Here, conn: Any, tag: int) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await conn.execute(STORE, tag)
            raise ZeroDivisionError


async def transaction_by_hand(here: Here, conn: Any, tag: int) -> None:
    block = conn.transaction()
    await block.start()
    try:
        await conn.execute(STORE, tag)
    except BaseException:
        await block.rollback()
        raise
    await block.commit()


async def send_batch(here: Here, conn: Any, tag: int) -> None:
    batch = Batch()
    for _ in range(200):
        batch.queue(STORE, tag)
        batch.queue("select $1::int8 as tag, repeat('x', 1000)", tag)
    items = await conn.send_batch(batch)
    assert {item.rows[0][0] for item in items[1::2]} == {tag}


async def send_isolated_batch(here: Here, conn: Any, tag: int) -> None:
    batch = Batch(atomic=False)
    for _ in range(200):
        batch.queue("select $1::int8 as tag", tag)
    items = await conn.send_batch(batch)
    assert {item.rows[0][0] for item in items} == {tag}


async def copy_in(here: Here, conn: Any, tag: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield f"{tag}\n".encode() * 1000

    assert await conn.copy_in("copy suspended from stdin", pieces()) == 20_000


async def copy_records(here: Here, conn: Any, tag: int) -> None:
    assert await conn.copy_records("suspended", [(tag,)] * 20_000, columns=["tag"]) == 20_000


async def copy_out(here: Here, conn: Any, tag: int) -> None:
    async with conn.copy_out(f"copy (select {tag} from generate_series(1, 20000)) to stdout") as chunks:
        lines = b"".join([chunk async for chunk in chunks]).splitlines()
    assert set(lines) == {str(tag).encode()}
    assert len(lines) == 20_000


async def copy_out_to_a_sink(here: Here, conn: Any, tag: int) -> None:
    taken = bytearray()

    async def sink(piece: bytes) -> None:
        await conn.runtime.sleep(0)
        taken.extend(piece)

    sql = f"copy (select $1::int8 + 0 * {tag} from generate_series(1, $2::int4)) to stdout"
    assert await conn.copy_out(sql, tag, 20_000, to=sink) == 20_000
    assert set(bytes(taken).splitlines()) == {str(tag).encode()}


async def copy_all_columns(here: Here, conn: Any, tag: int) -> None:
    assert await conn.copy_records("suspended", [(tag,)] * 20_000, where="tag > 0") == 20_000


async def stream(here: Here, conn: Any, tag: int) -> None:
    async with conn.stream(QUERY, tag, 10 * ROWS) as rows:
        found = [row[0] async for row in rows]
    assert len(found) == 10 * ROWS
    assert set(found) == {tag}


async def stream_in_a_block(here: Here, conn: Any, tag: int) -> None:
    async with conn.transaction():
        await stream(here, conn, tag)


async def cursor(here: Here, conn: Any, tag: int) -> None:
    async with conn.transaction(), conn.cursor(QUERY, tag, 10 * ROWS) as cursor:
        found = await cursor.fetch(ROWS)
        await ask(conn, tag, 5)
        assert await cursor.forward(ROWS) == ROWS
        found += [row async for row in cursor]
    assert len(found) == 9 * ROWS
    assert {row[0] for row in found} == {tag}


async def fetch_columns(here: Here, conn: Any, tag: int) -> None:
    found = await conn.fetch_columns(QUERY, tag, ROWS)
    assert set(found["tag"].values) == {tag}
    assert len(found) == ROWS


async def stream_columns(here: Here, conn: Any, tag: int) -> None:
    async with conn.stream_columns(QUERY, tag, 10 * ROWS, size=2 * ROWS) as batches:
        found = [value async for batch in batches for value in batch["tag"].values]
    assert found == [tag] * 10 * ROWS


async def copy_columns(here: Here, conn: Any, tag: int) -> None:
    columns = await conn.fetch_columns("select $1::int8 as tag from generate_series(1, 20000)", tag)
    assert await conn.copy_columns("suspended", columns) == 20_000


async def new_types(here: Here, conn: Any, tag: int) -> None:
    await conn.script(f"create type pg_temp.t{tag} as (tag int8, word text)")
    assert await conn.fetchval(f"select array[row($1::int8, 'x')::pg_temp.t{tag}]", tag) == [(tag, "x")]


async def listen(here: Here, conn: Any, tag: int) -> None:
    async with conn.listen(f"channel_{tag}") as notifications:
        await conn.fetch("select pg_notify($1, $2)", f"channel_{tag}", str(tag))
        notification = await anext(notifications)
        assert notification.payload == str(tag)


async def prepare(here: Here, conn: Any, tag: int) -> None:
    statement = await conn.prepare(f"select $1::int8 + 0 * {tag}")
    assert await statement.fetchval(tag) == tag
    await statement.close()


async def reset(here: Here, conn: Any, tag: int) -> None:
    await conn.reset()
    await ask(conn, tag, 1)


async def cancel(here: Here, conn: Any, tag: int) -> None:
    """The statement ends at once, by one request or the other; nothing later is hit."""

    async def run() -> None:
        try:
            with pytest.raises(PostgresError):
                await conn.fetchval("select pg_sleep(60)")
        finally:
            ended.append(True)

    async def stop() -> None:
        while not ended:
            await conn.cancel()
            await conn.runtime.sleep(0.001)
        await ask(conn, tag, 1)

    ended: list[bool] = []
    await all_of(here, run, stop)


async def explain(here: Here, conn: Any, tag: int) -> None:
    [plan] = await conn.explain(STORE, tag, analyze=True)
    assert plan["Plan"]["Actual Loops"] == 1


async def neighbours(here: Here, conn: Any, tag: int) -> None:
    await all_of(here, *[lambda: ask(conn, tag, 5) for _ in range(4)])


ON_A_CONNECTION: tuple[Operation, ...] = (
    fetch,
    fetchrow,
    new_text,
    sleep,
    timed_out,
    execute,
    executemany,
    script,
    transaction,
    transaction_that_fails,
    transaction_by_hand,
    send_batch,
    send_isolated_batch,
    copy_in,
    copy_records,
    copy_all_columns,
    copy_out,
    copy_out_to_a_sink,
    stream,
    stream_in_a_block,
    cursor,
    fetch_columns,
    stream_columns,
    copy_columns,
    new_types,
    listen,
    prepare,
    reset,
    cancel,
    explain,
    neighbours,
)


# ---- On a pool


def borrowed(operation: Operation) -> Operation:
    """The operation on a connection that is acquired for it."""

    async def run(here: Here, pool: Any, tag: int) -> None:
        async with pool.acquire() as conn:
            await operation(here, conn, tag)

    run.__name__ = f"acquire_{operation.__name__}"
    return run


async def acquire_by_hand(here: Here, pool: Any, tag: int) -> None:
    conn = await pool.acquire()
    try:
        await conn.execute("set application_name = 'dirty'")
        await conn.execute(f"set application_name = '{APP}'")
        await ask(conn, tag, 1)
    finally:
        await pool.release(conn)


async def pool_transaction(here: Here, pool: Any, tag: int) -> None:
    async with pool.transaction() as conn:
        await conn.execute(STORE, tag)
        await ask(conn, tag, 1)


async def pool_copy_out(here: Here, pool: Any, tag: int) -> None:
    await copy_out(here, pool, tag)


async def pool_stream(here: Here, pool: Any, tag: int) -> None:
    await stream(here, pool, tag)


async def pool_listen(here: Here, pool: Any, tag: int) -> None:
    async with pool.listen(f"channel_{tag}") as events:
        await pool.fetch("select pg_notify($1, $2)", f"channel_{tag}", str(tag))
        notification = await anext(events)
        assert notification.payload == str(tag)


async def retry(here: Here, pool: Any, tag: int) -> None:
    async def work(conn: Any) -> None:
        await conn.execute(STORE, tag)

    await pool.retry(work)


async def contended(here: Here, pool: Any, tag: int) -> None:
    """Wait in the queue: all connections are taken."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX):
            await stack.enter_async_context(pool.acquire())
        await all_of(here, lambda: ask(pool, tag), stack.aclose)


async def another_pool(here: Here, pool: Any, tag: int) -> None:
    async with here.driver.Pool(here.dsn, min_size=2, max_size=2, application_name=APP) as own:
        await ask(own, tag, 1)
        own.expire()
        await ask(own, tag, 1)


async def another_connection(here: Here, pool: Any, tag: int) -> None:
    async with here.driver.connect(here.dsn, application_name=APP) as conn:
        await ask(conn, tag, 1)


ON_A_POOL: tuple[Operation, ...] = (
    *map(borrowed, ON_A_CONNECTION),
    fetch,
    acquire_by_hand,
    pool_transaction,
    pool_copy_out,
    pool_stream,
    pool_listen,
    retry,
    contended,
    another_pool,
    another_connection,
)


# ---- What holds after each cancellation


async def survives(here: Here, pool: Any, watch: Any) -> None:
    """The pool serves everybody at once with their own rows, then is whole."""
    await all_of(here, *[lambda: ask(pool, next(tags), 10) for _ in range(2 * MAX)])
    async with contextlib.AsyncExitStack() as stack:
        conns = [await stack.enter_async_context(pool.acquire(timeout=2)) for _ in range(MAX)]
        assert len({conn.pid for conn in conns}) == MAX
        stats = pool.stats()
        assert (stats.size, stats.waiting) == (MAX, 0), stats
        for conn in conns:
            assert conn.transaction_status == "I"
            assert await conn.fetchval("show application_name") == APP
            await ask(conn, next(tags), 2)
        states = {
            row[0]: (row[1], row[2])
            for row in await watch.fetch(
                "select pid, state, xact_start is null from pg_stat_activity where application_name = $1", APP
            )
        }
        assert [states[conn.pid] for conn in conns] == [("idle", True)] * MAX, states
    stored = await watch.fetch("select count(*) from suspended group by tag")
    assert {row[0] for row in stored} <= {1, 200, 20_000}


@pytest.fixture(scope="module", autouse=True)
def table(pg18: PostgresServer) -> Iterator[None]:
    pg18.query("create unlogged table suspended (tag int8)")
    yield
    pg18.query("drop table suspended")


WAYS = [(loop, False) for loop in LOOPS] + [(loop, True) for loop in LOOPS if loop.edge]


@pytest.mark.holds("A7")
@pytest.mark.parametrize("operation", ON_A_POOL, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize(
    ("loop", "waking"), WAYS, ids=[f"{loop!r}{'-waking' * waking}" for loop, waking in WAYS]
)
def test_cancelled_at_every_suspension(
    pg18: PostgresServer, loop: Loop, waking: bool, operation: Operation
) -> None:
    dsn = pg18.dsn()
    places = caught = 0

    async def scenario(pg: Driver) -> None:
        nonlocal places, caught
        here = Here(pg, dsn)
        async with (
            pg.connect(dsn) as watch,
            pg.Pool(dsn, min_size=MAX, max_size=MAX, application_name=APP) as pool,
        ):
            await survives(here, pool, watch)
            for k in range(1, MANY):
                reached, cancelled = await loop.cancelled_at(
                    k,
                    lambda: operation(here, pool, next(tags)),
                    waking=waking,
                )
                if not reached:
                    assert not cancelled
                    break
                places += 1
                caught += cancelled
                if loop.edge:
                    assert cancelled, f"suspension {k}: the cancellation was swallowed"
                await survives(here, pool, watch)
            await watch.execute("truncate suspended")
            end = time.monotonic() + 5
            while await watch.fetchval(SESSIONS, APP) > MAX:
                assert time.monotonic() < end, "a session was left behind"

    loop.driver.run(scenario, deadline=60)
    assert 1 <= places < MANY - 1
    assert caught, "it was never cancelled"
    print(f"cancelled at {places} suspensions, {caught} times in time")


@pytest.mark.holds("A7")
@pytest.mark.parametrize("operation", [fetch, new_text, sleep, send_batch], ids=lambda each: each.__name__)
@pytest.mark.parametrize("loop", LOOPS, ids=repr)
def test_neighbours_on_the_connection_are_not_disturbed(
    pg18: PostgresServer, loop: Loop, operation: Operation
) -> None:
    """One of three callers of a connection is cancelled; the other two get their rows."""

    async def scenario(pg: Driver) -> None:
        here = Here(pg, pg18.dsn())
        async with pg.connect(here.dsn) as conn:
            for k in range(1, MANY):
                reached: list[bool] = []

                async def cancelled(k: int = k, reached: list[bool] = reached) -> None:
                    reached += await loop.cancelled_at(k, lambda: operation(here, conn, next(tags)))

                await all_of(here, lambda: ask(conn, next(tags)), cancelled, lambda: ask(conn, next(tags)))
                if not reached[0]:
                    break
            assert 1 < k < MANY - 1
            assert not conn.closed

    loop.driver.run(scenario, deadline=60)


def test_every_operation_is_among_them() -> None:
    source = Path(__file__).read_text()
    asynchronous = (client.Connection, client.Pool, client.PreparedStatement, client.TransactionContext)
    public = {
        name
        for cls in asynchronous
        for name, method in inspect.getmembers(cls, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    inner = {"clean_up", "close_statement", "open", "run_flow", "settled"}  # a pool's driver calls them
    assert {name for name in public if f".{name}(" not in source} <= inner
