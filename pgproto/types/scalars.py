"""Codecs of the plain types: bool, the integers, the floats, the texts, bytea, uuid, json and jsonb.

The Python type for each SQL type, and what else is accepted as input:

    bool                        bool        1 is refused
    int2 int4 int8 oid xid ...  int         whole numbers (see `given`); True is refused, and the range is
                                            checked
    float4 float8               float       numbers.  A float4 is decoded to exactly the number that was
                                            sent, which has more digits than PostgreSQL prints
    text varchar bpchar name    str         an Enum of str; NUL characters are refused, as the server does
    "char"                      str         as PostgreSQL prints it: "", one ASCII character, or a
                                            backslash and three octal digits for a byte above 127
    bytea                       bytes       bytearray, memoryview
    uuid                        UUID        str
    json jsonb                  any         anything that json.dumps takes.  A str is a JSON *string*; a
                                            document goes as RawJSON(text), or write $1::text::jsonb.  None is
                                            SQL's NULL; JSON's null is 'null'::jsonb
    void                        None        it cannot be sent

Binary formats: the `*send` and `*recv` functions of PostgreSQL's src/backend/utils/adt.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, SafeUUID

from ..errors import DataError, because
from ..wire.exact import exact_bytes, exact_int, exact_str
from ..wire.native import COMPILED, read_float32, read_float64, read_int32
from .codec import Codec, FixedCodec, expected, malformed, malformed_text
from .escaping import escape_bytea, unescape_bytea
from .given import as_bool, as_float, as_int, of_enum
from .rawjson import RawJSON

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = [
    "BoolCodec",
    "ByteaCodec",
    "CharCodec",
    "FloatCodec",
    "IntCodec",
    "JsonCodec",
    "NameCodec",
    "OpaqueCodec",
    "TextCodec",
    "UnknownCodec",
    "UuidCodec",
    "VoidCodec",
]


class BoolCodec(FixedCodec):
    """One byte; anything but 0 is true, as for boolrecv."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "?", bool)

    def raw(self, value: object) -> object:
        """Take True and False only."""
        return value if isinstance(value, bool) else as_bool(value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """True or False."""
        if end - start != 1:
            raise malformed(self.name, f"{end - start} bytes instead of 1")
        return buffer[start] != 0

    def encode_text(self, value: object) -> str:
        """The letter t or f."""
        return "t" if self.raw(value) else "f"

    def decode_text(self, text: str) -> object:
        """True or False."""
        if text in ("t", "true"):  # the latter is the result of a cast to text
            return True
        if text not in ("f", "false"):
            raise malformed_text(self.name, "it is neither t nor f")
        return False


# What the server prints: int() and float() take more.
_INTEGER: Final = re.compile(r"-?\d{1,20}", re.ASCII)
_NUMBER: Final = re.compile(r"-?(?:\d+(?:\.\d+)?(?:e[+-]\d+)?|Infinity)|NaN", re.ASCII)


class IntCodec(FixedCodec):
    """A signed or unsigned integer of 2, 4 or 8 bytes."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, oid: int, name: str, code: str) -> None:
        super().__init__(oid, name, code, int)
        bits = 8 * self.size
        self.minimum: int = -(1 << (bits - 1)) if code.islower() else 0
        self.maximum: int = (1 << (bits - 1)) - 1 if code.islower() else (1 << bits) - 1

    def raw(self, value: object) -> object:
        """Take a whole number within the type's range, but no bool."""
        if type(value) is not int:
            value = as_int(value)
        if not self.minimum <= value <= self.maximum:
            raise self.out_of_range(value)
        return value

    def out_of_range(self, value: object) -> ValueError:
        """The error for a number that is too large or too small, with the range."""
        return ValueError(f"int out of range: {self.name} goes from {self.minimum} to {self.maximum}")

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The int; compiled code tries the most common width first."""
        if not COMPILED or end - start != 4 or self.size != 4:
            return super().decode(buffer, start, end)
        number: i64 = read_int32(buffer, start)
        if number < 0 and self.minimum == 0:
            number += 0x100000000
        return number

    def decode_text(self, text: str) -> object:
        """The int."""
        number = int(text) if _INTEGER.fullmatch(text) else self.maximum + 1
        if not self.minimum <= number <= self.maximum:
            raise malformed_text(self.name, "it is no integer, or out of range")
        return number


class FloatCodec(FixedCodec):
    """An IEEE 754 number of 4 or 8 bytes, NaN and the infinities included."""

    __slots__ = ()

    def __init__(self, oid: int, name: str, code: str) -> None:
        super().__init__(oid, name, code, float)

    def raw(self, value: object) -> object:
        """Take a number, which is rounded; float4 rounds to the nearest float4."""
        # `struct` would hide an exception of a subclass's __float__.
        return value if type(value) is float else as_float(value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The number; compiled code makes it of its bits."""
        if not COMPILED or end - start != self.size:
            return super().decode(buffer, start, end)
        return read_float64(buffer, start) if self.size == 8 else read_float32(buffer, start)

    def encode_text(self, value: object) -> str:
        """The number with as many digits as it takes to read the same one, or NaN, Infinity, -Infinity."""
        text = super().encode_text(value)
        return _SPECIAL.get(text, text)

    def decode_text(self, text: str) -> object:
        """The number; of a float4 the one that is sent in binary, which has more digits than are printed.

        With `extra_float_digits` less than 1 the server prints fewer digits, and so another number.
        """
        if not _NUMBER.fullmatch(text):
            raise malformed_text(self.name, "it is no number")
        number = float(text)
        try:
            if math.isinf(number) and not text.endswith("Infinity"):
                raise OverflowError
            data: bytes = self._pack(number)
        except OverflowError:
            raise malformed_text(self.name, "out of range") from None
        return self.unpack_from(data)[0]


_SPECIAL: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class TextCodec(Codec):
    """Characters in UTF-8, the client_encoding of every session of this library."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take a str without NUL characters and without lone surrogates."""
        text = value if type(value) is str else exact_str(of_enum(value))
        try:
            data = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"str that is not valid Unicode (at index {error.start}, lone surrogate)"
            ) from None
        if 0 in data:  # faster than a search in the str
            raise ValueError("str with a NUL character, which PostgreSQL cannot store")
        return data

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The characters as str."""
        try:
            return buffer[start:end].decode()
        except UnicodeDecodeError as error:
            raise malformed(self.name, f"not UTF-8 at byte {error.start} ({error.reason})") from None

    def encode_text(self, value: object) -> str:
        """The characters, checked."""
        return self.encode(value).decode()

    def decode_text(self, text: str) -> object:
        """The characters."""
        return text


class NameCodec(TextCodec):
    """The identifiers of the catalogs.  In binary the server refuses what is too long; in text it cuts."""

    __slots__ = ()

    def encode_text(self, value: object) -> str:
        """Take what `encode` takes, of at most 63 bytes."""
        data = self.encode(value)
        if len(data) > _MAX_NAME:
            raise ValueError(f"{len(data)} bytes, of which a name has {_MAX_NAME} at most")
        return data.decode()


class OpaqueCodec(TextCodec):
    """A type that Python has nothing for: its values are sent and received as PostgreSQL prints them."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name)
        self.format = 0


