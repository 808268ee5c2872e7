r"""`Escaping`: texts and data as parts of SQL.  libpq: PQescapeLiteral and its kin.

Everything is bytes in the session's client_encoding.  Where an encoding has characters whose second byte
is a quote or a backslash (SJIS, BIG5, GBK, GB18030), they are not taken for one.
"""

from __future__ import annotations

from psycopg import errors as e
from psycopg.pq import ConnStatus
from psycopg.pq.abc import Buffer

from pgproto.types import escape_bytea, unescape_bytea

from . import multibyte
from .connection import PGconn

__all__ = ["Escaping"]


class Escaping:
    """Escapes for a connection, or without one.  psycopg: `psycopg.pq.Escaping`.

    Args:
        conn: the connection whose encoding and settings count.
    """

    def __init__(self, conn: PGconn | None = None) -> None:
        self.conn = conn

    def escape_literal(self, data: Buffer) -> bytes:
        """A text as a literal, with its quotes.

        Raises:
            OperationalError: there is no connection, or the text is not valid in its encoding.
        """
        text = self._text("escape_literal", data, needed=True)
        quoted = self._doubled(text, b"'\\")
        return b" E'" + quoted + b"'" if b"\\" in quoted else b"'" + quoted + b"'"

    def escape_identifier(self, data: Buffer) -> bytes:
        """A name as an identifier, with its quotes.

        Raises:
            OperationalError: there is no connection, or the name is not valid in its encoding.
        """
        return b'"' + self._doubled(self._text("escape_identifier", data, needed=True), b'"') + b'"'

    def escape_string(self, data: Buffer) -> bytes:
        """A text for use between single quotes.

        Raises:
            OperationalError: the connection is closed, or the text is not valid in its encoding.
        """
        text = self._text("escape_string", data)
        return self._doubled(text, b"'" if self._standard else b"'\\")

    def escape_bytea(self, data: Buffer) -> bytes:
        """Binary data as a bytea, for use between single quotes.

        Raises:
            OperationalError: the connection is closed.
        """
        self._check()
        if self.conn is not None:
            self.conn._clear_old_error()
        if self.conn is None or self.conn.parameter_status(b"server_version") is None:
            return _old_bytea(bytes(data), standard=self._standard)
        return escape_bytea(bytes(data), standard_conforming_strings=self._standard).encode()

    def unescape_bytea(self, data: Buffer) -> bytes:
        """The binary data of a bytea's text.

        Raises:
            OperationalError: the connection is closed.
        """
        self._check()
        text = bytes(data).partition(b"\0")[0]
        if text.startswith(b"\\x"):
            return _unhex(text[2:])
        return unescape_bytea(text)

    def _check(self) -> None:
        if self.conn is not None:
            self.conn._ensure()

    @property
    def _standard(self) -> bool:
        """Whether backslashes are plain characters in literals; not without a connection, as in libpq."""
        if self.conn is None:
            return _last_standard()
        return self.conn.parameter_status(b"standard_conforming_strings") == b"on"

    def _text(self, what: str, data: Buffer, *, needed: bool = False) -> bytes:
        if self.conn is None and needed:
            raise e.OperationalError(f"{what} failed: no connection provided")
        self._check()
        if self.conn is not None:
            self.conn._clear_old_error()
        text = bytes(data).partition(b"\0")[0]
        if self.conn is not None and not text.isascii() and self.conn.status == ConnStatus.OK:
            self._validate(what, text)
        return text

    def _validate(self, what: str, text: bytes) -> None:
        assert self.conn is not None
        encoding = self.conn.parameter_status(b"client_encoding") or b"UTF8"
        wrong = multibyte.problem(encoding, text, at_once=what != "escape_string")
        if wrong:
            self.conn._fail(f"{wrong} multibyte character")
            raise e.OperationalError(f"{what} failed: {self.conn.get_error_message()}")

    def _doubled(self, text: bytes, characters: bytes) -> bytes:
        """The text with these ASCII characters doubled."""
        encoding = self.conn.parameter_status(b"client_encoding") if self.conn is not None else None
        if encoding is None or not multibyte.has_ascii_inside(encoding):
            for character in (characters[index : index + 1] for index in range(len(characters))):
                text = text.replace(character, character * 2)
            return text
        parts: list[bytes] = []
        position = 0
        while position < len(text):
            count = multibyte.size(encoding, text, position)
            part = text[position : position + count]
            parts.append(part * 2 if count == 1 and part in characters else part)
            position += count
        return b"".join(parts)


def _old_bytea(data: bytes, *, standard: bool) -> bytes:
    """The escape format, which is right for every server; without a session libpq knows none newer."""
    backslash = b"\\" if standard else b"\\\\"
    plain = {39: b"''", 92: backslash * 2}
    return b"".join(
        [
            backslash + b"%03o" % byte if not 32 <= byte < 127 else plain.get(byte, bytes((byte,)))
            for byte in data
        ]
    )


def _last_standard() -> bool:
    """Libpq's functions without a connection go by the last connection that was made."""
    return PGconn.last_standard


def _unhex(digits: bytes) -> bytes:
    """Hexadecimal digits in pairs; libpq drops what is none."""
    found = bytearray()
    position = 0
    while position < len(digits) - 1:
        try:
            found.append(int(digits[position : position + 2], 16))
            position += 2
        except ValueError:
            position += 1
    return bytes(found)
