"""The messages that a backend sends, by the names and fields of the manual's "Message Formats".

CopyData and CopyDone, which travel both ways, are in `messages`.  Messages with a body come first; those
that are only a type byte and a length are at the end.
"""
# ruff: noqa: D102 - `encode` is documented once, in Message

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from struct import error as struct_error
from typing import ClassVar, Final

from ..errors import LocalProtocolError, PostgresError, ReportFields, raw_field, raw_fields
from . import tags
from .exact import exact_str
from .hints import mypyc_attr
from .messages import (
    FieldDescription,
    Message,
    PlainMessage,
    add_values,
    as_bytes,
    cstring,
    cstrings,
    frame,
    int16s,
    int32,
    join_frame,
    oids,
    secret_key_bytes,
    sized,
    too_many,
)

_FIELD: Final = Struct(">IhIhih")
_COUNT: Final = Struct(">H")


class EncryptionResponse(Message):
    """The single byte, without a frame, that answers SSLRequest (S or N) and GSSENCRequest (G or N)."""

    __slots__ = ("code",)
    field_names: ClassVar[tuple[str, ...]] = ("code",)

    def __init__(self, code: bytes) -> None:
        self.request = None
        self.code = code

    def encode(self) -> bytes:
        if self.code not in (b"S", b"N", b"G"):
            raise LocalProtocolError(f"code is b'S', b'N' or b'G', not {self.code!r}")
        return self.code


class BackendKeyData(Message):
    """The data for a CancelRequest to this session.  `secret_key` has 4 bytes, in protocol 3.2 up to 256."""

    __slots__ = ("process_id", "secret_key")
    tag: ClassVar[int] = tags.BACKEND_KEY_DATA
    type_byte: int = tags.BACKEND_KEY_DATA
    field_names: ClassVar[tuple[str, ...]] = ("process_id", "secret_key")
    secret_names: ClassVar[tuple[str, ...]] = ("secret_key",)

    def __init__(self, process_id: int, secret_key: bytes) -> None:
        self.request = None
        self.process_id = process_id
        self.secret_key = secret_key

    def encode(self) -> bytes:
        return frame(tags.BACKEND_KEY_DATA, int32(self.process_id) + secret_key_bytes(self.secret_key))


@mypyc_attr(acyclic=True, free_list_len=1)
class CommandComplete(Message):
    """A statement ran to its end.  `command_tag`: "INSERT 0 1", "SELECT 3", "BEGIN", ..."""

    __slots__ = ("command_tag",)
    tag: ClassVar[int] = tags.COMMAND_COMPLETE
    type_byte: int = tags.COMMAND_COMPLETE
    field_names: ClassVar[tuple[str, ...]] = ("command_tag",)

    def __init__(self, command_tag: str) -> None:
        self.request = None
        self.command_tag = command_tag

    def encode(self) -> bytes:
        return frame(tags.COMMAND_COMPLETE, cstrings(self.command_tag + "\x00", 1))


class CopyResponse(Message):
    """Base of the messages that start a COPY.

    Args:
        format: 0 text, 1 binary.
        column_formats: the same for each column; all 0 if `format` is 0.
    """

    __slots__ = ("column_formats", "format")
    field_names: ClassVar[tuple[str, ...]] = ("format", "column_formats")

    def __init__(self, format: int, column_formats: Sequence[int]) -> None:
        self.request = None
        self.format = format
        self.column_formats = column_formats

    def encode(self) -> bytes:
        if self.format not in (0, 1):
            raise LocalProtocolError(f"format is 0 (text) or 1 (binary), not {self.format!r}")
        return frame(self.tag, bytes((self.format,)) + int16s(self.column_formats))


class CopyInResponse(CopyResponse):
    """The server waits for COPY data."""

    __slots__ = ()
    tag: ClassVar[int] = tags.COPY_IN_RESPONSE
    type_byte: int = tags.COPY_IN_RESPONSE


class CopyOutResponse(CopyResponse):
    """The server is about to send COPY data."""

    __slots__ = ()
    tag: ClassVar[int] = tags.COPY_OUT_RESPONSE
    type_byte: int = tags.COPY_OUT_RESPONSE


class CopyBothResponse(CopyResponse):
    """COPY data may travel both ways (streaming replication only)."""

    __slots__ = ()
    tag: ClassVar[int] = tags.COPY_BOTH_RESPONSE
    type_byte: int = tags.COPY_BOTH_RESPONSE


class DataRow(Message):
    """One row: the columns' values in their formats, None for NULL."""

    __slots__ = ("values",)
    tag: ClassVar[int] = tags.DATA_ROW
    type_byte: int = tags.DATA_ROW
    field_names: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, values: Sequence[bytes | None]) -> None:
        self.request = None
        self.values = values

    def encode(self) -> bytes:
        parts = [b""]
        length = 4 + add_values(parts, self.values)
        return join_frame(tags.DATA_ROW, parts, length)


