"""What SQLAlchemy uses as a driver: `pgproto_blocking.dbapi`, for both dialects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.util.concurrency import await_only, in_greenlet

import pgproto
import pgproto_asyncio
import pgproto_blocking
from pgproto.types import TypeMap
from pgproto_blocking import dbapi

from .errors import ERRORS
from .waiting import Lock, Waiting

__all__ = ["AsyncConnection", "AsyncModule", "Connection", "Module"]

_LOGGER: Final = logging.getLogger("sqlalchemy.dialects.postgresql")


class Cursor(dbapi.Cursor):
    """SQLAlchemy's asyncio extension closes the cursor of a result whose rows are all at hand."""

    async def _async_soft_close(self) -> None:
        """Nothing has to be awaited."""


class Connection(dbapi.Connection):
    """A connection of `dbapi`, whose errors are those of this package."""

    def cursor(self, name: str | None = None) -> dbapi.Cursor:
        """A cursor; with a name, its rows stay on the server."""
        return super().cursor(name) if name is not None else Cursor(self)

    def ping(self) -> None:
        """One round trip, which begins no transaction."""
        self.run_script("", begin=False)


for _name, _kind in ERRORS.items():
    setattr(Connection, _name, _kind)


class AsyncConnection(AdaptedConnection, Connection):
    """The same on `pgproto_asyncio`, in a greenlet.

    `driver_connection` is the connection of `pgproto_asyncio`, and `run_async` calls a function with it.
    """

    def __init__(self, connection: pgproto_asyncio.Connection, *, timeout: float | None) -> None:
        Connection.__init__(self, Waiting(connection), timeout=timeout, lock=Lock())
        self._connection: Any = connection

    def terminate(self) -> None:
        """End it, in good order if that is possible here."""
        if not in_greenlet():
            self._abort()  # it was left to the garbage collector
            return
        try:
            await_only(asyncio.shield(self._connection.close()))
        except (pgproto.Error, OSError, TimeoutError):
            self._abort()
        except asyncio.CancelledError:
            self._abort()
            raise

    def _abort(self) -> None:
        with suppress(pgproto.Error):  # its event loop may be another one
            self._connection.abort()


class Module:
    """What SQLAlchemy calls `dialect.dbapi`."""

    def __init__(self) -> None:
        names = [name for name in dbapi.__all__ if name != "connect"]
        self.__dict__.update({name: getattr(dbapi, name) for name in names})
        self.__dict__.update(ERRORS)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"pgproto_blocking.dbapi has no {name!r}")

    def connect(
        self, *args: Any, types: TypeMap, creator: Callable[..., Any] | None = None, **options: Any
    ) -> dbapi.Connection:
        """Open a connection."""
        create = pgproto_blocking.connect if creator is None else creator
        asked = options.setdefault("command_timeout", None) is not None

        def opened() -> dbapi.Connection:
            session = create(*args, types=types, **options)
            return _ready(Connection(session, timeout=session.config.command_timeout if asked else None))

        return _guarded(opened)


class AsyncModule(Module):
    """The same for the asynchronous dialect."""

    def connect(
        self,
        *args: Any,
        types: TypeMap,
        async_creator_fn: Callable[..., Awaitable[Any]] | None = None,
        **options: Any,
    ) -> dbapi.Connection:
        """Open a connection, by `async_creator_fn` if there is one."""
        if async_creator_fn is None:
            create: Callable[..., Awaitable[Any]] = pgproto_asyncio.connect
        else:
            create = async_creator_fn
        asked = options.setdefault("command_timeout", None) is not None

        def opened() -> dbapi.Connection:
            session = await_only(create(*args, types=types, **options))
            return _ready(AsyncConnection(session, timeout=session.config.command_timeout if asked else None))

        return _guarded(opened)


def _guarded(connect: Callable[[], dbapi.Connection]) -> dbapi.Connection:
    try:
        return connect()
    except pgproto.Error as error:
        kind: type[dbapi.Error] = ERRORS[dbapi.errors.kind_of(error).__name__]
        raise dbapi.errors.translated(error, kind) from error


def _ready(connection: dbapi.Connection) -> dbapi.Connection:
    connection.driver_connection.on_notice = _log_notice
    return connection


def _log_notice(notice: pgproto.PostgresError) -> None:
    _LOGGER.info("%s: %s", notice.severity, notice.message)
