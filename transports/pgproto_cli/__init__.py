"""The command line, `python -m pgproto`: what servers say, and what is on the wire.

    ping          ask every host of a connection string
    explain-dsn   every option, its value and where that comes from
    trace         run a text of SQL and show each message
    decode        show the messages in captured bytes
    bench         where the benchmarks are

Rule: what was asked for goes to the standard output, everything else to the standard error.  An error is one
line.  The exit status is 0, 1 if something has failed, or 2 if the command cannot be understood.
"""

from __future__ import annotations

from .commands import main

__all__ = ["main"]
