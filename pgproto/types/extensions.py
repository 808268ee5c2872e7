"""The codecs of the types of well-known extensions.

    hstore                  dict          of str to str or None
    ltree lquery ltxtquery  str
    cube                    Cube          a tuple or list of numbers is a point
    vector halfvec          tuple         of floats; any list of numbers is taken, numpy's arrays included
    sparsevec               SparseVector
    citext                  str

Binary forms, from the extensions' sources: hstore_send is an int32 count, then each pair as int32 length and
key, int32 length (-1: NULL) and value.  The types of ltree are a version (1) and their text.  cube_send is an
int32 with the number of dimensions, and 1 << 31 for a point, then a float8 for each dimension, and if it is
no point for each once more.  vector_send and halfvec_send are an int16 number of dimensions, an int16 that is
0, and a float4 or half for each; sparsevec_send is an int32 number of dimensions, an int32 number of values,
an int32 that is 0, then the int32 indexes from 0 and the float4 values.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..wire.messages import NULL
from ..wire.native import read_int32
from .codec import Codec, expected, frame_length, malformed, malformed_text
from .figures import Cube, SparseVector
from .given import as_float, as_int, as_list
from .scalars import TextCodec
from .system import JsonPathCodec

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["extension_codec"]

_POINT: Final = 0x80000000
_MOST_DIMENSIONS: Final = 0xFFFF
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_PAIR: Final = re.compile(rf"{_QUOTED}=>(?:NULL|{_QUOTED})(?:, |$)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL: Final = re.compile(r'(["\\])')
_CUBE: Final = re.compile(r"\(([^()]*)\)(?:,\(([^()]*)\))?")


class HstoreCodec(Codec):
    """Keys and values of hstore."""

    __slots__ = ("_text",)

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self.mutable = True
        self._text = TextCodec(oid, name)

    def _flat(self, value: object) -> list[bytes | None]:
        """Keys and values in turn."""
        if type(value) is not dict and not isinstance(value, Mapping):
            raise expected("dict", value)
        pairs: dict[object, object] = value if type(value) is dict else dict(value.items())
        flat: list[bytes | None] = []
        for key, each in pairs.items():
            if not isinstance(key, str):
                raise TypeError(f"a key: {expected('str', key)}")
            flat.append(self._text.encode(key))
            if each is None:
                flat.append(None)
                continue
            if not isinstance(each, str):
                raise TypeError(f"the value of a key: {expected('str', each)}")
            flat.append(self._text.encode(each))
        return flat

    def encode(self, value: object) -> bytes:
        """Take a mapping of str to str or None."""
        parts: list[bytes] = []
        self.add_field(parts, value)
        return b"".join(parts[1:])

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append the length, the number of pairs, and each."""
        flat = self._flat(value)
        count: i64 = len(flat)
        size: i64 = 4 + 4 * count
        for each in flat:
            if each is not None:
                size += len(each)
        parts.append(frame_length(size))
        parts.append(frame_length(count // 2))
        for each in flat:
            if each is None:
                parts.append(NULL)
            else:
                parts.append(frame_length(len(each)))
                parts.append(each)
        return 4 + size

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The keys and values as a dict."""
        count: i64 = -1
        if end - start >= 4:
            count = read_int32(buffer, start)
        position: i64 = start + 4
        if not 0 <= count <= (end - position) // 8:
            raise malformed(self.name, f"{count} pairs in {end - start} bytes")
        found: dict[str, str | None] = {}
        try:
            while count:
                length: i64 = -1
                if end - position >= 8:
                    length = read_int32(buffer, position)
                stop: i64 = position + 4 + length
                if length < 0 or end - stop < 4:
                    raise malformed(self.name, "it ends within a pair")
                key = buffer[position + 4 : stop].decode()
                length = read_int32(buffer, stop)
                position = stop + 4
                value: str | None = None
                if length != -1:
                    stop = position + length
                    if length < 0 or stop > end:
                        raise malformed(self.name, "it ends within a pair")
                    value = buffer[position:stop].decode()
                    position = stop
                found[key] = value
                count -= 1
        except UnicodeDecodeError as error:
            raise malformed(self.name, f"not UTF-8 at byte {error.start} ({error.reason})") from None
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after its pairs")
        return found

    def encode_text(self, value: object) -> str:
        """Take a mapping of str to str or None."""
        texts = ["NULL" if each is None else _quoted(each) for each in self._flat(value)]
        return ", ".join([f"{texts[at]}=>{texts[at + 1]}" for at in range(0, len(texts), 2)])

    def decode_text(self, text: str) -> object:
        """The keys and values as a dict."""
        found: dict[str, str | None] = {}
        position = 0
        while position < len(text):
            pair = _PAIR.match(text, position)
            if pair is None:
                raise malformed_text(self.name, "it is no list of pairs")
            value: str | None = pair[2]
            found[_ESCAPED.sub(r"\1", pair[1])] = None if value is None else _ESCAPED.sub(r"\1", value)
            position = pair.end()
        return found


def _quoted(data: bytes) -> str:
    return '"' + _SPECIAL.sub(r"\\\1", data.decode()) + '"'


class CubeCodec(Codec):
    """A box in many dimensions, or a point."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self.is_list = self.is_numbers = self.is_tuple = True

    def _corners(self, value: object) -> tuple[list[float], list[float]]:
        """The corners' coordinates; the second has none if they are equal."""
        if not isinstance(value, Cube):
            return [as_float(each) for each in as_list(value)], []
        given: Any = value  # compiled, an attribute that is no tuple would be refused
        low = [as_float(each) for each in as_list(given.low)]
        high = [as_float(each) for each in as_list(given.high)]
        if len(low) != len(high):
            raise ValueError(f"corners of {len(low)} and of {len(high)} dimensions")
        return low, [] if low == high else high

    def encode(self, value: object) -> bytes:
        """Take a Cube, or the coordinates of a point."""
        low, high = self._corners(value)
        items = low + high
        return struct.pack(f">I{len(items)}d", len(low) | (0 if high else _POINT), *items)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The Cube."""
        header: int = read_int32(buffer, start) & 0xFFFFFFFF if end - start >= 4 else 0
        count = header & ~_POINT
        if end - start != 4 + 8 * count * (1 if header & _POINT else 2):
            raise malformed(self.name, f"{count} dimensions in {end - start} bytes")
        items: tuple[float, ...] = struct.unpack_from(f">{(end - start - 4) // 8}d", buffer, start + 4)
        return Cube(items[:count], items[:count] if header & _POINT else items[count:])

    def encode_text(self, value: object) -> str:
        """Take a Cube, or the coordinates of a point."""
        low, high = self._corners(value)
        first = f"({', '.join([repr(each) for each in low])})"
        return f"{first},({', '.join([repr(each) for each in high])})" if high else first

    def decode_text(self, text: str) -> object:
        """The Cube."""
        found = _CUBE.fullmatch(text)
        if found is None:
            raise malformed_text(self.name, "it is no list of corners")
        low = _floats(self.name, found[1])
        return Cube(low, low if found[2] is None else _floats(self.name, found[2]))


def _floats(name: str, text: str) -> tuple[float, ...]:
    """The numbers of a text with commas between them."""
    try:
        return tuple([float(each) for each in text.split(",")]) if text else ()
    except ValueError:
        raise malformed_text(name, "a coordinate that is no number") from None


class FloatsCodec(Codec):
    """A vector: one number for each dimension.

    Args:
        code: the `struct` code of a number.
    """

    __slots__ = ("_code", "_size")

    def __init__(self, oid: int, name: str, code: str) -> None:
        super().__init__(oid, name)
        self.is_list = self.is_numbers = self.is_tuple = True
        self._code = code
        self._size = struct.calcsize(code)

    def encode(self, value: object) -> bytes:
        """Take a list of numbers."""
        items = [as_float(each) for each in as_list(value)]
        if len(items) > _MOST_DIMENSIONS:
            raise ValueError(f"{len(items)} dimensions")
        try:
            return struct.pack(f">HH{len(items)}{self._code}", len(items), 0, *items)
        except (OverflowError, struct.error):
            raise ValueError(f"a number out of range of {self.name}") from None

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The numbers."""
        count: i64 = (buffer[start] << 8 | buffer[start + 1]) if end - start >= 4 else -1
        if count < 0 or end - start != 4 + self._size * count:
            raise malformed(self.name, f"{count} dimensions in {end - start} bytes")
        return struct.unpack_from(f">{count}{self._code}", buffer, start + 4)

    def encode_text(self, value: object) -> str:
        """Take a list of numbers."""
        self.encode(value)
        return f"[{','.join([repr(as_float(each)) for each in as_list(value)])}]"

    def decode_text(self, text: str) -> object:
        """The numbers."""
        if text[:1] != "[" or text[-1:] != "]":
            raise malformed_text(self.name, "no brackets")
        return _rounded(self.name, _floats(self.name, text[1:-1]), self._code)


def _rounded(name: str, items: tuple[float, ...], code: str) -> tuple[float, ...]:
    """The numbers as they arrive in binary: PostgreSQL prints the shortest digits that mean the same."""
    shape = f">{len(items)}{code}"
    try:
        return struct.unpack(shape, struct.pack(shape, *items))
    except OverflowError:
        raise malformed_text(name, "a number out of range") from None


class SparseCodec(Codec):
    """A vector of which few numbers are not 0."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self.is_tuple = True

    def _checked(self, value: object) -> tuple[int, list[int], list[float]]:
        if not isinstance(value, SparseVector):
            raise expected("SparseVector", value)
        given: Any = value  # as in CubeCodec
        indexes = [as_int(each) for each in as_list(given.indexes)]
        values = [as_float(each) for each in as_list(given.values)]
        if len(indexes) != len(values):
            raise ValueError(f"{len(indexes)} indexes for {len(values)} values")
        return as_int(given.dimensions), indexes, values

    def encode(self, value: object) -> bytes:
        """Take a SparseVector."""
        dimensions, indexes, values = self._checked(value)
        count = len(values)
        try:
            return struct.pack(f">iii{count}i{count}f", dimensions, count, 0, *indexes, *values)
        except (OverflowError, struct.error):
            raise ValueError(f"a number out of range of {self.name}") from None

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The SparseVector."""
        count: i64 = read_int32(buffer, start + 4) if end - start >= 12 else -1
        if count < 0 or end - start != 12 + 8 * count:
            raise malformed(self.name, f"{count} values in {end - start} bytes")
        indexes: tuple[int, ...] = struct.unpack_from(f">{count}i", buffer, start + 12)
        values: tuple[float, ...] = struct.unpack_from(f">{count}f", buffer, start + 12 + 4 * count)
        return SparseVector(read_int32(buffer, start), indexes, values)

    def encode_text(self, value: object) -> str:
        """Take a SparseVector."""
        self.encode(value)
        dimensions, indexes, values = self._checked(value)
        pairs = [f"{index + 1}:{each!r}" for index, each in zip(indexes, values, strict=True)]
        return f"{{{','.join(pairs)}}}/{dimensions}"

    def decode_text(self, text: str) -> object:
        """The SparseVector."""
        inside, slash, dimensions = text.rpartition("/")
        indexes: list[int] = []
        values: list[float] = []
        try:
            if not slash or inside[:1] != "{" or inside[-1:] != "}":
                raise ValueError("no braces")
            for pair in inside[1:-1].split(",") if len(inside) > 2 else []:
                index, _, each = pair.partition(":")
                indexes.append(int(index) - 1)
                values.append(float(each))
            return SparseVector(int(dimensions), tuple(indexes), _rounded(self.name, tuple(values), "f"))
        except (ValueError, OverflowError):
            raise malformed_text(self.name, "it is no list of indexes and numbers") from None


def extension_codec(extension: str, typname: str, oid: int, name: str) -> Codec | None:
    """The codec of an extension's type; None if it is not known.

    Args:
        extension: the extension's name; "" for none.
        typname: the type's name.
        oid: the type's OID.
        name: the type's name for messages.
    """
    if extension == "vector":
        if typname == "sparsevec":
            return SparseCodec(oid, name)
        code = {"vector": "f", "halfvec": "e"}.get(typname)
        return None if code is None else FloatsCodec(oid, name, code)
    if extension == "ltree" and typname in ("ltree", "lquery", "ltxtquery"):
        return JsonPathCodec(oid, name)  # a version and a text, too
    if extension == "hstore" == typname:
        return HstoreCodec(oid, name)
    if extension == "cube" == typname:
        return CubeCodec(oid, name)
    return TextCodec(oid, name) if extension == "citext" == typname else None