class UnknownCodec(OpaqueCodec):
    """A type that was not looked up, or in vain."""

    __slots__ = ()

    def __init__(self, oid: int) -> None:
        super().__init__(oid, f"with OID {oid}")


# The output of charout for each byte.
_CHARS: Final = ["", *map(chr, range(1, 128)), *[f"\\{code:03o}" for code in range(128, 256)]]
# What charin takes: the output of charout, and three digits for any byte.
_MAX_NAME: Final = 63  # NAMEDATALEN - 1
_CODES: Final = {
    **{f"\\{code:03o}": code for code in range(256)},
    **{text: code for code, text in enumerate(_CHARS)},
    "\0": 0,
}


class CharCodec(FixedCodec):
    """The one-byte type "char" of the system catalogs, in the form in which PostgreSQL prints it."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "B", None)

    def raw(self, value: object) -> object:
        r"""Take "" (byte 0), one ASCII character, or a backslash and three octal digits."""
        code = _CODES.get(value if type(value) is str else exact_str(value))
        if code is not None:
            return code
        raise ValueError('"char" takes one ASCII character, or a backslash and three octal digits')

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The byte as charout prints it."""
        if end - start != 1:
            raise malformed(self.name, f"{end - start} bytes instead of 1")
        return _CHARS[buffer[start]]

    def convert(self, raw: object) -> object:
        """The byte as charout prints it, when a run of columns was read at once."""
        assert isinstance(raw, int)
        return _CHARS[raw]

    @property
    def converter(self) -> Callable[[Any], object]:
        """A method in C, which needs no Python frame for each value."""
        return _CHARS.__getitem__


