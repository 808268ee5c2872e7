"""The client that all adapters share: what needs neither an event loop nor the operating system."""

from __future__ import annotations

from .prepared import PreparedStatement
from .queries import DEFAULT, Queries, Query, Timeout
from .records import NamedRecords, Records
from .unique import Unique

__all__ = [
    "DEFAULT",
    "NamedRecords",
    "PreparedStatement",
    "Queries",
    "Query",
    "Records",
    "Timeout",
    "Unique",
]
