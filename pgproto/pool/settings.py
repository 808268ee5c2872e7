"""The settings of a pool: limits and times, checked when they are given.

Rule: every time is in seconds.  None means "no limit" where that makes sense; it is stored as infinity, so
that the machine only compares numbers.  Where a duration of 0 would make the pool useless (a lifetime of
0), it also means "no limit".
"""

from __future__ import annotations

from typing import Final

from ..errors import ConfigError

__all__ = ["PoolSettings"]

INFINITY: Final = float("inf")

_FIELDS: Final = (
    "min_size",
    "max_size",
    "acquire_timeout",
    "max_waiting",
    "max_lifetime",
    "lifetime_jitter",
    "max_idle",
    "check_after",
    "check_timeout",
    "reset_timeout",
    "close_timeout",
    "backoff",
    "max_backoff",
)


def _number(name: str, value: object) -> float:
    """`value` as a float; ConfigError if it is not a number, or too large."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        pass
    raise ConfigError(f"{name} is too large: for no limit, where there can be none, pass None")


def _seconds(name: str, value: object, *, zero_is_never: bool = False) -> float:
    """`value` as a duration; None is infinity, and so is 0 if `zero_is_never`."""
    if value is None:
        return INFINITY
    number = _number(name, value)
    if not number >= 0:  # not "number < 0": NaN is refused as well
        raise ConfigError(f"{name} must be a number of seconds, 0 or more, or None, not {number!r}")
    return INFINITY if zero_is_never and number == 0 else number


def _positive(name: str, value: object) -> float:
    number = _number(name, value)
    if not 0 < number < INFINITY:
        raise ConfigError(f"{name} must be a positive, finite number of seconds, not {number!r}")
    return number


class PoolSettings:
    """The limits and times of a pool; immutable by convention (every attribute is Final).

    Args:
        min_size: connections kept open even when nobody needs them; restored in the background.
        max_size: the largest number of connections, including those that are opening or closing.
        acquire_timeout: seconds that a caller waits for a connection; None: for ever.
        max_waiting: the number of waiting callers for whom no connection is on its way; None: any number.
        max_lifetime: seconds after which a connection is replaced, at its next idle moment; None or 0: never.
        lifetime_jitter: fraction (0 or more, less than 1) of `max_lifetime` by which a connection may be
            replaced earlier, drawn for each connection, so that those opened together do not end together.
        max_idle: seconds without use after which a connection above `min_size` is closed; None or 0: never.
        check_after: seconds since the server's last answer after which an idle connection is pinged before it
            is lent; 0: always; None: never.
        check_timeout: seconds that such a ping may take.
        reset_timeout: seconds that the reset of a returned connection may take.
        close_timeout: seconds that `close` gives borrowers before it takes their connections away.
        backoff: seconds between a failed connect and the next attempt; doubles with each attempt.
        max_backoff: the largest delay.  With the default a pool recovers within a second of the server's
            return.

    Raises:
        ConfigError: a value is out of range; the text names it.
    """

    __slots__ = _FIELDS

    def __init__(
        self,
        *,
        min_size: int = 1,
        max_size: int = 10,
        acquire_timeout: float | None = 30.0,
        max_waiting: int | None = None,
        max_lifetime: float | None = 3600.0,
        lifetime_jitter: float = 0.1,
        max_idle: float | None = 600.0,
        check_after: float | None = 30.0,
        check_timeout: float = 2.0,
        reset_timeout: float = 5.0,
        close_timeout: float | None = 10.0,
        backoff: float = 0.1,
        max_backoff: float = 0.5,
    ) -> None:
        for name, count in (("max_size", max_size), ("min_size", min_size), ("max_waiting", max_waiting)):
            if type(count) is not int and not (count is None and name == "max_waiting"):
                raise ConfigError(f"{name} must be a whole number, not {count!r}")
        if max_size < 1:
            raise ConfigError(f"max_size must be 1 or more, not {max_size!r}")
        if not 0 <= min_size <= max_size:
            raise ConfigError(f"min_size must be between 0 and max_size ({max_size}), not {min_size!r}")
        if max_waiting is not None and max_waiting < 0:
            raise ConfigError(f"max_waiting must be 0 or more, or None, not {max_waiting!r}")
        jitter = _number("lifetime_jitter", lifetime_jitter)
        if not 0 <= jitter < 1:
            raise ConfigError(f"lifetime_jitter must be 0 or more and less than 1, not {jitter!r}")
        first, most = _positive("backoff", backoff), _positive("max_backoff", max_backoff)
        if most < first:
            raise ConfigError(f"max_backoff must not be less than backoff ({first!r}), not {most!r}")
        self.min_size: Final[int] = min_size
        self.max_size: Final[int] = max_size
        self.acquire_timeout: Final[float] = _seconds("acquire_timeout", acquire_timeout)
        self.max_waiting: Final[int | None] = max_waiting
        self.max_lifetime: Final[float] = _seconds("max_lifetime", max_lifetime, zero_is_never=True)
        self.lifetime_jitter: Final[float] = jitter
        self.max_idle: Final[float] = _seconds("max_idle", max_idle, zero_is_never=True)
        self.check_after: Final[float] = _seconds("check_after", check_after)
        self.check_timeout: Final[float] = _positive("check_timeout", check_timeout)
        self.reset_timeout: Final[float] = _positive("reset_timeout", reset_timeout)
        self.close_timeout: Final[float] = _seconds("close_timeout", close_timeout)
        self.backoff: Final[float] = first
        self.max_backoff: Final[float] = most

    def __repr__(self) -> str:
        return f"PoolSettings({', '.join(f'{name}={getattr(self, name)!r}' for name in _FIELDS)})"
