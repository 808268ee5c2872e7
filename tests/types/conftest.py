"""The adapters, one after the other, and both servers with the types of `values.SCHEMA`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer
from tests.types.values import SCHEMA


@pytest.fixture(params=DRIVERS, ids=repr)
def driver(request: pytest.FixtureRequest) -> Driver:
    chosen: Driver = request.param
    return chosen


def _dsn(server: PostgresServer) -> Iterator[str]:
    with server.database() as name:
        server.query(SCHEMA, dbname=name)
        yield server.dsn(dbname=name)


@pytest.fixture(scope="module")
def dsn18(pg18: PostgresServer) -> Iterator[str]:
    yield from _dsn(pg18)


@pytest.fixture(scope="module")
def dsn15(pg15: PostgresServer) -> Iterator[str]:
    yield from _dsn(pg15)


@pytest.fixture(params=["18", "15"])
def dsn(request: pytest.FixtureRequest) -> str:
    """A database with these types, on each of the servers in turn."""
    found: str = request.getfixturevalue(f"dsn{request.param}")
    return found
