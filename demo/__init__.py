"""`make demo`: what pgproto does, shown on a real PostgreSQL, every claim checked while it is printed."""

from __future__ import annotations
