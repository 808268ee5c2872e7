"""What all commands print: colours where somebody sees them, JSON, progress, errors of one line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

__all__ = ["BOLD", "DIM", "GREEN", "RED", "doing", "one_line", "paint", "show_json", "table"]

BOLD: Final = "1"
DIM: Final = "2"
RED: Final = "31"
GREEN: Final = "32"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """The text in a colour, if the stream is a terminal and NO_COLOR is not set (https://no-color.org)."""
    seen = stream or sys.stdout
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not seen.isatty()
    return text if plain else f"\x1b[{colour}m{text}\x1b[0m"


def show_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value), flush=True)


def one_line(error: BaseException) -> str:
    """The text of an error in one line, without control characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(character if character.isprintable() else "?" for character in text)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say on the terminal what takes long, until it is done."""
    seen = sys.stderr.isatty()
    if seen:
        sys.stderr.write(what)
        sys.stderr.flush()
    try:
        yield
    finally:
        if seen:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below a head, each column as wide as its longest text; the last one is not padded."""
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()

    print(paint(line(head), BOLD))
    for row in rows:
        print(line(row))
