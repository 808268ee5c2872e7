"""What a map makes of the catalog's rows travels in binary if all of it can, else in text."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto.types import BUILT_IN, Codec, Range, TypeMap
from pgproto.types.scalars import OpaqueCodec
from pgproto.types.textform import TextFormCodec
from tests.support.catalog import type_row

MONEY, INT4 = 790, 23


def row(oid: int, kind: str, **more: Any) -> list[object]:
    return type_row(oid, f"t{oid}", kind, **more)


@pytest.fixture
def types() -> TypeMap:
    found = TypeMap()
    found.learn(
        [
            row(70000, "e"),
            row(70001, "c", fields={"mood": 70000, "n": INT4}),
            row(70002, "b", element=70001),
            row(70003, "d", element=70002),
            row(70004, "r", part=70000),
            row(70005, "m", part=70004),
            row(70010, "b"),
            row(70011, "b", element=70010, delimiter=":"),
            row(70012, "c", fields={"price": MONEY, "n": INT4, "moods": 70002}),
            row(70013, "b", element=70012),
            row(70014, "d", element=70012),
            row(70015, "r", part=MONEY),
            row(70016, "m", part=70015),
            row(70020, "c", fields={"n": INT4, "more": 70021}),  # a tree
            row(70021, "b", element=70020),
            row(70031, "p"),
            row(INT4, "b"),  # which is known already
        ]
    )
    return found


def both_ways(codec: Codec, value: object) -> bytes:
    data = codec.encode(value)
    assert codec.decode(data, 0, len(data)) == value
    assert codec.decode_text(codec.encode_text(value)) == value
    return data


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (70000, "sad"),
        (70001, ("sad", None)),
        (70002, [("sad", 1), None]),
        (70003, [[("sad", 1)]]),
        (70004, Range("ok", "sad")),
        (70005, [Range("ok", None)]),
    ],
)
def test_in_binary(types: TypeMap, oid: int, value: Any) -> None:
    codec = types.codec(oid)
    assert codec.format == 1
    assert codec.name == f"t{oid}"
    if oid == 70005:
        value = types.codec(oid).decode_text("{[ok,)}")
    both_ways(codec, value)


@pytest.mark.parametrize(
    ("oid", "value", "text"),
    [
        (70010, "0101", "0101"),
        (70011, ["01,01", None, ":"], '{01,01:NULL:":"}'),
        (70012, ("$1,000", 1, [("sad", 1)]), '("$1,000",1,"{""(sad,1)""}")'),
        (70013, [("$1", None, None)], '{"($1,,)"}'),
        (70014, ("$1", None, None), "($1,,)"),
        (70015, Range("$1", "$2", "[]"), "[$1,$2]"),
        (70020, (1, ["(2,)"]), '(1,"{""(2,)""}")'),
        (70021, ["(1,)"], '{"(1,)"}'),  # what is made of itself ends in text
        (70031, "x", "x"),
    ],
)
def test_in_text(types: TypeMap, oid: int, value: object, text: str) -> None:
    codec = types.codec(oid)
    assert codec.format == 0
    assert both_ways(codec, value) == text.encode()


def test_multiranges_in_text(types: TypeMap) -> None:
    codec = types.codec(70016)
    assert isinstance(codec, TextFormCodec)
    value = codec.decode_text("{[$1,$2),[$3,)}")
    assert both_ways(codec, value) == b"{[$1,$2),[$3,)}"


def test_what_is_known_stays(types: TypeMap) -> None:
    assert types.codec(INT4) is BUILT_IN.codec(INT4)
    assert isinstance(types.codec(70010), OpaqueCodec)
    types.forget()
    assert types.known(70001) is None
