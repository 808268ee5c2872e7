"""The behaviours that every adapter has, as scenarios.

Each is named after its row in the collection of what pgx's own tests assert: B batches, P pipelines,
L pools, C connections, X deadlines and cancelling, Y COPY, N notifications, T transactions, S prepared
statements, Q queries and rows, U cursors; M is executemany, O what observers see.  Those without a number
are what a row's neighbours ask for too.
"""

from __future__ import annotations

from pgproto_pytest.behaviour import BEHAVIOURS
from pgproto_pytest.behaviours import (
    batches,
    control,
    copies,
    cursors,
    many,
    pools,
    queries,
    seeing,
    sessions,
)

__all__ = [
    "BEHAVIOURS",
    "batches",
    "control",
    "copies",
    "cursors",
    "many",
    "pools",
    "queries",
    "seeing",
    "sessions",
]
