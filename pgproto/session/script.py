"""Simple queries: scripts of several statements, and the session's reset script.

Manual: "Simple Query".  The server runs the script as one transaction unless it contains transaction
control, and sends every value as text: so the rows of a script are strings, except those fetched from a
BINARY cursor.
"""

from __future__ import annotations

from ..errors import Error, LocalProtocolError, RemoteProtocolError
from ..protocol import DataRows
from ..types import Column, Row, RowDecoder
from ..wire import (
    CommandComplete,
    CopyBothResponse,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    EmptyQueryResponse,
    ErrorResponse,
    Message,
    RowDescription,
)
from .answers import refuse_copy, unasked
from .batch import rowcount
from .channel import Channel
from .loss import Loss
from .operation import SENT, WAITING
from .segment import Segment
from .simple import SimpleQuery
from .sql import NO_DATA, check_no_copy_in
from .statements import NO_ROWS, undecodable

__all__ = ["Reset", "Script", "ScriptResult"]


class ScriptResult:
    """The result of one statement of a script.

    Attributes:
        decoder: the decoder of its rows.
        rows: its rows; every value is a str or None, except those of a FETCH from a BINARY cursor.
        tag: its command tag.
    """

    __slots__ = ("decoder", "rows", "tag")

    def __init__(self, decoder: RowDecoder, rows: list[Row], tag: str) -> None:
        self.decoder = decoder
        self.rows = rows
        self.tag = tag

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""
        return self.decoder.columns

    @property
    def description(self) -> tuple[Column, ...]:
        """Its columns, with their types."""
        return self.decoder.description

    @property
    def rowcount(self) -> int:
        """The number of rows in the command tag."""
        return rowcount(self.tag)

    def __repr__(self) -> str:
        return f"<ScriptResult {self.tag!r}, {len(self.rows)} rows>"


class Script(SimpleQuery):
    """Run a script as one simple Query.

    Attributes:
        results: one for every completed statement, including those before an error.

    Raises:
        LocalProtocolError: no message can carry the text, or a statement of it is COPY FROM STDIN.
    """

    __slots__ = ("_decoder", "_rows", "results")

    def __init__(self, sql: str) -> None:
        super().__init__(sql)
        check_no_copy_in(self.sql)
        self.results: list[ScriptResult] = []
        self._decoder: RowDecoder | None = None
        self._rows: list[Row] = []

    def produce(self, channel: Channel) -> int:
        """Write the Query."""
        if self.finished:
            return SENT  # its SAVEPOINT failed
        if not self.may_send(channel):
            return WAITING
        self.send(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Collect results."""
        if isinstance(event, RowDescription):
            self._decoder = RowDecoder(
                event.fields, [field.format for field in event.fields], channel.statements.types
            )
        elif isinstance(event, DataRows):
            if self._decoder is not None and not self.abandoned:
                try:
                    self._rows += self._decoder.decode(event.buffer, event.start, event.end, len(self._rows))
                except RemoteProtocolError:
                    raise
                except Exception as error:  # noqa: BLE001 - as for every execution
                    self.error = self.error or undecodable(error)
        elif isinstance(event, CommandComplete):
            self._result(channel, segment, event.command_tag)
        elif isinstance(event, EmptyQueryResponse):
            self._result(channel, segment, "")
        elif isinstance(event, ErrorResponse):
            segment.fail(event.error)
        elif isinstance(event, CopyInResponse):
            channel.write(CopyFail(NO_DATA))
        elif isinstance(event, CopyOutResponse):
            self.error = self.error or refuse_copy(channel, segment, event)
        elif isinstance(event, CopyBothResponse):
            raise unasked(event)

    def _result(self, channel: Channel, segment: Segment, tag: str) -> None:
        if not self.completed(channel, segment, tag):
            return
        self.results.append(ScriptResult(self._decoder or NO_ROWS, self._rows, tag))
        self._decoder = None
        self._rows = []

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: the script has ended."""
        if self.finished:
            return  # the caller already has an outcome
        error = segment.error
        if error is not None:
            error.outcome = self.failed(channel, segment)
            self.error = error
        elif isinstance(self.error, Error):
            self.error.outcome = self.succeeded(channel)
        self.finish(channel)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session ended without an answer."""
        self.error = None  # the script's outcome matters more than its rows
        super().lost(channel, segment, loss)


class Reset(Script):
    """Bring the session back to its initial state (`DISCARD ALL`, unless told otherwise).

    The session stays marked as dirty: only the pool knows whether the script and `on_connect` have restored
    the initial state, and then calls `forget_traces`.
    """

    __slots__ = ()

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """Fail if a script of the caller has left a transaction open."""
        if segment.error is None and channel.connection.transaction_status != "I":
            self.fail(channel, LocalProtocolError("the reset script left a transaction open"))
        super().segment_done(channel, segment)
