"""Indexes for the list of an account's transfers."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index("transfers_source", "transfers", ["source", "id"])
    op.create_index("transfers_target", "transfers", ["target", "id"])


def downgrade() -> None:
    op.drop_index("transfers_target")
    op.drop_index("transfers_source")
