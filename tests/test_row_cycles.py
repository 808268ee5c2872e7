"""Rows in reference cycles: a list or a dict in a row that refers to the row is collected with it.

The interpreter's collector knows every Row of the pure build.  Compiled rows are not its business, for they
are many, unless they have a value that can be changed.
"""

from __future__ import annotations

import copy
import gc
import pickle
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import pgproto
from pgproto.types import Row, RowDecoder
from pgproto.types.row import Columns, TrackedRow
from pgproto.types.rows import any_mutable
from pgproto.wire import FieldDescription
from tests.support.codecs import binary_codec

pytestmark = pytest.mark.holds("D11")

INT4 = struct.pack(">i", 7)
ARRAY = struct.pack(">iiiiiii", 1, 0, 23, 1, 1, 4, 7)


class Marked:
    """What can be watched while it dies."""


def row_of(*columns: tuple[int, bytes]) -> Row:
    """One decoded row; a column is an OID and the value's binary form."""
    fields = [FieldDescription("", 0, 0, oid, -1, -1, 1) for oid, _ in columns]
    body = struct.pack(">h", len(columns))
    body += b"".join(struct.pack(">i", len(data)) + data for _, data in columns)
    message = b"D" + struct.pack(">i", len(body) + 4) + body
    rows: list[Row] = RowDecoder(fields).decode(message, 0, len(message))
    return rows[0]


def add(container: Any, value: object) -> None:
    if isinstance(container, list):
        container.append(value)
    else:
        container["row"] = value


CYCLES: dict[str, Callable[[], Row]] = {
    "a json list": lambda: row_of((114, b"[]")),
    "a json object": lambda: row_of((23, INT4), (114, b"{}")),
    "a jsonb list": lambda: row_of((3802, b"\x01[]"), (23, INT4)),
    "an array": lambda: row_of((23, INT4), (25, b"text"), (1007, ARRAY)),
}


@pytest.mark.parametrize("name", CYCLES)
def test_a_row_in_a_cycle_is_collected(name: str) -> None:
    row = CYCLES[name]()
    marked = Marked()
    watch = weakref.ref(marked)
    container = next(value for value in row if isinstance(value, list | dict))
    add(container, [row, marked])
    assert gc.is_tracked(row)
    del row, container, marked
    gc.collect()
    assert watch() is None


def test_a_row_that_a_copy_or_a_pickle_made_is_no_other() -> None:
    row = CYCLES["a json list"]()
    for other in (copy.copy(row), copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        assert other == row
        assert type(other) is type(row)
        assert gc.is_tracked(other)


def test_rows_of_what_cannot_be_changed_are_what_they_were() -> None:
    """The price of the others is not paid for them."""
    row = row_of((23, INT4), (25, b"text"))
    assert type(row) is Row
    assert gc.is_tracked(row) == (pgproto.build == "pure")


def test_a_tracked_row_is_a_row() -> None:
    columns = Columns(("a", "b"))
    tracked, plain = TrackedRow(columns, (1, "x")), Row(columns, (1, "x"))
    assert isinstance(tracked, Row)
    assert tracked == plain
    assert plain == tracked
    assert hash(tracked) == hash(plain)
    assert repr(tracked) == repr(plain) == "Row(a=1, b='x')"
    assert dict(tracked) == {"a": 1, "b": "x"}


IMMUTABLE = (
    {
        "BitCodec",
        "BoolCodec",
        "ByteaCodec",
        "CharCodec",
        "CidrCodec",
        "DateCodec",
        "FigureCodec",
        "FloatCodec",
    }
    | {"InetCodec", "IntCodec", "IntervalCodec", "JsonPathCodec", "LsnCodec", "MacCodec", "NameCodec"}
    | {"MultirangeCodec", "NumericCodec", "PointsCodec", "RangeCodec", "TextCodec", "TidCodec", "TimeCodec"}
    | {"TimestampCodec", "TimetzCodec", "UuidCodec", "VectorCodec", "VoidCodec"}
)
"""The codecs whose values nobody can make refer to anything; a new one belongs here, or is `mutable`."""


def test_every_codec_whose_values_can_be_changed_is_known() -> None:
    codecs = [codec for oid in range(1, 10_000) if (codec := binary_codec(oid)) is not None]
    for codec in codecs:
        assert any_mutable([codec]) == (type(codec).__name__ not in IMMUTABLE), codec
    assert {type(codec).__name__ for codec in codecs} == IMMUTABLE | {
        "ArrayCodec",
        "JsonCodec",
        "RecordCodec",
    }
    assert any_mutable(codecs)
    assert not any_mutable([])
