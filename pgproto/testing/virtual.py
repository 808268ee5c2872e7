"""Tasks in virtual time: no sleeping, no randomness, and no real event loop.

A `Run` has tasks, which are coroutines, and timers.  When all tasks wait it moves the clock to the next
timer; if there is no timer all would wait for ever, which is a `Deadlock`.

Cancellation is level-triggered, as in trio: every await in a cancelled `Scope` raises `Cancelled` until the
scope is left, except in an inner scope that is a shield.
"""

from __future__ import annotations

import heapq
import itertools
import math
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

__all__ = ["Cancelled", "Deadlock", "Event", "Run", "Scope", "Task", "Timer"]

T = TypeVar("T")

# So many steps without a tick of the clock count as an endless loop.
_MOST_STEPS: Final = 200_000


class Cancelled(BaseException):
    """A scope around the await is cancelled.  It is raised at every await until that scope is left."""


class Deadlock(AssertionError):
    """All tasks wait for ever, or they wake each other and no time passes."""


class Timer:
    """A call at a certain time, unless it is cancelled before.

    Attributes:
        cancelled: it will not be called.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class Event:
    """An event that tasks wait for, set once; see `pgproto.client.Event`.

    Args:
        run: the run of the tasks.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._happened = False
        self._waiting: list[Task] = []

    @property
    def is_set(self) -> bool:
        """True once it is set."""
        return self._happened

    def set(self) -> None:
        """Set it."""
        self._happened = True
        waiting, self._waiting = self._waiting, []
        for task in waiting:
            task.wake()

    async def wait(self) -> None:
        """Wait until it is set.

        Raises:
            Cancelled: the waiting was cancelled.
        """
        task = self._run.running()
        if self._happened:
            await task.checkpoint()
            return
        self._waiting.append(task)
        try:
            await task.park()
        finally:
            if task in self._waiting:
                self._waiting.remove(task)


