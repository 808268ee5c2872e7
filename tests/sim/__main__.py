"""Run schedules: `python -m tests.sim --seeds 200000 --jobs 2`; see one: `--replay SEED -v`."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

from .coverage import Pair, cells_report, deeds_report, pairs_report, watching
from .run import run
from .settings import EVERY, PROFILES
from .world import Violation

# How many schedules a process takes at a time.
_CHUNK = 250
# How many violations are printed.
_SHOWN = 20


class Totals:
    """What a number of schedules has done."""

    def __init__(self) -> None:
        self.schedules = 0
        self.queries = 0
        self.succeeded = 0
        self.links = 0
        self.seconds = 0.0
        self.pairs: set[Pair] = set()
        self.cells: set[tuple[int, str]] = set()
        self.deeds: set[tuple[str, str]] = set()
        self.violations: list[tuple[str, int, str, str]] = []

    def add(self, other: Totals) -> None:
        """Sum up."""
        self.schedules += other.schedules
        self.queries += other.queries
        self.succeeded += other.succeeded
        self.links += other.links
        self.seconds += other.seconds
        self.pairs |= other.pairs
        self.cells |= other.cells
        self.deeds |= other.deeds
        self.violations += other.violations


def chunk(first: int, count: int, profile: str) -> Totals:
    """Run some schedules one after another."""
    totals = Totals()
    gc.disable()  # a schedule's garbage is cyclic and short; collecting at random moments costs most
    with watching(totals.pairs):
        for seed in range(first, first + count):
            try:
                report = run(seed, profile)
            except Violation as violation:
                totals.violations.append((profile, seed, violation.kind, violation.what))
            else:
                totals.queries += report.queries
                totals.succeeded += report.succeeded
                totals.links += report.links
                totals.seconds += report.seconds
                totals.cells |= report.cells
                totals.deeds |= report.deeds
            totals.schedules += 1
    gc.collect()
    return totals


def _chunk(arguments: tuple[int, int, str]) -> Totals:
    return chunk(*arguments)


def _chunks(first: int, counts: dict[str, int]) -> Iterator[tuple[int, int, str]]:
    for profile, count in counts.items():
        for start in range(first, first + count, _CHUNK):
            yield start, min(_CHUNK, first + count - start), profile


def _replay(seed: int, profile: str, *, verbose: bool) -> int:
    try:
        report = run(seed, profile, trace=verbose)
    except Violation as violation:
        print(violation)
        return 1
    print(
        f"seed {seed}: {report.queries} queries, {report.succeeded} succeeded, {report.links} links,"
        " no violation"
    )
    if verbose:
        print(report.trace)
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many schedules")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="one kind of schedules; if not: every")
    parser.add_argument("--replay", type=int, help="run one seed")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace")
    options = parser.parse_args()
    if options.replay is not None:
        return _replay(options.replay, options.profile or "all", verbose=options.verbose)
    gc.freeze()
    begun = time.perf_counter()
    totals = Totals()
    if options.profile:
        counts = {options.profile: options.seeds}
    else:
        counts = {profile: -(-options.seeds * share // 100) for profile, share in EVERY.items()}
    chunks = _chunks(options.first, counts)
    if options.jobs > 1:
        with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
            for part in pool.imap(_chunk, chunks):
                _progress(totals, part, options.seeds)
    else:
        for arguments in chunks:
            _progress(totals, chunk(*arguments), options.seeds)
    _print(totals, time.perf_counter() - begun, options)
    return 1 if totals.violations else 0


def _progress(totals: Totals, part: Totals, seeds: int) -> None:
    totals.add(part)
    if sys.stderr.isatty():
        print(f"\r{totals.schedules} of {seeds}", end="", file=sys.stderr)


def _print(totals: Totals, took: float, options: Any) -> None:
    each = 1000 * took * options.jobs / max(1, totals.schedules)
    which = f"profile {options.profile!r}" if options.profile else "every profile"
    print(
        f"{totals.schedules} schedules of {which} from seed {options.first}"
        f" in {took:.1f} s ({each:.2f} ms each and process):"
        f" {totals.queries} queries, {totals.succeeded} succeeded,"
        f" {totals.links} links, {totals.seconds / 3600:.1f} virtual hours"
    )
    print(pairs_report(totals.pairs))
    print(cells_report(totals.cells))
    if totals.deeds:
        print(deeds_report(totals.deeds))
    print(f"violations: {len(totals.violations)}")
    for profile, seed, kind, what in totals.violations[:_SHOWN]:
        print(textwrap.indent(f"{kind}: {what.rstrip()}", "  "))
        print(f"    python -m tests.sim --profile {profile} --replay {seed} -v")


if __name__ == "__main__":
    sys.exit(main())
