"""What all event loops have: one thread, in which everything between two awaits is one step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pgproto.errors import LocalProtocolError
from pgproto.session import Engine

if TYPE_CHECKING:
    from typing import Self

__all__ = ["OneTask", "OneThread"]

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
