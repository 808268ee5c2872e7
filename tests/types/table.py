"""docs/types.md: what becomes of values, with pgproto and with its peers; made with a running server.

Each value goes into a column of its type, by a parameter of an INSERT, and is read back from there, as text
(what the server stores) and as it is.  The values are in `rows`.  The text of the document that is not the
tables stands in the document itself.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import re
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from math import inf, nan
from pathlib import Path as FilePath
from typing import Any, Final
from uuid import UUID

import pgproto_blocking
from pgproto.types import (
    BitString,
    Box,
    Circle,
    Interval,
    Line,
    LineSegment,
    Multirange,
    Path,
    Point,
    Polygon,
    Range,
)
from tests.types.rows import FROM_SQL, SECTIONS

__all__ = [
    "DOCUMENT",
    "DRIVERS",
    "PEERS",
    "Cell",
    "cells",
    "document",
    "given",
    "parsed",
    "played",
    "version",
]

DOCUMENT: Final = FilePath(__file__).parents[2] / "docs" / "types.md"
PEERS: Final = ("asyncpg", "psycopg")
WIDTH: Final = 70
"""The characters of a value that are shown."""
BEGIN, END = "<!-- the tables begin -->", "<!-- the tables end -->"


class Number(IntEnum):
    ONE = 1


class Plain(Enum):
    SEVEN = 7


class Word(StrEnum):
    OK = "ok"


class Mood(Enum):
    HAPPY = "happy"


class Indexed:
    """An integer of somebody's, as numpy has them."""

    def __index__(self) -> int:
        return 5


NAMES: Final[dict[str, Any]] = {
    each.__name__: each
    for each in (
        *(BitString, Box, Circle, Interval, Line, LineSegment, Multirange, Path, Point, Polygon, Range),
        *(Number, Plain, Word, Mood, Indexed),
        *(array, deque, date, datetime, time, timedelta, timezone, Decimal, Fraction, UUID),
        *(ip_address, ip_interface, ip_network),
    )
} | {"UTC": UTC, "inf": inf, "nan": nan}


@dataclass(frozen=True)
class Cell:
    """What became of one value.

    Args:
        stored: the server's text; None if the value was refused.
        out: the value that comes back, by its repr, or the class of the error.
        failed: it is an error.
    """

    stored: str | None
    out: str
    failed: bool


Run = Callable[[str, list[Any]], list[tuple[Any, ...]]]
"""Run SQL with parameters; returns the rows."""


def _pgproto(dsn: str) -> Iterator[tuple[Run, Callable[[Any], Any]]]:
    with pgproto_blocking.connect(dsn) as conn:
        yield lambda sql, args: [tuple(row) for row in conn.fetch(sql, *args)], lambda value: value


def _psycopg(dsn: str) -> Iterator[tuple[Run, Callable[[Any], Any]]]:
    psycopg: Any = importlib.import_module("psycopg")
    ranges: Any = importlib.import_module("psycopg.types.range")
    multiranges: Any = importlib.import_module("psycopg.types.multirange")
    with psycopg.connect(dsn, autocommit=True) as conn:

        def run(sql: str, args: list[Any]) -> list[tuple[Any, ...]]:
            cursor = conn.execute(re.sub(r"\$\d", "%s", sql) if args else sql, args or None)
            return cursor.fetchall() if cursor.description else []

        def own(value: Any) -> Any:
            if isinstance(value, Range):
                return ranges.Range(value.lower, value.upper, value.bounds, empty=value.empty)
            if isinstance(value, Multirange):
                return multiranges.Multirange([own(each) for each in value])
            return [own(each) for each in value] if type(value) is list else value

        yield run, own


def _asyncpg(dsn: str) -> Iterator[tuple[Run, Callable[[Any], Any]]]:
    asyncpg: Any = importlib.import_module("asyncpg")
    asyncio: Any = importlib.import_module("asyncio")
    figures = {Point: "Point", Line: "Line", LineSegment: "LineSegment", Box: "Box", Circle: "Circle"}

    def own(value: Any) -> Any:
        if isinstance(value, Range):
            return asyncpg.Range(
                value.lower,
                value.upper,
                lower_inc=value.lower_inc,
                upper_inc=value.upper_inc,
                empty=value.empty,
            )
        if isinstance(value, BitString):
            return asyncpg.BitString(str(value))
        if isinstance(value, Path):
            return asyncpg.Path(*value.points, is_closed=value.closed)
        if isinstance(value, Polygon):
            return asyncpg.Polygon(*value.points)
        if type(value) in figures:
            return getattr(asyncpg, figures[type(value)])(*value)
        return [own(each) for each in value] if type(value) in (list, Multirange) else value

    with asyncio.Runner() as runner:
        conn = runner.run(asyncpg.connect(dsn))
        try:
            yield (lambda sql, args: [tuple(row) for row in runner.run(conn.fetch(sql, *args))]), own
        finally:
            runner.run(conn.close())


