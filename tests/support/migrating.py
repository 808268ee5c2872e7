"""The tables of the two pages about migrating: the names of the peers, and the code beside them.

The head of a table's first column names classes or modules of the peer, each in backquotes.  A name with ()
is a function, whose parameters are the rows.  In each row the first cell has names, and the second has one
piece of code, which runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.readme import PAGES

ASYNCPG = "docs/migrating-from-asyncpg.md"
PSYCOPG = "docs/migrating-from-psycopg.md"
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Row:
    """One row: the page and its line, whose names they are, the names, and the code."""

    page: str
    line: int
    owners: tuple[str, ...]
    names: tuple[str, ...]
    code: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def rows(page: str) -> Iterator[Row]:
    """The rows of all tables of names of a page."""
    owners: tuple[str, ...] = ()
    for number, line in enumerate(PAGES[page].splitlines(), 1):
        cells = [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]
        if not line.startswith("|"):
            owners = ()
        elif len(cells) == 3 and cells[1] == "here":
            owners = tuple(_CODE.findall(cells[0]))
        elif owners and not set(line) <= set("|- "):
            yield Row(page, number, owners, tuple(_CODE.findall(cells[0])), tuple(_CODE.findall(cells[1])))


def named(page: str) -> dict[str, set[str]]:
    """The names that a page has of each class or module."""
    found: dict[str, set[str]] = {}
    for row in rows(page):
        for owner in row.owners:
            found.setdefault(owner, set()).update(row.names)
    return found


def public(thing: object) -> set[str]:
    """The public names of a class or module; of a function, its parameters."""
    if inspect.isfunction(thing) or inspect.ismethod(thing):
        return set(inspect.signature(thing).parameters) - {"self", "connect_args", "connect_kwargs"}
    return {name for name in dir(thing) if not name.startswith("_")}
