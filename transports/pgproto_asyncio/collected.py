"""What the garbage collector starts is only put on the event loop.

It runs whenever something is allocated: in the middle of a step of the engine or of the pool's machine, in
the loop's thread or in another one, after the loop was closed too.  What it calls (`__del__`, and the
`__aexit__` of a coroutine that nobody can resume any more) must change nothing there and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["do_last", "soon"]

_tasks: set[asyncio.Task[Any]] = set()  # the loop itself keeps no task alive


def soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> bool:
    """Have the loop call something, from whatever thread and moment; False if the loop is closed."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        return False
    return True


async def do_last(
    loop: asyncio.AbstractEventLoop | None, work: Coroutine[Any, Any, object], error: BaseException | None
) -> None:
    """Do the last thing of an `async with` block.

    After a GeneratorExit a task does it.  Either an async generator is being closed, and can wait for the
    task; or a coroutine is, most likely by the collector, and then waiting ends it for good: the task goes
    on alone.

    Args:
        loop: where the work belongs; None if nothing has been begun anywhere.
        work: what is to be done.
        error: what has ended the block.
    """
    if loop is None or not isinstance(error, GeneratorExit):
        await work
    elif asyncio._get_running_loop() is loop:
        await asyncio.wait([_start(loop, work)])
    elif not soon(loop, _start, loop, work):
        work.close()


def _start(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
    task = loop.create_task(work)
    _tasks.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    """Its error is seen: it must not hide the one that has ended the block."""
    _tasks.discard(task)
    if not task.cancelled():
        task.exception()
