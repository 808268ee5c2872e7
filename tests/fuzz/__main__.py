"""Fuzz everything that reads bytes or text from outside, and say what came of it.

    python -m tests.fuzz                            a short run: some 30 seconds in all
    python -m tests.fuzz --inputs 5000000           a long one, spread over the targets
    python -m tests.fuzz client dsn --inputs 100000 these targets only
    python -m tests.fuzz --inputs 5000000 --blind   several times as fast: mutations of what is kept, no guide
    python -m tests.fuzz --inputs 1000000 --keep    afterwards, keep the smallest set of inputs

Needs atheris (`pip install atheris`; Linux, CPython 3.11 to 3.13).  What was found before is replayed without
it by `test_fuzz.py`.  Ends with 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz.inputs import keep, kept, seeds
from tests.fuzz.measure import SLOW
from tests.fuzz.targets import TARGETS

FOREVER = 10**9


class Job:
    """One target of a run."""

    def __init__(self, target: str, directory: Path) -> None:
        self.target = target
        self.report = directory / f"{target}.json"
        self.log = directory / f"{target}.log"
        self.found = directory / f"{target}-found"
        self.seeds = directory / f"{target}-seeds"
        self.found.mkdir()
        self.seeds.mkdir()
        for number, data in enumerate(seeds(target)):
            (self.seeds / f"{number:06}").write_bytes(data)

    def run(self, inputs: int, seconds: float, how: str) -> dict[str, Any]:
        """Fuzz, and return the worker's report; what the worker died of, if it did, is a finding."""
        command = [sys.executable, "-m", "tests.fuzz.worker", self.target, str(self.report)]
        command += [str(inputs), str(seconds), how, str(self.found), str(self.seeds)]
        with self.log.open("w") as log:
            done = subprocess.run(command, stdout=log, stderr=log, cwd=self.log.parent, check=False)
        text = self.log.read_text(errors="replace")
        report: dict[str, Any] = {"inputs": 0, "seconds": 1, "slowest": 0, "peak": 0, "findings": {}}
        if self.report.exists():
            report = json.loads(self.report.read_text())
        if done.returncode or not self.report.exists():
            report["findings"]["worker"] = [f"exit code {done.returncode}\n{text[-3000:]}", ""]
        return report

    def minimise(self) -> None:
        """Keep the smallest set of inputs that reaches all that was reached."""
        everything = [path.read_bytes() for place in (self.found, self.seeds) for path in place.iterdir()]
        keep(self.target, cover(self.target, [*kept(self.target), *everything]))


def cover(target: str, inputs: list[bytes]) -> list[bytes]:
    """A small set of inputs that executes every line (and line after line) that all of them execute."""
    seen: set[tuple[object, ...]] = set()
    chosen: list[bytes] = []
    for data in sorted(set(inputs), key=lambda each: (len(each), each)):
        reached = _reached(target, data)
        if not reached <= seen:
            seen |= reached
            chosen.append(data)
    return chosen


def _reached(target: str, data: bytes) -> set[tuple[object, ...]]:
    reached: set[tuple[object, ...]] = set()

    def trace(frame: Any, event: str, _: object) -> Any:
        code = frame.f_code
        if "pgproto" not in code.co_filename:
            return None
        last = code.co_firstlineno

        def line(frame: Any, event: str, _: object) -> Any:
            nonlocal last
            reached.add((code, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        TARGETS[target](data)
    except Exception as error:
        reached.add((type(error), str(error)))  # a finding: keep it
    finally:
        sys.settrace(None)
    return reached


def main(arguments: list[str]) -> int:
    """Run the targets and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Coverage-guided fuzzing.")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all of them by default")
    parser.add_argument("--inputs", type=int, help="how many inputs in all")
    parser.add_argument(
        "--seconds", type=float, help="how many seconds in all (default 30, without --inputs)"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--blind", action="store_true", help="without the guidance by coverage")
    parser.add_argument(
        "--keep", action="store_true", help="keep the smallest set of inputs in the repository"
    )
    options = parser.parse_args(arguments)
    targets = options.targets or list(TARGETS)
    seconds = options.seconds or (FOREVER if options.inputs else 30.0)
    share = seconds * options.processes / len(targets)
    inputs = -(-(options.inputs or FOREVER) // len(targets))
    how = "blind" if options.blind else "guided"
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, f"{root}/transports", os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory(prefix="pgproto-fuzz-") as directory:
        jobs = [Job(target, Path(directory)) for target in targets]
        with ThreadPoolExecutor(options.processes) as pool:
            reports = dict(zip(targets, pool.map(lambda job: job.run(inputs, share, how), jobs), strict=True))
        failed = show(reports)
        if options.keep:
            for job in jobs:
                job.minimise()
    return failed


def show(reports: dict[str, dict[str, Any]]) -> int:
    """Print the report; 1 if there is a finding."""
    print(f"{'target':10} {'inputs':>9} {'per CPU s':>9} {'slowest':>8} {'peak MiB':>9} findings")
    for target, report in reports.items():
        print(
            f"{target:10} {report['inputs']:9} {report['inputs'] / max(report['seconds'], 1e-9):9.0f}"
            f" {report['slowest']:7.1f}x {report['peak'] >> 20:9} {len(report['findings'])}"
        )
    print(f"{'all':10} {sum(report['inputs'] for report in reports.values()):9}")
    for target, report in reports.items():
        if report["slowest"] > SLOW:
            print(
                f"{target}: linear, but {report['slowest']:.0f} times the median: {report['slowest_input']}"
            )
        for key, (text, data) in report["findings"].items():
            print(f"\n== {target}: {key}\n{text}\ninput: {data}")
    return int(any(report["findings"] for report in reports.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
