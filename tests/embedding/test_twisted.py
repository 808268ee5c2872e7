"""An adapter outside of pgproto: Twisted, in less than 120 lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pgproto
from pgproto_pytest.behaviours import BEHAVIOURS
from scripts.measure import lines_of
from tests.embedding import kit_of_twisted, on_twisted, uses_twisted
from tests.support.postgres import PASSWORD, PostgresServer

ROOT = Path(__file__).parents[2]


def test_it_does_all_that_an_adapter_does(pg18: PostgresServer) -> None:
    """In a process of its own: a reactor runs once."""
    command = [sys.executable, "-X", "dev", "-m", "tests.embedding.uses_twisted", pg18.dsn()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [use.__name__ for use in uses_twisted.USES], done.stderr
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def dsn(pg18: PostgresServer) -> Iterator[str]:
    """Of a user who has a password, and no right but to create databases."""
    pg18.query("alter role scram_user createdb")
    yield pg18.dsn(user="scram_user", password=PASSWORD)
    pg18.query("alter role scram_user nocreatedb")


@pytest.mark.slow
def test_it_passes_the_conformance_suite(dsn: str) -> None:
    """All of it, in a process of its own, on the build that is tested."""
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", kit_of_twisted.__file__]
    command += ["--pgproto-dsn", dsn, "--import-mode=append", "-o", "pythonpath="]
    environment = {**os.environ, "PGPROTO_BUILD": pgproto.build}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    passed = re.findall(r"^PASSED .*test_behaviour\[(\w+)-twisted\]$", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout
    assert passed == [each.name for each in BEHAVIOURS]


def test_it_is_small() -> None:
    assert len(lines_of(Path(on_twisted.__file__))) < 120
