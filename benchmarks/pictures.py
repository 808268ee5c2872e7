"""The report as pictures: bars of ratios, as SVG that can be read on dark and on light pages.

A picture is an entry of a table: which workloads, which drivers, which metric, and whose figure is 1.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from .growth import Growth, growths
from .series import Results
from .workloads import TOOLBENCH

__all__ = ["PICTURES", "pictures"]

_TEXT: Final = "#808890"  # a grey that can be read on black and on white
_COLOURS: Final = {
    "raw socket": "#9aa0a6",
    "pgproto blocking": "#2f9e6e",
    "pgproto asyncio": "#35b07c",
    "pgproto uvloop": "#5cc496",
    "pgproto trio": "#7fd0ad",
    "asyncpg": "#4a90d9",
    "asyncpg uvloop": "#7db1e8",
    "psycopg": "#d98a3d",
    "psycopg asyncio": "#e5a868",
    "psqlpy": "#a77bd1",
    "pg8000": "#c8606e",
}
_FAMILIES: Final = ("#35b07c", "#4a90d9", "#d98a3d", "#a77bd1")
_PURE: Final = 0.5  # how opaque the pure build is


class Picture:
    """One picture of bars, a group of them for each workload.

    Args:
        title: what is shown.
        names: the workloads.
        drivers: whose bars, from top to bottom.
        metric: "wall" or "cpu".
        reference: whose figure is 1.
    """

    def __init__(
        self, title: str, names: tuple[str, ...], drivers: tuple[str, ...], metric: str, reference: str
    ) -> None:
        self.title = title
        self.names = names
        self.drivers = drivers
        self.metric = metric
        self.reference = reference


_CLIENTS: Final = (
    "pgproto blocking, compiled",
    "pgproto asyncio, compiled",
    "pgproto asyncio, pure",
    "asyncpg",
    "psycopg",
    "psqlpy",
    "pg8000",
)
PICTURES: Final = {
    "toolbench": Picture("The toolbench: CPU of the client", TOOLBENCH, _CLIENTS, "cpu", "asyncpg"),
    "batches": Picture(
        "Batch of selects, all or nothing: time",
        tuple(f"batch_select_{size}" for size in (1, 10, 100, 1000, 10000)),
        ("raw socket", *_CLIENTS[:3], "psycopg asyncio", "asyncpg", "psqlpy", "pg8000"),
        "wall",
        "pgproto asyncio, compiled",
    ),
    "round-trips": Picture(
        "With a round-trip time of 1 ms more: time",
        ("single_rtt_1", "transaction_rtt_1", "batch_rtt_1"),
        ("pgproto asyncio, compiled", "asyncpg", "psycopg asyncio", "psqlpy", "pg8000"),
        "wall",
        "pgproto asyncio, compiled",
    ),
    "queries": Picture(
        "Queries, rows and pools: CPU of the client",
        ("single", "gather", "transaction", "mixed_rows", "connect", "pool_cycle", "tasks_100"),
        _CLIENTS,
        "cpu",
        "asyncpg",
    ),
}


def pictures(results: Results) -> Iterator[tuple[str, str]]:
    """Name and SVG text of every picture that something was measured for."""
    for name, picture in PICTURES.items():
        text = _bars(picture, results)
        if text:
            yield name, text
    fits = [fit for fit in growths(results) if fit.driver.startswith(("pgproto blocking", "pgproto core"))]
    if fits:
        yield "growth", _lines(fits)


def _bars(picture: Picture, results: Results) -> str:
    groups = []
    for name in picture.names:
        series = results.get(name, {})
        reference = series.get(picture.reference)
        if reference is not None and reference.rounds:
            found = [
                (driver, series[driver].ratio_to(reference, picture.metric))
                for driver in picture.drivers
                if driver in series and series[driver].rounds
            ]
            groups.append((name, [(driver, ratio) for driver, ratio in found if not math.isnan(ratio)]))
    if not groups:
        return ""
    count = sum(len(bars) + 1 for _, bars in groups)
    figure, axes = _paper(9, 0.21 * count + 1.2)
    position, ticks, seen = 0, [], set()
    for name, bars in groups:
        ticks.append((position + (len(bars) - 1) / 2, name))
        for driver, ratio in bars:
            short, _, build = driver.partition(", ")
            label = driver if driver not in seen else None
            seen.add(driver)
            axes.barh(
                position,
                ratio,
                0.86,
                color=_COLOURS[short],
                alpha=_PURE if build == "pure" else 1,
                label=label,
            )
            axes.text(ratio, position, f" {ratio:.2f}", va="center", ha="left", color=_TEXT, fontsize=7)
            position += 1
        position += 1
    axes.set_yticks([where for where, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(position - 1, -1)
    axes.set_xscale("log")
    axes.axvline(1, color=_TEXT, linewidth=0.8)
    axes.set_xlabel(f"times that of {picture.reference} (less is better, logarithmic)", color=_TEXT)
    axes.set_title(picture.title, color=_TEXT)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.12)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.8 / (0.21 * count + 1.2)), ncols=4, **_LEGEND)
    return _svg(figure)


def _lines(fits: list[Growth]) -> str:
    figure, axes = _paper(9, 5)
    families = list(dict.fromkeys(fit.family for fit in fits))
    for fit in fits:
        build = fit.driver.rpartition(", ")[2]
        axes.plot(
            fit.sizes,
            [time * 1e3 for time in fit.times],
            marker="o",
            markersize=3,
            linewidth=1.2,
            color=_FAMILIES[families.index(fit.family) % len(_FAMILIES)],
            linestyle="--" if build == "pure" else "-",
            label=f"{fit.family}, {fit.driver}: {fit.exponent:.2f}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("size", color=_TEXT)
    axes.set_ylabel("milliseconds of CPU", color=_TEXT)
    axes.set_title("Growth, with the exponent that was fitted", color=_TEXT)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, **_LEGEND)
    return _svg(figure)


_LEGEND: Final = {"fontsize": 7, "frameon": False, "labelcolor": _TEXT}


def _paper(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_color(_TEXT)
        spine.set_alpha(0.4)
    axes.tick_params(which="both", colors=_TEXT, labelsize=8)
    axes.grid(visible=True, axis="x", color=_TEXT, alpha=0.2, linewidth=0.5)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pgproto"}), io.StringIO() as file:
        figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
        text = file.getvalue()
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
