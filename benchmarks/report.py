"""What is made of the figures: tables to read, JSON to compare with, and the README's part."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import pgproto
from pgproto.types.native import COMPILED

from .drivers import FLOOR, Driver
from .measure import Series
from .workloads import WORKLOADS

__all__ = ["as_json", "as_markdown", "as_text", "circumstances", "write_readme"]

BEGIN = "<!-- benchmark: written by `python -m benchmarks --readme` -->"
END = "<!-- benchmark: end -->"

Facts = dict[str, str]


def circumstances(drivers: Iterable[Driver], server_version: str, rounds: int) -> Facts:
    """When, where and with which versions it was measured."""
    facts = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} CPUs, {_cpu_model()}, {platform.system()} {platform.machine()}",
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "rounds": str(rounds),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "server": f"PostgreSQL {server_version}, on the loopback",
        "pgproto": f"{pgproto.__version__} ({'compiled' if COMPILED else 'pure Python'})",
    }
    for name in sorted({package for driver in drivers for package in driver.packages}):
        facts[name] = metadata.version(name)
    return facts


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown CPU"


HEAD = ("", "median", "quartiles", "min", "CPU", "x floor")


def _figures(series: Sequence[Series]) -> list[tuple[str, ...]]:
    """A line for each driver, milliseconds per run."""
    floor = next((one for one in series if one.driver.name == FLOOR), None)
    lines: list[tuple[str, ...]] = []
    for one in series:
        first, third = one.quartiles
        lines.append(
            (
                one.driver.name,
                f"{one.median * 1e3:.2f}",
                f"{first * 1e3:.2f} to {third * 1e3:.2f}",
                f"{one.fastest * 1e3:.2f}",
                f"{one.cpu_median * 1e3:.2f}",
                f"{one.ratio_to(floor):.1f}" if floor is not None else "",
            )
        )
    return lines


def _ratios(series: Sequence[Series]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """How many times as long as each of pgproto's ways each peer takes."""
    ours = [one for one in series if one.driver.ours]
    peers = [one for one in series if not one.driver.ours and one.driver.name != FLOOR]
    head = ("one run of pgproto is 1.0", *(one.driver.name.removeprefix("pgproto ") for one in ours))
    return head, [(peer.driver.name, *(_ratio(peer.ratio_to(one)) for one in ours)) for peer in peers]


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    table = [list(head), *map(list, lines)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]


def as_text(results: dict[str, list[Series]], facts: Facts) -> str:
    """The report for the terminal."""
    parts = ["\n".join(f"{name}: {value}" for name, value in facts.items())]
    for name, series in results.items():
        parts.append(f"{WORKLOADS[name].title}; milliseconds, less is better")
        parts.append("\n".join(_aligned(HEAD, _figures(series))))
        head, lines = _ratios(series)
        if lines and len(head) > 1:
            parts.append("\n".join(_aligned(head, lines)))
    return "\n\n".join(parts)


def _markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def as_markdown(results: dict[str, list[Series]], facts: Facts) -> str:
    """The report for the README."""
    own = ("date", "machine", "load", "rounds", "python", "server", "pgproto")
    versions = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in own)
    parts = [
        f"Measured {facts['date']} on a shared machine ({facts['machine']}, load {facts['load']}):"
        f" {facts['python']}, {facts['server']}; pgproto {facts['pgproto']}, {versions}."
        f" {facts['rounds']} interleaved rounds, one process per driver."
    ]
    for name, series in results.items():
        parts.append(
            f"**{WORKLOADS[name].title}**, milliseconds. CPU is the client's."
            " Ratios are made within a round, of its medians; the last column is that to the raw socket."
        )
        parts.append(_markdown_table(HEAD, _figures(series)))
        head, lines = _ratios(series)
        if lines and len(head) > 1:
            parts.append(_markdown_table(head, lines))
    return "\n\n".join(parts)


def as_json(results: dict[str, list[Series]], facts: Facts) -> str:
    """Everything that was measured."""
    workloads = {name: [one.as_dict() for one in series] for name, series in results.items()}
    return json.dumps({"circumstances": facts, "workloads": workloads}, indent=1)


def write_readme(path: Path, markdown: str) -> None:
    """Replace what stands between the markers.

    Raises:
        ValueError: a marker is missing.
    """
    text = path.read_text()
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path.name} has no place for the benchmark: {BEGIN} ... {END}")
    path.write_text(f"{before}{BEGIN}\n\n{markdown}\n\n{END}{after}")
