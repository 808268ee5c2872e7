"""A PostgreSQL that any driver can talk to, and that does one thing wrong.

It answers what drivers ask by the way (SET, BEGIN, reset scripts, pings) and the statements of the workloads,
which have `matrix` in their text.  The answer to a *flight* (what a client sends up to Sync, Flush or the end
of a simple query) is made as a list of messages first; the fault changes the list that holds its place, says
its own last words in the same write, and ends the connection, or goes on.

One server plays one cell: it strikes once, unless the fault is about connecting, which strikes every
connection until the cell is healed.
"""

from __future__ import annotations

import re
import select
import socket
import struct
from dataclasses import dataclass, field

from pgproto.wire import (
    Bind,
    BindComplete,
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
    Execute,
    Flush,
    FrameReader,
    Message,
    NoData,
    ParameterDescription,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    Terminate,
    decode_frontend,
)
from pgproto.wire.frames import frontend_limits
from tests.faults.faults import Answer, Fault, position
from tests.support.scripted import Gone, Peer, Script, ScriptedServer, column, encoded, error

__all__ = ["FaultServer", "Session"]

LIMITS = frontend_limits()
STATUS = {"BEGIN": "T", "START TRANSACTION": "T", "COMMIT": "I", "ROLLBACK": "I", "END": "I"}
TWO_WORDS = ("DISCARD", "START", "CLOSE", "CREATE", "DROP")
COPY_IN = re.compile(r"\s*copy\b.*\bfrom\s+stdin", re.IGNORECASE | re.DOTALL)
COPY_OUT = re.compile(r"\s*copy\b.*\bto\s+stdout", re.IGNORECASE | re.DOTALL)
SMALL_BUFFER = 65536
DRIP, DRIPS = 0.05, 60
"""Seconds between bytes, and how many of them come that slowly."""
CANCELLED = (error("57014", "canceling statement due to user request"), ReadyForQuery("I"))


class Over(Exception):
    """The server has done what it had to do with this connection."""


@dataclass
class Portal:
    """A bound statement."""

    sql: str
    parameters: list[bytes | None] = field(default_factory=list)
    binary: bool = False
    """The format of the result."""
    binary_parameters: bool = False


class FaultServer(ScriptedServer):
    """The server of one cell; a context manager.

    Args:
        fault: what it does wrong.
        place: where, one of `faults.POSITIONS`.
        item: in the answer to which execution of the workload's statement, from 0.
        script: serves every connection until `healed`, instead of the fault (faults in connecting).
        on_cancel: serves cancel requests.
    """

    def __init__(
        self,
        fault: Fault,
        place: str = "",
        item: int = 0,
        script: Script | None = None,
        on_cancel: Script | None = None,
    ) -> None:
        super().__init__(then=_serve, on_cancel=on_cancel)
        self.fault = fault
        self.place = place
        self.item = item
        self.script = script
        self.healed = False
        self.strikes = 0
        self.executed = 0
        """How often the workload's statement was executed."""
        self._wake, self._woken = socket.socketpair()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)

    def strike_idle(self) -> None:
        """Strike the connection that waits for its client's next message; return when it is done."""
        struck = self.signal("struck")
        self._wake.send(b"!")
        struck.wait(5)

    def stop(self) -> None:
        """See ScriptedServer; what a fault made of a script is no failure."""
        self.healed = True
        super().stop()
        self._wake.close()
        self._woken.close()

    @property
    def idle_socket(self) -> socket.socket:
        """Readable when an idle connection shall be struck."""
        return self._woken


def _serve(peer: Peer) -> None:
    server = peer.server
    assert isinstance(server, FaultServer)
    if server.script is not None and not server.healed:
        server.strikes += 1
        server.script(peer)
        return
    peer.start()
    Session(peer, server).run()


