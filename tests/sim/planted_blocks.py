"""Planted bugs of transaction blocks, of the ledger that labels them, of long texts, and of failing hooks.

The first version of this library had these, or what comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pgproto import ConnectError, Error, Outcome
from pgproto.pool import backoff, retry
from pgproto.session.batch import QueuedQuery
from pgproto.session.blocks import Block
from pgproto.session.execution import Execution
from pgproto.session.ledger import Ledger
from pgproto.session.segment import Segment
from pgproto.session.sql import control_words, first_words
from pgproto.session.transaction import Transaction
from pgproto.session.turns import Turns

from .planted_edit import Bug, Edit, Wrap, returns

__all__ = ["BUGS"]

_Enter: TypeAlias = Callable[[Ledger, QueuedQuery], None]


def _enter_as(tag: str, enter: _Enter, ledger: Ledger, item: QueuedQuery) -> None:
    """The statement is entered as if the server had called it something else."""
    said, item.tag = item.tag, tag
    enter(ledger, item)
    item.tag = said


def _goes_back_to_a_savepoint(item: QueuedQuery) -> bool:
    return item.tag == "ROLLBACK" and "to" in control_words(item.sql)[1:3]


def _rollback_as_commit(enter: _Enter, self: Ledger, item: QueuedQuery) -> None:
    asked = item.tag == "ROLLBACK" and first_words(item.sql)[0] in ("rollback", "abort")
    _enter_as("COMMIT" if asked and not _goes_back_to_a_savepoint(item) else item.tag, enter, self, item)


def _back_to_nothing(enter: _Enter, self: Ledger, item: QueuedQuery) -> None:
    _enter_as("" if _goes_back_to_a_savepoint(item) else item.tag, enter, self, item)


def _prepare_as_commit(enter: _Enter, self: Ledger, item: QueuedQuery) -> None:
    _enter_as("COMMIT" if item.tag == "PREPARE TRANSACTION" else item.tag, enter, self, item)


def _commit_as_commit(enter: _Enter, self: Ledger, item: QueuedQuery) -> None:
    refused = item.tag == "ROLLBACK" and first_words(item.sql)[0] == "commit"
    _enter_as("COMMIT" if refused else item.tag, enter, self, item)


def _release_all(enter: _Enter, self: Ledger, item: QueuedQuery) -> None:
    enter(self, item)
    if item.tag == "RELEASE":
        self._names.clear()
        self._marks.clear()


def _unknown_is_rolled_back(
    outcome_of: Callable[..., Outcome | None], error: BaseException, *, commit_sent: bool
) -> Outcome | None:
    outcome = outcome_of(error, commit_sent=commit_sent)
    return Outcome.ROLLED_BACK if outcome is Outcome.UNKNOWN and not commit_sent else outcome


def _of_any_session(
    should_repeat: Callable[..., bool],
    self: retry.Retry,
    error: BaseException,
    attempt: int,
    block: Transaction | None,
) -> bool:
    if isinstance(error, Error):
        error.session = None if block is None else block.session
    return should_repeat(self, error, attempt, block)


def _only_to_its_begin(see: Callable[[Turns, Segment], None], self: Turns, segment: Segment) -> None:
    if segment.prologue:
        see(self, segment)


def _for_now(failed: Callable[[BaseException], ConnectError], error: BaseException) -> ConnectError:
    passing = ConnectError(str(failed(error)), [OSError()])
    passing.__cause__ = error
    return passing


_LEDGER: Final = (
    Bug(
        "rollback-is-committed",
        "what a ROLLBACK of the batch itself has undone is COMMITTED, because ReadyForQuery says I",
        [Wrap(Ledger, "enter", _rollback_as_commit)],
        kinds="ledger truth",
        profile="texts",
    ),
    Bug(
        "savepoint-keeps-all",
        "what ROLLBACK TO SAVEPOINT has undone is labelled by the COMMIT that follows",
        [Wrap(Ledger, "enter", _back_to_nothing)],
        kinds="ledger truth",
        profile="texts",
    ),
    Bug(
        "prepared-is-committed",
        "PREPARE TRANSACTION is taken for a COMMIT",
        [Wrap(Ledger, "enter", _prepare_as_commit)],
        kinds="ledger truth",
        says="COMMITTED",
        profile="texts",
    ),
    Bug(
        "failed-commit-is-a-commit",
        "a COMMIT that the server has answered with ROLLBACK, without a transaction's block around it",
        [Wrap(Ledger, "enter", _commit_as_commit)],
        kinds="ledger truth label",
        profile="texts",
    ),
    Bug(
        "released-twice",
        "RELEASE takes all savepoints with it, whichever was named: the next ROLLBACK TO undoes too much",
        [Wrap(Ledger, "enter", _release_all)],
        kinds="ledger truth",
        profile="texts",
    ),
)

_BLOCKS: Final = (
    Bug(
        "savepoint-of-another-task",
        "two tasks have savepoints in one transaction, and the one that rolls back takes the other's along",
        [Wrap(Block, "orphaned", returns(True))],
        kinds="truth stray",
        profile="callers",
    ),
    Bug(
        "block-has-ended",
        "a task goes on after the end of the block that it was started in: what it runs is committed at once",
        [Wrap(Block, "outlived", returns(False))],
        kinds="stray",
        says="has ended",
        profile="callers",
    ),
)

_RETRY: Final = (
    Bug(
        "retry-judges-any-session",
        "pgproto 0.1: what another connection's error says is taken for this transaction's end, and repeated",
        [
            Wrap(retry, "transaction_outcome", _unknown_is_rolled_back),
            Wrap(retry.Retry, "should_repeat", _of_any_session),
        ],
        kinds="twice",
        profile="callers",
    ),
    Bug(
        "commit-by-hand-is-repeated",
        "pgproto 0.1: the work has run COMMIT as a statement, what follows fails with 40001: all of it again",
        [Wrap(Turns, "see_to_block", _only_to_its_begin)],
        kinds="twice",
        profile="callers",
    ),
)

_LIMITS: Final = (
    Bug(
        "room-before-the-preamble",
        "a Parse, or the names to close, fill the buffer up to its mark: the run that follows is empty",
        [Edit(Execution, "_next_run", ("(size < room or self._next == first)", "size < room"))],
        kinds="hang late error surprise label protocol liveness rows",
        profile="limits",
    ),
    Bug(
        "hook-is-tried-again",
        "on_connect raises KeyError: it is called again until the caller's time is over",
        [Wrap(backoff, "hook_failed", _for_now)],
        kinds="hook",
        profile="callers",
    ),
)

BUGS: Final = (*_LEDGER, *_BLOCKS, *_RETRY, *_LIMITS)
