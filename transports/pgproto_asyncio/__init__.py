"""pgproto for asyncio: `connect` and `Pool`.

    import pgproto_asyncio as pg

    async with pg.Pool("postgresql://app@db/app") as pool:
        rows = await pool.fetch("select * from t where id = $1", 7)

Works on every event loop: the selector and Proactor loops, and uvloop.
"""

from __future__ import annotations

from pgproto import client
from pgproto.client import Connection, Notifications, PreparedStatement
from pgproto.client.habits import point_out as _point_out

from .runtime import RUNTIME as _RUNTIME

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]

connect = client.Connect(_RUNTIME)
"""Open a connection on asyncio: `conn = await connect(dsn)`, or `async with connect(dsn) as conn`."""

_point_out(__name__)


class Pool(client.Pool):
    """A pool of connections on asyncio: see `pgproto.client.Pool`."""

    runtime = _RUNTIME
