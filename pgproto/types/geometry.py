"""The codecs of the geometric types, whose values are the named tuples of `figures`.

    point      Point(x, y)                     (1.5,2)
    line       Line(a, b, c)                   {a,b,c}: ax + by + c = 0
    lseg       LineSegment(start, end)         [(x1,y1),(x2,y2)]
    box        Box(high, low)                  (x1,y1),(x2,y2): the server puts the upper right corner first
    path       Path(points, closed)            ((x1,y1),...) if it is closed, [(x1,y1),...] if it is open
    polygon    Polygon(points)                 ((x1,y1),...)
    circle     Circle(center, radius)          <(x,y),r>

A codec takes its class, a tuple or list like it, and a str in the form in which PostgreSQL prints it.

Binary forms: `*_send` in PostgreSQL's src/backend/utils/adt/geo_ops.c; all numbers are float8.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..wire.exact import exact_str
from ..wire.native import read_int32
from .codec import Codec, expected, malformed, reread
from .figures import Path, Point, Polygon

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["FigureCodec", "PointsCodec"]

_PAIR: Final = 2

_NUMBER: Final = re.compile(r"[-+]?(?:inf(?:inity)?|nan|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)", re.IGNORECASE)


def _float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise expected("float", value)
    return float(value)


def _items(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise expected("tuple", value)
    return list(value)


def _pair(value: object) -> list[float]:
    items = _items(value)
    if len(items) != _PAIR:
        raise ValueError(f"a point of {len(items)} numbers")
    return [_float(item) for item in items]


def _numbers_in(text: str, form: str) -> list[float]:
    """The numbers in the text of a value, of which `form` shows an example."""
    if _NUMBER.sub("", text).strip(" \t\n,()[]{}<>"):
        raise ValueError(f"str that is not of the form {form}")
    return [float(found) for found in _NUMBER.findall(text)]


def _printed(number: float) -> str:
    text = repr(number)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def _printed_points(numbers: Sequence[float]) -> str:
    texts = [_printed(number) for number in numbers]
    return ",".join([f"({texts[at]},{texts[at + 1]})" for at in range(0, len(texts), _PAIR)])


def _points(numbers: Sequence[float]) -> tuple[Point, ...]:
    return tuple([Point(numbers[at], numbers[at + 1]) for at in range(0, len(numbers), _PAIR)])


class FigureCodec(Codec):
    """A figure of a fixed number of points and numbers.

    Args:
        make: its class.
        parts: for each item of its tuple, whether it is a point.
        form: how PostgreSQL prints one.
    """

    __slots__ = ("_form", "_make", "_parts", "_shape")

    def __init__(
        self, oid: int, name: str, make: Callable[..., object], parts: tuple[bool, ...], form: str
    ) -> None:
        super().__init__(oid, name)
        self.is_tuple = True
        self._make = make
        self._parts = parts
        self._form = form
        self._shape = struct.Struct(f">{len(parts) + sum(parts)}d")

    def encode(self, value: object) -> bytes:
        """Take a tuple like the class, or a str."""
        if isinstance(value, str):
            numbers = _numbers_in(exact_str(value), self._form)
            if len(numbers) * 8 != self._shape.size:
                raise ValueError(f"str that is not of the form {self._form}")
            return bytes(self._shape.pack(*numbers))
        items = _items(value)
        if len(items) != len(self._parts):
            raise ValueError(f"a tuple of {len(items)} instead of {len(self._parts)}")
        numbers = []
        for item, is_point in zip(items, self._parts, strict=True):
            numbers += _pair(item) if is_point else [_float(item)]
        return bytes(self._shape.pack(*numbers))

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The figure."""
        if end - start != self._shape.size:
            raise malformed(self.name, f"{end - start} bytes instead of {self._shape.size}")
        numbers: tuple[float, ...] = self._shape.unpack_from(buffer, start)
        items: list[object] = []
        at = 0
        for is_point in self._parts:
            items.append(Point(numbers[at], numbers[at + 1]) if is_point else numbers[at])
            at += 2 if is_point else 1
        return self._make(*items)

    def encode_text(self, value: object) -> str:
        """Take a tuple like the class, or a str."""
        numbers: tuple[float, ...] = self._shape.unpack(self.encode(value))
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
        if isinstance(value, str):
            text = exact_str(value)
            closed = not text.lstrip().startswith("[")
            numbers = _numbers_in(text, "((x1,y1),(x2,y2))")
            if len(numbers) % _PAIR:
                raise ValueError("str with half a point")
        else:
            if isinstance(value, Path):
                closed = value.closed
                value = value.points
            elif isinstance(value, Polygon):
                value = value.points
            numbers = []
            for item in _items(value):
                numbers += _pair(item)
        head = bytes((1 if closed else 0,)) if self._is_path else b""
        return head + struct.pack(f">i{len(numbers)}d", len(numbers) // _PAIR, *numbers)

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The Path or Polygon."""
        if end - start < self._head:
            raise malformed(self.name, f"{end - start} bytes")
        at = start + self._head
        count: i64 = read_int32(buffer, at - 4)
        if count < 0 or count * 16 != end - at:
            raise malformed(self.name, f"{count} points in {end - at} bytes")
        points = _points(struct.unpack_from(f">{_PAIR * count}d", buffer, at))
        if not self._is_path:
            return Polygon(points)
        if buffer[start] > 1:
            raise malformed(self.name, f"closed is {buffer[start]}")
        return Path(points, buffer[start] == 1)

    def encode_text(self, value: object) -> str:
        """Take a Path or Polygon, a tuple or list of points (a closed path), or a str."""
        data = self.encode(value)
        text = _printed_points(struct.unpack_from(f">{(len(data) - self._head) // 8}d", data, self._head))
        return f"[{text}]" if self._is_path and not data[0] else f"({text})"

    def decode_text(self, text: str) -> object:
        """The Path or Polygon."""
        return reread(self, text)
