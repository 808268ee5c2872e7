"""Codecs of the plain types, against bytes written by hand from PostgreSQL's *send functions."""

from __future__ import annotations

import copy
import math
import pickle
import random
import struct
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import DataError
from pgproto.types import Codec
from pgproto.types.codec import MAX_FIELD, FixedCodec, frame_length
from pgproto.types.scalars import FloatCodec, IntCodec
from pgproto.wire.native import (
    read_float64,
    read_float64_by_shifts,
    read_int32,
    read_int32_by_shifts,
    read_int64,
    read_integer,
)
from tests.support.codecs import binary_codec, type_name

FIXED = settings(deadline=None, derandomize=True)

UUID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")

VECTORS: list[tuple[int, str, Any, str]] = [
    (16, "bool", True, "01"),
    (16, "bool", False, "00"),
    (17, "bytea", b"\x00\xff", "00ff"),
    (17, "bytea", b"", ""),
    (18, '"char"', "x", "78"),
    (18, '"char"', "", "00"),
    (18, '"char"', "\\351", "e9"),
    (18, '"char"', "\\200", "80"),
    (19, "name", "pg_class", "70675f636c617373"),
    (20, "int8", 1, "0000000000000001"),
    (20, "int8", 2**63 - 1, "7fffffffffffffff"),
    (20, "int8", -(2**63), "8000000000000000"),
    (21, "int2", 32767, "7fff"),
    (21, "int2", -32768, "8000"),
    (23, "int4", -1, "ffffffff"),
    (23, "int4", 2**31 - 1, "7fffffff"),
    (23, "int4", -(2**31), "80000000"),
    (25, "text", "héllo", "68c3a96c6c6f"),
    (25, "text", "", ""),
    (26, "oid", 2**32 - 1, "ffffffff"),
    (28, "xid", 3, "00000003"),
    (29, "cid", 0, "00000000"),
    (114, "json", {"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'.encode().hex()),
    (114, "json", "text", b'"text"'.hex()),
    (700, "float4", 1.5, "3fc00000"),
    (701, "float8", -2.0, "c000000000000000"),
    (701, "float8", math.inf, "7ff0000000000000"),
    (705, "unknown", "u", "75"),
    (1042, "bpchar", "ab   ", "6162202020"),
    (1043, "varchar", "ab", "6162"),
    (1790, "refcursor", "c", "63"),
    (2275, "cstring", "c", "63"),
    (2950, "uuid", UUID, "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    (3802, "jsonb", [True, 1.5], "01" + b"[true,1.5]".hex()),
    (5069, "xid8", 2**64 - 1, "ffffffffffffffff"),
]


def codec(oid: int) -> Codec:
    """The codec of a type that has one."""
    found = binary_codec(oid)
    assert found is not None
    return found


@pytest.mark.parametrize(("oid", "name", "value", "data"), VECTORS)
def test_vector(oid: int, name: str, value: object, data: str) -> None:
    binary = bytes.fromhex(data)
    assert codec(oid).encode(value) == binary
    decoded = codec(oid).decode(b"\xaa" + binary + b"\xbb", 1, 1 + len(binary))
    assert decoded == value
    assert type(decoded) is type(value)
    assert codec(oid).name == name == type_name(oid)
    assert codec(oid).oid == oid


@pytest.mark.parametrize(
    ("oid", "value", "error", "text"),
    [
        (16, 1, TypeError, "expected bool, got int"),
        (16, "t", TypeError, "expected bool, got str"),
        (17, "x", TypeError, "expected bytes, got str"),
        (17, 5, TypeError, "expected bytes, got int"),
        (18, "xy", ValueError, "one ASCII character"),
        (18, "é", ValueError, "one ASCII character"),
        (18, "\\400", ValueError, "one ASCII character"),
        (18, "\\189", ValueError, "one ASCII character"),
        (18, "\\108", ValueError, "one ASCII character"),
        (18, 5, TypeError, "expected str, got int"),
        (20, 2**63, ValueError, "int8 goes from -9223372036854775808 to 9223372036854775807"),
        (21, 32768, ValueError, "int out of range: int2 goes from -32768 to 32767"),
        (21, -32769, ValueError, "int2 goes from"),
        (23, 2**31, ValueError, "int4 goes from -2147483648 to 2147483647"),
        (23, True, TypeError, "expected int, got bool"),
        (23, 1.5, ValueError, "float that is no whole number, or too large"),
        (23, "1", TypeError, "expected int, got str"),
        (26, -1, ValueError, "oid goes from 0 to 4294967295"),
        (5069, 2**64, ValueError, "xid8 goes from 0 to 18446744073709551615"),
        (25, 5, TypeError, "expected str, got int"),
        (25, b"x", TypeError, "expected str, got bytes"),
        (25, "a\0b", ValueError, "NUL"),
        (25, "ab\ud800", ValueError, "at index 2, lone surrogate"),
        (700, 1e300, ValueError, "float out of range of float4"),
        (701, 10**400, ValueError, "int out of range of float8"),
        (701, True, TypeError, "expected float, got bool"),
        (701, "1", TypeError, "expected float, got str"),
        (114, math.nan, ValueError, "nan at the top: JSON has no such number"),
        (114, {1j}, ValueError, "at the top: JSON has no such type"),
        (3802, "\ud800", ValueError, "lone surrogate"),
        (2278, "x", TypeError, "expected None, got str"),
        (2950, "no uuid", ValueError, "str that is not a UUID"),
        (2950, 5, TypeError, "expected UUID or str, got int"),
    ],
)
def test_refused_values(oid: int, value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text.replace("(", r"\(")) as caught:
        codec(oid).encode(value)
    assert type(caught.value) is error


def test_other_accepted_input() -> None:
    assert codec(701).encode(3) == struct.pack(">d", 3.0)
    assert codec(700).encode(3) == struct.pack(">f", 3.0)
    assert codec(17).encode(bytearray(b"ab")) == b"ab"
    assert codec(17).encode(memoryview(b"abcd")[::2]) == b"ac"
    assert codec(2950).encode(str(UUID)) == UUID.bytes
    assert codec(16).decode(b"\x02", 0, 1) is True
    assert codec(2278).decode(b"", 0, 0) is None
    assert codec(3802).encode((1, 2)) == b"\x01[1,2]"


def test_nan_and_signed_zero() -> None:
    for oid in (700, 701):
        binary = codec(oid).encode(math.nan)
        value = codec(oid).decode(binary, 0, len(binary))
        assert isinstance(value, float)
        assert math.isnan(value)
        binary = codec(oid).encode(-0.0)
        value = codec(oid).decode(binary, 0, len(binary))
        assert isinstance(value, float)
        assert math.copysign(1, value) == -1


def test_json_that_is_too_deep_is_refused_both_ways() -> None:
    value: list[Any] = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        codec(114).encode(value)
    while value:  # take it apart: its deallocation would recurse, too
        value = value[0]
    deep = b"[" * 200_000
    with pytest.raises(DataError):
        codec(114).decode(deep, 0, len(deep))
    circular: list[object] = []
    circular.append(circular)
    with pytest.raises(ValueError, match="Circular"):
        codec(114).encode(circular)


@pytest.mark.parametrize(
    ("oid", "data", "text"),
    [
        (16, "", "malformed binary value of type bool: 0 bytes instead of 1"),
        (16, "0101", "2 bytes instead of 1"),
        (18, "", "0 bytes instead of 1"),
        (23, "000000", "malformed binary value of type int4: 3 bytes instead of 4"),
        (20, "00" * 9, "9 bytes instead of 8"),
        (701, "00" * 4, "4 bytes instead of 8"),
        (25, "61ff", "not UTF-8 at byte 1"),
        (25, "c3", "not UTF-8 at byte 0"),
        (114, "", "type json: Expecting value"),
        (114, "ff", "not UTF-8"),
        (3802, "", "not version 1"),
        (3802, "027b7d", "not version 1"),
        (3802, "01", "type jsonb: Expecting value"),
        (2278, "00", "1 bytes instead of 0"),
        (2950, "00" * 15, "15 bytes instead of 16"),
    ],
)
def test_malformed_bytes(oid: int, data: str, text: str) -> None:
    binary = bytes.fromhex(data)
    with pytest.raises(DataError, match=text):
        codec(oid).decode(binary, 0, len(binary))


def test_json_number_longer_than_python_reads() -> None:
    binary = b"9" * 5000
    with pytest.raises(DataError, match="select it as text"):
        codec(114).decode(binary, 0, len(binary))


def test_types_without_codec() -> None:
    assert binary_codec(3614) is None
    assert type_name(3614) == "tsvector"
    assert type_name(3643) == "tsvector[]"
    assert type_name(2205) == "regclass"
    assert type_name(16385) == "with OID 16385"
    assert type_name(1007) == "int4[]"


def test_base_class_and_repr() -> None:
    base = Codec(1, "base")
    with pytest.raises(NotImplementedError):
        base.encode(1)
    with pytest.raises(NotImplementedError):
        base.decode(b"", 0, 0)
    with pytest.raises(NotImplementedError):
        FixedCodec(1, "base", "i", int).encode(1)
    assert repr(codec(23)) == "<IntCodec int4 (23)>"


def test_frame_length() -> None:
    assert frame_length(0) == b"\0\0\0\0"
    assert frame_length(MAX_FIELD) == b"\x7f\xff\xff\xff"
    with pytest.raises(ValueError, match="2147483648 bytes are more"):
        frame_length(MAX_FIELD + 1)


@FIXED
@given(st.binary(min_size=9, max_size=9), st.integers(0, 1), st.sampled_from([1, 2, 4, 8]), st.booleans())
def test_read_integer_is_int_from_bytes(data: bytes, start: int, size: int, signed: bool) -> None:
    signed = signed or size == 8
    expected = int.from_bytes(data[start : start + size], "big", signed=signed)
    assert read_integer(data, start, size, signed) == expected
    if size == 4 and signed:
        assert read_int32(data, start) == expected
        assert read_int32_by_shifts(data, start) == expected
    if size == 8:
        assert read_int64(data, start) == expected


@pytest.mark.parametrize("read", [read_int32, read_int32_by_shifts, read_int64])
def test_no_integer_is_read_outside_of_the_buffer(read: Callable[[bytes, int], int]) -> None:
    for position in (1, 9, 1 << 61):
        with pytest.raises((IndexError, struct.error)):
            read(bytes(range(3 if read is not read_int64 else 8)), position)


_ROUND_TRIPS: list[tuple[int, st.SearchStrategy[Any]]] = [
    (16, st.booleans()),
    (17, st.binary()),
    (18, st.characters(min_codepoint=1, max_codepoint=127) | st.just("")),
    (20, st.integers(-(2**63), 2**63 - 1)),
    (21, st.integers(-(2**15), 2**15 - 1)),
    (23, st.integers(-(2**31), 2**31 - 1)),
    (25, st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    (26, st.integers(0, 2**32 - 1)),
    (700, st.floats(width=32, allow_nan=False)),
    (701, st.floats(allow_nan=False)),
    (2950, st.uuids()),
    (5069, st.integers(0, 2**64 - 1)),
]


@pytest.mark.parametrize(("oid", "values"), _ROUND_TRIPS)
def test_round_trip(oid: int, values: st.SearchStrategy[Any]) -> None:
    @FIXED
    @given(values, st.binary(max_size=3), st.binary(max_size=3))
    def check(value: object, before: bytes, after: bytes) -> None:
        binary = codec(oid).encode(value)
        decoded = codec(oid).decode(before + binary + after, len(before), len(before) + len(binary))
        assert decoded == value
        assert type(decoded) is type(value)

    check()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


@FIXED
@given(_JSON)
def test_json_round_trip(value: object) -> None:
    for oid in (114, 3802):
        binary = codec(oid).encode(value)
        assert codec(oid).decode(binary, 0, len(binary)) == value


FLOATS: Final = (
    *(0.0, 1.0, 1.5, math.pi, 1e23, 1 / 3, 5e-324, 2.0**-1022, 2.0**-1022 - 5e-324, sys.float_info.max),
    *(2.0**-149, 2.0**-126, 2.0**-126 - 2.0**-149, (2 - 2.0**-23) * 2.0**127, math.inf),
)


@pytest.mark.parametrize("code", ["f", "d"])
def test_both_ways_to_read_a_float_have_the_same_result(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, draw = struct.Struct(">" + code), random.Random(17)
    every = [each * sign for each in FLOATS for sign in (1, -1) if code == "d" or abs(each) < 2.0**128]
    packed = [shape.pack(each) for each in every] + [draw.randbytes(shape.size) for _ in range(2000)]
    monkeypatch.setattr("pgproto.types.scalars.COMPILED", True)
    monkeypatch.setattr("pgproto.types.scalars.read_float64", read_float64_by_shifts)
    codec = FloatCodec(0, "number", code)
    for data in packed:
        value = codec.decode(b"\x11" + data + b"\x22", 1, 1 + shape.size)
        assert isinstance(value, float)
        expected = shape.unpack(data)[0]
        assert struct.pack(">d", value) == struct.pack(">d", expected)  # the sign of 0 and NaN as well
        assert read_float64(struct.pack(">d", expected), 0).hex() == expected.hex()
    with pytest.raises(DataError, match="bytes instead of"):
        codec.decode(b"\0" * 9, 0, 9)


def test_a_uuid_is_as_its_constructor_makes_it() -> None:
    decoded = codec(2950).decode(b"\x11" + UUID.bytes + b"\x22", 1, 17)
    assert type(decoded) is uuid.UUID
    assert (decoded, decoded.int, decoded.is_safe) == (UUID, UUID.int, UUID.is_safe)
    assert (str(decoded), hash(decoded)) == (str(UUID), hash(UUID))
    assert pickle.loads(pickle.dumps(decoded)) == copy.deepcopy(decoded) == UUID
    with pytest.raises(DataError, match="17 bytes instead of 16"):
        codec(2950).decode(bytes(17), 0, 17)


def test_fixed_codecs_know_their_width() -> None:
    for oid, size in ((16, 1), (21, 2), (23, 4), (20, 8), (701, 8), (2950, 16), (1184, 8)):
        fixed = codec(oid)
        assert isinstance(fixed, FixedCodec)
        assert fixed.size == size


@pytest.mark.parametrize("by_shifts", [False, True])
@pytest.mark.parametrize(
    ("code", "value"),
    [
        *[("h", -2), ("i", -3), ("q", -4), ("H", 65_535), ("I", 1 << 31), ("i", 7), ("I", 7)],
        *[("Q", 7), ("Q", 1 << 63), ("Q", (1 << 64) - 1)],
    ],
)
def test_both_ways_to_read_an_integer_have_the_same_result(
    by_shifts: bool, code: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"\x11" + struct.pack(">" + code, value) + b"\x22"
    # What the compiled build does, and what the interpreted one does.
    monkeypatch.setattr("pgproto.types.scalars.COMPILED", by_shifts)
    for codec in (FixedCodec(0, "number", code, int), IntCodec(0, "number", code)):
        codec._by_shifts = by_shifts
        assert codec.decode(data, 1, len(data) - 1) == value
        assert codec.convert(value) == value  # a type that is its own raw form
        with pytest.raises(DataError, match="bytes instead of"):
            codec.decode(data, 0, len(data))
