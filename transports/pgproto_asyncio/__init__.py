"""pgproto for asyncio: `connect` and `Pool`.

    import pgproto_asyncio as pg

    async with pg.Pool("postgresql://app@db/app") as pool:
        rows = await pool.fetch("select * from t where id = $1", 7)

Works on every event loop: the selector and Proactor loops, and uvloop.
"""

from __future__ import annotations

from pgproto.client import Connection, Notifications, PreparedStatement

from .client import Pool, connect

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]
