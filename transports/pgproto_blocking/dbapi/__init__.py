"""DB-API 2.0 (PEP 249) on the blocking client, for programs and libraries that ask for it.

    from pgproto_blocking import dbapi

    with dbapi.connect("postgresql://app@db/app") as conn, conn.cursor() as cursor:
        cursor.execute("select * from jobs where id = $1", [7])
        print(cursor.fetchall())

A statement that comes first in a transaction takes its BEGIN with it, so that a transaction costs no round
trip more than its statements and its COMMIT.  Statements are prepared when they first run, and cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Unpack, get_args

from pgproto.client.blocking import DEFAULT, Timeout
from pgproto.config import Config, ConnectOptions
from pgproto.config.dsn import parse_dsn
from pgproto.errors import Error as PgprotoError
from pgproto.types import TypeMap

from ..connecting import connect as connect_client
from .connection import Connection
from .cursor import Cursor
from .errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,
    translated,
)
from .styles import Parameters, Style
from .typeobjects import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)
from .xid import Xid

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "Parameters",
    "ProgrammingError",
    "Style",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "Xid",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel: Final = "2.0"
threadsafety: Final = 2
"""Threads may share the module and connections: statements of one connection run one after the other."""
paramstyle: Style = "numeric_dollar"
"""How parameters are written, unless `connect(paramstyle=)` says otherwise: $1, $2, ..."""


def connect(
    dsn: str | Config | None = None,
    *,
    paramstyle: Style = paramstyle,
    autocommit: bool = False,
    timeout: Timeout = DEFAULT,
    server_settings: Mapping[str, str] | None = None,
    types: TypeMap | None = None,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open a connection; as a context manager it commits or rolls back at the end, and is closed.

    Args:
        dsn: a connection string, URI or keywords, or a Config.
        paramstyle: "numeric_dollar" ($1, $2, or $name with a mapping), "format" (%s) or "pyformat"
            (%(name)s); the last two both take either.
        autocommit: True to begin no transactions.
        timeout: in seconds for each host; the `connect_timeout` option by default; None for no limit.
        server_settings: run-time parameters for the session.
        types: the types that it knows, as for `pgproto_blocking.connect`.
        options: libpq's options by name, and pgproto's own.  `command_timeout` is unlimited if the options
            do not set it.

    Raises:
        InterfaceError: the options cannot be used.
        OperationalError: no server accepted.
    """
    if paramstyle not in get_args(Style):
        raise InterfaceError(f"no style of parameters: {paramstyle!r}")
    try:
        session = connect_client(
            dsn, timeout=timeout, server_settings=server_settings, types=types, **options
        )
    except PgprotoError as error:
        raise translated(error) from error
    named = isinstance(dsn, Config) or "command_timeout" in {**parse_dsn(dsn or ""), **options}
    limit = session.config.command_timeout if named else None
    return Connection(session, paramstyle=paramstyle, autocommit=autocommit, timeout=limit)
