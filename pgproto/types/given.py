"""What a caller may give for a number, a bool or a list in place of Python's own: what loses nothing.

    int      anything with `__index__` (numpy's integers); a float or Decimal that is whole
    float    anything with `__float__` (numpy's floats, Decimal, Fraction), rounded to the nearest float; what
             is finite never becomes infinite, and a complex number is refused
    Decimal  int, float (by the digits of its repr), str, what stands for an int, what is equal to a float,
             and a Fraction that has an end as a decimal number
    bool     numpy's bool
    list     tuple, set, range, and every other collection that knows its length (numpy's arrays)

An Enum stands for its value.  A bool is no number: it would hide a mistake.

Rule: these run the caller's code (`__index__`, `__float__`, iteration), which may raise anything.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Collection, Mapping
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, InvalidOperation
from enum import Enum
from numbers import Rational
from typing import Any, Final, SupportsFloat, SupportsIndex

from ..wire.exact import exact_int, exact_str
from .codec import expected

__all__ = ["as_bool", "as_decimal", "as_float", "as_int", "as_list", "is_list", "of_enum"]

_MOST_DIGITS: Final = 20
# Digits of a numeric after its point, and the bits of as many before it as there can be.
_MOST_PLACES: Final = 16383
_MOST_BITS: Final = 435412
_DIGITS: Final = r"\d+(?:_\d+)*"
# What numeric_in takes; Decimal also takes "1__0", "sNaN", "NaN1", and digits of other scripts.
_NUMBER: Final = re.compile(
    rf"\s*(?:nan|[-+]?(?:inf(?:inity)?|(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:e[-+]?{_DIGITS})?))\s*",
    re.IGNORECASE | re.ASCII,
)
# The caller's own context may take what is no number for NaN, or round.
_CONTEXT: Final = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation])


def of_enum(value: object) -> object:
    """The value of an Enum's member; everything else as it is."""
    return value.value if isinstance(value, Enum) else value


def _is_bool(value: object) -> bool:
    return isinstance(value, bool) or _numpy_kind(value) == "b"


def _numpy_kind(value: object) -> object:
    """The kind of numpy's type: "b" of its bools, "c" of its complex numbers."""
    return getattr(getattr(value, "dtype", None), "kind", None)


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
        return _whole(Decimal.from_float(float(value)), "float")
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
    """A float: the nearest one.

    Raises:
        TypeError: it is no number, or a bool, or a complex number.
        ValueError: it is finite, and larger than every float.
    """
    value = of_enum(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str) or not isinstance(value, (SupportsFloat, int)) or _is_bool(value):
        raise _no_number("float", value)
    if _numpy_kind(value) == "c":
        raise TypeError("expected float, got a complex number; pass its .real if that is meant")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number) and not (
        value.is_infinite() if isinstance(value, Decimal) else _is_equal(value, number)
    ):
        raise ValueError(f"{type(value).__name__} out of range of float8")
    return number


def _is_equal(value: Any, number: float) -> bool:
    return bool(value == number)  # of Any: compiled, that of an object must be a bool, and numpy has its own


def as_decimal(value: object) -> Decimal | int:
    """A Decimal, or an int, equal to the value; of a float the one that its repr shows.

    Raises:
        TypeError: it is no number, or a bool, or only knows its nearest float.
        ValueError: it is a str that is no number, or has more digits than numeric.
    """
    value = of_enum(value)
    if isinstance(value, Decimal):
        return value if type(value) is Decimal else Decimal(value)
    if isinstance(value, str):
        text = exact_str(value)
        try:
            if _NUMBER.fullmatch(text):
                return Decimal(text, _CONTEXT)
        except InvalidOperation:
            pass
        raise ValueError("str that is no number")
    if isinstance(value, float):
        return Decimal(repr(float(value)))
    if _is_bool(value) or _numpy_kind(value) == "c":
        raise _no_number("Decimal", value)
    if isinstance(value, SupportsIndex):
        return exact_int(operator.index(value))
    if isinstance(value, Rational):
        return _of_fraction(operator.index(value.numerator), operator.index(value.denominator))
    if isinstance(value, SupportsFloat):
        number = float(value)
        if math.isnan(number) or _is_equal(value, number):
            return Decimal(repr(number))
        name = type(value).__name__
        raise TypeError(f"expected Decimal, got {name} that is no float; pass Decimal(str(value))")
    raise _no_number("Decimal", value)


def _of_fraction(numerator: int, denominator: int) -> Decimal | int:
    """The fraction as a decimal number, if that has an end: the denominator has no primes but 2 and 5."""
    if denominator == 1:
        return numerator
    twos = (denominator & -denominator).bit_length() - 1
    odd = denominator >> twos
    fives = round((odd.bit_length() - 1) / math.log2(5) + 0.2)
    places = max(twos, fives)
    if places > _MOST_PLACES or 5**fives != odd:
        raise ValueError("Fraction with too many, or endless, digits after the decimal point; round it")
    if numerator.bit_length() - denominator.bit_length() > _MOST_BITS:
        raise ValueError("Fraction with too many digits before the decimal point")
    return Decimal(numerator * 10**places // denominator).scaleb(-places, _CONTEXT)


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
