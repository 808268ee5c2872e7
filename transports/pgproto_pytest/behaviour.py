"""What a behaviour is: a scenario of the conformance suite, and the place where it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pgproto_pytest.driver import Driver
from pgproto_pytest.server import Server

__all__ = ["BEHAVIOURS", "Behaviour", "Database", "behaviour"]


@dataclass(frozen=True)
class Database:
    """A real server, and a name that no other test uses."""

    server: Server
    name: str

    @property
    def dsn(self) -> str:
        """The connection string."""
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

    def run(self, driver: Driver, server: Server) -> None:
        """Run it.

        Args:
            driver: the adapter.
            server: the server; the behaviour may make tables whose names begin with its own.

        Raises:
            AssertionError: the adapter behaves in another way.
        """
        # An identifier that needs no quotes, whatever the driver is called, with room for more at its end.
        name = re.sub(r"[^a-z0-9]", "_", f"{self.name}_{driver.name}".lower())[:50]
        database = Database(server, name)
        ends: list[BaseException | None] = []

        async def scenario(pg: Driver) -> None:
            try:
                await self.work(pg, database)
            except BaseException as error:
                ends.append(error)
                raise
            ends.append(None)

        driver.run(scenario, deadline=self.deadline)
        if not ends:
            raise AssertionError(f"{driver!r}: run() has come back, and the scenario has not come to its end")
        if ends[0] is not None:
            raise AssertionError(f"{driver!r}: run() did not raise what the scenario raised") from ends[0]


BEHAVIOURS: list[Behaviour] = []
"""All of them, once `pgproto_pytest.behaviours` is imported."""


def behaviour(work: Work) -> Work:
    """Register a scenario."""
    BEHAVIOURS.append(Behaviour(work, 20.0))
    return work
