"""Vectors: a column that grows, one class for each layout in memory.

A vector takes the values of some rows at once, as they came in DataRow messages (`take`), and gives what it
has as a `ColumnData` (`finish`).  NULLs come as values without bytes, and as their row's numbers in `nulls`.

Rule: the loops are C's: joins, slices with a step, `array.byteswap`, arithmetic on whole columns (`bits`).
Rule: a value that the layout cannot hold is refused or becomes NULL, as the caller has decided (`Unfit`).
"""

from __future__ import annotations

import struct
import sys
from array import array
from itertools import accumulate
from math import inf, isinf
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..types.numeric import NumericCodec
from ..wire.native import read_int32
from .batch import ColumnData
from .bits import Shift, highest, mark, packed

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "BoolVector",
    "BytesVector",
    "DataVector",
    "DecimalVector",
    "EnumVector",
    "FloatTextVector",
    "IntervalVector",
    "ListVector",
    "NumbersVector",
    "TimesVector",
    "UuidVector",
    "Vector",
]

_SWAP: Final = sys.byteorder == "little"
_MAX_INT32: Final = 0x7FFFFFFF
_MAX_INT64: Final = 0x7FFFFFFFFFFFFFFF
_INTERVAL: Final = struct.Struct(">qii")
_MONTH_DAY_NANO: Final = struct.Struct("=iiq")
_INFINITE: Final = ((_MAX_INT64, _MAX_INT32, _MAX_INT32), (-_MAX_INT64 - 1, -_MAX_INT32 - 1, -_MAX_INT32 - 1))


class Vector:
    """The base of all.

    Args:
        name: the column's name.
        oid: the OID of its type.
        format: its type in Arrow.
        strict: True to refuse values that do not fit, False to make them NULL.

    Attributes:
        nulls: those of the rows to take next that are NULL; who collects `parts` appends to it.
        null_count: how many rows were NULL before these.
        parts: the values to take next, in order; b"" for NULL.
        rows: how many it has.
        before: the rows of the result before this batch, for error texts.
        is_element: its values are the elements of a column of arrays, and not its rows.
    """

    __slots__ = (
        "_validity",
        "before",
        "format",
        "is_element",
        "name",
        "null_count",
        "nulls",
        "oid",
        "parts",
        "rows",
        "strict",
    )

    def __init__(self, name: str, oid: int, format: str, *, strict: bool) -> None:
        self.name = name
        self.oid = oid
        self.format = format
        self.strict = strict
        self.nulls: list[int] = []
        self.null_count = 0
        self._validity = bytearray()
        self.parts: list[bytes] = []
        self.rows = 0
        self.before = 0
        self.is_element = False

    def flush(self) -> None:
        """Take the parts."""
        parts = self.parts
        self.parts = []
        self.take(parts)
        self.taken(len(parts))

    def taken(self, rows: int) -> None:
        """So many rows were added: `nulls` are those of them, or others before."""
        self.rows += rows
        if self.nulls:
            self.null_count += len(self.nulls)
            mark(self._validity, self.rows, self.nulls)
            self.nulls.clear()  # the same list goes on

    def take(self, parts: list[bytes]) -> None:
        """Add values, for the rows from `rows` on."""
        raise NotImplementedError

    def finish(self) -> ColumnData:
        """What it has, as a column.  Then it is empty again."""
        validity = None
        if self.null_count:
            validity, self._validity = self._validity, bytearray()
            mark(validity, self.rows, ())
        column = ColumnData(
            self.name,
            self.oid,
            self.format,
            self.rows,
            self.null_count,
            [validity, *self.memory()],
            self.children(),
            self.dictionary(),
        )
        self.before += self.rows
        self.rows = self.null_count = 0
        return column

    def memory(self) -> list[bytearray]:
        """The buffers after the first one; then they are empty."""
        raise NotImplementedError

    def children(self) -> list[ColumnData]:
        """The columns of the elements."""
        return []

    def dictionary(self) -> ColumnData | None:
        """The column of the labels."""
        return None

    def refuse(self, index: int, reason: str) -> None:
        """The value at an index of what is being taken does not fit.

        Raises:
            DataError: so it is, unless it may become NULL.
        """
        if self.strict:
            raise self.error(index, f"{reason}; unfit='null' makes such values NULL")
        self.nulls.append(self.rows + index)

    def error(self, index: int, reason: str) -> DataError:
        """The error for a value."""
        if self.is_element:
            return DataError(f"an element of column {self.name!r}: {reason}")
        return DataError(f"row {self.before + self.rows + index + 1}, column {self.name!r}: {reason}")

    def sized(self, parts: list[bytes], size: int) -> bytes:
        """The values of one size together, with zeros for NULL.

        Raises:
            DataError: one has another size.
        """
        data = b"".join(parts)
        if len(data) != size * len(parts) or set(map(len, parts)) != {size}:
            zeros = bytes(size)
            for index, part in enumerate(parts):
                if part and len(part) != size:
                    raise self.error(index, f"malformed value: {len(part)} bytes instead of {size}")
            data = b"".join([part or zeros for part in parts])
        return data


