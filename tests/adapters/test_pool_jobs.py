"""What a pool does with a connection is the same on every adapter (`pgproto.client.jobs`)."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

import pgproto_blocking
from pgproto import ConnectError
from pgproto_pytest.driver import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer


class Told:
    """What was said where nobody's call is for it: to asyncio's exception handler, or to the log."""

    def __init__(self, pg: Driver, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._contexts: list[tuple[str, BaseException]] = []
        if pg.name == "asyncio":
            keep = lambda _, said: self._contexts.append((said["message"], said["exception"]))  # noqa: E731
            asyncio.get_running_loop().set_exception_handler(keep)

    def all(self) -> list[tuple[str, str]]:
        """(what, why), each."""
        said = [(what, str(error)) for what, error in self._contexts]
        for record in self._caplog.records:
            if record.levelno >= logging.ERROR and record.name.startswith("pgproto"):
                assert record.exc_info is not None
                said.append((record.getMessage(), str(record.exc_info[1])))
        return said


def test_an_on_connect_that_hangs_in_its_own_query_after_a_reset_is_told(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The pool closes the connection under it, so what the hook gets to see is not that it was late."""
    calls: list[Any] = []

    async def on_connect(conn: Any) -> None:
        calls.append(conn)
        if len(calls) == 2:
            await conn.execute("select pg_sleep(60)")

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect, reset_timeout=0.3) as pool:
            await pool.execute("set application_name = 'dirty'")
            assert await pool.fetchval("show application_name") != "dirty"
            assert pool.stats().retired["dirty"] == 1
        assert told.all() == [("on_connect raised", "on_connect did not return in time")]

    driver.run(scenario)


def test_the_end_of_the_pool_is_no_failure_of_an_on_connect_that_it_ends(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[Any] = []
    begun = threading.Event()

    async def on_connect(conn: Any) -> None:
        calls.append(conn)
        if len(calls) == 2:
            begun.set()
            await conn.execute("select pg_sleep(60)")

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect) as pool:
            await pool.execute("set application_name = 'dirty'")
            assert await pg.in_thread(lambda: begun.wait(10))
            await pool.close(timeout=0.0)
        assert told.all() == []

    driver.run(scenario)


def test_an_on_release_is_not_asked_about_a_connection_that_has_ended(
    driver: Driver, pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bool] = []

    async def on_release(conn: Any) -> None:
        asked.append(conn.closed)
        await conn.execute("select 1")

    async def scenario(pg: Driver) -> None:
        told = Told(pg, caplog)
        async with pg.Pool(pg18.dsn(), max_size=1, on_release=on_release) as pool:
            async with pool.acquire() as conn:
                conn.abort()
            async with pool.acquire() as conn:
                assert await conn.fetchval("select 1") == 1
        assert told.all() == []

    driver.run(scenario)
    assert asked == [False]


@pytest.mark.parametrize("hook", [True, False])
def test_a_connection_that_ends_before_its_borrower_has_it_is_not_lent(
    driver: Driver, pg18: PostgresServer, hook: bool
) -> None:
    """In the moment between the grant and the caller who has waited for it."""
    asked: list[bool] = []

    async def on_acquire(conn: Any) -> None:
        asked.append(conn.closed)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_acquire=on_acquire if hook else None) as pool:
            jobs = pool._driver._jobs
            accepted = jobs.accepted
            ended: list[Any] = []

            def late(conn: Any, deadline: float) -> Any:
                if not ended:
                    ended.append(conn)
                    conn.abort()
                return accepted(conn, deadline)

            jobs.accepted = late
            async with pool.acquire() as conn:
                assert await conn.fetchval("select 1") == 1
            assert (len(ended), pool.stats().opens, pool.stats().used) == (1, 2, 0)

    driver.run(scenario)
    assert asked == ([False] if hook else [])


def test_an_idle_connection_in_a_transaction_is_not_lent(driver: Driver, pg18: PostgresServer) -> None:
    """`on_connect` has kept it, and somebody uses it although it is the pool's."""
    kept: list[Any] = []

    async def on_connect(conn: Any) -> None:
        kept.append(conn)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, on_connect=on_connect) as pool:
            await kept[0].script("begin; set local application_name = 'a stranger'")
            async with pool.acquire() as conn:
                assert conn.transaction_status == "I"
                assert await conn.fetchval("show application_name") != "a stranger"
            assert pool.stats().opens == 2

    driver.run(scenario)


def test_a_connection_that_on_connect_has_failed_is_cut_off(driver: Driver, pg18: PostgresServer) -> None:
    """What the hook may have left running is cancelled, and not waited for."""
    ended: list[str] = []

    async def on_connect(conn: Any) -> None:
        if not ended:
            for name in ("abort", "close"):
                watch(conn, name)
            raise ConnectionResetError  # to be tried again

    def watch(conn: Any, name: str) -> None:
        underneath = getattr(conn, "target", conn)
        end = getattr(underneath, name)

        def watched(*args: Any, **options: Any) -> Any:
            ended.append(name)
            return end(*args, **options)

        setattr(underneath, name, watched)

    async def scenario(pg: Driver) -> None:
        options: dict[str, Any] = {"min_size": 0, "max_size": 1, "backoff": 0.01}
        async with pg.Pool(pg18.dsn(), on_connect=on_connect, **options) as pool:
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)
    assert ended == ["abort", "close"]


@only("blocking")
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_an_attempt_that_ends_its_thread_frees_its_slot(
    driver: Driver,
    pg18: PostgresServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
) -> None:
    connect = pgproto_blocking.Connection.open
    attempts: list[Any] = []

    def connects(conn: pgproto_blocking.Connection, *args: Any, **options: Any) -> None:
        attempts.append(conn)
        if len(attempts) == 1:
            raise kind
        connect(conn, *args, **options)

    async def scenario(pg: Driver) -> None:
        monkeypatch.setattr(pgproto_blocking.Connection, "open", connects)
        async with pg.Pool(pg18.dsn(), min_size=0, max_size=1, acquire_timeout=5.0) as pool:
            with pytest.raises(ConnectError, match=f"ended with {kind.__name__}"):
                await pool.fetchval("select 1")
            assert await pool.fetchval("select 1") == 1
        assert caplog.messages == ["a thread of the pool raised"]

    driver.run(scenario)
