"""pgproto for anyio: `connect` and `Pool`, on asyncio and on trio.

    import pgproto_anyio as pg

    async with pg.Pool("postgresql://app@db/app") as pool:
        rows = await pool.fetch("select * from t where id = $1", 7)

Names, meaning and checkpoints are those of `pgproto_trio`, on both event loops.
"""

from __future__ import annotations

from pgproto import client
from pgproto.client import Connection, Notifications, PreparedStatement
from pgproto.client.habits import point_out as _point_out

from .runtime import RUNTIME as _RUNTIME

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]

connect = client.Connect(_RUNTIME)
"""Open a connection on the running loop: `await connect(dsn)`, or `async with connect(dsn) as conn`."""

_point_out(__name__)


class Pool(client.Pool):
    """A pool of connections on the running loop: see `pgproto.client.Pool`."""

    runtime = _RUNTIME
