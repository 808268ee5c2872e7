"""The base class of all messages, the two COPY messages of both directions, and packing.

A message is a plain object with the fields and names of the manual's "Message Formats".  The rule:
`encode` either returns the whole message as bytes or raises LocalProtocolError; whatever doesn't fit
the protocol (a NUL in a string, more than 65,535 of something, more than 2^31 - 1 bytes) is found before
any byte could be sent.  Text is UTF-8.

A message that a connection returned as an event has `request`: the message that it answers.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct, pack
from struct import error as struct_error
from typing import ClassVar, Final

from ..errors import MASK, LocalProtocolError, escaped
from . import tags
from .exact import exact_bytes, exact_str
from .hints import mypyc_attr

_SHOWN: Final = 200  # characters of a field in a repr: enough to recognise it, too few to flood a log

_HEADER: Final = Struct(">Bi")
_COUNT: Final = Struct(">H")
_LENGTH: Final = Struct(">i")
NULL: Final = b"\xff\xff\xff\xff"
"""An encoded NULL: the length -1 and no bytes."""
# Most values are short and few: a packed length or count from a table saves a call.
_COUNTS: Final = [_COUNT.pack(count) for count in range(64)]
LENGTHS: Final = [_LENGTH.pack(length) for length in range(256)]


@mypyc_attr(acyclic=True)  # so are the subclasses whose objects are made and dropped with every statement
class Message:
    """One message of the protocol.

    Two messages of the same type with equal fields are equal; `request` is not compared.
    """

    __slots__ = ("request",)

    tag: ClassVar[int] = tags.NO_TAG
    """The type byte; 0 for the messages that have none."""
    type_byte: int = tags.NO_TAG
    """`tag` as an attribute of the object: compiled code reads that faster than a class variable."""
    field_names: ClassVar[tuple[str, ...]] = ()
    """The names of the fields, in the order of the constructor's arguments."""
    secret_names: ClassVar[tuple[str, ...]] = ()
    """The fields that `repr` and the trace mask."""

    request: Message | None

    def __init__(self) -> None:
        self.request = None

    def encode(self) -> bytes:
        """Return the whole message as bytes.

        Raises:
            LocalProtocolError: a field doesn't fit the protocol, or this is an event, not a message.
        """
        raise LocalProtocolError(f"{type(self).__name__} is no message that can be sent")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        for name in self.field_names:
            if _comparable(getattr(self, name)) != _comparable(getattr(other, name)):
                return False
        return True

    def __hash__(self) -> int:
        # Fields may change and may be lists, which have no hash; equal messages have the same type.
        return hash(type(self).__name__)

    def __repr__(self) -> str:
        shown: list[str] = []
        for name in self.field_names:
            value = getattr(self, name)
            if name in self.secret_names and value is not None:
                text = MASK
            elif name == "parameters" and isinstance(value, dict):
                text = repr(masked_options(value))
            else:
                text = repr(value)
                if len(text) > _SHOWN:
                    text = text[:_SHOWN] + "..."
            shown.append(f"{name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"


@mypyc_attr(acyclic=True)
class PlainMessage(Message):
    """Base of the messages without fields."""

    __slots__ = ()
    encoded: ClassVar[bytes] = b""
    """The whole encoded message."""

    def encode(self) -> bytes:
        return self.encoded


class FieldDescription:
    """One column of a RowDescription.

    Args:
        name: the column's name.
        table_oid: the table's OID if the column is a column of a table, else 0.
        column_number: the column's attribute number in that table, else 0.
        type_oid: the OID of the column's data type.
        type_size: pg_type.typlen; negative for types of variable width.
        type_modifier: pg_attribute.atttypmod; -1 for none.
        format: 0 text, 1 binary.
        raw_name: the name's bytes in the session's client_encoding, if `name` has escapes for some of them.
    """

    __slots__ = (
        "_raw_name",
        "column_number",
        "format",
        "name",
        "table_oid",
        "type_modifier",
        "type_oid",
        "type_size",
    )

    def __init__(
        self,
        name: str,
        table_oid: int,
        column_number: int,
        type_oid: int,
        type_size: int,
        type_modifier: int,
        format: int = 0,
        raw_name: bytes | None = None,
    ) -> None:
        self.name = name
        self._raw_name = raw_name
        self.table_oid = table_oid
        self.column_number = column_number
        self.type_oid = type_oid
        self.type_size = type_size
        self.type_modifier = type_modifier
        self.format = format

    @property
    def raw_name(self) -> bytes:
        """The name's bytes in the session's client_encoding."""
        return as_bytes(self._raw_name, self.name)

    def encoded_name(self) -> bytes:
        """The name with its NUL, as it is sent.

        Raises:
            LocalProtocolError: it doesn't fit the protocol.
        """
        return cstring(self.name, self._raw_name)

    def _key(self) -> tuple[str, int, int, int, int, int, int]:
        return (
            self.name,
            self.table_oid,
            self.column_number,
            self.type_oid,
            self.type_size,
            self.type_modifier,
            self.format,
        )

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, FieldDescription) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return (
            f"FieldDescription(name={self.name!r}, table_oid={self.table_oid}, "
            f"column_number={self.column_number}, type_oid={self.type_oid}, type_size={self.type_size}, "
            f"type_modifier={self.type_modifier}, format={self.format})"
        )


