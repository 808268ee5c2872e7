"""A server on real TCP that does what a script says, built from our own server role.

    def crash(peer: Peer) -> None:
        peer.start()                                  # serve the start-up
        peer.expect(Parse, Describe, Sync)            # the client's messages, exactly these
        peer.raw(ParseComplete(), fatal("57P01"))     # one write

    with ScriptedServer(crash) as server:             # later connections are served by `healthy`
        ... server.dsn() ...

One thread per connection: the first connection runs the first script, the next one the next, and all
later ones `then`.  A cancel request is no connection in this count: it is noted, and closed.

Rule: `send` goes through the server role, which refuses what no server may say now; whoever wants to
say it anyway uses `raw`.  Rule: what a script expects must come, else the `with` block raises; but a
client that is gone when a script sends ends that script without complaint.  Every wait has a deadline.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from pgproto.protocol import NEED_DATA, SERVER, Closed, PGConnection
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    CancelRequest,
    EncryptionResponse,
    ErrorResponse,
    FieldDescription,
    GSSENCRequest,
    Message,
    ParameterStatus,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
    Terminate,
)
from pgproto_pytest.process import listening_socket

__all__ = [
    "Gone",
    "Peer",
    "Script",
    "ScriptError",
    "ScriptedServer",
    "column",
    "error",
    "fatal",
    "pooler_fatal",
]

DEADLINE = 20.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
PARAMETERS = {
    "server_version": "18.0",
    "client_encoding": "UTF8",
    "in_hot_standby": "off",
    "default_transaction_read_only": "off",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
}
M = TypeVar("M", bound=Message)


class ScriptError(AssertionError):
    """The client did not do what the script expects."""


class Gone(Exception):
    """The client has closed the connection."""


class CancelSeen(Exception):
    """The connection was a cancel request."""


def error(sqlstate: str, message: str = "an error", **more: str) -> ErrorResponse:
    """An ERROR as PostgreSQL sends it."""
    return ErrorResponse({"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": message, **more})


def fatal(sqlstate: str = "57P01", message: str = "terminating connection") -> ErrorResponse:
    """A FATAL as PostgreSQL sends it."""
    return ErrorResponse({"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message})


def pooler_fatal(
    message: str = "server conn crashed?", *, severity: str = "FATAL", sqlstate: str = "08P01"
) -> ErrorResponse:
    """What pgbouncer says before it hangs up: three fields, no V (before 1.16 with S=ERROR)."""
    return ErrorResponse({"S": severity, "C": sqlstate, "M": message})


def column(name: str = "n", oid: int = 23, format: int = 1) -> FieldDescription:
    """A column of a RowDescription; int4 in binary unless told otherwise."""
    return FieldDescription(name, 0, 0, oid, 4, -1, format)


class Peer:
    """The server's end of one connection, in a script's hands.

    Attributes:
        number: which connection of the server it is, from 0.
        pid: the process ID that the client is told.
        startup: the client's StartupMessage, once `start` has got it.
        received: everything that the client has sent, as bytes.
    """

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self.pid = 1000 + number
        self.startup: StartupMessage | None = None
        self.received = b""
        self.connection = PGConnection(SERVER)
        self.sock = sock
        sock.settimeout(DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # ---- Reading

    def receive(self) -> Message:
        """The client's next message; a `Closed` event when there will be none."""
        while True:
            event = self.connection.next_event()
            if event is not NEED_DATA:
                return event
            data = self.read()
            self.received += data
            self.connection.receive_data(data)

    def read(self) -> bytes:
        """What the client has sent; b"" if it has closed."""
        try:
            return self.sock.recv(65536)
        except ConnectionError:
            return b""

    def expect(self, *kinds: type[Message]) -> list[Message]:
        """Receive exactly these kinds of messages, in this order."""
        messages: list[Message] = []
        for kind in kinds:
            message = self.receive()
            if not isinstance(message, kind):
                wanted = " ".join(each.__name__ for each in kinds)
                raise ScriptError(f"expected {wanted}; got {[*messages, message]}")
            messages.append(message)
        return messages

    def expect_one(self, kind: type[M]) -> M:
        """Receive one message of this kind."""
        message = self.receive()
        if not isinstance(message, kind):
            raise ScriptError(f"expected {kind.__name__}; got {message}")
        return message

    def until(self, kind: type[M]) -> M:
        """Receive until a message of this kind has come."""
        while True:
            message = self.receive()
            if isinstance(message, kind):
                return message
            if isinstance(message, Closed):
                raise ScriptError(f"the client has gone before it sent {kind.__name__}: {message}")

    # ---- Writing

    def send(self, *messages: Message) -> None:
        """Send messages in one write; each must be legal now."""
        self.write(b"".join([self.connection.send(message) for message in messages]))

    def raw(self, *parts: Message | bytes) -> None:
        """Send messages and bytes in one write, legal or not."""
        self.write(encoded(parts))

    def write(self, data: bytes) -> None:
        """Write bytes; `Gone` if the client has left."""
        try:
            self.sock.sendall(data)
        except ConnectionError as problem:
            raise Gone from problem

    def write_pieces(self, pieces: Sequence[bytes], waits: int = 200) -> None:
        """Write the pieces one by one, the first `waits` of them each after the one before was read."""
        for number, piece in enumerate(pieces):
            if 0 < number <= waits:
                self.wait_taken()
            self.write(piece)

    def wait_taken(self) -> None:
        """Wait until the client has read all that was sent to it, or has closed its socket."""
        try:
            local, remote = _proc_address(self.sock.getpeername()), _proc_address(self.sock.getsockname())
        except OSError:  # the client has reset the connection: there is nobody to wait for
            return
        deadline = time.monotonic() + DEADLINE
        while _unread(local, remote):
            if time.monotonic() > deadline:
                raise ScriptError("the client does not read")
            time.sleep(0.0002)

    # ---- The start and the end

    def start(self, *, ready: bool = True) -> StartupMessage:
        """Serve the start-up without authentication, up to ReadyForQuery if `ready`."""
        startup = self.receive_startup()
        self.send(AuthenticationOk())
        self.welcome(ready=ready)
        return startup

    def receive_startup(self) -> StartupMessage:
        """Refuse encryption, receive the StartupMessage."""
        while True:
            message = self.receive()
            if isinstance(message, SSLRequest | GSSENCRequest):
                self.send(EncryptionResponse(b"N"))
            elif isinstance(message, CancelRequest):
                self.server.note_cancel(message)
                raise CancelSeen
            elif isinstance(message, StartupMessage):
                self.startup = message
                return message
            elif isinstance(message, Closed):
                raise Gone
            else:
                raise ScriptError(f"expected a StartupMessage; got {message}")

    def welcome(self, *, ready: bool = True) -> None:
        """What follows AuthenticationOk."""
        self.send(*[ParameterStatus(name, value) for name, value in PARAMETERS.items()])
        self.send(BackendKeyData(self.pid, struct.pack(">I", self.pid)))
        if ready:
            self.send(ReadyForQuery("I"))

    def finish(self) -> None:
        """Close with FIN: whatever the client has sent is read first, because unread bytes make it RST."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.keep_open()

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.sock.close()

    def keep_open(self) -> None:
        """Say no more; read and drop what the client sends until it closes."""
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(65536):
                self.received += data

    def expect_end(self) -> None:
        """Receive a Terminate, or the client's EOF, and nothing else."""
        message = self.receive()
        if not isinstance(message, Terminate | Closed):
            raise ScriptError(f"expected the end of the session; got {message}")


