"""The codecs of the geometric types, whose values are the named tuples of `figures`.

    point      Point(x, y)                     (1.5,2)
    line       Line(a, b, c)                   {a,b,c}: ax + by + c = 0
    lseg       LineSegment(start, end)         [(x1,y1),(x2,y2)]
    box        Box(high, low)                  (x1,y1),(x2,y2): the server puts the upper right corner first
    path       Path(points, closed)            ((x1,y1),...) if it is closed, [(x1,y1),...] if it is open
    polygon    Polygon(points)                 ((x1,y1),...)
    circle     Circle(center, radius)          <(x,y),r>

A codec takes its class, a tuple or list like it, and a str in one of the forms of the manual.  Numbers are
what a float8 takes.

Binary forms: `*_send` in PostgreSQL's src/backend/utils/adt/geo_ops.c; all numbers are float8.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..wire.exact import exact_str
from ..wire.native import read_float64, read_int32
from .codec import Codec, expected, frame_length, malformed, reread
from .figures import Path, Point, Polygon
from .given import as_float

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["FigureCodec", "PointsCodec"]

_PAIR: Final = 2
# A named tuple's own constructor is interpreted; and constants are not looked up by compiled code.
_made: Final[Any] = tuple.__new__
_PACK_POINT: Final[Any] = struct.Struct(">2d").pack
_POINT: Final[Any] = Point
_PATH: Final[Any] = Path
_POLYGON: Final[Any] = Polygon

# The forms of the manual, as point_in and the others take them; what nobody writes ("(1,2)3,4") is left out.
_NUMBER: Final = r"\s*[-+]?(?:inf(?:inity)?|nan|(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*"
_BARE: Final = f"{_NUMBER},{_NUMBER}"
_CLOSED: Final = rf"\s*\({_BARE}\)\s*"
_ONE: Final = f"(?:{_CLOSED}|{_BARE})"
_SEVERAL: Final = rf"{_ONE}(?:,{_ONE})*|\s*\((?:{_CLOSED}(?:,{_ONE})*|{_BARE}(?:,{_BARE})*)\)\s*"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


_EACH: Final = _form(_NUMBER)
_FORMS: Final = {
    "point": _form(_ONE),
    "line": _form(rf"\s*{{{_NUMBER},{_NUMBER},{_NUMBER}}}\s*"),
    "lseg": _form(rf"{_SEVERAL}|\s*\[{_ONE},{_ONE}\]\s*"),
    "box": _form(_SEVERAL),
    "path": _form(rf"{_SEVERAL}|\s*\[{_ONE}(?:,{_ONE})*\]\s*"),
    "polygon": _form(_SEVERAL),
    "circle": _form(rf"{_ONE},{_NUMBER}|\s*<{_ONE},{_NUMBER}>\s*|\s*\({_CLOSED},{_NUMBER}\)\s*"),
}


def _items(value: object, make: object) -> tuple[object, ...]:
    """The items of a tuple or list; `make` is a class that reads as a tuple does, which needs no copy."""
    if isinstance(value, tuple) and (type(value) is tuple or type(value) is make):
        return value
    if not isinstance(value, (list, tuple)):
        raise expected("tuple", value)
    return tuple(value)


def _add_point(numbers: list[object], value: object) -> None:
    items = _items(value, _POINT)
    if len(items) != _PAIR:
        raise ValueError(f"a point of {len(items)} numbers")
    first = items[0]
    second = items[1]
    numbers.append(first if type(first) is float else as_float(first))
    numbers.append(second if type(second) is float else as_float(second))


def _numbers_in(name: str, text: str, form: str) -> list[float]:
    """The numbers in the text of a value of a type, of which `form` shows an example."""
    if not _FORMS[name].fullmatch(text):
        raise ValueError(f"str that is not of the form {form}")
    return [_number(found) for found in _EACH.findall(text)]


def _number(text: str) -> float:
    number = float(text)
    mantissa = text.lower().partition("e")[0]
    if (math.isinf(number) and "n" not in mantissa) or (number == 0 and mantissa.strip(" \t\n\r\f\v+-.0")):
        raise ValueError("a number out of range of float8")
    return number


def _printed(number: float) -> str:
    text = repr(number)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def _printed_points(numbers: Sequence[float]) -> str:
    texts = [_printed(number) for number in numbers]
    return ",".join([f"({texts[at]},{texts[at + 1]})" for at in range(0, len(texts), _PAIR)])


class FigureCodec(Codec):
    """A figure of a fixed number of points and numbers.

    Args:
        make: its class.
        parts: for each item of its tuple, whether it is a point.
        form: how PostgreSQL prints one.
    """

    __slots__ = ("_count", "_form", "_length", "_make", "_pack", "_parts", "_size", "_unpack")

    def __init__(
        self, oid: int, name: str, make: type[tuple[Any, ...]], parts: tuple[bool, ...], form: str
    ) -> None:
        super().__init__(oid, name)
        self.is_tuple = True
        self._make = make
        self._parts = parts
        self._form = form
        self._count: i64 = len(parts) + sum(parts)
        self._size: i64 = 8 * self._count
        self._length = frame_length(self._size)
        self._pack: Any = struct.Struct(f">4s{self._count}d").pack
        self._unpack: Any = struct.Struct(f">{self._count}d").unpack

    def encode(self, value: object) -> bytes:
        """Take a tuple like the class, or a str."""
        return self._field(value)[4:]

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append length and numbers by one `struct` call."""
        parts.append(self._field(value))
        return 4 + self._size

    def _field(self, value: object) -> bytes:
        """The length and the numbers."""
        flat: list[object] = []
        if isinstance(value, str):
            flat += _numbers_in(self.name, exact_str(value), self._form)
            if len(flat) != self._count:
                raise ValueError(f"str that is not of the form {self._form}")
        else:
            items = _items(value, self._make)
            if len(items) != len(self._parts):
                raise ValueError(f"a tuple of {len(items)} instead of {len(self._parts)}")
            for index, item in enumerate(items):
                if self._parts[index]:
                    _add_point(flat, item)
                else:
                    flat.append(item if type(item) is float else as_float(item))
        # Written out, because compiled code takes as long for an argument list as `struct` for its work.
        field: bytes
        if self._count == 2:
            field = self._pack(self._length, flat[0], flat[1])
        elif self._count == 3:
            field = self._pack(self._length, flat[0], flat[1], flat[2])
        else:
            field = self._pack(self._length, flat[0], flat[1], flat[2], flat[3])
        return field

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The figure."""
        if end - start != self._size:
            raise malformed(self.name, f"{end - start} bytes instead of {self._size}")
        items: list[object] = []
        for is_point in self._parts:
            if is_point:
                items.append(_made(_POINT, (read_float64(buffer, start), read_float64(buffer, start + 8))))
                start += 16
            else:
                items.append(read_float64(buffer, start))
                start += 8
        return _made(self._make, tuple(items))

    def encode_text(self, value: object) -> str:
        """Take a tuple like the class, or a str."""
        numbers: tuple[float, ...] = self._unpack(self.encode(value))
        if self._parts[0] and self._form[0] == "(":  # the form of a box is that of its points
            return _printed_points(numbers)
        points = 2 * sum(self._parts)
        texts = [_printed_points(numbers[:points])] if points else []
        texts += [_printed(number) for number in numbers[points:]]
        return self._form[0] + ",".join(texts) + self._form[-1]

    def decode_text(self, text: str) -> object:
        """The figure."""
        return reread(self, text)


class PointsCodec(Codec):
    """A path or a polygon: as many points as there are.

    Args:
        is_path: True for a path, which is open or closed.
    """

    __slots__ = ("_head", "_is_path")

    def __init__(self, oid: int, name: str, is_path: bool) -> None:
        super().__init__(oid, name)
        self.is_tuple = True
        self._is_path = is_path
        self._head: i64 = 5 if is_path else 4  # a path begins with a byte that is 1 if it is closed

    def encode(self, value: object) -> bytes:
        """Take a Path or Polygon, a tuple or list of points (a closed path), or a str."""
        parts: list[bytes] = []
        self.add_field(parts, value)
        return b"".join(parts[1:])

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append the length, whether a path is closed, the number of points, and each."""
        closed = True
        numbers: list[object] = []
        if isinstance(value, str):
            text = exact_str(value)
            closed = not text.lstrip().startswith("[")
            numbers += _numbers_in(self.name, text, "((x1,y1),(x2,y2))")
        else:
            figure: Any = value
            if isinstance(figure, _POLYGON):
                value = figure.points
            elif isinstance(figure, _PATH):
                closed = bool(figure.closed)
                value = figure.points
            for item in _items(value, None):
                _add_point(numbers, item)
        count: i64 = len(numbers) // _PAIR
        size: i64 = self._head + 16 * count
        parts.append(frame_length(size))
        if self._is_path:
            parts.append(b"\x01" if closed else b"\x00")
        parts.append(frame_length(count))
        at: i64 = 0
        while at < 2 * count:
            parts.append(_PACK_POINT(numbers[at], numbers[at + 1]))
            at += 2
        return 4 + size

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The Path or Polygon."""
        if end - start < self._head:
            raise malformed(self.name, f"{end - start} bytes")
        at: i64 = start + self._head
        count: i64 = read_int32(buffer, at - 4)
        if count < 0 or count * 16 != end - at:
            raise malformed(self.name, f"{count} points in {end - at} bytes")
        found: list[object] = []
        while at < end:
            found.append(_made(_POINT, (read_float64(buffer, at), read_float64(buffer, at + 8))))
            at += 16
        if not self._is_path:
            return _made(_POLYGON, (tuple(found),))
        if buffer[start] > 1:
            raise malformed(self.name, f"closed is {buffer[start]}")
        return _made(_PATH, (tuple(found), buffer[start] == 1))

    def encode_text(self, value: object) -> str:
        """Take a Path or Polygon, a tuple or list of points (a closed path), or a str."""
        data = self.encode(value)
        text = _printed_points(struct.unpack_from(f">{(len(data) - self._head) // 8}d", data, self._head))
        return f"[{text}]" if self._is_path and not data[0] else f"({text})"

    def decode_text(self, text: str) -> object:
        """The Path or Polygon."""
        return reread(self, text)
