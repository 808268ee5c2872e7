"""The SQL types of values that no server was asked about."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from uuid import UUID

import pytest

from pgproto import DataError, LocalProtocolError
from pgproto.types import (
    BUILT_IN,
    BitString,
    InferredEncoder,
    Interval,
    Multirange,
    Point,
    Range,
    RawJSON,
    TypeMap,
)
from tests.support.builds import pure_only

NOON = datetime(2024, 2, 29, 12)


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    BIG = 2**40


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (None, "", None),
        (True, "bool", "t"),
        (0, "int4", "0"),
        (2**31 - 1, "int4", "2147483647"),
        (-(2**31) + 1, "int4", "-2147483647"),
        (2**31, "int8", "2147483648"),
        (2**63, "numeric", "9223372036854775808"),
        (Size.BIG, "int8", "1099511627776"),
        (Colour.RED, "", "red"),
        (Name("a"), "", "a"),
        (1.5, "float8", "1.5"),
        (Decimal("1.50"), "numeric", "1.50"),
        ("a'b\\", "", "a'b\\"),
        (b"\0\xff", "bytea", "\\x00ff"),
        (bytearray(b"a"), "bytea", "\\x61"),
        (memoryview(b"a"), "bytea", "\\x61"),
        (date(2024, 2, 29), "date", "2024-02-29"),
        (time(1, 2, 3), "time", "01:02:03"),
        (time(1, 2, 3, tzinfo=UTC), "timetz", "01:02:03+00:00"),
        (NOON, "timestamp", "2024-02-29 12:00:00"),
        (NOON.replace(tzinfo=UTC), "timestamptz", "2024-02-29 12:00:00+00:00"),
        (UUID(int=1), "uuid", "00000000-0000-0000-0000-000000000001"),
        (ip_address("::1"), "inet", "::1"),
        (ip_interface("10.0.0.1/8"), "inet", "10.0.0.1/8"),
        (ip_network("10.0.0.0/8"), "cidr", "10.0.0.0/8"),
        (BitString("101"), "varbit", "101"),
        (Point(1, 2), "point", "(1.0,2.0)"),
        ({"a": [1]}, "", '{"a":[1]}'),
        (RawJSON("[1]"), "", "[1]"),
        ([], "text[]", "{}"),
        ([None, []], "text[]", None),
        ([1, None], "int4[]", "{1,NULL}"),
        ([[1, 2], [3, 2**40]], "int8[]", "{{1,2},{3,1099511627776}}"),
        ([1, 2**70], "numeric[]", "{1,1180591620717411303424}"),
        (["a,", None], "", '{"a,",NULL}'),
        ([{"a": 1}], "", '{"{\\"a\\":1}"}'),
        (Range(1, 5), "", "[1,5)"),
        (Range(None, 2**70), "", "(,1180591620717411303424)"),
        (Range(date(2024, 1, 1), None), "", "[2024-01-01,)"),
        (Range(NOON, None), "", '["2024-02-29 12:00:00",)'),
        (Range(empty=True), "", "empty"),
        (Multirange([Range(1, 5)]), "", "{[1,5)}"),
        (Multirange(), "", "{}"),
    ],
)
def test_a_value_has_a_type_and_a_text(value: object, name: str, text: str | None) -> None:
    encoder = InferredEncoder(1, TypeMap())
    if value == [None, []]:
        with pytest.raises(DataError):
            encoder.texts((value,))  # ragged
        return
    assert encoder.texts((value,)) == [text]
    codec = BUILT_IN.named(name)
    assert encoder.oids == (0 if codec is None else codec.oid,)
    assert encoder.names == (name,)


@pytest.mark.parametrize("value", [timedelta(days=1, seconds=2), Interval(1, 2, 3)])
def test_intervals(value: object) -> None:
    encoder = InferredEncoder(1, BUILT_IN)
    (text,) = encoder.texts((value,))
    codec = BUILT_IN.named("interval")
    assert codec is not None
    assert codec.decode_text(text or "") == codec.decode(codec.encode(value), 0, 16)


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else [1]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (object(), "nothing says the SQL type"),
        ((1, 2), "nothing says the SQL type"),
        ([1, "a"], "a list of int4 and text, which no array takes"),
        ([1, True], "a list of bool and int4"),
        (nested(6), "too deep"),
        (Range("a", "b"), "a range of such values"),
        ("\0", "NUL"),
    ],
)
def test_what_is_not_guessed(value: object, problem: str) -> None:
    with pytest.raises(DataError, match=r"parameter \$2") as caught:
        InferredEncoder(2, BUILT_IN).texts((1, value))
    assert problem in str(caught.value)


def test_types_without_the_builtin_ones() -> None:
    with pytest.raises(DataError, match="the session's types have no int4"):
        InferredEncoder(1, TypeMap(root=True)).texts((1,))


def test_the_values_of_a_bind() -> None:
    encoder = InferredEncoder(3, BUILT_IN)
    assert encoder.encode((12, None, "é")) == [b"12", None, "é".encode()]
    assert encoder.formats == (0, 0, 0)


@pure_only("compiled code reads a constant when it is imported")
def test_the_values_of_a_bind_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = InferredEncoder(3, BUILT_IN)
    monkeypatch.setattr("pgproto.types.inferred.MAX_BIND", 10)
    with pytest.raises(LocalProtocolError, match="more than a message can carry"):
        encoder.encode((12, None, "é" * 10))
