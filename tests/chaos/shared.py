"""A connection that several callers use at once, with the interface of a pool."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from pgproto import Error, Outcome
from pgproto_pytest import Driver

__all__ = ["Shared"]

# Seconds; the pool's own limit for a new connection is as long.
_CONNECT = 3.0


class Shared:
    """A connection that several clients use at once; replaced when it is closed.

    Args:
        pg: the adapter; it must share connections.
        dsn: where to connect to.
        options: more options of `connect`.

    Attributes:
        replaced: how often it was.
    """

    def __init__(self, pg: Driver, dsn: str, **options: Any) -> None:
        self._pg = pg
        self._dsn = dsn
        self._options = options
        self._context: Any = None
        self._conn: Any = None
        self.replaced = 0

    async def open(self) -> None:
        """Connect."""
        context = self._pg.connect(self._dsn, timeout=_CONNECT, **self._options)
        conn = await context.__aenter__()
        old = self._context
        if self._conn is not None and not self._conn.closed:
            old = context  # somebody was faster
        else:
            self._context, self._conn = context, conn
        if old is not None:
            await old.__aexit__(None, None, None)

    async def close(self) -> None:
        """Disconnect."""
        await self._context.__aexit__(None, None, None)

    @contextlib.asynccontextmanager
    async def acquire(self, timeout: float = 0.0) -> AsyncIterator[Any]:
        """The connection."""
        if self._conn.closed:
            self.replaced += 1
            try:
                await self.open()
            except Error as error:
                error.outcome = error.outcome or Outcome.NOT_SENT
                raise
        yield self._conn

    async def execute(self, *args: Any, **options: Any) -> str:
        """Run a statement on it."""
        async with self.acquire() as conn:
            tag: str = await conn.execute(*args, **options)
            return tag
