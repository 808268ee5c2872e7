"""The legal order of messages: the protocol's states and transitions, as tables.

Rule 1: every legal message is in a table here; a message that is in no table is a protocol error.
Rule 2: the tables know requests and answers, not roles.  Client and server use the same ones.

There are two machines.  The *phase* covers the start of a session (manual: "Start-up"), where one
message answers another; its tables go from message class to the next phase.  From READY on, the
*head* machine covers the oldest request in flight (manual: "Extended Query", "Simple Query", "COPY
Operations", "Function Call"): ANSWERS goes from (head state, type byte) to the next head state.  DONE
means that the request is answered and the next one in the queue becomes the head.

ErrorResponse, NoticeResponse, NotificationResponse and ParameterStatus are in no row of ANSWERS: the
last three are legal between any two messages and do not change the state, and an error is legal in every
state except those in NO_ERROR.
"""

from __future__ import annotations

from typing import Final

from ..wire import (
    AuthenticationCleartextPassword,
    AuthenticationGSS,
    AuthenticationGSSContinue,
    AuthenticationKerberosV5,
    AuthenticationMD5Password,
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    AuthenticationSASLFinal,
    AuthenticationSSPI,
    BackendKeyData,
    CancelRequest,
    GSSENCRequest,
    GSSResponse,
    Message,
    NegotiateProtocolVersion,
    PasswordMessage,
    ReadyForQuery,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    tags,
)

# ---- Phases of a connection

START: Final = 0
ENCRYPTION: Final = 1
SECURING: Final = 2
STARTUP: Final = 3
PASSWORD: Final = 4
PASSWORD_SENT: Final = 5
SASL: Final = 6
SASL_SENT: Final = 7
SASL_CONTINUE: Final = 8
SASL_FINAL: Final = 9
GSS: Final = 10
GSS_SENT: Final = 11
AUTHENTICATED: Final = 12
READY: Final = 13
CANCELLING: Final = 14
CLOSED: Final = 15

PHASE_NAMES: Final[tuple[str, ...]] = (
    "START",
    "ENCRYPTION",
    "SECURING",
    "STARTUP",
    "PASSWORD",
    "PASSWORD_SENT",
    "SASL",
    "SASL_SENT",
    "SASL_CONTINUE",
    "SASL_FINAL",
    "GSS",
    "GSS_SENT",
    "AUTHENTICATED",
    "READY",
    "CANCELLING",
    "CLOSED",
)

FRONTEND_PHASES: Final[dict[int, dict[type[Message], int]]] = {
    START: {
        StartupMessage: STARTUP,
        SSLRequest: ENCRYPTION,
        GSSENCRequest: ENCRYPTION,
        CancelRequest: CANCELLING,
    },
    PASSWORD: {PasswordMessage: PASSWORD_SENT},
    SASL: {SASLInitialResponse: SASL_SENT},
    SASL_CONTINUE: {SASLResponse: SASL_SENT},
    GSS: {GSSResponse: GSS_SENT},
}

# Once SASL has begun, AuthenticationOk is legal only after SASLFinal: a server that skips SASLFinal has
# not proved that it knows the password.
BACKEND_PHASES: Final[dict[int, dict[type[Message], int]]] = {
    STARTUP: {
        AuthenticationOk: AUTHENTICATED,
        AuthenticationCleartextPassword: PASSWORD,
        AuthenticationMD5Password: PASSWORD,
        AuthenticationSASL: SASL,
        AuthenticationGSS: GSS,
        AuthenticationSSPI: GSS,
        AuthenticationKerberosV5: GSS,
        NegotiateProtocolVersion: STARTUP,
    },
    PASSWORD_SENT: {AuthenticationOk: AUTHENTICATED},
    SASL_SENT: {AuthenticationSASLContinue: SASL_CONTINUE, AuthenticationSASLFinal: SASL_FINAL},
    SASL_FINAL: {AuthenticationOk: AUTHENTICATED},
    GSS_SENT: {AuthenticationGSSContinue: GSS, AuthenticationOk: AUTHENTICATED},
    AUTHENTICATED: {BackendKeyData: AUTHENTICATED, ReadyForQuery: READY},
}

