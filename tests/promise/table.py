"""The table of docs/promise.md: each row of the list of holes, the tests that hold it, and where they run.

The list was made by attacking version 0.1.0 from the sides that no rig modelled.  A row is held by the tests
that have its mark, `@pytest.mark.holds("L3")`.  The table is made from what pytest collects, so that a row
without a test cannot hide: `python -m tests.promise` writes it, and a test compares.

The module is a plugin of the pytest that collects.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.builds import PURE_ONLY

__all__ = ["PAGE", "ROWS", "collect", "render"]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "promise.md"
OUTPUT: Final = "PGPROTO_ROWS_HELD"
FOLDERS: Final = ("tests",)

ROWS: Final[dict[str, str]] = {
    "L1": "one segment in flight behind a pooler that refuses protocol 3.2, in every statement mode",
    "L2": "whatever a value raises ends its own call: NOT_SENT, nothing of it is ever sent",
    "L3": "nothing that comes out of a source, a cancellation included, is its end",
    "L4": "after fork() the child's copy is dead and silent",
    "L5": "a session that may carry a trace is reset: COPY, SELECT INTO and comments included",
    "L6": "what `on_connect` set up is what every borrower gets, after a reset too",
    "L7": "listeners end with the lease, with a reset, and with a LISTEN that was rolled back",
    "L8": "COMMITTED only for what a COMMIT sealed; ROLLED_BACK and PREPARED for the rest",
    "L9": "a savepoint of another task keeps others out",
    "L10": "a task that outlives the block in which it began is refused",
    "L11": "`retry` judges its own connection alone, and repeats no UNKNOWN and no commit by hand",
    "L12": "statements whose shape is known only when they run are described for each run",
    "L13": "a record is a sequence; a mapping only where names are known",
    "L14": "a pool or connection belongs to one event loop",
    "L15": "what is no statement is the TypeError of that call; prepared statements are statements",
    "D1": "texts and runs of any size are sent, in every statement mode",
    "D2": "a source's exception is raised whatever its text is",
    "D3": "a host name that cannot be encoded is one failed host",
    "D4": "client_encoding is understood in all its spellings",
    "D5": "a refusal of protocol 3.2 is answered with 3.0 once, and remembered",
    "D6": "a stream that is left early leaves a usable connection",
    "D7": "a failing `on_connect` is told to who waits, at once",
    "D8": "a session that dies in its first lease causes no back-off",
    "D9": "an interrupt at any point of a blocking call or of `close` harms nobody else",
    "D10": "a numeric with a large exponent is as small in memory as on the wire",
    "D11": "a row in a reference cycle: collected, or measured and documented",
    "D12": "the compiled build refuses a subinterpreter with a reason",
    "D13": "a connection string is read in linear time, and limited",
    "D14": "a flow that is given up closes in silence",
    "T1": "a timeout that has passed has passed",
    "T2": "what is no number of seconds is refused at the door",
    "T3": "a cancelled transaction is left within the grace",
    "T4": "hooks are bounded",
    "T5": "what is cancelled or closed leaves nothing running at the server",
    "T5b": "`abort` does not drop the cancel request",
    "T6": "what is dropped without a close is closed, with a ResourceWarning",
    "T7": "`listen` works or raises; it is never silent",
    "T8": "half-open TCP ends in tens of seconds",
    "T9": "a connect time-out is a TimeoutError in the chain",
    "T10": "a pool that cannot connect says so at its start",
    "A1": "`on_notice` and `on_lost` are for who lends and for who borrows, on every adapter",
    "A2": "of two tasks that wait for one thing the second is refused; threads queue up",
    "A3": "what is entered is refused a second entry until it is left",
    "A4": "a cancel request goes to the address of its session, whatever the name means by then",
    "A5": "`close(timeout=)` means the same: its time, and one grace for the rest",
    "A6": "every pool opens in the same ways",
    "A7": "a cancellation at any suspension of any operation, or an interrupt at any step, harms nobody",
    "S1": "who ended an idle session, and why",
    "S2": "errors carry the statement, the position and the item",
    "S3": "a batch that was refused as a whole is NOT_SENT",
    "S4": "what in a value cannot be encoded, and what to do",
    "S5": "notes with the way out",
    "S6": "an ignored password file is told",
    "S7": "a PoolTimeout's text is always the same; its counts are attributes",
    "S8": "one grammar of `require_auth`",
    "O1": "what an observer or a trace raises is reported and changes nothing; an interrupt goes up",
    "O2": "an observer is told once that a call begins and once that it has ended, whatever it does",
    "O3": "an observer that blocks delays a call, which ends with a result or a label all the same",
    "O4": "`accept` that raises refuses a host; `retire_on` and `ping` are reported, the answer is safe",
}


class Held:
    """What holds one row: tests, with the adapters and builds that they ran on."""

    def __init__(self) -> None:
        self.tests: dict[str, int] = {}
        self.adapters: set[str] = set()
        self.builds: set[str] = set()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write a line for each row of each test that was collected."""
    path = os.environ.get(OUTPUT)
    if path is None:
        return
    with Path(path).open("w", encoding="utf-8") as out:
        for item in session.items:
            for mark in item.iter_markers("holds"):
                for row in mark.args:
                    test = item.nodeid.partition("[")[0]
                    print(row, test, _adapter(item), _builds(item), sep="\t", file=out)


