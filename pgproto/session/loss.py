"""Why a session ended or a query was stopped, and the error that each query gets for it.

The first cause decides the error's class; each query has an error of its own, because outcomes differ.
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

# If the cause has one of these classes, the query's error has the same; else it is a ConnectionLost.
_KEPT: Final[tuple[type[Error], ...]] = (
    Error,
    QueryTimeout,
    RemoteProtocolError,
    TransactionAborted,
)


class Loss:
    """Why the connection ended or an operation was stopped; it makes the errors of operations.

    Attributes:
        cause: the first cause; None if this side closed the connection.
        also: later errors.
    """

    __slots__ = ("also", "cause")

    def __init__(self, cause: Exception | None, also: list[Exception]) -> None:
        self.cause = cause
        self.also = also

    def error(self, outcome: Outcome | None, *, executed: bool = False) -> Error:
        """The error for one query with this outcome (None: not known yet)."""
        cause = self.cause
        error: Error
        if isinstance(cause, PostgresError):
            crash = cause.sqlstate == "57P02"
            error = (ServerCrash if crash else ConnectionLost)(f"the connection was lost: {cause}")
            # A WARNING 57P01 with a DETAIL: the commit was done locally, but no standby has confirmed it.
            error.likely_committed = cause.severity == "WARNING" and not crash and bool(cause.detail)
        elif isinstance(cause, ConnectionClosed):
            # The lease is over.  A query that had been sent may have run.
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
    """For an operation whose deadline has passed while the session goes on."""
    return Loss(QueryTimeout("the query's deadline passed"), [])


def cancelled() -> Loss:
    """For an operation whose caller was cancelled or interrupted while the session goes on."""
    return Loss(Error("the call was cancelled"), [])


def lease_over() -> Loss:
    """For an operation whose connection was given back to its pool."""
    return Loss(ConnectionClosed("the lease is over: the connection was given back to its pool"), [])


def block_over() -> Loss:
    """For a stream or a COPY whose transaction block has ended before it."""
    return Loss(Error("the transaction block ended before this did"), [])
