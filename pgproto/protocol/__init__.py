"""The protocol's state machine: bytes in, events out, for the client and for the server.

`Connection` knows what may follow what (the tables are in `states`) and which request an event belongs to;
`Authenticator` answers the server's authentication messages under a policy.  Nothing here does I/O.
"""

from __future__ import annotations

from ..wire.binding import Executes
from .authentication import Authenticator
from .connection import CLIENT, SERVER, Connection
from .events import NEED_DATA, Closed, CommandCompletes, DataRows, Frames, NeedData, Secure, Skipped

__all__ = [
    "CLIENT",
    "NEED_DATA",
    "SERVER",
    "Authenticator",
    "Closed",
    "CommandCompletes",
    "Connection",
    "DataRows",
    "Executes",
    "Frames",
    "NeedData",
    "Secure",
    "Skipped",
]
