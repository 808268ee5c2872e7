"""The codec of arrays: shapes, NULLs, ragged input, malformed bytes."""

from __future__ import annotations

import pickle
import struct
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import DataError
from pgproto.types import Array, Codec
from pgproto.types.arrays import ArrayCodec
from pgproto.types.composites import DomainCodec
from tests.support.codecs import binary_codec

FIXED = settings(deadline=None, derandomize=True)

INT4S, TEXTS, JSONS, FLOATS, BOOLS, STAMPS = 1007, 1009, 3807, 1022, 1000, 1185


def codec(oid: int) -> Codec:
    found = binary_codec(oid)
    assert found is not None
    return found


def decode(oid: int, binary: bytes) -> Any:
    return codec(oid).decode(b"\x33" + binary + b"\x44", 1, 1 + len(binary))


VECTORS: list[tuple[int, list[Any], str]] = [
    (INT4S, [], "00000000 00000000 00000017"),
    (INT4S, [1, 2], "00000001 00000000 00000017 00000002 00000001 00000004 00000001 00000004 00000002"),
    (INT4S, [None], "00000001 00000001 00000017 00000001 00000001 ffffffff"),
    (
        INT4S,
        [[1], [None]],
        "00000002 00000001 00000017 00000002 00000001 00000001 00000001 00000004 00000001 ffffffff",
    ),
    (TEXTS, ["", "é"], "00000001 00000000 00000019 00000002 00000001 00000000 00000002 c3a9"),
    (JSONS, [[1], None], "00000001 00000001 00000eda 00000002 00000001 00000004 01 5b315d ffffffff"),
]


@pytest.mark.parametrize(("oid", "value", "data"), VECTORS)
def test_vector(oid: int, value: list[Any], data: str) -> None:
    binary = bytes.fromhex(data)
    assert codec(oid).encode(value) == binary
    assert decode(oid, binary) == value


def test_empty_lists_of_any_shape_are_the_empty_array() -> None:
    shapes: list[Any] = [[], (), [[]], [[], []], [[[]]]]
    for value in shapes:
        assert decode(INT4S, codec(INT4S).encode(value)) == []


def test_lower_bounds_are_not_kept() -> None:
    binary = struct.pack(">iiIiiiiii", 1, 0, 23, 2, -5, 4, 7, 4, 8)
    assert decode(INT4S, binary) == [7, 8]


def test_six_dimensions_and_no_more() -> None:
    value: Any = [1, None, 3]
    for _ in range(5):
        value = [value, value]
    assert decode(INT4S, codec(INT4S).encode(value)) == value
    with pytest.raises(ValueError, match="nested more than 6 deep"):
        codec(INT4S).encode([value])


def test_a_list_that_contains_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="nested more than 6 deep"):
        codec(INT4S).encode(value)
    wide: list[Any] = []
    wide.extend([wide] * 1000)
    with pytest.raises(ValueError, match="more than 134217727 elements"):
        codec(INT4S).encode(wide)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested more than 6 deep"):
        codec(INT4S).encode(deep)
    while deep:
        deep = deep[0]


@pytest.mark.parametrize(
    ("oid", "value", "error", "text"),
    [
        (INT4S, "{1,2}", TypeError, "expected list, got str"),
        (INT4S, {1: 2}, TypeError, "expected list, got dict"),
        (INT4S, [1, "2"], TypeError, r"element \[1\]: expected int, got str"),
        (INT4S, [True, False], TypeError, r"element \[0\]: expected int, got bool"),
        (INT4S, [1, 2**31], ValueError, r"element \[1\]: int out of range: int4"),
        (INT4S, [[1, 2], [3]], ValueError, "ragged"),
        (INT4S, [[1, 2], 3], ValueError, "ragged"),
        (INT4S, [[1], None], ValueError, "ragged"),
        (INT4S, [1, [2]], TypeError, r"element \[1\]: expected int, got list"),
        (INT4S, [[[1], [2]], [[3], ["x"]]], TypeError, r"element \[1\]\[1\]\[0\]: expected int, got str"),
        (TEXTS, ["a", "b\0"], ValueError, r"element \[1\]: str with a NUL"),
        (1021, [1.0, 1e300], ValueError, r"element \[1\]: float out of range of float4"),
    ],
)
def test_refused(oid: int, value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        codec(oid).encode(value)


@pytest.mark.parametrize(
    ("items", "bounds", "text"),
    [
        ([1, 2], (2,), "[2:3]={1,2}"),
        ([None], (-(2**31),), "[-2147483648:-2147483648]={NULL}"),
        ([[1, 2], [3, 4]], (1, 0), "[1:2][0:1]={{1,2},{3,4}}"),
    ],
)
def test_lower_bounds_are_kept(items: list[Any], bounds: tuple[int, ...], text: str) -> None:
    array = codec(INT4S)
    value = Array(items, bounds)
    data = array.encode(value)
    for found in (
        decode(INT4S, data),
        array.decode_text(text),
        *[pickle.loads(pickle.dumps(value, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)],
        copy(value),
    ):
        assert type(found) is Array
        assert found == items
        assert found.lower_bounds == bounds
    assert array.encode_text(value) == text
    assert array.encode(decode(INT4S, data)) == data
    assert repr(value) == f"Array({items!r}, lower_bounds={bounds!r})"


def test_usual_lower_bounds_make_a_list() -> None:
    array = codec(INT4S)
    assert type(decode(INT4S, array.encode(Array([[1], [2]], (1, 1))))) is list
    assert array.encode(Array([], (5,))) == array.encode([])
    assert array.encode_text(Array([], (5,))) == "{}"
    assert array.decode_text("{{},{}}") == []


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ((), "0 lower bounds for 1 dim"),
        ((1, 1), "2 lower bounds for 1 dim"),
        ((2**31,), "a lower bound out of range"),
    ],
)
def test_lower_bounds_that_do_not_fit(bounds: tuple[int, ...], says: str) -> None:
    for encode in (codec(INT4S).encode, codec(INT4S).encode_text):
        with pytest.raises(ValueError, match=says):
            encode(Array([1], bounds))
    with pytest.raises(TypeError):
        Array([1], ["1"])  # type: ignore[list-item]
    with pytest.raises(DataError, match="2 subscripts for 1 dim"):
        codec(INT4S).decode_text("[1:1][2:2]={1}")


