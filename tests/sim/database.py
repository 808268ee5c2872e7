"""What a model server has stored: the truth that outcomes are checked against.

Rule: a transaction is committed at one instant, in `Transaction.commit`, before anybody is told.  What is
rolled back, or lost in a crash, leaves an `Attempt` behind that says so.  Everything here outlives the
server: a restart finds what was committed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.sim.postgres_amounts import convert
from tests.sim.postgres_sql import INT8, SQLError, SQLValue

__all__ = ["COMMITTED", "OPEN", "ROLLED_BACK", "Attempt", "Database", "Table", "Transaction"]

OPEN: Final = "open"
COMMITTED: Final = "committed"
ROLLED_BACK: Final = "rolled back"


class Attempt:
    """One INSERT of one id that was executed.

    Attributes:
        table: where to.
        id: of what.
        pid: the session that did it.
        when: when it was executed.
        end: OPEN, COMMITTED or ROLLED_BACK; ended: when.
        delete: it was a DELETE.
    """

    __slots__ = ("delete", "end", "ended", "id", "pid", "table", "when")

    def __init__(self, table: Table, id: int, pid: int, when: float, *, delete: bool = False) -> None:
        self.table = table
        self.id = id
        self.pid = pid
        self.when = when
        self.end = OPEN
        self.ended = 0.0
        self.delete = delete

    def __repr__(self) -> str:
        return f"<{self.table.name} {self.id} by {self.pid} at {self.when:.6f}: {self.end}>"


class Table:
    """Ids with their history.

    Attributes:
        committed: when each id that is stored was committed.
        attempts: for each id, whatever was executed about it, oldest first.
    """

    __slots__ = ("attempts", "committed", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.committed: dict[int, float] = {}
        self.attempts: dict[int, list[Attempt]] = {}


class Database:
    """Everything that survives the server.

    Attributes:
        ledger: the table with unique ids; deferred: the one whose ids are checked at the commit.
        shape: the columns of the table that ALTER TABLE is for.
        amounts: the table whose column changes its type; amount: what is in it, by id; amount_types: when
            which type, oldest first.
        numbers: the last value of the sequence.
        cramped: there is no memory for every other BEGIN: 53200.
        read_only: it is a standby: 25006 for whatever writes.
        commit_delay: seconds that a commit takes before its instant.
        replication_delay: seconds that it waits for a standby behind its instant.
        arrived: how often each id (int) and each tag (str) came with a Bind or Query: what was sent.
        executed: how often each tag was executed to its end.
    """

    def __init__(self) -> None:
        self.ledger = Table("ledger")
        self.deferred = Table("deferred")
        self.shape: tuple[str, ...] = ("a",)
        self.amounts = Table("amounts")
        self.amount: dict[int, SQLValue] = {}
        self.amount_types: list[tuple[float, int]] = [(0.0, INT8)]
        self.numbers = 0
        self.read_only = False
        self.cramped = False
        self.commit_delay = 0.0
        self.replication_delay = 0.0
        self.arrived: Counter[int | str] = Counter()
        self.executed: Counter[int | str] = Counter()
        self.open: list[Transaction] = []
        self.prepared: dict[str, Transaction] = {}
        """By PREPARE TRANSACTION: no session's any more, and not decided."""
        self.waiters: list[Callable[[], None]] = []
        """Who waits for any transaction to end: a row lock."""

    @property
    def amount_type(self) -> int:
        """The OID of the column's type now."""
        return self.amount_types[-1][1]

    def retype(self, oid: int, now: float) -> None:
        """The column gets another type, and whatever is in it is converted.

        Raises:
            SQLError: a value cannot be converted; then nothing has changed.
        """
        changed = {id: convert(self.amount[id], oid) for id in self.amounts.committed}
        self.amount.update(changed)
        self.amount_types.append((now, oid))

    def state_of(self, id: int) -> str:
        """Where an id of the ledger is: "stored", "prepared", "open" in a session's transaction, or ""."""
        if id in self.ledger.committed:
            return "stored"
        undecided = list(self.prepared.values())
        for transaction in self.open:
            if any(attempt.id == id and attempt.table is self.ledger for attempt in transaction.attempts):
                return "prepared" if transaction in undecided else "open"
        return ""

    @property
    def committed(self) -> dict[int, float]:
        """The ledger: when each id was committed."""
        return self.ledger.committed

    def holder(self, table: Table, id: int, but: Transaction) -> Transaction | None:
        """The other open transaction that has touched this id."""
        for transaction in self.open:
            if transaction is not but and any(
                attempt.id == id and attempt.table is table for attempt in transaction.attempts
            ):
                return transaction
        return None

    def wake(self) -> None:
        """A transaction has ended: let those who wait look again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter()


class Transaction:
    """The uncommitted work of one session.

    Attributes:
        attempts: what it has executed and not undone.
        shape: the columns of the table `shape` as it sees them, if it has changed them.
        uses_amounts: the column's type may not change before it has ended.
    """

    __slots__ = ("attempts", "database", "pid", "shape", "uses_amounts")

    def __init__(self, database: Database, pid: int) -> None:
        self.database = database
        self.pid = pid
        self.attempts: list[Attempt] = []
        self.shape: tuple[str, ...] | None = None
        self.uses_amounts = False
        database.open.append(self)

    @property
    def writes(self) -> bool:
        """True if there is something to commit."""
        return bool(self.attempts) or self.shape is not None

    def sees(self, table: Table, id: int) -> bool:
        """True if the id is stored, as this transaction sees it."""
        for attempt in reversed(self.attempts):
            if attempt.table is table and attempt.id == id:
                return not attempt.delete
        return id in table.committed

    def ids(self, table: Table) -> list[int]:
        """The ids that this transaction sees."""
        known = dict.fromkeys(table.committed)
        for attempt in self.attempts:
            if attempt.table is table:
                if attempt.delete:
                    known.pop(attempt.id, None)
                else:
                    known[attempt.id] = None
        return list(known)

    def execute(self, table: Table, id: int, now: float, *, delete: bool = False) -> None:
        """Note what was done."""
        attempt = Attempt(table, id, self.pid, now, delete=delete)
        self.attempts.append(attempt)
        table.attempts.setdefault(id, []).append(attempt)

    def check(self) -> None:
        """The constraints that wait for the commit.

        Raises:
            SQLError: 23505.
        """
        table = self.database.deferred
        ids = [attempt.id for attempt in self.attempts if attempt.table is table]
        if len(set(ids)) < len(ids) or any(id in table.committed for id in ids):
            raise SQLError("23505", "duplicate key value violates unique constraint")

    def commit(self, now: float) -> None:
        """The instant."""
        for attempt in self.attempts:
            attempt.end = COMMITTED
            attempt.ended = now
            if attempt.delete:
                attempt.table.committed.pop(attempt.id, None)
            else:
                attempt.table.committed[attempt.id] = now
        if self.shape is not None:
            self.database.shape = self.shape
        self._end()

    def roll_back(self, now: float, keep: int = 0, *, end: bool = True) -> None:
        """Undo all but the first `keep` attempts."""
        for attempt in self.attempts[keep:]:
            attempt.end = ROLLED_BACK
            attempt.ended = now
        del self.attempts[keep:]
        if end:
            self._end()
        else:
            self.database.wake()

    def _end(self) -> None:
        self.database.open.remove(self)
        self.database.wake()
