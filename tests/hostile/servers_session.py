"""Servers that go wrong, or mean harm, once the session has started (security.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from pgproto import ConnectionLost, DataError, Error, Outcome, PostgresError, QueryTimeout
from pgproto import RemoteProtocolError as Remote
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    Bind,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    EmptyQueryResponse,
    Execute,
    FieldDescription,
    FunctionCallResponse,
    Message,
    NegotiateProtocolVersion,
    NoData,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    PortalSuspended,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from tests.hostile.case import START, Case, finish, keep_open, named
from tests.hostile.scram import SCRAM
from tests.support.scripted import Peer, Script, column, error, fatal

FRAMES = "CVE-2026-32286, CVE-2026-33816"
BOMB = "P memory bomb (pggat, xtdb #5852)"
LEGALITY = "P message legality"
COPY = "P COPY abuse"
ENCODING = "P client_encoding / ParameterStatus spoofing"
NAMES = "CVE-2017-16082"
VALUES = "CVE-2020-17446"
NESTING = "P deep nesting"
REUSE = "P extra ReadyForQuery (pgbouncer #141)"

PREPARING = f"{START} Parse Describe Sync"
RUNNING = f"{PREPARING} Bind Execute Sync"
SIMPLE = f"{START} Query"
READY = ReadyForQuery("I")
N = [column()]
ROW = DataRow([b"\0\0\0\1"])
DONE = CommandComplete("SELECT 1")
LATIN1 = ParameterStatus("client_encoding", "LATIN1")
NO_ENCODING = ParameterStatus("client_encoding", "")
LAST_WORDS = fatal("57P01", "terminating connection due to administrator command")


def preparing(*parts: Message | bytes, end: Script = keep_open) -> Script:
    """Start a session, take Parse and Describe, say these."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        peer.raw(*parts)
        end(peer)

    return script


def running(
    *parts: Message | bytes, columns: Sequence[FieldDescription] = N, end: Script = keep_open
) -> Script:
    """Start a session, prepare a statement with these columns, take its Bind and Execute, say these."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        description = RowDescription(columns) if columns else NoData()
        peer.send(ParseComplete(), ParameterDescription([]), description, READY)
        peer.expect(Bind, Execute, Sync)
        peer.raw(*parts)
        end(peer)

    return script


def asked(*parts: Message | bytes, end: Script = keep_open) -> Script:
    """Start a session, take a simple Query, say these."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Query)
        peer.raw(*parts)
        end(peer)

    return script


def copy_in_for(*before: Message) -> Script:
    """Answer a Query, or a Bind and an Execute, with CopyInResponse; the client must refuse at once."""

    def script(peer: Peer) -> None:
        peer.start()
        if before:
            peer.expect(Parse, Describe, Sync)
            peer.send(ParseComplete(), ParameterDescription([]), RowDescription(N), READY)
            peer.expect(Bind, Execute, Sync)
        else:
            peer.expect(Query)
        peer.send(*before, CopyInResponse(0, ()))
        peer.expect(CopyFail)
        peer.raw(error("57014", "COPY from stdin failed"), READY)

    return script


