"""A server without a database: psql, drivers and our own client get their answers from a function.

    python -m tests.embedding.fake_server        prints the port that it listens on

A statement's answer is what `answer` returns for its text and its parameters: the names of the columns, and
rows; all values are text.  The protocol (what may follow what) is the business of `PGConnection(SERVER)`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from pgproto.protocol import NEED_DATA, SERVER, Closed, PGConnection, ScramVerifier, ServerAuthenticator
from pgproto.wire import (
    BackendKeyData,
    Bind,
    BindComplete,
    Close,
    CloseComplete,
    CommandComplete,
    DataRow,
    Describe,
    EncryptionResponse,
    ErrorResponse,
    Execute,
    FieldDescription,
    GSSENCRequest,
    Message,
    NoData,
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
    SSLRequest,
    StartupMessage,
    Sync,
)

TEXT = 25
USER, PASSWORD = "app", "secret"
SECRET = ScramVerifier.from_password(PASSWORD, os.urandom(16)).format()
MOCK = os.urandom(16)

Values = Sequence[bytes | None]
Table = tuple[Sequence[str], list[Values]]


def answer(sql: str, values: Values) -> Table:
    """What is served: `echo` returns the parameters, `count N` numbers; all else is an error."""
    word, _, rest = sql.partition(" ")
    if word == "echo":
        return [f"p{number}" for number in range(1, len(values) + 1)], [values]
    if word == "count":
        return ["n"], [[b"%d" % number] for number in range(int(rest))]
    raise LookupError(f'no answer to "{sql}"')


class Session(asyncio.Protocol):
    """One client."""

    transport: asyncio.Transport
    skipping = False  # after an error, up to the next Sync

    def __init__(self) -> None:
        self.core = PGConnection(SERVER)
        self.statements: dict[str, Parse] = {}
        self.portals: dict[str, tuple[str, Values]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.core.receive_data(data)
        while (event := self.core.next_event()) is not NEED_DATA:
            if isinstance(event, Closed):  # it has said good-bye, or nonsense
                self.transport.close()
                return
            try:
                self.take(event)
            except (LookupError, ValueError) as error:
                fields = {"S": "ERROR", "V": "ERROR", "C": "42601", "M": str(error)}
                self.send(ErrorResponse(fields))
                self.skipping = not isinstance(event, Query)
            if isinstance(event, (Query, Sync)):
                self.skipping = False
                self.send(ReadyForQuery("I"))

    def eof_received(self) -> None:
        self.data_received(b"")

    def send(self, *messages: Message) -> None:
        self.transport.write(b"".join([self.core.send(message) for message in messages]))

    def take(self, event: Message) -> None:
        """Do what a message asks for."""
        if isinstance(event, (SSLRequest, GSSENCRequest)):
            self.send(EncryptionResponse(b"N"))
        elif isinstance(event, StartupMessage):
            user = event.parameters["user"]
            secret = SECRET if user == USER else None  # asked the same questions, and wrong in the end
            self.door = ServerAuthenticator(
                "scram-sha-256", user=user, secret=secret, random=os.urandom(18), mock_secret=MOCK
            )
            self.send(self.door.start())
        elif isinstance(event, (PasswordMessage, SASLInitialResponse, SASLResponse)):
            self.send(*self.door.receive(event))
            if self.door.authenticated:
                settings = {"server_version": "18.0", "client_encoding": "UTF8", "DateStyle": "ISO, MDY"}
                self.send(*[ParameterStatus(name, value) for name, value in settings.items()])
                self.send(BackendKeyData(1, os.urandom(4)), ReadyForQuery("I"))
        elif isinstance(event, Query):
            columns, rows = answer(event.query.strip().rstrip(";"), [])
            self.send(described(columns), *map(DataRow, rows), CommandComplete(f"SELECT {len(rows)}"))
        elif not self.skipping:
            self.extended(event)

    def extended(self, event: Message) -> None:
        """A part of an extended query."""
        if isinstance(event, Parse):
            self.statements[event.name] = event
            self.send(ParseComplete())
        elif isinstance(event, Bind):
            self.portals[event.portal] = self.statements[event.statement].query, event.parameters
            self.send(BindComplete())
        elif isinstance(event, Describe) and event.kind == "S":
            query = self.statements[event.name].query
            types = [TEXT] * query.count("$")
            self.send(ParameterDescription(types), described(answer(query, [None] * len(types))[0]))
        elif isinstance(event, Describe):
            self.send(described(answer(*self.portals[event.name])[0]))
        elif isinstance(event, Execute):
            _, rows = answer(*self.portals[event.portal])
            self.send(*map(DataRow, rows), CommandComplete(f"SELECT {len(rows)}"))
        elif isinstance(event, Close):
            (self.statements if event.kind == "S" else self.portals).pop(event.name, None)
            self.send(CloseComplete())


def described(columns: Sequence[str]) -> Message:
    """The RowDescription of columns of text."""
    fields = [FieldDescription(name, 0, 0, TEXT, type_size=-1, type_modifier=-1) for name in columns]
    return RowDescription(fields) if fields else NoData()


async def main() -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
