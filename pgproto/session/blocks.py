"""Who may use a session while transaction blocks are open in it.

The open blocks are a stack: the transaction, and the savepoints in it.  Statements run in the innermost one,
so only who is inside it may submit any, or enter a further block: what another task ran there would be undone
with work that it knows nothing of.  Inside is

    - who entered the block, and every task that was started there: a context variable says so, which tasks
      inherit;
    - everybody, once the task that entered the block is over (a fixture's set-up, in a task of its own);
    - everybody who has the handle of a connection that a pool has lent, as long as no savepoint is open.  It
      was lent to one borrower, who may use it in any task or thread.

A block ends for all who are inside it.  A task that goes on after the end of the block in which it began
would run its statements in autocommit, one by one: it is refused, until the connection is lent anew.

Tasks are what the adapter says: objects that can be weakly referenced.
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
        problem: why nothing can be run in it any more, although it was not left yet; "" if all is well.
        stage: OPEN; ENDING while COMMIT, ROLLBACK or its like is under way; ENDED; or UNDONE, if it has ended
            with the block around it.
        by_hand: a statement ended it, instead of the one who entered it.
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
        """What it is called in messages."""
        return "savepoint" if self.savepoint else "transaction"

    @property
    def innermost(self) -> bool:
        """True if no other one is open in it."""
        return self.stack.open[-1] is self

    @property
    def ended(self) -> bool:
        """True if it is over, however it has ended."""
        return self.stage >= ENDED

    @property
    def outlived(self) -> bool:
        """True if it has ended, and the connection has not been given back since."""
        return self.ended and self._lease == self.stack.lease

    def entered_here(self) -> bool:
        """True if the running task has entered it."""
        return self._owner is not None and self._owner() is self.stack.task()

    def concerns(self, task: object) -> bool:
        """False once it has ended, and keeps this task, which is running, from nothing."""
        return not self.ended or (self.outlived and (self._owner is None or self._owner() is not task))

    def orphaned(self) -> bool:
        """True if the task that has entered it is over."""
        if self._owner is None:
            return False
        task = self._owner()
        return task is None or self.stack.is_over(task)


class Blocks:
    """The blocks that are open in one session, the outermost first.

    Attributes:
        open: these.
        task: the adapter's answer to who is running; None if nobody can tell.
        caller: what that is called in messages.
        is_over: whether a task has ended.
        lent: a pool has lent the connection.
        lease: a number that changes whenever it is lent or given back.
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
        """It came back: what is still open ends with the session."""
        for block in self.open:
            block.stage = max(block.stage, ENDED)
            block.problem = block.problem or _GIVEN_BACK
        self.lent = False
        self.lease += 1

    def check_turn(self) -> None:
        """Raise if the running task may not run anything now.

        Raises:
            LocalProtocolError: the block in which it began has ended, another task's block is open, or in
                the block that is open nothing can be run.
        """
        inside = INSIDE.get()
        if inside:
            self._check_outlived(inside)
        if not self.open:
            return
        top = self.open[-1]
        if not (top in inside or (self.lent and not top.depth) or top.entered_here() or top.orphaned()):
            whose = f"another {self.caller}'s {top.kind}"
            raise LocalProtocolError(f"the connection is inside of {whose}")
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
        # Those that this task has entered and another one has ended, on connections that may be gone.
        task = self.task()
        INSIDE.set((*[each for each in INSIDE.get() if each.concerns(task)], block))

    def end(self, block: Block) -> None:
        """The block has ended, and with it those that are open inside it."""
        self.end_inner(block)
        if self.open and self.open[-1] is block:
            self.open.pop()
        block.stage = max(block.stage, ENDED)
        INSIDE.set(tuple(each for each in INSIDE.get() if not (each.stack is self and each.ended)))

    def end_inner(self, block: Block) -> None:
        """The block is about to end: with it end those that are open inside it."""
        if block in self.open:
            for each in self.open[block.depth + 1 :]:
                each.stage = UNDONE
                each.problem = each.problem or _UNDONE
            del self.open[block.depth + 1 :]

    def stop(self, problem: str, *, by_hand: bool) -> None:
        """The transaction that was begun is not there (any more): run nothing more in its blocks."""
        for block in self.open:
            block.problem = problem
            block.by_hand = by_hand


# The blocks that the running task (or thread) is in, of any session.  A task that it starts inherits them.
INSIDE: Final[ContextVar[tuple[Block, ...]]] = ContextVar("pgproto_transactions", default=())


def _nobody() -> object:
    """Without an adapter, who is running is told by its context alone."""
    return None


def _never(task: object) -> bool:
    return False
