"""SQLAlchemy's test suite looks for this module beside a dialect: it makes databases as for its own."""

from __future__ import annotations

import sqlalchemy.dialects.postgresql.provision  # noqa: F401 - it registers what it has
