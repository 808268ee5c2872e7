"""psycopg's public API, psycopg_pool and SQLAlchemy's psycopg dialect on pgproto_psycopg, beside libpq."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

pytest.importorskip("psycopg_pool")
pytest.importorskip("psycopg_binary")

ROOT = Path(__file__).parents[2]


def said(module: str, dsn: str, implementation: str) -> object:
    command = [sys.executable, "-W", "error", "-m", "pgproto_psycopg", "-m", module, dsn]
    roots = os.pathsep.join(sys.path)
    environ = {**os.environ, "PSYCOPG_IMPL": implementation, "PYTHONPATH": roots}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ["tests.psycopg.highlevel", "tests.psycopg.on_sqlalchemy"])
def test_programs_say_the_same(pg18: PostgresServer, module: str) -> None:
    if module.endswith("sqlalchemy"):
        pytest.importorskip("sqlalchemy")
    pg18.query("drop database if exists psycopg_programs")
    pg18.query("create database psycopg_programs")
    dsn = f"postgresql://postgres@127.0.0.1:{pg18.port}/psycopg_programs"
    ours, theirs = (said(module, dsn, implementation) for implementation in ("pgproto", "binary"))
    assert ours == theirs
    pg18.query("drop database psycopg_programs with (force)")


def test_over_tls(pg15: PostgresServer) -> None:
    dsn = (
        f"postgresql://postgres@localhost:{pg15.port}/postgres?sslmode=verify-full&sslrootcert={pg15.tls.ca}"
    )
    assert said("tests.psycopg.highlevel", dsn, "pgproto") == said("tests.psycopg.highlevel", dsn, "binary")
