"""ColumnsEncoder: rows of Arrow columns as tuples of a binary COPY, a column at a time; or as lines of text.

The tuples of some rows are a table of fixed width, into which the columns of fixed width are put by slices
with a step, with the lengths of all; where values of variable width (or NULLs) go in between, its rows are
cut there.  `types.copyrows` describes the format.  If a column has text for a type whose binary form is not
that text, all columns are written as text: see `textual`.

Rule: which Arrow type goes into which SQL type is decided before the first row (`encoder_for`).  What depends
on the value (a number that is too large, nanoseconds) is refused with its row and column.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..types import BUILT_IN, TypeMap
from ..types.arrays import ArrayCodec
from ..types.codec import Codec
from ..types.composites import LabelCodec
from ..types.numeric import NumericCodec
from ..types.scalars import JsonCodec, TextCodec
from ..types.system import VectorCodec
from .bits import Shift, highest
from .chunk import Chunk, Kind
from .kinds import comes_as_text, without_own
from .textual import CUT, array_text, lines, text_form, vector_text

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["ColumnsEncoder"]

_SWAP: Final = sys.byteorder == "little"
_NULL: Final = b"\xff\xff\xff\xff"
_MAX_COLUMNS: Final = 32767

_INTEGERS: Final = {"c": "b", "C": "B", "s": "h", "S": "H", "i": "i", "I": "I", "l": "q", "L": "Q"}
_INTEGER_TYPES: Final = {20: "q", 21: "h", 23: "i", 26: "I", 28: "I", 29: "I", 5069: "Q"}
_BYTES: Final = ("z", "Z", "vz")
_TEXTS: Final = ("u", "U", "vu")
_EPOCH_DAYS: Final = 10957
_DAY: Final = 86_400_000_000
_EPOCH: Final = _EPOCH_DAYS * _DAY
_FIRST_DAY: Final = -2_451_545
_LAST_DAY: Final = 2_145_031_948
_FIRST: Final = -211_813_488_000_000_000  # 4714-11-24 BC
_LAST: Final = 9_223_371_331_200_000_000 - 1  # 294276-12-31
# A unit's microseconds: how many, or how many of it are one.
_UNITS: Final = {"s": (1_000_000, 1), "m": (1000, 1), "u": (1, 1), "n": (1, 1000)}
_INTERVAL: Final = struct.Struct(">qii")


class _Misfit(Exception):
    """A value does not fit: its index in the chunk, and why."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


# A conversion gives the values of a chunk: big-endian numbers of one width, with anything for NULL; or each
# value by itself.
Numbers = Callable[[Chunk], bytes]
Pieces = Callable[[Chunk], list[bytes]]


class _Encoder:
    """One column: a conversion to numbers of `width` bytes, or to pieces (then `width` is 0)."""

    __slots__ = ("numbers", "pieces", "width")

    def __init__(self, width: int = 0, numbers: Numbers | None = None, pieces: Pieces | None = None) -> None:
        self.width = width
        self.numbers = numbers
        self.pieces = pieces

    def each(self, chunk: Chunk) -> list[bytes]:
        """Each value by itself; b"" for NULL."""
        if self.numbers is not None:
            data = self.numbers(chunk)
            found = [data[at : at + self.width] for at in range(0, len(data), self.width)]
        else:
            assert self.pieces is not None
            found = self.pieces(chunk)
        for index in chunk.nulls:
            found[index] = b""
        return found


