"""The type bytes and protocol codes of the wire, and the names of the types.

A frame is a type byte, an int32 length that counts itself but not the type byte, and a body.  The
same byte means different messages in the two directions ('C' is Close from a frontend and
CommandComplete from a backend), so a tag is always looked up together with its direction.
Source: PostgreSQL manual, "Message Formats".
"""

from __future__ import annotations

from typing import Final

# From the frontend.  The start-up packets (StartupMessage, SSLRequest, GSSENCRequest, CancelRequest)
# have no type byte; their messages carry NO_TAG.
NO_TAG: Final = 0
BIND: Final = 0x42  # B
CLOSE: Final = 0x43  # C
DESCRIBE: Final = 0x44  # D
EXECUTE: Final = 0x45  # E
FUNCTION_CALL: Final = 0x46  # F
FLUSH: Final = 0x48  # H
PARSE: Final = 0x50  # P
QUERY: Final = 0x51  # Q
SYNC: Final = 0x53  # S
TERMINATE: Final = 0x58  # X
COPY_FAIL: Final = 0x66  # f
PASSWORD_MESSAGE: Final = 0x70  # p: PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse

# From both.
COPY_DONE: Final = 0x63  # c
COPY_DATA: Final = 0x64  # d

# From the backend.
PARSE_COMPLETE: Final = 0x31  # 1
BIND_COMPLETE: Final = 0x32  # 2
CLOSE_COMPLETE: Final = 0x33  # 3
NOTIFICATION_RESPONSE: Final = 0x41  # A
COMMAND_COMPLETE: Final = 0x43  # C
DATA_ROW: Final = 0x44  # D
ERROR_RESPONSE: Final = 0x45  # E
COPY_IN_RESPONSE: Final = 0x47  # G
COPY_OUT_RESPONSE: Final = 0x48  # H
EMPTY_QUERY_RESPONSE: Final = 0x49  # I
BACKEND_KEY_DATA: Final = 0x4B  # K
NOTICE_RESPONSE: Final = 0x4E  # N
AUTHENTICATION: Final = 0x52  # R
PARAMETER_STATUS: Final = 0x53  # S
ROW_DESCRIPTION: Final = 0x54  # T
FUNCTION_CALL_RESPONSE: Final = 0x56  # V
COPY_BOTH_RESPONSE: Final = 0x57  # W
READY_FOR_QUERY: Final = 0x5A  # Z
NO_DATA: Final = 0x6E  # n
PORTAL_SUSPENDED: Final = 0x73  # s
PARAMETER_DESCRIPTION: Final = 0x74  # t
NEGOTIATE_PROTOCOL_VERSION: Final = 0x76  # v

# The int32 that opens an untagged packet: a protocol version (major << 16 | minor) or a request code.
PROTOCOL_3_0: Final = 196608
PROTOCOL_3_2: Final = 196610
CANCEL_REQUEST_CODE: Final = 80877102
SSL_REQUEST_CODE: Final = 80877103
GSSENC_REQUEST_CODE: Final = 80877104

# The int32 that opens an Authentication message's body.
AUTH_OK: Final = 0
AUTH_KERBEROS_V5: Final = 2
AUTH_CLEARTEXT_PASSWORD: Final = 3
AUTH_MD5_PASSWORD: Final = 5
AUTH_GSS: Final = 7
AUTH_GSS_CONTINUE: Final = 8
AUTH_SSPI: Final = 9
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

# The kinds of 'p' message: which one it is depends on the authentication method.
PASSWORD_KIND: Final = 0
SASL_INITIAL_KIND: Final = 1
SASL_RESPONSE_KIND: Final = 2
GSS_KIND: Final = 3

# A cancel key: four bytes in protocol 3.0, four to 256 in 3.2.
MIN_SECRET_KEY: Final = 4
MAX_SECRET_KEY: Final = 256

MAX_INT32: Final = 0x7FFFFFFF

FRONTEND_NAMES: Final[dict[int, str]] = {
    BIND: "Bind",
    CLOSE: "Close",
    DESCRIBE: "Describe",
    EXECUTE: "Execute",
    FUNCTION_CALL: "FunctionCall",
    FLUSH: "Flush",
    PARSE: "Parse",
    QUERY: "Query",
    SYNC: "Sync",
    TERMINATE: "Terminate",
    COPY_FAIL: "CopyFail",
    COPY_DONE: "CopyDone",
    COPY_DATA: "CopyData",
    PASSWORD_MESSAGE: "AuthenticationResponse",
}
BACKEND_NAMES: Final[dict[int, str]] = {
    PARSE_COMPLETE: "ParseComplete",
    BIND_COMPLETE: "BindComplete",
    CLOSE_COMPLETE: "CloseComplete",
    NOTIFICATION_RESPONSE: "NotificationResponse",
    COMMAND_COMPLETE: "CommandComplete",
    DATA_ROW: "DataRow",
    ERROR_RESPONSE: "ErrorResponse",
    COPY_IN_RESPONSE: "CopyInResponse",
    COPY_OUT_RESPONSE: "CopyOutResponse",
    EMPTY_QUERY_RESPONSE: "EmptyQueryResponse",
    BACKEND_KEY_DATA: "BackendKeyData",
    NOTICE_RESPONSE: "NoticeResponse",
    AUTHENTICATION: "Authentication",
    PARAMETER_STATUS: "ParameterStatus",
    ROW_DESCRIPTION: "RowDescription",
    FUNCTION_CALL_RESPONSE: "FunctionCallResponse",
    COPY_BOTH_RESPONSE: "CopyBothResponse",
    READY_FOR_QUERY: "ReadyForQuery",
    NO_DATA: "NoData",
    PORTAL_SUSPENDED: "PortalSuspended",
    PARAMETER_DESCRIPTION: "ParameterDescription",
    NEGOTIATE_PROTOCOL_VERSION: "NegotiateProtocolVersion",
    COPY_DONE: "CopyDone",
    COPY_DATA: "CopyData",
}


def frontend_name(tag: int) -> str:
    """Return the name of a frontend's message type, or how an unknown type byte is shown."""
    return FRONTEND_NAMES.get(tag) or f"unknown type {shown(tag)}"


def backend_name(tag: int) -> str:
    """Return the name of a backend's message type, or how an unknown type byte is shown."""
    return BACKEND_NAMES.get(tag) or f"unknown type {shown(tag)}"


def shown(tag: int) -> str:
    """Return a type byte as an error text shows it: `'D' (0x44)`."""
    return f"{chr(tag)!r} (0x{tag:02x})" if 0x20 < tag < 0x7F else f"0x{tag:02x}"


def version(protocol: int) -> str:
    """Return a protocol's version as people write it, such as "3.2"."""
    return f"{protocol >> 16}.{protocol & 0xFFFF}"
