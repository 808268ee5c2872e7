"""The trace: golden lines in libpq's shape, one line a message, and no secrets."""

from __future__ import annotations

import pytest

from pgproto.errors import LocalProtocolError
from pgproto.wire import (
    Bind,
    BindComplete,
    CancelRequest,
    Close,
    CommandComplete,
    CopyData,
    DataRow,
    Describe,
    ErrorResponse,
    Execute,
    FieldDescription,
    GSSENCRequest,
    Message,
    NoticeResponse,
    ParameterDescription,
    Parse,
    ParseComplete,
    PasswordMessage,
    Query,
    ReadyForQuery,
    RowDescription,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
    trace_bytes,
    trace_line,
)
from tests.support.vectors import VECTORS, Vector

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector.id for vector in VECTORS])


def encoded(messages: list[Message]) -> bytes:
    return b"".join([message.encode() for message in messages])


def test_golden_extended_query() -> None:
    sent = encoded(
        [
            Parse("", "select n from generate_series(1,5) n"),
            Bind("", "", (), (b"1", None), (0,)),
            Describe("P", ""),
            Execute(),
            Close("S", "select_one"),
            Sync(),
            Terminate(),
        ]
    )
    assert trace_bytes("F", sent) == [
        'F\t44\tParse\t "" "select n from generate_series(1,5) n" 0',
        'F\t23\tBind\t "" "" 0 2 1 \'1\' -1 1 0',
        'F\t6\tDescribe\t P ""',
        'F\t9\tExecute\t "" 0',
        'F\t16\tClose\t S "select_one"',
        "F\t4\tSync",
        "F\t4\tTerminate",
    ]
    received = encoded(
        [
            ParseComplete(),
            ParameterDescription((23, 25)),
            BindComplete(),
            RowDescription([FieldDescription("n", 0, 0, 23, 4, -1)]),
            DataRow([b"1"]),
            DataRow([b"\x00\xffa'\\", None]),
            NoticeResponse({"S": "NOTICE", "M": 'table "t" does not exist, skipping'}),
            CommandComplete("SELECT 5"),
            ReadyForQuery("I"),
        ]
    )
    assert trace_bytes("B", received) == [
        "B\t4\tParseComplete",
        "B\t14\tParameterDescription\t 2 23 25",
        "B\t4\tBindComplete",
        'B\t26\tRowDescription\t 1 "n" 0 0 23 4 -1 0',
        "B\t11\tDataRow\t 1 1 '1'",
        "B\t19\tDataRow\t 2 5 '\\x00\\xffa'\\\\' -1",
        'B\t49\tNoticeResponse\t S "NOTICE" M "table "t" does not exist, skipping" \\x00',
        'B\t13\tCommandComplete\t "SELECT 5"',
        "B\t5\tReadyForQuery\t I",
    ]


def test_golden_startup() -> None:
    sent = encoded(
        [
            GSSENCRequest(),
            SSLRequest(),
            StartupMessage({"user": "app", "options": "-c app.secret=hunter2"}),
            SASLInitialResponse("SCRAM-SHA-256", b"n,,n=,r=hunter2"),
            Query("select 1"),
        ]
    )
    assert trace_bytes("F", sent, startup=True) == [
        "F\t8\tGSSENCRequest",
        "F\t8\tSSLRequest",
        'F\t48\tStartupMessage\t 3 2 "user" "app" "options" ****** \\x00',
        "F\t37\tAuthenticationResponse\t ******",
        'F\t13\tQuery\t "select 1"',
    ]
    assert trace_bytes("F", CancelRequest(7, b"hunter2!").encode(), startup=True) == [
        "F\t20\tCancelRequest\t 7 ******"
    ]
    assert trace_bytes("B", b"S") == ["# 1 bytes of an incomplete message"]
    assert trace_bytes("B", b"N" + BindComplete().encode(), startup=True) == [
        "B\t1\tEncryptionResponse\t N",
        "B\t4\tBindComplete",
    ]
    assert trace_bytes("B", b"", startup=True) == []
    assert trace_bytes("F", b"", startup=True) == []


