"""Work that the garbage collector starts is only scheduled on the event loop.

The collector may run at any allocation: in the middle of a step of the engine or of the pool's machine, in
the loop's thread or in another one, even after the loop was closed.  So the code that it calls (`__del__`,
and the `__aexit__` of a coroutine that nobody can resume) must not change anything at once.
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
    """Have the loop call something, from any thread at any moment; False if the loop is closed."""
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
    """Start a task that nobody awaits.

    If the loop is closed first, it drops the task without a warning, begun or not: the connection warns that
    it was not closed.

    Args:
        loop: the event loop.
        tasks: keeps the task until it ends, because the loop does not.
        work: a coroutine function, called in the task's first step.
        *args: its arguments.
    """
    task = loop.create_task(_Work(work, args))
    with contextlib.suppress(AttributeError):  # a task factory may make other tasks
        setattr(task, "_log_destroy_pending", False)  # noqa: B010 - as asyncio does it itself
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task


async def do_last(
    loop: asyncio.AbstractEventLoop | None,
    work: Callable[[], Coroutine[Any, Any, object]],
    error: BaseException | None,
) -> None:
    """Do the last work of an `async with` block.

    After a GeneratorExit a task does it.  An async generator that is being closed can wait for the task.  A
    coroutine that is being closed, probably by the garbage collector, cannot: its first await ends it, and
    the task goes on alone.

    Args:
        loop: the event loop of the work; None if nothing was begun.
        work: the work.
        error: the exception that has ended the block.
    """
    if loop is None or not isinstance(error, GeneratorExit):
        await work()
    elif asyncio._get_running_loop() is loop:
        await asyncio.wait([_start(loop, work)])
    else:
        soon(loop, _start, loop, work)


class _Work(Coroutine[Any, Any, Any]):
    """A coroutine that is created in its first step: one that exists and is never awaited would warn."""

    def __init__(self, work: Callable[..., Coroutine[Any, Any, Any]], args: tuple[object, ...]) -> None:
        self.__name__ = self.__qualname__ = getattr(work, "__qualname__", repr(work))  # a task shows it
        self._work: list[Callable[[], Coroutine[Any, Any, Any]]] = [partial(work, *args)]
        self._begun: Coroutine[Any, Any, Any] | None = None

    def _begin(self) -> Coroutine[Any, Any, Any]:
        if self._begun is None:
            self._begun = self._work.pop()()  # pop: a task that has ended must not keep the work alive
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
    task.add_done_callback(seen)  # its exception must not hide the one that has ended the block
    return task


def seen(task: asyncio.Future[Any]) -> None:
    """Retrieve a task's exception, so that asyncio does not warn if nobody waits for the task."""
    if not task.cancelled():
        task.exception()
