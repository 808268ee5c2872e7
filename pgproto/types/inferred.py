"""What SQL type a value has if nobody has asked the server: by its Python type, as a literal has one in SQL.

For statements that are run without being described.  The rule is the server's own for literals: an int is an
int4, an int8 or a numeric, by its size; a str is of unknown type, and becomes what its context wants; most
other values say their type, as `timestamptz '...'` does.  So the statement means what it means with literals.

    declared        bool, bytes, int, float, Decimal, date, time, datetime, timedelta, Interval, UUID, network
                    addresses, geometric figures, BitString; lists of these
    of unknown type None, str, dict and RawJSON (as JSON), Range and Multirange; lists of str, dict

Rule: a list is an array, and an empty one is text[]; nothing is guessed to be a record or a JSON array.  What
has no entry in the table is a DataError.  A wrong guess must be an error, and never another value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, Final
from uuid import UUID

from ..errors import LocalProtocolError
from .bits import BitString
from .codec import Codec, frame_length
from .fields import FieldsEncoder, Unfit
from .figures import Box, Circle, Line, LineSegment, Path, Point, Polygon
from .given import of_enum
from .interval import Interval
from .parameters import MAX_BIND, ParameterEncoder
from .ranges import Multirange, Range
from .rawjson import RawJSON
from .typemap import TypeMap

__all__ = ["InferredEncoder"]

_TEXT: Final = "text"
_JSON: Final = "json"
# Integer literals have the first of these that they fit: manual, "Numeric Constants".
_INTEGERS: Final = ("int4", "int8", "numeric")
_OF_CLASS: Final[dict[type[object], str]] = {
    bool: "bool",
    bytearray: "bytea",
    bytes: "bytea",
    memoryview: "bytea",
    float: "float8",
    Decimal: "numeric",
    date: "date",
    timedelta: "interval",
    Interval: "interval",
    UUID: "uuid",
    IPv4Address: "inet",
    IPv6Address: "inet",
    IPv4Network: "cidr",
    IPv6Network: "cidr",
    BitString: "varbit",
    Point: "point",
    Line: "line",
    LineSegment: "lseg",
    Box: "box",
    Path: "path",
    Polygon: "polygon",
    Circle: "circle",
    str: _TEXT,
    dict: _JSON,
    RawJSON: _JSON,
}
_RANGE_OF: Final = {
    "int4": "int8range",
    "int8": "int8range",
    "numeric": "numrange",
    "date": "daterange",
    "timestamp": "tsrange",
    "timestamptz": "tstzrange",
}
_UNKNOWN: Final = frozenset((_TEXT, _JSON, *_RANGE_OF.values()))
_MOST_DIMENSIONS: Final = 6
_NULL: Final = b"\xff\xff\xff\xff"


class InferredEncoder(ParameterEncoder):
    """The encoder of one statement whose parameters were not described.  All values are sent as text.

    Args:
        count: the number of its parameters.
        types: the types of the session.

    Attributes:
        oids: the types of the last values, for Parse; 0 for one that the server shall find.
        names: their names; "" for these.
    """

    __slots__ = ("names", "oids")

    def __init__(self, count: int, types: TypeMap) -> None:
        super().__init__((0,) * count, types)
        self.oids: tuple[int, ...] = ()
        self.names: tuple[str, ...] = ()

    def texts(self, values: Sequence[Any]) -> list[str | None]:
        """The values in the text forms of their types; None is NULL.

        Raises:
            DataError: there are too many or too few values, or the type of one cannot be told, or a value
                does not fit its type.
        """
        given = self._given(values)
        codecs: list[Codec] = []
        oids: list[int] = []
        names: list[str] = []
        try:
            for value in given:
                name, unknown = _type_of(of_enum(value), 0)
                codec = self._types.named(name)
                if codec is None:
                    raise TypeError(f"the session's types have no {name}")
                codecs.append(codec)
                oids.append(0 if unknown else codec.oid)
                names.append("" if unknown else name)
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            refused = self._refused(Unfit(len(codecs), error), given[len(codecs)])
        else:
            self._fields = FieldsEncoder(codecs)
            self.oids = tuple(oids)
            self.names = tuple(names)
            return super().texts(given)
        raise refused  # outside the handler, so that no __context__ shows the value

    def add(self, parts: list[bytes], values: Sequence[Any]) -> int:
        """Append the values as they are in a Bind, as `ParameterEncoder.add` does, but all as text."""
        size = 0
        for text in self.texts(values):
            if text is None:
                parts.append(_NULL)
                size += 4
                continue
            data = text.encode()
            parts.append(frame_length(len(data)))
            parts.append(data)
            size += 4 + len(data)
        if size > MAX_BIND:
            raise LocalProtocolError(f"the values are {size} bytes, more than a message can carry")
        return size


def _type_of(value: object, depth: int) -> tuple[str, bool]:
    """The name of a value's type, and whether the server is to find the type by itself.

    Raises:
        TypeError: it cannot be told.
    """
    if value is None:
        return _TEXT, True
    if isinstance(value, list):
        return _array_of(value, depth)
    if isinstance(value, (Range, Multirange)):
        return _range_of(value), True
    if isinstance(value, datetime):
        return ("timestamp" if value.tzinfo is None else "timestamptz"), False
    if isinstance(value, time):
        return ("time" if value.tzinfo is None else "timetz"), False
    if isinstance(value, int) and not isinstance(value, bool):
        bits = value.bit_length()
        return _INTEGERS[0 if bits < 32 else 1 if bits < 64 else 2], False
    for kind in type(value).__mro__:
        name = _OF_CLASS.get(kind)
        if name is not None:
            return name, name in _UNKNOWN
    raise TypeError("nothing says the SQL type of such a value: use a statement mode that describes")


def _array_of(values: list[Any], depth: int) -> tuple[str, bool]:
    """The type of an array: all elements have one type, or are integers."""
    if depth == _MOST_DIMENSIONS:
        raise TypeError("lists within lists, too deep for an array")
    found: set[str] = set()
    unknown = False
    for value in values:
        if value is None or (isinstance(value, list) and not value):
            continue
        name, open_ = _type_of(of_enum(value), depth + 1)
        if isinstance(value, list):
            name = name.removesuffix("[]")
        unknown = unknown or open_
        found.add(name)
    if not found:
        return f"{_TEXT}[]", False  # a type, so that it cannot become the {} of a json
    if len(found) > 1 and found <= set(_INTEGERS):
        found = {max(found, key=_INTEGERS.index)}
    if len(found) > 1:
        raise TypeError(f"a list of {' and '.join(sorted(found))}, which no array takes")
    return f"{found.pop()}[]", unknown


def _range_of(value: Range[Any] | Multirange[Any]) -> str:
    """The type of a range, by its bounds; any will do for one that has none."""
    several = isinstance(value, Multirange)
    found = "numrange"
    for each in value if isinstance(value, Multirange) else (value,):
        for bound in (each.lower, each.upper):
            if bound is not None:
                name = _type_of(of_enum(bound), 0)[0]
                if name not in _RANGE_OF:
                    raise TypeError("nothing says the SQL type of a range of such values")
                found = _RANGE_OF[name]
    return found.replace("range", "multirange") if several else found
