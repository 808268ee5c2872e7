"""Planted bugs of the labels: what became of a query, said wrongly, too boldly or too lazily."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pgproto.errors import Outcome, PostgresError
from pgproto.session.batch import QueuedQuery
from pgproto.session.channel import Channel
from pgproto.session.execution import Execution
from pgproto.session.ledger import Ledger
from pgproto.session.segment import Segment

from .planted_edit import Bug, Wrap, returns

__all__ = ["BUGS"]

_Lost: TypeAlias = Callable[..., Outcome]


def _executed_is_committed(lost: _Lost, self: Segment, handed_over: int, *, in_block: bool) -> Outcome:
    executed = self.first < self.last == self.position
    return Outcome.COMMITTED if executed else lost(self, handed_over, in_block=in_block)


def _end_is_compared(lost: _Lost, self: Segment, handed_over: int, *, in_block: bool) -> Outcome:
    outcome = lost(self, handed_over, in_block=in_block)
    late = self.plain and self.commit is not None and self.commit + 5 >= handed_over
    return Outcome.NOT_COMMITTED if late and outcome is not Outcome.NOT_SENT else outcome


def _all_is_unknown(lost: _Lost, self: Segment, handed_over: int, *, in_block: bool) -> Outcome:
    outcome = lost(self, handed_over, in_block=in_block)
    return outcome if outcome is Outcome.NOT_SENT else Outcome.UNKNOWN


_SWAPPED: Final = {Outcome.SKIPPED: Outcome.ROLLED_BACK, Outcome.ROLLED_BACK: Outcome.SKIPPED}


def _swap(
    judge: Callable[..., None], self: Ledger, items: list[QueuedQuery], segment: Segment, status: str
) -> None:
    judge(self, items, segment, status)
    for item in items[segment.first : segment.last]:
        if item.outcome is not None:
            item.outcome = _SWAPPED.get(item.outcome, item.outcome)


def _whatever_the_status(
    done: Callable[..., None], self: Execution, channel: Channel, segment: Segment
) -> None:
    connection = channel.connection
    status, connection.transaction_status = connection.transaction_status, "I"
    done(self, channel, segment)
    connection.transaction_status = status


def _ignore_after_the_last(fail: Callable[..., None], self: Segment, error: PostgresError) -> None:
    if self.position < max(self.last, 1):
        fail(self, error)


def _ignore_what_follows(fate: _Lost, self: Channel, segment: Segment | None) -> Outcome:
    outcome = fate(self, segment)
    if segment is None or self.connection.closed is None:
        return outcome
    own = segment.lost(self.handed_over, in_block=segment.in_transaction)
    return own if own is Outcome.ROLLED_BACK else outcome


def _or_unknown(safe: Callable[[Outcome], bool], self: Outcome) -> bool:
    return safe(self) or self is Outcome.UNKNOWN


BUGS: Final = (
    Bug(
        "command-complete-is-the-end",
        "most drivers: CommandComplete is taken for the acknowledgement, which only ReadyForQuery is",
        [Wrap(Segment, "lost", _executed_is_committed)],
        kinds="label truth",
    ),
    Bug(
        "not-committed-too-late",
        "NOT_COMMITTED although the Sync was handed over (its end is compared, and not its start)",
        [Wrap(Segment, "lost", _end_is_compared)],
        kinds="label truth",
    ),
    Bug(
        "lazy-unknown",
        "everything that was lost is UNKNOWN, although the bytes decide more",
        [Wrap(Segment, "lost", _all_is_unknown)],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "skipped-and-rolled-back-swapped",
        "the statements before the one that failed are called SKIPPED, those behind it ROLLED_BACK",
        [Wrap(Ledger, "judge", _swap)],
        kinds="label truth",
    ),
    Bug(
        "in-transaction-is-committed",
        "SQLAlchemy #13381, sqlx: the status byte of ReadyForQuery is not looked at",
        [Wrap(Execution, "segment_done", _whatever_the_status)],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "sync-error-forgotten",
        "pgx #1748 class: an error behind CommandComplete (a deferred constraint) is nobody's",
        [Wrap(Segment, "fail", _ignore_after_the_last)],
        kinds="label truth",
        profile="batch",
    ),
    Bug(
        "transaction-fate-ignored",
        "a statement in a transaction whose COMMIT is on its way is called ROLLED_BACK",
        [Wrap(Channel, "fate", _ignore_what_follows)],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "unknown-is-repeated",
        "retry helpers everywhere: what may have been committed is run again",
        [Wrap(Outcome, "safe_to_retry", _or_unknown)],
        kinds="label twice",
        profile="transaction",
    ),
    Bug(
        "half-a-batch",
        "pgx (by reading): a batch that is stopped half-way is closed with a Sync, which commits the half",
        [Wrap(Execution, "half_written", returns(False))],
        kinds="label truth",
        profile="corners",
    ),
)
