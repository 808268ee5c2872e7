"""The clients that a session is recorded with: one that sends messages, one that runs operations.

Both speak over a blocking socket of their own and record the plaintext of both directions: inside of TLS
what is recorded is what TLS carries.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgproto.errors import Error
from pgproto.protocol import CLIENT, NEED_DATA, Authenticator, Closed, PGConnection, Secure, states
from pgproto.protocol.certificate import tls_server_end_point
from pgproto.session import Engine, Operation, Startup, StatementCache
from pgproto.wire import EncryptionResponse, Message, StartupMessage, Terminate, tags
from tests.corpus.operations import begin, serve
from tests.corpus.recording import EOF, Recording, Tape
from tests.support.postgres import PASSWORD

NONCE: Final = "0123456789abcdef0123"
PATIENCE: Final = 30.0

Action = Callable[["Client"], object]
Step = Sequence[Message] | Action


@dataclass(frozen=True)
class Scene:
    """How to record one session.

    Args:
        name: its name.
        server: which of the recorder's servers it is played with.
        steps: what the client sends, group by group, each after the answer to the one before; or what
            else happens there.
        turns: instead of steps, operations for an engine; see `operations`.
        opening: messages before the StartupMessage.
        start: False if there is no StartupMessage.
        protocol, user, database, parameters: of the StartupMessage; pgbouncer 1.18 knows only 3.0.
        binding: whether SCRAM binds the channel, inside of TLS.
        password: the one that the client knows.
    """

    name: str
    server: str
    steps: Sequence[Step] = ()
    turns: Sequence[object] = ()
    opening: Sequence[Message] = ()
    start: bool = True
    protocol: int = 0
    user: str = "postgres"
    database: str = "postgres"
    parameters: Mapping[str, str] = field(default_factory=dict)
    binding: bool = True
    password: str = PASSWORD

    def __post_init__(self) -> None:
        default = tags.PROTOCOL_3_0 if "bouncer" in self.server else tags.PROTOCOL_3_2
        object.__setattr__(self, "protocol", self.protocol or default)


class Client:
    """One connection, its protocol state and the tape."""

    def __init__(self, scene: Scene, address: tuple[str, int], authority: Path | None) -> None:
        self.scene = scene
        about: dict[str, object] = {"server": scene.server}
        if scene.turns:
            about |= {"protocol": scene.protocol, "turns": list(scene.turns)}
        self.tape = Tape(scene.name, about)
        self.socket = socket.create_connection(address, PATIENCE)
        self.connection = PGConnection(CLIENT)
        self.closed = False
        self._authority = authority

    def send(self, *messages: Message) -> None:
        """Send these in one write."""
        self.write(b"".join(self.connection.send(message) for message in messages))

    def write(self, data: bytes) -> None:
        """Send bytes; that the peer is gone shows when we read."""
        if data:
            self.tape.add("F", data)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.socket.sendall(data)

    def read(self) -> bytes:
        """What has arrived; b"" for EOF."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = EOF
        if not self.closed:
            self.tape.add("B", data)
        self.closed = self.closed or data == EOF
        return data

    def receive(self) -> list[Message]:
        """Read once; the events."""
        self.connection.receive_data(self.read())
        events: list[Message] = []
        while (event := self.connection.next_event()) is not NEED_DATA:
            events.append(event)
            if isinstance(event, Closed):
                break
        return events

    def settle(self) -> None:
        """Read until every request is answered, or the server waits for COPY data, or is gone."""
        connection = self.connection
        while not self.closed and (connection.in_flight or connection.unread):
            if connection.head_state in states.COPY_IN_STATES:
                break
            self.receive()

    def until(self, kind: type[Message]) -> None:
        """Read until a message of this kind has arrived."""
        while not any(isinstance(event, kind) for event in self.receive()):
            assert not self.closed, f"{self.scene.name}: no {kind.__name__} before EOF"

    def until_closed(self) -> None:
        """Read until EOF."""
        while not self.closed:
            self.read()

    def play(self) -> Recording:
        """The whole session."""
        with contextlib.closing(self):
            if self.scene.turns:
                _run_turns(self)
            else:
                self._play()
        return self.tape.recording

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def _play(self) -> None:
        for message in self.scene.opening:
            self.send(message)
            self._opened()
        if self.scene.start:
            self.start()
        for step in self.scene.steps:
            if callable(step):
                step(self)
            elif self.connection.closed is None:
                self.send(*step)
                self.settle()
        if self.connection.phase == states.READY and not self.closed:
            self.send(Terminate())
        self.until_closed()

    def _opened(self) -> None:
        if self.connection.phase != states.ENCRYPTION:
            return
        answer = self._one_byte()
        self.tape.add("B", answer)
        self.connection.receive_data(answer)
        event = self.connection.next_event()
        if isinstance(event, Secure):
            assert self._authority is not None
            context = ssl.create_default_context(cafile=str(self._authority))
            context.check_hostname = False
            self.socket = context.wrap_socket(self.socket)
            self.connection.secured()
        else:
            assert isinstance(event, EncryptionResponse), event

    def _one_byte(self) -> bytes:
        return self.socket.recv(1)

    def start(self) -> None:
        """StartupMessage and authentication."""
        self.send(StartupMessage(startup_parameters(self.scene), self.scene.protocol))
        encrypted = isinstance(self.socket, ssl.SSLSocket)
        binding = None
        if isinstance(self.socket, ssl.SSLSocket):
            binding = tls_server_end_point(self.socket.getpeercert(True) or b"")
        answers = authenticator(self.scene)(encrypted, binding if self.scene.binding else None)
        while self.connection.phase not in (states.READY, states.CLOSED):
            for event in self.receive():
                if event.tag == tags.AUTHENTICATION:
                    try:
                        answer = answers.respond(event)
                    except Error:
                        self.socket.shutdown(socket.SHUT_WR)  # refused by our policy
                        self.tape.add("F", EOF)
                        self.connection.close()
                        return
                    if answer is not None:
                        self.send(answer)


