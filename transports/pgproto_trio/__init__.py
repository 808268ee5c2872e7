"""pgproto for trio: `connect` and `Pool`.

    import pgproto_trio as pg

    async with pg.Pool("postgresql://app@db/app") as pool:
        rows = await pool.fetch("select * from t where id = $1", 7)

The names and their meaning are those of `pgproto_asyncio`.  Every call is a checkpoint.
"""

from __future__ import annotations

from pgproto import client
from pgproto.client import Connection, Notifications, PreparedStatement
from pgproto.client.habits import point_out as _point_out

from .runtime import RUNTIME as _RUNTIME

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]

connect = client.Connect(_RUNTIME)
"""Open a connection on trio: `conn = await connect(dsn)`, or `async with connect(dsn) as conn`."""

_point_out(__name__)


class Pool(client.Pool):
    """A pool of connections on trio: see `pgproto.client.Pool`."""

    runtime = _RUNTIME
