"""The cells: which fault strikes where, under which workload, and what is right then.

What a driver must do is said for all of them (`expect`); which label pgproto must give is said too
(`outcomes`), by the rules of the outcome labels from what the server did alone, not from what pgproto does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from tests.faults.connecting import CONNECTING
from tests.faults.faults import FAULTS, Fault
from tests.support.scripted import Peer, Script

__all__ = ["LEFT_OUT", "Cell", "cells"]

BATCH = 100
MIDDLE = 50
TERMINAL = (
    "fatal", "fatal-fatal", "fatal-more", "fatal-open", "crash", "eof", "reset", "bare-reset", "old-pooler",
    "pooler", "http",
)  # fmt: skip

CONTRIVED = ("tls-s-and-more", "tls-nonsense", "tls-http", "noise-before-ok")

LEFT_OUT = {
    "24 DNS change": "a matter of time and names, not of bytes on a connection",
    "25 TLS cut or alert mid-stream": "tested with a TLS peer of its own in tests/test_tls.py",
    "30-34 second cancellation, event loop closed, fork, threads, clock jumps": "no server does that",
    "38-40 pool limits under storms, closing a pool, hooks that raise": "no server does that",
    "42 reuse after a partial send": "an invariant of the core, tested there",
    "P0 before anything is sent": "what a server does then is P10 to the client",
}


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix.

    Args:
        fault: what goes wrong.
        place: where; see `faults`.
        workload: a method of the columns' drivers.
        item: in which execution of the batch.
        expect: `error`, `result`, `either`, or `strict`: pgproto must fail, and a peer may have the right
            result as well.
        outcomes: of the items, as pgproto must label them: pairs of count and label; empty where there is
            none to be had; a label may be several, with `|`.
        script: serves connections until the workload is over (faults in connecting).
        states: SQLSTATEs that the error must show, by their order of importance.
        options: of the connection string.
        unsafe: a success would be a breach of security, not just wrong.
    """

    fault: Fault
    place: str
    workload: str
    item: int = 0
    expect: str = "error"
    outcomes: tuple[tuple[int, str], ...] = ()
    script: Script | None = None
    on_cancel: Script | None = None
    options: str = "sslmode=disable"
    unsafe: bool = False

    @property
    def name(self) -> str:
        """Unique: workload, place and fault."""
        item = f"-{self.item}" if self.item else ""
        return f"{self.workload}/{self.place}{item}/{self.fault.name}"

    @property
    def contrived(self) -> bool:
        """Nothing that PostgreSQL, a pooler or a network does: a broken or a hostile server is needed."""
        name, number = self.fault.name, self.fault.number
        return number in (3, 16, 17, 18, 41) or name.startswith("auth-") or name in CONTRIVED

    @property
    def reason(self) -> str:
        """The SQLSTATE of the server's first words; "" if it said nothing."""
        return self.fault.states[0] if self.fault.states else ""


@cache
def cells() -> dict[str, Cell]:
    """All cells by their names."""
    found = [*_single(), *_many(), *_copy(), *_idle(), *_going_on(), *_cancelling(), *_connecting()]
    named = {cell.name: cell for cell in found}
    assert len(named) == len(found), "two cells have one name"
    return named


def _label(fault: Fault, place: str) -> str:
    """The label of one query that a terminal fault ends."""
    if place == "P2p":
        return "not sent"
    if place == "P7":
        return "unknown"
    return "failed" if fault.speaker == "server" or place == "P8" else "unknown"


def _single() -> list[Cell]:
    plan = [(place, name) for place in ("P2p", "P2", "P5", "P7") for name in TERMINAL]
    # Inside of a message nobody can say a word: its bytes would be the message's.
    plan += [(place, name) for place in ("P3", "P4") for name in ("eof", "bare-reset", "silence", "drip")]
    plan += [("P8", name) for name in ("fatal", "eof", "bare-reset", "silence", "old-pooler")]
    plan += [(place, "silence") for place in ("P2p", "P2", "P5", "P7")]
    plan += [("P2", "drip"), ("P7", "syncrep")]
    return [
        Cell(
            FAULTS[name],
            place,
            "single",
            expect="strict" if name == "drip" else "error",
            outcomes=((1, _label(FAULTS[name], place)),),
        )
        if place != "P8"
        else Cell(_after_error(name), place, "single", outcomes=((1, "failed"),))
        for place, name in plan
    ]


