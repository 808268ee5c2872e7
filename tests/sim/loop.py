"""An asyncio event loop whose time is virtual and whose network is in memory.

It is asyncio's own BaseEventLoop with a selector that never waits: where a real one would sleep until the
next timer, it moves the clock to it.  With nothing to wait for, everybody waits for ever, which is the
deadlock that no test with real time can tell from slowness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Deadlock", "VirtualLoop"]

# Where the clock starts.  Not at 0, so that nobody takes a deadline for "none".
_EPOCH = 1000.0
# Steps of the loop without a tick of the clock, after which it is called a spin.
_MAX_STEPS = 50_000


class Deadlock(Exception):
    """Nothing is ready and no timer runs, or the clock has passed the schedule's end."""


class _Selector:
    """Lets time pass instead of waiting for descriptors."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._steps = 0

    def select(self, timeout: float | None) -> list[Any]:
        """Move the clock to the next timer."""
        if timeout is None:
            raise Deadlock("everybody waits for ever")
        if timeout > 0:
            self._steps = 0
            self._loop.advance(timeout)
        else:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise Deadlock("the loop spins without time passing")
        return []

    def close(self) -> None:
        """Part of a selector's face."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop; `connector` makes its connections.

    Attributes:
        connector: (protocol factory, host, port) -> (transport, protocol), set by the network.
        on_error: gets what the loop's exception handler is told.
        tasks: every task that was made.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self._now = _EPOCH
        self.end = float("inf")
        self.connector: Callable[..., Any] | None = None
        self.on_error: Callable[[dict[str, Any]], None] | None = None
        self.tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        if self._now > self.end:
            raise Deadlock("the schedule did not end in time")

    def timers(self) -> list[asyncio.TimerHandle]:
        """The timers that are still armed."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return [timer for timer in scheduled if not timer.cancelled()]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Pass it on."""
        if self.on_error is not None:
            self.on_error(context)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        """A link of the simulated network."""
        assert self.connector is not None
        return await self.connector(protocol_factory, host, port)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """The same by path."""
        assert self.connector is not None
        return await self.connector(protocol_factory, path, 0)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Threads would not be deterministic: run it here, answer in the next step."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _make_task(self, loop: Any, coro: Any, context: Any = None) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, context=context)
        self.tasks.append(task)
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""
