"""`python scripts/measure.py`: count the hand-written lines of the clients, and find repeated ones.

A line counts unless it is blank or belongs to an import; comments and docstrings count.  Counted are
`pgproto/client`, without the files that `scripts/blocking.py` writes, and `transports`, without
`pgproto_pytest`, which is for tests, `pgproto_cli`, which is a program, and `pgproto_blocking/dbapi`, which
is another API on top of a client.
`tests/test_measure.py` has the limits.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
TRANSPORTS: Final = ROOT / "transports"
NO_CLIENTS: Final = (TRANSPORTS / "pgproto_cli", TRANSPORTS / "pgproto_pytest")
ON_TOP: Final = TRANSPORTS / "pgproto_blocking" / "dbapi"
CLIENT: Final = ROOT / "pgproto" / "client"
GENERATED: Final = CLIENT / "blocking"

SHARED: Final = 6
"""So many equal lines in a row count as repeated."""


class Line(NamedTuple):
    """One line that counts: its place, and its text without indentation."""

    file: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.number}"


def lines_of(file: Path) -> list[Line]:
    """The lines of a file that count."""
    source = file.read_text(encoding="utf-8")
    imports: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            imports.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return [
        Line(file, number, line.strip())
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip() and number not in imports
    ]


def packages() -> dict[str, list[Path]]:
    """The files that are written by hand, by package."""
    client = [file for file in sorted(CLIENT.rglob("*.py")) if GENERATED not in file.parents]
    folders = sorted(path for path in TRANSPORTS.iterdir() if (path / "__init__.py").exists())
    transports = [path for path in folders if path not in NO_CLIENTS]
    adapters = {
        path.name: [file for file in sorted(path.rglob("*.py")) if ON_TOP not in file.parents]
        for path in transports
    }
    return {"pgproto/client": client} | adapters


def counts(found: Mapping[str, Sequence[Path]]) -> dict[str, int]:
    """How many lines count, by package."""
    return {package: sum(len(lines_of(file)) for file in files) for package, files in found.items()}


def repeated(one: Sequence[Path], other: Sequence[Path]) -> Iterator[tuple[Line, Line]]:
    """Where SHARED equal lines in a row begin, in a file of the first and in a file of the second."""
    seen: dict[tuple[str, ...], Line] = {}
    for text, line in _windows(one):
        seen.setdefault(text, line)
    for text, line in _windows(other):
        if text in seen:
            yield seen[text], line


def _windows(files: Sequence[Path]) -> Iterator[tuple[tuple[str, ...], Line]]:
    for file in files:
        lines = lines_of(file)
        for first in range(len(lines) - SHARED + 1):
            window = lines[first : first + SHARED]
            yield tuple(line.text for line in window), window[0]


def main() -> None:
    """Print both."""
    found = packages()
    lines = counts(found)
    for package, count in lines.items():
        print(f"{count:6}  {package}")
    print(f"{sum(lines.values()):6}  together")
    for one, other in combinations(found, 2):
        for first, second in repeated(found[one], found[other]):
            print(f"{SHARED} equal lines: {first} and {second}")


if __name__ == "__main__":
    main()
