"""The operation: one conversation with the server.

It knows what to send, which events belong to it, and how it ends.  Its state lives here and not in the task
that waits for it, so that the task can go away at any moment.

Contract: `produce` writes through the channel and says whether it wants to write more; `handle` gets every
event of its segments; `segment_done` says that ReadyForQuery arrived; `lost` that it never will.  The
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

# What `produce` answers.
MORE: Final = 0  # call again when there is room
WAITING: Final = 1  # nothing to write before an answer (or data of the caller) has arrived
SENT: Final = 2  # all is written: the next operation may write
GONE: Final = 3  # it has ended meanwhile, and is not queued any more


@mypyc_attr(allow_interpreted_subclasses=True)
class Operation:
    """Base of all operations.  A plain one writes nothing and ends at once.

    A driver may have operations of its own, in the compiled build too: this class may be subclassed, those
    below it may not.

    Attributes:
        finished: it has ended; `error` says how.
        error: what the caller gets raised; None if it succeeded.  No `Error` if it came from the caller's own
            code and is no Exception: KeyboardInterrupt, a cancellation.
        abandoned: nobody waits for it any more; its answers are read and dropped.
        deadline: when it times out, in seconds of the engine's clock; None for never.
        again: it asks the engine for another turn, from the beginning; see `Execution`.
        begun: something of it was written that the server executes; it cannot be taken back.
        cancel_asked: a cancel request was asked for on its behalf, or is not needed.
        work: a computation that takes long enough to be run outside of an event loop, in a thread; after
            it the adapter calls `Engine.resume`.
        progressed: there is something new for the waiter to look at.
        stopped: why it is being cancelled, for a caller who waits: its deadline has passed, or the lease is
            over; None if it is not, or nobody asks.
        transaction: the innermost transaction block that was open when it was submitted, or None.
        waiter: what the adapter keeps with it, to wake who waits.
    """

    __slots__ = (
        "abandoned",
        "again",
        "begun",
        "cancel_asked",
        "deadline",
        "error",
        "finished",
        "progressed",
        "stopped",
        "transaction",
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
        self.progressed = False
        self.stopped: Loss | None = None
        self.deadline: float | None = None
        self.transaction: Block | None = None
        self.waiter: object = None
        self.work: Callable[[], None] | None = None

    def turned_away(self, error: BaseException) -> None:
        """It was not queued: the connection is closed or somebody else's, or the caller went away."""
        if isinstance(error, Error):
            error.outcome = Outcome.NOT_SENT

    def withdraw(self, channel: Channel, error: BaseException) -> None:
        """It ends with this error; nothing of it was sent that counts, and nothing will be."""
        self.fail(channel, error)

    def prepare(self, channel: Channel) -> None:
        """Called once when the operation is queued after others: write what may go ahead of its turn."""

    def produce(self, channel: Channel) -> int:
        """Write some output: MORE, WAITING or SENT."""
        self.finish(channel)
        return SENT

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """An event of one of its segments arrived (all but its ReadyForQuery)."""

    def handle_start(self, channel: Channel, event: Message) -> None:
        """An event of the start of the session arrived; only what `Engine.start` got is asked."""

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery of the segment arrived."""

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """The connection is over.  `segment` is the operation's oldest unanswered one, if there is one."""
        self.fail(channel, loss.error(channel.fate(segment)))

    def lost_query(self, channel: Channel, segment: Segment | None, loss: Loss, *, executed: bool) -> None:
        """`lost` for a simple Query: the server's own error decides, if it named one before it went.

        A simple Query commits before it says CommandComplete: after that (`executed`), an error decides
        nothing, and neither does a pooler's, which has no `V` field, or one that crossed what was not sent.
        A FATAL may come while the data of a COPY is not all sent: then it was not committed.
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
        """True while it can neither go on nor stop without closing the connection."""
        return False

    def needs_cancel(self) -> bool:
        """False where it can be brought to an end without a cancel request."""
        return True

    def skip_rest(self, channel: Channel) -> None:
        """Nobody wants the rest: write no more than what brings it to an end."""

    def ends_block(self, channel: Channel, segment: Segment) -> bool:
        """True if a statement of this segment, which is not plain and in a block, has ended a transaction.

        In doubt it has.  What sends such statements asks `sql.ends_transaction`, with their tags.
        """
        return True

    def has_room(self) -> bool:
        """False while its consumer has to catch up, so that nothing more should be read."""
        return True

    @property
    def exclusive(self) -> bool:
        """True if nothing may be queued after it (COPY and streams: the caller feeds or drains them)."""
        return False

    @property
    def last_word(self) -> bool:
        """True if it is what ends its transaction block: COMMIT, ROLLBACK, ..."""
        return False

    @property
    def unwanted(self) -> bool:
        """True if its caller is gone or will not wait longer."""
        return self.abandoned or self.stopped is not None

    def progress(self, channel: Channel) -> None:
        """There is something new for the waiter to look at."""
        if not self.progressed:
            self.progressed = True
            channel.ready.append(self)

    def take_progress(self) -> bool:
        """True if there was progress since the last call."""
        progressed = self.progressed
        self.progressed = False
        return progressed

    def take_error(self) -> BaseException:
        """The error with which it has ended, for the caller to raise: it is not kept.

        An error that is raised has the frames of its way, which have the operation: neither must keep the
        caller's sources alive.
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
        """Its time is over, and the session goes on for others: end now, drop the answers."""
        own = [segment for segment in channel.segments if segment.operation is self]
        self.abandoned = True
        self.error = None
        self.lost(channel, own[0] if own else None, self.why())

    def fail(self, channel: Channel, error: BaseException) -> None:
        """End with an error, unless an earlier one is there already."""
        if self.error is None:
            self.error = error
        self.finish(channel)

    def finish(self, channel: Channel) -> None:
        """It has ended."""
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

    def explain(self) -> None:
        """Say on its errors which statement they are about."""
        annotate(self.error, self.text())

    def text(self) -> str:
        """The statement that it runs, as it was sent; "" if there is none."""
        return ""

    def why(self) -> Loss:
        """Why it is being stopped, as far as it is known."""
        return cancelled() if self.stopped is None else self.stopped

    def cut_short(self) -> Error:
        """The error of what was not read to its end; the server will say what became of it."""
        error = self.why().error(None)
        error.add_note("not all of its rows are here")
        return error

    def unless_stopped(self, error: Exception) -> Exception:
        """The error as it is; why it was stopped, if it is the answer to our own cancel request."""
        if not self.was_cancelled(error):
            return error
        assert isinstance(error, PostgresError)
        told = self.why().error(error.outcome)
        told.__cause__ = error
        return told

    def was_cancelled(self, error: Exception) -> bool:
        """True if the server's error says nothing but that we have stopped it."""
        return self.stopped is not None and isinstance(error, PostgresError) and error.sqlstate == "57014"
