"""What goes wrong, and where: the vocabulary of the cells.

A *position* cuts the answer to a flight in two.  A *fault* is what is said there, and how the connection
ends; or, where the session goes on, what becomes of the whole answer (`mutate`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgproto.wire import (
    BindComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    DataRow,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ParseComplete,
    ReadyForQuery,
)
from tests.support.scripted import error, fatal, pooler_fatal

__all__ = ["FAULTS", "PLACES", "Answer", "Fault", "position"]

Answer = list[Message | bytes]
Mutate = Callable[[Answer], Answer]
PLACES = {
    "P1": "the client is still writing",
    "P2": "no answer yet",
    "P2p": "no answer yet to the flight that only prepares the statement",
    "P3": "inside of the header of a message",
    "P4": "inside of the body of a message",
    "P5": "between rows",
    "P6": "between the results of a batch",
    "P7": "behind CommandComplete, before ReadyForQuery",
    "P8": "behind the statement's ERROR",
    "P10": "while the connection is idle in the pool",
    "P11": "instead of the answer to what is sent next: a reset, a ping, or the next query",
    "P12": "while connecting",
    "P13": "while COPY data come from the client",
}
ADMIN = "terminating connection due to administrator command"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Args:
        name: for the command line and the tables.
        number: in the project's catalogue of faults.
        title: in words.
        parts: what the server says at the position.
        end: `fin`, `reset` (RST), `unread` (closed with unread input, which is a RST), `silent`, `deaf`
            (silent, and reads nothing), `drip` (the rest of the answer slowly), `late` (the answer
            comes when a cancel request has come, or after 3 s), `cancelled` (57014 then), `go` (the session
            goes on).
        mutate: what becomes of the whole answer, instead of `parts`.
        states: the SQLSTATEs that the server has given as its reasons, the first cause first.
        speaker: whose words `parts` are: `server`, `pooler`, `notice` or `nobody`.
    """

    name: str
    number: int
    title: str
    parts: tuple[Message | bytes, ...] = ()
    end: str = "fin"
    mutate: Mutate | None = None
    states: tuple[str, ...] = ()
    speaker: str = "nobody"


def position(place: str, answer: Answer, item: int) -> tuple[Answer, Answer] | None:
    """The answer's part before the position and the one behind it; None if it does not occur in this answer.

    Args:
        place: one of the positions.
        answer: the messages of a whole flight.
        item: the execution in this flight that is meant, from 0.
    """
    if place in ("", "P2", "P2p", "P11"):
        return [], answer
    rows = [index for index, each in enumerate(answer) if isinstance(each, DataRow | CopyData)]
    ends = [index for index, each in enumerate(answer) if isinstance(each, CommandComplete)]
    if place in ("P3", "P4", "P5") and len(rows) > 1:
        row = answer[rows[1]]
        assert isinstance(row, Message)
        data = row.encode()
        cut = {"P3": 3, "P4": len(data) - 1, "P5": 0}[place]
        return [*answer[: rows[1]], data[:cut]], [data[cut:], *answer[rows[1] + 1 :]]
    if place == "P6" and item < len(ends):
        at = ends[item - 1] + 1 if item else 0
        return answer[:at], answer[at:]
    if place == "P7" and isinstance(answer[-1], ReadyForQuery):
        return answer[:-1], answer[-1:]
    if place == "P8" and item < len(ends):
        at = ends[item - 1] + 1 if item else 0
        bound = [each for each in answer[at : ends[item]] if not isinstance(each, DataRow | CopyDone)]
        return [*answer[:at], *bound, error("22012", "division by zero")], answer[-1:]
    return None


# ---- What becomes of an answer when the session goes on


def _first(kind: type[Message], answer: Answer) -> int:
    return next((index for index, each in enumerate(answer) if isinstance(each, kind)), -1)


def _without(kind: type[Message]) -> Mutate:
    def mutate(answer: Answer) -> Answer:
        at = _first(kind, answer)
        return answer if at < 0 else answer[:at] + answer[at + 1 :]

    return mutate


