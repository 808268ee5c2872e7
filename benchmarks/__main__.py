"""`make bench`, or `python -m benchmarks` in a checkout with the extra `bench`.  See README.md here."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pgproto_blocking import connect
from pgproto_pytest.postgres import PostgresServer

from . import facts, report, tables
from .drivers import DRIVERS, FLOOR, Driver
from .growth import growths
from .measure import Measurement, able
from .process import ROOT, WrongBuildError
from .series import Series
from .targets import TARGETS
from .workloads import SETUP, WORKLOADS, Workload

_SETTINGS: Final = {"max_connections": "300", "synchronous_commit": "off", "shared_buffers": "'256MB'"}
_DATABASE: Final = "pgproto_benchmarks"


def main() -> None:
    """Measure and report."""
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server and the workers are ended
    trees = {"pure": options.pure, "compiled": options.compiled}
    drivers = _drivers(options, trees)
    workloads = [workload for workload in _workloads(options) if able(drivers, workload)]
    rounds = options.rounds or (3 if options.quick else 25)
    seconds = options.seconds or (0.01 if options.quick else 0.02)
    results: dict[str, dict[str, Series]] = {}
    with (
        server(options.dsn) as dsn,
        Measurement(drivers, dsn, trees, rounds=rounds, seconds=seconds, progress=_progress) as measurement,
    ):
        with connect(dsn) as conn:
            version = conn.parameters["server_version"].split()[0]
        circumstances = facts.circumstances(drivers, version, rounds)
        for number, workload in enumerate(workloads, 1):
            began = time.monotonic()
            try:
                results[workload.name] = measurement.run(workload)
            except WrongBuildError as error:
                raise SystemExit(str(error)) from None
            _progress("")
            _say(f"{number}/{len(workloads)} {workload.name}: {time.monotonic() - began:.1f} s")
            for one in results[workload.name].values():
                if one.error:
                    _say(f"    {one.driver} failed: {one.error}")
    directory = ROOT / ("docs/benchmarks" if options.publish else "build/benchmarks")
    files = report.write(directory, results, circumstances)
    if options.docs:
        report.write_page(ROOT / "docs" / "figures.md", tables.summary(results, circumstances))
    for fit in growths(results):
        _say(
            f"growth with {fit.family}, {fit.driver}: exponent {fit.exponent:.2f}, at the end {fit.last:.2f}"
        )
    for target in TARGETS:
        _say(f"{target.title}: {target.verdict(results)}")
    _say("\n".join(str(path.relative_to(ROOT)) for path in files))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="pgproto beside its peers")
    parser.add_argument("--quick", action="store_true", help="three short rounds, nothing heavy: two minutes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these workloads; with wildcards")
    parser.add_argument(
        "--driver",
        action="append",
        metavar="TEXT",
        help="only drivers with this in their name (and the floor)",
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default 25)")
    parser.add_argument("--seconds", type=float, help="a driver's turn in a round (default 0.02)")
    parser.add_argument("--pure", type=Path, default=ROOT, help="the pure build (default: this checkout)")
    parser.add_argument(
        "--compiled",
        type=Path,
        default=ROOT / "build/compiled",
        help="the compiled build, unpacked (default: build/compiled, if it is there)",
    )
    parser.add_argument("--dsn", help="a server that runs already; by default one is started")
    parser.add_argument(
        "--publish", action="store_true", help="write to docs/benchmarks, not to build/benchmarks"
    )
    parser.add_argument("--docs", action="store_true", help="write the targets into docs/figures.md as well")
    return parser


def _drivers(options: argparse.Namespace, trees: dict[str, Path]) -> list[Driver]:
    """The drivers that are wanted and can be had; what is missing is said."""
    chosen = []
    texts = options.driver
    for driver in DRIVERS.values():
        if texts is not None and driver.name != FLOOR and not any(text in driver.name for text in texts):
            continue
        if driver.missing:
            _say(f"{driver.name} is left out: {driver.missing} is not installed")
        elif options.quick and not driver.main:
            _say(f"{driver.name} is left out of a quick run")
        elif driver.build and not (trees[driver.build] / "pgproto").is_dir():
            _say(f"{driver.name} is left out: there is no {driver.build} build")
        else:
            chosen.append(driver)
    return chosen


def _workloads(options: argparse.Namespace) -> list[Workload]:
    if options.only:
        chosen = [
            workload
            for workload in WORKLOADS.values()
            if any(fnmatch.fnmatch(workload.name, pattern) for pattern in options.only)
        ]
        if not chosen:
            raise SystemExit(f"no such workload; there are: {', '.join(WORKLOADS)}")
        return chosen
    return [workload for workload in WORKLOADS.values() if not (options.quick and workload.heavy)]


@contextlib.contextmanager
def server(dsn: str | None) -> Iterator[str]:
    """A URL of a database with the benchmark's tables; of a server that is given, a database of our own."""
    with contextlib.ExitStack() as stack:
        if dsn is None:
            dsn = stack.enter_context(PostgresServer("18", settings=_SETTINGS)).dsn()
        elsewhere = _with_database(dsn)
        with connect(dsn) as conn:
            conn.script(f"drop database if exists {_DATABASE} with (force)")
            conn.script(f"create database {_DATABASE}")
            conn.script(f"alter database {_DATABASE} set synchronous_commit = off")
        with connect(elsewhere) as conn:
            for sql in SETUP:
                conn.execute(sql)
        yield elsewhere
        with connect(dsn) as conn:
            conn.script(f"drop database if exists {_DATABASE} with (force)")


def _with_database(dsn: str) -> str:
    head, mark, options = dsn.partition("?")
    base, _, _ = head.rpartition("/")
    return f"{base}/{_DATABASE}{mark}{options}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    main()
