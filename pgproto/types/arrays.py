"""The codec of arrays: nested lists both ways, up to PostgreSQL's six dimensions.

Binary form (array_send): int32 number of dimensions, int32 flags (1: there are NULLs), uint32 element OID,
then int32 length and int32 lower bound of each dimension, then every element in row-major order as int32
length (-1: NULL) and value.  An array without elements has no dimensions.

Rule: no recursion.  Encoding flattens one level after the other, decoding folds the flat list from the
innermost dimension outwards; a list that contains itself is refused at the seventh level.
Rule: every count is checked against the bytes that remain before anything is allocated for it.

An array whose subscripts start at 1 is a list; any other is an `Array`, which has its lower bounds.
For json and jsonb an inner list is a JSON array and not a dimension, and for a domain over arrays it is an
element: these arrays have as many dimensions as an `Array` has lower bounds, and one if the value is a list.
For cube and vector a list of numbers is an element.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..wire.messages import NULL
from ..wire.native import COMPILED, read_int32, read_int64
from .bounded import Array
from .codec import Codec, FixedCodec, malformed, malformed_text, within
from .given import as_list, is_list
from .literals import read_array, read_lower_bounds, write_array
from .scalars import IntCodec, TextCodec
from .textform import in_their_format

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["ArrayCodec"]

_HEADER: Final = struct.Struct(">iiI")
_DIMENSION: Final = struct.Struct(">ii")
_EMPTY_DIMENSIONS: Final = 0
_MAX_DIMENSIONS: Final = 6
_INT32: Final = 1 << 31
# PostgreSQL's MaxArraySize: the largest number of elements.
_MAX_ITEMS: Final = 134_217_727
# Elements per struct call.  Bounded, because struct caches every format that it has compiled.
_CHUNK: Final = 256
# A part of it is one new list, where a product makes two.
_NULLS: Final[list[object]] = [None] * _CHUNK


class ArrayCodec(Codec):
    """An array of one element type.

    Args:
        oid: the array type's OID.
        element: the codec of the elements.
        name: the type's SQL name, if it is not the element's with "[]".
        delimiter: what is between the elements in the text form: "," for nearly all types.
    """

    __slots__ = ("_fixed", "_int4", "_nests", "_numbers", "_texts", "_tuples", "delimiter", "element")
    lower_bound: int = 1

    def __init__(self, oid: int, element: Codec, name: str = "", delimiter: str = ",") -> None:
        super().__init__(oid, name or f"{element.name}[]")
        self.delimiter = delimiter
        self.is_list = self.mutable = True
        self.element = element
        self._fixed: FixedCodec | None = element if isinstance(element, FixedCodec) else None
        self._nests = not element.is_list or element.is_numbers
        self._numbers = element.is_numbers
        self._tuples = not element.is_tuple
        self._int4 = isinstance(element, IntCodec) and element.code == "i"
        self._texts = isinstance(element, TextCodec)

    def encode(self, value: object) -> bytes:
        """Take a list of elements and None, or of lists of the same length, and so on.

        Raises:
            TypeError: the value is not a list, or an element has the wrong type; the text has its index.
            ValueError: the list is ragged, has more than six dimensions, or an element is unfit; or there are
                not as many lower bounds as dimensions.
        """
        lengths: list[int] = []
        items = self._flatten(value, lengths)
        if not items:
            return _HEADER.pack(_EMPTY_DIMENSIONS, 0, self.element.oid)
        has_null = 0
        parts: list[bytes] = [b""]
        bounds = self._lower_bounds(value, len(lengths))
        for dimension, length in enumerate(lengths):
            parts.append(_DIMENSION.pack(length, bounds[dimension]))
        body = self._encode_exact(items)
        if body is not None:
            parts.append(body)
            items = []
        for index, item in enumerate(items):
            if item is None:
                has_null = 1
                parts.append(NULL)
                continue
            try:
                self.element.add_field(parts, item)
            except (TypeError, ValueError) as error:
                named = within(f"element {_subscript(index, lengths)}", error)
                raise named from named.__cause__
        parts[0] = _HEADER.pack(len(lengths), has_null, self.element.oid)
        return b"".join(parts)

    def _lower_bounds(self, value: object, dimensions: int) -> Sequence[int]:
        if not isinstance(value, Array):
            return [self.lower_bound] * dimensions
        bounds = value.lower_bounds
        if len(bounds) != dimensions:
            raise ValueError(f"{len(bounds)} lower bounds for {dimensions} dimensions")
        for bound in bounds:
            if not -_INT32 <= bound < _INT32:
                raise ValueError("a lower bound out of range")
        return bounds

    def _flatten(self, value: object, lengths: list[int]) -> list[object]:
        """The elements in row-major order; `lengths` gets the length of each dimension."""
        items = as_list(value)
        lengths.append(len(items))
        dimensions = len(value.lower_bounds) if isinstance(value, Array) else 1
        while items and (self._is_dimension(items[0]) if self._nests else len(lengths) < dimensions):
            if len(lengths) == _MAX_DIMENSIONS:
                raise ValueError(f"nested more than {_MAX_DIMENSIONS} deep")
            width = len(as_list(items[0]))  # counted, because a subclass's len() may lie
            if len(items) * width > _MAX_ITEMS:
                raise ValueError(f"more than {_MAX_ITEMS} elements")
            inner: list[object] = []
            for item in items:
                members = as_list(item) if self._is_dimension(item) else []
                if len(members) != width or not self._is_dimension(item):
                    raise ValueError("ragged: the lists of one dimension must have the same length")
                inner.extend(members)
            items = inner
            lengths.append(width)
        return items

    def _is_dimension(self, item: object) -> bool:
        if isinstance(item, (str, int, float)):  # quickly, because of a scalar the last question takes long
            return False
        if isinstance(item, tuple):
            return self._tuples
        if not isinstance(item, (list, range)) and not (hasattr(item, "tolist") and is_list(item)):
            return False  # the latter are numpy's arrays
        if not self._numbers:
            return True
        members = as_list(item)
        return bool(members) and (members[0] is None or is_list(members[0]))

    def _encode_exact(self, items: list[object]) -> bytes | None:
        """All elements by `struct`, if all have exactly the Python type that `struct` accepts; else None."""
        fixed = self._fixed
        if fixed is None or fixed.exact is None:
            return None
        exact = fixed.exact
        for item in items:
            if type(item) is not exact:
                return None
        parts: list[bytes] = []
        for start in range(0, len(items), _CHUNK):
            chunk = items[start : start + _CHUNK]
            fields: list[object] = [fixed.size] * (2 * len(chunk))
            fields[1::2] = chunk
            try:
                parts.append(struct.pack(">" + ("i" + fixed.code) * len(chunk), *fields))
            except (struct.error, OverflowError):
                return None  # an element is out of range: encoding them one by one reports which
        return b"".join(parts)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The elements as a list, nested once for every dimension after the first."""
        if end - start < 12:
            raise malformed(self.name, f"{end - start} bytes, which is too short")
        dimensions: i64 = read_int32(buffer, start)
        flags: i64 = read_int32(buffer, start + 4)
        oid: i64 = read_int32(buffer, start + 8) & 0xFFFFFFFF
        if not 0 <= dimensions <= _MAX_DIMENSIONS:
            raise malformed(self.name, f"{dimensions} dimensions")
        if not 0 <= flags <= 1:
            raise malformed(self.name, f"flags {flags}")
        if oid != self.element.oid:
            raise malformed(self.name, f"elements of type {oid} instead of {self.element.oid}")
        position: i64 = start + 12
        room: i64 = end - position - 8 * dimensions
        if room < 0:
            raise malformed(self.name, "it ends within its dimensions")
        count: i64 = 1 if dimensions else 0
        usual: i64 = self.lower_bound
        as_usual = True
        index: i64 = 0
        while index < dimensions:
            length: i64 = read_int32(buffer, position)
            if length < 1:
                raise malformed(self.name, f"a dimension of length {length}")
            count *= length
            if 4 * count > room:
                raise malformed(self.name, f"{count} elements announced in {room} bytes")
            if read_int32(buffer, position + 4) != usual:
                as_usual = False
            position += 8
            index += 1
        items = None if COMPILED else self._decode_exact(buffer, position, end, count)
        if items is None:
            items = self._decode_items(buffer, position, end, count)
        index = dimensions - 1
        while index > 0:
            items = _folded(items, read_int32(buffer, start + 12 + 8 * index))
            index -= 1
        if as_usual and (self._nests or dimensions < 2):
            return items
        return Array(items, [read_int32(buffer, start + 16 + 8 * index) for index in range(dimensions)])

    def encode_text(self, value: object) -> str:
        """Take what `encode` takes."""
        lengths: list[int] = []
        texts: list[str | None] = []
        for index, item in enumerate(self._flatten(value, lengths)):
            try:
                texts.append(None if item is None else self.element.encode_text(item))
            except (TypeError, ValueError) as error:
                named = within(f"element {_subscript(index, lengths)}", error)
                raise named from named.__cause__
        bounds = self._lower_bounds(value, len(lengths)) if isinstance(value, Array) and texts else ()
        return write_array(texts, self.delimiter, lengths, bounds)

    def decode_text(self, text: str) -> object:
        """The elements as a list, nested once for every dimension after the first."""
        lengths: list[int] = []
        texts = read_array(self.name, text, self.delimiter, lengths)
        items = [None if each is None else self.element.decode_text(each) for each in texts]
        bounds = read_lower_bounds(text)
        if not items:
            return items
        if not bounds and not self._nests and len(lengths) > 1:
            bounds = [1] * len(lengths)
        for width in reversed(lengths[1:]):
            items = _folded(items, width)
        if not bounds:
            return items
        if len(bounds) != len(lengths):
            raise malformed_text(self.name, f"{len(bounds)} subscripts for {len(lengths)} dimensions")
        return Array(items, bounds)

    def _decode_exact(self, buffer: bytes, position: int, end: int, count: int) -> list[object] | None:
        """All elements by `struct`, if all have the type's width, so that none is NULL; else None."""
        fixed = self._fixed
        if fixed is None or end - position != count * (4 + fixed.size):
            return None
        pair = "i" + fixed.code
        items: list[object] = []
        while count:
            chunk = count if count < _CHUNK else _CHUNK
            fields: tuple[object, ...] = struct.unpack_from(">" + pair * chunk, buffer, position)
            if fields[::2].count(fixed.size) != chunk:
                return None
            items.extend(fields[1::2])
            position += chunk * (4 + fixed.size)
            count -= chunk
        if fixed.exact is None:
            return [fixed.convert(item) for item in items]
        return items

    def _decode_items(self, buffer: bytes, position: i64, end: i64, count: i64) -> list[object]:
        """All elements, one by one."""
        items: list[object] = _NULLS[:count] if count <= _CHUNK else [None] * count
        element = self.element
        index: i64 = 0
        if self._int4:
            # The most common type: one read for length and element takes 0.6 of the time of two.
            while index < count and end - position >= 8:
                both = read_int64(buffer, position)
                if both >> 32 == 4:
                    number: i64 = both & 0xFFFFFFFF
                    items[index] = number - 0x100000000 if number > 0x7FFFFFFF else number
                    position += 8
                elif both >> 32 == -1:
                    position += 4
                else:
                    break
                index += 1
        elif self._texts and (chunk := buffer[position:end]).isascii():
            # Of a str that is all ASCII, a part takes half the time of two objects, its bytes and its str.
            text = chunk.decode()
            first: i64 = position
            while index < count and end - position >= 4:
                size: i64 = read_int32(buffer, position)
                if not 0 <= size <= end - position - 4:
                    break
                position += 4 + size
                items[index] = text[position - size - first : position - first]
                index += 1
        while index < count:
            if end - position < 4:
                raise malformed(self.name, "it ends within an element's length")
            length: i64 = read_int32(buffer, position)
            position += 4
            if length >= 0:
                stop: i64 = position + length
                if stop > end:
                    raise malformed(self.name, f"an element of {length} bytes with {end - position} left")
                items[index] = element.decode(buffer, position, stop)
                position = stop
            elif length != -1:
                raise malformed(self.name, f"an element of {length} bytes with {end - position} left")
            index += 1
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after the last element")
        return items

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The array of this map's elements."""
        element = types(self.element.oid)
        if element is self.element:
            return self
        return in_their_format(ArrayCodec(self.oid, element, self.name, self.delimiter), element)


def _folded(items: list[object], width: i64) -> list[object]:
    """The items in lists of this length."""
    lists: list[object] = []
    index: i64 = 0
    while index < len(items):
        lists.append(items[index : index + width])
        index += width
    return lists


def _subscript(index: int, lengths: list[int]) -> str:
    """The Python subscript, such as [0][2], of the element at `index` in row-major order."""
    text = ""
    for length in reversed(lengths):
        index, rest = divmod(index, length)
        text = f"[{rest}]{text}"
    return text
