"""What `PGConnection.next_event()` returns besides the peer's messages.

The rule: an event is a message of the wire, as it came, or one of the few classes here, which stand for
what the wire does not say in one message.  `request` tells which of your requests an event belongs to.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ..wire import ErrorResponse, Message, decode_backend, decode_frontend, tags
from ..wire.exact import exact_bytes
from ..wire.hints import mypyc_attr
from ..wire.pieces import expect_end, read_values

__all__ = ["NEED_DATA", "Closed", "CommandCompletes", "DataRows", "Frames", "NeedData", "Secure", "Skipped"]


class NeedData(Message):
    """Nothing can be said before more bytes arrive: call `receive_data`."""

    __slots__ = ()
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.request = None


NEED_DATA: Final = NeedData()
"""The one instance of NeedData: compare with `is`."""


@mypyc_attr(acyclic=True, free_list_len=1)
class DataRows(Message):
    """A run of DataRow messages that arrived together, not yet decoded.

    `buffer[start:end]` has them as they came, each from its type byte on; `count` is how many there are.
    A server's side sends a run as it is: `send` counts it as that many rows.
    Manual: "Message Formats", DataRow.
    """

    __slots__ = ("buffer", "count", "end", "start")
    tag: ClassVar[int] = tags.DATA_ROW
    type_byte: int = tags.DATA_ROW
    field_names: ClassVar[tuple[str, ...]] = ("buffer", "start", "end", "count")

    def __init__(self, buffer: bytes, start: int, end: int, count: int) -> None:
        self.request = None
        self.buffer = buffer
        self.start = start
        self.end = end
        self.count = count

    def bodies(self) -> list[bytes]:
        """Each row's body as bytes of its own, for code that decodes one row at a time."""
        found: list[bytes] = []
        position = self.start
        while position < self.end:
            following = position + 1 + int.from_bytes(self.buffer[position + 1 : position + 5], "big")
            found.append(self.buffer[position + 5 : following])
            position = following
        return found

    def values(self) -> list[list[bytes | None]]:
        """The rows, each as its columns' values in the formats that they came in; None for NULL.

        Raises:
            RemoteProtocolError: a row is malformed.
        """
        rows: list[list[bytes | None]] = []
        position = self.start
        while position < self.end:
            following = position + 1 + int.from_bytes(self.buffer[position + 1 : position + 5], "big")
            row, last = read_values(self.buffer, position + 5, following)
            expect_end(last, following)
            rows.append(row)
            position = following
        return rows

    def encode(self) -> bytes:
        """The messages as they came."""
        return self.buffer[self.start : self.end]


class Frames(Message):
    """Messages of one type as they came, neither decoded nor checked beyond their lengths.

    What a `PGConnection(role, raw=True)` returns, so that a proxy can send them on byte for byte, whatever
    the session's encoding.  As a rule it is one message; CopyData messages that arrived together are one
    event.

    Args:
        sender: who sent them: "F" for the frontend, "B" for the backend.
        type_byte: the messages' type byte.
        data: the messages, each from its type byte on.
        count: how many there are.
    """

    __slots__ = ("count", "data", "sender", "type_byte")
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ("sender", "type_byte", "data", "count")

    def __init__(self, sender: str, type_byte: int, data: bytes, count: int = 1) -> None:
        self.request = None
        self.sender = sender
        self.type_byte = type_byte
        self.data = data
        self.count = count

    def messages(self) -> list[Message]:
        """The messages, decoded.

        Raises:
            RemoteProtocolError: one of them is malformed.
        """
        found: list[Message] = []
        decode = decode_frontend if self.sender == "F" else decode_backend
        position = 0
        while position < len(self.data):
            following = position + 1 + int.from_bytes(self.data[position + 1 : position + 5], "big")
            found.append(decode(self.type_byte, self.data, position + 5, following))
            position = following
        return found

    def encode(self) -> bytes:
        """The messages as they came."""
        return exact_bytes(self.data)


@mypyc_attr(acyclic=True, free_list_len=1)
class CommandCompletes(Message):
    """As many executions of an `Executes` as `count` says have ended, with the same CommandComplete each.

    For an `Executes`, this stands for the BindComplete and CommandComplete messages; how many come in one
    event depends on how the bytes arrived.
    """

    __slots__ = ("command_tag", "count")
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ("command_tag", "count")

    def __init__(self, command_tag: str, count: int) -> None:
        self.request = None
        self.command_tag = command_tag
        self.count = count


class Skipped(Message):
    """The server discards `request`, because an earlier one (`cause`) failed before the next Sync.

    Manual: "Extended Query" (after an error the backend discards messages until a Sync is reached).
    """

    __slots__ = ("cause",)
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ("cause",)

    def __init__(self, cause: ErrorResponse | None) -> None:
        self.request = None
        self.cause = cause


class Secure(Message):
    """The peer agreed to encrypt: hand the byte stream to TLS, then call `PGConnection.secured()`.

    Not a byte may be buffered after the answer; `PGConnection` has made sure of it.
    """

    __slots__ = ()
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.request = None


class Closed(Message):
    """The connection is over.  The last event, and from now on the only one.

    `error` is the first cause: a PostgresError (FATAL, or an ERROR that EOF followed), a
    RemoteProtocolError, a ConnectionLost (EOF without a word), or None after a local `close()` or
    Terminate.  `also` has what was found after it; later bytes can still add to it.  `unanswered` has
    every request that was in flight, in the order in which it was sent.
    """

    __slots__ = ("also", "error", "unanswered")
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ("error", "also", "unanswered")

    def __init__(
        self, error: Exception | None, also: list[Exception], unanswered: tuple[Message, ...]
    ) -> None:
        self.request = None
        self.error = error
        self.also = also
        self.unanswered = unanswered
