"""The model pooler: what its clients see, against the real pgbouncer where one is installed.

Every case is a short script that runs on the model and on the real software, and what was heard is compared.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

import pytest

from pgproto import PostgresError
from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection
from pgproto.wire import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    Bind,
    Close,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    Message,
    Parse,
    Query,
    StartupMessage,
    Sync,
    Terminate,
)
from pgproto_pytest.process import wait_until
from tests.sim.database import Database
from tests.sim.desk import Client, Desk, words
from tests.sim.pooler import Pooler
from tests.sim.postgres import Postmaster
from tests.support.pgbouncer import PgBouncer, PgBouncerFactory
from tests.support.postgres import PostgresServer

START = StartupMessage({"user": "postgres", "database": "postgres"}, PROTOCOL_3_0)
HANG_UP = "the end"


class Peer(Protocol):
    """A client of either pooler."""

    def send(self, *messages: Message) -> None:
        """Send messages."""

    def until(self, word: str) -> list[str]:
        """What is heard up to a word."""


class Stage(Protocol):
    """A pooler with a server behind it, real or not."""

    def client(self, start: Message = START) -> Peer:
        """A client that has sent its StartupMessage."""

    def running(self, sql: str) -> None:
        """Return when the server runs a statement."""

    def terminate_all(self) -> None:
        """pg_terminate_backend for every session."""

    def admin(self, command: str) -> None:
        """A command of the admin console."""


def last_words(connection: PGConnection) -> list[str]:
    """What came behind the first FATAL, and the end."""
    closed = connection.closed
    assert closed is not None
    errors = [error for error in closed.also if isinstance(error, PostgresError)]
    return [*[f"{error.severity} {error.sqlstate}" for error in errors], HANG_UP]


class ModelPeer:
    def __init__(self, desk: Desk, start: Message) -> None:
        self.client = Client(desk, "pooler", start)
        self.desk = desk
        self.heard: list[str] = []

    def send(self, *messages: Message) -> None:
        self.client.send(*messages)

    def until(self, word: str) -> list[str]:
        self.desk.run(5)
        assert self.client.connection.closed is None or self.client.eof_seen, "nobody hung up"
        self.heard += [heard for heard in self.client.take() if heard != "Closed"]
        if self.client.eof_seen and HANG_UP not in self.heard:
            self.heard += last_words(self.client.connection)
        assert word in self.heard, self.heard
        cut = self.heard.index(word) + 1
        found, self.heard = self.heard[:cut], self.heard[cut:]
        return found


class ModelStage:
    def __init__(self, mode: str, **settings: float) -> None:
        self.desk = Desk()
        self.server = Postmaster(self.desk, Database())
        size, limit = int(settings.pop("size", 20)), int(settings.pop("max_prepared", 0))
        self.pooler = Pooler(self.desk, "postgres", mode=mode, size=size, max_prepared=limit)
        for name, value in settings.items():
            setattr(self.pooler, name, value)
        self.desk.servers = {"postgres": self.server, "pooler": self.pooler}

    def client(self, start: Message = START) -> Peer:
        return ModelPeer(self.desk, start)

    def running(self, sql: str) -> None:
        self.desk.run(0.01)
        assert any(session.busy for session in self.server.sessions.values())

    def terminate_all(self) -> None:
        for pid in list(self.server.sessions):
            self.server.terminate(pid)

    def admin(self, command: str) -> None:
        {"kill postgres": self.pooler.kill_database}[command]()


class RealPeer:
    def __init__(self, bouncer: PgBouncer, start: Message) -> None:
        self.connection = PGConnection(CLIENT)
        self.sock = socket.create_connection((bouncer.host, bouncer.port), 5)
        self.heard: list[str] = []
        self.send(start)

    def send(self, *messages: Message) -> None:
        self.sock.sendall(b"".join(self.connection.send(message) for message in messages))

    def until(self, word: str) -> list[str]:
        while word not in self.heard:
            event = self.connection.next_event()
            if event is NEED_DATA:
                self.connection.receive_data(self.sock.recv(65536))
                continue
            if isinstance(event, Closed):
                while data := self.sock.recv(65536):
                    self.connection.receive_data(data)
                self.heard += last_words(self.connection)
                continue
            self.heard += words(event)
        cut = self.heard.index(word) + 1
        found, self.heard = self.heard[:cut], self.heard[cut:]
        return found


class RealStage:
    def __init__(self, bouncer: PgBouncer, server: PostgresServer) -> None:
        self.bouncer = bouncer
        self.server = server
        self.peers: list[RealPeer] = []

    def client(self, start: Message = START) -> Peer:
        self.peers.append(RealPeer(self.bouncer, start))
        return self.peers[-1]

    def close(self) -> None:
        for peer in self.peers:
            peer.sock.close()

    def running(self, sql: str) -> None:
        asked = f"select 1 from pg_stat_activity where state = 'active' and query = '{sql}'"
        wait_until(lambda: bool(self.server.query(asked)), 10, "a running statement")

    def terminate_all(self) -> None:
        self.server.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
            "and backend_type = 'client backend'"
        )

    def admin(self, command: str) -> None:
        self.bouncer.admin(command)


Heard = list[list[str]]


def log_in(stage: Stage) -> Peer:
    peer = stage.client()
    peer.until("ReadyForQuery I")
    return peer


def server_goes(stage: Stage) -> Heard:
    """The two FATALs that this library is about: the server's own, and the pooler's."""
    peer = log_in(stage)
    peer.send(Query("select pg_sleep(60)"))
    stage.running("select pg_sleep(60)")
    stage.terminate_all()
    return [peer.until(HANG_UP)]


def kill(stage: Stage) -> Heard:
    peer = log_in(stage)
    peer.send(Query("select 1"))
    first = peer.until("ReadyForQuery I")
    stage.admin("kill postgres")
    return [first, peer.until(HANG_UP)]


def new_protocol(stage: Stage) -> Heard:
    peer = stage.client(StartupMessage({"user": "postgres", "database": "postgres"}, PROTOCOL_3_2))
    return [peer.until(HANG_UP)]


def strange_parameter(stage: Stage) -> Heard:
    start = {"user": "postgres", "database": "postgres", "work_mem": "1MB"}
    return [stage.client(StartupMessage(start, PROTOCOL_3_0)).until(HANG_UP)]


def wait_timeout(stage: Stage) -> Heard:
    """One server connection, and somebody else has it."""
    first, second = log_in(stage), log_in(stage)
    first.send(Query("begin"))
    heard = first.until("ReadyForQuery T")
    second.send(Query("select 1"))
    return [heard, second.until(HANG_UP)]


def idle_in_transaction(stage: Stage) -> Heard:
    peer = log_in(stage)
    peer.send(Query("begin"))
    return [peer.until("ReadyForQuery T"), peer.until(HANG_UP)]


def switches(stage: Stage) -> Heard:
    """Transaction mode: a named statement stays with the server, which the next transaction does not get."""
    first, second = log_in(stage), log_in(stage)
    first.send(Parse("s", "select 1"), Sync())
    heard = [first.until("ReadyForQuery I")]
    second.send(Query("begin"))
    heard.append(second.until("ReadyForQuery T"))
    first.send(Bind("", "s", (), (), ()), Execute(), Sync())
    heard.append(first.until("ReadyForQuery I"))
    second.send(Query("commit"))
    heard.append(second.until("ReadyForQuery I"))
    second.send(Parse("s", "select 1"), Sync(), Query("begin"), Query("commit"))
    heard.append(second.until("ReadyForQuery T"))
    heard.append(second.until("ReadyForQuery I"))
    return heard


def session_is_reset(stage: Stage) -> Heard:
    peer = log_in(stage)
    peer.send(Parse("s", "select 1"), Sync())
    heard = [peer.until("ReadyForQuery I")]
    peer.send(Terminate())
    peer = log_in(stage)
    peer.send(Bind("", "s", (), (), ()), Execute(), Sync())
    return [*heard, peer.until("ReadyForQuery I")]


def copy_without_data(stage: Stage) -> Heard:
    """The Sync that comes before CopyFail is never answered; the one server is free again all the same."""
    first, second = log_in(stage), log_in(stage)
    first.send(Parse("", "copy ledger from stdin"), Bind("", "", (), (), ()), Execute(), Sync())
    heard = [first.until("CopyInResponse 0 (0,)")]
    first.send(CopyFail("there is none"), Sync())
    heard.append(first.until("ReadyForQuery I"))
    second.send(Query("select 1"))
    heard.append(second.until("ReadyForQuery I"))
    first.send(Query("begin"))
    heard.append(first.until("ReadyForQuery T"))
    first.send(Query("commit"))
    return [*heard, first.until("ReadyForQuery I")]


CASES: dict[str, tuple[Callable[[Stage], Heard], str, dict[str, str], dict[str, float]]] = {
    "server goes": (server_goes, "session", {}, {}),
    "server goes, transaction mode": (server_goes, "transaction", {}, {}),
    "KILL": (kill, "session", {}, {}),
    "protocol 3.2": (new_protocol, "session", {}, {}),
    "strange parameter": (strange_parameter, "session", {}, {}),
    "query_wait_timeout": (
        wait_timeout,
        "transaction",
        {"query_wait_timeout": "1", "default_pool_size": "1"},
        {"wait_timeout": 1, "size": 1},
    ),
    "idle_transaction_timeout": (
        idle_in_transaction,
        "transaction",
        {"idle_transaction_timeout": "1"},
        {"idle_transaction": 1},
    ),
    "switching servers": (switches, "transaction", {"default_pool_size": "2"}, {"size": 2}),
    "COPY without data": (copy_without_data, "transaction", {"default_pool_size": "1"}, {"size": 1}),
    "reset": (session_is_reset, "session", {"default_pool_size": "1"}, {"size": 1}),
}


NAMES = [Parse("", "select name from pg_prepared_statements"), Bind("", "", (), (), ()), Execute(), Sync()]


def run_it(name: str, *values: bytes) -> list[Message]:
    return [Bind("", name, (), values, ()), Execute()]


def two_servers(stage: Stage) -> tuple[Peer, Peer]:
    """Two clients; the second one has a server for itself."""
    first, second = log_in(stage), log_in(stage)
    first.send(Query("select 1"))
    first.until("ReadyForQuery I")
    second.send(Query("begin"))
    second.until("ReadyForQuery T")
    return first, second


def says(peer: Peer, *messages: Message, status: str = "I") -> list[str]:
    peer.send(*messages)
    heard = peer.until(f"ReadyForQuery {status}")
    rows = iter(sorted(word for word in heard if "PGBOUNCER_" in word))  # they come in no order
    return [next(rows) if "PGBOUNCER_" in word else word for word in heard]


def follows(stage: Stage) -> Heard:
    """A name is known on every server; one text has one name."""
    first, second = two_servers(stage)
    heard = [
        says(first, Parse("s", "select 7"), Describe("S", "s"), *run_it("s"), Sync()),
        says(second, Parse("t", "select 7"), Parse("u", "select 8", (23,)), Sync(), status="T"),
        says(second, *run_it("t"), *NAMES, status="T"),
        says(first, Query("begin"), status="T"),
        says(second, Query("commit")),
    ]
    heard += [says(second, *run_it("t"), *run_it("u"), *NAMES), says(first, *run_it("s"), *NAMES, status="T")]
    return [*heard, says(first, Parse("", "select 9"), *run_it(""), *NAMES, status="T")]


def evicts(stage: Stage) -> Heard:
    """The least recently used one goes, and comes back by itself."""
    first, _ = two_servers(stage)
    return [
        says(first, Parse("a", "select 1"), Sync()),
        says(first, Parse("b", "select 2"), Sync()),
        says(first, *run_it("a"), Sync()),
        says(first, Parse("c", "select 3"), Describe("S", "c"), *run_it("c"), *NAMES),
        says(first, *run_it("b"), *NAMES),
        says(first, Describe("S", "a"), *run_it("a"), Close("S", "a"), *run_it("c"), *NAMES),
    ]


def closes(stage: Stage) -> Heard:
    """Close is the pooler's: the server keeps the statement."""
    first, _ = two_servers(stage)
    heard = [
        says(first, Parse("a", "select 1"), Close("S", "a"), Parse("a", "select 2"), *run_it("a"), Sync()),
        says(first, *NAMES),
        says(first, Close("S", "a"), Close("S", "never"), *NAMES),
        says(first, Parse("b", "select 1"), Parse("c", "select 2"), Describe("S", "c"), *run_it("b"), *NAMES),
        says(first, Close("S", "b"), Close("P", ""), Close("S", ""), Sync()),
    ]
    first.send(*run_it("b"), Sync())
    return [*heard, first.until(HANG_UP)]