@cache
def _after_error(name: str) -> Fault:
    """The fault behind the statement's own ERROR, which is the first cause."""
    fault = FAULTS[name]
    return Fault(
        fault.name, {"eof": 14, "silence": 15}.get(name, fault.number), f"ERROR 22012, then: {fault.title}",
        fault.parts, fault.end, fault.mutate, ("22012", *fault.states), fault.speaker,
    )  # fmt: skip


def _many() -> list[Cell]:
    found = []
    for name in (*TERMINAL, "silence"):
        fault = FAULTS[name]
        own = fault.speaker == "server"
        for place, item in (("P2p", 0), ("P2", 0), ("P6", MIDDLE), ("P7", 0)):
            if place == "P2p":
                outcomes: tuple[tuple[int, str], ...] = ((BATCH, "not sent"),)
            elif not own or place == "P7":
                outcomes = ((BATCH, "unknown"),)
            elif place == "P2":
                outcomes = ((1, "failed"), (BATCH - 1, "skipped"))
            else:
                outcomes = ((MIDDLE, "rolled back"), (1, "failed"), (BATCH - MIDDLE - 1, "skipped"))
            found.append(Cell(fault, place, "batch", item, outcomes=outcomes))
        if name not in ("fatal-more", "http"):
            found.append(Cell(fault, "P5", "stream", outcomes=((1, "failed" if own else "unknown"),)))
    failed = ((MIDDLE, "rolled back"), (1, "failed"), (BATCH - MIDDLE - 1, "skipped"))
    for name in ("fatal", "eof", "silence"):
        found += [Cell(_after_error(name), "P8", "batch", MIDDLE, outcomes=failed)]
    found.append(Cell(FAULTS["drip"], "P4", "stream", expect="strict", outcomes=((1, "unknown"),)))
    return found


def _copy() -> list[Cell]:
    found = []
    for name in ("fatal", "fatal-fatal", "fatal-open", "eof", "bare-reset", "old-pooler", "silence"):
        fault = FAULTS[name]
        own = fault.speaker == "server"
        # Sync is part of the simple query, but nothing is committed before CopyDone.
        found.append(Cell(fault, "P2", "copy_in", outcomes=((1, "not committed|failed|unknown"),)))
        # Whoever is silent but reads may have got CopyDone in the end.
        lost = "not committed|unknown" if name == "silence" else "not committed"
        found.append(Cell(fault, "P13", "copy_in", outcomes=((1, lost),)))
        found.append(Cell(fault, "P7", "copy_in", outcomes=((1, "unknown"),)))
        found.append(Cell(fault, "P5", "copy_out", outcomes=((1, "failed" if own else "unknown"),)))
    for name in ("eof", "silence"):
        found += [Cell(_after_error(name), "P8", "copy_out", outcomes=((1, "failed"),))]
    found.append(Cell(FAULTS["unread"], "P13", "copy_in", outcomes=((1, "not committed"),)))
    found.append(Cell(FAULTS["deaf"], "P13", "copy_in", outcomes=((1, "not committed"),)))
    found.append(Cell(FAULTS["copy-error"], "P13", "copy_in", outcomes=((1, "failed"),)))
    found.append(Cell(FAULTS["unread"], "P2", "big"))
    found.append(Cell(FAULTS["deaf"], "P2", "big"))
    return found