def startup_parameters(scene: Scene) -> dict[str, str]:
    """Those of the scene's StartupMessage."""
    return {"user": scene.user, "database": scene.database, **scene.parameters}


def authenticator(scene: Scene) -> Callable[[bool, bytes | None], Authenticator]:
    """Makes the scene's authenticator: it takes whatever method the server asks for."""

    def make(encrypted: bool, binding: bytes | None) -> Authenticator:
        return Authenticator(
            user=scene.user,
            password=scene.password,
            nonce=NONCE,
            require_auth="password,md5,scram-sha-256,none",
            encrypted=encrypted,
            channel_binding_data=binding,
        )

    return make


def make_engine(clock: Callable[[], float]) -> Engine:
    """The engine of a recording and of its replay."""
    return Engine(clock=clock, statements=StatementCache(8, "s"))


def make_startup(protocol: int) -> Startup:
    """The start of a recording with an engine."""
    scene = Scene("", "")
    return Startup(startup_parameters(scene), authenticator(scene), protocol=protocol)


def _run_turns(client: Client) -> None:
    engine = make_engine(time.monotonic)
    startup = make_startup(client.scene.protocol)
    engine.start(startup)
    _exchange(client, engine, [startup])
    for turn in client.scene.turns:
        if engine.finished:
            break
        _exchange(client, engine, begin(engine, turn))
    engine.close()
    client.write(_output(engine))
    client.until_closed()


def _exchange(client: Client, engine: Engine, operations: list[Operation]) -> None:
    while not all(operation.finished for operation in operations):
        client.write(_output(engine))
        data = client.read()
        if data == EOF:
            engine.receive_eof()
        else:
            engine.receive_data(data)
        serve(engine, operations)


def _output(engine: Engine) -> bytes:
    data = b""
    while piece := engine.data_to_send():
        engine.data_sent(len(piece))
        data += piece
    return data
