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


def _items(value: object) -> list[object]:
    if not isinstance(value, (list, tuple)):
        raise expected("tuple", value)
    return list(value)


def _point(value: object) -> bytes:
    """The binary form of a point."""
    numbers: list[object] = []
    _add_point(numbers, value)
    data: bytes = _PACK_POINT(numbers[0], numbers[1])
    return data


def _add_point(numbers: list[object], value: object) -> None:
    items = _items(value)
    if len(items) != _PAIR:
        raise ValueError(f"a point of {len(items)} numbers")
    numbers += [item if type(item) is float else as_float(item) for item in items]


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

    __slots__ = ("_form", "_make", "_pack", "_parts", "_size", "_unpack")

    def __init__(
        self, oid: int, name: str, make: type[tuple[Any, ...]], parts: tuple[bool, ...], form: str
    ) -> None:
        super().__init__(oid, name)
        self.is_tuple = True
        self._make = make
        self._parts = parts
        self._form = form
        shape = struct.Struct(f">{len(parts) + sum(parts)}d")
        self._size: int = shape.size
        self._pack: Any = shape.pack
        self._unpack: Any = shape.unpack

    def encode(self, value: object) -> bytes:
        """Take a tuple like the class, or a str."""
        if isinstance(value, str):
            numbers = _numbers_in(self.name, exact_str(value), self._form)
            if len(numbers) * 8 != self._size:
                raise ValueError(f"str that is not of the form {self._form}")
            return bytes(self._pack(*numbers))
        items = _items(value)
        if len(items) != len(self._parts):
            raise ValueError(f"a tuple of {len(items)} instead of {len(self._parts)}")
        flat: list[object] = []
        for index, item in enumerate(items):
            if self._parts[index]:
                _add_point(flat, item)
            else:
                flat.append(item if type(item) is float else as_float(item))
        packed: bytes = self._pack(*flat)
        return packed

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
        self._head = 5 if is_path else 4  # a path begins with a byte that is 1 if it is closed

    def encode(self, value: object) -> bytes:
        """Take a Path or Polygon, a tuple or list of points (a closed path), or a str."""
        closed = True
        parts: list[bytes] = [b""]
        if isinstance(value, str):
            text = exact_str(value)
            closed = not text.lstrip().startswith("[")
            numbers = _numbers_in(self.name, text, "((x1,y1),(x2,y2))")
            parts += [_PACK_POINT(numbers[at], numbers[at + 1]) for at in range(0, len(numbers), _PAIR)]
        else:
            if isinstance(value, Path):
                closed = value.closed
                value = value.points
            elif isinstance(value, Polygon):
                value = value.points
            for item in _items(value):
                parts.append(_point(item))
        head = (b"\x01" if closed else b"\x00") if self._is_path else b""
        parts[0] = head + frame_length(len(parts) - 1)
        return b"".join(parts)

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
