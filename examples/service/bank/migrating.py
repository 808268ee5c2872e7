"""Migrations: `upgrade(dsn)`, `downgrade(dsn, "0001")`, `check(dsn)`.

They run on the synchronous dialect.  Several processes may start at once: a lock makes them take turns
(`migrations/env.py`).
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

__all__ = ["check", "downgrade", "upgrade"]


def _config(dsn: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["dsn"] = dsn
    return config


def upgrade(dsn: str, revision: str = "head") -> None:
    """Bring the database to a revision."""
    command.upgrade(_config(dsn), revision)


def downgrade(dsn: str, revision: str) -> None:
    """Back to an older revision; "base" is an empty database."""
    command.downgrade(_config(dsn), revision)


def check(dsn: str) -> None:
    """Compare the database with the models.

    Raises:
        alembic.util.CommandError: autogenerate would have something to do.
    """
    command.check(_config(dsn))
