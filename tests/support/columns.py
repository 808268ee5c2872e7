"""Rows as the server sends them, and what stands in the memory of a column, as Python values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pgproto.columns import ColumnBatch, ColumnData, ColumnDecoder
from pgproto.wire import FieldDescription

_NUMBERS = {
    "s": "h",
    "i": "i",
    "l": "q",
    "I": "I",
    "L": "Q",
    "f": "f",
    "g": "d",
    "tdD": "i",
    "ttu": "q",
    "tsu:": "q",
    "tsu:UTC": "q",
}


def field(name: str, oid: int, modifier: int = -1) -> FieldDescription:
    return FieldDescription(name, 0, 0, oid, -1, modifier, 0)


def row(*values: bytes | None) -> bytes:
    """A DataRow message."""
    body = struct.pack(">h", len(values))
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return b"D" + struct.pack(">i", len(body) + 4) + body


def decoded(fields: Sequence[FieldDescription], rows: Sequence[bytes], **options: Any) -> ColumnBatch:
    """The batch of some rows, which arrive together."""
    decoder = ColumnDecoder(fields, **options)
    data = b"".join(rows)
    decoder.decode(data, 0, len(data))
    return decoder.finish()


def column(oid: int, values: Sequence[bytes | None], modifier: int = -1, **options: Any) -> ColumnData:
    """The only column of a result."""
    types = {"types": options.pop("types")} if "types" in options else {}
    rows = [row(value) for value in values]
    return decoded([field("c", oid, modifier)], rows, **types, **options)[0]


def is_set(bitmap: memoryview | None, index: int) -> bool:
    return bitmap is None or bool(bitmap[index >> 3] >> (index & 7) & 1)


def plain(column: ColumnData) -> list[Any]:
    """Its values, None for NULL; what Arrow counts stays a number."""
    buffers = column.buffers
    values = _values(column, buffers)
    assert len(values) == len(column)
    shown = [value if is_set(buffers[0], index) else None for index, value in enumerate(values)]
    assert shown.count(None) == column.null_count
    return shown


def _values(column: ColumnData, buffers: tuple[memoryview | None, ...]) -> list[Any]:
    count = len(column)
    last = buffers[-1]
    assert last is not None
    if column.dictionary is not None:
        labels = plain(column.dictionary)
        return [labels[index] for index in struct.unpack(f"={count}i", last)]
    format = column.format
    if format in _NUMBERS:
        return list(struct.unpack(f"={count}{_NUMBERS[format]}", last))
    if format == "b":
        return [is_set(last, index) for index in range(count)]
    if format == "tin":
        return list(struct.iter_unpack("=iiq", last))
    if format == "w:16":
        return [bytes(last[index : index + 16]) for index in range(0, 16 * count, 16)]
    if format.startswith("d:"):
        return [
            int.from_bytes(last[index : index + 16], "little", signed=True)
            for index in range(0, 16 * count, 16)
        ]
    code = "q" if format.isupper() else "i"
    if format in ("+l", "+L"):
        (child,) = column.children
        items = plain(child)
        ends = struct.unpack(f"={count + 1}{code}", last)
        return [items[start:end] for start, end in pairwise(ends)]
    first = buffers[1]
    assert first is not None
    ends = struct.unpack(f"={count + 1}{code}", first)
    pieces = [bytes(last[start:end]) for start, end in pairwise(ends)]
    return [piece.decode() for piece in pieces] if format in "uU" else pieces
