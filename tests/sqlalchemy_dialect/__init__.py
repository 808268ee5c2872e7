"""Tests of the SQLAlchemy dialects, and `python -m tests.sqlalchemy_dialect`, which runs SQLAlchemy's own."""
