"""The model server and the real PostgreSQL answer the same conversations alike, message for message.

What makes the simulation honest: types of messages, SQLSTATEs, transaction status, command tags, columns and
rows are compared.  The texts of errors and the numbers of processes are not.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import pytest

from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection, states
from pgproto.wire import CancelRequest, Message, Query, ReadyForQuery, StartupMessage, Terminate
from pgproto_pytest.process import wait_until
from tests.sim.conversations import BY_HAND, Step
from tests.sim.conversations_more import INTERRUPTED, TERMINATE, by_chance
from tests.sim.database import Database
from tests.sim.desk import Client, Desk, words
from tests.sim.postgres import Postmaster
from tests.sim.postgres_sql import SETUP
from tests.support.postgres import PostgresServer

# Which conversations are held by chance, from:to; more of them by command when the model has changed.
SEEDS = [int(part) for part in os.environ.get("PGPROTO_MODEL_SEEDS", "0:40").split(":")]
CLEAN = """
drop table if exists shape; create table shape (a int4); insert into shape values (1);
drop table if exists amounts; create table amounts (id int8 primary key, amount int8);
truncate ledger, deferred; alter sequence numbers restart;
"""


class Real:
    """A session with the real server, on a blocking socket with a deadline."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.connection = PGConnection(CLIENT)
        self.sock = socket.create_connection(address, 3)
        self.spare: list[str] = []
        self.send(StartupMessage({"user": "postgres", "database": "model"}))
        self.until(ReadyForQuery)

    def send(self, *messages: Message) -> None:
        self.sock.sendall(b"".join(self.connection.send(message) for message in messages))

    def _next(self) -> Message:
        while (event := self.connection.next_event()) is NEED_DATA:
            self.connection.receive_data(self.sock.recv(65536))
        return event

    def until(self, kind: type[Message]) -> list[str]:
        """Read up to a message of this kind, or the end."""
        heard: list[str] = []
        while True:
            event = self._next()
            heard += words(event)
            if isinstance(event, kind | Closed):
                return heard

    def take(self, count: int) -> list[str]:
        """Read so many words, and what came together with the last one."""
        while len(self.spare) < count:
            event = self._next()
            self.spare += words(event)
            if isinstance(event, Closed):
                break
        heard, self.spare = self.spare[:count], self.spare[count:]
        return heard

    def close(self) -> None:
        self.sock.close()


@pytest.fixture(scope="module")
def address(pg18: PostgresServer) -> Iterator[tuple[str, int]]:
    """A database with the tables of the model."""
    pg18.query("create database model")
    pg18.query(SETUP, dbname="model")
    parts = urlsplit(pg18.dsn())
    assert parts.hostname is not None
    assert parts.port is not None
    yield parts.hostname, parts.port
    pg18.query("drop database model (force)")


def interrupt(how: str, model: Client, server: Postmaster, real: Real, pg: PostgresServer) -> None:
    """A cancel request or pg_terminate_backend for both, once the real server is where the model is."""
    (session,) = server.sessions.values()
    key = real.connection.backend_key
    assert key is not None
    if session.busy and session.connection.head_state not in states.COPY_IN_STATES:
        asked = f"select 1 from pg_stat_activity where pid = {key.process_id} and wait_event = 'PgSleep'"
        wait_until(lambda: bool(pg.query(asked)), 10, "a running statement")
    if how == TERMINATE:
        server.terminate(session.pid)
        pg.query(f"select pg_terminate_backend({key.process_id})")
        return
    server.cancel_request(session.pid, session.key)
    with socket.create_connection(real.sock.getpeername(), 3) as sock:
        sock.sendall(CancelRequest(key.process_id, key.secret_key).encode())
        assert sock.recv(1) == b""


def compare(
    address: tuple[str, int],
    conversation: Sequence[Step | str],
    what: object,
    pg: PostgresServer | None = None,
) -> int:
    """Hold a conversation with both; how many messages were compared."""
    desk = Desk()
    server = desk.servers["postgres"] = Postmaster(desk, Database())
    model = Client(desk)
    real = Real(address)
    count = 0
    try:
        model.take()
        for number, step in enumerate(conversation):
            if isinstance(step, str):
                assert pg is not None
                interrupt(step, model, server, real, pg)
            else:
                model.send(*step)
                real.send(*step)
            desk.run(1.0)
            heard = model.take()
            try:
                expected = real.take(len(heard))
            except TimeoutError:
                expected = [*real.spare, "silence"]
            told = "\n".join(repr(message) for each in conversation[: number + 1] for message in each)
            assert heard == expected, f"{what}, step {number}:\n{told}\nmodel {heard}\nreal  {expected}"
            count += len(heard)
        if real.connection.closed is None:
            real.send(Terminate())
        assert (real.spare, real.sock.recv(1000)) == ([], b""), f"{what}: the real server had more to say"
    finally:
        real.close()
    return count


def clean(address: tuple[str, int]) -> None:
    cleaner = Real(address)
    cleaner.send(Query(CLEAN))
    assert "ReadyForQuery I" in cleaner.until(ReadyForQuery)
    cleaner.close()


@pytest.mark.parametrize("name", BY_HAND)
def test_conversations_by_hand(address: tuple[str, int], name: str) -> None:
    clean(address)
    assert compare(address, BY_HAND[name], name) > 3


@pytest.mark.parametrize("name", INTERRUPTED)
def test_interrupted_conversations(address: tuple[str, int], pg18: PostgresServer, name: str) -> None:
    clean(address)
    assert compare(address, INTERRUPTED[name], name, pg18) > 1


def test_conversations_by_chance(address: tuple[str, int]) -> None:
    count = 0
    for seed in range(*SEEDS):
        clean(address)
        count += compare(address, by_chance(seed), f"seed {seed}")
    assert count > 15 * len(range(*SEEDS))
