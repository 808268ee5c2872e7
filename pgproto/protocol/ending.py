"""How a session ends: once, whatever the reason.

FATAL, PANIC, EOF, a broken frame, an unexpected message and a local close all go through `end`.  The first
cause is kept, and all requests in flight are settled with it.  Bytes received later are searched for
further ErrorResponses, and for nothing else.

(pgx closed a channel on several code paths instead; the second FATAL of one read closed it again and
crashed the program.  Here the end is a state, and entering it again does nothing.)
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
    """The end of one session, and the search for errors after it.

    Attributes:
        hint: an error or warning that explains an EOF, if one follows before the next ReadyForQuery.
    """

    __slots__ = ("_searched", "hint")

    def __init__(self) -> None:
        self.hint: ErrorResponse | NoticeResponse | None = None
        self._searched = 0

    def end(self, closed: Closed | None, error: Exception | None, flight: InFlight) -> Closed:
        """The only transition.  The first cause is kept; later ones are added to `also`.

        Args:
            closed: the Closed event, if the session has already ended.
            error: the reason; None for a normal end.
            flight: the requests in flight, which are settled.

        Returns:
            The Closed event.
        """
        if closed is not None:
            if error is not None and len(closed.also) < _MAX_ALSO and error is not closed.error:
                closed.also.append(error)
            return closed
        also: list[Exception] = []
        if self.hint is not None and isinstance(error, ConnectionLost):
            # A new exception: the one in the ErrorResponse belongs to the query that it has answered.
            error, also = PostgresError.of(self.hint.fields), [error]
        return Closed(error, also, flight.settle())

    def search(self, closed: Closed, reader: FrameReader, data: bytes) -> None:
        """Look for further errors of the server after the end.

        Args:
            closed: the Closed event, to whose `also` they are added.
            reader: the session's reader, with the bytes before `data`.
            data: the received bytes.
        """
        if not isinstance(closed.error, PostgresError):
            return  # the reader may be in the middle of a message, so later frames cannot be trusted
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
            # These bytes are no messages, so nothing after them can be trusted to be one.
            self._searched = _MAX_DIAGNOSTIC_BYTES + 1
