"""The messages that a frontend sends, by the names and fields of the manual's "Message Formats".

SQL and names are given as text, which is sent as UTF-8, or as bytes, which are sent unchanged (for a
session with another client_encoding).  The attributes are text, with escapes for bytes that are not UTF-8.

CopyData and CopyDone, which travel both ways, are in `messages`.  The legal order of messages is not
checked here: any message can be made and encoded at any time.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import ClassVar, Final

from ..errors import LocalProtocolError
from . import tags
from .exact import exact_bytes
from .messages import (
    Message,
    PlainMessage,
    add_values,
    cstring,
    cstrings,
    frame,
    int16s,
    int32,
    join_frame,
    oids,
    secret_key_bytes,
    sized,
    taken,
)

_TRIPLE: Final = Struct(">iii")
_UINT32: Final = Struct(">I")
_INT16: Final = Struct(">h")
EXECUTE_ALL: Final = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"
"""Execute of the unnamed portal, for all rows."""
STATEMENT: Final = "S"
PORTAL: Final = "P"


class StartupMessage(Message):
    """Opens a session.

    Args:
        parameters: `user` (required by the server), `database`, `options`, and run-time parameters.
        protocol: the version asked for, major << 16 | minor.
    """

    __slots__ = ("parameters", "protocol")
    field_names: ClassVar[tuple[str, ...]] = ("parameters", "protocol")

    def __init__(self, parameters: Mapping[str, str], protocol: int = tags.PROTOCOL_3_2) -> None:
        self.request = None
        self.parameters = dict(parameters)
        self.protocol = protocol

    def encode(self) -> bytes:
        text: list[str] = []
        for name, value in self.parameters.items():
            if not name:
                raise LocalProtocolError("a start-up parameter needs a name")
            text += (name, value)
        text.append("\x00")
        body = int32(self.protocol) + cstrings("\x00".join(text), len(text))
        return int32(4 + len(body)) + body


class SSLRequest(PlainMessage):
    """Asks for TLS; the answer is one byte (EncryptionResponse)."""

    __slots__ = ()
    encoded: ClassVar[bytes] = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class GSSENCRequest(PlainMessage):
    """Asks for GSSAPI encryption; the answer is one byte (EncryptionResponse)."""

    __slots__ = ()
    encoded: ClassVar[bytes] = b"\x00\x00\x00\x08\x04\xd2\x16\x30"


class CancelRequest(Message):
    """Asks, on a connection of its own, that another session's query be cancelled."""

    __slots__ = ("process_id", "secret_key")
    field_names: ClassVar[tuple[str, ...]] = ("process_id", "secret_key")
    secret_names: ClassVar[tuple[str, ...]] = ("secret_key",)

    def __init__(self, process_id: int, secret_key: bytes) -> None:
        self.request = None
        self.process_id = process_id
        self.secret_key = secret_key

    def encode(self) -> bytes:
        key = secret_key_bytes(self.secret_key)
        try:
            return _TRIPLE.pack(12 + len(key), tags.CANCEL_REQUEST_CODE, self.process_id) + key
        except struct_error:
            raise LocalProtocolError(f"{self.process_id!r} is not an int32") from None


class PasswordMessage(Message):
    """A password in clear text, or hashed for MD5 (without the closing NUL)."""

    __slots__ = ("password",)
    tag: ClassVar[int] = tags.PASSWORD_MESSAGE
    type_byte: int = tags.PASSWORD_MESSAGE
    field_names: ClassVar[tuple[str, ...]] = ("password",)
    secret_names: ClassVar[tuple[str, ...]] = ("password",)

    def __init__(self, password: bytes) -> None:
        self.request = None
        self.password = password

    def encode(self) -> bytes:
        password = exact_bytes(self.password)
        if 0 in password:
            raise LocalProtocolError("a password cannot contain a NUL byte")
        return frame(tags.PASSWORD_MESSAGE, password + b"\x00")


class SASLInitialResponse(Message):
    """Chooses the SASL mechanism.  `data` is the initial response, None if the mechanism has none."""

    __slots__ = ("data", "mechanism")
    tag: ClassVar[int] = tags.PASSWORD_MESSAGE
    type_byte: int = tags.PASSWORD_MESSAGE
    field_names: ClassVar[tuple[str, ...]] = ("mechanism", "data")
    secret_names: ClassVar[tuple[str, ...]] = ("data",)

    def __init__(self, mechanism: str, data: bytes | None) -> None:
        self.request = None
        self.mechanism = mechanism
        self.data = data

    def encode(self) -> bytes:
        name = cstrings(self.mechanism + "\x00", 1)
        if self.data is None:
            return frame(tags.PASSWORD_MESSAGE, name + b"\xff\xff\xff\xff")
        return frame(tags.PASSWORD_MESSAGE, name + sized(self.data))


