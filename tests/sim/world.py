"""The world of one schedule: one seed, one clock, one trace, and who can be dialled.

Everything random comes from `rng`, all time from the virtual loop.  So a schedule is a function of its
seed, and a violation can be replayed.  Nothing here outlives the schedule.

The parts meet here: the network (`network`), the model servers (`postgres`, `pooler`), the clients.
A server is an object with `connected(end)`, which returns what receives the bytes; see the protocols below.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .loop import VirtualLoop
    from .network import Network

__all__ = ["Receiver", "Server", "ServerEnd", "Timer", "Violation", "World"]

# How many lines of the trace a violation quotes.
_TAIL = 400


class Timer(Protocol):
    """What `call_later` returns."""

    def cancel(self) -> None:
        """Do not call."""


class Receiver(Protocol):
    """Who gets what arrives at one end of a link."""

    def received(self, data: bytes) -> None:
        """Bytes arrived."""

    def eof(self) -> None:
        """The peer has closed its side (FIN)."""

    def lost(self) -> None:
        """The link was reset, or the peer could not be reached."""


class ServerEnd(Protocol):
    """A server's hold on a link."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def close(self) -> None:
        """FIN behind what was written."""

    def reset(self) -> None:
        """RST, now."""


class Server(Protocol):
    """Who can be dialled."""

    def connected(self, end: ServerEnd) -> Receiver:
        """Somebody has connected."""


class Violation(AssertionError):
    """A promise was broken.

    Attributes:
        kind: which one, in a word: hang, label, rows, leak, dirty, error, ...
        seed: the schedule.
        profile: of which kind of schedules.
    """

    def __init__(self, kind: str, what: str, seed: int, profile: str, tail: str = "") -> None:
        replay = f"python -m tests.sim --profile {profile} --replay {seed} -v"
        super().__init__(f"{kind}: {what}\nseed {seed}; replay: {replay}\n{tail}")
        self.kind = kind
        self.what = what
        self.seed = seed
        self.profile = profile


class World:
    """One schedule's seed, clock, trace and servers.

    Attributes:
        rng: the one source of randomness.
        loop: the virtual event loop.
        network: the links; set by `Network`.
        tracing: True if `note` keeps what it is told.
        broken: the first violation as (kind, text); None so far.
    """

    network: Network

    def __init__(self, seed: int, profile: str, loop: VirtualLoop, *, tracing: bool = False) -> None:
        self.seed = seed
        self.profile = profile
        self.rng = random.Random(f"{profile}:{seed}")
        self.loop = loop
        self.tracing = tracing
        self.trace: deque[tuple[float, str, tuple[Any, ...]]] = deque(maxlen=None if tracing else 1)
        self.broken: tuple[str, str] | None = None
        self.servers: dict[str, Server] = {}

    @property
    def now(self) -> float:
        """Virtual time in seconds."""
        return self.loop.time()

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call after so much virtual time."""
        return self.loop.call_later(seconds, callback)

    def note(self, text: str, *args: object) -> None:
        """A line of the trace, `text % args`; free unless somebody will read it."""
        if self.tracing:
            self.trace.append((self.loop.time(), text, args))

    def violation(self, text: str, kind: str = "model") -> None:
        """A promise was broken.  The first one counts; the schedule ends soon after."""
        self.note("VIOLATION %s: %s", kind, text)
        if self.broken is None:
            self.broken = (kind, text)

    def dial(self, name: str, receiver: Receiver) -> ServerEnd:
        """Connect to a server, as the pooler does; `receiver` gets what it says."""
        return self.network.dial(name, receiver)

    def lines(self, count: int = _TAIL) -> str:
        """The last lines of the trace."""
        chosen = list(self.trace)[-count:]
        return "\n".join(f"{when:10.4f}  {text % args if args else text}" for when, text, args in chosen)
