"""Who may use a session while transaction blocks are open in it.

The open blocks are a stack: the transaction, and its savepoints.  Statements run in the innermost block, so
only tasks inside that block may submit statements or enter a further block: a statement of another task would
be rolled back together with work that it knows nothing of.  Inside a block are

    - the task that entered it, and every task started there: they inherit a context variable;
    - all tasks, once the task that entered the block is over (a fixture's set-up, in a task of its own);
    - all tasks and threads with the handle of a connection lent by a pool, as long as no savepoint is open:
      the borrower may use it anywhere.

A task that goes on after the end of the block in which it was started would run its statements in autocommit:
it is refused until the connection is lent again.

A task is any weakly referenceable object that the adapter names.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final
from weakref import ref

from ..errors import LocalProtocolError

__all__ = ["ENDED", "ENDING", "INSIDE", "OPEN", "UNDONE", "Block", "Blocks"]

OPEN: Final = 0
ENDING: Final = 1
ENDED: Final = 2
UNDONE: Final = 3

_GIVEN_BACK: Final = "the connection was given back while the block was open"
_UNDONE: Final = "the block around this one has ended, and this one was rolled back with it"
_OUTLIVED: Final = "the block in which this {} began has ended: what it ran now would not be a part of it"


class Block:
    """One open transaction, or one savepoint in it.

    Attributes:
        begin: the statement that opens it.
        savepoint: the savepoint's name; "" for a transaction.
        depth: how many blocks are around it.
        problem: why nothing can be run in it any more, although it was not left yet; "" if something can.
        stage: OPEN; ENDING while COMMIT, ROLLBACK or the like is under way; ENDED; or UNDONE if it has ended
            together with the block around it.
        by_hand: a statement in it has ended it (COMMIT, ROLLBACK), not the code that entered it.
    """

    __slots__ = (
        "_lease",
        "_owner",
        "begin",
        "by_hand",
        "depth",
        "problem",
        "savepoint",
        "stack",
        "stage",
    )

    def __init__(self, stack: Blocks, begin: str, savepoint: str) -> None:
        self.stack = stack
        self.begin = begin
        self.savepoint = savepoint
        self.depth = len(stack.open)
        self.problem = ""
        self.stage = OPEN
        self.by_hand = False
        self._lease = stack.lease
        task = stack.task()
        self._owner: ref[object] | None = None if task is None else ref(task)

    @property
    def kind(self) -> str:
        """Its kind in error texts: "transaction" or "savepoint"."""
        return "savepoint" if self.savepoint else "transaction"

    @property
    def innermost(self) -> bool:
        """True if no other block is open in it."""
        return self.stack.open[-1] is self

    @property
    def ended(self) -> bool:
        """True if it is over, for any reason."""
        return self.stage >= ENDED

    @property
    def outlived(self) -> bool:
        """True if it has ended and the connection has not been given back since."""
        return self.ended and self._lease == self.stack.lease

    def entered_here(self) -> bool:
        """True if the running task has entered it."""
        return self._owner is not None and self._owner() is self.stack.task()

    def concerns(self, task: object) -> bool:
        """False if it has ended and no longer restricts this task, which is running."""
        return not self.ended or (self.outlived and (self._owner is None or self._owner() is not task))

    def orphaned(self) -> bool:
        """True if the task that entered it is over."""
        if self._owner is None:
            return False
        task = self._owner()
        return task is None or self.stack.is_over(task)


class Blocks:
    """The blocks that are open in one session, the outermost first.

    Attributes:
        open: the open blocks.
        task: a function of the adapter: the running task, or None if that is not known.
        caller: the word for a task in error texts.
        is_over: a function of the adapter: whether a task has ended.
        lent: a pool has lent the connection.
        lease: a number that changes whenever the connection is lent or given back.
    """

    __slots__ = ("caller", "is_over", "lease", "lent", "open", "task")

    def __init__(self) -> None:
        self.open: list[Block] = []
        self.task: Callable[[], object] = _nobody
        self.caller = "task"
        self.is_over: Callable[[object], bool] = _never
        self.lent = False
        self.lease = 0

    def lend(self) -> None:
        """A pool lends the connection to a borrower."""
        self.lent = True
        self.lease += 1

    def take_back(self) -> None:
        """The connection was given back; blocks that are still open end with the session."""
        for block in self.open:
            block.stage = max(block.stage, ENDED)
            block.problem = block.problem or _GIVEN_BACK
        self.lent = False
        self.lease += 1

    def check_turn(self) -> None:
        """Raise if the running task may not run anything now.

        Raises:
            LocalProtocolError: the block in which the task was started has ended, another task's block is
                open, or nothing can be run in the open block.
        """
        inside = INSIDE.get()
        if inside:
            self._check_outlived(inside)
        if not self.open:
            return
        top = self.open[-1]
        if not (top in inside or (self.lent and not top.depth) or top.entered_here() or top.orphaned()):
            whose = f"another {self.caller}'s {top.kind}"
            raise LocalProtocolError(f"the connection is in {whose}")
        if top.problem:
            raise LocalProtocolError(top.problem)
        if top.stage != OPEN:
            raise LocalProtocolError(f"the {top.kind} is being ended")

    def _check_outlived(self, inside: tuple[Block, ...]) -> None:
        mine = [block for block in inside if block.stack is self and block.ended]
        for block in mine:
            if block.outlived and not block.entered_here():
                raise LocalProtocolError(_OUTLIVED.format(self.caller))
        if mine:
            INSIDE.set(tuple(block for block in inside if block not in mine))

    def push(self, block: Block) -> None:
        """The running task enters a block."""
        self.open.append(block)
        # Drops blocks that this task has entered and another task has ended, perhaps of other connections.
        task = self.task()
        INSIDE.set((*[each for each in INSIDE.get() if each.concerns(task)], block))

    def end(self, block: Block) -> None:
        """The block has ended, and with it the blocks inside it."""
        self.end_inner(block)
        if self.open and self.open[-1] is block:
            self.open.pop()
        block.stage = max(block.stage, ENDED)
        INSIDE.set(tuple(each for each in INSIDE.get() if not (each.stack is self and each.ended)))

    def end_inner(self, block: Block) -> None:
        """The block is about to end: end the blocks inside it."""
        if block in self.open:
            for each in self.open[block.depth + 1 :]:
                each.stage = UNDONE
                each.problem = each.problem or _UNDONE
            del self.open[block.depth + 1 :]

    def stop(self, problem: str, *, by_hand: bool) -> None:
        """The transaction was not begun or is over on the server: run nothing more in its blocks."""
        for block in self.open:
            block.problem = problem
            block.by_hand = by_hand


# The blocks of all sessions that the running task (or thread) is in.  Tasks that it starts inherit them.
INSIDE: Final[ContextVar[tuple[Block, ...]]] = ContextVar("pgproto_transactions", default=())


def _nobody() -> object:
    """Without an adapter, the context variable alone tells who is inside."""
    return None


def _never(task: object) -> bool:
    return False
