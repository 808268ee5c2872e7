"""What Alembic runs for every command."""

from __future__ import annotations

from alembic import context
from bank.models import Base
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

LOCK = 8_160_015  # any number that nobody else takes

url = make_url(context.config.attributes["dsn"]).set(drivername="postgresql+pgproto")
engine = create_engine(url, poolclass=NullPool)
with engine.begin() as connection:
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()
