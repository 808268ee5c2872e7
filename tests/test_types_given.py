"""What stands for a number, a bool or a list: the same for a parameter, an array's element and a COPY."""

from __future__ import annotations

import enum
from collections import deque
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pgproto.types import BUILT_IN, Codec, ParameterEncoder


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
    ("numeric", np.int8(3), Decimal(3)),
    ("numeric", np.float32(0.5), Decimal("0.5")),
    ("numeric", np.float64(0.1), Decimal("0.1")),
    ("numeric", Real(), Decimal("0.25")),
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
    ("numeric", True, "expected Decimal, got bool"),
    ("numeric", np.bool_(True), "expected Decimal, got bool"),
    ("numeric", "", "str that is no number"),
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


def test_a_decimal_of_a_subclass() -> None:
    class Money(Decimal):
        pass

    assert kept("numeric", Money("1.50")) == Decimal("1.50")
    assert kept("int4", Money("2")) == 2
