"""pgproto for anyio: `connect` and `Pool`, on asyncio and on trio.

    import pgproto_anyio as pg

    async with pg.Pool("postgresql://app@db/app") as pool:
        rows = await pool.fetch("select * from t where id = $1", 7)

The names and their meaning are those of `pgproto_asyncio`.  Every call is a checkpoint.
"""

from __future__ import annotations

from pgproto.client import Connection, Notifications, PreparedStatement

from .client import Pool, connect

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]
