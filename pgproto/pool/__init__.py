"""The pool as a state machine (`machine`), and the policy of retries (`retry`).

Nothing here waits or does I/O: `pgproto.client.Pool` carries out the decisions.
"""

from __future__ import annotations

from ..errors import HookTimeout
from .backoff import Backoff, hook_failed, is_permanent
from .machine import PoolMachine
from .observing import Move, PoolObserver, PoolWatch, Tell, Wait
from .options import PoolOptions
from .resetting import Resetting
from .retry import Retry, transaction_outcome
from .settings import PoolSettings
from .slots import (
    BROKEN,
    CANCELLED,
    FAILED,
    GRANTED,
    IN_TRANSACTION,
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
from .stats import Counters, PoolStats

__all__ = [
    "BROKEN",
    "CANCELLED",
    "FAILED",
    "GRANTED",
    "IN_TRANSACTION",
    "LOST",
    "RELEASED",
    "WAITING",
    "Action",
    "Backoff",
    "Check",
    "Close",
    "Counters",
    "Fail",
    "Grant",
    "HookTimeout",
    "Move",
    "Open",
    "PoolMachine",
    "PoolObserver",
    "PoolOptions",
    "PoolSettings",
    "PoolStats",
    "PoolWatch",
    "Reset",
    "Resetting",
    "Retry",
    "Slot",
    "Tell",
    "Ticket",
    "Wait",
    "ending",
    "hook_failed",
    "is_permanent",
    "transaction_outcome",
]
