"""The columns: drivers with their settings.

A driver's play is one class: `open` and `close` its pool, and a method for each workload; a method that is
not there is a workload that the driver does not have, and `LACKS` says why.  Methods may be `async` or not.

Rule of the times: what is finite by a driver's default is shortened to the seconds below, in every column;
what has no limit by default has none in the driver's default column, and these seconds in its best one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = ["ACQUIRE", "COLUMNS", "CONNECT", "OURS", "PATIENCE", "QUERY", "Play"]

QUERY = 0.4
PATIENCE = 2.5
CONNECT = 1.0
ACQUIRE = 2.0


class Play:
    """What every driver's class has.

    Args:
        best: the best settings, instead of the default ones.
    """

    package: ClassVar[str] = ""
    """The distribution whose version is shown."""
    LACKS: ClassVar[dict[str, str]] = {}
    """Why a workload is not there."""
    DECLARED: tuple[type[BaseException], ...] = ()
    """What the driver documents that it raises."""
    INTERNAL: tuple[type[BaseException], ...] = ()
    """What is among those, or derived from them, and means a defect of the driver itself."""

    def __init__(self, *, best: bool) -> None:
        self.best = best
        self.query = QUERY
        """Seconds for a command, where the column has a limit for it."""
        self.outcomes: list[str] = []
        """The labels of the workload's queries, where the driver gives any."""
        self.unhandled: list[BaseException] = []
        """What the event loop's exception handler got."""
        self.notices: list[str] = []
        """The SQLSTATEs of the notices that the driver's documented handler got."""
        self.tasks = 0
        """How many tasks were left at the end."""

    def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine function to its end, in the way of this driver."""
        raise NotImplementedError

    async def turns(self) -> None:
        """Let the event loop see what has come, if there is one."""


@dataclass(frozen=True)
class Column:
    """One column of the matrix: a class in a module, with default or best settings."""

    title: str
    module: str
    kind: str
    best: bool
    settings: str

    def make(self) -> Any:
        """A new driver's play; only here its module is imported."""
        module = importlib.import_module(f"tests.faults.columns.{self.module}")
        return getattr(module, self.kind)(best=self.best)


_OURS = "defaults"
_CHECKED = "`check=check_connection`, `require_auth=scram-sha-256` where there is a password"
_ASYNCPG = "`command_timeout`, `acquire(timeout=)`, `close` in a timeout"
COLUMNS = {
    "asyncio": Column("pgproto asyncio", "ours", "Asyncio", False, _OURS),
    "trio": Column("pgproto trio", "ours", "Trio", False, _OURS),
    "blocking": Column("pgproto blocking", "ours", "Blocking", False, _OURS),
    "asyncpg": Column("asyncpg", "peer_asyncpg", "Asyncpg", False, "defaults"),
    "asyncpg-best": Column("asyncpg best", "peer_asyncpg", "Asyncpg", True, _ASYNCPG),
    "psycopg": Column("psycopg async", "peer_psycopg", "Psycopg", False, "defaults, autocommit"),
    "psycopg-best": Column(
        "psycopg async best", "peer_psycopg", "Psycopg", True,
        f"autocommit, `asyncio.timeout` around each query and around its use of the pool, {_CHECKED}",
    ),
    "psycopg-blocking": Column(
        "psycopg blocking best", "peer_psycopg", "PsycopgBlocking", True,
        f"autocommit, `tcp_user_timeout`, {_CHECKED}",
    ),
    "pg8000": Column("pg8000", "peer_pg8000", "Pg8000", False, "defaults"),
    "pg8000-best": Column("pg8000 best", "peer_pg8000", "Pg8000", True, "`timeout`"),
}  # fmt: skip
OURS = ("asyncio", "trio", "blocking")
