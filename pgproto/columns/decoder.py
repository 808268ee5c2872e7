"""ColumnDecoder: cuts the columns out of runs of DataRow messages.

Neighbouring columns of fixed width are cut as one piece for each row, with their lengths; a NULL gets zeros.
So the pieces of many rows, joined, are a table of fixed width, from which a column is one slice with a step.
Values of variable width are cut out one by one.  See `rows` for the messages, and `vectors` for what follows.

Rule: every length is checked against the end of its row, as in `types.rows`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError, RemoteProtocolError
from ..types import BUILT_IN, TypeMap
from ..wire.messages import FieldDescription
from ..wire.native import read_int32
from .batch import ColumnBatch
from .kinds import vector_for
from .policy import Numeric, Unfit, check_policies
from .vectors import NumbersVector, Vector

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["ColumnDecoder"]

# The pieces are joined after so many rows or bytes, so that they and the table stay in the processor's cache.
_MOST_ROWS: Final = 8192
_MOST_BYTES: Final = 1 << 19


class _Fixed:
    """A column of fixed width, as a linked list (see `types.rows`)."""

    __slots__ = ("following", "nulls", "size", "start", "vector", "zeros")

    def __init__(self, vector: NumbersVector, start: int) -> None:
        self.vector = vector
        self.size: i64 = vector.size
        self.start = start
        self.zeros = bytes(vector.size)
        self.nulls = vector.nulls
        self.following: _Fixed | None = None


class _Run:
    """Neighbouring columns of fixed width, possibly none, then one of variable width, or None.

    A piece has `pad` bytes of what is in front of it (there are at least seven in every row), so that its
    width is a multiple of eight.
    """

    __slots__ = ("first", "following", "nulls", "pad", "parts", "pieces", "stride", "tail")

    def __init__(self, fixed: list[NumbersVector], tail: Vector | None) -> None:
        width = sum([4 + vector.size for vector in fixed])
        pad = -width % 8
        self.pad: i64 = pad
        self.stride = pad + width
        self.pieces: list[bytes] = []
        self.tail = tail
        self.parts: list[bytes] = []  # the tail's
        self.nulls: list[int] = []  # the tail's
        self.following: _Run | None = None
        self.first: _Fixed | None = None
        for vector in reversed(fixed):
            width -= vector.size
            column = _Fixed(vector, pad + width)
            width -= 4
            column.following = self.first
            self.first = column
        if tail is not None:
            self.parts = tail.parts
            self.nulls = tail.nulls

    def flush(self, rows: int) -> None:
        """Give the vectors what was cut out of so many rows."""
        stride = self.stride
        self.pieces.append(bytes(stride))  # for the last slice, which begins later in its row
        table = memoryview(b"".join(self.pieces))
        self.pieces = []
        column = self.first
        while column is not None:
            vector = column.vector
            numbers: Any = array(vector.code)
            numbers.frombytes(table[column.start : column.start + rows * stride])
            vector.take_numbers(numbers[:: stride // vector.size])
            column = column.following
        if self.tail is not None:
            self.tail.flush()
            self.parts = self.tail.parts


class ColumnDecoder:
    """The decoder of one result; it holds the rows that it has decoded until `finish`.

    Args:
        fields: the columns as the server described them.
        types: the types of the session.
        numeric: what numbers without precision and scale become.
        unfit: what values do that the column's Arrow type does not have.

    Attributes:
        result_formats: the format codes to ask for in Bind; the columns are decoded in these.
        rows: the number of rows since the last `finish`.
        most_rows: the pieces of so many rows are joined at once.
    """

    __slots__ = (
        "_bytes",
        "_count",
        "_first",
        "_flushed",
        "_vectors",
        "before",
        "most_rows",
        "result_formats",
        "rows",
    )

    def __init__(
        self,
        fields: Sequence[FieldDescription],
        types: TypeMap = BUILT_IN,
        *,
        numeric: Numeric = "str",
        unfit: Unfit = "error",
    ) -> None:
        check_policies(numeric, unfit)
        self._vectors: list[Vector] = []
        formats: list[int] = []
        for field in fields:
            vector, format = vector_for(field, types, numeric, strict=unfit == "error")
            self._vectors.append(vector)
            formats.append(format)
        self.result_formats: tuple[int, ...] = tuple(formats)
        self._count: i64 = len(formats)
        self.rows: i64 = 0
        self.before: i64 = 0
        self._flushed: i64 = 0
        self._bytes: i64 = 0
        self.most_rows: i64 = _MOST_ROWS
        runs: list[_Run] = []
        fixed: list[NumbersVector] = []
        for vector in self._vectors:
            if isinstance(vector, NumbersVector):
                fixed.append(vector)
            else:
                runs.append(_Run(fixed, vector))
                fixed = []
        if fixed:
            runs.append(_Run(fixed, None))
        self._first: _Run | None = None
        for run in reversed(runs):
            run.following = self._first
            self._first = run

    def decode(self, buffer: bytes, start: i64, end: i64) -> None:
        """Add the rows of consecutive DataRow messages; see `RowDecoder.decode`.

        Raises:
            RemoteProtocolError: a row is malformed.
            DataError: a value is malformed, or does not fit its column; the text names its row (the first is
                1) and its column.
        """
        row: i64 = self.rows
        first = self._first
        self._bytes += end - start
        while start < end:
            stop: i64 = start + 1
            if end - start > 6:
                stop += read_int32(buffer, stop)
            if stop < start + 7 or stop > end:
                raise RemoteProtocolError("not a whole DataRow message")
            count: i64 = buffer[start + 5]
            count = count << 8 | buffer[start + 6]
            if count != self._count:
                raise RemoteProtocolError(f"DataRow with {count} columns, where {self._count} were described")
            position: i64 = start + 7
            run = first
            while run is not None:
                column = run.first
                if column is not None:
                    begin: i64 = position - run.pad
                    while column is not None:
                        length: i64 = -2
                        if stop - position >= 4:
                            length = read_int32(buffer, position)
                        position += 4
                        if length == column.size:
                            position += length
                        elif length == -1:
                            run.pieces.append(buffer[begin:position])
                            run.pieces.append(column.zeros)
                            begin = position
                            column.nulls.append(row)
                        else:
                            raise self._wrong_length(column.vector, row, length, stop - position)
                        column = column.following
                    if position > stop:
                        raise RemoteProtocolError("DataRow ends before its last column")
                    run.pieces.append(buffer[begin:position])
                if run.tail is not None:
                    size: i64 = -2
                    if stop - position >= 4:
                        size = read_int32(buffer, position)
                    position += 4
                    if size >= 0 and size <= stop - position:
                        run.parts.append(buffer[position : position + size])
                        position += size
                    elif size == -1:
                        run.parts.append(b"")
                        run.nulls.append(row)
                    else:
                        raise RemoteProtocolError("DataRow ends before its last column")
                run = run.following
            if position != stop:
                raise RemoteProtocolError(f"DataRow with {stop - position} bytes after its last column")
            row += 1
            start = stop
            if row - self._flushed >= self.most_rows:
                self.rows = row
                self._flush()
        self.rows = row
        if self._bytes >= _MOST_BYTES:
            self._flush()

    def _wrong_length(self, vector: Vector, row: int, length: int, left: int) -> Exception:
        if length < -1 or length > left:
            return RemoteProtocolError(f"DataRow with a column of {length} bytes where {left} are left")
        return DataError(
            f"row {self.before + row + 1}, column {vector.name!r}: malformed value: {length} bytes"
        )

    def _flush(self) -> None:
        rows = self.rows - self._flushed
        self._flushed = self.rows
        self._bytes = 0
        run = self._first
        while run is not None:
            run.flush(rows)
            run = run.following

    def finish(self) -> ColumnBatch:
        """The rows since the last time."""
        self._flush()
        batch = ColumnBatch(self.rows, [vector.finish() for vector in self._vectors])
        self.before += self.rows
        self.rows = self._flushed = 0
        return batch
