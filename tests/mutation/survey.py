"""Which test runs which line, and how long it takes: one run of all of them, with coverage's contexts."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import coverage
import pytest
from _pytest.runner import runtestprotocol

__all__ = ["Survey", "survey"]


class Survey(NamedTuple):
    """What one run of the tests showed.

    Attributes:
        seconds: the CPU time of each test.
        failed: the tests that fail with nothing broken; there must be none.
        tests: by file and line, the tests that run it.
    """

    seconds: dict[str, float]
    failed: list[str]
    tests: dict[str, dict[int, list[str]]]

    def of(self, path: Path, lines: Sequence[int]) -> list[str]:
        """The tests that run one of these lines, the fastest first.

        No lines are given for what is executed at import: then it is every test that runs any line of the
        file, and all tests for a file that has nothing but tables.
        """
        by_line = self.tests.get(str(path), {})
        found = {test for line in (lines or by_line) for test in by_line.get(line, ())}
        if not found and not lines:
            found = set(self.seconds)
        return sorted(found, key=lambda test: (self.seconds[test], test))


def survey(items: Sequence[pytest.Item], paths: Sequence[Path]) -> Survey:
    """Run every test once, in a process of its own, and report."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        with os.fdopen(writing, "w") as out:
            json.dump(_measure(items, paths), out)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        seconds, failed, tests = json.load(answer)
    os.waitpid(child, 0)
    return Survey(
        seconds,
        failed,
        {path: {int(line): found for line, found in of.items()} for path, of in tests.items()},
    )


def _measure(items: Sequence[pytest.Item], paths: Sequence[Path]) -> Survey:
    measured = coverage.Coverage(data_file=None, config_file=False, include=[str(path) for path in paths])
    seconds: dict[str, float] = {}
    failed: list[str] = []
    measured.start()
    for place, item in enumerate(items):
        measured.switch_context(item.nodeid)
        begun = time.process_time()
        following = items[place + 1] if place + 1 < len(items) else None
        reports = runtestprotocol(item, log=False, nextitem=following)
        seconds[item.nodeid] = time.process_time() - begun
        if any(report.failed for report in reports):
            failed.append(item.nodeid)
    measured.stop()
    data = measured.get_data()
    tests: dict[str, dict[int, list[str]]] = {}
    for path in paths:
        contexts = data.contexts_by_lineno(str(path.resolve()))
        tests[str(path)] = {line: [name for name in names if name] for line, names in contexts.items()}
    return Survey(seconds, failed, tests)
