"""Codecs of the user's own: `TypeMap.set_codec`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest

from pgproto import DataError, Outcome, QueuedQuery, RemoteProtocolError
from pgproto.session import Execution, Stream
from pgproto.types import BUILT_IN, Codec, ParameterEncoder, Range, RowDecoder, TypeMap
from pgproto.types.catalog import TypeRow
from pgproto.types.codec import is_own
from pgproto.wire import FieldDescription
from tests.support.backend import Answer, ok
from tests.support.catalog import type_row
from tests.support.pair import Pair

NUMERIC, NUMERIC_ARRAY, NUMRANGE, INT4, INT4_ARRAY = 1700, 1231, 3906, 23, 1007
GEOMETRY, GEOMETRY_ARRAY, MOOD, MOODS, PLACE, SPAN = 20001, 20002, 20003, 20004, 20005, 20006
ROWS = [
    type_row(GEOMETRY, "geometry"),
    type_row(GEOMETRY_ARRAY, "geometry[]", element=GEOMETRY),
    type_row(MOOD, "mood", "e"),
    type_row(MOODS, "mood[]", element=MOOD),
    type_row(PLACE, "place", "c", fields={"name": 25, "at": GEOMETRY, "price": NUMERIC}),
    type_row(SPAN, "span", "d", element=NUMRANGE),
]


def learned(rows: list[list[object]] = ROWS) -> TypeMap:
    types = TypeMap()
    types.learn(rows)
    return types


def both_ways(codec: Codec, value: object) -> object:
    data = codec.encode(value)
    return codec.decode(b"\xff" + data + b"\xff", 1, 1 + len(data))


def xy(point: complex) -> bytes:
    return f"{point.real} {point.imag}".encode()


def point(data: bytes) -> complex:
    return complex(*map(float, data.split()))


def test_a_new_map_knows_the_built_in_types() -> None:
    types = TypeMap()
    assert types.parent is BUILT_IN
    assert types.codec(INT4) is BUILT_IN.codec(INT4)
    assert types.named("int4") is BUILT_IN.named("int4")
    assert types.known(20001) is None
    assert types.codec(20001).name == "with OID 20001"
    assert BUILT_IN.parent is None
    assert TypeMap(types).parent is types


@pytest.mark.parametrize("first", [True, False], ids=["set first", "learned first"])
@pytest.mark.parametrize("name", ["geometry", "public.geometry", GEOMETRY])
def test_binary_by_name_or_oid(name: str | int, first: bool) -> None:
    types = TypeMap()
    if not first:
        types.learn(ROWS)
    types.set_codec(name, encode=xy, decode=point, format="binary")
    if first:
        types.learn(ROWS)
    codec = types.codec(GEOMETRY)
    assert codec.format == 1
    assert codec.encode(1 + 2j) == b"1.0 2.0"
    assert both_ways(codec, 1 + 2j) == 1 + 2j
    assert both_ways(types.codec(GEOMETRY_ARRAY), [1j, None, 2j]) == [1j, None, 2j]
    assert both_ways(types.codec(PLACE), ("a", 1j, Decimal(1))) == ("a", 1j, Decimal(1))
    types.forget()
    assert types.known(GEOMETRY) is None
    again = [type_row(30001, "geometry"), type_row(30002, "geometry[]", element=30001)]
    types.learn(again)
    if name == GEOMETRY:
        assert types.codec(30001).format == 0
    else:
        assert both_ways(types.codec(30002), [1j]) == [1j]


def test_a_name_with_a_schema_is_of_that_schema_only() -> None:
    types = TypeMap()
    types.set_codec("gis.geometry", decode=len, format="binary")
    types.learn([type_row(30001, "geometry"), type_row(30002, "geometry", schema="gis")])
    assert types.codec(30001).format == 0
    assert types.codec(30002).decode(b"abc", 0, 3) == 3
    types.set_codec("geometry", decode=bytes.hex, format="binary")
    assert types.codec(30001).decode(b"abc", 0, 3) == "616263"
    assert types.codec(30002).decode(b"abc", 0, 3) == 3


def test_the_name_of_a_built_in_type_means_that_type() -> None:
    types = TypeMap()
    types.set_codec("inet", decode=len, format="binary")
    types.learn([type_row(30001, "inet"), type_row(30003, "inet[]", element=30001)])
    assert types.codec(30001).format == 0
    assert types.codec(30003).format == 0
    types.set_codec("public.inet", decode=bytes.hex, format="binary")
    assert types.codec(30001).decode(b"abc", 0, 3) == "616263"
    assert types.codec(869).decode(b"abc", 0, 3) == 3


def test_an_array_has_a_name_of_its_own() -> None:
    types = learned()
    types.set_codec("mood[]", decode=len, format="value")
    assert both_ways(types.codec(MOODS), ["happy"]) == 1
    assert both_ways(types.codec(MOOD), "happy") == "happy"


def test_ranges_of_the_users() -> None:
    types = TypeMap()
    types.set_codec("height", decode=str, format="value")
    height, heights, several = (type_row(30002, "heights", "r", part=30001), 30002, 30003)
    types.learn([type_row(30001, "height", "d", element=INT4), height])
    types.learn([type_row(several, "heightses", "m", part=heights)])
    assert repr(both_ways(types.codec(several), [Range(1, 2)])) == "Multirange([Range('1', '2', '[)')])"
    types.set_codec("height", decode=str)
    assert types.codec(heights).format == types.codec(several).format == 0
    assert repr(both_ways(types.codec(several), [Range(1, 2)])) == "Multirange([Range('1', '2', '[)')])"


def test_text() -> None:
    types = learned()
    types.set_codec("geometry", encode=str, decode=complex)
    codec = types.codec(GEOMETRY)
    assert codec.format == 0
    assert codec.encode(1 + 2j) == b"(1+2j)"
    assert both_ways(codec, 1 + 2j) == 1 + 2j
    array = types.codec(GEOMETRY_ARRAY)
    assert array.format == 0
    assert array.encode([1 + 2j, None]) == b"{(1+2j),NULL}"
    assert both_ways(array, [[1 + 2j], [1j]]) == [[1 + 2j], [1j]]
    assert both_ways(types.codec(PLACE), ("a", 1j, Decimal(1))) == ("a", 1j, Decimal(1))
    types.set_codec("numeric", decode=float)
    for built_in in (NUMERIC_ARRAY, NUMRANGE, 3907, 4532, 6151):
        assert types.codec(built_in).format == 0
    assert repr(both_ways(types.codec(6151), [(Range(1, 2),)])) == "[Multirange([Range(1.0, 2.0, '[)')])]"
    types.set_codec("int2", decode=str)
    assert types.codec(22) is BUILT_IN.codec(22)


def test_text_where_a_function_takes_bytes() -> None:
    """A composite with a field that has no binary form travels as text, all of it."""
    types = TypeMap()
    types.learn([*ROWS, type_row(30001, "odd", "c", fields={"a": NUMERIC, "b": 2205})])
    types.set_codec("numeric", encode=float, decode=float, format="value")
    assert both_ways(types.codec(30001), ("1", "pg_class")) == (1.0, "pg_class")
    types.set_codec("numeric", encode=bytes, decode=bytes, format="binary")
    with pytest.raises(TypeError, match=r"field 'a': its encoder gives bytes, and here .* as text"):
        types.codec(30001).encode(("1", "pg_class"))
    with pytest.raises(DataError, match="the decoder of numeric takes bytes"):
        types.codec(30001).decode(b"(1,pg_class)", 0, 12)
    types = TypeMap()
    types.learn([*ROWS, type_row(30001, "odd", "c", fields={"a": NUMERIC, "b": 2205})])
    types.set_codec("numeric", encode=str)
    assert both_ways(types.codec(30001), (1, "pg_class")) == (Decimal(1), "pg_class")


def test_text_that_is_no_utf_8() -> None:
    types = learned()
    types.set_codec("geometry", decode=str)
    with pytest.raises(DataError, match="UTF-8"):
        types.codec(GEOMETRY).decode(b"\xff", 0, 1)


@pytest.mark.parametrize("name", ["numeric", "decimal", "pg_catalog.numeric", NUMERIC])
def test_values_of_a_built_in_type(name: str | int) -> None:
    types = learned()
    types.set_codec("geometry", decode=point, format="binary")
    types.set_codec(name, decode=float, format="value")
    assert types.codec(NUMERIC).format == 1
    assert repr(both_ways(types.codec(NUMERIC), Decimal("1.5"))) == "1.5"
    assert repr(both_ways(types.codec(NUMERIC_ARRAY), [1, "2.5", None])) == "[1.0, 2.5, None]"
    assert repr(both_ways(types.codec(NUMRANGE), Range(1, 2))) == "Range(1.0, 2.0, '[)')"
    assert repr(both_ways(types.codec(SPAN), Range(1, 2))) == "Range(1.0, 2.0, '[)')"
    ranges = types.named("nummultirange[]")
    assert ranges is not None
    assert repr(both_ways(ranges, [(Range(1, 2),)])) == "[Multirange([Range(1.0, 2.0, '[)')])]"
    assert repr(both_ways(types.codec(PLACE), ("a", b"1 2", 3))) == "Row(name='a', at=(1+2j), price=3.0)"
    place = types.codec(PLACE).encode(("a", b"1 2", 3))
    assert types.codec(2249).decode(place, 0, len(place)) == ("a", 1 + 2j, 3.0)
    record = types.named("record[]")
    assert record is not None
    assert BUILT_IN.codec(NUMERIC).decode(b"\0" * 8, 0, 8) == Decimal(0)


@pytest.mark.parametrize(
    ("name", "array"),
    [("integer", 1007), ("int4", 1007), ("timestamp with time zone", 1185), ("int2", 22), ("oid", 30)],
)
def test_in_arrays_and_vectors(name: str, array: int) -> None:
    types = TypeMap()
    types.set_codec(name, encode=lambda text: json.loads(text), decode=str, format="value")
    moment = name.startswith("timestamp")
    if moment:
        types.set_codec(name, encode=datetime.fromisoformat, decode=str, format="value")
    value = "2020-01-02 03:04:05+00:00" if moment else "7"
    assert list(both_ways(types.codec(array), [value])) == [value]  # type: ignore[call-overload]
    types.set_codec(f"{name}[]", decode=len, format="value")
    if array > 30:
        assert both_ways(types.codec(array), [value, value]) == 2


def test_one_direction_only() -> None:
    types = learned()
    types.set_codec("geometry", encode=xy, format="binary")
    assert both_ways(types.codec(GEOMETRY), 1j) == b"0.0 1.0"
    types = learned()
    types.set_codec("geometry", decode=point, format="binary")
    assert both_ways(types.codec(GEOMETRY), b"0 1") == 1j
    types = learned()
    types.set_codec("geometry", decode=complex)
    assert both_ways(types.codec(GEOMETRY), "1j") == 1j
    types.set_codec("int4", decode=str)
    assert both_ways(types.codec(INT4), 3) == "3"


@pytest.mark.parametrize("names", [("int4", "int4"), ("integer", INT4), (INT4, "pg_catalog.int4")])
@pytest.mark.parametrize(
    "formats", [("value", "value"), ("text", "text"), ("text", "value"), ("value", "text")]
)
def test_one_direction_after_the_other(names: tuple[str | int, str | int], formats: Any) -> None:
    def written(value: str) -> Any:
        return len(value) if formats[0] == "value" else str(len(value))

    def read(value: object) -> str:
        return f"{value!r} read"

    for first in ("encode", "decode"):
        types = learned()
        types.set_codec(names[0], decode=repr, format=formats[1])
        if first == "encode":
            types.set_codec(names[0], encode=written, format=formats[0])
            types.set_codec(names[0], decode=read, format=formats[1])
        else:
            types.set_codec(names[0], decode=read, format=formats[1])
            types.set_codec(names[1], encode=written, format=formats[0])
        wanted = "3 read" if formats[1] == "value" else "'3' read"
        assert both_ways(types.codec(INT4), "abc") == wanted
        assert both_ways(types.codec(INT4_ARRAY), ["abc", None]) == [wanted, None]


def test_one_type_travels_as_text_or_in_binary() -> None:
    types = learned()
    types.set_codec("int4", encode=str, format="text")
    for decode in (None, bytes):
        with pytest.raises(ValueError, match='the other direction has the format "text"'):
            types.set_codec("int4", decode=bytes, format="binary")
        types.set_codec("int4", encode=bytes, decode=decode, format="binary")
        types.set_codec("int4", encode=str, decode=str, format="text")


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        *(
            ("int", INT4),
            ("bigint", 20),
            ("smallint", 21),
            ("decimal", NUMERIC),
            ("real", 700),
            ("float", 701),
        ),
        *(
            ("char", 1042),
            ("character", 1042),
            ("char varying", 1043),
            ('"char"', 18),
            ("pg_catalog.char", 18),
        ),
        *(("pg_catalog.bpchar", 1042), ("timestamp without time zone", 1114), ("time with time zone", 1266)),
    ],
)
def test_names_of_sql(name: str, oid: int) -> None:
    types = TypeMap()
    types.set_codec(name, encode=str, decode=len)
    assert [each.oid for each in types if type(each).__name__ == "OwnCodec"] == [oid]


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        *(("_text", 1009), ("text[]", 1009), ("pg_catalog._text", 1009), ("pg_catalog.text[]", 1009)),
        *(
            ("_int4", INT4_ARRAY),
            ("integer[]", INT4_ARRAY),
            ("_char", 1002),
            ('"char"[]', 1002),
            ("char[]", 1014),
        ),
        *(("pg_catalog._char", 1002), ("pg_catalog.char[]", 1002), ("_bpchar", 1014)),
    ],
)
def test_names_of_arrays(name: str, oid: int) -> None:
    types = TypeMap()
    types.set_codec(name, decode=len)
    assert [each.oid for each in types if type(each).__name__ == "OwnCodec"] == [oid]


def test_a_name_with_an_underscore_that_is_no_array() -> None:
    types = TypeMap()
    types.learn([type_row(70001, "_own", "e")])
    types.set_codec("_own", decode=str.upper)
    assert types.codec(70001).decode(b"a", 0, 1) == "A"


def test_what_was_added_stays() -> None:
    types = learned()
    mine = type(BUILT_IN.codec(25))(GEOMETRY, "geometry")
    types.add(mine)
    types.set_codec("int4", decode=str, format="value")
    assert types.codec(GEOMETRY).format == 0
    types.forget()
    assert types.codec(GEOMETRY) is mine
    assert types.named("geometry") is mine


def test_types_that_are_made_of_themselves_or_of_very_many_travel_as_text() -> None:
    types = TypeMap()
    types.learn([type_row(20001, "a", "c", fields={"a": 20001})])
    assert types.codec(20001).format == 0
    count = 20_000
    types.learn([type_row(30001 + i, f"d{i}", "d", element=30002 + i) for i in range(count)])
    assert types.codec(30001).name == "d0"
    assert types.codec(30001 + count - 1).name == f"d{count - 1}"


def test_the_extension_counts_and_not_the_name() -> None:
    types = TypeMap()
    types.learn([type_row(20001, "citext", extension="citext"), type_row(20002, "citext")])
    assert types.codec(20001).format == 1
    assert types.codec(20002).format == 0


def test_arguments() -> None:
    types = TypeMap()
    with pytest.raises(ValueError, match="encode, decode or both"):
        types.set_codec("int4")
    with pytest.raises(ValueError, match='"text", "binary" or "value"'):
        types.set_codec("int4", decode=str, format="csv")  # type: ignore[arg-type]
    for wrong in (True, None, b"int4"):
        with pytest.raises(TypeError, match=r"a name or an OID|object expected"):  # compiled
            types.set_codec(wrong, decode=str)  # type: ignore[arg-type]


Format = Literal["text", "binary", "value"]
RETURNED: list[tuple[Format, Callable[[Any], Any], str]] = [
    ("text", str.encode, "parameter $1 of type text: its encoder returned bytes instead of str"),
    ("text", len, "its encoder returned int instead of str"),
    ("text", lambda _: None, "its encoder returned None; pass None itself for NULL"),
    ("text", lambda _: "a\0b", "str with a NUL character"),
    ("text", lambda _: "\ud800", "lone surrogate"),
    ("binary", str, "its encoder returned str instead of bytes"),
    ("binary", list, "its encoder returned list instead of bytes"),
    ("value", str.encode, "expected str, got bytes"),
]


@pytest.mark.parametrize(("form", "encode", "text"), RETURNED)
def test_what_an_encoder_returns(form: Format, encode: Callable[[Any], Any], text: str) -> None:
    types = TypeMap()
    types.set_codec("text", encode=encode, format=form)
    with pytest.raises(DataError) as caught:
        ParameterEncoder([25], types).encode(["secret"])
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_bytes_like_and_subclasses_are_taken() -> None:
    class Text(str):
        def encode(self, *_: object) -> bytes:
            raise AssertionError

    types = learned()
    types.set_codec("geometry", encode=lambda value: value, format="binary")
    for value in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        assert types.codec(GEOMETRY).encode(value) == b"ab"
    types.set_codec("geometry", encode=Text)
    assert types.codec(GEOMETRY).encode("ab") == b"ab"


ERRORS = (TypeError, ValueError, KeyError, RecursionError, RemoteProtocolError, StopIteration)
INTERRUPTS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
PLACES: list[tuple[str, int, Any]] = [
    ("parameter $1 of type numeric: its", NUMERIC, 1),
    ("parameter $1 of type numeric[]: element [1]: its", NUMERIC_ARRAY, [None, 1]),
    ("parameter $1 of type numrange: upper bound: its", NUMRANGE, Range(None, 1)),
    ("parameter $1 of type nummultirange: range 1: lower bound: its", 4532, [Range(), Range(1)]),
    ("parameter $1 of type place: field 'price': its", PLACE, ("a", b"", 1)),
]


def raising(error: BaseException) -> Callable[[object], Any]:
    def work(_: object) -> None:
        raise error

    return work


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(("place", "oid", "value"), PLACES)
def test_what_an_encoder_raises_is_the_cause(
    place: str, oid: int, value: object, kind: type[Exception]
) -> None:
    error = kind("secret")
    types = learned()
    types.set_codec("geometry", encode=bytes, format="binary")
    types.set_codec("numeric", encode=raising(error), format="value")
    with pytest.raises(DataError) as caught:
        ParameterEncoder([oid], types).encode([value])
    assert str(caught.value).startswith(f"{place} encoder raised {kind.__name__}")
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)


def test_what_other_code_of_the_callers_raises_in_an_element_is_the_cause() -> None:
    class Index:
        def __index__(self) -> int:
            raise error

    error = ValueError("no index")
    with pytest.raises(DataError, match=r"element \[0\]: no index") as caught:
        ParameterEncoder([1007]).encode([[Index()]])
    assert caught.value.__cause__ is error
    assert not is_own(error)


@pytest.mark.parametrize("kind", INTERRUPTS)
def test_an_interrupt_in_an_encoder_propagates(kind: type[BaseException]) -> None:
    types = TypeMap()
    types.set_codec("numeric", encode=raising(kind()), format="value")
    with pytest.raises(kind):
        ParameterEncoder([NUMERIC_ARRAY], types).encode([[1]])


def test_what_a_decoder_raises_is_the_cause() -> None:
    error = KeyError("secret")
    types = TypeMap()
    types.set_codec("numeric", decode=raising(error), format="value")
    decoder = RowDecoder([FieldDescription("n", 0, 0, NUMERIC_ARRAY, -1, -1, 1)], types=types)
    data = types.codec(NUMERIC_ARRAY).encode([1])
    with pytest.raises(DataError) as caught:
        decoder.decode(message := row_message(data), 0, len(message))
    assert str(caught.value) == "row 1, column 1 ('n'): its decoder raised KeyError"
    assert caught.value.__cause__ is error


def row_message(*values: bytes) -> bytes:
    body = len(values).to_bytes(2, "big") + b"".join(len(each).to_bytes(4, "big") + each for each in values)
    return b"D" + (4 + len(body)).to_bytes(4, "big") + body


# ---- In a session

SCRIPT = {
    "select 1": Answer(columns=[("n", INT4)], rows=[(b"\0\0\0\1",)]),
    "select n": Answer("SELECT 2", columns=[("n", NUMERIC)], rows=[(bytes(8),)] * 2),
    "insert": ok(types=[NUMERIC]),
    "pair": Answer(types=[NUMERIC], columns=[("n", NUMERIC)], rows=[(bytes(8),)]),
}


def usable(pair: Pair) -> None:
    assert pair.engine.idle
    operation = pair.run(Execution([QueuedQuery("select 1", ())]))
    assert operation.error is None


def pair_with(*, encode: Any = None, decode: Any = None) -> Pair:
    types = TypeMap()
    types.set_codec("numeric", encode=encode, decode=decode, format="value")
    return Pair(SCRIPT, types=types)


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("kind", [*ERRORS, *INTERRUPTS])
def test_what_a_decoder_raises_ends_its_own_operation(kind: type[BaseException], atomic: bool) -> None:
    raised = kind("here")
    pair = pair_with(decode=raising(raised))
    operation = Execution([QueuedQuery("select n", ()), QueuedQuery("select 1", ())], atomic=atomic)
    pair.engine.submit(operation)
    neighbour = Execution([QueuedQuery("select 1", ())])
    pair.engine.submit(neighbour)
    pair.pump()
    error = operation.items[0].error
    assert isinstance(error, DataError)
    assert error.__cause__ is raised
    if kind in INTERRUPTS:
        assert operation.error is raised
    else:
        assert operation.error is (error if atomic else None)
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED] * 2
    assert neighbour.error is None
    usable(pair)


@pytest.mark.parametrize("kind", [KeyError, KeyboardInterrupt])
def test_what_a_decoder_raises_ends_a_stream(kind: type[BaseException]) -> None:
    raised = kind("here")
    pair = pair_with(decode=raising(raised))
    stream = pair.run(Stream(QueuedQuery("select n", ())))
    assert stream.finished
    assert stream.error is not None
    assert (stream.error if kind is KeyboardInterrupt else stream.error.__cause__) is raised
    usable(pair)


@pytest.mark.parametrize("kind", [*ERRORS, *INTERRUPTS])
@pytest.mark.parametrize("known", [False, True])
def test_what_an_encoder_raises_ends_its_own_operation(kind: type[BaseException], known: bool) -> None:
    raised = kind("here")

    def encode(value: object) -> object:
        if value == "bad":
            raise raised
        return value

    pair = pair_with(encode=encode)
    if known:
        pair.run(Execution([QueuedQuery("insert", (1,))]))
    operation = pair.run(Execution([QueuedQuery("insert", (1,)), QueuedQuery("insert", ("bad",))]))
    assert [item.outcome for item in operation.items] == [Outcome.NOT_SENT] * 2
    error = operation.items[1].error
    assert isinstance(error, DataError)
    assert error.__cause__ is raised
    assert operation.error is (error if kind in ERRORS else raised)
    usable(pair)


@pytest.mark.parametrize("direction", ["encode", "decode"])
@pytest.mark.parametrize("call", ["submit", "abandon", "close", "tick", "set"])
def test_a_function_that_calls_back(direction: str, call: str) -> None:
    other = Execution([QueuedQuery("select 1", ())])
    done: list[bool] = []

    def work(value: object) -> object:
        if not done:
            done.append(True)
            if call == "submit":
                pair.engine.submit(other)
            elif call == "abandon":
                pair.engine.abandon(operation)
            elif call == "tick":
                pair.now += 10
                pair.engine.tick()
            elif call == "set":
                pair.engine.channel.statements.types.set_codec("numeric", decode=str, format="value")
            else:
                pair.engine.close()
        return value

    pair = pair_with(**{direction: work})
    operation = Execution([QueuedQuery("pair", (1,))])
    operation.deadline = pair.now + 5
    pair.run(operation)
    assert done
    assert operation.finished
    if call == "close":
        assert pair.engine.finished
        return
    assert call != "submit" or other.error is None
    usable(pair)


def test_a_type_row() -> None:
    row = TypeRow(type_row(1, "b", schema="a", extension="c"))
    assert (row.name, row.typname, row.schema, row.extension) == ("a.b", "b", "a", "c")


def test_moments() -> None:
    types = TypeMap()
    types.set_codec("timestamptz", encode=lambda at: at[0], decode=lambda at: (at,), format="value")
    noon = datetime(2020, 1, 1, 12, tzinfo=UTC)
    assert both_ways(types.codec(1185), [[[(noon,)]]]) == [[[(noon,)]]]


# ---- Saving and loading


def test_a_map_is_saved_and_loaded() -> None:
    document = json.loads(json.dumps(learned().save()))
    types = TypeMap()
    types.set_codec("geometry", encode=xy, decode=point, format="binary")
    types.load(document)
    assert both_ways(types.codec(PLACE), ("a", 1j, Decimal(1))) == ("a", 1j, Decimal(1))
    assert types.save() == document == learned().save()
    types.forget()
    assert types.known(PLACE) is None
    assert types.save()["types"] == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": 2, "types": []},
        {"version": 1},
        {"version": 1, "types": {}},
        {"version": 1, "types": [[1, "a"]]},
        {"version": 1, "types": ["a"]},
        {"version": 1, "types": [[*type_row(1, "a")[:6], ["x"], [], ",", "public", ""]]},
        {"version": 1, "types": [[*type_row(1, "a")[:6], [1], [1], ",", "public", ""]]},
        {"version": 1, "types": [[*type_row(1, "a")[:6], ["x"], ["y"], ",", "public", ""]]},
        {"version": 1, "types": [[True, *type_row(1, "a")[1:]]]},
    ],
)
def test_no_document(document: dict[str, Any]) -> None:
    types = TypeMap()
    with pytest.raises(ValueError, match="document of TypeMap"):
        types.load(document)
    assert types.save()["types"] == []
