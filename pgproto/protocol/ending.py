"""How a session ends: once, whatever ends it.

CLOSED is a state and not an action.  FATAL, PANIC, EOF, a broken frame, an unexpected message and a local
close all go through `end`.  The first cause stays; everything that was in flight is settled with it, and
later bytes are searched for further ErrorResponses, and for nothing else.

(pgx closed a channel here, on several code paths; the second FATAL of one read closed it again and
crashed the program.  A state that is entered twice is entered once.)
"""

from __future__ import annotations

from typing import Final

from ..errors import ConnectionLost, PostgresError, RemoteProtocolError
from ..wire import ErrorResponse, FrameReader, NoticeResponse, decode_backend, frames, tags
from .events import Closed
from .inflight import InFlight

__all__ = ["Ending"]

# How many errors behind the first cause are kept, and how many bytes are searched for them.
_MAX_ALSO: Final = 8
_MAX_DIAGNOSTIC_BYTES: Final = 1 << 16


class Ending:
    """The end of one session, before and after it has come.

    Attributes:
        closed: the event that says so, and why; None while the session is alive.
        hint: an error or warning that explains the EOF, should one follow before the next ReadyForQuery.
    """

    __slots__ = ("_searched", "closed", "hint")

    def __init__(self) -> None:
        self.closed: Closed | None = None
        self.hint: ErrorResponse | NoticeResponse | None = None
        self._searched = 0

    def end(self, error: Exception | None, flight: InFlight) -> bool:
        """The one transition.  The first cause stays; later ones are kept beside it.

        Args:
            error: what ends the session; None for a plain end.
            flight: the requests in flight, which are settled.

        Returns:
            True if this was the first.
        """
        closed = self.closed
        if closed is not None:
            if error is not None and len(closed.also) < _MAX_ALSO and error is not closed.error:
                closed.also.append(error)
            return False
        also: list[Exception] = []
        if self.hint is not None and isinstance(error, ConnectionLost):
            # Its own error: what an ErrorResponse carries is that of the query which it has answered.
            error, also = PostgresError.of(self.hint.fields), [error]
        self.closed = Closed(error, also, flight.settle())
        return True

    def search(self, reader: FrameReader, data: bytes) -> None:
        """Look for further errors of the server after the end, and for nothing else.

        Args:
            reader: what has read all that came before.
            data: what came.
        """
        closed = self.closed
        if closed is None or not isinstance(closed.error, PostgresError):
            return  # where the stream was left in the middle of a message, nothing in it can be trusted
        if self._searched > _MAX_DIAGNOSTIC_BYTES:
            return
        self._searched += len(data)
        reader.receive_data(data)
        try:
            while len(closed.also) < _MAX_ALSO and reader.next_frame(frames.BACKEND_STARTUP):
                if reader.tag == tags.ERROR_RESPONSE:
                    message = decode_backend(reader.tag, reader.buffer, reader.start, reader.end)
                    assert isinstance(message, ErrorResponse)
                    closed.also.append(message.error)
        except RemoteProtocolError:
            # Not messages any more.  Nothing behind this point can be trusted to be one.
            self._searched = _MAX_DIAGNOSTIC_BYTES + 1
