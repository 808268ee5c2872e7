"""What the benchmark must show, as a table, and whether it does.

A target compares the medians of one run.  Most are ratios: ours to theirs, at most so much; "faster" ones are
theirs to ours, at least so much.  A figure that was not measured is reported as that, and one that is not
reached is reported as not reached.
"""

from __future__ import annotations

import math
from typing import Final

from .drivers import FLOOR
from .series import Results, geometric_mean
from .workloads import TOOLBENCH, WORKLOADS

__all__ = ["TARGETS", "Target", "Verdict"]

BLOCKING: Final = "pgproto blocking, compiled"
ASYNCIO: Final = "pgproto asyncio, compiled"
UVLOOP: Final = "pgproto uvloop, compiled"
MEGABYTE: Final = 1 << 20


class Verdict:
    """What became of a target.

    Attributes:
        reached: True or False; None if it was not measured.
        text: the figure and what was asked.
    """

    def __init__(self, reached: bool | None, text: str) -> None:
        self.reached = reached
        self.text = text

    def __str__(self) -> str:
        words = {None: "not measured", True: "reached", False: "NOT reached"}
        return f"{words[self.reached]} {self.text}"


class Target:
    """One target.

    Args:
        title: what is compared, for the reader.
        workloads: in these workloads; of several ratios the geometric mean counts.
        ours: the driver of pgproto.
        theirs: the driver it is compared with; "" if an absolute figure is asked for.
        metric: "wall", "cpu" or "peak".
        limit: the ratio (or figure) that is asked for.
        faster: theirs to ours, at least `limit`; otherwise ours to theirs, at most.
        each: every ratio has to reach it, and the largest is reported.
    """

    def __init__(
        self,
        title: str,
        workloads: tuple[str, ...],
        ours: str,
        theirs: str,
        metric: str,
        limit: float,
        *,
        faster: bool = False,
        each: bool = False,
    ) -> None:
        self.title = title
        self.workloads = workloads
        self.ours = ours
        self.theirs = theirs
        self.metric = metric
        self.limit = limit
        self.faster = faster
        self.each = each

    def verdict(self, results: Results) -> Verdict:
        """Evaluate it."""
        figure = self._figure(results)
        if math.isnan(figure):
            return Verdict(None, f"({self._said(self.limit)} asked)")
        reached = figure >= self.limit if self.faster else figure <= self.limit
        text = f"{self._said(figure)} ({self._said(self.limit)} asked)"
        if self.each and not reached:
            figures = self._figures(results)
            missed = sorted(zip(figures, self.workloads, strict=True), reverse=True)
            text += ": " + ", ".join([f"{name} {at:.2f}" for at, name in missed if at > self.limit])
        return Verdict(reached, text)

    def _figure(self, results: Results) -> float:
        figures = self._figures(results)
        if any(map(math.isnan, figures)):
            return math.nan
        return max(figures) if self.each else geometric_mean(figures)

    def _figures(self, results: Results) -> list[float]:
        """For each workload; NaN if it was not measured."""
        figures = []
        for name in self.workloads:
            series = results.get(name, {})
            ours, theirs = series.get(self.ours), series.get(self.theirs or self.ours)
            if ours is None or theirs is None or not ours.rounds or not theirs.rounds:
                figures.append(math.nan)
            elif not self.theirs:
                figures.append(max(1.0, ours.median(self.metric)))
            elif self.faster:
                figures.append(theirs.ratio_to(ours, self.metric))
            else:
                figures.append(ours.ratio_to(theirs, self.metric))
        return figures

    def _said(self, figure: float) -> str:
        if self.metric == "peak":
            return f"{figure / MEGABYTE:.1f} MiB"
        return f"{figure:.2f}x" + (" faster" if self.faster else "")


def _batches(*sizes: int) -> tuple[str, ...]:
    return tuple(f"batch_select_{size}" for size in sizes)


def _at_floor() -> list[Target]:
    return [
        Target(
            f"batch of {size:,} selects, blocking, wall, to the raw socket",
            _batches(size),
            BLOCKING,
            FLOOR,
            "wall",
            1.6,
        )
        for size in (100, 1000)
    ]


def _asyncio_batches() -> list[Target]:
    return [
        target
        for size in (100, 1000)
        for target in (
            Target(
                f"batch of {size:,} selects, asyncio, wall, to psycopg's pipeline",
                _batches(size),
                ASYNCIO,
                "psycopg asyncio",
                "wall",
                6,
                faster=True,
            ),
            Target(
                f"batch of {size:,} selects, asyncio, wall, to asyncpg one by one",
                _batches(size),
                ASYNCIO,
                "asyncpg",
                "wall",
                20,
                faster=True,
            ),
        )
    ]


