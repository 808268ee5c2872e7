"""How another thread stops a thread that is connecting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Stop", "current"]


class Stop:
    """Ends the waits of the thread that has entered it: for a look-up, a connect, a server's answer.

    Attributes:
        asked: `ask` was called.
    """

    def __init__(self) -> None:
        self.asked = False
        self._end: Callable[[], object] | None = None

    def ask(self) -> None:
        """Make the connecting fail soon.  Called by another thread."""
        self.asked = True
        end = self._end
        if end is not None:
            end()

    def ends(self, end: Callable[[], object] | None) -> None:
        """Set the function that ends the present wait; it is called at once if `ask` was already called."""
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
    """The Stop that this thread has entered, or a new one, which nobody will ask."""
    return _here.stop or Stop()
