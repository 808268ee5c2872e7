"""The transaction of a model session: blocks, savepoints, and the session's own state that they can undo.

Manual: "BEGIN", "SAVEPOINT", "Extended Query" ("Sync"), "Simple Query" ("Multiple Statements in a Simple
Query"); src/backend/access/transam/xact.c.  A statement outside of a block opens one that its Sync (or the
end of its Query) commits: `status` is then still "I".
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.sim.database import Database, Transaction
from tests.sim.postgres_sql import SQLError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULTS", "REPORTED", "Block", "Local", "Wait"]

DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application_name": "",
        "client_encoding": "UTF8",
        "datestyle": "ISO, MDY",
        "default_transaction_read_only": "off",
        "extra_float_digits": "1",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "in_hot_standby": "off",
        "role": "none",
        "search_path": '"$user", public',
        "server_version": "18.6",
        "statement_timeout": "0",
        "timezone": "UTC",
        "transaction_read_only": "off",
        "transaction_timeout": "0",
        "work_mem": "4MB",
    }
)
"""The settings that a session has, by name in lower case; others need a dot in theirs."""

REPORTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "in_hot_standby": "in_hot_standby",
        "application_name": "application_name",
        "default_transaction_read_only": "default_transaction_read_only",
        "timezone": "TimeZone",
        "client_encoding": "client_encoding",
        "server_version": "server_version",
    }
)
"""Those that ParameterStatus tells about, with the names that it uses."""


class Wait(NamedTuple):
    """What a statement that takes time yields.

    Attributes:
        seconds: how long; negative: until any transaction has ended.
        how: INTERRUPTIBLE, COMMITTING (nothing interrupts it) or REPLICATING (committed already).
    """

    seconds: float
    how: int


INTERRUPTIBLE: Final = 0
COMMITTING: Final = 1
REPLICATING: Final = 2
ROW_LOCK: Final = Wait(-1.0, INTERRUPTIBLE)


class Local(NamedTuple):
    """What a rollback puts back; its members are replaced and never changed.

    Attributes:
        settings: what SET has set; overrides: what SET LOCAL has.
        temporary: the temporary tables.
        channels: what it will listen to from the commit on.
        notifications: (channel, payload), sent at the commit.
    """

    settings: dict[str, str]
    overrides: dict[str, str]
    temporary: frozenset[str]
    channels: frozenset[str]
    notifications: tuple[tuple[str, str], ...]


NONE: Final = 0
EXPLICIT: Final = 1
FAILED: Final = 2

_STATUS: Final = "ITE"


class Block:
    """The state of one session's transaction.

    Attributes:
        local: the session's state as it sees it now.
        listening: the channels that it is listening to.
        state: NONE, EXPLICIT (a BEGIN has opened it) or FAILED.
        several: it is in a Query of several statements; pipelining: behind an Execute of its segment.
        read_only: BEGIN READ ONLY.
        ended: how many transactions have ended: portals of an earlier one are gone.
    """

    __slots__ = (
        "_base",
        "_savepoints",
        "_transaction",
        "clock",
        "database",
        "ended",
        "listening",
        "local",
        "pid",
        "pipelining",
        "read_only",
        "several",
        "state",
    )

    def __init__(
        self, database: Database, pid: int, settings: dict[str, str], clock: Callable[[], float]
    ) -> None:
        self.database = database
        self.clock = clock
        self.pid = pid
        self.local = Local(settings, {}, frozenset(), frozenset(), ())
        self.listening: frozenset[str] = frozenset()
        self.state = NONE
        self.several = False
        self.pipelining = False
        self.read_only = False
        self.ended = 0
        self._base = self.local
        self._transaction: Transaction | None = None
        self._savepoints: list[tuple[str, Local, int, tuple[str, ...] | None]] = []

    @property
    def status(self) -> str:
        """What ReadyForQuery says."""
        return _STATUS[self.state]

    @property
    def depth(self) -> int:
        """How many savepoints there are."""
        return len(self._savepoints)

    @property
    def transaction(self) -> Transaction:
        """The database's side of it, opened when it is first needed."""
        if self._transaction is None:
            self._transaction = Transaction(self.database, self.pid)
        return self._transaction

    @property
    def shape(self) -> tuple[str, ...]:
        """The columns of the table `shape` as this transaction sees them."""
        changed = self._transaction.shape if self._transaction is not None else None
        return changed or self.database.shape

    def setting(self, name: str) -> str | None:
        """The value of a setting; None if there is no such one."""
        local = self.local
        value = local.overrides.get(name)
        if value is None:
            value = local.settings.get(name)
        return DEFAULTS.get(name) if value is None else value

    def require(self, what: str) -> None:
        """Raise 25P01 outside of a block."""
        if self.state == NONE:
            raise SQLError("25P01", f"{what} can only be used in transaction blocks")

    def prevent(self, what: str) -> None:
        """Raise 25001 inside of a block, a pipeline or a script of several statements."""
        if self.state != NONE or self.several or self.pipelining:
            raise SQLError("25001", f"{what} cannot run inside a transaction block")

    def check_write(self, what: str) -> None:
        """Raise 25006 where nothing may be written."""
        if self.database.read_only or self.read_only or self.setting("default_transaction_read_only") == "on":
            raise SQLError("25006", f"cannot execute {what} in a read-only transaction")

    def reset(self, settings: dict[str, str]) -> None:
        """Put the session's own state back to its start (DISCARD ALL)."""
        self.local = self._base = Local(settings, {}, frozenset(), frozenset(), ())
        self.listening = frozenset()

    # ---- Beginning and ending

    def begin(self, read_only: bool) -> bool:
        """BEGIN; False if there was one already."""
        self.read_only = self.read_only or read_only
        if self.state == EXPLICIT:
            return False
        self.state = EXPLICIT
        return True

    def commit(self) -> Generator[Wait, None, None]:
        """Commit; takes the time that the database says.

        Raises:
            SQLError: a deferred constraint; the caller rolls back.
        """
        transaction = self._transaction
        database = self.database
        writes = transaction is not None and transaction.writes
        if transaction is not None:
            transaction.check()
            if writes and database.commit_delay:
                yield Wait(database.commit_delay, COMMITTING)
            transaction.commit(self.clock())
            self._transaction = None
        self.local = self.local._replace(overrides={})
        self._over()
        if writes and database.replication_delay:
            yield Wait(database.replication_delay, REPLICATING)

    def prepare(self, name: str) -> None:
        """PREPARE TRANSACTION: it is the database's now.

        Raises:
            SQLError: the name is taken, or a deferred constraint; the caller rolls back.
        """
        if name in self.database.prepared:
            raise SQLError("42710", f'transaction identifier "{name}" is already in use')
        transaction = self.transaction
        transaction.check()
        self.database.prepared[name] = transaction
        self._transaction = None
        self.local = self.local._replace(overrides={})
        self._over()

    def chain(self) -> None:
        """AND CHAIN: the next block begins."""
        self.state = EXPLICIT

    def roll_back(self) -> None:
        """Undo everything."""
        if self._transaction is not None:
            self._transaction.roll_back(self.clock())
            self._transaction = None
        self.local = self._base
        self._over()

    def fail(self) -> None:
        """A statement has failed: a block waits for its ROLLBACK, anything else is over."""
        if self.state == NONE:
            self.roll_back()
            return
        self.state = FAILED
        self.local = self._savepoints[-1][1] if self._savepoints else self._base
        transaction = self._transaction
        if transaction is not None:
            keep = self._savepoints[-1][2] if self._savepoints else 0
            transaction.roll_back(self.clock(), keep, end=False)

    def take_notifications(self) -> tuple[tuple[str, str], ...]:
        """What the commit has to tell; each once."""
        found = self.local.notifications
        if found:
            self.local = self.local._replace(notifications=())
            self._base = self.local
        return tuple(dict.fromkeys(found))

    def _over(self) -> None:
        self.state = NONE
        self.pipelining = False
        self.read_only = False
        self.ended += 1
        self._savepoints.clear()
        self._base = self.local
        self.listening = self.local.channels

    # ---- Savepoints

    def savepoint(self, name: str) -> None:
        """SAVEPOINT."""
        self.require("SAVEPOINT")
        transaction = self.transaction
        self._savepoints.append((name, self.local, len(transaction.attempts), transaction.shape))

    def release(self, name: str) -> None:
        """RELEASE SAVEPOINT."""
        self.require("RELEASE SAVEPOINT")
        del self._savepoints[self._find(name) :]

    def roll_back_to(self, name: str) -> int:
        """ROLLBACK TO SAVEPOINT; how deep the portals may lie that survive it."""
        self.require("ROLLBACK TO SAVEPOINT")
        index = self._find(name)
        _, local, keep, shape = self._savepoints[index]
        self.local = local
        transaction = self.transaction
        transaction.roll_back(self.clock(), keep, end=False)
        transaction.shape = shape
        del self._savepoints[index + 1 :]
        self.state = EXPLICIT
        return index

    def _find(self, name: str) -> int:
        for index in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[index][0] == name:
                return index
        raise SQLError("3B001", f'savepoint "{name}" does not exist')