class CopyData(Message):
    """A piece of COPY data, in either direction.  Its borders mean nothing when a frontend sends it."""

    __slots__ = ("data",)
    tag: ClassVar[int] = tags.COPY_DATA
    type_byte: int = tags.COPY_DATA
    field_names: ClassVar[tuple[str, ...]] = ("data",)

    def __init__(self, data: bytes) -> None:
        self.request = None
        self.data = data

    def encode(self) -> bytes:
        return frame(tags.COPY_DATA, self.data)


class CopyDone(PlainMessage):
    """The COPY data is complete, in either direction."""

    __slots__ = ()
    tag: ClassVar[int] = tags.COPY_DONE
    type_byte: int = tags.COPY_DONE
    encoded: ClassVar[bytes] = b"c\x00\x00\x00\x04"


# Packing.


def frame(tag: int, body: bytes, more: int = 0) -> bytes:
    """Return a frame of type `tag` with `body`; its length includes `more` bytes that will be appended."""
    if type(body) is not bytes:
        body = exact_bytes(body)
    length = 4 + len(body) + more
    if length > tags.MAX_INT32:
        raise too_long(length)
    return _HEADER.pack(tag, length) + body


def join_frame(tag: int, parts: list[bytes], length: int) -> bytes:
    """Return the frame of type `tag` whose body is `parts[1:]`; `parts[0]` is replaced by the header.

    `length` is the body's length plus four; it is checked before anything is joined.
    """
    if length > tags.MAX_INT32:
        raise too_long(length)
    parts[0] = _HEADER.pack(tag, length)
    return b"".join(parts)


def too_long(length: int) -> LocalProtocolError:
    """Return the error for a message of `length` bytes."""
    return LocalProtocolError(f"a message of {length} bytes is longer than the protocol's {tags.MAX_INT32}")


def cstrings(text: str, count: int) -> bytes:
    """Return `text`, which is `count` strings, each with a NUL at its end, as UTF-8.

    Raises:
        LocalProtocolError: there are more NULs than that, or a lone surrogate.
    """
    problem = "a string of the protocol cannot contain a NUL character"
    if type(text) is not str:
        text = exact_str(text)
    try:
        data = text.encode()
        if data.count(0) == count:
            return data
    except UnicodeEncodeError as error:
        problem = f"text is not encodable as UTF-8: {error.reason}"
    # Raised outside the handler, because its __context__ would show the text, secrets included.
    raise LocalProtocolError(problem)


