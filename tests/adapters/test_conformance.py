"""One conformance suite for all adapters, on PostgreSQL 18."""

from __future__ import annotations

import pytest

from pgproto_pytest import Server, conformance
from pgproto_pytest.behaviours import BEHAVIOURS
from tests.support.drivers import EVERY
from tests.support.postgres import PostgresServer

test_behaviour = conformance(*EVERY)


@pytest.fixture
def postgres(pg18: PostgresServer) -> Server:
    return pg18


def test_the_suite_is_complete() -> None:
    """At least 90 behaviours, from every part, none of them twice."""
    names = [each.name for each in BEHAVIOURS]
    assert len(set(names)) == len(names) >= 90
    assert {name[0] for name in names} == set("bclmnopqstuxy")
