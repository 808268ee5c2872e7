"""`Turn`: one statement at a time, and none within another one of the same thread."""

from __future__ import annotations

import threading

from pgproto.errors import LocalProtocolError

from .errors import Error, translated

__all__ = ["Turn", "busy"]


def busy(kind: type[Error]) -> Error:
    """The error for a call that would wait for itself: of a notice's handler, or an iterable of records."""
    error = LocalProtocolError("the connection is in the middle of a call by this very thread")
    return translated(error, kind)


class Turn:
    """A lock for `with`; to take it twice is an error.

    Args:
        kind: the class of the error.
    """

    def __init__(self, kind: type[Error]) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._owner = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise busy(self._kind)
        self._lock.acquire()
        self._owner = me

    def __exit__(self, *error: object) -> None:
        self._owner = 0
        self._lock.release()
