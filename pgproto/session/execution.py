"""Running statements: one, or a batch of any size, through the extended query protocol.

A single query is a batch of one item.  The steps:

    prepare   Parse and Describe for every text that is not in the cache.  Sent before the operation's turn
              where that is safe, so that a hundred callers with new statements share two round trips.
    encode    all values of all items.  A value that does not fit, or whose code raises, ends the operation
              here: nothing that could be executed has been sent.
    execute   Bind and Execute for every item; a Sync at the end, or after each if errors isolate.
              Written as the transport takes it, never more than HIGH_WATER ahead.  A FETCH or an EXECUTE is
              described again right before its Bind, because its columns depend on what the name means then.

Only ReadyForQuery makes an item COMMITTED; CommandComplete does not.  Where items of a segment end
differently (an error, a transaction block, a ROLLBACK), the `Ledger` finds the outcome of each.

Encoding runs the caller's code (a tzinfo, a mapping, a subclass of int), possibly while answers for another
caller are being read.  So its exception ends only this operation and is raised in its own caller: an
Exception as the `__cause__` of the item's DataError; any other BaseException (KeyboardInterrupt, a
cancellation) unchanged, and then no item was sent.  The caller's code may also close the connection or
abandon the operation, so `finished` is checked after it.
"""

from __future__ import annotations

from typing import Final

from ..errors import DataError, Error, LocalProtocolError, Outcome, PostgresError, RemoteProtocolError
from ..protocol import CommandCompletes, DataRows
from ..wire import (
    CommandComplete,
    CopyInResponse,
    CopyOutResponse,
    Describe,
    EmptyQueryResponse,
    ErrorResponse,
    FieldDescription,
    Flush,
    Message,
    NoData,
    PortalSuspended,
    RowDescription,
)
from ..wire.binding import BindTemplate, Executes
from . import statements as st
from .advice import annotate, place, unfit_error
from .answers import refuse_copy, unasked
from .batch import QueuedQuery, error_of_all, refuse
from .channel import HIGH_WATER, TELLING_TAGS, Channel
from .doubts import Doubts
from .ledger import Ledger
from .loss import Loss
from .operation import GONE, MORE, SENT, WAITING
from .preparing import MAX_HEALS, Preparing
from .segment import IN_ITEM, Segment
from .sql import ends_transaction
from .stale import NO_SUCH_NAME, explain, is_outdated, is_stale
from .statements import Statement, StatementCache

__all__ = ["Execution"]

# Outcomes that the loss of the session does not change.
_DONE: Final = (Outcome.COMMITTED, Outcome.OK_IN_TX, Outcome.PREPARED)
_UNREADY: Final = (st.NEW, st.PREPARING)
# The state of the next item, if its statement is described before each run.
NOT_DESCRIBED: Final = 0
DESCRIBING: Final = 1  # Describe was sent
DESCRIBED: Final = 2
OTHER_COLUMNS: Final = "the statement returns other columns now than when it was described: run it again"


