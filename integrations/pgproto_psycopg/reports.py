"""An error or notice of the server as text, as libpq builds it: PQresultErrorMessage.

    ERROR:  column "x" does not exist
    LINE 1: select x
                   ^
    HINT:  ...

All texts are bytes in the session's client_encoding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final

__all__ = ["report"]

_WIDTH: Final = 60  # columns of a long line that are shown
_RIGHT: Final = 10  # of them after the caret, at least


def report(
    fields: Mapping[str, bytes], sql: bytes | None = None, encoding: str = "utf-8", *, notice: bool = False
) -> bytes:
    """The text of an ErrorResponse or NoticeResponse.

    Args:
        fields: its fields.
        sql: the statement, if it is known.
        encoding: Python's name of the session's encoding.
        notice: True for a notice, which shows no CONTEXT.

    Returns:
        The text, with a line's end.
    """
    text = b""
    if "S" in fields:
        text += fields["S"] + b":  "
    text += fields.get("M", b"")
    position = 0
    quoted: bytes | None = None
    given = fields.get("P") or fields.get("p")
    if given is not None:
        quoted = sql if "P" in fields else fields.get("q")
        if quoted is None:
            text += b" at character " + given
        else:
            position = int(given) if given.isdigit() else 0
    text += b"\n"
    if quoted is not None and position > 0:
        text += _line_and_caret(quoted, position, encoding)
    for title, field in (("DETAIL", "D"), ("HINT", "H"), ("QUERY", "q"), ("CONTEXT", "W")):
        if field in fields and not (notice and field == "W"):
            text += title.encode() + b":  " + fields[field] + b"\n"
    return text


def _line_and_caret(sql: bytes, position: int, encoding: str) -> bytes:
    """The line with the position, cut to a window, and a line with a caret under it."""
    text = sql.decode(encoding, "surrogateescape").replace("\t", " ")
    where = position - 1
    if where > len(text):
        return b""
    line = 1
    begin, end = 0, len(text)
    for index, character in enumerate(text):
        if character not in "\r\n":
            continue
        if index >= where:
            end = index
            break
        if character == "\r" or index == 0 or text[index - 1] != "\r":
            line += 1
        begin = index + 1
    columns = [0]
    for character in text[:end]:
        columns.append(columns[-1] + _width(character))
    first, last = begin, end
    if columns[last] - columns[first] > _WIDTH:
        if columns[first] + _WIDTH >= columns[where] + _RIGHT:
            while columns[last] - columns[first] > _WIDTH:
                last -= 1
        else:
            while columns[where] + _RIGHT < columns[last]:
                last -= 1
            while columns[last] - columns[first] > _WIDTH:
                first += 1
    head = f"LINE {line}: " + ("..." if first > begin else "")
    shown = text[first:last] + ("..." if last < end else "")
    caret = " " * (len(head) + columns[where] - columns[first]) + "^"
    return f"{head}{shown}\n{caret}\n".encode(encoding, "surrogateescape")


def _width(character: str) -> int:
    """How many columns of a terminal a character takes; one for those that take none, as in libpq."""
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
