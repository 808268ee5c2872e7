"""Decodes the bodies of frames into messages: a table from type byte to function for each direction.

A decoder gets the buffer and the bounds of one body, found by `frames`.  It returns the message or raises
RemoteProtocolError and nothing else, whatever the bytes are.  It never reads past `end`, checks every count
against the bytes that remain before it allocates, and refuses bytes left over.

A backend's text is decoded as UTF-8, with escapes for bytes that are not: a server that uses another
encoding, or fails before it knows the client's, must not cost the connection.  A frontend's text must be
valid UTF-8, because a query that was altered must not run.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from ..errors import RemoteProtocolError
from . import authentication, backend, frontend, tags
from .messages import CopyData, CopyDone, FieldDescription, Message, PlainMessage
from .pieces import (
    check_format,
    expect_end,
    find_nul,
    lenient_text,
    raw_or_none,
    read_format,
    read_formats,
    read_int16s,
    read_int32,
    read_kind,
    read_last_string,
    read_oids,
    read_parameters,
    read_report,
    read_uint16,
    read_value,
    read_values,
    strict_text,
)

_INT32: Final = Struct(">i").unpack_from
_UINT32: Final = Struct(">I").unpack_from
_FIELD: Final = Struct(">IhIhih").unpack_from
_FIELD_SIZE: Final = 18


def decode_backend(tag: int, buffer: bytes, start: int, end: int) -> Message:
    """Decode the body of a backend's message.

    Args:
        tag: the frame's type byte.
        buffer: contains the body.
        start: index of its first byte.
        end: index after its last byte, at most `len(buffer)`.

    Raises:
        RemoteProtocolError: the type is unknown or the body is malformed.
    """
    # Three types come with every statement; looking them up costs compiled code ten times as much.
    if tag == tags.BIND_COMPLETE and start == end:
        return backend.BindComplete()
    if tag == tags.COMMAND_COMPLETE:
        body = buffer[start:end]
        last = _LAST_COMMAND_TAG[0]
        if last[0] == body:  # as a rule
            return backend.CommandComplete(last[1])
        known = _COMMAND_TAGS.get(body)
        if known is not None:
            _LAST_COMMAND_TAG[0] = (body, known)
            return backend.CommandComplete(known)
    if tag == tags.READY_FOR_QUERY and end - start == 1:
        status = _STATUS.get(buffer[start])
        if status is not None:
            return backend.ReadyForQuery(status)
    plain = _BACKEND_PLAIN.get(tag)
    if plain is not None and start == end:
        return plain()
    decoder = _BACKEND.get(tag)
    if decoder is None:
        raise _unknown(tag, "backend", plain, end - start)
    try:
        return decoder(buffer, start, end)
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"malformed {tags.backend_name(tag)}: {error}") from None


def decode_frontend(tag: int, buffer: bytes, start: int, end: int) -> Message:
    """Decode the body of a frontend's message, except for the 'p' family (see `decode_password`).

    Arguments and errors as in `decode_backend`.
    """
    plain = _FRONTEND_PLAIN.get(tag)
    if plain is not None and start == end:
        return plain()
    decoder = _FRONTEND.get(tag)
    if decoder is None:
        raise _unknown(tag, "frontend", plain, end - start)
    try:
        return decoder(buffer, start, end)
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"malformed {tags.frontend_name(tag)}: {error}") from None


def decode_password(kind: int, buffer: bytes, start: int, end: int) -> Message:
    """Decode the body of a 'p' message.

    Args:
        kind: what the authentication under way expects: tags.PASSWORD_KIND, tags.SASL_INITIAL_KIND,
            tags.SASL_RESPONSE_KIND or tags.GSS_KIND.
        buffer: contains the body.
        start: index of its first byte.
        end: index after its last byte.

    Raises:
        RemoteProtocolError: the body is malformed.
    """
    if kind == tags.SASL_RESPONSE_KIND:
        return frontend.SASLResponse(buffer[start:end])
    if kind == tags.GSS_KIND:
        return frontend.GSSResponse(buffer[start:end])
    try:
        nul = find_nul(buffer, start, end)
        if kind == tags.PASSWORD_KIND:
            expect_end(nul + 1, end)
            return frontend.PasswordMessage(buffer[start:nul])
        data, position = read_value(buffer, nul + 1, end)
        expect_end(position, end)
        return frontend.SASLInitialResponse(strict_text(buffer, start, nul), data)
    except RemoteProtocolError as error:
        # The bytes may be a password, so the text quotes none of them.
        raise RemoteProtocolError(f"malformed authentication message: {error}") from None


def decode_startup(buffer: bytes, start: int, end: int) -> Message:
    """Decode the body of an untagged packet.

    Returns:
        StartupMessage, SSLRequest, GSSENCRequest or CancelRequest.

    Raises:
        RemoteProtocolError: the packet is malformed or of another kind.
    """
    if end - start < 4:
        raise RemoteProtocolError("start-up packet too short for a protocol version")
    code = _INT32(buffer, start)[0]
    if code == tags.CANCEL_REQUEST_CODE:
        size = end - start - 8
        if not tags.MIN_SECRET_KEY <= size <= tags.MAX_SECRET_KEY:
            raise RemoteProtocolError(f"malformed CancelRequest: a secret key of {size} bytes")
        return frontend.CancelRequest(_INT32(buffer, start + 4)[0], buffer[start + 8 : end])
    if code == tags.SSL_REQUEST_CODE or code == tags.GSSENC_REQUEST_CODE:
        if end - start != 4:
            raise RemoteProtocolError("malformed SSLRequest or GSSENCRequest: bytes left over")
        return frontend.SSLRequest() if code == tags.SSL_REQUEST_CODE else frontend.GSSENCRequest()
    if code >> 16 != 3:
        raise RemoteProtocolError(f"unsupported frontend protocol {tags.version(code)}")
    try:
        return frontend.StartupMessage(read_parameters(buffer, start + 4, end), code)
    except RemoteProtocolError as error:
        raise RemoteProtocolError(f"malformed StartupMessage: {error}") from None


# The backend's messages.


def _authentication(buffer: bytes, start: int, end: int) -> Message:
    code = read_int32(buffer, start, end)
    position = start + 4
    plain = _AUTHENTICATION_PLAIN.get(code)
    if plain is not None:
        expect_end(position, end)
        return plain()
    with_data = _AUTHENTICATION_DATA.get(code)
    if with_data is not None:
        return with_data(buffer[position:end])
    if code == tags.AUTH_MD5_PASSWORD:
        if end - position != 4:
            raise RemoteProtocolError(f"a salt of {end - position} bytes")
        return authentication.AuthenticationMD5Password(buffer[position:end])
    if code != tags.AUTH_SASL:
        raise RemoteProtocolError(f"unknown authentication request {code}")
    mechanisms: list[str] = []
    while True:
        nul = find_nul(buffer, position, end)
        if nul == position:
            expect_end(position + 1, end)
            return authentication.AuthenticationSASL(mechanisms)
        mechanisms.append(lenient_text(buffer, position, nul))
        position = nul + 1


def _backend_key_data(buffer: bytes, start: int, end: int) -> Message:
    process_id = read_int32(buffer, start, end)
    size = end - start - 4
    if not tags.MIN_SECRET_KEY <= size <= tags.MAX_SECRET_KEY:
        raise RemoteProtocolError(f"a secret key of {size} bytes")
    return backend.BackendKeyData(process_id, buffer[start + 4 : end])


# Decoded command tags by their bytes: there are few different ones, and every statement brings one.
_COMMAND_TAGS: Final[dict[bytes, str]] = {}
# The last one, because comparing costs less than hashing; a single tuple, so that no thread sees half of it.
_LAST_COMMAND_TAG: Final[list[tuple[bytes, str]]] = [(b"\0", "")]
_MAX_COMMAND_TAGS: Final = 256
_MAX_COMMAND_TAG: Final = 64


def _command_complete(buffer: bytes, start: int, end: int) -> Message:
    body = buffer[start:end]
    if body.find(0) != len(body) - 1 or not body:
        raise RemoteProtocolError("a string without its NUL, or bytes after it")
    command_tag = body[:-1].decode("utf-8", "backslashreplace")
    if len(_COMMAND_TAGS) < _MAX_COMMAND_TAGS and len(body) <= _MAX_COMMAND_TAG:
        _COMMAND_TAGS[body] = command_tag
    return backend.CommandComplete(command_tag)


def _copy_in_response(buffer: bytes, start: int, end: int) -> Message:
    return backend.CopyInResponse(read_format(buffer, start, end), read_formats(buffer, start + 1, end))


def _copy_out_response(buffer: bytes, start: int, end: int) -> Message:
    return backend.CopyOutResponse(read_format(buffer, start, end), read_formats(buffer, start + 1, end))


def _copy_both_response(buffer: bytes, start: int, end: int) -> Message:
    return backend.CopyBothResponse(read_format(buffer, start, end), read_formats(buffer, start + 1, end))


def _copy_data(buffer: bytes, start: int, end: int) -> Message:
    return CopyData(buffer[start:end])


def _data_row(buffer: bytes, start: int, end: int) -> Message:
    values, position = read_values(buffer, start, end)
    expect_end(position, end)
    return backend.DataRow(values)


def _error_response(buffer: bytes, start: int, end: int) -> Message:
    return backend.ErrorResponse(read_report(buffer, start, end))


def _notice_response(buffer: bytes, start: int, end: int) -> Message:
    return backend.NoticeResponse(read_report(buffer, start, end))


def _function_call_response(buffer: bytes, start: int, end: int) -> Message:
    value, position = read_value(buffer, start, end)
    expect_end(position, end)
    return backend.FunctionCallResponse(value)


def _negotiate_protocol_version(buffer: bytes, start: int, end: int) -> Message:
    protocol = read_int32(buffer, start, end)
    count = read_int32(buffer, start + 4, end)
    position = start + 8
    if count < 0 or count > end - position:
        raise RemoteProtocolError(f"{count} options announced, {end - position} bytes left")
    options: list[str] = []
    for _ in range(count):
        nul = find_nul(buffer, position, end)
        options.append(lenient_text(buffer, position, nul))
        position = nul + 1
    expect_end(position, end)
    return backend.NegotiateProtocolVersion(protocol, options)


def _notification_response(buffer: bytes, start: int, end: int) -> Message:
    process_id = read_int32(buffer, start, end)
    channel_end = find_nul(buffer, start + 4, end)
    payload_end = find_nul(buffer, channel_end + 1, end)
    expect_end(payload_end + 1, end)
    return backend.NotificationResponse(
        process_id,
        lenient_text(buffer, start + 4, channel_end),
        lenient_text(buffer, channel_end + 1, payload_end),
        raw_or_none(buffer, start + 4, channel_end),
        raw_or_none(buffer, channel_end + 1, payload_end),
    )


def _parameter_description(buffer: bytes, start: int, end: int) -> Message:
    return backend.ParameterDescription(read_oids(buffer, start, end))


def _parameter_status(buffer: bytes, start: int, end: int) -> Message:
    name_end = find_nul(buffer, start, end)
    value_end = find_nul(buffer, name_end + 1, end)
    expect_end(value_end + 1, end)
    return backend.ParameterStatus(
        lenient_text(buffer, start, name_end),
        lenient_text(buffer, name_end + 1, value_end),
        raw_or_none(buffer, name_end + 1, value_end),
    )


def _ready_for_query(buffer: bytes, start: int, end: int) -> Message:
    raise RemoteProtocolError("the transaction status is none of I, T and E")  # see `decode_backend`


def _row_description(buffer: bytes, start: int, end: int) -> Message:
    count = read_uint16(buffer, start, end)
    position = start + 2
    if (1 + _FIELD_SIZE) * count > end - position:
        raise RemoteProtocolError(f"{count} fields announced, {end - position} bytes left")
    fields: list[FieldDescription] = []
    for _ in range(count):
        nul = find_nul(buffer, position, end)
        if end - nul - 1 < _FIELD_SIZE:
            raise RemoteProtocolError("too short for a field")
        table, column, type_oid, size, modifier, code = _FIELD(buffer, nul + 1)
        check_format(code)
        name = lenient_text(buffer, position, nul)
        raw = raw_or_none(buffer, position, nul)
        fields.append(FieldDescription(name, table, column, type_oid, size, modifier, code, raw))
        position = nul + 1 + _FIELD_SIZE
    expect_end(position, end)
    return backend.RowDescription(fields)


# The frontend's messages.


def _bind(buffer: bytes, start: int, end: int) -> Message:
    portal_end = find_nul(buffer, start, end)
    statement_end = find_nul(buffer, portal_end + 1, end)
    formats = read_int16s(buffer, statement_end + 1, end)
    parameters, position = read_values(buffer, statement_end + 3 + 2 * len(formats), end)
    result_formats = read_int16s(buffer, position, end)
    expect_end(position + 2 + 2 * len(result_formats), end)
    portal = strict_text(buffer, start, portal_end)
    statement = strict_text(buffer, portal_end + 1, statement_end)
    return frontend.Bind(portal, statement, formats, parameters, result_formats)


def _close(buffer: bytes, start: int, end: int) -> Message:
    return frontend.Close(read_kind(buffer, start, end), read_last_string(buffer, start + 1, end))


def _describe(buffer: bytes, start: int, end: int) -> Message:
    return frontend.Describe(read_kind(buffer, start, end), read_last_string(buffer, start + 1, end))


def _copy_fail(buffer: bytes, start: int, end: int) -> Message:
    return frontend.CopyFail(read_last_string(buffer, start, end))


def _query(buffer: bytes, start: int, end: int) -> Message:
    return frontend.Query(read_last_string(buffer, start, end))


def _execute(buffer: bytes, start: int, end: int) -> Message:
    nul = find_nul(buffer, start, end)
    max_rows = read_int32(buffer, nul + 1, end)
    expect_end(nul + 5, end)
    return frontend.Execute(strict_text(buffer, start, nul), max_rows)


def _function_call(buffer: bytes, start: int, end: int) -> Message:
    read_int32(buffer, start, end)
    oid = _UINT32(buffer, start)[0]
    formats = read_int16s(buffer, start + 4, end)
    arguments, position = read_values(buffer, start + 6 + 2 * len(formats), end)
    result_format = read_uint16(buffer, position, end)
    expect_end(position + 2, end)
    if result_format > 0x7FFF:
        raise RemoteProtocolError(f"format code {result_format}")
    return frontend.FunctionCall(oid, formats, arguments, result_format)


def _parse(buffer: bytes, start: int, end: int) -> Message:
    name_end = find_nul(buffer, start, end)
    query_end = find_nul(buffer, name_end + 1, end)
    types = read_oids(buffer, query_end + 1, end)
    name = strict_text(buffer, start, name_end)
    return frontend.Parse(name, strict_text(buffer, name_end + 1, query_end), types)


def _unknown(tag: int, sender: str, plain: type[PlainMessage] | None, size: int) -> RemoteProtocolError:
    if plain is not None:
        return RemoteProtocolError(f"malformed {plain.__name__}: {size} bytes left over")
    if tag == tags.PASSWORD_MESSAGE and sender == "frontend":
        return RemoteProtocolError("an authentication message outside of authentication")
    return RemoteProtocolError(f"unknown message type {tags.shown(tag)} from the {sender}")


_STATUS: Final[dict[int, str]] = {0x49: "I", 0x54: "T", 0x45: "E"}

_AUTHENTICATION_PLAIN: Final[dict[int, type[PlainMessage]]] = {
    tags.AUTH_OK: authentication.AuthenticationOk,
    tags.AUTH_KERBEROS_V5: authentication.AuthenticationKerberosV5,
    tags.AUTH_CLEARTEXT_PASSWORD: authentication.AuthenticationCleartextPassword,
    tags.AUTH_GSS: authentication.AuthenticationGSS,
    tags.AUTH_SSPI: authentication.AuthenticationSSPI,
}
_AUTHENTICATION_DATA: Final[dict[int, type[authentication.AuthenticationData]]] = {
    tags.AUTH_GSS_CONTINUE: authentication.AuthenticationGSSContinue,
    tags.AUTH_SASL_CONTINUE: authentication.AuthenticationSASLContinue,
    tags.AUTH_SASL_FINAL: authentication.AuthenticationSASLFinal,
}

_BACKEND_PLAIN: Final[dict[int, type[PlainMessage]]] = {
    tags.PARSE_COMPLETE: backend.ParseComplete,
    tags.BIND_COMPLETE: backend.BindComplete,
    tags.CLOSE_COMPLETE: backend.CloseComplete,
    tags.EMPTY_QUERY_RESPONSE: backend.EmptyQueryResponse,
    tags.NO_DATA: backend.NoData,
    tags.PORTAL_SUSPENDED: backend.PortalSuspended,
    tags.COPY_DONE: CopyDone,
}
_FRONTEND_PLAIN: Final[dict[int, type[PlainMessage]]] = {
    tags.FLUSH: frontend.Flush,
    tags.SYNC: frontend.Sync,
    tags.TERMINATE: frontend.Terminate,
    tags.COPY_DONE: CopyDone,
}

_Decoder = Callable[[bytes, int, int], Message]
_BACKEND: Final[dict[int, _Decoder]] = {
    tags.AUTHENTICATION: _authentication,
    tags.BACKEND_KEY_DATA: _backend_key_data,
    tags.COMMAND_COMPLETE: _command_complete,
    tags.COPY_BOTH_RESPONSE: _copy_both_response,
    tags.COPY_DATA: _copy_data,
    tags.COPY_IN_RESPONSE: _copy_in_response,
    tags.COPY_OUT_RESPONSE: _copy_out_response,
    tags.DATA_ROW: _data_row,
    tags.ERROR_RESPONSE: _error_response,
    tags.FUNCTION_CALL_RESPONSE: _function_call_response,
    tags.NEGOTIATE_PROTOCOL_VERSION: _negotiate_protocol_version,
    tags.NOTICE_RESPONSE: _notice_response,
    tags.NOTIFICATION_RESPONSE: _notification_response,
    tags.PARAMETER_DESCRIPTION: _parameter_description,
    tags.PARAMETER_STATUS: _parameter_status,
    tags.READY_FOR_QUERY: _ready_for_query,
    tags.ROW_DESCRIPTION: _row_description,
}
_FRONTEND: Final[dict[int, _Decoder]] = {
    tags.BIND: _bind,
    tags.CLOSE: _close,
    tags.COPY_DATA: _copy_data,
    tags.COPY_FAIL: _copy_fail,
    tags.DESCRIBE: _describe,
    tags.EXECUTE: _execute,
    tags.FUNCTION_CALL: _function_call,
    tags.PARSE: _parse,
    tags.QUERY: _query,
}
