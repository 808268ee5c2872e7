"""Every message of the protocol with its bytes, written by hand from the manual's "Message Formats".

The bytes are literals on purpose: nothing here may come from the encoder that they test.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from pgproto.wire import (
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
    Bind,
    BindComplete,
    CancelRequest,
    Close,
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
    EncryptionResponse,
    ErrorResponse,
    Execute,
    FieldDescription,
    Flush,
    FrameReader,
    FunctionCall,
    FunctionCallResponse,
    GSSENCRequest,
    GSSResponse,
    Message,
    NegotiateProtocolVersion,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    PasswordMessage,
    PortalSuspended,
    Query,
    ReadyForQuery,
    RowDescription,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
    decode_backend,
    decode_frontend,
    decode_password,
    decode_startup,
    frames,
    tags,
)


class Vector(NamedTuple):
    """One message: a name for it, who sends it ("F" or "B"), its bytes, and what they mean."""

    id: str
    direction: str
    data: bytes
    message: Message


LONG_KEY: Final = bytes(range(256))  # the longest secret key

VECTORS: Final[list[Vector]] = [
    # Untagged packets.
    Vector(
        "startup",
        "F",
        b"\x00\x00\x00\x1d\x00\x03\x00\x02user\x00app\x00database\x00d\x00\x00",
        StartupMessage({"user": "app", "database": "d"}),
    ),
    Vector(
        "startup-3.0-empty-value",
        "F",
        b"\x00\x00\x00\x17\x00\x03\x00\x00user\x00a\x00x\x00\x00y\x00z\x00\x00",
        StartupMessage({"user": "a", "x": "", "y": "z"}, 196608),
    ),
    Vector("startup-bare", "F", b"\x00\x00\x00\x09\x00\x03\x00\x00\x00", StartupMessage({}, 196608)),
    Vector("ssl-request", "F", b"\x00\x00\x00\x08\x04\xd2\x16\x2f", SSLRequest()),
    Vector("gssenc-request", "F", b"\x00\x00\x00\x08\x04\xd2\x16\x30", GSSENCRequest()),
    Vector(
        "cancel-request",
        "F",
        b"\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x30\x39\xde\xad\xbe\xef",
        CancelRequest(12345, b"\xde\xad\xbe\xef"),
    ),
    Vector(
        "cancel-request-long",
        "F",
        b"\x00\x00\x01\x0c\x04\xd2\x16\x2e\xff\xff\xff\xff" + LONG_KEY,
        CancelRequest(-1, LONG_KEY),
    ),
    # The frontend's answers to authentication requests.
    Vector("password", "F", b"p\x00\x00\x00\x0bsecret\x00", PasswordMessage(b"secret")),
    Vector(
        "sasl-initial",
        "F",
        b"p\x00\x00\x00\x1dSCRAM-SHA-256\x00\x00\x00\x00\x07n,,n=,r",
        SASLInitialResponse("SCRAM-SHA-256", b"n,,n=,r"),
    ),
    Vector(
        "sasl-initial-none", "F", b"p\x00\x00\x00\x0aM\x00\xff\xff\xff\xff", SASLInitialResponse("M", None)
    ),
    Vector(
        "sasl-initial-empty", "F", b"p\x00\x00\x00\x0aM\x00\x00\x00\x00\x00", SASLInitialResponse("M", b"")
    ),
    Vector("sasl-response", "F", b"p\x00\x00\x00\x09c=biw", SASLResponse(b"c=biw")),
    Vector("gss-response", "F", b"p\x00\x00\x00\x07\x00\x01\xff", GSSResponse(b"\x00\x01\xff")),
    # Simple and extended query.
    Vector("query", "F", b"Q\x00\x00\x00\x0dselect 1\x00", Query("select 1")),
    Vector("query-empty", "F", b"Q\x00\x00\x00\x05\x00", Query("")),
    Vector("query-utf8", "F", b"Q\x00\x00\x00\x08\xe2\x82\xac\x00", Query("€")),
    Vector(
        "parse",
        "F",
        b"P\x00\x00\x00\x1bst\x00select $1\x00\x00\x02\x00\x00\x00\x17\xff\xff\xff\xff",
        Parse("st", "select $1", (23, 0xFFFFFFFF)),
    ),
    Vector("parse-unnamed", "F", b"P\x00\x00\x00\x08\x00\x00\x00\x00", Parse("", "")),
    Vector(
        "bind",
        "F",
        b"B\x00\x00\x00\x23p\x00st\x00"
        b"\x00\x02\x00\x00\x00\x01"
        b"\x00\x03\x00\x00\x00\x02ab\xff\xff\xff\xff\x00\x00\x00\x00"
        b"\x00\x01\x00\x01",
        Bind("p", "st", (0, 1), (b"ab", None, b""), (1,)),
    ),
    Vector("bind-bare", "F", b"B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00", Bind("", "", (), (), ())),
    Vector(
        "bind-text",
        "F",
        b"B\x00\x00\x00\x13\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x011\x00\x00",
        Bind("", "", (0,), (b"1",), ()),
    ),
    Vector("describe-statement", "F", b"D\x00\x00\x00\x08Sst\x00", Describe("S", "st")),
    Vector("describe-portal", "F", b"D\x00\x00\x00\x06P\x00", Describe("P", "")),
    Vector("execute", "F", b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00", Execute()),
    Vector("execute-rows", "F", b"E\x00\x00\x00\x0ap\x00\x00\x00\x00\x0a", Execute("p", 10)),
    Vector("close-statement", "F", b"C\x00\x00\x00\x08Sst\x00", Close("S", "st")),
    Vector("close-portal", "F", b"C\x00\x00\x00\x07Pp\x00", Close("P", "p")),
    Vector("flush", "F", b"H\x00\x00\x00\x04", Flush()),
    Vector("sync", "F", b"S\x00\x00\x00\x04", Sync()),
    Vector("terminate", "F", b"X\x00\x00\x00\x04", Terminate()),
    Vector(
        "function-call",
        "F",
        b"F\x00\x00\x00\x1b\x00\x00\x04\xd2\x00\x01\x00\x01\x00\x02\x00\x00\x00\x03abc\xff\xff\xff\xff\x00\x01",
        FunctionCall(1234, (1,), (b"abc", None), 1),
    ),
    # COPY, in both directions.
    Vector("copy-data-in", "F", b"d\x00\x00\x00\x081\t2\n", CopyData(b"1\t2\n")),
    Vector("copy-done-in", "F", b"c\x00\x00\x00\x04", CopyDone()),
    Vector("copy-fail", "F", b"f\x00\x00\x00\x08why\x00", CopyFail("why")),
    Vector("copy-data-out", "B", b"d\x00\x00\x00\x04", CopyData(b"")),
    Vector("copy-done-out", "B", b"c\x00\x00\x00\x04", CopyDone()),
    Vector(
        "copy-in-response",
        "B",
        b"G\x00\x00\x00\x0b\x01\x00\x02\x00\x01\x00\x01",
        CopyInResponse(1, (1, 1)),
    ),
    Vector("copy-out-response", "B", b"H\x00\x00\x00\x09\x00\x00\x01\x00\x00", CopyOutResponse(0, (0,))),
    Vector("copy-both-response", "B", b"W\x00\x00\x00\x07\x00\x00\x00", CopyBothResponse(0, ())),
    # The unframed byte.
    Vector("encryption-yes", "B", b"S", EncryptionResponse(b"S")),
    Vector("encryption-no", "B", b"N", EncryptionResponse(b"N")),
    Vector("encryption-gss", "B", b"G", EncryptionResponse(b"G")),
    # Authentication.
    Vector("authentication-ok", "B", b"R\x00\x00\x00\x08\x00\x00\x00\x00", AuthenticationOk()),
    Vector("kerberos", "B", b"R\x00\x00\x00\x08\x00\x00\x00\x02", AuthenticationKerberosV5()),
    Vector("cleartext", "B", b"R\x00\x00\x00\x08\x00\x00\x00\x03", AuthenticationCleartextPassword()),
    Vector(
        "md5",
        "B",
        b"R\x00\x00\x00\x0c\x00\x00\x00\x05\x01\x02\x03\xff",
        AuthenticationMD5Password(b"\1\2\3\xff"),
    ),
    Vector("gss", "B", b"R\x00\x00\x00\x08\x00\x00\x00\x07", AuthenticationGSS()),
    Vector("gss-continue", "B", b"R\x00\x00\x00\x0a\x00\x00\x00\x08to", AuthenticationGSSContinue(b"to")),
    Vector("sspi", "B", b"R\x00\x00\x00\x08\x00\x00\x00\x09", AuthenticationSSPI()),
    Vector(
        "sasl",
        "B",
        b"R\x00\x00\x00\x2a\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00",
        AuthenticationSASL(("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256")),
    ),
    Vector("sasl-none", "B", b"R\x00\x00\x00\x09\x00\x00\x00\x0a\x00", AuthenticationSASL(())),
    Vector("sasl-continue", "B", b"R\x00\x00\x00\x0b\x00\x00\x00\x0br=x", AuthenticationSASLContinue(b"r=x")),
    Vector("sasl-final", "B", b"R\x00\x00\x00\x0b\x00\x00\x00\x0cv=x", AuthenticationSASLFinal(b"v=x")),
    # The session.
    Vector(
        "key-data", "B", b"K\x00\x00\x00\x0c\x00\x00\x00\x2a\x00\x01\x02\x03", BackendKeyData(42, b"\0\1\2\3")
    ),
    Vector(
        "key-data-long", "B", b"K\x00\x00\x01\x08\x00\x00\x00\x2a" + LONG_KEY, BackendKeyData(42, LONG_KEY)
    ),
    Vector(
        "negotiate",
        "B",
        b"v\x00\x00\x00\x1a\x00\x03\x00\x00\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00",
        NegotiateProtocolVersion(196608, ("_pq_.a", "_pq_.b")),
    ),
    Vector(
        "negotiate-version",
        "B",
        b"v\x00\x00\x00\x0c\x00\x03\x00\x02\x00\x00\x00\x00",
        NegotiateProtocolVersion(196610, ()),
    ),
    Vector(
        "parameter-status",
        "B",
        b"S\x00\x00\x00\x19client_encoding\x00UTF8\x00",
        ParameterStatus("client_encoding", "UTF8"),
    ),
    Vector("ready-idle", "B", b"Z\x00\x00\x00\x05I", ReadyForQuery("I")),
    Vector("ready-transaction", "B", b"Z\x00\x00\x00\x05T", ReadyForQuery("T")),
    Vector("ready-failed", "B", b"Z\x00\x00\x00\x05E", ReadyForQuery("E")),
    Vector(
        "notification",
        "B",
        b"A\x00\x00\x00\x10\x00\x00\x10\x00jobs\x00go\x00",
        NotificationResponse(4096, "jobs", "go"),
    ),
    # Query answers.
    Vector("parse-complete", "B", b"1\x00\x00\x00\x04", ParseComplete()),
    Vector("bind-complete", "B", b"2\x00\x00\x00\x04", BindComplete()),
    Vector("close-complete", "B", b"3\x00\x00\x00\x04", CloseComplete()),
    Vector("empty-query", "B", b"I\x00\x00\x00\x04", EmptyQueryResponse()),
    Vector("no-data", "B", b"n\x00\x00\x00\x04", NoData()),
    Vector("portal-suspended", "B", b"s\x00\x00\x00\x04", PortalSuspended()),
    Vector("command-complete", "B", b"C\x00\x00\x00\x0fINSERT 0 1\x00", CommandComplete("INSERT 0 1")),
    Vector("data-row", "B", b"D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011", DataRow((b"1",))),
    Vector(
        "data-row-null",
        "B",
        b"D\x00\x00\x00\x14\x00\x03\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x02\x00\xff",
        DataRow((None, b"", b"\x00\xff")),
    ),
    Vector("data-row-empty", "B", b"D\x00\x00\x00\x06\x00\x00", DataRow(())),
    Vector(
        "row-description",
        "B",
        b"T\x00\x00\x00\x31\x00\x02"
        b"n\x00\x00\x00\x40\x00\x00\x02\x00\x00\x00\x17\x00\x04\xff\xff\xff\xff\x00\x01"
        b"text\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\x00\x00\x00\x14\x00\x00",
        RowDescription(
            (
                FieldDescription("n", 16384, 2, 23, 4, -1, 1),
                FieldDescription("text", 0, 0, 0xFFFFFFFF, -1, 20),
            )
        ),
    ),
    Vector("row-description-empty", "B", b"T\x00\x00\x00\x06\x00\x00", RowDescription(())),
    Vector(
        "parameter-description",
        "B",
        b"t\x00\x00\x00\x0e\x00\x02\x00\x00\x00\x17\x00\x00\x00\x19",
        ParameterDescription((23, 25)),
    ),
    Vector(
        "error",
        "B",
        b"E\x00\x00\x00\x29SFATAL\x00VFATAL\x00C57P01\x00Mterminating\x00Q\x00\x00",
        ErrorResponse({"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "terminating", "Q": ""}),
    ),
    Vector("error-empty", "B", b"E\x00\x00\x00\x05\x00", ErrorResponse({})),
    Vector("notice", "B", b"N\x00\x00\x00\x0dSNOTE\x00M\x00\x00", NoticeResponse({"S": "NOTE", "M": ""})),
    Vector("function-value", "B", b"V\x00\x00\x00\x0a\x00\x00\x00\x02ok", FunctionCallResponse(b"ok")),
    Vector("function-null", "B", b"V\x00\x00\x00\x08\xff\xff\xff\xff", FunctionCallResponse(None)),
]


def next_message(reader: FrameReader, vector: Vector) -> Message | None:
    """Read one message as the receiver of the vector would; None if more data is needed."""
    expected = vector.message
    if isinstance(expected, EncryptionResponse):
        code = reader.next_byte()
        return None if code < 0 else EncryptionResponse(bytes((code,)))
    if expected.tag == tags.NO_TAG:
        return decode_body(vector, reader) if reader.next_startup() else None
    limits = frames.frontend_limits() if vector.direction == "F" else frames.backend_limits()
    if expected.tag == tags.PASSWORD_MESSAGE:
        limits = frames.FRONTEND_STARTUP
    return decode_body(vector, reader) if reader.next_frame(limits) else None


def decode_body(vector: Vector, reader: FrameReader) -> Message:
    """Decode the reader's current frame as the receiver of the vector would."""
    return decode_slice(vector, reader.tag, reader.buffer, reader.start, reader.end)


def decode_slice(vector: Vector, tag: int, buffer: bytes, start: int, end: int) -> Message:
    """Decode a body as the receiver of the vector would."""
    expected = vector.message
    if expected.tag == tags.NO_TAG:
        return decode_startup(buffer, start, end)
    if expected.tag == tags.PASSWORD_MESSAGE:
        return decode_password(KINDS[type(expected)], buffer, start, end)
    if vector.direction == "F":
        return decode_frontend(tag, buffer, start, end)
    return decode_backend(tag, buffer, start, end)


KINDS: Final[dict[type[Message], int]] = {
    PasswordMessage: tags.PASSWORD_KIND,
    SASLInitialResponse: tags.SASL_INITIAL_KIND,
    SASLResponse: tags.SASL_RESPONSE_KIND,
    GSSResponse: tags.GSS_KIND,
}
FRAMED: Final = [vector for vector in VECTORS if not isinstance(vector.message, EncryptionResponse)]
"""All that have a length."""
