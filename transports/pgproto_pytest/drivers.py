"""The drivers of our own asynchronous adapters.

Each imports its adapter when it is used, so that one works where the libraries of the others are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pgproto_pytest.driver import Driver, Hang, Scenario

__all__ = ["AnyioDriver", "AsyncioDriver", "TrioDriver"]

T = TypeVar("T")


class AsyncioDriver(Driver):
    """pgproto_asyncio, on the loop that asyncio.run makes."""

    name = "asyncio"
    adapter: Any = "pgproto_asyncio"

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
            limit = asyncio.timeout(deadline)
            try:
                async with limit:
                    await scenario(self)
            except TimeoutError as error:
                if limit.expired():
                    raise Hang(f"not within {deadline} s") from error
                raise
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not left, f"tasks left behind: {left}"

        self._run(main())
        if problems:  # in full: an assert that is rewritten would shorten them
            raise AssertionError("\n".join(problems))

    def _run(self, main: Coroutine[Any, Any, None]) -> None:
        asyncio.run(main)


class TrioDriver(Driver):
    """pgproto_trio."""

    name = "trio"
    adapter: Any = "pgproto_trio"

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        import trio

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
        import trio

        return await trio.to_thread.run_sync(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""
        import trio

        async def main() -> None:
            with trio.move_on_after(deadline) as scope:
                await scenario(self)
            if scope.cancelled_caught:
                raise Hang(f"not within {deadline} s")

        trio.run(main, strict_exception_groups=True)


class AnyioDriver(Driver):
    """pgproto_anyio.

    Args:
        backend: "asyncio" or "trio".
    """

    adapter: Any = "pgproto_anyio"

    def __init__(self, backend: str) -> None:
        self.name = f"anyio_{backend}"
        self._backend = backend

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> list[Any]:
        """See `Driver`."""
        import anyio

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
        import anyio.to_thread

        return await anyio.to_thread.run_sync(work)

    def run(self, scenario: Scenario, *, deadline: float = 10.0) -> None:
        """See `Driver`."""
        import anyio

        async def main() -> None:
            with anyio.move_on_after(deadline) as scope:
                await scenario(self)
            if scope.cancelled_caught:
                raise Hang(f"not within {deadline} s")

        anyio.run(main, backend=self._backend)
