"""Bitmaps, and arithmetic on whole columns at once.

Arrow's bitmaps have one bit for each row, the least significant first.  A loop over rows costs Python some
50 ns for each; here a column is one large number, on which C works.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["Shift", "highest", "mark", "packed"]

_LANES: Final = 8192


def packed(flags: bytes | bytearray) -> bytearray:
    """The bitmap of bytes that are 0 or 1."""
    bits = 0
    for place in range(8):
        bits |= int.from_bytes(flags[place::8], "little") << place
    return bytearray(bits.to_bytes((len(flags) + 7) // 8, "little"))


def mark(bitmap: bytearray, rows: int, nulls: Sequence[int]) -> None:
    """Let a bitmap grow to so many rows, which are 1, and make those of `nulls` 0."""
    bitmap += b"\xff" * ((rows + 7) // 8 - len(bitmap))
    for row in nulls:
        bitmap[row >> 3] &= ~(1 << (row & 7)) & 0xFF


def highest(data: bytes, size: int) -> bytes:
    """The highest byte of each number of a column, in the machine's order."""
    return data[size - 1 :: size] if sys.byteorder == "little" else data[::size]


class Shift:
    """Adds a constant to every signed number of a column; none of the sums may overflow.

    The numbers are the lanes of one large number, in which all are added at once.  A lane must not carry into
    the next, so its sign bit is flipped before and after: then its number counts from the least one.

    Args:
        size: the size of a number in bytes.
        constant: what is added.
    """

    __slots__ = ("_constants", "_down", "_signs", "_size")

    def __init__(self, size: int, constant: int) -> None:
        sign = 1 << (8 * size - 1)
        self._size = size
        self._down = constant < 0
        self._constants = int.from_bytes(abs(constant).to_bytes(size, "little") * _LANES, "little")
        self._signs = int.from_bytes(sign.to_bytes(size, "little") * _LANES, "little")

    def add(self, data: bytes) -> bytes:
        """The sums, as `data`: little-endian."""
        step = self._size * _LANES
        if len(data) > step:
            return b"".join([self.add(data[start : start + step]) for start in range(0, len(data), step)])
        signs, constants = self._signs, self._constants
        if len(data) < step:
            unused = 8 * (step - len(data))
            signs >>= unused
            constants >>= unused
        lanes = int.from_bytes(data, "little") ^ signs
        sums = lanes - constants if self._down else lanes + constants
        return (sums ^ signs).to_bytes(len(data), "little")