class ColumnsEncoder:
    """The encoder of one COPY.

    Args:
        columns: the names of the table's columns, in the order of the data's.
        type_oids: the OIDs of their types.
        kinds: the types of the data's columns.
        types: the types of the session.
        in_text: whether the COPY is in text; None for binary if the columns allow it.

    Attributes:
        in_text: the COPY is in text.

    Raises:
        DataError: a column of the data cannot be stored in the table's; the text names it.
    """

    __slots__ = ("_columns", "_encoders", "_rows", "in_text")

    def __init__(
        self,
        columns: Sequence[str],
        type_oids: Sequence[int],
        kinds: Sequence[Kind],
        types: TypeMap = BUILT_IN,
        *,
        in_text: bool | None = None,
    ) -> None:
        if not len(columns) == len(type_oids) == len(kinds) or len(columns) > _MAX_COLUMNS:
            raise DataError(f"{len(kinds)} columns of data for {len(columns)} columns of the table")
        self._columns = tuple(columns)
        self._rows = 0
        self._encoders: list[_Encoder] = []
        codecs = [types.codec(oid) for oid in type_oids]
        if in_text is None:
            in_text = None in list(map(encoder_for, kinds, codecs))
        self.in_text = in_text
        for name, codec, kind in zip(columns, codecs, kinds, strict=True):
            found = encoder_for(kind, codec, in_text=in_text)
            if found is None:
                what = kind.format if kind.dictionary is None else f"dictionary of {kind.dictionary.format}"
                raise DataError(f"column {name!r} of type {codec.name} does not take the Arrow type {what!r}")
            self._encoders.append(found)

    def encode(self, chunks: Sequence[Chunk]) -> bytes:
        """The tuples or lines of some rows.

        Args:
            chunks: one for each column, all of the same length.

        Raises:
            DataError: a value does not fit its column; the text names the row (the first is 1) and the
                column.
        """
        rows = chunks[0].rows if chunks else 0
        if self.in_text:
            written = [self._each(*each) for each in zip(self._columns, self._encoders, chunks, strict=True)]
            self._rows += rows
            return lines(written, [chunk.nulls for chunk in chunks])
        template = bytearray(len(chunks).to_bytes(2, "big"))
        numbers: list[tuple[int, int, bytes]] = []  # to be put into the table: place, width, values
        parts: list[Sequence[bytes]] = []  # the cut tables, and the pieces between them
        for name, encoder, chunk in zip(self._columns, self._encoders, chunks, strict=True):
            if encoder.numbers is not None and not chunk.nulls:
                template += encoder.width.to_bytes(4, "big")
                numbers.append((len(template), encoder.width, self._numbers(name, encoder.numbers, chunk)))
                template += bytes(encoder.width)
                continue
            pieces = self._each(name, encoder, chunk)
            lengths = list(map(len, pieces))
            for index in chunk.nulls:
                lengths[index] = -1
            numbers.append((len(template), 4, struct.pack(f">{rows}i", *lengths)))
            template += bytes(4)
            parts.append(_table(template, rows, numbers))
            parts.append(pieces)
            template, numbers = bytearray(), []
        self._rows += rows
        if not parts:
            return bytes(_filled(template, rows, numbers))
        if template:
            parts.append(_table(template, rows, numbers))
        cut = [b""] * (rows * len(parts))
        for place, each in enumerate(parts):
            cut[place :: len(parts)] = each
        return b"".join(cut)

    def _each(self, name: str, encoder: _Encoder, chunk: Chunk) -> list[bytes]:
        try:
            return encoder.each(chunk)
        except _Misfit as misfit:
            refused = self._refused(name, misfit)
        raise refused

    def _numbers(self, name: str, convert: Numbers, chunk: Chunk) -> bytes:
        try:
            return convert(chunk)
        except _Misfit as misfit:
            refused = self._refused(name, misfit)
        raise refused

    def _refused(self, name: str, misfit: _Misfit) -> DataError:
        return DataError(f"row {self._rows + misfit.index + 1}, column {name!r}: {misfit.reason}")


def _filled(template: bytearray, rows: int, numbers: list[tuple[int, int, bytes]]) -> bytearray:
    stride = len(template)
    table = template * rows
    for start, width, data in numbers:
        for place in range(width):
            table[start + place :: stride] = data[place::width]
    return table


def _table(template: bytearray, rows: int, numbers: list[tuple[int, int, bytes]]) -> Sequence[bytes]:
    table = _filled(template, rows, numbers)
    return struct.Struct(f"{len(template)}s" * rows).unpack(table)  # which `struct.unpack` would keep


# ---- Conversions


def _array(code: str, chunk: Chunk) -> Any:
    numbers: Any = array(code)
    numbers.frombytes(chunk.data)
    return numbers


def _big_endian(numbers: Any) -> bytes:
    if _SWAP:
        numbers.byteswap()
    data: bytes = numbers.tobytes()
    return data


