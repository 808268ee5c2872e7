"""The model PostgreSQL server: the postmaster, and what can happen to it.

    server = Postmaster(world, Database())
    world.servers["postgres"] = server          # clients come in by `connected`

A server is driven by calls (`shut_down`, `crash`, `promote`, ...) and by virtual time.  It keeps nothing that
is to survive it: that is the `Database`, the truth.  All randomness comes from `world.rng`.

    postgres            this file: who may come in, who is there, how it ends
    postgres_process    one backend process: its link, its loop, interrupts, last words
    postgres_login      start-up and authentication; cancel requests
    postgres_session    extended and simple queries
    postgres_execution  runs a portal: postgres_rows, postgres_commands, postgres_storing by kind
    postgres_block      transaction blocks, savepoints, settings
    postgres_values     Bind's checks, values as bytes
    postgres_amounts    the table whose column changes its type
    postgres_sql        the SQL that it knows, documented there
    database            what is committed
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from pgproto.protocol.verifier import ScramVerifier
from pgproto.wire import PROTOCOL_3_2
from tests.sim.database import Database
from tests.sim.postgres_process import Process
from tests.sim.postgres_session import Session
from tests.sim.world import ServerEnd, Timer

__all__ = ["DOWN", "READY", "STARTING", "STOPPING", "Machine", "Postmaster"]

DOWN: Final = "down"
STARTING: Final = "the database system is starting up"
RECOVERING: Final = "the database system is in recovery mode"
STOPPING: Final = "the database system is shutting down"
READY: Final = "ready"


class Machine(Protocol):
    """What a model server needs of the world that it lives in."""

    @property
    def rng(self) -> random.Random:
        """The one source of randomness."""

    @property
    def now(self) -> float:
        """Virtual time in seconds."""

    def call_later(self, seconds: float, callback: Callable[[], object], /) -> Timer:
        """Call after so much virtual time."""

    def note(self, text: str, /, *args: object) -> None:
        """A line of the trace."""


class Postmaster:
    """A PostgreSQL server.

    Args:
        world: time, randomness, trace.
        database: what it serves; survives it.
        passwords: of the users that need one (SCRAM-SHA-256); everybody else is trusted.
        max_connections: how many sessions it takes: 53300.
        protocol: the newest version that it speaks.

    Attributes:
        state: READY, DOWN (connections are refused), or the text that everybody hears (57P03).
        sessions: those that have begun and not ended, by pid.
        strangers: the connections that have not begun a session.
        peak: the largest number of sessions that there ever was at one time.
        served: every session that has begun, dead or alive, oldest first.
        row_delay: seconds between two rows; buffer_size: how much output is collected before it is written.
        cancel_delay: seconds between a cancel request and its signal.
        cancels: the pids that cancel requests hit, in order.
    """

    def __init__(
        self,
        world: Machine,
        database: Database,
        *,
        passwords: Mapping[str, str] | None = None,
        max_connections: int = 100,
        protocol: int = PROTOCOL_3_2,
    ) -> None:
        self.world = world
        self.database = database
        self.max_connections = max_connections
        self.protocol = protocol
        self.secrets = {user: _verifier(password) for user, password in (passwords or {}).items()}
        self.state = READY
        self.sessions: dict[int, Process] = {}
        self.strangers: set[Process] = set()
        self.served: list[Process] = []
        self.peak = 0
        self.row_delay = 0.0
        self.buffer_size = 8192
        self.cancel_delay = 0.0
        self.cancels: list[int] = []
        self._last_pid = 1000

    def clock(self) -> float:
        """Virtual time in seconds."""
        return self.world.now

    @property
    def listening(self) -> bool:
        """False while connections are refused."""
        return self.state != DOWN

    @property
    def count(self) -> int:
        """How many sessions there are."""
        return len(self.sessions)

    def connected(self, end: ServerEnd) -> Session:
        """Somebody has connected: a process of its own.  Ask `listening` first."""
        self._last_pid += 1
        session = Session(self, end, self._last_pid)
        if self.listening:
            self.strangers.add(session)
        else:
            session.dead = True
            end.reset()
        return session

    # ---- What sessions ask

    def refusal(self) -> tuple[str, str] | None:
        """Why nobody can come in now, as SQLSTATE and text; None if they can."""
        if self.state != READY:
            return "57P03", self.state
        if len(self.sessions) >= self.max_connections:
            return "53300", "sorry, too many clients already"
        return None

    def entered(self, session: Process) -> None:
        """A session has begun."""
        self.strangers.discard(session)
        self.sessions[session.pid] = session
        self.served.append(session)
        self.peak = max(self.peak, len(self.sessions))

    def left(self, session: Process) -> None:
        """A process has ended."""
        self.strangers.discard(session)
        self.sessions.pop(session.pid, None)

    def cancel_request(self, pid: int, key: bytes) -> None:
        """Signal the session that these are the keys of; silently nothing if there is none."""
        session = self.sessions.get(pid)
        if session is None or session.key != key:
            self.world.note("cancel request for %s: no such session", pid)
        else:
            self._cancel(session)

    def _cancel(self, session: Process) -> None:
        if not session.dead:
            self.cancels.append(session.pid)
            self.world.note("cancel %s, %s", session.pid, "busy" if session.busy else "idle")
            session.cancel()

    def notify(self, pid: int, channel: str, payload: str) -> None:
        """A NOTIFY was committed."""
        for session in list(self.sessions.values()):
            session.notify(pid, channel, payload)

    # ---- What happens to it

    def terminate(self, pid: int) -> None:
        """pg_terminate_backend: FATAL 57P01."""
        session = self.sessions.get(pid)
        if session is not None:
            session.terminate()

    def shut_down(self, restart_after: float | None = None) -> None:
        """Fast shutdown: FATAL 57P01 to everybody; then down, until it is restarted."""
        self.world.note("fast shutdown")
        self.state = STOPPING
        for session in list(self.sessions.values()):
            session.terminate()
        self._down(restart_after)

    def shut_down_at_once(self, restart_after: float | None = None, *, words: bool = True) -> None:
        """Immediate shutdown: WARNING 57P01 (if it can be sent), and gone."""
        self._end_all("57P01", "terminating connection due to immediate shutdown command", words=words)
        self._down(restart_after)

    def crash(self, pid: int = 0, restart_after: float = 0.1, *, words: bool = True) -> None:
        """A process crashes (without a word), so that all others have to go (WARNING 57P02) and it recovers.

        Args:
            pid: which one; 0 for one that nobody is connected to.
            restart_after: seconds until it takes connections again; before, it says 57P03.
            words: the others get the warning out.
        """
        self.world.note("crash of %s", pid)
        session = self.sessions.get(pid)
        if session is not None:
            session.end_of_process()
        text = "terminating connection because of crash of another server process"
        self._end_all("57P02", text, words=words)
        self.state = RECOVERING
        self.world.call_later(restart_after, self.start)

    def kill(self, restart_after: float | None = None) -> None:
        """The machine is gone, or the postmaster was killed with all of its children: not a word."""
        self.world.note("kill")
        self._end_all("", "", words=False)
        self._down(restart_after)

    def start(self, starting_for: float = 0.0) -> None:
        """Come up; for some time it says 57P03."""
        if starting_for:
            self.state = STARTING
            self.world.call_later(starting_for, self.start)
        else:
            self.world.note("ready")
            self.state = READY

    def promote(self) -> None:
        """A standby becomes writable; sessions hear of it with their next ReadyForQuery."""
        self.database.read_only = False

    def demote(self, restart_after: float = 0.1) -> None:
        """A primary goes down and comes back as a standby: 25006 for whatever writes."""
        self.shut_down(restart_after)
        self.database.read_only = True

    def _end_all(self, code: str, text: str, *, words: bool) -> None:
        for session in list(self.sessions.values()):
            session.crash(code, text, words=words)

    def _down(self, restart_after: float | None) -> None:
        # Who is committing right now goes a moment later; nobody new comes in.
        self.state = DOWN
        for session in list(self.strangers):
            session.end_of_process()
        if restart_after is not None:
            self.world.call_later(restart_after, self.start)


@lru_cache(maxsize=16)
def _verifier(password: str) -> str:
    return ScramVerifier.from_password(password, b"salt", 1).format()
