"""Transactions and savepoints.  Manual: "BEGIN", "SAVEPOINT".

BEGIN costs no round trip: it waits in the channel's prologue and goes out in front of the transaction's
first statement, in the same segment, so that the statement cannot run if BEGIN fails.  A block in which
nothing was sent costs nothing at all.

While a transaction is open, `Channel.transaction` names it, and only who is inside of it may submit.

The methods that need the server are flows: generators of operations, which the adapter runs.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from ..errors import LocalProtocolError, TransactionAborted
from .engine import Engine
from .operation import INSIDE, Operation
from .script import Script

__all__ = ["ISOLATION_LEVELS", "Transaction"]

ISOLATION_LEVELS: Final[dict[str, str]] = {
    "": "",
    "read uncommitted": " ISOLATION LEVEL READ UNCOMMITTED",
    "read committed": " ISOLATION LEVEL READ COMMITTED",
    "repeatable read": " ISOLATION LEVEL REPEATABLE READ",
    "serializable": " ISOLATION LEVEL SERIALIZABLE",
}


class Transaction:
    """One transaction block; inside of another one, a savepoint.

    Args:
        engine: the session.
        isolation: "read committed", "repeatable read", "serializable"; "" for the session's default.
        readonly: True or False to say so; None for the session's default.
        deferrable: True for a serializable read-only transaction that waits for a safe snapshot.

    Raises:
        LocalProtocolError: an unknown isolation level, or options for a savepoint, which has none.
    """

    __slots__ = (
        "_begin",
        "_begin_failed",
        "_engine",
        "_open",
        "_outer",
        "_savepoint",
        "committing",
        "entered",
    )

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
        self._savepoint = ""
        self._outer: object = None
        self._open = False
        self._begin_failed = False
        self.committing = False
        """True once COMMIT was submitted: from then on its own outcome is the transaction's."""
        self.entered = False
        """True from `enter` until `commit` or `rollback` has ended, however it did."""

    @property
    def nested(self) -> bool:
        """True if this is a savepoint."""
        return bool(self._savepoint)

    def enter(self) -> None:
        """Open the block; nothing is sent yet.

        Raises:
            LocalProtocolError: it was entered before, the surrounding transaction has failed, or it is
                somebody else's.
        """
        engine = self._engine
        channel = engine.channel
        if self._open:
            raise LocalProtocolError("the transaction is open already")
        idle = engine.transaction_status == "I" or not engine.transaction_status
        if engine.transaction_status == "E" and not channel.segments:
            raise LocalProtocolError("the surrounding transaction has failed: roll it back first")
        self._outer = channel.transaction
        if self._outer is not None and self._outer not in INSIDE.get():
            raise LocalProtocolError("the connection is inside of another task's transaction")
        if self._outer is not None or not idle:
            if self._begin != "BEGIN":
                raise LocalProtocolError("a savepoint has no isolation level or access mode of its own")
            self._savepoint = f"pgproto_{channel.next_savepoint()}"
            self._begin = f"SAVEPOINT {self._savepoint}"
        self._open = self.entered = True
        if self._outer is None:
            channel.transaction = self
            INSIDE.set((*INSIDE.get(), self))
        channel.prologue.append(self._begin)

    def commit(self) -> Generator[Operation, None, None]:
        """A flow: COMMIT, or RELEASE SAVEPOINT.

        Raises:
            TransactionAborted: the server has rolled back instead.
            Error: the commit failed; its `outcome` says what is known.
        """
        if not self._leave():
            if self._begin_failed:
                raise TransactionAborted("BEGIN failed: nothing of the transaction was run")
            return
        script = Script(f"RELEASE SAVEPOINT {self._savepoint}" if self._savepoint else "COMMIT")
        self.committing = True
        try:
            yield script
        finally:
            self._release(script)
        if script.results and script.results[-1].tag == "ROLLBACK":
            raise TransactionAborted("the transaction was rolled back: a statement in it had failed")

    def rollback(self) -> Generator[Operation, None, None]:
        """A flow: ROLLBACK, or ROLLBACK TO SAVEPOINT; nothing if the session or the block is gone."""
        if not self._leave():
            return
        engine = self._engine
        if engine.closed or (engine.transaction_status == "I" and not engine.channel.segments):
            self._release()
            return
        name = self._savepoint
        script = Script(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}" if name else "ROLLBACK")
        try:
            yield script
        finally:
            self._release(script)

    def _leave(self) -> bool:
        """False if the server never heard of the block, so that there is nothing to say."""
        if not self._open:
            raise LocalProtocolError("the transaction is not open")
        self._open = False
        prologue = self._engine.channel.prologue
        if self._begin in prologue:
            del prologue[prologue.index(self._begin) :]
            self._release()
            return False
        if self._engine.channel.begin_failed:
            self._begin_failed = True
            self._release()
            return False
        return True

    def _release(self, last_word: Script | None = None) -> None:
        """Leave the block behind.

        If its last word was never said (it was out of time before its turn came, or its task was cancelled)
        the block is open at the server.  Whatever came next would be a part of it, and what is called
        committed then would be lost: the session ends.
        """
        if last_word is not None and not last_word.begun:
            self._engine.close()
        if self._outer is None:
            self._engine.channel.transaction = None
            self._engine.channel.begin_failed = False
            INSIDE.set(tuple(each for each in INSIDE.get() if each is not self))
        self.entered = False