Script = Callable[[Peer], None]


class ScriptedServer:
    """A server whose connections run scripts; a context manager.

    Args:
        scripts: one for each connection, in the order in which they come.
        then: what serves all later connections; by default `tests.support.healthy.healthy`.
        on_cancel: what serves cancel requests; by default they are noted and closed.
    """

    def __init__(self, *scripts: Script, then: Script | None = None, on_cancel: Script | None = None) -> None:
        if then is None:
            from tests.support.healthy import healthy

            then = healthy
        self._scripts = scripts
        self._then = then
        self._on_cancel = on_cancel or _cancelled
        self._listener = listening_socket()
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []
        self.cancels: list[CancelRequest] = []
        self.cancelled = threading.Event()
        """Set by the first cancel request."""
        self.signals: dict[str, threading.Event] = {}
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._stopping = False

    def dsn(self, user: str = "tester", password: str = "", options: str = "sslmode=disable") -> str:
        """A connection string for it."""
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/db?{options}"

    def signal(self, name: str) -> threading.Event:
        """An event by its name, for a script and a test to wait for each other."""
        with self._lock:
            return self.signals.setdefault(name, threading.Event())

    def wait_for(self, name: str) -> None:
        """Wait for a signal."""
        if not self.signal(name).wait(DEADLINE):
            raise ScriptError(f"nobody said {name!r}")

    def note_cancel(self, request: CancelRequest) -> None:
        """A cancel request has come."""
        self.cancels.append(request)
        self.cancelled.set()

    def start(self) -> None:
        """Begin to accept."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """Close everything and end the threads; raise what went wrong in a script."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for event in list(self.signals.values()):
            event.set()
        self.cancelled.set()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(DEADLINE)
            assert not thread.is_alive(), f"the script of {thread.name} hangs"
        for sock in self._sockets:
            sock.close()
        if self.failures:
            raise self.failures[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        try:
            self.stop()
        except BaseException as failure:
            if problem is None:
                raise
            problem.add_note(f"and the script failed: {failure!r}")

    def _spawn(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True, name=f"scripted-{self.port}")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        """Look whether it is a cancel request, then run the script whose turn it is."""
        try:
            if self._is_cancel(sock):
                peer = Peer(self, sock, -1)
                script: Script = self._on_cancel
            else:
                with self._lock:
                    peer = Peer(self, sock, len(self.peers))
                    self.peers.append(peer)
                script = self._scripts[peer.number] if peer.number < len(self._scripts) else self._then
            script(peer)
        except (Gone, CancelSeen):
            pass
        except BaseException as failure:
            if not self._stopping:
                self.failures.append(failure)
        finally:
            sock.close()

    def _is_cancel(self, sock: socket.socket) -> bool:
        sock.settimeout(DEADLINE)
        head = b""
        with contextlib.suppress(OSError):
            head = sock.recv(8, socket.MSG_PEEK | socket.MSG_WAITALL)
        return head[4:] == CancelRequest(0, b"1234").encode()[4:8]


def _cancelled(peer: Peer) -> None:
    """The script of a cancel request: it is noted, and closed."""
    peer.receive_startup()


def encoded(parts: Sequence[Message | bytes]) -> bytes:
    """Messages and bytes as bytes."""
    return b"".join([part if isinstance(part, bytes) else part.encode() for part in parts])


def _proc_address(address: tuple[str, int]) -> str:
    """An IPv4 address as /proc/net/tcp writes it."""
    host, port = address
    number = int.from_bytes(socket.inet_aton(host), "little")
    return f"{number:08X}:{port:04X}"


def _unread(local: str, remote: str) -> bool:
    """True if the established socket with these addresses has bytes that nobody has read."""
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1] == local and fields[2] == remote and fields[3] in ("01", "08"):
                return not fields[4].endswith(":00000000")
    return False