class Execution(Preparing):
    """Run items: statements with values.

    Args:
        items: the statements, in order.
        atomic: True for one Sync at the end, False for a Sync after each item.
    """

    __slots__ = (
        "_ahead",
        "_doubts",
        "_encoded",
        "_late",
        "_ledger",
        "_next",
        "_own",
        "_segment",
        "atomic",
        "items",
    )

    def __init__(self, items: list[QueuedQuery], *, atomic: bool = True) -> None:
        super().__init__()
        self.items = items
        self.atomic = atomic
        self.isolate = not atomic
        self._ahead = False
        self._doubts: Doubts | None = None
        self._encoded = False
        self._next = 0  # the next item to write
        self._own = False  # `statement_of` finds its statements, and not the cache alone
        self._segment: Segment | None = None  # the segment that is being written
        self._late = NOT_DESCRIBED
        self._ledger: Ledger | None = None  # None while every segment was plain and without an error

    def turned_away(self, error: BaseException) -> None:
        """Label the items: the operation was never queued."""
        super().turned_away(error)
        refuse(self.items, error)

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """Label the items: the operation will not be sent."""
        refuse(self.items, error)
        self.error = error
        self._end(channel)

    # ---- Writing

    def prepare(self, channel: Channel) -> None:
        """Prepare new statements before the operation's turn.

        Not while a transaction block may be open: a failing Parse would abort that transaction.
        """
        statements = channel.statements
        if not (statements.named and channel.pipelining and self.transaction is None):
            return
        # `between` is asked last, because it looks at everything in flight.
        if any(statements.is_new(item.sql, item.statement) for item in self.items) and channel.between:
            self._ahead = True
            self._acquire(channel)

    def produce(self, channel: Channel) -> int:
        """Prepare, encode, and write items up to the high-water mark."""
        while not self._encoded:
            if not self._statements_ready(channel):
                return WAITING
            self._refuse()
            if not self._encode(channel):
                continue
            if self.finished:
                return GONE
            if self.error is not None or all(item.outcome is not None for item in self.items):
                self._end(channel)
                return SENT
        items = self.items
        while self._next < len(items):
            if self._late == DESCRIBING:
                return WAITING
            if channel.pending >= HIGH_WATER:
                return MORE
            if self._segment is None and not channel.may_open:
                return WAITING
            self._write_next(channel)
        if self._segment is not None:
            channel.sync(self._segment)
            self._segment = None
        elif not channel.awaits(self):
            self._end(channel)  # the last items were never written, and all others are answered
        return SENT

    def half_written(self) -> bool:
        """True if a part of a segment was written, which a Sync would commit."""
        segment = self._segment
        return segment is not None and self._next > segment.first

    def needs_cancel(self) -> bool:
        """False while the server is idle, because it waits for the Bind after a Describe."""
        return self._segment is None or self.half_written()

    def skip_rest(self, channel: Channel) -> None:
        """Nobody waits any more: write no further items."""
        self.forget_unwritten(channel)
        loss = self.why()
        for item in self.items[self._next :]:
            if item.outcome is None:
                item.outcome = Outcome.NOT_SENT
                item.error = loss.error(Outcome.NOT_SENT)
                self.error = self.error or item.error
        if self._segment is not None:  # only a Describe was written in it
            self._segment.last = self._next
        self._late = NOT_DESCRIBED
        self._next = len(self.items)  # the answers to the items in flight end the operation
        if not channel.awaits(self):
            self._end(channel)  # they are all answered, even before the transport has taken everything

    def _statements_ready(self, channel: Channel) -> bool:
        if self.preparing:
            self.go_on_preparing(channel)
            return False
        if self._ahead and self.rejected:
            # A Parse that was refused before its turn may succeed after the statements that ran since.
            self._ahead = False
            self.rejected.clear()
        if self.atomic and self.rejected:
            return True
        self._acquire(channel)
        for unresolved, _ in channel.statements.unresolved:
            if any(item.statement is unresolved for item in self.items):
                return False
        return all(statement.state != st.PREPARING for statement in self._held)

    def _acquire(self, channel: Channel) -> None:
        """Find the statement of every item, and prepare those that are new."""
        if self.blocked is not None:
            return
        new: list[Statement] = []
        try:
            self._look_up(channel.statements, new)
            if new and not (self.atomic and self.rejected):
                wanted, new = new, []
                self.send_prepare(channel, wanted)
        finally:
            for statement in new:
                statement.state = st.NEW  # not prepared here after all; other users would wait for it

    def _look_up(self, cache: StatementCache, new: list[Statement]) -> None:
        """Find the statement of every item; append those to prepare to `new`."""
        cache.refresh()
        previous: Statement | None = None
        for item in self.items:
            statement = item.statement
            if statement is not None and (
                statement.kept or not (statement.leaving or statement.state == st.DROPPED)
            ):
                if statement.renewed and statement.home is cache.mark and statement.state in _UNREADY:
                    self._use(statement, new)
                continue
            if previous is not None and item.sql == previous.sql and not previous.late:
                item.statement = previous  # most long batches have a single text
                continue
            if item.sql in self.rejected:
                continue
            try:
                statement = self.statement_of(cache, item.sql) if self._own else cache.get(item.sql)
            except LocalProtocolError as error:
                self.rejected[item.sql] = error
                continue
            item.statement = previous = statement
            self._use(statement, new)

    def statement_of(self, cache: StatementCache, sql: str) -> Statement:
        """The statement for a text if the cache alone does not find it: one for this run."""
        return Statement(sql, "", types=cache.types)

    def _use(self, statement: Statement, new: list[Statement]) -> None:
        self.hold(statement)
        if statement.state == st.NEW:
            statement.state = st.PREPARING
            new.append(statement)

    def _refuse(self) -> None:
        """End the items whose statements could not be prepared; an atomic batch ends as a whole."""
        if not self.rejected and self.blocked is None:
            return
        for index, item in enumerate(self.items):
            error = self.blocked or self.rejected.get(item.sql)
            if error is not None and item.outcome is None:
                if error is not self.blocked and error.query is None:
                    if len(self.items) > 1:
                        error.add_note(place(index, "prepare"))
                    annotate(error, item.sql)
                item.error = error
                item.outcome = Outcome.SKIPPED if self.blocked is not None else error.outcome
                self._stop_atomic(error)

    def _encode(self, channel: Channel) -> bool:
        """Encode all values; a value that does not fit ends its item, and an atomic batch as a whole.

        But if the statement was described earlier, its parameters may have other types by now (a column was
        altered; pgx #2442).  Then it is described again, and all values are encoded again.

        Returns:
            False if it starts over in this way.
        """
        self._encoded = True
        home = channel.statements
        doubted: list[Statement] | None = None  # usually none
        doubts = self._doubts
        for index, item in enumerate(self.items):
            statement = item.statement
            if item.outcome is not None or statement is None:
                continue
            try:
                if statement.state != st.READY or statement.home is not home.mark:
                    raise home.unusable(statement)
                if doubts is not None:
                    doubts.settle(index, statement)
                item.prepared(statement)
                parts: list[bytes] = []
                statement.encoder.add(parts, item.args)
                item.parameters = parts[0] if len(parts) == 1 else b"".join(parts)
            except BaseException as raised:  # noqa: BLE001 - the caller's code may raise anything
                if self.finished:
                    break  # the caller's code has ended the operation
                if isinstance(raised, DataError):
                    self._doubts = doubts = doubts or Doubts()
                    if doubts.add(index, statement, raised, fresh=self.fresh(statement)):
                        doubted = doubted or []
                        doubted.append(statement)
                        continue
                error = unfit_error(raised)
                error.outcome = item.outcome = Outcome.NOT_SENT
                if len(self.items) > 1:
                    error.add_note(place(index, "encode"))
                item.error = error
                if isinstance(raised, Exception):
                    self._stop_atomic(error)
                else:
                    self._stop_all(raised)
        if self.finished:
            for item in self.items:
                item.parameters = None
        elif doubted is not None and self.error is None:
            for statement in doubted:
                home.forget(statement)
            self._start_over(channel)
            return False
        return True

    def _stop_atomic(self, error: Exception) -> None:
        """One item failed before anything was executed: of an atomic batch no item is sent."""
        if self.atomic:
            self._stop_all(error)

    def _stop_all(self, error: BaseException) -> None:
        self.error = error
        for item in self.items:
            item.outcome = item.outcome or Outcome.NOT_SENT
            item.parameters = None

    def _write_next(self, channel: Channel) -> None:
        """Write the next item, and the items after it with the same statement, as one run."""
        item = self.items[self._next]
        statement = item.statement
        if statement is None or item.parameters is None:
            self._next += 1
            return  # this item has already failed
        segment = self._segment
        if segment is None:
            segment = channel.open(self, self._next)
            channel.preamble(segment)
            self._segment = segment
        if not statement.plain:
            segment.plain = False
        if not statement.traceless:
            channel.dirty = True
        self.begun = True
        if self._late != DESCRIBED and not (statement.declared and channel.statements.direct):
            self.declare(channel, statement)
            if statement.late:
                self._describe(channel, segment, statement)
                return
            if not (statement.name and channel.statements.direct):
                channel.write(Describe("S", statement.name))  # its columns may have changed
        channel.write(self._next_run(statement, HIGH_WATER - channel.pending))
        self._late = NOT_DESCRIBED
        segment.last = self._next
        if not self.atomic:
            channel.sync(segment)
            self._segment = None

    def _describe(self, channel: Channel, segment: Segment, statement: Statement) -> None:
        """Ask for the next item's columns, and wait for the answer."""
        if segment.error is not None:
            # The server skips everything up to the Sync, so there would be no answer.
            for item in self.items[self._next :]:
                item.parameters = None
            self._next = segment.last = len(self.items)
            return
        channel.write(Describe("S", statement.name))
        channel.write(Flush())
        self._late = DESCRIBING
        segment.last = self._next + 1

    def _next_run(self, statement: Statement, room: int) -> Executes:
        """The next items of this statement, up to `room` bytes; only one if errors isolate.

        At least one item even without room, which the messages before it (Close, Parse) may have used up.
        """
        items = self.items
        template = self.template(statement)
        parts: list[bytes] = []
        size = 0
        first = self._next
        while self._next < len(items) and (size < room or self._next == first):
            item = items[self._next]
            parameters = item.parameters
            if item.statement is not statement or parameters is None:
                break
            if statement.late and self._next > first:
                break
            header = template.header(len(parameters))
            parts.append(header)
            parts.append(parameters)
            parts.append(template.execution_tail)
            size += len(header) + len(parameters) + len(template.execution_tail)
            item.parameters = None
            self._next += 1
            if not self.atomic:
                break
        return Executes(statement.name, b"".join(parts), self._next - first)

    def template(self, statement: Statement) -> BindTemplate:
        """The constant parts of the next Binds."""
        return statement.template()

    # ---- Reading

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Pass an event to the item that is being answered."""
        if segment.preparing:
            self.handle_prepare(channel, segment, event)
        elif isinstance(event, DataRows):
            if not segment.prologue:
                self.take_rows(channel, self.items[segment.position], event)
        elif isinstance(event, CommandCompletes):
            self.completed(channel, segment, event.command_tag, event.count)
        elif isinstance(event, EmptyQueryResponse):
            self.completed(channel, segment, "", 1)
        elif isinstance(event, ErrorResponse):
            self._failed(channel, segment, event)
        elif isinstance(event, CommandComplete):  # of BEGIN or SAVEPOINT in the prologue
            segment.prologue -= 1
        elif isinstance(event, (RowDescription, NoData)):
            fields = tuple(event.fields) if isinstance(event, RowDescription) else ()
            if self._late == DESCRIBING and segment.position == self._next:
                self._described_late(self.items[self._next], fields)
            else:
                self.described_anew(channel, segment, fields)
        elif isinstance(event, (CopyInResponse, CopyOutResponse)):
            item = self.items[segment.position]
            item.error = refuse_copy(channel, segment, event) or item.error
        elif isinstance(event, PortalSuspended):
            raise unasked(event)

    def take_rows(self, channel: Channel, item: QueuedQuery, event: DataRows) -> None:
        """Decode a run of rows."""
        statement = item.statement
        if statement is None or item.error is not None:
            return
        if self.abandoned:  # a caller that reads the item nevertheless must not take some rows for all
            item.rows = []
            item.error = self.cut_short()
            return
        before = len(item.rows)
        try:
            rows = item.reading(statement).decode(event.buffer, event.start, event.end, before)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - a decoding error must not end the session
            # The messages are consumed, so the session goes on, and the server decides the outcome.
            item.error = channel.statements.undecodable(statement, error)
            return
        if before:
            item.rows += rows
        else:
            item.rows = rows

    def completed(self, channel: Channel, segment: Segment, tag: str, count: int) -> None:
        """So many items have ended with this command tag."""
        position = segment.position
        segment.position = stop = position + count
        if self.finished:
            if tag in TELLING_TAGS:
                for item in self.items[position:stop]:
                    channel.told(self, tag, item.sql)
            return  # the caller already has an outcome
        while position < stop:
            item = self.items[position]
            item.executed = True
            item.tag = tag
            position += 1

    def _failed(self, channel: Channel, segment: Segment, event: ErrorResponse) -> None:
        error = event.error
        segment.fail(error)
        self._late = NOT_DESCRIBED
        statement: Statement | None = None
        if segment.failed == IN_ITEM:
            item = self.items[segment.failed_item]
            statement = item.statement
            # A Bind fails if the columns have changed: then `described_anew` has put an error on the item.
            segment.stale = is_stale(error, event) or (event.binding and item.error is not None)
            if statement is not None and channel.statements.refused(statement, error, event):
                segment.stale = True
        self.refused(channel, statement, stale=segment.stale)

    def described_anew(
        self, channel: Channel, segment: Segment, fields: tuple[FieldDescription, ...]
    ) -> None:
        """A statement was described again before its run: check whether its columns have changed."""
        statement = self.items[segment.position].statement
        assert statement is not None  # items in a segment have one
        if statement.returns(fields):
            return
        readable = statement.rows_changed(fields)
        channel.statements.forget(statement)
        if not channel.statements.direct:
            channel.statements.forget_all()
        for item in self.items[segment.position :]:
            if item.statement is statement:
                item.decoder = statement.decoder
                if not readable:
                    item.error = item.error or DataError(OTHER_COLUMNS)

    def _described_late(self, item: QueuedQuery, fields: tuple[FieldDescription, ...]) -> None:
        statement = item.statement
        assert statement is not None  # described items have one
        statement.rows_described(fields)
        item.decoder = statement.decoder
        self._late = DESCRIBED

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """See `Operation.ends_block`."""
        items = self.items[segment.first : segment.last]
        return any(item.executed and ends_transaction(item.sql, [item.tag]) for item in items)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: label the segment's items."""
        if segment.preparing:
            self.prepare_done(channel, segment)
            if self.unwanted and self.unanswered == 1:
                self._end(channel)  # stopped before its turn
            return
        if segment.stale and self._heal(channel, segment):
            return  # it will run again, so it has no outcome yet
        status = channel.connection.transaction_status
        items = self.items
        # Without error, block and transaction control, this ReadyForQuery has committed every item.
        plain = segment.plain and status == "I" and channel.status_before == "I" and self._ledger is None
        if not plain or segment.error is not None:
            self._judge(channel, segment, status)
        committed = Outcome.COMMITTED  # reading an enum member costs as much as the rest of the loop
        for index in range(segment.first, segment.last):
            item = items[index]
            if item.outcome is None:
                item.outcome = committed
            error = item.error
            if error is not None:
                if isinstance(error, Error) and error.outcome is None:
                    error.outcome = item.outcome
                item.error = self.unless_stopped(error)
                # The call's error: the first on this side (rows not decoded), else the server's, below.
                self.error = st.error_of_call(self.error, error, self.atomic)
            if item.tag in TELLING_TAGS:
                channel.told(self, item.tag, item.sql)
        if segment.error is not None:
            if segment.error.outcome is None:
                segment.error.outcome = items[segment.first].outcome
            if self.atomic and self.error is None:
                self.error = segment.error
        if self._next == len(items) and self.unanswered == 1:
            self._end(channel)

    def repeatable(self) -> bool:
        """False once the caller may have seen rows: then it must not run again."""
        return True

    def _heal(self, channel: Channel, segment: Segment) -> bool:
        """Forget the statements that are out of date; true if the operation runs again, unnoticed."""
        error = segment.error
        assert error is not None  # it made the segment stale
        in_block = channel.in_block(segment)
        lost = error.sqlstate == NO_SUCH_NAME
        failed = self.items[segment.failed_item].statement
        # Not counted in `heals`: each repetition answers one DEALLOCATE ALL of the session, so they come to
        # an end.
        cleared = lost and failed is not None and channel.statements.was_cleared(failed)
        if lost or in_block:
            channel.statements.forget_all()
        for item in self.items:
            if item.statement is not None:
                channel.statements.forget(item.statement)
        may_heal = cleared or self.heals < (1 if lost or is_outdated(error) else MAX_HEALS)
        wanted = may_heal and not self.finished and not self.unwanted
        whole = self.atomic and self.repeatable() and channel.may_repeat(segment)
        for item in self.items[segment.first : segment.failed_item]:
            # The items before it are rolled back, but not effects on the session such as advisory locks.
            whole = whole and item.statement is not None and item.statement.traceless
        if in_block or not wanted or not whole:
            explain(error, in_block=in_block, again=self.heals > 0, cleared=cleared)
            return False
        self.heals += 0 if cleared else 1
        self._start_over(channel)
        self.again = True
        return True

    def _start_over(self, channel: Channel) -> None:
        """Reset the operation to its state before anything was sent."""
        self.release(channel)
        for item in self.items:
            if item.outcome is not None:
                continue  # refused before
            item.rows = []
            item.tag = ""
            item.decoder = st.NO_ROWS
            item.executed = False
            item.error = item.parameters = None
            if item.statement is not None and not item.statement.kept:
                item.statement = None
        self._next = 0
        self._ahead = self._encoded = self.begun = False

    def _judge(self, channel: Channel, segment: Segment, status: str) -> None:
        """Label the items of a segment with an error, a transaction block or transaction control.

        Args:
            channel: its `status_before` tells whether they ran in a transaction block.
            segment: an answered segment, or one whose error decides although ReadyForQuery never came.
            status: the status of its ReadyForQuery; "" if there was none.
        """
        if self.finished:
            return  # the caller already has an outcome
        ledger = self._ledger
        if ledger is None:
            in_block = segment.in_transaction or channel.status_before != "I"
            ledger = self._ledger = Ledger(in_block)
        ledger.judge(self.items, segment, status)

    # ---- The end

    def explain(self) -> None:
        """Put each item's statement on its error."""
        for item in self.items:
            error = item.error
            if error is not None and error is not self.blocked:
                annotate(error, item.sql)
        if len(self.items) == 1:
            annotate(self.error, self.items[0].sql)

    def statements(self) -> list[str]:
        """The texts of its items."""
        return [item.sql for item in self.items]

    def result(self) -> tuple[str, int, Outcome | None]:
        """The tag and outcome of its last item, and the rows of all."""
        if not self.items:
            return "", 0, None
        last = self.items[-1]
        return last.tag, sum([item.rowcount for item in self.items]), last.outcome

    def _end(self, channel: Channel) -> None:
        self.release(channel)
        if not self.finished:
            if self.error is not None:
                self.error = error_of_all(self.error, self.items)
            if self.error is not None or not self.atomic:
                for item in self.items:
                    channel.sign(item.error)
            if not self.atomic:
                self.explain()  # `finish` does it only if the operation itself has an error
            self.finish(channel)
            channel.statements.trim()

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """Label every item without an outcome, and those whose transaction was open."""
        self.forget_unwritten(channel)
        may_have_ended = False  # a segment that was sent may have ended the transaction of earlier items
        for each in channel.segments:
            fate = channel.fate(each)
            if each.operation is not self or each.preparing:
                may_have_ended = may_have_ended or (fate is not Outcome.NOT_SENT and not each.plain)
            elif each.decided(fate):
                self._decide(channel, each, loss)
            else:
                may_have_ended = may_have_ended or (fate is not Outcome.NOT_SENT and not each.plain)
                self._label(each, loss, fate)
        if self._ledger is not None and channel.connection.closed is not None:
            for item in self._ledger.died(may_have_ended=may_have_ended):
                item.error = item.error or loss.error(item.outcome, executed=item.executed)
        for item in self.items:
            if item.outcome is None:
                item.outcome = Outcome.NOT_SENT
                item.error = loss.error(Outcome.NOT_SENT)
        errors = [item.error for item in self.items if item.error is not None]
        if self.atomic:  # the server's error first: it is why earlier items were rolled back
            errors.sort(key=lambda error: not isinstance(error, PostgresError))
        if self.error is None:
            self.error = errors[0] if errors else loss.error(Outcome.NOT_SENT)
        self._end(channel)

    def _decide(self, channel: Channel, segment: Segment, loss: Loss) -> None:
        """Label the items of a segment whose error decides: see `Segment.decided`."""
        self._judge(channel, segment, "")
        error = segment.error
        assert error is not None  # or it would not be decided
        for index in range(segment.first, segment.last):
            item = self.items[index]
            if index == segment.failed_item and segment.failed == IN_ITEM and not error.fatal:
                error.outcome = item.outcome
                item.error = error
            elif item.outcome not in _DONE:
                item.error = loss.error(item.outcome, executed=item.executed)

    def _label(self, segment: Segment, loss: Loss, outcome: Outcome) -> None:
        # One outcome for all items: no answer tells them apart.  A CommandComplete only sets `executed`.
        for index in range(segment.first, segment.last):
            item = self.items[index]
            item.outcome = outcome
            item.error = loss.error(item.outcome, executed=item.executed)
