"""Transactions and savepoints.  Manual: "BEGIN", "SAVEPOINT".

BEGIN costs no round trip: it waits in the channel's prologue and is sent before the transaction's first
statement, in the same segment, so that the statement cannot run if BEGIN fails.  For a block without
statements nothing is sent.  SAVEPOINT costs a round trip only before a script or COPY: in the same Query it
would not be set if the text could not be parsed (see `simple`).

While blocks are open, only tasks inside the innermost one may submit: see `blocks`.  Blocks end in the order
of a stack: ROLLBACK also ends the blocks inside it, COMMIT is refused while there are any.

The methods that need the server are flows: generators of operations, which the adapter runs.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ..errors import LocalProtocolError, Outcome, TransactionAborted
from .blocks import ENDING, OPEN, UNDONE, Block
from .engine import Engine
from .loss import block_over
from .operation import Operation
from .script import Script

__all__ = ["ISOLATION_LEVELS", "Transaction"]

ISOLATION_LEVELS: Final[dict[str, str]] = {
    "": "",
    "read uncommitted": " ISOLATION LEVEL READ UNCOMMITTED",
    "read committed": " ISOLATION LEVEL READ COMMITTED",
    "repeatable read": " ISOLATION LEVEL REPEATABLE READ",
    "serializable": " ISOLATION LEVEL SERIALIZABLE",
}

_LEFT_OPEN: Final = (
    "a block inside the one that was to be committed was still open, in another task perhaps: all of it "
    "was rolled back"
)


class LastWord(Script):
    """The end of a transaction block: COMMIT, ROLLBACK, ..."""

    __slots__ = ()

    def __init__(self, sql: str, block: Block) -> None:
        super().__init__(sql)
        self.transaction = block

    @property
    def last_word(self) -> bool:
        """True: it ends the block."""
        return True


class Transaction:
    """One transaction block; inside another one, a savepoint.

    It can be entered again once it has ended.

    Args:
        engine: the session.
        isolation: "read committed", "repeatable read", "serializable"; "" for the session's default.
        readonly: True for READ ONLY, False for READ WRITE; None for the session's default.
        deferrable: True for a serializable read-only transaction that waits for a safe snapshot.

    Raises:
        LocalProtocolError: the isolation level is unknown, or a savepoint was given options.
    """

    __slots__ = ("_begin", "_block", "_engine", "committing")

    def __init__(
        self,
        engine: Engine,
        *,
        isolation: str = "",
        readonly: bool | None = None,
        deferrable: bool = False,
    ) -> None:
        level = ISOLATION_LEVELS.get(isolation.lower().replace("_", " "))
        if level is None:
            raise LocalProtocolError(f"unknown isolation level {isolation!r}")
        self._engine = engine
        self._begin = "BEGIN" + level
        if readonly is not None:
            self._begin += " READ ONLY" if readonly else " READ WRITE"
        if deferrable:
            self._begin += " DEFERRABLE"
        self._block: Block | None = None
        self.committing = False
        """True once COMMIT was submitted: from then on its outcome is the transaction's."""

    @property
    def nested(self) -> bool:
        """True if this is a savepoint."""
        return self._block is not None and bool(self._block.savepoint)

    @property
    def entered(self) -> bool:
        """True from `enter` until `commit` or `rollback` has ended, successfully or not."""
        return self._block is not None and not self._block.ended

    @property
    def session(self) -> int:
        """The number of its session; see `Error.session`."""
        return self._engine.session

    @property
    def ending(self) -> bool:
        """True while COMMIT, ROLLBACK or the like is under way."""
        return self._block is not None and self._block.stage == ENDING

    @property
    def by_hand(self) -> bool:
        """True if a statement in the block has ended the transaction: its outcome is not known here."""
        return self._block is not None and self._block.by_hand

    def enter(self) -> None:
        """Open the block; nothing is sent yet.

        Raises:
            LocalProtocolError: it is already open, or the surrounding transaction has failed or belongs to
                another task.
        """
        engine = self._engine
        channel = engine.channel
        blocks = channel.blocks
        if self.entered:
            raise LocalProtocolError("the transaction is open already")
        idle = engine.transaction_status == "I" or not engine.transaction_status
        blocks.check_turn()
        if engine.transaction_status == "E" and not channel.segments:
            raise LocalProtocolError("the surrounding transaction has failed: roll it back first")
        begin = self._begin
        savepoint = ""
        if blocks.open or not idle:
            if begin != "BEGIN":
                raise LocalProtocolError("a savepoint has no isolation level or access mode of its own")
            savepoint = f"pgproto_{channel.next_savepoint()}"
            begin = f"SAVEPOINT {savepoint}"
        self._block = block = Block(blocks, begin, savepoint)
        self.committing = False
        blocks.push(block)
        channel.prologue.append(block)

    def commit(self) -> Generator[Operation, None, None]:
        """A flow: COMMIT, or RELEASE SAVEPOINT.

        Raises:
            LocalProtocolError: it is not open, a block in it is open, or a statement has ended it; work done
                since then is rolled back.
            TransactionAborted: a statement had failed, and the server has rolled back instead: the
                transaction, or to the savepoint.
            Error: the commit failed; its `outcome` says what is known.
        """
        block = self._leave()
        problem = block.problem
        if not problem and block.innermost:
            if self._unsent(block):
                self._release(block)
                return
            if (
                block.savepoint
                and self._engine.transaction_status == "E"
                and not self._engine.channel.segments
            ):
                yield from self._undo(block)  # RELEASE would be refused, and the transaction stay failed
                raise TransactionAborted("a statement had failed: the savepoint was rolled back")
            sql = f"RELEASE SAVEPOINT {block.savepoint}" if block.savepoint else "COMMIT"
            script = self._last_word(block, sql)
            self.committing = True
            try:
                yield script
            finally:
                self._release(block, script)
            if script.results and script.results[-1].tag == "ROLLBACK":
                raise TransactionAborted("the transaction was rolled back: a statement in it had failed")
            return
        begin_failed = self._engine.channel.begin_failed
        yield from self._undo(block)
        if begin_failed:
            raise TransactionAborted(problem)
        raise _refusal(block, problem or _LEFT_OPEN)

    def rollback(self) -> Generator[Operation, None, None]:
        """A flow: ROLLBACK, or ROLLBACK TO SAVEPOINT; does nothing if the session or the block is gone.

        Raises:
            LocalProtocolError: it is not open, or a statement has ended it.
        """
        block = self._block
        if block is not None and block.stage == UNDONE:
            return
        block = self._leave()
        yield from self._undo(block)
        if block.by_hand:
            raise _refusal(block, block.problem)

    def _undo(self, block: Block) -> Generator[Operation, None, None]:
        engine = self._engine
        channel = engine.channel
        block.stack.end_inner(block)
        gone = channel.begin_failed or (block.by_hand and block.depth > 0) or self._unsent(block)
        if gone or engine.closed or (engine.transaction_status == "I" and not engine.channel.segments):
            self._release(block)
            return
        name = "" if block.by_hand else block.savepoint
        sql = f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}" if name else "ROLLBACK"
        script = self._last_word(block, sql)
        try:
            yield script
        finally:
            self._release(block, script)

    def _last_word(self, block: Block, sql: str) -> LastWord:
        """The operation that ends the block.  It abandons a stream or COPY that has not ended."""
        busy = self._engine.exclusive
        if busy is not None:
            self._engine.abandon(busy, block_over())
        return LastWord(sql, block)

    def _leave(self) -> Block:
        """From now on nothing can be submitted in the block."""
        block = self._block
        if block is None or block.stage != OPEN:
            problem = "" if block is None else block.problem
            raise LocalProtocolError(problem or "the transaction is not open")
        block.stage = ENDING
        return block

    def _unsent(self, block: Block) -> bool:
        """True if the block's BEGIN or SAVEPOINT was not and will not be sent, so it needs no end either."""
        return block in self._engine.channel.prologue and not self._engine.turns.queued_inside(block)

    def _release(self, block: Block, last_word: LastWord | None = None) -> None:
        """The block is left.

        If its COMMIT or ROLLBACK was never sent (its deadline passed before its turn, or its task was
        cancelled), the block is still open on the server.  Later statements would be part of it, and would be
        labelled COMMITTED although they are not: so the session is closed.
        """
        if last_word is not None and not last_word.begun:
            self._engine.close()
        channel = self._engine.channel
        block.stack.end(block)
        if channel.prologue:
            channel.prologue = [each for each in channel.prologue if not each.ended]
        if not block.depth:
            channel.begin_failed = False


def _refusal(block: Block, problem: str) -> LocalProtocolError:
    error = LocalProtocolError(problem)
    if not block.by_hand:
        error.outcome = Outcome.ROLLED_BACK
    return error