def _before(kind: type[Message], *parts: Message | bytes) -> Mutate:
    def mutate(answer: Answer) -> Answer:
        at = _first(kind, answer)
        return answer if at < 0 else [*answer[:at], *parts, *answer[at:]]

    return mutate


def _instead(kind: type[Message], *parts: Message | bytes) -> Mutate:
    def mutate(answer: Answer) -> Answer:
        at = _first(kind, answer)
        return answer if at < 0 else [*answer[:at], *parts, *answer[at + 1 :]]

    return mutate


def _ready(status: str) -> Mutate:
    return lambda answer: [*answer[:-1], ReadyForQuery(status)]


def _noise(answer: Answer) -> Answer:
    return [part for each in answer for part in (*NOISE, each)] + list(NOISE)


def _fails(state: str, message: str) -> Mutate:
    return lambda answer: [error(state, message), *answer[-1:]]


NOTICE = {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": "by the way"}
NOISE = (
    NoticeResponse(NOTICE),
    ParameterStatus("application_name", "noise"),
    NotificationResponse(7, "jobs", "go"),
)
CRASH = NoticeResponse({"S": "WARNING", "V": "WARNING", "C": "57P02", "M": "because of crash"})
SYNCREP = NoticeResponse(
    {
        "S": "WARNING", "V": "WARNING", "C": "57P01",
        "M": "canceling the wait for synchronous replication and terminating connection",
        "D": "The transaction has already committed locally, but might not be on the standby.",
    }
)  # fmt: skip
SERVER, POOLER = fatal("57P01", ADMIN), pooler_fatal()
OLD_POOLER = pooler_fatal(severity="ERROR")
MORE = (DataRow([b"9999"]), CommandComplete("SELECT 1"), ReadyForQuery("I"), b"D\0\0")

_ALL = (
    # The server or the pooler ends the session.
    Fault("fatal", 1, "FATAL, then FIN", (SERVER,), states=("57P01",), speaker="server"),
    Fault("fatal-fatal", 2, "FATAL, FATAL of the pooler, FIN, in one segment", (SERVER, POOLER),
          states=("57P01", "08P01"), speaker="server"),
    Fault("fatal-more", 3, "FATAL, then rows, CommandComplete, ReadyForQuery", (SERVER, *MORE),
          states=("57P01",), speaker="server"),
    Fault("fatal-open", 4, "FATAL, and no FIN", (SERVER,), "silent", states=("57P01",), speaker="server"),
    Fault("crash", 5, "WARNING 57P02 (crash), then FIN", (CRASH,), states=("57P02",), speaker="notice"),
    Fault("syncrep", 6, "WARNING 57P01 (committed locally), then FIN", (SYNCREP,),
          states=("57P01",), speaker="notice"),
    Fault("eof", 8, "FIN without a word"),
    Fault("reset", 9, "RST with an unread FATAL before it", (SERVER,), "reset", states=("57P01",),
          speaker="server"),
    Fault("bare-reset", 9, "RST without a word", (), "reset"),
    Fault("unread", 10, "FATAL while the client writes, closed with its data unread", (SERVER,), "unread",
          states=("57P01",), speaker="server"),
    Fault("silence", 11, "silence", (), "silent"),
    Fault("deaf", 11, "silence, and nothing is read", (), "deaf"),
    Fault("drip", 12, "the rest slowly: 60 bytes one by one, in 3 s", (), "drip"),
    Fault("old-pooler", 14, "ERROR 08P01 of an old pooler, then FIN", (OLD_POOLER,), states=("08P01",),
          speaker="pooler"),
    Fault("pooler", 22, "FATAL 08P01 of the pooler alone, then FIN",
          (pooler_fatal("query_wait_timeout"),), states=("08P01",), speaker="pooler"),
    # The session goes on.
    Fault("committed-notice", 7, "WARNING 57P01 (committed locally), then CommandComplete, ReadyForQuery",
          end="go", mutate=_before(CommandComplete, SYNCREP)),
    Fault("noise", 13, "Notice, ParameterStatus, Notification between any two messages", end="go",
          mutate=_noise),
    Fault("status-T", 16, "ReadyForQuery with status T", end="go", mutate=_ready("T")),
    Fault("status-E", 16, "ReadyForQuery with status E", end="go", mutate=_ready("E")),
    Fault("extra-ready", 17, "a second ReadyForQuery", (ReadyForQuery("I"),), "go",
          mutate=lambda answer: [*answer, ReadyForQuery("I")]),
    Fault("early-ready", 17, "a ReadyForQuery before the answer", end="go",
          mutate=lambda answer: [ReadyForQuery("I"), *answer]),
    Fault("extra-answer", 17, "a whole second answer", end="go", mutate=lambda answer: [*answer, *answer]),
    Fault("no-complete", 18, "CommandComplete is missing", end="go", mutate=_without(CommandComplete)),
    Fault("two-completes", 18, "CommandComplete twice", end="go",
          mutate=_before(CommandComplete, CommandComplete("SELECT 3"))),
    Fault("no-bind", 18, "BindComplete is missing", end="go", mutate=_without(BindComplete)),
    Fault("parse-in-rows", 18, "ParseComplete between rows", end="go",
          mutate=_before(DataRow, ParseComplete())),
    Fault("unknown", 18, "an unknown message type", end="go", mutate=_before(DataRow, b"x\0\0\0\4")),
    Fault("copy-in", 18, "CopyInResponse to a SELECT", end="go",
          mutate=_instead(DataRow, CopyInResponse(0, [0]))),
    Fault("copy-both", 18, "CopyBothResponse to a SELECT", end="go",
          mutate=_instead(DataRow, CopyBothResponse(0, [0]))),
    Fault("wide-row", 18, "a row with more columns than described", end="go",
          mutate=_instead(DataRow, DataRow([b"1", b"2"]))),
    Fault("cut-row", 18, "a column that is longer than its row", end="go",
          mutate=_instead(DataRow, b"D\0\0\0\x0e\0\1\0\0\1\0abcd")),
    Fault("negative-column", 18, "a column of length -2", end="go",
          mutate=_instead(DataRow, b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe")),
    Fault("short-length", 18, "a message of length 3", end="go", mutate=_instead(DataRow, b"D\0\0\0\3")),
    Fault("negative-length", 18, "a message of length -1", end="go",
          mutate=_instead(DataRow, b"D\xff\xff\xff\xff")),
    Fault("giant-length", 18, "a message of length 2^31-1", (), "silent",
          mutate=_instead(DataRow, b"D\x7f\xff\xff\xff\0\1")),
    Fault("http", 18, "an HTTP response", (b"HTTP/1.1 400 Bad Request\r\n\r\n",), "fin"),
    Fault("error", 35, "an ERROR, and the session goes on", end="go",
          mutate=_fails("22012", "division by zero"), states=("22012",), speaker="server"),
    Fault("read-only", 23, "ERROR 25006 of a demoted primary", end="go",
          mutate=_fails("25006", "cannot execute INSERT in a read-only transaction"), states=("25006",),
          speaker="server"),
    Fault("copy-error", 35, "an ERROR while COPY data are coming",
          (error("22P04", "bad copy data"),), "go", states=("22P04",), speaker="server"),
    Fault("lost-statement", 36, "ERROR 26000: the pooler has lost the statement", end="go",
          mutate=_fails("26000", "prepared statement does not exist"), states=("26000",), speaker="server"),
    Fault("changed-plan", 36, "ERROR 0A000: cached plan must not change result type", end="go",
          mutate=_fails("0A000", "cached plan must not change result type"), states=("0A000",),
          speaker="server"),
    # Cancelling.
    Fault("cancelled", 37, "the cancel request ends the query: 57014", (), "cancelled"),
    Fault("late", 37, "the cancel request comes too late: the query ends well", (), "late"),
    # None at all: what is wrong is in the client.
    Fault("none", 28, "nothing wrong on the wire", (), "go", mutate=list),
)  # fmt: skip

FAULTS = {fault.name: fault for fault in _ALL}
