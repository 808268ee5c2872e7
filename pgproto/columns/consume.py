"""Reads Arrow's C stream interface, without pyarrow: types first, then rows, some thousand at a time.

The producer's structs are not trusted further than they must be: every count, offset and index is checked
before memory is read by it.  What no consumer can check is how large the buffers are.
Rule: memory is only copied (`string_at`), never kept; every struct is released, whatever happens.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterator
from ctypes import addressof, c_int64, c_void_p, string_at
from typing import Any, Final

from ..errors import DataError
from .chunk import Chunk, Kind
from .structs import STREAM, Array, GetError, GetTwo, Release, Schema, Stream, python_api

__all__ = ["ArrowSource"]

_MOST_ROWS: Final = 8192
_MOST_CHILDREN: Final = 4096
_MOST_DEPTH: Final = 8
_MAX_INT64: Final = 0x7FFFFFFFFFFFFFFF
_NO_BUFFERS: Final = ("n", "+s", "+w")
_OFFSETS: Final = {"u": 4, "z": 4, "+l": 4, "U": 8, "Z": 8, "+L": 8}

_pointer = python_api("PyCapsule_GetPointer", c_void_p, ctypes.py_object, ctypes.c_char_p)


class ArrowSource:
    """A stream of Arrow data.

    Args:
        data: an object with `__arrow_c_stream__`.

    Attributes:
        kinds: the columns' names and types.

    Raises:
        TypeError: it has no such method, or the stream is not one of tables.
        DataError: its types cannot be read.
        Exception: what the object itself raises.
    """

    def __init__(self, data: object) -> None:
        export = getattr(data, "__arrow_c_stream__", None)
        if export is None:
            raise TypeError(f"the data must have __arrow_c_stream__, which {type(data).__name__} has not")
        capsule = export()
        place = _pointer(capsule, STREAM)
        self._stream = Stream()
        theirs = Stream.from_address(place)
        if not theirs.release:
            raise DataError("the stream was consumed before")
        ctypes.memmove(addressof(self._stream), place, ctypes.sizeof(Stream))
        theirs.release = None  # it is ours from here on
        try:
            schema = Schema()
            self._call(self._stream.get_schema, schema)
            try:
                whole = _kind_of(schema, 0)
            finally:
                _release(schema)
            if whole.format != "+s":
                raise TypeError("the stream has no columns: it must be one of record batches")
            self.kinds = whole.children
            self._whole = whole
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the stream.  Idempotent."""
        _release(self._stream)

    def __del__(self) -> None:
        if hasattr(self, "_stream"):
            self.close()

    def _call(self, function: int, place: Any) -> None:
        stream = addressof(self._stream)
        code = GetTwo(function)(stream, addressof(place))
        if code:
            text = GetError(self._stream.get_last_error)(stream)
            why = string_at(text).decode(errors="replace") if text else f"error {code}"
            raise DataError(f"the Arrow stream failed: {why}")

    def chunks(self) -> Iterator[list[Chunk]]:
        """The rows: for each column a chunk, all of the same length.

        Raises:
            DataError: the stream fails, or what it says is not possible.
        """
        while True:
            values = Array()
            self._call(self._stream.get_next, values)
            if not values.release:
                return
            try:
                yield from self._rows(values)
            finally:
                _release(values)

    def _rows(self, values: Any) -> Iterator[list[Chunk]]:
        reader = _Reader(self._whole, values)
        children = [
            _Reader(kind, Array.from_address(place))
            for kind, place in zip(self.kinds, reader.pointers("children", len(self.kinds)), strict=True)
        ]
        for start in range(0, reader.length, _MOST_ROWS):
            count = min(_MOST_ROWS, reader.length - start)
            if reader.null_rows(start, count):
                raise DataError("a row of the Arrow stream is NULL as a whole")
            yield [child.chunk(reader.offset + start, count) for child in children]


def _release(struct: Any) -> None:
    if struct.release:
        Release(struct.release)(addressof(struct))
        struct.release = None


def _kind_of(schema: Any, depth: int) -> Kind:
    if not schema.format or depth > _MOST_DEPTH or not 0 <= schema.n_children <= _MOST_CHILDREN:
        raise DataError("the types of the Arrow stream cannot be read")
    name = (schema.name or b"").decode(errors="replace")
    children = [
        _kind_of(Schema.from_address(place), depth + 1)
        for place in _places(schema.children, schema.n_children)
    ]
    dictionary = None
    if schema.dictionary:
        dictionary = _kind_of(Schema.from_address(schema.dictionary), depth + 1)
    return Kind(name, schema.format.decode(errors="replace"), children, dictionary)


def _places(address: int | None, count: int) -> list[int]:
    """An array of pointers, none of which may be NULL."""
    if count and not address:
        raise DataError("the Arrow stream has a NULL where its children should be")
    places = list((c_void_p * count).from_address(address or 0)) if count else []
    if None in places:
        raise DataError("the Arrow stream has a NULL where a child should be")
    return [place or 0 for place in places]


