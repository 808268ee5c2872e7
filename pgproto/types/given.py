"""What a caller may give for a number, a bool or a list in place of Python's own: what loses nothing.

    int      anything with `__index__` (numpy's integers); a float or Decimal that is whole
    float    anything with `__float__` (numpy's floats, Decimal, Fraction)
    Decimal  int, float (by the digits of its repr), str, and what stands for an int or a float
    bool     numpy's bool
    list     tuple, set, range, and every other collection that knows its length (numpy's arrays)

An Enum stands for its value.  A bool is no number: it would hide a mistake.

Rule: these run the caller's code (`__index__`, `__float__`, iteration), which may raise anything.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Final, SupportsFloat, SupportsIndex

from ..wire.exact import exact_int, exact_str
from .codec import expected

__all__ = ["as_bool", "as_decimal", "as_float", "as_int", "as_list", "is_list", "of_enum"]

_MOST_DIGITS: Final = 20


def of_enum(value: object) -> object:
    """The value of an Enum's member; everything else as it is."""
    return value.value if isinstance(value, Enum) else value


def _is_bool(value: object) -> bool:
    kind = type(value)
    return isinstance(value, bool) or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"))


def _no_number(what: str, value: object) -> TypeError:
    if not _is_bool(value):
        return expected(what, value)
    return TypeError(
        f"expected {what}, got {type(value).__name__}; if it is meant as a number, pass int(value)"
    )


def as_bool(value: object) -> bool:
    """True or False.

    Raises:
        TypeError: it is no bool.
    """
    value = of_enum(value)
    if not _is_bool(value):
        raise expected("bool", value)
    return bool(value)


def as_int(value: object) -> int:
    """A whole number.

    Raises:
        TypeError: it is no number, or a bool.
        ValueError: it is not whole.
    """
    value = of_enum(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return exact_int(value)
    if isinstance(value, float):
        return _whole(Decimal(float(value)), "float")
    if isinstance(value, Decimal):
        return _whole(Decimal(value), "Decimal")
    if isinstance(value, SupportsIndex) and not _is_bool(value):
        return exact_int(operator.index(value))
    raise _no_number("int", value)


def _whole(number: Decimal, kind: str) -> int:
    # No integer type has more than 20 digits, and int() of a large exponent takes for ever.
    if not number.is_finite() or number.adjusted() > _MOST_DIGITS or number != int(number):
        raise ValueError(f"{kind} that is no whole number, or too large")
    return int(number)


def as_float(value: object) -> float:
    """A float.

    Raises:
        TypeError: it is no number, or a bool.
        OverflowError: it is an int that is too large.
    """
    value = of_enum(value)
    if isinstance(value, str) or not isinstance(value, (SupportsFloat, int)) or _is_bool(value):
        raise _no_number("float", value)
    return float(value)


def as_decimal(value: object) -> Decimal | int:
    """A Decimal, or an int.

    Raises:
        TypeError: it is no number, or a bool.
        ValueError: it is a str that is no number.
    """
    value = of_enum(value)
    if isinstance(value, Decimal):
        return value if type(value) is Decimal else Decimal(value)
    if isinstance(value, str):
        text = exact_str(value)
        try:
            return Decimal(text)
        except InvalidOperation:
            pass
        raise ValueError("str that is no number")
    if isinstance(value, float):
        return Decimal(repr(float(value)))
    if isinstance(value, SupportsIndex) and not _is_bool(value):
        return exact_int(operator.index(value))
    if isinstance(value, SupportsFloat) and not _is_bool(value):
        return Decimal(repr(float(value)))
    raise _no_number("Decimal", value)


def is_list(value: object) -> bool:
    """True for a list, and for what stands for one."""
    if isinstance(value, (list, tuple, range)):
        return True
    return isinstance(value, Collection) and not isinstance(
        value, (str, bytes, bytearray, memoryview, Mapping)
    )


def as_list(value: object) -> list[object]:
    """The items.

    Raises:
        TypeError: it is no collection, or one of characters, bytes or keys.
    """
    if isinstance(value, list):  # nearly always, and the other questions take long
        return list(value)
    value = of_enum(value)
    if not is_list(value):
        raise expected("list", value)
    assert isinstance(value, Collection)
    return list(value)
