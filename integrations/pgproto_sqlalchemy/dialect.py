"""The two dialects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import URL, pool
from sqlalchemy.dialects.postgresql.base import PGDialect, PGExecutionContext

import pgproto
from pgproto.types import TypeMap
from pgproto_blocking import dbapi

from .driver import AsyncModule, Module
from .types import COLSPECS, type_map

__all__ = ["AsyncPgprotoDialect", "PgprotoDialect"]


class PgprotoExecutionContext(PGExecutionContext):
    """How a statement is run."""

    _dbapi_connection: Any

    def create_server_side_cursor(self) -> Any:
        """A cursor whose rows stay on the server."""
        return self._dbapi_connection.cursor("sqlalchemy")


class PgprotoDialect(PGDialect):
    """`postgresql+pgproto://`.

    Args:
        kwargs: see SQLAlchemy; `native_inet_types`, `json_serializer` and `json_deserializer` among them.
    """

    driver = "pgproto"
    supports_statement_cache = True
    supports_server_side_cursors = True
    supports_sane_multi_rowcount = True
    supports_native_json_serialization = False
    supports_native_json_deserialization = True
    dialect_injects_custom_json_deserializer = True
    default_paramstyle = "numeric_dollar"
    execution_ctx_cls = PgprotoExecutionContext
    colspecs = dict(PGDialect.colspecs) | COLSPECS

    _native_inet_types: Any
    _json_serializer: Any
    _json_deserializer: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]  # SQLAlchemy has no types there
        self._types = self._type_map(None)
        self._users_types: TypeMap | None = None
        self._types_over_them = self._types

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver."""
        return Module()

    @classmethod
    def get_async_dialect_cls(cls, url: URL) -> type[Any]:
        """The dialect that `create_async_engine` takes for this URL."""
        return AsyncPgprotoDialect

    def retrieve_dbapi_version(self, dbapi: Any) -> Any:
        """The version of pgproto."""
        return tuple(int(part) for part in pgproto.__version__.split(".") if part.isdecimal())

    def get_driver_connection(self, connection: Any) -> Any:
        """The connection of pgproto, for COPY, LISTEN and all that SQLAlchemy does not have."""
        return connection.driver_connection

    # ---- Connecting

    def create_connect_args(self, url: URL) -> Any:
        """The options: those of libpq, and pgproto's own, are in the URL's query."""
        options: dict[str, Any] = url.translate_connect_args(username="user", database="dbname")
        options["types"] = self._types
        hosts, ports = self._split_multihost_from_url(url)
        options.update(url.query)
        if "timeout" in options:
            options["timeout"] = float(options["timeout"])
        if hosts:
            options["host"] = ",".join(host or "" for host in hosts)
            given = ",".join(str(port) if port else "" for port in ports or ())
            if given.strip(","):
                options["port"] = given
        return [], options

    def connect(self, *cargs: Any, **cparams: Any) -> Any:
        """Open a connection.  A `types` of the user's is asked for what the dialect does not convert."""
        own: TypeMap = cparams.pop("types", self._types)
        if own is not self._types and own is not self._users_types:
            self._users_types, self._types_over_them = own, self._type_map(own)
        types = self._types_over_them if own is self._users_types else self._types
        return super().connect(*cargs, types=types, **cparams)

    def _type_map(self, parent: TypeMap | None) -> TypeMap:
        return type_map(
            parent,
            native_inet=self._native_inet_types is not False,
            dumps=self._json_serializer,
            loads=self._json_deserializer,
        )

    # ---- The state of connections

    def do_ping(self, dbapi_connection: Any) -> bool:
        """One round trip."""
        dbapi_connection.ping()
        return True

    def is_disconnect(self, e: Any, connection: Any, cursor: Any) -> bool:
        """True if the connection is over, by what pgproto says."""
        ended = (pgproto.ConnectionLost, pgproto.ConnectionClosed)
        return isinstance(e.__cause__, ended) or (connection is not None and connection.closed)

    # ---- Transactions

    def get_isolation_level_values(self, dbapi_conn: Any) -> Any:
        """What `isolation_level` may be."""
        return ("AUTOCOMMIT", "READ COMMITTED", "READ UNCOMMITTED", "REPEATABLE READ", "SERIALIZABLE")

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """The level; it leaves no transaction open that was not."""
        before = dbapi_connection.in_transaction
        level = super().get_isolation_level(dbapi_connection)  # type: ignore[no-untyped-call]
        if not before:
            dbapi_connection.rollback()
        return level

    def set_isolation_level(self, dbapi_connection: Any, level: str) -> None:
        """The level of the transactions that follow; an open one is rolled back."""
        dbapi_connection.rollback()
        autocommit = level == "AUTOCOMMIT"
        dbapi_connection.autocommit = autocommit
        dbapi_connection.isolation_level = None if autocommit else level

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """True if each statement is a transaction of its own."""
        return bool(dbapi_conn.autocommit)

    def set_readonly(self, connection: Any, value: Any) -> None:
        """Whether the next transactions are READ ONLY."""
        connection.read_only = value

    def get_readonly(self, connection: Any) -> Any:
        """Whether they are."""
        return connection.read_only

    def set_deferrable(self, connection: Any, value: Any) -> None:
        """Whether the next transactions are DEFERRABLE."""
        connection.deferrable = value

    def get_deferrable(self, connection: Any) -> Any:
        """Whether they are."""
        return connection.deferrable

    # ---- Transactions in two phases

    def do_begin_twophase(self, connection: Any, xid: Any) -> None:
        """Begin."""
        connection.connection.tpc_begin(xid)

    def do_prepare_twophase(self, connection: Any, xid: Any) -> None:
        """The first phase."""
        connection.connection.tpc_prepare()

    def do_rollback_twophase(
        self, connection: Any, xid: Any, is_prepared: bool = True, recover: bool = False
    ) -> None:
        """Roll back."""
        self._finish(connection, "tpc_rollback", xid, recover)

    def do_commit_twophase(
        self, connection: Any, xid: Any, is_prepared: bool = True, recover: bool = False
    ) -> None:
        """The second phase."""
        self._finish(connection, "tpc_commit", xid, recover)

    def do_recover_twophase(self, connection: Any) -> list[Any]:
        """The identifiers of prepared transactions."""
        return [str(xid) for xid in connection.connection.tpc_recover()]

    def _finish(self, connection: Any, name: str, xid: Any, recover: bool) -> None:
        dbapi_connection: dbapi.Connection = connection.connection.dbapi_connection
        finish: Callable[..., None] = getattr(dbapi_connection, name)
        if not recover:
            finish()
            return
        if dbapi_connection.in_transaction:
            dbapi_connection.rollback()
        finish(xid)


class AsyncPgprotoDialect(PgprotoDialect):
    """`postgresql+pgproto_async://`."""

    driver = "pgproto_async"
    is_async = True
    supports_statement_cache = True
    has_terminate = True

    @classmethod
    def import_dbapi(cls) -> Any:
        """The driver."""
        return AsyncModule()

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """The pool of asynchronous engines."""
        return pool.AsyncAdaptedQueuePool

    def do_terminate(self, dbapi_connection: Any) -> None:
        """End a connection that is of no use any more."""
        dbapi_connection.terminate()
