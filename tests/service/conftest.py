"""The service on a database of its own.  Without the extra `ecosystem` there are no tests here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

SERVICE = Path(__file__).parents[2] / "examples" / "service"
sys.path.append(str(SERVICE))

if any(importlib.util.find_spec(name) is None for name in ("sqlalchemy", "alembic", "fastapi", "uvicorn")):
    collect_ignore_glob = ["test_*.py"]

DATABASE = "bank"


@pytest.fixture
def empty(pg18: PostgresServer) -> Iterator[str]:
    """A database with nothing in it."""
    pg18.query(f"create database {DATABASE}")
    yield pg18.dsn(dbname=DATABASE)
    pg18.query(f"drop database {DATABASE} with (force)")


@pytest.fixture
def dsn(empty: str) -> str:
    """A database with the tables."""
    from bank.migrating import upgrade

    upgrade(empty)
    return empty
