"""Finds out who keeps the prepared statements: the server itself, or a pooler in front of it.

Only the server reports that a statement has changed its meaning.  A pooler that tracks prepared statements
(PgBouncer from 1.21 on) silently prepares them again where they are missing.  So the server process is asked
for its process ID, once, before the first statement is prepared: if it differs from that of BackendKeyData,
there is a pooler.  Without BackendKeyData or without an answer, a pooler is assumed.
Manual: "Start-up" (BackendKeyData), "System Information Functions".
"""

from __future__ import annotations

from typing import Final

from ..protocol import DataRows
from ..wire import DataRow, Message
from .answers import refuse_to_feed
from .channel import Channel
from .operation import Operation
from .segment import Segment

__all__ = ["PROCESS", "Whereabouts"]

PROCESS: Final = "SELECT pg_catalog.pg_backend_pid()"


class Whereabouts(Operation):
    """The query for the process ID, in a segment of its own.  It has no caller, and its error is ignored.

    Args:
        deadline: the deadline of the operation before which it is sent.  If the server has not answered by
            then, and no other operation waits, the session ends.
    """

    __slots__ = ()

    def __init__(self, deadline: float | None) -> None:
        super().__init__()
        self.deadline = deadline
        self.finished = self.abandoned = True

    def send(self, channel: Channel) -> None:
        """Write the query; only while no transaction block is open, because an error would abort it."""
        channel.statements.unasked = False
        channel.simple_query(channel.open(self), PROCESS)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the answer; ignore everything else."""
        key = channel.connection.backend_key
        if isinstance(event, DataRows) and key is not None:
            told = DataRow([str(key.process_id).encode()]).encode()
            channel.statements.direct = event.buffer[event.start : event.end] == told
        else:
            refuse_to_feed(event)
