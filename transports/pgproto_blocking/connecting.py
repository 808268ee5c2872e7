"""`connect`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from pgproto.client.blocking import DEFAULT, Connection, Hook, Observers, Timeout, Trace, watched
from pgproto.config import Config, ConnectOptions
from pgproto.session.deadlines import limit
from pgproto.types import TypeMap

from .runtime import RUNTIME

__all__ = ["connect"]


def connect(
    dsn: str | Config | None = None,
    *,
    timeout: Timeout = DEFAULT,
    accept: Hook | None = None,
    server_settings: Mapping[str, str] | None = None,
    types: TypeMap | None = None,
    observers: Observers = (),
    trace: Trace | None = None,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open a session with a server; as a context manager it is closed at the end.

    Args:
        dsn: a connection string, URI or keywords, or a Config; see `pgproto.parse_config`.
        timeout: in seconds for each host; the `connect_timeout` option by default; None for no limit.
        accept: called with each candidate, once it is what `target_session_attrs` wants; False
            refuses it, and the next host is tried.  Its connection ends with its return.  What it raises
            refuses, too.
        server_settings: run-time parameters for the session.
        types: the types that it knows, and where it learns others; by default a new map of its own.
        observers: who is told of each query: one `pgproto.Observer`, or several.
        trace: where its messages are written, as libpq's PQtrace shows them, without their secrets: a
            path, a text file, or a function that takes a line; by default the path in PGPROTO_TRACE.
        options: libpq's options by name, and pgproto's own.

    Raises:
        ConfigError: the options cannot be used.
        ConnectError: no server would do.
    """
    limit(timeout, None)
    connector = RUNTIME.connector(dsn, options, server_settings, types)
    connection = Connection(RUNTIME, watched(RUNTIME, connector, observers, trace))
    connection.open(timeout, accept)
    return connection
