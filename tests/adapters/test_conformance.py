"""One conformance suite for the three adapters, on PostgreSQL 18, and in part on 15."""

from __future__ import annotations

import pytest

from tests.adapters.behaviours import BEHAVIOURS, Behaviour, Database, batches, many, pools, queries, sessions
from tests.support.drivers import Driver
from tests.support.postgres import PostgresServer

SUITES = (batches, many, pools, queries, sessions)
ON_15 = ("b", "c", "m", "p", "s", "y")
"""What depends on the server's side of the protocol runs on the old server too."""


@pytest.mark.parametrize("each", BEHAVIOURS, ids=lambda each: each.name)
def test_behaviour(driver: Driver, each: Behaviour, pg18: PostgresServer) -> None:
    name = f"{each.name}_{driver.name}"
    driver.run(lambda pg: each.work(pg, Database(pg18, name)), deadline=each.deadline)


@pytest.mark.parametrize(
    "each", [each for each in BEHAVIOURS if each.name.startswith(ON_15)], ids=lambda each: each.name
)
def test_behaviour_on_15(driver: Driver, each: Behaviour, pg15: PostgresServer) -> None:
    name = f"{each.name}_{driver.name}"
    driver.run(lambda pg: each.work(pg, Database(pg15, name)), deadline=each.deadline)


def test_the_suite_is_complete() -> None:
    """At least 90 behaviours, from every part, none of them twice."""
    names = [each.name for each in BEHAVIOURS]
    assert len(set(names)) == len(names) >= 90
    assert {name[0] for name in names} == set("bclmnpqstxy")
