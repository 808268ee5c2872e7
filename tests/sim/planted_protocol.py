"""Planted bugs of the lower layers: frames, the state of the connection, how it ends, what an answer is.

The model servers run on the same classes, in the other role.  A bug that made *them* fail would be caught
by accident, so every bug here is planted where only a client comes by, or asks for the role.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgproto import PostgresError, wire
from pgproto.protocol import Closed, PGConnection, states
from pgproto.protocol.ending import Ending
from pgproto.protocol.inflight import InFlight
from pgproto.session.channel import Channel
from pgproto.session.copy import CopyIn, CopyOut
from pgproto.session.segment import Segment
from pgproto.wire import ErrorResponse, Message, NoticeResponse, ParameterStatus, ReadyForQuery, tags
from pgproto.wire.frames import FrameReader, Limits
from pgproto_asyncio.link import Link
from pgproto_sockets import readiness

from .planted_edit import Bug, Edit, Value, Wrap, returns

__all__ = ["BUGS"]


# In Go, closing is an action, and doing it twice panics.
def _close_twice(
    end: Callable[..., Closed], self: Ending, closed: Closed | None, error: Exception | None, flight: InFlight
) -> Closed:
    if closed is not None and isinstance(error, PostgresError):
        raise RuntimeError("close of closed channel")
    return end(self, closed, error, flight)


_CLOSING_IS_AN_ACTION: Final = Wrap(Ending, "end", _close_twice)


def _close_at_each(
    search: Callable[..., None], self: Ending, closed: Closed, reader: FrameReader, data: bytes
) -> None:
    before = len(closed.also)
    search(self, closed, reader, data)
    for error in closed.also[before:]:
        self.end(closed, error, InFlight())


def _keep_the_last(
    search: Callable[..., None], self: Ending, closed: Closed, reader: FrameReader, data: bytes
) -> None:
    before = len(closed.also)
    search(self, closed, reader, data)
    for index in range(before, len(closed.also)):
        first = closed.error
        assert first is not None  # nothing is searched after a normal end
        closed.error, closed.also[index] = closed.also[index], first


def _keep_the_first(
    search: Callable[..., None], self: Ending, closed: Closed, reader: FrameReader, data: bytes
) -> None:
    before = len(closed.also)
    search(self, closed, reader, data)
    del closed.also[before:]


def _ignore_the_notice(
    end: Callable[..., Closed], self: Ending, closed: Closed | None, error: Exception | None, flight: InFlight
) -> Closed:
    if isinstance(self.hint, NoticeResponse):
        self.hint = None
    return end(self, closed, error, flight)


def _clean_up(pump: Callable[[Link], None], self: Link) -> None:
    pump(self)
    closed = self.engine.connection.closed
    if closed is not None and closed.also and self.engine.finished and not self.closed.done():
        self.closed.set_result(None)


def _and_clean_up(lost: Callable[..., None], self: Link, exc: Exception | None) -> None:
    done = self.closed.done()
    lost(self, exc)
    if done:
        self.closed.set_result(None)


def _throw_it_away(lost: Callable[..., None], self: Link, exc: Exception | None) -> None:
    if exc is not None and self.descriptor >= 0:
        readiness.read_rest(self.descriptor)
    lost(self, exc)


def _close_at_fatal(
    handle: Callable[..., None], self: CopyIn | CopyOut, channel: Channel, segment: Segment, event: Message
) -> None:
    handle(self, channel, segment, event)
    if isinstance(event, ErrorResponse) and event.error.fatal:
        channel.connection.close(event.error)


def _severity_of_s(decode: Callable[..., Message], tag: int, buffer: bytes, start: int, end: int) -> Message:
    message = decode(tag, buffer, start, end)
    if isinstance(message, ErrorResponse) and "V" in message.fields:
        return ErrorResponse({**message.fields, "V": message.fields["S"]})
    return message


def _wait_after_an_error(receive: Callable[..., None], self: PGConnection, data: bytes) -> None:
    if data or self._ending.hint is None:
        receive(self, data)


def _with_stray_ready(answers: bytes) -> bytes:
    table = bytearray(answers)
    table[states.IDLE << 8 | tags.READY_FOR_QUERY] = states.IDLE
    return bytes(table)


def _skip_stray_ready(following: Callable[[PGConnection], Message], self: PGConnection) -> Message:
    while True:
        started = self.phase == states.READY
        event = following(self)
        if not (started and isinstance(event, ReadyForQuery) and event.request is None):
            return event


def _count_notices(following: Callable[[PGConnection], Message], self: PGConnection) -> Message:
    event = following(self)
    if isinstance(event, NoticeResponse) and self.in_flight:
        self._in_flight.advance(states.DONE)
    return event


def _count_parameters(following: Callable[[PGConnection], Message], self: PGConnection) -> Message:
    event = following(self)
    if isinstance(event, ParameterStatus) and self.in_flight:
        self._in_flight.advance(states.DONE)
    return event


BUGS: Final = (
    Bug(
        "pgx-1920",
        "pgx #1920: the second FATAL of one read closes what the first one has closed: panic",
        [_CLOSING_IS_AN_ACTION, Wrap(Ending, "search", _close_at_each)],
        kinds="error cause",
    ),
    Bug(
        "pgx-2470",
        "pgx #2470: the clean-up after the server's FATAL ends what the end of the stream ends once more",
        [Wrap(Link, "pump", _clean_up), Wrap(Link, "connection_lost", _and_clean_up)],
        kinds="error",
    ),
    Bug(
        "pgx-2364",
        "pgx #2364: one FATAL during COPY: the reader closes the connection, and COPY closes it again: panic",
        [
            _CLOSING_IS_AN_ACTION,
            Wrap(CopyIn, "handle", _close_at_fatal),
            Wrap(CopyOut, "handle", _close_at_fatal),
        ],
        kinds="error",
        profile="copy",
    ),
    Bug(
        "second-fatal-wins",
        "psycopg and others: the pooler's 08P01 behind the server's 57P01 becomes the reason",
        [Wrap(Ending, "search", _keep_the_last)],
        kinds="cause",
    ),
    Bug(
        "also-lost",
        "asyncpg, psycopg: what came behind the first FATAL is thrown away",
        [Wrap(Ending, "search", _keep_the_first)],
        kinds="cause",
    ),
    Bug(
        "data-after-fatal",
        "pgx #1920 (root cause): FATAL is one more error, and what follows it is still taken for answers",
        [
            Edit(
                PGConnection,
                "_error",
                (
                    "if error.fatal:",
                    "if error.fatal and self._in_flight.state in states.NO_ERROR:",
                ),
            )
        ],
        kinds="hang label late cause",
    ),
    Bug(
        "severity-localised",
        "pgx HEAD: severity from the S field, which the server translates: a FATAL is no FATAL",
        [Wrap(wire, "decode_backend", _severity_of_s)],
        kinds="hang label late cause",
    ),
    Bug(
        "severity-without-v",
        "severity from the V field alone: pgbouncer's FATAL has none, and is taken for an ERROR",
        [
            Edit(
                PGConnection,
                "_error",
                ("if error.fatal:", 'if error.fields.get("V") in ("FATAL", "PANIC"):'),
            )
        ],
        kinds="hang label late cause",
    ),
    Bug(
        "error-then-eof-waits",
        "pgbouncer before 1.16 says ERROR and hangs up; who waits for ReadyForQuery waits for ever",
        [Wrap(PGConnection, "receive_data", _wait_after_an_error)],
        kinds="core hang late",
    ),
    Bug(
        "crash-notice-ignored",
        "most drivers: the WARNING 57P02 before EOF is a notice like others, and the reason is lost",
        [Wrap(Ending, "end", _ignore_the_notice)],
        kinds="cause",
    ),
    Bug(
        "pgbouncer-141",
        "pgbouncer #141, pglite #958: a stray ReadyForQuery is absorbed",
        [
            Value(states, "ANSWER", _with_stray_ready(states.ANSWER)),
            Wrap(PGConnection, "next_event", _skip_stray_ready),
        ],
        kinds="poison",
    ),
    Bug(
        "unexpected-message-skipped",
        'Npgsql #1636: "received X while expecting Y" is logged, and the next message tried',
        [Edit(PGConnection, "_next_other", ("raise self._unexpected(tag)", "return None"))],
        kinds="poison hang late rows",
    ),
    Bug(
        "pgx-1155",
        "pgx #1155, #1138: a header with a length below 4 is believed",
        [
            Edit(
                FrameReader,
                "next_frame",
                (
                    "if length < 4 or length > limits.lowest:",
                    """if tags.DATA_ROW in limits.by_tag:
    Struct(f"{length - 4}s")
