"""A driver's process: it connects once, and runs what it is told to, while all others are idle.

Rule: one process per driver, so that no driver pays for another one's garbage, imports or event loop, and
so that the process's CPU time is the driver's.  Parent and child speak JSON, one line a message:

    {"workload": "batch100", "iterations": 20}  ->  {"seconds": [...], "cpu": 0.014}

The first command for a workload prepares it: the result is held against what the workload expects.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .drivers import DRIVERS, Driver
from .workloads import WORKLOADS, Workload

__all__ = ["Worker"]


class Worker:
    """The parent's side: starts the process; a context manager that ends it."""

    def __init__(self, driver: Driver, dsn: str) -> None:
        self.driver = driver
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", driver.name, dsn],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def run(self, workload: Workload, iterations: int) -> tuple[list[float], float]:
        """Run a workload so many times: the seconds of each, and the CPU seconds of all."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        process.stdin.write(json.dumps({"workload": workload.name, "iterations": iterations}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.driver.name}: the process ended with {process.wait(10)}")
        answer = json.loads(line)
        return answer["seconds"], answer["cpu"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _commands() -> Iterator[tuple[Workload, int]]:
    for line in sys.stdin:
        command = json.loads(line)
        yield WORKLOADS[command["workload"]], command["iterations"]


def _reply(seconds: list[float], cpu: float) -> None:
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu": cpu}) + "\n")
    sys.stdout.flush()


def _check(driver: Driver, session: Any, workload: Workload, result: Any) -> None:
    if session.plain(result) != workload.expected:
        raise AssertionError(f"{driver.name}: a wrong result for {workload.name}")


def _work_blocking(driver: Driver, dsn: str, session: Any) -> None:
    session.connect(dsn)
    operations: dict[str, Any] = {}
    clock, cpu_clock = time.perf_counter, time.process_time
    for workload, iterations in _commands():
        if workload.name not in operations:
            operations[workload.name] = getattr(session, driver.kind)(workload.statements)
            _check(driver, session, workload, operations[workload.name]())
        operation = operations[workload.name]
        seconds: list[float] = []
        gc.collect()
        cpu = cpu_clock()
        for _ in range(iterations):
            start = clock()
            result = operation()
            seconds.append(clock() - start)
        cpu = cpu_clock() - cpu
        _check(driver, session, workload, result)
        _reply(seconds, cpu)
    session.close()


async def _work_async(driver: Driver, dsn: str, session: Any) -> None:
    await session.connect(dsn)
    operations: dict[str, Any] = {}
    clock, cpu_clock = time.perf_counter, time.process_time
    # Reading commands blocks the loop, on purpose: between two of them nothing shall run here.
    for workload, iterations in _commands():
        if workload.name not in operations:
            operations[workload.name] = getattr(session, driver.kind)(workload.statements)
            _check(driver, session, workload, await operations[workload.name]())
        operation = operations[workload.name]
        seconds: list[float] = []
        gc.collect()
        cpu = cpu_clock()
        for _ in range(iterations):
            start = clock()
            result = await operation()
            seconds.append(clock() - start)
        cpu = cpu_clock() - cpu
        _check(driver, session, workload, result)
        _reply(seconds, cpu)
    await session.close()


def _main(name: str, dsn: str) -> None:
    driver = DRIVERS[name]
    work = _work_blocking if driver.blocking else _work_async
    driver.run(driver.make(), lambda session: work(driver, dsn, session))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
