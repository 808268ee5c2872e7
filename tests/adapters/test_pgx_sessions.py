"""The scripts M3, M4, M6 and M8 to M12 of pgx's history, on all adapters: what a session survives.

The promise is the same as in `test_pgx_scripts`; here the server goes away while the session is idle, answers
while nobody reads, interrupts itself with notices, or says what no server may say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pgproto
from pgproto import Batch, ConnectionLost, Outcome, PostgresError
from pgproto.wire import (
    AuthenticationOk,
    BackendKeyData,
    Bind,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    Describe,
    EmptyQueryResponse,
    Execute,
    FieldDescription,
    Message,
    NegotiateProtocolVersion,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    Parse,
    ParseComplete,
    PortalSuspended,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from pgproto_pytest import Driver
from tests.adapters.scripts import BOTH, DESCRIBED, OLD_POOLER, ONE, ONE_SLOT, prepared
from tests.support.healthy import Health
from tests.support.scripted import Peer, ScriptedServer, column, encoded, error, fatal

NOT_COMMITTED, UNKNOWN = Outcome.NOT_COMMITTED, Outcome.UNKNOWN


def chain(problem: BaseException | None) -> list[str]:
    """The SQLSTATEs of the server's errors that an error leads to: by cause first, then `.also`."""
    if problem is None:
        return []
    own = [problem.sqlstate] if isinstance(problem, PostgresError) else []
    behind = [each.sqlstate for each in getattr(problem, "also", ()) if isinstance(each, PostgresError)]
    return own + chain(problem.__cause__) + behind


def one_answered(peer: Peer) -> None:
    """Serve the start-up and one cold `select 1`."""
    peer.start()
    prepared(peer)
    peer.expect(Bind, Execute, Sync)
    peer.send(*ONE, ReadyForQuery("I"))


@pytest.mark.parametrize("last", [BOTH, (fatal(),), (OLD_POOLER,)], ids=["both", "one", "old pooler"])
@pytest.mark.parametrize("end", ["fin", "reset"])
def test_m4_fatal_while_idle(driver: Driver, last: tuple[Message, ...], end: str) -> None:
    """M3 and M4: the next operation reports the server's words, not EPIPE; nothing of it was executed."""

    def script(peer: Peer) -> None:
        one_answered(peer)
        peer.server.wait_for("idle")
        peer.raw(*last)
        if end == "fin":
            peer.sock.shutdown(1)
        peer.server.signal("gone").set()
        if end == "fin":
            peer.keep_open()
        else:
            peer.server.wait_for("asked")
            peer.reset()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                assert await conn.fetchval("select 1") == 1
                server.signal("idle").set()
                await pg.in_thread(lambda: server.wait_for("gone"))
                with pytest.raises((pgproto.ConnectionClosed, ConnectionLost)) as caught:
                    await conn.fetchval("select 2")
                server.signal("asked").set()
                assert chain(caught.value)[: len(last)] == [each.fields["C"] for each in last]  # type: ignore[attr-defined]
                assert caught.value.outcome is Outcome.NOT_SENT
                await conn.close()
                await conn.close()
                with pytest.raises(pgproto.ConnectionClosed) as again:
                    await conn.fetchval("select 3")
                assert chain(again.value)[:1] == chain(caught.value)[:1]

        driver.run(scenario)


@pytest.mark.parametrize("last", [(*BOTH,), (OLD_POOLER,), (ReadyForQuery("I"),), ()], ids=str)
def test_m4_a_dead_idle_connection_is_not_lent(driver: Driver, last: tuple[Message, ...]) -> None:
    """The pool sees without a round trip that an idle connection is readable, and opens another one."""

    def script(peer: Peer) -> None:
        one_answered(peer)
        peer.server.wait_for("idle")
        peer.raw(*last)
        peer.sock.shutdown(1)
        peer.server.signal("gone").set()
        peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                assert await pool.fetchval("select 1") == 1
                server.signal("idle").set()
                await pg.in_thread(lambda: server.wait_for("gone"))
                assert await pool.fetchval("select 2") == 2
                assert pool.stats().size == 1

        driver.run(scenario)
        assert len(server.peers) == 2


