"""The user's classes for enums, composite types and JSON, and what stands for infinity."""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import pytest

from pgproto import DataError
from pgproto.types import (
    INFINITY,
    MINUS_INFINITY,
    Codec,
    Infinity,
    ParameterEncoder,
    Range,
    RawJSON,
    RowDecoder,
    TypeMap,
)
from pgproto.types.codec import OutdatedTypeError
from pgproto.wire import FieldDescription
from tests.support.catalog import type_row

MOOD, MOODS, ADDRESS, ADDRESSES, PERSON, LEVEL, ODD = 20001, 20002, 20003, 20004, 20005, 20006, 20007
ROWS = [
    type_row(MOOD, "mood", "e"),
    type_row(MOODS, "mood[]", element=MOOD),
    type_row(ADDRESS, "address", "c", fields={"street": 25, "zip": 23}),
    type_row(ADDRESSES, "address[]", element=ADDRESS),
    type_row(PERSON, "person", "c", fields={"name": 25, "mood": MOOD, "address": ADDRESS}),
    type_row(LEVEL, "level", "d", element=23),
    type_row(ODD, "odd", "c", fields={"street": 25, "zip": 2205}),
]


def learned() -> TypeMap:
    types = TypeMap()
    types.learn(ROWS)
    return types


def both_ways(codec: Codec, value: object) -> object:
    data = codec.encode(value)
    text = codec.decode_text(codec.encode_text(value))
    found = codec.decode(b"\xff" + data + b"\xff", 1, 1 + len(data))
    assert repr(text) == repr(found)
    return found


def refused(codec: Codec, value: object) -> str:
    """The text of the refusal, in both formats."""
    texts = []
    for encode in (codec.encode, codec.encode_text):
        with pytest.raises((TypeError, ValueError)) as caught:
            encode(value)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    return texts[0]


# ---- Enums


class Mood(enum.Enum):
    GOOD = "happy"
    BAD = "sad"
    FINE = "happy"  # noqa: PIE796 - an alias


class Color(enum.Enum):
    GOOD = "happy"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def test_an_enum_by_value() -> None:
    types = learned()
    types.set_enum("mood", Mood)
    mood = types.codec(MOOD)
    assert mood.encode(Mood.GOOD) == b"happy"
    assert both_ways(mood, Mood.FINE) is Mood.GOOD
    assert both_ways(mood, "sad") is Mood.BAD
    assert both_ways(types.codec(MOODS), [Mood.GOOD, None]) == [Mood.GOOD, None]
    person = both_ways(types.codec(PERSON), ("Ann", Mood.BAD, ("A", 1)))
    assert person == ("Ann", Mood.BAD, ("A", 1))
    assert refused(mood, Color.GOOD) == "expected Mood, got Color"
    assert mood.encode("new") == b"new"  # the server knows
    text = "'new' of type mood is no member of Mood: add it there, or select it as text"
    with pytest.raises(DataError, match=text):
        mood.decode(b"new", 0, 3)


def test_an_enum_by_name() -> None:
    types = learned()
    types.set_enum("mood", Mood, by="name")
    mood = types.codec(MOOD)
    assert mood.encode(Mood.GOOD) == b"GOOD"
    assert mood.decode(b"BAD", 0, 3) is Mood.BAD
    assert mood.decode_text("FINE") is Mood.GOOD
    with pytest.raises(DataError, match="no member"):
        mood.decode(b"sad", 0, 3)


def test_an_enum_of_numbers() -> None:
    types = learned()
    types.set_enum("level", Level)
    assert both_ways(types.codec(LEVEL), Level.HIGH) is Level.HIGH
    assert both_ways(types.codec(LEVEL), 1) is Level.LOW
    assert types.codec(LEVEL).format == 1


def test_members_that_are_none() -> None:
    class Bits(enum.Flag):
        A = 1
        B = 2

    types = learned()
    types.set_enum("level", Bits)
    assert both_ways(types.codec(LEVEL), Bits.B) is Bits.B
    assert refused(types.codec(LEVEL), Bits.A | Bits.B) == "expected Bits, got Bits"


