"""The codec of numeric: to and from decimal.Decimal, independent of the decimal context, without rounding.

Binary form (numeric_send): int16 ndigits, int16 weight, uint16 sign, uint16 dscale, then ndigits base-10000
digits.  The value is the sum of digit[i] * 10000 ** (weight - i); dscale is how many decimal digits are
shown after the point, so 1.10 keeps its zero.

Rule: linear time.  The digits are converted as text, because big-integer arithmetic on 131,072 digits takes
quadratic time.

Input: Decimal, int, str, a Fraction that has an end as a decimal number, and float as the decimal number that
repr() shows.  NaN and the infinities
(PostgreSQL 14 and later) are supported in both directions.  PostgreSQL has neither a negative zero nor a
positive exponent: Decimal("-0") arrives as 0, Decimal("1E+3") as 1000.  A number with more than 1,000 zeros
before the decimal point is returned with an exponent, as Decimal("1E+131000"), which is equal but small;
zeros after the point are then lost.
"""

from __future__ import annotations

import re
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ..wire.native import read_int32
from .codec import Codec, malformed, malformed_text, reread
from .given import as_decimal

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["NumericCodec"]

_POSITIVE: Final = 0x0000
_NEGATIVE: Final = 0x4000
_SPECIAL: Final = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}
_NAN: Final = bytes.fromhex("00000000c0000000")
# PostgreSQL 14 and later send a dscale of 32 with the infinities, and numeric_recv ignores it.
_INFINITY: Final = bytes.fromhex("00000000d0000020")
_MINUS_INFINITY: Final = bytes.fromhex("00000000f0000020")

_HEADER: Final = struct.Struct(">HhHH")
_MAX_SCALE: Final = 16383
_MAX_WHOLE: Final = 131072
# More zeros than this in front of the decimal point become an exponent.
_LONG_TAIL: Final = 1000
# An int64 less than this has room for one digit more.
_ROOM: Final = 10**17
_USUAL: Final = 40
_EXPONENTS: Final[list[str]] = [f"E-{scale}" for scale in range(_USUAL)]
_DECIMAL: Final[Any] = Decimal  # a constant, which compiled code does not look up
# The bits of a number of 131,072 decimal digits, at most.
_MAX_BITS: Final = 435412

_PRINTED: Final = re.compile(r"-?(?:\d+(?:\.\d+)?|Infinity)|NaN", re.ASCII)


