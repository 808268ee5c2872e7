"""A TCP proxy on the loopback that counts, delays, stops and breaks what passes through it.

One thread serves all connections with a selector.  Whatever the test asks for is done by that thread
while the caller waits, so a method's effect is complete when it returns.

A **round trip** is counted when the client sends after having been sent something: what the client
sends first counts one, what it sends on without having got anything new counts nothing.  All counting
happens at the client's side of the proxy, before the bytes are handed on, so whoever has an answer
finds everything that led to it counted.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, Self

from pgproto_pytest.process import listening_socket

Side = Literal["client", "server"]
Target = tuple[str, int] | str

CHUNK = 65536
HIGH_WATER = 262144
"""As much is held per direction before the proxy stops reading, so that back-pressure is passed on."""
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Pipe:
    """One direction of one connection: bytes read from `source`, held until due, written to `sink`."""

    def __init__(self, source: socket.socket, sink: socket.socket, to_server: bool) -> None:
        self.source = source
        self.sink = sink
        self.to_server = to_server
        self.held: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.eof = False
        self.finished = False
        self.blocked = False


class _Link:
    """One connection through the proxy: its two sockets and directions."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.up = _Pipe(client, server, to_server=True)
        self.down = _Pipe(server, client, to_server=False)
        self.client_was_answered = True


