"""Codecs of PostgreSQL's own types: tid, pg_lsn, int2vector and oidvector, jsonpath, record.

    tid                    tuple     (block, offset)
    pg_lsn                 str       as the server prints it: "16/B374D848"
    int2vector oidvector   tuple     of ints; for the server a vector starts at 0
    jsonpath               str
    record                 tuple     the server takes no anonymous record, it only sends them

Types whose text says all that they are (the reg* types, tsvector, money, aclitem, snapshots) travel as text.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import DataError
from ..wire.exact import exact_int, exact_str
from ..wire.native import read_int32
from .arrays import ArrayCodec
from .codec import (
    Codec,
    FixedCodec,
    UnknownTypeError,
    expected,
    frame_length,
    malformed,
    malformed_text,
)
from .escaping import HEX_DIGITS
from .literals import read_record
from .scalars import TextCodec, UnknownCodec

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["JsonPathCodec", "LsnCodec", "RecordCodec", "TidCodec", "VectorCodec"]

_TID: Final = struct.Struct(">IH")
_SLASH: Final = 0x2F
_PAIR: Final = re.compile(r"\((\d{1,10}),(\d{1,5})\)", re.ASCII)


class TidCodec(Codec):
    """The place of a row's version: the number of its block, and its number there."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self.is_tuple = True

    def encode(self, value: object) -> bytes:
        """Take a pair of ints."""
        return self._number(value).to_bytes(6, "big")

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append the length and the pair, as one number."""
        parts.append((6 << 48 | self._number(value)).to_bytes(10, "big"))
        return 10

    def _number(self, value: object) -> int:
        """The block and the offset as one number."""
        if not isinstance(value, (tuple, list)):
            raise expected("tuple", value)
        items = value if type(value) is tuple else list(value)
        if len(items) != 2:
            raise ValueError(f"a tuple of {len(items)} instead of 2")
        for item in items:
            if isinstance(item, bool):
                raise expected("int", item)
        block, offset = exact_int(items[0]), exact_int(items[1])
        if not (0 <= block <= 0xFFFFFFFF and 0 <= offset <= 0xFFFF):
            raise ValueError("a block or an offset out of range")
        return block << 16 | offset

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The pair."""
        if end - start != _TID.size:
            raise malformed(self.name, f"{end - start} bytes instead of {_TID.size}")
        offset: i64 = buffer[start + 4]
        offset = offset << 8 | buffer[start + 5]
        return (int(read_int32(buffer, start) & 0xFFFFFFFF), int(offset))

    def encode_text(self, value: object) -> str:
        """Take a pair of ints."""
        block, offset = _TID.unpack(self.encode(value))
        return f"({block},{offset})"

    def decode_text(self, text: str) -> object:
        """The pair."""
        found = _PAIR.fullmatch(text)
        pair = (int(found[1]), int(found[2])) if found else (-1, -1)
        if not (0 <= pair[0] <= 0xFFFFFFFF and pair[1] <= 0xFFFF):
            raise malformed_text(self.name, "it is not of the form (block,offset), or out of range")
        return pair


_HEX: Final = [f"{byte:02X}" for byte in range(256)]
_HIGH: Final = [f"{byte:X}/" for byte in range(256)]


class LsnCodec(FixedCodec):
    """A place in the write-ahead log."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "Q", None, "q")

    def raw(self, value: object) -> object:
        """Take a str as the server prints it."""
        text = value if type(value) is str else exact_str(value)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            data = b""
        table = HEX_DIGITS
        high: i64 = 0
        number: i64 = 0
        digits: i64 = 0
        slashes: i64 = 0
        at: i64 = 0
        end: i64 = len(data)
        while at < end:
            code: i64 = data[at]
            digit: i64 = table[code]
            if digit < 16 and digits < 8:
                number = number << 4 | digit
                digits += 1
            elif code == _SLASH and digits and not slashes:
                high = number
                number = digits = 0
                slashes = 1
            else:
                break
            at += 1
        if at < end or not digits or not slashes:
            raise ValueError('str that is not of the form "16/B374D848"')
        if high >> 31:
            high |= -1 << 31  # the item has a sign
        return high << 32 | number

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The place as the server prints it; the usual ones from tables, in a quarter of the time."""
        if end - start != 8 or buffer[start + 4] < 16 or read_int32(buffer, start) >> 8:
            return super().decode(buffer, start, end)
        return (
            f"{_HIGH[buffer[start + 3]]}{_HEX[buffer[start + 4]]}"
            f"{_HEX[buffer[start + 5]]}{_HEX[buffer[start + 6]]}{_HEX[buffer[start + 7]]}"
        )

    def convert(self, raw: object) -> object:
        """The place as the server prints it."""
        assert isinstance(raw, int)
        return "%X/%X" % (raw >> 32, raw & 0xFFFFFFFF)  # noqa: UP031 - an f-string takes three times as long


