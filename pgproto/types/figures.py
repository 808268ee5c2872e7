"""Values that are named tuples, which are not compiled: of the geometric types and of extensions.

See `geometry` and `extensions`.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Box", "Circle", "Cube", "Line", "LineSegment", "Path", "Point", "Polygon", "SparseVector"]


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


class Cube(NamedTuple):
    """A box in any number of dimensions, by two corners; a point if they are equal.  Of cube."""

    low: tuple[float, ...]
    high: tuple[float, ...]


class SparseVector(NamedTuple):
    """A vector of which few numbers are not 0.  Of the extension vector.

    The indexes start at 0, in ascending order; the type's text form starts at 1.
    """

    dimensions: int
    indexes: tuple[int, ...]
    values: tuple[float, ...]
