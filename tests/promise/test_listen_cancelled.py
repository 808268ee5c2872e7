"""A `listen()` that is given up leaves no LISTEN at the server.

Another task's call is in front of it, so the LISTEN has been sent, and will be run after its caller has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from pgproto import QueryTimeout
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer


async def turn(pg: Driver) -> None:
    """Let the other tasks run."""
    if pg.name == "asyncio":
        await asyncio.sleep(0)
    else:
        await trio.lowlevel.checkpoint()


async def cancelled(pg: Driver, work: Callable[[], Awaitable[Any]], ready: Callable[[], bool]) -> None:
    """Run it in a task that is cancelled when it is ready for that."""
    if pg.name == "asyncio":
        task = asyncio.ensure_future(work())
        while not ready():
            await turn(pg)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        while not ready():
            await turn(pg)
        nursery.cancel_scope.cancel()


@pytest.mark.holds("L7")
@pytest.mark.parametrize("why", ["cancelled", "too slow"])
def test_its_listen_is_taken_back(parallel: Driver, pg18: PostgresServer, why: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), command_timeout=0.1) as conn, pg.connect(pg18.dsn()) as other:
            await other.execute("select pg_advisory_lock(4711)")

            async def listen() -> None:
                try:
                    notifications = conn.listen("news")
                    while not conn.engine.waiting:
                        await turn(pg)
                    if why == "cancelled":
                        segments = conn.engine.channel.segments
                        await cancelled(pg, notifications.__aenter__, lambda: len(segments) == 2)
                    else:
                        with pytest.raises(QueryTimeout):
                            await notifications.__aenter__()
                finally:
                    await other.execute("select pg_advisory_unlock(4711)")

            lock = "select pg_advisory_lock($1)"
            await conn.execute(lock, 4712)
            results = await pg.together(
                lambda: conn.execute(lock, 4711, timeout=9.0),
                listen,
            )
            assert results == ["SELECT 1", None]
            await conn.execute("select 1")  # what was given up is answered
            channels = "select pg_listening_channels()"
            assert await conn.fetch(channels) == []
            async with conn.listen("news"):
                assert [tuple(row) for row in await conn.fetch(channels)] == [("news",)]

    parallel.run(scenario)
