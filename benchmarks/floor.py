"""The floor: what the socket, the kernel and the server cost, with no client work in between.

The bytes are pgproto's own: its engine runs the workload twice, and what it sends the second time (when
every statement is prepared) is kept, with the answer.  The timed operation sends these bytes on the same
connection by a blocking `sendall`, and reads until as many bytes as the answer had have arrived.  It
parses nothing.  The server does exactly what it does for pgproto.

Good for answers of a fixed size and requests that fit the socket's buffers.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from typing import TypeVar

from pgproto import QueuedQuery
from pgproto.session import Dial, Engine, Execution, Operation, Step
from pgproto_blocking import system

from .workloads import Rows, Statements

__all__ = ["Floor"]

T = TypeVar("T")


class Floor:
    """A connection that can repeat a conversation without looking at it."""

    def __init__(self, dsn: str) -> None:
        connector = system.connector(dsn, {}, None)
        self._config = connector.config
        self._socket: socket.socket | None = None
        self._engine = self._drive(connector.connect())
        self._buffer = bytearray()
        self._answer = b""
        self._rows: Rows = []

    def batch(self, statements: Statements) -> Callable[[], int]:
        """The operation: send the request, read the answer; it returns the answer's size."""
        self._converse(Execution([QueuedQuery(sql, args) for sql, args in statements]))
        execution = Execution([QueuedQuery(sql, args) for sql, args in statements])
        request, self._answer = self._converse(execution)
        self._rows = [[row.values() for row in item.rows] for item in execution.items]
        size = len(self._answer)
        self._buffer = bytearray(size)
        view = memoryview(self._buffer)
        sock = self._sock()

        def operation() -> int:
            sock.sendall(request)
            received = 0
            while received < size:
                count = sock.recv_into(view[received:])
                if not count:
                    raise ConnectionError("the server has gone away")
                received += count
            return received

        return operation

    def plain(self, result: object) -> Rows:
        """The rows that the answer has: those of the engine, if it is the same answer."""
        return self._rows if bytes(self._buffer) == self._answer else []

    def close(self) -> None:
        """Close the socket."""
        self._sock().close()

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
                    system.configure_socket(self._socket, self._config)
                elif isinstance(step, Operation):
                    self._converse(step)
                step = next(flow)
        except StopIteration as stop:
            engine: Engine = stop.value
            return engine

    def _converse(self, operation: Operation) -> tuple[bytes, bytes]:
        """Run an operation of the engine: what was sent, what was received."""
        engine, sock = self._engine, self._sock()
        if engine.connection.transaction_status:
            engine.submit(operation)
        else:
            engine.start(operation)
        sent = received = b""
        while not operation.finished:
            data = engine.data_to_send()
            sock.sendall(data)
            engine.data_sent(len(data))
            sent += data
            if not engine.data_to_send() and not operation.finished:
                answer = sock.recv(65536)
                received += answer
                if answer:
                    engine.receive_data(answer)
                else:
                    engine.receive_eof()
        if operation.error is not None:
            raise operation.error
        return sent, received