if length > limits.lowest:""",
                ),
            )
        ],
        kinds="error",
    ),
    Bug(
        "split-header",
        "pgx 2017 (b3d0cbd0): a header that comes in two reads is read from the wrong place",
        [
            Edit(
                FrameReader,
                "next_frame",
                (
                    "if not self._have(5):\n    return False\nposition = self._next",
                    """if not self._have(5):
    return False
if tags.DATA_ROW not in limits.by_tag:
    position = self._next""",
                ),
            )
        ],
        kinds="error surprise",
    ),
    Bug(
        "no-length-limit",
        "no bound on a message: what a broken peer announces is waited for, whatever it costs",
        [Wrap(Limits, "of", returns(1 << 31))],
        kinds="poison",
    ),
    Bug(
        "notice-is-an-answer",
        "libpq (psycopg #314, #350): a notice in the middle of a pipeline shifts the queue by one",
        [Wrap(PGConnection, "next_event", _count_notices)],
        kinds="error hang late rows label surprise",
    ),
    Bug(
        "parameter-status-is-an-answer",
        "a ParameterStatus in the middle of answers counts as one",
        [Wrap(PGConnection, "next_event", _count_parameters)],
        kinds="error hang late rows label surprise",
    ),
    Bug(
        "no-last-words",
        "asyncio's own transports: after a failed write, unread words (57P01) are thrown away",
        [Wrap(Link, "connection_lost", _throw_it_away)],
        kinds="cause label",
    ),
)