def _idle() -> list[Cell]:
    """Faults of an idle connection: a pool replaces it, or its next user gets one declared error."""
    idle = (*TERMINAL[:-1], "extra-ready-idle", "rows-idle")
    more = {
        "extra-ready-idle": Fault("extra-ready", 17, "a ReadyForQuery that nobody asked for",
                                  FAULTS["extra-ready"].parts, "go"),
        "rows-idle": Fault("rows", 17, "an answer that nobody asked for",
                           FAULTS["fatal-more"].parts[1:4], "go"),
    }  # fmt: skip
    found = [Cell(more.get(name) or FAULTS[name], "P10", "single", expect="result") for name in idle]
    found += [
        Cell(FAULTS[name], "P11", "single", expect="result")
        for name in ("fatal", "eof", "bare-reset", "silence", "old-pooler", "error")
    ]
    return found


def _going_on() -> list[Cell]:
    found = [Cell(FAULTS["noise"], "P2", work, expect="result") for work in ("single", "batch", "stream")]
    found += [Cell(FAULTS["noise"], "P5", "copy_out", expect="result")]
    found += [Cell(FAULTS["noise"], "P2", "copy_in", expect="result")]
    found += [Cell(FAULTS["committed-notice"], "P7", "single", expect="result")]
    for name in ("status-T", "status-E"):
        found += [Cell(FAULTS[name], "P7", work, expect="either") for work in ("single", "batch")]
    for name in ("extra-ready", "extra-answer", "two-completes"):
        found += [Cell(FAULTS[name], "P7", work, expect="either") for work in ("single", "batch")]
    poison = (
        "early-ready", "no-complete", "no-bind", "parse-in-rows", "unknown", "copy-in", "copy-both",
        "wide-row", "cut-row", "negative-column", "short-length", "negative-length", "giant-length",
    )  # fmt: skip
    for name in poison:
        # After CopyInResponse nothing is committed without CopyDone, if the server is to be believed at all.
        label = "unknown|not committed" if name == "copy-in" else "unknown"
        found.append(Cell(FAULTS[name], "P7", "single", expect="strict", outcomes=((1, label),)))
    for name in ("early-ready", "no-complete", "parse-in-rows", "unknown"):
        found.append(Cell(FAULTS[name], "P7", "batch", expect="strict", outcomes=((BATCH, "unknown"),)))
    for name in ("error", "read-only"):
        found.append(Cell(FAULTS[name], "P7", "single", outcomes=((1, "failed"),)))
    for name in ("lost-statement", "changed-plan"):
        found.append(Cell(FAULTS[name], "P7", "twice", 1, expect="either", outcomes=((1, "failed"),)))
    found.append(Cell(FAULTS["none"], "P1", "big", expect="result"))
    found.append(Cell(FAULTS["none"], "P5", "abandon", expect="result"))
    return found


def _cancelling() -> list[Cell]:
    def deaf(peer: Peer) -> None:
        peer.server.cancelled.set()
        peer.server.signal("stop").wait(20)

    def refused(peer: Peer) -> None:
        peer.server.cancelled.set()
        peer.reset()

    late = Cell(FAULTS["late"], "P2", "timed_out", expect="either", outcomes=((1, "unknown"),))
    renamed = {
        "cancel-refused": ("the cancel request is refused, the query ends well later", refused),
        "cancel-hangs": ("the cancel request hangs, the query ends well later", deaf),
    }
    found = [Cell(FAULTS["cancelled"], "P2", "timed_out", expect="either"), late]
    for name, (title, script) in renamed.items():
        fault = Fault(name, 37, title, (), "late")
        found.append(Cell(fault, "P2", "timed_out", expect="either", on_cancel=script))
    found.append(Cell(FAULTS["silence"], "P2", "timed_out"))
    return found


def _connecting() -> list[Cell]:
    found = []
    for each in CONNECTING:
        fault = Fault(each.name, each.number, each.title, states=(each.state,) if each.state else ())
        found.append(
            Cell(fault, "P12", each.workload, expect=each.expect, script=each.script, options=each.options,
                 outcomes=((1, "not sent"),) if each.expect == "error" else (), unsafe=each.unsafe)
        )  # fmt: skip
    return found
