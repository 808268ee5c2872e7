"""The common base of scripts and COPY: one simple Query of any number of statements.

Manual: "Simple Query".  The server runs the statements as one transaction, unless they contain transaction
control.  So the command tags of the completed statements tell the outcome of all, by the rules in this file.
"""

from __future__ import annotations

from typing import Final

from ..errors import Outcome
from ..wire import CommandComplete, ErrorResponse, Message
from .answers import refuse_to_feed
from .batch import rowcount
from .channel import TELLING_TAGS, Channel
from .loss import Loss
from .operation import Operation
from .segment import Segment
from .sql import check_sql, ends_transaction, is_plain, leaves_no_trace, may_commit

__all__ = ["Opening", "SimpleQuery"]

_ENDING: Final = frozenset(("COMMIT", "PREPARE TRANSACTION", "ROLLBACK"))


class SimpleQuery(Operation):
    """Send a text as one simple Query.

    Attributes:
        sql: the text.
        tags: the command tags of its completed statements, in order; "" for an empty query.
    """

    __slots__ = ("_sent", "sql", "tags")

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.sql = sql = check_sql(sql)
        self._sent = sql  # including BEGIN or SAVEPOINT: the server's error positions refer to it
        self.tags: list[str] = []

    def text(self) -> str:
        """The text that was sent."""
        return self._sent

    def statements(self) -> list[str]:
        """The caller's text."""
        return [self.sql]

    def result(self) -> tuple[str, int, Outcome | None]:
        """Its last tag, and the rows of all."""
        return (self.tags[-1] if self.tags else ""), sum([rowcount(tag) for tag in self.tags]), None

    def may_send(self, channel: Channel) -> bool:
        """True if the Query may be written now; a SAVEPOINT that is due is sent and answered first.

        If it were in the same string and that could not be parsed, the SAVEPOINT would not be set, and the
        error would abort the surrounding transaction.
        """
        if channel.savepoint_due(self):
            Opening(self).send(channel)
        return channel.may_open

    def send(self, channel: Channel) -> Segment:
        """Write the Query."""
        segment = channel.open(self)
        # Only the first statement is looked at, so a text of several is never plain.
        segment.plain = is_plain(self.sql) and ";" not in self.sql.rstrip().rstrip(";")
        if not leaves_no_trace(self.sql):
            channel.dirty = True
        self._sent = channel.simple_query(segment, self.sql)
        self.begun = True
        return segment

    def completed(self, channel: Channel, segment: Segment, tag: str) -> bool:
        """A statement has completed; false if it is the BEGIN or SAVEPOINT before the text."""
        if segment.prologue:
            segment.prologue -= 1
            return False
        self.tags.append(tag)
        if tag in TELLING_TAGS:
            channel.told(self, tag, self.sql, len(self.tags) - 1)
        return True

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """See `Operation.ends_block`."""
        escapes = channel.connection.parameters.get("standard_conforming_strings") == "off"
        return ends_transaction(self.sql, self.tags, escapes=escapes)

    def has_stored(self) -> bool:
        """True if the effects of a completed statement are committed, or prepared (two-phase)."""
        return "COMMIT" in self.tags or "PREPARE TRANSACTION" in self.tags

    def failed(self, channel: Channel, segment: Segment) -> Outcome:
        """The outcome of the whole text after a statement has failed; UNKNOWN if a part may be committed.

        A procedure can only commit if it is alone: the server runs several statements as one block.
        """
        if self.has_stored():
            return Outcome.UNKNOWN
        in_block = segment.in_transaction or channel.status_before != "I"
        alone = not (self.tags or in_block)
        return Outcome.UNKNOWN if alone and may_commit(self.sql) else Outcome.FAILED

    def succeeded(self, channel: Channel) -> Outcome:
        """The outcome after every statement has completed; UNKNOWN if it is not the same for all."""
        ends = [tag for tag in self.tags if tag in _ENDING]
        idle = channel.connection.transaction_status == "I"
        if not ends:
            return Outcome.COMMITTED if idle else Outcome.OK_IN_TX
        return Outcome.COMMITTED if idle and set(ends) == {"COMMIT"} else Outcome.UNKNOWN

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session ended without an answer."""
        self.lost_query(channel, segment, loss, executed=bool(self.tags))


class Opening(Operation):
    """The BEGIN and SAVEPOINTs for a simple Query, in a segment of their own.  It has no caller.

    Args:
        opens_for: the operation that is not sent if this fails.
    """

    __slots__ = ("_opens_for",)

    def __init__(self, opens_for: Operation) -> None:
        super().__init__()
        self._opens_for = opens_for
        self.transaction = opens_for.transaction
        self.finished = True

    def send(self, channel: Channel) -> None:
        """Write the statements."""
        segment = channel.open(self)
        channel.preamble(segment)
        channel.sync(segment)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Count completed statements, or keep the error."""
        if isinstance(event, CommandComplete):
            segment.prologue -= 1
        elif isinstance(event, ErrorResponse):
            segment.fail(event.error)
        else:
            refuse_to_feed(event)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """If it has failed, so has the operation that it was for, unless that has ended."""
        error = segment.error
        if error is not None and not self._opens_for.finished:
            error.outcome = Outcome.SKIPPED
            self._opens_for.fail(channel, error)
