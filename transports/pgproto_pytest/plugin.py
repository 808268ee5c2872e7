"""The plugin: pytest finds it by the entry point, in every environment that has pgproto.

So it imports nothing before a test asks for one of its fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pgproto_pytest.server import Server

__all__ = ["database", "database_template", "postgres"]

pytest.register_assert_rewrite("pgproto_pytest.behaviours")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--pgproto-dsn` and the ini option `pgproto_dsn`."""
    what = "the server of the fixture `postgres`, by its connection string (default: an embedded one)"
    parser.getgroup("pgproto").addoption("--pgproto-dsn", metavar="DSN", help=what)
    parser.addini("pgproto_dsn", what, default="")


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[Server]:
    """A PostgreSQL server, for the whole run of one process: a worker of xdist has its own.

    It is the one that `--pgproto-dsn`, the environment variable PGPROTO_DSN or the ini option `pgproto_dsn`
    names: there in a database of its own, which is dropped at the end.  Otherwise it is an embedded one; if
    that cannot be, the test fails.  To have another, define a fixture of this name that gives a
    `pgproto_pytest.Server`.
    """
    option = pytestconfig.getoption("--pgproto-dsn")
    dsn = option or os.environ.get("PGPROTO_DSN") or pytestconfig.getini("pgproto_dsn")
    if dsn:
        from pgproto_pytest.server import Server

        server = Server(dsn)
        with server.database() as name:
            yield Server(server.dsn(dbname=name))
        return
    if os.name != "posix":
        pytest.fail("an embedded server needs a POSIX system: name a server by --pgproto-dsn", pytrace=False)
    from pgproto_pytest.postgres import PostgresServer, missing

    reason = missing()
    if reason is not None:
        pytest.fail(f"{reason}; or name a server by --pgproto-dsn", pytrace=False)
    with PostgresServer() as embedded:
        yield embedded


@pytest.fixture(scope="session")
def database_template() -> str:
    """The database that each test's `database` is a copy of.

    Define a fixture of this name to have tables there: make them once, and give the name of their database.
    Nobody may stay connected to it.
    """
    return "template1"


@pytest.fixture
def database(postgres: Server, database_template: str) -> Iterator[str]:
    """The connection string of a fresh database, which is dropped after the test."""
    with postgres.database(database_template) as name:
        yield postgres.dsn(dbname=name)
