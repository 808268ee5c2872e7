"""An event loop that ends before the pool is closed: nothing but a ResourceWarning is said."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import warnings

import pytest

import pgproto_asyncio
from pgproto_asyncio.collected import do_last, spawn
from tests.promise.test_ends_of_dropped import ended
from tests.support.postgres import PostgresServer

SCRIPT = """
import asyncio, gc, os, signal, sys
import pgproto_asyncio

dsn, how, hook = sys.argv[1:]
kept = []


async def main():
    on_release = (lambda conn: asyncio.sleep(0)) if hook == "hook" else None
    pool = await pgproto_asyncio.Pool(dsn, max_size=3, on_release=on_release).open()
    begun = [asyncio.Event() for _ in range(3)]

    async def call():
        begun[0].set()
        await pool.fetchval("select pg_sleep(60)")

    async def block():
        async with pool.transaction() as conn:
            await conn.execute("select 1")
            begun[1].set()
            await conn.execute("select pg_sleep(60)")

    async def copy():
        async for _ in pool.copy_out("copy (select generate_series(1, 10000000)) to stdout"):
            begun[2].set()
            await asyncio.get_running_loop().create_future()

    kept.extend(asyncio.ensure_future(work()) for work in (call, block, copy))
    for each in begun:
        await each.wait()
    while pool.stats().used < 3:
        await asyncio.sleep(0)
    if how == "raise":
        raise SystemExit(0)
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(5)
    if how == "cancel":

        async def hang(*args, **options):
            await asyncio.get_running_loop().create_future()

        # No cancel request gets through: of one that is cut off in the middle asyncio itself complains.
        asyncio.get_running_loop().create_connection = hang
        for task in kept:
            task.cancel()
        for _ in range(3):  # they have begun to end, and so have the tasks that help them
            await asyncio.sleep(0)


if how in ("close", "cancel"):
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # the tasks of this script are pending, which is so
    loop.run_until_complete(main())
    loop.close()
else:
    try:
        asyncio.run(main())
    except (SystemExit, KeyboardInterrupt):
        pass
kept.clear()
gc.collect()
print("over")
"""


@pytest.mark.holds("T6")
@pytest.mark.parametrize("hook", ["plain", "hook"])
@pytest.mark.parametrize("how", ["return", "raise", "interrupt", "close", "cancel"])
def test_a_loop_ends_with_calls_in_flight(pg18: PostgresServer, how: str, hook: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, pg18.dsn(), how, hook],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("over\n", "", 0)


@pytest.mark.holds("T6")
def test_a_connection_that_outlives_its_loop_hangs_up_when_it_is_dropped(pg18: PostgresServer) -> None:
    loop = asyncio.new_event_loop()

    async def opened() -> pgproto_asyncio.Connection:
        return await pgproto_asyncio.connect(pg18.dsn())

    held = [loop.run_until_complete(opened())]
    pid = held[0].pid
    loop.close()
    with pytest.warns(ResourceWarning, match="unclosed connection"):
        held.clear()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # asyncio's, of its transport
        gc.collect()
    ended(pg18, pid)


@pytest.mark.holds("T6")
@pytest.mark.parametrize("ends", ["spawned", "scheduled", "half-way"])
def test_what_a_loop_that_ends_has_not_done_is_dropped_in_silence(ends: str) -> None:
    steps: list[str] = []

    async def work() -> None:
        try:
            steps.append("begun")
            await loop.create_future()
        finally:
            steps.append("ended")

    async def block() -> None:
        await do_last(loop, work, GeneratorExit())

    loop = asyncio.new_event_loop()
    with warnings.catch_warnings(action="error"):
        tasks: set[asyncio.Task[object]] = set()
        if ends == "scheduled":  # by the collector, in no task and while the loop does not run
            with pytest.raises(StopIteration):
                block().send(None)
        else:
            spawn(loop, tasks, work)
        if ends == "half-way":
            loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        tasks.clear()
        gc.collect()
    assert steps == (["begun", "ended"] if ends == "half-way" else [])
