"""Errors about prepared statements that the server no longer has, or has with another meaning.

    0A000   a table has changed, and the statement would return other columns (`RevalidateCachedQuery`)
    26000   the name is gone: DISCARD ALL or DEALLOCATE in a function, or another server behind a pooler
    42P05   at Parse: the name is already in use on this server

The server notices at Bind or Describe, before it executes anything of the statement.  An execution can fail
with the same SQLSTATE and message (RAISE in a function, EXECUTE of a name that the function has prepared),
and after effects that no rollback undoes: such an error goes to the caller, and nothing is run again.

Outside of a transaction block the failed statement has changed nothing.  So the operation prepares again and
runs again, unnoticed (`Execution._heal`).  Where it cannot (in a block, which has failed; in a batch that is
not atomic; after a statement that may have changed the session's state; after the caller has seen rows), the
error says what to do, and `Retry` knows that a repetition is useful: `PostgresError.stale_statement`.  In
either case the statements are forgotten, so one repetition is enough.
"""

from __future__ import annotations

from typing import Final

from ..errors import PostgresError
from ..wire import Describe, ErrorResponse
from ..wire.binding import Executes

__all__ = ["NAME_TAKEN", "NO_SUCH_NAME", "explain", "is_gone", "is_outdated", "is_stale"]

NAME_TAKEN: Final = "42P05"
NO_SUCH_NAME: Final = "26000"
# PostgreSQL's routine for this error, and the message of servers that send no routine.
_ROUTINE: Final = "RevalidateCachedQuery"
_CHANGED: Final = "cached plan must not change result type"

_IN_BLOCK: Final = "the prepared statement was forgotten: the transaction can be run again"
_OUTSIDE: Final = "the prepared statement was forgotten, and nothing of this one was run: it can be repeated"
_POOLER: Final = "a pooler that switches servers between transactions needs statement_mode=cache_describe"


def is_stale(error: PostgresError, event: ErrorResponse) -> bool:
    """True if the error is about the prepared statement that a request names, not about its execution.

    Args:
        error: the server's error.
        event: the ErrorResponse with it.
    """
    name = _named_in(event)
    if not name:
        return False  # an unnamed statement is parsed before each use
    code = error.sqlstate
    if code == "0A000":
        routine = error.fields.get("R")
        return routine == _ROUTINE if routine else error.message == _CHANGED
    if code != NO_SUCH_NAME:
        return False
    # The missing name may be one that the statement itself executes or deallocates.
    before, found, after = error.message.partition(name)
    return bool(found) and not after[:1].isdigit() and not before[-1:].isalnum()


def is_gone(error: PostgresError) -> bool:
    """True if the error means that a type of a plan is gone."""
    return error.sqlstate == "XX000" and error.message.startswith("cache lookup failed for type")


def is_outdated(error: PostgresError) -> bool:
    """True if the error may mean that a type of the session's map was altered or dropped.

    42804: a binary value has not the shape of its type (`record_recv`, `array_recv`), or a dropped type is
    compared with a new one of its name; so do 42883 and 42704.
    """
    return error.sqlstate in ("42804", "42883", "42704") or is_gone(error)


def _named_in(event: ErrorResponse) -> str:
    """The name in the Bind or Describe that failed; "" for an Execute, or an unnamed statement."""
    request = event.request
    if isinstance(request, Executes) and event.binding:
        return request.statement
    return request.name if isinstance(request, Describe) else ""


def explain(error: PostgresError, *, in_block: bool, again: bool, cleared: bool = False) -> None:
    """Add a note to the error that says what to do.

    Args:
        error: the error that will be raised.
        in_block: it has ended a transaction block.
        again: it was repeated after everything was prepared again.
        cleared: the session itself has run DEALLOCATE ALL or DISCARD ALL, so no pooler is to blame.
    """
    lost = error.sqlstate == NO_SUCH_NAME and not cleared
    error.stale_statement = not (lost and again)
    if error.stale_statement:
        error.add_note(_IN_BLOCK if in_block else _OUTSIDE)
    if lost:
        error.add_note(_POOLER)
