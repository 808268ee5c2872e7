"""Range and Multirange, and their codecs, which are made from the codec of the bounds' type.

Binary form (range_send): a byte of flags; then, unless the range is empty or has no such bound, the lower and
the upper bound, each as int32 length and value.  A multirange is an int32 count, then each range as int32
length and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ..wire.native import read_int32
from .codec import Codec, expected, frame_length, malformed, within
from .literals import read_multirange, read_range, write_range
from .textform import in_their_format

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Multirange", "MultirangeCodec", "Range", "RangeCodec"]

T = TypeVar("T")

_EMPTY: Final = 0x01
_LOWER_INCLUSIVE: Final = 0x02
_UPPER_INCLUSIVE: Final = 0x04
_NO_LOWER: Final = 0x08
_NO_UPPER: Final = 0x10
_FLAGS: Final = 0x1F
_BYTES: Final = [bytes((flags,)) for flags in range(_FLAGS + 1)]

_NAN: Final = object()  # in place of a NaN, which is not equal to itself
_BOUNDS: Final = ("[)", "[]", "(]", "()")


def _is_nan(value: Any) -> bool:
    """True for a NaN of float, Decimal (of which comparing a signaling one raises) or numpy."""
    return value.is_nan() if isinstance(value, Decimal) else bool(value != value)


def _comparable(bound: object) -> Any:  # not object: numpy's == gives no bool
    """What is equal if the server has the bounds for equal."""
    return _NAN if _is_nan(bound) else bound


def _order(one: Any, other: Any) -> int:
    """-1, 0 or 1, as the server sorts: NaN is equal to NaN, and after everything else."""
    if isinstance(one, str) or isinstance(other, str):
        raise TypeError("texts and labels of enums have the order of their type on the server: ask it there")
    if _is_nan(one) or _is_nan(other):
        return int(_is_nan(one)) - int(_is_nan(other))
    return -1 if one < other else int(one > other)


class _Bound:
    """One end of a range, in the order of the server's range_cmp_bounds.

    Args:
        value: the bound; None if there is none.
        inclusive: it is in the range.
        is_lower: it is the lower one.
    """

    __slots__ = ("inclusive", "is_lower", "value")

    def __init__(self, value: Any, inclusive: bool, is_lower: bool) -> None:
        self.value = value
        self.inclusive = inclusive
        self.is_lower = is_lower

    def compared(self, other: _Bound) -> int:
        """-1, 0 or 1, by where the values in the range begin, or end."""
        if self.value is None or other.value is None:
            return self._end() - other._end()
        order = _order(self.value, other.value)
        return order or self._side() - other._side()

    def _end(self) -> int:
        """-1 before everything, 1 after everything, 0 between."""
        if self.value is not None:
            return 0
        return -1 if self.is_lower else 1

    def _side(self) -> int:
        """0 if it is at its value; 1 just after, or -1 just before it, if it is not in the range."""
        if self.inclusive:
            return 0
        return 1 if self.is_lower else -1

    def touches(self, other: _Bound) -> bool:
        """True if there is nothing between this upper and that lower bound, and nothing twice."""
        if self.value is None or other.value is None or self.inclusive == other.inclusive:
            return False
        return _order(self.value, other.value) == 0

    def beyond(self) -> _Bound:
        """The bound of what is on its other side."""
        return _Bound(self.value, not self.inclusive, not self.is_lower)


def _between(lower: _Bound, upper: _Bound) -> Range[Any]:
    words = ("[" if lower.inclusive else "(") + ("]" if upper.inclusive else ")")
    return Range(lower.value, upper.value, words)


class Range(Generic[T]):
    """All values between two bounds.  Immutable and hashable.

    Bounds and values are compared as the server compares them: NaN is after everything, infinity included.
    Ranges have the server's order: an empty one is before all others, then the lower bounds count, then the
    upper ones.  `x in range` is true of values and of ranges; `+`, `*` and `-` are the union, intersection
    and difference, each of them one range.  That nothing is between 1 and 2 of integers, only the server
    knows: all of this goes by the bounds as they are written.  The order of texts and of an enum's labels is
    the server's alone: for these ranges it is a TypeError.

    Two ranges are equal if both are empty, or if they have the same bounds in the same words; the server
    writes ranges of integers and dates with "[)", whatever they were written with.

    Args:
        lower: the lower bound; None if there is none.
        upper: the upper bound; None if there is none.
        bounds: "[" or "(", then "]" or ")": whether the bounds themselves are in it.  A bound that there is
            not is never in it.
        empty: True for the range that has nothing in it, and no bounds.

    Raises:
        ValueError: other `bounds` than these; or bounds of an empty range.
    """

    __slots__ = ("_empty", "_lower", "_lower_inc", "_upper", "_upper_inc")

    def __init__(
        self, lower: T | None = None, upper: T | None = None, bounds: str = "[)", *, empty: bool = False
    ) -> None:
        if bounds not in _BOUNDS:
            raise ValueError("the bounds of a range are one of [) [] (] ()")
        if empty and (lower is not None or upper is not None):
            raise ValueError("an empty range has no bounds")
        self._lower = lower
        self._upper = upper
        self._lower_inc = bounds[0] == "[" and lower is not None
        self._upper_inc = bounds[1] == "]" and upper is not None
        self._empty = empty

    @property
    def lower(self) -> T | None:
        """The lower bound; None if there is none."""
        return self._lower

    @property
    def upper(self) -> T | None:
        """The upper bound; None if there is none."""
        return self._upper

    @property
    def lower_inc(self) -> bool:
        """True if the lower bound is in the range."""
        return self._lower_inc

    @property
    def upper_inc(self) -> bool:
        """True if the upper bound is in the range."""
        return self._upper_inc

    @property
    def empty(self) -> bool:
        """True if nothing is in it: it says so, or its bounds are equal and not both in it.

        That nothing is between 1 and 2 in "()" of an integer range, only the server knows.
        """
        if self._empty or self._lower is None or self._upper is None:
            return self._empty
        return not (self._lower_inc and self._upper_inc) and bool(
            _comparable(self._lower) == _comparable(self._upper)
        )

    @property
    def bounds(self) -> str:
        """The bounds, as in `Range(bounds=)`."""
        return ("[" if self._lower_inc else "(") + ("]" if self._upper_inc else ")")

    def __contains__(self, value: Any) -> bool:
        of_ranges = isinstance(self._lower, Range) or isinstance(self._upper, Range)
        if isinstance(value, Range) and not of_ranges:
            if value.empty or self.empty:
                return value.empty
            return self._low().compared(value._low()) <= 0 <= self._high().compared(value._high())
        if self._empty:
            return False
        if self._lower is not None and _order(value, self._lower) < (0 if self._lower_inc else 1):
            return False
        return self._upper is None or _order(value, self._upper) <= (0 if self._upper_inc else -1)

    def __bool__(self) -> bool:
        return not self.empty

    def _low(self) -> _Bound:
        return _Bound(self._lower, self._lower_inc, True)

    def _high(self) -> _Bound:
        return _Bound(self._upper, self._upper_inc, False)

    def overlaps(self, other: Range[T]) -> bool:
        """True if a value is in both (`&&`).

        Args:
            other: the other range.
        """
        if self.empty or other.empty:
            return False
        return self._low().compared(other._high()) <= 0 <= self._high().compared(other._low())

    def adjacent(self, other: Range[T]) -> bool:
        """True if nothing is between them, and no value is in both (`-|-`).

        Args:
            other: the other range.
        """
        if self.empty or other.empty:
            return False
        return self._high().touches(other._low()) or other._high().touches(self._low())

    def __add__(self, other: Range[T]) -> Range[T]:
        """The values in either.

        Raises:
            ValueError: they are not one range.
        """
        if not isinstance(other, Range):
            return NotImplemented
        if self.empty or other.empty:
            return self if other.empty else other
        if not self.overlaps(other) and not self.adjacent(other):
            raise ValueError("there is something between the two ranges: their union is not one range")
        low, high = self._low(), self._high()
        return _between(
            low if low.compared(other._low()) <= 0 else other._low(),
            high if high.compared(other._high()) >= 0 else other._high(),
        )

    def __mul__(self, other: Range[T]) -> Range[T]:
        """The values in both."""
        if not isinstance(other, Range):
            return NotImplemented
        if not self.overlaps(other):
            return Range(empty=True)
        low, high = self._low(), self._high()
        return _between(
            low if low.compared(other._low()) >= 0 else other._low(),
            high if high.compared(other._high()) <= 0 else other._high(),
        )

    def __sub__(self, other: Range[T]) -> Range[T]:
        """The values that are not in the other one.

        Raises:
            ValueError: they are two ranges, one before and one after the other one.
        """
        if not isinstance(other, Range):
            return NotImplemented
        if not self.overlaps(other):
            return self
        before = self._low().compared(other._low()) < 0
        after = self._high().compared(other._high()) > 0
        if before and after:
            raise ValueError("the other range is in the middle: the difference is not one range")
        if before:
            return _between(self._low(), other._low().beyond())
        return _between(other._high().beyond(), self._high()) if after else Range(empty=True)

    def _compared(self, other: Range[T]) -> int:
        if self.empty or other.empty:
            return int(other.empty) - int(self.empty)
        return self._low().compared(other._low()) or self._high().compared(other._high())

    def __lt__(self, other: Range[T]) -> bool:
        return self._compared(other) < 0 if isinstance(other, Range) else NotImplemented

    def __le__(self, other: Range[T]) -> bool:
        return self._compared(other) <= 0 if isinstance(other, Range) else NotImplemented

    def __gt__(self, other: Range[T]) -> bool:
        return self._compared(other) > 0 if isinstance(other, Range) else NotImplemented

    def __ge__(self, other: Range[T]) -> bool:
        return self._compared(other) >= 0 if isinstance(other, Range) else NotImplemented

    def _key(self) -> tuple[object, ...]:
        if self.empty:
            return (_EMPTY,)
        return (_comparable(self._lower), _comparable(self._upper), self._lower_inc, self._upper_inc)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Range):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[object, ...]:
        return (_range, (self._lower, self._upper, self.bounds, self._empty))

    def __repr__(self) -> str:
        if self._empty:
            return "Range(empty=True)"
        return f"Range({self._lower!r}, {self._upper!r}, {self.bounds!r})"


def _range(lower: object, upper: object, bounds: str, empty: bool) -> Range[object]:
    """For pickle."""
    return Range(lower, upper, bounds, empty=empty)


class Multirange(Generic[T]):
    """Ranges in order.  Immutable and hashable; a sequence of its ranges.

    Args:
        ranges: its ranges.
    """

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[Range[T]] = ()) -> None:
        self._ranges = tuple(ranges)

    def __contains__(self, value: object) -> bool:
        nothing = isinstance(value, Range) and value.empty  # which is in everything
        return nothing or any(value in each for each in self._ranges)

    def __iter__(self) -> Iterator[Range[T]]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __getitem__(self, index: int) -> Range[T]:
        return self._ranges[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Multirange):
            return NotImplemented
        return self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __reduce__(self) -> tuple[object, ...]:
        return (Multirange, (self._ranges,))

    def __repr__(self) -> str:
        return f"Multirange({list(self._ranges)!r})"


class RangeCodec(Codec):
    """A range.

    Args:
        element: the codec of its bounds.
    """

    __slots__ = ("element",)

    def __init__(self, oid: int, name: str, element: Codec) -> None:
        super().__init__(oid, name)
        self.mutable = element.mutable
        self.element = element

    def encode(self, value: object) -> bytes:
        """Take a Range."""
        if not isinstance(value, Range):
            raise expected("Range", value)
        if value._empty:
            return _BYTES[_EMPTY]
        flags: i64 = _LOWER_INCLUSIVE if value._lower_inc else 0
        flags |= _UPPER_INCLUSIVE if value._upper_inc else 0
        flags |= _NO_LOWER if value._lower is None else 0
        flags |= _NO_UPPER if value._upper is None else 0
        parts: list[bytes] = [_BYTES[flags]]
        self._add_bound(parts, value._lower, "lower bound")
        self._add_bound(parts, value._upper, "upper bound")
        return b"".join(parts)

    def _add_bound(self, parts: list[bytes], bound: object, place: str) -> None:
        if bound is None:
            return
        try:
            self.element.add_field(parts, bound)
        except (TypeError, ValueError) as error:
            named = within(place, error)
            raise named from named.__cause__

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The range."""
        if start == end:
            raise malformed(self.name, "0 bytes")
        flags = buffer[start]
        position: i64 = start + 1
        if flags & ~_FLAGS or (flags & _EMPTY and flags != _EMPTY):
            raise malformed(self.name, f"flags {flags}")
        bounds: list[object] = [None, None]
        if not flags & _EMPTY:
            for index, missing in ((0, _NO_LOWER), (1, _NO_UPPER)):
                if flags & missing:
                    continue
                length: i64 = -1
                if end - position >= 4:
                    length = read_int32(buffer, position)
                position += 4
                if length < 0 or length > end - position:
                    raise malformed(self.name, "it ends within a bound")
                bounds[index] = self.element.decode(buffer, position, position + length)
                position += length
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after its bounds")
        words = ("[" if flags & _LOWER_INCLUSIVE else "(") + ("]" if flags & _UPPER_INCLUSIVE else ")")
        return Range(bounds[0], bounds[1], words, empty=bool(flags & _EMPTY))

    def encode_text(self, value: object) -> str:
        """Take a Range."""
        if not isinstance(value, Range):
            raise expected("Range", value)
        if value._empty:
            return "empty"
        texts: list[str | None] = []
        for word, bound in (("lower", value._lower), ("upper", value._upper)):
            try:
                texts.append(None if bound is None else self.element.encode_text(bound))
            except (TypeError, ValueError) as error:
                named = within(f"{word} bound", error)
                raise named from named.__cause__
        brackets = ("[" if value._lower_inc else "(") + ("]" if value._upper_inc else ")")
        return write_range(texts[0], texts[1], brackets)

    def decode_text(self, text: str) -> object:
        """The range."""
        if text == "empty":
            return Range(empty=True)
        lower, upper, brackets = read_range(self.name, text)
        element = self.element
        return Range(
            None if lower is None else element.decode_text(lower),
            None if upper is None else element.decode_text(upper),
            brackets,
        )

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The range of this map's bounds."""
        element = types(self.element.oid)
        if element is self.element:
            return self
        return in_their_format(RangeCodec(self.oid, self.name, element), element)


