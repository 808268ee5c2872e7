"""A scripted server without a network: the scripts of `tests.support.scripted`, against an Engine in memory.

    stage = Stage(lambda: query("select 1"))
    stage.play(script)                    # the same `Callable[[Peer], None]` as over TCP
    stage.operation.error, stage.heard, stage.peer.received

The script runs in the caller, and the engine in between: what the script writes is delivered at once, what
the engine wants to send is read when the script asks for it.  Time is a number; a script that ends with
`keep_open` leaves the engine to its deadlines.
"""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable

from pgproto import RemoteProtocolError
from pgproto.protocol import SERVER, Authenticator, PGConnection
from pgproto.protocol.tls import TLS
from pgproto.session import Engine, Operation, Startup, StatementCache
from pgproto.session.startup import ENCRYPT_NEVER
from pgproto.wire import FrameReader, StartupMessage, decode_startup, frames, tags
from tests.support.pair import whole
from tests.support.scripted import Gone, Peer, Script, ScriptError

__all__ = ["CANARY", "NONCE", "MemoryPeer", "Stage"]

CANARY = "c4n4ry-pa55word"
NONCE = "0123456789abcdef0123"
PATIENCE = 10.0
"""Virtual seconds for the start-up, and for the operation."""


class Stage:
    """An engine, and the server that a script makes up.

    Args:
        work: makes the operation that is submitted once the session has started; None for none.
        encryption: one of the ENCRYPT_ constants.
        make_tls: makes the client's TLS, for all but ENCRYPT_NEVER.
        chop: how the server's bytes are delivered.
        require_auth, channel_binding, local: of the Authenticator.
        protocol: the newest protocol version that the client asks for.
    """

    def __init__(
        self,
        work: Callable[[], Operation] | None = None,
        *,
        encryption: int = ENCRYPT_NEVER,
        make_tls: Callable[[], TLS] | None = None,
        chop: Callable[[bytes], list[bytes]] = whole,
        require_auth: str = "",
        channel_binding: str = "prefer",
        local: bool = False,
        protocol: int = 196610,
        password: str = CANARY,
    ) -> None:
        self.now = 1000.0
        self.chop = chop
        self.engine = Engine(clock=lambda: self.now, statements=StatementCache(prefix="s"))
        self.work = work
        self.operation: Operation | None = None
        self.authenticators: list[Authenticator] = []

        def authenticate(encrypted: bool, binding: bytes | None) -> Authenticator:
            made = Authenticator(
                user="tester",
                password=password,
                nonce=NONCE,
                require_auth=require_auth,
                channel_binding=channel_binding,
                encrypted=encrypted,
                local=local,
                channel_binding_data=binding,
            )
            self.authenticators.append(made)
            return made

        self.startup = Startup(
            {"user": "tester", "client_encoding": "UTF8"},
            authenticate,
            encryption=encryption,
            make_tls=make_tls,
            protocol=protocol,
        )
        self.startup.deadline = self.now + PATIENCE
        self.peer = MemoryPeer(self)

    def play(self, script: Script) -> None:
        """Run the script; what is not over then waits until its deadline."""
        self.engine.start(self.startup)
        try:
            script(self.peer)
        except Gone:
            pass
        self.peer.flush()
        self.pass_time(PATIENCE + 10)

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the engine is woken at its deadlines, and hears nothing new."""
        until = self.now + seconds
        for _ in range(1000):
            due = self.engine.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.engine.tick()
            self.step()
        else:
            raise AssertionError("a deadline that does not go away")
        self.now = until

    def step(self) -> None:
        """Look at what the engine has to say, and submit the operation once the session has started."""
        for ready in self.engine.take_ready():
            work = ready.take_work()  # hashing, which an adapter does outside of its loop
            if work is not None:
                work()
                self.engine.resume()
        if self.operation is None and self.work is not None and self.startup.finished:
            self.operation = self.work()
            if self.startup.error is None:
                self.operation.deadline = self.now + PATIENCE
                self.engine.submit(self.operation)

    @property
    def error(self) -> BaseException | None:
        """What the start-up failed with, else the operation."""
        failed = self.startup.error
        if failed is None and self.operation is not None:
            failed = self.operation.error
        return failed

    @property
    def over(self) -> bool:
        """True if nobody waits for anything any more."""
        return self.startup.finished and (self.operation is None or self.operation.finished)

    @property
    def heard(self) -> list[str]:
        """The names of the messages that the client has sent; "TLS" for what is none (a ClientHello)."""
        reader = FrameReader()
        reader.receive_data(self.peer.received)
        limits = frames.frontend_limits()
        limits.by_tag[tags.PASSWORD_MESSAGE] = frames.MAX_TOKEN_SIZE
        names: list[str] = []
        try:
            while names[-1:] != ["StartupMessage"]:
                if not reader.next_startup():
                    return names
                names.append(type(decode_startup(reader.buffer, reader.start, reader.end)).__name__)
            while reader.next_frame(limits):
                names.append(tags.frontend_name(reader.tag))
        except RemoteProtocolError:
            names.append("TLS")
        return names


class MemoryPeer(Peer):
    """A `Peer` whose client is the engine of a stage."""

    _pids = itertools.count(1000)

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.number = 0
        self.pid = next(self._pids)
        self.startup: StartupMessage | None = None
        self.received = b""
        self.connection = PGConnection(SERVER)
        self.tls: TLS | None = None

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on, behind an 'S' that was written."""
        self.tls = TLS(context, None, server_side=True)
        self.connection.secured()

    def read(self) -> bytes:
        """What the engine wants to send.

        Raises:
            ScriptError: it waits for the server.
        """
        for _ in range(100):
            data = self._take()
            if data or self.stage.engine.closed:
                return data
            if not self._deliver(b"" if self.tls is None else self.tls.data_to_send()):
                break
        raise ScriptError("both sides wait")

    def _take(self) -> bytes:
        engine = self.stage.engine
        data = engine.data_to_send()
        engine.data_sent(len(data))
        if self.tls is not None:
            data = self.tls.receive_data(data) if data else b""
        return data

    def flush(self) -> None:
        """Read what is left, for the record."""
        engine = self.stage.engine
        while data := engine.data_to_send():
            engine.data_sent(len(data))
            if self.tls is not None:
                data = self.tls.receive_data(data)
            self.received += data

    def write(self, data: bytes) -> None:
        """Deliver bytes; `Gone` if the client has closed."""
        if self.tls is not None:
            self.tls.send(data)
            data = self.tls.data_to_send()
        self._deliver(data)

    def _deliver(self, data: bytes) -> bool:
        engine = self.stage.engine
        for piece in self.stage.chop(data):
            if engine.finished:
                raise Gone
            engine.receive_data(piece)
            self.stage.step()
        return bool(data)

    def finish(self) -> None:
        """FIN."""
        self.flush()
        self.stage.engine.receive_eof()
        self.stage.step()

    def reset(self) -> None:
        """RST."""
        self.stage.engine.transport_failed(ConnectionResetError(104, "Connection reset by peer"))
        self.stage.step()

    def keep_open(self) -> None:
        """Say no more."""
        self.flush()

    def wait_taken(self) -> None:
        """It was taken at once."""