DRIVERS: Final = {"pgproto": _pgproto, "asyncpg": _asyncpg, "psycopg": _psycopg}


def version(peer: str) -> str | None:
    """Of a peer, if it is installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(peer)
    return None


def _shown(value: Any) -> str:
    return _short(re.sub(r" object at 0x[0-9a-f]+", "", repr(value)))


def _stored(text: str | None) -> str:
    if text is None:
        return "NULL"
    return _short(text if text and text == text.strip() and text.isprintable() else repr(text))


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _tried(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """What it returns, or the class of its error."""
    try:
        return work(), None
    except Exception as error:
        return None, type(error).__name__


def played(driver: str, dsn: str) -> dict[tuple[str, str], Cell]:
    """What becomes of each value; by the type and the source of the value, or by "" and the SQL.

    Args:
        driver: one of `DRIVERS`.
        dsn: of a database that has `SCHEMA`.
    """
    found: dict[tuple[str, str], Cell] = {}
    make = contextlib.contextmanager(DRIVERS[driver])
    with make(dsn) as (run, own):
        for sql in FROM_SQL:
            stored = run(f"select ({sql})::text", [])[0][0]
            value, error = _tried(partial(run, f"select {sql}", []))
            found["", sql] = _cell(stored, value, error)
        for number, (name, source) in enumerate(given()):
            table = f"pg_temp.t{number}"
            run(f"create temp table t{number} (v {name})", [])
            value = own(eval(source, dict(NAMES)))
            _, error = _tried(partial(run, f"insert into {table} values ($1)", [value]))
            if error:
                found[name, source] = Cell(None, error, True)
                continue
            stored = run(f"select v::text from {table}", [])[0][0]
            value, error = _tried(partial(run, f"select v from {table}", []))
            found[name, source] = _cell(stored, value, error)
    return found


def _cell(stored: str | None, rows: Any, error: str | None) -> Cell:
    return Cell(_stored(stored), error or _shown(rows[0][0]), error is not None)


def given(title: str | None = None) -> list[tuple[str, str]]:
    """The type and the source of each value, of one section or of all."""
    chosen = SECTIONS.values() if title is None else [SECTIONS[title]]
    return [(name, source) for types in chosen for name, values in types.items() for source in values]


def _code(text: str) -> str:
    """As code in a table's cell."""
    text = text.replace("|", "\\|")
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if fence == "`" else f"{fence} {text} {fence}"


def _ours(cell: Cell) -> list[str]:
    out = f"**{cell.out}**" if cell.failed else _code(cell.out)
    return ["" if cell.stored is None else _code(cell.stored), out]


def _theirs(cell: Cell, ours: Cell) -> str:
    if cell.failed:
        return f"**{cell.out}**"
    out = "=" if (cell.out, False) == (ours.out, ours.failed) else _code(cell.out)
    return out if cell.stored == ours.stored else f"{out}, stored {_code(cell.stored or '')}"


def document(results: dict[str, dict[tuple[str, str], Cell]]) -> str:
    """The tables.

    Args:
        results: of each of `DRIVERS`.
    """
    heads = [f"{peer} {version(peer)}" for peer in PEERS]
    lines: list[str] = []

    def table(title: str, first: list[str], keys: list[tuple[str, str]]) -> None:
        head = [*first, "stored", "pgproto", *heads]
        lines.extend([f"### {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"])
        for key in keys:
            row = cells(key, results["pgproto"][key], {peer: results[peer][key] for peer in PEERS})
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")

    for title in SECTIONS:
        table(title, ["type", "given"], given(title))
    table("Values that the server makes", ["SQL"], [("", sql) for sql in FROM_SQL])
    return "\n".join(lines)


def cells(key: tuple[str, str], ours: Cell, theirs: dict[str, Cell]) -> list[str]:
    """The cells of one row, with those of the peers that there are."""
    return [
        *[_code(part) for part in key if part],
        *_ours(ours),
        *[_theirs(each, ours) for each in theirs.values()],
    ]


def parsed(text: str) -> tuple[list[str], list[list[str]]]:
    """The head of the first table of a document, and the cells of the rows of all of them."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.split("\n")
        if line.startswith("| ")
    ]
    return rows[0], [row for row in rows if row[0] not in ("type", "SQL")]
