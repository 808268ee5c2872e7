"""The codecs of what users make of other types: composite types, domains and enums.

    composite    Row       a tuple with names; a tuple, list or mapping is taken as well.  A Row or a named
                           tuple with the fields' names goes by them; one with other names by position,
                           unless a name of it is that of a field at another place
    domain       as its base type
    enum         str       its label

Binary form of a composite (record_send): int32 number of fields, then each field as uint32 OID of its type,
int32 length (-1: NULL) and value.  A composite with a field that only travels as text travels as text itself.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ..wire.messages import NULL
from ..wire.native import read_int32
from .codec import Codec, OutdatedTypeError, expected, frame_length, malformed, within
from .given import of_enum
from .literals import read_record, write_record
from .row import Columns, Row, TrackedRow
from .scalars import TextCodec

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["CompositeCodec", "DomainCodec", "LabelCodec"]

_OID: Final = struct.Struct(">I")


class CompositeCodec(Codec):
    """A composite type.

    Args:
        fields: its fields' names and codecs, in order.
    """

    __slots__ = ("_codecs", "_columns", "_oids")

    def __init__(self, oid: int, name: str, fields: Sequence[tuple[str, Codec]]) -> None:
        super().__init__(oid, name)
        self._columns = Columns([field for field, _ in fields])
        self._codecs: list[Codec] = [codec for _, codec in fields]
        self._oids: list[bytes] = [_OID.pack(codec.oid) for codec in self._codecs]
        self.is_tuple = True
        self.mutable = any(codec.mutable for codec in self._codecs)

    @property
    def fields(self) -> list[tuple[str, Codec]]:
        """The fields' names and codecs, in order."""
        return list(zip(self._columns.names, self._codecs, strict=True))

    def encode(self, value: object) -> bytes:
        """Take a tuple or list of the fields' values, or a Row, a named tuple or a mapping by their names.

        Raises:
            TypeError: it is none of these, or a field's value has the wrong type; the text names the field.
            ValueError: a field is missing, or there are too many, or a value is unfit; or a name is that of a
                field at another place.
        """
        values = self._checked(value)
        parts: list[bytes] = [frame_length(len(values))]
        for index, codec in enumerate(self._codecs):
            parts.append(self._oids[index])
            each = values[index]
            if each is None:
                parts.append(NULL)
            else:
                try:
                    codec.add_field(parts, each)
                except (TypeError, ValueError) as error:
                    named = within(f"field {self._columns.names[index]!r}", error)
                    raise named from named.__cause__
        return b"".join(parts)

    def _checked(self, value: object) -> list[object]:
        """A value for each field."""
        values = self._values(of_enum(value))
        if len(values) != len(self._codecs):
            raise ValueError(f"{len(values)} values for the {len(self._codecs)} fields of {self.name}")
        return values

    def _values(self, value: object) -> list[object]:
        if isinstance(value, Row):
            return self._in_order(Row.keys(value), list(Row.values(value)))
        if isinstance(value, (list, tuple)):
            names: object = None if type(value) is tuple else getattr(value, "_fields", None)
            return self._in_order(names, list(value)) if isinstance(names, tuple) else list(value)
        if not isinstance(value, Mapping):
            raise expected("tuple", value)
        values: list[object] = []
        for name in self._columns.names:
            if name not in value:
                raise ValueError(f"field {name!r} is missing")
            values.append(value[name])
        if len(value) > len(values):
            raise ValueError(f"{len(value)} keys for the {len(values)} fields of {self.name}")
        return values

    def _in_order(self, names: tuple[object, ...], values: list[object]) -> list[object]:
        """The values, of which each has a name, in the order of the fields."""
        if names == self._columns.names:
            return values
        index = self._columns.index
        if len(names) == len(index) == len(values) and set(names) == set(index):
            by_name = dict(zip(names, values, strict=True))
            return [by_name[name] for name in self._columns.names]
        for position, name in enumerate(names):
            if index.get(str(name), position) != position:
                raise ValueError(
                    f"{name!r} is a field at another place of {self.name}: pass a tuple, or a mapping"
                )
        return values

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The fields as a Row."""
        count: i64 = -1
        if end - start >= 4:
            count = read_int32(buffer, start)
        if count != len(self._codecs):
            raise self._outdated(f"{count} fields instead of {len(self._codecs)}")
        position: i64 = start + 4
        values: list[object] = []
        for codec in self._codecs:
            if end - position < 8:
                raise malformed(self.name, "it ends within a field")
            oid: i64 = read_int32(buffer, position) & 0xFFFFFFFF
            length: i64 = read_int32(buffer, position + 4)
            position += 8
            if oid != codec.oid:
                raise self._outdated(f"a field that is no longer of type {codec.name}")
            if length > end - position or length < -1:
                raise malformed(self.name, f"a field of {length} bytes with {end - position} left")
            if length < 0:
                values.append(None)
            else:
                values.append(codec.decode(buffer, position, position + length))
                position += length
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after its fields")
        return self._made(values)

    def encode_text(self, value: object) -> str:
        """Take what `encode` takes, for the text form of a row."""
        texts: list[str | None] = []
        names = self._columns.names
        for name, codec, each in zip(names, self._codecs, self._checked(value), strict=True):
            try:
                texts.append(None if each is None else codec.encode_text(each))
            except (TypeError, ValueError) as error:
                named = within(f"field {name!r}", error)
                raise named from named.__cause__
        return write_record(texts)

    def decode_text(self, text: str) -> object:
        """The fields as a Row."""
        texts = read_record(self.name, text) if self._codecs or text != "()" else []
        if len(texts) != len(self._codecs):
            raise self._outdated(f"{len(texts)} fields instead of {len(self._codecs)}")
        values: list[object] = []
        for codec, each in zip(self._codecs, texts, strict=True):
            values.append(None if each is None else codec.decode_text(each))
        return self._made(values)

    def _made(self, values: list[object]) -> object:
        row = TrackedRow if self.mutable else Row
        return row(self._columns, tuple(values))

    def _outdated(self, what: str) -> OutdatedTypeError:
        return OutdatedTypeError(f"a value of type {self.name} has {what}: it was altered; run it again")


class LabelCodec(TextCodec):
    """An enum: its labels are text."""

    __slots__ = ()


class DomainCodec(Codec):
    """A domain: the values of its base type under another OID.

    Args:
        base: the codec of the base type.
    """

    __slots__ = ("base",)

    def __init__(self, oid: int, name: str, base: Codec) -> None:
        super().__init__(oid, name)
        self.base = base
        self.format = base.format
        self.is_list = base.is_list
        self.is_numbers = base.is_numbers
        self.is_tuple = base.is_tuple
        self.mutable = base.mutable

    @property
    def writer(self) -> Codec:
        """That of the base type, which may be a domain itself."""
        return self.base.writer

    def encode(self, value: object) -> bytes:
        """Take what the base type takes."""
        return self.base.encode(value)

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """As the base type."""
        return self.base.add_field(parts, value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The value of the base type."""
        return self.base.decode(buffer, start, end)

    def encode_text(self, value: object) -> str:
        """Take what the base type takes."""
        return self.base.encode_text(value)

    def decode_text(self, text: str) -> object:
        """The value of the base type."""
        return self.base.decode_text(text)