# ---- States of the request at the head of the queue

IDLE: Final = 0  # nothing is in flight
PARSE: Final = 1
BIND: Final = 2
DESCRIBE_STATEMENT: Final = 3
DESCRIBE_ROWS: Final = 4  # Describe of a portal, or a statement's second answer
EXECUTE: Final = 5
EXECUTE_ROWS: Final = 6
EXECUTE_COPY_IN: Final = 7
EXECUTE_COPY_IN_DONE: Final = 8  # the client has sent CopyDone
EXECUTE_COPY_IN_FAILED: Final = 9  # the client has sent CopyFail
EXECUTE_COPY_OUT: Final = 10
EXECUTE_COPY_OUT_DONE: Final = 11
CLOSE: Final = 12
SYNC: Final = 13
QUERY: Final = 14
QUERY_ROWS: Final = 15
QUERY_COPY_IN: Final = 16
QUERY_COPY_IN_DONE: Final = 17
QUERY_COPY_IN_FAILED: Final = 18
QUERY_COPY_OUT: Final = 19
QUERY_COPY_OUT_DONE: Final = 20
QUERY_COPY_BOTH: Final = 21
QUERY_COPY_BOTH_CLIENT_DONE: Final = 22  # the client has sent CopyDone, the server still sends
QUERY_COPY_BOTH_SERVER_DONE: Final = 23  # the server has sent CopyDone, the client may still send
FUNCTION_CALL: Final = 24
END_OF_QUERY: Final = 25  # only ReadyForQuery is missing from a Query, FunctionCall or failed Sync
QUERY_NEXT: Final = 26  # a statement of the Query has completed: another statement or the end follows
QUERY_COPY_BOTH_FAILED: Final = 27  # the client has sent CopyFail, data of the server is still arriving
DONE: Final = 28

HEAD_NAMES: Final[tuple[str, ...]] = (
    "IDLE",
    "PARSE",
    "BIND",
    "DESCRIBE_STATEMENT",
    "DESCRIBE_ROWS",
    "EXECUTE",
    "EXECUTE_ROWS",
    "EXECUTE_COPY_IN",
    "EXECUTE_COPY_IN_DONE",
    "EXECUTE_COPY_IN_FAILED",
    "EXECUTE_COPY_OUT",
    "EXECUTE_COPY_OUT_DONE",
    "CLOSE",
    "SYNC",
    "QUERY",
    "QUERY_ROWS",
    "QUERY_COPY_IN",
    "QUERY_COPY_IN_DONE",
    "QUERY_COPY_IN_FAILED",
    "QUERY_COPY_OUT",
    "QUERY_COPY_OUT_DONE",
    "QUERY_COPY_BOTH",
    "QUERY_COPY_BOTH_CLIENT_DONE",
    "QUERY_COPY_BOTH_SERVER_DONE",
    "FUNCTION_CALL",
    "END_OF_QUERY",
    "QUERY_NEXT",
    "QUERY_COPY_BOTH_FAILED",
    "DONE",
)

# The state in which a request begins, by its type byte; a Describe of a portal begins in DESCRIBE_ROWS.
FIRST_STATE: Final[dict[int, int]] = {
    tags.PARSE: PARSE,
    tags.BIND: BIND,
    tags.DESCRIBE: DESCRIBE_STATEMENT,
    tags.EXECUTE: EXECUTE,
    tags.CLOSE: CLOSE,
    tags.SYNC: SYNC,
    tags.QUERY: QUERY,
    tags.FUNCTION_CALL: FUNCTION_CALL,
}

_STATEMENT: Final[dict[int, int]] = {
    tags.ROW_DESCRIPTION: QUERY_ROWS,
    tags.COMMAND_COMPLETE: QUERY_NEXT,
    tags.EMPTY_QUERY_RESPONSE: QUERY_NEXT,
    tags.COPY_IN_RESPONSE: QUERY_COPY_IN,
    tags.COPY_OUT_RESPONSE: QUERY_COPY_OUT,
    tags.COPY_BOTH_RESPONSE: QUERY_COPY_BOTH,
}