class MultirangeCodec(Codec):
    """A multirange.

    Args:
        element: the codec of its ranges.
    """

    __slots__ = ("element",)

    def __init__(self, oid: int, name: str, element: Codec) -> None:
        super().__init__(oid, name)
        self.is_tuple = True
        self.mutable = element.mutable
        self.element = element

    def encode(self, value: object) -> bytes:
        """Take a Multirange, or a list or tuple of Ranges."""
        ranges = self._ranges(value)
        parts = [len(ranges).to_bytes(4, "big")]
        for index, each in enumerate(ranges):
            try:
                data = self.element.encode(each)
            except (TypeError, ValueError) as error:
                named = within(f"range {index}", error)
                raise named from named.__cause__
            parts.append(frame_length(len(data)))
            parts.append(data)
        return b"".join(parts)

    def _ranges(self, value: object) -> list[object]:
        if not isinstance(value, (Multirange, list, tuple)):
            raise expected("Multirange", value)
        return list(value._ranges) if isinstance(value, Multirange) else list(value)

    def encode_text(self, value: object) -> str:
        """Take a Multirange, or a list or tuple of Ranges."""
        texts: list[str] = []
        for index, each in enumerate(self._ranges(value)):
            try:
                texts.append(self.element.encode_text(each))
            except TypeError as error:
                raise TypeError(f"range {index}: {error}") from None
            except ValueError as error:
                raise ValueError(f"range {index}: {error}") from None
        return "{" + ",".join(texts) + "}"

    def decode_text(self, text: str) -> object:
        """The multirange."""
        ranges: list[Any] = [self.element.decode_text(each) for each in read_multirange(self.name, text)]
        return Multirange(ranges)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The multirange."""
        count: i64 = -1
        if end - start >= 4:
            count = read_int32(buffer, start)
        position: i64 = start + 4
        if not 0 <= count <= (end - start) // 5:
            raise malformed(self.name, f"{count} ranges in {end - start} bytes")
        ranges: list[Any] = []
        while count:
            length: i64 = -1
            if end - position >= 4:
                length = read_int32(buffer, position)
            position += 4
            if length < 0 or length > end - position:
                raise malformed(self.name, "it ends within a range")
            ranges.append(self.element.decode(buffer, position, position + length))
            position += length
            count -= 1
        if position != end:
            raise malformed(self.name, f"{end - position} bytes after its ranges")
        return Multirange(ranges)

    def over(self, types: Callable[[int], Codec]) -> Codec:
        """The multirange of this map's ranges."""
        element = types(self.element.oid)
        if element is self.element:
            return self
        return in_their_format(MultirangeCodec(self.oid, self.name, element), element)
