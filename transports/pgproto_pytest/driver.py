"""One face for the adapters, so that a behaviour is written once and runs on all of them.

A *scenario* is an `async def scenario(pg: Driver)` that uses `pg.connect`, `pg.Pool` and what they return as
the asyncio adapter has it.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Driver", "Hang", "Scenario"]

T = TypeVar("T")


class Hang(AssertionError):
    """The scenario did not end before its deadline."""


class Driver:
    """One adapter: what the conformance suite asks of it.

    A subclass has `name`, `adapter`, `together`, `in_thread` and `run`.

    Attributes:
        name: what the tests are called after.
        adapter: what has `connect` and `Pool`: the adapter's module, or the name by which it is imported when
            it is used.
        asynchronous: it has tasks.  Several may use one connection at once, and records may come from an
            asynchronous iterator.
    """

    name = ""
    adapter: Any = ""
    asynchronous = True

    def module(self) -> Any:
        """The adapter's module."""
        return importlib.import_module(self.adapter) if isinstance(self.adapter, str) else self.adapter

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """The adapter's `connect`, to be entered with `async with`.

        Args:
            dsn: the connection string.
            options: the adapter's own, as they are.

        Returns:
            A context manager whose value is the adapter's connection, or something that looks like it.
        """
        return _Guard(self.module().connect(dsn, **options))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """The adapter's `Pool`, to be entered with `async with`; otherwise as `connect`."""
        return _Guard(self.module().Pool(dsn, **options))

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Run all at once, each in a task of its own.

        Returns:
            When all have ended, their results in their order; the exception (no BaseException) of one that
            raised it in its place.
        """
        raise NotImplementedError

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run something that blocks while the adapter goes on; an adapter without a loop just calls it.

        Returns:
            What `work` returns; what it raises is raised.
        """
        raise NotImplementedError

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """Call `scenario(self)`, on an event loop if that is what the adapter has, and run it to its end.

        What is left behind (a task, a thread, an exception that nobody has handled) should fail here.

        Args:
            scenario: the work.
            deadline: the seconds that it may take.

        Raises:
            Hang: it did not end in time.  The event loop must be gone, or usable, all the same.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.name


Scenario = Callable[[Driver], Coroutine[Any, Any, None]]
"""What a driver runs."""


class _Guard:
    """A context manager that may not swallow what its body raises: a scenario would end without a word."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def open(self, **options: Any) -> _Guard:
        """A pool's."""
        return _Guard(self._manager.open(**options))

    async def __aenter__(self) -> Any:
        return await self._manager.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if await self._manager.__aexit__(kind, error, trace) and error is not None:
            raise AssertionError(f"{self._manager} swallowed {error!r}") from error
