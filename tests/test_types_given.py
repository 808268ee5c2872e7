"""What stands for a number, a bool or a list: the same for a parameter, an array's element and a COPY."""

from __future__ import annotations

import enum
import math
from collections import deque
from datetime import UTC, date, datetime
from decimal import (
    MAX_PREC,
    Context,
    Decimal,
    DecimalException,
    FloatOperation,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    Subnormal,
    localcontext,
)
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pgproto.types import BUILT_IN, Circle, Codec, ParameterEncoder, Point, Range


class Mood(enum.Enum):
    HAPPY = "happy"
    ONE = 1
    HALF = 0.5


class Answer(enum.Enum):
    YES = True


class Level(enum.IntEnum):
    HIGH = 3


class Color(enum.StrEnum):
    RED = "red"


class Index:
    def __index__(self) -> int:
        return 7


class Real:
    def __float__(self) -> float:
        return 0.25


def codec(name: str) -> Codec:
    found = BUILT_IN.named(name)
    assert found is not None
    return found


def kept(name: str, value: object) -> object:
    """What the server would send back."""
    data = codec(name).encode(value)
    return codec(name).decode(data, 0, len(data))


TAKEN: list[tuple[str, Any, object]] = [
    ("int4", Index(), 7),
    ("int4", np.int32(5), 5),
    ("int8", np.uint64(2**63 - 1), 2**63 - 1),
    ("int4", 3.0, 3),
    ("int4", Decimal("3.00"), 3),
    ("int4", Decimal("1E+3"), 1000),
    ("int4", np.float64(4.0), 4),
    ("int4", Level.HIGH, 3),
    ("int4", Mood.ONE, 1),
    ("float8", Decimal("0.5"), 0.5),
    ("float8", Fraction(1, 4), 0.25),
    ("float8", Real(), 0.25),
    ("float8", np.float32(0.5), 0.5),
    ("float8", np.int64(2), 2.0),
    ("float8", Mood.HALF, 0.5),
    ("numeric", "1.50", Decimal("1.50")),
    ("numeric", " 1e2 ", Decimal("100")),
    ("numeric", "NaN", Decimal("NaN")),
    ("numeric", "1_0.2_5e+0_1\n", Decimal("102.5")),
    ("numeric", "-.5", Decimal("-0.5")),
    ("numeric", "5.", Decimal("5")),
    ("numeric", np.int8(3), Decimal(3)),
    ("numeric", np.float32(0.5), Decimal("0.5")),
    ("numeric", np.float64(0.1), Decimal("0.1")),
    ("numeric", np.longdouble("0.5"), Decimal("0.5")),
    ("numeric", np.longdouble("-inf"), Decimal("-Infinity")),
    ("numeric", np.longdouble("nan"), Decimal("NaN")),
    ("numeric", Fraction(2**70 + 1), Decimal(2**70 + 1)),
    ("numeric", Fraction(2**70 + 1, 2**3), Decimal("147573952589676412928.125")),
    ("numeric", Fraction(-(10**30) - 1, 5**3), Decimal("-8000000000000000000000000000.008")),
    ("numeric", Fraction(1, 40), Decimal("0.025")),
    ("numeric", Fraction(1, 5**16383), Decimal(2**16383).scaleb(-16383, Context(prec=MAX_PREC))),
    ("bool", np.array(True), True),
    ("float8", Decimal("Infinity"), math.inf),
    ("float8", Decimal("1E-400"), 0.0),
    ("float8", np.longdouble("-inf"), -math.inf),
    ("float8", np.float32("inf"), math.inf),
    ("float8", np.array(0.5), 0.5),
    ("point", (Decimal("0.5"), np.float32(2)), Point(0.5, 2.0)),
    ("circle", ((1, 2), Fraction(1, 2)), Circle(Point(1.0, 2.0), 0.5)),
    ("numeric", Mood.HALF, Decimal("0.5")),
    ("bool", np.bool_(True), True),
    ("bool", Answer.YES, True),
    ("text", Color.RED, "red"),
    ("text", Mood.HAPPY, "happy"),
    ("date", datetime(2020, 1, 2), date(2020, 1, 2)),
    ("timestamp", date(2020, 1, 2), datetime(2020, 1, 2)),
    ("int4[]", (1, 2), [1, 2]),
    ("int4[]", range(3), [0, 1, 2]),
    ("int4[]", {5}, [5]),
    ("int4[]", deque([1, None]), [1, None]),
    ("int4[]", {1: "a"}.keys(), [1]),
    ("int4[]", np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    ("int4[]", [np.array([1, 2]), [3, 4]], [[1, 2], [3, 4]]),
    ("float8[]", np.array([0.5, 1.5]), [0.5, 1.5]),
    ("int4[]", [range(2), (5, 6)], [[0, 1], [5, 6]]),
    ("text[]", [Color.RED, Mood.HAPPY], ["red", "happy"]),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("int4", True, "expected int, got bool"),
    ("int4", np.bool_(True), "expected int, got bool"),
    ("int4", Answer.YES, "expected int, got bool"),
    ("int4", 1.5, "float that is no whole number"),
    ("int4", float("nan"), "float that is no whole number"),
    ("int4", float("inf"), "float that is no whole number"),
    ("int4", Decimal("0.1"), "Decimal that is no whole number"),
    ("int4", Decimal("1E+1000000"), "Decimal that is no whole number, or too large"),
    ("int4", Decimal("sNaN"), "Decimal that is no whole number"),
    ("int4", "1", "expected int, got str"),
    ("int4", Real(), "expected int, got Real"),
    ("float8", True, "expected float, got bool"),
    ("float8", np.bool_(True), "expected float, got bool"),
    ("float8", "1.5", "expected float, got str"),
    ("float8", None, "expected float, got NoneType"),
    ("float8", np.array(True), "expected float, got ndarray"),
    ("float8", Decimal("-1E+400"), "Decimal out of range of float8"),
    ("float4", Decimal("1E+400"), "Decimal out of range of float8"),
    ("float4", Decimal("1E+40"), "Decimal out of range of float4"),
    ("float8", Fraction(10**400), "Fraction out of range of float8"),
    ("float8", np.longdouble("1e4000"), "longdouble out of range of float8"),
    ("float8", np.complex128(1 + 2j), "expected float, got a complex number"),
    ("float8", np.complex64(1), "expected float, got a complex number"),
    ("float8", np.array(1j), "expected float, got a complex number"),
    ("float8", 1j, "expected float, got complex"),
    ("float8[]", [Decimal("1E+400")], r"element \[0\]: Decimal out of range of float8"),
    ("float8[]", np.array([1j]), r"element \[0\]: expected float, got a complex number"),
    ("point", (Decimal("1E+400"), 0), "Decimal out of range of float8"),
    ("point", (10**400, 0), "int out of range of float8"),
    ("path", [(0, 10**400)], "int out of range of float8"),
    ("numeric", Real(), "expected Decimal, got Real that is no float"),
    ("numeric", np.longdouble("0.1"), "expected Decimal, got longdouble that is no float"),
    ("numeric", np.complex128(1), "expected Decimal, got complex128"),
    ("numeric", Fraction(1, 3), "Fraction with too many, or endless, digits"),
    ("numeric", Fraction(1, 5**16384), "Fraction with too many, or endless, digits"),
    ("numeric", Fraction(1, 2**100000), "Fraction with too many, or endless, digits"),
    ("numeric", Fraction(10**200000 + 1, 2), "Fraction with too many digits before"),
    ("numeric", Fraction(10**200000), "more than 131072 digits before"),
    ("numeric", True, "expected Decimal, got bool"),
    ("numeric", np.bool_(True), "expected Decimal, got bool"),
    ("numeric", "", "str that is no number"),
    ("numeric", "1__0", "str that is no number"),
    ("numeric", "\u0661", "str that is no number"),
    ("numeric", "sNaN", "str that is no number"),
    ("numeric", "NaN1", "str that is no number"),
    ("numeric", "1e" + 30 * "9", "str that is no number"),
    ("numeric", [], "expected Decimal, got list"),
    ("bool", 1, "expected bool, got int"),
    ("bool", np.int8(1), "expected bool, got int8"),
    ("text", Mood.ONE, "expected str, got int"),
    ("date", datetime(2020, 1, 2, tzinfo=UTC), "expected date, got datetime"),
    ("date", datetime(2020, 1, 2, 0, 0, 0, 1), "expected date, got datetime"),
    ("timestamptz", date(2020, 1, 2), "expected datetime, got date"),
    ("int4[]", iter([1]), "expected list, got list_iterator"),
    ("int4[]", "12", "expected list, got str"),
    ("int4[]", b"12", "expected list, got bytes"),
    ("int4[]", {1: 2}, "expected list, got dict"),
    ("int4[]", [{1, 2}, {3, 4}], r"element \[0\]: expected int, got set"),
]


@pytest.mark.parametrize(
    ("name", "given", "value"), TAKEN, ids=[f"{row[0]} {type(row[1]).__name__}" for row in TAKEN]
)
def test_taken(name: str, given: Any, value: object) -> None:
    found = kept(name, given)
    assert repr(found) == repr(value)
    encoder = ParameterEncoder([codec(name).oid, 23])
    assert encoder.encode([given, 1]) == encoder.encode([value, 1])


@pytest.mark.parametrize(
    ("name", "given", "says"), REFUSED, ids=[f"{row[0]} {type(row[1]).__name__}" for row in REFUSED]
)
def test_refused(name: str, given: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        codec(name).encode(given)


def test_an_int_that_is_too_large_for_a_float() -> None:
    with pytest.raises(ValueError, match="int out of range of float8"):
        codec("float8").encode(10**400)


@pytest.mark.parametrize(
    "traps", [[], [FloatOperation, Inexact, Rounded, Overflow, Subnormal, InvalidOperation]]
)
def test_the_decimal_context_is_not_asked(traps: list[type[DecimalException]]) -> None:
    big = Decimal("-123456789.5e30")
    with localcontext(Context(prec=1, Emax=2, Emin=-2, capitals=0, traps=traps)):
        for garbage in ("garbage", "1e99999999999999999999", "sNaN1x"):
            with pytest.raises(ValueError, match="str that is no number"):
                codec("numeric").encode(garbage)
        with pytest.raises(ValueError, match="lower bound: str that is no number"):
            codec("numrange").encode(Range("x", None))
        assert kept("int8", 3.0) == 3
        with pytest.raises(ValueError, match="float that is no whole number"):
            codec("int8").encode(3.5)
        found = [kept("numeric", each) for each in (big, "1.25", 1.25, 10**30, Fraction(12345, 8), "NaN")]
        text = codec("numeric").encode_text(big)
        infinite = kept("float8", Decimal("Infinity"))
    assert repr(found[:5]) == repr(
        [Decimal(f"-1234567895{'0' * 29}"), *[Decimal("1.25")] * 2, Decimal(10**30), Decimal("1543.125")]
    )
    assert repr(found[5]) == "Decimal('NaN')"
    assert text == f"-1234567895{'0' * 29}"
    assert infinite == math.inf


def test_a_decimal_of_a_subclass() -> None:
    class Money(Decimal):
        pass

    assert kept("numeric", Money("1.50")) == Decimal("1.50")
    assert kept("int4", Money("2")) == 2
