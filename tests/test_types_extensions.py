"""The types of extensions: their binary forms as their servers send them, and their text forms."""

from __future__ import annotations

import struct
from array import array
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from pgproto import DataError
from pgproto.types import Codec, Cube, SparseVector, TypeMap
from tests.support.catalog import type_row

NAMES = {
    "citext": "citext",
    "cube": "cube",
    "hstore": "hstore",
    "ltree": "ltree",
    "lquery": "ltree",
    "ltxtquery": "ltree",
    "vector": "vector",
    "halfvec": "vector",
    "sparsevec": "vector",
}


def types_of() -> TypeMap:
    types = TypeMap()
    rows = []
    for index, (name, extension) in enumerate(NAMES.items()):
        rows.append(type_row(20001 + index, name, extension=extension))
        rows.append(type_row(21001 + index, f"{name}[]", element=20001 + index))
    types.learn(rows)
    return types


TYPES = types_of()


def codec(name: str) -> Codec:
    found = TYPES.named(name)
    assert found is not None
    return found


# Type, value, binary form (pg_send of the server), text form.
SENT: list[tuple[str, Any, str, str]] = [
    ("citext", "aB", "6142", "aB"),
    ("hstore", {}, "00000000", ""),
    ("hstore", {"a": "1"}, "00000001 00000001 61 00000001 31", '"a"=>"1"'),
    (
        "hstore",
        {'"': None, "b\\": "ä, =>"},
        "00000002 00000001 22 ffffffff 00000002 625c 00000006 c3a42c203d3e",
        r'"\""=>NULL, "b\\"=>"ä, =>"',
    ),
    ("ltree", "a.b", "01 612e62", "a.b"),
    ("lquery", "a.*", "01 612e2a", "a.*"),
    ("ltxtquery", "a & b", "01 61202620 62", "a & b"),
    ("cube", Cube((), ()), "80000000", "()"),
    ("cube", Cube((1.5,), (1.5,)), "80000001 3ff8000000000000", "(1.5)"),
    (
        "cube",
        Cube((0.0, 1.0), (2.0, 1.0)),
        "00000002 0000000000000000 3ff0000000000000 4000000000000000 3ff0000000000000",
        "(0.0, 1.0),(2.0, 1.0)",
    ),
    ("vector", (1.0, -2.5), "0002 0000 3f800000 c0200000", "[1.0,-2.5]"),
    ("vector", (struct.unpack("f", struct.pack("f", 0.1))[0],), "0001 0000 3dcccccd", ""),
    ("halfvec", (1.0, -2.5), "0002 0000 3c00 c100", "[1.0,-2.5]"),
    ("sparsevec", SparseVector(3, (), ()), "00000003 00000000 00000000", "{}/3"),
    (
        "sparsevec",
        SparseVector(5, (0, 4), (1.0, -2.5)),
        "00000005 00000002 00000000 00000000 00000004 3f800000 c0200000",
        "{1:1.0,5:-2.5}/5",
    ),
]


@pytest.mark.parametrize(("name", "value", "sent", "text"), SENT)
def test_as_the_server_sends_it(name: str, value: Any, sent: str, text: str) -> None:
    data = bytes.fromhex(sent)
    assert codec(name).encode(value) == data
    assert codec(name).decode(b"\xff" + data + b"\xff", 1, 1 + len(data)) == value
    if text:
        assert codec(name).encode_text(value) == text
    assert codec(name).decode_text(codec(name).encode_text(value)) == value
    values = codec(f"{name}[]")
    data = values.encode([value, None])
    assert values.decode(data, 0, len(data)) == [value, None]
    assert values.decode_text(values.encode_text([value, None])) == [value, None]


@pytest.mark.parametrize(("name", "value", "sent", "text"), SENT)
def test_cut_short_or_too_long(name: str, value: Any, sent: str, text: str) -> None:
    if name in ("citext", "ltree", "lquery", "ltxtquery"):  # any text will do
        return
    data = bytes.fromhex(sent)
    for size in range(len(data)):
        with pytest.raises(DataError, match=f"malformed binary value of type {name}"):
            codec(name).decode(data[:size] + bytes(40), 0, size)
    with pytest.raises(DataError, match=f"malformed binary value of type {name}"):
        codec(name).decode(data + b"\0", 0, len(data) + 1)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("hstore", "ffffffff"),
        ("hstore", "7fffffff 00000001 61 ffffffff"),
        ("hstore", "00000001 ffffffff ffffffff"),
        ("hstore", "00000001 00000001 61 fffffffe"),
        ("hstore", "00000001 00000001 ff ffffffff"),
        ("cube", "ffffffff"),
        ("cube", "7fffffff"),
        ("vector", "ffff 0000"),
        ("sparsevec", "00000001 ffffffff 00000000"),
        ("sparsevec", "00000001 7fffffff 00000000"),
        ("ltree", "02 61"),
        ("ltree", ""),
    ],
)
def test_hostile_counts(name: str, data: str) -> None:
    sent = bytes.fromhex(data)
    with pytest.raises(DataError, match=f"malformed binary value of type {name}"):
        codec(name).decode(sent, 0, len(sent))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hstore", "a=>1"),
        ("hstore", '"a"=>"1" "b"=>"2"'),
        ("cube", "1,2"),
        ("cube", "(a)"),
        ("vector", "1,2"),
        ("vector", "[a]"),
        ("vector", "[1e39]"),
        ("halfvec", "[1.0,2e5]"),
        ("sparsevec", "{1:1e39}/3"),
        ("sparsevec", "{1:1}"),
        ("sparsevec", "1:1/2"),
        ("sparsevec", "{a:1}/2"),
        ("sparsevec", "{1:1e300}/2"),
    ],
)
def test_texts_that_are_none(name: str, text: str) -> None:
    with pytest.raises(DataError, match=f"malformed text of type {name}"):
        codec(name).decode_text(text)


