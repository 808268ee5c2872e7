"""The events of `PGConnection.next_event()` that are not messages of the peer.

The rule: an event is either a message as it was received, or one of these classes, for which there is no
single message.  `request` is the request that an event belongs to.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ..wire import ErrorResponse, Message, decode_backend, decode_frontend, tags
from ..wire.exact import exact_bytes
from ..wire.hints import mypyc_attr
from ..wire.pieces import expect_end, read_values

__all__ = ["NEED_DATA", "Closed", "CommandCompletes", "DataRows", "Frames", "NeedData", "Secure", "Skipped"]


class NeedData(Message):
    """There is no event before more bytes arrive: call `receive_data`."""

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

    `buffer[start:end]` has the `count` messages unchanged, including their type bytes.
    In the server role, `send` accepts a run and counts it as that many rows.
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
        """Each row's body as a bytes object, for code that decodes one row at a time."""
        found: list[bytes] = []
        position = self.start
        while position < self.end:
            following = position + 1 + int.from_bytes(self.buffer[position + 1 : position + 5], "big")
            found.append(self.buffer[position + 5 : following])
            position = following
        return found

    def values(self) -> list[list[bytes | None]]:
        """The rows as lists of column values, in the formats they were received in; None for NULL.

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
        """The messages as they were received."""
        return self.buffer[self.start : self.end]


class Frames(Message):
    """Messages of one type as they were received, not decoded; only their lengths were checked.

    `PGConnection(role, raw=True)` returns them, so that a proxy can forward them byte for byte, whatever the
    session's encoding.  Usually it is one message; CopyData messages that arrived together are one event.

    Args:
        sender: "F" for the frontend, "B" for the backend.
        type_byte: the messages' type byte.
        data: the messages, including their type bytes.
        count: the number of messages.
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
        """The messages as they were received."""
        return exact_bytes(self.data)


@mypyc_attr(acyclic=True, free_list_len=1)
class CommandCompletes(Message):
    """`count` executions of an `Executes` have ended, each with the same CommandComplete.

    It replaces their BindComplete and CommandComplete messages; how many there are in one event depends on
    how the bytes arrived.
    """

    __slots__ = ("command_tag", "count")
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ("command_tag", "count")

    def __init__(self, command_tag: str, count: int) -> None:
        self.request = None
        self.command_tag = command_tag
        self.count = count


class Skipped(Message):
    """The server discards `request`, because an earlier request of the segment failed with `cause`.

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

    `PGConnection` has checked that no byte arrived after the answer.
    """

    __slots__ = ()
    tag: ClassVar[int] = 0
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.request = None


class Closed(Message):
    """The connection is over.  The last event; `next_event` returns it again from now on.

    `error` is the first cause: a PostgresError (FATAL, or an ERROR followed by EOF), a RemoteProtocolError,
    a ConnectionLost (EOF without an error), or None after a local `close()` or Terminate.  `also` has later
    errors; bytes received later can still add to it.  `unanswered` has every request that was in flight, in
    the order of sending.
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
