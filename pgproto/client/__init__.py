"""The client that all adapters share, over a `Runtime` and its `Link`s.

It knows neither event loops nor the operating system.  An adapter implements the two protocols; then
`Connect(runtime)` is its `connect`, and a subclass of `Pool` with a `runtime` is its pool.
"""

from __future__ import annotations

from .connecting import Connect, Connecting
from .connection import Connection
from .copying import CopyStream
from .cursors import Cursor
from .driver import Driver
from .jobs import Jobs
from .leases import Lease, PoolTransaction
from .lending import Held, Hook, Hooks, Lender
from .listening import PoolNotifications
from .logs import SlowQueries
from .loops import NoBlock, OneLoop, OneTask, OneThread, Reading
from .noticed import NoticeListener, Notices
from .notifications import Notifications
from .pieces import Pieces, RowStream
from .pool import Opening, Pool
from .prepared import PreparedStatement
from .queries import DEFAULT, Mode, Queries, Query, Timeout
from .records import FileMode, NamedRecords, Path, Progress, Records, Sink, Source, Writer
from .runtime import END, Alarm, Bound, Event, Forgetting, Link, Reader, Runtime, Task, Tasks, Turn
from .seeing import Observers, Trace, watched
from .transactions import TransactionContext
from .unique import Unique

__all__ = [
    "DEFAULT",
    "END",
    "Alarm",
    "Bound",
    "Connect",
    "Connecting",
    "Connection",
    "CopyStream",
    "Cursor",
    "Driver",
    "Event",
    "FileMode",
    "Forgetting",
    "Held",
    "Hook",
    "Hooks",
    "Jobs",
    "Lease",
    "Lender",
    "Link",
    "Mode",
    "NamedRecords",
    "NoBlock",
    "NoticeListener",
    "Notices",
    "Notifications",
    "Observers",
    "OneLoop",
    "OneTask",
    "OneThread",
    "Opening",
    "Path",
    "Pieces",
    "Pool",
    "PoolNotifications",
    "PoolTransaction",
    "PreparedStatement",
    "Progress",
    "Queries",
    "Query",
    "Reader",
    "Reading",
    "Records",
    "RowStream",
    "Runtime",
    "Sink",
    "SlowQueries",
    "Source",
    "Task",
    "Tasks",
    "Timeout",
    "Trace",
    "TransactionContext",
    "Turn",
    "Unique",
    "Writer",
    "watched",
]
