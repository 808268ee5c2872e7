"""An adapter of somebody else's: Twisted, in less than 120 lines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scripts.measure import lines_of
from tests.embedding import on_twisted, uses_twisted
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


def test_it_does_all_that_an_adapter_does(pg18: PostgresServer) -> None:
    """In a process of its own: a reactor runs once."""
    command = [sys.executable, "-X", "dev", "-m", "tests.embedding.uses_twisted", pg18.dsn()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [use.__name__ for use in uses_twisted.USES], done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_small() -> None:
    assert len(lines_of(Path(on_twisted.__file__))) < 120
