"""One test for three adapters: every adapter with the face that asyncio's has.

A test is written once, as coroutine functions against the API of `pgproto_asyncio`.  `Driver.run` runs them:
on asyncio, on trio, or, with the blocking adapter, as coroutines that never suspend: there each awaitable
does its work, blocking, when it is awaited, and `gather` uses a thread for each function.

So the tests are checked against asyncio's types, and what an adapter lacks shows up as a failure.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

from pgproto_asyncio import Connection, Pool

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

NAMES = ("asyncio", "trio", "blocking")

# What is an ordinary method in all adapters, and not something to wait for.
_PLAIN = frozenset({"stats", "expire", "abort", "forget_traces"})


class Driver:
    """An adapter and what runs its code; this one is asyncio."""

    name = "asyncio"

    def __init__(self) -> None:
        self._package: Any = importlib.import_module(f"pgproto_{self.name}")

    def run(self, main: Work[T]) -> T:
        """Run a coroutine function to its end."""
        return asyncio.run(main())

    async def gather(self, *functions: Work[T]) -> list[T]:
        """Run functions at the same time; their results in order, or the first error."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(function()) for function in functions]
        return [task.result() for task in tasks]

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def pool(self, dsn: str, **options: Any) -> Pool:
        """A pool, to be entered."""
        pool: Pool = self._package.Pool(dsn, **options)
        return pool

    def connect(self, dsn: str, **options: Any) -> Any:
        """A connection, to be entered."""
        return self._package.connect(dsn, **options)

    async def until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Return when `condition()` is true; fail after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
            await self.sleep(0.005)

    def __repr__(self) -> str:
        return self.name


class TrioDriver(Driver):
    """trio."""

    name = "trio"

    def run(self, main: Work[T]) -> T:
        """Run a coroutine function to its end."""
        import trio

        result: T = trio.run(main)
        return result

    async def gather(self, *functions: Work[T]) -> list[T]:
        """Run functions at the same time."""
        import trio

        results: dict[int, T] = {}

        async def keep(index: int, function: Work[T]) -> None:
            results[index] = await function()

        async with trio.open_nursery() as nursery:
            for index, function in enumerate(functions):
                nursery.start_soon(keep, index, function)
        return [results[index] for index in range(len(functions))]

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        import trio

        await trio.sleep(seconds)


class BlockingDriver(Driver):
    """Blocking sockets; every concurrent function has a thread of its own."""

    name = "blocking"

    def run(self, main: Work[T]) -> T:
        """Run a coroutine function to its end."""
        return _run_now(main())

    async def gather(self, *functions: Work[T]) -> list[T]:
        """Run functions at the same time."""
        results: dict[int, T] = {}
        errors: list[BaseException] = []

        def keep(index: int, function: Work[T]) -> None:
            try:
                results[index] = _run_now(function())
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=keep, args=(index, function), daemon=True)
            for index, function in enumerate(functions)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return [results[index] for index in range(len(functions))]

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)  # noqa: ASYNC251 - it is a thread's own

    def pool(self, dsn: str, **options: Any) -> Pool:
        """A pool, to be entered."""
        face: Any = _Face(self._package.Pool(dsn, **{name: _plain(each) for name, each in options.items()}))
        pool: Pool = face
        return pool

    def connect(self, dsn: str, **options: Any) -> Any:
        """A connection, to be entered."""
        return _Answer(functools.partial(self._package.connect, dsn, **options))


def driver(name: str) -> Driver:
    """The driver of that name."""
    kinds: dict[str, type[Driver]] = {"asyncio": Driver, "trio": TrioDriver, "blocking": BlockingDriver}
    return kinds[name]()


def _run_now(work: Awaitable[T]) -> T:
    """Run what never suspends."""
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("blocking code has to wait for nothing")


def _plain(value: Any) -> Any:
    """An argument for the blocking adapter: hooks may be coroutine functions, and get faces."""
    if isinstance(value, _Face):
        return object.__getattribute__(value, "_object")
    if not inspect.isroutine(value):
        return value

    def call(*args: Any) -> Any:
        answer = value(*(_faced(each) for each in args))
        return _run_now(answer) if inspect.isawaitable(answer) else answer

    return call


def _faced(value: Any) -> Any:
    """A result of the blocking adapter, with a face if it is an object of its own."""
    return _Face(value) if type(value).__module__.startswith("pgproto_blocking") else value


class _Face:
    """An object of the blocking adapter whose methods have to be awaited."""

    def __init__(self, thing: Any) -> None:
        object.__setattr__(self, "_object", thing)

    def __getattr__(self, name: str) -> Any:
        value = getattr(object.__getattribute__(self, "_object"), name)
        if not inspect.isroutine(value):
            return _faced(value)
        if name in _PLAIN:
            return value

        def call(*args: Any, **options: Any) -> _Answer:
            plain = [_plain(each) for each in args]
            return _Answer(
                functools.partial(value, *plain, **{key: _plain(each) for key, each in options.items()})
            )

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_object"), name, _plain(value))

    async def __aenter__(self) -> Any:
        return _faced(object.__getattribute__(self, "_object").__enter__())

    async def __aexit__(self, *exc: Any) -> Any:
        return object.__getattribute__(self, "_object").__exit__(*exc)

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        return _iterate(iter(object.__getattribute__(self, "_object")))


class _Answer:
    """What a method of a face returns: to await, to enter, or to iterate over."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._entered: Any = None
        self._steps: AsyncGenerator[Any, None] | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return _faced(self._call())
        yield  # what makes it a generator

    async def __aenter__(self) -> Any:
        self._entered = self._call()
        return _faced(self._entered.__enter__())

    async def __aexit__(self, *exc: Any) -> Any:
        return self._entered.__exit__(*exc)

    def __aiter__(self) -> AsyncGenerator[Any, None]:
        self._steps = _iterate(iter(self._call()))
        return self._steps

    async def aclose(self) -> None:
        """End an iteration before its end."""
        if self._steps is not None:
            await self._steps.aclose()


async def _iterate(iterator: Any) -> AsyncGenerator[Any, None]:
    try:
        for each in iterator:
            yield _faced(each)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


__all__ = ["NAMES", "Connection", "Driver", "Pool", "driver"]
