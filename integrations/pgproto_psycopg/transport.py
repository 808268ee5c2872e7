"""The bytes of a session that has started: a non-blocking socket, TLS, and the protocol's state machine.

The rules are libpq's.  A write that fails is no error: what is to be sent is dropped, and the reading side
tells what has happened, perhaps with the server's last words first.  The end is an error only for a read
that brought nothing.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from typing import Final

from pgproto.errors import Error, RemoteProtocolError
from pgproto.protocol import PGConnection
from pgproto.protocol.tls import TLS
from pgproto.wire import Message, Terminate

from .connecting import wait

__all__ = ["CLOSED_UNEXPECTEDLY", "Lost", "Transport"]

CLOSED_UNEXPECTEDLY: Final = (
    "server closed the connection unexpectedly\n"
    "\tThis probably means the server terminated abnormally\n"
    "\tbefore or while processing the request.\n"
)

_READ_SIZE: Final = 65536
_PIECE: Final = 1 << 20


class Lost(Exception):
    """The connection is gone; the text is libpq's."""


class Transport:
    """A connected socket and what is to be sent on it.

    Args:
        sock: the socket, non-blocking.
        core: the session's state machine.
        tls: the encryption, or None.

    Attributes:
        write_error: why writing has failed; "" if it has not.
    """

    __slots__ = ("_eof", "_piece", "_queued", "_written", "core", "sock", "tls", "write_error")

    def __init__(self, sock: socket.socket, core: PGConnection, tls: TLS | None) -> None:
        self.sock = sock
        self.core = core
        self.tls = tls
        self.write_error = ""
        self._written: deque[bytes | memoryview] = deque()
        self._queued = 0  # the size of what is written
        self._piece: bytes | memoryview = b""  # what the socket is taking, encrypted
        self._eof = False

    @property
    def pending(self) -> int:
        """The number of bytes that are written and not sent."""
        return self._queued + len(self._piece)

    def write(self, *messages: Message) -> None:
        """Queue messages.  Once the session is over they are dropped."""
        if self.core.closed is not None or self.write_error:
            return
        for message in messages:
            data = self.core.send(message)
            self._written.append(data)
            self._queued += len(data)

    def flush(self) -> bool:
        """Send what the socket takes; True if nothing is left."""
        while self._piece or self._written:
            try:
                piece = self._piece or self._next_piece()
                count = self.sock.send(piece)
            except BlockingIOError:
                return False
            except (OSError, Error) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                self.write_error = f"could not send data to server: {reason}\n"
                self._written.clear()
                self._piece = b""
                self._queued = 0
                return True
            self._piece = memoryview(piece)[count:]
        return True

    def _next_piece(self) -> bytes:
        written = self._written
        parts: list[bytes | memoryview] = []
        room = _PIECE
        while written and room:
            part = written.popleft()
            if len(part) > room:
                view = memoryview(
                    part
                )  # what is left is not copied, or many pieces would take quadratic time
                written.appendleft(view[room:])
                part = view[:room]
            parts.append(part)
            room -= len(part)
        plain = b"".join(parts)
        self._queued -= len(plain)
        if self.tls is not None:
            self.tls.send(plain)
            plain = self.tls.data_to_send()
        self._piece = plain
        return plain

    def read(self) -> bool:
        """Take what has arrived; True if anything has.

        Raises:
            Lost: nothing has, and nothing will.
        """
        if self._eof:
            raise Lost(CLOSED_UNEXPECTEDLY)
        try:
            data = self.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return False
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise Lost(CLOSED_UNEXPECTEDLY) from None
            raise Lost(f"could not receive data from server: {error.strerror}\n") from None
        if self.tls is not None:
            return self._decrypt(data)
        if not data:
            raise Lost(CLOSED_UNEXPECTEDLY)
        self.core.receive_data(data)
        return True

    def _decrypt(self, data: bytes) -> bool:
        assert self.tls is not None
        try:
            plain = self.tls.receive_data(data)
        except RemoteProtocolError as error:
            raise Lost(f"SSL error: {error}\n") from None
        self._eof = self.tls.eof
        if plain:
            self.core.receive_data(plain)
        elif self._eof:
            raise Lost(CLOSED_UNEXPECTEDLY)
        return bool(plain)

    def exchange(self, timeout: float | None = None) -> None:
        """Wait until something has arrived or could be sent; send and read.

        Raises:
            Lost: as `read`.
        """
        wait(self.sock, read=True, write=bool(self.pending), timeout=timeout)
        self.flush()
        self.read()

    def close(self, *, politely: bool) -> None:
        """Close the socket; say good-bye first, if that needs no waiting."""
        if politely:
            with contextlib.suppress(Error):
                self.write(Terminate())
                self.flush()
        with contextlib.suppress(OSError):
            self.sock.close()
