"""What all tests share: the real servers, the markers, and the rule that nothing is skipped in secret.

A test that uses a real server gets the marker `postgres` by itself.  If the server's binaries are
missing it is skipped with the reason; under PGPROTO_REQUIRE_SERVERS=1 (continuous integration) such a
skip is a failure.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from pgproto_pytest import postgres
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PostgresServer, Version

pytest_plugins = ["pgproto_pytest.plugin"]

REQUIRE_SERVERS = os.environ.get("PGPROTO_REQUIRE_SERVERS") == "1"
SERVER_FIXTURES = {
    "postgres",
    "pg",
    "pg18",
    "pg15",
    "pg_restartable",
    "pg15_restartable",
    "pgbouncer_factory",
}

# The same examples in every run: a failure must be repeatable, and two runs comparable.
hypothesis.settings.register_profile("pgproto", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("pgproto")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a real server."""
    for item in items:
        if SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("postgres")


def pytest_collection_finish() -> None:
    """Keep the collector away from what lives as long as the tests do.

    Thousands of tests and all that they import are some million objects, which each `gc.collect()` of a test
    would look at.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a server test into a failure where servers are required."""
    report = yield
    forbidden = REQUIRE_SERVERS and item.get_closest_marker("postgres") is not None
    if forbidden and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although PGPROTO_REQUIRE_SERVERS=1: {report.longrepr}"
    return report


def _require(reason: str | None) -> None:
    if reason is not None:
        pytest.skip(reason)


def _server(version: Version) -> Iterator[PostgresServer]:
    _require(postgres.missing(version))
    with PostgresServer(version) as server:
        yield server


@pytest.fixture(scope="session")
def pg18() -> Iterator[PostgresServer]:
    """PostgreSQL 18, shared by the tests of one worker: don't stop it, clean up what you create."""
    yield from _server("18")


@pytest.fixture(scope="session")
def pg15() -> Iterator[PostgresServer]:
    """PostgreSQL 15 with TLS, shared like `pg18`."""
    yield from _server("15")


@pytest.fixture(params=["18", "15"])
def pg(request: pytest.FixtureRequest) -> PostgresServer:
    """Each of the shared servers in turn."""
    server: PostgresServer = request.getfixturevalue(f"pg{request.param}")
    return server


@pytest.fixture(scope="module")
def _module_pg18() -> Iterator[PostgresServer]:
    yield from _server("18")


@pytest.fixture(scope="module")
def _module_pg15() -> Iterator[PostgresServer]:
    yield from _server("15")


@pytest.fixture
def pg_restartable(_module_pg18: PostgresServer) -> PostgresServer:
    """PostgreSQL 18 that a test may stop, restart and kill: a module's own, running at each test's start."""
    _module_pg18.start()
    return _module_pg18


@pytest.fixture
def pg15_restartable(_module_pg15: PostgresServer) -> PostgresServer:
    """PostgreSQL 15, otherwise as `pg_restartable`."""
    _module_pg15.start()
    return _module_pg15


@pytest.fixture
def pgbouncer_factory() -> Iterator[PgBouncerFactory]:
    """A function with the arguments of `PgBouncer` that starts one; all are gone at the test's end."""
    _require(pgbouncer.missing())
    factory = PgBouncerFactory()
    yield factory
    factory.close()
