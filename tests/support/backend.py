"""A small PostgreSQL in memory, on `Connection(SERVER)`: it answers from a script (SQL text -> Answer).

It keeps transactions the way a server does.  So it knows the truth, `committed`, which outcomes are checked
against.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pgproto.protocol import NEED_DATA, SERVER, Closed, Connection
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.wire import (
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
    ErrorResponse,
    Execute,
    FieldDescription,
    Message,
    NoData,
    NoticeResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    PasswordMessage,
    Query,
    ReadyForQuery,
    RowDescription,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Sync,
)

INT4: Final = 23
TEXT: Final = 25
KEY: Final = BackendKeyData(4711, b"0123")


def error_fields(code: str, message: str = "", severity: str = "ERROR") -> dict[str, str]:
    """Fields as PostgreSQL sends them."""
    return {"S": severity, "V": severity, "C": code, "M": message or f"error {code}"}


FATAL: Final = ErrorResponse(error_fields("57P01", "terminating connection", "FATAL")).encode()
POOLER_FATAL: Final = ErrorResponse({"S": "FATAL", "C": "08P01", "M": "server conn crashed?"}).encode()
POOLER_ERROR: Final = ErrorResponse({"S": "ERROR", "C": "08P01", "M": "server conn crashed?"}).encode()
CRASH: Final = NoticeResponse(error_fields("57P02", "crash of another server process", "WARNING")).encode()


def int4(value: int) -> bytes:
    """A value of a binary int4 column."""
    return value.to_bytes(4, "big", signed=True)


class Answer:
    """What the server does with one SQL text.

    Args:
        tag: the command tag; "" for an empty query.
        types: the OIDs of its parameters.
        columns: its columns as (name, OID).
        rows: its rows, encoded.
        error: fails with these fields: at Execute, or where `fails` says.
        fails: "execute", "parse", "describe", "bind" or "sync" (a deferred constraint).
        late: the first Describe of the statement answers NoData, although there will be columns.
        copy: "in" or "out".
        spares: how many executions it lets pass before it fails.
    """

    def __init__(
        self,
        tag: str = "SELECT 1",
        *,
        types: Sequence[int] = (),
        columns: Sequence[tuple[str, int]] = (),
        rows: Iterable[Sequence[bytes | None]] = (),
        error: dict[str, str] | None = None,
        fails: str = "execute",
        late: bool = False,
        copy: str = "",
        spares: int = 0,
    ) -> None:
        self.tag = tag
        self.types = types
        self.columns = columns
        self.rows = list(rows)
        self.error = error
        self.fails = fails if error is not None else ""
        self.late = late
        self.copy = copy
        self.spares = spares

    def description(self, format: int) -> Message:
        """RowDescription or NoData."""
        if not self.columns:
            return NoData()
        return RowDescription(
            [FieldDescription(name, 0, 0, oid, -1, -1, format) for name, oid in self.columns]
        )


def ok(tag: str = "INSERT 0 1", types: Sequence[int] = ()) -> Answer:
    """A statement without rows."""
    return Answer(tag, types=types)


def rows_of(*values: int) -> Answer:
    """A statement with one int4 column `n`."""
    return Answer(f"SELECT {len(values)}", columns=[("n", INT4)], rows=[[int4(value)] for value in values])


def fails(code: str, where: str = "execute") -> Answer:
    """A statement that fails."""
    return Answer(error=error_fields(code), fails=where)


CONTROL: Final = {
    word: ok(word)
    for word in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "DISCARD ALL", "DEALLOCATE ALL")
}


class _Dead(Exception):
    """The backend has said its last words."""


class Backend:
    """A server's end of one session.

    Attributes:
        committed: the statements whose effects are permanent, in order.
        heard: every message that the client has sent.
        last_words: when `messages_left` are sent, this is said instead of the next, and the backend dies.
    """

    def __init__(self, script: Mapping[str, Answer]) -> None:
        self.script = dict(script)
        self.connection = Connection(SERVER)
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
        self.parameters = {"server_version": "18.6", "client_encoding": "UTF8"}
        self.cancelled: list[CancelRequest] = []
        self._pending: list[str] = []
        self._savepoints: dict[str, int] = {}
        self._statements: dict[str, str] = {}
        self.outdated: set[str] = set()
        self._known: set[str] = set()
        self._portal = ""
        self._deferred: dict[str, str] | None = None
        self._skipping = False
        self._copying = ""
        self._rest: list[str] = []

    def receive(self, data: bytes) -> None:
        """Take the client's bytes and answer them."""
        self.connection.receive_data(data)
        self.work()

    def work(self) -> None:
        """Answer what has been received."""
        while not self.dead and not self.silent:
            event = self.connection.next_event()
            if event is NEED_DATA or isinstance(event, Closed):
                return
            self.heard.append(event)
            try:
                self._handle(event)
            except _Dead:
                self.dead = True

    def go_on(self) -> None:
        """Speak again after `silent`."""
        self.silent = False
        self.work()

    def change_tables(self) -> None:
        """What is prepared would return other columns now."""
        self.outdated |= set(self._statements)

    def forget_statements(self) -> None:
        """As by DISCARD ALL in a function."""
        self._statements.clear()

    def take_name(self, name: str) -> None:
        """It is somebody else's."""
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
        elif isinstance(event, CancelRequest):
            self.cancelled.append(event)
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
        self.say(KEY)
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
            columns = len(self._answer(self._portal).columns)
            if len(event.result_formats) > 1 and len(event.result_formats) != columns:
                self._fail(error_fields("08P01", "bind message has too few or too many result formats"))
                return
            if not self._refused(self._answer(self._portal), "bind"):
                self.say(BindComplete())
        elif isinstance(event, Close):
            self._statements.pop(event.name, None)
            self.say(CloseComplete())
        elif isinstance(event, Execute):
            if event.portal:
                self._fail(error_fields("34000", f'portal "{event.portal}" does not exist'))
            else:
                self._execute(self._portal, simple=False)

    def _knows(self, name: str) -> bool:
        """False, and an error, if there is no such statement, or not as it was."""
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
        self.say(ReadyForQuery(self.status))

    def _query(self, text: str) -> None:
        self._rest = text.split("; ")
        if any(self._refused(self._answer(sql), "parse") for sql in self._rest):
            self._rest.clear()
        self._go_through()

    def _go_through(self) -> None:
        """Run what is left of a simple Query, up to a COPY that waits for data."""
        while self._rest and not self._skipping and not self._copying:
            self._execute(self._rest.pop(0), simple=True)
        if not self._copying:
            self._sync()

    def _execute(self, sql: str, *, simple: bool) -> None:
        answer = self._answer(sql)
        word = answer.tag.partition(" ")[0]
        if self.status == "E" and word not in ("ROLLBACK", "COMMIT"):
            self._fail(error_fields("25P02"))
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
        for row in answer.rows:
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
        elif tag == "PREPARE TRANSACTION":
            self._pending.clear()
            self.status = "I"
        elif word != "RELEASE":
            self._pending.append(sql)
        if answer.fails == "sync":
            self._deferred = answer.error
        self.out += self.connection.send(CommandComplete(tag))

    def _copy(self, event: Message) -> None:
        sql = self._copying
        if isinstance(event, CopyData):
            self.copied.append(event.data)
            return
        if isinstance(event, CopyDone):
            self._complete(sql, self._answer(sql))
        elif isinstance(event, CopyFail):
            self._copying = ""
            self._fail(error_fields("57014", f"COPY from stdin failed: {event.message}"))
        if isinstance(self.connection.head, Query):
            self._go_through()

    # ---- Transactions

    def _answer(self, sql: str) -> Answer:
        known = self.script.get(sql)
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