def prepares_twice(stage: Stage) -> Heard:
    first, _ = two_servers(stage)
    heard = says(first, Parse("a", "select 1"), Sync())
    first.send(Parse("a", "select 1"), Sync())
    return [heard, first.until(HANG_UP)]


def fails_to_parse(stage: Stage) -> Heard:
    """What a server has refused or skipped is prepared anew where it is used."""
    first, _ = two_servers(stage)
    heard = [
        says(first, Parse("a", "selec"), Parse("b", "select 2"), Close("S", "x"), *run_it("b"), Sync()),
        says(first, *NAMES),
        says(first, *run_it("b"), *NAMES),
        says(first, *run_it("a"), Sync()),
        says(first, Close("S", "a"), Parse("a", "select 1"), *run_it("a"), *NAMES),
        says(first, Parse("", "select 1/0"), *run_it(""), Parse("c", "select 3"), Close("S", "b"), Sync()),
    ]
    return [*heard, says(first, *run_it("c"), *NAMES)]


def forgets(stage: Stage) -> Heard:
    first, _ = two_servers(stage)
    heard = [
        says(first, Parse("a", "select 1"), Parse("b", "select 2"), *NAMES),
        says(first, Query("deallocate all")),
        says(first, *NAMES),
        says(first, Parse("a", "select 2"), *run_it("a"), *NAMES),
        says(first, Parse("", "discard all"), *run_it(""), Sync()),
        says(first, *NAMES),
    ]
    first.send(*run_it("a"), Sync())
    return [*heard, first.until(HANG_UP)]


