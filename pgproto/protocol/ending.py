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

# How many errors after the first cause are kept, and how many bytes are searched for them.
_MAX_ALSO: Final = 8
_MAX_DIAGNOSTIC_BYTES: Final = 1 << 16


class Ending:
    """How one session ends, and what comes after that.

    Attributes:
        hint: an error or warning that explains the EOF, should one follow before the next ReadyForQuery.
    """

    __slots__ = ("_searched", "hint")

    def __init__(self) -> None:
        self.hint: ErrorResponse | NoticeResponse | None = None
        self._searched = 0

    def end(self, closed: Closed | None, error: Exception | None, flight: InFlight) -> Closed:
        """The one transition.  The first cause stays; later ones are kept beside it.

        Args:
            closed: the session's end, if it has come already.
            error: what ends the session; None for a plain end.
            flight: the requests in flight, which are settled.

        Returns:
            The session's end.
        """
        if closed is not None:
            if error is not None and len(closed.also) < _MAX_ALSO and error is not closed.error:
                closed.also.append(error)
            return closed
        also: list[Exception] = []
        if self.hint is not None and isinstance(error, ConnectionLost):
            # Its own error: what an ErrorResponse carries is that of the query which it has answered.
            error, also = PostgresError.of(self.hint.fields), [error]
        return Closed(error, also, flight.settle())

    def search(self, closed: Closed, reader: FrameReader, data: bytes) -> None:
        """Look for further errors of the server after the end, and for nothing else.

        Args:
            closed: the session's end.
            reader: what has read all that came before.
            data: what came.
        """
        if not isinstance(closed.error, PostgresError):
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
            # Not messages any more.  Nothing after this point can be trusted to be one.
            self._searched = _MAX_DIAGNOSTIC_BYTES + 1
