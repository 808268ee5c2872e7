"""Boundary values of the types of a server: what Python has, and what PostgreSQL's own input makes of a text.

`BASE` has them for what is made of nothing else; all others follow from the catalog: `Catalog.samples`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, Final
from uuid import UUID

from pgproto.types import (
    Array,
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
    quote_literal,
)

__all__ = ["BASE", "CATALOG", "KINDS", "NO_VALUES", "SCHEMA", "Catalog", "Sample", "Type", "same"]

INF: Final = math.inf
_P: Final = Point(-1.5, 2.0)
_Q: Final = Point(1e300, 5e-324)
_TEXTS: Final = ["", " a ", "NULL", "a\n\t\"'\\{},();[]", "ä€\U0001d11e", "x" * 3000]

# Value and text, in the order of the server: a range may go from one to a later one.
BASE: Final[dict[str, list[tuple[Any, str]]]] = {
    "boolean": [(False, "f"), (True, "t")],
    "bytea": [(b"", ""), (b"\0", "\\x00"), (bytes(range(256)), "\\x" + bytes(range(256)).hex())],
    '"char"': [("", ""), ("a", "a"), ("\\200", "\\200"), ("\\377", "\\377")],
    "name": [("", ""), ("a" * 63, "a" * 63), ("ä,\"'", "ä,\"'")],
    "smallint": [(each, str(each)) for each in (-(2**15), -1, 0, 1, 2**15 - 1)],
    "integer": [(each, str(each)) for each in (-(2**31), -1, 0, 1, 2**31 - 1)],
    "bigint": [(each, str(each)) for each in (-(2**63), -1, 0, 1, 2**63 - 1)],
    "oid": [(each, str(each)) for each in (0, 1, 2**31, 2**32 - 1)],
    "xid": [(each, str(each)) for each in (0, 3, 2**32 - 1)],
    "cid": [(each, str(each)) for each in (0, 3, 2**32 - 1)],
    "xid8": [(each, str(each)) for each in (0, 3, 2**64 - 1)],
    "text": [(each, each) for each in sorted(_TEXTS)],
    "character varying": [(each, each) for each in sorted(_TEXTS)],
    "bpchar": [(each, each) for each in ("", " a", "NULL", "ä€")],
    "refcursor": [("", ""), ("<unnamed portal 1>", "<unnamed portal 1>")],
    "xml": [("", ""), ('<a b="1">ä</a>', '<a b="1">ä</a>')],
    "json": [
        ({"a": [1, None, "ä"], "b": {"c": -1.5}}, '{"a":[1,null,"ä"],"b":{"c":-1.5}}'),
        ([], "[]"),
        ("NULL", '"NULL"'),
        (True, "true"),
        (10**30, "1" + "0" * 30),
    ],
    "jsonb": [
        ({"a": [1, None, "ä"], "b": {"c": -1.5}}, '{"a":[1,null,"ä"],"b":{"c":-1.5}}'),
        ([], "[]"),
        ("NULL", '"NULL"'),
        (True, "true"),
        (10**30, "1" + "0" * 30),
    ],
    "jsonpath": [("$", "$"), ('strict $."a"[*]?(@ > 1)', 'strict $."a"[*]?(@ > 1)')],
    "real": [
        (each, text)
        for each, text in [
            (-INF, "-Infinity"),
            (-3.4028234663852886e38, "-3.4028235e38"),
            (-0.0, "-0"),
            (1.401298464324817e-45, "1e-45"),
            (0.5, "0.5"),
            (16777216.0, "16777216"),
            (INF, "Infinity"),
            (math.nan, "NaN"),
        ]
    ],
    "double precision": [
        (-INF, "-Infinity"),
        (-1.7976931348623157e308, "-1.7976931348623157e308"),
        (-0.0, "-0"),
        (5e-324, "5e-324"),
        (0.1, "0.1"),
        (9007199254740993.0, "9007199254740992"),
        (INF, "Infinity"),
        (math.nan, "NaN"),
    ],
    "numeric": [
        (Decimal("-Infinity"), "-Infinity"),
        (Decimal("-1.000E+131071"), "-1e131071"),
        (Decimal("-1.10"), "-1.10"),
        (Decimal("0"), "0"),
        (Decimal("0.000"), "0.000"),
        (Decimal("1E-16383"), "1e-16383"),
        (Decimal("10000.0001"), "10000.0001"),
        (Decimal("123456789012345678901234567890.5"), "123456789012345678901234567890.5"),
        (Decimal("Infinity"), "Infinity"),
        (Decimal("NaN"), "NaN"),
    ],
    "money": [
        ("-$92,233,720,368,547,758.08", "-92233720368547758.08"),
        ("$0.00", "0"),
        ("$92,233,720,368,547,758.07", "92233720368547758.07"),
    ],
    "date": [
        (date.min, "0001-01-01"),
        (date(1999, 12, 31), "1999-12-31"),
        (date(2000, 2, 29), "2000-02-29"),
        (date.max, "9999-12-31"),
    ],
    "time without time zone": [(time.min, "00:00:00"), (time.max, "23:59:59.999999")],
    "time with time zone": [
        (time(0, 0, tzinfo=UTC), "00:00:00+00"),
        (time(23, 59, 59, 999999, timezone(timedelta(hours=-15, minutes=-59))), "23:59:59.999999-15:59"),
        (time(1, 2, 3, 4, timezone(timedelta(hours=15, seconds=59))), "01:02:03.000004+15:00:59"),
    ],
    "timestamp without time zone": [
        (datetime.min, "0001-01-01 00:00:00"),
        (datetime(1999, 12, 31, 23, 59, 59, 999999), "1999-12-31 23:59:59.999999"),
        (datetime(2000, 1, 1), "2000-01-01"),
        (datetime.max, "9999-12-31 23:59:59.999999"),
    ],
    "timestamp with time zone": [
        (datetime.min.replace(tzinfo=UTC), "0001-01-01 00:00:00+00"),
        (datetime(1999, 12, 31, 23, 59, 59, 999999, UTC), "1999-12-31 23:59:59.999999+00"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31 23:59:59.999999+00"),
    ],
    "interval": [
        (Interval(-(2**31), 0, 0), "-178956970 years -8 mons"),
        (Interval(-1, 2, -3), "-1 mons 2 days -00:00:00.000003"),
        (Interval(), "0"),
        (Interval(0, 0, 2**63 - 1), "2562047788:00:54.775807"),
        (Interval(0, 2**31 - 1, 0), "2147483647 days"),
        (Interval(2**31 - 1, 0, 0), "178956970 years 7 mons"),
    ],
    "uuid": [
        (UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (UUID(int=2**128 - 1), "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ],
    '"bit"': [(BitString(each), each) for each in ("", "1", "10101010", "101010101", "1" * 100)],
    "bit varying": [(BitString(each), each) for each in ("", "0", "11111111", "111111110")],
    "inet": [
        (ip_interface("0.0.0.0/0"), "0.0.0.0/0"),
        (ip_interface("10.1.2.3/8"), "10.1.2.3/8"),
        (ip_address("255.255.255.255"), "255.255.255.255"),
        (ip_interface("::/0"), "::/0"),
        (ip_address("::ffff:1.2.3.4"), "::ffff:1.2.3.4"),
        (ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
    "cidr": [
        (ip_network("0.0.0.0/0"), "0.0.0.0/0"),
        (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (ip_network("255.255.255.255/32"), "255.255.255.255/32"),
        (ip_network("::/0"), "::/0"),
        (ip_network("fe80::/10"), "fe80::/10"),
    ],
    "macaddr": [("00:00:00:00:00:00",) * 2, ("ff:ff:ff:ff:ff:ff",) * 2],
    "macaddr8": [("00:00:00:00:00:00:00:00",) * 2, ("ff:ff:ff:ff:ff:ff:ff:ff",) * 2],
    "point": [(_P, "(-1.5,2)"), (Point(-INF, INF), "(-Infinity,Infinity)"), (_Q, "(1e300,5e-324)")],
    "line": [(Line(1.0, -1.0, 0.0), "{1,-1,0}"), (Line(0.0, 1.0, 1e300), "{0,1,1e300}")],
    "lseg": [(LineSegment(_P, _Q), "[(-1.5,2),(1e300,5e-324)]")],
    "box": [(Box(Point(3.0, 4.0), Point(1.0, 2.0)), "(3,4),(1,2)"), (Box(_P, _P), "(-1.5,2),(-1.5,2)")],
    "path": [
        (Path((_P,), False), "[(-1.5,2)]"),
        (Path((_P, _Q, _P), True), "((-1.5,2),(1e300,5e-324),(-1.5,2))"),
    ],
    "polygon": [(Polygon((_P,)), "((-1.5,2))"), (Polygon((_P, _Q)), "((-1.5,2),(1e300,5e-324))")],
    "circle": [(Circle(_P, 0.0), "<(-1.5,2),0>"), (Circle(_P, INF), "<(-1.5,2),Infinity>")],
    "tid": [((0, 0), "(0,0)"), ((2**32 - 1, 65535), "(4294967295,65535)")],
    "pg_lsn": [("0/0", "0/0"), ("16/B374D848", "16/B374D848"), ("FFFFFFFF/FFFFFFFF", "FFFFFFFF/FFFFFFFF")],
    "pg_snapshot": [("1:1:", "1:1:"), ("10:20:10,14,15", "10:20:10,14,15")],
    "txid_snapshot": [("1:1:", "1:1:"), ("10:20:10,14,15", "10:20:10,14,15")],
    "tsvector": [("", ""), ("'a':1A,3 'b''c'", "'b''c' 'a':1A,3")],
    "tsquery": [("", ""), ("'a':* & !( 'b' | 'c' )", "'a':*&!('b'|'c')")],
    "aclitem": [("=r/postgres", "=r/postgres"), ("postgres=arwdDxt/postgres", "postgres=arwdDxt/postgres")],
    "regproc": [("-", "-"), ("now", "now")],
    "regprocedure": [("-", "-"), ("abs(integer)", "abs(int4)")],
    "regoper": [("0", "0"), ("||/", "||/")],
    "regoperator": [("0", "0"), ("+(integer,integer)", "+(int4,int4)")],
    "regclass": [("-", "-"), ("pg_class", "pg_class"), ("4000000000", "4000000000")],
    "regcollation": [("-", "-"), ('"C"', '"C"')],
    "regtype": [("-", "-"), ("timestamp with time zone", "timestamptz")],
    "regrole": [("-", "-"), ("postgres", "postgres")],
    "regnamespace": [("-", "-"), ("pg_catalog", "pg_catalog")],
    "regconfig": [("english", "english")],
    "regdictionary": [("simple", "simple")],
    "int2vector": [((0,), "0"), ((-32768, 32767), "-32768 32767")],
    "oidvector": [((0,), "0"), ((1, 4294967295), "1 4294967295")],
    "information_schema.cardinal_number": [(0, "0"), (2**31 - 1, "2147483647")],
    "information_schema.time_stamp": [
        (datetime(1999, 12, 31, 23, 59, 59, 250000, UTC), "1999-12-31 23:59:59.25+00"),
    ],
    "information_schema.yes_or_no": [("NO", "NO"), ("YES", "YES")],
}

_NO_INPUT: Final = "the server computes its values, and refuses them as input"
NO_VALUES: Final[dict[str, str]] = {
    "gtsvector": "the key of an index: it cannot be a value of a query's",
    "pg_brin_bloom_summary": _NO_INPUT,
    "pg_brin_minmax_multi_summary": _NO_INPUT,
    "pg_dependencies": _NO_INPUT,
    "pg_mcv_list": _NO_INPUT,
    "pg_ndistinct": _NO_INPUT,
    "pg_node_tree": _NO_INPUT,
}
"""Base types of which nobody can send a value, and why."""

SCHEMA: Final = """
drop schema if exists every cascade;
create schema every;
create type every.mood as enum ('sad', 'ok', 'NULL', 'ä "quoted", \\ {}');
create type every."Odd, ""x"" name" as enum ('a');
create domain every.int as int4 check (value is distinct from 7);
create domain every.int_of_int as every.int not null default 1;
create domain every.texts as text[];
create domain every.moods as every.mood[];
create domain every.span as int8range;
create domain every.spans as datemultirange;
create domain every.money as money;
create type every.pair as (a int4, "B b" text);
create type every.nothing as ();
create type every.mood_range as range (subtype = every.mood);
create type every.text_range as range (
    subtype = text, collation = "C", multirange_type_name = every.texts_ranged);