def test_m6_an_error_among_queued_segments(driver: Driver) -> None:
    """T D D E Z, while three more segments are queued: each gets its own end."""

    def script(peer: Peer) -> None:
        peer.start()
        for _ in range(4):
            peer.expect(Parse, Describe, Sync)
        peer.send(*[*DESCRIBED, ReadyForQuery("I")] * 4)
        for _ in range(4):
            peer.expect(Bind, Execute, Sync)
        rows = [DataRow([bytes([0, 0, 0, n])]) for n in (1, 2)]
        peer.send(BindComplete(), *rows, error("22012"), ReadyForQuery("I"))
        for number in (2, 3, 4):
            row = DataRow([bytes([0, 0, 0, number])])
            peer.send(BindComplete(), row, CommandComplete("SELECT 1"), ReadyForQuery("I"))
        Health(peer).run()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                batch = Batch(atomic=False)
                items = [batch.queue(f"select {number}") for number in (1, 2, 3, 4)]
                await pool.send_batch(batch)
                assert [item.outcome for item in items] == [Outcome.FAILED] + [Outcome.COMMITTED] * 3
                assert isinstance(items[0].error, PostgresError)
                assert [item.rows[0][0] for item in items[1:]] == [2, 3, 4]
                assert all(item.error is None for item in items[1:])
                assert await pool.fetchval("select 7") == 7

        driver.run(scenario)
        assert len(server.peers) == 1


def test_m8_both_write_before_either_reads(driver: Driver) -> None:
    """The server writes 10 MB while 10 MB for it are under way, and reads nothing meanwhile."""
    size, count = 65536, 160

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        peer.send(
            ParseComplete(), ParameterDescription([17]), RowDescription([column(oid=17)]), ReadyForQuery("I")
        )
        peer.expect(Bind, Execute)
        peer.send(BindComplete(), *[DataRow([bytes(size)])] * count, CommandComplete(f"SELECT {count}"))
        for _ in range(count - 1):
            peer.expect(Bind, Execute)
            peer.send(BindComplete(), DataRow([b"x"]), CommandComplete("SELECT 1"))
        peer.expect(Sync)
        peer.send(ReadyForQuery("I"))
        Health(peer).run()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                batch = Batch()
                items = [batch.queue("select $1::bytea", bytes(size)) for _ in range(count)]
                await pool.send_batch(batch)
                assert len(items[0].rows) == count
                assert all(item.rows[0][0] == b"x" for item in items[1:])
                assert await pool.fetchval("select 7") == 7

        driver.run(scenario, deadline=30)


PID = (
    RowDescription([FieldDescription("pg_backend_pid", 0, 0, type_oid=23, type_size=4, type_modifier=-1)]),
    DataRow([b"1"]),
    CommandComplete("SELECT 1"),
)
ANSWER = (*ONE, ReadyForQuery("I"))
CANCELLED = (*ONE[:2], error("57014", "canceling statement due to user request"), ReadyForQuery("I"))


@pytest.mark.parametrize("cancelled", [False, True], ids=["finishes", "cancelled"])
@pytest.mark.parametrize("at", [0, 1, 3, 5, 8, 14, 18, 26])
def test_m9_a_deadline_inside_of_a_message(driver: Driver, at: int, cancelled: bool) -> None:
    """The rest of the answer comes after the caller has given up: the session goes on where it was."""
    answer = encoded(CANCELLED if cancelled else ANSWER)

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer)
        peer.expect(Bind, Execute, Sync)
        peer.write(answer[:at])
        peer.server.cancelled.wait(10)
        peer.write(answer[at:])
        # The server role has not seen what was written by hand: a new one for the rest.
        peer.connection.send(BindComplete())
        peer.connection.send(CommandComplete("SELECT 1"))
        peer.connection.send(ReadyForQuery("I"))
        Health(peer).run()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                if cancelled:
                    with pytest.raises(pgproto.QueryTimeout) as caught:
                        await pool.fetchval("select 1", timeout=0.05)
                    assert caught.value.outcome is Outcome.FAILED
                else:
                    assert await pool.fetchval("select 1", timeout=0.05) == 1
                assert await pool.fetchval("select 2") == 2
                assert await pool.fetchval("select $1", 3) == 3

        driver.run(scenario)
        assert len(server.peers) == 1
        assert [request.process_id for request in server.cancels] == [1000]


