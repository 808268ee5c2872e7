"""Parameters of one prepared statement: Python values to the values and format codes of Bind.

Rule: a parameter whose type has a codec goes in binary, any other as text, which must then be a str.
Rule: nothing is encoded by halves.  The first unfit value raises DataError, which names the parameter, the
SQL type and the Python type, but never shows the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pgproto.errors import DataError
from pgproto.types.codec import NULL, Codec, with_type
from pgproto.types.interval import Interval
from pgproto.types.registry import codec_for, type_name
from pgproto.types.scalars import TextCodec
from pgproto.wire.native import read_int32

__all__ = ["ParameterEncoder"]

# The SQL type that takes a Python type as it is: what to cast to where the server expects another one.
_CAST: Final[dict[type[object], str]] = {
    bool: "bool",
    bytearray: "bytea",
    bytes: "bytea",
    date: "date",
    datetime: "timestamptz",
    Decimal: "numeric",
    dict: "jsonb",
    float: "float8",
    int: "int8",
    Interval: "interval",
    str: "text",
    time: "time",
    timedelta: "interval",
    UUID: "uuid",
}


class ParameterEncoder:
    """The encoder of one prepared statement; build it once, from its ParameterDescription.

    Args:
        type_oids: the OIDs of the parameters' types, in order.

    Attributes:
        formats: the format code of each parameter, for Bind: 1 binary, 0 text.
    """

    __slots__ = ("_codecs", "formats")

    def __init__(self, type_oids: Sequence[int]) -> None:
        codecs: list[Codec] = []
        formats: list[int] = []
        for oid in type_oids:
            codec = codec_for(oid)
            formats.append(0 if codec is None else 1)
            codecs.append(TextCodec(oid, type_name(oid)) if codec is None else codec)
        self._codecs = codecs
        self.formats: tuple[int, ...] = tuple(formats)

    def encode(self, values: Sequence[Any]) -> list[bytes | None]:
        """The parameters' values as Bind takes them; None is NULL.

        Raises:
            DataError: there are too many or too few values, or one does not fit its type.
        """
        encoded: list[bytes | None] = []
        position = 0
        data = b"".join(self.encode_fields(values))
        while position < len(data):
            size: int = read_int32(data, position)
            position += 4
            encoded.append(None if size < 0 else data[position : position + size])
            position += max(size, 0)
        return encoded

    def encode_fields(self, values: Sequence[Any]) -> list[bytes]:
        """The parameters' values as they stand in a Bind, each with its length in front; in pieces.

        Raises:
            DataError: as `encode`.
        """
        codecs = self._codecs
        if len(values) != len(codecs):
            raise DataError(f"the statement takes {_count(len(codecs))}, but {len(values)} were given")
        parts: list[bytes] = []
        for index, value in enumerate(values):
            if value is None:
                parts.append(NULL)
                continue
            try:
                codecs[index].add_field(parts, value)
            except (TypeError, ValueError) as error:
                refused = self._refused(index, value, str(error), isinstance(error, TypeError))
                break
        else:
            return parts
        # Out here it has no __context__: a UnicodeEncodeError there would show the whole value.
        raise refused

    def _refused(self, index: int, value: object, reason: str, wrong_type: bool) -> DataError:
        """The error for the value of parameter `index`, with a way out where there is one."""
        number = f"${index + 1}"
        codec = self._codecs[index]
        text = f"parameter {number} of type {codec.name}: {with_type(reason, value)}"
        if not self.formats[index]:
            return DataError(f"{text}; values of this type are sent as text, so pass the text form")
        cast = _CAST.get(type(value))
        if wrong_type and cast is not None:
            text += f"; if the query should take it as {cast}, write {number}::{cast}"
        return DataError(text)


def _count(number: int) -> str:
    if number == 0:
        return "no parameters"
    return "1 parameter ($1)" if number == 1 else f"{number} parameters ($1 to ${number})"
