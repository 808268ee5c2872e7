"""The pool as a pure machine (`machine`), and the policy of what may be repeated (`retry`).

Nothing here waits or does I/O.  The drivers are in `pgproto_asyncio`, `pgproto_trio` and `pgproto_blocking`.
"""

from __future__ import annotations

from ..errors import HookTimeout
from .backoff import hook_failed, is_permanent
from .machine import PoolMachine
from .resetting import Resetting
from .retry import Retry, transaction_outcome
from .settings import PoolSettings
from .slots import (
    BROKEN,
    CANCELLED,
    FAILED,
    GRANTED,
    LOST,
    RELEASED,
    WAITING,
    Action,
    Check,
    Close,
    Fail,
    Grant,
    Open,
    Reset,
    Slot,
    Ticket,
    ending,
)
from .stats import PoolStats

__all__ = [
    "BROKEN",
    "CANCELLED",
    "FAILED",
    "GRANTED",
    "LOST",
    "RELEASED",
    "WAITING",
    "Action",
    "Check",
    "Close",
    "Fail",
    "Grant",
    "HookTimeout",
    "Open",
    "PoolMachine",
    "PoolSettings",
    "PoolStats",
    "Reset",
    "Resetting",
    "Retry",
    "Slot",
    "Ticket",
    "ending",
    "hook_failed",
    "is_permanent",
    "transaction_outcome",
]
