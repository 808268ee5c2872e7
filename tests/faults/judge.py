"""What a record is worth: the rules of judgement, each with its word.

A record can deserve several words; the gravest one stands in the table, all are in the JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.faults.catalogue import Cell

__all__ = ["GOOD", "LIMIT", "LIMIT_AGAIN", "WORDS", "Record", "Verdict", "judge"]

LIMIT, LIMIT_AGAIN = 3.5, 5.0
"""Seconds for one step, and in a second play; every time limit that can be set is far below."""
LAWFUL = ("auth-cleartext",)
"""What a real server may ask for, and a driver may give; pgproto does not, without TLS."""

WORDS = {
    "crash": "the process died of a signal",
    "hang": "the steps had not ended after {deadline:g} s, nor after {again:g} s in a second play",
    "wrong rows": "rows that are not the answer to that query, or only part of them without an error",
    "unsafe": "the driver took a server for the real one that could not prove it, or gave it the password",
    "false success": "success was reported, although the server never confirmed it with ReadyForQuery",
    "leak": "a socket, thread or task was left when the pool had been closed",
    "bad pool": "the next query of the pool failed too, although the server was healthy again",
    "wrong class": "an exception that the driver does not declare (KeyError, InternalClientError, ...)",
    "needless error": "the session was fine and the answer complete, and the query failed",
    "wrong label": "pgproto's own columns only: the outcome is not the one that the bytes allow",
    "late": "right otherwise, but a step took more than {limit:g} s, and {late:g} s when played again",
    "lost reason": "a declared exception, without the SQLSTATE and the text of the server's reason",
    "text only": "right, but the server's reason is there as text only, without a SQLSTATE",
    "notice only": "right, but the reason, a WARNING, went to the handler of notices, not into the exception",
    "logged": "right, but an exception that is not declared went to the event loop, which logs it",
    "right": "everything as it must be",
    "n/a": "the driver does not have the workload, or never gets to the position",
}  # fmt: skip
RANK = {word: rank for rank, word in enumerate(WORDS)}
GOOD = ("right", "text only", "notice only", "logged", "n/a")

ROWS = {
    "single": [1, 2, 3], "twice": [1, 2, 3], "timed_out": [1, 2, 3], "acquire": [1, 2, 3], "connect": [],
    "batch": list(range(100)), "stream": list(range(1, 201)), "abandon": [1], "big": [100], "copy_in": [3],
    "copy_out": [1, 2, 3],
}  # fmt: skip


@dataclass
class Record:
    """What one driver did in one cell.

    Attributes:
        steps: what the worker reported of each step.
        killed: it had not ended at the deadline.
        signal: what it died of by itself, else 0.
        struck: the fault struck.
        leaked_password: the server got to see the password.
    """

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    killed: bool = False
    signal: int = 0
    struck: bool = False
    leaked_password: bool = False


@dataclass(frozen=True)
class Verdict:
    """The gravest word, and all of them with what was seen."""

    word: str
    details: tuple[str, ...]


def judge(cell: Cell, record: Record, *, ours: bool, limit: float = LIMIT) -> Verdict:
    """Judge what a driver did in a cell.

    Args:
        cell: the cell.
        record: what was seen.
        ours: the driver is pgproto, and must give the right labels as well.
        limit: how many seconds a step may take.
    """
    found = list(_found(cell, record, ours, limit))
    word = min((word for word, _ in found), key=RANK.__getitem__, default="right")
    return Verdict(word, tuple(f"{word}: {detail}" for word, detail in found))


def _found(cell: Cell, record: Record, ours: bool, limit: float) -> Iterator[tuple[str, str]]:
    steps = record.steps
    if "lacks" in steps:
        yield "n/a", steps["lacks"]["text"]
        return
    if record.signal:
        yield "crash", f"signal {record.signal}"
        return
    if "broken" in steps:
        yield "wrong class", f"outside of the steps: {_shown(steps['broken']['error'])}"
    if record.killed:
        yield "hang", f"after: {', '.join(steps) or 'nothing'}"
    elif not record.struck and cell.fault.name != "none":
        yield "n/a", "this driver does not get to the position"
        return
    for name in ("warm", "spoil", "workload", "next", "again", "close"):
        if name in steps and steps[name]["seconds"] > limit:
            yield "late", f"{name} took {steps[name]['seconds']:.1f} s"
    if "warm" in steps and steps["warm"]["result"] != ROWS["single"]:
        yield "wrong rows", f"before the fault: {steps['warm']}"
    spoilt = steps.get("spoil", {}).get("error")
    if spoilt and (ours or not _declared(cell, spoilt)):
        yield "needless error" if _declared(cell, spoilt) else "wrong class", f"spoil: {_shown(spoilt)}"
    if "workload" in steps:
        yield from _workload(cell, steps["workload"], steps.get("end", {}).get("notices", []), ours)
    yield from _next(cell, steps)
    yield from _end(cell, steps, ours)
    if record.leaked_password:
        yield "n/a" if not ours and cell.fault.name in LAWFUL else "unsafe", "the server got the password"


def _declared(cell: Cell, error: dict[str, Any]) -> bool:
    """Whether a driver may raise this: where the server lies, its internal error is right."""
    return bool(error["declared"] or (cell.contrived and error.get("internal")))


def _workload(cell: Cell, step: dict[str, Any], notices: list[str], ours: bool) -> Iterator[tuple[str, str]]:
    error, result = step["error"], step["result"]
    if error is None:
        if cell.expect == "error" or (ours and cell.expect == "strict"):
            yield "unsafe" if cell.unsafe else "false success", f"it returned {str(result)[:60]}"
        elif result != ROWS[cell.workload]:
            yield "wrong rows", str(result)[:200]
    elif not _declared(cell, error):
        yield "wrong class", _shown(error)
    elif cell.expect == "result" and (ours or not (cell.place in ("P10", "P11") or cell.contrived)):
        yield "needless error", _shown(error)
    elif cell.reason and cell.reason not in error["states"]:
        said = [part.fields["M"] for part in cell.fault.parts if hasattr(part, "fields")]
        known = any(text in error["text"] for text in [*said, *_said(cell)])
        heard = not ours and cell.reason in notices
        yield "text only" if known else "notice only" if heard else "lost reason", _shown(error)
    if ours and error is not None and cell.outcomes:
        yield from _labels(cell, step)


def _said(cell: Cell) -> list[str]:
    """What the server says in cells whose words are not the fault's."""
    return {
        "22012": ["division by zero"], "25006": ["read-only transaction"], "26000": ["does not exist"],
        "0A000": ["cached plan"], "57P03": ["starting up", "terminating connection"],
        "53300": ["too many clients"], "28P01": ["password authentication failed"],
        "22P04": ["bad copy data"],
    }.get(cell.reason, [])  # fmt: skip


