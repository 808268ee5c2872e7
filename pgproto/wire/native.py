"""Where the compiled build goes another way than the interpreted one, and why.

One source serves both.  Compiled, big-endian integers by shifts cost a few nanoseconds and a `struct` call a
hundred; interpreted it is the other way round, and the fewer calls the better.  Whoever has two ways asks
`COMPILED`; both have the same results, which the tests compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["COMPILED", "read_int32", "read_integer"]


def read_integer(buffer: bytes, position: int, size: int, signed: bool) -> int:
    """The big-endian integer of `size` bytes at `position`; eight bytes must be signed."""
    start: i64 = position
    value: i64 = buffer[start]
    if signed and value > 127:
        value -= 256
    index: i64 = start + 1
    stop: i64 = start + size
    while index < stop:
        value = value << 8 | buffer[index]
        index += 1
    return value


def read_int32(buffer: bytes, position: int) -> int:
    """The big-endian int32 at `position`."""
    at: i64 = position
    value: i64 = buffer[at] << 24 | buffer[at + 1] << 16 | buffer[at + 2] << 8 | buffer[at + 3]
    if value > 0x7FFFFFFF:
        value -= 0x100000000
    return value


# A compiled function has no code object.
COMPILED: Final = not hasattr(read_integer, "__code__")
