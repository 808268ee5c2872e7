"""The servers of `pgproto.testing`: scripts and the model, by their bytes and through a client."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConnectError, ConnectionLost, Outcome, QueryTimeout
from pgproto.protocol import CLIENT, NEED_DATA, Closed, PGConnection
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.protocol.verifier import ScramVerifier
from pgproto.session import GRACE
from pgproto.testing import (
    Answer,
    Deadlock,
    Faults,
    ModelServer,
    ModelSession,
    Peer,
    Script,
    ScriptedServer,
    ScriptError,
    Session,
    VirtualRuntime,
    copy_in,
    copy_out,
    error,
    error_fields,
    fails,
    fatal,
    ok,
    rows_of,
    table,
)
from pgproto.wire import (
    Bind,
    CancelRequest,
    Close,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    Message,
    Parse,
    Query,
    ReadyForQuery,
    StartupMessage,
    Sync,
    Terminate,
)

STARTUP = StartupMessage({"user": "app"})


class Client:
    """A client by hand: the client's role of the protocol, and a session of a server in memory."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.connection = PGConnection(CLIENT)

    def say(self, *messages: Message) -> list[str]:
        """Send messages; the types of what comes back."""
        self.session.receive(b"".join(self.connection.send(message) for message in messages))
        return self.hear()

    def hear(self) -> list[str]:
        if self.session.out:
            self.connection.receive_data(bytes(self.session.out))
            self.session.out.clear()
        names: list[str] = []
        while (event := self.connection.next_event()) is not NEED_DATA and not isinstance(event, Closed):
            names.append(type(event).__name__)
        return names


# ---- Scripts


def test_a_script_serves_a_client_by_hand() -> None:
    def script(peer: Peer) -> Script:
        startup = yield from peer.start()
        assert startup.parameters["user"] == "app"
        query = yield from peer.expect_one(Query)
        peer.send(CommandComplete(query.query), ReadyForQuery("I"))
        yield 1.5
        peer.raw(fatal(), b"rubbish")
        yield from peer.expect_end()

    with ScriptedServer(script) as server:
        peer = server.connect()
        client = Client(peer)
        assert client.say(STARTUP)[-1] == "ReadyForQuery"
        assert client.say(Query("hello")) == ["CommandComplete", "ReadyForQuery"]
        assert peer.pause == 1.5
        peer.receive(client.connection.send(Terminate()))  # it goes on after its pause
        assert not peer.out
        peer.go_on()
        assert peer.out.endswith(b"rubbish")
        assert peer.finished
        assert [type(message) for message in peer.heard] == [StartupMessage, Query, Terminate]
        with pytest.raises(ConnectionRefusedError):
            server.connect()


