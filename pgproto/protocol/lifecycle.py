"""How a session ends: once, whatever ends it.

CLOSED is a state and not an action.  FATAL, PANIC, EOF, a broken frame, an unexpected message and a local
close all go through `_end`.  The first cause stays; everything that was in flight is settled with it, and
later bytes are searched for further ErrorResponses, and for nothing else.

(pgx closed a channel here, on several code paths; the second FATAL of one read closed it again and
crashed the program.  A state that is entered twice is entered once.)
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..errors import ConnectionLost, PostgresError, RemoteProtocolError
from ..wire import ErrorResponse, FrameReader, Message, NoticeResponse, decode_backend, frames, tags
from . import states
from .events import Closed
from .inflight import InFlight

__all__ = ["CLIENT", "SERVER", "Lifecycle"]

CLIENT: Final = 0
"""The role that sends requests."""
SERVER: Final = 1
"""The role that answers them."""

# How many errors behind the first cause are kept, and how many bytes are searched for them.
_MAX_ALSO: Final = 8
_MAX_DIAGNOSTIC_BYTES: Final = 1 << 16


class Lifecycle:
    """The part of a `Connection` that knows whether it is over, and what was in flight then."""

    __slots__ = ("_also_bytes", "_closed", "_events", "_hint", "_in_flight", "_phase", "_reader", "role")

    def __init__(self, role: int) -> None:
        self.role = role
        self._phase = states.START
        self._reader = FrameReader()
        self._events: deque[Message] = deque()
        self._in_flight = InFlight()
        # An error or warning that explains the EOF, should one follow before the next ReadyForQuery.
        self._hint: ErrorResponse | NoticeResponse | None = None
        self._closed: Closed | None = None
        self._also_bytes = 0

    @property
    def phase(self) -> int:
        """Where the session is: one of the phases in `states`, START to CLOSED."""
        return self._phase

    @property
    def head_state(self) -> int:
        """How far the answer to the oldest request has come: one of the head states in `states`."""
        return self._in_flight.state

    @property
    def head(self) -> Message | None:
        """The oldest request in flight, the one that the next answer belongs to."""
        return self._in_flight.head

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return len(self._in_flight)

    @property
    def closed(self) -> Closed | None:
        """The Closed event, once the session is over."""
        return self._closed

    @property
    def unread(self) -> int:
        """How many received bytes have not become events yet."""
        return self._reader.pending

    def _end(self, error: Exception | None) -> None:
        """The one transition to CLOSED.  The first cause stays; later ones are kept beside it."""
        if self._closed is not None:
            if error is not None and len(self._closed.also) < _MAX_ALSO and error is not self._closed.error:
                self._closed.also.append(error)
            return
        also: list[Exception] = []
        if self._hint is not None and isinstance(error, ConnectionLost):
            # Its own error: what an ErrorResponse carries is that of the query which it has answered.
            error, also = PostgresError.of(self._hint.fields), [error]
        self._phase = states.CLOSED
        self._closed = Closed(error, also, self._in_flight.settle())
        rest = self._reader.take_rest()
        if rest:
            self._diagnose(rest)

    def _diagnose(self, data: bytes) -> None:
        """Look for further ErrorResponses behind the end, and for nothing else."""
        closed = self._closed
        if closed is None or not isinstance(closed.error, PostgresError):
            return  # where the stream was left in the middle of a message, nothing in it can be trusted
        if self.role != CLIENT or self._also_bytes > _MAX_DIAGNOSTIC_BYTES:
            return
        self._also_bytes += len(data)
        reader = self._reader
        reader.receive_data(data)
        try:
            while len(closed.also) < _MAX_ALSO and reader.next_frame(frames.BACKEND_STARTUP):
                if reader.tag == tags.ERROR_RESPONSE:
                    message = decode_backend(reader.tag, reader.buffer, reader.start, reader.end)
                    assert isinstance(message, ErrorResponse)
                    closed.also.append(message.error)
        except RemoteProtocolError:
            # Not messages any more.  Nothing behind this point can be trusted to be one.
            self._also_bytes = _MAX_DIAGNOSTIC_BYTES + 1
