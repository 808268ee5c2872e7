"""Types: which of SQLAlchemy's types say their SQL type in a statement, and how values are converted.

Rule: the server decides what type a parameter has, by its context or by a cast; so types that a context may
leave open are rendered with one.
Rule: values are converted where pgproto decodes them, by a `TypeMap`, so that what has no type of
SQLAlchemy's (`text()`) is converted as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import exc
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ranges
from sqlalchemy.dialects.postgresql.json import JSONPathType
from sqlalchemy.engine import processors

import pgproto
from pgproto.types import TypeMap

__all__ = ["COLSPECS", "type_map"]

_INTS: Final = frozenset({20, 21, 23, 26, 1005, 1007, 1016})
_FLOATS: Final = frozenset({700, 701, 1021, 1022})
_DECIMALS: Final = frozenset({1700, 1231})
_DAYS_OF_A_YEAR: Final = 365  # as psycopg and asyncpg have it
_DAYS_OF_A_MONTH: Final = 30
_RANGES: Final = ("int4", "int8", "num", "date", "ts", "tstz")


def _casting(kind: type[Any]) -> type[Any]:
    """The type, rendered with a cast where it is a parameter."""
    made: type[Any] = type(f"Pgproto{kind.__name__}", (kind,), {"render_bind_cast": True})
    return made


class _Numbers:
    """Numeric and Float: pgproto returns int, float and Decimal, by the column's type."""

    render_bind_cast = True

    def bind_processor(self, dialect: Any) -> Any:
        """None is needed."""

    def result_processor(self: Any, dialect: Any, coltype: Any) -> Any:
        """Decimal to float, or the other way round, if the column's type is not what was asked for."""
        if coltype not in _INTS and coltype not in _FLOATS and coltype not in _DECIMALS:
            raise exc.InvalidRequestError(f"Unknown PG numeric type: {coltype}")
        if self.asdecimal:
            if coltype in _FLOATS:
                return processors.to_decimal_processor_factory(Decimal, self._effective_decimal_return_scale)
            return None
        return None if coltype in _FLOATS else processors.to_float


class PgprotoNumeric(_Numbers, sqltypes.Numeric[Any]):
    """NUMERIC."""


class PgprotoFloat(_Numbers, sqltypes.Float[Any]):
    """FLOAT, REAL, DOUBLE PRECISION."""


class PgprotoDate(sqltypes.Date):
    """DATE, which takes a datetime, too."""

    render_bind_cast = True

    def bind_processor(self, dialect: Any) -> Any:
        """A datetime's date."""
        return lambda value: value.date() if isinstance(value, datetime) else value


class PgprotoInterval(postgresql.INTERVAL):
    """INTERVAL."""

    render_bind_cast = True

    @classmethod
    def adapt_emulated_to_native(cls, *interval: Any, **kw: Any) -> PgprotoInterval:
        """The type for a generic Interval."""
        return cls(precision=interval[0].second_precision)


class PgprotoHSTORE(postgresql.HSTORE):
    """HSTORE: pgproto returns and takes a dict."""

    render_bind_cast = True

    def bind_processor(self, dialect: Any) -> Any:
        """None is needed."""

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """None is needed."""


class PgprotoJSONIntIndex(sqltypes.JSON.JSONIntIndexType):
    """The position in an array."""

    __visit_name__ = "json_int_index"
    render_bind_cast = True


class PgprotoJSONStrIndex(sqltypes.JSON.JSONStrIndexType):
    """The name in an object."""

    __visit_name__ = "json_str_index"
    render_bind_cast = True


class PgprotoJSONPath(JSONPathType):
    """The path into a document: an array of texts."""

    def bind_processor(self, dialect: Any) -> Any:
        """A tuple as a list of texts; a text is one in JSON path's form."""

        def process(value: Any) -> Any:
            return value if isinstance(value, str) else [str(each) for each in value or ()]

        return process


class _Json:
    """JSON: SQLAlchemy makes the text, and pgproto has parsed what arrives."""

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """None is needed."""


class PgprotoJSON(_Json, postgresql.JSON):
    """JSON."""


class PgprotoJSONB(_Json, postgresql.JSONB):
    """JSONB."""


class PgprotoRange(ranges.AbstractSingleRangeImpl[Any]):
    """A range: `type_map` has converted it."""