class Session:
    """One connection after its start-up."""

    def __init__(self, peer: Peer, server: FaultServer) -> None:
        self.peer = peer
        self.server = server
        self.reader = FrameReader()
        self.status = "I"
        self.statements: dict[str, str] = {}
        self.portals: dict[str, Portal] = {}
        self.flight: Answer = []
        self.parsed = False
        self.first = server.executed
        """The number of the first execution of the workload's statement in this flight."""
        self.copying = ""
        self.simple_copy = False
        self.skipping = False
        self.finished_one = False

    def run(self) -> None:
        """Serve until the client goes, or the fault has ended it."""
        try:
            while (message := self._receive()) is not None and not isinstance(message, Terminate):
                self._answer(message)
        except (Over, Gone):
            pass

    # ---- Reading

    def _receive(self) -> Message | None:
        reader = self.reader
        while not reader.next_frame(LIMITS):
            if self.server.place == "P10":
                self._wait_or_strike()
            try:
                data = self.peer.sock.recv(SMALL_BUFFER)
            except OSError:
                return None
            if not data:
                return None
            self.peer.received += data if len(self.peer.received) < SMALL_BUFFER else b""
            reader.receive_data(data)
        return decode_frontend(reader.tag, reader.buffer, reader.start, reader.end)

    def _wait_or_strike(self) -> None:
        ready, _, _ = select.select([self.peer.sock, self.server.idle_socket], [], [], 20)
        if self.server.idle_socket in ready and not self.server.strikes:
            self.server.idle_socket.recv(1)
            try:
                self._strike([], [])
            finally:
                self.server.signal("struck").set()

    # ---- Answering

    def _answer(self, message: Message) -> None:
        if self.copying:
            self._copy(message)
        elif isinstance(message, Query):
            self._simple(message.query)
        elif isinstance(message, Sync):
            self.skipping = False
            self._fly(ReadyForQuery(self.status))
        elif isinstance(message, Flush):
            self._fly()
        elif self.skipping:
            return
        elif isinstance(message, Parse):
            self.statements[message.name] = message.query
            self.parsed = self.parsed or "matrix" in message.query
            self.flight.append(ParseComplete())
        elif isinstance(message, Bind):
            self._bind(message)
        elif isinstance(message, Describe):
            self._describe(message)
        elif isinstance(message, Execute):
            self._execute(self.portals.get(message.portal, Portal("")))
        elif isinstance(message, Close):
            (self.statements if message.kind == "S" else self.portals).pop(message.name, None)
            self.flight.append(CloseComplete())

    def _bind(self, message: Bind) -> None:
        sql = self.statements.get(message.statement)
        if sql is None:
            self.flight.append(error("26000", "prepared statement does not exist"))
            self.skipping = True
            return
        results, parameters = list(message.result_formats), list(message.parameter_formats)
        self.portals[message.portal] = Portal(
            sql, list(message.parameters), results[:1] == [1], parameters[:1] == [1]
        )
        self.flight.append(BindComplete())

    def _describe(self, message: Describe) -> None:
        if message.kind == "S":
            sql, binary = self.statements.get(message.name, ""), False
            kind = 25 if "big" in sql else 23
            self.flight.append(ParameterDescription([kind] * len(set(re.findall(r"\$\d+", sql)))))
        else:
            portal = self.portals.get(message.name, Portal(""))
            sql, binary = portal.sql, portal.binary
        self.flight.append(_description(sql, binary) if _has_rows(sql) else NoData())

    def _simple(self, text: str) -> None:
        statements = [sql for sql in text.split(";") if sql.strip()]
        if not statements:
            self.flight.append(EmptyQueryResponse())
        for sql in statements:
            self.parsed = self.parsed or "matrix" in sql
            if _has_rows(sql):
                self.flight.append(_description(sql, False))
            self._execute(Portal(sql), simple=True)
            if self.copying:
                return
        self._fly(ReadyForQuery(self.status))

    def _execute(self, portal: Portal, *, simple: bool = False) -> None:
        sql = portal.sql
        if "matrix" in sql:
            self.server.executed += 1
        if "big" in sql and self.server.place == "P2" and not self.server.strikes:
            self._strike([], [])  # its answers do not wait for Sync
        if COPY_IN.match(sql):
            self.flight.append(CopyInResponse(0, [0]))
            self.copying, self.simple_copy = sql, simple
            self._fly()
            return
        if COPY_OUT.match(sql):
            lines = [CopyData(b"%d\n" % number) for number in (1, 2, 3)]
            self.flight += [CopyOutResponse(0, [0]), *lines, CopyDone(), CommandComplete("COPY 3")]
            return
        if not sql.strip():
            self.flight.append(EmptyQueryResponse())
            return
        rows = _rows(portal)
        self.flight += [DataRow([value]) for value in rows]
        self.flight.append(CommandComplete(_tag(sql, len(rows))))
        self.status = STATUS.get(_tag(sql, 0), self.status)
        if "big" in sql:
            self._write(encoded(self.flight))
            self.flight.clear()

    def _copy(self, message: Message) -> None:
        if isinstance(message, CopyData):
            if self.server.place == "P13" and not self.server.strikes:
                self._strike([], [])
                # An ERROR: the rest of the data is dropped, up to Sync where there is one to come.
                self.copying, self.skipping = "", not self.simple_copy
                if self.simple_copy:
                    self._write(encoded([ReadyForQuery(self.status)]))
            return
        self.first -= 1
        if isinstance(message, CopyDone):
            self.flight.append(CommandComplete("COPY 3"))
        elif isinstance(message, CopyFail):
            self.flight.append(error("57014", "COPY from stdin failed"))
        else:
            self.first += 1
            return  # Sync and Flush mean nothing here
        self.copying = ""
        if self.simple_copy:
            self._fly(ReadyForQuery(self.status))

    # ---- Writing

    def _fly(self, *last: Message) -> None:
        """The answer to a flight is complete: write it, or what the fault makes of it."""
        answer, self.flight = [*self.flight, *last], []
        parsed, self.parsed = self.parsed, False
        server = self.server
        executions = server.executed - self.first
        first, self.first = self.first, server.executed
        if server.strikes or not answer:
            self._write(encoded(answer))
            return
        wanted = server.item - first
        mine = 0 <= wanted < executions
        if server.place == "P2p":
            mine = parsed and not executions
        elif server.place == "P11":
            mine = self.finished_one
        elif server.place in ("P10", "P13"):
            mine = False
        self.finished_one = self.finished_one or executions > 0
        halves = position(server.place, answer, wanted) if mine else None
        if halves is None or not self._has_effect([*halves[0], *halves[1]]):
            self._write(encoded(answer))
        else:
            self._strike(*halves)

    def _has_effect(self, answer: Answer) -> bool:
        """Whether the fault is one here: who asks with a simple query gets no BindComplete to be missed."""
        mutate = self.server.fault.mutate
        return mutate is None or encoded(mutate(answer)) != encoded(answer)

    def _strike(self, before: Answer, after: Answer) -> None:
        """Say what comes before the fault and the fault's own words; then end as the fault ends."""
        self.server.strikes += 1
        fault = self.server.fault
        if fault.mutate is not None:
            self._write(encoded(fault.mutate([*before, *after])))
        else:
            self._write(encoded([*before, *fault.parts]))
        if fault.end != "go":
            self._finish(fault.end, self.peer, encoded(after))
            raise Over

    def _finish(self, end: str, peer: Peer, rest: bytes) -> None:
        struck = self.server.signal("struck")
        if end == "fin":
            peer.sock.shutdown(socket.SHUT_WR)
            struck.set()
            peer.keep_open()
        elif end == "reset":
            peer.reset()
        elif end == "unread":
            peer.sock.close()  # what the client sent was not read, so this is a RST
        elif end == "silent":
            struck.set()
            peer.keep_open()
        elif end == "deaf":
            self.server.signal("stop").wait(20)
        elif end == "drip":
            for number in range(DRIPS):
                if self.server.signal("stop").wait(DRIP):
                    break
                self._write(rest[number : number + 1])
            self._write(rest[DRIPS:])
            self.run()
        elif end in ("late", "cancelled"):
            self.server.cancelled.wait(3)
            self._write(rest if end == "late" else encoded(CANCELLED))
            self.run()
        else:
            raise AssertionError(end)

    def _write(self, data: bytes) -> None:
        self.peer.write(data)


