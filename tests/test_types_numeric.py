"""The codec of numeric: exact, both ways, whatever the decimal context says."""

from __future__ import annotations

import decimal
import struct
import sys
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import DataError
from pgproto.types.numeric import NumericCodec

FIXED = settings(deadline=None, derandomize=True)

NUMERIC = NumericCodec(1700, "numeric")

VECTORS: list[tuple[str, str]] = [
    # ndigits weight sign dscale digits
    ("0", "0000 0000 0000 0000"),
    ("0.00", "0000 0000 0000 0002"),
    ("1", "0001 0000 0000 0000 0001"),
    ("-1", "0001 0000 4000 0000 0001"),
    ("9999", "0001 0000 0000 0000 270f"),
    ("10000", "0001 0001 0000 0000 0001"),
    ("10001", "0002 0001 0000 0000 0001 0001"),
    ("1.10", "0002 0000 0000 0002 0001 03e8"),
    ("0.1", "0001 ffff 0000 0001 03e8"),
    ("0.0001", "0001 ffff 0000 0004 0001"),
    ("0.00001", "0001 fffe 0000 0005 03e8"),
    ("123456789.987654321", "0006 0002 0000 0009 0001 0929 1a85 2694 1538 03e8"),
    ("-0.5000", "0001 ffff 4000 0004 1388"),
    ("NaN", "0000 0000 c000 0000"),
    ("Infinity", "0000 0000 d000 0020"),
    ("-Infinity", "0000 0000 f000 0020"),
]


def decode(binary: bytes) -> Decimal:
    value = NUMERIC.decode(b"\x99" + binary + b"\x99", 1, 1 + len(binary))
    assert isinstance(value, Decimal)
    return value


@pytest.mark.parametrize(("text", "data"), VECTORS)
def test_vector(text: str, data: str) -> None:
    binary = bytes.fromhex(data)
    assert NUMERIC.encode(Decimal(text)) == binary
    assert str(decode(binary)) == text or format(decode(binary), "f") == text


@pytest.mark.parametrize(
    ("value", "like"),
    [
        (5, "5"),
        (-(10**40), "-" + "1" + "0" * 40),
        (0.1, "0.1"),
        (1e22, "10000000000000000000000"),
        (-2.5, "-2.5"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0"), "0"),
        (Decimal("0E+999999"), "0"),
        (Decimal("0E-5"), "0.00000"),
        (Decimal("sNaN"), "NaN"),
        (Decimal("-NaN"), "NaN"),
        (Decimal((0, (0, 0, 7), -1)), "0.7"),
    ],
)
def test_other_input(value: object, like: str) -> None:
    assert NUMERIC.encode(value) == NUMERIC.encode(Decimal(like))
    assert format(decode(NUMERIC.encode(value)), "f") == like


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (True, TypeError, "expected Decimal, got bool"),
        ("1,5", ValueError, "str that is no number"),
        (Decimal("1E-16384"), ValueError, "more than 16383 digits after"),
        (Decimal("0E-16384"), ValueError, "more than 16383 digits after"),
        (Decimal("1E+131072"), ValueError, "more than 131072 digits before"),
    ],
)
def test_refused(value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        NUMERIC.encode(value)


def test_int_with_too_many_digits() -> None:
    for number in (10**131072, 1 << 10_000_000):
        with pytest.raises(ValueError, match="more than 131072 digits before"):
            NUMERIC.encode(number)


def test_extremes_round_trip() -> None:
    for number in (
        Decimal("1E-16383"),
        Decimal("9" * 131072),
        Decimal("-" + "9" * 131072 + "." + "9" * 16383),
        Decimal("1E+131071"),
    ):
        assert decode(NUMERIC.encode(number)) == number


def test_the_decimal_context_does_not_matter() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        context.traps[decimal.Inexact] = True
        number = Decimal("123456789.987654321")
        assert str(decode(NUMERIC.encode(number))) == "123456789.987654321"
        assert str(decode(NUMERIC.encode(10**30 + 1))) == str(10**30 + 1)


def test_digits_behind_the_scale_are_not_lost() -> None:
    assert str(decode(struct.pack(">HhHHHH", 2, 0, 0, 1, 1, 1230))) == "1.123"
    assert str(decode(struct.pack(">HhHHHH", 2, 0, 0, 0, 1, 0))) == "1"
    assert str(decode(struct.pack(">HhHHHHHHH", 5, 0, 0, 0, 1, 0, 0, 0, 0))) == "1.000000000000"
    assert str(decode(struct.pack(">HhHHHHHHH", 5, 0, 0, 0, 1, 0, 0, 0, 70))) == "1.000000000000007"


@pytest.mark.parametrize("zeros", [0, 1, 2, 4, 5, 9])
@pytest.mark.parametrize("weight", [-32768, -30, -1, 0, 1, 30, 300, 32767])
def test_zero_has_the_places_that_are_shown(zeros: int, weight: int) -> None:
    value = decode(struct.pack(f">HhHH{zeros}H", zeros, weight, 0, 3, *[0] * zeros))
    assert value == 0
    if zeros <= 4:
        assert str(value) == "0.000"


@pytest.mark.parametrize("groups", range(1, 14))
@pytest.mark.parametrize("scale", [0, 1, 4, 7, 39, 40, 41, 16383])
def test_any_number_of_groups(groups: int, scale: int) -> None:
    for digits in ("1", "9999" * groups, "1" + "0" * (4 * groups - 5) + "2345"):
        for sign in ("", "-"):
            number = Decimal(f"{sign}{digits}").scaleb(-scale, decimal.Context(prec=20000))
            assert str(decode(NUMERIC.encode(number))) == str(number)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", "0 bytes, which is too short"),
        ("00000000000000", "7 bytes, which is too short"),
        ("0001 0000 0000 0000", "1 digits announced in 0 bytes"),
        ("0000 0000 0000 0000 0001", "0 digits announced in 2 bytes"),
        ("ffff 0000 0000 0000", "65535 digits announced"),
        ("0001 0000 0000 0000 2710", "digit 10000"),
        ("0000 0000 1234 0000", "sign 0x1234"),
        ("0000 0000 0000 4000", "scale 16384"),
        ("0001 0000 c000 0000 0001", "NaN with digits"),
    ],
)
def test_malformed(data: str, text: str) -> None:
    with pytest.raises(DataError, match=text):
        decode(bytes.fromhex(data))


