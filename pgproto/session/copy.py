"""COPY in and out, in bounded memory.  Manual: "COPY Operations".

Both run as a simple Query, so that an error needs no Sync: the server drops what is still under way and
says ReadyForQuery.  Both are exclusive: the caller feeds or drains them, so nothing can queue behind.

COPY in commits when the server has got CopyDone; until that is handed over, a lost COPY is certainly not
committed.  Where the caller stops in the middle, CopyFail undoes it.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from ..errors import Error, LocalProtocolError, Outcome, PostgresError
from ..wire import (
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    ErrorResponse,
    Message,
)
from .batch import rowcount
from .loss import Loss
from .operation import HIGH_WATER, NOT_YET, SENT, WAITING, Channel, Segment, unasked
from .simple import SimpleQuery
from .sources import as_bytes

__all__ = ["CopyIn", "CopyOut"]

# A CopyData message has less than twice as much; larger chunks of the caller are split into such pieces.
_CHUNK: Final = 65536

# COPY OUT stops reading above this many bytes that the consumer has not taken.
_OUT_LIMIT: Final = 4 * HIGH_WATER

_FROM_STDIN: Final = re.compile(r"^\s*copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)

_NOT_BEGUN: Final = 0
_ASKED: Final = 1
_COPYING: Final = 2
_OVER: Final = 3


class _Copy(SimpleQuery):
    """What both directions share: the Query, the verdict, the error."""

    __slots__ = ("_stage", "tag")

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self.exclusive = True
        self.tag = ""
        self._stage = _NOT_BEGUN

    @property
    def rowcount(self) -> int:
        """How many rows were copied."""
        return rowcount(self.tag)

    @property
    def copying(self) -> bool:
        """True while data may flow."""
        return self._stage == _COPYING and not self.finished

    @property
    def starting(self) -> bool:
        """True until the server has agreed to the COPY, or refused it."""
        return self._stage < _COPYING and not self.finished

    @property
    def over(self) -> bool:
        """True once no data will flow any more."""
        return self._stage == _OVER or self.finished

    def send(self, channel: Channel) -> Segment:
        """Write the Query."""
        self._stage = _ASKED
        return super().send(channel)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """The tag, or the error that ends the flow of data at once."""
        if isinstance(event, CommandComplete):
            if self.completed(channel, segment, event.command_tag):
                self.tag = event.command_tag
        elif isinstance(event, ErrorResponse):
            self._stage = _OVER
            segment.fail(PostgresError.of(event.fields))
            self.progress(channel)
        elif isinstance(event, CopyInResponse):
            # `copy from stdin` where data should come out.
            self._refuse("the statement is COPY FROM STDIN")
            channel.write(CopyFail("wrong direction"))
        elif isinstance(event, CopyBothResponse):
            raise unasked(event)

    def _refuse(self, reason: str) -> None:
        """It is a COPY of the other direction: it has failed, whatever the server still says."""
        self._stage = _OVER
        self.error = LocalProtocolError(reason)
        self.error.outcome = Outcome.FAILED

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: the verdict."""
        self._stage = _OVER
        error = segment.error
        if error is not None:
            error.outcome = self._verdict(segment, error)
            self.fail(channel, error)
        self.finish(channel)

    def _verdict(self, segment: Segment, error: PostgresError) -> Outcome:
        return Outcome.FAILED

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """No verdict came."""
        self._stage = _OVER
        super().lost(channel, segment, loss)


