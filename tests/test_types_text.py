"""The text forms of all codecs: what the server prints, and what is written, reads as in binary."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_address, ip_network
from math import inf
from typing import Any
from uuid import UUID

import pytest

from pgproto.errors import DataError
from pgproto.types import BUILT_IN, Array, BitString, Codec, Interval, Multirange, Path, Point, Range
from pgproto.types.codec import OutdatedTypeError
from pgproto.types.composites import CompositeCodec, DomainCodec
from pgproto.types.scalars import OpaqueCodec
from pgproto.types.textform import TextFormCodec, in_their_format
from tests.support.sent import SENT


def codec(name: str) -> Codec:
    found = BUILT_IN.named(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "oid", "text", "value", "sent"), SENT, ids=[f"{row[0]} {row[2]}" for row in SENT]
)
def test_as_the_server_prints_it(name: str, oid: int, text: str, value: Any, sent: str) -> None:
    found = codec(name).decode_text(text)
    assert found == value
    assert type(found) is type(value)
    assert codec(name).decode_text(codec(name).encode_text(value)) == value
    array = codec(f"{name}[]")
    for values in ([], [value], [value, None], [[value, value], [None, value]]):
        assert array.decode_text(array.encode_text(values)) == values


FLOAT4 = 0.10000000149011612  # the float4 that is nearest to 0.1

BOTH_WAYS: list[tuple[str, str, object]] = [
    ("bool", "t", True),
    ("bool", "f", False),
    ("int2", "-32768", -32768),
    ("int4", "2147483647", 2147483647),
    ("int8", "-9223372036854775808", -(2**63)),
    ("oid", "4294967295", 2**32 - 1),
    ("xid8", "18446744073709551615", 2**64 - 1),
    ("float8", "0.1", 0.1),
    ("float8", "-0.0", -0.0),
    ("float8", "5e-324", 5e-324),
    ("float8", "1.7976931348623157e+308", 1.7976931348623157e308),
    ("float8", "Infinity", inf),
    ("float8", "-Infinity", -inf),
    ("float4", repr(FLOAT4), FLOAT4),
    ("numeric", "1.10", Decimal("1.10")),
    ("numeric", "-0.00000001", Decimal("-0.00000001")),
    ("numeric", "1" + "0" * 1100, Decimal("1E+1100")),
    ("numeric", "Infinity", Decimal("Infinity")),
    ("numeric", "-Infinity", Decimal("-Infinity")),
    ("text", 'a "b" \\ é\n', 'a "b" \\ é\n'),
    ("varchar", "", ""),
    ('"char"', "", ""),
    ('"char"', "\\377", "\\377"),
    ("bytea", "\\x", b""),
    ("bytea", "\\x00ff5c", b"\0\xff\\"),
    ("uuid", "00000000-0000-0000-0000-0000000000ff", UUID(int=255)),
    ("json", '{"a":[1,null,"é"]}', {"a": [1, None, "é"]}),
    ("jsonb", '"x"', "x"),
    ("jsonpath", '$."a"', '$."a"'),
    ("date", "0001-01-01", date.min),
    ("date", "9999-12-31", date.max),
    ("time", "00:00:00", time.min),
    ("time", "23:59:59.999999", time.max),
    ("timetz", "12:00:00-05:30", time(12, tzinfo=timezone(-timedelta(hours=5, minutes=30)))),
    ("timestamp", "0001-01-01 00:00:00", datetime.min),
    ("timestamp", "9999-12-31 23:59:59.999999", datetime.max),
    ("timestamptz", "2024-02-29 12:34:56.789000+00:00", datetime(2024, 2, 29, 12, 34, 56, 789000, UTC)),
    ("interval", "00:00:00", Interval()),
    ("interval", "1 year 2 mons -3 days +04:05:06.789", Interval(14, -3, 14706789000)),
    ("interval", "-1 years -2 mons +3 days -04:05:06", Interval(-14, 3, -14706000000)),
    ("interval", "1 mon 1 day", Interval(1, 1)),
    ("interval", "-2562047788:00:54.775808", Interval(0, 0, -(2**63))),
    ("interval", "-178956970 years -8 mons -2147483648 days", Interval(-(2**31), -(2**31))),
    ("tid", "(4294967295,65535)", (2**32 - 1, 65535)),
    ("int2vector", "", ()),
    ("int2vector", "1 -2", (1, -2)),
    ("int2[]", "{}", []),
    ("int4[]", "{1,NULL,-3}", [1, None, -3]),
    ("int4[]", "{{{1},{2}},{{3},{4}}}", [[[1], [2]], [[3], [4]]]),
    ("text[]", r'{"","NULL","null","a b",a,"a\"b","a\\b","{","}","a,b",NULL}',
     ["", "NULL", "null", "a b", "a", 'a"b', "a\\b", "{", "}", "a,b", None]),
    ("money[]", '{$1.00,"$1,000.00"}', ["$1.00", "$1,000.00"]),
    ("json[]", r'{"[1,\"a\"]","{}"}', [[1, "a"], {}]),
    ("box[]", "{(3.0,4.0),(1.0,2.0);NULL}", [((3.0, 4.0), (1.0, 2.0)), None]),
    ("int2vector[]", '{"1 2",""}', [(1, 2), ()]),
    ("int4range", "empty", Range(empty=True)),
    ("int4range", "(,)", Range(None, None)),
    ("numrange", "(0.5,1.50]", Range(Decimal("0.5"), Decimal("1.50"), "(]")),
    ("int4multirange", "{}", Multirange([])),
    ("int4multirange", "{[1,3),[5,)}", Multirange([Range(1, 3), Range(5)])),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "value"), BOTH_WAYS, ids=[f"{row[0]} {row[1][:40]}" for row in BOTH_WAYS]
)
def test_both_ways(name: str, text: str, value: Any) -> None:
    found = codec(name).decode_text(text)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or name == "numeric" or name == "box[]"
    assert codec(name).encode_text(value) == text


def test_nan() -> None:
    for name in ("float4", "float8", "numeric"):
        found: Any = codec(name).decode_text("NaN")
        assert found != found
        assert codec(name).encode_text(found) == "NaN"
    assert codec("point").encode_text((float("nan"), -inf)) == "(NaN,-Infinity)"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bool", "true", True),
        ("bool", "false", False),
        ("bytea", "a\\\\b\\000\\377", b"a\\b\0\xff"),
        ("float4", "0.1", FLOAT4),
        ("float8", "1e+100", 1e100),
        ("date", "29.02.2024", date(2024, 2, 29)),
        ("timestamp", "31.01.2024 12:34:56.789", datetime(2024, 1, 31, 12, 34, 56, 789000)),
        ("timestamp", "Wed Jan 31 12:34:56.789 2024", datetime(2024, 1, 31, 12, 34, 56, 789000)),
        ("timestamp", "Wed 31 Jan 12:34:56 2024", datetime(2024, 1, 31, 12, 34, 56)),
        ("timestamptz", "2024-01-31 23:30:00-05:30", datetime(2024, 2, 1, 5, tzinfo=UTC)),
        ("timestamptz", "1800-01-01 00:00:00+00:19:32", datetime(1799, 12, 31, 23, 40, 28, tzinfo=UTC)),
        ("timestamptz", "2024-01-31 12:00:00+00", datetime(2024, 1, 31, 12, tzinfo=UTC)),
        ("timestamptz", "0001-12-31 23:30:00-01 BC", datetime(1, 1, 1, 0, 30, tzinfo=UTC)),
        ("interval", "@ 0", Interval()),
        ("interval", "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs", Interval(14, -3, 14706789000)),
        ("interval", "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago", Interval(-14, 3, -14706789000)),
        ("interval", "@ 1 mon -0.5 secs", Interval(1, 0, -500000)),
        ("interval", "@ 1 sec ago", Interval(0, 0, -1000000)),
        ("interval", "P-1Y-2M3DT-4H-5M-6.789S", Interval(-14, 3, -14706789000)),
        ("interval", "PT0S", Interval()),
        ("interval", "PT-0.000001S", Interval(0, 0, -1)),
        ("interval", "P1D", Interval(0, 1)),
        ("interval", "0", Interval()),
        ("interval", "1-2", Interval(14)),
        ("interval", "-1-2", Interval(-14)),
        ("interval", "-3 4:05:06", Interval(0, -3, -14706000000)),
        ("interval", "3 4:05:06.5", Interval(0, 3, 14706500000)),
        ("interval", "4:05:06", Interval(0, 0, 14706000000)),
        ("interval", "-4:05:06", Interval(0, 0, -14706000000)),
        ("interval", "-1-2 +3 -4:05:06.789", Interval(-14, 3, -14706789000)),
        ("interval", "+0-0 -3 +0:00:01", Interval(0, -3, 1000000)),
        ("inet", "10.0.0.1", ip_address("10.0.0.1")),
        ("cidr", "10.0.0.0/8", ip_network("10.0.0.0/8")),
        ("bit", "101", BitString("101")),
        ("path", "[(1,2),(3,4)]", Path((Point(1.0, 2.0), Point(3.0, 4.0)))),
        ("pg_lsn", "0/FF", "0/FF"),
        ("void", "", None),
        ("record", '(1,,"a ""b"" \\\\","")', ("1", None, 'a "b" \\', "")),
        ("record", "()", (None,)),
        ("int4[]", "[2:3]={1,2}", Array([1, 2], (2,))),
        ("int4[]", "[-1:0][2:2]={{1},{2}}", Array([[1], [2]], (-1, 2))),
        ("time[]", "{12:00:00,NULL}", [time(12), None]),
        ("tsrange", '["2024-01-31 00:00:00",)', Range(datetime(2024, 1, 31))),
    ],
)  # fmt: skip
def test_what_the_server_may_print(name: str, text: str, value: Any) -> None:
    found = codec(name).decode_text(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        *[(name, text, f"{name} {text}: Python has no such value; select it as text")
          for name in ("date", "timestamp", "timestamptz", "interval") for text in ("infinity", "-infinity")],
        ("time", "24:00:00", "time 24:00:00: Python has no such value"),
        ("timetz", "24:00:00+01", "timetz 24:00:00: Python has no such value"),
        ("date", "0001-12-31 BC", "date -730120 days from 2000-01-01, not in the years 1 to 9999"),
        ("date", "10000-01-01", "date 2921940 days from 2000-01-01"),
        ("date", "5874897-12-31", "date 2145031948 days"),
        ("date", "4714-11-24 BC", "date -2451545 days"),
        ("timestamp", "4714-11-24 00:00:00 BC", "timestamp -211813488000000000 microseconds"),
        ("timestamptz", "294276-12-31 23:59:59.999999+00", "timestamptz 9223371331199999999 microseconds"),
        ("date", "01/02/2024", "DateStyle that does not say all"),
        ("date", "01-02-2024", "DateStyle that does not say all"),
        ("timestamp", "01/02/2024 12:00:00", "DateStyle that does not say all"),
        ("timestamptz", "Wed Jan 31 12:34:56.789 2024 IST", "set DateStyle to ISO"),
        ("timestamptz", "31.01.2024 12:34:56.789 CET", "set DateStyle to ISO"),
        ("timestamptz", "01/31/2024 12:34:56 PST", "set DateStyle to ISO"),
        ("daterange", "[01/02/2024,)", "set DateStyle to ISO"),
    ],
)  # fmt: skip
def test_what_has_no_value_or_leaves_a_doubt(name: str, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says.replace("+", r"\+")):
        codec(name).decode_text(text)
    if not name.endswith("range"):
        with pytest.raises(DataError):
            codec(f"{name}[]").decode_text(f'{{"{text}"}}')


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("bool", ["", "T", "yes"]),
        ("int4", ["", "1_0", " 1", "+1", "1.0", "2147483648", "-2147483649", "٣", "9" * 5000]),
        ("oid", ["-1", "4294967296"]),
        ("float8", ["", "1_0", " 1", "nan", "inf", "-NaN", "0x1p1", "1.", "-1e+309"]),
        ("float4", ["1e+39", "1e+400", "x"]),
        ("numeric", ["", "1e5", "nan", "1_0", " 1", "1.", "sNaN"]),
        ('"char"', ["ab", "é", "\\400"]),
        ("bytea", ["\\xf", "\\xzz", "\u20ac"]),
        ("uuid", ["", "x", "00000000-0000-0000-0000-00000000000"]),
        ("json", ["", "{", "\ud800", "[" * 100000]),
        ("jsonb", ["nul"]),
        ("void", ["x"]),
        (
            "date",
            [
                "",
                "2024-02-30",
                "2024-13-01",
                "2024-00-01",
                "0000-00-00",
                "2024-1-1",
                "infinity ",
                "-2024-01-01",
                "2024-01-01 AD",
                "x",
                "32.01.2024",
            ],
        ),
        (
            "time",
            [
                "",
                "24:00:00.000001",
                "25:00:00",
                "12:60:00",
                "12:00:60",
                "12:00",
                "12:00:00+01",
                "12:00:00.1234567",
            ],
        ),
        ("timetz", ["", "12:00:00", "12:00:00+24", "12:00:00+01:60", "12:00:00+01:00:60"]),
        (
            "timestamp",
            [
                "",
                "2024-01-01",
                "2024-01-01 12:00:00+00",
                "Wed Foo 31 12:34:56 2024",
                "Wed Jan 12:34:56 2024",
                "Wed Jan 32 12:34:56 2024",
            ],
        ),
        ("timestamptz", ["", "2024-01-01 12:00:00", "2024-01-01 12:00:00+99", "xinfinity"]),
        (
            "interval",
            [
                "",
                "@",
                "P",
                "PT",
                " ",
                "1",
                "1 week",
                "1 year ago",
                "3000000000 days",
                "999999999 years",
                "9999999999:00:00",
                "-",
                "1-2 3",
                "xinfinity",
            ],
        ),
        ("inet", ["", "10.0", "10.0.0.1/33", "fe80::1%eth0"]),
        ("cidr", ["10.0.0.1/8"]),
        ("macaddr", ["", "08:00:2b:01:02"]),
        ("bit", ["2"]),
        ("point", ["", "(1)", "(1,2,3)", "(1,x)"]),
        ("polygon", ["(1)", "x"]),
        ("tid", ["", "(1)", "(4294967296,1)", "(1,65536)", "(-1,1)", "1,1"]),
        ("pg_lsn", ["", "1", "x/y", "123456789/1"]),
        ("int2vector", ["a", "1  2", "1 40000", " "]),
        (
            "int4[]",
            [
                "",
                "{",
                "}",
                "1",
                "{1",
                "{1}}",
                "{1}x",
                "x{1}",
                "{1,}",
                "{,1}",
                "{1 2}",
                "{{1},2}",
                "{1,{2}}",
                "{{1},{2,3}}",
                "{{1,2},{3}}",
                "{{1},{}}",
                "{{},{1}}",
                "{a}",
                '{"1}',
                '{"1""2"}',
                "[1:2]",
                "[1:2]=",
                "[1:2]=1",
                "[1={1}",
                "[1]=[2]={1}",
                "{1}{2}",
                "{{{{{{{1}}}}}}}",
                "{" * 100000,
                "{1;2}",
                '{1"2"}',
                "{\\1}",
            ],
        ),
        ("int4range", ["", "[1,2", "[1]", "[1,2,3]", "[a,b]", "1,2", "[1,2)x", '["1,2)', "Empty"]),
        (
            "int4multirange",
            ["", "{", "{[1,2)", "{[1,2),}", "{,}", "{[1,2)[3,4)}", "[1,2)", "{empty}", "{[1,2)}x", "{a}"],
        ),
        ("record", ["", "(", "1", "(1", "(1)x", "x(1)", '("1)', '("1"2)', "(1))", "((1)", "(\\1)"]),
    ],
)
def test_malformed(name: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(DataError, match=rf"{name.replace('[', '.')}|in a DateStyle|int[24]"):
            codec(name).decode_text(text)


@pytest.mark.parametrize(
    ("name", "value", "error", "says"),
    [
        ("int4", True, TypeError, "expected int, got bool"),
        ("int4", 2**31, ValueError, "out of range"),
        ("float4", 1e39, ValueError, "out of range of float4"),
        ("bool", 1, TypeError, "expected bool"),
        ("text", "a\0", ValueError, "a NUL character"),
        ("text", b"a", TypeError, "expected str"),
        ("json", {1, 2}, ValueError, "JSON has no such type"),
        ("void", 1, TypeError, "expected None"),
        ("record", (1,), TypeError, "no anonymous record"),
        ("timestamptz", datetime(2024, 1, 1), ValueError, "without time zone"),
        ("int2vector", [[1]], ValueError, "one dimension"),
        ("int4[]", [1, [2]], TypeError, r"element \[1\]: expected int"),
        ("int4[]", [[1], [2, 3]], ValueError, "ragged"),
        ("int4[]", [[1, 2], [3, 2**31]], ValueError, r"element \[1\]\[1\]: int out of range"),
        ("money[]", ["1", 2], TypeError, r"element \[1\]: expected str"),
        ("money[]", "{1}", TypeError, "expected list, got str"),
        ("int4range", (1, 2), TypeError, "expected Range"),
        ("int4range", Range("a", None), TypeError, "lower bound: expected int"),
        ("int4range", Range(1, 2**31), ValueError, "upper bound: int out of range"),
        ("int4multirange", Range(1, 2), TypeError, "expected Multirange"),
        ("int4multirange", [Range(1, 2), 3], TypeError, "range 1: expected Range"),
        ("int4multirange", [Range(2**31, None)], ValueError, "range 0: lower bound: int out of range"),
    ],
)  # fmt: skip
def test_unfit(name: str, value: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        codec(name).encode_text(value)
    with pytest.raises(error, match=says):
        codec(name).encode(value)


_PIECES = [
    *'{}()[],;"\\ -+:/.e0=PT@',
    "\\\\",
    "",
    "9" * 30,
    "NULL",
    " BC",
    "infinity",
    "\0",
    "\u0661",
    "\ud800",
]
_PIECES += [" ago", "NaN", "E+99999", "x", "::", "%a"]


@pytest.mark.parametrize("seed", range(4))
def test_damaged_texts(seed: int) -> None:
    """Nothing but a DataError comes of them, or a value that can be sent."""
    chance = random.Random(seed)
    known = [(name, text) for name, _, text, *_ in SENT] + [(name, text) for name, text, _ in BOTH_WAYS]
    read = 0
    arrays = {each.name for each in BUILT_IN if each.name.endswith("[]")}
    for name, text in known * 20:
        damaged = text[:5000]
        for _ in range(chance.randint(1, 3)):
            start = chance.randint(0, len(damaged))
            stop = start + chance.choice((0, 0, 1, 2, 5))
            damaged = damaged[:start] + chance.choice(_PIECES) + damaged[stop:]
        for kind in {name, f"{name}[]"} & {name, *arrays}:
            try:
                value = codec(kind).decode_text(damaged)
            except DataError:
                continue
            read += 1
            if "\ud800" not in damaged and "\0" not in damaged:
                again = codec(kind).decode_text(codec(kind).encode_text(value))
                assert repr(again) == repr(value)  # in which NaN is NaN
    assert read > 100


def test_a_codec_without_text() -> None:
    plain = Codec(1, "plain")
    with pytest.raises(TypeError, match="the codec of plain writes no text"):
        plain.encode_text(1)
    with pytest.raises(DataError, match="the codec of plain reads no text"):
        plain.decode_text("x")


PAIR = CompositeCodec(70001, "pair", [("n", codec("int4")), ("t", codec("text"))])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1, "a"), "(1,a)"),
        ((None, None), "(,)"),
        ((None, ""), '(,"")'),
        ((-1, 'a "b", \\ (c)\n'), '(-1,"a ""b"", \\\\ (c)\n")'),
        ((1, "NULL"), "(1,NULL)"),
    ],
)
def test_composites(values: tuple[Any, ...], text: str) -> None:
    assert PAIR.encode_text(values) == text
    assert PAIR.decode_text(text) == values
    assert DomainCodec(70002, "pair_too", PAIR).encode_text(dict(zip("nt", values, strict=True))) == text
    row: Any = DomainCodec(70002, "pair_too", PAIR).decode_text(text)
    assert row["t"] == values[1]


def test_composites_of_one_field_and_of_none() -> None:
    one = CompositeCodec(70003, "one", [("n", codec("int4"))])
    none = CompositeCodec(70004, "none", [])
    for kind, values in ((one, (None,)), (none, ())):
        assert kind.encode_text(values) == "()"
        assert kind.decode_text("()") == values
    with pytest.raises(OutdatedTypeError, match="a value of type none has 1 fields instead of 0"):
        none.decode_text("(1)")
    with pytest.raises(OutdatedTypeError, match="a value of type pair has 3 fields instead of 2"):
        PAIR.decode_text("(1,2,3)")


def test_unfit_composites() -> None:
    with pytest.raises(TypeError, match="field 'n': expected int"):
        PAIR.encode_text(("1", "a"))
    with pytest.raises(ValueError, match="field 't': str with a NUL"):
        PAIR.encode_text((1, "\0"))
    with pytest.raises(ValueError, match="1 values for the 2 fields of pair"):
        PAIR.encode_text((1,))


def test_in_text_format() -> None:
    money = codec("money")
    price = in_their_format(
        CompositeCodec(70005, "price", [("of", codec("text")), ("is", money)]), codec("text"), money
    )
    assert isinstance(price, TextFormCodec)
    assert (price.oid, price.name, price.format, price.is_tuple, price.mutable) == (
        70005,
        "price",
        0,
        True,
        False,
    )
    data = price.encode(("a b", "$1.50"))
    assert data == b'("a b",$1.50)'
    assert price.decode(b"__" + data + b"__", 2, 2 + len(data)) == ("a b", "$1.50")
    assert price.decode_text(price.encode_text(("é", None))) == ("é", None)
    with pytest.raises(DataError, match="malformed text of type price: not UTF-8 at byte 1"):
        price.decode(b"(\xff)", 0, 3)
    assert in_their_format(PAIR, codec("text")) is PAIR


def test_every_array_is_a_list() -> None:
    arrays = [each for each in BUILT_IN if each.name.endswith("[]")]
    assert len(arrays) > 60
    for array in arrays:
        assert not isinstance(array, OpaqueCodec)
        for kind in (array, array.typed) if isinstance(array, TextFormCodec) else (array,):
            data = kind.encode([])
            assert kind.decode(data, 0, len(data)) == []
            assert kind.decode_text("{NULL}") == [None]


def test_a_name_that_the_server_would_cut() -> None:
    name = BUILT_IN.codec(19)
    assert name.encode_text("x" * 63) == "x" * 63
    for text in ("x" * 64, "ä" * 32):
        with pytest.raises(ValueError, match="64 bytes, of which a name has 63 at most"):
            name.encode_text(text)
