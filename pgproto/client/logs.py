"""What the client says to the standard library's `logging`, and the log of slow queries.

    pgproto.session  sessions: one that was lost, a connect that failed
    pgproto.pool     connections that could not be opened or were retired, and why; transactions that
                     borrowers have left open; callers that waited in vain
    pgproto.query    what `SlowQueries` finds

Rule: WARNING is for what nobody else is told, INFO for what a caller gets as an exception or another line
says already, DEBUG for the usual course.
Rule: a program that has not configured logging hears nothing of the first two, as of every library.
Rule: no secret, no value of a parameter, and no DETAIL of the server's, which may quote one, unless somebody
has asked for values.

`logging` does I/O as the application has configured it, so of all files in pgproto only this one imports it.
It is here and not in the adapters, because the client knows what is worth a line, and all adapters say the
same.  The core has no log: it has observers.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from pgproto.errors import ConnectError, Error, PoolTimeout, PostgresError, TooManyWaiting
from pgproto.pool import IN_TRANSACTION, LOST, Close, Slot
from pgproto.pool.slots import BROKEN, CHECK_FAILED, DIRTY, REFUSED
from pgproto.session import Engine, Exchange, Observer

__all__ = [
    "SlowQueries",
    "connect_failed",
    "listening_failed",
    "lost",
    "open_failed",
    "retired",
    "waited_in_vain",
]

_SESSIONS: Final = logging.getLogger("pgproto.session")
_POOL: Final = logging.getLogger("pgproto.pool")
_QUERIES: Final = logging.getLogger("pgproto.query")
for _logger in (_SESSIONS, _POOL):
    _logger.addHandler(logging.NullHandler())  # else Python would print the warnings

_WHY: Final = {
    LOST: (logging.INFO, "it was lost"),  # the session's own line is a WARNING
    DIRTY: (logging.WARNING, "its reset failed or took too long"),
    CHECK_FAILED: (logging.WARNING, "it did not answer a check"),
    REFUSED: (logging.INFO, "on_acquire refused it"),
    BROKEN: (logging.INFO, "it was given back closed, or in a state that cannot be reset"),
    IN_TRANSACTION: (logging.WARNING, "it was given back with an open transaction, which is rolled back"),
}
"""What is said of a retired connection, by the reason; others are the usual course."""

_SHOWN: Final = 2000  # characters of a statement
_VALUE_SHOWN: Final = 200  # characters of a value


def _said(error: BaseException | None) -> str:
    """An error in one line, without what may quote a value."""
    if isinstance(error, PostgresError):
        return f"{error.severity} {error.sqlstate}: {error.message}"
    return type(error).__name__ if error is None or not str(error) else str(error).partition("\n")[0]


def connect_failed(error: BaseException) -> None:
    """No connection could be made."""
    if isinstance(error, ConnectError):
        _SESSIONS.info("connecting failed: %s", _said(error))


def lost(engine: Engine) -> None:
    """A session has ended, and this side has not closed it."""
    cause = engine.cause
    if cause is not None:
        _SESSIONS.warning("session %d with %s was lost: %s", engine.session, engine.host, _said(cause))


def open_failed(slot: Slot, error: BaseException) -> None:
    """A pool could not open a connection; it tries again while somebody needs one."""
    _POOL.warning("connection %d could not be opened: %s", slot.number, _said(error))


def listening_failed(error: BaseException) -> None:
    """`Pool.listen` could not connect again; it goes on trying."""
    _POOL.warning("listening goes on trying to connect: %s", _said(error))


def retired(action: Close) -> None:
    """A pool closes a connection."""
    level, why = _WHY.get(action.reason, (logging.DEBUG, action.reason))
    if _POOL.isEnabledFor(level):
        conn = action.slot.connection
        session = "" if conn is None else f" (session {conn.engine.session})"
        _POOL.log(level, "connection %d%s is retired: %s", action.slot.number, session, why)


def waited_in_vain(error: BaseException) -> None:
    """A caller gets no connection from a pool."""
    if isinstance(error, PoolTimeout | TooManyWaiting):
        counts = (error.size, error.used, error.opening, error.waiting)
        text = "%s (%d connections: %d used, %d being opened; %d others wait)"
        _POOL.info(text, _said(error), *counts)


class SlowQueries(Observer):
    """An observer that logs slow queries to `pgproto.query`, at WARNING.

        connect(dsn, observers=SlowQueries(0.5))

    Args:
        threshold: seconds from the submission to the end, from which on a query is slow; 0 for all.
        parameters: log the values of parameters, too.  They may be secrets.

    Raises:
        ValueError: the threshold is negative, or no number.
    """

    def __init__(self, threshold: float, *, parameters: bool = False) -> None:
        if not threshold >= 0:  # not "threshold < 0": NaN is refused as well
            raise ValueError(f"threshold must be a number of seconds, 0 or more, not {threshold!r}")
        self.threshold = threshold
        self.parameters = parameters

    def ended(self, exchange: Exchange) -> None:
        """Log it if it was slow."""
        seconds = exchange.seconds
        if seconds is None or seconds < self.threshold or not _QUERIES.isEnabledFor(logging.WARNING):
            return
        session = exchange.session
        text = "%.3f s in session %d (pid %d), %s: %s"
        result = exchange.tag or exchange.kind
        if exchange.error is not None:
            result = _ended_by(exchange.error)
        arguments = [seconds, session.number, session.pid, result, _cut(exchange.sql, _SHOWN)]
        if self.parameters:
            text += " %s"
            arguments.append(_values(exchange))
        _QUERIES.warning(text, *arguments, extra={"exchange": exchange})


def _ended_by(error: BaseException) -> str:
    """The kind of an error: its text may quote a value."""
    code = f" {error.sqlstate}" if isinstance(error, PostgresError) else ""
    outcome = f", {error.outcome.value}" if isinstance(error, Error) and error.outcome is not None else ""
    return type(error).__name__ + code + outcome


def _values(exchange: Exchange) -> str:
    """The values of the parameters of each statement."""
    items: Any = getattr(exchange.operation, "items", ())
    return "; ".join(
        ", ".join(f"${number}={_shown(value)}" for number, value in enumerate(item.args, 1)) for item in items
    )


def _shown(value: object) -> str:
    try:
        return _cut(repr(value), _VALUE_SHOWN)
    except Exception as error:  # noqa: BLE001 - a value's own code
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
