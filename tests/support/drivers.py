"""One face for the adapters, so that a test is written once and runs on all of them.

A *scenario* is an `async def scenario(pg: Driver)` that uses `pg.connect`, `pg.Pool` and what they return
as the asyncio adapter has it.  asyncio and trio run it as it is.  The blocking adapter gets wrappers whose
awaitables never suspend, so that one `send(None)` runs the whole scenario: what is called is the blocking
API itself, on one thread, without any event loop.

Every run has a hard deadline, and fails if it leaves a task, a thread or an unhandled exception behind.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import pytest
import trio

import pgproto_anyio
import pgproto_asyncio
import pgproto_blocking
import pgproto_trio

__all__ = ["DRIVERS", "EVERY", "Driver", "Hang", "Scenario", "only"]

T = TypeVar("T")
Connection = pgproto_asyncio.Connection
Pool = pgproto_asyncio.Pool


class Hang(AssertionError):
    """The scenario did not end before its deadline."""


class Driver:
    """One adapter.

    Attributes:
        name: "asyncio", "trio", "blocking", "anyio_asyncio" or "anyio_trio".
        shares_connections: several tasks may use one connection at once.
    """

    name = ""
    shares_connections = True

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """The adapter's `connect`, to be entered with `async with`."""
        raise NotImplementedError

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """The adapter's `Pool`, to be entered with `async with`."""
        raise NotImplementedError

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """Run all at once; their results, or the exceptions that they raised."""
        raise NotImplementedError

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Wait for something that blocks, while the adapter goes on."""
        raise NotImplementedError

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """Run a scenario to its end.

        Raises:
            Hang: it did not end in `deadline` seconds.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.name


Scenario = Callable[[Driver], Coroutine[Any, Any, None]]


class AsyncioDriver(Driver):
    """pgproto_asyncio, on the loop that asyncio.run makes."""

    name = "asyncio"

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_asyncio.connect(dsn, **options))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_asyncio.Pool(dsn, **options))

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        return await asyncio.gather(*[work() for work in works], return_exceptions=True)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """See `Driver`."""
        return await asyncio.to_thread(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""
        problems: list[str] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: problems.append(str(context)))
            try:
                async with asyncio.timeout(deadline) as limit:
                    await scenario(self)
            except TimeoutError as error:
                if limit.expired():
                    raise Hang(f"not within {deadline} s") from error
                raise
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"

        self._run(main())
        assert not problems, problems

    def _run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)


class TrioDriver(Driver):
    """pgproto_trio."""

    name = "trio"

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_trio.connect(dsn, **options))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_trio.Pool(dsn, **options))

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        results: list[Any] = [None] * len(works)

        async def one(index: int, work: Callable[[], Awaitable[Any]]) -> None:
            try:
                results[index] = await work()
            except Exception as error:
                results[index] = error

        async with trio.open_nursery() as nursery:
            for index, work in enumerate(works):
                nursery.start_soon(one, index, work)
        return results

    async def in_thread(self, work: Callable[[], T]) -> T:
        """See `Driver`."""
        return await trio.to_thread.run_sync(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""

        async def main() -> None:
            with trio.move_on_after(deadline) as scope:
                await scenario(self)
            if scope.cancelled_caught:
                raise Hang(f"not within {deadline} s")

        trio.run(main, strict_exception_groups=True)


class AnyioDriver(Driver):
    """pgproto_anyio, on one of its loops."""

    def __init__(self, backend: str) -> None:
        self.name = f"anyio_{backend}"
        self._backend = backend

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_anyio.connect(dsn, **options))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Guard(pgproto_anyio.Pool(dsn, **options))

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        results: dict[int, Any] = {}

        async def one(index: int) -> None:
            try:
                results[index] = await works[index]()
            except Exception as error:
                results[index] = error

        async with anyio.create_task_group() as group:
            for index in range(len(works)):
                group.start_soon(one, index)
        return [results[index] for index in range(len(works))]

    async def in_thread(self, work: Callable[[], T]) -> T:
        """See `Driver`."""
        return await anyio.to_thread.run_sync(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""

        async def main() -> None:
            with anyio.move_on_after(deadline) as scope:
                await scenario(self)
            if scope.cancelled_caught:
                raise Hang(f"not within {deadline} s")

        anyio.run(main, backend=self._backend)


class BlockingDriver(Driver):
    """pgproto_blocking, called from a thread of its own, so that a hang can be seen from outside."""

    name = "blocking"
    shares_connections = False

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Context(lambda: pgproto_blocking.connect(dsn, **options))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Context(_made(pgproto_blocking.Pool(dsn, **_synchronous(options))))

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        results: list[Any] = [None] * len(works)

        def one(index: int, work: Callable[[], Awaitable[Any]]) -> None:
            try:
                results[index] = _drive(work())
            except Exception as error:
                results[index] = error

        threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(works)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    async def in_thread(self, work: Callable[[], T]) -> T:
        """See `Driver`."""
        return work()

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""
        before = set(threading.enumerate())
        errors: list[BaseException] = []

        def main() -> None:
            try:
                _drive(scenario(self))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=main, daemon=True, name="scenario")
        thread.start()
        thread.join(deadline)
        if thread.is_alive():
            frame = sys._current_frames().get(thread.ident or 0)
            raise Hang(f"not within {deadline} s:\n{''.join(traceback.format_stack(frame))}")
        if errors:
            raise errors[0]
        left = [each for each in threading.enumerate() if each not in before and "pgproto" in each.name]
        for each in left:
            each.join(1)  # one that is at its end is not left behind
        left = [each for each in left if each.is_alive()]
        assert not left, f"threads left behind: {left}"


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