ANSWERS: Final[dict[int, dict[int, int]]] = {
    IDLE: {},
    PARSE: {tags.PARSE_COMPLETE: DONE},
    BIND: {tags.BIND_COMPLETE: DONE},
    DESCRIBE_STATEMENT: {tags.PARAMETER_DESCRIPTION: DESCRIBE_ROWS},
    DESCRIBE_ROWS: {tags.ROW_DESCRIPTION: DONE, tags.NO_DATA: DONE},
    EXECUTE: {
        tags.DATA_ROW: EXECUTE_ROWS,
        tags.COMMAND_COMPLETE: DONE,
        tags.EMPTY_QUERY_RESPONSE: DONE,
        tags.PORTAL_SUSPENDED: DONE,
        tags.COPY_IN_RESPONSE: EXECUTE_COPY_IN,
        tags.COPY_OUT_RESPONSE: EXECUTE_COPY_OUT,
    },
    EXECUTE_ROWS: {
        tags.DATA_ROW: EXECUTE_ROWS,
        tags.COMMAND_COMPLETE: DONE,
        tags.PORTAL_SUSPENDED: DONE,
    },
    EXECUTE_COPY_IN: {},
    EXECUTE_COPY_IN_DONE: {tags.COMMAND_COMPLETE: DONE},
    EXECUTE_COPY_IN_FAILED: {},
    EXECUTE_COPY_OUT: {tags.COPY_DATA: EXECUTE_COPY_OUT, tags.COPY_DONE: EXECUTE_COPY_OUT_DONE},
    EXECUTE_COPY_OUT_DONE: {tags.COMMAND_COMPLETE: DONE},
    CLOSE: {tags.CLOSE_COMPLETE: DONE},
    SYNC: {tags.READY_FOR_QUERY: DONE},
    QUERY: _STATEMENT,
    QUERY_NEXT: {**_STATEMENT, tags.READY_FOR_QUERY: DONE},
    QUERY_ROWS: {tags.DATA_ROW: QUERY_ROWS, tags.COMMAND_COMPLETE: QUERY_NEXT},
    QUERY_COPY_IN: {},
    QUERY_COPY_IN_DONE: {tags.COMMAND_COMPLETE: QUERY_NEXT},
    QUERY_COPY_IN_FAILED: {},
    QUERY_COPY_OUT: {tags.COPY_DATA: QUERY_COPY_OUT, tags.COPY_DONE: QUERY_COPY_OUT_DONE},
    QUERY_COPY_OUT_DONE: {tags.COMMAND_COMPLETE: QUERY_NEXT},
    QUERY_COPY_BOTH: {tags.COPY_DATA: QUERY_COPY_BOTH, tags.COPY_DONE: QUERY_COPY_BOTH_SERVER_DONE},
    QUERY_COPY_BOTH_CLIENT_DONE: {
        tags.COPY_DATA: QUERY_COPY_BOTH_CLIENT_DONE,
        tags.COPY_DONE: QUERY,
    },
    QUERY_COPY_BOTH_SERVER_DONE: {},
    QUERY_COPY_BOTH_FAILED: {
        tags.COPY_DATA: QUERY_COPY_BOTH_FAILED,
        tags.COPY_DONE: QUERY_COPY_IN_FAILED,
    },
    FUNCTION_CALL: {tags.FUNCTION_CALL_RESPONSE: END_OF_QUERY},
    END_OF_QUERY: {tags.READY_FOR_QUERY: DONE},
}

