"""The floor: what the socket, the kernel and the server cost, with no client work in between.

The bytes are pgproto's own: its engine does the work twice, and what it sends the second time (when every
statement is prepared) is kept, with the answer.  The timed operation sends these bytes on the same
connection from a blocking socket, and reads until as many bytes as the answer had have arrived.  It parses
nothing.  The server does exactly what it does for pgproto.

Good for answers of a fixed size.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Generator, Sequence
from typing import Any, Final

from pgproto import QueuedQuery
from pgproto.session import CopyIn, Dial, Engine, Execution, Step
from pgproto.session import Operation as EngineOperation
from pgproto.session.sources import RecordBuffer, encoded
from pgproto.types import CopyRowEncoder
from pgproto_sockets import environment, options

from .session import Operation, Session, Statements

__all__ = ["Floor"]

_SENT_AT_ONCE: Final = (
    65536  # a larger request could fill the buffers of both sides, so it is sent while reading
)


class Floor(Session):
    """A connection that can repeat a conversation without looking at it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._expected = b""
        self._result: Any = None

    def connect(self, dsn: str) -> None:
        connector = environment.connector(dsn, {}, None)
        self._config = connector.config
        self._engine = self._drive(connector.connect())

    def close(self) -> None:
        self._sock().close()

    def fetch(self, sql: str, args: tuple[Any, ...]) -> Operation:
        item = self._known([(sql, args)], True)[0]
        self._result = [row.values() for row in item.rows]
        return self._repeat([self._last])

    def batch(self, statements: Statements, atomic: bool) -> Operation:
        items = self._known(statements, atomic)
        self._result = [[row.values() for row in item.rows] for item in items]
        return self._repeat([self._last])

    def many(self, sql: str, records: Sequence[tuple[Any, ...]]) -> Operation:
        self._known([(sql, record) for record in records], True)
        return self._repeat([self._last])

    def transaction(self, statements: Statements) -> Operation:
        calls = list(statements)
        begin, commit = ("begin", ()), ("commit", ())
        for call in (begin, commit, *calls):
            self._known([call], True)
        exchanges, results = [], []
        for flight in [[begin, calls[0]], *[[call] for call in calls[1:]], [commit]]:
            results.append([row.values() for row in self._known(flight, True)[-1].rows])
            exchanges.append(self._last)
        self._result = results[:-1]
        return self._repeat(exchanges)

    def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> Operation:
        names = ", ".join(columns)
        item = self._known([(f"select {names} from {table} limit 0", ())], True)[0]
        if item.statement is None:
            raise RuntimeError("the statement was not prepared")
        encoder = CopyRowEncoder(tuple(columns), item.statement.result_types)
        data = b"".join([*encoded(RecordBuffer(encoder), records)])
        operation = CopyIn(f"copy {table} ({names}) from stdin (format binary)")
        self._submit(operation)
        asked = self._exchange_until(lambda: operation.copying or operation.finished)
        for start in range(0, len(data), 65536):
            operation.feed(data[start : start + 65536])
        operation.end()
        self._engine.resume()
        copied = self._exchange_until(lambda: operation.finished)
        self._result = operation.rowcount
        return self._repeat([asked, copied])

    def plain(self, kind: str, result: Any) -> Any:
        """What the engine made of the answer, if it is the same answer again."""
        return self._result if bytes(self._buffer) == self._expected else f"{result} other bytes"

    # ---- The conversation, repeated

    def _repeat(self, exchanges: list[tuple[bytes, bytes]]) -> Operation:
        sock = self._sock()
        self._expected = b"".join([answer for _, answer in exchanges])
        self._buffer = bytearray(len(self._expected))
        view = memoryview(self._buffer)
        parts = []
        start = 0
        for request, answer in exchanges:
            parts.append((request, view[start : start + len(answer)]))
            start += len(answer)

        def operation() -> int:
            for request, target in parts:
                _exchange(sock, request, target)
            return start

        return operation

    # ---- The conversation, recorded

    def _known(self, statements: Statements, atomic: bool) -> list[QueuedQuery]:
        """Run the statements, twice if they were not known; `_last` is the last flight and its answer."""
        calls = list(statements)
        known = self._engine.channel.statements
        before = len(known)
        items: list[QueuedQuery] = []
        for _ in range(2):
            operation = Execution([QueuedQuery(sql, args) for sql, args in calls], atomic=atomic)
            self._submit(operation)
            self._last = self._exchange_until(lambda operation=operation: operation.finished)
            if operation.error is not None:
                raise operation.error
            items = operation.items
            if len(known) == before:
                break
        return items

    def _sock(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionError("not connected")
        return self._socket

    def _drive(self, flow: Generator[Step, None, Engine]) -> Engine:
        """Connect: the core's flow, its steps done by a blocking socket."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Dial):
                    self._engine = step.engine
                    self._socket = socket.create_connection((step.host.address, step.host.port))
                    options.configure_socket(self._socket, self._config)
                elif isinstance(step, EngineOperation):
                    self._submit(step)
                    self._exchange_until(lambda step=step: step.finished)
                    if step.error is not None:
                        raise step.error
                step = next(flow)
        except StopIteration as stop:
            engine: Engine = stop.value
            return engine

    def _submit(self, operation: EngineOperation) -> None:
        if self._engine.connection.transaction_status:
            self._engine.submit(operation)
        else:
            self._engine.start(operation)

    def _exchange_until(self, condition: Any) -> tuple[bytes, bytes]:
        """Send and receive until it is so: what was sent, what was received."""
        engine, sock = self._engine, self._sock()
        sent: list[bytes] = []
        received: list[bytes] = []
        while True:
            while data := engine.data_to_send():
                sock.sendall(data)
                engine.data_sent(len(data))
                sent.append(bytes(data))
            if condition():
                return b"".join(sent), b"".join(received)
            answer = sock.recv(65536)
            received.append(answer)
            if answer:
                engine.receive_data(answer)
            else:
                engine.receive_eof()


def _exchange(sock: socket.socket, request: bytes, target: memoryview) -> None:
    """Send the request, fill the target."""
    if len(request) <= _SENT_AT_ONCE:
        sock.sendall(request)
        request = b""
    size, received, sent = len(target), 0, 0
    while received < size:
        if sent < len(request):
            readable, writable, _ = select.select([sock], [sock], [])
            if writable:
                sent += sock.send(request[sent : sent + _SENT_AT_ONCE])
            if not readable:
                continue
        count = sock.recv_into(target[received:])
        if not count:
            raise ConnectionError("the server has gone away")
        received += count
