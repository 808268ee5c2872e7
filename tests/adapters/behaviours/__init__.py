"""The behaviours that every adapter has, as scenarios; `test_conformance` runs them on real servers.

Each is named after its row in the collection of what pgx's own tests assert: B batches, P pipelines,
L pools, C connections, X deadlines and cancelling, Y COPY, N notifications, T transactions, S prepared
statements, Q queries and rows.  Those without a number are what a row's neighbours ask for too.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.support.drivers import Driver
from tests.support.postgres import PostgresServer

__all__ = ["BEHAVIOURS", "Behaviour", "Database", "behaviour"]


@dataclass(frozen=True)
class Database:
    """A real server, and a name that no other test uses."""

    server: PostgresServer
    name: str

    @property
    def dsn(self) -> str:
        """A connection string of the superuser."""
        return self.server.dsn()

    def make_table(self, columns: str = "a int") -> str:
        """Create an empty table of this test's name."""
        self.server.query(f"drop table if exists {self.name} cascade; create table {self.name} ({columns})")
        return self.name


Work = Callable[[Driver, Database], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Behaviour:
    """One behaviour: its scenario, and the seconds that it may take."""

    work: Work
    deadline: float

    @property
    def name(self) -> str:
        """The function's name: the behaviour's ID, and what it is about."""
        return self.work.__name__


BEHAVIOURS: list[Behaviour] = []


def behaviour(work: Work) -> Work:
    """Register a scenario."""
    BEHAVIOURS.append(Behaviour(work, 20.0))
    return work
