"""`trace` and `decode`: messages as lines in the shape of libpq's PQtrace, which show no secrets."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Final

from pgproto.config import Config
from pgproto.wire import trace_bytes

from .opening import connect
from .output import RED, paint, show_json

__all__ = ["decode", "read", "trace", "unhex"]

# These have no type byte before their length; the answer to SSLRequest is one byte without a length.
_UNTAGGED: Final = frozenset({"StartupMessage", "SSLRequest", "GSSENCRequest", "CancelRequest"})
_ONE_BYTE: Final = "EncryptionResponse"


def trace(
    config: Config, sql: str, args: Sequence[str], *, extended: bool, times: bool, as_json: bool
) -> int:
    """Run a text, and print each message of the session.

    Args:
        config: where to connect to.
        sql: the text.
        args: the values of its parameters, as texts.
        extended: prepare it and run it, as `fetch` does; else send it as one simple query.
        times: print the seconds since the beginning before each line.
        as_json: print JSON, a line for each message.

    Raises:
        Error: what the connection or the server says; the messages are printed before.
    """
    begun = time.perf_counter()

    def show(_session: int, line: str) -> None:
        elapsed = time.perf_counter() - begun
        if as_json:
            show_json({"seconds": round(elapsed, 6), **_parts(line)})
        else:
            print(f"{elapsed:.6f}\t{line}" if times else line, flush=True)

    with connect(config, show) as conn:
        if extended or args:
            conn.fetch(sql, *args)
        else:
            conn.script(sql)
        failed = conn.engine.connection.trace_error
    if failed is not None:  # what shows the messages must not disturb the session
        raise failed
    return 0


def decode(directions: Sequence[tuple[str, bytes]], *, startup: bool, as_json: bool) -> int:
    """Print the messages in bytes that each side has sent.

    Args:
        directions: for each side "F" or "B", and its bytes.
        startup: they begin with the connection.
        as_json: print JSON, a line for each message.

    Returns:
        The exit status: 1 if something is malformed.
    """
    status = 0
    for sender, data in directions:
        at = 0
        for line in trace_bytes(sender, data, startup):
            parts = _parts(line)
            broken = line.startswith("#")
            if as_json:
                show_json({"sender": sender, "at": at, **parts})
            elif broken:
                print(paint(f"{line}  (from {sender}, at byte {at} of {len(data)})", RED))
            else:
                print(line)
            status = 1 if broken else status
            length, name = parts.get("length"), parts.get("message")
            if isinstance(length, int):
                at += length + (name not in _UNTAGGED and name != _ONE_BYTE)
    return status


def unhex(data: bytes) -> bytes:
    """The bytes that hexadecimal digits stand for; white space, colons and 0x between them do not matter.

    Raises:
        ValueError: they are none.
    """
    text = data.decode("ascii", "replace").replace("0x", "").replace("\\x", "").replace(":", "")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError("not hexadecimal digits in pairs") from None


def _parts(line: str) -> dict[str, object]:
    """A line as an object for JSON."""
    if line.startswith("#"):
        fields = line[1:].strip().split("\t", 2)
        if len(fields) == 3:  # a message whose content is malformed
            return {"sender": fields[0], "length": int(fields[1]), "error": fields[2]}
        return {"error": fields[0]}
    sender, length, name, *rest = line.split("\t", 3)
    return {"sender": sender, "length": int(length), "message": name, "fields": "".join(rest).strip()}


def read(path: str) -> bytes:
    """The bytes of a file, or of the standard input ("-")."""
    if path == "-":
        return sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return file.read()
