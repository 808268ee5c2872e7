"""Engines on the shared server.  Without SQLAlchemy there are no tests here."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres import PostgresServer

if TYPE_CHECKING:
    from sqlalchemy import Engine

if importlib.util.find_spec("sqlalchemy") is None or importlib.util.find_spec("alembic") is None:
    collect_ignore_glob = ["test_*.py"]

DATABASE = "sqlalchemy_dialect"


@pytest.fixture(scope="session")
def database(pg18: PostgresServer) -> PostgresServer:
    pg18.query(f"create database {DATABASE}")
    pg18.query("create extension hstore; create extension citext", dbname=DATABASE)
    return pg18


@pytest.fixture
def url(database: PostgresServer) -> str:
    return database.dsn(dbname=DATABASE).replace("postgresql:", "postgresql+pgproto:")


@pytest.fixture
def options() -> dict[str, Any]:
    """A test's own arguments for `create_engine`."""
    return {}


@pytest.fixture
def engine(url: str, options: dict[str, Any]) -> Iterator[Engine]:
    from sqlalchemy import create_engine

    made = create_engine(url, **options)
    yield made
    made.dispose()
