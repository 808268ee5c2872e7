"""Values and names as pieces of SQL text: the counterparts of libpq's five functions for escaping.

Rule: prefer parameters.  Use these where SQL takes none: SET, LISTEN, utility commands, generated scripts.
Rule: text that cannot be escaped (a NUL, a lone surrogate) is refused, never dropped.  Text is str and not
bytes, because in encodings like SJIS and GBK a byte that looks like a quote can be half of a character.
Manual: "Escaping Strings for Inclusion in SQL Commands" (libpq), "String Constants", "bytea Hex Format".
"""

from __future__ import annotations

from typing import Final

from ..wire.exact import exact_bytes, exact_str

__all__ = [
    "HEX_DIGITS",
    "escape_bytea",
    "escape_string",
    "quote_identifier",
    "quote_literal",
    "unescape_bytea",
]

_BACKSLASH: Final = 0x5C
HEX_DIGITS: Final = bytes(
    [int(chr(code), 16) if chr(code) in "0123456789ABCDEFabcdef" else 255 for code in range(256)]
)
"""The value of each byte as a hexadecimal digit; 255 for what is none."""


def quote_literal(text: str) -> str:
    r"""The text as a quoted string literal that does not depend on `standard_conforming_strings`.

    With a backslash it becomes ` E'...'`; the space separates the E from a word before it.
    libpq: PQescapeLiteral.

    Args:
        text: any text without NUL.

    Raises:
        TypeError, ValueError: it is not a str, or contains a NUL or a lone surrogate.
    """
    quoted = _checked(text, "a literal").replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def quote_identifier(name: str) -> str:
    """The name as a quoted identifier.  Manual: "Identifiers and Key Words"; libpq: PQescapeIdentifier.

    Args:
        name: one name.  A table in a schema is `quote_identifier("s") + "." + quote_identifier("t")`.

    Raises:
        TypeError, ValueError: it is not a str, or contains a NUL or a lone surrogate.
    """
    return '"' + _checked(name, "an identifier").replace('"', '""') + '"'


def escape_string(text: str, *, standard_conforming_strings: bool = True) -> str:
    """The text, escaped for use between single quotes.  libpq: PQescapeStringConn.

    Args:
        text: any text without NUL.
        standard_conforming_strings: the session's setting (`parameters["standard_conforming_strings"]
            == "on"`); if it is off, backslashes are escaped, too.

    Raises:
        TypeError, ValueError: it is not a str, or contains a NUL or a lone surrogate.
    """
    escaped = _checked(text, "a literal").replace("'", "''")
    return escaped if standard_conforming_strings else escaped.replace("\\", "\\\\")


def escape_bytea(data: bytes | bytearray | memoryview, *, standard_conforming_strings: bool = True) -> str:
    r"""Binary data in bytea's hex format, for use between single quotes.  libpq: PQescapeByteaConn.

    Args:
        data: any bytes.
        standard_conforming_strings: as for `escape_string`.

    Raises:
        TypeError: it is not bytes, bytearray or memoryview.
    """
    return ("\\x" if standard_conforming_strings else "\\\\x") + _binary(data).hex()


def unescape_bytea(text: str | bytes) -> bytes:
    r"""Decode the text form of a bytea, in either output format.  libpq: PQunescapeBytea.

    In the old format (`bytea_output = escape`) a backslash that does not begin `\\` or an octal number is
    dropped, as libpq does.

    Args:
        text: the value as the server sent it (format 0).

    Raises:
        TypeError, ValueError: it is neither str nor bytes, or not the text form of a bytea.
    """
    data = exact_str(text).encode("latin-1") if isinstance(text, str) else _binary(text)
    if data.startswith(b"\\x"):
        try:
            return bytes.fromhex(data[2:].decode("ascii"))
        except ValueError:
            raise ValueError("not hexadecimal digits in pairs after the \\x of a bytea") from None
    found = bytearray()
    position = 0
    while position < len(data):
        if data[position] != _BACKSLASH:
            found.append(data[position])
            position += 1
            continue
        position += 1
        octal = data[position : position + 3]
        if len(octal) == 3 and octal[0] in b"0123" and octal[1] in b"01234567" and octal[2] in b"01234567":
            found.append(int(octal, 8))
            position += 3
        elif octal[:1] == b"\\":
            found.append(_BACKSLASH)
            position += 1
    return bytes(found)


def _binary(data: object) -> bytes:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"binary data must be bytes, not {type(data).__name__}")
    return exact_bytes(data)


def _checked(text: object, what: str) -> str:
    """The text as an exact str, because a subclass could override its methods."""
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a str, not {type(text).__name__}")
    text = exact_str(text)
    if "\0" in text:
        raise ValueError(f"{what} cannot contain a NUL character")
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        pass  # raised below, because the __context__ would show the text
    raise ValueError(f"{what} cannot contain a lone surrogate")
