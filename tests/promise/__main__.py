"""`python -m tests.promise`: run the tests of the promise in full, then write docs/promise.md.

With `--table` the tests are not run, and what the page says of the last run is kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pgproto

from .table import PAGE, ROOT, collect, render

COUNTED = re.compile(r"^counted: (.+)$", re.MULTILINE)
PASSED = re.compile(r"\d+ passed.*")
BUILDS = re.compile(r"\n### (\w+) build\n")


HEADING = "\n## The last whole run\n"
# How pytest is told where the compiled build is, as in the Makefile.
COMPILED = ("--import-mode=append", "-o", "pythonpath={} .")


def run(jobs: int) -> str:
    """Run everything; text about the run.  Ends the process if a test fails."""
    command = [sys.executable, "-m", "pytest", "-n", str(jobs), "-rfEP", "-o", "addopts=", "--strict-markers"]
    if pgproto.build == "compiled":
        place = os.path.relpath(Path(pgproto.__file__).parents[1], ROOT)
        command += [part.format(place) for part in COMPILED]
    environment = {**os.environ, "PGPROTO_PROMISE": "whole"}
    done = subprocess.run(
        [*command, "--timeout=3600", "tests/promise"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout[-20_000:])
        sys.exit(done.returncode)
    passed = PASSED.findall(done.stdout)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    head = f"{date}, CPython {platform.python_version()}: {passed[-1].strip(' =')}."
    return "\n".join([head, "", *(f"- {line}" for line in sorted(set(COUNTED.findall(done.stdout)))), ""])


def main(argv: Sequence[str]) -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.promise", description=__doc__)
    parser.add_argument("--table", action="store_true", help="write the table only")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    asked = parser.parse_args(argv)
    _, _, before = PAGE.read_text(encoding="utf-8").partition(HEADING)
    parts = BUILDS.split(before)[1:]  # a name and a text, in turn
    runs = dict(zip(parts[::2], parts[1::2], strict=True))
    if not asked.table:
        runs[pgproto.build] = f"\n{run(asked.jobs)}"
    page = render(collect())
    if runs:
        page += HEADING + "".join(
            f"\n### {build} build\n{runs[build]}" for build in sorted(runs, reverse=True)
        )
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
