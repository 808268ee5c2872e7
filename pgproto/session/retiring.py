"""Which errors of the server retire a session: it may still answer, but is not lent again."""

from __future__ import annotations

from typing import Final

from ..wire import ErrorResponse

__all__ = ["retires"]

# The server is now a standby (25006), or the server or a pooler is shutting down.
# Manual: "PostgreSQL Error Codes".
_RETIRING: Final = ("25006", "57P01", "57P02", "57P03", "08")


def retires(event: ErrorResponse) -> bool:
    """True for an error after which a session is not lent again, although it may still answer."""
    return event.fields.get("C", "").startswith(_RETIRING)