class SASLResponse(Message):
    """A further step of a SASL exchange."""

    __slots__ = ("data",)
    tag: ClassVar[int] = tags.PASSWORD_MESSAGE
    type_byte: int = tags.PASSWORD_MESSAGE
    field_names: ClassVar[tuple[str, ...]] = ("data",)
    secret_names: ClassVar[tuple[str, ...]] = ("data",)

    def __init__(self, data: bytes) -> None:
        self.request = None
        self.data = data

    def encode(self) -> bytes:
        return frame(tags.PASSWORD_MESSAGE, self.data)


class GSSResponse(Message):
    """A GSSAPI or SSPI token."""

    __slots__ = ("data",)
    tag: ClassVar[int] = tags.PASSWORD_MESSAGE
    type_byte: int = tags.PASSWORD_MESSAGE
    field_names: ClassVar[tuple[str, ...]] = ("data",)
    secret_names: ClassVar[tuple[str, ...]] = ("data",)

    def __init__(self, data: bytes) -> None:
        self.request = None
        self.data = data

    def encode(self) -> bytes:
        return frame(tags.PASSWORD_MESSAGE, self.data)


class Query(Message):
    """A simple query: one or more statements, without parameters."""

    __slots__ = ("_raw_query", "query")
    tag: ClassVar[int] = tags.QUERY
    type_byte: int = tags.QUERY
    field_names: ClassVar[tuple[str, ...]] = ("query",)

    def __init__(self, query: str | bytes) -> None:
        self.request = None
        self.query, self._raw_query = taken(query)

    def encode(self) -> bytes:
        return frame(tags.QUERY, cstring(self.query, self._raw_query))


class Parse(Message):
    """Prepares a statement.

    Args:
        name: the statement's name; "" for the unnamed one.
        query: one statement.
        parameter_types: type OIDs of the first parameters; 0 leaves the choice to the server.
    """

    __slots__ = ("_raw_name", "_raw_query", "name", "parameter_types", "query")
    tag: ClassVar[int] = tags.PARSE
    type_byte: int = tags.PARSE
    field_names: ClassVar[tuple[str, ...]] = ("name", "query", "parameter_types")

    def __init__(self, name: str | bytes, query: str | bytes, parameter_types: Sequence[int] = ()) -> None:
        self.request = None
        self.name, self._raw_name = taken(name)
        self.query, self._raw_query = taken(query)
        self.parameter_types = parameter_types

    def encode(self) -> bytes:
        return frame(
            tags.PARSE,
            cstring(self.name, self._raw_name)
            + cstring(self.query, self._raw_query)
            + oids(self.parameter_types),
        )


class Bind(Message):
    """Makes a portal of a statement and its parameters.

    Args:
        portal: the portal's name; "" for the unnamed one.
        statement: the statement's name.
        parameter_formats: none (all text), one for all, or one each: 0 text, 1 binary.
        parameters: the values in their formats; None is NULL.
        result_formats: none (all text), one for all, or one for each column.
    """

    __slots__ = (
        "_raw_portal",
        "_raw_statement",
        "parameter_formats",
        "parameters",
        "portal",
        "result_formats",
        "statement",
    )
    tag: ClassVar[int] = tags.BIND
    type_byte: int = tags.BIND
    field_names: ClassVar[tuple[str, ...]] = (
        "portal",
        "statement",
        "parameter_formats",
        "parameters",
        "result_formats",
    )

    def __init__(
        self,
        portal: str | bytes,
        statement: str | bytes,
        parameter_formats: Sequence[int],
        parameters: Sequence[bytes | None],
        result_formats: Sequence[int],
    ) -> None:
        self.request = None
        self.portal, self._raw_portal = taken(portal)
        self.statement, self._raw_statement = taken(statement)
        self.parameter_formats = parameter_formats
        self.parameters = parameters
        self.result_formats = result_formats

    def encode(self) -> bytes:
        head = (
            cstring(self.portal, self._raw_portal)
            + cstring(self.statement, self._raw_statement)
            + int16s(self.parameter_formats)
        )
        tail = int16s(self.result_formats)
        parts = [b"", head]
        length = 4 + len(head) + add_values(parts, self.parameters) + len(tail)
        parts.append(tail)
        return join_frame(tags.BIND, parts, length)


class Describe(Message):
    """Asks for the description of a statement (kind "S") or a portal (kind "P")."""

    __slots__ = ("_raw_name", "kind", "name")
    tag: ClassVar[int] = tags.DESCRIBE
    type_byte: int = tags.DESCRIBE
    field_names: ClassVar[tuple[str, ...]] = ("kind", "name")

    def __init__(self, kind: str, name: str | bytes) -> None:
        self.request = None
        self.kind = kind
        self.name, self._raw_name = taken(name)

    def encode(self) -> bytes:
        return _named(tags.DESCRIBE, self.kind, self.name, self._raw_name)