BOUND = BindComplete()
# Frames and bodies that are none, in the answer to an Execute.
_BROKEN: list[tuple[str, str, tuple[Message | bytes, ...], str, bool]] = [
    ("giant row", BOMB, (BOUND, b"D\x7f\xff\xff\xff\0\1"), "allowed are 4 to", True),
    ("negative length", FRAMES, (BOUND, b"D\xff\xff\xff\xff"), "allowed are 4 to", True),
    ("length 0", FRAMES, (BOUND, b"D\0\0\0\0"), "allowed are 4 to", True),
    ("negative column", FRAMES, (BOUND, b"D\0\0\0\x0a\0\1\xff\xff\xff\xfe"), "DataRow", True),
    ("least column", FRAMES, (BOUND, b"D\0\0\0\x0a\0\1\x80\0\0\0"), "DataRow", False),
    ("column beyond the row", FRAMES, (BOUND, b"D\0\0\0\x0e\0\1\0\0\1\0abcd"), "DataRow", True),
    ("columns beyond the row", FRAMES, (BOUND, b"D\0\0\0\x0a\x7f\xff\xff\xff\xff\xff"), "DataRow", True),
    ("minus one column", FRAMES, (BOUND, b"D\0\0\0\x0a\xff\xff\xff\xff\xff\xff"), "DataRow", False),
    ("bytes behind the columns", FRAMES, (BOUND, b"D\0\0\0\x0f\0\1\0\0\0\4abcdx"), "DataRow", True),
    ("two columns for one", FRAMES, (BOUND, DataRow([b"abcd", b"abcd"])), "DataRow", False),
    ("no column for one", FRAMES, (BOUND, DataRow([])), "DataRow", False),
    ("empty row body", FRAMES, (BOUND, b"D\0\0\0\4"), "DataRow", True),
    ("tag without end", FRAMES, (BOUND, b"C\0\0\0\x08SELE"), "malformed CommandComplete", True),
    ("tag with a tail", FRAMES, (BOUND, b"C\0\0\0\x0aSEL\0x\0"), "malformed CommandComplete", False),
    ("status", FRAMES, (BOUND, DONE, b"Z\0\0\0\5X"), "malformed ReadyForQuery", True),
    ("long status", FRAMES, (BOUND, DONE, b"Z\0\0\0\6II"), "malformed ReadyForQuery", True),
    ("giant ready", BOMB, (BOUND, DONE, b"Z\x40\0\0\0I"), "allowed are 4 to", True),
    ("bound with a body", FRAMES, (b"2\0\0\0\5x",), "malformed BindComplete", False),
    ("notice without end", FRAMES, (b"N\0\0\0\x08SERR", ROW), "malformed NoticeResponse", False),
    ("notification without end", FRAMES, (b"A\0\0\0\x0a\0\0\0\1ab",), "malformed Notification", False),
    ("parameter without end", FRAMES, (b"S\0\0\0\x07a\0b",), "malformed ParameterStatus", False),
    ("http", FRAMES, (b"HTTP/1.1 200 OK\r\n\r\n",), "allowed are|malformed|unexpected", True),
    ("zeros", FRAMES, (bytes(1000),), "allowed are 4 to", False),
    ("an unknown type", LEGALITY, (b"!\0\0\0\4",), "unexpected message type 0x21", False),
]  # fmt: skip
BROKEN = [
    Case(name, source, running(*said), text, heard=RUNNING, work="query", outcome=Outcome.UNKNOWN, tcp=tcp)
    for name, source, said, text, tcp in _BROKEN
]

# Messages that are good and out of place, in the answer to an Execute.
MISPLACED = [
    Case(
        name, source, running(*said), text, heard=RUNNING, work=work, outcome=Outcome.UNKNOWN,
        slow_text=slow,
    )
    for name, source, work, said, text, slow in [
        ("row without bind", LEGALITY, "query", (ROW,), "unexpected DataRow", ""),
        ("tag without bind", LEGALITY, "query", (DONE,), "unexpected CommandComplete", ""),
        ("ready without bind", REUSE, "query", (READY,), "unexpected ReadyForQuery", ""),
        ("ready without tag", REUSE, "query", (BOUND, ROW, READY), "unexpected ReadyForQuery", ""),
        ("row behind the tag", LEGALITY, "query", (BOUND, ROW, DONE, ROW), "unexpected DataRow", ""),
        ("two tags", LEGALITY, "query", (BOUND, ROW, DONE, DONE), "unexpected CommandComplete", ""),
        ("bound twice", LEGALITY, "query", (BOUND, BOUND), "unexpected BindComplete", ""),
        ("parsed", LEGALITY, "query", (ParseComplete(),), "unexpected ParseComplete", ""),
        ("closed", LEGALITY, "query", (CloseComplete(),), "unexpected CloseComplete", ""),
        ("no data", LEGALITY, "query", (BOUND, NoData()), "unexpected NoData", ""),
        ("columns again", LEGALITY, "query", (BOUND, RowDescription(N)), "unexpected RowDescription", ""),
        ("parameters", LEGALITY, "query", (BOUND, ParameterDescription([23])), "unexpected Param", ""),
        ("authentication", LEGALITY, "query", (BOUND, SCRAM), "unexpected Authentication", ""),
        ("authenticated again", LEGALITY, "query", (AuthenticationOk(),), "unexpected Authentication", ""),
        ("another key", "P cancel key", "query", (BackendKeyData(2, b"1234"),), "unexpected Backend", ""),
        ("a version", LEGALITY, "query", (NegotiateProtocolVersion(196608, []),), "unexpected Nego", ""),
        ("a function's result", "CVE-2026-6477", "query", (FunctionCallResponse(b"x"),), "unexpected Fu", ""),
        ("copy data", COPY, "query", (BOUND, CopyData(b"x")), "unexpected CopyData", ""),
        ("copy done", COPY, "query", (BOUND, CopyDone()), "unexpected CopyDone", ""),
        ("copy both", COPY, "query", (BOUND, CopyBothResponse(0, ())), "unexpected CopyBoth", ""),
        ("empty after rows", LEGALITY, "query", (BOUND, ROW, EmptyQueryResponse()), "unexpected Empty", ""),
        ("copy in after rows", COPY, "query", (BOUND, ROW, CopyInResponse(0, ())), "unexpected CopyIn", ""),
        ("copy out after rows", COPY, "query", (BOUND, ROW, CopyOutResponse(0, ())), "unexpected Copy", ""),
        ("suspended", LEGALITY, "query", (BOUND, ROW, PortalSuspended(), READY), "unexpected Portal", ""),
        ("another encoding between rows", ENCODING, "query", (BOUND, ROW, LATIN1, ROW), "LATIN1, and", ""),
        ("another encoding for a stream", ENCODING, "stream", (BOUND, ROW, LATIN1, ROW), "LATIN1, and", ""),
        ("no encoding between rows", ENCODING, "query", (BOUND, ROW, NO_ENCODING), "insists on client_", ""),
        ("copy both for a stream", COPY, "stream", (BOUND, CopyBothResponse(0, ())), "unexpected", ""),
        ("a row to a stream of none", LEGALITY, "stream", (BOUND, DONE, ROW), "unexpected DataRow", ""),
    ]
]  # fmt: skip

