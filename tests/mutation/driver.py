"""The run itself, as a pytest plugin: collect once, survey once, then fork a worker for every mutant.

A mutant's tests are those that run its line, the fastest first, and before them those that have just killed
another mutant of the same function.  Together they get so many seconds of CPU; what is left when the time
is over is not run.  So a survivor may be one that a slower test would have killed, never the other way round.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from . import worker
from .operators import Mutant, mutants
from .survey import Survey, survey

__all__ = ["KILLED", "SURVIVED", "TIMEOUT", "UNTESTED", "Driver", "Result"]

KILLED: Final = "killed"
TIMEOUT: Final = "timeout"  # killed as well: a test would not end, or would take all the memory
SURVIVED: Final = "survived"
UNTESTED: Final = "untested"  # no test runs the line


class Result(NamedTuple):
    """What became of one mutant."""

    path: str
    line: int
    function: str
    change: str
    status: str
    test: str


class Driver:
    """The plugin.

    Args:
        paths: the files to break, relative to the root.
        wanted: which mutants are run.
        seconds: CPU seconds of tests for each.
        jobs: how many workers at a time.
    """

    def __init__(
        self, paths: Sequence[Path], wanted: Callable[[Path, Mutant], bool], seconds: float, jobs: int
    ) -> None:
        self.results: list[Result] = []
        self.failed: list[str] = []
        self._sources = {path: path.read_text() for path in paths}
        self._wanted = wanted
        self._budget = seconds
        self._jobs = jobs
        self._running: dict[int, tuple[int, Path, Mutant]] = {}
        self._killers: dict[tuple[Path, str], list[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Examples are searched for, not made small: nobody reads them."""
        import hypothesis  # not before pytest has loaded hypothesis' own plugin

        del session
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutation", hypothesis.settings(), phases=phases)
        hypothesis.settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests once."""
        items = {item.nodeid: item for item in session.items}
        known = survey(session.items, list(self._sources))
        self.failed = known.failed
        if known.failed:
            return True
        for path, source in self._sources.items():
            for mutant in mutants(source):
                if self._wanted(path, mutant):
                    while len(self._running) >= self._jobs:
                        self._reap()
                    self._start(path, mutant, items, known)
        while self._running:
            self._reap()
        return True

    def _start(self, path: Path, mutant: Mutant, items: dict[str, pytest.Item], known: Survey) -> None:
        names = known.of(path, mutant.lines)
        if not names:
            self._record(path, mutant, UNTESTED, "")
            return
        recent = [name for name in self._killers.get((path, mutant.function), ()) if name in names]
        chosen: list[pytest.Item] = []
        left = self._budget
        for name in dict.fromkeys([*recent, *names]):
            left -= known.seconds[name]
            if left < 0 and chosen:
                break
            chosen.append(items[name])
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            self._work(path, mutant, chosen, known, writing)
        os.close(writing)
        self._running[child] = (reading, path, mutant)

    def _work(
        self, path: Path, mutant: Mutant, items: Sequence[pytest.Item], known: Survey, writing: int
    ) -> None:
        """In the worker: it never returns."""
        worker.tame()
        try:
            worker.put(path, self._sources[path], mutant)
        except BaseException:
            os.write(writing, b"import")
            os._exit(1)
        killer = "an exception that went through pytest"
        try:
            killer = worker.run(items, known.seconds)
        finally:
            os.write(writing, killer.encode())
            os._exit(1 if killer else 0)

    def _reap(self) -> None:
        child, status = os.waitpid(-1, 0)
        if child not in self._running:
            return
        reading, path, mutant = self._running.pop(child)
        with os.fdopen(reading, "rb") as answer:
            killer = answer.read().decode()
        if os.WIFSIGNALED(status):
            timed_out = os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL, signal.SIGALRM)
            self._record(path, mutant, TIMEOUT if timed_out else KILLED, f"signal {os.WTERMSIG(status)}")
        elif killer:
            recent = self._killers.setdefault((path, mutant.function), [])
            if killer in recent:
                recent.remove(killer)
            recent.insert(0, killer)
            del recent[5:]
            self._record(path, mutant, KILLED, killer)
        else:
            self._record(path, mutant, SURVIVED, "")

    def _record(self, path: Path, mutant: Mutant, status: str, test: str) -> None:
        self.results.append(Result(str(path), mutant.line, mutant.function, mutant.change, status, test))
        if status in (SURVIVED, UNTESTED):
            print(
                f"\n{path}:{mutant.line} {mutant.function}: {mutant.change}  [{status}]", end="", flush=True
            )
        else:
            print(".", end="", flush=True)
