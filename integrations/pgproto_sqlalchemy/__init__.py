"""SQLAlchemy on pgproto: `create_engine("postgresql+pgproto://...")`.

`create_async_engine` takes the same URL, or "postgresql+pgproto_async://...".  The synchronous dialect is
`pgproto_blocking.dbapi`; the other one is the same code on `pgproto_asyncio`, which SQLAlchemy's greenlets
await.  SQLAlchemy 2.0 and 2.1.
"""

from __future__ import annotations

from .dialect import AsyncPgprotoDialect, PgprotoDialect

__all__ = ["AsyncPgprotoDialect", "PgprotoDialect"]
