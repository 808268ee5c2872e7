"""What `Range` does with another one; `tests/types/test_ranges.py` compares it with the server."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from pgproto import Multirange, Range

EMPTY: Range[Any] = Range(empty=True)
ALL: Range[Any] = Range()


def test_a_range_in_a_range() -> None:
    whole = Range(1, 9)
    assert Range(1, 9) in whole
    assert Range(2, 3) in whole
    assert EMPTY in whole
    assert Range(4, 4) in whole
    assert Range(1, 9, "[]") not in whole
    assert Range(0, 3) not in whole
    assert Range(2) not in whole
    assert EMPTY in EMPTY
    assert whole not in EMPTY
    assert whole in Range()
    assert Range() not in whole
    assert Range(1, nan) in Range(1, nan, "[]")
    assert Range(1, nan, "[]") not in Range(1, inf, "[]")
    several = Multirange([Range(1, 3), Range(5, 7)])
    assert Range(5, 6) in several
    assert EMPTY in several
    assert EMPTY in Multirange()
    assert Range(2, 6) not in several
    of_ranges = Range(Range(1, 2), Range(5, 6))  # here a range is a value
    assert Range(3, 9) in of_ranges
    assert Range(7, 8) not in of_ranges
    assert Range(7, 8) in Range(Range(1, 2))
    assert Range(7, 8) in Range(None, Range(8, 9))


def test_ranges_that_overlap_or_touch() -> None:
    assert Range(1, 3).overlaps(Range(2, 4))
    assert ALL.overlaps(Range(None, 1))
    assert not Range(1, 3).overlaps(Range(3, 4))
    assert Range(1, 3, "[]").overlaps(Range(3, 4))
    assert not EMPTY.overlaps(ALL)
    assert not ALL.overlaps(EMPTY)
    assert Range(1, 3).adjacent(Range(3, 4))
    assert Range(3, 4).adjacent(Range(1, 3))
    assert not Range(1, 3).adjacent(Range(3, 4, "()"))
    assert not Range(1, 3, "[]").adjacent(Range(3, 4))
    assert not Range(1, 3).adjacent(Range(4, 5))
    assert not Range(1).adjacent(Range(None, 1, "(]"))
    assert not EMPTY.adjacent(EMPTY)
    assert not Range(1, 2).adjacent(EMPTY)


def test_union_intersection_and_difference() -> None:
    assert Range(1, 3) + Range(2, 5) == Range(2, 5) + Range(1, 3) == Range(1, 5)
    assert Range(1, 3) + Range(3, None) == Range(1)
    assert Range(1, 3) + EMPTY == EMPTY + Range(1, 3) == Range(1, 3)
    assert Range(1, 3) * Range(2, 5) == Range(2, 5) * Range(1, 3) == Range(2, 3)
    assert Range(1, 3) * Range(3, 5) == EMPTY
    assert Range(1, 9) - Range(5, 9) == Range(1, 5)
    assert Range(1, 9) - Range(0, 5, "[]") == Range(5, 9, "()")
    assert Range(1, 9) - Range(9, 10) == Range(1, 9) - EMPTY == Range(1, 9)
    assert Range(1, 9) - Range() == EMPTY
    with pytest.raises(ValueError, match="their union is not one range"):
        Range(1, 3) + Range(4, 5)
    with pytest.raises(ValueError, match="the difference is not one range"):
        Range(1, 9) - Range(4, 5)


def test_the_order() -> None:
    ordered: list[Range[Any]] = [
        EMPTY,
        Range(None, 3),
        Range(None, 3, "(]"),
        Range(),
        Range(1, 1, "[]"),
        Range(1, 2),
        Range(1, 2, "[]"),
        Range(1),
        Range(1, 2, "()"),
        Range(2, 3),
        Range(nan, None),
    ]
    backwards = ordered[::-1]
    assert sorted(backwards) == ordered
    assert EMPTY <= Range(1, 1) <= EMPTY
    nothing = Range(1, 1)
    assert nothing >= EMPTY
    assert not nothing > EMPTY


@pytest.mark.parametrize(
    "operation",
    [operator.add, operator.mul, operator.sub, operator.lt, operator.le, operator.gt, operator.ge],
)
def test_with_something_else(operation: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(TypeError):
        operation(Range(1, 2), 1)


def test_the_order_of_texts_is_the_servers() -> None:
    texts = Range("sad", "happy", "[]")
    for ask in (
        lambda: "ok" in texts,
        lambda: texts.overlaps(Range("ok", "ok", "[]")),
        lambda: texts * Range("ok", "ok", "[]"),
        lambda: texts < Range("ok", "ok", "[]"),
        lambda: texts.adjacent(Range("happy", "z", "()")),
    ):
        with pytest.raises(TypeError, match="ask it there"):
            ask()
    assert texts == Range("sad", "happy", "[]")
    assert texts in {texts}
