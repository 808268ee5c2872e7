"""The main process's side of a worker: starts it with the right build of pgproto, asks, ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from .drivers import Driver
from .workloads import Workload

__all__ = ["ROOT", "WorkerError", "WorkerProcess", "WrongBuildError"]

ROOT: Final = Path(__file__).parents[1]

_PATIENCE: Final = 30.0  # seconds that a worker may take to answer
_LONG_PATIENCE: Final = 300.0  # the same for what is large


class WrongBuildError(Exception):
    """A worker has imported another build of pgproto than it should: the run would be worthless."""


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
        self._patience = _PATIENCE
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

    @property
    def alive(self) -> bool:
        """False once the process has ended: a driver that hangs is killed."""
        return self._process.poll() is None

    def prepare(self, workload: Workload, dsn: str) -> None:
        """Make it ready for a workload.

        Raises:
            WorkerError: it cannot do it.
            WrongBuildError: it has another build than it should.
        """
        self._patience = _LONG_PATIENCE if workload.fresh else _PATIENCE
        build = self._ask(do="prepare", workload=workload.name, dsn=dsn)["build"]
        if self.driver.build not in ("", build):
            raise WrongBuildError(
                f"{self.driver.name} has imported the {build} build: see --pure and --compiled"
            )

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
        watch = threading.Timer(self._patience, process.kill)
        watch.start()
        try:
            process.stdin.write(json.dumps(command) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            expired = watch.finished.is_set()
            watch.cancel()
        if not line:
            how = (
                f"no answer within {self._patience:g} s"
                if expired
                else f"the process ended with {process.wait(10)}"
            )
            raise WorkerError(f"{command['do']}: {how}")
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
