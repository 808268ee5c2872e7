"""The core alone: bytes in memory, no socket, no server.  What decoding, encoding and messages cost.

decode(oid, value, count)     `count` rows of one column, decoded to Row objects
encode(oid, value, count)     so many values, encoded
messages(count)               Bind and Execute of so many statements, a Sync, and all of their answers
segments(size, segment)       one row of `size` bytes that arrives in segments of so many bytes
"""

from __future__ import annotations

from typing import Any

from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection
from pgproto.types import ParameterEncoder, RowDecoder
from pgproto.wire import (
    AuthenticationOk,
    Bind,
    BindComplete,
    CommandComplete,
    DataRow,
    Execute,
    FieldDescription,
    ReadyForQuery,
    StartupMessage,
    Sync,
)

from .session import Operation, Session

__all__ = ["Core"]


class Core(Session):
    """pgproto without I/O."""

    def connect(self, dsn: str) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """There is nothing to close."""

    def decode(self, oid: int, value: Any, count: int) -> Operation:
        frame = DataRow(ParameterEncoder([oid]).encode([value])).encode()
        decoder = RowDecoder([FieldDescription("value", 0, 0, type_oid=oid, type_size=-1, type_modifier=-1)])
        buffer = frame * count

        def operation() -> Any:
            return decoder.decode(buffer, 0, len(buffer))

        return operation

    def encode(self, oid: int, value: Any, count: int) -> Operation:
        encoder = ParameterEncoder([oid])
        calls = [(value,)] * count

        def operation() -> Any:
            return [encoder.encode(call) for call in calls]

        return operation

    def messages(self, count: int) -> Operation:
        conn = _ready()
        values = [number.to_bytes(4, "big") for number in range(count)]
        one = BindComplete().encode() + DataRow([b"\0\0\0\1"]).encode() + CommandComplete("SELECT 1").encode()
        answer = one * count + ReadyForQuery("I").encode()

        def operation() -> int:
            parts = []
            for value in values:
                parts.append(conn.send(Bind("", "s", (1,), [value], (1,))))
                parts.append(conn.send(Execute()))
            parts.append(conn.send(Sync()))
            b"".join(parts)
            conn.receive_data(answer)
            return _events(conn)

        return operation

    def segments(self, size: int, segment: int) -> Operation:
        conn = _ready()
        answer = BindComplete().encode() + DataRow([bytes(size)]).encode()
        answer += CommandComplete("SELECT 1").encode() + ReadyForQuery("I").encode()
        pieces = [answer[start : start + segment] for start in range(0, len(answer), segment)]

        def operation() -> int:
            conn.send(Bind("", "s", (), [], (1,)))
            conn.send(Execute())
            conn.send(Sync())
            events = 0
            for piece in pieces:
                conn.receive_data(piece)
                events += _events(conn)
            return events

        return operation

    def plain(self, kind: str, result: Any) -> Any:
        """The rows and values themselves; of messages, how many events there were."""
        return [tuple(row) for row in result] if kind == "decode" else result


def _ready() -> PGConnection:
    """A client's connection that may send queries."""
    conn = PGConnection(CLIENT)
    conn.send(StartupMessage({"user": "u"}))
    conn.receive_data(AuthenticationOk().encode() + ReadyForQuery("I").encode())
    _events(conn)
    return conn


def _events(conn: PGConnection) -> int:
    """Take all events there are: how many."""
    count = 0
    while (event := conn.next_event()) is not NEED_DATA:
        if isinstance(event, Closed):
            raise event.error or RuntimeError("closed")
        count += 1
    return count
