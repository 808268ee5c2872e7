"""What `psycopg.pq` takes from an implementation."""

from __future__ import annotations

from typing import Final

from .cancelling import PGcancel, PGcancelConn
from .connection import PGconn
from .conninfo import Conninfo
from .escaping import Escaping
from .results import PGresult

__all__ = [
    "Conninfo",
    "Escaping",
    "PGcancel",
    "PGcancelConn",
    "PGconn",
    "PGresult",
    "__build_version__",
    "__impl__",
    "version",
]

__impl__: Final = "python"
"""psycopg knows the names of its own implementations only, and takes its Python code for this one."""

_LIBPQ: Final = 180000


def version() -> int:
    """The version of libpq whose functions there are."""
    return _LIBPQ


__build_version__: Final = _LIBPQ
