"""Who keeps the prepared statements: the server itself, or a pooler in front of it.

Only the server says when a statement has changed its meaning.  A pooler that follows prepared statements
(PgBouncer from 1.21 on) prepares them anew where they are missing, unseen.  So the server process is asked
for its number, once, in front of the first statement that is prepared: another one than the start-up told
belongs to a pooler.  Where nobody was told a number, or no answer comes, the worse is taken for granted.
Manual: "Start-up" (BackendKeyData), "System Information Functions".
"""

from __future__ import annotations

from typing import Final

from ..protocol import DataRows
from ..wire import DataRow, Message
from .channel import Channel
from .operation import Operation
from .segment import Segment

__all__ = ["PROCESS", "Whereabouts"]

PROCESS: Final = "SELECT pg_catalog.pg_backend_pid()"


class Whereabouts(Operation):
    """The question, in a segment of its own: nobody waits for it, and its error is nobody's.

    Args:
        deadline: of the operation in front of which it is asked; a server that does not answer by then, and
            for nobody else, has had its time.
    """

    __slots__ = ()

    def __init__(self, deadline: float | None) -> None:
        super().__init__()
        self.deadline = deadline
        self.finished = self.abandoned = True

    def send(self, channel: Channel) -> None:
        """Write it; where no transaction block is open, which an error would end."""
        channel.statements.unasked = False
        channel.simple_query(channel.open(self), PROCESS)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the answer; all else says nothing."""
        key = channel.connection.backend_key
        if isinstance(event, DataRows) and key is not None:
            told = DataRow([str(key.process_id).encode()]).encode()
            channel.statements.direct = event.buffer[event.start : event.end] == told
