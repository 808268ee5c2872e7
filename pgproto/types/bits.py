"""BitString, and the codec of bit and varbit.

Python has no type for a row of bits of any length whose zeros count, so this is one of our own.

Binary form (bit_send): the number of bits as an int32, and the bits, the first one in the highest place of
the first byte; the rest of the last byte is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..wire.exact import exact_str
from ..wire.native import read_int32
from .codec import Codec, expected, malformed, reread

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["BitCodec", "BitString"]

# VARBITMAXLEN: the bits of the longest value.
_MAX_BITS: Final = 0x7FFFFFFF - 8 + 1


class BitString:
    """A row of bits, as in SQL's B'101'.  Immutable, hashable, and ordered as in SQL.

    Args:
        bits: "0" and "1", the first bit first.

    Raises:
        TypeError: that is no str.
        ValueError: there are other characters in it.
    """

    __slots__ = ("_bits",)

    def __init__(self, bits: str = "") -> None:
        text = exact_str(bits)
        if text.strip("01"):
            raise ValueError("a bit string has no other characters than 0 and 1")
        self._bits = text

    @staticmethod
    def from_int(number: int, length: int) -> BitString:
        """The lowest `length` bits of a number, the highest first.

        Raises:
            ValueError: the number is negative, or has more bits.
        """
        if number < 0 or number >> length:
            raise ValueError(f"the number does not fit into {length} bits")
        return BitString(bin(1 << length | number)[3:])

    def to_int(self) -> int:
        """The number whose bits these are."""
        return int(self._bits, 2) if self._bits else 0

    def to_bytes(self) -> bytes:
        """The bits from the highest place of the first byte on; the last byte is filled up with zeros."""
        size = (len(self._bits) + 7) // 8
        return (self.to_int() << (8 * size - len(self._bits))).to_bytes(size, "big")

    def __len__(self) -> int:
        return len(self._bits)

    def __getitem__(self, index: int) -> bool:
        return self._bits[index] == "1"

    def __iter__(self) -> Iterator[bool]:
        return iter([bit == "1" for bit in self._bits])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return self._bits == other._bits

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return self._bits < other._bits

    def __hash__(self) -> int:
        return hash(self._bits)

    def __reduce__(self) -> tuple[type[BitString], tuple[str]]:
        return (BitString, (self._bits,))

    def __str__(self) -> str:
        return self._bits

    def __repr__(self) -> str:
        return f"BitString({self._bits!r})"


class BitCodec(Codec):
    """Bits, as many as the column says (bit) or up to that (varbit): that is for the server to check."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take a BitString, or a str of "0" and "1"."""
        if isinstance(value, str):
            value = BitString(value)
        if not isinstance(value, BitString):
            raise expected("BitString or str", value)
        return BitString.__len__(value).to_bytes(4, "big") + BitString.to_bytes(value)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The bits."""
        if end - start < 4:
            raise malformed(self.name, f"{end - start} bytes")
        length = read_int32(buffer, start)
        size = end - start - 4
        if not 0 <= length <= _MAX_BITS or size != (length + 7) // 8:
            raise malformed(self.name, f"{length} bits in {size} bytes")
        rest: int = 8 * size - length  # no i64: compiled, what is shifted by one is one
        number: int = int.from_bytes(buffer[start + 4 : end], "big")
        return BitString.from_int(number >> rest, length)

    def encode_text(self, value: object) -> str:
        """The bits as 0 and 1."""
        data = self.encode(value)
        return str(self.decode(data, 0, len(data)))

    def decode_text(self, text: str) -> object:
        """The bits."""
        return reread(self, text)
