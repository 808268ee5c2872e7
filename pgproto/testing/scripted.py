"""A server in memory that follows a script, in the server role of the protocol.

    def crash(peer: Peer) -> Script:
        yield from peer.start()                         # serve the start-up
        yield from peer.expect(Parse, Describe, Sync)   # the client's messages, exactly these
        peer.raw(ParseComplete(), fatal("57P01"))
        peer.hang_up()

    with ScriptedServer(crash) as server:
        ...

A script is a generator: it yields None to wait for more bytes of the client, or a number of seconds.  The
first connection runs the first script, the next one the next.  Rule: `send` refuses messages that a server
must not send now; `raw` sends them nevertheless.  Rule: if a message that a script expects does not come,
the `with` block raises.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import TracebackType
from typing import Final, TypeAlias, TypeVar

from ..protocol import NEED_DATA, SERVER, Closed, PGConnection
from ..wire import (
    AuthenticationOk,
    BackendKeyData,
    CancelRequest,
    EncryptionResponse,
    ErrorResponse,
    GSSENCRequest,
    Message,
    ParameterStatus,
    ReadyForQuery,
    SSLRequest,
    StartupMessage,
    Terminate,
)

__all__ = ["PARAMETERS", "Peer", "Script", "ScriptError", "ScriptedServer", "error", "fatal"]

M = TypeVar("M", bound=Message)
T = TypeVar("T")

Waiting: TypeAlias = Generator[float | None, None, T]
Script: TypeAlias = Generator[float | None, None, None]
"""The type of scripts: a generator that yields None to wait for bytes, or seconds to wait."""

PARAMETERS: Final = {
    "server_version": "18.0",
    "client_encoding": "UTF8",
    "in_hot_standby": "off",
    "default_transaction_read_only": "off",
    "standard_conforming_strings": "on",
    "TimeZone": "UTC",
}
"""The parameters that a server in memory reports."""


class ScriptError(AssertionError):
    """The client did not behave as the script expects."""


def error(sqlstate: str, message: str = "an error", **more: str) -> ErrorResponse:
    """An ERROR as PostgreSQL sends it."""
    return ErrorResponse({"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": message, **more})


def fatal(sqlstate: str = "57P01", message: str = "terminating connection") -> ErrorResponse:
    """A FATAL as PostgreSQL sends it."""
    return ErrorResponse({"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": message})


class Peer:
    """The server's end of one connection, for a script; a `pgproto.testing.Session`.

    Args:
        server: the server of the connection.
        number: the number of the connection, from 0.
        script: its script.

    Attributes:
        connection: the protocol in the server role.
        startup: the client's StartupMessage, once it was received.
        heard: every received message.
    """

    def __init__(self, server: ScriptedServer, number: int, script: Callable[[Peer], Script]) -> None:
        self.server = server
        self.number = number
        self.pid = 1000 + number
        self.connection = PGConnection(SERVER)
        self.startup: StartupMessage | None = None
        self.heard: list[Message] = []
        self.out = bytearray()
        self.ended = ""
        self.pause: float | None = None
        self.on_output: Callable[[], None] | None = None
        self._gone = False
        self._script = script(self)
        self._over = False
        self._paused = False
        self.go_on()

    # ---- Session

    def receive(self, data: bytes) -> None:
        """Take the client's bytes; b"" means that it has hung up."""
        self.connection.receive_data(data)
        self._gone = self._gone or not data
        if not self._paused:
            self.go_on()

    def go_on(self) -> None:
        """Run the script to the next place where it waits."""
        self._paused = False
        try:
            seconds = None if self._over else next(self._script)
        except StopIteration:
            self._over = True
            return
        except Exception as failure:  # noqa: BLE001 - `check` raises it
            self._over = True
            self.server.failures.append(failure)
            self.hang_up()
            return
        if seconds is not None:
            self.pause, self._paused = seconds, True

    @property
    def finished(self) -> bool:
        """True if the script has ended."""
        return self._over

    # ---- Reading

    def receive_message(self) -> Waiting[Message]:
        """The client's next message; a `Closed` event if there will be none."""
        while True:
            event = self.connection.next_event()
            if event is not NEED_DATA:
                self.heard.append(event)
                return event
            yield None

    def expect(self, *kinds: type[Message]) -> Waiting[list[Message]]:
        """Receive exactly these kinds of messages, in this order.

        Raises:
            ScriptError: something else was received.
        """
        messages: list[Message] = []
        for kind in kinds:
            message = yield from self.receive_message()
            messages.append(message)
            if not isinstance(message, kind):
                wanted = " ".join(each.__name__ for each in kinds)
                raise ScriptError(f"expected {wanted}; got {messages}")
        return messages

    def expect_one(self, kind: type[M]) -> Waiting[M]:
        """Receive one message of this kind.

        Raises:
            ScriptError: something else was received.
        """
        message = yield from self.receive_message()
        if not isinstance(message, kind):
            raise ScriptError(f"expected {kind.__name__}; got {message}")
        return message

    def until(self, kind: type[M]) -> Waiting[M]:
        """Receive messages up to one of this kind.

        Raises:
            ScriptError: the client has hung up before.
        """
        while True:
            message = yield from self.receive_message()
            if isinstance(message, kind):
                return message
            if isinstance(message, Closed):
                raise ScriptError(f"the client has gone before it sent {kind.__name__}: {message}")

    def expect_end(self) -> Script:
        """Receive the end of the session, and nothing else.

        Raises:
            ScriptError: something else was received.
        """
        message = yield from self.receive_message()
        if not isinstance(message, Terminate | Closed):
            raise ScriptError(f"expected the end of the session; got {message}")

    # ---- Writing

    def send(self, *messages: Message) -> None:
        """Send messages; each must be legal now."""
        for message in messages:
            self.out += self.connection.send(message)

    def raw(self, *parts: Message | bytes) -> None:
        """Send messages and bytes, legal or not."""
        for part in parts:
            self.out += part if isinstance(part, bytes) else part.encode()

    def hang_up(self) -> None:
        """Close the connection after what was sent."""
        self.ended = self.ended or "fin"

    def reset(self) -> None:
        """Break the connection with an error."""
        self.ended = "reset"

    # ---- The start

    def start(self, *, ready: bool = True) -> Waiting[StartupMessage]:
        """Serve the start-up without authentication, up to ReadyForQuery if `ready`."""
        startup = yield from self.receive_startup()
        self.send(AuthenticationOk())
        self.welcome(ready=ready)
        return startup

    def receive_startup(self) -> Waiting[StartupMessage]:
        """Refuse encryption, receive the StartupMessage.

        Raises:
            ScriptError: something else was received.
        """
        while True:
            message = yield from self.receive_message()
            if isinstance(message, SSLRequest | GSSENCRequest):
                self.send(EncryptionResponse(b"N"))
            elif isinstance(message, StartupMessage):
                self.startup = message
                return message
            else:
                raise ScriptError(f"expected a StartupMessage; got {message}")

    def welcome(self, *, ready: bool = True) -> None:
        """Send the messages that follow AuthenticationOk."""
        self.send(*[ParameterStatus(name, value) for name, value in PARAMETERS.items()])
        self.send(BackendKeyData(self.pid, self.pid.to_bytes(4, "big")))
        if ready:
            self.send(ReadyForQuery("I"))


