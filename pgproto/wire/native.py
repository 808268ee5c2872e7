"""Where the compiled build goes another way than the interpreted one, and why.

One source serves both.  Compiled, big-endian integers by shifts cost a few nanoseconds and a `struct` call a
hundred; interpreted it is the other way round, and the fewer calls the better.  A function that has two
ways asks `COMPILED`; both have the same results, which the tests compare.

In compiled code an index and a size are best declared `i64`, a machine integer, and every byte must reach an
`i64` before it is shifted: what is read from `bytes` is an `int`, whose shift is a call.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["COMPILED", "read_int32", "read_int64", "read_integer"]

_INT32: Final = Struct(">i").unpack_from
# What every index passes: the C compiler then knows that it is not negative, and drops a check at each byte.
_INDEX: Final = 0x3FFFFFFFFFFFFFFF


def read_int32(buffer: bytes, position: i64) -> i64:
    """The big-endian int32 at `position`."""
    # The last byte first: where it is, the others are.
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


def _unpacked(buffer: bytes, position: int) -> int:
    number: int = _INT32(buffer, position)[0]
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
# Compiled calls go to the function itself; interpreted ones look its name up, and find the other one.  To ask
# in the function which build it is cost either of them 0.04 of the instructions of a row of one int4.
globals()["read_int32"] = read_int32 if COMPILED else _unpacked
