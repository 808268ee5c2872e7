"""The instruction budget: `make budget`, or `python -m benchmarks.budget`; `--write` stores a new one.

The hot paths of the core (`counted.py`) run under callgrind, which counts the instructions of each.  Such a
count hardly depends on the machine's load, so that 5 % more are a change of the code and fail.  5 % fewer are
a reason to lower the budget, or the next change could spend what was won.

Rule: a count holds for one interpreter, because its instructions are counted as well: for its version, its
compiler and the kind of processor.  `budget.json` has a budget for each that was measured, by that and by the
build of pgproto.  Without a budget nothing is compared, and it is said so.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .counted import CASES
from .process import ROOT, WrongBuildError

__all__ = ["MARGIN", "compared", "counts", "interpreter"]

MARGIN: Final = 0.05
"""How much more than the budget is too much, and how much less is worth storing."""
BUDGET: Final = Path(__file__).with_name("budget.json")
_TOTALS: Final = re.compile(r"^totals: (\d+)$", re.MULTILINE)
# Nothing by chance: sets and dicts have the same order in each run, and malloc keeps what it was given.
_SETTLED: Final = {
    "PYTHONHASHSEED": "0",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
_PATIENCE: Final = 600.0  # seconds for all cases of one build

Counts = dict[str, int]


def interpreter() -> str:
    """What a count depends on besides the code: the interpreter's version and how it was built."""
    name, version = platform.python_implementation(), platform.python_version()
    return f"{name} {version}, {platform.python_compiler()}, {platform.machine()}"


def counts(profile: str, repeats: Mapping[str, int]) -> Counts:
    """The instructions of one operation of each case.

    Args:
        profile: callgrind's output, all its parts.  It begins a new part at each mark, so every other one is
            a case; the first is the way there and the last the way out.
        repeats: how many operations each case was, in their order.

    Raises:
        ValueError: there are not as many parts as there must be.
    """
    totals = [int(total) for total in _TOTALS.findall(profile)]
    if len(totals) != 2 * len(repeats) + 1:
        raise ValueError(f"callgrind has written {len(totals)} parts for {len(repeats)} cases")
    return {
        name: total // repeat for (name, repeat), total in zip(repeats.items(), totals[1::2], strict=True)
    }


def compared(now: Mapping[str, int], budget: Mapping[str, int]) -> tuple[list[str], bool, bool]:
    """Hold counts against a budget: the lines of a table, whether a case is over it, whether one is under.

    A case that the budget does not have is over it, or nobody would notice that it has none.
    """
    width = max(map(len, (*now, "case")))
    lines = [f"{'case':{width}}  {'budget':>12}  {'now':>12}  ratio"]
    over = under = False
    for name, count in now.items():
        allowed = budget.get(name, 0)
        ratio = count / allowed if allowed else math.inf
        verdict = "over" if ratio > 1 + MARGIN else "under" if ratio < 1 - MARGIN else ""
        over |= verdict == "over"
        under |= verdict == "under"
        lines.append(f"{name:{width}}  {allowed:12,}  {count:12,}  {ratio:5.3f}  {verdict}".rstrip())
    return lines, over, under


def count(build: str, tree: Path) -> Counts:
    """Run all cases with the build of pgproto that is in `tree`.

    Raises:
        WrongBuildError: there is another build.
    """
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment |= _SETTLED | {"PYTHONPATH": os.pathsep.join(map(str, (tree, ROOT)))}
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder, "profile")
        # Every part of the profile ends where the program calls os.getppid.
        callgrind = ["valgrind", "-q", "--tool=callgrind", "--dump-before=getppid", "--combine-dumps=yes"]
        callgrind += [f"--callgrind-out-file={profile}"]
        # -P: without it the current directory, which has a pgproto of its own, would come first.
        program = [sys.executable, "-P", "-m", "benchmarks.counted"]
        done = subprocess.run(
            [*callgrind, *program],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        if done.stdout.strip() != build:
            raise WrongBuildError(f"{tree} has the {done.stdout.strip()} build, not the {build} one")
        return counts(profile.read_text(), {name: case.repeat for name, case in CASES.items()})


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, compare or store."""
    options = _parser().parse_args(arguments)
    if shutil.which("valgrind") is None:
        raise SystemExit("the instruction budget needs valgrind (apt-get install valgrind)")
    stored: dict[str, dict[str, Counts]] = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    here = interpreter()
    failed = False
    for build in options.build:
        budget = stored.get(here, {}).get(build)
        if budget is None and not options.write:
            _say(f"{build}: no budget for {here}; there is one for: {'; '.join(stored) or 'none'}")
            continue
        try:
            now = count(build, options.compiled.absolute() if build == "compiled" else ROOT)
        except WrongBuildError as error:
            raise SystemExit(str(error)) from None
        lines, over, under = compared(now, budget or now)
        _say(f"instructions of one operation, {build}, {here}\n" + "\n".join(lines))
        if options.write:
            stored.setdefault(here, {})[build] = now
            continue
        failed |= over
        if over:
            _say(f"over the budget by more than {MARGIN:.0%}: a change has made this slower")
        if under:
            _say("lower the budget: python -m benchmarks.budget --write")
    if options.write:
        BUDGET.write_text(json.dumps(stored, indent=2) + "\n")
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget", description="the instruction budget")
    parser.add_argument("--write", action="store_true", help="store what is counted now as the budget")
    parser.add_argument(
        "--build", nargs="+", choices=("compiled", "pure"), default=["compiled", "pure"], help="default: both"
    )
    parser.add_argument(
        "--compiled",
        type=Path,
        default=ROOT / "build/compiled-.venv",
        help="the compiled build, unpacked (default: build/compiled-.venv, where make puts it)",
    )
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
