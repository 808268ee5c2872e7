"""The client that all adapters share: what needs neither an event loop nor the operating system."""

from __future__ import annotations

from .unique import Unique

__all__ = ["Unique"]
