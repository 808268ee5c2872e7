"""The blocking adapter's driver, and the blocking API as one that can be awaited.

Its awaitables never suspend, so that one `send(None)` runs the whole scenario: what is called is the blocking
API itself, on one thread, without any event loop.
"""

from __future__ import annotations

import inspect
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import TracebackType
from typing import Any, TypeVar

from pgproto_pytest.driver import Driver, Hang, Scenario

__all__ = ["BlockingDriver"]

T = TypeVar("T")


class BlockingDriver(Driver):
    """pgproto_blocking, called from a thread of its own, so that a hang can be seen from outside."""

    name = "blocking"
    adapter: Any = "pgproto_blocking"
    asynchronous = False

    def connect(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Context(lambda: self.module().connect(dsn, **_synchronous(options)))

    def Pool(self, dsn: str | None = None, **options: Any) -> Any:
        """See `Driver`."""
        return _Context(_made(self.module().Pool(dsn, **_synchronous(options))))

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


_AWAITED = frozenset(
    [
        "fetch",
        "fetchrow",
        "fetchval",
        "fetch_columns",
        "execute",
        "executemany",
        "script",
        "send_batch",
        "prepare",
        "copy_in",
        "copy_records",
        "copy_columns",
        "release",
        "reset",
        "close",
        "retry",
        "open",
        "get",
        "forward",
        "settled",
        "cancel",
        "explain",
        "commit_prepared",
        "rollback_prepared",
        "prepared_transactions",
    ]
)
_CONTEXTS = frozenset({"transaction", "listen", "acquire"})
_ITERATORS = frozenset({"cursor", "stream", "stream_columns", "copy_out"})


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
    return {name: _plain(value) if _may_be_async(value) else value for name, value in options.items()}


def _may_be_async(value: object) -> bool:
    return inspect.isfunction(value) or inspect.iscoroutinefunction(vars(type(value)).get("__call__"))


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

            def begin(*args: Any, **options: Any) -> Any:
                if options.get("to") is None:
                    return _Pieces(value(*_plain_args(args), **options))
                return _later(value, *args, **options)

            return begin
        return value

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterate(iter(self.target))


async def _later(call: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call it when it is awaited."""
    return call(*args, **options)


def _plain_args(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.target if isinstance(arg, _Wrapped) else arg for arg in args)


class _Pieces:
    """A stream, a cursor or COPY out of the blocking adapter."""

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

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name not in _AWAITED:
            return value

        async def call(*args: Any, **options: Any) -> Any:
            return value(*args, **options)

        return call

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
