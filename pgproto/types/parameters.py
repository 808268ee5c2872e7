"""Encodes the parameters of one prepared statement: Python values to the values and format codes of Bind.

Rule: a parameter is sent in binary if its type has a codec; else as text, and its value must be a str.
Rule: the first unfit value raises DataError, which names the parameter, the SQL type and the Python type, but
never shows the value.
Rule: an Exception of the caller's code while a value is encoded is the DataError's `__cause__`.  Any other
BaseException (KeyboardInterrupt, a cancellation, GeneratorExit) propagates unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from ..errors import DataError, LocalProtocolError
from ..wire.native import read_int32
from .codec import Codec, with_type
from .fields import FieldsEncoder, Unfit, values_of
from .interval import Interval
from .registry import BUILT_IN
from .scalars import OpaqueCodec
from .typemap import TypeMap

__all__ = ["MAX_BIND", "ParameterEncoder"]

# PostgreSQL's MaxAllocSize less the other parts of a Bind: the server refuses longer messages.
MAX_BIND: Final = 0x3FFFFFFE - 65536 * 8
# The SQL type for each Python type: the cast to suggest if the server expects another type.
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

    If a value does not fit a type that was learned from the catalog, the map forgets what it has learned: the
    type may have been altered.

    Args:
        type_oids: the OIDs of the parameters' types, in order.
        types: the types of the session.

    Attributes:
        formats: the format code of each parameter, for Bind: 1 binary, 0 text.
    """

    __slots__ = ("_fields", "_types", "formats")

    def __init__(self, type_oids: Sequence[int], types: TypeMap = BUILT_IN) -> None:
        codecs: list[Codec] = [types.codec(oid) for oid in type_oids]
        self._fields = FieldsEncoder(codecs)
        self._types = types
        self.formats: tuple[int, ...] = tuple([codec.format for codec in codecs])

    def encode(self, values: Sequence[Any]) -> list[bytes | None]:
        """The parameters' values for a Bind; None is NULL.

        Raises:
            DataError: there are too many or too few values, or a value does not fit its type.
        """
        encoded: list[bytes | None] = []
        parts: list[bytes] = []
        self.add(parts, values)
        position = 0
        data = b"".join(parts)
        while position < len(data):
            size: int = read_int32(data, position)
            position += 4
            encoded.append(None if size < 0 else data[position : position + size])
            position += max(size, 0)
        return encoded

    def add(self, parts: list[bytes], values: Sequence[Any]) -> int:
        """Append the values in pieces as they are in a Bind, each after its length.

        Returns:
            How many bytes were appended.

        Raises:
            DataError: as `encode`; some values may have been appended to `parts`.
            LocalProtocolError: the values are too long for one message (CVE-2024-27304).
        """
        given = self._given(values)
        try:
            size = self._fields.add(parts, given)
        except Unfit as unfit:
            refused = self._refused(unfit, given[unfit.index])
        else:
            if size > MAX_BIND:
                raise LocalProtocolError(f"the values are {size} bytes, more than a message can carry")
            return size
        raise refused  # outside the handler, so that no __context__ shows the value

    def texts(self, values: Sequence[Any]) -> list[str | None]:
        """The values in the text forms of their types; None is NULL.

        Raises:
            DataError: as `encode`.
        """
        given = self._given(values)
        texts: list[str | None] = []
        try:
            for codec in self._fields.codecs:
                value = given[len(texts)]
                texts.append(None if value is None else codec.encode_text(value))
            return texts
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            refused = self._refused(Unfit(len(texts), error), given[len(texts)])
        raise refused  # outside the handler, so that no __context__ shows the value

    def _given(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """The values, if there are as many as parameters."""
        given = values if type(values) is tuple else values_of(values)
        count = len(self._fields.codecs)
        if len(given) != count:
            raise DataError(f"the statement takes {_count(count)}, but {len(given)} were given")
        return given

    def _refused(self, unfit: Unfit, value: object) -> DataError:
        """The error for an unfit value, with advice if there is any."""
        number = f"${unfit.index + 1}"
        codec = self._fields.codecs[unfit.index]
        if self._types.learned(codec.oid):
            self._types.forget()  # it may have been altered
        text = f"parameter {number} of type {codec.name}: {with_type(unfit.reason, value)}"
        cast = _CAST.get(type(value))
        if isinstance(codec, OpaqueCodec):
            text += "; values of this type are sent as text, so pass the text form"
        elif unfit.wrong_type and cast is not None:
            text += f"; if the query should take it as {cast}, write {number}::{cast}"
        refused = DataError(text)
        refused.__cause__ = unfit.cause
        return refused


def _count(number: int) -> str:
    if number == 0:
        return "no parameters"
    return "1 parameter ($1)" if number == 1 else f"{number} parameters ($1 to ${number})"
