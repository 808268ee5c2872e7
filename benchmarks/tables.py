"""The report as Markdown: targets, growth, and a table for each workload."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from .drivers import FLOOR
from .facts import Facts, sentence
from .growth import LINEAR, growths
from .series import Results, Series
from .targets import MEGABYTE, TARGETS
from .workloads import TOOLBENCH, TYPES, WORKLOADS, Workload

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
    fits = [
        (fit.family, fit.driver, f"{fit.exponent:.2f}", f"{fit.last:.2f}", "yes" if fit.linear else "NO")
        for fit in growths(results)
    ]
    if fits:
        head = ("with", "driver", "exponent", "of the last step", "linear")
        parts += ["## Growth", _ABOUT_GROWTH, table(head, fits)]
    groups = dict.fromkeys(WORKLOADS[name].group for name in results)
    for group in groups:
        members = {name: series for name, series in results.items() if WORKLOADS[name].group == group}
        parts.append(f"## {group}")
        if group == _SMALL_GROUP:
            parts.append(_per_unit(members))
        elif group == TYPES:
            parts += [_ABOUT_TYPES, _per_type(members)]
        else:
            for name, series in members.items():
                parts += [
                    f"### {WORKLOADS[name].title}",
                    f"`--only {name}`",
                    _workload(WORKLOADS[name], series),
                ]
    return "\n\n".join(parts) + "\n"


def summary(results: Results, facts: Facts) -> str:
    """What goes into docs/figures.md: the targets, and the toolbench in one table."""
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
    "Milliseconds for one operation: the median and the quartiles of the rounds. CPU is the client process's,"
    " its threads included. Ratios are made within a round, of wall times if nothing else is said; below 1 is"
    " faster. The server works on the same CPUs as the client, so compare within one table only."
)
_ABOUT_GROWTH: Final = (
    f"The exponent of a power law fitted to the times (CPU; wall for the raw socket). Up to {LINEAR} it is"
    " taken for linear; what every operation costs, however small, makes it smaller than 1, so"
    " the exponent of the step to the largest size stands beside it."
)

_ABOUT_TYPES: Final = (
    "Nanoseconds of CPU for each value, 20 in a row, with all that a query and its rows take. asyncpg has its"
    " codecs for json, jsonb and hstore set. It gives the text of what it has no codec for (money, aclitem,"
    ' jsonpath, tsvector, tsquery, refcursor), as we do; a number for a pg_lsn, bytes for a "char" and a'
    " tuple for a pg_snapshot, where we give text; and a timedelta for an interval."
)


def _targets(results: Results) -> str:
    verdicts = [(target.title, target.verdict(results)) for target in TARGETS]
    head = ("target (compiled build, asyncio, if nothing else is said)", "")
    return table(head, [(title, str(verdict)) for title, verdict in verdicts])


def _workload(workload: Workload, series: Mapping[str, Series]) -> str:
    """A line for each driver."""
    references = [(name, series[driver]) for name, driver in _REFERENCES.items() if driver in series]
    own = next((one for name, one in series.items() if name.startswith("pgproto asyncio")), None)
    own = own or next((one for name, one in series.items() if name.startswith("pgproto")), None)
    if own is not None:
        references.insert(0, (own.driver, own))
    references = [(name, one) for name, one in references if one.rounds and not one.error]
    head = ["", "", "median", "quartiles", "CPU", *[f"to {name}" for name, _ in references]]
    asyncpg = next((one for name, one in references if name == "asyncpg"), None)
    head += ["CPU to asyncpg"] if asyncpg is not None else []
    head += ["memory, MiB"] if workload.fresh else []
    lines = []
    for one in series.values():
        if one.error or not one.rounds:
            lines.append([one.driver, f"failed: {one.error}", *[""] * (len(head) - 2)])
            continue
        first, third = one.quartiles("wall")
        line = [one.driver, one.way, _cell(one, "wall"), f"{_ms(first)} to {_ms(third)}", _cell(one, "cpu")]
        line += [_ratio(one.ratio_to(other, "wall")) for _, other in references]
        line += [_ratio(one.ratio_to(asyncpg, "cpu"))] if asyncpg is not None else []
        line += [f"{one.median('peak') / MEGABYTE:.1f}"] if workload.fresh else []
        lines.append(line)
    return table(head, lines)


def _per_unit(results: Results) -> str:
    """Nanoseconds of CPU for each value, statement or byte: a column for each build."""
    drivers = list(dict.fromkeys(driver for series in results.values() for driver in series))
    lines = []
    for name, series in results.items():
        workload = WORKLOADS[name]
        figures = [
            series[driver].median("cpu") / workload.per * 1e9 for driver in drivers if driver in series
        ]
        line = [
            workload.title,
            *[f"{figure:,.1f}" if figure < 10 else f"{figure:,.0f}" for figure in figures],
        ]
        lines.append([*line, _ratio(figures[-1] / figures[0])] if len(figures) > 1 else line)
    head = ["nanoseconds of CPU for each value, statement or byte", *drivers]
    return table([*head, "ratio"] if len(drivers) > 1 else head, lines)


def _per_type(results: Results) -> str:
    """Nanoseconds of CPU for each value, the worst beside asyncpg first."""
    drivers = list(dict.fromkeys(driver for series in results.values() for driver in series))
    lines = []
    for name, series in results.items():
        own = next((one for name, one in series.items() if name.startswith("pgproto asyncio")), None)
        asyncpg = series.get("asyncpg")
        ratio = own.ratio_to(asyncpg, "cpu") if own is not None and asyncpg is not None else math.nan
        cells = [_nanoseconds(WORKLOADS[name], series.get(driver)) for driver in drivers]
        lines.append((ratio, [f"`{name}`", *cells, _ratio(ratio)]))
    lines.sort(key=lambda line: -line[0] if line[0] == line[0] else 0.0)
    return table(["", *drivers, "CPU to asyncpg"], [line for _, line in lines])


def _nanoseconds(workload: Workload, series: Series | None) -> str:
    if series is None or not series.rounds:
        return "-"
    return f"{series.median('cpu') / workload.per * 1e9:,.0f}"


def _cell(series: Series | None, metric: str) -> str:
    return _ms(series.median(metric)) if series is not None and series.rounds else "-"


def _ms(seconds: float) -> str:
    milliseconds = seconds * 1e3
    if milliseconds >= 100:
        return f"{milliseconds:,.0f}"
    return f"{milliseconds:.1f}" if milliseconds >= 10 else f"{milliseconds:.3f}"


def _ratio(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