def migrates(stage: Stage) -> Heard:
    """A column changes its type: each server has what it has parsed, and a client may meet any of them."""
    first, second = two_servers(stage)
    texts = "insert into amounts values ($1, $2)", "select id, amount from amounts where id = $1"
    prepare = [
        message
        for name, text in zip("is", texts, strict=True)
        for message in (Parse(name, text), Describe("S", name))
    ]
    retype = "alter table amounts alter column amount type float8 using amount::float8"
    heard = [
        says(first, *prepare, Sync()),
        says(first, *run_it("i", b"1", b"5"), *run_it("s", b"1"), Sync()),
        says(first, Query(retype)),
        says(first, *run_it("i", b"2", b"6"), Sync()),
        says(first, *run_it("s", b"2"), Sync()),
        says(first, Describe("S", "i"), Describe("S", "s"), Sync()),
        says(first, Close("S", "s"), Parse("s", texts[1]), Describe("S", "s"), Sync()),
        says(first, Query("begin"), status="T"),
        says(second, Query("commit")),
        says(second, *prepare, *run_it("i", b"3", b"2.5"), *run_it("s", b"3"), Sync()),
        says(second, Query("begin"), status="T"),
        says(first, Query("rollback")),
    ]
    return [*heard, says(first, *run_it("s", b"3"), Sync())]


