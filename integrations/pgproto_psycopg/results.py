"""`PGresult`: what the server answered to one command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg import errors as e
from psycopg.pq import ExecStatus
from psycopg.pq.misc import PGresAttDesc, _clean_error_message

__all__ = ["PGresult"]

_COUNTED: Final = frozenset(
    {b"INSERT", b"SELECT", b"UPDATE", b"DELETE", b"MERGE", b"FETCH", b"MOVE", b"COPY"}
)


class PGresult:
    """A result.  psycopg: `psycopg.pq.PGresult`; libpq: PGresult.

    Args:
        status: one of `ExecStatus`.
        message: the error's text, in the session's encoding.
        fields: the fields of the error or notice.
    """

    __slots__ = (
        "__weakref__",
        "_binary",
        "_columns",
        "_fields",
        "_message",
        "_parameters",
        "_rows",
        "_status",
        "_tag",
    )

    def __init__(self, status: int, message: bytes = b"", fields: dict[str, bytes] | None = None) -> None:
        self._status = int(status)
        self._message = message
        self._fields = fields or {}
        self._tag: bytes | None = b""
        self._columns: Sequence[PGresAttDesc] = ()
        self._parameters: Sequence[int] = ()
        self._rows: list[list[bytes | None]] = []
        self._binary = False

    def __repr__(self) -> str:
        cls = f"{self.__class__.__module__}.{self.__class__.__qualname__}"
        try:
            status = ExecStatus(self._status).name
        except ValueError:
            status = f"{self._status} (status unknown)"
        return f"<{cls} [{status}] at 0x{id(self):x}>"

    # --- filled by the connection

    def describe(self, columns: Sequence[PGresAttDesc]) -> None:
        """Set the columns."""
        self._columns = columns
        self._binary = bool(columns) and all(column.format for column in columns)

    def describe_copy(self, overall: int, formats: Sequence[int]) -> None:
        """Set the columns of a COPY, of which only the formats are known."""
        self._columns = [_NO_COLUMN._replace(format=each) for each in formats]
        self._binary = bool(overall)

    def describe_parameters(self, types: Sequence[int]) -> None:
        """Set the types of the parameters."""
        self._parameters = types

    def add_rows(self, rows: list[list[bytes | None]]) -> None:
        """Add rows."""
        self._rows += rows

    def complete(self, tag: bytes) -> None:
        """Set the command tag."""
        self._tag = tag

    def like(self, status: int) -> PGresult:
        """A result without rows that has the same columns."""
        other = PGresult(status)
        other._columns = self._columns
        other._binary = self._binary
        return other

    # --- psycopg's side

    def clear(self) -> None:
        """Forget everything.  Idempotent."""
        self.__init__(ExecStatus.FATAL_ERROR)  # type: ignore[misc]
        self._tag = None

    @property
    def pgresult_ptr(self) -> int | None:
        """None: there is no libpq, and no structure of it."""
        return None

    @property
    def status(self) -> int:
        """One of `ExecStatus`."""
        return self._status

    @property
    def error_message(self) -> bytes:
        """The error's text; b"" if there is none."""
        return self._message

    def get_error_message(self, encoding: str = "utf-8") -> str:
        """The error's text without its severity.

        Args:
            encoding: Python's name of the encoding to decode it from.
        """
        return _clean_error_message(self._message, encoding)

    def error_field(self, fieldcode: int) -> bytes | None:
        """A field of the error or notice, by its one-letter code; None if it has none."""
        return self._fields.get(chr(fieldcode))

    @property
    def ntuples(self) -> int:
        """The number of rows."""
        return len(self._rows)

    @property
    def nfields(self) -> int:
        """The number of columns."""
        return len(self._columns)

    def _column(self, number: int) -> PGresAttDesc:
        return self._columns[number] if 0 <= number < len(self._columns) else _NO_COLUMN

    def fname(self, column_number: int) -> bytes | None:
        """A column's name; None if there is no such column."""
        return self._column(column_number).name

    def ftable(self, column_number: int) -> int:
        """The OID of a column's table; 0 if it has none."""
        return self._column(column_number).tableid

    def ftablecol(self, column_number: int) -> int:
        """A column's number in its table, from 1; 0 if it has none."""
        return self._column(column_number).columnid

    def fformat(self, column_number: int) -> int:
        """A column's format: 0 text, 1 binary."""
        return self._column(column_number).format

    def ftype(self, column_number: int) -> int:
        """The OID of a column's type."""
        return self._column(column_number).typid

    def fmod(self, column_number: int) -> int:
        """A column's type modifier; -1 if it has none."""
        return self._column(column_number).atttypmod

    def fsize(self, column_number: int) -> int:
        """The size of a column's type; -1 if it varies."""
        return self._column(column_number).typlen

    @property
    def binary_tuples(self) -> int:
        """1 if all columns are binary; the overall format of a COPY."""
        return int(self._binary)

    def get_value(self, row_number: int, column_number: int) -> bytes | None:
        """A value; None for NULL, and for one that is not there."""
        if row_number < 0 or column_number < 0:
            return None
        try:
            return self._rows[row_number][column_number]
        except IndexError:
            return None

    @property
    def nparams(self) -> int:
        """The number of a described statement's parameters."""
        return len(self._parameters)

    def param_type(self, param_number: int) -> int:
        """The OID of a parameter's type; 0 if there is no such parameter."""
        return self._parameters[param_number] if 0 <= param_number < len(self._parameters) else 0

    @property
    def command_status(self) -> bytes | None:
        """The command tag."""
        return self._tag

    @property
    def command_tuples(self) -> int | None:
        """The number of rows of a command that counts them; else None."""
        words = (self._tag or b"").split()
        return int(words[-1]) if len(words) > 1 and words[0] in _COUNTED and words[-1].isdigit() else None

    @property
    def oid_value(self) -> int:
        """The OID of the inserted row; 0 if there is none."""
        words = (self._tag or b"").split()
        return int(words[1]) if len(words) == 3 and words[0] == b"INSERT" else 0

    def set_attributes(self, descriptions: list[PGresAttDesc]) -> None:
        """Set the columns of a result that has none.

        Args:
            descriptions: the columns.

        Raises:
            OperationalError: it has columns.
        """
        if self._columns:
            raise e.OperationalError("PQsetResultAttrs failed")
        self.describe([PGresAttDesc(*each) for each in descriptions])


_NO_NAME: Any = None  # libpq's, although psycopg declares bytes
_NO_COLUMN: Final = PGresAttDesc(_NO_NAME, 0, 0, 0, 0, 0, 0)
