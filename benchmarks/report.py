"""The report's files: JSON with every round, Markdown, pictures; and the part of docs/figures.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from . import pictures, tables
from .facts import Facts
from .growth import growths
from .series import Results
from .targets import TARGETS
from .workloads import WORKLOADS

__all__ = ["BEGIN", "END", "as_json", "write", "write_page"]

BEGIN: Final = "<!-- benchmark: written by `python -m benchmarks --docs` -->"
END: Final = "<!-- benchmark: end -->"


def as_json(results: Results, facts: Facts) -> str:
    """Everything that was measured, and what was made of it."""
    found = {
        "circumstances": facts,
        "targets": [
            {"target": target.title, "reached": verdict.reached, "text": verdict.text}
            for target, verdict in ((target, target.verdict(results)) for target in TARGETS)
        ],
        "growth": [
            {
                "with": fit.family,
                "driver": fit.driver,
                "exponent": round(fit.exponent, 3),
                "last": round(fit.last, 3),
            }
            for fit in growths(results)
        ],
        "workloads": {
            name: {"title": WORKLOADS[name].title, "drivers": [one.as_dict() for one in series.values()]}
            for name, series in results.items()
        },
    }
    return json.dumps(found, indent=1)


def write(directory: Path, results: Results, facts: Facts) -> list[Path]:
    """Write all files into a directory: their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = dict(pictures.pictures(results))
    files = {f"{name}.svg": text for name, text in drawn.items()}
    files["results.json"] = as_json(results, facts) + "\n"
    files["README.md"] = tables.markdown(results, facts, list(drawn))
    for name, text in files.items():
        (directory / name).write_text(text)
    return [directory / name for name in files]


def write_page(path: Path, markdown: str) -> None:
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
