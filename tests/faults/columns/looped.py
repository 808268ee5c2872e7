"""What the peers on asyncio have in common: the loop, and what it is left with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tests.faults.columns import Play

__all__ = ["Looped"]


class Looped(Play):
    """A driver on the loop that asyncio.run makes."""

    def loop(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the work; note what the loop's exception handler gets, and the tasks that are left."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(self._unhandled)
            await work()
            await self.turns()
            self.tasks = len(asyncio.all_tasks()) - 1

        asyncio.run(main())

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.unhandled.append(error)

    async def turns(self) -> None:
        """See `Play`."""
        for _ in range(5):
            await asyncio.sleep(0)