class ByteaCodec(Codec):
    """Bytes, unchanged.  Also used for binary values of unknown types."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take bytes, bytearray or a memoryview."""
        return exact_bytes(value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The bytes."""
        return buffer[start:end]

    def encode_text(self, value: object) -> str:
        """In hexadecimal digits."""
        return escape_bytea(self.encode(value))

    def decode_text(self, text: str) -> object:
        """The bytes, in both formats of `bytea_output`."""
        try:
            return unescape_bytea(text)
        except ValueError:
            raise malformed_text(self.name, "it has neither the hex nor the escape format") from None


# Reads the number of a UUID from its slot, which a subclass cannot override.
_UUID_INT: Final[Callable[[object], int]] = UUID.__dict__["int"].__get__
# A UUID is made without its constructor, which takes five times as long.
_NEW: Final[Any] = object.__new__
_SET_INT: Final[Any] = UUID.__dict__["int"].__set__
_SET_IS_SAFE: Final[Any] = UUID.__dict__["is_safe"].__set__
_FROM_BYTES: Final[Any] = int.from_bytes
_UNKNOWN: Final = SafeUUID.unknown
_UUID: Final[Any] = UUID  # a constant, which compiled code does not look up


class UuidCodec(FixedCodec):
    """Sixteen bytes."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "16s", None)

    def raw(self, value: object) -> object:
        """Take a UUID, or a str that UUID() takes."""
        if isinstance(value, UUID):
            return exact_int(_UUID_INT(value)).to_bytes(16, "big")
        if not isinstance(value, str):
            raise expected("UUID or str", value)
        try:
            return UUID(exact_str(value)).bytes
        except ValueError:
            raise ValueError("str that is not a UUID") from None

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The UUID."""
        if end - start != 16:
            raise malformed(self.name, f"{end - start} bytes instead of 16")
        return self.convert(buffer[start:end])

    def convert(self, raw: object) -> object:
        """The UUID."""
        made: object = _NEW(_UUID)
        _SET_INT(made, _FROM_BYTES(raw))
        _SET_IS_SAFE(made, _UNKNOWN)
        return made


_JSONB_VERSION: Final = 1
# json.dumps with these arguments makes an encoder for each value.
_DUMPS: Final[Any] = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_DEPTH: Final = 64  # levels of a value that are searched for the fault
_LONGEST_KEY: Final = 40  # characters of a key that an error text shows


class JsonCodec(Codec):
    """JSON text; jsonb has a version byte (1) in front of it.

    Numbers with a fraction become float, as in json.loads; select them as text if that loses digits.
    """

    __slots__ = ("_prefix",)

    def __init__(self, oid: int, name: str, prefix: bytes) -> None:
        super().__init__(oid, name)
        self._prefix = prefix
        self.is_list = self.mutable = True

    def encode(self, value: object) -> bytes:
        """Take anything that json.dumps takes, except NaN and the infinities, which JSON does not have."""
        try:
            text: str = _DUMPS(value)
        except RecursionError as error:
            raise because(ValueError("nested too deeply for json.dumps"), error) from error
        except (TypeError, ValueError) as error:
            if isinstance(value, RawJSON):
                return self._prefix + value.data
            found = _no_json(value, "", [])
            if found is None:
                raise  # a circular reference, or a fault below the levels that are searched
            raise because(ValueError(found), error) from error
        try:
            return self._prefix + text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("str that is not valid Unicode (lone surrogate)") from None

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The result of json.loads."""
        if self._prefix:
            if start == end or buffer[start] != _JSONB_VERSION:
                raise malformed(self.name, "not version 1")
            start += 1
        try:
            return json.loads(buffer[start:end].decode())
        except UnicodeDecodeError as error:
            raise malformed(self.name, f"not UTF-8 at byte {error.start} ({error.reason})") from None
        except RecursionError:
            raise DataError(f"{self.name} nested too deeply for json.loads; select it as text") from None
        except ValueError as error:
            # JSONDecodeError, or a number with more digits than sys.set_int_max_str_digits() allows.
            raise malformed(self.name, f"{error}; select it as text to see it") from None

    def encode_text(self, value: object) -> str:
        """The JSON text."""
        return self.encode(value)[len(self._prefix) :].decode()

    def decode_text(self, text: str) -> object:
        """The result of json.loads."""
        data = self._prefix + text.encode("utf-8", "surrogatepass")
        return self.decode(data, 0, len(data))


def _no_json(value: object, path: str, around: list[object]) -> str | None:
    """Find what json.dumps cannot take: a text that says what, where and what to do; None if not found.

    Args:
        value: the value to search.
        path: its place, as Python subscripts.
        around: the containers that it is in, at most _DEPTH: compiled code crashes if it recurses too far.
    """
    if len(around) >= _DEPTH or any(each is value for each in around):
        return None
    inside = [*around, value]
    if isinstance(value, dict):
        for key, member in value.items():
            if key is not None and not isinstance(key, (str, int, float)):
                return f"a key of type {type(key).__name__} at {path or 'the top'}: JSON has strings there"
            name = json.dumps(str(key)[:_LONGEST_KEY])
            found = _no_json(member, f"{path}[{name}]", inside)
            if found is not None:
                return found
        return None
    if isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            found = _no_json(member, f"{path}[{index}]", inside)
            if found is not None:
                return found
        return None
    if value is None or isinstance(value, (str, int)):
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{value!r} at {path or 'the top'}: JSON has no such number"
    return (
        f"{type(value).__name__} at {path or 'the top'}: JSON has no such type; convert it, or pass "
        "json.dumps(value, default=str) and write ::text::jsonb after the parameter"
    )


class VoidCodec(Codec):
    """The result of a function that returns nothing."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take nothing."""
        raise expected("None", value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """None."""
        if start != end:
            raise malformed(self.name, f"{end - start} bytes instead of 0")
        return None

    def encode_text(self, value: object) -> str:
        """Take nothing."""
        raise expected("None", value)

    def decode_text(self, text: str) -> object:
        """None."""
        if text:
            raise malformed_text(self.name, f"{len(text)} characters instead of 0")
        return None
