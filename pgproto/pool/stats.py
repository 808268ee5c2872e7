"""A pool's statistics: a snapshot of gauges and counters.

Rule: `size` is the sum of the six states, including closing, and never above `max_size`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from .settings import PoolSettings
from .slots import CHECKING, CLOSING, IDLE, LOST, OPENING, REASONS, RESETTING, USED

__all__ = ["Counters", "PoolStats"]


class Counters:
    """The machine's counters; `PoolStats` explains each."""

    __slots__ = (
        "acquires",
        "cancelled",
        "open_failures",
        "opens",
        "rejected",
        "retired",
        "timeouts",
        "wait_seconds",
        "waits",
    )

    def __init__(self) -> None:
        self.acquires: int = 0
        self.waits: int = 0
        self.wait_seconds: float = 0.0
        self.timeouts: int = 0
        self.rejected: int = 0
        self.cancelled: int = 0
        self.opens: int = 0
        self.open_failures: int = 0
        self.retired: Final[dict[str, int]] = dict.fromkeys(REASONS, 0)


_FIELDS: Final = (
    "min_size",
    "max_size",
    "size",
    "idle",
    "used",
    "opening",
    "checking",
    "resetting",
    "closing",
    "waiting",
    "acquires",
    "waits",
    "wait_seconds",
    "timeouts",
    "rejected",
    "cancelled",
    "opens",
    "open_failures",
    "lost",
    "retired",
    "last_error",
)


class PoolStats:
    """A snapshot of a pool: gauges as they are now, counters since the pool was made.

    Attributes:
        min_size, max_size: the limits, for context.
        size: connections in any state; `idle + used + opening + checking + resetting + closing`.
        waiting: callers in the queue.
        acquires: connections lent, including those that `on_acquire` refused.
        waits: how many callers had to wait; `wait_seconds`: how long, over all waits that have ended.
        timeouts: callers that gave up at their deadline.
        rejected: callers that found the queue full (`TooManyWaiting`).
        cancelled: callers that were cancelled, in the queue or before they used their connection.
        opens, open_failures: connects that succeeded and that failed.
        lost: connections that the server or the network has ended.
        retired: connections that the pool has closed, by reason (see `pgproto.pool.slots`); includes lost
            ones.
        last_error: the error of the last attempt to connect; None if it succeeded.
    """

    __slots__ = _FIELDS

    def __init__(
        self,
        settings: PoolSettings,
        by_state: Sequence[int],
        waiting: int,
        counters: Counters,
        last_error: Exception | None = None,
    ) -> None:
        self.min_size: Final[int] = settings.min_size
        self.max_size: Final[int] = settings.max_size
        self.size: Final[int] = sum(by_state)
        self.idle: Final[int] = by_state[IDLE]
        self.used: Final[int] = by_state[USED]
        self.opening: Final[int] = by_state[OPENING]
        self.checking: Final[int] = by_state[CHECKING]
        self.resetting: Final[int] = by_state[RESETTING]
        self.closing: Final[int] = by_state[CLOSING]
        self.waiting: Final[int] = waiting
        self.acquires: Final[int] = counters.acquires
        self.waits: Final[int] = counters.waits
        self.wait_seconds: Final[float] = counters.wait_seconds
        self.timeouts: Final[int] = counters.timeouts
        self.rejected: Final[int] = counters.rejected
        self.cancelled: Final[int] = counters.cancelled
        self.opens: Final[int] = counters.opens
        self.open_failures: Final[int] = counters.open_failures
        self.lost: Final[int] = counters.retired[LOST]
        self.retired: Final[Mapping[str, int]] = MappingProxyType(dict(counters.retired))
        self.last_error: Final[Exception | None] = last_error

    def as_dict(self) -> dict[str, int | float | dict[str, int]]:
        """The numbers of the snapshot as a new dict, for a metrics exporter."""
        values: dict[str, int | float | dict[str, int]] = {}
        for name in _FIELDS:
            if name == "retired":
                values[name] = dict(self.retired)
            elif name != "last_error":
                values[name] = getattr(self, name)
        return values

    def __repr__(self) -> str:
        values = {**self.as_dict(), "last_error": self.last_error}
        return f"PoolStats({', '.join(f'{name}={value!r}' for name, value in values.items())})"
