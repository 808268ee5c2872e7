"""COPY in and out, in bounded memory.  Manual: "COPY Operations".

Both run as a simple Query (`CopyRecords` as an extended one), so that an error needs no Sync: the server
drops the remaining data and sends ReadyForQuery.  Both are exclusive: the caller feeds or drains them, so
nothing can be queued after them.

COPY in commits when the server receives CopyDone; until that is handed over, a lost COPY is certainly not
committed.  If the caller stops in the middle, CopyFail undoes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final

from ..errors import DataError, Error, LocalProtocolError, Outcome, PostgresError
from ..types import CopyTextEncoder, TypeMap
from ..wire import (
    Bind,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    Describe,
    ErrorResponse,
    Execute,
    Flush,
    Message,
    Parse,
    RowDescription,
    Sync,
)
from ..wire.exact import exact_str
from .answers import unasked
from .batch import rowcount
from .channel import HIGH_WATER, Channel
from .copyquery import CopyQuery
from .loss import Loss
from .operation import SENT, WAITING
from .segment import Segment
from .simple import SimpleQuery
from .sources import as_bytes
from .sql import check_sql, copies_in, leaves_no_trace
from .stale import is_outdated

__all__ = ["CopyIn", "CopyOut", "CopyRecords"]

# Larger chunks of the caller are split into pieces of this size, the last of them less than twice as large.
_CHUNK: Final = 65536

# COPY OUT stops reading above this many bytes that the consumer has not taken.
_OUT_LIMIT: Final = 4 * HIGH_WATER

_NOT_BEGUN: Final = 0
_ASKED: Final = 1
_COPYING: Final = 2
_OVER: Final = 3


class _Copy(SimpleQuery):
    """The common part of both directions: the Query, the outcome, the error."""

    __slots__ = ("_stage", "tag")

    _NO_COPY: ClassVar[str] = ""  # the error for a text without a COPY of this direction
    _UNFED: ClassVar[str] = ""  # the error for a COPY FROM STDIN that gets no data

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self.tag = ""
        self._stage = _NOT_BEGUN

    @property
    def exclusive(self) -> bool:
        """The caller feeds or drains it."""
        return True

    @property
    def rowcount(self) -> int:
        """The number of rows copied."""
        return rowcount(self.tag)

    @property
    def copying(self) -> bool:
        """True while data may flow."""
        return self._stage == _COPYING and not self.finished

    @property
    def starting(self) -> bool:
        """True until the server has accepted the COPY or refused it."""
        return self._stage < _COPYING and not self.finished

    @property
    def over(self) -> bool:
        """True once no more data will flow."""
        return self._stage == _OVER or self.finished

    def send(self, channel: Channel) -> Segment:
        """Write the Query."""
        self._stage = _ASKED
        return super().send(channel)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the command tag, or the error, which ends the flow of data."""
        if isinstance(event, CommandComplete):
            tag = event.command_tag
            if self.completed(channel, segment, tag) and tag.startswith("COPY"):
                self.tag = tag
        elif isinstance(event, ErrorResponse):
            self._stage = _OVER
            segment.fail(event.error)
            self.progress(channel)
        elif isinstance(event, CopyInResponse):
            # COPY FROM STDIN where data should come out, or a second one, for which there are no data.
            self._refuse(self._UNFED)
            segment.commit = None  # without CopyDone nothing of it is committed
            channel.write(CopyFail("wrong direction"))
        elif isinstance(event, CopyBothResponse):
            raise unasked(event)

    def _refuse(self, reason: str) -> None:
        """It is the wrong kind of COPY; its outcome is set by the server's answer."""
        self._stage = _OVER
        self.error = self.error or LocalProtocolError(reason)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: the outcome."""
        asked = self._stage == _ASKED
        self._stage = _OVER
        if self.finished:
            return  # the caller already has an outcome
        error = segment.error
        if error is None:
            outcome = self.succeeded(channel)
            if asked:
                self._refuse(self._NO_COPY)
        else:
            outcome = error.outcome = self._verdict(channel, segment, error)
        if isinstance(self.error, Error):
            self.error.outcome = outcome
        if error is not None:
            self.fail(channel, error)
        self.finish(channel)

    def _verdict(self, channel: Channel, segment: Segment, error: PostgresError) -> Outcome:
        return self.failed(channel, segment)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session ended without an answer."""
        self._stage = _OVER
        if isinstance(self.error, Error):
            # CopyDone will never be sent for a COPY FROM STDIN that was refused.
            fate = channel.fate(segment)
            self.error.outcome = Outcome.FAILED if fate is Outcome.NOT_COMMITTED else fate
        super().lost(channel, segment, loss)


