"""Type objects, and constructors for values, of PEP 249."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Final

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Date",
    "DateFromTicks",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "TypeObject",
]


class TypeObject:
    """Equal to the type OIDs of its kind: `cursor.description[0][1] == dbapi.NUMBER`.

    Args:
        name: its name in PEP 249.
        oids: constants of PostgreSQL (src/include/catalog/pg_type.dat).
    """

    __slots__ = ("_name", "_oids")

    def __init__(self, name: str, oids: Iterable[int]) -> None:
        self._name = name
        self._oids = frozenset(oids)

    def __eq__(self, other: object) -> bool:
        return other in self._oids if isinstance(other, int) else self is other

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f"<type object {self._name}>"


STRING: Final = TypeObject("STRING", (18, 19, 25, 1042, 1043))
BINARY: Final = TypeObject("BINARY", (17,))
NUMBER: Final = TypeObject("NUMBER", (20, 21, 23, 700, 701, 1700))
DATETIME: Final = TypeObject("DATETIME", (1082, 1083, 1114, 1184, 1186, 1266))
ROWID: Final = TypeObject("ROWID", (26,))

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802 - PEP 249 names it
    """The date of a time in seconds since the epoch, in local time."""
    return TimestampFromTicks(ticks).date()


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802
    """The time of day of a time in seconds since the epoch, in local time."""
    return TimestampFromTicks(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802
    """A time in seconds since the epoch as a datetime, in local time."""
    return datetime.datetime.fromtimestamp(ticks)