class PgprotoMultiRange(ranges.AbstractMultiRangeImpl[Any]):
    """A multirange: `type_map` has converted it."""


COLSPECS: Final[dict[Any, Any]] = {
    **{
        kind: _casting(kind)
        for kind in (
            *(sqltypes.String, sqltypes.CHAR, sqltypes.Time, sqltypes.DateTime, sqltypes.Boolean),
            *(sqltypes.Integer, sqltypes.SmallInteger, sqltypes.BigInteger),
            *(postgresql.OID, postgresql.REGCLASS, postgresql.REGCONFIG, postgresql.BIT),
        )
    },
    sqltypes.ARRAY: _casting(postgresql.ARRAY),
    sqltypes.Enum: _casting(postgresql.ENUM),
    sqltypes.LargeBinary: _casting(postgresql.BYTEA),
    sqltypes.Numeric: PgprotoNumeric,
    sqltypes.Float: PgprotoFloat,
    sqltypes.Date: PgprotoDate,
    sqltypes.Interval: PgprotoInterval,
    postgresql.INTERVAL: PgprotoInterval,
    postgresql.HSTORE: PgprotoHSTORE,
    postgresql.CITEXT: postgresql.CITEXT,
    sqltypes.JSON: PgprotoJSON,
    postgresql.JSON: PgprotoJSON,
    postgresql.JSONB: PgprotoJSONB,
    sqltypes.JSON.JSONPathType: PgprotoJSONPath,
    sqltypes.JSON.JSONIntIndexType: PgprotoJSONIntIndex,
    sqltypes.JSON.JSONStrIndexType: PgprotoJSONStrIndex,
    ranges.AbstractSingleRange: PgprotoRange,
    ranges.AbstractMultiRange: PgprotoMultiRange,
}
"""What stands for a type of SQLAlchemy's."""


def type_map(
    parent: TypeMap | None = None,
    *,
    native_inet: bool = True,
    dumps: Callable[[Any], Any] | None = None,
    loads: Callable[[Any], Any] | None = None,
) -> TypeMap:
    """The types of an engine's connections, with the values that users of SQLAlchemy expect.

    Args:
        parent: a map of the user's, which is asked for what is not said here.
        native_inet: False for inet and cidr as str.
        dumps: makes the document of a value for json and jsonb; a str is a document.
        loads: makes the value of a document.
    """
    types = TypeMap(parent)
    types.set_codec("interval", decode=_to_timedelta, format="value")
    serialize = json.dumps if dumps is None else dumps
    types.set_json(dumps=lambda value: value if isinstance(value, str) else serialize(value), loads=loads)
    for name in _RANGES:
        types.set_codec(f"{name}range", encode=_from_range, decode=_to_range, format="value")
        types.set_codec(f"{name}multirange", decode=_to_multirange, format="value")
    for name in ("bit", "varbit"):
        types.set_codec(name, encode=str, decode=_to_bits, format="text")
    if not native_inet:
        for name in ("inet", "cidr"):
            types.set_codec(name, encode=str, decode=str, format="text")
    return types


def _to_timedelta(interval: pgproto.Interval) -> timedelta:
    years = int(interval.months / 12)  # towards zero
    days = interval.days + years * _DAYS_OF_A_YEAR + (interval.months - years * 12) * _DAYS_OF_A_MONTH
    return timedelta(days=days, microseconds=interval.microseconds)


_to_bits: Final[Callable[[str], Any]] = getattr(postgresql, "BitString", str)  # a str until SQLAlchemy 2.1


def _to_range(value: pgproto.Range[Any]) -> ranges.Range[Any]:
    if value.empty:
        return ranges.Range(empty=True)
    return ranges.Range(value.lower, value.upper, bounds=value.bounds)  # type: ignore[arg-type]


def _from_range(value: Any) -> Any:
    if not isinstance(value, ranges.Range):
        return value
    if value.empty:
        return pgproto.Range(empty=True)
    return pgproto.Range(value.lower, value.upper, value.bounds)


def _to_multirange(value: pgproto.Multirange[Any]) -> Any:
    elements: Any = value  # which are SQLAlchemy's ranges: codecs apply in multiranges, too
    return ranges.MultiRange(elements)
