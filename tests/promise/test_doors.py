"""Every `timeout=` is looked at before anything is sent: one that is no number, and one that has passed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest

import pgproto
from pgproto import Batch, Outcome
from pgproto.session import DEFAULT
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

NO_NUMBERS: list[tuple[object, type[Exception]]] = [
    ("1", TypeError),
    (b"1", TypeError),
    (Decimal(5), TypeError),
    (True, TypeError),
    (float("nan"), ValueError),
]

Call = Callable[[Any, Any], Coroutine[Any, Any, Any]]
"""A public call: what it is called on (a connection or a pool), and its timeout."""


async def drain(pieces: Any) -> None:
    """Take all there is."""
    async for _ in pieces:
        pass


async def stream(on: Any, timeout: Any) -> None:
    await drain(on.stream("insert into doors values (1) returning a", timeout=timeout))


async def copy_out(on: Any, timeout: Any) -> None:
    await drain(on.copy_out("copy (select nextval('doors_seq')) to stdout", timeout=timeout))


async def send_batch(on: Any, timeout: Any) -> None:
    batch = Batch()
    item = batch.queue("insert into doors values (1)")
    try:
        await on.send_batch(batch, timeout=timeout)
    finally:
        assert item.outcome is Outcome.NOT_SENT
        assert item.error is sys.exc_info()[1]


class Records:
    """An asynchronous source that must not be asked."""

    def __aiter__(self) -> AsyncIterator[tuple[int]]:
        raise AssertionError("the source was asked")


INSERT = "insert into doors values (1)"

QUERIES: dict[str, Call] = {
    "fetch": lambda on, timeout: on.fetch(INSERT, timeout=timeout),
    "fetchrow": lambda on, timeout: on.fetchrow(INSERT, timeout=timeout),
    "fetchval": lambda on, timeout: on.fetchval(INSERT, timeout=timeout),
    "execute": lambda on, timeout: on.execute(INSERT, timeout=timeout),
    "send_batch": send_batch,
    "executemany": lambda on, timeout: on.executemany(
        "insert into doors values ($1)", [(1,)], timeout=timeout
    ),
    "copy_in": lambda on, timeout: on.copy_in("copy doors from stdin", [b"1\n"], timeout=timeout),
    "copy_records": lambda on, timeout: on.copy_records("doors", [(1,)], columns=["a"], timeout=timeout),
    "copy_out": copy_out,
}
CONNECTION_ONLY: dict[str, Call] = {
    "script": lambda on, timeout: on.script(INSERT, timeout=timeout),
    "stream": stream,
    "prepare": lambda on, timeout: on.prepare(INSERT, timeout=timeout),
    "reset": lambda on, timeout: on.reset(timeout=timeout),
}


def table(server: PostgresServer) -> None:
    server.query(
        "create table if not exists doors (a int); create sequence if not exists doors_seq; "
        "truncate doors; select setval('doors_seq', 1, false)"
    )


def untouched(server: PostgresServer) -> None:
    assert server.query("select count(*) from doors") == [["0"]]
    assert server.query("select is_called from doors_seq") == [["f"]]


@pytest.mark.holds("T1", "T2")
@pytest.mark.parametrize("name", [*QUERIES, *CONNECTION_ONLY])
def test_of_a_connection(driver: Driver, pg18: PostgresServer, name: str) -> None:
    table(pg18)
    call = (QUERIES | CONNECTION_ONLY)[name]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            sent = conn.engine.channel.produced
            await all_refused(call, conn)
            assert conn.engine.channel.produced == sent
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)
    untouched(pg18)


@pytest.mark.holds("T1", "T2")
@pytest.mark.parametrize("name", QUERIES)
def test_of_a_pool(driver: Driver, pg18: PostgresServer, name: str) -> None:
    table(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1) as pool:
            await all_refused(QUERIES[name], pool)
            assert pool.stats().opens == 0
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)
    untouched(pg18)


async def all_refused(call: Call, on: Any) -> None:
    """No number is an error of its own; a deadline that has passed is QueryTimeout, and nothing is sent."""
    for wrong, kind in NO_NUMBERS:
        with pytest.raises(kind, match="timeout must be a number of seconds or None"):
            await call(on, wrong)
    for passed in (-0.001, -1, -1.0, -1e300, 0, 0.0):
        with pytest.raises(pgproto.QueryTimeout) as caught:
            await call(on, passed)
        assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.holds("T1", "T2")
def test_of_a_prepared_statement(driver: Driver, pg18: PostgresServer) -> None:
    table(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            statement = await conn.prepare("insert into doors values ($1)")
            for method in ("fetch", "fetchrow", "fetchval", "execute"):
                await all_refused(lambda on, timeout: getattr(on, method)(1, timeout=timeout), statement)  # noqa: B023
            await all_refused(lambda on, timeout: on.executemany([(1,)], timeout=timeout), statement)

    driver.run(scenario)
    untouched(pg18)


@pytest.mark.holds("T1", "T2")
def test_the_source_of_a_feed_is_not_asked(driver: Driver, pg18: PostgresServer) -> None:
    table(pg18)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            source: Any = iter([]) if pg.name == "blocking" else Records()
            with pytest.raises(TypeError):
                await conn.executemany("insert into doors values ($1)", source, timeout="1")
            with pytest.raises(pgproto.QueryTimeout):
                await conn.executemany("insert into doors values ($1)", source, timeout=-1)

    driver.run(scenario)
    untouched(pg18)


@pytest.mark.holds("T1", "T2")
def test_what_has_no_end_is_no_limit(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), timeout=float("inf")) as conn:
            for endless in (None, float("inf"), 1e300, 10**400, DEFAULT):
                assert await conn.fetchval("select 1", timeout=endless) == 1
                assert await conn.script("select 1", timeout=endless)
                assert await conn.executemany("select $1::int", [(1,)], timeout=endless) == 1
            await conn.close(timeout=None)
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1) as pool:
            for endless in (None, float("inf"), 1e300, DEFAULT):
                async with pool.acquire(timeout=endless) as conn:
                    assert await conn.fetchval("select 1") == 1
            await pool.close(timeout=None)

    driver.run(scenario)


@pytest.mark.holds("T1", "T2")
def test_of_acquire_and_close(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), min_size=1, max_size=1) as pool:
            assert await pool.fetchval("select 1") == 1
            for method in (pool.acquire, pool.transaction):
                for wrong, kind in NO_NUMBERS:
                    with pytest.raises(kind, match="timeout must be a number of seconds or None"):
                        async with method(timeout=wrong):
                            raise AssertionError("lent")
                # Even if there is one that is free: the time is over.
                for passed in (-0.001, -1, -1.0):
                    with pytest.raises(pgproto.PoolTimeout) as caught:
                        async with method(timeout=passed):
                            raise AssertionError("lent")
                    assert caught.value.outcome is Outcome.NOT_SENT
            async with pool.acquire(timeout=0) as conn:  # one that is free
                for wrong, kind in NO_NUMBERS:
                    with pytest.raises(kind, match="timeout must be a number"):
                        await conn.close(timeout=wrong)
                    with pytest.raises(kind, match="timeout must be a number"):
                        await pool.close(timeout=wrong)
                assert await conn.fetchval("select 1") == 1
            assert await pool.fetchval("select 1") == 1
            await pool.close(timeout=-1)
            with pytest.raises(pgproto.PoolClosed):
                async with pool.acquire(timeout=-1):
                    raise AssertionError("lent")

    driver.run(scenario)


@pytest.mark.holds("T1", "T2")
def test_of_connect(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        for wrong, kind in NO_NUMBERS:
            with pytest.raises(kind, match="timeout must be a number of seconds or None"):
                async with pg.connect(pg18.dsn(), timeout=wrong):
                    raise AssertionError("connected")
        for passed in (-0.001, -1.0, 0):
            with pytest.raises(pgproto.ConnectError) as caught:
                async with pg.connect(pg18.dsn(), timeout=passed):
                    raise AssertionError("connected")
            assert caught.value.outcome is Outcome.NOT_SENT
        async with pg.connect(pg18.dsn(), timeout=None) as conn:
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


@pytest.mark.holds("T1", "T2")
def test_of_listen(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, conn.listen("doors") as notifications:
            for wrong, kind in NO_NUMBERS:
                with pytest.raises(kind, match="timeout must be a number of seconds or None"):
                    await notifications.get(timeout=wrong)
            assert await notifications.get(timeout=-1) is None
            assert await notifications.get(timeout=0.05) is None
            await conn.execute("notify doors")
            assert (await notifications.get(timeout=-1)).channel == "doors"
            pg18.query("notify doors, 'again'")
            assert (await notifications.get(timeout=8)).payload == "again"
            assert (await notifications.get(timeout=0)) is None

    driver.run(scenario)
