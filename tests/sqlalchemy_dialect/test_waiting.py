"""The lock of a connection that tasks share: in order, and never lost with a task that is cancelled."""

from __future__ import annotations

import asyncio

from sqlalchemy.util import greenlet_spawn
from sqlalchemy.util.concurrency import await_only

from pgproto_sqlalchemy.waiting import Lock


async def turns(cancelled_while_waiting: bool, cancelled_when_it_is_its_turn: bool) -> list[str]:
    lock = Lock()
    done: list[str] = []
    before_third = "first" if cancelled_while_waiting else "second"
    go = asyncio.Event()

    def work(name: str) -> None:
        with lock:
            if name == "first":
                await_only(go.wait())
            done.append(name)
        if cancelled_when_it_is_its_turn and name == before_third:
            tasks["third"].cancel()  # the lock is its own already, but it does not know yet

    tasks = {
        name: asyncio.create_task(greenlet_spawn(work, name))
        for name in ("first", "second", "third", "fourth")
    }
    await asyncio.sleep(0)  # each of them takes its turn, or its place in the queue
    assert len(lock._queue) == 3
    if cancelled_while_waiting:
        tasks["second"].cancel()
        await asyncio.wait([tasks["second"]])
    go.set()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
    with lock:  # it is free
        return done


def test_in_order() -> None:
    assert asyncio.run(turns(False, False)) == ["first", "second", "third", "fourth"]


def test_a_task_that_is_cancelled_while_it_waits() -> None:
    assert asyncio.run(turns(True, False)) == ["first", "third", "fourth"]


def test_a_task_that_is_cancelled_when_it_is_its_turn() -> None:
    assert asyncio.run(turns(False, True)) == ["first", "second", "fourth"]
    assert asyncio.run(turns(True, True)) == ["first", "fourth"]
