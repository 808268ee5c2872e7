"""The listeners for notices: as many as are wanted, each of which can be removed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType

from pgproto.errors import PostgresError

from .unique import Unique

__all__ = ["NoticeListener", "Notices"]


class NoticeListener(Unique):
    """What `Notices.add` has returned.  As a context manager it removes itself at the end of the block.

    Attributes:
        callback: what is called.
    """

    def __init__(self, owner: dict[NoticeListener, None], callback: Callable[[PostgresError], None]) -> None:
        self.callback = callback
        self._owner = owner
        owner[self] = None

    def remove(self) -> None:
        """Have it called no more.  Idempotent."""
        self._owner.pop(self, None)

    def __enter__(self) -> NoticeListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


class Notices(Unique):
    """The listeners of one handle, in the order in which they were added; they end with its lease."""

    def __init__(self) -> None:
        self._listeners: dict[NoticeListener, None] = {}

    def add(self, callback: Callable[[PostgresError], None]) -> NoticeListener:
        """Have something called with every notice, as `on_notice` is.

        Args:
            callback: gets an object with an error's fields.  Added twice, it is called twice.

        Returns:
            The listener: `remove()` it, or enter it with `with`.

        Raises:
            TypeError: it cannot be called.
        """
        if not callable(callback):
            raise TypeError(f"a listener must be a function, not {type(callback).__name__}")
        return NoticeListener(self._listeners, callback)

    def __len__(self) -> int:
        return len(self._listeners)

    def callbacks(self) -> Iterator[Callable[[PostgresError], None]]:
        """What to call for one notice: those that are there now, unless an earlier one removes them."""
        for listener in list(self._listeners):
            if listener in self._listeners:
                yield listener.callback
