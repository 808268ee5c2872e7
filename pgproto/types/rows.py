"""RowDecoder: decodes a run of DataRow messages to rows.  The hot loop of every query.

A DataRow (manual, "Message Formats"): its type byte, int32 length, int16 number of columns, then each column
as int32 length (-1: NULL) and value.

There are two decoders.  `_by_columns` reads a length and calls a codec for each column; it is the faster one
when compiled.  Interpreted code first tries `_by_runs`: the columns are cut into runs, neighbouring ones of
fixed width and then at most one of variable width, and one `struct` call reads a run's lengths and raw
values, and the length of the variable column.  On anything unusual (a NULL of fixed width, an error) it
leaves the row to `_by_columns`.

Rule: every length is checked against the end of its row.  A malformed row raises RemoteProtocolError: nothing
more of this server can be trusted.  A value that cannot be decoded raises DataError with its row and column;
the connection stays usable, because the messages are intact.

Format: a column is decoded in the format of its description.  Binary columns of a known type become values of
that type, those of an unknown type become bytes; text columns become str, whatever the type.  So a simple
query, whose rows the server sends as text, returns rows of str, unless `typed_text` asks for values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError, RemoteProtocolError
from ..wire.messages import FieldDescription
from ..wire.native import COMPILED, read_int32
from .codec import Codec, FixedCodec, OutdatedTypeError, UnknownTypeError, runs_of
from .makers import VALUES, Column, Into, Make, make_all, prepared
from .registry import BUILT_IN
from .row import Columns, Row, TrackedRow
from .scalars import ByteaCodec, TextCodec
from .textform import TextFormCodec
from .typemap import TypeMap

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Row", "RowDecoder"]

# What a decoded row is.
_ROW: Final = 0
_TRACKED: Final = 1  # a TrackedRow
_VALUES: Final = 2  # a tuple

_MAX_COLUMNS: Final = 0xFFFF
_MAX_RUN: Final = 64  # struct caches the formats that it compiles, and a result can have 1,664 columns


class _Run:
    """Neighbouring columns: some of fixed width, then possibly one of variable width.

    The first run of a row also reads the message's header: its length and the number of columns.
    """

    __slots__ = ("lengths", "lengths_at", "size", "tail", "tail_is_text", "unpack_from", "values_at")

    def __init__(self, fixed: list[FixedCodec], tail: Codec | None, *, first: bool) -> None:
        code = "".join(["i" + codec.code for codec in fixed]) + ("i" if tail else "")
        shape = struct.Struct((">xiH" if first else ">") + code)
        start = 2 if first else 0
        self.tail = tail
        self.tail_is_text: bool = isinstance(tail, TextCodec)
        self.size: int = shape.size
        self.unpack_from: Any = shape.unpack_from
        self.lengths: tuple[int, ...] = tuple([codec.size for codec in fixed])
        self.lengths_at = slice(start, -1 if tail else None, 2)
        self.values_at = slice(start + 1, None, 2)


class _Column:
    """A linked list of columns: compiled code checks the type of a list's items, but not of an attribute."""

    __slots__ = ("codec", "following")

    def __init__(self, codec: Codec, following: _Column | None) -> None:
        self.codec = codec
        self.following = following


