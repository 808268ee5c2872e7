"""The operation: one exchange with the server, such as a query, a COPY or a COMMIT.

It writes its requests, takes its answers, and ends once.  Its state is here and not in the task that waits
for it, so that the task can go away at any moment.

Contract: `produce` writes through the channel and returns whether there is more to write; `handle` gets every
event of its segments; `segment_done` is called at ReadyForQuery, `lost` if that will never come.  The
operation calls `finish` when it has ended, exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import Error, Outcome, PostgresError
from ..wire import Message
from ..wire.hints import mypyc_attr
from .advice import annotate
from .blocks import Block
from .channel import Channel
from .loss import Loss, cancelled
from .segment import Segment

__all__ = ["GONE", "MORE", "SENT", "WAITING", "Operation"]

# Return values of `produce`.
MORE: Final = 0  # call again when there is room
WAITING: Final = 1  # nothing to write before an answer, or data of the caller, has arrived
SENT: Final = 2  # everything is written: the next operation may write
GONE: Final = 3  # it has ended during the call and is no longer queued


@mypyc_attr(allow_interpreted_subclasses=True)
class Operation:
    """Base of all operations.  This class itself writes nothing and ends at once.

    Drivers may subclass it, even in the compiled build, where pgproto's own subclasses cannot be subclassed.

    Attributes:
        finished: it has ended; see `error`.
        error: the exception to raise in the caller; None if it succeeded.  Not an `Error` if the caller's own
            code raised a BaseException such as KeyboardInterrupt or a cancellation.
        abandoned: nobody waits for it any more; its answers are read and dropped.
        deadline: when it times out, in seconds of the engine's clock; None for never.
        again: it asks the engine for another turn, from the beginning; see `Execution`.
        begun: requests that the server executes were written; it can no longer be withdrawn.
        cancel_asked: a cancel request was asked for on its behalf, or is not needed.
        work: a computation that is too long for an event loop.  The adapter runs it in a thread and then
            calls `Engine.resume`.
        progressed: there is something new for the waiter to look at.
        stopped: why it is being stopped, for a caller that waits: its deadline has passed, or the lease is
            over; None if it is not being stopped, or nobody waits.
        kept: its consumer has not come to the end of its data, or left them: nothing else may be queued, even
            after it has ended, so that this does not depend on how much data there is.  Set by an iterator.
        transaction: the innermost transaction block that was open when it was submitted, or None.
        unanswered: how many of its segments are in flight.
        waiter: the adapter's object for waking the caller.
    """

    __slots__ = (
        "abandoned",
        "again",
        "begun",
        "cancel_asked",
        "deadline",
        "error",
        "finished",
        "kept",
        "progressed",
        "stopped",
        "transaction",
        "unanswered",
        "waiter",
        "work",
    )

    def __init__(self) -> None:
        self.finished = False
        self.error: BaseException | None = None
        self.abandoned = False
        self.again = False
        self.begun = False
        self.cancel_asked = False
        self.kept = False
        self.progressed = False
        self.stopped: Loss | None = None
        self.deadline: float | None = None
        self.transaction: Block | None = None
        self.unanswered = 0
        self.waiter: object = None
        self.work: Callable[[], None] | None = None

    def turned_away(self, error: BaseException) -> None:
        """It was not queued: the connection is closed or in use by another task, or the caller went away."""
        if isinstance(error, Error):
            error.outcome = Outcome.NOT_SENT

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """End with this error; none of its requests was or will be executed."""
        self.fail(channel, error)

    def prepare(self, channel: Channel) -> None:
        """Called once if it is queued after others: write requests that may be sent before its turn."""

    def produce(self, channel: Channel) -> int:
        """Write some output; return MORE, WAITING, SENT or GONE."""
        self.finish(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take an event of one of its segments; ReadyForQuery goes to `segment_done`."""

    def handle_start(self, channel: Channel, event: Message) -> None:
        """Take an event of the session's start; only called for the operation given to `Engine.start`."""

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery of the segment arrived."""

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The session is over.  `segment` is the operation's oldest unanswered one, if there is one."""
        self.fail(channel, loss.error(channel.fate(segment)))

    def lost_query(self, channel: Channel, segment: Segment | None, loss: Loss, *, executed: bool) -> None:
        """`lost` for a simple Query: an error that the server sent before the end decides the outcome.

        Not an error after CommandComplete (`executed`), because a simple Query commits before that; nor a
        pooler's error, which has no `V` field; nor one that arrived before the Query was handed over.  A
        FATAL may come before all data of a COPY was sent: then it was not committed.
        """
        fate = channel.fate(segment)
        error = segment.error if segment is not None and segment.plain else None
        if error is None or executed or fate is Outcome.NOT_SENT or "V" not in error.fields:
            self.fail(channel, loss.error(fate, executed=executed))
        elif error.fatal:
            self.fail(channel, loss.error(fate if fate is Outcome.NOT_COMMITTED else Outcome.FAILED))
        else:
            error.outcome = Outcome.FAILED
            self.fail(channel, error)

    def half_written(self) -> bool:
        """True while it cannot be stopped without closing the connection."""
        return False

    def needs_cancel(self) -> bool:
        """False if it can be ended without a cancel request."""
        return True

    def skip_rest(self, channel: Channel) -> None:
        """It is no longer wanted: write only the messages that end it."""

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """True if a statement of this segment, which is in a block and not plain, has ended the transaction.

        True in doubt.  Operations that send such statements ask `sql.ends_transaction`, with their tags.
        """
        return True

    def has_room(self) -> bool:
        """False while its consumer has to catch up: then nothing more should be read."""
        return True

    @property
    def exclusive(self) -> bool:
        """True if nothing may be queued after it: a COPY or a stream, which the caller feeds or drains."""
        return False

    @property
    def last_word(self) -> bool:
        """True if it ends its transaction block: COMMIT, ROLLBACK, ..."""
        return False

    @property
    def unwanted(self) -> bool:
        """True if its caller is gone or no longer waits."""
        return self.abandoned or self.stopped is not None

    def progress(self, channel: Channel) -> None:
        """Report to the adapter that there is something new for the waiter."""
        if not self.progressed:
            self.progressed = True
            channel.ready.append(self)

    def take_progress(self) -> bool:
        """True if there was progress since the last call."""
        progressed = self.progressed
        self.progressed = False
        return progressed

    def take_error(self) -> BaseException:
        """The error, for the caller to raise; the operation no longer refers to it.

        A raised error refers to frames, which refer to the operation; that cycle would keep the caller's
        data alive.
        """
        error, self.error = self.error, None
        assert error is not None
        return error

    def take_work(self) -> Callable[[], None] | None:
        """The computation to run now, if there is one."""
        work = self.work
        self.work = None
        return work

    def give_up(self, channel: Channel) -> None:
        """End now and drop the answers to come: its time is over, and the session goes on for others."""
        own = [segment for segment in channel.segments if segment.operation is self]
        self.abandoned = True
        self.error = None
        self.lost(channel, own[0] if own else None, self.why())

    def fail(self, channel: Channel, error: BaseException) -> None:
        """End with this error, or with an earlier one if there is one."""
        if self.error is None:
            self.error = error
        self.finish(channel)

    def finish(self, channel: Channel) -> None:
        """Note that it has ended."""
        if self.finished:
            return
        self.finished = True
        error = self.error
        if error is not None:
            if isinstance(error, PostgresError):
                self.error = error = self.unless_stopped(error)
            channel.sign(error)
            self.explain()
        channel.ready.append(self)
        if channel.watch is not None:
            channel.watch.ended(self, channel.produced, channel.connection.transaction_status)

    def explain(self) -> None:
        """Put its statement on its error."""
        annotate(self.error, self.text())

    def text(self) -> str:
        """The statement that it runs, as it was sent; "" if there is none."""
        return ""

    def statements(self) -> list[str]:
        """The texts that it runs, for observers: those of its caller."""
        text = self.text()
        return [text] if text else []

    def result(self) -> tuple[str, int, Outcome | None]:
        """What it has come to, for observers: a command tag, a number of rows, the outcome of success."""
        return "", 0, None

    def why(self) -> Loss:
        """Why it is being stopped; "cancelled" if nothing else is known."""
        return cancelled() if self.stopped is None else self.stopped

    def cut_short(self) -> Error:
        """The error for rows that were not all read; its outcome is set later, by the server's answer."""
        error = self.why().error(None)
        error.add_note("not all of its rows are here")
        return error

    def unless_stopped(self, error: Exception) -> Exception:
        """The error, or if it only answers our own cancel request, the reason for that."""
        if not self.was_cancelled(error):
            return error
        assert isinstance(error, PostgresError)
        told = self.why().error(error.outcome)
        told.__cause__ = error
        return told

    def was_cancelled(self, error: Exception) -> bool:
        """True if the server's error only answers our own cancel request."""
        return self.stopped is not None and isinstance(error, PostgresError) and error.sqlstate == "57014"
