"""The measuring: rounds, in each of which every driver has its turn, and the figures made of them.

Rule: rounds are interleaved, so that what disturbs the machine for a while disturbs everybody.  The order
of the drivers changes with every round.  Rule: a ratio is made within a round, of two medians that were
measured within a second or so of one another, and the median of the rounds' ratios is reported.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from .drivers import Driver
from .worker import Worker
from .workloads import Workload

__all__ = ["Series", "measure"]


class Series:
    """What was measured of one driver: for each round the seconds of each run, and the CPU seconds of one."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.rounds: list[list[float]] = []
        self.cpu: list[float] = []

    def add(self, seconds: list[float], cpu: float) -> None:
        """The results of a round."""
        self.rounds.append(seconds)
        self.cpu.append(cpu / len(seconds))

    @property
    def samples(self) -> list[float]:
        """The seconds of all runs."""
        return [seconds for one in self.rounds for seconds in one]

    @property
    def median(self) -> float:
        """The median of all runs, in seconds."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of all runs, in seconds."""
        first, _, third = statistics.quantiles(self.samples, n=4, method="inclusive")
        return first, third

    @property
    def fastest(self) -> float:
        """The fastest run, in seconds."""
        return min(self.samples)

    @property
    def cpu_median(self) -> float:
        """CPU seconds of the client's process for one run: the median of the rounds."""
        return statistics.median(self.cpu)

    def ratio_to(self, other: Series) -> float:
        """How many times the other's time this one takes: the median of the rounds' ratios."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(
            statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs
        )

    def as_dict(self) -> dict[str, object]:
        """Everything, for the JSON file."""
        first, third = self.quartiles
        return {
            "driver": self.driver.name,
            "way": self.driver.way,
            "median_seconds": self.median,
            "min_seconds": self.fastest,
            "quartiles_seconds": [first, third],
            "cpu_seconds": self.cpu_median,
            "rounds_seconds": self.rounds,
            "rounds_cpu_seconds": self.cpu,
        }


def measure(
    drivers: Iterable[Driver],
    workloads: Sequence[Workload],
    dsn: str,
    rounds: int,
    progress: Callable[[str], None],
) -> dict[str, list[Series]]:
    """Measure all drivers with all workloads: by the workload's name, the series in the drivers' order.

    Args:
        drivers: who.
        workloads: what; a driver does those of its kind.
        dsn: the server.
        rounds: how many, besides one that warms up and is thrown away.
        progress: told what is being done.
    """
    results: dict[str, list[Series]] = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(driver, dsn)) for driver in drivers]
        for workload in workloads:
            able = [worker for worker in workers if worker.driver.kind in workload.kinds]
            series = {worker: Series(worker.driver) for worker in able}
            for worker in able:
                progress(f"{workload.name}: warming up {worker.driver.name}")
                worker.run(workload, workload.iterations)
            for number in range(rounds):
                progress(f"{workload.name}: round {number + 1} of {rounds}")
                turn = number % len(able)
                for worker in able[turn:] + able[:turn]:
                    series[worker].add(*worker.run(workload, workload.iterations))
            results[workload.name] = [series[worker] for worker in able]
    return results