class Execute(Message):
    """Runs a portal.  `max_rows` bounds the rows of the answer, 0 means all."""

    __slots__ = ("_raw_portal", "max_rows", "portal")
    tag: ClassVar[int] = tags.EXECUTE
    type_byte: int = tags.EXECUTE
    field_names: ClassVar[tuple[str, ...]] = ("portal", "max_rows")

    def __init__(self, portal: str | bytes = "", max_rows: int = 0) -> None:
        self.request = None
        self.portal, self._raw_portal = taken(portal)
        self.max_rows = max_rows

    def encode(self) -> bytes:
        if not self.portal and not self.max_rows:
            return EXECUTE_ALL
        return frame(tags.EXECUTE, cstring(self.portal, self._raw_portal) + int32(self.max_rows))


class Close(Message):
    """Closes a statement (kind "S") or a portal (kind "P"); no error if it does not exist."""

    __slots__ = ("_raw_name", "kind", "name")
    tag: ClassVar[int] = tags.CLOSE
    type_byte: int = tags.CLOSE
    field_names: ClassVar[tuple[str, ...]] = ("kind", "name")

    def __init__(self, kind: str, name: str | bytes) -> None:
        self.request = None
        self.kind = kind
        self.name, self._raw_name = taken(name)

    def encode(self) -> bytes:
        return _named(tags.CLOSE, self.kind, self.name, self._raw_name)


class Flush(PlainMessage):
    """Asks the server to send its pending answers."""

    __slots__ = ()
    tag: ClassVar[int] = tags.FLUSH
    type_byte: int = tags.FLUSH
    encoded: ClassVar[bytes] = b"H\x00\x00\x00\x04"


class Sync(PlainMessage):
    """Ends a segment: the server commits or rolls back, and answers ReadyForQuery."""

    __slots__ = ()
    tag: ClassVar[int] = tags.SYNC
    type_byte: int = tags.SYNC
    encoded: ClassVar[bytes] = b"S\x00\x00\x00\x04"


class FunctionCall(Message):
    """Calls a function by OID (a legacy sub-protocol; the manual advises against it)."""

    __slots__ = ("argument_formats", "arguments", "oid", "result_format")
    tag: ClassVar[int] = tags.FUNCTION_CALL
    type_byte: int = tags.FUNCTION_CALL
    field_names: ClassVar[tuple[str, ...]] = ("oid", "argument_formats", "arguments", "result_format")

    def __init__(
        self,
        oid: int,
        argument_formats: Sequence[int],
        arguments: Sequence[bytes | None],
        result_format: int,
    ) -> None:
        self.request = None
        self.oid = oid
        self.argument_formats = argument_formats
        self.arguments = arguments
        self.result_format = result_format

    def encode(self) -> bytes:
        try:
            oid = _UINT32.pack(self.oid)
            result_format = _INT16.pack(self.result_format)
        except struct_error:
            raise LocalProtocolError(
                f"oid {self.oid!r} or result_format {self.result_format!r} out of range"
            ) from None
        formats = int16s(self.argument_formats)
        parts = [b"", oid, formats]
        length = 4 + len(oid) + len(formats) + add_values(parts, self.arguments) + len(result_format)
        parts.append(result_format)
        return join_frame(tags.FUNCTION_CALL, parts, length)


class CopyFail(Message):
    """Ends COPY IN with an error; `message` comes back in the server's ErrorResponse."""

    __slots__ = ("_raw_message", "message")
    tag: ClassVar[int] = tags.COPY_FAIL
    type_byte: int = tags.COPY_FAIL
    field_names: ClassVar[tuple[str, ...]] = ("message",)

    def __init__(self, message: str | bytes) -> None:
        self.request = None
        self.message, self._raw_message = taken(message)

    def encode(self) -> bytes:
        return frame(tags.COPY_FAIL, cstring(self.message, self._raw_message))


class Terminate(PlainMessage):
    """Ends the session."""

    __slots__ = ()
    tag: ClassVar[int] = tags.TERMINATE
    type_byte: int = tags.TERMINATE
    encoded: ClassVar[bytes] = b"X\x00\x00\x00\x04"


def _named(tag: int, kind: str, name: str, raw: bytes | None) -> bytes:
    if kind != STATEMENT and kind != PORTAL:
        raise LocalProtocolError(f"kind is 'S' (statement) or 'P' (portal), not {kind!r}")
    return frame(tag, kind.encode() + cstring(name, raw))