TAKEN: list[tuple[str, Any, object]] = [
    ("hstore", OrderedDict(b="2", a=None), {"b": "2", "a": None}),
    ("vector", [1, 2.5], (1.0, 2.5)),
    ("vector", np.array([1, 2.5], dtype=np.float32), (1.0, 2.5)),
    ("vector", np.array([1, 2]), (1.0, 2.0)),
    ("vector", array("f", [1, 2]), (1.0, 2.0)),
    ("halfvec", np.array([1, 2.5], dtype=np.float16), (1.0, 2.5)),
    ("vector[]", np.array([[1, 2], [3, 4]], dtype=np.float32), [(1.0, 2.0), (3.0, 4.0)]),
    ("vector[]", [[1, 2], (3, 4)], [(1.0, 2.0), (3.0, 4.0)]),
    ("cube", [1, 2], Cube((1.0, 2.0), (1.0, 2.0))),
    ("cube", Cube([1], [2]), Cube((1.0,), (2.0,))),  # type: ignore[arg-type]
    ("sparsevec", SparseVector(3, [2], [1]), SparseVector(3, (2,), (1.0,))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("name", "value", "expected"), TAKEN)
def test_taken(name: str, value: Any, expected: object) -> None:
    data = codec(name).encode(value)
    assert codec(name).decode(data, 0, len(data)) == expected


REFUSED: list[tuple[str, Any, str]] = [
    ("hstore", [("a", "1")], "expected dict, got list"),
    ("hstore", {1: "a"}, "a key: expected str, got int"),
    ("hstore", {"a": 1}, "the value of a key: expected str, got int"),
    ("hstore", {"a": "\0"}, "NUL"),
    ("vector", "[1,2]", "expected list, got str"),
    ("vector", [True], "expected float, got bool"),
    ("vector", [1e300], "a number out of range of vector"),
    ("halfvec", [1e5], "a number out of range of halfvec"),
    ("vector", [0] * 65536, "65536 dimensions"),
    ("cube", Cube((1.0,), ()), "corners of 1 and of 0 dimensions"),
    ("sparsevec", {1: 1.0}, "expected SparseVector, got dict"),
    ("sparsevec", SparseVector(3, (1,), ()), "1 indexes for 0 values"),
    ("sparsevec", SparseVector(1 << 40, (), ()), "out of range of sparsevec"),
    ("sparsevec", SparseVector(3, (1,), (1e300,)), "out of range of sparsevec"),
    ("ltree", 1, "expected str"),
]


@pytest.mark.parametrize(("name", "value", "text"), REFUSED)
def test_refused(name: str, value: Any, text: str) -> None:
    for encode in (codec(name).encode, codec(name).encode_text):
        with pytest.raises((TypeError, ValueError), match=text):
            encode(value)


def test_a_users_own_type_is_not_taken_for_the_extensions() -> None:
    types = TypeMap()
    for index, name in enumerate(NAMES):
        types.learn([type_row(20001 + index, name, extension="mine"), type_row(21001 + index, name)])
        assert types.codec(20001 + index).format == types.codec(21001 + index).format == 0
    for name, extension in NAMES.items():
        types.learn([type_row(30001, "other", extension=extension)])
        assert types.codec(30001).format == 0, name


@pytest.mark.parametrize("name", ["cube", "vector", "halfvec", "sparsevec"])
def test_arrays_of_several_dimensions_come_back(name: str) -> None:
    one: Any = {"cube": Cube((1.0,), (2.0,)), "sparsevec": SparseVector(2, (0,), (1.0,))}.get(
        name, (1.0, 2.0)
    )
    values = codec(f"{name}[]")
    for value in ([[one], [one]], [[None, one], [one, None]], [[[one]], [[None]]], [one, None]):
        data = values.encode(value)
        assert values.decode(data, 0, len(data)) == value
        assert values.decode_text(values.encode_text(value)) == value


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ([[[1, 2], [3, 4]]], [[(1.0, 2.0), (3.0, 4.0)]]),
        (np.array([[[1, 2], [3, 4]]]), [[(1.0, 2.0), (3.0, 4.0)]]),
        ([[np.array([1, 2])], [(3, 4)]], [[(1.0, 2.0)], [(3.0, 4.0)]]),
        ([[1, 2], None], [(1.0, 2.0), None]),
        ([], []),
    ],
)
def test_a_list_of_numbers_is_one_vector(given: Any, value: object) -> None:
    data = codec("vector[]").encode(given)
    assert codec("vector[]").decode(data, 0, len(data)) == value


def test_ragged_vectors() -> None:
    for wrong in ([[(1, 2)], [1, 2]], [[(1, 2)], []], [[(1, 2)], [(1, 2), (3, 4)]], [[(1, 2)], (1, 2)]):
        with pytest.raises(ValueError, match="ragged"):
            codec("vector[]").encode(wrong)
