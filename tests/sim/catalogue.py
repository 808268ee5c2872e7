"""The catalogue of faults as a table: which fault can happen at which position, and why not elsewhere.

Faults are numbered 1-42 and positions P0-P13 as in the project's catalogue of faults (section 1.3).  `CELLS`
is what the simulation claims to reach; `tests.sim --seeds N` prints which of them N schedules really hit.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CALLERS", "CELLS", "ELSEWHERE", "NAMES", "POSITIONS"]

POSITIONS: Final[dict[str, str]] = {
    "P0": "lent, before anything is sent",
    "P1": "a part is sent, its Sync is not",
    "P2": "all sent, no answer",
    "P3": "inside of a header",
    "P4": "inside of a body",
    "P5": "between rows",
    "P6": "between results",
    "P7": "behind the last CommandComplete, before ReadyForQuery",
    "P8": "behind an ERROR, before ReadyForQuery",
    "P9": "behind a FATAL, before FIN",
    "P10": "idle in the pool",
    "P11": "acquire, check, reset, close",
    "P12": "start-up and authentication",
    "P13": "COPY",
}

_STREAM: Final = ("P2", "P3", "P4", "P5", "P6", "P7", "P8")
_ALL: Final = tuple(POSITIONS)
_BOUNDARY: Final = ("P2", "P5", "P6", "P7", "P8", "P12", "P13")

NAMES: Final[dict[int, str]] = {
    1: "FATAL, FIN",
    2: "FATAL, FATAL, FIN",
    3: "FATAL, then more data",
    4: "FATAL, no FIN",
    5: "WARNING 57P02, FIN",
    6: "WARNING 57P01 of a commit without its standby, FIN",
    7: "the same by a cancel request",
    8: "FIN without a word",
    9: "RST",
    10: "a write fails with FATAL inbound",
    11: "silence, both ways",
    12: "one byte a second",
    13: "notice, parameter, notification in between",
    14: "ERROR, FIN",
    15: "ERROR, silence",
    16: "ReadyForQuery T where I is due",
    17: "an extra ReadyForQuery",
    18: "a missing, doubled, wrong or unknown message",
    19: "fast shutdown",
    20: "57P03, 53300, refused, no such host",
    21: "wrong password",
    22: "what a pooler does",
    23: "failover",
    24: "the name leads elsewhere",
    25: "a truncated stream",
    27: "both buffers full",
    28: "a consumer that stops",
    29: "cancelled, out of time",
    30: "cancelled twice",
    33: "two tasks on one connection",
    34: "an hour passes at once",
    35: "COPY breaks",
    36: "the cache of prepared statements is wrong",
    37: "a cancel request is late, refused, or hangs",
    38: "a storm of cancellations",
    39: "the pool is closed",
    40: "a callback raises",
    41: "an odd protocol version",
    42: "a part is sent, then the connection is given back",
}

CELLS: Final[dict[int, tuple[str, ...]]] = {
    1: _STREAM,
    2: (*_STREAM, "P9"),
    3: (*_STREAM, "P9"),
    4: (*_STREAM, "P9"),
    5: ("P0", *_STREAM, "P10", "P11", "P12", "P13"),
    6: ("P7",),
    7: ("P7",),
    8: _ALL,
    9: ("P1", *_STREAM, "P9"),
    10: ("P1",),
    11: ("P2", "P10", "P11", "P12"),
    12: ("P3", "P4", "P5"),
    13: (*_BOUNDARY, "P0", "P9", "P10", "P11"),
    14: ("P8",),
    15: ("P8",),
    16: ("P7",),
    17: (*_BOUNDARY, "P0", "P9", "P10", "P11"),
    18: (*_BOUNDARY, "P0", "P10", "P11"),
    19: ("P2", "P10"),
    20: ("P12",),
    21: ("P12",),
    22: ("P2", "P6", "P10"),
    23: ("P10",),
    24: ("P11",),
    25: _STREAM,
    27: ("P1", "P5"),
    28: ("P5",),
    29: ("P0", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P11", "P12", "P13"),
    30: ("P11",),
    33: ("P2",),
    34: ("P10",),
    35: ("P13",),
    36: ("P2",),
    37: ("P2", "P10"),
    38: ("P11",),
    39: ("P11",),
    40: ("P2", "P10", "P11", "P12"),
    41: ("P12",),
    42: ("P1",),
}

ELSEWHERE: Final[dict[int, str]] = {
    26: "TLS is not simulated: a stalled handshake is a silent peer (11 at P12); TLS is in tests/test_tls.py",
    31: "garbage collection and the end of a loop need a real loop: tests/adapters",
    32: "fork needs real processes: tests/adapters",
}
"""Faults that no schedule has, and where they are tested instead."""

# ---- The caller's own code

_ERRORS: Final = (
    "TypeError",
    "RuntimeError",
    "MemoryError",
    "RecursionError",
    "KeyError",
    "StopIteration",
    "StopAsyncIteration",
    "GeneratorExit",
    "CancelledError",
    "Interrupt",
)
_REENTERS: Final = ("cancel", "abort", "close", "query")
_VALUE: Final = (*_ERRORS, *_REENTERS)


def _without(*deeds: str) -> tuple[str, ...]:
    return tuple(deed for deed in (*_VALUE, "slow", "lost task") if deed not in deeds)


CALLERS: Final[dict[str, tuple[str, ...]]] = {
    "value double": _VALUE,
    "value whole": _VALUE,
    "value list": _VALUE,
    "value mapping": _VALUE,
    "value zone": _VALUE,
    "value disguise": _VALUE,
    "generator": _without("slow", "lost task"),
    "iterator": _without("slow", "lost task", "StopIteration"),  # which is its end
    "file": _without("slow", "lost task"),
    "record": _without("slow", "lost task"),
    "async generator": _without(),
    "async iterator": _without("StopAsyncIteration"),  # which is its end
    "on_connect": (*_VALUE, "slow"),
    "on_acquire": (*_VALUE, "slow"),
    "on_release": (*_VALUE, "slow"),
    "on_close": (*_VALUE, "slow"),
    "on_notice": _VALUE,
    "on_lost": (*_ERRORS, "close"),
    "retry": (*_VALUE, "slow", "elsewhere", "commit by hand"),
    "intruder": (
        "savepoint of another",
        "outlives the block",
        "outsider",
        "after the lease",
        "lease twice",
        "transaction twice",
        "listen twice",
    ),
    "nonsense": (
        "None",
        "number",
        "bytes",
        "prepared statement",
        "foreign statement",
        "record dict",
        "record set",
        "copy surrogate",
        "copy unprintable",
        "past",
        "timeout text",
        "timeout decimal",
        "timeout nan",
        "timeout bool",
    ),
}
"""Where a caller's own code is called, and what it may do there (see `mischief`)."""