def _has_rows(sql: str) -> bool:
    text = sql.strip().lower()
    return text.startswith(("select", "show")) or " returning " in text


def _description(sql: str, binary: bool) -> RowDescription:
    return RowDescription([column(oid=25 if "big" in sql else 23, format=int(binary))])


def _rows(portal: Portal) -> list[bytes]:
    """The rows of a statement: the workloads' own, else the parameter, else the first number in the text."""
    sql = portal.sql.lower()
    if not _has_rows(sql):
        return []
    if "big" in sql and portal.parameters:
        return [portal.parameters[0] or b""]
    if "matrix_stream" in sql:
        numbers = list(range(1, 201))
    elif "matrix_" not in sql and "matrix" in sql:
        numbers = [1, 2, 3]
    elif portal.parameters and portal.parameters[0] is not None:
        value = portal.parameters[0]
        numbers = [int.from_bytes(value, "big", signed=True) if portal.binary_parameters else int(value)]
    else:
        found = re.search(r"\d+", sql)
        numbers = [int(found.group()) if found else 0]
    return [struct.pack(">i", number) if portal.binary else b"%d" % number for number in numbers]


def _tag(sql: str, rows: int) -> str:
    words = sql.split()
    first = words[0].upper()
    if first == "INSERT":
        return "INSERT 0 1"
    if first in ("SELECT", "SHOW"):
        return f"SELECT {rows}"
    return f"{first} {words[1].upper()}" if first in TWO_WORDS and len(words) > 1 else first
