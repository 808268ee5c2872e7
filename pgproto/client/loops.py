"""The parts common to all event loops: one thread, in which the code between two awaits is atomic."""

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
    """The methods of a `Link` that are trivial in a single thread."""

    engine: Engine

    @property
    def shut(self) -> bool:
        """True once nothing can be submitted any more."""
        return self.engine.closed

    def lend(self) -> Self:
        """Itself: a call after the end of the lease is refused when it begins."""
        return self

    def alone(
        self, work: Callable[[], T], timeout: float | None = None, told: BaseException | None = None
    ) -> T:
        """Call `work`: no other thread uses the engine."""
        return work()


class OneTask:
    """A `Turn`: a second task is refused, because it might wait for ever.

    Args:
        refusal: the text of its error.
    """

    def __init__(self, refusal: str) -> None:
        self._refusal = refusal
        self._taken = False

    async def take(self, deadline: float | None) -> bool:
        """Take the turn; always True."""
        if self._taken:
            raise LocalProtocolError(self._refusal)
        self._taken = True
        return True

    def leave(self) -> None:
        """Release the turn."""
        self._taken = False


class OneLoop:
    """The methods of a `Runtime` that are the same for all event loops."""

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
    """The part of `Tasks` for loops without task groups: a pool's block does nothing."""

    async def enter(self) -> None:
        """Nothing."""

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Nothing."""
        return None


class Reading:
    """The part of a `Reader` that is the same for all event loops: it knows whether the source has ended.

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
