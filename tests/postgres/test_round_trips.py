"""How many round trips things cost, counted by a proxy in front of a real server.

A round trip: the client sends, having been answered before (see `tests.support.proxy`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from pgproto import Batch, Outcome, PostgresError
from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

Work = Callable[[Any], Awaitable[None]]


@pytest.fixture
def proxy(pg18: PostgresServer) -> Iterator[Proxy]:
    with Proxy((pg18.host, pg18.port)) as proxy:
        yield proxy


@pytest.fixture
def dsn(pg18: PostgresServer, proxy: Proxy) -> str:
    return pg18.dsn(port=proxy.port)


# ---- What is measured


async def query(conn: Any) -> None:
    assert await conn.fetchval("select $1::int4", 7) == 7


async def query_without_parameters(conn: Any) -> None:
    assert await conn.fetchval("select 7") == 7


async def failing_query(conn: Any) -> None:
    with pytest.raises(PostgresError):
        await conn.fetchval("select 1 / $1::int4", 0)


async def script(conn: Any) -> None:
    assert len(await conn.script("select 1; select 2; select 3")) == 3


def transaction(count: int) -> Work:
    async def work(conn: Any) -> None:
        async with conn.transaction():
            for _ in range(count):
                await query(conn)

    return work


async def rolled_back(conn: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        async with conn.transaction():
            await query(conn)
            raise ZeroDivisionError


async def nested(conn: Any) -> None:
    async with conn.transaction(), conn.transaction():
        await query(conn)


def batch(count: int, *, atomic: bool = True, texts: int = 1) -> Work:
    async def work(conn: Any) -> None:
        queries = Batch(atomic=atomic)
        for number in range(count):
            queries.queue(f"select $1::int4 + {number % texts}", number)
        items = await conn.send_batch(queries)
        assert [item.rows[0][0] for item in items] == [each + each % texts for each in range(count)]

    return work


async def batch_in_transaction(conn: Any) -> None:
    async with conn.transaction():
        await batch(10)(conn)


async def many_rows(conn: Any) -> None:
    assert len(await conn.fetch("select generate_series(1, $1::int4)", 50_000)) == 50_000


async def prepared(conn: Any) -> None:
    statement = await conn.prepare("select $1::int4 + 1")
    assert await statement.fetchval(1) == 2


async def copy_in(conn: Any) -> None:
    await conn.copy_in("copy pg_temp.rows from stdin", b"1\n2\n")


async def copy_out(conn: Any) -> None:
    assert [chunk async for chunk in conn.copy_out("copy (select 1) to stdout")] == [b"1\n"]


async def stream(conn: Any) -> None:
    assert [row[0] async for row in conn.stream("select generate_series(1, $1::int4)", 3)] == [1, 2, 3]


# What, how often it was done before, and the round trips of the next time.
COSTS: dict[str, tuple[Work, int, int]] = {
    "query, cold": (query, 0, 2),
    "query, warm": (query, 1, 1),
    "query without parameters, cold": (query_without_parameters, 0, 2),
    "query without parameters, warm": (query_without_parameters, 1, 1),
    "failing query, cold": (failing_query, 0, 2),
    # What failed was forgotten: the failure may be about a statement that has become invalid.
    "failing query, again": (failing_query, 1, 2),
    "script of three": (script, 0, 1),
    "many rows, warm": (many_rows, 1, 1),
    "prepare and run": (prepared, 0, 2),
    "transaction of nothing": (transaction(0), 0, 0),
    "transaction of 1, warm": (transaction(1), 1, 2),
    "transaction of 5, warm": (transaction(5), 1, 6),
    "transaction of 5, cold": (transaction(5), 0, 7),
    "transaction of 1, rolled back, warm": (rolled_back, 1, 2),
    # BEGIN and SAVEPOINT travel with the query; RELEASE and COMMIT are one each.
    "nested transaction, warm": (nested, 1, 3),
    "batch of 1, cold": (batch(1), 0, 2),
    "batch of 1, warm": (batch(1), 1, 1),
    "batch of 100, cold": (batch(100), 0, 2),
    "batch of 100, warm": (batch(100), 1, 1),
    "batch of 100, not atomic, warm": (batch(100, atomic=False), 1, 1),
    "batch of 100 different texts, cold": (batch(100, texts=100), 0, 2),
    "batch of 100 different texts, warm": (batch(100, texts=100), 1, 1),
    "batch of 10 in a transaction, warm": (batch_in_transaction, 1, 2),
    # COPY asks, gets CopyInResponse, and sends.
    "copy in": (copy_in, 1, 2),
    "copy out": (copy_out, 0, 1),
    "stream, warm": (stream, 1, 1),
}


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("what", COSTS)
def test_costs(driver: Driver, dsn: str, proxy: Proxy, what: str) -> None:
    work, before, expected = COSTS[what]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            await conn.script("create temp table rows (number int)")
            for _ in range(before):
                await work(conn)
            proxy.reset_counters()
            await work(conn)
            assert proxy.round_trips == expected

    driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_a_large_batch_sends_while_it_is_answered(driver: Driver, dsn: str, proxy: Proxy) -> None:
    """A batch larger than every buffer is answered while it is still being sent: nothing waits for it.

    So its round trips, counted as above, depend on the scheduling; the time shows that there are few.
    """

    async def work(conn: Any) -> None:
        queries = Batch()
        for number in range(1000):
            queries.queue("select length($1::text), $2::int4", "x" * 1000, number)
        items = await conn.send_batch(queries)
        assert [tuple(item.rows[0]) for item in items] == [(1000, number) for number in range(1000)]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            await work(conn)
            proxy.latency = 0.2
            started = time.monotonic()
            await work(conn)
            # One round trip is 0.4 s.  To wait for an answer after each 64 KiB would take 16 of them, 6.4 s.
            assert time.monotonic() - started < 3.2
            proxy.latency = 0.0

    driver.run(scenario)


SHARING = [each for each in DRIVERS if each.asynchronous]


@pytest.mark.parametrize("driver", SHARING, ids=repr)
def test_a_hundred_concurrent_queries_share_one_round_trip(driver: Driver, dsn: str, proxy: Proxy) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:

            def fetch(number: int) -> Callable[[], Awaitable[Any]]:
                return lambda: conn.fetch("select $1::int4 as number", number)

            await fetch(0)()
            proxy.reset_counters()
            answers = await pg.together(*[fetch(number) for number in range(100)])
            assert [rows[0]["number"] for rows in answers] == list(range(100))
            # The first is on its way before the others are asked for; they follow without waiting.
            assert proxy.round_trips <= 2
            proxy.latency = 0.2
            started = time.monotonic()
            await pg.together(*[fetch(number) for number in range(100)])
            assert time.monotonic() - started < 2 * 0.4
            proxy.latency = 0.0

    driver.run(scenario)


@pytest.mark.parametrize("driver", SHARING, ids=repr)
def test_a_failing_query_does_not_disturb_its_neighbours(driver: Driver, dsn: str, proxy: Proxy) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:

            def fetch(number: int) -> Callable[[], Awaitable[Any]]:
                return lambda: conn.fetchval("select 1000 / $1::int4 * 0 + $1::int4", number - 50)

            for _ in range(2):  # cold and warm
                proxy.reset_counters()
                answers = await pg.together(*[fetch(number) for number in range(100)])
                failed = answers.pop(50)
                assert isinstance(failed, PostgresError)
                assert failed.sqlstate == "22012"
                assert failed.outcome is Outcome.FAILED
                assert answers == [number - 50 for number in range(100) if number != 50]
                assert proxy.round_trips <= 4
            assert conn.transaction_status == "I"

    driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_a_clean_session_is_released_without_a_word(driver: Driver, dsn: str, proxy: Proxy) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            await pool.fetchval("select $1::int4", 1)
            proxy.reset_counters()
            for number in range(10):
                assert await pool.fetchval("select $1::int4", number) == number
            assert proxy.round_trips == 10
            assert pool.stats().opens == 1

    driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_a_dirty_session_is_reset_without_making_the_caller_wait(
    driver: Driver, dsn: str, proxy: Proxy
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(dsn, max_size=1) as pool:
            async with pool.acquire() as conn:
                await conn.script("set application_name = 'somebody'")
                proxy.latency = 0.2
                proxy.reset_counters()
                started = time.monotonic()
            assert time.monotonic() - started < 0.2  # half a round trip
            # The next one waits for the reset, which costs one round trip.
            assert await pool.fetchval("show application_name") == ""
            assert time.monotonic() - started > 0.4
            proxy.latency = 0.0
            assert pool.stats().opens == 1

    driver.run(scenario)