@FIXED
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_round_trip(number: Decimal) -> None:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -16383 or number.adjusted() >= 131072:
        with pytest.raises(ValueError, match="digits"):
            NUMERIC.encode(number)
        return
    decoded = decode(NUMERIC.encode(number))
    assert decoded == number
    if exponent <= 0:
        assert decoded.as_tuple().exponent == exponent


@FIXED
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_as_the_same_float(number: float) -> None:
    assert float(decode(NUMERIC.encode(number))) == number


@pytest.mark.holds("D10")
@FIXED
@given(
    st.lists(st.integers(0, 9999) | st.sampled_from([0, 1000, 1200]), max_size=5),
    st.integers(-4, 6),
    st.integers(0, 14),
    st.booleans(),
)
def test_any_digits_weight_and_scale(groups: list[int], weight: int, scale: int, negative: bool) -> None:
    count = len(groups)
    data = struct.pack(f">HhHH{count}H", count, weight, 0x4000 if negative else 0, scale, *groups)
    number, exponent = 0, 4 * (weight + 1 - count)
    for group in groups:
        number = 10000 * number + group
    while exponent > -scale:
        number, exponent = 10 * number, exponent - 1
    while exponent < -scale and not number % 10:  # no zeros after the scale, but digits
        number, exponent = number // 10, exponent + 1
    expected = Decimal((int(negative), tuple(map(int, str(number))), exponent))
    decoded = NUMERIC.decode(b"\x11" + data + b"\x22", 1, 1 + len(data))
    assert isinstance(decoded, Decimal)
    assert decoded.as_tuple() == expected.as_tuple()


def test_fourteen_bytes_are_no_hundred_thousand_digits() -> None:
    codec = NumericCodec(1700, "numeric")
    for number in (Decimal("1E+131000"), Decimal("-12.5E+100000"), Decimal("1E+1008")):
        data = codec.encode(number)
        found = codec.decode(data, 0, len(data))
        assert found == number
        assert isinstance(found, Decimal)
        assert sys.getsizeof(found) < 200
        assert codec.encode(found) == data
    for number in (Decimal("1E+900"), Decimal("10000")):
        data = codec.encode(number)
        assert str(codec.decode(data, 0, len(data))) == format(number, "f")
    zero = bytes.fromhex("0000 7fff 0000 0000".replace(" ", ""))
    assert str(codec.decode(zero, 0, 8)) in ("0", "0" * 131072)