def test_m10_interruptions_between_every_pair(driver: Driver) -> None:
    """Notice, ParameterStatus and Notification between any two messages change no accounting."""
    noise = (
        NoticeResponse({"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": "by the way"}),
        ParameterStatus("application_name", "noise"),
        NotificationResponse(7, "jobs", "go"),
    )

    def say(peer: Peer, *messages: Message) -> int:
        peer.send(*noise)
        for message in messages:
            peer.send(message, *noise)
        return len(messages) + 1

    said = 0

    def script(peer: Peer) -> None:
        nonlocal said
        peer.receive_startup()
        said += say(peer, AuthenticationOk(), BackendKeyData(1, b"1234"), ReadyForQuery("I"))
        assert peer.expect_one(Query).query == 'LISTEN "jobs"; SELECT pg_catalog.pg_backend_pid()'
        said += say(peer, CommandComplete("LISTEN"), *PID, ReadyForQuery("I"))
        peer.expect(*[Parse, Describe] * 3, Sync)
        said += say(peer, *DESCRIBED * 3, ReadyForQuery("I"))
        peer.expect(*[Bind, Execute] * 3, Sync)
        said += say(peer, *ONE, BindComplete(), CommandComplete("SELECT 0"), *ONE, ReadyForQuery("I"))
        peer.expect(Query)
        said += say(peer, RowDescription([column(format=0)]), DataRow([b"1"]), DataRow([b"2"]))
        said += say(peer, CommandComplete("SELECT 2"), EmptyQueryResponse(), ReadyForQuery("I"))
        peer.expect(Query)
        said += say(peer, CopyInResponse(0, [0]))
        peer.expect(CopyData, CopyDone)
        said += say(peer, CommandComplete("COPY 1"), ReadyForQuery("I"))
        peer.expect(Query)
        said += say(peer, CopyOutResponse(0, [0]), CopyData(b"1\n"), CopyData(b"2\n"), CopyDone())
        said += say(peer, CommandComplete("COPY 2"), ReadyForQuery("I"))
        peer.expect(Bind, Execute, Sync)
        said += say(peer, BindComplete(), DataRow([b"\0\0\0\1"]), error("22012"), ReadyForQuery("I"))
        Health(peer).run()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            notices: list[PostgresError] = []
            async with pg.connect(server.dsn()) as conn:
                conn.on_notice = notices.append
                async with conn.listen("jobs") as notifications:
                    batch = Batch()
                    items = [batch.queue(f"select {number}") for number in (1, 2, 3)]
                    await conn.send_batch(batch)
                    assert [[row[0] for row in item.rows] for item in items] == [[1], [], [1]]
                    results = await conn.script("select; ")
                    assert [[row[0] for row in result.rows] for result in results] == [["1", "2"], []]
                    assert await conn.copy_in("copy t from stdin", b"1\n") == 1
                    assert b"".join([chunk async for chunk in conn.copy_out("copy t to stdout")]) == b"1\n2\n"
                    with pytest.raises(PostgresError, match="22012"):
                        await conn.fetch("select 1")
                    assert await conn.fetchval("select 5") == 5
                    async for notification in notifications:
                        assert (notification.channel, notification.payload, notification.pid) == (
                            "jobs",
                            "go",
                            7,
                        )
                        break
                    assert conn.parameters["application_name"] == "noise"
                assert len(notices) >= said - 4  # those of the start-up came before the callback
                assert all(notice.message == "by the way" for notice in notices)

        driver.run(scenario)


@pytest.mark.parametrize("status", ["T", "E"])
@pytest.mark.parametrize("reset", ["DISCARD ALL", ""], ids=["reset", "no reset"])
def test_m11_a_transaction_that_nobody_ended(driver: Driver, status: str, reset: str) -> None:
    """ReadyForQuery says T or E after a batch: the connection is not lent again."""

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer)
        peer.expect(Bind, Execute, Sync)
        peer.send(*ONE, ReadyForQuery(status))
        peer.expect_end()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), reset=reset, **ONE_SLOT) as pool:
                batch = Batch()
                item = batch.queue("select 1")
                async with pool.acquire() as conn:
                    await conn.send_batch(batch)
                    assert conn.transaction_status == status
                    assert conn.pid == 1000
                assert item.outcome is Outcome.OK_IN_TX
                async with pool.acquire() as conn:
                    assert conn.transaction_status == "I"
                    assert conn.pid == 1001
                assert await pool.fetchval("select 2") == 2

        driver.run(scenario)


NEVER = (
    AuthenticationOk(), BackendKeyData(1, b"1234"), NegotiateProtocolVersion(196608, []),
    b"x\0\0\0\4", b"\0\0\0\0\4", b"R\0\0\0\x08\0\0\0\3", CopyBothResponse(0, []), CopyData(b"x"),
)  # fmt: skip
"""What no server says once the session has begun."""

