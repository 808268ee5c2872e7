"""Sessions: the engine that runs operations over one connection, and the flows made of them.

Everything here is free of I/O and of waiting.  An adapter moves bytes between a transport and `Engine`,
wakes those who wait for an operation, and runs the flows (`Connector.connect`, `Transaction.commit`).
What an adapter keeps to, beyond the docstrings of `Engine`:

**One thread at a time** is in an engine.  After every call that says what happened (`submit`,
`receive_data`, `receive_eof`, `transport_failed`, `write_failed`, `data_sent`, `tick`, `resume`,
`abandon`, `close`) look at what is to be done: OUTPUT, READY, CHANGE, HOLD, TIME, in one question
(`take_news`).

**Submitting.**  Set `operation.deadline` (`engine.clock()` and the seconds) before `submit`: the engine
ends what is late by then unsent, and cancels what is late later; `Engine.set_deadline` changes it.  Set
`operation.waiter`, which is the adapter's own and means nothing to the core, before you wait, and not
before `submit`, which may raise or end the operation at once: look at `finished` first.  `take_ready`
gives the operations whose waiters are to be woken: they have ended (`finished`; raise `error`), made
progress (`take_progress`), or have work.

**Work** (`take_work`) is a computation that is too long for an event loop: a SCRAM proof of many rounds.
Run it in a thread, or in place, and call `Engine.resume` then.  Nothing else of the session waits for it
meanwhile.

**Sending.**  `data_to_send` gives the same bytes until `data_sent` says how many the transport took; b""
when there are none, after `write_failed`, and at the end.  Where a send is awaited and can be cancelled,
`data_sent` comes *before* it: bytes that may have gone out count as sent, or an outcome could say
NOT_SENT of what was executed. Where a send takes a part and returns (a socket that does not block), it
comes after, with that part.  Never stop reading in order to write: a server that cannot write does not
read.  A failed write is `write_failed`, after which you read on until EOF, as the server's last words
may be under way; a failed read is `transport_failed`.

**Reading.**  Bytes go to `receive_data`, EOF to `receive_eof`.  While HOLD is there, read nothing: a
consumer is slow.

**Time.**  Call `tick` at `next_deadline`.

**Cancelling.**  Who waits and is cancelled calls `abandon`, and need not wait: the engine reads on.
With CHANGE look at `wants_cancel`: send what `take_cancel` gives over a connection of its own
(`Connector.cancel`), then say `cancel_done`, whether it was delivered or not.

**The end.**  `closed` means that nothing can be submitted, `finished` that every operation has been
told: close the transport then.  `close` leaves a Terminate to be sent, which may be tried once and not
waited for.

**Data.**  COPY IN and `executemany` are fed with what `chunks` (bytes, files, iterables) and `encoded`
(records, through a `RecordBuffer` or an `ExecutionBuffer`) give, piece by piece, so that memory stays
bounded.

A flow yields steps: do each, send None into it, or throw what it raised; `Poller` does so without
blocking.  What a session came to is in `engine.host`, `engine.connection` and `engine.channel` (`tls`).
Servers and proxies use `pgproto.protocol`: `PGConnection(SERVER)`, `ServerAuthenticator`, `ScramVerifier`,
and `pgproto.protocol.tls` for TLS.  An operation of one's own is a subclass of `Operation`.
"""

from __future__ import annotations

from ..types import quote_identifier
from .batch import Batch, QueuedQuery
from .blocks import Block, Blocks
from .channel import HIGH_WATER, Channel
from .connect import Connector, Dial, HangUp, Step, check_left, check_new
from .copy import CopyIn, CopyOut, CopyRecords
from .deadlines import DEFAULT, Default, Timeout
from .engine import GRACE, Engine
from .executemany import ExecuteMany
from .execution import Execution
from .listen import listen, unlisten
from .listening import Listener, Listeners, Notification
from .loss import Loss
from .news import CHANGE, HOLD, OUTPUT, READY, TIME
from .operation import MORE, SENT, WAITING, Operation
from .poller import DIAL, DONE, HANG_UP, READ, WRITE, Poller
from .preparing import Prepare
from .script import Reset, Script, ScriptResult
from .segment import Segment
from .sources import Buffer, ExecutionBuffer, RecordBuffer, chunks, encoded
from .startup import Cancel, Startup
from .statements import Statement, StatementCache
from .stopping import LONGEST_GRACE
from .stream import Stream
from .transaction import Transaction

__all__ = [
    "CHANGE",
    "DEFAULT",
    "DIAL",
    "DONE",
    "GRACE",
    "HANG_UP",
    "HIGH_WATER",
    "HOLD",
    "LONGEST_GRACE",
    "MORE",
    "OUTPUT",
    "READ",
    "READY",
    "SENT",
    "TIME",
    "WAITING",
    "WRITE",
    "Batch",
    "Block",
    "Blocks",
    "Buffer",
    "Cancel",
    "Channel",
    "Connector",
    "CopyIn",
    "CopyOut",
    "CopyRecords",
    "Default",
    "Dial",
    "Engine",
    "ExecuteMany",
    "Execution",
    "ExecutionBuffer",
    "HangUp",
    "Listener",
    "Listeners",
    "Loss",
    "Notification",
    "Operation",
    "Poller",
    "Prepare",
    "QueuedQuery",
    "RecordBuffer",
    "Reset",
    "Script",
    "ScriptResult",
    "Segment",
    "Startup",
    "Statement",
    "StatementCache",
    "Step",
    "Stream",
    "Timeout",
    "Transaction",
    "check_left",
    "check_new",
    "chunks",
    "encoded",
    "listen",
    "quote_identifier",
    "unlisten",
]
