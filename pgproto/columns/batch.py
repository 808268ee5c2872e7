"""ColumnBatch and ColumnData: what `fetch_columns` returns.

The memory is laid out as Arrow says ("Columnar Format"): a bitmap of the rows that are not NULL, then values
of fixed width in the machine's order, or offsets and bytes.  It never changes once the batch is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..errors import DataError

__all__ = ["ColumnBatch", "ColumnData"]

# Arrow's formats of fixed width, with the codes of memoryview and of numpy.
_CODES: Final = {
    "s": ("h", "<i2"),
    "i": ("i", "<i4"),
    "l": ("q", "<i8"),
    "I": ("I", "<u4"),
    "L": ("Q", "<u8"),
    "f": ("f", "<f4"),
    "g": ("d", "<f8"),
    "tdD": ("i", "<i4"),
    "ttu": ("q", "<i8"),
    "tsu:": ("q", "<M8[us]"),
    "tsu:UTC": ("q", "<M8[us]"),
}


class ColumnData:
    """One column, or the elements of a column of arrays.

    Attributes:
        name: its name.
        oid: the OID of its SQL type; 0 for the labels of an enum.
        format: its type, as a format string of Arrow's C interface ("l" for int64, "u" for text, ...).
        null_count: the number of rows that are NULL.
        memory: its buffers in Arrow's order, the bitmap of the valid rows first; None where there is none.
        children: the elements, of a column of arrays.
        dictionary: the labels, of an enum; the column itself has their indexes.
    """

    __slots__ = ("_length", "children", "dictionary", "format", "memory", "name", "null_count", "oid")

    def __init__(
        self,
        name: str,
        oid: int,
        format: str,
        length: int,
        null_count: int,
        memory: Sequence[bytearray | None],
        children: Sequence[ColumnData] = (),
        dictionary: ColumnData | None = None,
    ) -> None:
        self.name = name
        self.oid = oid
        self.format = format
        self._length = length
        self.null_count = null_count
        self.memory: tuple[bytearray | None, ...] = tuple(memory)
        self.children: tuple[ColumnData, ...] = tuple(children)
        self.dictionary = dictionary

    def __len__(self) -> int:
        return self._length

    @property
    def buffers(self) -> tuple[memoryview | None, ...]:
        """Its buffers in Arrow's order, to be read."""
        return tuple([None if each is None else memoryview(each).toreadonly() for each in self.memory])

    @property
    def validity(self) -> memoryview | None:
        """The bitmap of the rows that are not NULL, the first row's bit lowest; None if no row is NULL."""
        return self.buffers[0]

    @property
    def values(self) -> memoryview[Any]:
        """The values of fixed width as numbers: days, microseconds and indexes for what is not a number.

        The value of a NULL is 0.

        Raises:
            TypeError: they are of variable width, or are not numbers: see `buffers`.
        """
        view: Any = self.buffers[-1]
        if self.format not in _CODES:
            raise TypeError(f"the values of column {self.name!r} are no numbers: see its buffers")
        numbers: memoryview[Any] = view.cast(_CODES[self.format][0])
        return numbers

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """For `numpy.asarray(column)`, which copies nothing.

        Raises:
            DataError: a row is NULL, which numpy does not have: use `values` and `validity`.
            TypeError: as `values`.
        """
        values = self.values
        if self.null_count:
            raise DataError(
                f"column {self.name!r} has {self.null_count} NULLs, which an array cannot show: use its "
                "values and validity"
            )
        return {
            "version": 3,
            "shape": (self._length,),
            "typestr": _CODES[self.format][1],
            "data": values.cast("B") if self._length else bytes(8),
        }

    def __arrow_c_schema__(self) -> object:
        """Its type, for Arrow's libraries."""
        from .export import column_schema_capsule

        return column_schema_capsule(self)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """Its values, for Arrow's libraries: `pyarrow.array(column)`.  Another type is never made of them."""
        from .export import column_capsules

        return column_capsules(self)

    def __repr__(self) -> str:
        return f"<ColumnData {self.name!r} {self.format} of {self._length}>"


class ColumnBatch:
    """The columns of a result, or of a part of it.

    `batch["name"]` and `batch[0]` are columns, `len(batch)` is the number of rows, and `for column in batch`
    goes through the columns.

    Attributes:
        columns: the columns.
    """

    __slots__ = ("_length", "columns")

    def __init__(self, length: int, columns: Sequence[ColumnData]) -> None:
        self._length = length
        self.columns: tuple[ColumnData, ...] = tuple(columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple([column.name for column in self.columns])

    @property
    def types(self) -> tuple[int, ...]:
        """The OIDs of the columns' SQL types."""
        return tuple([column.oid for column in self.columns])

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[ColumnData]:
        return iter(self.columns)

    def __getitem__(self, key: int | str) -> ColumnData:
        """The column at a position or of a name (the first of that name).

        Raises:
            IndexError, KeyError: there is none.
        """
        if isinstance(key, int):
            return self.columns[key]
        for column in self.columns:
            if column.name == key:
                return column
        raise KeyError(key)

    def __arrow_c_schema__(self) -> object:
        """The columns' names and types, for Arrow's libraries."""
        from .export import schema_capsule

        return schema_capsule(self.columns)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """The columns, for Arrow's libraries: `pyarrow.record_batch(batch)`."""
        from .export import array_capsules

        return array_capsules(self._length, self.columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The same as a stream: `pyarrow.table(batch)`, `polars.DataFrame(batch)`, DuckDB's `from batch`."""
        from .export import stream_capsule

        return stream_capsule(self._length, self.columns)

    def __repr__(self) -> str:
        return f"<ColumnBatch of {self._length} rows: {', '.join(self.names)}>"
