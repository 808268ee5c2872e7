"""Sessions: the engine that runs operations over one connection, and the flows made of them.

Everything here is free of I/O and of waiting.  An adapter moves bytes between a transport and `Engine`,
wakes whoever waits for an operation, and runs the flows (`Connector.connect`, `Transaction.commit`).
"""

from __future__ import annotations

from ..types import quote_identifier
from .batch import Batch, QueuedQuery
from .channel import HIGH_WATER
from .connect import Connector, Dial, HangUp, Step, check_left, check_new
from .copy import CopyIn, CopyOut, CopyRecords
from .deadlines import DEFAULT, Default, Timeout
from .engine import GRACE, Engine
from .executemany import ExecuteMany
from .execution import Execution
from .listen import listen, unlisten
from .listening import Listener, Listeners, Notification
from .operation import Operation
from .poller import DIAL, DONE, HANG_UP, READ, WRITE, Poller
from .preparing import Prepare
from .script import Reset, Script, ScriptResult
from .startup import Cancel, Startup
from .statements import Statement
from .stopping import LONGEST_GRACE
from .stream import Stream
from .transaction import Transaction

__all__ = [
    "DEFAULT",
    "DIAL",
    "DONE",
    "GRACE",
    "HANG_UP",
    "HIGH_WATER",
    "LONGEST_GRACE",
    "READ",
    "WRITE",
    "Batch",
    "Cancel",
    "Connector",
    "CopyIn",
    "CopyOut",
    "CopyRecords",
    "Default",
    "Dial",
    "Engine",
    "ExecuteMany",
    "Execution",
    "HangUp",
    "Listener",
    "Listeners",
    "Notification",
    "Operation",
    "Poller",
    "Prepare",
    "QueuedQuery",
    "Reset",
    "Script",
    "ScriptResult",
    "Startup",
    "Statement",
    "Step",
    "Stream",
    "Timeout",
    "Transaction",
    "check_left",
    "check_new",
    "listen",
    "quote_identifier",
    "unlisten",
]
