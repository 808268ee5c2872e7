"""Messages that no server would send now: one or more of every type that there is, and some that are not.

Any of them, in any state, is either legal (and then answered as such) or ends the session.
"""

from __future__ import annotations

from typing import Final

from pgproto.wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    BackendKeyData,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    EmptyQueryResponse,
    ErrorResponse,
    FunctionCallResponse,
    Message,
    NegotiateProtocolVersion,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    PortalSuspended,
    ReadyForQuery,
    RowDescription,
)

__all__ = ["LIES", "MESSAGES"]

MESSAGES: Final[tuple[Message, ...]] = (
    AuthenticationOk(),
    AuthenticationCleartextPassword(),
    AuthenticationMD5Password(b"salt"),
    AuthenticationGSS(),
    AuthenticationGSSContinue(b"token"),
    AuthenticationSASL(["SCRAM-SHA-256"]),
    AuthenticationSASLContinue(b"r=x,s=AAAA,i=4096"),
    AuthenticationSASLFinal(b"v=AAAA"),
    BackendKeyData(1, b"0123"),
    BindComplete(),
    CloseComplete(),
    CommandComplete("SELECT 1"),
    CopyBothResponse(0, ()),
    CopyData(b"x"),
    CopyDone(),
    CopyInResponse(0, ()),
    CopyOutResponse(0, ()),
    DataRow([b"t0", b"\0\0\0\1"]),
    EmptyQueryResponse(),
    ErrorResponse({"S": "ERROR", "C": "XX000", "M": "made up"}),
    FunctionCallResponse(b""),
    NegotiateProtocolVersion(196608, ()),
    NoData(),
    NoticeResponse({"S": "NOTICE", "C": "00000", "M": "made up"}),
    NotificationResponse(1, "made", "up"),
    ParameterDescription(()),
    ParameterStatus("made", "up"),
    ParseComplete(),
    PortalSuspended(),
    ReadyForQuery("I"),
    RowDescription([]),
)

LIES: Final[tuple[bytes, ...]] = (
    *(message.encode() for message in MESSAGES),
    b"\x01\0\0\0\x04",
    b"z\0\0\0\x05I",
    b"D\0\0\0\x03",
    b"D\xff\xff\xff\xff",
    b"Z\0\0\0\x05X",
    b"Z\x7f\xff\xff\xff",
    b"1\x7f\xff\xff\xff",
    b"C\x7f\xff\xff\xff",
    b"S\x7f\xff\xff\xff",
)
