"""Parameters of Bind and rows of COPY: what is sent, and what a refusal says."""

from __future__ import annotations

import struct
from collections import UserString
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from pgproto.errors import DataError
from pgproto.types import COPY_HEADER, COPY_TRAILER, CopyRowEncoder, ParameterEncoder, TypeMap
from pgproto.types.codec import frame_length
from pgproto.types.composites import DomainCodec
from pgproto.types.registry import BUILT_IN
from tests.support.codecs import binary_codec

SECRET = "hunter2-correct-horse"


def test_formats_and_values() -> None:
    encoder = ParameterEncoder([23, 25, 3614, 99999, 1007])
    assert encoder.formats == (1, 1, 0, 0, 1)
    assert encoder.encode([1, "x", "10.0.0.1", "happy", None]) == [
        b"\0\0\0\x01",
        b"x",
        b"10.0.0.1",
        b"happy",
        None,
    ]
    assert encoder.encode((None,) * 5) == [None] * 5
    assert ParameterEncoder([]).formats == ()
    assert ParameterEncoder([]).encode(()) == []


@pytest.mark.parametrize(
    ("oids", "values", "text"),
    [
        ([], [1], "the statement takes no parameters, but 1 were given"),
        ([23], [], "the statement takes 1 parameter ($1), but 0 were given"),
        ([23, 23], [1, 2, 3], "the statement takes 2 parameters ($1 to $2), but 3 were given"),
        (
            [23, 25],
            [1, 2],
            "parameter $2 of type text: expected str, got int; if the query should take "
            "it as int8, write $2::int8",
        ),
        (
            [23],
            [timedelta(1)],
            "parameter $1 of type int4: expected int, got timedelta; if the query "
            "should take it as interval, write $1::interval",
        ),
        (
            [21],
            [40000],
            "parameter $1 of type int2: int out of range: int2 goes from -32768 to 32767",
        ),
        (
            [1184],
            [datetime(2000, 1, 1)],
            "parameter $1 of type timestamptz: datetime without time zone; pass one with tzinfo, such as "
            "timezone.utc",
        ),
        (
            [23],
            [object()],
            "parameter $1 of type int4: expected int, got object",
        ),
        (
            [3614],
            [5],
            "parameter $1 of type tsvector: expected str, got int; values of this type are "
            "sent as text, so pass the text form",
        ),
        (
            [4711],
            [b"x"],
            "parameter $1 of type with OID 4711: expected str, got bytes; values of this "
            "type are sent as text, so pass the text form",
        ),
        (
            [1007],
            [[1, "x"]],
            "parameter $1 of type int4[]: element [1]: expected int, got str (value of type list)",
        ),
        ([25], [UserString("x")], "parameter $1 of type text: expected str, got UserString"),
    ],
)
def test_refusals(oids: list[int], values: list[Any], text: str) -> None:
    with pytest.raises(DataError) as caught:
        ParameterEncoder(oids).encode(values)
    assert str(caught.value).startswith(text)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_refusals_never_show_the_value() -> None:
    for oid in (16, 17, 18, 20, 23, 701, 1082, 1114, 1186, 1700, 2950, 1007, 2278):
        for value in (SECRET, [SECRET], SECRET + "\0", {SECRET: SECRET}):
            if oid == 2950 and not isinstance(value, str):
                continue
            with pytest.raises(DataError) as caught:
                ParameterEncoder([oid]).encode([value])
            assert SECRET not in str(caught.value)
    for oid in (25, 114, 3614):
        with pytest.raises(DataError) as caught:
            ParameterEncoder([oid]).encode([SECRET + "\ud800"])
        assert SECRET not in str(caught.value)


def test_copy_framing() -> None:
    assert bytes.fromhex("5047434f50590aff0d0a00 00000000 00000000") == COPY_HEADER
    assert COPY_TRAILER == b"\xff\xff"
    encoder = CopyRowEncoder(["a", "b"], [23, 25])
    assert encoder.encode((1, "xy")) == struct.pack(">hiii2s", 2, 4, 1, 2, b"xy")
    assert encoder.encode([None, ""]) == struct.pack(">hii", 2, -1, 0)
    assert encoder.encode({"b": None, "c": 9, "a": 7}) == struct.pack(">hiii", 2, 4, 7, -1)
    assert CopyRowEncoder([], []).encode(()) == b"\0\0"


def test_copy_refusals() -> None:
    with pytest.raises(DataError, match="column 'ip' of type tsvector cannot be copied in binary"):
        CopyRowEncoder(["id", "ip"], [23, 3614])
    with pytest.raises(DataError, match="column 'mood' of type with OID 16400 cannot be copied"):
        CopyRowEncoder(["mood"], [16400])
    with pytest.raises(DataError, match="2 columns with 1 types"):
        CopyRowEncoder(["a", "b"], [23])
    encoder = CopyRowEncoder(["a", "b"], [23, 25])
    encoder.encode((1, "x"))
    with pytest.raises(DataError, match="record 2 has 1 values for 2 columns"):
        encoder.encode((1,))
    with pytest.raises(DataError) as caught:
        encoder.encode((1, 2))
    assert str(caught.value) == ("record 3, column 'b' of type text: expected str, got int")
    with pytest.raises(DataError, match="record 4, column 'a' of type int4: int out of range"):
        encoder.encode((2**40, "x"))


