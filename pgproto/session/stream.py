"""Rows as they come: one query whose consumer takes its rows piece by piece, in bounded memory.

The server sends at the speed at which the consumer takes: above the limit the engine stops reading, and
the transport's own flow control does the rest.  So the session is the stream's alone until it ends.

Rows are dropped only where nobody waits for them any more; who asks all the same (the lease has ended
under it) gets an error.  What comes after the deadline is delivered: if the cancel request was too late the
stream is whole, else an error comes after it.
"""

from __future__ import annotations

from typing import Final

from ..errors import RemoteProtocolError
from ..protocol import DataRows
from ..types import Row
from .answers import undecodable
from .batch import QueuedQuery
from .channel import HIGH_WATER, Channel
from .execution import Execution

__all__ = ["Stream"]

# Reading stops above this many bytes of rows that the consumer has not taken.
_LIMIT: Final = 4 * HIGH_WATER


class Stream(Execution):
    """An execution of one item whose rows are taken with `take()`, not collected."""

    __slots__ = ("_given", "_rows", "_size")

    def __init__(self, item: QueuedQuery) -> None:
        super().__init__([item])
        self._given = 0  # how many rows the consumer may have seen
        self._rows: list[Row] = []
        self._size = 0

    @property
    def exclusive(self) -> bool:
        """The caller drains it."""
        return True

    def take_rows(self, channel: Channel, item: QueuedQuery, event: DataRows) -> None:
        """Decode a run of rows for the consumer."""
        before = self._given
        self._given += event.count
        statement = item.statement
        if statement is None or item.error is not None:
            return
        if self.abandoned:
            item.error = self.cut_short()
            return
        try:
            self._rows += statement.decoder.decode(event.buffer, event.start, event.end, before)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - as for every execution
            item.error = undecodable(error)
        self._size += event.end - event.start
        self.progress(channel)

    def take(self) -> list[Row]:
        """The rows that have arrived since the last call; then call `Engine.resume`."""
        rows = self._rows
        self._rows = []
        self._size = 0
        return rows

    def repeatable(self) -> bool:
        """Not once the consumer may have seen a row."""
        return not self._given

    def has_room(self) -> bool:
        """False while the consumer has to catch up."""
        return self._size < _LIMIT or self.abandoned
