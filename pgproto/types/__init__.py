"""Values to bytes and back, per SQL type; parameters, rows and COPY tuples made of them.

`codec_for(oid)` is the codec of one type, `ParameterEncoder` and `RowDecoder` serve one prepared statement,
`CopyRowEncoder` one COPY.  A type without a codec travels as text, as str.
What takes no parameters is escaped (`quote_literal`, `quote_identifier`, ...).
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
