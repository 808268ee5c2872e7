"""What is no PostgreSQL, or none that can start a session (security.md, section 3)."""

from __future__ import annotations

import itertools

from pgproto import ConnectError, PostgresError
from pgproto import ConnectionLost as Lost
from pgproto import RemoteProtocolError as Remote
from pgproto.wire import (
    AuthenticationOk,
    CopyBothResponse,
    CopyInResponse,
    DataRow,
    Message,
    NegotiateProtocolVersion,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
)
from tests.hostile.case import START, Case, after_startup, at_once, finish, keep_open, named, reset
from tests.hostile.scram import LET_IN, SCRAM, asked, verified
from tests.support.scripted import column, error, fatal

STRANGER = "P not PostgreSQL"
LENGTHS = "P memory bomb (pggat, xtdb #5852)"
FIELDS = "CVE-2026-6666"
VERSION = "P grease, NegotiateProtocolVersion"
KEY = "P cancel key"
ENCODING = "P client_encoding / ParameterStatus spoofing"
LEGALITY = "P message legality"
EARLY_COPY = "P COPY abuse"
TIME = "P pre-auth deadline"
BROKEN = "allowed are 4 to|malformed|unexpected|unknown message type"
OK = AuthenticationOk()


def report(fields: bytes) -> bytes:
    """An ErrorResponse with these fields."""
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"


STRANGERS = [
    Case(name, STRANGER, script, text, kind, heard, tcp=True)
    for name, script, text, kind, heard in [
        ("http", after_startup(b"HTTP/1.1 400 Bad\r\n\r\n", end=finish), BROKEN, Remote, START),
        ("redis", after_startup(b"-ERR unknown command\r\n", end=finish), BROKEN, Remote, START),
        ("zeros", after_startup(bytes(4096)), BROKEN, Remote, START),
        ("ones", after_startup(b"\xff" * 4096), BROKEN, Remote, START),
        ("ssh", at_once(b"SSH-2.0-OpenSSH_9.6\r\n"), BROKEN, Remote, ""),
        ("smtp", at_once(b"220 mail.example.com ESMTP\r\n", end=keep_open), BROKEN, Remote, ""),
        ("mysql", at_once(b"J\0\0\0\n8.0.36\0\x0b\0\0\0" + bytes(60)), BROKEN, Remote, ""),
        ("closes", at_once(), "unexpectedly", Lost, START),
        ("resets", at_once(end=reset), "reset by peer", Lost, ""),
        ("closes after startup", after_startup(end=finish), "unexpectedly$", Lost, START),
        ("half a header", after_startup(b"R\0\0", end=finish), "3 bytes into", Lost, START),
        (
            "half a message",
            after_startup(b"R\0\0\0\x0c\0\0\0\5sa", end=finish),
            "into",
            Lost,
            START,
        ),
        ("unknown type", after_startup(b"!\0\0\0\4"), "unknown message type '!'", Remote, START),
    ]
]

# Whatever the type byte: a length that cannot be is refused as soon as it is there, in each phase.
PHASES: dict[str, tuple[tuple[Message, ...], str]] = {
    "at the start": ((), START),
    "after sasl": ((SCRAM,), f"{START} AuthenticationResponse"),
    "after ok": ((OK,), START),
}
BOMBS = [
    Case(
        f"{chr(tag)} of length {length:#x} {phase}", LENGTHS,
        (asked if said == (SCRAM,) else after_startup)(
            *([] if said == (SCRAM,) else said), bytes([tag]) + length.to_bytes(4, "big") + b"SFATAL"
        ),
        "allowed are 4 to", heard=heard,
        tcp=phase == "at the start" and tag in b"REN" and length != 3,
    )
    for phase, (said, heard) in PHASES.items()
    for tag, length in itertools.product(b"RENSKZvTDA", (0x7FFFFFFF, 0xFFFFFFFF, 0, 3, 0x3FFFFFFE))
]  # fmt: skip

REFUSALS = [
    Case(
        "fatal", FIELDS, after_startup(fatal("57P03", "the database system is starting up"), end=finish),
        "57P03: the database system is starting up", PostgresError, tcp=True,
    ),
    Case(
        "an error is final", FIELDS, after_startup(error("28000"), end=finish), "28000", PostgresError,
        tcp=True,
    ),
    Case("no fields", FIELDS, after_startup(b"E\0\0\0\5\0", end=finish), "^ERROR", PostgresError, tcp=True),
    Case("bytes behind it", FIELDS, after_startup(b"E\0\0\0\x0aMno\0\0\0"), "left over"),
    Case("half a field", FIELDS, after_startup(b"E\0\0\0\x08SERR"), "without its NUL", tcp=True),
    Case("no terminator", FIELDS, after_startup(b"E\0\0\0\x09SERR\0"), "without their terminator"),
    Case("nothing", FIELDS, after_startup(b"E\0\0\0\4"), "without their terminator"),
    Case("one field 9000 times", FIELDS, after_startup(report(b"M1\0" * 9000)), "^ERROR : 1$", PostgresError),
    Case("a field without a name", FIELDS, after_startup(report(b"\xffabcd\0")), "^ERROR", PostgresError),
    Case("no UTF-8", FIELDS, after_startup(report(b"M\xff\xfe\0")), r"ERROR : \\xff", PostgresError),
]  # fmt: skip

