"""The price of observers: `python -m benchmarks.observed`.

The cached select of `counted.py` (bytes in memory, no socket and no server), with nothing installed, with
an observer that does nothing, with `SlowQueries` that finds none, and with OpenTelemetry if it is installed.
The cases take turns, and the best time of each counts, so that other work on the machine does not.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import pgproto
from pgproto.client import SlowQueries
from pgproto.session import Observer

from .counted import Operation, selects

__all__ = ["measured", "table"]

ROUNDS: Final = 15
REPEATS: Final = 300


def operations() -> dict[str, Operation]:
    """The cases."""
    found = {
        "no observer": selects(1),
        "an observer that does nothing": selects(1, [Observer()]),
        "SlowQueries that finds none": selects(1, [SlowQueries(10.0)]),
    }
    try:
        from opentelemetry.sdk.trace import TracerProvider

        from pgproto_otel import Telemetry
    except ImportError:
        return found
    found["Telemetry, spans to nowhere"] = selects(1, [Telemetry(tracer_provider=TracerProvider())])
    return found


def measured(cases: Mapping[str, Operation], rounds: int, repeats: int) -> dict[str, float]:
    """Seconds for one operation of each case: the best of all rounds."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, operation in cases.items():
            begun = time.perf_counter()
            for _ in range(repeats):
                operation()
            best[name] = min(best[name], (time.perf_counter() - begun) / repeats)
    return best


def table(seconds: Mapping[str, float]) -> Sequence[str]:
    """The lines: microseconds, and how much that is of the first case."""
    width = max(map(len, seconds))
    first = next(iter(seconds.values()))
    return [f"{name:{width}}  {each * 1e6:8.2f} us  {each / first:5.2f}" for name, each in seconds.items()]


def main() -> None:
    """Print the table."""
    lines = table(measured(operations(), ROUNDS, REPEATS))
    sys.stdout.write("\n".join([f"one cached select, {pgproto.build}", *lines, ""]))


if __name__ == "__main__":
    main()
