"""The client for blocking code: what `scripts/blocking.py` makes of the asynchronous one beside it."""

from __future__ import annotations

from .prepared import PreparedStatement
from .queries import DEFAULT, Queries, Query, Timeout
from .records import NamedRecords, Records

__all__ = [
    "DEFAULT",
    "NamedRecords",
    "PreparedStatement",
    "Queries",
    "Query",
    "Records",
    "Timeout",
]