def test_no_enums() -> None:
    for wrong in (str, Mood.GOOD, "Mood"):
        with pytest.raises(TypeError, match=r"derived from enum\.Enum"):
            TypeMap().set_enum("mood", wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"value" or by "name"'):
        TypeMap().set_enum("mood", Mood, by="label")  # type: ignore[arg-type]


# ---- Composite types


@dataclasses.dataclass
class Data:
    zip: int
    street: str = "?"
    note: str = "none"
    made: int = dataclasses.field(default=0, init=False)


class Named(NamedTuple):
    zip: int
    street: str


@attrs.define
class Attrs:
    street: str
    zip: int


@attrs.define
class Private:
    _street: str
    zip: int


class Plain:
    def __init__(self, street: str, *, zip: int, **more: object) -> None:
        self.street = street
        self.zip = zip
        assert not more

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.zip)

    def __repr__(self) -> str:
        return f"Plain({self.street}, {self.zip})"


KINDS = [Data, Named, Attrs, Private, Plain]


@pytest.mark.parametrize("kind", KINDS)
def test_a_composite_as_a_class(kind: Any) -> None:
    types = learned()
    types.set_composite("address", kind)
    value = kind(street="A", zip=7)
    address = types.codec(ADDRESS)
    assert both_ways(address, value) == value
    assert type(both_ways(address, value)) is kind
    assert both_ways(address, ("A", 7)) == value
    assert both_ways(address, {"zip": 7, "street": "A"}) == value
    assert both_ways(types.codec(ADDRESSES), [value, None]) == [value, None]
    person = types.codec(PERSON)
    assert both_ways(person, ("Ann", "sad", value)) == ("Ann", "sad", value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_composite_that_travels_as_text(kind: Any) -> None:
    types = learned()
    types.set_composite("odd", kind)
    value = kind(street="A", zip="pg_class")
    assert types.codec(ODD).format == 0
    assert both_ways(types.codec(ODD), value) == value


def test_a_domain_over_a_composite() -> None:
    home, homes, strange = 20010, 20011, 20012
    types = TypeMap()
    types.set_composite("home", Data)
    types.set_composite("strange", Data)
    types.set_codec("address", decode=lambda _: "not for the domain", format="value")
    types.learn(
        [
            *ROWS,
            type_row(home, "home", "d", element=ADDRESS),
            type_row(homes, "home[]", element=home),
            type_row(strange, "strange", "d", element=ODD),
        ]
    )
    value = Data(street="A", zip=7)
    assert both_ways(types.codec(home), value) == value
    assert both_ways(types.codec(homes), [value, ("A", 7), None]) == [value, value, None]
    odd = Data(street="A", zip="pg_class")  # type: ignore[arg-type]
    assert types.codec(strange).format == 0
    assert both_ways(types.codec(strange), odd) == odd
    assert both_ways(types.codec(ADDRESS), ("A", 7)) == "not for the domain"


class Other(NamedTuple):
    street: str
    zip_code: int
    town: str


MISFITS: list[tuple[str, Any, str]] = [
    (
        "address",
        Other,
        "type address does not fit its class: Other does not take zip; the type has no zip_code, town, which "
        "Other needs",
    ),
    ("address", object, "type address does not fit its class: object does not take street, zip"),
    ("mood", Named, "type mood is no composite type"),
]


@pytest.mark.parametrize(("name", "kind", "text"), MISFITS)
def test_a_class_that_does_not_fit(name: str, kind: Any, text: str) -> None:
    types = learned()
    types.set_composite(name, kind)
    codec = types.named(name)
    assert codec is not None
    assert refused(codec, ("A", 1)) == text
    with pytest.raises(DataError) as caught:
        ParameterEncoder([codec.oid], types).encode([("A", 1)])
    assert str(caught.value) == f"parameter $1 of type {name}: {text} (value of type tuple)"
    with pytest.raises(DataError) as caught:
        codec.decode(b"", 0, 0)
    assert str(caught.value) == text
    with pytest.raises(DataError) as caught:
        codec.decode_text("")
    assert str(caught.value) == text


def test_no_classes() -> None:
    types = TypeMap()
    with pytest.raises(TypeError, match="with a class, not str"):
        types.set_composite("address", "Address")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int does not say what its constructor takes"):
        types.set_composite("address", int)
    with pytest.raises(TypeError, match="bytearray does not say"):
        types.set_composite("address", bytearray)

    class ByPosition:
        def __init__(self, a: int, /) -> None: ...

    with pytest.raises(TypeError, match="the constructor of ByPosition takes a by position only"):
        types.set_composite("address", ByPosition)

    class Several:
        def __init__(self, *several: int) -> None: ...

    types.set_composite("address", Several)


def test_what_a_class_raises_is_the_cause() -> None:
    error = RuntimeError("here")

    class Strict:
        def __init__(self, street: str, zip: int) -> None:
            self.street = street
            if zip < 0:
                raise error

        @property
        def zip(self) -> int:
            raise error

    types = learned()
    types.set_composite("address", Strict)
    with pytest.raises(DataError) as caught:
        ParameterEncoder([ADDRESSES], types).encode([[Strict("A", 1)]])
    assert "element [0]: its 'zip' raised RuntimeError" in str(caught.value)
    assert caught.value.__cause__ is error
    types.learn(ROWS)  # with the error the map has forgotten what it had learned
    data = types.codec(ADDRESS).encode(("A", -1))
    with pytest.raises(DataError, match="its class raised RuntimeError") as caught:
        types.codec(ADDRESS).decode(data, 0, len(data))
    assert caught.value.__cause__ is error


def test_a_type_that_was_altered() -> None:
    types = learned()
    types.set_composite("address", Named)
    data = types.codec(PERSON).encode(("Ann", "sad", None))
    with pytest.raises(OutdatedTypeError):
        types.codec(ADDRESS).decode(data, 0, len(data))
    types.forget()
    types.learn([type_row(ADDRESS, "address", "c", fields={"street": 25, "zip": 23, "town": 25})])
    with pytest.raises(ValueError, match="Named does not take town"):
        types.codec(ADDRESS).encode(Named(1, "A"))


# ---- JSON


def loads(text: str) -> object:
    return json.loads(text, parse_float=Decimal)


def dumps(value: object) -> str:
    return json.dumps(value, default=str)


@pytest.mark.parametrize("name", ["json", "jsonb"])
@pytest.mark.parametrize("encoded", [False, True])
def test_other_functions(name: str, encoded: bool) -> None:
    types = TypeMap()
    types.set_json(dumps=(lambda value: dumps(value).encode()) if encoded else dumps, loads=loads)
    codec = types.named(name)
    array = types.named(f"{name}[]")
    assert codec is not None
    assert array is not None
    value = {"a": Decimal("1.10"), "b": [date(2020, 1, 2)]}
    assert both_ways(codec, value) == {"a": "1.10", "b": ["2020-01-02"]}
    assert both_ways(codec, RawJSON('{"a": 1.10}')) == {"a": Decimal("1.10")}
    assert both_ways(array, [[1], None, RawJSON("[1.5]")]) == [[1], None, [Decimal("1.5")]]
    assert codec.encode("a")[-3:] == b'"a"'
    with pytest.raises(DataError, match="not UTF-8"):
        codec.decode(codec.encode(1)[:-1] + b"\xff", 0, len(codec.encode(1)))


def test_orjson() -> None:
    orjson = pytest.importorskip("orjson")
    types = TypeMap()
    types.set_json(dumps=functools.partial(orjson.dumps, option=orjson.OPT_NAIVE_UTC), loads=orjson.loads)
    for oid in (114, 3802):
        moment = datetime(2020, 1, 2, tzinfo=UTC)
        assert both_ways(types.codec(oid), {"at": moment}) == {"at": "2020-01-02T00:00:00+00:00"}
        with pytest.raises(DataError, match="its dumps raised") as caught:
            ParameterEncoder([oid], types).encode([{"at": object()}])
        assert isinstance(caught.value.__cause__, orjson.JSONEncodeError)


def test_one_function_alone() -> None:
    types = TypeMap()
    types.set_json(loads=loads)
    assert both_ways(types.codec(3802), {"a": 1.5}) == {"a": Decimal("1.5")}
    types.set_json(dumps=dumps)
    assert both_ways(types.codec(3802), {"a": Decimal("1.5")}) == {"a": "1.5"}
    with pytest.raises(DataError, match="not version 1"):
        types.codec(3802).decode(b"\x02{}", 0, 3)
    types.set_json(loads=loads)
    with pytest.raises(DataError, match="not version 1"):
        types.codec(3802).decode(b"\x02{}", 0, 3)
    with pytest.raises(DataError, match="not version 1"):
        types.codec(3802).decode(b"", 0, 0)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda _: None, "its dumps returned NoneType instead of str or bytes"),
        (len, "its dumps returned int instead of str or bytes"),
        (lambda _: "\ud800", "lone surrogate"),
        (lambda _: 1 / 0, "its dumps raised ZeroDivisionError"),
    ],
)
def test_what_dumps_does(function: Callable[[Any], Any], text: str) -> None:
    types = TypeMap()
    types.set_json(dumps=function)
    with pytest.raises(DataError, match=text) as caught:
        ParameterEncoder([114], types).encode([["secret"]])
    assert isinstance(caught.value.__cause__, ZeroDivisionError if "raised" in text else type(None))


