"""A small PostgreSQL server in memory: it answers from a table (SQL text -> Answer).

It has transactions, so it knows which statements are `committed`, for tests of outcomes, and portals.
Statements that are not in the table are syntax errors, except transaction control, LISTEN, UNLISTEN, MOVE and
DISCARD ALL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..protocol import NEED_DATA, SERVER, Closed, PGConnection
from ..protocol.server_authentication import ServerAuthenticator
from ..session.whereabouts import PROCESS
from ..wire import (
    AuthenticationOk,
    BackendKeyData,
    Bind,
    BindComplete,
    CancelRequest,
    Close,
    CloseComplete,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    EmptyQueryResponse,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    GSSENCRequest,
    Message,
    NoData,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    PasswordMessage,
    PortalSuspended,
    Query,
    ReadyForQuery,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Sync,
    Terminate,
)
from .answers import Answer, error_fields, fails, ok, rows_of
from .scripted import PARAMETERS

__all__ = ["ModelServer", "ModelSession"]

CONTROL: Final = {
    word: ok(word)
    for word in (
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "DISCARD ALL",
        "DEALLOCATE ALL",
        "MOVE",
        "UNLISTEN",
        "LISTEN",
    )
}
_MOVE: Final = re.compile(r'MOVE FORWARD (\d+) IN "(.*)"')
_CHANNEL: Final = re.compile(r'(UN)?LISTEN\s+(\*|"(?:[^"]|"")*"|\w+)\s*', re.IGNORECASE)
_PID: Final = 4711
_SECRET: Final = b"0123"


class ModelServer:
    """A server for any number of clients; a `pgproto.testing.Server`.

    Args:
        table: the answers by SQL text.
        on_session: called with every new session, for example to prepare a fault.

    Attributes:
        table: the same; changes take effect at the next statement.
        sessions: all sessions so far, the oldest first.
        cancels: the cancel requests so far.
    """

    def __init__(
        self, table: Mapping[str, Answer], on_session: Callable[[ModelSession], None] | None = None
    ) -> None:
        self.table = dict(table)
        self.sessions: list[ModelSession] = []
        self.cancels: list[CancelRequest] = []
        self._on_session = on_session

    @property
    def committed(self) -> list[str]:
        """The statements whose effects are permanent, session by session."""
        return [sql for session in self.sessions for sql in session.committed]

    def connect(self, *, to_cancel: bool = False) -> ModelSession:
        """A client is here."""
        session = ModelSession(self.table, BackendKeyData(_PID + len(self.sessions), _SECRET))
        session.on_cancel = self._cancel
        if not to_cancel:
            self.sessions.append(session)
            if self._on_session is not None:
                self._on_session(session)
        return session

    def notify(self, channel: str, payload: str = "") -> None:
        """Send a notification to all sessions that listen to the channel."""
        for session in self.sessions:
            session.notify(channel, payload, _PID)

    def _cancel(self, request: CancelRequest) -> None:
        self.cancels.append(request)
        for session in self.sessions:
            if session.key == BackendKeyData(request.process_id, request.secret_key):
                session.cancel()


class _Dead(Exception):
    """The backend has ended."""


class ModelSession:
    """A server's end of one session; a `pgproto.testing.Session`.

    Args:
        script: the answers by SQL text.
        key: the session's cancel key.

    Attributes:
        committed: the statements whose effects are permanent, in order.
        heard: every message that the client has sent.
        copied: the received data of COPY IN.
        listening: the channels that it listens to.
        status: "I" idle, "T" in a transaction block, "E" in a failed one.
        silent: it sends nothing until `go_on`.
        dead: it has ended; see `die_after`.
        authenticator: asks for a password; None for no authentication.
        parameters: the parameters that it reports.
        outdated: the prepared statements whose tables have changed.
        on_cancel: called with each cancel request for it.
    """

    def __init__(self, script: dict[str, Answer], key: BackendKeyData | None = None) -> None:
        self.script = script
        self.key = BackendKeyData(_PID, _SECRET) if key is None else key
        self.ended = ""
        self.pause: float | None = None
        self.on_output: Callable[[], None] | None = None
        self.on_cancel: Callable[[CancelRequest], None] | None = None
        self.listening: set[str] = set()
        self._running: tuple[str, bool] | None = None  # a statement that takes its time: text, simple
        self.connection = PGConnection(SERVER)
        self.out = bytearray()
        self.committed: list[str] = []
        self.heard: list[Message] = []
        self.copied: list[bytes] = []
        self.status = "I"
        self.messages_left = -1
        self.last_words = b""
        self.dead = False
        self.silent = False
        self.authenticator: ServerAuthenticator | None = None
        self.parameters = dict(PARAMETERS)
        self.cancelled: list[CancelRequest] = []
        self._pending: list[str] = []
        self._savepoints: dict[str, int] = {}
        self._statements: dict[str, str] = {}
        self.outdated: set[str] = set()
        self._known: set[str] = set()
        self._portal = ""
        self._as_text = False  # the last Bind has asked for no format
        self.portals: dict[str, tuple[str, list[Sequence[bytes | None]]]] = {}
        self._deferred: dict[str, str] | None = None
        self._skipping = False
        self._copying = ""
        self._rest: list[str] = []

    def receive(self, data: bytes) -> None:
        """Take the client's bytes and answer them; b"" means that it has hung up."""
        self.connection.receive_data(data)
        self.work()

    def work(self) -> None:
        """Answer the received messages."""
        while not self.dead and not self.silent and self._running is None:
            event = self.connection.next_event()
            if event is NEED_DATA:
                return
            if isinstance(event, Closed):
                self.ended = "fin"
                return
            self.heard.append(event)
            self._do(self._handle, event)

    def _do(self, what: Callable[..., None], *args: Any) -> None:
        try:
            what(*args)
        except _Dead:
            self.dead = True
            self.ended = "fin"

    def go_on(self) -> None:
        """Send again after `silent`, or a statement's delay."""
        self.silent = False
        if self._running is not None:
            (sql, simple), self._running = self._running, None
            self._do(self._run, sql, simple)
            if simple:
                self._do(self._go_through)
        self.work()

    def cancel(self) -> None:
        """A cancel request for this session: its running statement fails."""
        if self._running is not None:
            (_, simple), self._running = self._running, None
            self._do(self._fail, error_fields("57014", "canceling statement due to user request"))
            if simple:
                self._do(self._go_through)
            self.work()
            self._tell()

    def die_after(self, messages: int, last_words: bytes = b"") -> None:
        """Send so many further messages, then `last_words` instead of the next one, and hang up."""
        self.messages_left = messages
        self.last_words = last_words

    def notify(self, channel: str, payload: str = "", pid: int = _PID) -> None:
        """Send a notification, if it listens to the channel."""
        if channel in self.listening and not self.dead and not self.ended:
            self._do(self.say, NotificationResponse(pid, channel, payload))
            self._tell()

    def _tell(self) -> None:
        if self.on_output is not None:
            self.on_output()

    def change_tables(self) -> None:
        """Make all prepared statements outdated: they would return other columns now."""
        self.outdated |= set(self._statements)

    def forget_statements(self) -> None:
        """Drop all prepared statements, as DISCARD ALL in a function would."""
        self._statements.clear()

    def take_name(self, name: str) -> None:
        """Mark a statement name as already in use."""
        self._statements[name] = "select"

    def _alive(self) -> None:
        if self.messages_left == 0:
            self.out += self.last_words
            raise _Dead
        self.messages_left -= 1

    def say(self, message: Message) -> None:
        """Send a message."""
        self._alive()
        self.out += self.connection.send(message)

    def _handle(self, event: Message) -> None:
        if isinstance(event, StartupMessage):
            self.say(self.authenticator.start() if self.authenticator else AuthenticationOk())
            if self.authenticator is None:
                self._welcome()
        elif isinstance(event, SSLRequest | GSSENCRequest):
            self.say(EncryptionResponse(b"N"))
        elif isinstance(event, CancelRequest):
            self.cancelled.append(event)
            self.ended = "fin"
            if self.on_cancel is not None:
                self.on_cancel(event)
        elif isinstance(event, Terminate):
            self.ended = "fin"
        elif isinstance(event, PasswordMessage | SASLInitialResponse | SASLResponse):
            assert self.authenticator is not None
            for message in self.authenticator.receive(event):
                self.say(message)
            if self.authenticator.authenticated:
                self._welcome()
        elif isinstance(event, Sync):
            self._sync()
        elif isinstance(event, Query):
            self._query(event.query)
        elif isinstance(event, CopyData | CopyDone | CopyFail):
            self._copy(event)
        elif not self._skipping:
            self._extended(event)

    def _welcome(self) -> None:
        for name, value in self.parameters.items():
            self.say(ParameterStatus(name, value))
        self.say(self.key)
        self.say(ReadyForQuery("I"))

    # ---- Extended queries

    def _extended(self, event: Message) -> None:
        if isinstance(event, Parse):
            if self._refused(self._answer(event.query), "parse"):
                return
            if event.name and event.name in self._statements:
                self._fail(error_fields("42P05"))
                return
            self._statements[event.name] = event.query
            self.outdated.discard(event.name)
            self.say(ParseComplete())
        elif isinstance(event, Describe):
            fresh = len(self.heard) > 1 and isinstance(self.heard[-2], Parse)  # it is what it was
            if event.kind == "S" and not fresh and not self._knows(event.name):
                return
            answer = self._answer(self._statements[event.name] if event.kind == "S" else self._portal)
            if self._refused(answer, "describe"):
                return
            if event.kind == "S":
                self.say(ParameterDescription(answer.types))
                unknown = answer.late and event.name not in self._known
                self._known.add(event.name)
                self.say(NoData() if unknown else answer.description(0))
            else:
                self.say(answer.description(1))
        elif isinstance(event, Bind):
            if not self._knows(event.statement):
                return
            self._portal = self._statements[event.statement]
            self._as_text = not event.result_formats
            columns = len(self._answer(self._portal).columns)
            if len(event.result_formats) > 1 and len(event.result_formats) != columns:
                self._fail(error_fields("08P01", "bind message has too few or too many result formats"))
                return
            if not self._refused(self._answer(self._portal), "bind"):
                self.say(BindComplete())
                if event.portal:
                    self.portals[event.portal] = (self._portal, list(self._answer(self._portal).rows))
        elif isinstance(event, Close):
            (self._statements if event.kind == "S" else self.portals).pop(event.name, None)
            self.say(CloseComplete())
        elif isinstance(event, Execute):
            if not event.portal:
                self._execute(self._portal, simple=False)
            elif event.portal in self.portals:
                self._fetch(event.portal, event.max_rows)
            else:
                self._fail(error_fields("34000", f'portal "{event.portal}" does not exist'))

    def _fetch(self, portal: str, limit: int) -> None:
        """Execute a portal with a name."""
        sql, rows = self.portals[portal]
        answer = self._answer(sql)
        if self._refused(answer, "execute"):
            return
        count = limit or len(rows)
        for row in rows[:count]:
            self.say(DataRow(row))
        # It stops at the limit, and learns only with the next Execute that there are no more rows.
        if limit and len(rows) >= limit:
            self.say(PortalSuspended())
        else:
            self._complete(sql, answer)
        del rows[:count]

    def _move(self, count: int, portal: str) -> None:
        """Skip rows of a portal."""
        rows = self.portals.get(portal, ("", []))[1]
        skipped = min(count, len(rows))
        del rows[:count]
        self.out += self.connection.send(CommandComplete(f"MOVE {skipped}"))

    def _knows(self, name: str) -> bool:
        """False, and an error, if the statement does not exist or is outdated."""
        if name not in self._statements:
            self._fail(error_fields("26000", f'prepared statement "{name}" does not exist'))
            return False
        if name in self.outdated:
            self._fail(error_fields("0A000", "cached plan must not change result type"))
            return False
        return True

    def _sync(self) -> None:
        self._skipping = False
        if self.status == "I":
            if self._deferred is not None:
                error, self._deferred = self._deferred, None
                self._pending.clear()
                self.say(ErrorResponse(error))
                self._skipping = False
            self._commit()
        if self.status == "I":
            self.portals.clear()
        self.say(ReadyForQuery(self.status))

    def _query(self, text: str) -> None:
        self._rest = text.split("; ")
        if any(self._refused(self._answer(sql), "parse") for sql in self._rest):
            self._rest.clear()
        self._go_through()

    def _go_through(self) -> None:
        """Run the rest of a simple Query, up to a COPY that waits for data."""
        while self._rest and not self._skipping and not self._copying and self._running is None:
            self._execute(self._rest.pop(0), simple=True)
        if not self._copying and self._running is None:
            self._rest.clear()
            self._sync()

    def _execute(self, sql: str, *, simple: bool) -> None:
        answer = self._answer(sql)
        if answer.delay:
            self._running = (sql, simple)
            self.pause = answer.delay
        else:
            self._run(sql, simple)

    def _run(self, sql: str, simple: bool) -> None:
        answer = self._answer(sql)
        word = answer.tag.partition(" ")[0]
        if self.status == "E" and word not in ("ROLLBACK", "COMMIT"):
            self._fail(error_fields("25P02"))
            return
        moving = _MOVE.fullmatch(sql)
        if moving is not None:
            self._move(int(moving[1]), moving[2])
            return
        if self._refused(answer, answer.fails if simple and answer.fails != "sync" else "execute"):
            if word == "COMMIT" and self.status == "E":
                self._pending.clear()
                self.status = "I"  # a COMMIT that fails has rolled back
            return
        if answer.copy:
            self._copying = sql
            self.say(CopyInResponse(0, ()) if answer.copy == "in" else CopyOutResponse(0, ()))
            if answer.copy == "out":
                for row in answer.rows:
                    self.say(CopyData(row[0] or b""))
                self.say(CopyDone())
                self._complete(sql, answer)
            return
        if simple and answer.columns:
            self.say(answer.description(0))
        for row in answer.texts if simple or self._as_text else answer.rows:
            self.say(DataRow(row))
        self._complete(sql, answer)

    def _complete(self, sql: str, answer: Answer) -> None:
        self._copying = ""
        if not answer.tag:
            self.say(EmptyQueryResponse())
            return
        self._alive()
        tag = answer.tag
        word = tag.partition(" ")[0]
        if word in ("COMMIT", "ROLLBACK") and not (word == "ROLLBACK" and " TO " in sql):
            if self.status == "E":
                tag = "ROLLBACK"
            if tag == "COMMIT":
                self._commit()
            self._pending.clear()
            self.status = "T" if sql.endswith("and chain") else "I"
        elif word in ("BEGIN", "ROLLBACK"):
            self.status = "T"
            if word == "ROLLBACK":
                del self._pending[self._savepoints.get(sql.split()[-1], 0) :]
        elif tag == "SAVEPOINT":
            self._savepoints[sql.split()[-1]] = len(self._pending)
        elif tag in ("DISCARD ALL", "DEALLOCATE ALL"):
            self._statements.clear()
            if tag == "DISCARD ALL":
                self.listening.clear()
        elif word in ("LISTEN", "UNLISTEN"):
            self._listen(sql)
        elif tag == "PREPARE TRANSACTION":
            self._pending.clear()
            self.status = "I"
        elif word != "RELEASE" and sql in self.script:
            self._pending.append(sql)
        if answer.fails == "sync":
            self._deferred = answer.error
        self.out += self.connection.send(CommandComplete(tag))

    def _listen(self, sql: str) -> None:
        """LISTEN takes effect at once here, even if the transaction is rolled back."""
        found = _CHANNEL.fullmatch(sql)
        name = "" if found is None else found[2]
        channel = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
        if found is None or not found[1]:
            self.listening.add(channel)
        elif channel == "*":
            self.listening.clear()
        else:
            self.listening.discard(channel)

    def _copy(self, event: Message) -> None:
        sql = self._copying
        if isinstance(event, CopyData):
            self.copied.append(event.data)
            return
        if isinstance(event, CopyDone):
            self._complete(sql, self._answer(sql))
        else:
            assert isinstance(event, CopyFail)
            self._copying = ""
            self._fail(error_fields("57014", f"COPY from stdin failed: {event.message}"))
        if isinstance(self.connection.head, Query):
            self._go_through()

    # ---- Transactions

    def _answer(self, sql: str) -> Answer:
        known = self.script.get(sql)
        if not sql.strip():
            return Answer("")
        if known is None and sql == PROCESS:
            return rows_of(self.key.process_id)
        if known is None:
            for word, answer in CONTROL.items():
                if sql.upper().startswith(word):
                    return answer
            return fails("42601", "parse")
        return known

    def _commit(self) -> None:
        self.committed += self._pending
        self._pending.clear()

    def _refused(self, answer: Answer, where: str) -> bool:
        if answer.error is None or answer.fails != where:
            return False
        if answer.spares:
            answer.spares -= 1
            return False
        self._fail(answer.error)
        return True

    def _fail(self, fields: dict[str, str]) -> None:
        self._skipping = True
        self._copying = ""
        if self.status == "I":
            self._pending.clear()
        else:
            self.status = "E"
        self.say(ErrorResponse(fields))