DRIVERS: tuple[Driver, ...] = (AsyncioDriver(), TrioDriver(), BlockingDriver())
EVERY: tuple[Driver, ...] = (*DRIVERS, AnyioDriver("asyncio"), AnyioDriver("trio"))
"""The fourth adapter shares its link with trio, and its client with both: it is in the conformance suite."""


def only(*names: str) -> pytest.MarkDecorator:
    """For a test of what the others do not have: its fixture `driver` is one of those with `names`."""
    chosen = [driver for driver in DRIVERS if driver.name in names]
    return pytest.mark.parametrize("driver", chosen, indirect=True, ids=repr)


# ---- The blocking API as one that can be awaited

_AWAITED = frozenset(
    [
        "fetch",
        "fetchrow",
        "fetchval",
        "execute",
        "executemany",
        "script",
        "send_batch",
        "prepare",
        "copy_in",
        "copy_records",
        "release",
        "reset",
        "close",
        "retry",
        "open",
        "get",
    ]
)
_CONTEXTS = frozenset({"transaction", "listen", "acquire"})
_ITERATORS = frozenset({"stream", "copy_out"})


def _drive(work: Awaitable[T]) -> T:
    """Run an awaitable that never suspends."""
    iterator = work.__await__()
    try:
        next(iterator)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("a scenario awaited something that the blocking adapter does not have")


def _synchronous(options: dict[str, Any]) -> dict[str, Any]:
    """Hooks that may be `async def`, as plain functions."""
    return {name: _plain(value) if callable(value) else value for name, value in options.items()}


def _plain(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(connection: Any) -> Any:
        answer = hook(_wrap(connection))
        return _drive(answer) if inspect.isawaitable(answer) else answer

    return call


def _wrap(value: Any) -> Any:
    theirs = type(value).__module__.startswith(("pgproto_blocking", "pgproto.client.blocking"))
    return _Wrapped(value) if theirs else value


class _Wrapped:
    """A connection, pool, prepared statement or iterator of the blocking adapter."""

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "target", target)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.target, name, value)

    def __repr__(self) -> str:
        return repr(self.target)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)
        if name in _AWAITED:

            async def call(*args: Any, **options: Any) -> Any:
                args = _plain_args(args)
                if name == "retry":
                    args = (_plain(args[0]), *args[1:])
                return _wrap(value(*args, **options))

            return call
        if name in _CONTEXTS:
            return lambda *args, **options: _Context(_made(value(*args, **options)))
        if name in _ITERATORS:
            return lambda *args, **options: _Pieces(value(*_plain_args(args), **options))
        return value

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterate(iter(self.target))


def _plain_args(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.target if isinstance(arg, _Wrapped) else arg for arg in args)


class _Pieces:
    """A stream or COPY out of the blocking adapter."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._target)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._target.close()

    async def __aenter__(self) -> _Pieces:
        self._target.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.__exit__(kind, error, trace)


def _made(manager: Any) -> Callable[[], Any]:
    return lambda: manager


class _Context:
    """A context manager of the blocking adapter."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._manager: Any = None

    def open(self, **options: Any) -> _Context:
        """A pool's."""
        return _Context(lambda: self._make().open(**options))

    @property
    def committing(self) -> bool:
        """A transaction's."""
        return self._manager is not None and bool(self._manager.committing)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.start().__await__()

    async def start(self) -> Any:
        """The explicit forms of a transaction and a lease."""
        if self._manager is None:
            self._manager = self._make()
        return _wrap(self._manager.start())

    async def commit(self) -> None:
        """A transaction's."""
        self._manager = self._manager or self._make()
        self._manager.commit()

    async def rollback(self) -> None:
        """A transaction's."""
        self._manager = self._manager or self._make()
        self._manager.rollback()

    async def __aenter__(self) -> Any:
        self._manager = self._make()
        return _wrap(self._manager.__enter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        if self._manager.__exit__(kind, error, trace) and error is not None:
            raise AssertionError(f"{self._manager} swallowed {error!r}") from error


async def _iterate(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    for item in iterator:
        yield item