def test_what_a_script_expects_must_come() -> None:
    def first(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect(Parse, Sync)

    def one(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect_one(Parse)

    def end(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect_end()

    def startup(peer: Peer) -> Script:
        yield from peer.receive_startup()
        yield from peer.receive_startup()

    for script, text in (
        (first, "expected Parse Sync; got"),
        (one, "expected Parse; got"),
        (end, "expected the end"),
        (startup, "expected a StartupMessage"),
    ):
        server = ScriptedServer(script)
        peer = server.connect()
        client = Client(peer)
        client.connection.send(STARTUP)
        peer.receive(STARTUP.encode())
        peer.receive(Query("x").encode())
        assert peer.ended == "fin"
        peer.receive(b"")  # after its end it does nothing
        with pytest.raises(ScriptError, match=text):
            server.check()


def test_a_script_whose_client_goes_or_never_comes() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)

    server = ScriptedServer(script, script)
    peer = server.connect()
    peer.receive(STARTUP.encode())
    with pytest.raises(ScriptError, match="still waits"):
        server.check()
    peer.receive(b"")
    with pytest.raises(ScriptError, match="has gone before it sent Query"):
        server.check()
    server.failures.clear()
    with pytest.raises(ScriptError, match="1 connections have come, not 2"):
        server.check()


def test_an_error_of_the_test_has_the_scripts_as_a_note() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.expect_one(Query)

    for notes in ([], ["a script has failed: ScriptError("]):
        with pytest.raises(ValueError, match="mine") as caught, ScriptedServer(script) as server:
            if notes:
                server.connect().receive(STARTUP.encode())
            raise ValueError("mine")
        found = getattr(caught.value, "__notes__", [])
        assert [note[:33] for note in found] == notes


def test_a_script_may_break_off_and_not_be_ready() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start(ready=False)
        peer.hang_up()
        peer.reset()
        peer.hang_up()

    with ScriptedServer(script) as server:
        runtime = VirtualRuntime(server)

        async def main() -> None:
            with pytest.raises(ConnectError, match="Connection reset by peer"):
                await runtime.connect(sslmode="disable")

        runtime.run(main)


def test_a_cancel_request_is_no_connection() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect_one(Query)
        yield 10.0
        peer.send(error("57014", "canceled"), ReadyForQuery("I"))
        yield from peer.expect_end()

    with ScriptedServer(script) as server:
        runtime = VirtualRuntime(server)

        async def main() -> None:
            async with runtime.connect() as conn:
                with pytest.raises(QueryTimeout):
                    await conn.script("x", timeout=10.0 - GRACE / 2)

        runtime.run(main)
        assert set(server.cancels) == {CancelRequest(1000, (1000).to_bytes(4, "big"))}
        assert len(server.peers) == 1


# ---- The model, by hand


def started(script: dict[str, Answer]) -> tuple[ModelSession, Client]:
    session = ModelServer(script).connect()
    client = Client(session)
    assert client.say(STARTUP)[-1] == "ReadyForQuery"
    return session, client


def extended(sql: str) -> list[Message]:
    return [Parse("", sql), Bind("", "", (), (), ()), Describe("P", ""), Execute(""), Sync()]


def test_the_model_answers_extended_queries() -> None:
    _, client = started({"select 1": rows_of(1), "insert": ok()})
    assert client.say(*extended("select 1")) == [
        "ParseComplete",
        "BindComplete",
        "RowDescription",
        "DataRows",
        "CommandComplete",
        "ReadyForQuery",
    ]
    assert client.say(*extended("insert"))[2:] == ["NoData", "CommandComplete", "ReadyForQuery"]
    assert client.say(Parse("a", "insert"), Close("S", "a"), Sync())[1] == "CloseComplete"
    assert client.say(Flush()) == []
    assert client.say(Query("")) == ["EmptyQueryResponse", "ReadyForQuery"]


@pytest.mark.parametrize("where", ["parse", "bind", "describe", "execute", "sync"])
def test_the_model_fails_where_it_is_told_to(where: str) -> None:
    session, client = started({"x": Answer("INSERT 0 1", error=error_fields("22012"), fails=where)})
    names = client.say(*extended("x"))
    assert names.count("ErrorResponse") == 1
    assert names[-1] == "ReadyForQuery"
    assert session.committed == []


def test_the_model_knows_its_statements() -> None:
    session, client = started({"select 1": rows_of(1)})
    assert "ErrorResponse" in client.say(Bind("", "nobody", (), (), ()), Sync())
    assert "ErrorResponse" in client.say(Describe("S", "nobody"), Sync())
    client.say(Parse("a", "select 1"), Sync())
    assert "ErrorResponse" in client.say(Parse("a", "select 1"), Sync())
    session.change_tables()
    assert "ErrorResponse" in client.say(Bind("", "a", (), (), ()), Sync())
    session.forget_statements()
    session.take_name("b")
    assert "ErrorResponse" in client.say(Parse("b", "select 1"), Sync())
    assert "ErrorResponse" in client.say(
        Parse("", "select 1"), Bind("", "", (), (), (1, 1)), Execute(""), Sync()
    )
    assert "ErrorResponse" in client.say(
        Parse("", "select 1"), Bind("", "", (), (), ()), Execute("p"), Sync()
    )


def test_the_model_copies() -> None:
    session, client = started({"in": copy_in(), "out": copy_out(b"a", b"b"), "insert": ok()})
    assert client.say(Query("out")) == [
        "CopyOutResponse",
        "CopyData",
        "CopyData",
        "CopyDone",
        "CommandComplete",
        "ReadyForQuery",
    ]
    assert client.say(Query("in; insert")) == ["CopyInResponse"]
    assert client.say(CopyData(b"x"), CopyDone()) == ["CommandComplete", "CommandComplete", "ReadyForQuery"]
    assert session.copied == [b"x"]
    assert session.committed == ["out", "in", "insert"]
    client.say(Query("in; insert"))
    assert client.say(CopyFail("no")) == ["ErrorResponse", "ReadyForQuery"]
    assert session.committed == ["out", "in", "insert"]


def test_the_model_keeps_transactions() -> None:
    session, client = started(
        {"a": ok(), "b": ok(), "bad": fails("22012"), "prepare": ok("PREPARE TRANSACTION")}
    )
    client.say(Query("BEGIN"))
    client.say(Query("a"))
    client.say(Query("SAVEPOINT s"))
    client.say(Query("b; bad"))
    assert "ErrorResponse" in client.say(Query("a"))  # in a transaction that has failed
    client.say(Query("ROLLBACK TO s"))
    client.say(Query("RELEASE s"))
    client.say(Query("COMMIT"))
    assert session.committed == ["a"]
    client.say(Query("BEGIN"))
    client.say(Query("bad"))
    client.say(Query("COMMIT"))
    assert session.committed == ["a"]
    client.say(Query("BEGIN; b"))
    client.say(Query("prepare"))
    assert session.status == "I"
    client.say(Query("a; bad"))
    client.say(Query("BEGIN; b; COMMIT and chain"))
    assert session.status == "T"
    client.say(Query("ROLLBACK"))
    assert session.committed == ["a", "b"]


def test_a_commit_of_the_model_that_fails_has_rolled_back() -> None:
    session, client = started({"a": ok(), "COMMIT": Answer("COMMIT", error=error_fields("40001"))})
    client.say(Query("BEGIN"))
    client.say(Query("a"))
    assert "ErrorResponse" in client.say(Query("COMMIT"))
    assert (session.status, session.committed) == ("I", [])


def test_the_model_listens() -> None:
    server = ModelServer({})
    session = server.connect()
    client = Client(session)
    client.say(STARTUP)
    for sql, channels in (
        ('LISTEN "a""b"; LISTEN Jobs; listen other', {'a"b', "jobs", "other"}),
        ("UNLISTEN other", {'a"b', "jobs"}),
    ):
        client.say(Query(sql))
        assert session.listening == channels
    server.notify("nobody")
    server.notify("jobs", "x")
    assert client.hear() == ["NotificationResponse"]
    client.say(Query("UNLISTEN *"))
    assert session.listening == set()
    client.say(Query("LISTEN a"))
    client.say(Query("DISCARD ALL"))
    assert session.listening == set()


@pytest.mark.parametrize("simple", [True, False])
def test_a_statement_of_the_model_takes_its_time(simple: bool) -> None:
    server = ModelServer({"slow": rows_of(1, delay=5.0), "insert": ok()})
    session = server.connect()
    client = Client(session)
    client.say(STARTUP)
    messages = [Query("slow; insert")] if simple else [*extended("slow"), *extended("insert")]
    assert "ReadyForQuery" not in client.say(*messages)
    assert session.pause == 5.0
    session.go_on()
    assert client.hear()[-1] == "ReadyForQuery"
    client.say(*messages)
    other = server.connect(to_cancel=True)
    other.receive(CancelRequest(session.key.process_id, session.key.secret_key).encode())
    other = server.connect(to_cancel=True)
    other.receive(CancelRequest(1, session.key.secret_key).encode())
    assert other.ended == "fin"
    assert "ErrorResponse" in client.hear()
    assert server.committed == (["slow", "insert"] * 1 if simple else ["slow", "insert", "insert"])
    session.cancel()  # it runs nothing


def test_the_model_dies_at_a_message() -> None:
    session, client = started({"select 1": rows_of(1), "slow": rows_of(1, delay=1.0)})
    session.die_after(2, fatal().encode())
    assert client.say(*extended("select 1"))[:2] == ["ParseComplete", "BindComplete"]
    assert session.dead
    assert session.ended == "fin"
    session.notify("jobs")
    session, client = started({"slow": rows_of(1, delay=1.0)})
    client.say(Query("slow"))
    session.die_after(0)
    session.go_on()
    assert session.dead


def test_the_model_asks_for_a_password() -> None:
    def on_session(session: ModelSession) -> None:
        session.authenticator = authenticator()

    runtime = VirtualRuntime(ModelServer({"select 1": rows_of(1)}, on_session))

    async def main() -> None:
        async with runtime.connect(password="secret") as conn:
            assert await conn.fetchval("select 1") == 1
        with pytest.raises(ConnectError):
            await runtime.connect(password="wrong")

    runtime.run(main)


def authenticator() -> ServerAuthenticator:
    return ServerAuthenticator(
        method="scram-sha-256",
        user="tester",
        secret=ScramVerifier.from_password("secret", b"salt" * 4, 150_000).format(),
        random=bytes(range(36)),
        mock_secret=bytes(16),
    )


def test_values_of_a_table_in_both_formats() -> None:
    answer = table(
        {"a": 23, "b": 16, "c": 17, "d": 999_999}, [(7, True, b"\1", "x"), (None, False, None, None)]
    )
    assert answer.rows == [[b"\0\0\0\7", b"\1", b"\1", b"x"], [None, b"\0", None, None]]
    assert answer.texts == [[b"7", b"t", b"\\x01", b"x"], [None, b"f", None, None]]
    with pytest.raises(ValueError, match="zip"):
        table({"a": 23}, [(1, 2)])


def test_silence_is_ended_by_go_on() -> None:
    session, client = started({"select 1": rows_of(1)})
    session.silent = True
    assert client.say(Query("select 1")) == []
    session.go_on()
    assert client.hear()[-1] == "ReadyForQuery"


# ---- Faults


def in_time(server: ModelServer | ScriptedServer, faults: Faults, work: Any) -> None:
    runtime = VirtualRuntime(server, [faults])

    async def main() -> None:
        conn = await runtime.connect()
        try:
            await work(runtime, conn)
        finally:
            await conn.close()

    runtime.run(main)


def test_a_cut_before_the_server_has_heard_it() -> None:
    server = ModelServer({"insert": ok(), "x" * 5000: ok()})

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        with pytest.raises(ConnectionLost) as caught:
            for _ in range(5):
                await conn.script("x" * 5000)
        assert caught.value.outcome is Outcome.UNKNOWN

    in_time(server, Faults(cut_before=12_000), work)
    assert server.committed == ["x" * 5000] * 2
    assert server.sessions[0].ended == "fin"


def test_a_cut_while_much_is_on_its_way() -> None:
    server = ModelServer({"insert": ok()})

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        await conn.execute("insert")
        tasks = [runtime.spawn(conn.execute, "insert") for _ in range(5)]
        for task in tasks:
            await task.ended.wait()
            if task.error is not None:
                assert isinstance(task.error, ConnectionLost)
                outcomes.append(task.error.outcome)

    outcomes: list[Outcome | None] = []
    in_time(server, Faults(cut_before=300), work)
    assert set(outcomes) == {Outcome.UNKNOWN}
    assert len(server.committed) + len(outcomes) == 6


def test_a_cut_in_the_last_words() -> None:
    def on_session(session: ModelSession) -> None:
        session.die_after(12, fatal().encode())

    server = ModelServer({"insert": ok()}, on_session)

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        with pytest.raises(ConnectionLost, match="reset by peer"):
            await conn.script("insert; insert; insert; insert")
        assert conn.link.descriptor == -1

    heard = server.connect()
    heard.receive(STARTUP.encode())
    in_time(server, Faults(cut_after=len(heard.out) + 70), work)


def test_a_server_that_is_unplugged_says_nothing_more() -> None:
    server = ModelServer({"insert": ok()})
    before = server.connect()
    before.receive(STARTUP.encode())
    before.receive(b"")

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        begin = runtime.now()
        with pytest.raises(QueryTimeout) as caught:
            await conn.script("insert", timeout=2.0)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert runtime.now() - begin == pytest.approx(2.0 + GRACE)

    in_time(server, Faults(unplugged_after=len(before.out) + 3), work)
    assert server.committed == ["insert"]


def test_who_writes_to_a_connection_that_has_failed_reads_the_last_words() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect_one(Query)
        peer.raw(fatal("57P01", "going down"))
        peer.reset()

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        with pytest.raises(ConnectionLost, match="going down"):
            await conn.copy_in("copy", [b"x" * 100_000])

    with ScriptedServer(script) as server:
        in_time(server, Faults(window=100), work)


def test_a_notification_of_a_connection_that_is_cut() -> None:
    server = ModelServer({"insert": ok()})

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        async with conn.listen("jobs") as notifications:
            server.notify("jobs", "x" * 1000)
            server.notify("jobs", "y" * 1000)
            await runtime.sleep(1)
            assert conn.closed
            assert (await anext(notifications)).payload[0] == "x"

    in_time(server, Faults(cut_after=1700), work)
    assert server.committed == []


# ---- The runtime


def test_what_runs_is_known() -> None:
    runtime = VirtualRuntime(ModelServer({}))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="it runs already"):
            runtime.run(main)
        task = runtime.task()
        assert task is not None
        assert runtime.is_over(task) is False
        assert runtime.is_over("no task") is False
        home = runtime.home()
        assert home is not None
        assert runtime.is_gone(home) is False
        assert repr(task) == "<Task test_what_runs_is_known.<locals>.main>"
        assert repr(runtime.spawn(main)) == "<Task that has not begun>"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)
    assert runtime.task() is None
    assert runtime.home() is None
    with pytest.raises(RuntimeError, match="nothing runs"):
        runtime.event()


