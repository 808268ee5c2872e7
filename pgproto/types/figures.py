"""The figures of the geometric types: named tuples of floats, which are not compiled.  See `geometry`."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Box", "Circle", "Line", "LineSegment", "Path", "Point", "Polygon"]


class Point(NamedTuple):
    """A point of the plane."""

    x: float
    y: float


class Line(NamedTuple):
    """A line without end: all points with `a * x + b * y + c == 0`."""

    a: float
    b: float
    c: float


class LineSegment(NamedTuple):
    """A line between two points."""

    start: Point
    end: Point


class Box(NamedTuple):
    """A rectangle by two corners; the server puts the upper right one first."""

    high: Point
    low: Point


class Path(NamedTuple):
    """Points in order; if it is closed, a line goes from the last one to the first."""

    points: tuple[Point, ...]
    closed: bool = False


class Polygon(NamedTuple):
    """The corners of an area, in order."""

    points: tuple[Point, ...]


class Circle(NamedTuple):
    """All points within a distance of the center."""

    center: Point
    radius: float
