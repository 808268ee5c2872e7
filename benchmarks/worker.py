"""A driver's process: it runs what it is told to, while all others are idle.

Rule: one process per driver, so that no driver pays for another one's garbage, imports or event loop, and
so that the process's CPU time, threads included, is the driver's.  Parent and child speak JSON, one line a
message:

    {"do": "prepare", "workload": "single", "dsn": "..."}   a new connection, the operation made ready
    {"do": "check"}                                         runs it once and looks at the result
    {"do": "run", "operations": 20}                         -> {"wall": 0.002, "cpu": 0.001, "peak": 31000}

Seconds are those of one operation; `peak` is by how many bytes the process's peak memory has grown.
"""

from __future__ import annotations

import gc
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from . import memory
from .drivers import DRIVERS, Driver
from .workloads import Workload, workloads

__all__ = ["check", "prepared", "settled"]


def build() -> str:
    """The build of pgproto that this process has imported: "compiled" or "pure"."""
    import pgproto
    from pgproto.wire.native import COMPILED

    named = getattr(pgproto, "build", None)
    return named if isinstance(named, str) else ("compiled" if COMPILED else "pure")


def prepared(session: Any, workload: Workload) -> Any:
    """The workload's operation; something to wait for, if the session's method is asynchronous."""
    return getattr(session, workload.kind)(*workload.arguments)


def check(driver: Driver, session: Any, workload: Workload, result: Any) -> None:
    """Hold a result against what the workload expects."""
    plain = session.plain(workload.kind, result)
    if not workload.check(plain):
        raise AssertionError(f"{driver.name}: a wrong result for {workload.name}: {plain!r:.200}")


def _commands() -> Iterator[dict[str, Any]]:
    # Reading blocks an event loop, on purpose: between two commands nothing shall run here.
    for line in sys.stdin:
        yield json.loads(line)


class _Work:
    """What the process is doing: one workload at a time, with a session of its own."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._table = workloads()
        self._session: Any = None
        self._workload: Any = None
        self._operation: Callable[[], Any] = list
        gc.collect()
        gc.freeze()  # the table of workloads is nobody's garbage, and nobody shall pay for looking through it

    async def prepare(self, command: dict[str, Any]) -> dict[str, object]:
        await self.close()
        session = self._driver.session()
        await settled(session.connect(command["dsn"]))
        self._session = session
        self._workload = self._table[command["workload"]]
        self._operation = await settled(prepared(session, self._workload))
        return {"build": build()}

    async def check(self, command: dict[str, Any]) -> dict[str, object]:
        start = time.perf_counter()
        result = await settled(self._operation())
        wall = time.perf_counter() - start
        check(self._driver, self._session, self._workload, result)
        return {"wall": wall}

    async def run(self, command: dict[str, Any]) -> dict[str, object]:
        count = command["operations"]
        gc.collect()
        await self._repeat(count // 5)  # not timed: the other drivers have had the processor's caches
        before = memory.now()
        cpu, start = time.process_time(), time.perf_counter()
        result = await self._repeat(count)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        grown = memory.peak() - before
        check(self._driver, self._session, self._workload, result)
        return {"wall": wall / count, "cpu": cpu / count, "peak": grown}

    async def _repeat(self, count: int) -> Any:
        """So many operations; the last one's result."""
        operation = self._operation
        result: Any = None
        if self._driver.blocking:
            for _ in range(count):
                result = operation()
        else:
            for _ in range(count):
                result = await operation()
        return result

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await settled(session.close())


async def _main(driver: Driver) -> None:
    work = _Work(driver)
    for command in _commands():
        try:
            answer = await getattr(work, command["do"])(command)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await work.close()


async def settled(value: Any) -> Any:
    """The value, waited for if it is something to wait for."""
    return await value if inspect.isawaitable(value) else value


if __name__ == "__main__":
    chosen = DRIVERS[sys.argv[1]]
    chosen.run(lambda: _main(chosen))