# In the answer to Parse and Describe: nothing of the query itself has been sent.
WHILE_PREPARING = [
    Case(
        f"{name} while preparing", LEGALITY, preparing(*said), text, heard=PREPARING, work="query",
        outcome=Outcome.NOT_SENT,
    )
    for name, said, text in [
        ("ready", (READY,), "unexpected ReadyForQuery"),
        ("bound", (BOUND,), "unexpected BindComplete"),
        ("a row", (ROW,), "unexpected DataRow"),
        ("a tag", (ParseComplete(), DONE), "unexpected CommandComplete"),
        ("columns without parameters", (ParseComplete(), RowDescription(N)), "unexpected RowDescription"),
        ("parameters twice", (ParseComplete(), *[ParameterDescription([])] * 2), "unexpected Parameter"),
        ("columns twice", (ParseComplete(), ParameterDescription([]), *[RowDescription(N)] * 2), "unexp"),
        ("copy in", (ParseComplete(), CopyInResponse(0, ())), "unexpected CopyIn"),
        ("65535 parameters and none", (ParseComplete(), b"t\0\0\0\6\xff\xff"), "malformed Parameter"),
        ("65535 columns and none", (ParseComplete(), ParameterDescription([]), b"T\0\0\0\6\xff\xff"), "malf"),
        (
            "a column's name without end",
            (ParseComplete(), ParameterDescription([]), b"T\0\0\0\x0a\0\1name"), "malformed Row",
        ),
        (
            "a column of format 2",
            (ParseComplete(), ParameterDescription([]), b"T\0\0\0\x19\0\1n\0" + bytes(16) + b"\0\2\0"),
            "malformed Row",
        ),
        ("giant columns", (ParseComplete(), ParameterDescription([]), b"T\x7f\xff\xff\xff"), "allowed are 4"),
    ]
]  # fmt: skip

