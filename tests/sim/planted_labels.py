"""Planted bugs of the labels: what became of a query, said wrongly, too boldly or too lazily."""

from __future__ import annotations

from typing import Final

from pgproto import errors
from pgproto.errors import Outcome
from pgproto.session.channel import Channel
from pgproto.session.execution import Execution
from pgproto.session.ledger import Ledger
from pgproto.session.segment import Segment

from .planted_edit import Bug, Edit, Value

__all__ = ["BUGS"]

BUGS: Final = (
    Bug(
        "command-complete-is-the-end",
        "most drivers: CommandComplete is taken for the acknowledgement, which only ReadyForQuery is",
        [
            Edit(
                Execution,
                "_label",
                ("outcome = outcome", "outcome = Outcome.COMMITTED if item.executed else outcome"),
            )
        ],
        kinds="label truth",
    ),
    Bug(
        "not-committed-too-late",
        "NOT_COMMITTED although the Sync was handed over (its end is compared, and not its start)",
        [Edit(Segment, "lost", ("self.commit >= handed_over", "self.commit + 5 >= handed_over"))],
        kinds="label truth",
    ),
    Bug(
        "lazy-unknown",
        "everything that was lost is UNKNOWN, although the bytes decide more",
        [Edit(Segment, "lost", ("if self.plain:", "if False:"))],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "skipped-and-rolled-back-swapped",
        "the statements before the one that failed are called SKIPPED, those behind it ROLLED_BACK",
        [
            Edit(Ledger, "_undo", ("else Outcome.ROLLED_BACK", "else Outcome.SKIPPED")),
            Edit(Ledger, "judge", ("= Outcome.SKIPPED", "= Outcome.ROLLED_BACK")),
        ],
        kinds="label truth",
    ),
    Bug(
        "in-transaction-is-committed",
        "SQLAlchemy #13381, sqlx: the status byte of ReadyForQuery is not looked at",
        [
            Edit(
                Execution,
                "segment_done",
                ("status = channel.connection.transaction_status", 'status = "I"'),
            )
        ],
        kinds="label truth",
        profile="corners",
    ),
    Bug(
        "sync-error-forgotten",
        "pgx #1748 class: an error behind CommandComplete (a deferred constraint) is nobody's",
        [
            Edit(
                Segment,
                "fail",
                ("if self.error is None:", "if self.error is None and self.position < max(self.last, 1):"),
            )
        ],
        kinds="label truth",
        profile="batch",
    ),
    Bug(
        "transaction-fate-ignored",
        "a statement in a transaction whose COMMIT is on its way is called ROLLED_BACK",
        [Edit(Channel, "fate", ("return Outcome.UNKNOWN  # it may be", "return outcome  # it may be"))],
        kinds="label truth",
        profile="corners",
        start=1392,
    ),
    Bug(
        "unknown-is-repeated",
        "retry helpers everywhere: what may have been committed is run again",
        [
            Value(
                errors,
                "_SAFE_TO_RETRY",
                frozenset(
                    {
                        Outcome.NOT_SENT,
                        Outcome.NOT_COMMITTED,
                        Outcome.SKIPPED,
                        Outcome.ROLLED_BACK,
                        Outcome.UNKNOWN,
                    }
                ),
            )
        ],
        kinds="label twice",
        profile="transaction",
        start=1000,
    ),
    Bug(
        "half-a-batch",
        "pgx (by reading): a batch that is stopped half-way is closed with a Sync, which commits the half",
        [Edit(Execution, "half_written", ("return segment is not None", "return False"))],
        kinds="label truth",
        profile="corners",
        start=430,
    ),
)
