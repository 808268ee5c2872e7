"""The messages of a session as lines of text, written as they come and go.  libpq: PQtrace."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable
from typing import Final

from psycopg.pq import Trace

from pgproto.wire import trace_bytes

__all__ = ["tracer"]

_NUMBER: Final = re.compile(r" \d+")
_PLACES: Final = re.compile(r' (F|L|R) "[^"]*"')


def tracer(descriptor: int, flags: Callable[[], int]) -> Callable[[str, bytes, bool], None]:
    """A function for `PGConnection.trace`.

    Args:
        descriptor: the file descriptor to write to.
        flags: returns the flags of `Trace`.
    """

    def trace(sender: str, data: bytes, startup: bool) -> None:
        lines = trace_bytes(sender, data, startup)
        if not startup and data[:1] == b"d":
            lines = _copy_data(lines, data, hidden=bool(flags() & Trace.REGRESS_MODE))
        for line in lines:
            shown = _as_libpq(line)
            if flags() & Trace.REGRESS_MODE:
                shown = _regress(shown)
            if not flags() & Trace.SUPPRESS_TIMESTAMPS:
                now = datetime.datetime.now()
                shown = f"{now:%Y-%m-%d %H:%M:%S.%f}\t{shown}"
            os.write(descriptor, shown.encode("utf-8", "backslashreplace") + b"\n")

    return trace


def _copy_data(lines: list[str], data: bytes, *, hidden: bool) -> list[str]:
    """The lines of CopyData messages, with the data."""
    found: list[str] = []
    position = 0
    for line in lines:
        end = position + 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        text = "".join([_shown(byte) for byte in data[position + 5 : end]])
        found.append(f"{line}\t {chr(39)}{'BBBB' if hidden else text}{chr(39)}")
        position = end
    return found


def _shown(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"


def _as_libpq(line: str) -> str:
    """The line as libpq writes it, where that differs: sizes without a sign, formats as bytes."""
    if "\tRowDescription\t" in line:
        return _SIZE.sub(lambda found: f"{found[1]}{int(found[2]) & 0xFFFF} ", line)
    return _FORMAT.sub(r"\1 \\x0\2", line)


def _regress(line: str) -> str:
    """The line without what differs from run to run: OIDs, and places in the server's source."""
    sender, length, rest = line.split("\t", 2)
    name, _, fields = rest.partition("\t")
    if name in ("ErrorResponse", "NoticeResponse"):
        return f"{sender}\tNN\t{name}\t" + _PLACES.sub(r' \1 "SSSS"', fields)
    if name == "RowDescription":
        return f"{sender}\t{length}\t{name}\t" + _COLUMN.sub(r"\1 NNNN \2 NNNN \3", fields)
    if name == "ParameterDescription":
        count, *types = fields.split()
        return f"{sender}\t{length}\t{name}\t " + " ".join([count, *("NNNN" for _ in types)])
    if name in ("BackendKeyData", "NotificationResponse"):
        return f"{sender}\t{length}\t{name}\t" + _NUMBER.sub(" NNNN", fields, count=1)
    return line


_SIZE: Final = re.compile(r'("(?:[^"\\]|\\.)*" \d+ \d+ \d+ )(-?\d+) ')
_FORMAT: Final = re.compile(r"(\tCopy(?:In|Out|Both)Response\t) (\d)")
# name, table's OID, column's number, type's OID, type's size
_COLUMN: Final = re.compile(r'("(?:[^"\\]|\\.)*") \d+ (\d+) \d+ (-?\d+)')
