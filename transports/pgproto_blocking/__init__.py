"""pgproto for blocking code: `connect` and `Pool`.

import pgproto_blocking as pg

with pg.connect("postgresql://app@db/app") as conn:
    rows = conn.fetch("select * from t where id = $1", 7)
"""

from __future__ import annotations

from pgproto.client.blocking import Connection, Notifications, PreparedStatement
from pgproto.client.habits import point_out as _point_out

from .connecting import connect
from .pool import Pool

__all__ = ["Connection", "Notifications", "Pool", "PreparedStatement", "connect"]

_point_out(__name__)
