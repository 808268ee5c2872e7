"""`listen` hears, or says why it does not: it is never silent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import trio

from pgproto import Batch, ConnectionClosed, Error, LocalProtocolError
from pgproto_pytest import Driver
from tests.support.pgbouncer import PoolMode, Version, missing
from tests.support.postgres import PostgresServer


def first(notifications: Any) -> Any:
    """The next notification, to be awaited."""
    return anext(aiter(notifications))


# Named statements in transaction mode take PgBouncer 1.21.
POOLERS: tuple[tuple[Version, PoolMode, bool], ...] = (
    ("1.18", "session", True),
    ("1.18", "session", False),
    ("1.18", "transaction", False),
    ("1.24", "session", True),
    ("1.24", "session", False),
    ("1.24", "transaction", True),
    ("1.24", "transaction", False),
)


async def heard(notifications: Any, server: PostgresServer, channel: str = "news") -> str:
    """The payload of a notification that is sent now."""
    server.query(f"notify {channel}, 'hello'")
    payload: str = (await first(notifications)).payload
    return payload


@pytest.mark.holds("L7")
@pytest.mark.parametrize("reset", ["auto", "always", "never"])
def test_listeners_end_with_the_lease(driver: Driver, pg18: PostgresServer, reset: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, reset=reset) as pool:
            async with pool.acquire() as conn:
                listening = conn.listen("news")
                left = await listening.__aenter__()
            with pytest.raises(ConnectionClosed, match="the lease is over"):
                await first(left)
            await listening.__aexit__(None, None, None)
            for _ in range(2):
                async with pool.acquire() as conn, conn.listen("news") as notifications:
                    assert await heard(notifications, pg18) == "hello"
            assert pool.stats().opens == 1

    driver.run(scenario)


@pytest.mark.holds("L7")
def test_who_waits_when_the_lease_ends_is_told(parallel: Driver, pg18: PostgresServer) -> None:
    library = parallel.name

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with pool.acquire() as conn:
                left = await conn.listen("news").__aenter__()
                results: list[BaseException] = []

                async def wait() -> None:
                    try:
                        await first(left)
                    except Error as error:
                        results.append(error)

                if library == "asyncio":
                    task = asyncio.create_task(wait())
                    await conn.fetch("select 1")
                else:
                    nursery = trio.open_nursery()
                    (await nursery.__aenter__()).start_soon(wait)
                    await conn.fetch("select 1")
            if library == "asyncio":
                await task
            else:
                await nursery.__aexit__(None, None, None)
            assert [type(each) for each in results] == [ConnectionClosed]

    parallel.run(scenario)


@pytest.mark.holds("L7")
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("reset", "DISCARD ALL was run"),
        ("discard all", "DISCARD ALL was run"),
        ("unlisten *", "UNLISTEN was run"),
        ("UNLISTEN /* x */ news", "UNLISTEN was run"),
        ('unlisten other; unlisten "news"', "UNLISTEN was run"),
    ],
)
def test_what_ends_listening_is_told(driver: Driver, pg18: PostgresServer, what: str, told: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, conn.listen("news") as notifications:
            assert await heard(notifications, pg18) == "hello"
            if what == "reset":
                await conn.reset()
            elif ";" in what:
                await conn.script(what)
            else:
                await conn.execute(what)
            with pytest.raises(LocalProtocolError, match=told):
                await first(notifications)
            async with conn.listen("news") as again:
                assert await heard(again, pg18) == "hello"

    driver.run(scenario)


@pytest.mark.holds("L7")
def test_another_channel_goes_on(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, conn.listen("news") as notifications:
            await conn.script("listen other; unlisten other; unlisten nothing")
            async with conn.listen("a b", "third"):
                pass
            assert await heard(notifications, pg18) == "hello"

    driver.run(scenario)


@pytest.mark.holds("L7")
@pytest.mark.parametrize("how", ["block", "savepoint", "text", "commit"])
def test_a_listen_that_was_rolled_back(driver: Driver, pg18: PostgresServer, how: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            listening = conn.listen("news")
            if how == "savepoint":
                async with conn.transaction():
                    with contextlib.suppress(KeyError):
                        async with conn.transaction():
                            notifications = await listening.__aenter__()
                            raise KeyError
            elif how == "block":
                with contextlib.suppress(KeyError):
                    async with conn.transaction():
                        notifications = await listening.__aenter__()
                        raise KeyError
            else:
                await conn.script("begin")
                notifications = await listening.__aenter__()
                if how == "commit":
                    with contextlib.suppress(Error):
                        await conn.script("select 1/0")
                await conn.script("commit" if how == "commit" else "rollback")
            with pytest.raises(LocalProtocolError, match="rolled back"):
                await first(notifications)
            async with conn.listen("news") as again:
                assert await heard(again, pg18) == "hello"
            async with conn.transaction():
                notifications = await listening.__aenter__()
            assert await heard(notifications, pg18) == "hello"
            await listening.__aexit__(None, None, None)

    driver.run(scenario)


@pytest.mark.holds("T7")
def test_iterating_over_what_was_not_entered(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            with pytest.raises(LocalProtocolError, match=r"as in `async with conn\.listen"):
                notifications = conn.listen("news")
                if pg.name == "blocking":
                    next(iter(notifications._make()))
                async for _ in notifications:
                    pass
            async with conn.listen("news") as notifications:
                assert await heard(notifications, pg18) == "hello"
            with pytest.raises(LocalProtocolError, match=r"the block of listen\(\) was left"):
                await first(notifications)
            async with conn.listen("news") as notifications:
                with pytest.raises(LocalProtocolError, match="already"):
                    target = notifications.target if pg.name == "blocking" else notifications
                    await _entered(target)
                assert await heard(notifications, pg18) == "hello"

    driver.run(scenario)


async def _entered(notifications: Any) -> None:
    if hasattr(notifications, "__enter__"):
        notifications.__enter__()
    else:
        await notifications.__aenter__()


@pytest.mark.holds("T7")
@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 64, "é" * 32, None, 5, b"news"])
def test_a_channel_that_cannot_be_is_refused_at_the_door(
    driver: Driver, pg18: PostgresServer, name: Any
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            kind = LocalProtocolError if isinstance(name, str) else TypeError
            for names in ((name,), ("news", name)):
                with pytest.raises(kind, match="channel"):
                    async with conn.listen(*names):
                        pass
            with pytest.raises(LocalProtocolError, match="channel"):
                async with conn.listen():
                    pass
            assert await conn.fetch("select pg_listening_channels()") == []

    driver.run(scenario)


@pytest.mark.holds("T7")
@pytest.mark.parametrize("server", ["pg18", "pg15"])
def test_the_longest_name_is_heard(driver: Driver, server: str, request: pytest.FixtureRequest) -> None:
    chosen: PostgresServer = request.getfixturevalue(server)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(chosen.dsn()) as conn:
            for name in ("x" * 63, "é" * 31 + "x"):
                async with conn.listen(name) as notifications:
                    assert await heard(notifications, chosen, f'"{name}"') == "hello"

    driver.run(scenario)


@pytest.mark.holds("T7")
@pytest.mark.parametrize(("version", "mode", "named"), POOLERS)
def test_through_a_pooler(
    driver: Driver,
    pg18: PostgresServer,
    pgbouncer_factory: Any,
    version: Version,
    mode: PoolMode,
    named: bool,
) -> None:
    """An error, or it works."""
    if (reason := missing(version)) is not None:
        pytest.skip(reason)
    bouncer = pgbouncer_factory(pg18, mode, version=version)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(
            bouncer.dsn(), statement_mode="cache_statement" if named else "cache_describe"
        ) as conn:
            if mode == "session" and named:
                async with conn.listen("news") as notifications:
                    assert await heard(notifications, pg18) == "hello"
            else:
                with pytest.raises(LocalProtocolError, match="through a pooler in transaction mode"):
                    async with conn.listen("news"):
                        pass
                assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


@pytest.mark.holds("L7")
@pytest.mark.parametrize("nested", [False, True])
def test_an_unlisten_that_is_rolled_back(driver: Driver, pg18: PostgresServer, nested: bool) -> None:
    """The server listens on, and so does the listener: by a block, a script, a batch."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, conn.listen("news") as notifications:
            with contextlib.suppress(KeyError):
                async with contextlib.AsyncExitStack() as blocks:
                    for _ in range(2 if nested else 1):
                        await blocks.enter_async_context(conn.transaction())
                    await conn.execute("unlisten news")
                    raise KeyError
            assert await heard(notifications, pg18) == "hello"
            with pytest.raises(Error):
                await conn.script("begin; unlisten news; select 1/0")
            await conn.execute("rollback")
            assert await heard(notifications, pg18) == "hello"
            batch = Batch()
            batch.queue("unlisten *")
            batch.queue("select 1/$1::int4", 0)
            with pytest.raises(Error):
                await conn.send_batch(batch)
            assert await heard(notifications, pg18) == "hello"
            await conn.script("begin; unlisten news; commit")
            with pytest.raises(LocalProtocolError, match="UNLISTEN was run"):
                await first(notifications)

    driver.run(scenario)
