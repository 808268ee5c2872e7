"""The answer of a server in memory to a statement: `Answer`, and functions for the usual ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..types import BUILT_IN, Codec
from ..types.catalog import LOOK_UP_COLUMNS, LOOK_UP_PARAMETER
from ..wire import FieldDescription, Message, NoData, RowDescription

__all__ = ["Answer", "catalog", "copy_in", "copy_out", "error_fields", "fails", "ok", "rows_of", "table"]

_INT4: Final = 23


def error_fields(code: str, message: str = "", severity: str = "ERROR") -> dict[str, str]:
    """Fields as PostgreSQL sends them."""
    return {"S": severity, "V": severity, "C": code, "M": message or f"error {code}"}


class Answer:
    """The server's answer to one SQL text.

    Args:
        tag: the command tag; "" for an empty query.
        types: the OIDs of its parameters.
        columns: its columns as (name, OID).
        rows: its rows, encoded.
        error: it fails with these fields: at Execute, or as `fails` says.
        fails: "execute", "parse", "describe", "bind" or "sync" (a deferred constraint).
        late: the first Describe of the statement answers NoData, although there will be columns.
        copy: "in" or "out".
        spares: the number of executions that succeed before it fails.
        delay: seconds that it runs before its first row; a cancel request can end it then.
        texts: its rows in the text format of a simple query; None if they are the same.
    """

    def __init__(
        self,
        tag: str = "SELECT 1",
        *,
        types: Sequence[int] = (),
        columns: Sequence[tuple[str, int]] = (),
        rows: Iterable[Sequence[bytes | None]] = (),
        error: dict[str, str] | None = None,
        fails: str = "execute",
        late: bool = False,
        copy: str = "",
        spares: int = 0,
        delay: float = 0.0,
        texts: Iterable[Sequence[bytes | None]] | None = None,
    ) -> None:
        self.tag = tag
        self.types = types
        self.columns = columns
        self.rows = list(rows)
        self.error = error
        self.fails = fails if error is not None else ""
        self.late = late
        self.copy = copy
        self.spares = spares
        self.delay = delay
        self.texts = self.rows if texts is None else list(texts)

    def description(self, format: int) -> Message:
        """RowDescription or NoData."""
        if not self.columns:
            return NoData()
        return RowDescription(
            [FieldDescription(name, 0, 0, oid, -1, -1, format) for name, oid in self.columns]
        )


def ok(tag: str = "INSERT 0 1", types: Sequence[int] = ()) -> Answer:
    """A statement without rows."""
    return Answer(tag, types=types)


def rows_of(*values: int, delay: float = 0.0) -> Answer:
    """A statement with one int4 column `n`."""
    return table({"n": _INT4}, [(value,) for value in values], delay=delay)


def table(
    columns: Mapping[str, int],
    rows: Iterable[Sequence[object]],
    *,
    types: Sequence[int] = (),
    delay: float = 0.0,
) -> Answer:
    """A statement with these rows.

    Args:
        columns: the names of its columns, and the OIDs of their types, in order.
        rows: its rows, as Python values.
        types: the OIDs of its parameters.
        delay: seconds that it runs.

    Raises:
        ValueError, TypeError: a value does not fit its column.
    """
    codecs = [BUILT_IN.codec(oid) for oid in columns.values()]
    values = [list(row) for row in rows]
    return Answer(
        f"SELECT {len(values)}",
        types=types,
        columns=list(columns.items()),
        rows=[[_as_binary(codec, value) for codec, value in zip(codecs, row, strict=True)] for row in values],
        texts=[[_as_text(value) for value in row] for row in values],
        delay=delay,
    )


def catalog(*types: tuple[int, str, str, int, int, Mapping[str, int]]) -> Answer:
    """The answer to `pgproto.types.catalog.LOOK_UP`.

    Args:
        types: its rows: OID, name, typtype, the OID of an array's elements or of a domain's base type, the
            OID of a range's bounds or of a multirange's ranges, and the OIDs of a composite's fields by name.
    """
    return table(
        dict(zip("abcdefghijk", LOOK_UP_COLUMNS, strict=True)),
        [
            (oid, name, name, kind, element, part, list(fields), list(fields.values()), ",", "public", "")
            for oid, name, kind, element, part, fields in types
        ],
        types=[LOOK_UP_PARAMETER],
    )


def copy_in(tag: str = "COPY 1") -> Answer:
    """A COPY ... FROM STDIN, which takes everything."""
    return Answer(tag, copy="in")


def copy_out(*pieces: bytes) -> Answer:
    """A COPY ... TO STDOUT with these pieces of data."""
    return Answer(f"COPY {len(pieces)}", copy="out", rows=[[piece] for piece in pieces])


def fails(code: str, where: str = "execute") -> Answer:
    """A statement that fails.

    Args:
        code: the SQLSTATE.
        where: see `Answer`.
    """
    return Answer(error=error_fields(code), fails=where)


def _as_binary(codec: Codec, value: object) -> bytes | None:
    if value is None or not codec.format:
        return _as_text(value)
    return codec.encode(value)


def _as_text(value: object) -> bytes | None:
    """PostgreSQL's text form, for bool, bytes, and types whose `str` is the same."""
    if value is None:
        return None
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    return str(value).encode()