class VectorCodec(ArrayCodec):
    """An array of one dimension without NULLs, whose first element has the subscript 0."""

    __slots__ = ()
    lower_bound: int = 0

    def __init__(self, oid: int, element: Codec, name: str) -> None:
        super().__init__(oid, element, name)
        self.is_tuple = True
        self.is_list = self.mutable = False

    def encode(self, value: object) -> bytes:
        """Take a list or tuple of ints."""
        if not isinstance(value, (list, tuple)):
            raise expected("list", value)
        items = list(value)
        if not items:
            raise ValueError(f"PostgreSQL takes no empty vector in binary; write ''::{self.name}")
        if None in items or isinstance(items[0], (list, tuple)):
            raise ValueError("a vector has one dimension, and no None")
        return super().encode(items)

    def encode_text(self, value: object) -> str:
        """Take a list or tuple of ints, with a space between them."""
        if isinstance(value, (list, tuple)) and not list(value):
            return ""
        data = self.encode(value)
        found = self.decode(data, 0, len(data))
        assert isinstance(found, tuple)
        return " ".join([str(each) for each in found])

    def decode_text(self, text: str) -> object:
        """The elements."""
        return tuple([self.element.decode_text(each) for each in text.split(" ")]) if text else ()

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The elements."""
        if end - start == 20 and read_int32(buffer, start) == 1 and read_int32(buffer, start + 12) == 0:
            return ()
        found = super().decode(buffer, start, end)
        assert isinstance(found, list)
        return tuple(found)

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The same vector of this map's ints."""
        element = types(self.element.oid)
        if element is self.element or not element.format:
            return self
        return VectorCodec(self.oid, element, self.name)


# Length and version for a text of so many bytes.
_HEADS: Final[list[bytes]] = [frame_length(1 + size) + b"\x01" for size in range(256)]


class JsonPathCodec(Codec):
    """A JSON path: the number of a version (1), and its text."""

    __slots__ = ("_text",)

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self._text = TextCodec(oid, name)

    def encode(self, value: object) -> bytes:
        """Take a str."""
        return b"\x01" + self._text.encode(value)

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append the length, the version and the text."""
        data = self._text.encode(value)
        size: i64 = len(data)
        parts.append(_HEADS[size] if size < len(_HEADS) else frame_length(1 + size) + b"\x01")
        parts.append(data)
        return 5 + size

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The text."""
        if start == end or buffer[start] != 1:
            raise malformed(self.name, "not version 1")
        return self._text.decode(buffer, start + 1, end)

    def encode_text(self, value: object) -> str:
        """Take a str."""
        return self._text.encode_text(value)

    def decode_text(self, text: str) -> object:
        """The text."""
        return text


class RecordCodec(Codec):
    """A row without a type of its own, as `ROW(1, 'a')` gives.

    Args:
        types: gives the codec of a field's type, by its OID.
    """

    __slots__ = ("_types",)

    def __init__(self, oid: int, name: str, types: Callable[[int], Codec]) -> None:
        super().__init__(oid, name)
        self._types = types
        self.is_tuple = self.mutable = True

    def encode(self, value: object) -> bytes:
        """Take nothing: the server does not take it either."""
        raise TypeError("PostgreSQL takes no anonymous record; cast it to a composite type")

    def encode_text(self, value: object) -> str:
        """Take nothing."""
        raise TypeError("PostgreSQL takes no anonymous record; cast it to a composite type")

    def decode_text(self, text: str) -> object:
        """The fields as str: a record's text does not say of what types they are."""
        return tuple(read_record(self.name, text))

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The fields, each by the codec of its type."""
        count: i64 = -1
        if end - start >= 4:
            count = read_int32(buffer, start)
        position: i64 = start + 4
        if not 0 <= count <= (end - position) // 8:
            raise malformed(self.name, f"{count} fields in {end - start} bytes")
        fields: list[object] = []
        while count:
            if end - position < 8:
                raise malformed(self.name, "it ends within a field")
            oid: i64 = read_int32(buffer, position)
            length: i64 = read_int32(buffer, position + 4)
            position += 8
            if length > end - position or length < -1:
                raise malformed(self.name, f"a field of {length} bytes with {end - position} left")
            if length < 0:
                fields.append(None)
            else:
                codec = self._types(oid & 0xFFFFFFFF)
                if isinstance(codec, UnknownCodec):
                    unknown = UnknownTypeError(
                        f"a field of type {codec.name} in a record, which is not known yet: run it again, "
                        "which looks the type up first, or cast the field to text"
                    )
                    unknown.oid = codec.oid
                    raise unknown
                if not codec.format:
                    raise DataError(f"a field of type {codec.name} in a record: cast the field to text")
                fields.append(codec.decode(buffer, position, position + length))
                position += length
            count -= 1
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after its fields")
        return tuple(fields)

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The record whose fields have these types."""
        return RecordCodec(self.oid, self.name, types)
