"""A tiny healthy server for the scripted one: enough of PostgreSQL that a pool can live on it.

It answers both protocols.  `select 7` has one row, 7; `select $1...` has one row, the int4 argument;
anything else has the tag that its first words make.  BEGIN, COMMIT and ROLLBACK move the status.
"""

from __future__ import annotations

import re
import struct

from pgproto.protocol import Closed
from pgproto.wire import (
    Bind,
    BindComplete,
    Close,
    CloseComplete,
    CommandComplete,
    DataRow,
    Describe,
    EmptyQueryResponse,
    Execute,
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
)
from tests.support.scripted import Peer, ScriptError, column

__all__ = ["Health", "healthy"]

_STATUS = {"BEGIN": "T", "START TRANSACTION": "T", "COMMIT": "I", "ROLLBACK": "I", "END": "I"}
_TWO_WORDS = ("DISCARD", "START", "ROLLBACK TO", "CREATE", "DROP")


class Health:
    """The state of one healthy session."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.status = "I"
        self.statements: dict[str, str] = {}
        self.portals: dict[str, tuple[str, list[bytes | None]]] = {}
        self.queries: list[str] = []

    def run(self) -> None:
        """Serve until the client goes."""
        while True:
            message = self.peer.receive()
            if isinstance(message, Closed | Terminate):
                return
            self.answer(message)

    def answer(self, message: Message) -> None:
        """Answer one message."""
        send = self.peer.send
        if isinstance(message, Query):
            self._simple(message.query)
        elif isinstance(message, Parse):
            self.statements[message.name] = message.query
            send(ParseComplete())
        elif isinstance(message, Describe):
            self._describe(message)
        elif isinstance(message, Bind):
            self.portals[message.portal] = (self.statements[message.statement], list(message.parameters))
            send(BindComplete())
        elif isinstance(message, Execute):
            sql, parameters = self.portals[message.portal]
            self._run(sql, parameters, binary=True)
        elif isinstance(message, Close):
            self.statements.pop(message.name, None)
            send(CloseComplete())
        elif isinstance(message, Sync):
            send(ReadyForQuery(self.status))
        else:
            raise ScriptError(f"the healthy server does not know {message}")

    def _simple(self, text: str) -> None:
        statements = [sql for sql in text.split(";") if sql.strip()]
        if not statements:
            self.peer.send(EmptyQueryResponse())
        for sql in statements:
            if _returns_row(sql):
                self.peer.send(RowDescription([column(format=0)]))
            self._run(sql, [], binary=False)
        self.peer.send(ReadyForQuery(self.status))

    def _describe(self, message: Describe) -> None:
        if message.kind == "S":
            sql = self.statements[message.name]
            self.peer.send(ParameterDescription([23] * len(set(re.findall(r"\$\d+", sql)))))
        else:
            sql = self.portals[message.name][0]
        self.peer.send(RowDescription([column()]) if _returns_row(sql) else NoData())

    def _run(self, sql: str, parameters: list[bytes | None], *, binary: bool) -> None:
        self.queries.append(sql.strip())
        if not sql.strip():
            self.peer.send(EmptyQueryResponse())
            return
        if _returns_row(sql):
            number = (
                struct.unpack(">i", parameters[0])[0] if parameters and parameters[0] else _first_number(sql)
            )
            value = struct.pack(">i", number) if binary else str(number).encode()
            self.peer.send(DataRow([value]), CommandComplete("SELECT 1"))
            return
        tag = _tag(sql)
        self.status = _STATUS.get(tag, self.status)
        self.peer.send(CommandComplete(tag))


def healthy(peer: Peer) -> None:
    """Serve the start-up, then queries."""
    peer.start()
    Health(peer).run()


def _returns_row(sql: str) -> bool:
    return sql.strip().lower().startswith("select")


def _first_number(sql: str) -> int:
    found = re.search(r"-?\d+", sql)
    return int(found.group()) if found else 0


def _tag(sql: str) -> str:
    words = sql.split()
    first = words[0].upper()
    if first == "INSERT":
        return "INSERT 0 1"
    return f"{first} {words[1].upper()}" if first in _TWO_WORDS and len(words) > 1 else first