class CopyIn(_Copy):
    """Send data into a table.

    Call `feed` while `copying`, and wait while `full`; end with `end()` or `stop(reason)`; after each,
    `Engine.resume`.

    Attributes:
        fed: how many bytes were fed.
    """

    __slots__ = ("_chunks", "_last", "_segment", "_size", "fed")

    _NO_COPY: ClassVar[str] = "the statement is not COPY FROM STDIN"
    _UNFED: ClassVar[str] = "there are data for one COPY FROM STDIN only"

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.fed = 0
        self._last: CopyDone | CopyFail | None = None  # ends the data; None while more may be fed
        self._segment: Segment | None = None

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Queue data; it is dropped once the COPY is over.

        Raises:
            TypeError: the data has another type.
        """
        data = as_bytes(data)
        if self.over or len(data) == 0:
            return
        self._size += len(data)
        self.fed += len(data)
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
        if self._last is None:
            self._last = CopyDone()

    def stop(self, reason: BaseException | str) -> None:
        """There will be no more data: undo the COPY.

        Args:
            reason: the reason, for the server's log; an `Error` gets its outcome.
        """
        self._chunks.clear()
        self._size = 0
        self._last = CopyFail(_sendable(reason))
        if isinstance(reason, Error) and reason.outcome is None:
            reason.outcome = Outcome.UNKNOWN if self._may_have_stored() else Outcome.NOT_COMMITTED

    def _may_have_stored(self) -> bool:
        """True if statements before the COPY in the text may already be committed."""
        segment = self._segment
        return segment is not None and not segment.plain and (self.starting or self.has_stored())

    def needs_cancel(self) -> bool:
        """False while data may flow, because CopyFail ends it."""
        return self._stage != _COPYING

    def skip_rest(self, channel: Channel) -> None:
        """The caller is gone: CopyFail."""
        self.stop("the caller has gone away")

    def produce(self, channel: Channel) -> int:
        """Write the Query, then data as it is fed, then CopyDone."""
        segment = self._segment
        if self.over:
            # Given up before the server's answer: a CopyInResponse may still come, after which it would take
            # other requests for COPY data.
            return WAITING if segment in channel.segments else SENT
        if segment is None:
            if not self.may_send(channel):
                return WAITING
            segment = self._segment = self.send(channel)
            if copies_in(self.sql):
                segment.commit = None  # the COPY is the only statement: CopyDone makes the server commit
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
        last = self._last
        if self._chunks or last is None:
            return WAITING
        self._stage = _OVER
        if isinstance(last, CopyDone):
            segment.commit = channel.produced
        channel.write(last)
        self._end_query(channel, segment)
        return SENT

    def _end_query(self, channel: Channel, segment: Segment) -> None:
        """Write nothing: a simple Query ends with its data."""

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """CopyInResponse starts the flow of data."""
        if isinstance(event, CopyInResponse) and self._stage == _ASKED:
            self._stage = _COPYING
            segment.commit = None
            self.progress(channel)
        elif isinstance(event, CopyOutResponse):
            self._refuse("the statement is COPY TO STDOUT")
            self.progress(channel)
        else:
            super().handle(channel, segment, event)

    def _verdict(self, channel: Channel, segment: Segment, error: PostgresError) -> Outcome:
        """The outcome after an error, including that of our CopyFail or a cancel request."""
        undone = segment.plain and self.was_cancelled(error)
        return Outcome.ROLLED_BACK if undone else self.failed(channel, segment)


class CopyRecords(CopyIn):
    """Send records into a table, encoded by the types of its columns.

    The types are asked for in the same transaction: the Parse locks the table, so that no migration can
    change them in between.  That needs an extended query, which after an error needs a Sync.

    Args:
        select: a SELECT of the columns.
        sql: COPY FROM STDIN of the same columns.
        where: what follows it: its WHERE.

    Attributes:
        types: the OIDs of the columns' types, once data may flow.
    """

    __slots__ = ("_altered", "_in_text", "_select", "_synced", "types")

    def __init__(self, select: str, sql: str, where: str = "") -> None:
        super().__init__(sql + where)
        self._in_text = sql.endswith("(FORMAT text)")
        self._select = check_sql(select)
        self._altered = False  # the cache knew other types
        self._synced = False
        self.types: tuple[int, ...] = ()

    def in_text(self, columns: Sequence[str], types: TypeMap) -> CopyTextEncoder | None:
        """The encoder of a COPY with FORMAT text; None for another one.

        Args:
            columns: the columns' names.
            types: the types of the session.

        Raises:
            DataError: the columns' types were altered since they were looked up.
        """
        if self._altered and any(types.known(oid) is None for oid in self.types):
            raise DataError("the types of the columns were altered: copy the records again")
        if not self._in_text:
            return None
        return CopyTextEncoder(tuple(columns), self.types, types)

    def text(self) -> str:
        """The text to which the server's error positions refer."""
        return self.sql if self.types else self._select

    def send(self, channel: Channel) -> Segment:
        """Write the Parse and Describe of the SELECT, and the COPY."""
        self._stage = _ASKED
        self.begun = True
        segment = channel.open(self)
        segment.plain = True
        if not leaves_no_trace(self.sql):
            channel.dirty = True
        channel.preamble(segment)
        channel.write(Parse("", self._select))
        channel.write(Describe("S", ""))
        channel.write(Parse("", self.sql))
        channel.write(Bind("", "", (), (), ()))
        channel.write(Execute())
        channel.write(Flush())
        return segment

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the types; after an error send the Sync that the server waits for."""
        if isinstance(event, RowDescription):
            self.types = tuple([field.type_oid for field in event.fields])
            self._altered = channel.statements.described_anew(self._select, self.types)
        elif isinstance(event, ErrorResponse) and is_outdated(event.error):
            channel.statements.types.forget()
        super().handle(channel, segment, event)
        if isinstance(event, ErrorResponse) and not self._synced:
            self._end_query(channel, segment)

    def _end_query(self, channel: Channel, segment: Segment) -> None:
        """Write Sync, which makes the server commit if CopyDone was sent before it."""
        self._synced = True
        if segment.commit is not None:
            segment.commit = channel.produced
        channel.write(Sync())


def _sendable(reason: BaseException | str) -> str:
    """The reason as a text that CopyFail can carry, even if the exception's `__str__` raises."""
    try:
        text = exact_str(reason) if isinstance(reason, str) else f"{type(reason).__name__}: {reason}"
    except BaseException:  # noqa: BLE001 - from __str__; the exception of the source itself matters more
        text = "the source failed"
    return text.replace("\0", "")[:1000].encode("utf-8", "replace").decode()


