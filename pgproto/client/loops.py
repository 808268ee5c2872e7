"""What all event loops have: one thread, in which everything between two awaits is one step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pgproto.errors import LocalProtocolError
from pgproto.session import Engine

from .runtime import Bound

if TYPE_CHECKING:
    from typing import Self

__all__ = ["NoBlock", "OneLoop", "OneTask", "OneThread", "Reading"]

T = TypeVar("T")


class OneThread:
    """What a `Link` has no trouble with."""

    engine: Engine

    @property
    def shut(self) -> bool:
        """True once nothing can be submitted any more."""
        return self.engine.closed

    def lend(self) -> Self:
        """Itself: a call that comes too late is seen when it begins."""
        return self

    def alone(
        self, work: Callable[[], T], timeout: float | None = None, told: BaseException | None = None
    ) -> T:
        """Do something with the engine."""
        return work()


class OneTask:
    """A `Turn`: a second task would wait for what may never come, so it is refused.

    Args:
        refusal: what it is told.
    """

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal
        self._taken = False

    async def take(self, deadline: float | None) -> bool:
        """Have it: True."""
        if self._taken:
            raise LocalProtocolError(self._refusal)
        self._taken = True
        return True

    def leave(self) -> None:
        """Let the next one have it."""
        self._taken = False


class OneLoop:
    """What a `Runtime` has no trouble with."""

    def turn(self, refusal: str) -> OneTask:
        """A new turn."""
        return OneTask(refusal)

    async def ask(self, call: Callable[[], Awaitable[T] | T], bound: Bound) -> T:
        """Call a hook."""
        answer = call()
        if not isinstance(answer, Awaitable):
            return answer
        async with bound:
            return await answer
        raise TimeoutError


class NoBlock:
    """`Tasks` that the block of a pool means nothing to."""

    async def enter(self) -> None:
        """Nothing."""

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Nothing."""
        return None


class Reading:
    """The part of a `Reader` that no event loop has a say in: whether the source has come to its end.

    Args:
        iterator: the source.
    """

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await anext(self._iterator)
        except StopAsyncIteration:
            self._ended = True
            raise
