"""The receive buffer of one direction of a connection; finds where its frames begin and end.

Framing needs only the five bytes of a header, so a body that cannot be decoded never loses the place in
the stream.  Two rules: a length is checked as soon as the header has arrived, before waiting for the body;
and memory is allocated only for bytes that have arrived.

The received bytes are one `bytes` object, `buffer`, plus the pieces that arrived while a frame was
incomplete.  The pieces are joined once, when the frame is complete, so the cost is linear however the
stream is cut up.  Small pieces are first gathered in a bytearray, or a million 1-byte reads would make a
million objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import TYPE_CHECKING, Final

from ..errors import RemoteProtocolError
from . import tags
from .native import read_int32

if TYPE_CHECKING:
    from mypy_extensions import i64

_LENGTH: Final = Struct(">i").unpack_from
_SMALL_PIECE: Final = 4096
_GATHERED: Final = 65536


class Limits:
    """The largest length field (in bytes, including itself) that a phase of the session accepts.

    Args:
        default: the limit for types that are not in `by_tag`.
        by_tag: limits by type byte.
    """

    __slots__ = ("by_tag", "default", "lowest")

    def __init__(self, default: int, by_tag: Mapping[int, int]) -> None:
        self.default = default
        self.by_tag = dict(by_tag)
        self.lowest: i64 = min([default, *by_tag.values()])

    def of(self, tag: int) -> int:
        """Return the largest length for the type `tag`."""
        return self.by_tag.get(tag, self.default)

    def __repr__(self) -> str:
        return f"Limits({self.default}, {self.by_tag})"


DEFAULT_MAX_MESSAGE_SIZE: Final = 0x3FFFFFFE
"""1 GiB - 2: the limit of PostgreSQL itself (MaxAllocSize - 1)."""
SMALL_BACKEND: Final = 30_000
"""libpq's limit for the messages that are never long."""
SMALL_FRONTEND: Final = 10_000
"""PostgreSQL's limit for the messages that are never long (PQ_SMALL_MESSAGE_LIMIT)."""
MAX_STARTUP_SIZE: Final = 10_004
"""PostgreSQL's limit for a start-up packet: 10,000 bytes after the length."""
MAX_TOKEN_SIZE: Final = 65_535
"""PostgreSQL's limit for a password or token (PG_MAX_AUTH_TOKEN_LENGTH)."""

BACKEND_STARTUP: Final = Limits(
    SMALL_BACKEND, {tags.AUTHENTICATION: 8_192, tags.NEGOTIATE_PROTOCOL_VERSION: 8_192}
)
"""From a backend until the first ReadyForQuery."""
FRONTEND_STARTUP: Final = Limits(SMALL_FRONTEND, {tags.PASSWORD_MESSAGE: MAX_TOKEN_SIZE})
"""From a frontend until authentication is over (untagged packets: MAX_STARTUP_SIZE)."""


