"""Which vector takes the values of which SQL type, and in which format they travel.

    bool                                   bool (one bit)
    int2, int4, int8, float4, float8       int16, int32, int64, float32, float64
    oid, xid, cid, xid8                    uint32, uint32, uint32, uint64
    date, time                             date32, time64[us]
    timestamp, timestamptz                 timestamp[us], and the same with the time zone UTC
    interval                               month_day_nano_interval
    uuid                                   fixed_size_binary[16]
    numeric(p, s) up to 38 digits          decimal128(p, s); without precision see `policy.Numeric`
    bytea                                  binary
    text and its like, json, jsonb, xml    utf8
    an enum                                dictionary of utf8, with int32 indexes
    an array of one of these               list; of one dimension only, whose first subscript is 1
    any other type                         utf8: the text that the server makes of it

Classes and codecs of the user's do not count: the type is taken as it is without them.

Sources: PostgreSQL's src/include/catalog/pg_type.dat; Arrow's "The Arrow C data interface" for the formats.
"""

from __future__ import annotations

from typing import Final

from ..types import TypeMap
from ..types.arrays import ArrayCodec
from ..types.classes import EnumCodec
from ..types.codec import Codec
from ..types.composites import LabelCodec
from ..types.numeric import NumericCodec
from ..types.own import OwnCodec
from ..wire.messages import FieldDescription
from .bits import Shift
from .policy import MAX_DIGITS, Numeric
from .vectors import (
    BoolVector,
    BytesVector,
    DecimalVector,
    EnumVector,
    FloatTextVector,
    IntervalVector,
    ListVector,
    NumbersVector,
    TimesVector,
    UuidVector,
    Vector,
)

__all__ = ["comes_as_text", "vector_for", "without_own"]

_BOOL: Final = 16
_BYTEA: Final = 17
_INTERVAL: Final = 1186
_JSONB: Final = 3802
_NUMERIC: Final = 1700
_UUID: Final = 2950

_NUMBERS: Final = {
    20: ("l", "q"),
    21: ("s", "h"),
    23: ("i", "i"),
    26: ("I", "I"),
    28: ("I", "I"),
    29: ("I", "I"),
    700: ("f", "f"),
    701: ("g", "d"),
    5069: ("L", "Q"),
}
# name, "char", text, json, unknown, xml, bpchar, varchar, refcursor, cstring.
_TEXTS: Final = frozenset({19, 25, 114, 142, 705, 1042, 1043, 1790, 2275})

_EPOCH_DAYS: Final = 10957  # from 1970-01-01 to 2000-01-01
_EPOCH_MICROS: Final = _EPOCH_DAYS * 86_400_000_000
_DAYS: Final = Shift(4, _EPOCH_DAYS)
_MICROS: Final = Shift(8, _EPOCH_MICROS)
_LAST_DAY: Final = 0x7FFFFFFF - _EPOCH_DAYS
_LAST_MICRO: Final = 0x7FFFFFFFFFFFFFFF - _EPOCH_MICROS
_LAST_TIME: Final = 86_400_000_000 - 1
_TIMES: Final[dict[int, tuple[str, str, Shift | None, int]]] = {
    1082: ("tdD", "i", _DAYS, _LAST_DAY),
    1083: ("ttu", "q", None, _LAST_TIME),
    1114: ("tsu:", "q", _MICROS, _LAST_MICRO),
    1184: ("tsu:UTC", "q", _MICROS, _LAST_MICRO),
}


def without_own(codec: Codec) -> Codec:
    """The codec that a type has without classes and functions of the user's."""
    while isinstance(codec, EnumCodec | OwnCodec):
        codec = codec.base
    return codec


def comes_as_text(codec: Codec) -> bool:
    """True if a column of this type may be utf8 though the type is no text: see the table above.

    Args:
        codec: the type's, without what the user has set.
    """
    if isinstance(codec, ArrayCodec):
        return _list("", codec, -1, "str", strict=True) is None
    return codec.oid == _NUMERIC or _binary("", codec, strict=True) is None


def vector_for(
    field: FieldDescription, types: TypeMap, numeric: Numeric, *, strict: bool
) -> tuple[Vector, int]:
    """A vector for a column, and the format in which it takes the values: 0 text, 1 binary.

    Args:
        field: the column.
        types: the types of the session.
        numeric: what numbers without precision and scale become.
        strict: see `Vector`.
    """
    name, oid = field.name, field.type_oid
    if oid == _NUMERIC:
        return _numeric(name, oid, field.type_modifier, numeric, strict), 0
    codec = without_own(types.codec(oid))
    if isinstance(codec, ArrayCodec):
        element = _list(name, codec, field.type_modifier, numeric, strict=strict)
        return (BytesVector(name, oid, is_text=True, strict=strict), 0) if element is None else (element, 1)
    vector = _binary(name, codec, strict=strict)
    return (BytesVector(name, oid, is_text=True, strict=strict), 0) if vector is None else (vector, 1)


def _binary(name: str, codec: Codec, *, strict: bool) -> Vector | None:
    """The vector that takes a type's binary form; None if its text is taken."""
    oid = codec.oid
    if oid in _NUMBERS:
        format, code = _NUMBERS[oid]
        return NumbersVector(name, oid, format, code, strict=strict)
    if oid in _TIMES:
        format, code, shift, last = _TIMES[oid]
        return TimesVector(name, oid, format, code, shift, last, strict=strict)
    if oid == _BOOL:
        return BoolVector(name, oid, strict=strict)
    if oid == _UUID:
        return UuidVector(name, oid, strict=strict)
    if oid == _INTERVAL:
        return IntervalVector(name, oid, strict=strict)
    if oid == _BYTEA or oid in _TEXTS:
        return BytesVector(name, oid, is_text=oid != _BYTEA, strict=strict)
    if isinstance(codec, LabelCodec):
        return EnumVector(name, oid, strict=strict)
    return None


def _numeric(name: str, oid: int, modifier: int, numeric: Numeric, strict: bool) -> Vector:
    """A vector for numbers in their text form.

    The modifier is ((precision << 16) | scale) + 4, with a scale of 11 bits that has a sign (numeric.c).
    """
    if modifier >= 4:
        precision = (modifier - 4) >> 16
        scale = (((modifier - 4) & 0x7FF) ^ 1024) - 1024
        if scale < 0:
            precision, scale = precision - scale, 0
        precision = max(precision, scale)
        if precision <= MAX_DIGITS:
            return DecimalVector(name, oid, precision, scale, strict=strict)
    if isinstance(numeric, int):
        return DecimalVector(name, oid, MAX_DIGITS, numeric, strict=strict)
    if numeric == "float64":
        return FloatTextVector(name, oid, strict=strict)
    return BytesVector(name, oid, is_text=True, strict=strict)


def _list(name: str, codec: ArrayCodec, modifier: int, numeric: Numeric, *, strict: bool) -> Vector | None:
    """The vector of an array type; None if its elements have no binary form here."""
    element = without_own(codec.element)
    if isinstance(element, NumericCodec):
        vector: Vector | None = _numeric(name, element.oid, modifier, numeric, strict)
        decimals: NumericCodec | None = element
    else:
        vector = _binary(name, element, strict=strict)
        decimals = None
    prefix = 0
    if element.oid == _JSONB:
        vector = BytesVector(name, element.oid, is_text=True, strict=strict)
        prefix = 1
    if vector is None:
        return None
    return ListVector(
        *(name, codec.oid, vector, element.oid),
        numeric=decimals,
        prefix=prefix,
        lower_bound=codec.lower_bound,
        strict=strict,
    )
