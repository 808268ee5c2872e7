"""The network between a client and a server in memory: latency, pieces, cuts.

A `Server` makes a `Session` for each connection.  A session takes bytes and collects its answers in `out`;
it has no clock, but may ask for a pause.  A `Wire` carries bytes in both directions for a client in virtual
time, with the `Faults` of its connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from .virtual import Run

__all__ = ["Faults", "Server", "Session", "Wire"]


class Session(Protocol):
    """The server's end of one connection.

    Attributes:
        out: its output that was not taken yet.
        ended: "" while it goes on, "fin" if it hangs up after its output, "reset" if it breaks off.
        pause: seconds for which it wants to send nothing; None for no pause.  The carrier of its bytes calls
            `go_on` after that.
        on_output: called if it has output at another time than in `receive`.
    """

    out: bytearray
    ended: str
    pause: float | None
    on_output: Callable[[], None] | None

    def receive(self, data: bytes) -> None:
        """Take the client's bytes; b"" means that it has hung up."""

    def go_on(self) -> None:
        """The pause is over."""


class Server(Protocol):
    """Something that clients connect to."""

    def connect(self, *, to_cancel: bool = False) -> Session:
        """Accept a client.

        Args:
            to_cancel: True for a connection of a cancel request.

        Raises:
            OSError: the connection is refused.
        """
        ...


@dataclass(frozen=True)
class Faults:
    """The faults of one connection, and its speed.

    Attributes:
        latency: seconds that bytes take, each way.
        piece: the most bytes that the client reads at once.
        window: the most bytes on their way to the server.
        refused: the connection is refused.
        deaf: the attempt to connect gets no answer.
        cut_after: the connection breaks after so many bytes for the client; None for never.
        cut_before: it breaks before the client's byte of that number reaches the server; None for never.
        reset: it breaks with an error instead of an EOF.
        unplugged_after: after so many of the server's bytes nothing arrives, not even an EOF; None for never.
    """

    latency: float = 0.001
    piece: int = 65536
    window: int = 65536
    refused: bool = False
    deaf: bool = False
    cut_after: int | None = None
    cut_before: int | None = None
    reset: bool = True
    unplugged_after: int | None = None


NONE: Final = Faults()
"""A connection without faults."""


class Wire:
    """One connection, as its client sees it.

    Args:
        run: has the clock.
        session: the server's end.
        faults: its faults.

    Attributes:
        on_change: called when there is something to read, or room to write.
        error: the error of the connection; None if there is none.
        closed: the client has closed its end.
    """

    def __init__(self, run: Run, session: Session, faults: Faults) -> None:
        self.on_change: Callable[[], None] | None = None
        self.error: OSError | None = None
        self.closed = False
        self._run = run
        self._session = session
        self._faults = faults
        self._inbox: deque[bytes] = deque()
        self._eof = False
        self._flying = 0  # bytes on their way to the server
        self._sent = 0  # bytes that have reached the server
        self._said = 0  # bytes that the server has said
        self._cut = False
        session.on_output = self._collect

    # ---- The client's side

    @property
    def readable(self) -> bool:
        """True if there is something to be read: bytes, the end, or an error."""
        return bool(self._inbox) or self._eof or self.error is not None

    def read(self) -> bytes | None:
        """The next piece; b"" at the end; None if there is nothing yet.

        Raises:
            OSError: the connection has failed.
        """
        if self._inbox:
            return self._inbox.popleft()
        if self.error is not None:
            raise self.error
        return b"" if self._eof else None

    def write(self, data: bytes) -> int:
        """Send as much as there is room for; return the number of bytes.  Errors are raised by `read`."""
        count = min(len(data), self._faults.window - self._flying)
        if count > 0:
            self._flying += count
            self._later(partial(self._arrive, data[:count]))
        return count

    def finish(self) -> None:
        """Send no more; the server gets an EOF after the sent bytes."""
        self._later(self._hang_up)

    def close(self) -> None:
        """Close this end."""
        if not self.closed:
            self.closed = True
            self.finish()

    # ---- The way

    def _later(self, call: Callable[[], None]) -> None:
        self._run.carry(self._faults.latency, call)

    def _arrive(self, data: bytes) -> None:
        self._flying -= len(data)
        cut = self._faults.cut_before
        if cut is not None and self._sent + len(data) >= cut:
            data = data[: max(0, cut - self._sent)]
            self._sent += len(data)
            self._give(data)
            self._break()
            return
        self._sent += len(data)
        self._give(data)
        self._tell()

    def _give(self, data: bytes) -> None:
        if data and not self._session.ended and not self._cut:
            self._session.receive(data)
            self._collect()

    def _hang_up(self) -> None:
        if not self._session.ended:
            self._session.receive(b"")
            self._collect()

    def _collect(self) -> None:
        """Carry the server's output."""
        session = self._session
        if session.out:
            data = bytes(session.out)
            session.out.clear()
            self._carry(data)
        if session.pause is not None:
            seconds, session.pause = session.pause, None
            self._run.call_at(self._run.now + seconds, self._go_on)
        limit = self._faults.unplugged_after
        if session.ended and (limit is None or self._said < limit):
            self._later(self._fail if session.ended == "reset" else self._end)

    def _go_on(self) -> None:
        self._session.go_on()
        self._collect()

    def _carry(self, data: bytes) -> None:
        faults, before = self._faults, self._said
        self._said += len(data)
        if faults.unplugged_after is not None:
            data = data[: max(0, faults.unplugged_after - before)]
        cut = faults.cut_after
        if cut is not None and self._said >= cut:
            data = data[: max(0, cut - before)]
        for start in range(0, len(data), faults.piece):
            self._later(partial(self._deliver, data[start : start + faults.piece]))
        if cut is not None and self._said >= cut:
            self._break()

    def _break(self) -> None:
        if not self._cut:
            self._cut = True
            if not self._session.ended:
                self._session.receive(b"")
            self._later(self._fail if self._faults.reset else self._end)

    def _deliver(self, data: bytes) -> None:
        self._inbox.append(data)
        self._tell()

    def _end(self) -> None:
        self._eof = True
        self._tell()

    def _fail(self) -> None:
        self.error = ConnectionResetError("Connection reset by peer")
        self._tell()

    def _tell(self) -> None:
        if self.on_change is not None and not self.closed:
            self.on_change()
