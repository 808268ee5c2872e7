"""pgproto: a PostgreSQL wire-protocol core that does no I/O, and the client over it.

This package exports the names that applications need besides those of their adapter (`pgproto_asyncio`,
`pgproto_trio`, `pgproto_anyio` or `pgproto_blocking`).  To embed the core, import one of its layers:

    pgproto.wire       messages and bytes
    pgproto.protocol   the protocol's state machine, for either role: bytes in, events out
    pgproto.types      values and bytes
    pgproto.columns    results as columns, for Arrow and numpy
    pgproto.session    the engine: queries, batches, COPY, with outcomes and a cache of statements
    pgproto.pool       the pool as a state machine
    pgproto.client     the client, for any event loop

`docs/architecture.md` shows how they fit together, `docs/embedding.md` how to use each of them.
"""

from __future__ import annotations

from .interpreters import check_interpreter as _check_interpreter

_check_interpreter(__path__)

from . import errors, protocol, sqlstates, wire
from .columns import ColumnBatch
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
from .pool import Move, PoolObserver, PoolOptions, PoolSettings, PoolStats, Retry, Wait
from .session import (
    CACHE_DESCRIBE,
    CACHE_STATEMENT,
    DESCRIBE_EXEC,
    EXEC,
    SIMPLE_PROTOCOL,
    Batch,
    Exchange,
    ListenGap,
    NamedQuery,
    Notification,
    Observer,
    QueuedQuery,
    ScriptResult,
    SessionInfo,
    Statement,
    StatementMode,
    named,
)
from .types import (
    BUILT_IN,
    INFINITY,
    MINUS_INFINITY,
    Array,
    BitString,
    Box,
    Circle,
    Column,
    Cube,
    Infinity,
    Interval,
    Into,
    Line,
    LineSegment,
    Multirange,
    Path,
    Point,
    Polygon,
    Range,
    RawJSON,
    Row,
    RowMaker,
    SparseVector,
    TypeMap,
)
from .wire.native import COMPILED as _COMPILED

__version__ = "0.1.0"

build = "compiled" if _COMPILED else "pure"
"""Which build this is: "compiled" with mypyc, or "pure" Python.  One source, the same behaviour."""

__all__ = [
    # Connecting
    "Config",
    "ConnectOptions",
    "parse_config",
    # The pool
    "PoolOptions",
    "PoolSettings",
    "PoolStats",
    "Retry",
    # Queries and their results
    "CACHE_DESCRIBE",
    "CACHE_STATEMENT",
    "DESCRIBE_EXEC",
    "EXEC",
    "SIMPLE_PROTOCOL",
    "StatementMode",
    "Batch",
    "Column",
    "ColumnBatch",
    "Into",
    "NamedQuery",
    "Notification",
    "QueuedQuery",
    "Row",
    "RowMaker",
    "ScriptResult",
    "Statement",
    "named",
    # Observers
    "Exchange",
    "Move",
    "Observer",
    "PoolObserver",
    "SessionInfo",
    "Wait",
    # Types, and values of them
    "BUILT_IN",
    "TypeMap",
    "Array",
    "BitString",
    "Box",
    "Circle",
    "Cube",
    "INFINITY",
    "Infinity",
    "Interval",
    "Line",
    "LineSegment",
    "MINUS_INFINITY",
    "Multirange",
    "Path",
    "Point",
    "Polygon",
    "Range",
    "RawJSON",
    "SparseVector",
    # What became of a query
    "Outcome",
    # Errors: the tree is in `pgproto.errors`, the classes for SQLSTATEs are in `pgproto.sqlstates`
    "ConfigError",
    "ConnectError",
    "ConnectionClosed",
    "ConnectionLost",
    "DataError",
    "Error",
    "ListenGap",
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