class Report(Message):
    """Base of ErrorResponse and NoticeResponse.

    Args:
        fields: by one-letter code (manual: "Error and Notice Message Fields"); every one is optional.
    """

    __slots__ = ("fields",)
    field_names: ClassVar[tuple[str, ...]] = ("fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.request = None
        self.fields: dict[str, str] = fields if isinstance(fields, ReportFields) else dict(fields)

    @property
    def raw_fields(self) -> dict[str, bytes]:
        """The fields in the session's client_encoding; `fields` has escapes for bytes that are not UTF-8."""
        return raw_fields(self.fields)

    def encode(self) -> bytes:
        parts = [b""]
        for code, text in self.fields.items():
            code = exact_str(code)
            if len(code) != 1 or not "\x01" <= code <= "\x7f":
                raise LocalProtocolError(f"a field's code is one ASCII character, not {code!r}")
            raw = raw_field(self.fields, code)
            parts += (code.encode(), cstring(text if raw is None else raw))
        parts.append(b"\0")
        return join_frame(self.tag, parts, 4 + sum(map(len, parts)))


class ErrorResponse(Report):
    """The server reports an error.

    Attributes:
        binding: it answers a Bind (also one within a run of executions): the Execute after it did not run.
    """

    __slots__ = ("_error", "binding")
    tag: ClassVar[int] = tags.ERROR_RESPONSE
    type_byte: int = tags.ERROR_RESPONSE

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.binding = False
        self._error: PostgresError | None = None

    @property
    def error(self) -> PostgresError:
        """The error that it reports: always the same object, so that every caller gets the same one."""
        if self._error is None:
            self._error = PostgresError.of(self.fields)
        return self._error


class NoticeResponse(Report):
    """The server reports something that is not an error."""

    __slots__ = ()
    tag: ClassVar[int] = tags.NOTICE_RESPONSE
    type_byte: int = tags.NOTICE_RESPONSE


class FunctionCallResponse(Message):
    """The result of a FunctionCall, None for NULL."""

    __slots__ = ("value",)
    tag: ClassVar[int] = tags.FUNCTION_CALL_RESPONSE
    type_byte: int = tags.FUNCTION_CALL_RESPONSE
    field_names: ClassVar[tuple[str, ...]] = ("value",)

    def __init__(self, value: bytes | None) -> None:
        self.request = None
        self.value = value

    def encode(self) -> bytes:
        if self.value is None:
            return b"V\x00\x00\x00\x08\xff\xff\xff\xff"
        return frame(tags.FUNCTION_CALL_RESPONSE, sized(self.value))


class NegotiateProtocolVersion(Message):
    """The server doesn't speak the version that was asked for, or doesn't know some options.

    Args:
        protocol: the newest version that it speaks, major << 16 | minor.
        options: the protocol options (`_pq_.` parameters) that it doesn't know.
    """

    __slots__ = ("options", "protocol")
    tag: ClassVar[int] = tags.NEGOTIATE_PROTOCOL_VERSION
    type_byte: int = tags.NEGOTIATE_PROTOCOL_VERSION
    field_names: ClassVar[tuple[str, ...]] = ("protocol", "options")

    def __init__(self, protocol: int, options: Sequence[str]) -> None:
        self.request = None
        self.protocol = protocol
        self.options = options

    def encode(self) -> bytes:
        options = list(self.options)
        count = len(options)
        names = cstrings("".join([name + "\x00" for name in options]), count)
        return frame(tags.NEGOTIATE_PROTOCOL_VERSION, int32(self.protocol) + int32(count) + names)


class NotificationResponse(Message):
    """A NOTIFY of the session with `process_id` on a channel that this session listens to."""

    __slots__ = ("_raw_channel", "_raw_payload", "channel", "payload", "process_id")
    tag: ClassVar[int] = tags.NOTIFICATION_RESPONSE
    type_byte: int = tags.NOTIFICATION_RESPONSE
    field_names: ClassVar[tuple[str, ...]] = ("process_id", "channel", "payload")

    def __init__(
        self,
        process_id: int,
        channel: str,
        payload: str,
        raw_channel: bytes | None = None,
        raw_payload: bytes | None = None,
    ) -> None:
        self.request = None
        self.process_id = process_id
        self.channel = channel
        self.payload = payload
        self._raw_channel = raw_channel
        self._raw_payload = raw_payload

    @property
    def raw_channel(self) -> bytes:
        """The channel's bytes in the session's client_encoding, where `channel` may have escapes."""
        return as_bytes(self._raw_channel, self.channel)

    @property
    def raw_payload(self) -> bytes:
        """The payload's bytes in the session's client_encoding, where `payload` may have escapes."""
        return as_bytes(self._raw_payload, self.payload)

    def encode(self) -> bytes:
        channel = cstring(self.channel, self._raw_channel)
        text = channel + cstring(self.payload, self._raw_payload)
        return frame(tags.NOTIFICATION_RESPONSE, int32(self.process_id) + text)


class ParameterDescription(Message):
    """The type OIDs of a statement's parameters."""

    __slots__ = ("parameter_types",)
    tag: ClassVar[int] = tags.PARAMETER_DESCRIPTION
    type_byte: int = tags.PARAMETER_DESCRIPTION
    field_names: ClassVar[tuple[str, ...]] = ("parameter_types",)

    def __init__(self, parameter_types: Sequence[int]) -> None:
        self.request = None
        self.parameter_types = parameter_types

    def encode(self) -> bytes:
        return frame(tags.PARAMETER_DESCRIPTION, oids(self.parameter_types))


class ParameterStatus(Message):
    """The value, or the new value, of a run-time parameter that the server reports."""

    __slots__ = ("_raw_value", "name", "value")
    tag: ClassVar[int] = tags.PARAMETER_STATUS
    type_byte: int = tags.PARAMETER_STATUS
    field_names: ClassVar[tuple[str, ...]] = ("name", "value")

    def __init__(self, name: str, value: str, raw_value: bytes | None = None) -> None:
        self.request = None
        self.name = name
        self.value = value
        self._raw_value = raw_value

    @property
    def raw_value(self) -> bytes:
        """The value's bytes in the session's client_encoding, where `value` may have escapes."""
        return as_bytes(self._raw_value, self.value)

    def encode(self) -> bytes:
        value = cstring(self.value, self._raw_value)
        return frame(tags.PARAMETER_STATUS, cstring(self.name) + value)


class ReadyForQuery(Message):
    """The end of a segment.  `status`: "I" idle, "T" in a transaction block, "E" in a failed one."""

    __slots__ = ("status",)
    tag: ClassVar[int] = tags.READY_FOR_QUERY
    type_byte: int = tags.READY_FOR_QUERY
    field_names: ClassVar[tuple[str, ...]] = ("status",)

    def __init__(self, status: str) -> None:
        self.request = None
        self.status = status

    def encode(self) -> bytes:
        status = exact_str(self.status)
        if status not in ("I", "T", "E"):
            raise LocalProtocolError(f"status is 'I', 'T' or 'E', not {status!r}")
        return b"Z\x00\x00\x00\x05" + status.encode()


class RowDescription(Message):
    """The columns of the rows that follow."""

    __slots__ = ("fields",)
    tag: ClassVar[int] = tags.ROW_DESCRIPTION
    type_byte: int = tags.ROW_DESCRIPTION
    field_names: ClassVar[tuple[str, ...]] = ("fields",)

    def __init__(self, fields: Sequence[FieldDescription]) -> None:
        self.request = None
        self.fields = fields

    def encode(self) -> bytes:
        fields = list(self.fields)
        count = len(fields)
        if count > 65535:
            raise too_many(count)
        parts = [b"", _COUNT.pack(count)]
        for field in fields:
            parts.append(field.encoded_name())
            try:
                packed = _FIELD.pack(
                    field.table_oid,
                    field.column_number,
                    field.type_oid,
                    field.type_size,
                    field.type_modifier,
                    field.format,
                )
            except struct_error:
                raise LocalProtocolError(f"a number is out of range in {field!r}") from None
            parts.append(packed)
        return join_frame(tags.ROW_DESCRIPTION, parts, 4 + sum(map(len, parts)))


# Messages that are only a type byte and a length.


class ParseComplete(PlainMessage):
    """The statement is prepared."""

    __slots__ = ()
    tag: ClassVar[int] = tags.PARSE_COMPLETE
    type_byte: int = tags.PARSE_COMPLETE
    encoded: ClassVar[bytes] = b"1\x00\x00\x00\x04"


@mypyc_attr(acyclic=True, free_list_len=1)
class BindComplete(PlainMessage):
    """The portal was created."""

    __slots__ = ()
    tag: ClassVar[int] = tags.BIND_COMPLETE
    type_byte: int = tags.BIND_COMPLETE
    encoded: ClassVar[bytes] = b"2\x00\x00\x00\x04"


class CloseComplete(PlainMessage):
    """The statement or portal is closed."""

    __slots__ = ()
    tag: ClassVar[int] = tags.CLOSE_COMPLETE
    type_byte: int = tags.CLOSE_COMPLETE
    encoded: ClassVar[bytes] = b"3\x00\x00\x00\x04"


class EmptyQueryResponse(PlainMessage):
    """The query was empty; sent instead of CommandComplete."""

    __slots__ = ()
    tag: ClassVar[int] = tags.EMPTY_QUERY_RESPONSE
    type_byte: int = tags.EMPTY_QUERY_RESPONSE
    encoded: ClassVar[bytes] = b"I\x00\x00\x00\x04"


class NoData(PlainMessage):
    """The described statement or portal returns no rows."""

    __slots__ = ()
    tag: ClassVar[int] = tags.NO_DATA
    type_byte: int = tags.NO_DATA
    encoded: ClassVar[bytes] = b"n\x00\x00\x00\x04"


class PortalSuspended(PlainMessage):
    """Execute reached its `max_rows`; the portal may have more rows."""

    __slots__ = ()
    tag: ClassVar[int] = tags.PORTAL_SUSPENDED
    type_byte: int = tags.PORTAL_SUSPENDED
    encoded: ClassVar[bytes] = b"s\x00\x00\x00\x04"