def _fetches() -> list[Target]:
    limits = {"pg_type": 0.95, "generate_series": 0.7, "large_object": 0.85, "arrays": 1.0}
    found = []
    for name, limit in limits.items():
        found.append(Target(f"{name}, asyncio, CPU, to asyncpg", (name,), ASYNCIO, "asyncpg", "cpu", limit))
        found.append(Target(f"{name}, asyncio, wall, to asyncpg", (name,), ASYNCIO, "asyncpg", "wall", 1.05))
    return found


def _types() -> list[Target]:
    return [
        Target(
            f"values of each type {word}, asyncio, CPU, to asyncpg",
            tuple(name for name in WORKLOADS if name.startswith(start)),
            ASYNCIO,
            "asyncpg",
            "cpu",
            1.1,
            each=True,
        )
        for word, start in (("read", "read_"), ("written", "write_"))
    ]


def _pure() -> list[Target]:
    blocking, asyncio = "pgproto blocking, pure", "pgproto asyncio, pure"
    batch = _batches(100)
    return [
        Target(
            "pure build: batch of 100, blocking, wall, to psycopg's pipeline",
            batch,
            blocking,
            "psycopg",
            "wall",
            2,
            faster=True,
        ),
        Target(
            "pure build: batch of 100, asyncio, wall, to psycopg's pipeline",
            batch,
            asyncio,
            "psycopg asyncio",
            "wall",
            2,
            faster=True,
        ),
        *[
            Target(
                f"pure build: {name}, blocking, wall, to pg8000",
                (name,),
                blocking,
                "pg8000",
                "wall",
                4,
                faster=True,
            )
            for name in ("pg_type", "mixed_rows")
        ],
    ]


TARGETS: Final = (
    *_at_floor(),
    *_asyncio_batches(),
    Target("one cached select, asyncio, CPU, to asyncpg", ("single",), ASYNCIO, "asyncpg", "cpu", 0.85),
    Target("one cached select, uvloop, CPU, to asyncpg", ("single",), UVLOOP, "asyncpg uvloop", "cpu", 1.0),
    Target(
        "100 concurrent selects on one connection, wall, to asyncpg with a pool of 10",
        ("gather",),
        ASYNCIO,
        "asyncpg",
        "wall",
        4,
        faster=True,
    ),
    *_fetches(),
    Target("10,000 mixed rows, asyncio, CPU, to asyncpg", ("mixed_rows",), ASYNCIO, "asyncpg", "cpu", 0.7),
    Target("10,000 mixed rows, asyncio, wall, to asyncpg", ("mixed_rows",), ASYNCIO, "asyncpg", "wall", 0.7),
    Target(
        "executemany of 1,000 rows, asyncio, wall, to asyncpg", ("batch",), ASYNCIO, "asyncpg", "wall", 1.0
    ),
    Target("executemany of 1,000 rows, asyncio, CPU, to asyncpg", ("batch",), ASYNCIO, "asyncpg", "cpu", 1.0),
    Target(
        "toolbench, geometric mean, asyncio, CPU, to asyncpg",
        TOOLBENCH,
        ASYNCIO,
        "asyncpg",
        "cpu",
        1.25,
        faster=True,
    ),
    Target(
        "toolbench, geometric mean, blocking, CPU, to psycopg",
        TOOLBENCH,
        BLOCKING,
        "psycopg",
        "cpu",
        2,
        faster=True,
    ),
    *_types(),
    *_pure(),
    Target(
        "batch of 1,000,000 inserts (executemany), growth of peak memory",
        ("many_million",),
        BLOCKING,
        "",
        "peak",
        64 * MEGABYTE,
    ),
    Target(
        "Batch of 1,000,000 inserts, an item for each, growth of peak memory",
        ("batch_million",),
        BLOCKING,
        "",
        "peak",
        64 * MEGABYTE,
    ),
    Target(
        "1,000,000 rows streamed, growth of peak memory",
        ("stream_million",),
        BLOCKING,
        "",
        "peak",
        32 * MEGABYTE,
    ),
    Target(
        "1,000,000 rows streamed, asyncio, growth of peak memory",
        ("stream_million",),
        ASYNCIO,
        "",
        "peak",
        32 * MEGABYTE,
    ),
)
"""What is asked for, in the report's order."""
