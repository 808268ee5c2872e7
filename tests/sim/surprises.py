"""Errors that nothing in the schedule can have provoked.

An error class may be declared and its label right, and the caller is served badly all the same: with somebody
else's cancel request, with a statement name that the server does not know, with a connection that ends for
no reason.
"""

from __future__ import annotations

from typing import Final

from pgproto import ConnectionLost, PostgresError, QueryTimeout, RemoteProtocolError

__all__ = ["surprise"]

# What no use of the library can lead to, unless it has lost track of its own statements and portals.
_NEVER: Final = ("42P05", "42P03", "34000", "26000", "08P01", "25P01")


def surprise(
    error: BaseException, *, calm: bool, honest: bool, forgotten: bool, cancelled: bool
) -> tuple[str, str]:
    """(kind, what) of an error that a caller should not have got; ("", "") if it is in order.

    Args:
        error: what the call raised.
        calm: nothing happens in this schedule that could cost a connection.
        honest: nobody lies about the protocol; a pooler that mixes up its clients seems to.
        forgotten: somebody has made the server forget statements.
        cancelled: somebody else than the library has cancelled queries, or a liar speaks.
    """
    if isinstance(error, PostgresError):
        code = error.sqlstate
        if code == "57014" and not cancelled and not error.message.startswith("COPY"):
            return "cancel", f"a cancel request hit somebody else: {error!r}"
        if code in _NEVER and not forgotten and not error.fatal:
            return "surprise", f"a caller got {error}"
    if honest and isinstance(error, RemoteProtocolError):
        return "surprise", f"an honest server seems to break the protocol: {error!r}"
    if calm and isinstance(error, ConnectionLost | RemoteProtocolError) and not _timed_out(error):
        return "surprise", f"a connection was lost for no reason: {error!r} ({error.__cause__!r})"
    return "", ""


def _timed_out(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, QueryTimeout):
            return True
        error = error.__cause__
    return False
