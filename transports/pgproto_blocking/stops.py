"""How another thread stops one that connects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Stop", "current"]


class Stop:
    """Ends what the thread that has entered it waits for: a name, an address, a server.

    Attributes:
        asked: somebody wants it to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._end: Callable[[], object] | None = None

    def ask(self) -> None:
        """Have it fail soon.  Called by another thread."""
        self.asked = True
        end = self._end
        if end is not None:
            end()

    def ends(self, end: Callable[[], object] | None) -> None:
        """From now on `end` ends the wait; it is called at once if somebody has asked already."""
        self._end = end
        if self.asked and end is not None:
            end()

    def __enter__(self) -> Stop:
        _here.stop = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.stop = None


class _Here(threading.local):
    stop: Stop | None = None


_here = _Here()


def current() -> Stop:
    """The one that this thread has entered; one that nobody knows if there is none."""
    return _here.stop or Stop()