# Messages that the *requesting* side sends within a request: those of COPY.
COPY_SENDS: Final[dict[int, dict[int, int]]] = {
    EXECUTE_COPY_IN: {
        tags.COPY_DATA: EXECUTE_COPY_IN,
        tags.COPY_DONE: EXECUTE_COPY_IN_DONE,
        tags.COPY_FAIL: EXECUTE_COPY_IN_FAILED,
    },
    QUERY_COPY_IN: {
        tags.COPY_DATA: QUERY_COPY_IN,
        tags.COPY_DONE: QUERY_COPY_IN_DONE,
        tags.COPY_FAIL: QUERY_COPY_IN_FAILED,
    },
    QUERY_COPY_BOTH: {
        tags.COPY_DATA: QUERY_COPY_BOTH,
        tags.COPY_DONE: QUERY_COPY_BOTH_CLIENT_DONE,
        tags.COPY_FAIL: QUERY_COPY_BOTH_FAILED,
    },
    QUERY_COPY_BOTH_SERVER_DONE: {
        tags.COPY_DATA: QUERY_COPY_BOTH_SERVER_DONE,
        tags.COPY_DONE: QUERY,
        tags.COPY_FAIL: QUERY_COPY_IN_FAILED,
    },
}

# Phases in which a client may send Terminate; earlier, the server would read it as a start-up packet.
MAY_TERMINATE: Final = frozenset(range(STARTUP, READY + 1))

# States in which the server accepts only COPY messages: further requests must wait.
COPY_IN_STATES: Final = frozenset(COPY_SENDS)

COPY_TAGS: Final = frozenset({tags.COPY_DATA, tags.COPY_DONE, tags.COPY_FAIL})

# States in which an ERROR is illegal: the request has already failed, or there is none.
NO_ERROR: Final = frozenset({IDLE, END_OF_QUERY})

# The state after an ERROR, for requests that end by a ReadyForQuery of their own.  After an ERROR in any
# other state the server discards messages until the next Sync.
AFTER_ERROR: Final[dict[int, int]] = {
    SYNC: END_OF_QUERY,
    QUERY: END_OF_QUERY,
    QUERY_NEXT: END_OF_QUERY,
    QUERY_ROWS: END_OF_QUERY,
    QUERY_COPY_IN: END_OF_QUERY,
    QUERY_COPY_IN_DONE: END_OF_QUERY,
    QUERY_COPY_IN_FAILED: END_OF_QUERY,
    QUERY_COPY_OUT: END_OF_QUERY,
    QUERY_COPY_OUT_DONE: END_OF_QUERY,
    QUERY_COPY_BOTH: END_OF_QUERY,
    QUERY_COPY_BOTH_CLIENT_DONE: END_OF_QUERY,
    QUERY_COPY_BOTH_SERVER_DONE: END_OF_QUERY,
    QUERY_COPY_BOTH_FAILED: END_OF_QUERY,
    FUNCTION_CALL: END_OF_QUERY,
}

NEVER: Final = 255
"""In `ANSWER`: this answer is not legal in this state."""
# Tables used for every message are bytes, which compiled code indexes without a call.  ANSWER has, at
# state * 256 + type byte, the state after an answer.
ANSWER: Final = bytes([ANSWERS.get(key >> 8, {}).get(key & 255, NEVER) for key in range((DONE + 1) << 8)])

FIRST: Final = bytes([FIRST_STATE.get(tag, NEVER) for tag in range(256)])
"""FIRST_STATE, indexed by type byte."""
IS_COPY_IN: Final = bytes([state in COPY_IN_STATES for state in range(DONE + 1)])
"""COPY_IN_STATES, indexed by state."""
IS_COPY: Final = bytes([tag in COPY_TAGS for tag in range(256)])
"""COPY_TAGS, indexed by type byte."""

# Answers that a raw connection (`Frames`) decodes nevertheless, because it needs their content.
IS_DECODED_ANSWER: Final = bytes([tag in {tags.READY_FOR_QUERY, tags.COPY_IN_RESPONSE} for tag in range(256)])
# The requests with a body, which a raw connection returns as Frames.
IS_RAW_REQUEST: Final = bytes(
    [tag in (FIRST_STATE.keys() | {tags.COPY_DATA, tags.COPY_FAIL}) - {tags.SYNC} for tag in range(256)]
)

ASYNCHRONOUS: Final = frozenset({tags.NOTICE_RESPONSE, tags.NOTIFICATION_RESPONSE, tags.PARAMETER_STATUS})
IS_ASYNCHRONOUS: Final = bytes([tag in ASYNCHRONOUS for tag in range(256)])
"""ASYNCHRONOUS, indexed by type byte."""
