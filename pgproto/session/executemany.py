"""Running one statement with many records, all or nothing, in bounded memory.

A batch has an object for each of its statements.  Here there are none: the caller feeds runs of executions
(`sources.ExecutionBuffer`) as data are fed to COPY, each run is one request, and equal answers are read as
one event.  So a million executions need the memory of a few hundred; the rows that they return are dropped.

All executions are one segment, which the server runs as one transaction; one Sync ends it, and nothing can be
queued after it.  If the caller stops in the middle, the executions must not be committed: an Execute that is
certain to fail is sent before the Sync, as CopyFail ends a COPY.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..errors import Error, Outcome
from ..protocol import CommandCompletes
from ..wire import (
    CommandComplete,
    CopyInResponse,
    CopyOutResponse,
    EmptyQueryResponse,
    ErrorResponse,
    Execute,
    Message,
    PortalSuspended,
    Sync,
)
from ..wire.binding import Executes
from . import statements as st
from .answers import refuse_copy, unasked
from .batch import as_statement, rowcount
from .channel import HIGH_WATER, TELLING_TAGS, Channel
from .loss import Loss
from .operation import SENT, WAITING
from .preparing import Preparing
from .segment import IN_ITEM, IN_PROLOGUE, Segment
from .sql import as_text, ends_transaction, may_commit
from .stale import explain, is_stale
from .statements import Statement

__all__ = ["ExecuteMany"]

# No portal has this name, so the server refuses it (34000) and rolls back the implicit transaction; a
# transaction block becomes a failed one.  The server's log will show the name.
_UNDO: Final = Execute("undo executemany: its caller stopped")

# The statement: being prepared; prepared, but to be described again; being executed; no longer executed.
_STARTING: Final = 0
_DOUBTED: Final = 1
_FED: Final = 2
_OVER: Final = 3

# The records: more may be fed; all were fed; the caller stopped, and the executions are undone.
_MORE: Final = 0
_ALL: Final = 1
_STOPPED: Final = 2


class ExecuteMany(Preparing):
    """Execute one statement once for each record.

    Call `feed` while not `over`, and wait while `full`; end with `end()` or `stop(reason)`; after each,
    `Engine.resume`.

    Args:
        sql: the statement's text.
        statement: the prepared statement, if the caller keeps it.

    Attributes:
        records: the number of records fed so far.
        rowcount: the number of rows affected so far.
    """

    __slots__ = (
        "_runs",
        "_segment",
        "_size",
        "_source",
        "_stage",
        "_tag",
        "_user",
        "records",
        "rowcount",
        "sql",
    )

    def __init__(self, sql: str, statement: Statement | None = None) -> None:
        super().__init__()
        self.sql = sql
        self.records = 0
        self.rowcount = 0
        self._user = statement
        self._runs: deque[Executes] = deque()
        self._size = 0
        self._stage = _STARTING
        self._source = _MORE
        self._segment: Segment | None = None
        self._tag = ""  # the command tag of the last execution

    @property
    def exclusive(self) -> bool:
        """The caller feeds it."""
        return True

    @staticmethod
    def of(query: object) -> ExecuteMany:
        """The operation for a statement's text, or for a prepared statement.

        Raises:
            TypeError: it is neither.
        """
        statement = as_statement(query)
        if statement is not None:
            return ExecuteMany(statement.sql, statement)
        return ExecuteMany(as_text(query, "the query"))

    def text(self) -> str:
        """The statement."""
        return self.sql

    def result(self) -> tuple[str, int, Outcome | None]:
        """The rows of all records."""
        return "", self.rowcount, None

    # ---- The caller's side

    @property
    def statement(self) -> Statement:
        """The statement, once it is prepared (`starting` is false and there is no error)."""
        assert self._user is not None
        return self._user

    @property
    def starting(self) -> bool:
        """True until the statement is prepared or refused."""
        return self._stage < _FED and not self.finished

    @property
    def over(self) -> bool:
        """True once no more records will be executed."""
        return self._stage == _OVER or self.finished

    @property
    def full(self) -> bool:
        """True while the caller should wait before it feeds more."""
        return (self._size >= HIGH_WATER or self._stage < _FED) and not self.over

    def doubt(self, *, again: bool = False) -> bool:
        """The first record does not fit: true if the statement is described again before it is refused.

        That is so unless it was described for this operation (with `again` even then): its parameters may
        have other types by now.  The operation is `full` until they are known.
        """
        if self.over or (self.fresh(self.statement) and not again):
            return False
        self._stage = _DOUBTED
        return True

    def feed(self, run: Executes) -> None:
        """Queue executions (or none: see `doubt`); they are dropped once the operation is over."""
        if not self.over and run.count:
            self.records += run.count
            self._runs.append(run)
            self._size += len(run)

    def end(self) -> None:
        """All records were fed."""
        if self._source == _MORE:
            self._source = _ALL

    def stop(self, reason: BaseException | str) -> None:
        """There will be no more records: undo the executions.

        Args:
            reason: the reason; an `Error` gets the outcome of the executions.
        """
        self._runs.clear()
        self._size = 0
        self._source = _STOPPED
        if isinstance(reason, Error) and reason.outcome is None:
            reason.outcome = self._undone()

    def _undone(self) -> Outcome:
        if self._segment is None:
            return Outcome.NOT_SENT
        return Outcome.ROLLED_BACK if self._segment.plain else Outcome.UNKNOWN

    # ---- Writing

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """End with this error, and release the statement."""
        self._end(channel, error)

    def needs_cancel(self) -> bool:
        """False while the server is idle, because the failing Execute ends it."""
        segment = self._segment
        return segment is None or segment.position < segment.last

    def skip_rest(self, channel: Channel) -> None:
        """The caller is gone."""
        self.stop("the caller has gone away")

    def produce(self, channel: Channel) -> int:
        """Prepare the statement, then write runs as they are fed, then Sync."""
        if self._stage < _FED and not self._start(channel):
            return SENT if self.finished else WAITING
        if self._runs and self._segment is None and not channel.may_open:
            return WAITING
        was_full = self.full
        while self._runs and self._stage == _FED and channel.pending < HIGH_WATER:
            self._write(channel, self._runs.popleft())
        if was_full and not self.full:
            self.progress(channel)
        if self._stage == _FED and (self._runs or self._source == _MORE):
            return WAITING
        segment = self._segment
        if segment is None:
            self._end(channel)
        elif self._source == _STOPPED and self._stage == _FED:
            # `segment.commit` stays None: after this Execute, the Sync cannot commit.
            channel.write(_UNDO)
            channel.write(Sync())
        else:
            channel.sync(segment)
        self._stage = _OVER
        return SENT

    def _start(self, channel: Channel) -> bool:
        """Prepare the statement; true once it is prepared."""
        if self.preparing:
            self.go_on_preparing(channel)
            return False
        if self.blocked is not None:
            self.blocked.outcome = Outcome.SKIPPED
            self._end(channel, self.blocked)
            return False
        if self.rejected:
            self._end(channel, self.rejected[self.sql])
            return False
        if self._stage == _DOUBTED:
            self._stage = _STARTING
            self.release(channel)
            channel.statements.forget(self.statement)
        channel.statements.refresh()
        statement = self._user
        if statement is None or not (statement.kept or statement.state in (st.PREPARING, st.READY)):
            self.release(channel)
            self._user = statement = channel.statements.get(self.sql)
            self.hold(statement)
        if statement.home is not None and statement.home is not channel.statements.mark:
            self.withdraw(channel, channel.statements.unusable(statement))
        elif statement.state == st.NEW:
            self.send_prepare(channel, [statement])
        elif statement.state == st.READY and not channel.statements.waits(statement):
            self._stage = _FED
            self.progress(channel)
        elif statement.state == st.DROPPED:
            self.withdraw(channel, channel.statements.unusable(statement))
        return self._stage == _FED

    def _write(self, channel: Channel, run: Executes) -> None:
        self._size -= len(run)
        statement = self.statement
        segment = self._segment
        if segment is None:
            self.begun = True
            segment = self._segment = channel.open(self)
            channel.preamble(segment)
            segment.plain = statement.plain
            self.declare(channel, statement)
        if not statement.traceless:
            channel.dirty = True
        segment.last += run.count
        channel.write(run)

    # ---- Reading

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Count executions, or take the error that ends them."""
        if segment.preparing:
            self.handle_prepare(channel, segment, event)
        elif isinstance(event, CommandCompletes):
            segment.position += event.count
            self.rowcount += event.count * rowcount(event.command_tag)
            self._tag = event.command_tag
            if event.command_tag in TELLING_TAGS:
                channel.told(self, event.command_tag, self.sql)
        elif isinstance(event, CommandComplete) and segment.prologue:
            segment.prologue -= 1
        elif isinstance(event, EmptyQueryResponse):
            segment.position += 1
        elif isinstance(event, ErrorResponse):
            self._failed(channel, segment, event)
        elif isinstance(event, (CopyInResponse, CopyOutResponse)):
            refusal = refuse_copy(channel, segment, event)
            if refusal is None:
                self._close()
            self.error = self.error or refusal
        elif isinstance(event, (CommandComplete, PortalSuspended)):
            raise unasked(event)

    def _failed(self, channel: Channel, segment: Segment, event: ErrorResponse) -> None:
        error = event.error
        self._close()
        self.progress(channel)
        if isinstance(event.request, Execute) and not segment.prologue:  # the expected failure of _UNDO
            error.outcome = outcome = self._undone()
            self.error = error if self.stopped is None else self.stopped.error(outcome)
            return
        segment.fail(error)
        statement: Statement | None = None
        if segment.failed == IN_ITEM:
            if not error.fatal:  # a FATAL is not about this record
                error.add_note(f"in record {segment.failed_item + 1}")
            statement = self.statement
            segment.stale = is_stale(error, event) or channel.statements.refused(statement, error, event)
        self.refused(channel, statement, stale=segment.stale)

    def _close(self) -> None:
        """The server executes no more."""
        self._stage = _OVER
        self._runs.clear()
        self._size = 0

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """See `Operation.ends_block`."""
        return ends_transaction(self.sql, [self._tag])

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: the outcome."""
        if segment.preparing:
            self.prepare_done(channel, segment)
            if self.unwanted:  # stopped before its turn
                self._end(channel, self.why().error(Outcome.NOT_SENT))
            return
        if segment.error is not None:
            undone = segment.plain and self.was_cancelled(segment.error)
            segment.error.outcome = Outcome.ROLLED_BACK if undone else _verdict(segment, self.sql)
            if segment.stale:
                # It cannot run again: its records may have come from an iterator.
                cleared = channel.statements.was_cleared(self.statement)
                channel.statements.forget_all()
                in_block = channel.in_block(segment)
                explain(segment.error, in_block=in_block, again=False, cleared=cleared)
        if isinstance(self.error, Error) and self.error.outcome is None:  # the data of a COPY were dropped
            idle = channel.connection.transaction_status == "I"
            done = Outcome.COMMITTED if idle else Outcome.OK_IN_TX
            self.error.outcome = done if segment.error is None else segment.error.outcome
        self._end(channel, segment.error)

    # ---- The end

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session ended without an answer."""
        if isinstance(self.error, Error) and self.error.outcome is None:
            self.error = None  # the outcome of the executions matters more than dropped data
        own = self._segment
        if own is None:
            self._end(channel, loss.error(Outcome.NOT_SENT))
            return
        outcome = channel.fate(own)
        error = own.error
        if error is None or not own.decided(outcome):
            executed = own.commit is not None and own.position == own.last
            self._end(channel, loss.error(outcome, executed=executed))
        elif error.fatal:
            self._end(channel, loss.error(_verdict(own, self.sql)))
        else:
            error.outcome = _verdict(own, self.sql)
            self._end(channel, error)

    def _end(self, channel: Channel, error: BaseException | None = None) -> None:
        self._close()
        self.release(channel)
        if error is not None:
            self.fail(channel, error)
        self.finish(channel)
        channel.statements.trim()


def _verdict(segment: Segment, sql: str) -> Outcome:
    """The outcome of all executions, after the server has refused one of them."""
    if segment.failed == IN_PROLOGUE:
        return Outcome.SKIPPED
    if segment.plain:
        return Outcome.FAILED
    if may_commit(sql):
        return Outcome.FAILED if segment.in_transaction else Outcome.UNKNOWN
    # If the statement ends transactions, earlier executions may have been committed.
    return Outcome.FAILED if segment.failed_item == segment.first else Outcome.UNKNOWN
