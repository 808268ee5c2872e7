"""The measuring: rounds, in each of which every driver has its turn.

Rule: rounds are interleaved, so that what disturbs the machine for a while disturbs everybody, and the order
of the drivers changes with every round.  Rule: in a round a driver works for about the same time as every
other: how many operations that are is found out before.  A driver that is so slow that its turn takes much
longer has fewer turns, spread over all rounds.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import pgproto_blocking

from .drivers import Driver
from .process import WorkerError, WorkerProcess
from .proxy import delayed
from .series import Series
from .workloads import Workload

__all__ = ["Measurement", "able", "empty"]

_PATIENCE: Final = 6  # times the time of a turn: what one driver may take in all of a workload's rounds, at
_LEAST_TURNS: Final = 2  # least so many turns
_FEW: Final = 3  # rounds, of which one is enough for a slow driver
_MOST_OPERATIONS: Final = 5000

Progress = Callable[[str], None]


def able(drivers: Iterable[Driver], workload: Workload) -> list[Driver]:
    """The drivers that do a workload."""
    return [
        driver
        for driver in drivers
        if driver.can(workload.kind)
        and (driver.main or not workload.mains)
        and any(fnmatch.fnmatchcase(driver.name, pattern) for pattern in workload.drivers)
    ]


def empty(conn: pgproto_blocking.Connection, workload: Workload) -> None:
    """Empty the table that a workload writes to, if there is one."""
    if workload.table:
        conn.execute(f"truncate {workload.table}")


class Measurement:
    """A run of workloads; a context manager that ends the processes it has started.

    Args:
        drivers: who.
        dsn: the server.
        trees: where each build of pgproto is.
        rounds: how many, besides one that warms up and is thrown away.
        seconds: how long a driver's turn takes, about.
        progress: told what is being done.
    """

    def __init__(
        self,
        drivers: Sequence[Driver],
        dsn: str,
        trees: Mapping[str, Path],
        *,
        rounds: int,
        seconds: float,
        progress: Progress,
    ) -> None:
        self._drivers = drivers
        self._trees = trees
        self._rounds = rounds
        self._seconds = seconds
        self._progress = progress
        self._stack = ExitStack()
        self._addresses = {0.0: dsn}
        self._workers: dict[str, WorkerProcess] = {}
        self._main = self._stack.enter_context(pgproto_blocking.connect(dsn))

    def run(self, workload: Workload) -> dict[str, Series]:
        """Measure a workload: the drivers' series by their names."""
        if workload.delay not in self._addresses:
            proxy = delayed(self._addresses[0.0], workload.delay)
            self._addresses[workload.delay] = self._stack.enter_context(proxy)
        drivers = able(self._drivers, workload)
        series = {driver.name: Series(driver.name, driver.way(workload.kind)) for driver in drivers}
        if workload.fresh:
            self._run_fresh(workload, drivers, series)
        else:
            self._run_interleaved(workload, drivers, series)
        return series

    def _run_interleaved(
        self, workload: Workload, drivers: Sequence[Driver], series: Mapping[str, Series]
    ) -> None:
        turns = []
        for driver in drivers:
            self._progress(f"{workload.name}: {driver.name}")
            known = self._workers.get(driver.name)
            if known is None or not known.alive:
                worker = self._stack.enter_context(WorkerProcess(driver, self._trees))
                self._workers[driver.name] = worker
            turn = _Turn(self._workers[driver.name], series[driver.name])
            with turn.failing():
                self._calibrate(turn, workload)
                turns.append(turn)
        rounds = min(self._rounds, workload.rounds)
        for number in range(rounds):
            self._progress(f"{workload.name}: round {number + 1} of {rounds}")
            first = number % len(turns) if turns else 0
            for turn in turns[first:] + turns[:first]:
                if number % turn.every == 0 and not turn.series.error:
                    empty(self._main, workload)
                    with turn.failing():
                        turn.series.add(number, turn.worker.run(turn.operations))

    def _calibrate(self, turn: _Turn, workload: Workload) -> None:
        """Check the result, and find out how many operations a turn has; this warms up as well."""
        worker = turn.worker
        worker.prepare(workload, self._addresses[workload.delay])
        empty(self._main, workload)
        one = worker.check()
        self._stored(workload, worker.driver)
        for _ in range(2):
            turn.operations = max(1, min(_MOST_OPERATIONS, round(self._seconds / one)))
            if turn.operations == 1:
                break
            empty(self._main, workload)
            one = worker.run(max(1, turn.operations // 3))["wall"]
        rounds = min(self._rounds, workload.rounds)
        turns = max(_LEAST_TURNS if rounds > _FEW else 1, _PATIENCE * self._seconds / one)
        turn.every = max(1, math.ceil(rounds / turns))

    def _run_fresh(self, workload: Workload, drivers: Sequence[Driver], series: Mapping[str, Series]) -> None:
        for number in range(min(self._rounds, workload.rounds)):
            for driver in drivers:
                self._progress(f"{workload.name}: round {number + 1}, {driver.name}")
                with (
                    WorkerProcess(driver, self._trees) as worker,
                    _Turn(worker, series[driver.name]).failing(),
                ):
                    worker.prepare(workload, self._addresses[workload.delay])
                    empty(self._main, workload)
                    series[driver.name].add(number, worker.run(1))
                    self._stored(workload, driver)

    def _stored(self, workload: Workload, driver: Driver) -> None:
        """Nobody is fast by storing less."""
        if workload.table:
            stored = self._main.fetchval(f"select count(*) from {workload.table}")
            if stored != workload.stored:
                raise WorkerError(f"{driver.name} stored {stored} rows, not {workload.stored}")

    def __enter__(self) -> Measurement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


class _Turn:
    """A driver in a workload."""

    def __init__(self, worker: WorkerProcess, series: Series) -> None:
        self.worker = worker
        self.series = series
        self.operations = 1
        self.every = 1

    @contextmanager
    def failing(self) -> Iterator[None]:
        """A driver that fails is reported as failed; the others go on."""
        try:
            yield
        except WorkerError as error:
            self.series.error = str(error)
