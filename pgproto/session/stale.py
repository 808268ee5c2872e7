"""Prepared statements that the server does not know any more, or not as they were.

    0A000   a table has changed, and the statement would return other columns (`RevalidateCachedQuery`)
    26000   the name is gone: DISCARD ALL or DEALLOCATE in a function, or another server behind a pooler
    42P05   at Parse: the name is taken, by what was there before us

The server finds out when it binds or describes, so before it has executed anything of the statement.  What
executes can fail with the same code and words (RAISE in a function, EXECUTE of a name that the function has
prepared), and after effects that no rollback undoes: that is its own matter, told to its caller, and never
run again here.

Outside of a transaction block nothing is stored by what failed so.  The operation therefore prepares anew and
runs once more, unseen (`Execution._heal`).  Where it cannot (in a block, which has failed; in a batch that is
not atomic, or where one before it may have left a trace in the session; after rows were given away) the error
says what to do, and `Retry` knows that a repetition is useful: `PostgresError.stale_statement`.  Either way
the statements are forgotten: once more is enough.
"""

from __future__ import annotations

from typing import Final

from ..errors import PostgresError
from ..wire import Describe, ErrorResponse
from ..wire.binding import Executes

__all__ = ["NAME_TAKEN", "NO_SUCH_NAME", "explain", "is_stale"]

NAME_TAKEN: Final = "42P05"
NO_SUCH_NAME: Final = "26000"
# Where PostgreSQL says so (the routine), and what servers say that do not tell where.
_ROUTINE: Final = "RevalidateCachedQuery"
_CHANGED: Final = "cached plan must not change result type"

_IN_BLOCK: Final = "the prepared statement was forgotten: the transaction can be run again"
_OUTSIDE: Final = "the prepared statement was forgotten, and nothing of this one was run: it can be repeated"
_POOLER: Final = "a pooler that switches servers between transactions needs named_statements=False"


def is_stale(error: PostgresError, event: ErrorResponse) -> bool:
    """True if the error is about the prepared statement that a request names, not about what it does.

    Args:
        error: the server's error.
        event: what it came in.
    """
    name = _named_in(event)
    if not name:
        return False  # one without a name is parsed before each use
    code = error.sqlstate
    if code == "0A000":
        routine = error.fields.get("R")
        return routine == _ROUTINE if routine else error.message == _CHANGED
    if code != NO_SUCH_NAME:
        return False
    # What the statement itself executes or deallocates can be missing, too.
    before, found, after = error.message.partition(name)
    return bool(found) and not after[:1].isdigit() and not before[-1:].isalnum()


def _named_in(event: ErrorResponse) -> str:
    """The name that was bound or described; "" if it was executed, or has none."""
    request = event.request
    if isinstance(request, Executes) and event.binding:
        return request.statement
    return request.name if isinstance(request, Describe) else ""


def explain(error: PostgresError, *, in_block: bool, again: bool, cleared: bool = False) -> None:
    """Say what can be done about it.

    Args:
        error: what will be raised.
        in_block: it has ended a transaction block.
        again: it is the same as the last time, after everything was prepared anew.
        cleared: the session itself has run DEALLOCATE ALL or DISCARD ALL, so no pooler is to blame.
    """
    lost = error.sqlstate == NO_SUCH_NAME and not cleared
    error.stale_statement = not (lost and again)
    if error.stale_statement:
        error.add_note(_IN_BLOCK if in_block else _OUTSIDE)
    if lost:
        error.add_note(_POOLER)
