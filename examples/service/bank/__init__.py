"""Accounts and transfers: a small service on pgproto, by SQLAlchemy, Alembic, FastAPI and OpenTelemetry."""

from __future__ import annotations
