"""Run it: `python -m tests.mutation [FILE or DIRECTORY ...] [options]`, from the root of the repository.

    python -m tests.mutation                                     all of pgproto/protocol and pgproto/pool
    python -m tests.mutation pgproto/pool/fleet.py               one file
    python -m tests.mutation pgproto/pool --survivors            those that survived the last time
    python -m tests.mutation --every 5                           a sample
    python -m tests.mutation --tests tests/test_pool_*.py        with these tests alone

Prints a dot for a mutant that was killed and a line for one that was not, then the score of each file.  The
results are kept in build/mutation.json.  It exits with 1 if the score is below `--fail-under`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from .driver import KILLED, TIMEOUT, Driver, Result
from .operators import Mutant

RESULTS: Final = Path("build/mutation.json")
PACKAGES: Final = ("pgproto/protocol", "pgproto/pool")
# The unit tests that reach these packages: no sockets, no servers, nothing that reads the source.
SUBJECTS: Final = (
    "authentication certificate connection inflight pool prefixes require_auth retry saslprep scram "
    "server_authentication states tls verifier"
)


def main() -> int:
    """Parse the arguments, run, report."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Break it, and see who notices."
    )
    parser.add_argument("paths", nargs="*", type=Path, default=[Path(package) for package in PACKAGES])
    parser.add_argument("--tests", nargs="+", type=Path, default=None, help="instead of the unit tests")
    parser.add_argument("--survivors", action="store_true", help="only what survived the last time")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="a sample: each Nth of a file")
    parser.add_argument("--lines", default="", help="only the lines from-to, as in 10-20")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU seconds of tests per mutant")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--fail-under", type=float, default=0.0, metavar="PERCENT")
    options = parser.parse_args()
    files = [
        file for path in options.paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    tests = options.tests or [
        test for subject in SUBJECTS.split() for test in sorted(Path("tests").glob(f"test_{subject}*.py"))
    ]
    before = _load()
    left = {_key(result) for result in before if result.status not in (KILLED, TIMEOUT)}
    first, _, last = options.lines.partition("-")

    def wanted(path: Path, mutant: Mutant) -> bool:
        if options.survivors and (str(path), mutant.function, mutant.change, mutant.line) not in left:
            return False
        if mutant.number % options.every:
            return False
        return not first or int(first) <= mutant.line <= int(last or first)

    driver = Driver(files, wanted, options.seconds, options.jobs)
    quiet = ["-q", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-o", "timeout=0"]
    quiet += ["-W", "ignore:This process:DeprecationWarning"]  # of os.fork, should a test leave a thread
    code = pytest.main([*quiet, *(str(test) for test in dict.fromkeys(tests))], plugins=[driver])
    if driver.failed or code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(f"\nnothing was broken yet, and these fail: {driver.failed or code}")
        return 2
    new = {_key(result) for result in driver.results}
    kept = [result for result in before if _key(result) not in new] if _partial(options) else []
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([result._asdict() for result in kept + driver.results], indent=1))
    score = _report(driver.results)
    return int(score < options.fail_under)


def _partial(options: argparse.Namespace) -> bool:
    return bool(
        options.survivors
        or options.lines
        or options.every > 1
        or options.paths != [Path(package) for package in PACKAGES]
    )


def _key(result: Result) -> tuple[str, str, str, int]:
    return result.path, result.function, result.change, result.line


def _load() -> list[Result]:
    if not RESULTS.exists():
        return []
    return [Result(**fields) for fields in json.loads(RESULTS.read_text())]


def _report(results: Sequence[Result]) -> float:
    print(f"\n\n{'file':<43} mutants  killed  timeout  survived  untested    score")
    total: Counter[str] = Counter()
    for path in sorted({result.path for result in results}):
        counts = Counter(result.status for result in results if result.path == path)
        total += counts
        print(_line(path, counts))
    print(_line("all", total))
    return _score(total)


def _score(counts: Counter[str]) -> float:
    return 100.0 * (counts[KILLED] + counts[TIMEOUT]) / max(1, counts.total())


def _line(name: str, counts: Counter[str]) -> str:
    numbers = [counts.total(), *(counts[status] for status in ("killed", "timeout", "survived", "untested"))]
    cells = "".join(f"{number:>{width}}" for number, width in zip(numbers, (8, 8, 9, 10, 10), strict=True))
    return f"{name:<43}{cells}{_score(counts):>8.1f} %"


if __name__ == "__main__":
    sys.exit(main())