def copies(stage: Stage) -> Heard:
    """The Sync that is never answered; and named statements after a COPY."""
    first, _ = two_servers(stage)
    first.send(Parse("a", "copy ledger from stdin"), *run_it("a"), Sync())
    heard = [first.until("CopyInResponse 0 (0,)"), says(first, CopyFail("no"), Sync())]
    first.send(*run_it("a"), Flush())
    heard += [first.until("CopyInResponse 0 (0,)")]
    heard += [says(first, CopyDone(), Parse("b", "select 1"), *run_it("b"), Sync())]
    return [*heard, says(first, *run_it("b"), *NAMES)]


def negotiates(stage: Stage) -> Heard:
    peer = stage.client(StartupMessage({"user": "postgres", "database": "postgres"}, PROTOCOL_3_2))
    heard = peer.until("ReadyForQuery I")
    return [[word for word in heard if "ParameterStatus" not in word], says(peer, Query("select 1"))]


FOLLOWING: dict[str, Callable[[Stage], Heard]] = {
    "named statements": follows,
    "evicting": evicts,
    "closing": closes,
    "a name twice": prepares_twice,
    "failing": fails_to_parse,
    "forgetting": forgets,
    "a column changes its type": migrates,
    "COPY": copies,
    "protocol 3.2": negotiates,
    "server goes": server_goes,
    "KILL": kill,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWING)
def test_the_model_follows_statements_as_pgbouncer_does(
    pg18: PostgresServer, pgbouncer_factory: PgBouncerFactory, name: str
) -> None:
    case = FOLLOWING[name]
    pg18.query("drop table if exists ledger, amounts")
    pg18.query("create table ledger (id int8 primary key)")
    pg18.query("create table amounts (id int8 primary key, amount int8)")
    settings = {"max_prepared_statements": "2", "default_pool_size": "2"}
    bouncer = pgbouncer_factory(pg18, "transaction", version="1.24", settings=settings)
    heard = case(ModelStage("transaction", size=2, max_prepared=2))
    stage = RealStage(bouncer, pg18)
    try:
        assert heard == case(stage)
    finally:
        stage.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_model_says_what_pgbouncer_says(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, name: str
) -> None:
    case, mode, settings, model_settings = CASES[name]
    pg15.query("create table if not exists ledger (id int8 primary key)")
    bouncer = pgbouncer_factory(pg15, "session" if mode == "session" else "transaction", settings=settings)
    heard = case(ModelStage(mode, **model_settings))
    stage = RealStage(bouncer, pg15)
    try:
        assert heard == case(stage)
    finally:
        stage.close()


def test_an_old_pooler_says_error() -> None:
    stage = ModelStage("session", old=True)
    (heard,) = server_goes(stage)
    assert heard[-3:] == ["FATAL 57P01", "ERROR 08P01", HANG_UP]


def test_both_last_words_come_in_one_write() -> None:
    stage = ModelStage("session")
    peer = log_in(stage)
    assert isinstance(peer, ModelPeer)
    peer.send(Query("select pg_sleep(60)"))
    writes: list[bytes] = []
    (client,) = stage.pooler.clients
    write = client.write

    def spy(data: bytes) -> None:
        writes.append(data)
        write(data)

    setattr(client, "write", spy)  # noqa: B010 - mypy refuses the plain form
    stage.terminate_all()
    peer.until(HANG_UP)
    assert [data.count(b"SFATAL") for data in writes] == [2]
