"""Prepared statements, portals and values of the model server: what Bind checks, and rows as bytes.

The order of the checks is exec_bind_message's (src/backend/tcop/postgres.c), so that the first complaint is
the same one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import Final

from pgproto.wire import Bind, DataRow, FieldDescription, RowDescription
from tests.sim.postgres_amounts import convert, shown
from tests.sim.postgres_block import Wait
from tests.sim.postgres_sql import (
    BOOL,
    FLOAT8,
    INT4,
    INT8,
    LABEL,
    LABELS,
    SIZES,
    TEXT,
    VOID,
    Plan,
    SQLError,
    SQLValue,
)

__all__ = [
    "Columns",
    "Portal",
    "Prepared",
    "Row",
    "check",
    "constants",
    "description",
    "formats",
    "received",
    "row",
    "values",
]

Row = tuple[SQLValue, ...]
Columns = tuple[tuple[str, int], ...]

_OID: Final = 26
_NAME: Final = 19
_TEXTS: Final = 1009
_OIDS: Final = 1028
_HEADER: Final = Struct(">iiIiii")  # of an array with one dimension, and of its first element
_INT4: Final = Struct(">i")
_INT8: Final = Struct(">q")
_FLOAT8: Final = Struct(">d")
_STRUCTS: Final = {INT4: _INT4, INT8: _INT8, FLOAT8: _FLOAT8}
_RANGES: Final = {INT4: 1 << 31, INT8: 1 << 63}


class Prepared:
    """A prepared statement, and the columns and the parameters' types that its Parse found."""

    __slots__ = ("columns", "plan", "types")

    def __init__(self, plan: Plan, columns: Columns, types: tuple[int, ...]) -> None:
        self.plan = plan
        self.columns = columns
        self.types = types


class Portal:
    """A statement with its values, and how far it has come.

    Attributes:
        source: the rows that are left, once it has been started.
        done: it has run to its end.
        failed: its transaction has failed.
        depth: how many savepoints there were when it was made.
        hold: it is to outlive its transaction; held: it has.
    """

    __slots__ = (
        "columns",
        "depth",
        "done",
        "failed",
        "formats",
        "held",
        "hold",
        "plan",
        "source",
        "values",
    )

    def __init__(
        self, plan: Plan, columns: Columns, values: list[SQLValue], formats: tuple[int, ...], depth: int
    ) -> None:
        self.plan = plan
        self.columns = columns
        self.values = values
        self.formats = formats
        self.depth = depth
        self.source: Iterator[Row | Wait] | None = None
        self.done = False
        self.failed = False
        self.hold = False
        self.held = False


# ---- From the client


def check(prepared: Prepared, event: Bind) -> None:
    """Raise 08P01 if the counts do not fit."""
    given, wanted = len(event.parameters), len(prepared.types)
    if len(event.parameter_formats) > 1 and len(event.parameter_formats) != given:
        raise SQLError("08P01", "bind message has the wrong number of parameter formats")
    if given != wanted:
        raise SQLError(
            "08P01",
            f'bind message supplies {given} parameters, but prepared statement "{event.statement}" '
            f"requires {wanted}",
        )


def values(prepared: Prepared, event: Bind) -> list[SQLValue]:
    """The statement's values, in the order of its text."""
    plan = prepared.plan
    codes = event.parameter_formats
    given: list[SQLValue] = []
    for number, (data, oid) in enumerate(zip(event.parameters, prepared.types, strict=True)):
        code = 0 if not codes else codes[0] if len(codes) == 1 else codes[number]
        if data is None:
            given.append(None)
        else:
            given.append(received(data, oid) if code else _text(_decoded(data), oid))
    for number, (oid, wanted) in enumerate(zip(prepared.types, plan.types, strict=False)):
        if oid != wanted:
            given[number] = convert(given[number], wanted)
    return [
        given[value.parameter - 1] if value.parameter else _constant(value.constant) for value in plan.values
    ]


def constants(plan: Plan) -> list[SQLValue]:
    """The values of a statement of a simple Query."""
    if plan.types:
        raise SQLError("42P02", "there is no parameter $1")
    return [_constant(value.constant) for value in plan.values]


