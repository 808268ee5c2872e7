"""The codecs of the network, bit, geometric, range and system types."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from decimal import Context, Decimal, InvalidOperation, localcontext
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import numpy as np
import pytest

from pgproto.errors import DataError
from pgproto.types import (
    BUILT_IN,
    BitString,
    Box,
    Circle,
    Codec,
    Line,
    LineSegment,
    Multirange,
    Path,
    Point,
    Polygon,
    Range,
    TypeMap,
)
from tests.support.sent import SENT

each_sent = pytest.mark.parametrize(
    ("name", "oid", "text", "value", "sent"), SENT, ids=[f"{row[0]} {row[2]}" for row in SENT]
)


def codec(name: str) -> Codec:
    found = BUILT_IN.named(name)
    assert found is not None
    return found


def decoded(name: str, data: bytes) -> object:
    """The value, whatever is around it."""
    return codec(name).decode(b"\xff" * 5 + data + b"\xff" * 5, 5, 5 + len(data))


@each_sent
def test_as_the_server_sends_it(name: str, oid: int, text: str, value: Any, sent: str) -> None:
    data = bytes.fromhex(sent)
    assert codec(name).oid == oid
    assert decoded(name, data) == value
    assert type(decoded(name, data)) is type(value)
    assert codec(name).encode(value) == data
    assert hash(value) == hash(decoded(name, data))
    assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize("length", [63, 64, 65, 127, 1000])
def test_more_bits_than_a_machine_word_has(length: int) -> None:
    value = BitString("1" * length)
    assert decoded("varbit", codec("varbit").encode(value)) == value
    assert codec("varbit").decode_text("1" * length) == value


@each_sent
def test_in_arrays(name: str, oid: int, text: str, value: Any, sent: str) -> None:
    array = codec(f"{name}[]")
    for values in ([], [value], [value, None], [[value, value], [None, value]]):
        data = array.encode(values)
        assert array.decode(data, 0, len(data)) == values


@each_sent
def test_cut_short_or_too_long(name: str, oid: int, text: str, value: Any, sent: str) -> None:
    data = bytes.fromhex(sent)
    if name == "jsonpath":  # any text will do
        data = data[:0]
    for size in range(len(data)):
        with pytest.raises(DataError, match=name.replace("[", r"\[")):
            decoded(name, data[:size])
    with pytest.raises(DataError, match=name.replace("[", r"\[")):
        decoded(name, data + b"\0")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("inet", "10.1.2.3", ip_address("10.1.2.3")),
        ("inet", "10.1.2.3/32", ip_address("10.1.2.3")),
        ("inet", ip_network("10.0.0.0/8"), ip_interface("10.0.0.0/8")),
        ("inet", ip_network("fe80::/10"), ip_interface("fe80::/10")),
        ("cidr", "10.0.0.0/8", ip_network("10.0.0.0/8")),
        ("cidr", ip_address("10.0.0.1"), ip_network("10.0.0.1/32")),
        ("cidr", ip_interface("10.0.0.0/8"), ip_network("10.0.0.0/8")),
        ("macaddr", "08-00-2B-01-02-03", "08:00:2b:01:02:03"),
        ("macaddr", "0800.2b01.0203", "08:00:2b:01:02:03"),
        ("macaddr", "080:02b010203", "08:00:2b:01:02:03"),
        ("macaddr", "ffffffffffff", "ff:ff:ff:ff:ff:ff"),
        ("macaddr", "08002b010203" + ":" * 52, "08:00:2b:01:02:03"),
        ("macaddr[]", ["080020010203", "FF-FF-FF-FF-FF-FF"], ["08:00:20:01:02:03", "ff:ff:ff:ff:ff:ff"]),
        ("pg_lsn[]", ["80000000/0", "7fffffff/ffffffff"], ["80000000/0", "7FFFFFFF/FFFFFFFF"]),
        ("macaddr8", "F8:00:2b:01:02:03:04:05", "f8:00:2b:01:02:03:04:05"),
        ("macaddr8", "ffff.ffff.ffff.ffff", "ff:ff:ff:ff:ff:ff:ff:ff"),
        ("macaddr8", "7000000000000000", "70:00:00:00:00:00:00:00"),
        ("bit", "101", BitString("101")),
        ("point", [1, 2.5], Point(1.0, 2.5)),
        ("point", " ( 1e3 , -.5 ) ", Point(1000.0, -0.5)),
        ("point", "(inf,-Infinity)", Point(float("inf"), float("-inf"))),
        ("circle", "<(1,2),3>", Circle(Point(1.0, 2.0), 3.0)),
        ("box", ((3, 4), (1, 2)), Box(Point(3.0, 4.0), Point(1.0, 2.0))),
        ("lseg", "[(1,2),(3,4)]", LineSegment(Point(1.0, 2.0), Point(3.0, 4.0))),
        ("point", "1,2", Point(1.0, 2.0)),
        ("point", "(0.0e5,-0)", Point(0.0, -0.0)),
        ("circle", " ( ( 1 , 2 ) , 3 ) ", Circle(Point(1.0, 2.0), 3.0)),
        ("circle", "1,2,3", Circle(Point(1.0, 2.0), 3.0)),
        ("line", " { 1 , 2 , 3 } ", Line(1.0, 2.0, 3.0)),
        ("box", "(1,2,3,4)", Box(Point(1.0, 2.0), Point(3.0, 4.0))),
        ("path", "1,2,(3,4)", Path((Point(1.0, 2.0), Point(3.0, 4.0)), True)),
        ("path", "(1,2)", Path((Point(1.0, 2.0),), True)),
        ("path", [(1, 2), (3, 4)], Path((Point(1.0, 2.0), Point(3.0, 4.0)), True)),
        ("path", "[(1,2),(3,4)]", Path((Point(1.0, 2.0), Point(3.0, 4.0)), False)),
        ("path", "((1,2),(3,4))", Path((Point(1.0, 2.0), Point(3.0, 4.0)), True)),
        ("polygon", "((1,2),(3,4))", Polygon((Point(1.0, 2.0), Point(3.0, 4.0)))),
        ("pg_lsn", "16/b374d848", "16/B374D848"),
        ("pg_lsn", "0/0", "0/0"),
        ("pg_lsn", "0/fffffff", "0/FFFFFFF"),
        ("pg_lsn", "ff/10000000", "FF/10000000"),
        ("pg_lsn", "100/10000000", "100/10000000"),
        ("pg_lsn", "1000000/10A00B0C", "1000000/10A00B0C"),
        ("pg_lsn", "ffffffff/ffffffff", "FFFFFFFF/FFFFFFFF"),
        ("tid", [1, 2], (1, 2)),
        ("int4multirange", [Range(1, 2)], Multirange([Range(1, 2)])),
        ("int4range", Range(1, 2, "(]"), Range(1, 2, "(]")),
    ],
)
def test_what_is_taken_as_well(name: str, given: object, value: object) -> None:
    assert decoded(name, codec(name).encode(given)) == value


OUT_OF_RANGE: Any = ip_address("1.2.3.4")
OUT_OF_RANGE._ip = 1 << 40


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("inet", 1, "expected an address of the module ipaddress"),
        ("inet", "10.1", "str that is no address"),
        ("inet", ip_address("fe80::1%eth0"), "a scope"),
        ("cidr", ip_interface("10.1.2.3/8"), "bits after its prefix"),
        ("macaddr", 5, "expected str"),
        ("macaddr", "08:00", "6 bytes"),
        ("macaddr", "zz:00:2b:01:02:03", "6 bytes"),
        ("macaddr", "08 00 2b 01 02 03", "6 bytes"),
        ("macaddr", "08:00:2b:01:02:\uff10\uff11", "6 bytes"),
        ("macaddr", "08:00:2b:01:02:\ud800", "6 bytes"),
        ("macaddr", "08:00:2b:01:02:03:04", "6 bytes"),
        ("macaddr8", "08:00:2b:01:02:03", "8 bytes"),
        ("macaddr8", "8" * 1_000_000, "8 bytes"),
        ("macaddr", "08002b010203" + ":" * 53, "6 bytes"),
        ("bit", 5, "expected BitString or str"),
        ("bit", "102", "0 and 1"),
        ("point", 5, "expected tuple"),
        ("point", (1,), "a tuple of 1 instead of 2"),
        ("point", (1, "x"), "expected float"),
        ("point", (1, True), "expected float"),
        ("point", "(1,2,3)", "of the form"),
        ("point", "(1,x)", "of the form"),
        ("box", ((1, 2, 3), (1, 2)), "a point of 3 numbers"),
        ("path", 5, "expected tuple"),
        ("path", "[(1,2),(3)]", "of the form"),
        ("point", "1.2.3", "of the form"),
        ("point", "1-2", "of the form"),
        ("point", "1,2)", "of the form"),
        ("point", "(1e400,0)", "a number out of range of float8"),
        ("point", "(0,-1e400)", "a number out of range of float8"),
        ("point", "(0,1e-400)", "a number out of range of float8"),
        ("point", "(\u0661,0)", "of the form"),
        ("line", "(1,2,3)", "of the form"),
        ("lseg", "(1,2),(3,4),(5,6)", "of the form"),
        ("box", "[(1,2),(3,4)]", "of the form"),
        ("path", "][(1,2)", "of the form"),
        ("path", "[(1,2)", "of the form"),
        ("path", "[((1,2),(3,4))]", "of the form"),
        ("polygon", "(1,2)(3,4)", "of the form"),
        ("polygon", "[(1,2)]", "of the form"),
        ("polygon", "(1,2,(3,4))", "of the form"),
        ("polygon", "(" * 100_000, "of the form"),
        ("polygon", "1," * 100_000, "of the form"),
        ("circle", "(1,2,3)", "of the form"),
        ("circle", "<(1,2),3)", "of the form"),
        ("circle", "[(1,2),3]", "of the form"),
        ("tid", 5, "expected tuple"),
        ("tid", (1,), "a tuple of 1 instead of 2"),
        ("tid", (True, 0), "expected int"),
        ("tid", (0, False), "expected int"),
        ("tid", (-1, 0), "out of range"),
        ("tid", (1, 65536), "out of range"),
        ("pg_lsn", "16", "of the form"),
        ("pg_lsn", "16/xyz", "of the form"),
        ("pg_lsn", "1/123456789", "of the form"),
        ("pg_lsn", "-1/1", "of the form"),
        ("pg_lsn", "+1/1", "of the form"),
        ("pg_lsn", "0x1/1", "of the form"),
        ("pg_lsn", "1_0/1", "of the form"),
        ("pg_lsn", " 1/1", "of the form"),
        ("pg_lsn", "/1", "of the form"),
        ("pg_lsn", "1/", "of the form"),
        ("pg_lsn", "123456789/1", "of the form"),
        ("pg_lsn", "1/\uff11", "of the form"),
        ("pg_lsn", "1/\ud800", "of the form"),
        ("int2vector", 5, "expected list"),
        ("int2vector", [], "no empty vector"),
        ("int2vector", [1, None], "no None"),
        ("int2vector", [[1]], "one dimension"),
        ("record", (1,), "anonymous record"),
        ("int4range", (1, 2), "expected Range"),
        ("int4range", Range("x", 2), "lower bound: expected int"),
        ("int4range", Range(1, 1 << 40), "upper bound: int out of range"),
        ("int4multirange", 5, "expected Multirange"),
        ("int4multirange", [1], "range 0: expected Range"),
        ("inet", OUT_OF_RANGE, "an address out of range"),
        ("int4multirange", [Range(1, 1 << 40)], "range 0: upper bound: int out of range"),
    ],
)
def test_what_is_refused(name: str, value: object, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        codec(name).encode(value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("inet", "032000040a010203"),
        ("inet", "022100040a010203"),
        ("inet", "022001040a010203"),
        ("inet", "022000050a010203"),
        ("cidr", "020801040a010203"),
        ("bit", "ffffffff"),
        ("bit", "0000000900"),
        ("polygon", "ffffffff"),
        ("path", "0200000000"),
        ("jsonpath", "0224"),
        ("int4range", "20"),
        ("int4range", "03"),
        ("int4multirange", "00000002" + "0000000101" + "ffffffff00"),
    ],
)
def test_what_no_server_sends(name: str, data: str) -> None:
    with pytest.raises(DataError, match=f"malformed binary value of type {name}"):
        decoded(name, bytes.fromhex(data))


# ---- Records and vectors


def test_a_vector_without_elements_has_a_dimension() -> None:
    assert decoded("int2vector", struct.pack(">iiIii", 1, 0, 21, 0, 0)) == ()


def field(oid: int, data: bytes | None) -> bytes:
    return struct.pack(">Ii", oid, -1 if data is None else len(data)) + (data or b"")


def test_a_record_is_a_tuple_of_its_fields() -> None:
    data = struct.pack(">i", 3) + field(23, b"\0\0\0\7") + field(25, None) + field(25, b"x")
    assert decoded("record", data) == (7, None, "x")
    for size in range(len(data)):
        with pytest.raises(DataError, match="record"):
            decoded("record", data[:size])
    with pytest.raises(DataError, match="after its fields"):
        decoded("record", data + b"\0")
    with pytest.raises(DataError, match="a field of type tsvector in a record: cast the field to text"):
        decoded("record", struct.pack(">i", 1) + field(3614, b"x"))
    with pytest.raises(DataError, match="a field of -2 bytes"):
        decoded("record", struct.pack(">iIi", 1, 23, -2))


# ---- The classes


def test_bit_strings() -> None:
    bits = BitString("1011")
    assert (len(bits), str(bits), repr(bits)) == (4, "1011", "BitString('1011')")
    assert list(bits) == [True, False, True, True]
    assert bits[1] is False
    assert bits.to_int() == 11
    assert bits.to_bytes() == b"\xb0"
    assert BitString.from_int(11, 4) == bits
    assert BitString.from_int(0, 0) == BitString()
    assert BitString().to_int() == 0
    assert bits != "1011"
    assert BitString("01") < BitString("1") < BitString("10")
    with pytest.raises(TypeError):
        BitString("1") < 1  # noqa: B015
    for number, length in ((-1, 4), (16, 4)):
        with pytest.raises(ValueError, match="does not fit into 4 bits"):
            BitString.from_int(number, length)


def test_ranges_know_what_is_in_them() -> None:
    assert [n for n in range(6) if n in Range(1, 4)] == [1, 2, 3]
    assert [n for n in range(6) if n in Range(1, 4, "(]")] == [2, 3, 4]
    assert [n for n in range(6) if n in Range(None, 2)] == [0, 1]
    assert [n for n in range(6) if n in Range(4)] == [4, 5]
    assert 1 not in Range(empty=True)
    assert 3 in Multirange([Range(1, 2), Range(3, 4)])
    assert 2 not in Multirange([Range(1, 2), Range(3, 4)])


@pytest.mark.parametrize("kind", [float, Decimal, np.float32])
def test_ranges_have_nan_after_everything(kind: Callable[[str], Any]) -> None:
    zero, one, inf, nan = (kind(each) for each in ("0", "1", "inf", "nan"))
    values = [-inf, zero, one, inf, nan]
    assert [value in Range(zero, one) for value in values] == [False, True, False, False, False]
    assert [value in Range(zero, inf, "[]") for value in values] == [False, True, True, True, False]
    assert [value in Range(zero, None) for value in values] == [False, True, True, True, True]
    assert [value in Range(None, nan) for value in values] == [True, True, True, True, False]
    assert [value in Range(None, nan, "(]") for value in values] == [True] * 5
    assert [value in Range(nan, None) for value in values] == [False, False, False, False, True]
    assert [value in Range(nan, None, "()") for value in values] == [False] * 5
    several = Multirange([Range(zero, one), Range(nan)])
    assert [value in several for value in values] == [False, True, False, False, True]
    assert Range(nan, None) == Range(kind("nan"), None) != Range(inf, None)
    assert hash(Range(nan, None)) == hash(Range(kind("nan"), None))
    assert Range(nan, kind("nan")).empty
    assert (Range(zero, one).empty, Range(zero, zero).empty) == (False, True)
    assert not Range(nan, kind("nan"), "[]").empty


def test_a_signaling_nan_is_one() -> None:
    with localcontext(Context(traps=[InvalidOperation])):
        assert Decimal("sNaN") not in Range(Decimal(0), Decimal(1))
        assert Decimal("NaN") not in Range(Decimal(0), Decimal(1))
        assert Range(Decimal("sNaN")) == Range(Decimal("NaN"))


def test_ranges_without_anything_between_their_bounds_are_empty() -> None:
    empty: list[Range[Any]] = [
        Range(1, 1),
        Range(1, 1, "(]"),
        Range("a", "a", "()"),
        Range(Decimal("1.0"), Decimal("1.00")),
    ]
    assert all(each.empty and not each and each == Range(empty=True) for each in empty)
    assert {hash(each) for each in empty} == {hash(Range(empty=True))}
    kept: list[Range[Any]] = [
        Range(1, 1, "[]"),
        Range(None, None),
        Range(1, None),
        Range(None, 1),
        Range(5, 1),
        Range("a", 1),
    ]
    assert not any(each.empty or each == Range(empty=True) for each in kept)
    assert all(kept)
    assert pickle.loads(pickle.dumps(empty[0])) == empty[0]


def test_the_parts_of_a_range() -> None:
    one = Range(1, 4)
    assert (one.lower, one.upper, one.bounds, one.lower_inc, one.upper_inc, one.empty) == (
        1, 4, "[)", True, False, False,
    )  # fmt: skip
    assert Range(None, None, "[]").bounds == "()"
    assert bool(one)
    assert not Range(empty=True)
    assert (repr(one), repr(Range(empty=True))) == ("Range(1, 4, '[)')", "Range(empty=True)")
    assert one != (1, 4)
    with pytest.raises(ValueError, match="one of"):
        Range(1, 2, "<>")
    with pytest.raises(ValueError, match="no bounds"):
        Range(1, empty=True)
    several = Multirange([one])
    assert (len(several), several[0], list(several)) == (1, one, [one])
    assert repr(several) == "Multirange([Range(1, 4, '[)')])"
    assert several != [one]


# ---- The map


def test_a_map_asks_its_parent() -> None:
    types = TypeMap(BUILT_IN)
    assert types.codec(23) is BUILT_IN.codec(23)
    assert types.named("int4") is BUILT_IN.codec(23)
    assert types.known(16400) is types.named("mood") is None
    assert types.codec(16400).name == "with OID 16400"
    mine = type(BUILT_IN.codec(25))(16400, "mood")
    types.add(mine)
    assert types.codec(16400) is types.named("mood") is mine
    assert mine in list(types)
    assert BUILT_IN.known(16400) is BUILT_IN.named("mood") is None
    assert repr(types) == "<TypeMap of 3 types>"