def cstring(text: str | bytes, raw: bytes | None = None) -> bytes:
    """Return a string with a NUL at its end: text as UTF-8, bytes as they are.

    Args:
        text: the string.
        raw: what `taken` has kept of it; it is sent if it still decodes to `text`.

    Raises:
        LocalProtocolError: it has a NUL inside, or a lone surrogate.
    """
    if raw is not None and escaped(raw) == text:
        text = raw
    if type(text) is str:
        return cstrings(text + "\0", 1)
    if isinstance(text, str):
        return cstrings(exact_str(text) + "\0", 1)
    data = exact_bytes(text)
    if 0 in data:
        raise LocalProtocolError("a string of the protocol cannot contain a NUL character")
    return data + b"\0"


def taken(given: str | bytes) -> tuple[str, bytes | None]:
    """A string as text, and also as bytes if the text has escapes for some of them."""
    if isinstance(given, str):
        return given, None
    text = escaped(given)
    return text, None if text.encode() == given else given


def as_bytes(raw: bytes | None, text: str) -> bytes:
    """The raw bytes if they still decode to `text`; else the text as UTF-8."""
    if raw is not None and escaped(raw) == text:
        return raw
    return text.encode(errors="backslashreplace")


def int16s(values: Sequence[int]) -> bytes:
    """Return a count (uint16) and that many int16: format codes."""
    count = len(values)
    if count == 0:
        return b"\x00\x00"
    if count == 1 and (values[0] == 0 or values[0] == 1):
        return b"\x00\x01\x00\x01" if values[0] else b"\x00\x01\x00\x00"
    try:
        return pack(f">H{count}h", count, *values)
    except struct_error:
        raise _misfit(values, count, "int16") from None


def oids(values: Sequence[int]) -> bytes:
    """Return a count (uint16) and that many uint32: type OIDs."""
    count = len(values)
    if count == 0:
        return b"\x00\x00"
    try:
        return pack(f">H{count}I", count, *values)
    except struct_error:
        raise _misfit(values, count, "uint32") from None


def add_values(parts: list[bytes], values: Sequence[bytes | None]) -> int:
    """Append a count (uint16) and that many values, each a length (int32, -1 for NULL) and its bytes.

    Returns:
        How many bytes were appended.
    """
    if type(values) is not list:
        values = list(values)
    count = len(values)
    if count > 65535:
        raise too_many(count)
    parts.append(_COUNTS[count] if count < 64 else _COUNT.pack(count))
    total = 2 + 4 * count
    try:
        for value in values:
            if value is None:
                parts.append(NULL)
            else:
                if type(value) is not bytes:
                    value = exact_bytes(value)
                size = len(value)
                total += size
                parts.append(LENGTHS[size] if size < 256 else _LENGTH.pack(size))
                parts.append(value)
    except struct_error:
        raise LocalProtocolError(f"a value is longer than the protocol's {tags.MAX_INT32} bytes") from None
    return total


def int32(value: int) -> bytes:
    """Return `value` as int32."""
    try:
        return _LENGTH.pack(value)
    except struct_error:
        raise LocalProtocolError(f"{value!r} is not an int32") from None


def sized(data: bytes) -> bytes:
    """Return the data with their length (int32) in front."""
    plain = exact_bytes(data)
    return int32(len(plain)) + plain


def secret_key_bytes(key: bytes) -> bytes:
    """Return `key` if its length is one that a cancel key can have."""
    key = exact_bytes(key)
    if not tags.MIN_SECRET_KEY <= len(key) <= tags.MAX_SECRET_KEY:
        raise LocalProtocolError(f"a secret key has 4 to 256 bytes, not {len(key)}")
    return key


def too_many(count: int) -> LocalProtocolError:
    """Return the error for a list of `count` members."""
    return LocalProtocolError(f"{count} of them are more than the protocol's 65535")


def masked_options(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return start-up parameters without the value of `options`, where settings may carry secrets."""
    return {name: MASK if name == "options" else value for name, value in parameters.items()}


def _misfit(values: Sequence[int], count: int, kind: str) -> LocalProtocolError:
    if count > 65535:
        return too_many(count)
    return LocalProtocolError(f"not all of {list(values)[:16]!r} are {kind}")


def _comparable(value: object) -> object:
    # A decoder makes tuples where a caller may have given a list.
    return tuple(value) if isinstance(value, list) else value
