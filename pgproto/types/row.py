"""Row: one row of a result, by position and by name.

Rule: a row is a sequence of its values.  It iterates over them, unpacks, slices, compares and hashes as the
tuple of them; on top of that it knows its columns' names, which all rows of a result share.

Rule: names come from the server and are nothing but dict keys.  `row["__class__"]` is a column, no name
ever becomes an attribute, and "" or "?column?" are as good as any.  Of two columns with the same name the
name means the first; the position reaches both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from ..wire.hints import mypyc_attr

__all__ = ["Columns", "Row", "TrackedRow"]


class Columns:
    """The column names of a result: a tuple of them, and the position of each."""

    __slots__ = ("index", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.index: dict[str, int] = {}
        for position, name in enumerate(self.names):
            self.index.setdefault(name, position)

    def __reduce__(self) -> tuple[type[Columns], tuple[tuple[str, ...]]]:
        return (Columns, (self.names,))


# Half of a large result's objects are not the collector's then; the tuples are tracked all the same.
# Tracked, a compiled row has 56 bytes for 40, and decoding one takes 1.4 to 1.6 times as long, or twice if
# 200,000 are kept.  A cycle goes through a value that can be changed: rows with one are a TrackedRow.
@mypyc_attr(acyclic=True)
class Row:
    """One immutable row.  `dict(row)`, `tuple(row)` and `id, name = row` do what they look like.

    Args:
        columns: the names, shared by all rows of the result.
        row_values: as many values.
    """

    __slots__ = ("_columns", "_values")

    def __init__(self, columns: Columns, row_values: tuple[Any, ...]) -> None:
        self._columns = columns
        self._values = row_values

    @overload
    def __getitem__(self, key: int | str) -> Any: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...

    def __getitem__(self, key: int | str | slice) -> Any:
        """The value at a position or of a name, or the tuple of a slice of values.

        Raises:
            IndexError: there is no such position.
            KeyError: there is no column of that name.
        """
        if isinstance(key, str):
            return self._values[self._columns.index[key]]
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __contains__(self, value: object) -> bool:
        """True if one of the *values* is equal; for names ask `name in row.keys()`."""
        return value in self._values

    def keys(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return self._columns.names

    def values(self) -> tuple[Any, ...]:
        """The values, in order."""
        return self._values

    def items(self) -> list[tuple[str, Any]]:
        """Name and value of each column, in order; a name that occurs twice is there twice."""
        return list(zip(self._columns.names, self._values, strict=True))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the (first) column of that name, or `default` if there is none."""
        position = self._columns.index.get(name)
        return default if position is None else self._values[position]

    def as_dict(self) -> dict[str, Any]:
        """The values by name; of two columns with the same name, the first."""
        return {name: self._values[position] for name, position in self._columns.index.items()}

    def __eq__(self, other: object) -> bool:
        """Equal to a row, or a tuple, of equal values; the names don't matter."""
        if isinstance(other, Row):
            return self._values == other._values
        if isinstance(other, tuple):
            return self._values == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __repr__(self) -> str:
        parts: list[str] = []
        for name, value in self.items():
            parts.append(f"{name if name.isidentifier() else repr(name)}={value!r}")
        return f"Row({', '.join(parts)})"

    def __reduce__(self) -> tuple[type[Row], tuple[Columns, tuple[Any, ...]]]:
        return (type(self), (self._columns, self._values))


class TrackedRow(Row):
    """The same, for the compiled build's rows with a list or a dict, which can be made to refer to the row.

    The cyclic collector knows it: what is in a cycle is collected.  Interpreted, it knows every Row.
    """

    __slots__ = ()
