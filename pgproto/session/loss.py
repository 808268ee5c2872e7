"""Why a session ended, or a query was stopped, and the error that each query gets for it.

The first cause decides the class; every query has an error of its own, because each has its own outcome.
"""

from __future__ import annotations

from typing import Final

from ..errors import (
    ConnectionClosed,
    ConnectionLost,
    Error,
    Outcome,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    ServerCrash,
    TransactionAborted,
)

__all__ = ["Loss", "block_over", "cancelled", "lease_over", "out_of_time"]

# A query's error has the class of the cause, if that is one of these; else the connection was lost.
_KEPT: Final[tuple[type[Error], ...]] = (
    Error,
    QueryTimeout,
    RemoteProtocolError,
    TransactionAborted,
)


class Loss:
    """Why the connection ended, or an operation was stopped, as the errors that operations get.

    Attributes:
        cause: the first cause; None if this side closed the connection.
        also: what came after it.
    """

    __slots__ = ("also", "cause")

    def __init__(self, cause: Exception | None, also: list[Exception]) -> None:
        self.cause = cause
        self.also = also

    def error(self, outcome: Outcome | None, *, executed: bool = False) -> Error:
        """The error for one query with this outcome; None if it is not known yet."""
        cause = self.cause
        error: Error
        if isinstance(cause, PostgresError):
            crash = cause.sqlstate == "57P02"
            error = (ServerCrash if crash else ConnectionLost)(f"the connection was lost: {cause}")
            # A WARNING 57P01 with a detail is the one that a commit without a standby's receipt leaves.
            error.likely_committed = cause.severity == "WARNING" and not crash and bool(cause.detail)
        elif isinstance(cause, ConnectionClosed):
            # It was taken away from its caller.  What had been sent by then was running.
            error = (ConnectionClosed if outcome is Outcome.NOT_SENT else ConnectionLost)(str(cause))
            cause = None
        else:
            kind = next((kind for kind in _KEPT if type(cause) is kind), ConnectionLost)
            error = kind("the connection was closed" if cause is None else str(cause))
        error.__cause__ = cause
        error.also = self.also
        error.outcome = outcome
        error.executed = executed
        return error


def out_of_time() -> Loss:
    """What becomes of an operation whose deadline has passed while the session goes on."""
    return Loss(QueryTimeout("the query's deadline passed"), [])


def cancelled() -> Loss:
    """What becomes of an operation whose caller was cancelled or interrupted while the session goes on."""
    return Loss(Error("the call was cancelled"), [])


def lease_over() -> Loss:
    """What becomes of an operation whose connection was given back to its pool meanwhile."""
    return Loss(ConnectionClosed("the lease is over: the connection was given back to its pool"), [])


def block_over() -> Loss:
    """What becomes of a stream or a COPY whose transaction block ended before it did."""
    return Loss(Error("the transaction block ended before this did"), [])
