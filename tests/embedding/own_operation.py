"""An operation of one's own: a query whose SQL and parameters are bytes, and whose rows are given raw.

It is what a driver with types of its own, or for another client_encoding, is built on.  It works in the
compiled build too: `Operation` may be subclassed by interpreted code.
"""

from __future__ import annotations

from collections.abc import Sequence

from pgproto import Outcome, PostgresError
from pgproto.protocol import DataRows
from pgproto.session import SENT, WAITING, Channel, Operation, Segment
from pgproto.wire import (
    Bind,
    CommandComplete,
    Describe,
    ErrorResponse,
    Execute,
    Message,
    Parse,
    RowDescription,
)


class RawQuery(Operation):
    """One statement, by the extended protocol; parameters and results are text in the session's encoding."""

    def __init__(self, sql: bytes, parameters: Sequence[bytes | None] = ()) -> None:
        super().__init__()
        self.sql = sql
        self.parameters = parameters
        self.columns: list[bytes] = []
        self.rows: list[list[bytes | None]] = []
        self.tag = ""

    def produce(self, channel: Channel) -> int:
        """Write all of it as one segment, when it is its turn."""
        if not channel.may_open:
            return WAITING
        segment = channel.open(self)
        channel.preamble(segment)  # a BEGIN that is due goes in front
        channel.write(Parse("", self.sql))
        channel.write(Bind("", "", (), self.parameters, ()))
        channel.write(Describe("P", ""))
        channel.write(Execute())
        channel.sync(segment)
        self.begun = True
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take what the server answers."""
        if isinstance(event, DataRows):
            self.rows += event.values()
        elif isinstance(event, RowDescription):
            self.columns = [field.raw_name for field in event.fields]
        elif isinstance(event, CommandComplete):
            if segment.prologue:
                segment.prologue -= 1  # that of the BEGIN
            else:
                self.tag = event.command_tag
        elif isinstance(event, ErrorResponse):
            segment.fail(PostgresError.of(event.fields))

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: it has ended, and what became of it is certain."""
        if segment.error is not None:
            segment.error.outcome = Outcome.FAILED
            self.error = segment.error
        self.finish(channel)

    def text(self) -> str:
        """For `Error.query`."""
        return self.sql.decode(errors="backslashreplace")
