"""Sessions: the engine that runs operations over one connection, and the flows made of them.

Nothing here does I/O or waits.  An adapter moves bytes between a transport and `Engine`, wakes the tasks that
wait for an operation, and runs the flows (`Connector.connect`, `Transaction.commit`).  The rules for an
adapter, beyond the docstrings of `Engine`:

**One thread at a time** may use an engine.  After every call that reports something (`submit`,
`receive_data`, `receive_eof`, `transport_failed`, `write_failed`, `data_sent`, `tick`, `resume`,
`abandon`, `close`) call `take_news`, which returns what is to be done: OUTPUT, READY, CHANGE, HOLD, TIME.

**Submitting.**  Set `operation.deadline` (in seconds of `engine.clock()`) before `submit`.  If it has passed
by then, nothing is sent; if it passes later, the operation is cancelled; `Engine.set_deadline` changes it.
`operation.waiter` is for the adapter alone.  Set it after `submit`, which may raise or end the operation
(look at `finished`), and before you wait.  `take_ready` returns the operations whose waiters must be woken:
they have ended (`finished`; raise `error`), made progress (`take_progress`), or have work.

**Work** (`take_work`) is a computation that is too long for an event loop: a SCRAM proof of many rounds.
Run it in a thread, or in place, and then call `Engine.resume`.

**Sending.**  `data_to_send` returns the same bytes until `data_sent` says how many the transport took; b""
if there are none, after `write_failed`, and at the end.  If a send is awaited and can be cancelled, call
`data_sent` *before* it: bytes that may have gone out must count as sent, or a statement that was executed
could be labelled NOT_SENT.  If a send takes a part and returns (a non-blocking socket), call `data_sent`
after it, with the size of that part.  Never stop reading in order to write: a server that cannot write does
not read.  After a failed write call `write_failed` and read on until EOF, because the server's last messages
may be on their way; after a failed read call `transport_failed`.

**Reading.**  Bytes go to `receive_data`, EOF to `receive_eof`.  While HOLD is set, read nothing: a consumer
is slow.

**Time.**  Call `tick` at `next_deadline`.

**Cancelling.**  A task that is cancelled while it waits calls `abandon` and need not wait: the engine reads
on.  At CHANGE look at `wants_cancel`: send the key of `take_cancel` over a connection of its own
(`Connector.cancel`), then call `cancel_done`, whether it was delivered or not.

**The end.**  `closed` means that nothing can be submitted, `finished` that every operation has ended: then
close the transport.  `close` leaves a Terminate to be sent; try once, and do not wait for it.

**Data.**  COPY IN and `executemany` are fed with the pieces that `chunks` (bytes, files, iterables) and
`encoded` (records, through a `RecordBuffer` or an `ExecutionBuffer`) yield, so that memory stays bounded.

A flow yields steps: do each, send None into the flow, or throw the step's exception into it; `Poller` does so
without blocking.  A session's properties are in `engine.host`, `engine.connection` and `engine.channel`
(`tls`).  Servers and proxies use `pgproto.protocol`: `PGConnection(SERVER)`, `ServerAuthenticator`,
`ScramVerifier`, and `pgproto.protocol.tls` for TLS.  Subclass `Operation` for operations of your own.  An
`Observer` is told of all that run.
"""

from __future__ import annotations

from ..types import quote_identifier
from .batch import Batch, QueuedQuery
from .blocks import Block, Blocks
from .channel import HIGH_WATER, Channel
from .columnar import ColumnQuery
from .connect import Accept, Connector, Dial, HangUp, Step, check_left, check_new
from .copy import CopyIn, CopyOut, CopyRecords
from .deadlines import DEFAULT, Default, Timeout
from .engine import GRACE, Engine
from .executemany import ExecuteMany
from .execution import Execution
from .listen import listen, unlisten
from .listening import Listener, Listeners, ListenGap, Notification
from .loss import Loss
from .modes import (
    CACHE_DESCRIBE,
    CACHE_STATEMENT,
    DESCRIBE_EXEC,
    EXEC,
    MODES,
    SIMPLE_PROTOCOL,
    StatementMode,
)
from .news import CHANGE, HOLD, OUTPUT, READY, TIME
from .observing import Exchange, Observer, Report, SessionInfo
from .operation import MORE, SENT, WAITING, Operation
from .placeholders import NamedQuery, named
from .poller import DIAL, DONE, HANG_UP, READ, WRITE, Poller
from .portal import Fetch, Portal
from .preparing import Prepare, Resolve
from .script import Reset, Script, ScriptResult
from .segment import Segment
from .sources import Buffer, ExecutionBuffer, RecordBuffer, chunks, encoded
from .startup import Cancel, Startup
from .statements import Statement, StatementCache
from .stopping import LONGEST_GRACE
from .stream import Stream
from .tracing import TraceLine
from .transaction import Transaction

__all__ = [
    "CACHE_DESCRIBE",
    "CACHE_STATEMENT",
    "CHANGE",
    "DEFAULT",
    "DESCRIBE_EXEC",
    "DIAL",
    "DONE",
    "EXEC",
    "GRACE",
    "HANG_UP",
    "HIGH_WATER",
    "HOLD",
    "LONGEST_GRACE",
    "MODES",
    "MORE",
    "OUTPUT",
    "READ",
    "READY",
    "SENT",
    "SIMPLE_PROTOCOL",
    "TIME",
    "WAITING",
    "WRITE",
    "Accept",
    "Batch",
    "Block",
    "Blocks",
    "Buffer",
    "Cancel",
    "Channel",
    "ColumnQuery",
    "Connector",
    "CopyIn",
    "CopyOut",
    "CopyRecords",
    "Default",
    "Dial",
    "Engine",
    "Exchange",
    "ExecuteMany",
    "Execution",
    "ExecutionBuffer",
    "Fetch",
    "HangUp",
    "ListenGap",
    "Listener",
    "Listeners",
    "Loss",
    "NamedQuery",
    "Notification",
    "Observer",
    "Operation",
    "Poller",
    "Portal",
    "Prepare",
    "QueuedQuery",
    "RecordBuffer",
    "Report",
    "Reset",
    "Resolve",
    "Script",
    "ScriptResult",
    "Segment",
    "SessionInfo",
    "Startup",
    "Statement",
    "StatementCache",
    "StatementMode",
    "Step",
    "Stream",
    "Timeout",
    "TraceLine",
    "Transaction",
    "check_left",
    "check_new",
    "chunks",
    "encoded",
    "listen",
    "named",
    "quote_identifier",
    "unlisten",
]
