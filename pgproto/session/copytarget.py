"""The table and the columns that records are copied into, as pieces of SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import not_sent
from ..types import TypeMap, quote_identifier
from .batch import QueuedQuery
from .copy import CopyRecords
from .sql import as_text, check_sql

__all__ = ["CopyTarget"]

# Those that a COPY without a list of columns takes.
_COLUMNS: Final = """
  SELECT a.attname FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = $1::pg_catalog.text::pg_catalog.regclass
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"""


class CopyTarget:
    """What a COPY ... FROM STDIN of records stores in.

    Args:
        table: the table's name.
        columns: the columns' names; None for all but those that are generated, see `listing`.
        schema: the table's schema; "" to use the search path.
        where: a condition that rows must meet to be stored; "" for none.

    Attributes:
        columns: the columns' names, once they are known.

    Raises:
        TypeError: a name is not a str.
        ValueError: a name cannot be quoted.
        LocalProtocolError: there are no columns, or one of them twice; or the condition cannot be sent.
    """

    __slots__ = ("_name", "_where", "columns")

    def __init__(self, table: str, columns: Sequence[str] | None, schema: str = "", where: str = "") -> None:
        name = quote_identifier(table)
        if schema:
            name = f"{quote_identifier(schema)}.{name}"
        self._name = name
        self._where = ""
        if where:
            # The newline ends a comment at the end of the condition.
            self._where = f" WHERE ({check_sql(as_text(where, 'where'))}\n)"
        self.columns: tuple[str, ...] | None = None
        if columns is not None:
            self.choose(columns)

    def choose(self, columns: Sequence[str]) -> None:
        """Take these columns."""
        if isinstance(columns, str):
            raise not_sent("columns is a sequence of names: write [name] for one of them")
        names = tuple([as_text(name, "a column's name") for name in columns])
        if not names:
            raise not_sent("there are no columns to copy into")
        if len(set(names)) < len(names):
            raise not_sent("a column is named twice")
        self.columns = names

    def listing(self) -> QueuedQuery:
        """The query for the names of the table's columns."""
        return QueuedQuery(_COLUMNS, (self._name,))

    @property
    def _listed(self) -> str:
        return ", ".join([quote_identifier(name) for name in self.columns or ()])

    @property
    def select(self) -> str:
        """A SELECT of the columns, which tells their types."""
        return f"SELECT {self._listed} FROM {self._name}"  # noqa: S608

    def records(self, type_oids: Sequence[int], types: TypeMap) -> CopyRecords:
        """The operation for records of objects: in binary if all columns can be sent so, else in text.

        Args:
            type_oids: the columns' types.
            types: the types of the session.
        """
        return self.operation(in_text=not all(types.codec(oid).format for oid in type_oids))

    def operation(self, *, in_text: bool) -> CopyRecords:
        """The operation, in text or in binary."""
        form = "text" if in_text else "binary"
        sql = f"COPY {self._name} ({self._listed}) FROM STDIN (FORMAT {form})"
        return CopyRecords(self.select, sql, self._where)