class NumericCodec(Codec):
    """numeric, of any precision and scale."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take a number of at most 131,072 digits before the point and 16,383 after it."""
        number = value if type(value) is Decimal else as_decimal(value)
        if isinstance(number, int):
            if number.bit_length() > _MAX_BITS:
                raise ValueError(f"more than {_MAX_WHOLE} digits before the decimal point")
            number = Decimal(number)
        if not number.is_finite():
            if number.is_nan():
                return _NAN
            return _MINUS_INFINITY if number.is_signed() else _INFINITY
        return _encode_finite(number)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The exact number, with as many decimal places as PostgreSQL shows."""
        if end - start < 8:
            raise malformed(self.name, f"{end - start} bytes, which is too short")
        first: i64 = read_int32(buffer, start)
        second: i64 = read_int32(buffer, start + 4)
        ndigits: i64 = first >> 16 & 0xFFFF
        weight: i64 = first & 0xFFFF
        sign: i64 = second >> 16 & 0xFFFF
        scale: i64 = second & 0xFFFF
        position: i64 = start + 8
        if end - position != 2 * ndigits:
            raise malformed(self.name, f"{ndigits} digits announced in {end - position} bytes")
        if sign != _POSITIVE and sign != _NEGATIVE:
            return self._special(sign, ndigits)
        if scale > _MAX_SCALE:
            raise malformed(self.name, f"scale {scale}")
        # Four groups at once, as one int.  Those before the last four are in `text`.
        stop: i64 = position + 8 if end - position > 8 else end
        number: i64 = self._groups(buffer, position, stop, 0)
        text = ""
        if stop < end:
            parts: list[str] = [str(number)]
            while True:
                position = stop
                stop = position + 8 if end - position > 8 else end
                number = self._groups(buffer, position, stop, 1)  # the 1 before them keeps their zeros
                if stop == end:
                    break
                parts.append(str(number)[1:])
            text = "".join(parts)
        exponent: i64 = 4 * ((weight ^ 0x8000) - 0x8000 + 1 - ndigits)  # of the last digit
        missing: i64 = 0
        if number and exponent <= _LONG_TAIL:
            missing = exponent + scale
        elif number:
            scale = -exponent  # a value of 14 bytes can have 131,072 digits, nearly all of them zeros
        while missing > 0 and number < _ROOM:
            number *= 10
            missing -= 1
        while missing < 0 and number % 10 == 0:
            number //= 10
            missing += 1
        last = str(number)
        text = text + last[1:] if text else last
        if missing > 0:
            text += "0" * missing
        else:
            scale -= missing  # PostgreSQL sends zeros only after the announced scale; of others, keep all
        if sign:
            text = "-" + text
        if scale:
            text += _EXPONENTS[scale] if 0 < scale < _USUAL else f"E{-scale:+}"
        return _DECIMAL(text)

    def _groups(self, buffer: bytes, position: i64, stop: i64, number: i64) -> i64:
        """The number with the groups of four digits at its end."""
        while position < stop:
            group: i64 = buffer[position]
            group = group << 8 | buffer[position + 1]
            if group > 9999:
                raise malformed(self.name, f"digit {group} in base 10000")
            number = 10000 * number + group
            position += 2
        return number

    def _special(self, sign: int, ndigits: int) -> Decimal:
        special = _SPECIAL.get(sign)
        if special is None:
            raise malformed(self.name, f"sign {sign:#06x}")
        if ndigits:
            raise malformed(self.name, f"{special} with digits")
        return Decimal(special)

    def encode_text(self, value: object) -> str:
        """All digits, or NaN, Infinity, -Infinity."""
        data = self.encode(value)
        return f"{self.decode(data, 0, len(data)):f}"

    def decode_text(self, text: str) -> object:
        """The exact number, with as many decimal places as PostgreSQL shows."""
        if not _PRINTED.fullmatch(text):
            raise malformed_text(self.name, "it is no number")
        return reread(self, text)


def _encode_finite(number: Decimal) -> bytes:
    """The binary form of a finite number; ValueError if it is out of numeric's range."""
    # The tuple of its digits would take three times as long; the context decides about "E" or "e".
    mantissa, _, power = str(number).replace("e", "E").partition("E")
    whole_digits, _, fraction = mantissa.partition(".")
    exponent = (int(power) if power else 0) - len(fraction)
    scale = -exponent if exponent < 0 else 0
    if scale > _MAX_SCALE:
        raise ValueError(f"more than {_MAX_SCALE} digits after the decimal point")
    digits = (whole_digits + fraction).lstrip("-0")
    if not digits:
        return _HEADER.pack(0, 0, _POSITIVE, scale)
    whole = len(digits) + exponent
    if whole > _MAX_WHOLE:
        raise ValueError(f"more than {_MAX_WHOLE} digits before the decimal point")
    # Pad on both sides so that the decimal point lies between two groups of four digits.
    weight = (whole + 3) // 4 - 1
    digits = "0" * (4 * (weight + 1) - whole) + digits.rstrip("0")
    digits += "0" * (-len(digits) % 4)
    data = digits.encode()
    groups: list[int] = []
    index: i64 = 0
    while index < len(data):
        group: i64 = data[index]
        group = 10 * group + data[index + 1]
        group = 10 * group + data[index + 2]
        group = 10 * group + data[index + 3] - 53328  # 1111 times the code of "0"
        groups.append(group >> 8)
        groups.append(group & 0xFF)
        index += 4
    header = _HEADER.pack(len(data) // 4, weight, _NEGATIVE if whole_digits[0] == "-" else _POSITIVE, scale)
    return header + bytes(groups)
