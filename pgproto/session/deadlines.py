"""The door for every `timeout=`: what a caller may give, and what it means.

    not given (DEFAULT)    the default of the call: `command_timeout`, `acquire_timeout`, `close_timeout`, ...
    None, infinity         no limit
    a number of seconds    that long; 0 or less (a deadline minus now): it has passed, and nothing is sent
    anything else          TypeError or ValueError, before anything is sent or recorded

A pool's call waits for a connection first.  A number of seconds is for the wait and what follows, together
(`waiting`, `remaining`), and the wait has `acquire_timeout` at most.  Not given, or no limit: the wait has
`acquire_timeout`, and what follows has what it has on any connection.

Rule: "not given" is no number.  When it was one (-1.0), a deadline that had just passed meant 300 seconds.
Text, Decimal and bool are refused although they could be converted: each of them has been the wrong variable.
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
"""What every `timeout=` takes."""

# From here on (31 years) a number means no limit: clocks and poll() have limits of their own.
_FOREVER: Final = 1e9


def limit(timeout: object, default: float | None) -> float | None:
    """A time limit in seconds, which may be negative; None for no limit.

    Args:
        timeout: what the caller gave.
        default: what DEFAULT means.

    Raises:
        TypeError: it is no int or float.
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
        timeout: what the caller gave.
        default: what DEFAULT means.

    Raises:
        QueryTimeout: it has passed already; NOT_SENT.
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
    """How long a pool's call may wait for a connection; None: the call sets no limit, but the pool does.

    Args:
        timeout: what the caller gave.
        longest: the pool's `acquire_timeout`.

    Raises:
        QueryTimeout, TypeError, ValueError: see `seconds`.
    """
    time = seconds(timeout, None)
    return None if time is None else min(time, longest)


def remaining(timeout: Timeout, wait: float | None, end: float, clock: Callable[[], float]) -> Timeout:
    """The timeout of what a pool's call does with the connection that it has got.

    Args:
        timeout: what the caller gave.
        wait: what `waiting` has made of it.
        end: when the wait would have ended without a connection.
        clock: tells the time; not asked if the call has no limit of its own.
    """
    time = limit(timeout, None)
    return timeout if time is None or wait is None else time - wait + end - clock()