def _labels(cell: Cell, step: dict[str, Any]) -> Iterator[tuple[str, str]]:
    seen = step["outcomes"] or [step["error"]["outcome"]]
    wanted = [label for count, label in cell.outcomes for _ in range(count)]
    if len(seen) != len(wanted) or any(
        one not in label.split("|") for one, label in zip(seen, wanted, strict=True)
    ):
        yield "wrong label", f"{_runs(seen)} instead of {_runs(wanted)}"


def _runs(labels: list[str]) -> str:
    """Labels, run-length encoded."""
    runs: list[tuple[str, int]] = []
    for label in labels:
        if runs and runs[-1][0] == label:
            runs[-1] = (label, runs[-1][1] + 1)
        else:
            runs.append((label, 1))
    return ", ".join(f"{count} {label!r}" for label, count in runs)


def _next(cell: Cell, steps: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The query after the workload, and the one after that if it failed."""
    for name, value in (("next", 4711), ("again", 4712)):
        step = steps.get(name)
        if step is None:
            continue
        if step["error"] is None:
            if step["result"] != value:
                yield "wrong rows", f"{name}: {step['result']!r} instead of {value}"
        elif not _declared(cell, step["error"]):
            yield "wrong class", f"{name}: {_shown(step['error'])}"
        elif name == "again" or not _may_fail_once(cell, steps):
            yield "bad pool", f"{name}: {_shown(step['error'])}"


def _may_fail_once(cell: Cell, steps: dict[str, Any]) -> bool:
    """A connection that died or was spoilt after its query had ended may take one more query with it."""
    return cell.expect != "error" and steps["workload"]["error"] is None


def _end(cell: Cell, steps: dict[str, Any], ours: bool) -> Iterator[tuple[str, str]]:
    close = steps.get("close")
    if close is not None and close["error"] is not None:
        yield (
            "bad pool" if _declared(cell, close["error"]) else "wrong class",
            f"close: {_shown(close['error'])}",
        )
    if "left" in steps:
        yield "leak", steps["left"]["text"]
    end = steps.get("end")
    if end is not None:
        for kind in ("sockets", "threads", "tasks"):
            if end[kind]:
                yield "leak", f"{kind}: {end[kind]}"
        for error in end["unhandled"]:
            if not error["declared"]:
                yield "wrong class" if ours else "logged", f"in the event loop: {_shown(error)}"


def _shown(error: dict[str, Any]) -> str:
    return f"{error['class']}: {error['text'][:200]} (at {', '.join(error['at'][-2:])})"
