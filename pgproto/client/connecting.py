"""How a connection is opened: `connect(dsn)`, to await or to enter."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Any, Unpack

from pgproto.config import Config, ConnectOptions
from pgproto.errors import LocalProtocolError
from pgproto.session import Connector
from pgproto.session.deadlines import DEFAULT, Timeout, limit
from pgproto.types import TypeMap

from .connection import Connection, Hook
from .runtime import Runtime
from .seeing import Observers, Trace, watched
from .unique import Unique

__all__ = ["Connect", "Connecting"]


class Connecting(Unique):
    """The result of `connect`: to await, or to enter."""

    def __init__(self, runtime: Runtime, connector: Connector, timeout: Timeout, accept: Hook | None) -> None:
        limit(timeout, None)
        self._runtime = runtime
        self._connector = connector
        self._timeout = timeout
        self._accept = accept
        self._entered = False
        self._connection: Connection | None = None

    def __await__(self) -> Generator[Any, Any, Connection]:
        return self._connect().__await__()

    async def __aenter__(self) -> Connection:
        if self._entered:
            raise LocalProtocolError("it is entered already: call connect() for each connection")
        self._entered = True
        try:
            self._connection = await self._connect()
        except BaseException:
            self._entered = False
            raise
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        self._entered = False
        if connection is not None:
            await connection.__aexit__(kind, error, trace)

    async def _connect(self) -> Connection:
        connection = Connection(self._runtime, self._connector)
        await connection.open(self._timeout, self._accept)
        return connection


class Connect:
    """Opens connections: `conn = await connect(dsn)`, or `async with connect(dsn) as conn`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(
        self,
        dsn: str | Config | None = None,
        *,
        timeout: Timeout = DEFAULT,
        accept: Hook | None = None,
        server_settings: Mapping[str, str] | None = None,
        types: TypeMap | None = None,
        observers: Observers = (),
        trace: Trace | None = None,
        **options: Unpack[ConnectOptions],
    ) -> Connecting:
        """Open a connection: await the result, or enter it with `async with`.

        Args:
            dsn: a connection string, URI or keywords, or a Config; see `pgproto.parse_config`.
            timeout: in seconds for each host; the `connect_timeout` option by default; None for no limit.
            accept: called with each candidate, once it is connected and is what `target_session_attrs` wants;
                False refuses it, and the next host is tried.  It may be `async`, has the rest of the host's
                time, and its connection ends with its return.  What it raises refuses, too.
            server_settings: run-time parameters for the session.
            types: the types that it knows, and where it learns others; by default a new map of its own.
            observers: who is told of each query: one `pgproto.Observer`, or several.
            trace: where its messages are written, as libpq's PQtrace shows them, without their secrets: a
                path, a text file, or a function that takes a line; by default the path in PGPROTO_TRACE.
            options: libpq's options by name, and pgproto's own.

        Raises:
            ConfigError: the options cannot be used.
            ConnectError: no server accepted.
        """
        runtime = self._runtime
        connector = runtime.connector(dsn, options, server_settings, types)
        return Connecting(runtime, watched(runtime, connector, observers, trace), timeout, accept)