def test_arrays_in_a_domain_are_values_and_not_dimensions() -> None:
    array = ArrayCodec(2, DomainCodec(1, "texts", codec(TEXTS)))
    for value in ([["a"], []], [["a", None], None, ["b"]], [[["a"], ["b"]]]):
        data = array.encode(value)
        assert data[:4] == b"\0\0\0\1"
        assert array.decode(data, 0, len(data)) == value
    with pytest.raises(TypeError, match="expected list"):
        array.encode(["a"])


def test_json_lists_are_values_and_not_dimensions() -> None:
    value: list[Any] = [[1, [2]], {"a": []}, "x", None]
    assert decode(JSONS, codec(JSONS).encode(value)) == value
    # Two dimensions can arrive all the same.
    binary = struct.pack(">iiIiiii", 2, 0, 3802, 1, 1, 1, 1) + b"\0\0\0\x02\x017"
    assert decode(JSONS, binary) == [[7]]


def test_long_arrays_are_read_and_written_in_chunks() -> None:
    for count in (255, 256, 257, 1000):
        numbers = list(range(count))
        binary = codec(INT4S).encode(numbers)
        assert binary == codec(INT4S).encode([*numbers])
        assert decode(INT4S, binary) == numbers
        floats = [number / 3 for number in numbers]
        assert decode(FLOATS, codec(FLOATS).encode(floats)) == floats
        mixed: list[Any] = [*numbers, None]
        assert decode(INT4S, codec(INT4S).encode(mixed)) == mixed


def test_ints_among_floats_take_the_other_way() -> None:
    assert codec(FLOATS).encode([1, 2.0]) == codec(FLOATS).encode([1.0, 2.0])


def test_element_lengths_that_only_add_up_are_refused() -> None:
    # 3 + 5 bytes are as many as 4 + 4, but neither is an int4.
    binary = struct.pack(">iiIii", 1, 0, 23, 2, 1) + b"\0\0\0\x03abc" + b"\0\0\0\x05abcde"
    with pytest.raises(DataError, match="3 bytes instead of 4"):
        decode(INT4S, binary)


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "", "three words here"],
        ["a", "\u00e9", "c"],
        ["a", None, "c"],
        [None],
        ["x" * 127, "y"],
        ["x" * 128, "y"],
        ["\x7f" * 200, "\u20ac", None, ""],
    ],
)
def test_texts_are_read_the_same_with_and_without_others_that_are_not_ascii(texts: list[str | None]) -> None:
    binary = codec(1009).encode(texts)
    assert codec(1009).decode(b"\x11" + binary + b"\x22", 1, 1 + len(binary)) == texts
    several = codec(1009).encode([texts, texts[::-1]])
    assert decode(1009, several) == [texts, texts[::-1]]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\0\0\0\x01a\0\0\0\x02b", "an element of 2 bytes with 1 left"),
        (b"\0\0\0\x01a\x7f\x7f\x7f\x7fb", "an element of 2139062143 bytes with 1 left"),
        (b"\0\0\0\x05abcde", "within an element's length"),
        (b"\0\0\0\x03abc\0\0", "within an element's length"),
        (b"\0\0\0\x01a\0\0\0\x01bc", "1 bytes after the last element"),
        (b"\0\0\0\x01a\0\0\0\x01\xff", "not UTF-8 at byte 0"),
        (b"\0\0\0\x01a\xff\xff\xff\xfe", "an element of -2 bytes with 0 left"),
    ],
)
def test_malformed_texts(body: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text):
        decode(1009, struct.pack(">iiIii", 1, 0, 25, 2, 1) + body)


