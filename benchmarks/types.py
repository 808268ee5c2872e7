"""The types that are measured one by one, beside asyncpg: a table, one entry each.

Reading: rows of many columns of the type.  Writing: `executemany` of a statement with as many parameters,
which stores nothing.  So most of the client's time is that of decoding or encoding values.

asyncpg's documented codecs for json, jsonb and hstore are set, as its users do.  Where it has no codec, it
gives the text that PostgreSQL prints, and that is what ours is compared with: less work.
"""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import uuid
from typing import Any, Final

from pgproto.types import (
    BitString,
    Box,
    Circle,
    Interval,
    Line,
    LineSegment,
    Multirange,
    Path,
    Point,
    Polygon,
    Range,
)

__all__ = ["COLUMNS", "SETUP", "TYPES", "MeasuredType"]

COLUMNS: Final = 20
"""Values of the type in a row, or parameters of a statement."""

SETUP: Final = (
    "create extension if not exists hstore",
    "create type bench_mood as enum ('sad', 'ok', 'happy')",
    "create domain bench_positive as int4 check (value > 0)",
    "create type bench_pair as (number int4, label text)",
)
"""The types that the server does not have."""

_SAME: Final = object()


class MeasuredType:
    """One entry.

    Args:
        sql: the type as it stands after "::".
        literal: a value, as text; of a record the expression.
        value: what it is in Python.
        theirs: what asyncpg has for it, where that is neither the same nor its class of the same kind.
        name: what it is called in the results; the type's SQL name, if nothing else is said.
        write: False for what asyncpg or PostgreSQL does not take.
    """

    def __init__(
        self,
        sql: str,
        literal: str,
        value: object,
        theirs: object = _SAME,
        *,
        name: str = "",
        write: bool = True,
    ) -> None:
        self.sql = sql
        self.literal = literal
        self.value = value
        self.theirs = value if theirs is _SAME else theirs
        self.name = name or sql.strip('"').replace("[]", "_array")
        self.write = write

    @property
    def reading(self) -> str:
        """A query for rows of it; its parameter says how many."""
        quoted = self.literal.replace("'", "''")
        columns = ", ".join(["v"] * COLUMNS)
        value = self.literal if self.sql == "record" else f"'{quoted}'::{self.sql}"
        # OFFSET 0: the value is made once, not for each column.
        return f"select {columns} from (select {value} as v offset 0) as one, generate_series(1, $1::int4)"

    @property
    def writing(self) -> str:
        """A statement with parameters of it that does nothing."""
        parameters = ", ".join([f"${number}::{self.sql}" for number in range(1, COLUMNS + 1)])
        return f"select from (values ({parameters})) as one where false"


def _at(hour: int, *, tz: datetime.tzinfo | None = None) -> datetime.datetime:
    return datetime.datetime(2026, 11, 22, hour, 34, 56, 789, tzinfo=tz)


_UTC: Final = datetime.UTC
_UUID: Final = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_DOCUMENT: Final = {"a": [1, 2, 3], "b": "text", "c": {"d": None, "e": 1.5}}
_JSON: Final = '{"a": [1, 2, 3], "b": "text", "c": {"d": null, "e": 1.5}}'
_NUMBERS: Final = list(range(1000, 1100))
_WORDS: Final = [f"word {number}" for number in range(20)]
_DAY: Final = datetime.date(2026, 11, 22)
_P, _Q = Point(1.5, 2.5), Point(3.5, -4.5)
_D = decimal.Decimal


def _listed(values: list[Any]) -> str:
    return "{" + ",".join([f'"{value}"' for value in values]) + "}"


