"""`python -m benchmarks.before CHECKOUT`: this tree beside an older checkout of pgproto, in pairs.

Rule: in a round the same driver works in two new processes, one for each tree, which take turns; where a
process has its memory, and on which core it is, can make a third of its time.  A round's ratio is that of the
least times, this tree to the older one; what is told is the median of the rounds: below 1.00 this tree is
faster.
"""

from __future__ import annotations

import argparse
import fnmatch
import statistics
import sys
from pathlib import Path
from typing import Final

from pgproto_blocking import connect

from .__main__ import server
from .drivers import DRIVERS, Driver
from .measure import able, empty
from .process import ROOT, WorkerProcess
from .workloads import WORKLOADS, Workload

__all__ = ["ratios"]

_MOST_OPERATIONS: Final = 5000
_TURNS: Final = 4  # of each process in a round


def ratios(
    driver: Driver, workload: Workload, trees: tuple[Path, Path], dsn: str, *, rounds: int, seconds: float
) -> dict[str, float]:
    """Measure a workload on both trees.

    Args:
        driver: who does the work.
        workload: which work.
        trees: the older one, and this one.
        dsn: the server, with the tables of the benchmarks.
        rounds: how many pairs of processes.
        seconds: how long a turn takes, about.

    Returns:
        The medians of this tree's times, divided by the older one's: "cpu" and "wall".
    """
    found: dict[str, list[float]] = {"cpu": [], "wall": []}
    older, this = ({driver.build: tree} for tree in trees)
    for number in range(rounds):
        with (
            connect(dsn) as conn,
            WorkerProcess(driver, older) as before,
            WorkerProcess(driver, this) as now,
        ):
            one = 0.0
            for worker in (before, now):
                worker.prepare(workload, dsn)
                worker.check()
                one = worker.run(3)["wall"]
            operations = max(1, min(_MOST_OPERATIONS, round(seconds / one)))
            times: dict[int, list[dict[str, float]]] = {id(before): [], id(now): []}
            for turn in range(number, number + _TURNS):
                for worker in (before, now) if turn % 2 else (now, before):
                    empty(conn, workload)
                    times[id(worker)].append(worker.run(operations))
        for kind, values in found.items():
            least = [min(each[kind] for each in times[id(worker)]) for worker in (before, now)]
            values.append(least[1] / least[0])
    return {kind: statistics.median(values) for kind, values in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__)
    parser.add_argument("before", type=Path, help="the older tree: a checkout, or an unpacked wheel")
    parser.add_argument("--now", type=Path, default=ROOT, help="this tree (default: this checkout)")
    parser.add_argument("--build", choices=("pure", "compiled"), default="pure", help="of both trees")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="workloads; with wildcards")
    parser.add_argument("--driver", nargs="+", default=["blocking", "asyncio", "trio"], metavar="TEXT")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.05, help="a turn's time")
    parser.add_argument("--dsn", help="a server that runs already; by default one is started")
    options = parser.parse_args()
    trees = (options.before.absolute(), options.now.absolute())
    names = {f"pgproto {text}, {options.build}" for text in options.driver}
    drivers = [driver for driver in DRIVERS.values() if driver.name in names]
    with server(options.dsn) as dsn:
        for workload in WORKLOADS.values():
            wanted = any(fnmatch.fnmatch(workload.name, pattern) for pattern in options.only)
            if not wanted or workload.heavy or workload.fresh or workload.delay:
                continue
            for driver in able(drivers, workload):
                told = ratios(driver, workload, trees, dsn, rounds=options.rounds, seconds=options.seconds)
                sys.stdout.write(
                    f"{workload.name:28} {driver.name:28} cpu {told['cpu']:.3f}  wall {told['wall']:.3f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