class Proxy:
    """A proxy in front of `target`; a context manager that starts and stops it.

    Args:
        target: (host, port), or the path of a unix socket.
        latency: seconds that everything is held back, each way.
        buffer_size: SO_RCVBUF and SO_SNDBUF of all its sockets, in bytes; None leaves them alone.
        chunk_size: at most so many bytes are handed on in one piece (1: byte by byte).
    """

    def __init__(
        self,
        target: Target,
        *,
        latency: float = 0.0,
        buffer_size: int | None = None,
        chunk_size: int = CHUNK,
    ) -> None:
        self.target = target
        self.latency = latency
        self.buffer_size = buffer_size
        self.chunk_size = chunk_size
        self.host = "127.0.0.1"
        self.port = 0
        self.round_trips = 0
        self.connections = 0
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        self._links: set[_Link] = set()
        self._black_hole = False
        self._commands: deque[Callable[[], None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._waker, self._wakee = socket.socketpair()
        self._wakee.setblocking(False)
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    # What a test calls.

    def start(self) -> None:
        """Listen on a free port and begin to serve."""
        self._listen()
        self._thread = threading.Thread(target=self._run, name=f"proxy-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and the listener and end the thread; idempotent.

        Raises what went wrong inside of the proxy, if anything did.
        """
        if self._thread is not None:
            self._stopping = True
            self._waker.send(b"\0")
            self._thread.join(20)
            assert not self._thread.is_alive(), "the proxy's thread hangs"
            self._thread = None
        for link in list(self._links):
            self._drop(link)
        self._unlisten()
        self._selector.close()
        self._waker.close()
        self._wakee.close()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def open_connections(self) -> int:
        """How many connections pass through it right now."""
        return len(self._links)

    def reset_counters(self) -> None:
        """Set all counts to 0."""
        self._do(self._reset_counters)

    def black_hole(self) -> None:
        """Forward nothing any more in either direction and accept nobody; no socket is closed.

        A client that connects now is queued by the kernel, and waits.
        """
        self._do(lambda: self._set_black_hole(True))

    def refuse(self) -> None:
        """Refuse new connections (ECONNREFUSED); the existing ones are left alone."""
        self._do(self._unlisten)

    def heal(self) -> None:
        """Undo `black_hole` and `refuse`: what was held back goes on, and new connections are accepted."""
        self._do(self._heal)

    def reset(self, side: Side | None = None) -> None:
        """Break every connection with a TCP reset towards `side` (None: both); the other side sees EOF."""
        self._do(lambda: self._reset_all(side))

    def close_connections(self) -> None:
        """Close every connection in the ordinary way: both sides see EOF."""
        self._do(self._drop_all)

    def half_close(self, side: Side) -> None:
        """Send EOF to `side` on every connection; what that side sends is still forwarded."""
        self._do(lambda: self._half_close_all(side))

    # What the thread does.

    def _do(self, command: Callable[[], None]) -> None:
        assert self._thread is not None, "the proxy is not started"
        done = threading.Event()
        failures: list[Exception] = []

        def run() -> None:
            try:
                # A client whose connect has returned counts as connected.
                while self._accept():
                    pass
                command()
            except Exception as error:
                failures.append(error)
            finally:
                done.set()

        self._commands.append(run)
        self._waker.send(b"\0")
        assert done.wait(20), f"the proxy does not answer: {self._failure!r}"
        if failures:
            raise failures[0]

    def _run(self) -> None:
        try:
            while not self._stopping:
                ready = self._selector.select(self._wait())
                for key, _ in ready:
                    if key.fileobj is self._wakee:
                        with contextlib.suppress(BlockingIOError):
                            self._wakee.recv(4096)
                while self._commands:
                    self._commands.popleft()()
                for key, events in ready:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif isinstance(key.data, _Link) and key.data in self._links:
                        self._serve(key.data, key.fileobj is key.data.client, events)
                for link in list(self._links):
                    self._write_due(link)
                for link in list(self._links):
                    self._watch(link)
        except BaseException as error:
            self._failure = error

    def _wait(self) -> float | None:
        """Seconds until the next held bytes are due; None if there is nothing to wait for."""
        if self._black_hole:
            return None
        due = [p.held[0][0] for k in self._links for p in (k.up, k.down) if p.held and not p.blocked]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> bool:
        """Accept one client; False if there is none to accept."""
        if self._listener is None or self._black_hole:
            return False
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return False
        try:
            server = self._connect()
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            client.close()
            return True
        for sock in (client, server):
            self._tune(sock)
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._links.add(_Link(client, server))
        self.connections += 1
        return True

    def _connect(self) -> socket.socket:
        unix = isinstance(self.target, str)
        server = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._tune(server)
            server.settimeout(10)
            server.connect(self.target)
        except OSError:
            server.close()
            raise
        return server

    def _serve(self, link: _Link, from_client: bool, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            (link.down if from_client else link.up).blocked = False
        if events & selectors.EVENT_READ and not self._black_hole:
            self._read(link, link.up if from_client else link.down)

    def _read(self, link: _Link, pipe: _Pipe) -> None:
        try:
            data = pipe.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            # The peer broke the connection; hand that on as what it is.
            self._reset(link, "server" if pipe.to_server else "client")
            return
        if not data:
            pipe.eof = True
            return
        if pipe.to_server:
            self.bytes_to_server += len(data)
            if link.client_was_answered:
                self.round_trips += 1
                link.client_was_answered = False
        due = time.monotonic() + self.latency
        for start in range(0, len(data), self.chunk_size):
            pipe.held.append((due, data[start : start + self.chunk_size]))
        pipe.size += len(data)

    def _write_due(self, link: _Link) -> None:
        for pipe in (link.up, link.down):
            if not self._black_hole and link in self._links:
                try:
                    self._write(link, pipe)
                except BlockingIOError:
                    pipe.blocked = True
                except OSError:
                    self._reset(link, "client" if pipe.to_server else "server")
        if link.up.finished and link.down.finished:
            self._drop(link)

    def _write(self, link: _Link, pipe: _Pipe) -> None:
        now = time.monotonic()
        while pipe.held and pipe.held[0][0] <= now and not pipe.finished:
            due, data = pipe.held[0]
            if not pipe.to_server:
                link.client_was_answered = True
            sent = self._send(pipe, data)
            pipe.size -= sent
            if sent == len(data):
                pipe.held.popleft()
            else:
                pipe.held[0] = (due, data[sent:])
        if pipe.eof and not pipe.held and not pipe.finished:
            pipe.finished = True
            with contextlib.suppress(OSError):
                pipe.sink.shutdown(socket.SHUT_WR)

    def _send(self, pipe: _Pipe, data: bytes) -> int:
        if pipe.to_server:
            return pipe.sink.send(data)
        sent = 0
        self.bytes_to_client += len(data)
        try:
            sent = pipe.sink.send(data)
        finally:
            self.bytes_to_client -= len(data) - sent
        return sent

    def _watch(self, link: _Link) -> None:
        """Tell the selector what each socket of the link waits for."""
        for sock, inbound, outbound in (
            (link.client, link.up, link.down),
            (link.server, link.down, link.up),
        ):
            events = 0
            if not self._black_hole:
                if not inbound.eof and inbound.size < HIGH_WATER:
                    events |= selectors.EVENT_READ
                if outbound.blocked:
                    events |= selectors.EVENT_WRITE
            self._register(sock, events, link)

    def _register(self, sock: socket.socket, events: int, data: _Link | None) -> None:
        known = sock in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, data)
        else:
            self._selector.register(sock, events, data)

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = listening_socket(self.port)
            # The buffer sizes of an accepted socket are those of its listener.
            self._tune(self._listener)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._register(self._listener, selectors.EVENT_READ, None)

    def _unlisten(self) -> None:
        if self._listener is not None:
            self._register(self._listener, 0, None)
            self._listener.close()
            self._listener = None

    def _tune(self, sock: socket.socket) -> None:
        if self.buffer_size is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer_size)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.buffer_size)

    def _set_black_hole(self, on: bool) -> None:
        self._black_hole = on
        if self._listener is not None:
            self._register(self._listener, 0 if on else selectors.EVENT_READ, None)

    def _heal(self) -> None:
        self._listen()
        self._set_black_hole(False)

    def _reset_counters(self) -> None:
        self.round_trips = self.connections = self.bytes_to_server = self.bytes_to_client = 0

    def _reset_all(self, side: Side | None) -> None:
        for link in list(self._links):
            self._reset(link, side)

    def _reset(self, link: _Link, side: Side | None) -> None:
        for name, sock in (("client", link.client), ("server", link.server)):
            if side in (None, name):
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._drop(link)

    def _half_close_all(self, side: Side) -> None:
        for link in self._links:
            pipe = link.down if side == "client" else link.up
            pipe.finished = pipe.eof = True
            pipe.held.clear()
            pipe.size = 0
            with contextlib.suppress(OSError):
                pipe.sink.shutdown(socket.SHUT_WR)

    def _drop_all(self) -> None:
        for link in list(self._links):
            self._drop(link)

    def _drop(self, link: _Link) -> None:
        if link not in self._links:
            return
        self._links.discard(link)
        for sock in (link.client, link.server):
            self._register(sock, 0, None)
            sock.close()


def open_sockets() -> int:
    """How many sockets this process has open (Linux); for tests that prove that none is left."""
    count = 0
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(entry.path).startswith("socket:")
    return count