class CopyIn(_Copy):
    """Send data into a table.

    Call `feed` while `copying`, and wait while `full`; end with `end()` or `stop(reason)`; after each,
    `Engine.resume`.
    """

    __slots__ = ("_chunks", "_ended", "_reason", "_segment", "_size")

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._reason: str | None = None
        self._segment: Segment | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data; it is dropped once the COPY is over.

        Raises:
            TypeError: it is none of the types declared.
        """
        data = as_bytes(data)
        if self.over or len(data) == 0:
            return
        self._size += len(data)
        start = 0
        while len(data) - start >= 2 * _CHUNK:
            self._chunks.append(data[start : start + _CHUNK])
            start += _CHUNK
        self._chunks.append(data[start:] if start else data)

    @property
    def full(self) -> bool:
        """True while the caller should wait before it feeds more."""
        return self._size >= HIGH_WATER and not self.over

    def end(self) -> None:
        """All data was fed."""
        self._ended = True

    def stop(self, reason: BaseException | str) -> None:
        """There will be no more data: undo the COPY.

        Args:
            reason: why, for the server's log; an error of ours gets to know that nothing was stored.
        """
        self._chunks.clear()
        self._size = 0
        self._ended = True
        self._reason = _sendable(reason)
        if isinstance(reason, Error) and reason.outcome is None:
            reason.outcome = Outcome.NOT_COMMITTED

    def needs_cancel(self) -> bool:
        """Not while data may flow: CopyFail ends it."""
        return self._stage != _COPYING

    def skip_rest(self, channel: Channel) -> None:
        """The caller is gone: CopyFail."""
        self.stop("the caller has gone away")

    def produce(self, channel: Channel) -> int:
        """Write the Query, then data as it comes, then CopyDone."""
        segment = self._segment
        if self.over:
            # Given up before the server has answered: CopyInResponse may still come, and nothing may be
            # queued behind it on the wire.
            return WAITING if segment in channel.segments else SENT
        if segment is None:
            segment = self._segment = self.send(channel)
            if _FROM_STDIN.search(self.sql):
                segment.sync = NOT_YET  # nothing is stored before CopyDone
            return WAITING
        if self._stage != _COPYING:
            return WAITING
        was_full = self.full
        while self._chunks and channel.pending < HIGH_WATER:
            data = self._chunks.popleft()
            self._size -= len(data)
            channel.write(CopyData(data))
        if was_full and not self.full:
            self.progress(channel)
        if self._chunks or not self._ended:
            return WAITING
        self._stage = _OVER
        if self._reason is not None:
            channel.write(CopyFail(self._reason))
        else:
            segment.sync = channel.produced
            channel.write(CopyDone())
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """CopyInResponse opens the flow."""
        if isinstance(event, CopyInResponse) and self._stage == _ASKED:
            self._stage = _COPYING
            segment.sync = NOT_YET
            self.progress(channel)
        elif isinstance(event, CopyOutResponse):
            self._refuse("the statement is COPY TO STDOUT")
            self.progress(channel)
        else:
            super().handle(channel, segment, event)

    def _verdict(self, segment: Segment, error: PostgresError) -> Outcome:
        """Whether the error answers our CopyFail or a cancel request: nothing is stored."""
        undone = segment.plain and self.was_cancelled(error)
        return Outcome.ROLLED_BACK if undone else Outcome.FAILED

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """A statement that was no COPY at all is an error of the caller."""
        if self._stage == _ASKED and segment.error is None:
            self.error = LocalProtocolError("the statement is not COPY FROM STDIN")
            self.error.outcome = Outcome.COMMITTED
        super().segment_done(channel, segment)


def _sendable(reason: BaseException | str) -> str:
    """The reason as text that CopyFail can carry, whatever the caller's exceptions look like."""
    try:
        text = reason if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
    except BaseException:  # noqa: BLE001 - its __str__ raised; what the source raised is what matters
        text = "the source failed"
    return text.replace("\0", "")[:1000].encode("utf-8", "replace").decode()


class CopyOut(_Copy):
    """Receive a table's data: `take()` the chunks as they come, then `Engine.resume`."""

    __slots__ = ("_chunks", "_dropped", "_size")

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self._chunks: list[bytes] = []
        self._dropped = False  # nobody wanted some of them
        self._size = 0

    def produce(self, channel: Channel) -> int:
        """Write the Query."""
        self.send(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """CopyData is a chunk; the server sends whole rows."""
        if isinstance(event, CopyData):
            if self.abandoned:
                self._dropped = True
            else:  # what comes after the deadline belongs to it all the same
                self._chunks.append(event.data)
                self._size += len(event.data)
                self.progress(channel)
        elif isinstance(event, CopyOutResponse):
            self._stage = _COPYING
        else:
            super().handle(channel, segment, event)

    def take(self) -> list[bytes]:
        """The chunks that have arrived since the last call."""
        chunks = self._chunks
        self._chunks = []
        self._size = 0
        return chunks

    def has_room(self) -> bool:
        """False while the consumer has to catch up."""
        return self._size < _OUT_LIMIT or self.abandoned

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """A statement without data is an error of the caller; dropped data are one for whoever still asks."""
        if segment.error is None and self.error is None:
            if self._stage == _ASKED:
                self.error = LocalProtocolError("the statement is not COPY TO STDOUT")
                self.error.outcome = Outcome.COMMITTED
            elif self._dropped:
                idle = channel.connection.transaction_status == "I"
                self.error = self.why().error(Outcome.COMMITTED if idle else Outcome.OK_IN_TX)
        super().segment_done(channel, segment)
