"""Parsing and describing statements: the first part of a Prepare and of every Execution.

The messages are Parse and Describe for each statement, then one Sync (or one after each, to isolate errors).
An error belongs to the first statement of the segment that is not described yet; the statements after it were
skipped.
"""

from __future__ import annotations

from typing import Final

from ..errors import Error, Outcome, PostgresError
from ..wire import (
    CommandComplete,
    Describe,
    ErrorResponse,
    Message,
    NoData,
    ParameterDescription,
    Parse,
    RowDescription,
)
from . import statements as st
from .channel import Channel
from .loss import Loss
from .operation import SENT, WAITING, Operation
from .segment import IN_ITEM, IN_PROLOGUE, Segment
from .stale import NAME_TAKEN, explain
from .statements import Statement

__all__ = ["MAX_HEALS", "Prepare", "Preparing", "Resolve"]

# A migration alters tables several times, and each time can be between a description and its Bind.
MAX_HEALS: Final = 5


class Preparing(Operation):
    """An operation that prepares statements.

    Attributes:
        rejected: the error for each SQL text that the server refused or that cannot be sent.
        blocked: the error that kept all statements from being tried (BEGIN failed).
        heals: how many times it has prepared outdated statements again.
    """

    __slots__ = (
        "_declared",
        "_described",
        "_held",
        "_to_prepare",
        "_written",
        "blocked",
        "heals",
        "isolate",
        "rejected",
    )

    def __init__(self) -> None:
        super().__init__()
        self.rejected: dict[str, Error] = {}
        self.blocked: PostgresError | None = None
        self.isolate = False
        self.heals = 0
        self._declared: list[Statement] | None = None  # statements that its executions have named; rare
        self._held: list[Statement] = []
        self._to_prepare: list[Statement] = []
        self._described = 0
        self._written = 0

    @property
    def preparing(self) -> bool:
        """True while answers are outstanding."""
        return self._described < len(self._to_prepare)

    def hold(self, statement: Statement) -> None:
        """Hold a statement: while it is held, its name is not closed."""
        self._held.append(statement)
        statement.users += 1

    def release(self, channel: Channel) -> None:
        """Release all statements that it holds."""
        for statement in self._held:
            channel.statements.release(statement)
        self._held.clear()

    def fresh(self, statement: Statement) -> bool:
        """True if it was described for this operation, and not earlier."""
        return any(each is statement for each in self._to_prepare)

    def send_prepare(self, channel: Channel, new: list[Statement]) -> None:
        """Write Parse and Describe for NEW statements; `go_on_preparing` continues if it cannot write all."""
        for statement in new:
            statement.state = st.PREPARING
        self._to_prepare.extend(new)
        self.go_on_preparing(channel)

    def go_on_preparing(self, channel: Channel) -> None:
        """Write Parse and Describe for waiting statements, as far as that is possible now."""
        end = len(self._to_prepare)
        while self._written < end and channel.may_open:
            segment = channel.open(self, self._written)
            segment.preparing = True
            channel.preamble(segment)
            self._written = segment.last = self._written + 1 if self.isolate else end
            for statement in self._to_prepare[segment.first : segment.last]:
                statement.home = channel.statements.mark
                if statement.kept and statement.name:
                    channel.statements.kept[statement.name] = statement
                name = statement.name if channel.statements.direct else ""
                statement.declared = bool(name)
                channel.write(Parse(name, statement.sql))
                channel.write(Describe("S", name))
            channel.sync(segment)

    def declare(self, channel: Channel, statement: Statement) -> None:
        """Write the statement's Parse before its first Bind in this segment, unless the server has it."""
        if statement.declared:
            return
        channel.write(Parse(statement.name, statement.sql, statement.parameter_types))
        if statement.name:
            statement.declared = True
            if self._declared is None:
                self._declared = []
            self._declared.append(statement)

    def refused(self, channel: Channel, statement: Statement | None, *, stale: bool) -> None:
        """A segment has failed, possibly at this statement: its next user prepares it again.

        The same goes for the statements named in this segment: the server may have skipped their Parse.
        """
        statements = channel.statements
        if stale and not statements.direct:
            statements.forget_all()
        if self._declared is not None:
            for each in self._declared:
                statements.forget(each)
            self._declared = None
        if statement is not None:
            statements.drop(statement)

    def forget_unwritten(self, channel: Channel) -> None:
        """Drop the statements whose Parse was not written; they are no longer needed."""
        for statement in self._to_prepare[self._written :]:
            statement.state = st.NEW  # the server does not have it
            channel.statements.drop(statement)
        del self._to_prepare[self._written :]

    def handle_prepare(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take an event of a segment that prepares."""
        if isinstance(event, ErrorResponse):
            segment.position = self._described
            segment.fail(event.error)
        elif segment.prologue:
            if isinstance(event, CommandComplete):
                segment.prologue -= 1
        elif isinstance(event, ParameterDescription):
            self._to_prepare[self._described].parameters_described(tuple(event.parameter_types))
        elif isinstance(event, (RowDescription, NoData)):
            statement = self._to_prepare[self._described]
            fields = tuple(event.fields) if isinstance(event, RowDescription) else ()
            channel.statements.described(statement, fields)
            statement.state = st.READY
            self._described += 1

    def prepare_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery of a segment that prepares: statements that are not described have failed."""
        error = segment.error
        if error is None:
            return
        error.outcome = Outcome.FAILED
        if segment.failed == IN_PROLOGUE:
            self.blocked = error
            self.forget_unwritten(channel)
        elif error.sqlstate == NAME_TAKEN and self.heals < MAX_HEALS and not channel.in_block(segment):
            self.heals += 1
            segment.stale = True
            for statement in self._to_prepare[self._described : segment.last]:
                # The name belongs to others, so do not close it; the statements get new names later.
                statement.declared = False
        elif segment.failed == IN_ITEM:
            if error.sqlstate == NAME_TAKEN:
                explain(error, in_block=channel.in_block(segment), again=False)
            self.rejected[self._to_prepare[segment.failed_item].sql] = error
        for statement in self._to_prepare[self._described : segment.last]:
            # The server may have the name (Parse succeeded, Describe failed), so it is closed.
            channel.statements.drop(statement)
        self._described = segment.last


class Prepare(Preparing):
    """Prepare one statement under a name of its own, for the caller to keep."""

    __slots__ = ("statement",)

    def __init__(self, statement: Statement) -> None:
        super().__init__()
        self.statement = statement

    def text(self) -> str:
        """The statement."""
        return self.statement.sql

    def produce(self, channel: Channel) -> int:
        """Write Parse, Describe and Sync."""
        self.begun = True
        self.send_prepare(channel, [self.statement])
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the description."""
        self.handle_prepare(channel, segment, event)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """Succeeded if nothing was refused."""
        self.prepare_done(channel, segment)
        if segment.stale and not self.unwanted and channel.may_repeat(segment):
            self.statement.rename(channel.statements.new_name())
            self.begun = False
            self.again = True
            return
        if segment.error is not None:
            self.fail(channel, segment.error)
        self.finish(channel)


class Resolve(Preparing):
    """Find the types of a statement, and run nothing; if they are known, nothing is sent.

    Args:
        sql: its text.  The cache has the statement afterwards.

    Attributes:
        statement: the statement, once it has succeeded.
    """

    __slots__ = ("sql", "statement")

    def __init__(self, sql: str) -> None:
        super().__init__()
        self.sql = sql
        self.statement: Statement | None = None

    @property
    def result_types(self) -> tuple[int, ...]:
        """The OIDs of its columns' types, once it has succeeded."""
        return () if self.statement is None else self.statement.result_types

    def text(self) -> str:
        """The statement."""
        return self.sql

    def produce(self, channel: Channel) -> int:
        """Write Parse, Describe and Sync, unless the cache has the statement."""
        if self.preparing:
            self.go_on_preparing(channel)
            return WAITING
        if self.blocked is not None or self.rejected:
            self._end(channel, self.blocked or self.rejected[self.sql])
            return SENT
        statements = channel.statements
        statement = self.statement
        if statement is None or statement.state == st.DROPPED or statement.leaving:
            self.release(channel)
            self.statement = statement = statements.get(self.sql)
            self.hold(statement)
        if statement.state == st.READY and not statements.waits(statement):
            self._end(channel)
            return SENT
        if statement.state == st.NEW:
            self.send_prepare(channel, [statement])
        return WAITING

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the description."""
        self.handle_prepare(channel, segment, event)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """It is described, or was refused."""
        self.prepare_done(channel, segment)
        if self.unwanted:
            self._end(channel, self.why().error(Outcome.NOT_SENT))

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """End with this error, and release the statement."""
        self._end(channel, error)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session ended without an answer: nothing was to be executed."""
        self._end(channel, loss.error(Outcome.NOT_SENT))

    def _end(self, channel: Channel, error: BaseException | None = None) -> None:
        self.release(channel)
        if error is not None:
            self.fail(channel, error)
        self.finish(channel)
        channel.statements.trim()
