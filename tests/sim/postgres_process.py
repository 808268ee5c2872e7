"""One backend process of the model server, as far as it does not matter what it is asked.

    bytes -> `received` -> PGConnection.next_event -> a row of `HANDLERS` -> answers -> `end.write`

A handler that takes time is a generator of `Wait`s; while it runs nothing else is read, as in the real
one.  So a client that is gone is noticed only when the server reads again: a statement that was running
then runs to its end, and commits if it ended there.

Rule: answers go through the server role of `PGConnection`, which is code under test as well: what it refuses
to send is a finding, and raises.  Rule: a process never outlives `end_of_process`, which rolls back.
Manual: "Message Flow"; src/backend/tcop/postgres.c.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pgproto.errors import ConnectionLost, RemoteProtocolError
from pgproto.protocol import NEED_DATA, SERVER, Closed, PGConnection, states
from pgproto.wire import (
    ErrorResponse,
    Message,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
    Terminate,
)
from tests.sim.postgres_block import COMMITTING, FAILED, INTERRUPTIBLE, REPORTED, Block, Wait
from tests.sim.postgres_sql import SQLError
from tests.sim.postgres_values import Portal, Prepared

if TYPE_CHECKING:
    from tests.sim.postgres import Postmaster
    from tests.sim.world import ServerEnd, Timer

__all__ = ["Process", "Task", "fields"]

Task = Generator[Wait | None, Message | None, None]
Handler = Callable[[Any, Any], Task | None]

_ADMIN: Final = "terminating connection due to administrator command"


def fields(code: str, message: str, severity: str = "ERROR", routine: str = "") -> dict[str, str]:
    """Fields as PostgreSQL sends them."""
    found = {"S": severity, "V": severity, "C": code, "M": message}
    return {**found, "R": routine} if routine else found


class Process:
    """A backend process.

    Attributes:
        pid, key: for cancel requests.
        block: its transaction.
        statements, portals: by name.
        locks: the advisory locks that it holds.
        sequence: what lastval says; None before the first nextval.
        dead: the process is gone.
        idle: it waits for a request, and has answered all that it has read.
        complaint: what the client did that no client may do, or None.
        queries: every statement that it was given to run, oldest first.
    """

    HANDLERS: ClassVar[Mapping[type[Message], Handler]] = {}

    def __init__(self, master: Postmaster, end: ServerEnd, pid: int) -> None:
        self.master = master
        self.world = master.world
        self.database = master.database
        self.end = end
        self.pid = pid
        self.key = b""
        self.connection = PGConnection(SERVER)
        self.statements: dict[str, Prepared] = {}
        self.portals: dict[str, Portal] = {}
        self.locks: set[int] = set()
        self.sequence: int | None = None
        self.dead = False
        self.complaint: str | None = None
        self.queries: list[str] = []
        self.block = Block(self.database, pid, {}, master.clock)
        self.start_settings: dict[str, str] = {}
        self._out: list[bytes] = []
        self._size = 0
        self._buffer = master.buffer_size
        self._task: Task | None = None
        self._wait: Wait | None = None
        self._timer: Timer | None = None
        self._limit: Timer | None = None
        self._idle_timer: Timer | None = None
        self._token = 0
        self._eof = False
        self._cancelled = False
        self._doomed = False
        self._reported: dict[str, str] = {}
        self._reported_state: tuple[object, ...] | None = None
        self._at_rest = False
        self._inbox: list[tuple[int, str, str]] = []

    # ---- The link

    def received(self, data: bytes) -> None:
        """Take the client's bytes and answer them, unless a statement is running."""
        if self.dead:
            return
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        self.connection.receive_data(data)
        self._work()

    def eof(self) -> None:
        """The client has closed its side.  Noticed when it is read."""
        self._eof = True
        if not self.dead:
            self._work()

    def lost(self) -> None:
        """The link is broken: as `eof`, and nothing can be written."""
        self.eof()

    @property
    def idle(self) -> bool:
        """True from a ReadyForQuery on, until something arrives."""
        return self._at_rest and not self.connection.unread

    @property
    def busy(self) -> bool:
        """True while a statement is running."""
        return self._task is not None

    def traces(self) -> list[str]:
        """What of the client's is left in the session; [] if it is as new."""
        block = self.block
        found = []
        if block.status != "I":
            found.append(f"transaction {block.status}")
        for name, value in block.local.settings.items():
            if value != self.start_settings.get(name):
                found.append(f"set {name} = {value}")
        found += [f"listen {name}" for name in sorted(block.listening)]
        found += [f"temporary table {name}" for name in sorted(block.local.temporary)]
        found += [f"advisory lock {key}" for key in sorted(self.locks)]
        found += [f"cursor {name}" for name, portal in sorted(self.portals.items()) if portal.held]
        if self.sequence is not None:
            found.append(f"lastval {self.sequence}")
        if not self.idle:
            found.append(f"unanswered: {self.connection!r}")
        if self.connection.unread:
            found.append(f"{self.connection.unread} bytes unread")
        return found

    # ---- The loop

    def _work(self) -> None:
        connection = self.connection
        while not self.dead and self._wait is None:
            event = connection.next_event()
            if event is NEED_DATA:
                if self._eof:
                    self.end_of_process()
                return
            handler = self.HANDLERS.get(type(event))
            if handler is None:
                self._odd(event)
                return
            self._at_rest = False
            if self._task is not None:
                self._go_on(event)
                continue
            try:
                task = handler(self, event)
            except SQLError as error:
                self._error(error)
            else:
                if task is not None:
                    self._task = task
                    self._go_on(None)

    def _go_on(self, event: Message | None, error: SQLError | None = None) -> None:
        """Let the running statement run until it waits, asks for COPY data (yields None), or ends."""
        task = self._task
        if task is None:
            return
        self._wait = None
        try:
            wait = task.throw(error) if error is not None else task.send(event)
        except StopIteration:
            self._task = None
            self._stop_timers()
            if self._doomed:
                self.fatal("57P01", _ADMIN)
        except SQLError as problem:
            self._task = None
            self._stop_timers()
            self._error(problem)
        else:
            if wait is not None:
                self._sleep(wait)
            elif self._cancelled:
                # A cancel request that came between two COPY messages.
                self._cancelled = False
                self._go_on(None, SQLError("57014", "canceling statement due to user request"))

    def _sleep(self, wait: Wait) -> None:
        self._wait = wait
        self._token += 1
        token = self._token

        def resume() -> None:
            if self._token == token and self._wait is wait and not self.dead:
                self._go_on(None)
                self._work()

        def resume_soon() -> None:
            self.world.call_later(0.0, resume)

        if wait.seconds < 0:
            self.database.waiters.append(resume_soon)
        else:
            self._timer = self.world.call_later(wait.seconds, resume)
        milliseconds = int(self.block.setting("statement_timeout") or 0)
        if milliseconds and self._limit is None:
            self._limit = self.world.call_later(milliseconds / 1000, self._timed_out)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._limit):
            if timer is not None:
                timer.cancel()
        self._timer = self._limit = None
        self._token += 1

    def _timed_out(self) -> None:
        self._limit = None
        self._interrupt(SQLError("57014", "canceling statement due to statement timeout"))

    def _interrupt(self, error: SQLError) -> None:
        wait = self._wait
        if wait is None or wait.how == COMMITTING:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._go_on(None, error)
        self._work()

    def cancel(self) -> None:
        """A cancel request: hits whatever is running, and nothing if nothing is."""
        if self._task is not None and self._wait is None:
            self._cancelled = True  # between two COPY messages: with the next one
        else:
            self._interrupt(SQLError("57014", "canceling statement due to user request"))

    def terminate(self, code: str = "57P01", message: str = _ADMIN) -> None:
        """SIGTERM: FATAL as soon as an interrupt is allowed."""
        wait = self._wait
        if self.dead:
            return
        if wait is not None and wait.how == COMMITTING:
            self._doomed = True
        elif wait is not None and wait.how != INTERRUPTIBLE:
            warning = fields("57P01", "canceling the wait for synchronous replication", "WARNING")
            self.notice({**warning, "D": "The transaction has already committed locally."})
            self.end_of_process()
        else:
            self.fatal(code, message)

    # ---- The end of it

    def fatal(self, code: str, message: str) -> None:
        """Say the last words and go."""
        if self.connection.closed is None and self.connection.phase >= states.STARTUP:
            self.send(ErrorResponse(fields(code, message, "FATAL")))
        self.end_of_process(flush=True)

    def crash(self, code: str, text: str, *, words: bool) -> None:
        """SIGQUIT: it goes at once, with a WARNING if it can be sent."""
        if self.dead:
            return
        if words and self.connection.closed is None and self.connection.phase == states.READY:
            self.notice(fields(code, text, "WARNING"))
        self.end_of_process()

    def end_of_process(self, *, flush: bool = False) -> None:
        """The process is gone, its work is undone, the link is closed.  What was buffered is lost."""
        if self.dead:
            return
        self.dead = True
        if flush:
            self.flush()
        self._stop_timers()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._task is not None:
            self._task.close()
            self._task = None
        self.block.roll_back()
        self.locks.clear()
        self.master.left(self)
        self.end.close()

    def _odd(self, event: Message) -> None:
        """The session is over, or the client sent what no client may send."""
        if isinstance(event, Closed) and isinstance(event.error, RemoteProtocolError):
            self.complaint = str(event.error)
            self._out.append(ErrorResponse(fields("08P01", str(event.error), "FATAL")).encode())
            self.end_of_process(flush=True)
        elif isinstance(event, Terminate) or (
            isinstance(event, Closed) and isinstance(event.error, ConnectionLost | None)
        ):
            self.end_of_process()
        else:
            self.complaint = f"unexpected {event!r}"
            self.end_of_process()

    # ---- Writing

    def send(self, message: Message) -> None:
        """Put a message into the buffer."""
        data = self.connection.send(message)
        self._out.append(data)
        self._size += len(data)
        if self._size >= self._buffer:
            self.flush()

    def flush(self) -> None:
        """Write the buffer out."""
        if self._out:
            self.end.write(b"".join(self._out))
            self._out.clear()
            self._size = 0

    def notice(self, report: dict[str, str]) -> None:
        self.send(NoticeResponse(report))
        self.flush()

    def end_portals(self, *, committed: bool) -> None:
        """A transaction has ended: cursors WITH HOLD outlive its commit, and then every other end."""
        self.portals = {
            name: portal
            for name, portal in self.portals.items()
            if portal.held or (committed and portal.hold)
        }
        for portal in self.portals.values():
            portal.held = True

    def warn(self, code: str, message: str) -> None:
        """A WARNING."""
        self.notice(fields(code, message, "WARNING"))

    def _error(self, error: SQLError) -> None:
        """A statement has failed."""
        self.block.fail()
        if self.block.state != FAILED:
            self.end_portals(committed=False)
        for portal in self.portals.values():
            portal.failed = portal.failed or portal.depth == self.block.depth
        self.send(ErrorResponse(fields(error.code, error.message, routine=error.routine)))
        self.flush()
        if self.connection.head_state == states.END_OF_QUERY:
            self.ready()

    def ready(self) -> None:
        """ReadyForQuery, and what is said in front of it."""
        self.block.several = False
        if self._inbox and self.block.status == "I":
            self._deliver()
        self.report()
        self.send(ReadyForQuery(self.block.status))
        self.flush()
        self._at_rest = True
        self._cancelled = False
        timeout = (
            "idle_session_timeout" if self.block.status == "I" else "idle_in_transaction_session_timeout"
        )
        milliseconds = int(self.block.setting(timeout) or 0)
        if milliseconds:
            self._idle_timer = self.world.call_later(milliseconds / 1000, self._idle_too_long)

    def _idle_too_long(self) -> None:
        if self.block.status == "I":
            self.fatal("57P05", "terminating connection due to idle-session timeout")
        else:
            self.fatal("25P03", "terminating connection due to idle-in-transaction timeout")

    def report(self) -> None:
        """ParameterStatus for every setting that is reported and has changed."""
        local = self.block.local
        state = (local.settings, local.overrides, self.database.read_only)
        if self._reported_state is not None and all(map(operator.is_, state, self._reported_state)):
            return
        self._reported_state = state
        known = self._reported
        for name, shown in REPORTED.items():
            value = self.block.setting(name) or ""
            if name == "in_hot_standby":
                value = "on" if self.database.read_only else "off"
            if known.get(name) != value:
                known[name] = value
                self.send(ParameterStatus(shown, value))

    def notify(self, pid: int, channel: str, payload: str) -> None:
        """Somebody has committed a NOTIFY; it is delivered when the session is idle."""
        if channel in self.block.listening and not self.dead:
            self._inbox.append((pid, channel, payload))
            if self._at_rest and self.block.status == "I":
                self._deliver()
                self.flush()

    def _deliver(self) -> None:
        for pid, channel, payload in self._inbox:
            self.send(NotificationResponse(pid, channel, payload))
        self._inbox.clear()
