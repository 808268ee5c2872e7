"""Maps over maps: what is set in one, and in its parent."""

from __future__ import annotations

from datetime import date
from enum import Enum

import pytest

from pgproto import DataError
from pgproto.types import BUILT_IN, INFINITY, TypeMap
from pgproto.types.own import OwnCodec
from tests.support.catalog import type_row

MOOD = 20003
ROWS = [type_row(MOOD, "mood", "e")]

INFINITE_DATE = b"\x7f\xff\xff\xff"


def value_of(types: TypeMap, oid: int, data: bytes) -> object:
    return types.codec(oid).decode(data, 0, len(data))


def test_what_is_set_in_a_map_is_under_what_its_parent_has_set_for_the_other_things() -> None:
    parent = TypeMap()
    parent.set_codec("date", decode=lambda value: ("own", value), format="value")
    types = TypeMap(TypeMap(parent))
    assert types.codec(1082) is parent.codec(1082)
    types.set_infinity("object")
    assert value_of(types, 1082, INFINITE_DATE) == ("own", INFINITY)
    array = BUILT_IN.codec(1182).encode([date(2000, 1, 1)])
    assert value_of(types, 1182, array[:-4] + INFINITE_DATE) == [("own", INFINITY)]
    with pytest.raises(DataError, match="Python has no such value"):
        value_of(parent, 1082, INFINITE_DATE)


def test_a_map_says_otherwise_than_its_parent() -> None:
    class Colour(Enum):
        RED = "red"

    class Farbe(Enum):
        ROT = "red"

    parent = TypeMap()
    parent.set_infinity("object")
    parent.set_enum("text", Colour)
    parent.set_codec(20, decode=lambda value: -value, format="value")
    types = TypeMap(parent)
    types.set_infinity("extreme")
    types.set_enum("text", Farbe)
    types.set_codec("int8", decode=lambda value: value + 1, format="value")
    assert value_of(types, 1082, INFINITE_DATE) == date.max
    assert value_of(types, 25, b"red") is Farbe.ROT
    assert value_of(types, 20, bytes(8)) == 1
    types.set_infinity("error")
    with pytest.raises(DataError, match="Python has no such value"):
        value_of(types, 1082, INFINITE_DATE)
    assert value_of(parent, 1082, INFINITE_DATE) is INFINITY
    assert value_of(parent, 25, b"red") is Colour.RED


def test_a_map_with_something_set_looks_types_up_itself() -> None:
    class Mood(Enum):
        OK = "ok"

    parent = TypeMap()
    parent.learn(ROWS)
    plain, types = TypeMap(parent), TypeMap(parent)
    types.set_enum("mood", Mood)
    assert plain.codec(MOOD) is parent.codec(MOOD)
    assert plain.named("mood") is parent.named("mood") is not None
    assert (plain.learned(MOOD), types.learned(MOOD)) == (True, False)
    assert types.known(MOOD) is types.named("mood") is None
    types.learn(ROWS)
    assert value_of(types, MOOD, b"ok") is Mood.OK
    assert value_of(parent, MOOD, b"ok") == "ok"
    assert types.learned(MOOD)
    assert TypeMap(types).codec(MOOD) is types.codec(MOOD)


def test_what_was_added_to_a_parent_is_what_a_map_has_without_what_is_set() -> None:
    parent = TypeMap()
    mine = type(BUILT_IN.codec(25))(25, "text")
    parent.add(mine)
    types = TypeMap(TypeMap(parent))
    types.set_codec("text", decode=str.upper, format="value")
    types.set_infinity("none")
    codec = types.codec(25)
    assert isinstance(codec, OwnCodec)
    assert codec.base is mine
