"""An Engine and a server in memory, in virtual time.

`Pair` joins a client's Engine and a `Backend` by two byte streams that are delivered in any way a test
asks for: whole, byte by byte, up to a limit.  The clock is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pgproto.protocol import Authenticator
from pgproto.session import Engine, Observer, Operation, Report, Startup, StatementCache
from pgproto.types import BUILT_IN, TypeMap
from pgproto.wire import (
    trace_bytes,
)
from tests.support.backend import Answer, Backend

Op = TypeVar("Op", bound=Operation)


def whole(data: bytes) -> list[bytes]:
    """Deliver as it is."""
    return [data]


def byte_by_byte(data: bytes) -> list[bytes]:
    """Deliver in reads of one byte."""
    return [data[index : index + 1] for index in range(len(data))]


class Pair:
    """A client engine and a backend.

    Args:
        script: the backend's answers.
        chop: how bytes are delivered, in both directions.
        started: go through the start-up.
        types: the types of the session.
        observers, report: as for the Engine.
    """

    def __init__(
        self,
        script: Mapping[str, Answer] | None = None,
        *,
        chop: Callable[[bytes], list[bytes]] = whole,
        started: bool = True,
        cache: int = 100,
        named: bool = True,
        pipelining: bool = True,
        types: TypeMap = BUILT_IN,
        observers: Sequence[Observer] = (),
        report: Report | None = None,
    ) -> None:
        self.now = 1000.0
        self.chop = chop
        self.engine = Engine(
            clock=lambda: self.now,
            statements=StatementCache(cache, "s", named=named, types=types),
            pipelining=pipelining,
            observers=observers,
            report=report,
        )
        self.backend = Backend(script or {})
        self.ready: list[Operation] = []
        self.log: list[tuple[str, bytes]] = []
        self.limit = -1  # how many more of the backend's bytes the client gets; -1 for all
        if started:
            startup = self.start()
            assert startup.finished
            assert startup.error is None
            self.log.clear()

    def start(self, *, deadline: float | None = None) -> Startup:
        """Run the start-up."""
        startup = Startup({"user": "app"}, authenticator)
        startup.deadline = deadline
        self.engine.start(startup)
        self.pump()
        return startup

    def send(self, count: int = -1) -> bytes:
        """Carry the client's bytes (`count` at most) to the server; what they were."""
        sent = b""
        while count:
            data = self.engine.data_to_send()
            if count > 0:
                data = data[:count]
                count -= len(data)
            if not data:
                break
            self.engine.data_sent(len(data))
            sent += data
        if sent:
            self.log.append(("F", sent))
        for piece in self.chop(sent) if sent else ():
            self.backend.receive(piece)
        return sent

    def deliver(self, data: bytes | None = None) -> bool:
        """Carry the server's bytes (or some other ones) to the client; False if there were none."""
        if data is None:
            data = bytes(self.backend.out)
            self.backend.out.clear()
            if self.limit >= 0:
                data = data[: self.limit]
                self.limit -= len(data)
        if not data:
            return False
        self.log.append(("B", data))
        for piece in self.chop(data):
            self.engine.receive_data(piece)
        self.ready += self.engine.take_ready()
        return True

    def pump(self) -> None:
        """Carry bytes until there are none."""
        while self.send() or self.deliver():
            pass
        self.ready += self.engine.take_ready()

    def run(self, operation: Op) -> Op:
        """Submit and pump."""
        self.engine.submit(operation)
        self.pump()
        return operation

    def eof(self) -> None:
        """The server hangs up."""
        self.engine.receive_eof()
        self.ready += self.engine.take_ready()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the engine know at each of its deadlines."""
        until = self.now + seconds
        ticks = 0
        while (due := self.engine.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.engine.tick()
            ticks += 1
            assert ticks < 1000, "a deadline that does not go away"
        self.now = until
        self.ready += self.engine.take_ready()

    def trace(self) -> list[str]:
        """What went over the wire since the start, as lines; use it with whole delivery."""
        return [line for direction, data in self.log for line in trace_bytes(direction, data)]


def authenticator(encrypted: bool, binding: bytes | None) -> Authenticator:
    """For a user with a password."""
    return Authenticator(
        user="app",
        password="secret",
        nonce="0123456789abcdef0123",
        encrypted=encrypted,
        channel_binding_data=binding,
    )