def test_a_stream_that_is_dropped_after_its_run() -> None:
    runtime = VirtualRuntime(ModelServer({"many": rows_of(*range(20_000))}))
    kept: list[Any] = []

    async def main() -> None:
        conn = await runtime.connect()
        rows = conn.stream("many")
        await anext(rows)
        kept.extend([conn, rows])

    runtime.run(main)
    conn, _ = kept
    kept.clear()
    del _
    assert not conn.closed
    with pytest.warns(ResourceWarning, match="unclosed"):
        del conn


def test_a_task_of_a_pool_that_fails_is_reported() -> None:
    runtime = VirtualRuntime(ModelServer({}))

    async def fail() -> None:
        raise ValueError("mine")

    async def main() -> None:
        tasks = runtime.tasks()
        tasks.spawn(fail)
        await tasks.wait()

    runtime.run(main)
    assert [(name, str(each)) for name, each in runtime.reports] == [("a task of the pool", "mine")]


def test_a_client_that_waits_for_ever_is_a_deadlock() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Terminate)

    runtime = VirtualRuntime(ScriptedServer(script))

    async def main() -> None:
        async with runtime.connect() as conn:
            await conn.fetch("select 1", timeout=None)

    with pytest.raises(Deadlock, match="waits for ever"):
        runtime.run(main)