class CopyOut(_Copy):
    """Receive a table's data: `take()` what has arrived, then call `Engine.resume`.

    Args:
        sql: the COPY.
        args: the values of its query's parameters.  Then, before it is submitted, `with_values` gets the
            text that `query` makes of them.

    Attributes:
        query: the COPY with its values; None without values.
        received: how many bytes have arrived.
    """

    __slots__ = ("_chunks", "_dropped", "_shown", "_size", "query", "received")

    _NO_COPY: ClassVar[str] = "the statement is not COPY TO STDOUT"
    _UNFED: ClassVar[str] = "the statement is COPY FROM STDIN"

    def __init__(self, sql: str, args: tuple[object, ...] = ()) -> None:
        super().__init__(sql)
        self.query = CopyQuery(self.sql, args) if args else None
        self._shown = self.sql  # without the values, which may be secrets
        self.received = 0
        self._chunks: list[bytes] = []
        self._dropped = False  # chunks were dropped because nobody waited
        self._size = 0

    def with_values(self, sql: str) -> None:
        """Send this text, which has the values in it."""
        self.sql = self._sent = sql

    def text(self) -> str:
        """The text that was sent; without the values."""
        return self._sent if self.query is None else self._shown

    def statements(self) -> list[str]:
        """The caller's text."""
        return [self._shown]

    def produce(self, channel: Channel) -> int:
        """Write the Query."""
        if self.finished:
            return SENT  # its savepoint could not be set
        if not self.may_send(channel):
            return WAITING
        self.send(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Keep each CopyData as a chunk; the server sends whole rows."""
        if isinstance(event, CopyData):
            if self.abandoned:
                self._dropped = True
            else:  # also after the deadline: if the cancel request comes too late, the data are complete
                self._chunks.append(event.data)
                self._size += len(event.data)
                self.received += len(event.data)
                self.progress(channel)
        elif isinstance(event, CopyOutResponse):
            self._stage = _COPYING
        else:
            if isinstance(event, ErrorResponse) and self.query is not None:
                event.error.fields.pop("P", None)  # it is a position in the text with the values
            super().handle(channel, segment, event)

    def take(self) -> list[bytes]:
        """What has arrived since the last call: one chunk of whole messages, or none.

        The server sends a message for each row.  A chunk is what arrived in one read, or what the engine has
        read before it stopped because nobody took it.
        """
        chunks = self._chunks
        self._chunks = []
        self._size = 0
        return [b"".join(chunks)] if chunks else chunks

    def has_room(self) -> bool:
        """False while the consumer has to catch up."""
        return self._size < _OUT_LIMIT or self.abandoned

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """If data were dropped, a caller that still asks gets an error."""
        if segment.error is None and self._dropped and self.error is None:
            self.error = self.why().error(None)
        super().segment_done(channel, segment)
