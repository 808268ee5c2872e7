"""Connections of DB-API to the shared server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgproto_blocking import dbapi
from tests.support.postgres import PostgresServer


@pytest.fixture
def dsn(pg18: PostgresServer) -> str:
    return pg18.dsn()


@pytest.fixture
def conn(dsn: str) -> Iterator[dbapi.Connection]:
    connection = dbapi.connect(dsn)
    yield connection
    connection.close()


@pytest.fixture
def auto(dsn: str) -> Iterator[dbapi.Connection]:
    connection = dbapi.connect(dsn, autocommit=True)
    yield connection
    connection.close()