class _Reader:
    """Reads the rows of one array.

    Args:
        kind: its type.
        values: its struct, which lives longer than this.
    """

    def __init__(self, kind: Kind, values: Any) -> None:
        self._kind = kind
        self._values = values
        self.length: int = values.length
        self.offset: int = values.offset
        expected = kind.buffers
        if not (0 <= self.length <= _MAX_INT64 - max(0, self.offset)) or self.offset < 0:
            raise self._impossible(f"length {self.length}, offset {self.offset}")
        if values.null_count < -1 or values.null_count > self.length:
            raise self._impossible(f"{values.null_count} NULLs in {self.length} rows")
        if values.n_buffers != expected and not (expected == -1 and 3 <= values.n_buffers <= 1 << 20):
            raise self._impossible(f"{values.n_buffers} buffers")
        if bool(values.dictionary) != (kind.dictionary is not None):
            raise self._impossible("no dictionary where there should be one")
        count = values.n_buffers
        if count and not values.buffers:
            raise self._impossible("no buffers")
        self._buffers: list[int] = [
            place or 0 for place in ((c_void_p * count).from_address(values.buffers) if count else ())
        ]
        self._children = [
            _Reader(child, Array.from_address(place))
            for child, place in zip(kind.children, self.pointers("children", len(kind.children)), strict=True)
            if kind.format != "+s"
        ]
        self._labels: Chunk | None = None

    def _impossible(self, what: str) -> DataError:
        return DataError(f"column {self._kind.name!r} of the Arrow stream is not possible: {what}")

    def pointers(self, field: str, count: int) -> list[int]:
        """Its children."""
        if self._values.n_children != count:
            raise self._impossible(f"{self._values.n_children} children instead of {count}")
        return _places(getattr(self._values, field), count)

    def _copy(self, index: int, start: int, size: int) -> bytes:
        """A part of a buffer."""
        if not size:
            return b""
        if not self._buffers[index]:
            raise self._impossible("a buffer is missing")
        return string_at(self._buffers[index] + start, size)

    def null_rows(self, start: int, count: int) -> list[int]:
        """Those of some rows that are NULL, counted from `start`."""
        if self._kind.format == "n":
            return list(range(count))
        if not self._values.null_count or not self._buffers or not self._buffers[0]:
            return []
        first = self.offset + start
        bits = int.from_bytes(self._copy(0, first >> 3, ((first + count + 7) >> 3) - (first >> 3)), "little")
        missing = ~(bits >> (first & 7)) & ((1 << count) - 1)
        if not missing:
            return []
        digits = f"{missing:b}"[::-1]
        return [index for index, digit in enumerate(digits) if digit == "1"]

    def chunk(self, start: int, count: int) -> Chunk:
        """Some rows, from `start` on, without the array's own offset."""
        if start < 0 or count < 0 or start + count > self.length:
            raise self._impossible(f"rows {start} to {start + count} of {self.length}")
        found = Chunk(self._kind, count, self.null_rows(start, count))
        format = self._kind.format
        first = self.offset + start
        if self._kind.dictionary is not None and self._labels is None:
            labels = _Reader(self._kind.dictionary, Array.from_address(self._values.dictionary))
            self._labels = labels.chunk(0, labels.length)
        found.labels = self._labels
        if format == "b":
            bits = int.from_bytes(
                self._copy(1, first >> 3, ((first + count + 7) >> 3) - (first >> 3)), "little"
            )
            digits = f"{(bits >> (first & 7)) & ((1 << count) - 1):0{count}b}" if count else ""
            found.data = digits[::-1].encode().translate(_FLAGS)
        elif format in _OFFSETS:
            ends = self._ends(first, count, _OFFSETS[format])
            low, high = ends[0], ends[-1]
            found.ends = ends
            if self._children:
                found.items = self._children[0].chunk(low, high - low)
            else:
                found.data = self._copy(2, low, high - low)
        elif format in ("vu", "vz"):
            found.pieces = self._views(first, count, set(found.nulls))
        elif format.startswith("+w:"):
            size = self._kind.size
            found.ends = [size * row for row in range(count + 1)]
            found.items = self._children[0].chunk(size * first, size * count)
        elif format != "n":
            size = self._kind.size
            found.data = self._copy(1, first * size, count * size)
        return found

    def _ends(self, first: int, count: int, size: int) -> list[int]:
        """Offsets: one more than rows; none may be less than the one before."""
        if not count and not self._buffers[1]:
            return [0]  # old producers leave out the offsets of no rows
        numbers: Any = array("i" if size == 4 else "q")
        numbers.frombytes(self._copy(1, first * size, (count + 1) * size))
        ends: list[int] = numbers.tolist()
        if ends[0] < 0 or sorted(ends) != ends:
            raise self._impossible("its offsets do not ascend")
        return ends

    def _views(self, first: int, count: int, nulls: set[int]) -> list[bytes]:
        """The values of views: up to 12 bytes stand in the view, the others in one of the last buffers."""
        several = len(self._buffers) - 3
        sizes = (c_int64 * several).from_address(self._buffers[-1]) if several and self._buffers[-1] else ()
        data = self._copy(1, 16 * first, 16 * count)
        pieces: list[bytes] = []
        for row in range(count):
            view = data[16 * row : 16 * row + 16]
            size = int.from_bytes(view[:4], "little", signed=True)
            if row in nulls:
                pieces.append(b"")
            elif 0 <= size <= 12:
                pieces.append(view[4 : 4 + size])
            else:
                index, begin = (int.from_bytes(view[at : at + 4], "little", signed=True) for at in (8, 12))
                if size < 0 or not 0 <= index < len(sizes) or begin < 0 or begin + size > sizes[index]:
                    raise self._impossible("a view is out of its buffer")
                pieces.append(self._copy(2 + index, begin, size))
        return pieces


_FLAGS: Final = bytes.maketrans(b"01", b"\0\1")
