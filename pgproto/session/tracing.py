"""The trace of a live session: each message as a line, as libpq's PQtrace writes it, without its secrets.

`pgproto.wire.trace` makes the lines.  This joins it to a session, and says to which session a line belongs.
"""

from __future__ import annotations

from collections.abc import Callable

from ..wire import trace_bytes
from .observing import Report

__all__ = ["TraceLine", "tracer"]

TraceLine = Callable[[int, str], object]
"""Takes a line of a trace, after the number of its session."""


def tracer(number: int, write: TraceLine, report: Report | None) -> Callable[[str, bytes, bool], None]:
    """The `trace` of a session's PGConnection.

    Args:
        number: the number of the session.
        write: takes the lines.  If it raises, the trace of this session ends.
        report: takes what it raises; None to drop it.
    """

    def trace(sender: str, data: bytes, startup: bool) -> None:
        try:
            for line in trace_bytes(sender, data, startup):
                write(number, line)
        except BaseException as error:
            if report is not None:
                report("the trace", error)
            raise  # the connection removes it

    return trace
