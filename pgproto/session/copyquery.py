"""COPY of a query with parameters.  The wire has none for a COPY, so the values become literals of its text.

The query in the parentheses is prepared by itself, so the server tells the parameters' types.  Each `$1`
becomes `('text'::schema.type)`: the text form of the value, quoted as libpq does it, and the name of the type
as the server quotes it.  The parentheses make it one expression, as a parameter is one.

Why nothing can break out of a literal: quotes and backslashes are doubled, and a text with backslashes is an
E'' string, which is read alike whatever `standard_conforming_strings` says.  The text travels in UTF8, where
no byte of a longer character looks like a quote, and the server encodes it before it reads it; so it is in
every encoding that a database can have.

Rule: what is a parameter is said by PostgreSQL's lexical rules, with `standard_conforming_strings` on.  While
it is off, a text with a backslash is refused: its quotes could end elsewhere.
"""

from __future__ import annotations

from typing import Final

from ..errors import DataError, Outcome, not_sent
from ..types import quote_literal
from .batch import QueuedQuery
from .placeholders import tokens
from .sql import check_sql
from .statements import Statement

__all__ = ["CopyQuery"]

# Not format_type, whose names depend on the search path, and of which "character" would mean one character.
_TYPE_NAMES: Final = """
  SELECT t.oid, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname)
  FROM pg_catalog.pg_type t, pg_catalog.pg_namespace n
  WHERE n.oid = t.typnamespace AND t.oid = ANY ($1::pg_catalog.oid[])"""
_NO_QUERY: Final = "only COPY (query) TO STDOUT takes parameters, in its query"
_BACKSLASHES: Final = (
    "with standard_conforming_strings off, the text of a COPY with parameters has no backslash"
)


class CopyQuery:
    """The text of a COPY (query) TO STDOUT, and values for the $1, $2, ... of its query.

    Args:
        sql: the COPY.
        args: the values.

    Attributes:
        query: the query in the parentheses.
        types: the OIDs of its parameters' types, once they are known.

    Raises:
        TypeError: the text is not a str.
        LocalProtocolError: it is no such COPY, or has a parameter elsewhere; NOT_SENT.
    """

    __slots__ = ("_args", "_numbers", "_parts", "_refused", "_sql", "_texts", "query", "types")

    def __init__(self, sql: str, args: tuple[object, ...]) -> None:
        self._sql = sql = check_sql(sql)
        self._args = args
        self._parts: list[str] = []  # what is around the parameters
        self._numbers: list[int] = []  # the parameters in the order of the text
        self._texts: list[str | None] = []
        self._refused: DataError | None = None
        self.types: tuple[int, ...] = ()
        found = tokens(sql)
        words = [text.lower() for kind, text in found if kind not in ("blank", "comment")]
        if words[:2] != ["copy", "("]:
            raise not_sent(_NO_QUERY, sql)
        query: list[str] = []
        part: list[str] = []
        depth = 0
        ended = False
        for kind, text in found:
            if text == ")" and depth:
                depth -= 1
                ended = not depth
            if depth:
                query.append(text)
            if text == "(" and not ended:
                depth += 1
            if kind != "number":
                part.append(text)
            elif not depth:
                raise not_sent(_NO_QUERY, sql)
            else:
                self._parts.append("".join(part))
                part = []
                self._numbers.append(int(text[1:]))
        if not ended:
            raise not_sent(_NO_QUERY, sql)
        self._parts.append("".join(part))
        self.query = "".join(query)

    def check(self, standard: str | None) -> None:
        """Check that the session reads the text as it was read here.

        Args:
            standard: its `standard_conforming_strings`; None if it is not known.

        Raises:
            LocalProtocolError: it does not; NOT_SENT.
        """
        if standard != "on" and "\\" in self._sql:
            raise not_sent(_BACKSLASHES, self._sql)

    def encode(self, statement: Statement) -> bool:
        """Make texts of the values.

        Args:
            statement: the query, prepared.

        Returns:
            False if a value does not fit the type that the cache had: describe the query again.

        Raises:
            DataError: a value does not fit; NOT_SENT.
        """
        refused = self._refused
        if refused is not None and self.types == statement.parameter_types:
            raise refused
        self.types = statement.parameter_types
        try:
            self._texts = statement.encoder.texts(self._args)
        except DataError as error:
            error.outcome = Outcome.NOT_SENT
            error.query = self._sql
            if refused is not None:
                raise
            self._refused = error
            return False
        return True

    def names(self) -> QueuedQuery:
        """The query for the names of the types."""
        return QueuedQuery(_TYPE_NAMES, (list(self.types),))

    def text(self, names: QueuedQuery) -> str:
        """The COPY with the values in it.

        Args:
            names: what `names` has returned, with its result.

        Raises:
            DataError: a type is gone; NOT_SENT.
            LocalProtocolError: the text is too long; NOT_SENT.
        """
        known: dict[int, str] = {row[0]: row[1] for row in names.rows}
        parts = [self._parts[0]]
        for index, number in enumerate(self._numbers):
            name = known.get(self.types[number - 1])
            if name is None:
                gone = DataError(f"the type of parameter ${number} is not in the catalog any more")
                gone.outcome = Outcome.NOT_SENT
                raise gone
            text = self._texts[number - 1]
            value = "NULL" if text is None else quote_literal(text)
            parts.append(f"({value}::{name})")
            parts.append(self._parts[index + 1])
        return check_sql("".join(parts))