create type every.float_range as range (subtype = float8, subtype_diff = float8mi);
create type every.pair_range as range (subtype = every.pair);
create domain every.pair_with_a as every.pair check ((value).a is distinct from 7);
create type every.nested as (
    one every.pair, several every.pair[], mood every.mood, moods every.mood[], i every.int_of_int,
    d every.texts, r every.float_range, m every.texts_ranged, n numeric, j jsonb, rs every.mood_range[]);
create type every.deep as (n every.nested, ns every.nested[]);
create type every.as_text as (c regclass, v tsvector, m every.money);
create table every.table_ (a int4, gone text, b every.mood[]);
alter table every.table_ drop gone;
"""
"""Types of a user's: all kinds, of all kinds.  They may be dropped by `drop schema every cascade`."""


@dataclass(frozen=True)
class Sample:
    """A value of one type.

    Args:
        value: in Python: what is sent, and comes back.
        sql: an expression with the same value that the server makes of text.
    """

    value: Any
    sql: str


KINDS: Final = "brmdec"
"""The typtypes of what has values: base types and arrays, ranges, multiranges, domains, enums, composites."""

CATALOG: Final = """
select t.oid, format_type(t.oid, -1), t.typtype::text, t.typarray,
  case t.typtype when 'd' then t.typbasetype
    when 'r' then (select rngsubtype from pg_range where rngtypid = t.oid)
    when 'm' then (select rngtypid from pg_range where rngmultitypid = t.oid)
    else case when t.typcategory = 'A' then t.typelem else 0 end end,
  array(select atttypid from pg_attribute
    where attrelid = t.typrelid and t.typrelid <> 0 and attnum > 0 and not attisdropped order by attnum),
  array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder)
from pg_type t order by t.oid
"""
"""The rows for `Catalog`."""