WRONG: dict[str, tuple[tuple[Message | bytes, ...], ...]] = {
    "bind": (
        *[(each,) for each in NEVER],
        (ParseComplete(),), (CloseComplete(),), (NoData(),), (CommandComplete("SELECT 1"),),
        (DataRow([b"\0\0\0\1"]),), (ReadyForQuery("I"),), (EmptyQueryResponse(),), (PortalSuspended(),),
        (CopyDone(),), (RowDescription([column()]),), (CopyInResponse(0, [0]),), (CopyOutResponse(0, [0]),),
    ),
    "execute": tuple(
        (BindComplete(), wrong)
        for wrong in (
            *NEVER, BindComplete(), ParseComplete(), CloseComplete(), NoData(), ReadyForQuery("I"),
            RowDescription([column()]), ParameterDescription([]), CopyDone(),
        )
    ),
    "rows": tuple(
        (*ONE[:2], wrong)
        for wrong in (
            *NEVER, BindComplete(), ReadyForQuery("I"), RowDescription([column()]), EmptyQueryResponse(),
            CopyOutResponse(0, [0]), DataRow([b"\0\0\0\1", b"\0\0\0\1"]), b"D\0\0\0\6\0\1",
        )
    ),
    "sync": tuple(
        (*ONE, wrong)
        for wrong in (*NEVER, *ONE, CommandComplete("SELECT 1"), CloseComplete(), RowDescription([column()]))
    ),
}  # fmt: skip


@pytest.mark.parametrize("state", WRONG)
def test_m12_unexpected_messages(driver: Driver, state: str) -> None:
    """Whatever is not legal in a state ends the session: once, and with nobody's rows in the wrong place."""
    cases = WRONG[state]

    def script(wrong: tuple[Message | bytes, ...]) -> Callable[[Peer], None]:
        def run(peer: Peer) -> None:
            peer.start()
            prepared(peer)
            peer.expect(Bind, Execute, Sync)
            peer.raw(*wrong, *ONE, ReadyForQuery("I"))
            peer.keep_open()

        return run

    with ScriptedServer(*[script(wrong) for wrong in cases]) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                for wrong in cases:
                    with pytest.raises(pgproto.RemoteProtocolError) as caught:
                        await pool.fetchval("select 1")
                    assert caught.value.outcome is UNKNOWN, wrong
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().lost == len(cases)

        driver.run(scenario, deadline=30)
        assert len(server.peers) == len(cases) + 1


IDLE: dict[str, Any] = {
    "ready": ReadyForQuery("I"), "row": DataRow([b"1"]), "complete": CommandComplete("SELECT 1"),
    "parse": ParseComplete(), "copy": CopyInResponse(0, [0]), "unknown": b"x\0\0\0\4",
    "auth": AuthenticationOk(),
}  # fmt: skip


@pytest.mark.parametrize("name", IDLE)
def test_m12_unexpected_while_idle(driver: Driver, name: str) -> None:
    """An extra ReadyForQuery that is swallowed would give the next query the last one's rows."""

    def script(peer: Peer) -> None:
        one_answered(peer)
        peer.server.wait_for("idle")
        peer.raw(IDLE[name])
        peer.server.signal("said").set()
        peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                assert await conn.fetchval("select 1") == 1
                server.signal("idle").set()
                await pg.in_thread(lambda: server.wait_for("said"))
                with pytest.raises((pgproto.RemoteProtocolError, pgproto.ConnectionClosed)) as caught:
                    await conn.fetchval("select 2")
                cause: BaseException | None = caught.value
                while cause is not None and not isinstance(cause, pgproto.RemoteProtocolError):
                    cause = cause.__cause__
                assert cause is not None
                assert conn.closed

        driver.run(scenario)


def test_m3_error_and_eof_in_copy_out(driver: Driver) -> None:
    """The pooler's last word ends the iteration with an error, not as if all data had come."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Query)
        peer.send(CopyOutResponse(0, [0]), CopyData(b"1\n"))
        peer.raw(OLD_POOLER)
        peer.finish()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                taken: list[bytes] = []
                async with pool.acquire() as conn:
                    with pytest.raises(pgproto.Error) as caught:
                        async for chunk in conn.copy_out("copy t to stdout"):
                            taken.append(chunk)  # noqa: PERF401 - what came before the error counts
                assert "08P01" in chain(caught.value)
                assert taken in ([], [b"1\n"])
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)
