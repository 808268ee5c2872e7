"""Adds to a query's error: the statement, and advice where there is any.

Rule: the statement is in `.query` and never in the text, because texts go to logs.  Values are not shown.
Rule: the server's message is never parsed, because it is translated.  SQLSTATE, position and routine are
enough.
"""

from __future__ import annotations

import re
from typing import Final

from ..errors import DataError, Error, LocalProtocolError, PostgresError

__all__ = ["annotate", "place", "unfit_error"]

_SYNTAX_ERROR: Final = "42601"
# The routine of "cannot insert multiple commands into a prepared statement".
_PARSE_MESSAGE: Final = "exec_parse_message"

# The text at the position of a syntax error, and the advice.
_INSTEAD: Final[list[tuple[re.Pattern[str], str]]] = [
    (re.compile(r"%(\w|\()"), "parameters are written $1, $2, ... here, not %s or %(name)s"),
    (re.compile(r":\w"), "parameters are written $1, $2, ... here, not :name"),
    (re.compile(r"\?"), "parameters are written $1, $2, ... here, not ?"),
]
_IN: Final = re.compile(r"\bin\s*\Z", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"\$\d")


def annotate(error: BaseException | None, sql: str) -> None:
    """Put the statement on an error, once, and a note if there is advice.

    Args:
        error: the error that the caller gets.
        sql: the statement, as it was sent.
    """
    if not sql or not isinstance(error, Error) or error.query is not None:
        return
    error.query = sql
    if isinstance(error, PostgresError) and error.sqlstate == _SYNTAX_ERROR:
        note = _advice(error, sql)
        if note:
            error.add_note(note)


def place(index: int, step: str) -> str:
    """A note that names the statement of a batch and the step that failed."""
    return f"in statement {index + 1} of the batch ({step})"


def unfit_error(raised: BaseException) -> DataError | LocalProtocolError:
    """The error for an item whose values could not be encoded."""
    if isinstance(raised, (DataError, LocalProtocolError)):
        return raised
    error = DataError(f"encoding its values was ended by {type(raised).__name__}")
    error.__cause__ = raised
    return error


def _advice(error: PostgresError, sql: str) -> str:
    if error.fields.get("R") == _PARSE_MESSAGE:
        return "several statements at once go through script(), or each on its own into a Batch"
    position = error.position
    if position is None:
        return ""
    start = position - 1
    for pattern, note in _INSTEAD:
        if pattern.match(sql, start):
            return note
    if _PARAMETER.match(sql, start) and _IN.search(sql[:start]):
        return "a list is one parameter: write = any($1) instead of in $1"
    return ""