def backend_limits(max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> Limits:
    """Return the limits for a backend's messages in a running session.

    Args:
        max_message_size: in bytes, for messages that carry data or text of any length.
    """
    large = (
        tags.ROW_DESCRIPTION,
        tags.DATA_ROW,
        tags.COPY_DATA,
        tags.FUNCTION_CALL_RESPONSE,
        tags.ERROR_RESPONSE,
        tags.NOTICE_RESPONSE,
        tags.NOTIFICATION_RESPONSE,
        tags.PARAMETER_DESCRIPTION,
    )
    return Limits(SMALL_BACKEND, dict.fromkeys(large, max_message_size))


def frontend_limits(max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE) -> Limits:
    """Return the limits for a frontend's messages in a running session.

    Args:
        max_message_size: in bytes, for messages that carry data or text of any length.
    """
    large = (tags.QUERY, tags.PARSE, tags.BIND, tags.FUNCTION_CALL, tags.COPY_DATA)
    return Limits(SMALL_FRONTEND, dict.fromkeys(large, max_message_size))


class FrameReader:
    """Takes bytes as they arrive and finds the frames in them.

    When `next_frame` (or `next_startup`) has returned true, the body is `buffer[start:end]`.  The bytes
    object is never changed: indexes stay valid for a caller that keeps a reference to it.
    """

    __slots__ = ("_gathered", "_next", "_pieces", "_waiting", "buffer", "end", "start", "tag")

    def __init__(self) -> None:
        self.buffer: bytes = b""
        self.tag: i64 = 0
        """The type byte of the current frame; 0 for an untagged packet."""
        self.start: i64 = 0
        """Where its body begins in `buffer`."""
        self.end: i64 = 0
        """Where its body ends in `buffer` (exclusive)."""
        self._next: i64 = 0  # the first byte in `buffer` that isn't consumed
        self._pieces: list[bytes] = []  # received after `buffer`
        self._gathered = bytearray()  # small pieces received after `_pieces`
        self._waiting = 0  # bytes in `_pieces` and `_gathered` together

    def receive_data(self, data: bytes) -> None:
        """Add bytes read from the network; b"" adds nothing."""
        size = len(data)
        if not size:
            return
        if not self._waiting and self._next == len(self.buffer):
            self.buffer = data
            self._next = 0
            return
        self._waiting += size
        if size < _SMALL_PIECE:
            self._gathered += data
            if len(self._gathered) >= _GATHERED:
                self._settle()
        else:
            self._settle()
            self._pieces.append(data)

    def next_frame(self, limits: Limits) -> bool:
        """Go on to the next frame.

        Returns:
            True if all of it has arrived; False if more data is needed (nothing is consumed).

        Raises:
            RemoteProtocolError: its length is below 4 or above the limit for its type.
        """
        position: i64 = self._next
        available: i64 = len(self.buffer) - position
        if available < 5:
            if not self._have(5):
                return False
            position = self._next
            available = len(self.buffer) - position
        buffer = self.buffer
        tag: i64 = buffer[position]
        length: i64 = read_int32(buffer, position + 1)
        if length < 4 or length > limits.lowest:
            self._check(tag, length, limits.of(tag))
        if available <= length:
            if not self._have(1 + length):
                return False
            position = self._next
        self.tag = tag
        self.start = position + 5
        self.end = self._next = position + 1 + length
        return True

    def next_startup(self, limit: int = MAX_STARTUP_SIZE) -> bool:
        """Go on to the next packet without a type byte: an int32 length and a body.

        Args:
            limit: the largest length in bytes, itself included.

        Returns and raises as `next_frame`; the least length is 8.
        """
        if not self._have(4):
            return False
        length: int = _LENGTH(self.buffer, self._next)[0]
        if length < 8 or length > limit:
            raise RemoteProtocolError(f"a start-up packet of length {length}; allowed are 8 to {limit}")
        if not self._have(length):
            return False
        self.tag = tags.NO_TAG
        self.start = self._next + 4
        self.end = self._next = self._next + length
        return True

    def next_byte(self) -> int:
        """Consume one byte (the answer to SSLRequest) and return it; -1 if there is none."""
        if not self._have(1):
            return -1
        self._next += 1
        return self.buffer[self._next - 1]

    def skip_run(self, limits: Limits) -> int:
        """Take all complete frames of the same type that directly follow the current one in `buffer`.

        Args:
            limits: as for `next_frame`; a frame that breaks them is left for `next_frame` to report.

        Returns:
            How many frames were taken, including the current one; `end` is the end of the last.
        """
        buffer = self.buffer
        tag: i64 = self.tag
        size: i64 = len(buffer)
        limit: i64 = limits.lowest
        position: i64 = self._next
        count: i64 = 1
        while position + 5 <= size and buffer[position] == tag:
            length: i64 = read_int32(buffer, position + 1)
            following: i64 = position + 1 + length
            if following > size or length < 4:
                break
            if length > limit:
                limit = limits.of(self.tag)
                if length > limit:
                    break
            position = following
            count += 1
        self.end = self._next = position
        return count

    def skip_repeats(self, before: bytes, most: int) -> int:
        """Take repetitions of a sequence of frames: `before` and the current frame, byte for byte.

        Args:
            before: the complete frames that come before the current one in each repetition.
            most: the largest number of repetitions to take.

        Returns:
            How many repetitions were taken.
        """
        buffer = self.buffer
        position: i64 = self._next
        place: i64 = position + len(before)
        if place >= len(buffer) or buffer[place] != self.tag:
            return 0  # the usual case when there are rows; saves the concatenation below
        frames = before + buffer[self.start - 5 : self.end]
        size: i64 = len(frames)
        count: i64 = 0
        limit: i64 = most
        while count < limit and buffer.startswith(frames, position):
            position += size
            count += 1
        self.end = self._next = position
        return count

    @property
    def pending(self) -> int:
        """The number of bytes received and not yet consumed."""
        return len(self.buffer) - self._next + self._waiting

    def take_rest(self) -> bytes:
        """Consume and return everything that is left (for diagnostics, after the end of the stream)."""
        self._join()
        rest = self.buffer[self._next :]
        self.buffer = b""
        self._next = 0
        return rest

    def _have(self, needed: int) -> bool:
        """Whether `needed` bytes have arrived; if so, `buffer` has them from `_next` on."""
        available = len(self.buffer) - self._next
        if available >= needed:
            return True
        if available + self._waiting < needed:
            if not available and not self._waiting:
                # All is consumed: don't keep a large buffer while the connection is idle.
                self.buffer = b""
                self._next = 0
            return False
        self._join()
        return True

    def _join(self) -> None:
        """Join the unconsumed part of `buffer` and all pieces into a new `buffer`."""
        self._settle()
        if self._pieces:
            self._pieces.insert(0, self.buffer[self._next :])
            self.buffer = b"".join(self._pieces)
            self._pieces.clear()
            self._next = 0
            self._waiting = 0

    def _settle(self) -> None:
        """Make the gathered small pieces one of `_pieces`."""
        if self._gathered:
            self._pieces.append(bytes(self._gathered))
            self._gathered = bytearray()

    @staticmethod
    def _check(tag: int, length: int, limit: int) -> None:
        if length < 4 or length > limit:
            raise RemoteProtocolError(
                f"a message of type {tags.shown(tag)} and length {length}; allowed are 4 to {limit}"
            )
