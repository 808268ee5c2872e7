"""A client that says what it is told, to a real server: our `PGConnection`, a socket, and a record.

    with Raw(server) as raw:
        raw.send(Parse("", "select 1"), ..., Sync())
        raw.expect(ParseComplete, ..., ReadyForQuery)
        raw.trace()                                   # lines as of PQtrace, without what varies

For what needs a pipeline that the session layer would not write.  It reads while it writes, so that nothing
deadlocks; every wait has a deadline.
"""

from __future__ import annotations

import re
import select
import socket
import time
from types import TracebackType
from typing import Self, TypeVar

from pgproto.protocol import CLIENT, NEED_DATA, Closed, DataRows, PGConnection
from pgproto.wire import (
    DataRow,
    ErrorResponse,
    Message,
    NoticeResponse,
    ReadyForQuery,
    StartupMessage,
    Terminate,
    decode_backend,
    tags,
    trace_bytes,
)
from tests.support.postgres import PostgresServer

__all__ = ["Raw", "without_what_varies"]

DEADLINE = 20.0
M = TypeVar("M", bound=Message)


class Raw:
    """One connection as the user postgres, who needs no password.

    Attributes:
        connection: the state machine.
        notices: the notices that came, which `next` does not give.
        blocked: how often the socket took no more, and was read instead.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.connection = PGConnection(CLIENT)
        self.notices: list[NoticeResponse] = []
        self.blocked = 0
        self._log: list[tuple[str, bytes]] = []
        self._unlogged = b""  # read, and put behind all that is sent before the next event is asked for
        self._rows: list[Message] = []
        self._socket = socket.create_connection((server.host, server.port), DEADLINE)
        self._socket.setblocking(False)
        self.send(StartupMessage({"user": "postgres", "database": "postgres", "client_encoding": "UTF8"}))
        while not isinstance(self.next(), ReadyForQuery):
            pass
        self._log.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.connection.closed is None:
            self.send(Terminate())
        self._socket.close()

    def send(self, *messages: Message) -> None:
        """Send messages, and read what comes meanwhile."""
        data = b"".join([self.connection.send(message) for message in messages])
        self._log.append(("F", data))
        view = memoryview(data)
        while view:
            readable, writable = self._wait(write=True)
            if writable:
                view = view[self._socket.send(view) :]
            if readable:
                self.blocked += not writable
                self._read()

    def next(self) -> Message:
        """The next event but notices; a row at a time, with its request."""
        while True:
            if self._rows:
                return self._rows.pop(0)
            self._log.append(("B", self._unlogged))
            self._unlogged = b""
            event = self.connection.next_event()
            if isinstance(event, NoticeResponse):
                self.notices.append(event)
            elif isinstance(event, DataRows):
                for body in event.bodies():
                    row = decode_backend(tags.DATA_ROW, body, 0, len(body))
                    row.request = event.request
                    self._rows.append(row)
            elif event is not NEED_DATA:
                return event
            else:
                self._wait()
                self._read()

    def expect(self, *kinds: type[Message]) -> list[Message]:
        """The next events, which must be of these kinds; Skipped and Closed count as well."""
        events = [self.next() for _ in kinds]
        assert [type(event).__name__ for event in events] == [kind.__name__ for kind in kinds]
        return events

    def one(self, kind: type[M]) -> M:
        """The next event, which must be of this kind."""
        event = self.next()
        assert isinstance(event, kind), event
        return event

    def error(self) -> str:
        """The SQLSTATE of the next event, an ErrorResponse."""
        return self.one(ErrorResponse).fields["C"]

    def forget(self) -> None:
        """Begin the trace here."""
        self._log.clear()

    def quiet(self) -> bool:
        """True if nothing is in flight, and nothing has come that answers nothing."""
        assert self.connection.in_flight == 0
        return not self._rows and self.connection.next_event() is NEED_DATA

    def until_ready(self) -> list[Message]:
        """All events up to and with the next ReadyForQuery."""
        events = [self.next()]
        while not isinstance(events[-1], ReadyForQuery):
            assert not isinstance(events[-1], Closed), events[-1]
            events.append(self.next())
        return events

    def values(self) -> list[bytes | None]:
        """The first column of the rows up to the next ReadyForQuery."""
        return [event.values[0] for event in self.until_ready() if isinstance(event, DataRow)]

    def trace(self) -> list[str]:
        """What went over the wire since the start-up, without what varies from server to server."""
        merged: list[tuple[str, bytes]] = []
        for direction, data in [*self._log, ("B", self._unlogged)]:
            if merged and merged[-1][0] == direction:
                merged[-1] = (direction, merged[-1][1] + data)
            else:
                merged.append((direction, data))
        lines = [line for direction, data in merged for line in trace_bytes(direction, data)]
        return [without_what_varies(line) for line in lines]

    def _wait(self, write: bool = False) -> tuple[bool, bool]:
        started = time.monotonic()
        readable, writable, _ = select.select([self._socket], [self._socket] if write else [], [], DEADLINE)
        assert time.monotonic() - started < DEADLINE, "the server neither reads nor writes"
        return bool(readable), bool(writable)

    def _read(self) -> None:
        data = self._socket.recv(65536)
        self._unlogged += data
        self.connection.receive_data(data)


def without_what_varies(line: str) -> str:
    """A line as libpq's tests keep it: without source positions, lengths of reports and table OIDs."""
    line = re.sub(r' ([FLR]) "[^"]*"', r' \1 "SSSS"', line)
    line = re.sub(r"^(B\t)\d+(\t(?:Error|Notice)Response\t)", r"\1NN\2", line)
    if "\tRowDescription\t" in line:
        line = re.sub(r'("[^"]*") [1-9]\d* ', r"\1 NNNN ", line)
    return line
