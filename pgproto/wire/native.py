"""The few places where the compiled build runs other code than the interpreted one, and why.

Both builds have the same source.  In compiled code, reading a big-endian integer by shifts takes a few
nanoseconds and a `struct` call a hundred; in interpreted code the `struct` call is faster.  A function with
two variants tests `COMPILED`; the unit tests check that both variants return the same.

In compiled code, declare indexes and sizes as `i64`, a machine integer, and assign every byte to an `i64`
before shifting it: a byte read from `bytes` is an `int`, and shifting an `int` is a call.  In an expression
`a if b else c`, an `i64` beside a number written out becomes an object, and an `i64` again: write an `if`.
"""

from __future__ import annotations

from math import ldexp
from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["COMPILED", "read_float32", "read_float64", "read_int32", "read_int64", "read_integer"]

_INT32: Final = Struct(">i").unpack_from
_FLOAT32: Final = Struct(">f").unpack_from
_FLOAT64: Final = Struct(">d").unpack_from
# What the fraction of a float8 with this exponent is multiplied by; the subnormal numbers have exponent 0.
_POWERS: Final[list[float]] = [ldexp(1.0, (exponent or 1) - 1075) for exponent in range(0x7FF)]
# ANDed with every index: the C compiler then knows it is not negative, and drops a check at each byte.
_INDEX: Final = 0x3FFFFFFFFFFFFFFF


def read_int32(buffer: bytes, position: i64) -> i64:
    """The big-endian int32 at `position`."""
    # The last byte first: if it can be read, so can the others.
    position &= _INDEX
    last: i64 = buffer[position + 3]
    value: i64 = buffer[position]
    value = value << 8 | buffer[position + 1]
    value = value << 8 | buffer[position + 2]
    value = value << 8 | last
    return value - 0x100000000 if value > 0x7FFFFFFF else value


def read_int64(buffer: bytes, position: i64) -> i64:
    """The big-endian int64 at `position`."""
    position &= _INDEX
    last: i64 = buffer[position + 7]
    value: i64 = buffer[position]
    value = (value ^ 0x80) - 0x80  # its sign
    value = value << 8 | buffer[position + 1]
    value = value << 8 | buffer[position + 2]
    value = value << 8 | buffer[position + 3]
    value = value << 8 | buffer[position + 4]
    value = value << 8 | buffer[position + 5]
    value = value << 8 | buffer[position + 6]
    return value << 8 | last


def read_float64(buffer: bytes, position: i64) -> float:
    """The IEEE 754 number of eight bytes at `position`.  Fraction, power and product are exact."""
    bits = read_int64(buffer, position)
    exponent: i64 = bits >> 52 & 0x7FF
    if exponent == 0x7FF:  # NaN, and the infinities
        special: float = _FLOAT64(buffer, position)[0]
        return special
    fraction: i64 = bits & 0xFFFFFFFFFFFFF
    if exponent:
        fraction |= 0x10000000000000
    number: float = float(fraction) * _POWERS[exponent]
    return -number if bits < 0 else number


def read_float32(buffer: bytes, position: i64) -> float:
    """The IEEE 754 number of four bytes at `position`."""
    bits: i64 = read_int32(buffer, position)
    exponent: i64 = bits >> 23 & 0xFF
    if exponent == 0xFF:
        special: float = _FLOAT32(buffer, position)[0]
        return special
    fraction: i64 = bits & 0x7FFFFF
    if exponent:
        fraction |= 0x800000
    else:
        exponent = 1
    number: float = float(fraction) * _POWERS[exponent + 925]  # 1075 - 150: the exponents' biases
    return -number if bits < 0 else number


def _unpacked(buffer: bytes, position: int) -> int:
    number: int = _INT32(buffer, position)[0]
    return number


def _unpacked_float64(buffer: bytes, position: int) -> float:
    number: float = _FLOAT64(buffer, position)[0]
    return number


def read_integer(buffer: bytes, position: i64, size: i64, signed: bool) -> i64:
    """The big-endian integer of `size` bytes at `position`; eight bytes must be signed."""
    if size == 4:
        number = read_int32(buffer, position)
        return number if signed else number & 0xFFFFFFFF
    if size == 8:
        return read_int64(buffer, position)
    value: i64 = buffer[position]
    if signed and value > 127:
        value -= 256
    index: i64 = position + 1
    stop: i64 = position + size
    while index < stop:
        value = value << 8 | buffer[index]
        index += 1
    return value


# A compiled function has no code object.
COMPILED: Final = not hasattr(read_integer, "__code__")

read_int32_by_shifts: Final = read_int32
# Interpreted code looks the name up at each call and finds `_unpacked`; compiled code calls the function
# directly.  A test of COMPILED within the function would cost 4 % of the instructions of a row of one int4.
globals()["read_int32"] = read_int32 if COMPILED else _unpacked
read_float64_by_shifts: Final = read_float64
globals()["read_float64"] = read_float64 if COMPILED else _unpacked_float64
