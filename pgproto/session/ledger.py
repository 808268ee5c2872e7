"""The ledger of a batch: the outcomes of statements that have completed.

CommandComplete says that a statement ran.  Whether its effects last is decided later: by the end of its
transaction, by ReadyForQuery, or by the loss of the session.  So every completed statement is entered here in
order, and stays *open* until one of these decides:

    event                                      the open statements are
    -----------------------------------------  -------------------------------------------------------------
    tag COMMIT                                 COMMITTED, the COMMIT included
    tag ROLLBACK, also as answer to COMMIT     ROLLED_BACK, the statement with that tag included
    tag ROLLBACK of ROLLBACK TO SAVEPOINT x    ROLLED_BACK if they came after x
    tag PREPARE TRANSACTION                    PREPARED: COMMIT PREPARED or ROLLBACK PREPARED will decide
    ReadyForQuery I                            COMMITTED; after an error, ROLLED_BACK
    ReadyForQuery T                            OK_IN_TX, and still open: the next segment may decide
    ReadyForQuery E                            ROLLED_BACK if no ROLLBACK TO SAVEPOINT can bring them back
    the end of the session                     ROLLED_BACK, or UNKNOWN if a COMMIT may have arrived

Outside of a transaction block some statements commit on their own (VACUUM, CREATE INDEX CONCURRENTLY), and a
procedure or DO may commit or roll back the statements before it.  In a block they cannot.  Statements whose
outcome they may have decided are *in doubt*, up to two positions in the list, and become UNKNOWN.

The text is only searched for a savepoint's name and AND CHAIN (`sql.control_words`).  If it cannot be read,
the statements concerned are in doubt, too.
"""

from __future__ import annotations

from typing import Final

from ..errors import Error, Outcome, TransactionAborted
from .advice import place
from .batch import QueuedQuery
from .segment import AT_SYNC, IN_PROLOGUE, Segment
from .sql import control_words, first_words, may_commit

__all__ = ["Ledger"]

_OPENING: Final = ("BEGIN", "START TRANSACTION")
_FINISHING: Final = ("commit", "end", "prepare")
_ENDING: Final = ("COMMIT", "ROLLBACK", "PREPARE TRANSACTION")
_CALLING: Final = ("CALL", "DO")
_NAME_NOT_READ: Final = ""  # no name is empty


