"""Readers for the pieces of message bodies: integers, strings, lists, between `start` and `end` of a buffer.

Each function checks `end` before it reads, bounds counts by the bytes that remain, and raises
RemoteProtocolError; the text names what was wrong and never quotes the bytes.
"""

from __future__ import annotations

from struct import Struct, unpack_from
from typing import Final

from ..errors import RemoteProtocolError, ReportFields, escaped

_UINT16: Final = Struct(">H").unpack_from
_INT32: Final = Struct(">i").unpack_from


def find_nul(buffer: bytes, start: int, end: int) -> int:
    """Index of the NUL that ends the string at `start`."""
    position = buffer.find(0, start, end)
    if position < 0:
        raise RemoteProtocolError("a string without its NUL")
    return position


def lenient_text(buffer: bytes, start: int, end: int) -> str:
    """A backend's text: bytes that are not UTF-8 become escapes."""
    return escaped(buffer[start:end])


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def raw_or_none(buffer: bytes, start: int, end: int) -> bytes | None:
    """The bytes of a text, if `lenient_text` has escapes for some of them; else None."""
    data = buffer[start:end]
    return None if is_utf8(data) else data


def strict_text(buffer: bytes, start: int, end: int) -> str:
    """A frontend's text, which must be UTF-8."""
    try:
        return buffer[start:end].decode()
    except UnicodeDecodeError:
        pass  # raised below, because the __context__ would show the text, which may be a secret
    raise RemoteProtocolError("text that is not UTF-8")


def read_uint16(buffer: bytes, start: int, end: int) -> int:
    """A uint16."""
    if end - start < 2:
        raise RemoteProtocolError("too short for an int16")
    number: int = _UINT16(buffer, start)[0]
    return number


def read_int32(buffer: bytes, start: int, end: int) -> int:
    """An int32."""
    if end - start < 4:
        raise RemoteProtocolError("too short for an int32")
    number: int = _INT32(buffer, start)[0]
    return number


def expect_end(position: int, end: int) -> None:
    """Raise if the body has bytes after its last piece."""
    if position != end:
        raise RemoteProtocolError(f"{end - position} bytes left over")


def read_int16s(buffer: bytes, start: int, end: int) -> tuple[int, ...]:
    """A count and that many int16, together `2 + 2 * count` bytes."""
    count = read_uint16(buffer, start, end)
    if 2 * count > end - start - 2:
        raise RemoteProtocolError(f"{count} int16 announced, {end - start - 2} bytes left")
    return unpack_from(f">{count}h", buffer, start + 2)


def read_formats(buffer: bytes, start: int, end: int) -> tuple[int, ...]:
    """A count and that many format codes (0 or 1), which must end the body."""
    formats = read_int16s(buffer, start, end)
    expect_end(start + 2 + 2 * len(formats), end)
    for code in formats:
        check_format(code)
    return formats


def check_format(code: int) -> None:
    """Raise unless the format code is 0 (text) or 1 (binary)."""
    if code != 0 and code != 1:
        raise RemoteProtocolError(f"format code {code}")


def read_oids(buffer: bytes, start: int, end: int) -> tuple[int, ...]:
    """A count and that many uint32, which must end the body."""
    count = read_uint16(buffer, start, end)
    if 4 * count != end - start - 2:
        raise RemoteProtocolError(f"{count} OIDs announced, {end - start - 2} bytes left")
    return unpack_from(f">{count}I", buffer, start + 2)


def read_value(buffer: bytes, start: int, end: int) -> tuple[bytes | None, int]:
    """A value (a length and that many bytes, or -1 for NULL), and the index after it."""
    length = read_int32(buffer, start, end)
    position = start + 4
    if length == -1:
        return None, position
    if length < 0 or length > end - position:
        raise RemoteProtocolError(f"a value of length {length}, {end - position} bytes left")
    return buffer[position : position + length], position + length


def read_values(buffer: bytes, start: int, end: int) -> tuple[list[bytes | None], int]:
    """The values of a count and that many values, and the index after them."""
    count = read_uint16(buffer, start, end)
    position = start + 2
    if 4 * count > end - position:
        raise RemoteProtocolError(f"{count} values announced, {end - position} bytes left")
    values: list[bytes | None] = []
    for _ in range(count):
        if end - position < 4:
            raise RemoteProtocolError("too short for a value's length")
        length: int = _INT32(buffer, position)[0]
        position += 4
        if length >= 0:
            following = position + length
            if following > end:
                raise RemoteProtocolError(f"a value of length {length}, {end - position} bytes left")
            values.append(buffer[position:following])
            position = following
        elif length == -1:
            values.append(None)
        else:
            raise RemoteProtocolError(f"a value of length {length}")
    return values, position


def read_parameters(buffer: bytes, start: int, end: int) -> dict[str, str]:
    """Pairs of strings up to an empty name, which must end the body."""
    parameters: dict[str, str] = {}
    position = start
    while True:
        name_end = find_nul(buffer, position, end)
        if name_end == position:
            expect_end(position + 1, end)
            return parameters
        value_end = find_nul(buffer, name_end + 1, end)
        parameters[strict_text(buffer, position, name_end)] = strict_text(buffer, name_end + 1, value_end)
        position = value_end + 1


def read_report(buffer: bytes, start: int, end: int) -> dict[str, str]:
    """Pairs of a code byte and a string, up to a NUL instead of a code; a repeated code is ignored."""
    fields: dict[str, str] = {}
    raw: dict[str, bytes] = {}
    position = start
    while True:
        if position >= end:
            raise RemoteProtocolError("fields without their terminator")
        code = chr(buffer[position])
        position += 1
        if code == "\0":
            expect_end(position, end)
            return ReportFields(fields, raw) if raw else fields
        nul = find_nul(buffer, position, end)
        if code not in fields:
            fields[code] = lenient_text(buffer, position, nul)
            data = raw_or_none(buffer, position, nul)
            if data is not None:
                raw[code] = data
        position = nul + 1


def read_format(buffer: bytes, start: int, end: int) -> int:
    """A format code of one byte."""
    if start == end:
        raise RemoteProtocolError("too short for a format")
    check_format(buffer[start])
    return buffer[start]


def read_kind(buffer: bytes, start: int, end: int) -> str:
    """The kind of a Close or Describe: S (statement) or P (portal)."""
    if start == end or (buffer[start] != 0x53 and buffer[start] != 0x50):
        raise RemoteProtocolError("the kind is neither 'S' nor 'P'")
    return chr(buffer[start])


def read_last_string(buffer: bytes, start: int, end: int) -> str:
    """The string that fills the rest of the body."""
    nul = find_nul(buffer, start, end)
    expect_end(nul + 1, end)
    return strict_text(buffer, start, nul)
