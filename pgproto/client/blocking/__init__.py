"""The client for blocking code: what `scripts/blocking.py` makes of the asynchronous one beside it."""

from __future__ import annotations

from .connection import Connection
from .copying import CopyStream
from .jobs import Jobs, is_alive, looked_after, open_failed, release
from .leases import Lease, PoolTransaction
from .lending import Held, Hook, Hooks, Lender
from .listening import PoolNotifications
from .notifications import Notifications
from .pieces import Pieces
from .pool import Pool
from .prepared import PreparedStatement
from .queries import DEFAULT, Queries, Query, Timeout
from .records import NamedRecords, Records, Sink, Source
from .runtime import Bound, Event, Link, Runtime, Turn
from .seeing import Observers, Trace, watched
from .transactions import TransactionContext

__all__ = [
    "DEFAULT",
    "Bound",
    "Connection",
    "CopyStream",
    "Event",
    "Held",
    "Hook",
    "Hooks",
    "Jobs",
    "Lease",
    "Lender",
    "Link",
    "NamedRecords",
    "Notifications",
    "Observers",
    "Pieces",
    "Pool",
    "PoolNotifications",
    "PoolTransaction",
    "PreparedStatement",
    "Queries",
    "Query",
    "Records",
    "Runtime",
    "Sink",
    "Source",
    "Timeout",
    "Trace",
    "TransactionContext",
    "Turn",
    "is_alive",
    "looked_after",
    "open_failed",
    "release",
    "watched",
]
