r"""What a recorded session is, and the text that it is kept as.

A recording is the messages of both directions in the order in which they went by.  Where the side changes
is the interleaving: a client's message stands behind all that the client had been told when it sent it.

    == portal-suspended {"server": "18"}
    F - \0\x03\0\x02user\0postgres\0\0        no type byte: a start-up packet
    B R \0\0\0\0                              type byte and body; the length follows from the body
    B = S                                     one byte without a frame: the answer to SSLRequest
    B ~ EFATAL:  unsupported\n\0               bytes that are no messages, as they were read
    B .                                       that side closed the connection

Bytes are text as far as they are printable ASCII; the rest is escaped.  Lines that begin with # are for
the reader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgproto.errors import RemoteProtocolError
from pgproto.wire import FrameReader, frames

DIRECTORY: Final = Path(__file__).parent / "recorded"
EOF: Final = b""

_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|.)")
_NAMED: Final = {"0": "\0", "n": "\n", "\\": "\\", "s": " "}
_ANY: Final = frames.Limits(1 << 24, {})
_ENCRYPTION_CODES: Final = (b"\x04\xd2\x16\x2f", b"\x04\xd2\x16\x30")


@dataclass
class Recording:
    """One session: its name, what is known about it, and (side, message) pairs; EOF is an empty message."""

    name: str
    about: dict[str, object] = field(default_factory=dict)
    lines: list[tuple[str, bytes]] = field(default_factory=list)

    def size(self, side: str) -> int:
        """How many bytes one side says."""
        return sum(len(data) for each, data in self.lines if each == side)

    def runs(self) -> Iterator[tuple[str, bytes, list[bytes]]]:
        """What was said in one go: side, all its bytes, and the messages that they are; EOF is a run."""
        run: list[bytes] = []
        side = ""
        for each, data in self.lines:
            if run and (each != side or data == EOF):
                yield side, b"".join(run), run
                run = []
            side = each
            if data == EOF:
                yield side, EOF, []
            else:
                run.append(data)
        if run:
            yield side, b"".join(run), run


class Tape:
    """Takes both directions as they are written and read, and makes a recording of them."""

    def __init__(self, name: str, about: dict[str, object]) -> None:
        self.recording = Recording(name, about)
        self._readers = {"F": FrameReader(), "B": FrameReader()}
        self._startup = True
        self._bare = False  # the backend's next byte has no frame around it

    def add(self, side: str, data: bytes) -> None:
        """One side said these bytes; b"" is EOF."""
        if data == EOF:
            self.recording.lines.append((side, EOF))
            return
        reader = self._readers[side]
        reader.receive_data(data)
        while (message := self._next(side, reader)) is not None:
            self.recording.lines.append((side, message))

    def _next(self, side: str, reader: FrameReader) -> bytes | None:
        if side == "B" and self._bare:
            self._bare = False
            return bytes((reader.next_byte(),))
        if side == "F" and self._startup:
            if not reader.next_startup():
                return None
            message = reader.buffer[reader.start - 4 : reader.end]
            self._bare = message[4:8] in _ENCRYPTION_CODES
            self._startup = self._bare
            return message
        try:
            if not reader.next_frame(_ANY):
                return None
        except RemoteProtocolError:
            return reader.take_rest()
        return reader.buffer[reader.start - 5 : reader.end]


def dump(recordings: Iterable[Recording]) -> str:
    """The text of these recordings."""
    lines: list[str] = []
    for recording in recordings:
        about = json.dumps(recording.about, sort_keys=True)
        lines += ["", f"== {recording.name} {about}"]
        startup = True
        for side, data in recording.lines:
            if data == EOF:
                lines.append(f"{side} .")
            elif side == "B" and len(data) == 1:
                lines.append(f"B = {to_text(data)}")
            elif side == "F" and startup:
                lines.append(f"F - {to_text(data[4:])}")
                startup = data[4:8] in _ENCRYPTION_CODES
            elif int.from_bytes(data[1:5], "big") != len(data) - 1:
                lines.append(f"{side} ~ {to_text(data)}")
            else:
                lines.append(f"{side} {chr(data[0])} {to_text(data[5:])}".rstrip(" "))
    return "\n".join(lines).lstrip("\n") + "\n"


def parse(text: str) -> list[Recording]:
    """The recordings in a text."""
    found: list[Recording] = []
    for line in text.split("\n"):
        if line.startswith("== "):
            _, name, about = line.split(" ", 2)
            found.append(Recording(name, json.loads(about)))
        elif line and not line.startswith("#"):
            found[-1].lines.append(_message(line))
    return found


def _message(line: str) -> tuple[str, bytes]:
    side, kind, body = line[0], line[2], from_text(line[4:])
    if kind == "." and len(line) == 3:
        return side, EOF
    if kind in "=~":
        return side, body
    length = (len(body) + 4).to_bytes(4, "big")
    return side, length + body if kind == "-" else kind.encode("latin-1") + length + body


def to_text(data: bytes) -> str:
    r"""Printable ASCII as it is, the rest as \0, \n, \\ or \xNN; a space at the end as \s."""
    text = "".join(_ESCAPED[byte] for byte in data)
    return text[:-1] + "\\s" if text.endswith(" ") else text


def from_text(text: str) -> bytes:
    """What `to_text` was given."""

    def plain(match: re.Match[str]) -> str:
        what = match[1]
        return chr(int(what[1:], 16)) if what[0] == "x" else _NAMED[what]

    return _ESCAPE.sub(plain, text).encode("latin-1")


_ESCAPED: Final = [
    {0: "\\0", 10: "\\n", 92: "\\\\"}.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}")
    for byte in range(256)
]


def load(directory: Path = DIRECTORY) -> list[Recording]:
    """All recordings of a directory, by file and then in the order in which they were recorded."""
    found: list[Recording] = []
    for path in sorted(directory.glob("*.txt")):
        found += parse(path.read_text(encoding="ascii"))
    return found


def is_startup(data: bytes) -> bool:
    """True for a client's packet without a type byte."""
    return data[:1] == b"\0"
