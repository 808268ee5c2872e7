"""What the garbage collector starts is only put on the event loop.

It runs whenever something is allocated: in the middle of a step of the engine or of the pool's machine, in
the loop's thread or in another one, after the loop was closed too.  What it calls (`__del__`, and the
`__aexit__` of a coroutine that nobody can resume any more) must change nothing there and then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

__all__ = ["do_last", "seen", "soon", "spawn"]

_tasks: set[asyncio.Task[Any]] = set()


def soon(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *args: object) -> bool:
    """Have the loop call something, from whatever thread and moment; False if the loop is closed."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        return False
    return True


def spawn(
    loop: asyncio.AbstractEventLoop,
    tasks: set[asyncio.Task[Any]],
    work: Callable[..., Coroutine[Any, Any, Any]],
    *args: object,
) -> asyncio.Task[Any]:
    """Have a task do something for nobody in particular.

    A loop that is closed before drops it without a word, begun or not: the connection says that it was not
    closed.

    Args:
        loop: where.
        tasks: has the task until it ends, for the loop itself keeps none alive.
        work: what.
        *args: what it is called with, in its first step.
    """
    task = loop.create_task(_Work(work, args))
    with contextlib.suppress(AttributeError):  # of a task factory's own kind of task
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 - as asyncio does it itself
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def do_last(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[[], Coroutine[Any, Any, object]],
    error: BaseException | None,
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
        await work()
    elif asyncio._get_running_loop() is loop:
        await asyncio.wait([_start(loop, work)])
    else:
        soon(loop, _start, loop, work)


class _Work(Coroutine[Any, Any, Any]):
    """A coroutine that begins with its first step: one that was made before, and is dropped, complains."""

    def __init__(self, work: Callable[..., Coroutine[Any, Any, Any]], args: tuple[object, ...]) -> None:
        self.__name__ = self.__qualname__ = getattr(work, "__qualname__", repr(work))  # a task shows it
        self._work: list[Callable[[], Coroutine[Any, Any, Any]]] = [partial(work, *args)]
        self._begun: Coroutine[Any, Any, Any] | None = None

    def _begin(self) -> Coroutine[Any, Any, Any]:
        if self._begun is None:
            self._begun = self._work.pop()()  # a task that has ended keeps nothing of it
        return self._begun

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begin().__await__()

    def send(self, value: Any) -> Any:
        return self._begin().send(value)

    def throw(self, *error: Any) -> Any:
        return self._begin().throw(*error)

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()


def _start(
    loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, object]]
) -> asyncio.Task[Any]:
    task = spawn(loop, _tasks, work)
    task.add_done_callback(seen)  # it must not hide the error that has ended the block
    return task


def seen(task: asyncio.Future[Any]) -> None:
    """What a task has raised is seen, even if nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
