"""Composites: what is taken for one, and bytes that are none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest

from pgproto import DataError
from pgproto.types import BUILT_IN, Columns, Row
from pgproto.types.codec import OutdatedTypeError
from pgproto.types.composites import CompositeCodec

ADDRESS = CompositeCodec(99_999, "address", [("street", BUILT_IN.codec(25)), ("number", BUILT_IN.codec(23))])


def field(oid: int, data: bytes | None) -> bytes:
    return struct.pack(">Ii", oid, -1 if data is None else len(data)) + (data or b"")


def sent(*fields: bytes) -> bytes:
    return len(fields).to_bytes(4, "big") + b"".join(fields)


class Home(NamedTuple):
    street: str
    number: int


class Swapped(NamedTuple):
    number: int
    street: str


class Other(NamedTuple):
    a: str
    b: int


class Unlike(tuple[object, ...]):
    """Not a named tuple, although it has such an attribute."""

    _fields = "number"

    def __new__(cls, *items: object) -> Unlike:
        return super().__new__(cls, items)


STREET = field(25, b"Elm")
NUMBER = field(23, bytes((0, 0, 0, 7)))


@pytest.mark.parametrize(
    "value",
    [
        ("Elm", 7),
        ["Elm", 7],
        {"number": 7, "street": "Elm"},
        Row(Columns(["a", "b"]), ("Elm", 7)),
        Row(Columns(["?column?", "?column?"]), ("Elm", 7)),
        Row(Columns(["street", "?column?"]), ("Elm", 7)),
        Row(Columns(["street", "number"]), ("Elm", 7)),
        Row(Columns(["number", "street"]), (7, "Elm")),
        Home("Elm", 7),
        Swapped(7, "Elm"),
        Other("Elm", 7),
        Unlike("Elm", 7),
    ],
)
def test_what_is_taken(value: object) -> None:
    assert ADDRESS.encode(value) == sent(STREET, NUMBER)
    assert ADDRESS.encode_text(value) == "(Elm,7)"


@pytest.mark.parametrize("encode", [ADDRESS.encode, ADDRESS.encode_text])
@pytest.mark.parametrize(
    ("value", "error", "reason"),
    [
        ("Elm", TypeError, "expected tuple, got str"),
        ({"street": "Elm", "number": 7, "zip": 1}, ValueError, "3 keys for the 2 fields of address"),
        (Row(Columns(["number", "x"]), ("Elm", 7)), ValueError, "'number' is a field at another place"),
        (Row(Columns(["x", "street"]), ("Elm", 7)), ValueError, "'street' is a field at another place"),
        (Row(Columns(["street", "street"]), ("Elm", 7)), ValueError, "'street' is a field at another place"),
        (Row(Columns(["street"]), ("Elm",)), ValueError, "1 values for the 2 fields of address"),
        (Row(Columns(["street", "number", "x"]), ("Elm", 7, 0)), ValueError, "3 values for the 2 fields"),
        (("Elm",), ValueError, "1 values for the 2 fields of address"),
        ({"street": "Elm"}, ValueError, "field 'number' is missing"),
        (("Elm", "7"), TypeError, "field 'number': expected int"),
        (("Elm", 2**31), ValueError, "field 'number'"),
    ],
)
def test_what_is_refused(
    encode: Callable[[object], object], value: object, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        encode(value)


def test_null_fields() -> None:
    data = sent(field(25, None), NUMBER)
    assert ADDRESS.encode((None, 7)) == data
    assert tuple(ADDRESS.decode(data, 0, len(data))) == (None, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\0\0\0", OutdatedTypeError),
        (sent(STREET), OutdatedTypeError),
        (sent(STREET, field(20, bytes(8))), OutdatedTypeError),
        (sent(STREET, NUMBER)[:-5], DataError),
        (sent(STREET, NUMBER)[:-1], DataError),
        (sent(STREET, struct.pack(">Ii", 23, -2)), DataError),
        (sent(STREET, b"\0\0\0"), DataError),
        (sent(STREET, NUMBER) + b"\0", DataError),
    ],
)
def test_what_no_server_sends(data: bytes, error: type[DataError]) -> None:
    with pytest.raises(error):
        ADDRESS.decode(b"?" + data + b"?", 1, 1 + len(data))
