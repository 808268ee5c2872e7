"""Row: one row of a result, by position and by name.

Rule: a row is a sequence of its values.  It iterates, unpacks, slices, compares, sorts and hashes like a
tuple of them; it also has the columns' names, which all rows of a result share.  As with a mapping, `in` asks
the names: libraries that take "lists of dicts" ask so whether a column is there.

Rule: names come from the server and are only used as dict keys.  `row["__class__"]` is a column, no name
becomes an attribute, and "" and "?column?" are valid names.  If two columns have the same name, the name
means the first; the second can be had by its position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from ..wire.hints import mypyc_attr

__all__ = ["Columns", "Row", "TrackedRow"]


class Columns:
    """The column names of a result, and the position of each."""

    __slots__ = ("index", "names")

    def __init__(self, names: Sequence[str]) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self.index: dict[str, int] = {}
        for position, name in enumerate(self.names):
            self.index.setdefault(name, position)

    def __reduce__(self) -> tuple[type[Columns], tuple[tuple[str, ...]]]:
        return (Columns, (self.names,))


# acyclic: the garbage collector does not track rows, which are half of a large result's objects (the others
# are their tuples).  Tracked, a compiled row takes 56 bytes instead of 40, and decoding takes 1.4 to 1.6
# times as long, or twice if 200,000 are kept.  Only a mutable value can close a cycle: see TrackedRow.
@mypyc_attr(acyclic=True)
class Row:
    """One immutable row.  `dict(row)`, `tuple(row)` and `id, name = row` work as expected.

    Args:
        columns: the names, shared by all rows of the result.
        row_values: a value for each column.
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
        """The value at a position or of a column, or a slice of the values as a tuple.

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

    def __contains__(self, name: object) -> bool:
        """True if there is a column of that name; for values use `value in row.values()`."""
        return name in self._columns.index

    def keys(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return self._columns.names

    def values(self) -> tuple[Any, ...]:
        """The values, in order."""
        return self._values

    def items(self) -> list[tuple[str, Any]]:
        """Name and value of each column, in order; duplicate names are all included."""
        return list(zip(self._columns.names, self._values, strict=True))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the (first) column of that name, or `default` if there is none."""
        position = self._columns.index.get(name)
        return default if position is None else self._values[position]

    def as_dict(self) -> dict[str, Any]:
        """The values by name; if two columns have the same name, the first one's."""
        return {name: self._values[position] for name, position in self._columns.index.items()}

    def __eq__(self, other: object) -> bool:
        """True for a row or a tuple with equal values; the names are not compared."""
        if isinstance(other, Row):
            return self._values == other._values
        if isinstance(other, tuple):
            return self._values == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._values)

    def __lt__(self, other: object) -> bool:
        """The order of tuples: a row compares with rows and tuples by the values, in their order."""
        if isinstance(other, Row):
            return self._values < other._values
        if isinstance(other, tuple):
            return self._values < other
        return NotImplemented

    def __le__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values <= other._values
        if isinstance(other, tuple):
            return self._values <= other
        return NotImplemented

    def __gt__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values > other._values
        if isinstance(other, tuple):
            return self._values > other
        return NotImplemented

    def __ge__(self, other: object) -> bool:
        if isinstance(other, Row):
            return self._values >= other._values
        if isinstance(other, tuple):
            return self._values >= other
        return NotImplemented

    def __repr__(self) -> str:
        parts: list[str] = []
        for name, value in self.items():
            parts.append(f"{name if name.isidentifier() else repr(name)}={value!r}")
        return f"Row({', '.join(parts)})"

    def __reduce__(self) -> tuple[type[Row], tuple[Columns, tuple[Any, ...]]]:
        return (type(self), (self._columns, self._values))


class TrackedRow(Row):
    """A Row that the garbage collector tracks: in the compiled build, a row with a list or a dict.

    Such a value can be made to refer to the row, which closes a cycle.  Interpreted, every Row is tracked.
    """

    __slots__ = ()
