"""Encodes records for COPY ... FROM STDIN (FORMAT binary) as tuples of the binary COPY format.

A binary COPY is COPY_HEADER, then one tuple for each record (int16 number of fields, then every field as
int32 length, -1 for NULL, and value), then COPY_TRAILER.

Rule: the server converts nothing in a binary COPY, so every column needs a codec; a column without a codec is
refused when the encoder is built, before the first record.

Manual: "COPY", "File Formats", "Binary Format".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import DataError
from .codec import Codec, with_type
from .fields import FieldsEncoder, Unfit, values_of
from .registry import BUILT_IN
from .typemap import TypeMap

__all__ = ["COPY_HEADER", "COPY_TRAILER", "CopyRowEncoder", "RecordEncoder"]

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""The signature, int32 flags (none) and int32 length of the header extension (none)."""
COPY_TRAILER: Final = b"\xff\xff"
"""The int16 -1 where a tuple would have its number of fields."""

_MAX_COLUMNS: Final = 32767


class RecordEncoder:
    """What the encoders of both formats have in common.

    Args:
        columns: the names of the columns, in the order of the values of each record.
        type_oids: the OIDs of the columns' types.
        types: the types of the session.

    Attributes:
        codecs: the columns' codecs.
        rows: how many records were encoded, or refused.
        header, trailer: what comes before the records, and after them.
    """

    __slots__ = ("_columns", "_types", "codecs", "header", "rows", "trailer")

    def __init__(self, columns: Sequence[str], type_oids: Sequence[int], types: TypeMap = BUILT_IN) -> None:
        if len(columns) != len(type_oids) or len(columns) > _MAX_COLUMNS:
            raise DataError(f"{len(columns)} columns with {len(type_oids)} types")
        self.codecs: list[Codec] = [types.codec(oid) for oid in type_oids]
        self._columns = tuple(columns)
        self._types = types
        self.rows = 0
        self.header = b""
        self.trailer = b""

    def encode(self, record: Sequence[Any] | Mapping[str, Any]) -> bytes:
        """The bytes of one record; None is NULL.

        Args:
            record: one value for each column: a sequence in their order, or a mapping by their names; its
                other keys are ignored.

        Raises:
            DataError: the number of values is wrong, or a value does not fit its column; the text names the
                record (the first is 1), the column, the SQL type and the Python type.  An exception of the
                caller's own code is the `__cause__`.
        """
        parts: list[bytes] = []
        self.add(parts, record)
        return b"".join(parts)

    def add(self, parts: list[bytes], record: object) -> int:
        """Append the bytes of one record in pieces; on an error, append nothing.

        Returns:
            How many bytes were appended.

        Raises:
            DataError: as `encode`.
        """
        raise NotImplementedError

    def _miscounted(self, values: tuple[Any, ...]) -> DataError:
        """The error for a record with too many or too few values."""
        return DataError(f"record {self.rows} has {len(values)} values for {len(self.codecs)} columns")

    def _refused(self, unfit: Unfit, value: object) -> DataError:
        """The error for an unfit value."""
        index = unfit.index
        if self._types.learned(self.codecs[index].oid):
            self._types.forget()  # it may have been altered
        refused = DataError(
            f"record {self.rows}, column {self._columns[index]!r} of type {self.codecs[index].name}: "
            f"{with_type(unfit.reason, value)}"
        )
        refused.__cause__ = unfit.cause
        return refused

    def _values(self, record: object) -> tuple[Any, ...]:
        """The record's values in the order of the columns."""
        try:
            if type(record) is not list and isinstance(record, Mapping):
                return self._by_name(record)
            return values_of(record)
        except DataError as error:
            refused = DataError(f"record {self.rows}: {error}")
            refused.__cause__ = error.__cause__
        except Exception as error:  # noqa: BLE001 - even its __class__ may be the caller's code
            refused = DataError(f"record {self.rows}: {type(error).__name__} was raised when it was read")
            refused.__cause__ = error
        raise refused

    def _by_name(self, record: Mapping[str, Any]) -> tuple[Any, ...]:
        values: list[Any] = []
        for name in self._columns:
            try:
                values.append(record[name])
            except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
                what = "is missing" if isinstance(error, KeyError) else f"raised {type(error).__name__}"
                refused = DataError(f"the value of column {name!r} {what}")
                refused.__cause__ = error
                break
        else:
            return tuple(values)
        raise refused


class CopyRowEncoder(RecordEncoder):
    """The encoder of one COPY in binary.

    Args:
        columns: the names of the columns, in the order of the values of each record.
        type_oids: the OIDs of the columns' types.
        types: the types of the session.

    Raises:
        DataError: a column's type has no binary codec; the text names column and type.
    """

    __slots__ = ("_fields",)

    def __init__(self, columns: Sequence[str], type_oids: Sequence[int], types: TypeMap = BUILT_IN) -> None:
        super().__init__(columns, type_oids, types)
        self.header = COPY_HEADER
        self.trailer = COPY_TRAILER
        for name, codec in zip(columns, self.codecs, strict=True):
            if not codec.format:
                raise DataError(
                    f"column {name!r} of type {codec.name} cannot be copied in binary: the type has no "
                    "binary codec; use a COPY in text format"
                )
        self._fields = FieldsEncoder(self.codecs, len(self.codecs).to_bytes(2, "big"))

    def add(self, parts: list[bytes], record: object) -> int:
        """Append the tuple of one record in pieces; on an error, append nothing."""
        codecs = self.codecs
        self.rows += 1
        values = record if type(record) is tuple else self._values(record)
        if len(values) != len(codecs):
            raise self._miscounted(values)
        before = len(parts)
        try:
            return self._fields.add(parts, values)
        except Unfit as unfit:
            refused = self._refused(unfit, values[unfit.index])
        del parts[before:]
        raise refused  # outside the handler, so that no __context__ shows the value
