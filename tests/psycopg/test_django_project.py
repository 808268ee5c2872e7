"""The example `examples/django_project` runs on a real server, on pgproto_psycopg."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer

pytest.importorskip("django")
pytest.importorskip("psycopg_pool")

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples/django_project"


def run(server: PostgresServer, *command: str) -> str:
    where = {"HOST": "127.0.0.1", "PORT": str(server.port), "USER": "postgres", "NAME": "django_project"}
    environ = {**os.environ, **{f"DATABASE_{name}": value for name, value in where.items()}}
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    arguments = [sys.executable, "-W", "error", *command]
    done = subprocess.run(arguments, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout


def test_the_project_answers(pg18: PostgresServer) -> None:
    pg18.query("drop database if exists django_project")
    pg18.query("create database django_project")
    told = json.loads(run(pg18, os.fspath(PROJECT / "run.py")))
    assert told == {
        "orders": [201, 201, 201, 409],
        "tagged": {"products": [["paint", ["wet", "blue"], 0]]},
        "report": {"brush": 0, "paint": 3},
        "async": {"products": ["brush", "paint"]},
        "driver": {"module": "pgproto_psycopg", "count": 2},
    }
    manage = os.fspath(PROJECT / "manage.py")
    assert "no issues" in run(pg18, manage, "check", "--database", "default")
    assert "No changes detected" in run(pg18, manage, "makemigrations", "--check", "--dry-run")
    assert "class ShopProduct(models.Model)" in run(pg18, manage, "inspectdb")
    pg18.query("drop database django_project with (force)")