@pytest.mark.parametrize(
    "items", [[None], [1, None], [None, 1], [1, None, 3], [None, None, -3], [-1, 2**31 - 1]]
)
def test_nulls_among_ints(items: list[int | None]) -> None:
    binary = codec(INT4S).encode(items)
    assert decode(INT4S, binary) == items
    assert decode(1016, codec(1016).encode(items)) == items


_HEAD = struct.pack(">iiIii", 1, 0, 23, 1, 1)


@pytest.mark.parametrize(
    ("binary", "text"),
    [
        (b"", "0 bytes, which is too short"),
        (b"\0" * 11, "11 bytes, which is too short"),
        (struct.pack(">iiI", 7, 0, 23), "7 dimensions"),
        (struct.pack(">iiI", -1, 0, 23), "-1 dimensions"),
        (struct.pack(">iiI", 0, 2, 23), "flags 2"),
        (struct.pack(">iiI", 0, 0, 25), "elements of type 25 instead of 23"),
        (struct.pack(">iiI", 1, 0, 23) + b"\0" * 7, "within its dimensions"),
        (struct.pack(">iiIii", 1, 0, 23, 0, 1), "a dimension of length 0"),
        (struct.pack(">iiIii", 1, 0, 23, -1, 1), "a dimension of length -1"),
        (struct.pack(">iiIii", 1, 0, 23, 2**31 - 1, 1), "2147483647 elements announced in 0 bytes"),
        (
            struct.pack(">iiI", 6, 0, 23) + struct.pack(">ii", 2**31 - 1, 1) * 6,
            "elements announced in 0 bytes",
        ),
        (_HEAD, "1 elements announced in 0 bytes"),
        (_HEAD + b"\0\0\0\x04", "an element of 4 bytes with 0 left"),
        (_HEAD + b"\xff\xff\xff\xfe", "an element of -2 bytes"),
        (_HEAD + b"\0\0\0\x04abcd!", "1 bytes after the last element"),
        (_HEAD + b"\0\0\0\x02abcd", "2 bytes instead of 4"),
        (struct.pack(">iiIii", 1, 0, 23, 2, 1) + b"\0\0\0\x04abcd", "within an element's length"),
        (struct.pack(">iiI", 0, 0, 23) + b"x", "1 bytes after the last element"),
    ],
)
def test_malformed(binary: bytes, text: str) -> None:
    with pytest.raises(DataError, match=f"type int4\\[\\]: .*{text}|{text}"):
        decode(INT4S, binary)


def test_every_scalar_has_its_array() -> None:
    samples: dict[int, Any] = {
        1000: True, 1001: b"x", 1002: "c", 1003: "n", 1016: 1, 1005: 1, 1009: "t", 1028: 1, 199: {"a": 1},
        1021: 1.5, 1022: 1.5, 1014: "b", 1015: "v", STAMPS: datetime(2024, 1, 1, tzinfo=UTC),
        1231: Decimal("1.50"), 2951: None, 271: 5,
    }  # fmt: skip
    for oid, sample in samples.items():
        array = codec(oid)
        assert isinstance(array, ArrayCodec)
        assert array.oid == oid
        assert array.name.endswith("[]")
        for value in ([sample], [sample, None, sample], [sample] * 3):
            assert decode(oid, array.encode(value)) == value


@st.composite
def shaped(draw: st.DrawFn) -> Any:
    """A nested list of one shape."""
    lengths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=6))
    count = 1
    for length in lengths:
        count *= length
    items: list[Any] = draw(
        st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), min_size=count, max_size=count)
    )
    for length in reversed(lengths[1:]):
        items = [items[index : index + length] for index in range(0, len(items), length)]
    return items


@FIXED
@given(shaped())
def test_round_trip(value: Any) -> None:
    assert decode(INT4S, codec(INT4S).encode(value)) == value


def test_dimensions_of_json_are_those_of_an_array_with_bounds() -> None:
    jsons = codec(JSONS)
    values: list[Array[Any]] = [
        Array([[1, [2]], [3, None]], (1, 1)),
        Array([[[1]], [[2]]], (0, 5)),
        Array([[1, 2]], (1,)),
    ]
    for value in values:
        data = jsons.encode(value)
        for back in (jsons.decode(data, 0, len(data)), jsons.decode_text(jsons.encode_text(value))):
            assert back == value
            bounds = back.lower_bounds if isinstance(back, Array) else (1,)
            assert bounds == value.lower_bounds
    assert jsons.encode(Array([[1, 2]], (1,))) == jsons.encode([[1, 2]])
    back = jsons.decode_text("{{1,2},{3,4}}")
    assert isinstance(back, Array)
    assert (back, back.lower_bounds) == ([[1, 2], [3, 4]], (1, 1))
    ragged: list[Array[Any]] = [Array([[1], [2, 3]], (1, 1)), Array([[1], 2], (1, 1))]
    for wrong in ragged:
        with pytest.raises(ValueError, match="ragged"):
            jsons.encode(wrong)
    with pytest.raises(TypeError, match="expected list, got int"):
        jsons.encode(Array([1, [2]], (1, 1)))
