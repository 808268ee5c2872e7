"""Cancelling a piece of work at its k-th suspension, on every loop, in the way that is the loop's own.

asyncio and uvloop cancel a task once, by an exception that is thrown into it.  trio and anyio cancel a scope:
in it, every further wait that is not shielded is cancelled as well.  On asyncio's loops the work is stepped
by hand, so that its suspensions can be counted; on trio's an instrument counts them, its children's included.
"""

from __future__ import annotations

import asyncio
import itertools
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

import anyio
import trio
import uvloop

from pgproto_pytest import AnyioDriver, AsyncioDriver, Driver, TrioDriver

__all__ = ["LOOPS", "TRIO", "Loop"]

Work = Callable[[], Coroutine[Any, Any, None]]


class Loop:
    """A loop, the adapter on it, and its way to cancel.

    Attributes:
        driver: the adapter.
        edge: a cancellation comes once; otherwise it stays, and comes at each wait.
    """

    edge = False

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def __repr__(self) -> str:
        return self.driver.name

    async def cancelled_at(self, k: int, work: Work, *, waking: bool = False) -> tuple[bool, bool]:
        """Run the work and cancel it at its k-th suspension.

        Args:
            k: which one, from 1 on.
            work: makes the coroutine.
            waking: cancel it when what it waits for has happened, and it is about to go on.

        Returns:
            Whether it got there, and whether it ended by the cancellation.
        """
        raise NotImplementedError


class _Steps:
    """Steps a coroutine of asyncio's, and calls something at its k-th suspension."""

    def __init__(self, work: Coroutine[Any, Any, None], k: int, at: Callable[[Any], object]) -> None:
        self._work = work
        self._k = k
        self._at = at
        self.reached = False

    @types.coroutine
    def _steps(self) -> Generator[Any, Any, None]:
        thrown: BaseException | None = None
        for count in itertools.count(1):
            try:
                waits_for = self._work.throw(thrown) if thrown is not None else self._work.send(None)
            except StopIteration:
                return
            thrown = None
            if count == self._k:
                self.reached = True
                self._at(waits_for)
            try:
                yield waits_for
            except BaseException as error:
                thrown = error

    async def run(self) -> None:
        await self._steps()


class AsyncioLoop(Loop):
    """asyncio's own cancellation, of a task."""

    edge = True

    async def cancelled_at(self, k: int, work: Work, *, waking: bool = False) -> tuple[bool, bool]:
        """See `Loop`."""

        def at(waits_for: Any) -> None:
            if waking and waits_for is not None:
                waits_for.add_done_callback(lambda _: task.cancel())
            else:
                task.cancel()

        steps = _Steps(work(), k, at)
        task = asyncio.ensure_future(steps.run())
        await asyncio.wait([task], timeout=5)
        assert task.done(), f"suspension {k}: it hangs"
        if not task.cancelled():
            task.result()
        return steps.reached, task.cancelled()


class AnyioOnAsyncio(Loop):
    """anyio's scope, on asyncio."""

    async def cancelled_at(self, k: int, work: Work, *, waking: bool = False) -> tuple[bool, bool]:
        """See `Loop`."""
        assert not waking
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            steps = _Steps(work(), k, lambda _: scope.cancel())
            await steps.run()
        return steps.reached, scope.cancelled_caught


class _CancelAt(trio.abc.Instrument):
    """Calls something when the current task, or one that it has started, suspends for the k-th time."""

    def __init__(self, k: int, at: Callable[[], object]) -> None:
        self._left = k
        self._at = at
        self._tasks = {trio.lowlevel.current_task()}

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """A child of one of ours is ours."""
        nursery = task.parent_nursery
        if nursery is not None and nursery.parent_task in self._tasks:
            self._tasks.add(task)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It has suspended."""
        if task in self._tasks:
            self._left -= 1
            if self._left == 0:
                self._at()


class OnTrio(Loop):
    """A scope, trio's own or anyio's on trio."""

    def __init__(self, driver: Driver, scope: Callable[[], Any]) -> None:
        super().__init__(driver)
        self._scope = scope

    async def cancelled_at(self, k: int, work: Work, *, waking: bool = False) -> tuple[bool, bool]:
        """See `Loop`."""
        assert not waking
        with trio.fail_after(5), self._scope() as scope:
            instrument = _CancelAt(k, scope.cancel)
            trio.lowlevel.add_instrument(instrument)
            try:
                await work()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        return bool(scope.cancel_called), bool(scope.cancelled_caught)


class UvloopDriver(AsyncioDriver):
    """pgproto_asyncio, on uvloop."""

    name = "uvloop"

    def _run(self, main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


TRIO: Final = OnTrio(TrioDriver(), trio.CancelScope)
LOOPS: Final[tuple[Loop, ...]] = (
    AsyncioLoop(AsyncioDriver()),
    AsyncioLoop(UvloopDriver()),
    TRIO,
    AnyioOnAsyncio(AnyioDriver("asyncio")),
    OnTrio(AnyioDriver("trio"), anyio.CancelScope),
)
