"""Checks every `timeout=` argument: the accepted values, and their meaning.

    not given (DEFAULT)    the default of the call: `command_timeout`, `acquire_timeout`, `close_timeout`, ...
    None, infinity         no limit
    a number of seconds    so long; 0 or less (a deadline minus now): it has passed, and nothing is sent
    anything else          TypeError or ValueError, before anything is sent or recorded

A call of a pool first waits for a connection.  A number of seconds limits the wait and the query together
(`waiting`, `remaining`), and the wait takes `acquire_timeout` at most.  Without a number the wait has
`acquire_timeout`, and the query has the same limit as on a connection.

Rule: "not given" is not a number.  When it was (-1.0), a deadline that had just passed meant 300 seconds.
Text, Decimal and bool could be converted but are refused, because they usually are the wrong variable.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from ..errors import Outcome, QueryTimeout

__all__ = ["DEFAULT", "Default", "Timeout", "limit", "patience", "remaining", "seconds", "waiting"]


class Default(enum.Enum):
    """The type of DEFAULT."""

    DEFAULT = "default"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default.DEFAULT
"""`timeout=DEFAULT` is the same as no `timeout`."""

Timeout = float | None | Default
"""The type of every `timeout=`."""
# From this number of seconds on (31 years) there is no limit, because clocks and poll() have limits.
_FOREVER: Final = 1e9


def limit(timeout: object, default: float | None) -> float | None:
    """A time limit in seconds, which may be negative; None for no limit.

    Args:
        timeout: the caller's argument.
        default: the value for DEFAULT.

    Raises:
        TypeError: it is not an int or a float.
        ValueError: it is NaN.
    """
    if timeout is DEFAULT:
        return default
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(timeout).__name__}")
    if timeout != timeout:
        raise ValueError("timeout must be a number of seconds or None, not NaN")
    if timeout >= _FOREVER:
        return None
    return float(max(timeout, -_FOREVER))


def seconds(timeout: object, default: float | None) -> float | None:
    """How long a call that talks to the server may take; None for no limit.

    Args:
        timeout: the caller's argument.
        default: the value for DEFAULT.

    Raises:
        QueryTimeout: it has already passed; NOT_SENT.
        TypeError, ValueError: see `limit`.
    """
    if timeout is DEFAULT:
        return default
    time = limit(timeout, None)
    if time is not None and time <= 0.0:
        error = QueryTimeout("the deadline had passed before the call")
        error.outcome = Outcome.NOT_SENT
        raise error
    return time


def patience(timeout: object) -> float | None:
    """A time limit for a `PoolMachine`: None for the pool's own, infinity for no limit.

    Raises:
        TypeError, ValueError: see `limit`.
    """
    if timeout is DEFAULT:
        return None
    time = limit(timeout, None)
    return float("inf") if time is None else time


def waiting(timeout: object, longest: float) -> float | None:
    """How long a call of a pool may wait for a connection; None if only the pool's own limit applies.

    Args:
        timeout: the caller's argument.
        longest: the pool's `acquire_timeout`.

    Raises:
        QueryTimeout, TypeError, ValueError: see `seconds`.
    """
    time = seconds(timeout, None)
    return None if time is None else min(time, longest)


def remaining(timeout: Timeout, wait: float | None, end: float, clock: Callable[[], float]) -> Timeout:
    """The timeout for the query of a pool's call, once it has a connection.

    Args:
        timeout: the caller's argument.
        wait: the result of `waiting`.
        end: the time at which the wait would have ended without a connection.
        clock: returns the time; not called if the call has no limit of its own.
    """
    time = limit(timeout, None)
    return timeout if time is None or wait is None else time - wait + end - clock()
