"""Connections that are dropped, forked, or made by files and several hosts: `lifetimes.py` as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

pytest.importorskip("psycopg")

ROOT = Path(__file__).parents[2]


def test_lifetimes(pg18: PostgresServer, tmp_path: Path) -> None:
    dsn = f"host=127.0.0.1 port={pg18.port} user=postgres dbname=postgres"
    arguments = [dsn, os.fspath(tmp_path), os.fspath(pg18.directory)]
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.psycopg.lifetimes", *arguments]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert done.stdout == '"fine"', done.stderr
    assert "Warning" not in done.stderr
    assert "ignored" not in done.stderr