@dataclass(frozen=True)
class Type:
    """What the catalog says of a type.

    Args:
        oid: its OID.
        name: as `format_type` writes it.
        kind: typtype.
        array: the OID of the arrays of it; 0 if there are none.
        part: the OID of what an array, a domain, a range or a multirange is made of; else 0.
        fields: the OIDs of a composite's.
        labels: of an enum, in order.
    """

    oid: int
    name: str
    kind: str
    array: int
    part: int
    fields: list[int]
    labels: list[str]


class Catalog:
    """What is to be known about a server's types, by OID.

    Args:
        rows: of `CATALOG`.
        without: base types of which this server takes no values.
    """

    def __init__(self, rows: Sequence[Sequence[Any]], without: Collection[str] = ()) -> None:
        self.types = {row[0]: Type(*row) for row in rows}
        self.without = {*NO_VALUES, *without}
        self._samples: dict[int, list[Sample]] = {}

    def __iter__(self) -> Iterator[Type]:
        """All types of which there can be values."""
        for row in self.types.values():
            if row.kind in KINDS and not any(part.kind == "p" for part in self.parts(row.oid)):
                yield row

    def parts(self, oid: int) -> Iterator[Type]:
        """A type, and all that it is made of."""
        row = self.types[oid]
        yield row
        for part in [row.part, *row.fields]:
            if part:
                yield from self.parts(part)

    def valueless(self, oid: int) -> str | None:
        """The base type without values that this one consists of; None if it has values."""
        row = self.types[oid]
        if row.name in self.without:
            return row.name
        if row.kind in "bd" and row.part:
            return self.valueless(row.part)
        return None

    def samples(self, oid: int) -> list[Sample]:
        """Boundary values, in ascending order as far as it matters; of arrays see `arrays`."""
        if oid not in self._samples:
            self._samples[oid] = self._made(self.types[oid])
        return self._samples[oid]

    def _made(self, row: Type) -> list[Sample]:
        name = row.name
        if name in BASE:
            return [Sample(value, f"{quote_literal(text).strip()}::{name}") for value, text in BASE[name]]
        if row.kind == "e":
            return [Sample(label, f"{quote_literal(label).strip()}::{name}") for label in row.labels]
        if row.kind == "d":
            return [Sample(each.value, f"{each.sql}::{name}") for each in self.samples(row.part)]
        if row.kind == "c":
            return self._composites(row)
        if row.kind == "r":
            return self._ranges(row)
        if row.kind == "m":
            ranges = self.samples(row.part)
            made = [Sample(Multirange(), f"'{{}}'::{name}")]
            made += [
                Sample(Multirange([each.value]), f"{name}({each.sql})")
                for each in ranges
                if not each.value.empty
            ]
            return made
        assert row.part, f"{name} has no values in BASE"
        return self.arrays(row)

    def _composites(self, row: Type) -> list[Sample]:
        """Every field NULL, and the fields' first values, second, and so on, three times."""
        name = row.name
        fields: list[list[Sample]] = []
        for oid in row.fields:
            known = [Sample(None, "NULL")] if self.valueless(oid) else self.samples(oid)
            fields.append(known)
        made = []
        for turn in range(3):
            chosen = [known[turn % len(known)] for known in fields]
            made.append(
                Sample(
                    tuple(each.value for each in chosen),
                    f"row({', '.join(each.sql for each in chosen)})::{name}",
                )
            )
        nothing = [
            each if self.types[oid].kind == "d" else Sample(None, "NULL")  # the domain may be NOT NULL
            for oid, each in zip(row.fields, chosen, strict=True)
        ]
        made.append(
            Sample(
                tuple(each.value for each in nothing),
                f"row({', '.join(each.sql for each in nothing)})::{name}",
            )
        )
        return made

    def _ranges(self, row: Type) -> list[Sample]:
        name, bounds = row.name, self.samples(row.part)
        low, high = bounds[0], bounds[-1]
        made = [
            Sample(Range(empty=True), f"'empty'::{name}"),
            Sample(Range(), f"{name}(NULL, NULL)"),
            Sample(Range(None, high.value), f"{name}(NULL, {high.sql})"),
            Sample(Range(low.value, None), f"{name}({low.sql}, NULL)"),
        ]
        if len(bounds) > 1:
            made.append(Sample(Range(low.value, high.value), f"{name}({low.sql}, {high.sql})"))
        if name not in ("int4range", "int8range", "daterange"):  # which have one way to write a range
            made.append(Sample(Range(low.value, high.value, "[]"), f"{name}({low.sql}, {high.sql}, '[]')"))
            made.append(Sample(Range(None, low.value, "(]"), f"{name}(NULL, {low.sql}, '(]')"))
        return made

    def arrays(self, row: Type) -> list[Sample]:
        """Empty; one dimension with NULL; two and three dimensions."""
        name, element = row.name, self.types[row.part]
        known = self.samples(row.part)
        if element.name in ("int2vector", "oidvector"):  # whose ARRAY[...] is int2[]
            text = "{" + ",".join([f'"{BASE[element.name][at][1]}"' for at in (0, 1)]) + ",NULL}"
            return [
                Sample([], f"'{{}}'::{name}"),
                Sample([known[0].value, known[1].value, None], f"'{text}'::{name}"),
            ]
        if element.kind == "d" and self._is_array(element.oid):
            # The elements of ARRAY[...] would be dimensions.
            values = ", ".join([f"({n}, {each.sql})" for n, each in enumerate(known)])
            quoted = r"""'"' || replace(replace(v::text, '\', '\\'), '"', '\"') || '"'"""
            joined = f"(select string_agg({quoted}, ',' order by n) from (values {values}) as t (n, v))"
            return [
                Sample([], f"'{{}}'::{name}"),
                Sample([*[each.value for each in known], None], f"('{{' || {joined} || ',NULL}}')::{name}"),
            ]
        first, last = known[0], known[-1]
        not_null = element.name == "every.int_of_int"
        nothing = first if not_null else Sample(None, "NULL")
        made = [
            Sample([], f"'{{}}'::{name}"),
            Sample(
                [each.value for each in [*known, nothing]],
                f"array[{', '.join([each.sql for each in [*known, nothing]])}]::{name}",
            ),
            Sample(
                [[first.value, last.value], [nothing.value, first.value]],
                f"array[[{first.sql}, {last.sql}], [{nothing.sql}, {first.sql}]]::{name}",
            ),
            Sample([[[last.value]], [[first.value]]], f"array[[[{last.sql}]], [[{first.sql}]]]::{name}"),
            Sample(
                Array([[first.value], [last.value]], (-1, 7)),
                f"('[-1:0][7:7]=' || array[[{first.sql}], [{last.sql}]]::{name}::text)::{name}",
            ),
        ]
        if element.name in ("json", "jsonb"):  # where an inner list is one of JSON
            del made[2:]
        return made

    def _is_array(self, oid: int) -> bool:
        row = self.types[oid]
        if row.kind == "d":
            return self._is_array(row.part)
        return row.kind == "b" and row.part != 0


def same(one: Any, other: Any) -> bool:
    """True for equal values of one type: NaN is NaN, and the sign of a zero and a number's digits count."""
    if isinstance(one, Array) and isinstance(other, Array):
        return one.lower_bounds == other.lower_bounds and same([*one], [*other])
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Range) and isinstance(other, Range):
        both = [(each.empty, each.lower, each.upper, each.bounds) for each in (one, other)]
        return same(*both)
    if isinstance(one, Multirange) and isinstance(other, Multirange):
        return same(list(one), list(other))
    if isinstance(one, float) and isinstance(other, float):
        return repr(one) == repr(other)
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        shortened = max(one.adjusted(), other.adjusted()) > 1000  # in binary, "1E+131071" (see NumericCodec)
        return str(one) == str(other) or (shortened and one == other)
    if isinstance(one, time | datetime) and isinstance(other, time | datetime):
        return one == other and one.utcoffset() == other.utcoffset()
    if hasattr(one, "__len__") and isinstance(other, tuple) and not isinstance(one, str | bytes):
        one = tuple(one)  # a Row
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)