_NEGOTIATION: list[tuple[str, Message | bytes, str, bool]] = [
    ("version 4", NegotiateProtocolVersion(4 << 16, []), "negotiated protocol 4.0", True),
    ("version 2", NegotiateProtocolVersion(2 << 16, []), "negotiated protocol 2.0", False),
    ("newer than asked", NegotiateProtocolVersion(196613, []), "negotiated protocol 3.5", True),
    ("version 0", NegotiateProtocolVersion(0, []), "negotiated protocol 0.0", False),
    ("many options", b"v\0\0\0\x0c\0\3\0\0\x7f\xff\xff\xff", "malformed Negotiate", True),
    ("minus one option", b"v\0\0\0\x0c\0\3\0\0\xff\xff\xff\xff", "malformed Negotiate", False),
    ("an option without end", b"v\0\0\0\x0e\0\3\0\0\0\0\0\1ab", "malformed Negotiate", False),
    ("cut version", b"v\0\0\0\6\0\3", "malformed Negotiate", False),
]
NEGOTIATION = [
    Case(name, VERSION, after_startup(said), text, heard=START, tcp=tcp)
    for name, said, text, tcp in _NEGOTIATION
]

KEYS = [
    Case(
        f"a key of {size} bytes in {version}", KEY,
        after_startup(OK, b"K" + (8 + size).to_bytes(4, "big") + bytes(4 + size), ReadyForQuery("I")),
        "cancel key|secret key|malformed BackendKeyData", options={"protocol": protocol},
        tcp=size in (3, 257) and protocol == 196610,
    )
    for version, protocol, sizes in [("3.0", 196608, (0, 1, 3, 5, 8, 32, 256)), ("3.2", 196610, (0, 3, 257))]
    for size in sizes
]  # fmt: skip

OUT_OF_PLACE = [
    Case(name, LEGALITY, script, text, tcp=tcp)
    for name, script, text, tcp in [
        ("rows", after_startup(DataRow([b"1"])), "unexpected DataRow", True),
        ("columns", after_startup(OK, RowDescription([column()])), "unexpected RowDescription", False),
        ("ok twice", after_startup(OK, OK), "unexpected Authentication", False),
        ("scram after ok", after_startup(OK, SCRAM), "unexpected Authentication", False),
        ("version after ok", after_startup(OK, NegotiateProtocolVersion(196608, [])), "unexpected", False),
        ("copy in", after_startup(OK, CopyInResponse(0, ())), "unexpected CopyInResponse", False),
        ("copy both", after_startup(OK, CopyBothResponse(0, ())), "unexpected CopyBothResponse", False),
        ("ready of no kind", after_startup(OK, b"Z\0\0\0\5X"), "malformed ReadyForQuery", False),
        ("ready without status", after_startup(OK, b"Z\0\0\0\4"), "malformed ReadyForQuery", False),
    ]
]

ENCODINGS = [
    Case(
        f"client_encoding {name}", ENCODING,
        after_startup(OK, ParameterStatus("client_encoding", name), ReadyForQuery("I")),
        "insists on client_encoding", tcp=name == "SQL_ASCII",
    )
    for name in ("SQL_ASCII", "LATIN1", "EUC_JIS_2004", "GB18030", "utf-7", "")
]  # fmt: skip

SILENT = [
    Case(
        f"silence {name}", TIME, script, "in time", ConnectError, heard, tcp=True,
    )
    for name, script, heard in [
        ("from the start", keep_open, START),
        ("after startup", after_startup(), START),
        ("inside of a header", after_startup(b"R\0\0\0"), START),
        ("inside of a message", after_startup(b"R\0\0\0\x08\0"), START),
        ("after ok", after_startup(OK), START),
        ("before ready", after_startup(*LET_IN[:-1], ParameterStatus("a", "b"), b"Z\0\0"), START),
        ("after a notification", after_startup(OK, NotificationResponse(1, "c", "p")), START),
        ("after final", verified(), f"{START} AuthenticationResponse AuthenticationResponse"),
    ]
]  # fmt: skip

STARTUP = named([*STRANGERS, *BOMBS, *REFUSALS, *NEGOTIATION, *KEYS, *OUT_OF_PLACE, *ENCODINGS, *SILENT])
