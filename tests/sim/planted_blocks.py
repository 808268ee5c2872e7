"""Planted bugs of transaction blocks, of the ledger that labels them, of long texts, and of failing hooks.

The first version of this library had these, or what comes to the same.
"""

from __future__ import annotations

from typing import Final

from pgproto.pool import backoff, retry
from pgproto.session.blocks import Blocks
from pgproto.session.execution import Execution
from pgproto.session.ledger import Ledger
from pgproto.session.turns import Turns

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

_LEDGER: Final = (
    Bug(
        "rollback-is-committed",
        "what a ROLLBACK of the batch itself has undone is COMMITTED, because ReadyForQuery says I",
        [Edit(Ledger, "_end", ("else:\n    self._settle(Outcome.ROLLED_BACK)", "else:\n    pass"))],
        kinds="ledger truth",
        profile="texts",
    ),
    Bug(
        "savepoint-keeps-all",
        "what ROLLBACK TO SAVEPOINT has undone is labelled by the COMMIT that follows",
        [Edit(Ledger, "_rolled_back_to", ("self._undo(self._marks[found] if found >= 0 else 0)", "pass"))],
        kinds="ledger truth",
        profile="texts",
    ),
    Bug(
        "prepared-is-committed",
        "PREPARE TRANSACTION is taken for a COMMIT",
        [
            Edit(
                Ledger,
                "_end",
                ('Outcome.COMMITTED if item.tag == "COMMIT" else Outcome.PREPARED', "Outcome.COMMITTED"),
            )
        ],
        kinds="ledger truth",
        says="COMMITTED",
        profile="texts",
    ),
    Bug(
        "failed-commit-is-a-commit",
        "a COMMIT that the server has answered with ROLLBACK, without a transaction's block around it",
        [
            Edit(
                Ledger,
                "_end",
                ('if item.tag != "ROLLBACK":', 'if item.tag != "ROLLBACK" or first == "commit":'),
                ('Outcome.COMMITTED if item.tag == "COMMIT"', 'Outcome.COMMITTED if first == "commit"'),
            )
        ],
        kinds="ledger truth label",
        profile="texts",
    ),
    Bug(
        "released-twice",
        "RELEASE takes all savepoints with it, whichever was named: the next ROLLBACK TO undoes too much",
        [Edit(Ledger, "_released", ("self._cut_marks(self._find(words[-1]))", "self._cut_marks(0)"))],
        kinds="ledger truth",
        profile="texts",
        start=540,
    ),
)

_BLOCKS: Final = (
    Bug(
        "savepoint-of-another-task",
        "two tasks have savepoints in one transaction, and the one that rolls back takes the other's along",
        [
            Edit(
                Blocks,
                "check_turn",
                (
                    'raise LocalProtocolError(f"the connection is inside of {whose}")',
                    "pass",
                ),
            )
        ],
        kinds="truth stray",
        profile="callers",
    ),
    Bug(
        "block-has-ended",
        "a task goes on after the end of the block that it was started in: what it runs is committed at once",
        [
            Edit(
                Blocks,
                "_check_outlived",
                ("if block.outlived and not block.entered_here():", "if False:"),
            )
        ],
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
            Edit(
                retry,
                "transaction_outcome",
                (
                    "(Outcome.FAILED, Outcome.COMMITTED, Outcome.UNKNOWN)",
                    "(Outcome.FAILED, Outcome.COMMITTED)",
                ),
            ),
            Edit(
                retry.Retry,
                "should_repeat",
                ("error.session != (None if block is None else block.session)", "False"),
            ),
        ],
        kinds="twice",
        profile="callers",
        start=1640,
    ),
    Bug(
        "commit-by-hand-is-repeated",
        "pgproto 0.1: the work has run COMMIT as a statement, what follows fails with 40001: all of it again",
        [
            Edit(
                Turns,
                "_ended_by_hand",
                ("self._stop_block(segment, _BY_HAND, by_hand=True)", "pass"),
            )
        ],
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
        start=64,
    ),
    Bug(
        "hook-is-tried-again",
        "on_connect raises KeyError: it is called again until the caller's time is over",
        [
            Edit(
                backoff,
                "hook_failed",
                ("permanent=not passing", "permanent=False"),
                ("attempts = [error] if isinstance(error, Exception) else []", "attempts = [OSError()]"),
            )
        ],
        kinds="hook",
        profile="callers",
        start=618,
    ),
)

BUGS: Final = (*_LEDGER, *_BLOCKS, *_RETRY, *_LIMITS)