class DataVector(Vector):
    """Values of one width, in one buffer.

    Attributes:
        data: the buffer.
    """

    __slots__ = ("data",)

    def __init__(self, name: str, oid: int, format: str, *, strict: bool) -> None:
        super().__init__(name, oid, format, strict=strict)
        self.data = bytearray()

    def memory(self) -> list[bytearray]:
        """The values."""
        data, self.data = self.data, bytearray()
        return [data]


class NumbersVector(DataVector):
    """Numbers that come as they are stored, but for their order of bytes.

    Args:
        code: their code in `array` and `memoryview`.
    """

    __slots__ = ("code", "size")

    def __init__(self, name: str, oid: int, format: str, code: str, *, strict: bool) -> None:
        super().__init__(name, oid, format, strict=strict)
        self.code = code
        self.size: int = array(code).itemsize

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        numbers: Any = array(self.code)
        numbers.frombytes(self.sized(parts, self.size))
        self.add(numbers)

    def take_numbers(self, numbers: Any) -> None:
        """Add an `array` of big-endian numbers, with 0 for NULL."""
        self.add(numbers)
        self.taken(len(numbers))

    def add(self, numbers: Any) -> None:
        """Add an `array` of big-endian numbers for the rows from `rows` on."""
        if _SWAP:
            numbers.byteswap()
        self.data += self.changed(numbers)

    def changed(self, numbers: Any) -> Any:
        """The numbers as they are stored."""
        return numbers


class BoolVector(NumbersVector):
    """bool: one bit each."""

    __slots__ = ()

    def __init__(self, name: str, oid: int, *, strict: bool) -> None:
        super().__init__(name, oid, "b", "B", strict=strict)

    def changed(self, numbers: Any) -> Any:
        """0 or 1 each, for now."""
        data: bytes = numbers.tobytes()
        if data.translate(None, b"\x00\x01"):
            index = next(index for index, byte in enumerate(data) if byte > 1)
            raise self.error(index, f"malformed value of type bool: {data[index]}")
        return data

    def memory(self) -> list[bytearray]:
        """The bits."""
        return [packed(super().memory()[0])]


class TimesVector(NumbersVector):
    """Dates, times and timestamps: they are counted from 1970 here, and from 2000 on the wire.

    Args:
        shift: adds the difference; None for times.
        last: the last one that fits, as on the wire.
    """

    __slots__ = ("_last", "_shift")

    def __init__(
        self, name: str, oid: int, format: str, code: str, shift: Shift | None, last: int, *, strict: bool
    ) -> None:
        super().__init__(name, oid, format, code, strict=strict)
        self._shift = shift
        self._last = last

    def changed(self, numbers: Any) -> Any:
        """Counted from 1970."""
        data: bytes = numbers.tobytes()
        shift = self._shift
        if shift is None:
            if numbers and max(numbers) > self._last:
                data = self._without_unfit(numbers, 0)
            return data
        # Only numbers whose highest byte is one of these can be infinite or too late.
        found = highest(data, self.size)
        if b"\x7f" in found or b"\x80" in found:
            data = self._without_unfit(numbers, -1 << (8 * self.size - 1))
        return shift.add(data)

    def _without_unfit(self, numbers: Any, least: int) -> bytes:
        first = -1 << (8 * self.size - 1)
        for index, number in enumerate(numbers):
            if number > self._last or number == first:
                if number == first or number == -first - 1:
                    reason = "-infinity" if number < 0 else "infinity"
                else:
                    reason = f"{number}, which is beyond the last value"
                self.refuse(index, f"the column's Arrow type has no {reason}")
                numbers[index] = 0
        data: bytes = numbers.tobytes()
        return data


class UuidVector(DataVector):
    """uuid: 16 bytes each."""

    __slots__ = ()

    def __init__(self, name: str, oid: int, *, strict: bool) -> None:
        super().__init__(name, oid, "w:16", strict=strict)

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        self.data += self.sized(parts, 16)