def _constant(text: str) -> SQLValue:
    try:
        return int(text)
    except ValueError:
        return text


def _decoded(data: bytes) -> str:
    try:
        text = data.decode()
    except ValueError:
        text = "\0"
    if "\0" in text:
        raise SQLError("22021", 'invalid byte sequence for encoding "UTF8"')
    return text


def _text(text: str, oid: int) -> SQLValue:
    if oid not in (INT4, INT8, FLOAT8):
        return text
    try:
        number = float(text) if oid == FLOAT8 else int(text)
    except ValueError:
        raise SQLError("22P02", "invalid input syntax") from None
    limit = _RANGES.get(oid)
    if limit is not None and not -limit <= number < limit:
        raise SQLError("22003", "value out of range")
    return number


def received(data: bytes, oid: int) -> SQLValue:
    """A value in binary.

    Raises:
        SQLError: it is none of this type.
    """
    struct = _STRUCTS.get(oid)
    if struct is None:
        return _decoded(data) if oid == TEXT else data.hex()
    if len(data) < struct.size:
        raise SQLError("08P01", "insufficient data left in message")
    if len(data) > struct.size:
        raise SQLError("22P03", "incorrect binary data format in bind parameter")
    number: int | float = struct.unpack(data)[0]
    if isinstance(number, float) and not math.isfinite(number):
        raise SQLError("22003", "value out of range")
    return number


def formats(columns: Columns, event: Bind) -> tuple[int, ...]:
    """The format of each column."""
    asked = event.result_formats
    count = len(columns)
    if not columns or not asked:
        return (0,) * count
    if len(asked) == 1:
        return (asked[0],) * count
    if len(asked) != count:
        raise SQLError("08P01", f"bind message has {len(asked)} result formats but query has {count} columns")
    return tuple(asked)


# ---- To the client


@lru_cache(maxsize=512)
def _fields(columns: Columns, codes: tuple[int, ...]) -> tuple[FieldDescription, ...]:
    return tuple(
        FieldDescription(name, 0, 0, oid, SIZES[oid], -1, code)
        for (name, oid), code in zip(columns, codes, strict=True)
    )


def description(columns: Columns, codes: tuple[int, ...]) -> RowDescription:
    """RowDescription."""
    return RowDescription(_fields(columns, codes))


def _as_text(value: SQLValue) -> bytes:
    return shown(value).encode()


def _as_labels(value: SQLValue) -> bytes:
    """An array with this element: array_send."""
    data = shown(value).encode()
    return _HEADER.pack(1, 0, LABEL, 1, 1, len(data)) + data


def _as_labels_text(value: SQLValue) -> bytes:
    return b'{"%s"}' % shown(value).encode()


def _no_elements(oid: int) -> Callable[[SQLValue], bytes]:
    return lambda value: _HEADER.pack(0, 0, oid, 0, 0, 0)[:12]


def _as_void(value: SQLValue) -> bytes:
    return b""


def _packed(struct: Struct) -> Callable[[SQLValue], bytes]:
    def pack(value: SQLValue) -> bytes:
        try:
            return struct.pack(value)
        except struct_error:
            raise SQLError("22003", "value out of range") from None

    return pack


_ENCODERS: Final[dict[tuple[int, int], Callable[[SQLValue], bytes]]] = {
    (oid, code): _packed(_STRUCTS[oid]) if code and oid in _STRUCTS else _as_text
    for oid in (INT4, INT8, TEXT, BOOL, FLOAT8)
    for code in (0, 1)
} | {
    (VOID, 0): _as_void,
    (VOID, 1): _as_void,
    (LABELS, 0): _as_labels_text,
    (LABELS, 1): _as_labels,
    (_OID, 1): _packed(Struct(">I")),
    (_NAME, 1): _as_text,
    (_TEXTS, 1): _no_elements(TEXT),
    (_OIDS, 1): _no_elements(_OID),
}


def row(columns: Columns, codes: Sequence[int], values: Row) -> DataRow:
    """DataRow."""
    return DataRow(
        [
            None if value is None else _ENCODERS[column[1], code](value)
            for column, code, value in zip(columns, codes, values, strict=True)
        ]
    )