GOLDEN = {
    "cancel-request": "F\t16\tCancelRequest\t 12345 ******",
    "password": "F\t11\tPasswordMessage\t ******",
    "sasl-initial": 'F\t29\tSASLInitialResponse\t "SCRAM-SHA-256" ******',
    "sasl-response": "F\t9\tSASLResponse\t ******",
    "gss-response": "F\t7\tGSSResponse\t ******",
    "bind": "F\t35\tBind\t \"p\" \"st\" 2 0 1 3 2 'ab' -1 0 '' 1 1",
    "function-call": "F\t27\tFunctionCall\t 1234 1 1 2 3 'abc' -1 1",
    "copy-data-in": "F\t8\tCopyData",
    "copy-fail": 'F\t8\tCopyFail\t "why"',
    "copy-in-response": "B\t11\tCopyInResponse\t 1 2 1 1",
    "md5": "B\t12\tAuthenticationMD5Password\t '\\x01\\x02\\x03\\xff'",
    "authentication-ok": "B\t8\tAuthenticationOk",
    "sasl": 'B\t42\tAuthenticationSASL\t "SCRAM-SHA-256-PLUS" "SCRAM-SHA-256"',
    "sasl-final": "B\t11\tAuthenticationSASLFinal\t ******",
    "key-data": "B\t12\tBackendKeyData\t 42 ******",
    "negotiate": 'B\t26\tNegotiateProtocolVersion\t 196608 2 "_pq_.a" "_pq_.b"',
    "parameter-status": 'B\t25\tParameterStatus\t "client_encoding" "UTF8"',
    "notification": 'B\t16\tNotificationResponse\t 4096 "jobs" "go"',
    "error-empty": "B\t5\tErrorResponse\t \\x00",
    "function-value": "B\t10\tFunctionCallResponse\t 2 'ok'",
    "function-null": "B\t8\tFunctionCallResponse\t -1",
    "query-utf8": 'F\t8\tQuery\t "€"',
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vector(name: str) -> None:
    vector = next(vector for vector in VECTORS if vector.id == name)
    assert trace_line(vector.direction, vector.message) == GOLDEN[name]


@each_vector
def test_every_message_is_one_line(vector: Vector) -> None:
    line = trace_line(vector.direction, vector.message)
    assert len(line.splitlines()) == 1
    assert line.replace("\t", "").isprintable()
    name = type(vector.message).__name__
    assert line.split("\t")[2].strip() == name
    # The same line comes out of the bytes, but for the family that one direction cannot tell apart.
    untagged = not vector.message.tag
    if vector.data[:1] == b"p":
        name = "AuthenticationResponse"
        line = f"F\t{len(vector.data) - 1}\t{name}\t ******"
    assert trace_bytes(vector.direction, vector.data, startup=untagged) == [line]


NASTY = "a\tb\r\n\x1b[31m\x7f\x9b\u202e\u2028\U000e0001\\"


def test_nothing_a_terminal_would_act_upon() -> None:
    shown = "a\\x09b\\x0d\\x0a\\x1b[31m\\x7f\\x9b\\u202e\\u2028\\U000e0001\\\\"
    assert trace_line("F", Query(NASTY)).endswith(f'Query\t "{shown}"')
    message = ErrorResponse({"\x1b": NASTY, "M": NASTY})
    assert trace_line("B", message).endswith(f'\t \\x1b "{shown}" M "{shown}" \\x00')
    line = trace_line("F", StartupMessage({NASTY: NASTY}))
    assert line.endswith(f'StartupMessage\t 3 2 "{shown}" "{shown}" \\x00')
    assert trace_line("B", ReadyForQuery("\n"), 5) == "B\t5\tReadyForQuery\t \\x0a"


def test_no_secret_in_any_line() -> None:
    for message in (
        PasswordMessage(b"hunter2"),
        SASLInitialResponse("M", b"hunter2"),
        SASLResponse(b"hunter2"),
        CancelRequest(1, b"hunter2"),
        StartupMessage({"user": "u", "options": "hunter2"}),
    ):
        line = trace_line("F", message)
        assert "hunter2" not in line
        assert "******" in line


def test_length_may_be_known() -> None:
    # A message whose text was no UTF-8 does not encode to the bytes that came.
    assert trace_line("B", CommandComplete("\\xff"), 6) == 'B\t6\tCommandComplete\t "\\\\xff"'
    with pytest.raises(LocalProtocolError):
        trace_line("F", Query("a\x00b"))


def test_copy_data_is_not_shown() -> None:
    assert trace_line("B", CopyData(b"hunter2")) == "B\t11\tCopyData"


def test_a_broken_stream_can_be_looked_at() -> None:
    good = BindComplete().encode()
    assert trace_bytes("B", good + b"\x1b\x00\x00\x00\x04" + good) == [
        "B\t4\tBindComplete",
        "# B\t4\tunknown message type 0x1b from the backend",
        "B\t4\tBindComplete",
    ]
    assert trace_bytes("B", good + b"Z\x00\x00\x00\x05\n" + good[:3]) == [
        "B\t4\tBindComplete",
        "# B\t5\tmalformed ReadyForQuery: the transaction status is none of I, T and E",
        "# 3 bytes of an incomplete message",
    ]
    assert trace_bytes("B", good + b"Z\x00\x00\x00\x03" + good) == [
        "B\t4\tBindComplete",
        "# a message of type 'Z' (0x5a) and length 3; allowed are 4 to 1073741822",
        "# 10 bytes of an incomplete message",
    ]
    assert trace_bytes("F", b"\x00\x00\x00\x08\x00\x02\x00\x00", startup=True) == [
        "# unsupported frontend protocol 2.0"
    ]
    assert trace_bytes("F", b"GET / HTTP/1.1\r\n\r\n", startup=True)[0].startswith(
        "# a start-up packet of length"
    )
