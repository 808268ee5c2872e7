"""What a hook leaves behind is looked at, in all of them alike, and its errors have its name."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
import trio

import pgproto_asyncio
from pgproto import ConnectError, Error, LocalProtocolError, PoolTimeout
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer


class Told:
    """What was said about hooks: to the loop's exception handler, or to the log."""

    def __init__(self, pg: Driver, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._contexts: list[dict[str, Any]] = []
        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda _, said: self._contexts.append(said))

    def take(self) -> list[tuple[str, str]]:
        """(what, why), each."""
        said = [(str(each["message"]), str(each["exception"])) for each in self._contexts]
        for record in self._caplog.records:
            if record.levelno >= logging.ERROR and record.name.startswith("pgproto"):
                assert record.exc_info is not None
                said.append((record.getMessage(), str(record.exc_info[1])))
        self._contexts.clear()
        self._caplog.clear()
        return said


class Hang:
    """Does not return until the end of the test."""

    def __init__(self, pg: Driver) -> None:
        self._name = pg.name
        self.enough = threading.Event()

    async def __call__(self) -> None:
        if self._name == "asyncio":
            await asyncio.sleep(60)
        elif self._name == "trio":
            await trio.sleep(60)
        else:
            self.enough.wait(60)


@pytest.mark.parametrize("how", ["leaves it open", "raises"])
def test_an_on_acquire_that_opens_a_transaction(driver: Driver, pg18: PostgresServer, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        calls = 0

        async def on_acquire(conn: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                await conn.script("begin")
                if how == "raises":
                    raise ZeroDivisionError

        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=on_acquire) as pool:
            if how == "raises":
                with pytest.raises(ZeroDivisionError):
                    await pool.fetchval("select 1")
            else:
                with pytest.raises(LocalProtocolError, match="on_acquire left the connection busy"):
                    await pool.fetchval("select 1")
            async with pool.acquire() as conn:
                assert conn.transaction_status == "I"
                assert await conn.fetchval("select 1") == 1
            stats = pool.stats()
            assert (stats.used, stats.opens, stats.retired["in_transaction"]) == (0, 2, 1)

    driver.run(scenario)


def test_an_on_acquire_that_closes_the_connection_refuses_it(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async def on_acquire(conn: Any) -> None:
            await conn.close()

        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=on_acquire) as pool:
            with pytest.raises(ConnectError, match="on_acquire refused 2 connections in a row"):
                await pool.fetchval("select 1")
            assert pool.stats().used == 0

    driver.run(scenario)


def test_an_on_release_that_opens_a_transaction(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)

        async def on_release(conn: Any) -> None:
            await conn.script("begin")

        async with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            pid = await pool.fetchval("select pg_backend_pid()")
            async with pool.acquire() as conn:
                assert conn.pid != pid
                assert conn.transaction_status == "I"
                ((what, why),) = told.take()
                assert what == "on_release raised"
                assert why.startswith("on_release left the connection busy, or in a transaction")
                await conn.script("begin")
        assert told.take() == []  # that one was the borrower's doing, who hears of it when COMMIT is missing

    driver.run(scenario)


@pytest.mark.holds("D7")
@pytest.mark.parametrize("how", ["begins", "closes", "aborts"])
def test_an_on_connect_that_spoils_the_connection(driver: Driver, pg18: PostgresServer, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        async def on_connect(conn: Any) -> None:
            if how == "begins":
                await conn.script("begin")
            elif how == "closes":
                await conn.close()
            else:
                conn.abort()

        options: dict[str, Any] = {"acquire_timeout": 5.0 if how != "aborts" else 0.5, "max_size": 1}
        async with pg.Pool(pg18.dsn(), min_size=0, on_connect=on_connect, **options) as pool:
            with pytest.raises((ConnectError, PoolTimeout), match="on_connect") as caught:
                await pool.fetchval("select 1")
            permanent = how != "aborts" or pg.name != "blocking"  # there it ends as if the network had
            assert isinstance(caught.value, ConnectError) is permanent
            assert pool.stats().used == 0

    driver.run(scenario)


@pytest.mark.holds("T4")
def test_an_on_connect_that_hangs(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        hang = Hang(pg)
        calls = 0

        async def on_connect(conn: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 1:
                await hang()

        options: dict[str, Any] = {"min_size": 0, "max_size": 1, "acquire_timeout": 0.4, "backoff": 0.01}
        async with pg.Pool(pg18.dsn(), on_connect=on_connect, **options) as pool:
            with pytest.raises(PoolTimeout):
                await pool.fetchval("select 1")
            async with pool.acquire(timeout=5) as conn:  # its slot is free again
                assert await conn.fetchval("select 1") == 1
            assert pool.stats().open_failures == 1
        hang.enough.set()

    driver.run(scenario)


@pytest.mark.holds("T4", "L6")
def test_an_on_connect_that_hangs_after_a_reset_is_told(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        hang = Hang(pg)
        calls = 0

        async def on_connect(conn: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                await hang()

        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect, reset_timeout=0.3) as pool:
            await pool.execute("set application_name = 'dirty'")
            assert await pool.fetchval("show application_name") != "dirty"
            assert pool.stats().retired["dirty"] == 1
        assert told.take() == [("on_connect raised", "on_connect did not return in time")]
        hang.enough.set()

    driver.run(scenario)


@pytest.mark.holds("T4")
@pytest.mark.parametrize("which", ["on_close", "on_release", "on_connect"])
def test_a_hook_that_does_not_let_itself_be_cancelled(pg18: PostgresServer, which: str) -> None:
    async def main() -> None:
        hangs = which != "on_connect"
        enough = asyncio.Event()
        reports: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: reports.append(str(said["message"])))

        async def hook(conn: object) -> None:
            while hangs and not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    pass

        options: dict[str, Any] = {"min_size": 1, "max_size": 1, which: hook}
        async with pgproto_asyncio.Pool(pg18.dsn(), **options) as pool:
            assert await pool.fetchval("select 1") == 1
            hangs = True
            if which == "on_connect":
                pool.expire()
            begun = time.monotonic()
            await pool.close(timeout=0.2)
            assert time.monotonic() - begun < 0.2 + 3.5
            assert pool.stats().size == 0
        enough.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert reports == ([] if which == "on_connect" else [f"{which} raised"])

    asyncio.run(asyncio.wait_for(main(), 20))


# It stops, but not at once.
SLOW = """
    do $$ begin
        raise notice 'now';
        perform pg_sleep(30);
    exception when query_canceled then
        begin perform pg_sleep(0.2); exception when query_canceled then perform pg_sleep(0.2); end;
    end $$
"""


@pytest.mark.holds("T5")
def test_a_slot_counts_until_what_on_connect_left_is_gone(parallel: Driver, pg18: PostgresServer) -> None:
    name = f"slot_{threading.get_native_id()}"
    count = f"select count(*) from pg_stat_activity where application_name = '{name}'"

    async def scenario(pg: Driver) -> None:
        counts: list[int] = []
        connections: list[Any] = []
        event = asyncio.Event if pg.name == "asyncio" else trio.Event
        left, begun = event(), event()

        async def use() -> None:
            await left.wait()
            connections[0].on_notice = lambda notice: begun.set()
            with pytest.raises(Error):
                await connections[0].script(SLOW)

        async def on_connect(conn: Any) -> None:
            counts.append(await conn.fetchval(count))
            if len(counts) == 1:
                connections.append(conn)
                left.set()
                await begun.wait()
                raise ConnectionResetError  # to be tried again

        async def borrow() -> int:
            options: dict[str, Any] = {"min_size": 0, "max_size": 1, "backoff": 0.01, "max_backoff": 0.01}
            settings = {"application_name": name}
            async with pg.Pool(
                pg18.dsn(), on_connect=on_connect, server_settings=settings, **options
            ) as pool:
                return await pool.fetchval("select 1")  # type: ignore[no-any-return]

        assert await pg.together(use, borrow) == [None, 1]
        assert counts == [1, 1]

    parallel.run(scenario, deadline=20)


def test_on_close_is_called_once(driver: Driver, pg18: PostgresServer) -> None:
    """... although the pool's time is over while it runs, and the connection is cut off."""

    async def scenario(pg: Driver) -> None:
        hang = Hang(pg)
        calls: list[Any] = []
        if pg.name == "asyncio":
            asyncio.get_running_loop().set_exception_handler(lambda _, said: None)

        async def on_close(conn: Any) -> None:
            calls.append(conn)
            await hang()

        async with pg.Pool(pg18.dsn(), max_size=1, on_close=on_close) as pool:
            assert await pool.fetchval("select 1") == 1
            await pool.close(timeout=0.2)
            assert (len(calls), pool.stats().size) == (1, 0)
        hang.enough.set()

    driver.run(scenario)


@pytest.mark.holds("T4")
def test_an_on_release_that_leaves_a_stream_open_costs_the_connection_at_once(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[Any] = []

    async def on_release(conn: Any) -> None:
        stream = conn.stream("select generate_series(1, 100000)")
        await anext(stream)
        left.append(stream)

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        async with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            async with pool.acquire() as conn:
                pid = conn.pid
            before = time.monotonic()
            async with pool.acquire() as conn:
                assert conn.pid != pid
            assert time.monotonic() - before < 2
        why = "on_release left the connection busy, or in a transaction"
        assert told.take() == [("on_release raised", why)] * 2

    driver.run(scenario)