# COPY that was asked for or not: the data goes to the very operation that it was handed to, or nowhere.
COPIES = [
    Case(name, COPY, asked(*said), text, kind, SIMPLE, work=work)
    for name, work, said, text, kind in [
        ("rows for copy in", "copy in", (RowDescription(N), ROW, DONE, READY), "COPY|copy", Error),
        ("a tag for copy in", "copy in", (CommandComplete("COPY 1"), READY), "COPY|copy", Error),
        ("copy out for copy in", "copy in", (CopyOutResponse(0, ()), CopyData(b"x")), "COPY|copy", Error),
        ("copy both for copy in", "copy in", (CopyBothResponse(0, ()),), "CopyBoth", Error),
        ("ready for copy in", "copy in", (READY,), "unexpected ReadyForQuery", Remote),
        ("copy done for copy in", "copy in", (CopyDone(),), "unexpected CopyDone", Remote),
        ("copy in of format 7", "copy in", (b"G\0\0\0\7\7\0\0",), "malformed CopyInResponse", Remote),
        ("copy in of -1 columns", "copy in", (b"G\0\0\0\7\0\xff\xff",), "malformed CopyInResponse", Remote),
        ("copy both for copy out", "copy out", (CopyBothResponse(0, ()),), "CopyBoth", Error),
        ("rows for copy out", "copy out", (RowDescription(N), ROW, DONE, READY), "COPY|copy", Error),
        ("a row within copy out", "copy out", (CopyOutResponse(0, ()), ROW), "unexpected DataRow", Remote),
        ("ready within copy out", "copy out", (CopyOutResponse(0, ()), READY), "unexpected Ready", Remote),
        ("a tag within copy out", "copy out", (CopyOutResponse(0, ()), DONE), "unexpected Command", Remote),
        (
            "data behind copy done", "copy out", (CopyOutResponse(0, ()), CopyDone(), CopyData(b"x")),
            "unexpected CopyData", Remote,
        ),
        ("giant copy data", "copy out", (CopyOutResponse(0, ()), b"d\x7f\xff\xff\xff"), "allowed", Remote),
        ("copy both for a script", "script", (CopyBothResponse(0, ()),), "COPY|CopyBoth", Error),
        ("two ready for a script", "script", (RowDescription(N), ROW, READY), "unexpected Ready", Remote),
        ("a bound script", "script", (BOUND,), "unexpected BindComplete", Remote),
        ("a script of bare rows", "script", (ROW,), "unexpected DataRow", Remote),
    ]
] + [
    Case(
        f"copy in for a {work}", COPY, copy_in_for(*messages), "57014", PostgresError, heard, work=work,
        outcome=Outcome.FAILED,
    )
    for work, messages, heard in [
        ("query", (BOUND,), f"{RUNNING} CopyFail Sync"),
        ("stream", (BOUND,), f"{RUNNING} CopyFail Sync"),
        ("script", (), f"{SIMPLE} CopyFail"),
    ]
] + [
    Case(
        f"copy in for a {work}, and silence", COPY, script, "deadline passed", QueryTimeout, heard, work=work,
        outcome=Outcome.UNKNOWN,
    )
    for work, script, heard in [
        ("query", running(BOUND, CopyInResponse(0, ())), f"{RUNNING} CopyFail Sync"),
        ("script", asked(CopyInResponse(0, ())), f"{SIMPLE} CopyFail"),
    ]
]  # fmt: skip

# The end, in all the ways a server can get it wrong.
ENDS = [
    Case(name, source, script, text, kind, RUNNING, work="query", outcome=outcome)
    for name, source, script, text, kind, outcome in [
        ("fatal and a result", LEGALITY, running(BOUND, LAST_WORDS, ROW, DONE, READY), "57P01",
         ConnectionLost, Outcome.FAILED),
        ("fatal and fatal", LEGALITY, running(BOUND, LAST_WORDS, fatal("08P01"), end=finish), "57P01",
         ConnectionLost, Outcome.FAILED),
        ("fatal and silence", LEGALITY, running(LAST_WORDS), "57P01", ConnectionLost, Outcome.FAILED),
        ("error and silence", LEGALITY, running(BOUND, error("22012")), "22012", PostgresError,
         Outcome.FAILED),
        ("error and end", LEGALITY, running(BOUND, error("22012"), end=finish), "22012", PostgresError,
         Outcome.FAILED),
        ("two errors", LEGALITY, running(BOUND, error("22012"), error("22012")), "22012",
         PostgresError, Outcome.FAILED),
        ("error without fields", "CVE-2026-6666", running(BOUND, b"E\0\0\0\5\0", READY), "^ERROR",
         PostgresError, Outcome.FAILED),
        ("half a row", LEGALITY, running(BOUND, ROW.encode()[:-2], end=finish), "bytes into a message",
         ConnectionLost, Outcome.UNKNOWN),
        ("a row that never comes", BOMB, running(BOUND, b"D\x3f\xff\xff\xfe\0\1"), "deadline|time",
         QueryTimeout, Outcome.UNKNOWN),
        ("silence", LEGALITY, running(BOUND), "deadline|time", QueryTimeout, Outcome.UNKNOWN),
    ]
]  # fmt: skip