def test_what_loads_raises() -> None:
    types = TypeMap()
    error = KeyError("a")

    def fails(_: str) -> object:
        raise error

    types.set_json(loads=fails)
    decoder = RowDecoder([FieldDescription("j", 0, 0, 114, -1, -1, 1)], types=types)
    row = b"D" + (12).to_bytes(4, "big") + b"\0\x01" + (2).to_bytes(4, "big") + b"{}"
    with pytest.raises(DataError, match="its loads raised KeyError") as caught:
        decoder.decode(row, 0, len(row))
    assert caught.value.__cause__ is error


def test_raw_json() -> None:
    raw = RawJSON('{"ä": 1}')
    assert raw == RawJSON('{"ä": 1}'.encode()) == RawJSON(bytearray('{"ä": 1}'.encode()))
    assert raw.data == '{"ä": 1}'.encode()
    assert raw != RawJSON("{}")
    assert raw != '{"ä": 1}'
    assert hash(raw) == hash(pickle.loads(pickle.dumps(raw)))
    assert repr(RawJSON("{}")) == "RawJSON(b'{}')"
    for name, prefix in (("json", b""), ("jsonb", b"\x01")):
        codec = TypeMap().named(name)
        assert codec is not None
        assert codec.encode(raw) == prefix + raw.data
        assert both_ways(codec, RawJSON("[1]")) == [1]
    with pytest.raises(TypeError, match="must be a str or bytes, not dict"):
        RawJSON({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        RawJSON("\ud800")
    assert caught.value.__context__ is None
    with pytest.raises(DataError, match=r"RawJSON at .*JSON has no such type"):
        ParameterEncoder([114]).encode([{"a": raw}])


# ---- Infinity

MOMENTS = {
    "date": (date(2020, 1, 2), date.max, date.min, b"\x7f\xff\xff\xff", b"\x80\0\0\0"),
    "timestamp": (
        datetime(2020, 1, 2),
        datetime.max,
        datetime.min,
        b"\x7f" + b"\xff" * 7,
        b"\x80" + bytes(7),
    ),
    "timestamptz": (
        datetime(2020, 1, 2, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime.min.replace(tzinfo=UTC),
        b"\x7f" + b"\xff" * 7,
        b"\x80" + bytes(7),
    ),
}


def with_policy(policy: Any, name: str) -> tuple[TypeMap, Codec]:
    types = TypeMap()
    types.set_infinity(policy)
    codec = types.named(name)
    assert codec is not None
    return types, codec


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("policy", ["extreme", "object"])
def test_what_stands_for_infinity(name: str, policy: str) -> None:
    moment, last, first, plus, minus = MOMENTS[name]
    types, codec = with_policy(policy, name)
    high, low = (last, first) if policy == "extreme" else (INFINITY, MINUS_INFINITY)
    assert codec.decode(plus, 0, len(plus)) == codec.decode_text("infinity") == high
    assert codec.decode(minus, 0, len(minus)) == codec.decode_text("-infinity") == low
    assert codec.encode(high) == plus
    assert codec.encode(low) == minus
    assert [codec.encode_text(each) for each in (high, low)] == ["infinity", "-infinity"]
    assert both_ways(codec, moment) == moment
    array = types.named(f"{name}[]")
    assert array is not None
    assert both_ways(array, [high, None, moment, low]) == [high, None, moment, low]
    ranges = types.named({"date": "daterange", "timestamp": "tsrange", "timestamptz": "tstzrange"}[name])
    assert ranges is not None
    spans = both_ways(ranges, Range(low, high))
    assert isinstance(spans, Range)
    assert (spans.lower, spans.upper) == (low, high)
    assert moment in spans
    assert refused(codec, "infinity").startswith("expected")


@pytest.mark.parametrize("name", MOMENTS)
def test_infinity_is_none_or_an_error(name: str) -> None:
    moment, last, _, plus, minus = MOMENTS[name]
    _, codec = with_policy("none", name)
    assert codec.decode(plus, 0, len(plus)) is codec.decode(minus, 0, len(minus)) is None
    assert codec.decode_text("infinity") is codec.decode_text("-infinity") is None
    assert both_ways(codec, moment) == moment
    assert both_ways(codec, last) == last
    assert refused(codec, INFINITY).startswith("expected")
    _, codec = with_policy("error", name)
    with pytest.raises(DataError, match="infinity: Python has no such value"):
        codec.decode(plus, 0, len(plus))


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("first", ["infinity", "codec"])
def test_infinity_is_below_a_codec(name: str, first: str) -> None:
    _, _, _, plus, minus = MOMENTS[name]
    types = TypeMap()
    for each in ("codec", "infinity", "codec") if first == "codec" else ("infinity", "codec"):
        if each == "infinity":
            types.set_infinity("object")
        else:
            types.set_codec(name, encode=lambda value: -value, decode=lambda value: [value], format="value")
    codec = types.named(name)
    assert codec is not None
    assert codec.decode(plus, 0, len(plus)) == codec.decode_text("infinity") == [INFINITY]
    assert codec.encode(INFINITY) == minus
    types.set_infinity("none")
    codec = types.named(name)
    assert codec is not None
    assert codec.decode(plus, 0, len(plus)) is codec.decode_text("infinity") is None


def test_a_class_is_below_a_codec() -> None:
    types = TypeMap()
    types.set_codec("jsonb", decode=lambda value: ("decoded", value), format="value")
    types.set_json(loads=lambda text: ("loaded", text))
    codec = types.codec(3802)
    assert codec.decode(b"\x01{}", 0, 3) == ("decoded", ("loaded", "{}"))
    types.set_json(loads=len)
    assert types.codec(3802).decode(b"\x01{}", 0, 3) == ("decoded", 2)


def test_no_policy() -> None:
    with pytest.raises(ValueError, match='the policy is "error"'):
        TypeMap().set_infinity("never")  # type: ignore[arg-type]


def test_infinities() -> None:
    for moment in (date.max, datetime.max, datetime.max.replace(tzinfo=UTC)):
        assert MINUS_INFINITY < moment < INFINITY
        assert MINUS_INFINITY <= moment <= INFINITY
        assert moment != INFINITY
    assert INFINITY > MINUS_INFINITY
    assert not INFINITY > INFINITY
    assert INFINITY >= INFINITY <= INFINITY
    assert not MINUS_INFINITY < MINUS_INFINITY
    assert -INFINITY is MINUS_INFINITY
    assert -MINUS_INFINITY is INFINITY
    moments: list[Any] = [date(2020, 1, 1), INFINITY, MINUS_INFINITY]
    assert max(moments) is INFINITY
    assert repr([INFINITY, MINUS_INFINITY]) == "[INFINITY, MINUS_INFINITY]"
    for each in (INFINITY, MINUS_INFINITY):
        assert pickle.loads(pickle.dumps(each)) == each
        assert hash(each) == hash(Infinity(each is INFINITY))