class IntervalVector(DataVector):
    """interval: months, days and nanoseconds."""

    __slots__ = ()

    def __init__(self, name: str, oid: int, *, strict: bool) -> None:
        super().__init__(name, oid, "tin", strict=strict)

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        packed: list[bytes] = []
        for index, fields in enumerate(_INTERVAL.iter_unpack(self.sized(parts, 16))):
            micros, days, months = fields
            if abs(micros) > _MAX_INT64 // 1000:
                infinite = fields in _INFINITE
                self.refuse(index, "infinite interval" if infinite else "more nanoseconds than an int64 has")
                micros = days = months = 0
            packed.append(_MONTH_DAY_NANO.pack(months, days, 1000 * micros))
        self.data += b"".join(packed)


class OffsetsVector(Vector):
    """The base of values of variable width: where each of them ends, and 0 in front.

    The offsets are int32 up to 2 GiB, and int64 beyond.

    Attributes:
        largest: the largest offset of int32.
    """

    __slots__ = ("_offsets", "largest")

    def __init__(self, name: str, oid: int, format: str, *, strict: bool) -> None:
        super().__init__(name, oid, format, strict=strict)
        self._offsets = bytearray(4)
        self.largest = _MAX_INT32

    def add_ends(self, ends: list[int]) -> None:
        """Add the ends of the next values, which ascend."""
        wide = self.format.isupper()
        if ends and not wide and ends[-1] > self.largest:
            wide = True
            self._offsets = bytearray(array("q", array("i", self._offsets)))
            self.format = self.format.upper()
        self._offsets += struct.pack(f"={len(ends)}{'q' if wide else 'i'}", *ends)

    def memory(self) -> list[bytearray]:
        """The offsets."""
        offsets, self._offsets = self._offsets, bytearray(4)
        return [offsets]

    def finish(self) -> ColumnData:
        """What it has; the next batch has offsets of int32 again."""
        column = super().finish()
        self.format = self.format.lower()
        return column


class BytesVector(OffsetsVector):
    """Text and bytes: offsets, and the bytes of all.

    Args:
        is_text: True for UTF-8.
    """

    __slots__ = ("_data", "_is_text")

    def __init__(self, name: str, oid: int, *, is_text: bool, strict: bool) -> None:
        super().__init__(name, oid, "u" if is_text else "z", strict=strict)
        self._is_text = is_text
        self._data = bytearray()

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        data = b"".join(parts)
        if self._is_text and not data.isascii():
            self._check(parts)
        end: i64 = len(self._data)
        self._data += data
        ends: list[int] = []
        for part in parts:
            end += len(part)
            ends.append(end)
        self.add_ends(ends)

    def _check(self, parts: list[bytes]) -> None:
        """Arrow's readers trust that text is UTF-8, but a database in SQL_ASCII has any bytes."""
        try:
            b"\n".join(parts).decode()  # no character goes across a line feed
        except UnicodeDecodeError as error:
            ends = accumulate([len(part) + 1 for part in parts])
            index = next(index for index, end in enumerate(ends) if end > error.start)
        else:
            return
        raise self.error(index, "the text is not UTF-8")

    def memory(self) -> list[bytearray]:
        """Offsets and bytes."""
        data, self._data = self._data, bytearray()
        return [*super().memory(), data]


class EnumVector(DataVector):
    """Labels of an enum: each is stored once, in a dictionary, and its index for each row."""

    __slots__ = ("_known",)

    def __init__(self, name: str, oid: int, *, strict: bool) -> None:
        super().__init__(name, oid, "i", strict=strict)
        self._known: dict[bytes, int] = {}

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        known = self._known
        for label in dict.fromkeys(parts):
            known.setdefault(label, len(known))
        self.data += array("i", list(map(known.__getitem__, parts)))

    def dictionary(self) -> ColumnData | None:
        """The labels, in the order in which they came."""
        labels = BytesVector("", 0, is_text=True, strict=True)
        labels.parts = list(self._known)
        labels.flush()
        self._known = {}
        return labels.finish()


