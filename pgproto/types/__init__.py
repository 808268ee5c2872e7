"""Converts values to bytes and back, by SQL type; and parameters, rows and COPY tuples.

`codec_for(oid)` is the codec of one type, `ParameterEncoder` and `RowDecoder` serve one prepared statement,
`CopyRowEncoder` one COPY.  Values of a type without a codec are sent and received as text (str).
For commands that take no parameters there are `quote_literal`, `quote_identifier` and others.
"""

from __future__ import annotations

from .codec import Codec
from .copyrows import COPY_HEADER, COPY_TRAILER, CopyRowEncoder
from .escaping import (
    escape_bytea,
    escape_string,
    quote_identifier,
    quote_literal,
    unescape_bytea,
)
from .interval import Interval
from .parameters import ParameterEncoder
from .registry import codec_for, type_name
from .row import Columns, Row
from .rows import RowDecoder

__all__ = [
    "COPY_HEADER",
    "COPY_TRAILER",
    "Codec",
    "Columns",
    "CopyRowEncoder",
    "Interval",
    "ParameterEncoder",
    "Row",
    "RowDecoder",
    "codec_for",
    "escape_bytea",
    "escape_string",
    "quote_identifier",
    "quote_literal",
    "type_name",
    "unescape_bytea",
]
