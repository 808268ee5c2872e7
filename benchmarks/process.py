"""The main process's side of a worker: starts it with the right build of pgproto, asks, ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from .drivers import Driver
from .workloads import Workload

__all__ = ["ROOT", "WorkerError", "WorkerProcess"]

ROOT: Final = Path(__file__).parents[1]


class WorkerError(Exception):
    """A driver failed; the text says how."""


class WorkerProcess:
    """A worker; a context manager that ends it.

    Args:
        driver: who works.
        trees: by build, the directory with that build of pgproto, which comes first on its PYTHONPATH.
    """

    def __init__(self, driver: Driver, trees: Mapping[str, Path]) -> None:
        self.driver = driver
        tree = trees.get(driver.build, ROOT)
        path = [tree, tree / "transports", ROOT, ROOT / "transports"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
        # -P: without it the current directory, which has a pgproto of its own, would come first.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.worker", driver.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def prepare(self, workload: Workload, dsn: str) -> None:
        """Make it ready for a workload.

        Raises:
            WorkerError: it cannot do it, or has another build than it should.
        """
        build = self._ask(do="prepare", workload=workload.name, dsn=dsn)["build"]
        if self.driver.build not in ("", build):
            raise WorkerError(f"{self.driver.name} runs with the {build} build")

    def check(self) -> float:
        """Run it once and hold the result against what is expected: the seconds it took."""
        seconds: float = self._ask(do="check")["wall"]
        return seconds

    def run(self, operations: int) -> dict[str, float]:
        """Run so many operations: "wall" and "cpu" seconds of one, "peak" memory in bytes."""
        return self._ask(do="run", operations=operations)

    def _ask(self, **command: object) -> dict[str, Any]:
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        try:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise WorkerError(f"{self.driver.name}: the process ended with {process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process.stdin is not None:
            try:
                process.stdin.close()
            except OSError:
                pass
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