class ScriptedServer:
    """A server whose connections run scripts; a context manager, and a `pgproto.testing.Server`.

    Args:
        scripts: one for each connection, in order.  Further connections are refused.

    Attributes:
        peers: the connections so far.
        cancels: the cancel requests, which do not count as connections.
        failures: the exceptions of the scripts.
    """

    def __init__(self, *scripts: Callable[[Peer], Script]) -> None:
        self.peers: list[Peer] = []
        self.cancels: list[CancelRequest] = []
        self.failures: list[Exception] = []
        self._scripts = scripts

    def connect(self, *, to_cancel: bool = False) -> Peer:
        """Accept a client.

        Raises:
            ConnectionRefusedError: there is no script for it.
        """
        if to_cancel:
            return Peer(self, -1, _cancelled)
        number = len(self.peers)
        if number >= len(self._scripts):
            raise ConnectionRefusedError("Connection refused: there is no script for it")
        peer = Peer(self, number, self._scripts[number])
        self.peers.append(peer)
        return peer

    def check(self) -> None:
        """Raise the failure of a script, if there is one.

        Raises:
            ScriptError: the client did not behave as the script expects, or the script has not ended.
            Exception: the script's exception.
        """
        if self.failures:
            raise self.failures[0]
        for peer in self.peers:
            if not peer.finished:
                raise ScriptError(f"the script of connection {peer.number} still waits; heard: {peer.heard}")
        if len(self.peers) < len(self._scripts):
            raise ScriptError(f"{len(self.peers)} connections have come, not {len(self._scripts)}")

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if problem is None:
            self.check()
        elif self.failures:
            problem.add_note(f"a script has failed: {self.failures[0]!r}")


def _cancelled(peer: Peer) -> Script:
    """The script of a cancel request: record it, and close the connection."""
    request = yield from peer.expect_one(CancelRequest)
    peer.server.cancels.append(request)
    peer.hang_up()
