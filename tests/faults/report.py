"""The tables: on the screen, as docs/fault-matrix.md, and as JSON."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from tests.faults.catalogue import LEFT_OUT, Cell
from tests.faults.columns import ACQUIRE, COLUMNS, CONNECT, OURS, QUERY
from tests.faults.judge import LIMIT, WORDS, Verdict

__all__ = ["DOCUMENT", "JSON", "summary", "write"]

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, JSON = DOCS / "fault-matrix.md", DOCS / "fault-matrix.json"
Verdicts = Mapping[str, Mapping[str, Verdict]]


def summary(cells: Mapping[str, Cell], verdicts: Verdicts) -> str:
    """A table for the screen: how many cells of each column got each word."""
    words = [word for word in WORDS if any(v.word == word for by in verdicts.values() for v in by.values())]
    width = max(map(len, verdicts))
    lines = [" " * width + "".join(f"  {word}" for word in words)]
    for column, by_cell in verdicts.items():
        counts = Counter(verdict.word for verdict in by_cell.values())
        lines.append(column.ljust(width) + "".join(f"  {counts[word]:>{len(word)}}" for word in words))
    return "\n".join(lines)


def write(cells: Mapping[str, Cell], verdicts: Verdicts) -> None:
    """Write both documents."""
