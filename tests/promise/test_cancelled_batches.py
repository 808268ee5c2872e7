"""A batch whose call is cancelled: what its items say then is honest, and stays so.

What a cancelled `fetch` has done nobody can read.  The items of a batch are its caller's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import pgproto_asyncio
from pgproto import Batch, Error, LocalProtocolError, Outcome, QueuedQuery
from pgproto_pytest import Driver
from tests.support.owned import Owned
from tests.support.proxy import Proxy

NOT_STORED = {Outcome.ROLLED_BACK, Outcome.FAILED, Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED}


async def cancel_after(pg: Driver, seconds: float, work: Callable[[], Awaitable[Any]]) -> None:
    """Run some work, which is cancelled meanwhile."""
    if pg.name == "asyncio":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await work()
    else:
        with trio.move_on_after(seconds) as scope:
            await work()
        assert scope.cancelled_caught


def seen(items: list[QueuedQuery]) -> list[tuple[Outcome | None, Exception | None, int, str]]:
    """What the items say."""
    return [(item.outcome, item.error, len(item.rows), item.tag) for item in items]


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "single"])
@pytest.mark.parametrize("where", ["alone", "shared", "hanging"])
def test_each_item_says_what_became_of_it(parallel: Driver, owned: Owned, where: str, atomic: bool) -> None:
    def batch(pause: float) -> Batch:
        made = Batch(atomic=atomic)
        made.queue(owned.insert(1))
        made.queue("select generate_series(1, 20000)")
        made.queue("select pg_sleep($1)", pause)
        return made

    async def scenario(pg: Driver) -> None:
        with Proxy((owned.server.host, owned.server.port)) as proxy:
            async with pg.connect(owned.server.dsn(port=proxy.port)) as conn:
                await conn.send_batch(batch(0.0))
                await conn.execute("select 1")
                long = batch(4.0)
                told: list[Any] = []

                async def cancelled() -> None:
                    began = time.monotonic()
                    await cancel_after(pg, 0.3, lambda: conn.send_batch(long))
                    assert time.monotonic() - began < 2
                    told.append(seen(long.items))

                async def beside() -> None:
                    if where == "shared":
                        assert await conn.fetchval("select 1", timeout=2) == 1
                    elif where == "hanging":
                        await (asyncio.sleep if pg.name == "asyncio" else trio.sleep)(0.1)
                        proxy.black_hole()

                assert await pg.together(cancelled, beside) == [None, None]
                await conn.close()
                assert seen(long.items) == told[0]
                for outcome, error, rows, tag in told[0]:
                    assert outcome is not None
                    if error is not None:
                        assert isinstance(error, Error)
                        assert error.outcome is outcome
                    elif outcome is Outcome.COMMITTED:
                        assert rows == (20000 if tag == "SELECT 20000" else 0)
                first = told[0][0][0]
                stored = len(owned.stored) - 1
                assert stored == 1 or first is not Outcome.COMMITTED
                assert stored == 0 or first not in NOT_STORED
                if where == "alone":
                    done = Outcome.ROLLED_BACK if atomic else Outcome.COMMITTED
                    assert [each[0] for each in told[0]] == [done, done, Outcome.FAILED]

    parallel.run(scenario)


@pytest.mark.parametrize("atomic", [True, False], ids=["atomic", "single"])
def test_rows_that_were_cut_short_are_missing(parallel: Driver, owned: Owned, atomic: bool) -> None:
    """The batch is committed before the cancel request comes, but its caller has not got all of its rows."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.server.dsn()) as conn:

            def batch() -> Batch:
                made = Batch(atomic=atomic)
                made.queue(owned.insert(1))
                made.queue("select n from generate_series(1, 200000) n")
                return made

            await conn.send_batch(batch())
            cut = batch()
            conn.engine.connection.backend_key = None  # a cancel request would come too late
            if pg.name == "asyncio":
                task = asyncio.ensure_future(conn.send_batch(cut))
                while not cut.items[1].rows:  # noqa: ASYNC110 - nobody else knows
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(conn.send_batch, cut)
                    while not cut.items[1].rows:
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
            first, rows = cut.items
            assert (first.outcome, first.error) == (Outcome.COMMITTED, None)
            assert rows.outcome is Outcome.COMMITTED
            assert rows.tag == "SELECT 200000"
            assert isinstance(rows.error, Error)
            assert rows.error.outcome is Outcome.COMMITTED
            assert rows.rows == []
            assert len(owned.stored) == 2
            assert await conn.fetchval("select 2") == 2

    parallel.run(scenario)


def test_a_second_cancellation_does_not_wait(owned: Owned) -> None:
    """With asyncio; trio cancels for good, so that nothing can come after it."""

    async def main() -> None:
        with Proxy((owned.server.host, owned.server.port)) as proxy:
            async with pgproto_asyncio.connect(owned.server.dsn(port=proxy.port)) as conn:
                await conn.execute(owned.insert(1))
                proxy.black_hole()
                batch = Batch()
                item = batch.queue(owned.insert(1))
                task = asyncio.ensure_future(conn.send_batch(batch))
                await asyncio.sleep(0)
                for _ in range(2):
                    task.cancel()
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                assert task.done()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert not conn.closed
                assert item.outcome is Outcome.UNKNOWN
                assert isinstance(item.error, Error)

    asyncio.run(main())


def test_what_was_not_sent_can_be_sent_again(driver: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.server.dsn()) as conn, pg.connect(owned.server.dsn()) as other:
            batch = Batch()
            item = batch.queue(f"insert into {owned.name} values ($1)", 1)
            await conn.execute(item.sql, 0)
            await conn.close()
            with pytest.raises(Error):
                await conn.send_batch(batch)
            assert seen([item])[0][0] is Outcome.NOT_SENT
            assert await other.send_batch(batch) == [item]
            assert seen([item])[0][:2] == (Outcome.COMMITTED, None)
            assert owned.stored == [0, 1]
            with pytest.raises(LocalProtocolError, match="sent before"):
                await other.send_batch(batch)
            assert seen([item])[0][0] is Outcome.COMMITTED

    driver.run(scenario)
