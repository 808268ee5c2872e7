"""Streams: one query whose consumer takes its rows piece by piece, in bounded memory.

Above a limit of rows not taken the engine stops reading, and the transport's flow control slows the server
down.  So nothing else can use the session until the stream ends.

Rows are dropped only if nobody waits for them any more; a consumer that asks nevertheless (after its lease
has ended) gets an error.  Rows that arrive after the deadline are delivered: if the cancel request came too
late, the stream is complete, else an error follows.
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import DataError, Outcome, RemoteProtocolError
from ..protocol import DataRows
from .batch import QueuedQuery
from .channel import HIGH_WATER, Channel
from .execution import Execution

__all__ = ["Stream"]

# Reading stops above this many bytes of rows that the consumer has not taken.
_LIMIT: Final = 4 * HIGH_WATER


class Stream(Execution):
    """An execution of one item whose rows are taken with `take()`, not collected."""

    __slots__ = ("_given", "_made", "_refused", "_rows", "_size")

    def __init__(self, item: QueuedQuery[Any]) -> None:
        super().__init__([item])
        self._given = 0  # the number of rows that the consumer may have seen
        self._made = 0  # the number of rows of which objects were made
        self._refused: DataError | None = None  # the error of the next row
        self._rows: list[Any] = []
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
            decoder = item.reading(statement)
            self._rows += decoder.decode(event.buffer, event.start, event.end, before)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - as for every execution
            item.error = channel.statements.undecodable(statement, error)
        self._size += event.end - event.start
        self.progress(channel)

    def take(self) -> list[Any]:
        """The rows that have arrived since the last call; then call `Engine.resume`.

        With `into` they are made here, in the consumer's own task, because that runs the caller's code.

        Raises:
            DataError: no object could be made of the next row.
            BaseException: what the caller's code has raised, if it is no Exception.
        """
        rows = self._rows
        self._rows = []
        self._size = 0
        item = self.items[0]
        if item.into is None:
            return rows
        if self._refused is None:
            if rows:
                rows, self._refused = item.made(rows, self._made)
                self._made += len(rows)
            if rows or self._refused is None:
                return rows
        self._refused.outcome = item.outcome or Outcome.UNKNOWN  # the rest of it is cancelled
        raise self._refused

    def repeatable(self) -> bool:
        """False once the consumer may have seen a row."""
        return not self._given

    def has_room(self) -> bool:
        """False while the consumer has to catch up."""
        return self._size < _LIMIT or self.abandoned
