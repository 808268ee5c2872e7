"""Connect failures: which of them are permanent, and when the next attempt may be made.

As long as connecting works, attempts are not delayed.  After a failure one attempt is made per delay; the
delay doubles up to `max_backoff` (0.5 s by default, so that a pool recovers within a second of its server's
return), and after the first success attempts are not delayed again.  The delay only starts over when a
connection has *proven* itself: a server that accepts and hangs up at once gets no more attempts.  With n
slots there are at most 2 n attempts in the first second of an outage, and two per second later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    HookTimeout,
    LocalProtocolError,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
)
from .settings import PoolSettings

__all__ = ["Backoff", "hook_failed", "is_permanent"]

_JITTER: Final = 0.2

PERMANENT_CLASSES: Final = frozenset(
    {
        "0A",  # feature not supported: the protocol version, an option
        "22",  # data exception: a parameter's value
        "28",  # invalid authorization: 28000, 28P01
        "3D",  # invalid catalog name: no such database
        "42",  # 42501 no privilege to connect, 42704 no such parameter
    }
)
"""SQLSTATE classes that a further attempt would meet again.

Class 08 is not included: pgbouncer reports 08P01 for an unknown user, but also if its server cannot be
reached, and to retry in vain is the smaller mistake.
"""

# Parts of pgbouncer's messages, which are never translated: for an unknown option, and for a transaction
# block ("... not allowed in statement pooling mode").
_UNSUPPORTED_PARAMETER: Final = "unsupported startup parameter"
_STATEMENT_MODE: Final = "in statement pooling mode"

# SQLSTATE classes of transient errors of a hook's statement: connection, transaction rollback, resources,
# locks, operator intervention, system error.
_PASSING_CLASSES: Final = frozenset({"08", "40", "53", "55", "57", "58"})


def is_permanent(error: BaseException) -> bool:
    """True if connecting again will fail in the same way until somebody changes something.

    A ConnectError is permanent if it says so, or if the errors of all its attempts are.  Refused connections,
    DNS failures, timeouts, 57P03 and 53300 are transient; so is a session that ended before it was lent,
    unless a pooler refused something that it never does.  An exception that comes neither from the server nor
    from the network (a KeyError) is a programming error, so permanent.
    """
    if isinstance(error, ConnectError):
        if error.permanent:
            return True
        if not error.errors:
            cause = error.__cause__
            return cause is not None and not isinstance(cause, ConnectError) and is_permanent(cause)
        return all(is_permanent(attempt) for attempt in error.errors)
    if isinstance(error, PostgresError):
        return _is_for_good(error) or error.sqlstate[:2] in PERMANENT_CLASSES
    if isinstance(error, (ConnectionClosed, ConnectionLost)):
        cause = error.__cause__
        return isinstance(cause, PostgresError) and _is_for_good(cause)
    if isinstance(error, (ConfigError, LocalProtocolError, RemoteProtocolError)):
        return True
    if isinstance(error, Error):
        return False
    # An OSError with a verify_code is an ssl.SSLCertVerificationError (recognised without importing ssl): the
    # certificate will not change by itself.
    return not isinstance(error, OSError) or hasattr(error, "verify_code")


def _is_for_good(error: PostgresError) -> bool:
    """True if a pooler refuses something that it never does."""
    said = error.message
    return error.sqlstate == "08P01" and (said.startswith(_UNSUPPORTED_PARAMETER) or _STATEMENT_MODE in said)


def hook_failed(error: BaseException) -> ConnectError:
    """The ConnectError for an error of `on_connect`, which is its cause.

    It is permanent unless the connection was to blame: a mistake in the hook is reported at once, not retried
    until the caller's timeout.
    """
    transient: tuple[type[BaseException], ...] = (QueryTimeout, OSError)
    if isinstance(error, PostgresError):
        passing = (error.fatal or error.sqlstate[:2] in _PASSING_CLASSES) and not _is_for_good(error)
    elif isinstance(error, (ConnectError, ConnectionLost, ConnectionClosed)):
        passing = not is_permanent(error)
    else:
        passing = isinstance(error, transient)
    attempts = [error] if isinstance(error, Exception) else []
    late = isinstance(error, HookTimeout)
    text = str(error) if late else f"on_connect raised {type(error).__name__}: {error}"
    failure = ConnectError(text, attempts, permanent=not passing)
    failure.__cause__ = error
    return failure


class Backoff:
    """When a connection may be opened.

    Attributes:
        failing: True from a failed attempt until one succeeds.
        due: while failing: when the next attempt may be made.
        paused: True from a permanent failure until an attempt succeeds: meanwhile no connections are opened
            that nobody waits for (endless attempts with a wrong password could lock the role).
    """

    __slots__ = ("_base", "_cap", "_level", "_random", "due", "failing", "paused")

    def __init__(self, settings: PoolSettings, random: Callable[[], float]) -> None:
        self._cap: Final[float] = settings.max_backoff
        # The lower bound keeps small pools at two attempts per second and slot.
        self._base: Final[float] = min(self._cap, max(settings.backoff, 0.5 / settings.max_size))
        self._random = random
        self._level: int = 0
        self.failing: bool = False
        self.due: float = 0.0
        self.paused: bool = False

    def admit(self, now: float) -> bool:
        """True if an attempt may be made now; it is then counted."""
        if not self.failing:
            return True
        if now < self.due:
            return False
        self._step(now)
        return True

    def failed(self, now: float) -> None:
        """An attempt failed, or its connection died unused.  Simultaneous attempts count once."""
        if not self.failing:
            self.failing = True
            self._step(now)

    def succeeded(self) -> None:
        """An attempt succeeded."""
        self.failing = False
        self.paused = False

    def proven(self) -> None:
        """A connection was used for the first time and survived."""
        if not self.failing:
            self._level = 0

    def _step(self, now: float) -> None:
        delay = min(self._cap, self._base * 2.0 ** min(self._level, 30))
        self._level += 1
        self.due = now + delay * (1.0 + _JITTER * self._random())