class RowDecoder:
    """The decoder of one statement's rows; build it once, from its RowDescription.

    Args:
        fields: the columns as the server described them.
        formats: the format of each column, 0 text or 1 binary.  By default `result_formats`, for an extended
            query whose Bind asks for these.  For a simple query, whose RowDescription has the formats,
            pass `[field.format for field in fields]`.
        types: the types of the session.
        typed_text: True if columns that are text according to `formats` become values of their types, too.
            A text that depends on a setting of the session which it does not show (as in DateStyle SQL) is
            a DataError.
        into: what `decode` makes of each row: a `RowMaker`, or a class or function; None for a `Row`.

    Attributes:
        columns: the names of the columns.
        result_formats: the format codes to ask for in Bind: 1 for each column whose type has a codec.

    Raises:
        DataError: `into` cannot use these columns.
    """

    __slots__ = (
        "_columns",
        "_converted",
        "_described",
        "_fields",
        "_first",
        "_formats",
        "_into",
        "_kind",
        "_make",
        "_runs",
        "_typed_text",
        "_types",
        "_values",
        "columns",
        "result_formats",
    )

    def __init__(
        self,
        fields: Sequence[FieldDescription],
        formats: Sequence[int] | None = None,
        types: TypeMap = BUILT_IN,
        *,
        typed_text: bool = False,
        into: Into[Any] | None = None,
    ) -> None:
        self._fields = fields
        self._formats = formats
        self._types = types
        self._typed_text = typed_text
        self._values: RowDecoder | None = None
        self._described: tuple[Column, ...] | None = None
        self._into: object = None
        self._make: Make | None = None
        known: list[Codec] = [types.codec(field.type_oid) for field in fields]
        wanted: list[int] = [codec.format for codec in known]
        self.result_formats: tuple[int, ...] = tuple(wanted)
        self._columns = Columns([field.name for field in fields])
        self.columns: tuple[str, ...] = self._columns.names
        codecs = known
        if formats is not None:
            codecs = [_in_format(codec, code, typed_text) for codec, code in zip(known, formats, strict=True)]
        if len(codecs) > _MAX_COLUMNS:
            raise RemoteProtocolError(f"RowDescription with {len(codecs)} columns")
        self._converted: list[tuple[int, Callable[[Any], object]]] = []
        for index, codec in enumerate(codecs):
            if isinstance(codec, FixedCodec) and codec.exact is None:
                self._converted.append((index, codec.converter))
        # A TrackedRow costs 1 % for rows of json and 10 % for rows of int4[3]; other rows are not affected.
        self._kind: int = _TRACKED if COMPILED and any_mutable(codecs) else _ROW
        self._first: _Column | None = None
        for codec in reversed(codecs):
            self._first = _Column(codec, self._first)
        self._runs: list[_Run] = []
        for fixed, tail in runs_of(codecs, most=_MAX_RUN):
            self._runs.append(_Run(fixed, tail, first=not self._runs))
        if into is not None:
            self._kind = _VALUES
            if into is not VALUES:
                self.making(into)

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns, with their types."""
        described = self._described
        if described is None:
            fields, types = self._fields, self._types
            self._described = described = tuple(
                [Column(each.name, each.type_oid, types.codec(each.type_oid).name) for each in fields]
            )
        return described

    def values_only(self) -> RowDecoder:
        """The decoder whose rows are tuples of values."""
        if self._values is None:
            self._values = RowDecoder(
                self._fields, self._formats, self._types, typed_text=self._typed_text, into=VALUES
            )
        return self._values

    def making(self, into: object) -> Callable[[tuple[Any, ...]], Any]:
        """`makers.prepared` for its columns; the last one is kept."""
        make = self._make
        if make is None or into is not self._into:
            self._make = make = prepared(into, self.description)
            self._into = into
        return make

    def decode(self, buffer: bytes, start: i64, end: i64, before: i64 = 0) -> list[Any]:
        """The rows of consecutive DataRow messages: each a `Row`, or what `into` has made of it.

        Args:
            buffer: contains the complete messages.
            start: the index of the first message's type byte.
            end: the index after the last message's body.
            before: the number of earlier rows of the result, for error texts.

        Raises:
            RemoteProtocolError: a row is malformed.
            DataError: a value is malformed or has no counterpart in Python; the text names its row
                (the first is 1) and its column.  Or `into` has refused a row.
        """
        rows: list[Any] = []
        columns = self._columns
        kind: i64 = self._kind
        values: list[Any] = [None] * len(self.columns)  # reused for every row, and copied to its tuple
        while start < end:
            if not COMPILED:
                start = self._by_runs(buffer, start, end, rows)
                if start == end:
                    break
            stop: i64 = start
            if end - start > 4:
                stop += 1 + read_int32(buffer, start + 1)
            if stop < start + 5 or stop > end:
                raise RemoteProtocolError("not a whole DataRow message")
            self._by_columns(buffer, start + 5, stop, values, before + len(rows))
            if kind == _ROW:
                rows.append(Row(columns, tuple(values)))
            elif kind == _TRACKED:
                rows.append(TrackedRow(columns, tuple(values)))
            else:
                rows.append(tuple(values))
            start = stop
        if kind == _VALUES and self._make is not None:
            refused = make_all(rows, self._make, self._into, before)
            if refused is not None:
                raise refused
        return rows

    def _by_runs(self, buffer: bytes, start: int, end: int, rows: list[Any]) -> int:
        """Append rows up to the first unusual one; return the index where that begins, or `end`."""
        columns = self._columns
        runs = self._runs
        converted = self._converted
        named = self._kind != _VALUES
        count = len(self.columns)
        try:
            while runs and start < end:
                position = start
                stop = 0
                values: list[Any] = []
                for run in runs:
                    fields = run.unpack_from(buffer, position)
                    if run.lengths:
                        if fields[run.lengths_at] != run.lengths:
                            return start
                        values += fields[run.values_at]
                    if not stop:
                        stop = start + 1 + fields[0]
                        if fields[1] != count or stop > end:
                            return start
                    position += run.size
                    tail = run.tail
                    if tail is None:
                        continue
                    length: int = fields[-1]
                    if length < 0:
                        if length != -1:
                            return start
                        values.append(None)
                        continue
                    following = position + length
                    if run.tail_is_text:
                        values.append(buffer[position:following].decode())
                    else:
                        values.append(tail.decode(buffer, position, following))
                    position = following
                if position != stop:
                    return start
                for index, convert in converted:
                    values[index] = convert(values[index])
                rows.append(Row(columns, tuple(values)) if named else tuple(values))
                start = stop
        except Exception:  # noqa: BLE001 - `_by_columns` reports it
            pass
        return start

    def _by_columns(self, buffer: bytes, start: i64, end: i64, values: list[Any], row: i64) -> None:
        """Decode the row `buffer[start:end]` into the list `values`."""
        position: i64 = start + 2
        if end < position:
            raise RemoteProtocolError("DataRow without a number of columns")
        count: i64 = buffer[start]
        count = count << 8 | buffer[start + 1]
        if count != len(values):
            raise RemoteProtocolError(f"DataRow with {count} columns, where {len(values)} were described")
        index: i64 = 0
        column = self._first
        while column is not None:
            if end - position < 4:
                raise RemoteProtocolError("DataRow ends before its last column")
            length: i64 = read_int32(buffer, position)
            position += 4
            if length < 0:
                if length < -1:
                    raise RemoteProtocolError(f"DataRow with a column of {length} bytes")
                values[index] = None
            else:
                stop: i64 = position + length
                if stop > end:
                    raise RemoteProtocolError(
                        f"DataRow with a column of {length} bytes where {end - position} are left"
                    )
                try:
                    values[index] = column.codec.decode(buffer, position, stop)
                except Exception as error:  # noqa: BLE001 - a codec's failure must only concern this query
                    refused = self._named(error, row, index)
                    break
                position = stop
            column = column.following
            index += 1
        else:
            if position != end:
                raise RemoteProtocolError(f"DataRow with {end - position} bytes after its last column")
            return
        raise refused  # outside the handler, so that no __context__ (a UnicodeDecodeError) shows the value

    def _named(self, error: Exception, row: int, index: int) -> DataError:
        """A DataError with row and column; an error that is not a DataError becomes its `__cause__`."""
        expected = isinstance(error, DataError)
        what = str(error) if expected else f"decoding it raised {type(error).__name__}"
        text = f"row {row + 1}, column {index + 1} ({self.columns[index]!r}): {what}"
        named = OutdatedTypeError(text) if isinstance(error, OutdatedTypeError) else DataError(text)
        if isinstance(error, UnknownTypeError):
            named = unknown = UnknownTypeError(text)
            unknown.oid = error.oid
        named.__cause__ = error.__cause__ if expected else error
        return named


def any_mutable(codecs: Sequence[Codec]) -> bool:
    """True if one of them decodes to a mutable value, which can be made to refer to its row."""
    return any(codec.mutable for codec in codecs)


def _in_format(codec: Codec, code: int, typed_text: bool) -> Codec:
    """What decodes a column of this codec's type that travels in a format."""
    if code not in (0, 1):
        raise RemoteProtocolError(f"RowDescription with the format code {code}")
    if code:
        return codec if codec.format else ByteaCodec(codec.oid, codec.name)
    if not typed_text:
        return TextCodec(codec.oid, codec.name)
    return TextFormCodec(codec) if codec.format else codec
