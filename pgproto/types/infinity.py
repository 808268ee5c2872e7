"""What infinite dates and timestamps are in Python: see `TypeMap.set_infinity`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final

from .codec import Codec, FixedCodec

__all__ = ["INFINITE_TYPES", "INFINITY", "MINUS_INFINITY", "POLICIES", "Infinity", "infinity_codec"]

INFINITE_TYPES: Final = ("date", "timestamp", "timestamptz")
POLICIES: Final = ("error", "none", "extreme", "object")


class Infinity:
    """A moment after, or before, every date and datetime.  There are two: INFINITY and MINUS_INFINITY.

    Args:
        positive: it is after all.
    """

    __slots__ = ("_positive",)

    def __init__(self, positive: bool) -> None:
        self._positive = positive

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Infinity) and self._positive == other._positive

    def __hash__(self) -> int:
        return hash((Infinity, self._positive))

    def __lt__(self, other: object) -> bool:
        return not self._positive and self != other

    def __gt__(self, other: object) -> bool:
        return self._positive and self != other

    def __le__(self, other: object) -> bool:
        return not self > other

    def __ge__(self, other: object) -> bool:
        return not self < other

    def __neg__(self) -> Infinity:
        return MINUS_INFINITY if self._positive else INFINITY

    def __reduce__(self) -> tuple[object, ...]:
        return (Infinity, (self._positive,))

    def __repr__(self) -> str:
        return "INFINITY" if self._positive else "MINUS_INFINITY"


INFINITY: Final = Infinity(True)
"""`infinity`: after every date and datetime."""
MINUS_INFINITY: Final = Infinity(False)
"""`-infinity`: before every date and datetime."""


class InfinityCodec(FixedCodec):
    """A type with infinite values, for which Python values stand.

    Args:
        base: the codec that the type has without it.
        policy: one of POLICIES but "error".
    """

    __slots__ = ("_base", "_last", "_values")

    def __init__(self, base: FixedCodec, policy: str) -> None:
        super().__init__(base.oid, base.name, base.code, None)
        self._base = base
        self._last = (1 << (8 * base.size - 1)) - 1
        self._values: tuple[object, object] = (None, None)
        if policy == "object":
            self._values = (INFINITY, MINUS_INFINITY)
        elif policy == "extreme":
            zone = UTC if base.name == "timestamptz" else None
            self._values = (datetime.max.replace(tzinfo=zone), datetime.min.replace(tzinfo=zone))
            if base.name == "date":
                self._values = (date.max, date.min)

    def _infinite(self, value: object) -> int:
        """1 for what stands for infinity, -1 for -infinity, else 0."""
        for sign, each in ((1, self._values[0]), (-1, self._values[1])):
            if type(value) is type(each) and value == each:
                return sign
        return 0

    def raw(self, value: object) -> object:
        """Take what the type takes, and what stands for the infinities."""
        sign = self._infinite(value)
        if not sign:
            return self._base.raw(value)
        return self._last if sign > 0 else -self._last - 1

    def convert(self, raw: object) -> object:
        """The value, or what stands for an infinite one."""
        if raw == self._last:
            return self._values[0]
        return self._values[1] if raw == -self._last - 1 else self._base.convert(raw)

    def encode_text(self, value: object) -> str:
        """Take what the type takes, and what stands for the infinities."""
        sign = self._infinite(value)
        if not sign:
            return self._base.encode_text(value)
        return "infinity" if sign > 0 else "-infinity"

    def decode_text(self, text: str) -> object:
        """The value, or what stands for an infinite one."""
        if text == "infinity":
            return self._values[0]
        return self._values[1] if text == "-infinity" else self._base.decode_text(text)


def infinity_codec(policy: str) -> Callable[[Codec], Codec]:
    """What makes the codec of a type with infinite values from the one that it has without it."""

    def make(codec: Codec) -> Codec:
        if policy == "error" or not isinstance(codec, FixedCodec):
            return codec
        return InfinityCodec(codec, policy)

    return make