def _adapter(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    driver = None if callspec is None else callspec.params.get("driver")
    if driver is not None:
        return repr(driver)
    for name in ("asyncio", "trio", "blocking"):
        if name in item.nodeid:
            return name
    return "asyncio" if item.nodeid.startswith(("tests/sim", "tests/chaos")) else "core"


def _builds(item: pytest.Item) -> str:
    reasons = {mark.kwargs.get("reason") for mark in item.iter_markers("skipif")}
    return "pure" if reasons & PURE_ONLY else "pure compiled"


def collect() -> dict[str, Held]:
    """What holds each row, by the row's number; collected by a pytest of its own.

    Raises:
        LookupError: a test names a row that does not exist.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as listed:
        command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", __name__, *FOLDERS]
        environment = {**os.environ, OUTPUT: listed.name}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        lines = listed.read().splitlines()
    held = {row: Held() for row in ROWS}
    for line in lines:
        row, test, adapter, builds = line.split("\t")
        if row not in held:
            raise LookupError(f"{test} holds {row}, which is no row of the list")
        held[row].tests[test] = held[row].tests.get(test, 0) + 1
        held[row].adapters.add(adapter)
        held[row].builds.update(builds.split())
    return held


def render(held: dict[str, Held]) -> str:
    """The page."""
    return "\n".join(_page(held)) + "\n"


def _page(held: dict[str, Held]) -> Iterator[str]:
    missing = [row for row in ROWS if not held[row].tests]
    yield "# The promise: who tried to break it, and what holds"
    yield ""
    yield "Version 0.1.0 was attacked from the sides that its rigs did not model: the caller's own"
    yield "code, a second task, thread, loop or process, the last borrower of a connection, old"
    yield "poolers.  What broke is below, by number (L lies, D deaths, T time and ends, A adapters that"
    yield "differed, S what is said), with the tests that hold what is right; observers and hooks (O) came"
    yield "later.  `make promise` runs them in full and writes this page; a test compares it with what pytest"
    yield "collects."
    yield ""
    yield f"{len(ROWS)} rows, {len(missing)} open{': ' if missing else ''}{', '.join(missing)}."
    yield ""
    yield "| row | what is right | tests (cases) | on | builds |"
    yield "|---|---|---|---|---|"
    for row, right in ROWS.items():
        each = held[row]
        tests = "<br>".join(
            f"`{test.removeprefix('tests/')}` ({count})" for test, count in _sorted(each.tests)
        )
        builds = " ".join(sorted(each.builds, reverse=True))
        yield f"| {row} | {right} | {tests} | {', '.join(sorted(each.adapters))} | {builds} |"


def _sorted(tests: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(tests.items())