# Values that lie about themselves: the query fails, and says which.
VALUE_CASES = [
    Case(
        name, source, running(BOUND, DataRow([value]), DONE, READY, columns=[column("v", oid)]), "column",
        DataError, RUNNING, work="query", outcome=Outcome.COMMITTED,
    )
    for name, source, oid, value in [
        ("a long int4", VALUES, 23, b"\0\0\0\0\1"),
        ("an empty int4", VALUES, 23, b""),
        ("a bool of 2 bytes", VALUES, 16, b"\1\1"),
        ("an array of 2^31 - 1 dimensions", VALUES, 1007, b"\x7f\xff\xff\xff" + bytes(8)),
        ("an array of -1 dimensions", VALUES, 1007, b"\xff\xff\xff\xff" + bytes(8)),
        ("an array of 7 dimensions", NESTING, 1007, b"\0\0\0\7\0\0\0\0\0\0\0\x17" + b"\0\0\0\1" * 14),
        ("an array of 2^31 - 1 elements", VALUES, 1007,
         b"\0\0\0\1\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\1"),
        ("an array of 65536 x 65536", VALUES, 1007,
         b"\0\0\0\2\0\0\0\0\0\0\0\x17" + b"\0\1\0\0\0\0\0\1" * 2),
        ("an array of another type", VALUES, 1007,
         b"\0\0\0\1\0\0\0\0\0\0\0\x19\0\0\0\1\0\0\0\1\0\0\0\4abcd"),
        ("an element of length -2", VALUES, 1007,
         b"\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\xff\xff\xff\xfe"),
        ("an array with a tail", VALUES, 1007,
         b"\0\0\0\1\0\0\0\0\0\0\0\x17\0\0\0\1\0\0\0\1\0\0\0\4\0\0\0\1x"),
        ("a numeric of 65535 digits and none", VALUES, 1700, b"\xff\xff\0\0\0\0\0\0"),
        ("a numeric of -1 digits", VALUES, 1700, b"\xff\xff\x7f\xff\0\0\x3f\xff"),
        ("a timestamp of 7 bytes", VALUES, 1184, bytes(7)),
        ("a text in LATIN1", ENCODING, 25, b"gr\xfc\xdfe"),
        ("json that is none", VALUES, 3802, b"\1{"),
        ("jsonb of version 9", VALUES, 3802, b"\x09{}"),
        ("a uuid of 15 bytes", VALUES, 2950, bytes(15)),
        ("an inet with 255 bits", VALUES, 869, b"\2\xff\0\4" + bytes(4)),
        ("a bit string of 2^31 - 1 bits", VALUES, 1560, b"\x7f\xff\xff\xff\xff"),
        ("a path of 2^31 - 1 points", VALUES, 602, b"\1\x7f\xff\xff\xff" + bytes(16)),
        ("a polygon of -1 points", VALUES, 604, b"\xff\xff\xff\xff"),
        ("a box of 31 bytes", VALUES, 603, bytes(31)),
        ("a tid of 7 bytes", VALUES, 27, bytes(7)),
        ("an int2vector of 2^31 - 1 elements", VALUES, 22,
         b"\0\0\0\1\0\0\0\0\0\0\0\x15\x7f\xff\xff\xff\0\0\0\0"),
        ("a range with all flags", VALUES, 3904, b"\xff"),
        ("a range with a bound of 2^31 - 1 bytes", VALUES, 3904, b"\2\x7f\xff\xff\xff" + bytes(4)),
        ("a multirange of 2^31 - 1 ranges", VALUES, 4451, b"\x7f\xff\xff\xff\0\0\0\1\1"),
        ("a record of 2^31 - 1 fields", VALUES, 2249, b"\x7f\xff\xff\xff" + bytes(8)),
        ("a jsonpath of version 9", VALUES, 4072, b"\x09$"),
    ]
]  # fmt: skip

SESSION = named([*BROKEN, *MISPLACED, *WHILE_PREPARING, *COPIES, *ENDS, *VALUE_CASES])
