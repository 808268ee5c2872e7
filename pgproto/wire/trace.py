"""Messages as lines of text, in the format of libpq's PQtrace (without its timestamps).

    F	16	Describe	 S "select_one"
    B	4	ParseComplete

A line has direction, length (without the type byte), name and fields; strings are in double quotes, values
are a length and single quotes.  The rule: a message is one line of printable characters, whatever it
contains, and has no secrets: passwords, SASL and GSS data, cancel keys and the start-up parameter `options`
are shown as `******`.  As in libpq, only the length of CopyData is shown.
"""

from __future__ import annotations

from typing import Final

from ..errors import MASK, RemoteProtocolError
from . import backend, frontend, tags
from .decode import decode_backend, decode_frontend, decode_startup
from .frames import DEFAULT_MAX_MESSAGE_SIZE, FrameReader, Limits
from .messages import FieldDescription, Message

_LIMITS: Final = Limits(DEFAULT_MAX_MESSAGE_SIZE, {})
_BARE: Final = ("kind", "status", "code")  # one character by definition: no quotes


def trace_line(direction: str, message: Message, length: int = -1) -> str:
    """Return a message as one line, without the line's end.

    Args:
        direction: "F" for a message of the frontend, "B" of the backend.
        message: the message.
        length: its length on the wire; if it is not given, the message is encoded to find out.

    Raises:
        LocalProtocolError: the length is not given, and the message can't be encoded.
    """
    if length < 0:
        # The type byte doesn't count, and the untagged packets have none.
        length = len(message.encode()) - (message.tag != tags.NO_TAG)
    name = type(message).__name__
    if isinstance(message, frontend.StartupMessage):
        shown = _startup_fields(message)
    elif isinstance(message, backend.Report):
        shown = _report_fields(message)
    else:
        shown = "" if message.tag == tags.COPY_DATA else _fields(message)
    return f"{direction}\t{length}\t{name}" + (f"\t {shown}" if shown else "")


def trace_bytes(direction: str, data: bytes, startup: bool = False) -> list[str]:
    """Return the messages in the bytes that one side sent, one line each.

    The kind of a 'p' message depends on the other side: it is shown as AuthenticationResponse.
    Bytes that are not a message become a line that starts with "#", so a broken stream can be examined.

    Args:
        direction: "F" or "B": who sent it.
        data: the bytes.
        startup: the bytes are the beginning of the connection: untagged packets ("F"), or the byte that
            answers SSLRequest or GSSENCRequest ("B").
    """
    reader = FrameReader()
    reader.receive_data(data)
    lines: list[str] = []
    if startup and direction == "B":
        answer = reader.next_byte()
        if answer >= 0:
            lines.append(trace_line("B", backend.EncryptionResponse(bytes((answer,))), 1))
    untagged = startup and direction == "F"
    try:
        while reader.next_startup(DEFAULT_MAX_MESSAGE_SIZE) if untagged else reader.next_frame(_LIMITS):
            if untagged:
                message = decode_startup(reader.buffer, reader.start, reader.end)
                lines.append(trace_line("F", message, reader.end - reader.start + 4))
                untagged = isinstance(message, (frontend.SSLRequest, frontend.GSSENCRequest))
            else:
                lines.append(_frame_line(direction, reader))
    except RemoteProtocolError as error:
        lines.append(f"# {_escaped(str(error))}")
    if reader.pending:
        lines.append(f"# {reader.pending} bytes of an incomplete message")
    return lines


def _frame_line(direction: str, reader: FrameReader) -> str:
    length = reader.end - reader.start + 4
    if direction == "F" and reader.tag == tags.PASSWORD_MESSAGE:
        return f"F\t{length}\tAuthenticationResponse\t {MASK}"
    decode = decode_frontend if direction == "F" else decode_backend
    try:
        message = decode(reader.tag, reader.buffer, reader.start, reader.end)
    except RemoteProtocolError as error:
        return f"# {direction}\t{length}\t{_escaped(str(error))}"
    return trace_line(direction, message, length)


# Strings and values.


def _escaped(text: str) -> str:
    if text.isprintable() and "\\" not in text:
        return text
    return "".join([_escaped_character(character) for character in text])


def _escaped_character(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _bytes(data: bytes) -> str:
    # As PQtrace does: printable ASCII unchanged, every other byte in hexadecimal.
    return "'" + _escaped(data.decode("latin-1")).encode("ascii", "backslashreplace").decode() + "'"


def _item(value: object) -> str:
    """A member of a list, or a field that is not a list."""
    if value is None:
        return "-1"
    if isinstance(value, bytes):
        return f"{len(value)} {_bytes(value)}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, FieldDescription):
        return (
            f"{_quoted(value.name)} {value.table_oid} {value.column_number} {value.type_oid} "
            f"{value.type_size} {value.type_modifier} {value.format}"
        )
    return str(value)


def _fields(message: Message) -> str:
    """The fields of a message, each by its Python type."""
    shown: list[str] = []
    for name in message.field_names:
        value = getattr(message, name)
        if name in message.secret_names:
            shown.append(MASK)
        elif name in _BARE:
            shown.append(_escaped(value if isinstance(value, str) else value.decode("latin-1")))
        elif name == "salt":
            shown.append(_bytes(value))
        elif isinstance(value, (list, tuple)):
            if name != "mechanisms":  # the only list without a count on the wire
                shown.append(str(len(value)))
            shown += [_item(member) for member in value]
        else:
            shown.append(_item(value))
    return " ".join(shown)


def _startup_fields(message: frontend.StartupMessage) -> str:
    shown = [f"{message.protocol >> 16} {message.protocol & 0xFFFF}"]
    for name, value in message.parameters.items():
        shown.append(f"{_quoted(name)} {MASK if name == 'options' else _quoted(value)}")
    return " ".join([*shown, "\\x00"])


def _report_fields(message: backend.Report) -> str:
    shown = [f"{_escaped(code)} {_quoted(value)}" for code, value in message.fields.items()]
    return " ".join([*shown, "\\x00"])
