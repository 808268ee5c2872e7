"""Mistakes of the caller: a clear error, nothing sent, nothing lost, and no password in any text."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pgproto
from pgproto import Batch, Outcome
from pgproto_pytest import Driver
from tests.support.scripted import ScriptedServer

Work = Callable[[], Awaitable[Any]]
CANARY = "c4n4ry-pa55word"

BAD_DSNS = (
    f"postgresql://me:{CANARY}@host:port/db",
    f"postgresql://me:{CANARY}@host:99999/db",
    f"postgresql://me:{CANARY}@[::1/db",
    f"postgresql://me:{CANARY}@host/db?sslmode=perhaps",
    f"postgresql://me:{CANARY}@host/db?no_such_option=1",
    f"postgresql://me:{CANARY}%zz@host/db",
    f"postgresql://me:{CANARY}%00@host/db",
    f"postgresql://host/db?password={CANARY}&password={CANARY}&sslmode",
    f"mysql://me:{CANARY}@host/db",
    f"host=a password='{CANARY}",
    f"host=a password={CANARY} sslmode",
    f"host=a password='x'{CANARY} port=no",
    f"host=a password={CANARY} connect_timeout=soon",
    f"password = {CANARY} no_such_option = 1",
    f"{CANARY}",
    f"host=a,b port=1,2,3 password={CANARY}",
)


def hidden(problem: BaseException) -> None:
    """No text of the error has the canary; the test's own source lines show only its name."""
    while True:
        for text in (str(problem), repr(problem), repr(problem.args)):
            assert CANARY not in text
        lines = traceback.TracebackException.from_exception(problem).format_exception_only()
        assert CANARY not in "".join(lines)
        following = problem.__cause__ or problem.__context__
        if following is None:
            return
        problem = following


@pytest.mark.parametrize("number", range(len(BAD_DSNS)))
def test_dsn(driver: Driver, number: int) -> None:
    async def scenario(pg: Driver) -> None:
        for make in (pg.connect, pg.Pool):
            with pytest.raises(pgproto.ConfigError) as caught:
                async with make(BAD_DSNS[number]):
                    raise AssertionError("opened")
            hidden(caught.value)
            assert isinstance(caught.value, ValueError)

    driver.run(scenario)


BAD_OPTIONS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"no_such_option": 1}, "no_such_option"),
    ({"database": "x"}, "dbname"),
    ({"sslmode": "perhaps"}, "sslmode"),
    ({"connect_timeout": "soon"}, "connect_timeout"),
    ({"port": 0}, "port"),
    ({"port": "x"}, "port"),
    ({"statement_cache_size": -1}, "statement_cache_size"),
    ({"require_auth": "magic"}, "require_auth"),
    ({"target_session_attrs": "any-will-do"}, "target_session_attrs"),
    ({"server_settings": {"a\0b": "x"}}, ""),
    ({"application_name": "x\0user\0admin"}, "application_name"),
    ({"client_encoding": "LATIN1"}, "client_encoding"),
    ({"max_message_size": 1}, "max_message_size"),
)


@pytest.mark.parametrize(("options", "named"), BAD_OPTIONS, ids=str)
def test_options(driver: Driver, options: dict[str, Any], named: str) -> None:
    async def scenario(pg: Driver) -> None:
        for make in (pg.connect, pg.Pool):
            with pytest.raises(pgproto.ConfigError) as caught:
                async with make(f"postgresql://me:{CANARY}@127.0.0.1:1/db", **options):
                    raise AssertionError("opened")
            assert named in str(caught.value)
            hidden(caught.value)

    driver.run(scenario)


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": 0}, {"min_size": -1}, {"min_size": 5, "max_size": 2}, {"acquire_timeout": -1},
        {"max_waiting": -1}, {"lifetime_jitter": 1}, {"check_timeout": 0}, {"backoff": 2, "max_backoff": 1},
    ],
    ids=str,
)  # fmt: skip
def test_pool_settings(driver: Driver, options: dict[str, Any]) -> None:
    async def scenario(pg: Driver) -> None:
        with pytest.raises(pgproto.ConfigError) as caught:
            async with pg.Pool("postgresql://127.0.0.1:1/db", **options):
                raise AssertionError("opened")
        assert next(iter(options)) in str(caught.value) or "max_size" in str(caught.value)

    driver.run(scenario)


