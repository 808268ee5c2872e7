"""pgproto: a PostgreSQL wire-protocol core that does no I/O, and the client over it.

Here are the names that applications need besides those of an adapter: `pgproto_asyncio`, `pgproto_trio`,
`pgproto_anyio` or `pgproto_blocking`.  Those who embed the core take a floor of it:

    pgproto.wire       messages and bytes
    pgproto.protocol   the protocol's state machine, for either role: bytes in, events out
    pgproto.types      values and bytes
    pgproto.session    the engine: queries, batches, COPY, with outcomes and a cache of statements
    pgproto.pool       the pool as a state machine
    pgproto.client     the client over an event loop of anybody's

`docs/architecture.md` shows how they fit together, `docs/embedding.md` how to use each of them.
"""

from __future__ import annotations

from .interpreters import check_interpreter as _check_interpreter

_check_interpreter(__path__)

from . import errors, protocol, sqlstates, wire
from .config import Config, ConnectOptions, parse_config
from .errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    DataError,
    Error,
    LocalProtocolError,
    Outcome,
    PoolClosed,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
    ServerCrash,
    TooManyWaiting,
    TransactionAborted,
)
from .pool import PoolOptions, PoolSettings, PoolStats, Retry
from .session import Batch, Notification, QueuedQuery, ScriptResult, Statement
from .types import Interval, Row
from .wire.native import COMPILED as _COMPILED

__version__ = "0.1.0"

build = "compiled" if _COMPILED else "pure"
"""Which build this is: "compiled" with mypyc, or "pure" Python.  One source, the same behaviour."""

__all__ = [
    # What a connection is told before it is one
    "Config",
    "ConnectOptions",
    "parse_config",
    # The pool
    "PoolOptions",
    "PoolSettings",
    "PoolStats",
    "Retry",
    # What goes in and comes out
    "Batch",
    "Interval",
    "Notification",
    "QueuedQuery",
    "Row",
    "ScriptResult",
    "Statement",
    # How it ended
    "Outcome",
    # Errors: their tree is in `pgproto.errors`, one class per SQLSTATE in `pgproto.sqlstates`
    "ConfigError",
    "ConnectError",
    "ConnectionClosed",
    "ConnectionLost",
    "DataError",
    "Error",
    "LocalProtocolError",
    "PoolClosed",
    "PoolTimeout",
    "PostgresError",
    "QueryTimeout",
    "RemoteProtocolError",
    "ServerCrash",
    "TooManyWaiting",
    "TransactionAborted",
    # Modules
    "errors",
    "protocol",
    "sqlstates",
    "wire",
    # This package
    "__version__",
    "build",
]
