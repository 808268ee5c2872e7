"""Planted bugs: what the simulation is worth.  A rig that finds nothing proves nothing until it finds these.

    python -m tests.sim.planted                   plant each bug, and print how many schedules it survived
    python -m tests.sim.planted --jobs 2 pgx-1920 redis-py
    python -m tests.sim.planted --afresh          hunt from seed 0, and not from where they were found last
    python -m tests.sim.planted --store           keep where each was found

A hunt begins with the seed that `found.json` has for the bug, so that a run of the tests does not repeat the
thousands of schedules that are known to miss it.  A change of the library or the rig moves what a seed does;
then the hunt just goes on from there.

Each bug is a mistake that a driver, a pool or a pooler really had (some are the textbook's), re-created at
the place of *our* code where it would be made.  It is caught if a schedule that the correct library passes
ends in a violation, of a kind that fits the mistake: a bug that is caught because the rig fell over would
prove nothing.  The tables are in `planted_protocol`, `planted_labels`,
`planted_session`, `planted_sessions`, `planted_pool`, `planted_callers`, `planted_blocks`,
`planted_migrations` and `planted_types`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from multiprocessing import Pool
from pathlib import Path
from typing import Final

from . import (
    planted_blocks,
    planted_callers,
    planted_labels,
    planted_migrations,
    planted_pool,
    planted_protocol,
    planted_session,
    planted_sessions,
    planted_types,
)
from .planted_edit import Bug
from .run import run
from .world import Violation

__all__ = ["BUGS", "Catch", "hunt"]

BUGS: Final[dict[str, Bug]] = {
    bug.name: bug
    for part in (
        planted_protocol,
        planted_labels,
        planted_session,
        planted_sessions,
        planted_pool,
        planted_callers,
        planted_blocks,
        planted_migrations,
        planted_types,
    )
    for bug in part.BUGS
}

FOUND: Final = Path(__file__).with_name("found.json")
"""The seed that found each bug last, by the bug's name."""

LIMIT: Final = 20_000
"""Schedules that a bug may survive (the bar B2 of the catalogue of faults)."""


class Catch:
    """How a hunt ended.

    Attributes:
        bug: the planted bug.
        schedules: how many were run, the one that caught it included.
        seconds: of this process's time.
        violation: what was found; None if the bug has survived.
    """

    def __init__(self, bug: Bug, schedules: int, seconds: float, violation: Violation | None) -> None:
        self.bug = bug
        self.schedules = schedules
        self.seconds = seconds
        self.violation = violation

    @property
    def fits(self) -> bool:
        """True if it was caught as what it is."""
        violation = self.violation
        return violation is not None and violation.kind in self.bug.kinds and self.bug.says in violation.what


def found() -> dict[str, int]:
    """The seeds of `FOUND`."""
    seeds: dict[str, int] = json.loads(FOUND.read_text())
    return seeds


def hunt(bug: Bug, limit: int = LIMIT, *, first: int = 0) -> Catch:
    """Plant a bug and run schedules until one is violated.

    Args:
        bug: what to plant.
        limit: how many schedules at the most.
        first: the seed of the first one.
    """
    before = time.process_time()
    with bug.planted():
        for number in range(limit):
            try:
                run(first + number, bug.profile)
            except Violation as violation:
                return Catch(bug, number + 1, time.process_time() - before, violation)
    return Catch(bug, limit, time.process_time() - before, None)


def _line(catch: Catch) -> str:
    bug = catch.bug
    violation = catch.violation
    if violation is None:
        verdict = "SURVIVED"
    else:
        verdict = violation.kind if catch.fits else f"{violation.kind}, WHICH DOES NOT FIT"
    what = "" if violation is None else violation.what.partition("\n")[0][:90]
    return f"{bug.name:32} {bug.profile:12} {catch.schedules:6} {catch.seconds:7.1f}  {verdict:12} {what}"


def _hunt(request: tuple[str, int, int]) -> tuple[str, str, int | None]:
    """The bug's name, the line of the report, and the seed if the bug was caught as what it is."""
    name, limit, first = request
    catch = hunt(BUGS[name], limit, first=first)
    seed = catch.violation.seed if catch.violation is not None and catch.fits else None
    return name, _line(catch), seed


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim.planted", description="Plant bugs and hunt them."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="the bugs to plant; all of them by default")
    parser.add_argument("--limit", type=int, default=LIMIT, help="schedules per bug")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--afresh", action="store_true", help="begin with seed 0")
    parser.add_argument("--store", action="store_true", help="write where each was found")
    options = parser.parse_args(None if arguments is None else list(arguments))
    names = options.names or list(BUGS)
    unknown = [name for name in names if name not in BUGS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(BUGS)}")
    print(f"{'planted bug':32} {'profile':12} {'needed':>6} {'seconds':>7}  caught as")
    bad = 0
    seeds = found()
    requests = [(name, options.limit, 0 if options.afresh else seeds.get(name, 0)) for name in names]
    with Pool(options.jobs) as workers:
        for name, line, seed in workers.imap(_hunt, requests):
            print(line, flush=True)
            if seed is None:
                bad += 1
            else:
                seeds[name] = seed
    if options.store:
        FOUND.write_text(json.dumps({name: seeds[name] for name in BUGS if name in seeds}, indent=1) + "\n")
    print(f"{len(names) - bad} of {len(names)} planted bugs were caught as what they are")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
