"""The keyword arguments of a pool: its own settings, and the options of its connections."""

from __future__ import annotations

from typing import Any, Final

from ..config import ConnectOptions
from .settings import PoolSettings

__all__ = ["PoolOptions", "split_options"]


class PoolOptions(ConnectOptions, total=False):
    """The keyword arguments of `Pool`, for type checkers; see `PoolSettings` and `Config`."""

    min_size: int
    max_size: int
    acquire_timeout: float | None
    max_waiting: int | None
    max_lifetime: float | None
    lifetime_jitter: float
    max_idle: float | None
    check_after: float | None
    check_timeout: float
    reset_timeout: float
    close_timeout: float | None
    backoff: float
    max_backoff: float


_OWN: Final = frozenset(PoolOptions.__annotations__) - frozenset(ConnectOptions.__annotations__)


def split_options(options: PoolOptions) -> tuple[PoolSettings, ConnectOptions]:
    """Split the options into the pool's settings and the options of its connections.

    Raises:
        ConfigError: a setting is out of range.
    """
    own: dict[str, Any] = {}
    others: Any = {}
    for name, value in options.items():
        if name in _OWN:
            own[name] = value
        else:
            others[name] = value
    return PoolSettings(**own), others