TYPES: Final = (
    MeasuredType("bool", "t", True),
    MeasuredType("int2", "1234", 1234),
    MeasuredType("int4", "123456789", 123456789),
    MeasuredType("int8", "1234567890123", 1234567890123),
    MeasuredType("oid", "16384", 16384),
    MeasuredType("xid", "12345", 12345),
    MeasuredType("cid", "12345", 12345),
    MeasuredType("xid8", "1234567890123", 1234567890123),
    MeasuredType("float4", "1.5", 1.5),
    MeasuredType("float8", "3.25", 3.25),
    MeasuredType("numeric", "12345.6789", _D("12345.6789")),
    MeasuredType("numeric", "12", _D(12), name="numeric_small"),
    MeasuredType(
        "numeric",
        "-12345678901234567890.123456789",
        _D("-12345678901234567890.123456789"),
        name="numeric_long",
    ),
    MeasuredType("text", "twenty characters it", "twenty characters it"),
    MeasuredType("varchar", "twenty characters it", "twenty characters it"),
    MeasuredType("bpchar", "twenty characters it", "twenty characters it"),
    MeasuredType("name", "pg_class", "pg_class"),
    MeasuredType('"char"', "a", "a", b"a"),
    MeasuredType("bytea", r"\x" + b"twenty bytes of data".hex(), b"twenty bytes of data"),
    MeasuredType("uuid", str(_UUID), _UUID),
    MeasuredType("json", _JSON, _DOCUMENT),
    MeasuredType("jsonb", _JSON, _DOCUMENT),
    MeasuredType("jsonpath", '$."a"', '$."a"'),
    MeasuredType("refcursor", "a cursor", "a cursor"),
    MeasuredType("date", "2026-11-22", _DAY),
    MeasuredType("time", "12:34:56.000789", datetime.time(12, 34, 56, 789)),
    MeasuredType(
        "timetz",
        "12:34:56.000789+01",
        datetime.time(12, 34, 56, 789, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
    ),
    MeasuredType("timestamp", "2026-11-22 12:34:56.000789", _at(12)),
    MeasuredType("timestamptz", "2026-11-22 12:34:56.000789+00", _at(12, tz=_UTC)),
    MeasuredType("interval", "3 days 04:05:06", Interval(0, 3, 14_706_000_000)),
    MeasuredType("bit(12)", "101001000100", BitString("101001000100"), name="bit"),
    MeasuredType("varbit", "101001000100", BitString("101001000100")),
    MeasuredType("inet", "10.1.2.3", ipaddress.ip_address("10.1.2.3")),
    MeasuredType("inet", "2001:db8::1", ipaddress.ip_address("2001:db8::1"), name="inet_v6"),
    MeasuredType("inet", "10.1.2.3/8", ipaddress.ip_interface("10.1.2.3/8"), name="inet_prefix"),
    MeasuredType("cidr", "10.0.0.0/8", ipaddress.ip_network("10.0.0.0/8")),
    MeasuredType("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
    MeasuredType("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:05"),
    MeasuredType("point", "(1.5,2.5)", _P),
    MeasuredType("line", "{1.5,2.5,3.5}", Line(1.5, 2.5, 3.5)),
    MeasuredType("lseg", "[(1.5,2.5),(3.5,-4.5)]", LineSegment(_P, _Q)),
    MeasuredType("box", "(3.5,2.5),(1.5,-4.5)", Box(Point(3.5, 2.5), Point(1.5, -4.5))),
    MeasuredType("path", "((1.5,2.5),(3.5,-4.5))", Path((_P, _Q), True)),
    MeasuredType("polygon", "((1.5,2.5),(3.5,-4.5))", Polygon((_P, _Q))),
    MeasuredType("circle", "<(1.5,2.5),3.5>", Circle(_P, 3.5)),
    MeasuredType("tid", "(12,34)", (12, 34)),
    MeasuredType("pg_lsn", "16/B374D848", "16/B374D848", 0x16_B374D848),
    MeasuredType("int2vector", "1 2 3", (1, 2, 3), [1, 2, 3], write=False),
    MeasuredType("oidvector", "1 2 3", (1, 2, 3), [1, 2, 3], write=False),
    MeasuredType("money", "$1,234.50", "$1,234.50"),
    MeasuredType("aclitem", "postgres=r/postgres", "postgres=r/postgres"),
    MeasuredType("pg_snapshot", "10:20:10,14", "10:20:10,14", (10, 20, (10, 14))),
    MeasuredType("regclass", "pg_class", "pg_class"),
    MeasuredType("regtype", "integer", "integer"),
    MeasuredType("tsvector", "'a':1 'b':2", "'a':1 'b':2"),
    MeasuredType("tsquery", "'a' & 'b'", "'a' & 'b'"),
    MeasuredType("int4range", "[1,5)", Range(1, 5)),
    MeasuredType("int8range", "[1,5)", Range(1, 5)),
    MeasuredType("numrange", "[1.5,2.5)", Range(_D("1.5"), _D("2.5"))),
    MeasuredType("daterange", "[2026-11-22,2026-11-23)", Range(_DAY, _DAY.replace(day=23))),
    MeasuredType("tsrange", "[2026-11-22 01:34:56.000789,2026-11-22 02:34:56.000789)", Range(_at(1), _at(2))),
    MeasuredType(
        "tstzrange",
        "[2026-11-22 01:34:56.000789+00,2026-11-22 02:34:56.000789+00)",
        Range(_at(1, tz=_UTC), _at(2, tz=_UTC)),
    ),
    MeasuredType("int4multirange", "{[1,5),[7,9)}", Multirange([Range(1, 5), Range(7, 9)])),
    MeasuredType("nummultirange", "{[1.5,2.5)}", Multirange([Range(_D("1.5"), _D("2.5"))])),
    MeasuredType("int4[]", _listed(_NUMBERS), _NUMBERS),
    MeasuredType("int8[]", _listed(_NUMBERS), _NUMBERS),
    MeasuredType("float8[]", _listed(_NUMBERS), [float(number) for number in _NUMBERS]),
    MeasuredType("bool[]", "{t,f,t,f,t,f,t,f,t,f}", [True, False] * 5),
    MeasuredType("text[]", _listed(_WORDS), _WORDS),
    MeasuredType("numeric[]", "{1.5,2.5,3.5,4.5,5.5}", [_D(n) / 2 for n in (3, 5, 7, 9, 11)]),
    MeasuredType("uuid[]", _listed([_UUID] * 10), [_UUID] * 10),
    MeasuredType("date[]", _listed([_DAY] * 10), [_DAY] * 10),
    MeasuredType("timestamptz[]", _listed([_at(1, tz=_UTC)] * 10), [_at(1, tz=_UTC)] * 10),
    MeasuredType("int4[]", "{{1,2,3},{4,5,6}}", [[1, 2, 3], [4, 5, 6]], name="int4_array_2d"),
    MeasuredType("int4[]", "{1,NULL,3}", [1, None, 3], name="int4_array_null"),
    MeasuredType("int4range[]", '{"[1,5)","[7,9)"}', [Range(1, 5), Range(7, 9)]),
    MeasuredType("record", "row(1, 'a'::text)", (1, "a"), write=False),
    MeasuredType("bench_mood", "happy", "happy", name="enum"),
    MeasuredType("bench_mood[]", "{sad,ok,happy}", ["sad", "ok", "happy"], name="enum_array"),
    MeasuredType("bench_positive", "12", 12, name="domain"),
    MeasuredType("bench_pair", "(12,twelve)", (12, "twelve"), name="composite"),
    MeasuredType(
        "bench_pair[]", '{"(12,twelve)","(1,one)"}', [(12, "twelve"), (1, "one")], name="composite_array"
    ),
    MeasuredType("hstore", '"a"=>"1", "b"=>NULL', {"a": "1", "b": None}),
)
"""Every built-in type that both have, and what is made of them."""