class Ledger:
    """The completed statements of one operation whose outcome is open.

    Args:
        in_block: the session was in a transaction block before the first statement.

    Attributes:
        aborted: the error of a COMMIT that was answered with ROLLBACK; None if there was none.
    """

    __slots__ = (
        "_commit_in_doubt",
        "_in_block",
        "_marks",
        "_names",
        "_open",
        "_rollback_in_doubt",
        "_unsure",
        "aborted",
    )

    def __init__(self, in_block: bool) -> None:
        self.aborted: TransactionAborted | None = None
        self._in_block = in_block
        self._open: list[QueuedQuery] = []
        # For the first so many open statements, a COMMIT (or a ROLLBACK) does not decide the outcome.
        self._commit_in_doubt = 0
        self._rollback_in_doubt = 0
        # The transaction's savepoints: their names, and how many statements were open when each was set.
        self._names: list[str] = []
        self._marks: list[int] = []
        self._unsure = False  # the name of a savepoint that was set or released could not be read

    # ---- Statements that have completed

    def enter(self, item: QueuedQuery) -> None:
        """The next statement has completed."""
        statement = item.statement
        item.outcome = Outcome.OK_IN_TX
        self._open.append(item)
        if statement is None or statement.plain:
            return
        tag = item.tag
        if tag in _ENDING:
            self._end(item)
        elif tag == "SAVEPOINT":
            self._set_savepoint(item)
        elif tag == "RELEASE":
            self._released(item)
        elif tag in _OPENING:
            self._in_block = True  # the open statements of the segment become part of the block
        elif not self._in_block:
            self._rollback_in_doubt = len(self._open)
            if tag in _CALLING:
                self._doubt(len(self._open) - 1)

    def failed(self, item: QueuedQuery) -> None:
        """The next statement has failed.  A procedure may have committed itself and earlier statements."""
        item.outcome = Outcome.FAILED
        if not self._in_block and may_commit(item.sql):
            item.outcome = Outcome.UNKNOWN
            self._rollback_in_doubt = len(self._open)

    def _end(self, item: QueuedQuery) -> None:
        first = first_words(item.sql)[0]
        words = control_words(item.sql)
        if item.tag != "ROLLBACK":
            self._settle(Outcome.COMMITTED if item.tag == "COMMIT" else Outcome.PREPARED)
        elif first == "prepare" and not self._in_block:
            self._settle(Outcome.UNKNOWN)  # there was no block to prepare: PostgreSQL up to 16 commits then
        elif first in _FINISHING:
            self.aborted = TransactionAborted("the transaction was rolled back: a statement in it had failed")
            for each in self._open:
                each.error = each.error or self.aborted
            self._settle(Outcome.ROLLED_BACK)
        elif not words:
            # The text cannot be read: it may be a ROLLBACK TO SAVEPOINT.
            self._unsure = True
            self._doubt(len(self._open))
        elif "to" in words[1:3]:
            self._rolled_back_to(item, words[-1])
            return
        else:
            self._settle(Outcome.ROLLED_BACK)
        self._in_block = words[-2:] == ["and", "chain"]

    def _set_savepoint(self, item: QueuedQuery) -> None:
        words = control_words(item.sql)
        self._names.append(words[-1] if words else _NAME_NOT_READ)
        self._marks.append(len(self._open))
        self._unsure = self._unsure or not words

    def _released(self, item: QueuedQuery) -> None:
        words = control_words(item.sql)
        self._unsure = self._unsure or not words
        if not self._unsure:
            # A savepoint that is not in the list was set before all that are.
            self._cut_marks(self._find(words[-1]))

    def _rolled_back_to(self, item: QueuedQuery, name: str) -> None:
        """Undo the statements after the savepoint, if it is certain which one it is."""
        if self._unsure:
            self._doubt(len(self._open) - 1)
            return
        found = self._find(name)
        self._cut_marks(found + 1)
        self._open.pop()
        self._undo(self._marks[found] if found >= 0 else 0)
        self._open.append(item)

    def _find(self, name: str) -> int:
        """The index of the newest savepoint of that name; -1 if it was set before the batch."""
        for index in range(len(self._names) - 1, -1, -1):
            if self._names[index] == name:
                return index
        return -1

    def _cut_marks(self, count: int) -> None:
        count = max(count, 0)
        del self._names[count:]
        del self._marks[count:]

    # ---- ReadyForQuery, or the end of the session

    def judge(self, items: list[QueuedQuery], segment: Segment, status: str) -> None:
        """Label the items of a segment that was answered, or whose error decides although no more will come.

        Args:
            items: all items of its operation.
            segment: the segment.
            status: the status of its ReadyForQuery; "" if there was none.
        """
        error = segment.error
        last = segment.last
        stop = last
        if error is not None:
            stop = segment.first if segment.failed == IN_PROLOGUE else segment.failed_item
            if last - segment.first == 1 and segment.failed == AT_SYNC:
                stop = segment.first  # the segment has one item, so the error of the commit is its error
        for index in range(segment.first, stop):
            self.enter(items[index])
        for index in range(stop, last):
            item = items[index]
            if index == stop and segment.failed != IN_PROLOGUE:
                self.failed(item)
                item.error = error
                if error is not None and not error.fatal and len(items) > 1:
                    error.add_note(place(index, "run"))
            else:
                item.outcome = Outcome.SKIPPED
        if status:
            self.ready(status, failed=error is not None)
        else:
            self.broken()

    def ready(self, status: str, *, failed: bool) -> None:
        """ReadyForQuery arrived.

        Args:
            status: its transaction status.
            failed: the server reported an error in its segment.
        """
        if status != "I" and not self._in_block:
            self._rollback_in_doubt = len(self._open)  # it is not known what opened this block, and when
        self._in_block = status != "I"
        if status == "I":
            self._settle(Outcome.ROLLED_BACK if failed else Outcome.COMMITTED)
        elif failed:
            self.broken()

    def broken(self) -> None:
        """The block has failed: only statements before a savepoint can still be committed."""
        self._undo(self._marks[-1] if self._marks else 0)

    def died(self, *, may_have_ended: bool) -> list[QueuedQuery]:
        """The session is over.

        Args:
            may_have_ended: a segment was handed over that may have ended the transaction.

        Returns:
            The statements that were open.
        """
        open_ = list(self._open)
        self._settle(Outcome.UNKNOWN if may_have_ended else Outcome.ROLLED_BACK)
        return open_

    # ---- Labels

    def _doubt(self, count: int) -> None:
        """A COMMIT no longer decides the outcome of the first `count` open statements."""
        for index in range(self._commit_in_doubt, count):
            _label(self._open[index], Outcome.UNKNOWN)
        self._commit_in_doubt = max(self._commit_in_doubt, count)

    def _undo(self, start: int) -> None:
        """The open statements from index `start` on are rolled back, except those in doubt."""
        for index in range(len(self._open) - 1, start - 1, -1):
            unknown = index < self._rollback_in_doubt
            _label(self._open.pop(), Outcome.UNKNOWN if unknown else Outcome.ROLLED_BACK)
        self._commit_in_doubt = min(self._commit_in_doubt, len(self._open))
        self._rollback_in_doubt = min(self._rollback_in_doubt, len(self._open))

    def _settle(self, outcome: Outcome) -> None:
        """Give all open statements this outcome, except those in doubt; the transaction is over."""
        if outcome is Outcome.ROLLED_BACK:
            self._undo(0)
        else:
            for index, item in enumerate(self._open):
                _label(item, Outcome.UNKNOWN if index < self._commit_in_doubt else outcome)
            self._open = []
            self._commit_in_doubt = self._rollback_in_doubt = 0
        self._cut_marks(0)
        self._unsure = False


def _label(item: QueuedQuery, outcome: Outcome) -> None:
    item.outcome = outcome
    if isinstance(item.error, Error):  # its rows could not be decoded, or the COMMIT was a ROLLBACK
        item.error.outcome = outcome
