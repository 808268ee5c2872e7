"""The adapters, one after the other, as in `tests/adapters`."""

from __future__ import annotations

from tests.adapters.conftest import driver

__all__ = ["driver"]
