"""RowDecoder: a run of DataRow messages to rows.  The hot loop of every query.

Body of a DataRow (manual, "Message Formats"): int16 number of columns, then each column as int32 length
(-1: NULL) and value.

Two ways lead to the values.  The one by columns reads a length and calls a codec, for each column; it is
the fast one when compiled.  Interpreted, the one by runs comes first: the columns are cut into runs, as many
columns of fixed width as follow one another, then at most one of variable width, and one `struct` call reads
a run's lengths and raw values, together with the length of the variable column behind it.  It gives
up on anything unusual (a NULL of fixed width, an error), and the other way decides.

Rule: every length is checked against the end of its row.  A row that does not add up is RemoteProtocolError:
the server is not to be trusted with the next byte.  A value that cannot be decoded is DataError, names its
row and column, and says nothing about the connection: the run of messages it came in is intact.

Format: a column is decoded in the format that it was described with.  Binary columns of a known type become
that type's values; binary of an unknown type becomes bytes; text is str, whatever the type.  So the rows of a
simple query, which the server sends as text, are rows of str.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pgproto.errors import DataError, RemoteProtocolError
from pgproto.types.codec import Codec, FixedCodec
from pgproto.types.registry import codec_for, type_name
from pgproto.types.row import Columns, Row
from pgproto.types.scalars import ByteaCodec, TextCodec
from pgproto.wire.messages import FieldDescription
from pgproto.wire.native import COMPILED, read_int32

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["Row", "RowDecoder"]

# Columns of a run: struct keeps what it compiled, and a result can have 1,664 columns.
_MAX_RUN: Final = 64
_MAX_COLUMNS: Final = 0xFFFF


class _Run:
    """Neighbouring columns: some of fixed width, then perhaps one of variable width."""

    __slots__ = ("fixed", "lengths", "size", "tail", "tail_is_text", "unpack_from")

    def __init__(self, fixed: list[FixedCodec], tail: Codec | None) -> None:
        shape = struct.Struct(">" + "".join(["i" + codec.code for codec in fixed]) + ("i" if tail else ""))
        self.fixed = fixed
        self.tail = tail
        self.tail_is_text: bool = isinstance(tail, TextCodec)
        self.size: int = shape.size
        self.unpack_from: Any = shape.unpack_from
        self.lengths: tuple[int, ...] = tuple([codec.size for codec in fixed])


class RowDecoder:
    """The decoder of one statement's rows; build it once, from its RowDescription.

    Args:
        fields: the columns as the server described them.
        formats: the format in which each column arrives, 0 text or 1 binary.  Without it, the formats of
            `result_formats`: what an extended query gets that asked for them in Bind.  For a simple query,
            whose RowDescription has the formats, pass `[field.format for field in fields]`.

    Attributes:
        columns: the names of the columns.
        result_formats: the format codes to ask for in Bind: 1 for each column whose type has a codec.
    """

    __slots__ = ("_codecs", "_columns", "_converted", "_count", "_runs", "columns", "result_formats")

    def __init__(self, fields: Sequence[FieldDescription], formats: Sequence[int] | None = None) -> None:
        wanted: list[int] = [0 if codec_for(field.type_oid) is None else 1 for field in fields]
        self.result_formats: tuple[int, ...] = tuple(wanted)
        self._columns = Columns([field.name for field in fields])
        self.columns: tuple[str, ...] = self._columns.names
        actual = wanted if formats is None else formats
        codecs: list[Codec] = []
        for field, code in zip(fields, actual, strict=True):
            codecs.append(_codec(field.type_oid, code))
        self._codecs = codecs
        if len(codecs) > _MAX_COLUMNS:
            raise RemoteProtocolError(f"RowDescription with {len(codecs)} columns")
        self._count: bytes = len(codecs).to_bytes(2, "big")
        self._converted: list[tuple[int, FixedCodec]] = []
        for index, codec in enumerate(codecs):
            if isinstance(codec, FixedCodec) and codec.exact is None:
                self._converted.append((index, codec))
        self._runs: list[_Run] = _runs(codecs)

    def decode(self, buffer: bytes, offsets: list[int], end: int) -> list[Row]:
        """The rows of a run of consecutive DataRow messages.

        Args:
            buffer: what the messages are in.
            offsets: the start of each message's body.
            end: the end of the last body.

        Raises:
            RemoteProtocolError: a row is malformed.
            DataError: a value is malformed or has no counterpart in Python; the text names its row in this
                run (the first is 1) and its column.
        """
        rows: list[Row] = []
        columns = self._columns
        last = len(offsets) - 1
        for index, start in enumerate(offsets):
            stop = offsets[index + 1] - 5 if index < last else end
            values = None if COMPILED else self._by_runs(buffer, start, stop)
            if values is None:
                values = self._by_columns(buffer, start, stop, index)
            rows.append(Row(columns, tuple(values)))
        return rows

    def _by_runs(self, buffer: bytes, position: int, end: int) -> list[Any] | None:
        """The values of the row `buffer[position:end]`; None if anything is out of the ordinary."""
        if end - position < 2 or not buffer.startswith(self._count, position):
            return None
        position += 2
        values: list[Any] = []
        try:
            for run in self._runs:
                stop = position + run.size
                if stop > end:
                    return None
                fields = run.unpack_from(buffer, position)
                position = stop
                tail = run.tail
                if tail is None:
                    if fields[::2] != run.lengths:
                        return None
                    values += fields[1::2]
                    continue
                if fields[:-1:2] != run.lengths:
                    return None
                values += fields[1::2]
                length: int = fields[-1]
                if length == -1:
                    values.append(None)
                    continue
                stop += length
                if length < 0 or stop > end:
                    return None
                if run.tail_is_text:
                    values.append(buffer[position:stop].decode())
                else:
                    values.append(tail.decode(buffer, position, stop))
                position = stop
            if position != end:
                return None
            for index, codec in self._converted:
                values[index] = codec.convert(values[index])
        except ValueError:
            return None
        return values

    def _by_columns(self, buffer: bytes, start: int, end: int, row: int) -> list[Any]:
        """The values of the row `buffer[start:end]`, or the error that says what is wrong with it."""
        position: i64 = start
        stop: i64 = end
        codecs = self._codecs
        if stop - position < 2:
            raise RemoteProtocolError("DataRow without a number of columns")
        count: i64 = buffer[position] << 8 | buffer[position + 1]
        if count != len(codecs):
            raise RemoteProtocolError(f"DataRow with {count} columns, where {len(codecs)} were described")
        position += 2
        values: list[Any] = []
        for codec in codecs:
            if stop - position < 4:
                raise RemoteProtocolError("DataRow ends before its last column")
            length: i64 = read_int32(buffer, position)
            position += 4
            if length == -1:
                values.append(None)
                continue
            if length < 0 or length > stop - position:
                raise RemoteProtocolError(
                    f"DataRow with a column of {length} bytes where {stop - position} are left"
                )
            try:
                values.append(codec.decode(buffer, position, position + length))
            except DataError as error:
                refused = self._named(error, row, len(values))
                break
            position += length
        else:
            if position != stop:
                raise RemoteProtocolError(f"DataRow with {stop - position} bytes behind its last column")
            return values
        raise refused  # out here, where no __context__ (a UnicodeDecodeError) shows the value

    def _named(self, error: DataError, row: int, index: int) -> DataError:
        """The error, with the row and column that it happened in."""
        return DataError(f"row {row + 1}, column {index + 1} ({self.columns[index]!r}): {error}")


def _codec(oid: int, code: int) -> Codec:
    """What decodes a column of a type in a format."""
    if code == 0:
        return TextCodec(oid, type_name(oid))
    if code != 1:
        raise RemoteProtocolError(f"RowDescription with the format code {code}")
    return codec_for(oid) or ByteaCodec(oid, type_name(oid))


def _runs(codecs: list[Codec]) -> list[_Run]:
    """The columns cut into runs."""
    runs: list[_Run] = []
    fixed: list[FixedCodec] = []
    for codec in codecs:
        if isinstance(codec, FixedCodec):
            fixed.append(codec)
            if len(fixed) < _MAX_RUN:
                continue
            runs.append(_Run(fixed, None))
        else:
            runs.append(_Run(fixed, codec))
        fixed = []
    if fixed:
        runs.append(_Run(fixed, None))
    return runs