def test_any_values_make_the_fields_that_their_codecs_make() -> None:
    """However they are cut into runs: long ones, ones with NULLs, and ones that need a second look."""
    cases: list[tuple[list[int], list[Any]]] = [
        ([23] * 70, list(range(70))),
        ([23] * 70, [None, *range(69)]),
        ([23, 25, 701, 16, 25], [1, "x", 2.5, True, "é"]),
        ([23, 25, 701, 16, 25], [None, None, None, None, None]),
        ([701, 23, 701], [1, 2, 3]),
        ([1114, 2950, 1007], [datetime(2026, 1, 1), UUID(int=7), [1, None]]),
        ([25], [""]),
        ([], []),
        (
            [1266, 1186, 27, 4072, 829],
            [time(1, tzinfo=UTC), timedelta(1), (1, 2), "$" + " " * 300, "080020010203"],
        ),
        ([600, 628, 601, 602, 604], ["(1,2)", (1, 2, 3), "(1,2),(3,4)", "[(1,2)]", ((1, 2), (3, 4))]),
        ([774, 3220, 4072], ["ff" * 8, "FF/1", "$"]),
    ]
    for count in range(1, 6):  # every length of a run, with something out of the ordinary at each place
        for tail in ([], [(25, "x")]):
            oids, values = (
                [701] * count + [oid for oid, _ in tail],
                [2.5] * count + [text for _, text in tail],
            )
            cases.append((oids, values))
            odd = [(place, None) for place in range(len(values))] + [(place, 7) for place in range(count)]
            cases += [(oids, [*values[:place], value, *values[place + 1 :]]) for place, value in odd]
    for oids, values in cases:
        encoder = ParameterEncoder(oids)
        expected: list[bytes | None] = []
        for oid, value in zip(oids, values, strict=True):
            codec = binary_codec(oid)
            assert codec is not None
            expected.append(None if value is None else codec.encode(value))
        assert encoder.encode(values) == expected
        fields = b"".join(
            [b"\xff" * 4 if data is None else frame_length(len(data)) + data for data in expected]
        )
        parts: list[bytes] = []
        assert encoder.add(parts, values) == len(fields)
        assert b"".join(parts) == fields
        assert CopyRowEncoder([""] * len(oids), oids).encode(values) == len(oids).to_bytes(2, "big") + fields


class Zone(tzinfo):
    """Says how often it was asked for its offset."""

    asked = 0

    def utcoffset(self, moment: datetime | None) -> timedelta:
        Zone.asked += 1
        return timedelta(hours=1)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "zone"


@pytest.mark.parametrize(
    ("oids", "values", "text"),
    [
        ([1082, 1082, 25], [date(2000, 1, 1), "x", 5], "parameter $2 of type date: expected date"),
        ([23, 1082], [1 << 40, "x"], "parameter $1 of type int4: int out of range: int4 goes from"),
        ([700, 25], [Decimal("1E+40"), 5], "parameter $1 of type float4: Decimal out of range of float4"),
        ([1082, 23, 700], [date(2000, 1, 1), 1, 1e40], "parameter $3 of type float4: float out of range"),
        ([1082, 1082], [None, "x"], "parameter $2 of type date: expected date"),
        ([1082, 25], [None, 5], "parameter $2 of type text: expected str"),
        ([16, 16, 16, 16], [True, False, True, 1], "parameter $4 of type bool: expected bool"),
    ],
)
def test_the_first_unfit_value_is_named(oids: list[int], values: list[Any], text: str) -> None:
    with pytest.raises(DataError) as caught:
        ParameterEncoder(oids).encode(values)
    assert str(caught.value).startswith(text)


def test_no_value_is_encoded_twice() -> None:
    moment = datetime(2000, 1, 1, tzinfo=Zone())
    ParameterEncoder([1184]).encode([moment])
    once = Zone.asked
    for oids, values in [
        ([1184, 1184], [moment, "x"]),
        ([1184, 700], [moment, 1e40]),
        ([1184, 25], [moment, 5]),
    ]:
        Zone.asked = 0
        with pytest.raises(DataError, match=r"parameter \$2"):
            ParameterEncoder(oids).encode(values)
        assert Zone.asked == once
    Zone.asked = 0
    encoder = ParameterEncoder([1184, 1184, 1184, 1184])
    assert encoder.encode([moment, moment, None, moment])[2] is None
    assert Zone.asked == 3 * once


@pytest.mark.parametrize("null", range(5))
def test_a_null_among_fields_of_fixed_width(null: int) -> None:
    values: list[Any] = [date(2000, 1, 2), time(0, 0, 1), True, UUID(int=1), "x"]
    whole = ParameterEncoder([1082, 1083, 16, 2950, 25]).encode(values)
    assert whole == [b"\0\0\0\x01", (10**6).to_bytes(8, "big"), b"\x01", bytes(15) + b"\x01", b"x"]
    values[null] = whole[null] = None
    assert ParameterEncoder([1082, 1083, 16, 2950, 25]).encode(values) == whole


def test_a_domain_is_written_as_its_base_type() -> None:
    base = BUILT_IN.codec(23)
    domain = DomainCodec(90002, "outer", DomainCodec(90001, "inner", base))
    assert domain.writer is base
    types = TypeMap()
    types.add(domain)
    encoder = ParameterEncoder([90002, 23], types)
    assert encoder.encode([1, None]) == [b"\0\0\0\x01", None]
    with pytest.raises(DataError, match=r"parameter \$1 of type outer: int out of range: int4 goes from"):
        encoder.encode([1 << 40, 1])