class Scope:
    """An `async with` block that can be cancelled, by hand or by a deadline; see `pgproto.client.Bound`.

    Args:
        run: the run of the task that enters it.
        deadline: when it is cancelled.
        shield: True to protect it from the cancellation of outer scopes.

    Attributes:
        cancelled: it was cancelled.
        expired: it has ended because of that.
    """

    def __init__(self, run: Run, deadline: float = math.inf, *, shield: bool = False) -> None:
        self.shield = shield
        self.cancelled = False
        self.expired = False
        self._run = run
        self._deadline = deadline
        self._timer: Timer | None = None
        self._task: Task | None = None

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline; it may have passed.  A later one is ignored."""
        if deadline < self._deadline:
            self._deadline = deadline
            self._arm()

    def cancel(self) -> None:
        """Cancel the block."""
        self.cancelled = True
        if self._task is not None:
            self._task.look_around()

    async def __aenter__(self) -> Scope:
        self._task = self._run.running()
        self._task.scopes.append(self)
        self._arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self._timer is not None:
            self._timer.cancel()
        if task is None:
            return False
        outer = task.scopes[: task.scopes.index(self)]
        task.scopes.remove(self)
        if isinstance(error, Cancelled) and self.cancelled and (self.shield or not _is_cancelled(outer)):
            self.expired = True
            return True
        return False

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._deadline < math.inf:
            self._timer = self._run.call_at(self._deadline, self.cancel)


def _is_cancelled(scopes: list[Scope]) -> bool:
    for scope in reversed(scopes):
        if scope.cancelled:
            return True
        if scope.shield:
            return False
    return False


class Task:
    """One coroutine that a `Run` runs.

    Args:
        run: its run.
        work: a coroutine function, called in its first step.

    Attributes:
        ended: set at its end.
        error: its exception.
        scopes: the scopes that it is in, the outermost first.
        suspensions: the number of places so far where it could have been cancelled.
    """

    def __init__(self, run: Run, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.ended = Event(run)
        self.error: BaseException | None = None
        self._root = Scope(run)
        self.scopes: list[Scope] = [self._root]
        self._root._task = self
        self.suspensions = 0
        self._cancel_at = -1
        self._run = run
        self._work: Coroutine[Any, Any, Any] | None = None
        self._to_begin = [work]  # emptied when it begins, so that the task does not keep the work alive
        self._result: Any = None
        self._parked = False
        self._interrupted = False

    def __repr__(self) -> str:
        return f"<Task {getattr(self._work, '__qualname__', 'that has not begun')}>"

    def result(self) -> Any:
        """Its result.

        Raises:
            BaseException: its exception.
        """
        if self.error is not None:
            raise self.error
        return self._result

    async def wait(self) -> Any:
        """Wait for its end; return its result."""
        await self.ended.wait()
        return self.result()

    def cancel(self) -> None:
        """Cancel it."""
        self._root.cancel()

    def cancel_at(self, suspension: int) -> None:
        """Cancel it at its suspension of this number (from 1)."""
        self._cancel_at = suspension

    async def stop(self) -> None:
        """Cancel it, if it has not ended, and wait for its end."""
        self.cancel()
        async with Scope(self._run, shield=True):
            await self.ended.wait()

    # ---- For the task itself

    def is_cancelled(self) -> bool:
        """True if one of its scopes is cancelled, and no shield is in between."""
        return _is_cancelled(self.scopes)

    async def park(self) -> None:
        """Wait for `wake`.

        Raises:
            Cancelled: a scope around it is cancelled.
        """
        self._suspended()
        self._parked = True
        self.look_around()
        await _suspend()
        if self._interrupted:
            self._interrupted = False
            raise Cancelled

    async def checkpoint(self) -> None:
        """Let others run.

        Raises:
            Cancelled: a scope around it is cancelled.
        """
        self._suspended()
        await self.pause()
        if self.is_cancelled():
            raise Cancelled

    async def pause(self) -> None:
        """Let others run, and raise nothing."""
        self._run.call_soon(self.step)
        await _suspend()

    def _suspended(self) -> None:
        self.suspensions += 1
        if self.suspensions == self._cancel_at:
            self.cancel()

    # ---- For the run

    def wake(self) -> None:
        """Let it go on."""
        if self._parked:
            self._parked = False
            self._run.call_soon(self.step)

    def look_around(self) -> None:
        """A scope was cancelled, perhaps one of its own."""
        if self._parked and self.is_cancelled():
            self._interrupted = True
            self.wake()

    def step(self) -> None:
        """Run to the next place where it waits."""
        run = self._run
        run.current = self
        try:
            if self._work is None:
                self._work = self._to_begin.pop()()
            self._work.send(None)
        except StopIteration as stop:
            self._end(stop.value, None)
        except (KeyboardInterrupt, SystemExit) as error:
            self._end(None, error)
            raise
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            self._end(None, error)
        finally:
            run.current = None

    def _end(self, result: Any, error: BaseException | None) -> None:
        self._result = result
        self.error = error
        self._run.tasks.remove(self)
        self.ended.set()


@types.coroutine
def _suspend() -> Generator[None, None, None]:
    yield


class Run:
    """Tasks and timers, from the beginning of the first task to its end.

    Args:
        now: the initial time in seconds.
        choose: given the number of tasks that are ready, returns the index of the next one to run; None for
            the first.

    Attributes:
        now: the time.
        over: True after the end.
        current: the running task.
        tasks: the tasks that have not ended, the oldest first.
    """

    def __init__(self, now: float = 1000.0, choose: Callable[[int], int] | None = None) -> None:
        self.now = now
        self.over = False
        self._choose = choose
        self.current: Task | None = None
        self.tasks: list[Task] = []
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._flying = 0

    def running(self) -> Task:
        """The running task.

        Raises:
            RuntimeError: there is none.
        """
        if self.current is None:
            raise RuntimeError("no task of this run is running")
        return self.current

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have something called after the present step."""
        self._ready.append(call)

    def call_at(self, moment: float, call: Callable[[], object]) -> Timer:
        """Have something called at this time; calls at the same time are made in order."""
        timer = Timer(call)
        heapq.heappush(self._timers, (moment, next(self._numbers), timer))
        return timer

    def carry(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something called after so many seconds; the run does not end before it."""
        self._flying += 1
        self.call_at(self.now + seconds, partial(self._land, call))

    def _land(self, call: Callable[[], object]) -> None:
        self._flying -= 1
        call()

    def spawn(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Task:
        """Begin a task."""
        task = Task(self, partial(work, *args))
        self.tasks.append(task)
        self.call_soon(task.step)
        return task

    async def sleep(self, seconds: float) -> None:
        """Wait so long; `math.inf` for ever.

        Raises:
            Cancelled: the waiting was cancelled.
        """
        task = self.running()
        if seconds <= 0:
            await task.checkpoint()
            return
        timer = self.call_at(self.now + seconds, task.wake) if seconds < math.inf else Timer(task.wake)
        try:
            await task.park()
        finally:
            timer.cancel()

    def run(self, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a task to its end; then cancel the other tasks and wait for their ends.

        Calls of `carry` are still made.  After an interrupt nothing goes on.

        Raises:
            Deadlock: it waits for something that never happens.
            BaseException: its exception.
        """
        main = self.spawn(work, *args)
        deadlock: Deadlock | None = None
        try:
            try:
                self._go_on_while(lambda: not main.ended.is_set)
            except Deadlock as error:
                deadlock = error
            for task in list(self.tasks):
                task.cancel()
            self._go_on_while(lambda: bool(self.tasks or self._flying))
        finally:
            self.over = True
        if deadlock is not None:
            raise deadlock
        result: T = main.result()
        return result

    def _go_on_while(self, condition: Callable[[], bool]) -> None:
        steps = 0
        while condition():
            if self._ready:
                steps += 1
                if steps > _MOST_STEPS:
                    raise Deadlock(f"no time passes; running: {self.tasks}")
                if self._choose is not None:
                    self._ready.rotate(-self._choose(len(self._ready)))
                self._ready.popleft()()
                continue
            moment = self._next_moment()
            if moment > self.now:
                self.now = moment
                steps = 0
            self.call_soon(heapq.heappop(self._timers)[2].call)

    def _next_moment(self) -> float:
        while self._timers:
            if not self._timers[0][2].cancelled:
                return self._timers[0][0]
            heapq.heappop(self._timers)
        raise Deadlock(f"everybody waits for ever: {self.tasks}")