SQL = {"NUL": "select '\0'", "surrogate": "select '\udc00'"}


@pytest.mark.parametrize("sql", SQL)
def test_sql_that_cannot_be_sent(driver: Driver, sql: str) -> None:
    """It ends the call that brought it, and not the session; of its batch nothing is sent."""
    text = SQL[sql]
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                for run in (conn.fetch, conn.execute, conn.script, conn.prepare, conn.fetchval):
                    with pytest.raises(pgproto.LocalProtocolError) as caught:
                        await run(text)
                    assert caught.value.outcome is Outcome.NOT_SENT
                batch = Batch()
                with pytest.raises(pgproto.LocalProtocolError):
                    item = batch.queue("insert into t values (1)")
                    batch.queue(text)
                    await conn.send_batch(batch)
                assert item.outcome in (None, Outcome.NOT_SENT)
                with pytest.raises(pgproto.LocalProtocolError):
                    await conn.copy_in(f"copy t from stdin {text}", b"")
                assert await conn.fetchval("select 1") == 1
                assert not conn.closed

        driver.run(scenario)
    assert b"insert" not in server.peers[0].received
    assert len(server.peers) == 1


def test_values_that_cannot_be_sent(driver: Driver) -> None:
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                for value in ("one", 1.5, b"1", 2**31, object(), [1], True and "1"):
                    with pytest.raises(pgproto.DataError, match=r"\$1") as caught:
                        await conn.fetchval("select $1", value)
                    assert type(value).__name__ in str(caught.value) or "range" in str(caught.value)
                    assert caught.value.outcome is Outcome.NOT_SENT
                for arguments in ((), (1, 2)):
                    with pytest.raises(pgproto.DataError):
                        await conn.fetchval("select $1", *arguments)
                assert await conn.fetchval("select $1", -5) == -5

        driver.run(scenario)
        assert len(server.peers) == 1


def test_too_many_parameters(driver: Driver) -> None:
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                with pytest.raises(pgproto.LocalProtocolError, match="65535"):
                    await conn.fetch("select $1", *range(65536))
                with pytest.raises(pgproto.LocalProtocolError, match="65535"):
                    Batch().queue("select $1", *range(65536))
                assert await conn.fetchval("select 1") == 1

        driver.run(scenario)
        assert len(server.peers) == 1


def test_a_batch_twice(driver: Driver) -> None:
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), min_size=0) as pool:
                batch = Batch()
                item = batch.queue("select 1")
                await pool.send_batch(batch)
                with pytest.raises(pgproto.LocalProtocolError, match="sent before"):
                    await pool.send_batch(batch)
                assert item.outcome is Outcome.COMMITTED
                assert len(item.rows) == 1
                assert await pool.fetchval("select 2") == 2

        driver.run(scenario)
        assert len(server.peers) == 1


def test_closed_connection_and_pool(driver: Driver) -> None:
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), min_size=0, max_size=1) as pool:
                async with pool.acquire() as conn:
                    statement = await conn.prepare("select 1")
                works: list[Work] = [
                    lambda: conn.fetch("select 1"),
                    lambda: statement.fetch(),
                    lambda: conn.reset(),
                ]
                for work in works:
                    with pytest.raises(pgproto.ConnectionClosed):
                        await work()
                with pytest.raises(pgproto.ConnectionClosed):
                    async with conn.transaction():
                        raise AssertionError("entered")
                with pytest.raises(pgproto.ConnectionClosed):
                    async with conn.listen("jobs"):
                        raise AssertionError("entered")
                await conn.close()
                assert await pool.fetchval("select 2") == 2
                await pool.close()
                works = [lambda: pool.fetch("select 1"), lambda: pool.send_batch(Batch())]
                for work in works:
                    with pytest.raises(pgproto.PoolClosed):
                        await work()
                with pytest.raises(pgproto.PoolClosed):
                    async with pool.acquire():
                        raise AssertionError("acquired")

        driver.run(scenario)
        assert len(server.peers) == 1


def test_a_statement_of_another_connection(driver: Driver) -> None:
    """A prepared statement belongs to its connection: elsewhere its name means nothing."""
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                statement = await conn.prepare("select 4")
                await statement.close()
                with pytest.raises(pgproto.LocalProtocolError, match="closed"):
                    await statement.fetchval()
                assert await conn.fetchval("select 5") == 5

        driver.run(scenario)
