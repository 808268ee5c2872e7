"""The report as Markdown: targets, growth, and a table for each workload."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from .drivers import FLOOR
from .facts import Facts, sentence
from .growth import LINEAR, growths
from .series import Results, Series
from .targets import MEGABYTE, TARGETS
from .workloads import TOOLBENCH, WORKLOADS, Workload

__all__ = ["markdown", "summary", "table"]

_REFERENCES: Final = {"floor": FLOOR, "asyncpg": "asyncpg", "psycopg": "psycopg"}
_SMALL_GROUP: Final = "The core alone, without I/O"

Line = Sequence[str]


def table(head: Line, lines: Sequence[Line]) -> str:
    """A Markdown table whose first column is text and whose others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def markdown(results: Results, facts: Facts, pictures: Sequence[str] = ()) -> str:
    """The whole report."""
    parts = ["# Benchmarks", sentence(facts), _HOW_TO_READ, "## Targets", _targets(results)]
    parts += [f"![{name}]({name}.svg)" for name in pictures]
    fits = [(fit.family, fit.driver, f"{fit.exponent:.2f}", "yes" if fit.linear else "NO") for fit in growths(results)]
    if fits:
        parts += ["## Growth", _ABOUT_GROWTH, table(("with", "driver", "exponent", "linear"), fits)]
    groups = dict.fromkeys(WORKLOADS[name].group for name in results)
    for group in groups:
        members = {name: series for name, series in results.items() if WORKLOADS[name].group == group}
        parts.append(f"## {group}")
        if group == _SMALL_GROUP:
            parts.append(_per_unit(members))
        else:
            for name, series in members.items():
                parts += [f"### {WORKLOADS[name].title}", f"`--only {name}`", _workload(WORKLOADS[name], series)]
    return "\n\n".join(parts) + "\n"


def summary(results: Results, facts: Facts) -> str:
    """What goes into the project's README: the targets, and the toolbench in one table."""
    parts = [sentence(facts), _targets(results)]
    drivers = dict.fromkeys(driver for name in TOOLBENCH for driver in results.get(name, {}))
    lines = []
    for driver in drivers:
        cells = [_cell(results.get(name, {}).get(driver), "cpu") for name in TOOLBENCH]
        lines.append((driver, *cells))
    if lines:
        parts += ["Milliseconds of the client's CPU time for one operation of the toolbench:"]
        parts.append(table(("", *TOOLBENCH), lines))
    return "\n\n".join(parts)


_HOW_TO_READ: Final = (
    "Milliseconds for one operation: the median and the quartiles of the rounds. CPU is the client process's, its"
    " threads included. Ratios are made within a round, of wall times if nothing else is said; below 1 is"
    " faster. The server works on the same CPUs as the client, so compare within one table only."
)
_ABOUT_GROWTH: Final = (
    f"The exponent of a power law fitted to the times (CPU; wall for the raw socket). Up to {LINEAR} it is"
    " taken for linear; what every operation costs, however small, makes it smaller than 1."
)


def _targets(results: Results) -> str:
    lines = []
    for target in TARGETS:
        verdict = target.verdict(results)
        word, _, rest = str(verdict).partition(verdict.text)
        lines.append((target.title, f"{word.strip()}{rest}", verdict.text))
    return table(("target (compiled build, if nothing else is said)", "", "figure"), lines)


def _workload(workload: Workload, series: dict[str, Series] | Results[str]) -> str:  # type: ignore[type-arg]
    raise NotImplementedError