class DecimalVector(DataVector):
    """numeric of a known scale, from its text: a decimal128.

    Args:
        precision: its digits.
        scale: those of them that are after the point.
    """

    __slots__ = ("_limit", "_scale")

    def __init__(self, name: str, oid: int, precision: int, scale: int, *, strict: bool) -> None:
        super().__init__(name, oid, f"d:{precision},{scale}", strict=strict)
        self._limit: int = 10**precision
        self._scale = scale

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        scale = self._scale
        limit = self._limit
        packed: list[bytes] = []
        for index, part in enumerate(parts):
            whole, _, fraction = part.partition(b".")
            number = 0
            if len(fraction) > scale and fraction[scale:].strip(b"0"):
                self.refuse(index, f"a number with more than {scale} digits after the point")
            elif part:
                try:
                    number = int(whole + fraction[:scale].ljust(scale, b"0"))
                except ValueError:
                    self.refuse(index, "it is NaN or infinite")
                if not -limit < number < limit:
                    self.refuse(index, "a number with more digits than the column has")
                    number = 0
            packed.append(number.to_bytes(16, sys.byteorder, signed=True))
        self.data += b"".join(packed)


class FloatTextVector(DataVector):
    """numeric as the nearest float, from its text."""

    __slots__ = ()

    def __init__(self, name: str, oid: int, *, strict: bool) -> None:
        super().__init__(name, oid, "g", strict=strict)

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        numbers: list[float] = []
        for part in parts:
            try:
                numbers.append(float(part or b"0"))
            except ValueError:
                break
        if len(numbers) < len(parts):
            raise self.error(len(numbers), "malformed value of type numeric")
        if inf in numbers or -inf in numbers:
            for index, part in enumerate(parts):
                if isinf(numbers[index]) and b"Inf" not in part:
                    self.refuse(index, "a number beyond the largest float")
                    numbers[index] = 0.0
        self.data += array("d", numbers)


class ListVector(OffsetsVector):
    """Arrays of one dimension: offsets, and the vector of the elements.

    Args:
        element: the vector of the elements.
        element_oid: the OID of their type.
        numeric: decodes the elements of numeric[], whose vector takes text.
        prefix: the number of bytes in front of each element that its vector does not take.
        lower_bound: the first subscript that all have: a list cannot say that there is another one.
    """

    __slots__ = ("_element", "_element_oid", "_lower_bound", "_numeric", "_prefix")

    def __init__(
        self,
        name: str,
        oid: int,
        element: Vector,
        element_oid: int,
        *,
        numeric: NumericCodec | None = None,
        prefix: int = 0,
        lower_bound: int = 1,
        strict: bool,
    ) -> None:
        super().__init__(name, oid, "+l", strict=strict)
        self._lower_bound = lower_bound
        self._element = element
        element.is_element = True
        self._element_oid = element_oid
        self._numeric = numeric
        self._prefix = prefix

    def take(self, parts: list[bytes]) -> None:
        """Add values."""
        element = self._element
        ends: list[int] = []
        for index, part in enumerate(parts):
            if part:
                self._take_one(index, part)
            ends.append(element.rows + len(element.parts))
        element.flush()
        self.add_ends(ends)

    def _take_one(self, index: int, part: bytes) -> None:
        """Collect the elements of one array.  Its binary form is in `types.arrays`."""
        size: i64 = len(part)
        dimensions: i64 = -1
        if size >= 12:
            dimensions = read_int32(part, 0)
        if dimensions == 0 and size == 12:
            return
        if dimensions > 1:
            self.refuse(index, f"an array of {dimensions} dimensions is no list")
            return
        if dimensions != 1 or size < 20 or read_int32(part, 8) & 0xFFFFFFFF != self._element_oid:
            raise self.error(index, "malformed array")
        count: i64 = read_int32(part, 12)
        lower: i64 = read_int32(part, 16)
        if lower != self._lower_bound:
            self.refuse(index, f"a list cannot say that the first subscript is {lower}: select it as text")
            return
        position: i64 = 20
        element = self._element
        prefix: i64 = self._prefix
        while count > 0:
            length: i64 = -2
            if size - position >= 4:
                length = read_int32(part, position)
            position += 4
            if length == -1:
                element.nulls.append(element.rows + len(element.parts))
                element.parts.append(b"")
            elif length < prefix or length > size - position:
                raise self.error(index, "malformed array")
            else:
                value = part[position + prefix : position + length]
                if self._numeric is not None:
                    value = format(self._numeric.decode(part, position, position + length), "f").encode()
                element.parts.append(value)
                position += length
            count -= 1
        if position != size:
            raise self.error(index, "malformed array")

    def children(self) -> list[ColumnData]:
        """The elements."""
        column = self._element.finish()
        column.name = "item"
        return [column]