def _as_they_are(code: str) -> Numbers:
    return lambda chunk: _big_endian(_array(code, chunk))


def _integers(source: str, code: str) -> Numbers:
    """Integers of another width."""

    def convert(chunk: Chunk) -> bytes:
        numbers = _array(source, chunk)
        try:
            return _big_endian(array(code, numbers.tolist()))
        except OverflowError:
            pass
        values = [0] * chunk.rows
        nulls = set(chunk.nulls)
        for index, number in enumerate(numbers):
            if index in nulls:
                continue
            try:
                array(code, [number])
            except OverflowError:
                misfit = _Misfit(index, "the number is out of the type's range")
                break
            values[index] = number
        else:
            return _big_endian(array(code, values))
        raise misfit

    return convert


def _moments(source: str, unit: str, epoch: int, first: int, last: int, code: str = "q") -> Numbers:
    """Times in some unit, counted from some epoch."""
    factor, divisor = _UNITS[unit]
    size = array(code).itemsize
    shift = Shift(size, -epoch)
    # A number whose highest byte is one of these is not out of range.
    high = 8 * (size - 1)
    within = bytes(
        [
            byte & 0xFF
            for byte in range(-128, 128)
            if first + epoch <= byte << high and ((byte + 1) << high) - 1 <= last + epoch
        ]
    )

    def convert(chunk: Chunk) -> bytes:
        numbers = _array(source, chunk)
        if chunk.nulls:
            for index in chunk.nulls:
                numbers[index] = 0
        if factor == divisor:
            data: bytes = numbers.tobytes()
            if not highest(data, size).translate(None, within) or (
                first <= min(numbers) - epoch and max(numbers) - epoch <= last
            ):
                moved: Any = array(code)
                moved.frombytes(shift.add(data))
                return _big_endian(moved)
        values = [number * factor // divisor - epoch for number in numbers]
        if values and (min(values) < first or max(values) > last):
            index = next(index for index, value in enumerate(values) if not first <= value <= last)
            raise _Misfit(index, "the time is out of the type's range")
        if divisor > 1:
            for index, number in enumerate(numbers):
                if number % divisor:
                    raise _Misfit(index, "the time has nanoseconds, which PostgreSQL has not")
        return _big_endian(array(code, values))

    return convert


def _milliseconds_as_days(chunk: Chunk) -> bytes:
    days = []
    for index, number in enumerate(_array("q", chunk)):
        day, rest = divmod(number, 86_400_000)
        if index not in chunk.nulls and (rest or not _FIRST_DAY <= day - _EPOCH_DAYS <= _LAST_DAY):
            raise _Misfit(index, "the date is out of the type's range, or has a time")
        days.append(day - _EPOCH_DAYS if index not in chunk.nulls else 0)
    return _big_endian(array("i", days))


def _split(chunk: Chunk) -> list[bytes]:
    """Values of variable width, or of one width."""
    if chunk.pieces is not None:
        return list(chunk.pieces)
    data = chunk.data
    if chunk.ends:
        found: list[bytes] = []
        first: i64 = chunk.ends[0]
        start: i64 = first
        for end in chunk.ends[1:]:
            stop: i64 = end
            found.append(data[start - first : stop - first])
            start = stop
        return found
    size = chunk.kind.size
    return [data[at : at + size] for at in range(0, size * chunk.rows, size)] if size else [b""] * chunk.rows


def _texts(chunk: Chunk) -> list[bytes]:
    """Text; the server checks that it is UTF-8."""
    return _split(chunk)


def _jsonb(chunk: Chunk) -> list[bytes]:
    return [b"\x01" + piece for piece in _split(chunk)]


def _looked_up(encoder: _Encoder) -> Pieces:
    """The labels of a dictionary, by their indexes."""

    def convert(chunk: Chunk) -> list[bytes]:
        labels = chunk.labels
        assert labels is not None
        known = encoder.each(labels)
        indexes: list[int] = _array(_INTEGERS[chunk.kind.format], chunk).tolist()
        for index in chunk.nulls:
            indexes[index] = 0
        if indexes and (min(indexes) < 0 or max(indexes) >= len(known)) and len(chunk.nulls) < chunk.rows:
            row = next(row for row, index in enumerate(indexes) if not 0 <= index < len(known))
            raise _Misfit(row, f"index {indexes[row]} is not in the dictionary of {len(known)}")
        if not known:
            return [b""] * chunk.rows
        absent = set(labels.nulls)
        if absent:
            nulls = set(chunk.nulls)
            chunk.nulls = [row for row, index in enumerate(indexes) if row in nulls or index in absent]
        return [known[index] for index in indexes]

    return convert


def _decimals(scale: int) -> Pieces:
    codec = NumericCodec(1700, "numeric")

    def convert(chunk: Chunk) -> list[bytes]:
        found = []
        for index, piece in enumerate(_split(chunk)):
            number = 0 if index in chunk.nulls else int.from_bytes(piece, sys.byteorder, signed=True)
            sign, digits = ("-", -number) if number < 0 else ("", number)
            found.append(codec.encode(Decimal(f"{sign}{digits}E{-scale}")))
        return found

    return convert


def _integers_as_numerics(source: str) -> Pieces:
    codec = NumericCodec(1700, "numeric")
    return lambda chunk: [codec.encode(number) for number in _array(source, chunk)]


def _intervals(format: str) -> Pieces:
    """Months, days and a time, of which Arrow has four forms."""

    def fields(chunk: Chunk, index: int, piece: bytes) -> tuple[int, int, int]:
        if format == "tiM":
            return 0, 0, struct.unpack("=i", piece)[0]
        if format == "tiD":
            days, milliseconds = struct.unpack("=ii", piece)
            return milliseconds * 1000, days, 0
        if format == "tin":
            months, days, number = struct.unpack("=iiq", piece)
            unit = "n"
        else:
            months = days = 0
            (number,) = struct.unpack("=q", piece)
            unit = format[2]
        factor, divisor = _UNITS[unit]
        if number % divisor:
            raise _Misfit(index, "the interval has nanoseconds, which PostgreSQL has not")
        return number * factor // divisor, days, months

    def convert(chunk: Chunk) -> list[bytes]:
        found = []
        for index, piece in enumerate(_split(chunk)):
            if index in chunk.nulls:
                found.append(b"")
                continue
            micros, days, months = fields(chunk, index, piece)
            if not -(1 << 63) <= micros < 1 << 63:
                raise _Misfit(index, "the interval is out of the type's range")
            found.append(_INTERVAL.pack(micros, days, months))
        return found

    return convert


def _in_text(encoder: _Encoder, codec: Codec) -> Pieces:
    """The text forms of values that are converted to their binary form."""
    written = text_form(codec)

    def convert(chunk: Chunk) -> list[bytes]:
        pieces = encoder.each(chunk)
        nulls = set(chunk.nulls)
        return [b"" if index in nulls else written(piece) for index, piece in enumerate(pieces)]

    return convert


def _arrays(encoder: _Encoder, one: Callable[[list[bytes | None]], bytes]) -> Pieces:
    """Lists as arrays of one dimension.

    Args:
        encoder: the elements'.
        one: makes an array of its elements; None is NULL.
    """

    def convert(chunk: Chunk) -> list[bytes]:
        items = chunk.items
        assert items is not None
        first = chunk.ends[0]
        try:
            values: list[bytes | None] = list(encoder.each(items))
        except _Misfit as misfit:
            row = next(row for row in range(chunk.rows) if misfit.index < chunk.ends[row + 1] - first)
            refused = _Misfit(row, f"an element: {misfit.reason}")
        else:
            for index in items.nulls:
                values[index] = None
            return [one(values[start - first : end - first]) for start, end in pairwise(chunk.ends)]
        raise refused

    return convert


def _binary_array(items: list[bytes | None], element_oid: int) -> bytes:
    if not items:
        return struct.pack(">iiI", 0, 0, element_oid)
    head = struct.pack(">iiIii", 1, int(None in items), element_oid, len(items), 1)
    return head + b"".join([_NULL if item is None else len(item).to_bytes(4, "big") + item for item in items])


def _all_null(chunk: Chunk) -> list[bytes]:
    return [b""] * chunk.rows


def encoder_for(kind: Kind, codec: Codec, *, in_text: bool = False) -> _Encoder | None:
    """What stores the values of an Arrow type in a column of a SQL type; None if nothing does.

    Args:
        kind: the Arrow type.
        codec: the SQL type.
        in_text: as the values' text forms, which some have that have no binary form here.
    """
    codec = without_own(codec)
    format = kind.format
    if format == "n":
        return _Encoder(pieces=_all_null)
    if kind.dictionary is not None:
        labels = encoder_for(kind.dictionary, codec, in_text=in_text) if format in _INTEGERS else None
        return None if labels is None else _Encoder(pieces=_looked_up(labels))
    if isinstance(codec, ArrayCodec) and format[0] == "+":
        element = encoder_for(kind.children[0], codec.element, in_text=in_text) if kind.children else None
        if element is None:
            return None
        if isinstance(codec, VectorCodec):  # of which the server takes no empty one in binary
            return _Encoder(pieces=_arrays(element, vector_text)) if in_text else None
        if in_text:
            delimiter = codec.delimiter
            return _Encoder(pieces=_arrays(element, lambda items: array_text(items, delimiter)))
        oid = codec.element.oid
        return _Encoder(pieces=_arrays(element, lambda items: _binary_array(items, oid)))
    if in_text and format in _TEXTS and comes_as_text(codec):
        text = _Encoder(pieces=_texts)
        return _Encoder(pieces=_in_text(text, codec)) if codec.oid in CUT else text
    encoder = _binary(kind, codec)
    return _Encoder(pieces=_in_text(encoder, codec)) if in_text and encoder is not None else encoder


def _binary(kind: Kind, codec: Codec) -> _Encoder | None:
    """The same for what is neither a list nor a dictionary, in binary."""
    format, oid = kind.format, codec.oid
    if format in _INTEGERS:
        source = _INTEGERS[format]
        if oid in _INTEGER_TYPES:
            code = _INTEGER_TYPES[oid]
            same = source == code
            return _Encoder(array(code).itemsize, _as_they_are(code) if same else _integers(source, code))
        return _Encoder(pieces=_integers_as_numerics(source)) if oid == 1700 else None
    if format == "b":
        return _Encoder(1, lambda chunk: chunk.data) if oid == 16 else None
    if format in ("f", "g"):
        return _floats(format, oid)
    if format in _TEXTS:
        if isinstance(codec, JsonCodec):
            return _Encoder(pieces=_jsonb if oid == 3802 else _texts)
        return _Encoder(pieces=_texts) if isinstance(codec, TextCodec | LabelCodec) and codec.format else None
    if format in _BYTES or format.startswith("w:"):
        if oid == 17 or (oid == 2950 and format == "w:16"):
            return _Encoder(pieces=_split)
        return None
    if format.startswith("d:"):
        return _Encoder(pieces=_decimals(kind.scale)) if oid == 1700 else None
    if format[:2] in ("ti", "tD"):
        return _Encoder(pieces=_intervals(format)) if oid == 1186 else None
    return _time(format, oid)


def _floats(format: str, oid: int) -> _Encoder | None:
    if oid == 701:
        if format == "g":
            return _Encoder(8, _as_they_are("d"))
        return _Encoder(8, lambda chunk: _big_endian(array("d", _array("f", chunk).tolist())))
    return _Encoder(4, _as_they_are("f")) if oid == 700 and format == "f" else None


def _time(format: str, oid: int) -> _Encoder | None:
    if oid == 1082 and format == "tdD":
        return _Encoder(4, _moments("i", "u", _EPOCH_DAYS, _FIRST_DAY, _LAST_DAY, "i"))
    if oid == 1082 and format == "tdm":
        return _Encoder(4, _milliseconds_as_days)
    if oid == 1083 and format[:2] == "tt":
        return _Encoder(8, _moments("i" if format[2] in "sm" else "q", format[2], 0, 0, _DAY))
    if format[:2] == "ts" and oid == (1184 if format[4:] else 1114):
        return _Encoder(8, _moments("q", format[2], _EPOCH, _FIRST, _LAST))
    return None
