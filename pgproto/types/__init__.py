"""Converts values to bytes and back, by SQL type; and parameters, rows and COPY tuples.

A `TypeMap` has the codecs of a server's types, `BUILT_IN` those that every server has.  `ParameterEncoder`
and `RowDecoder` serve one prepared statement, `CopyRowEncoder` one COPY in binary, `CopyTextEncoder` one in
text.  Values of a type that the map does not know are sent and received as text (str).
For commands that take no parameters there are `quote_literal`, `quote_identifier` and others.
"""

from __future__ import annotations

from .bits import BitString
from .bounded import Array
from .codec import Codec
from .copyrows import COPY_HEADER, COPY_TRAILER, CopyRowEncoder, RecordEncoder
from .copytext import CopyTextEncoder
from .escaping import (
    escape_bytea,
    escape_string,
    quote_identifier,
    quote_literal,
    unescape_bytea,
)
from .figures import Box, Circle, Cube, Line, LineSegment, Path, Point, Polygon, SparseVector
from .inferred import InferredEncoder
from .infinity import INFINITY, MINUS_INFINITY, Infinity
from .interval import Interval
from .makers import Column, Into, RowMaker
from .parameters import ParameterEncoder
from .ranges import Multirange, Range
from .rawjson import RawJSON
from .registry import BUILT_IN
from .row import Columns, Row
from .rows import RowDecoder
from .typemap import TypeMap

__all__ = [
    "BUILT_IN",
    "COPY_HEADER",
    "COPY_TRAILER",
    "INFINITY",
    "MINUS_INFINITY",
    "Array",
    "BitString",
    "Box",
    "Circle",
    "Codec",
    "Column",
    "Columns",
    "CopyRowEncoder",
    "CopyTextEncoder",
    "Cube",
    "InferredEncoder",
    "Infinity",
    "Interval",
    "Into",
    "Line",
    "LineSegment",
    "Multirange",
    "ParameterEncoder",
    "Path",
    "Point",
    "Polygon",
    "Range",
    "RawJSON",
    "RecordEncoder",
    "Row",
    "RowDecoder",
    "RowMaker",
    "SparseVector",
    "TypeMap",
    "escape_bytea",
    "escape_string",
    "quote_identifier",
    "quote_literal",
    "unescape_bytea",
]
