"""Planted bugs of the lower layers: frames, the state of the connection, how it ends, what an answer is.

The model servers run on the same classes, in the other role.  A bug that made *them* fail would be caught
by accident, so every bug here is planted where only a client comes by, or asks for the role.
"""

from __future__ import annotations

from typing import Final

from pgproto.protocol import PGConnection
from pgproto.protocol.ending import Ending
from pgproto.session.copy import _Copy
from pgproto.wire.frames import FrameReader
from pgproto_asyncio.link import Link

from .planted_edit import Bug, Edit

__all__ = ["BUGS"]

# In Go, closing is an action, and doing it twice panics.
_CLOSING_IS_AN_ACTION: Final = Edit(
    Ending,
    "end",
    (
        "if closed is not None:",
        """if closed is not None and isinstance(error, PostgresError):
    raise RuntimeError("close of closed channel")
if closed is not None:""",
    ),
)

BUGS: Final = (
    Bug(
        "pgx-1920",
        "pgx #1920: the second FATAL of one read closes what the first one has closed: panic",
        [
            _CLOSING_IS_AN_ACTION,
            Edit(
                Ending,
                "search",
                (
                    "closed.also.append(message.error)",
                    "self.end(closed, message.error, InFlight())",
                ),
            ),
        ],
        kinds="error cause",
    ),
    Bug(
        "pgx-2470",
        "pgx #2470: the clean-up after the server's FATAL ends what the end of the stream ends once more",
        [
            Edit(
                Link,
                "_close_transport",
                (
                    "self._transport.close()",
                    """self._transport.close()
if self.engine.connection.closed is not None and self.engine.connection.closed.also:
    self.closed.set_result(None)""",
                ),
            ),
            Edit(Link, "connection_lost", ("if not self.closed.done():", "if True:")),
        ],
        kinds="error",
    ),
    Bug(
        "pgx-2364",
        "pgx #2364: one FATAL during COPY: the reader closes the connection, and COPY closes it again: panic",
        [
            _CLOSING_IS_AN_ACTION,
            Edit(
                _Copy,
                "handle",
                (
                    "segment.fail(event.error)",
                    """segment.fail(event.error)
if segment.error is not None and segment.error.fatal:
    channel.connection.close(segment.error)""",
                ),
            ),
        ],
        kinds="error",
        profile="copy",
        start=1018,
    ),
    Bug(
        "second-fatal-wins",
        "psycopg and others: the pooler's 08P01 behind the server's 57P01 becomes the reason",
        [
            Edit(
                Ending,
                "search",
                (
                    "closed.also.append(message.error)",
                    """closed.also.append(closed.error)
closed.error = message.error""",
                ),
            )
        ],
        kinds="cause",
        start=1285,
    ),
    Bug(
        "also-lost",
        "asyncpg, psycopg: what came behind the first FATAL is thrown away",
        [
            Edit(
                Ending,
                "search",
                ("closed.also.append(message.error)", "pass"),
            )
        ],
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
        [
            Edit(
                PGConnection,
                "_error",
                ("if error.fatal:", 'if error.fields.get("S") in ("FATAL", "PANIC"):'),
            )
        ],
        kinds="hang label late cause",
        start=659,
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
        [
            Edit(
                PGConnection,
                "_receive_eof",
                (
                    "self._end(ConnectionLost(text))",
                    "if self._ending.hint is None:\n    self._end(ConnectionLost(text))",
                ),
            )
        ],
        kinds="core hang late",
    ),
    Bug(
        "crash-notice-ignored",
        "most drivers: the WARNING 57P02 before EOF is a notice like others, and the reason is lost",
        [Edit(PGConnection, "_asynchronous", ('in ("57P01", "57P02")', "in ()"))],
        kinds="cause",
    ),
    Bug(
        "pgbouncer-141",
        "pgbouncer #141, pglite #958: a stray ReadyForQuery is absorbed",
        [
            Edit(
                PGConnection,
                "_next_backend",
                (
                    "if after == states.NEVER:",
                    """if tag == tags.READY_FOR_QUERY and after == states.NEVER:
    return None
if after == states.NEVER:""",
                ),
            )
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
        start=7322,
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
        [Edit(FrameReader, "_check", ("if length < 4 or length > limit:", "if length < 4:"))],
        kinds="poison",
    ),
    Bug(
        "notice-is-an-answer",
        "libpq (psycopg #314, #350): a notice in the middle of a pipeline shifts the queue by one",
        [
            Edit(
                PGConnection,
                "_next_other",
                (
                    "if tag in states.ASYNCHRONOUS:",
                    """if tag == tags.NOTICE_RESPONSE and self._in_flight.requests:
    self._in_flight.advance(states.DONE)
if tag in states.ASYNCHRONOUS:""",
                ),
            )
        ],
        kinds="error hang late rows label surprise",
    ),
    Bug(
        "parameter-status-is-an-answer",
        "a ParameterStatus in the middle of answers counts as one",
        [
            Edit(
                PGConnection,
                "_next_other",
                (
                    "if tag in states.ASYNCHRONOUS:",
                    """if tag == tags.PARAMETER_STATUS and self._in_flight.requests:
    self._in_flight.advance(states.DONE)
if tag in states.ASYNCHRONOUS:""",
                ),
            )
        ],
        kinds="error hang late rows label surprise",
    ),
    Bug(
        "no-last-words",
        "asyncio's own transports: after a failed write, unread words (57P01) are thrown away",
        [Edit(Link, "connection_lost", ("if rest:", "if False:"))],
        kinds="cause label",
        start=1100,
    ),
)
