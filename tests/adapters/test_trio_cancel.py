"""Cancelling trio code at every point at which it can be cancelled, one after the other.

A scenario is run again and again; the k-th time it is cancelled when it (or a task of its own) suspends
for the k-th time, until it gets to its end undisturbed.  After each run the connection answers its next
query rightly or is closed, and the pool is at its full size again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import trio

import pgproto_trio as pg
from pgproto import Batch, QueryTimeout
from pgproto_trio import Connection
from tests.support.postgres import PostgresServer
from tests.support.suspensions import TRIO

MANY = 400
"""No scenario suspends as often."""


async def cancelled_at(k: int, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    """Run it and cancel it at its k-th suspension; False if it did not get there."""
    reached, _ = await TRIO.cancelled_at(k, work)
    return reached


# ---- On a connection


async def query(conn: Connection) -> None:
    assert await conn.fetchval("select $1::int4 + 1", 1) == 2


async def new_query(conn: Connection) -> None:
    # Another text each time: it has to be prepared first.
    assert await conn.fetchval(f"select {conn.engine.clock()!r}::float8 > $1::float8", 0.0)


async def slow_query(conn: Connection) -> None:
    assert await conn.fetchval("select 1 from pg_sleep(0.02)") == 1


async def timed_out(conn: Connection) -> None:
    with pytest.raises(QueryTimeout):
        await conn.fetchval("select pg_sleep(60)", timeout=0.02)


async def script(conn: Connection) -> None:
    await conn.script("select 1; select 2")


async def batch(conn: Connection) -> None:
    work = Batch()
    items = [work.queue("select $1::int4", number) for number in range(50)]
    await conn.send_batch(work)
    assert [item.rows[0][0] for item in items] == list(range(50))


async def big_batch(conn: Connection) -> None:
    work = Batch(atomic=False)
    items = [work.queue("select length($1::text)", "x" * 300_000) for _ in range(3)]
    await conn.send_batch(work)
    assert [item.rows[0][0] for item in items] == [300_000] * 3


async def transaction(conn: Connection) -> None:
    async with conn.transaction():
        await conn.execute("create temp table u (a int4) on commit drop")
        async with conn.transaction():
            await conn.execute("insert into u values (1)")
        assert await conn.fetchval("select count(*) from u") == 1


async def empty_transaction(conn: Connection) -> None:
    async with conn.transaction():
        await trio.lowlevel.checkpoint()


async def failing_transaction(conn: Connection) -> None:
    with pytest.raises(RuntimeError):
        async with conn.transaction():
            await conn.execute("select 1")
            raise RuntimeError


async def stream(conn: Connection) -> None:
    async with conn.stream("select generate_series(1, 50000)") as rows:
        assert [row[0] async for row in rows] == list(range(1, 50001))


async def copies(conn: Connection) -> None:
    async def records() -> AsyncIterator[tuple[int]]:
        for number in range(3):
            await trio.lowlevel.checkpoint()
            yield (number,)

    await conn.execute("create temp table if not exists c (a int4)")
    await conn.execute("truncate c")
    assert await conn.copy_records("c", records(), columns=["a"]) == 3
    assert await conn.copy_in("copy c from stdin", [b"7\n"] * 1000) == 1000
    async with conn.copy_out("copy c to stdout") as chunks:
        assert b"".join([chunk async for chunk in chunks]).count(b"\n") == 1003


async def listening(conn: Connection) -> None:
    async with conn.listen("here") as notifications:
        await conn.execute("notify here, 'x'")
        assert (await anext(notifications)).payload == "x"


async def neighbours(conn: Connection) -> None:
    async def one(number: int) -> None:
        assert await conn.fetchval("select $1::int4", number) == number

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(one, number)


SCENARIOS: list[tuple[Callable[[Connection], Coroutine[Any, Any, None]], int]] = [
    # The scenario, and how many runs may cost the connection (one that is half written has to be closed).
    (query, 0),
    (new_query, 0),
    (slow_query, 0),
    (timed_out, 0),
    (script, 0),
    (batch, 0),
    (big_batch, MANY),
    (transaction, 0),
    (empty_transaction, 0),
    (failing_transaction, 0),
    (stream, 0),
    (copies, 0),
    (listening, 0),
    (neighbours, 0),
]


@pytest.mark.parametrize(
    ("scenario", "closings"), SCENARIOS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_connection_answers_rightly_or_is_closed(
    pg18: PostgresServer, scenario: Callable[[Connection], Coroutine[Any, Any, None]], closings: int
) -> None:
    async def main() -> None:
        conn = await pg.connect(pg18.dsn())
        closed = 0
        for k in range(1, MANY):
            before = trio.current_time()
            reached = await cancelled_at(k, lambda: scenario(conn))  # noqa: B023 - it is awaited at once
            assert trio.current_time() - before < 5
            if conn.closed:
                closed += 1
                conn = await pg.connect(pg18.dsn())
            tag = f"{scenario.__name__} {k}"
            assert await conn.fetchval("select $1::text", tag) == tag
            assert conn.transaction_status == "I"
            assert conn.engine.reusable
            if not reached:
                break
        else:
            raise AssertionError("it never ended")
        assert k > 1, "it was never cancelled"
        assert closed <= closings
        await conn.close()

    trio.run(main)


def test_connecting_leaves_nothing_behind(pg15: PostgresServer) -> None:
    async def main() -> None:
        async def work() -> None:
            async with pg.connect(pg15.dsn(sslmode="require", user="scram_user", password="s3cret")) as conn:
                assert await conn.fetchval("select 1") == 1

        for k in range(1, MANY):
            if not await cancelled_at(k, work):
                break
        assert 5 < k < MANY - 1

    trio.run(main)
    # pytest would have turned the ResourceWarning of an unclosed socket into a failure.


# ---- On a pool


async def lend(pool: pg.Pool) -> None:
    async with pool.acquire() as conn:
        assert await conn.fetchval("select $1::text", "lent") == "lent"


async def lend_dirty(pool: pg.Pool) -> None:
    async with pool.acquire() as conn:
        await conn.execute("set application_name = 'dirty'")


async def lend_transaction(pool: pg.Pool) -> None:
    async with pool.transaction() as conn:
        assert await conn.fetchval("select $1::text", "in a transaction") == "in a transaction"


async def copy_from_pool(pool: pg.Pool) -> None:
    async with pool.copy_out("copy (select generate_series(1, 1000)) to stdout") as chunks:
        assert b"".join([chunk async for chunk in chunks]).count(b"\n") == 1000


async def crowd(pool: pg.Pool) -> None:
    async def one(number: int) -> None:
        assert await pool.fetchval("select $1::int4", number) == number

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(one, number)


@pytest.mark.parametrize("scenario", [lend, lend_dirty, lend_transaction, copy_from_pool, crowd])
@pytest.mark.parametrize("hooks", [False, True])
def test_a_pool_stays_whole(
    pg18: PostgresServer, scenario: Callable[[pg.Pool], Coroutine[Any, Any, None]], hooks: bool
) -> None:
    async def touch(conn: Connection) -> bool | None:
        await conn.script("set work_mem = '1MB'")
        return None

    async def main() -> None:
        hook = touch if hooks else None
        async with pg.Pool(
            pg18.dsn(),
            min_size=0,
            max_size=2,
            on_connect=hook,
            on_acquire=hook,
            on_release=hook,
            on_close=hook,
        ) as pool:
            for k in range(1, MANY):
                reached = await cancelled_at(k, lambda: scenario(pool))
                tag = f"{scenario.__name__} {k}"
                with trio.fail_after(5):
                    async with pool.acquire() as one, pool.acquire() as two:
                        assert await one.fetchval("select $1::text", tag) == tag
                        assert await two.fetchval("select $1::text", tag) == tag
                        assert await two.fetchval("show application_name") == ""
                assert pool.stats().size <= 2
                if not reached:
                    break
            assert 1 < k < MANY - 1
        assert pool.stats().size == 0

    trio.run(main)


def test_a_cancelled_pool_closes_at_once(pg18: PostgresServer) -> None:
    async def main() -> None:
        async def work() -> None:
            async with pg.Pool(pg18.dsn(), min_size=2, max_size=2) as pool:
                pools.append(pool)
                async with pool.acquire() as conn:
                    assert await conn.fetchval("select 1") == 1
                    await pool.fetchval("select 1")

        for k in range(1, MANY):
            pools: list[pg.Pool] = []
            before = trio.current_time()
            reached = await cancelled_at(k, work)
            assert trio.current_time() - before < 3
            assert all(pool.stats().size == 0 for pool in pools)
            if not reached:
                break
        assert 1 < k < MANY - 1

    trio.run(main)
