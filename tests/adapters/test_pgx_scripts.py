"""The scripts A to I and M1 to M7 that broke pgx, on all adapters: server or pooler go away.

Each test is one script on real TCP and one promise: no hang, one honest outcome for every query, both
SQLSTATEs kept (57P01 as the cause, the pooler's 08P01 in `.also`), `close()` twice is fine, and the next
query through the pool succeeds on a fresh connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import pgproto
from pgproto import Batch, ConnectionLost, PostgresError
from pgproto.wire import (
    Bind,
    BindComplete,
    Close,
    CommandComplete,
    CopyData,
    CopyInResponse,
    DataRow,
    Describe,
    Execute,
    Message,
    ParameterDescription,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from pgproto_pytest import Driver
from tests.adapters.scripts import (
    BOTH,
    CASES,
    DESCRIBED,
    FAILED,
    NOT_COMMITTED,
    NOT_SENT,
    OLD_POOLER,
    ONE,
    ONE_SLOT,
    PREPARING,
    QUERIES,
    ROLLED_BACK,
    SKIPPED,
    UNKNOWN,
    prepared,
    words,
)
from tests.support.healthy import Health
from tests.support.scripted import (
    Peer,
    ScriptedServer,
    column,
    encoded,
    error,
    fatal,
    pooler_fatal,
)


@pytest.mark.parametrize("name", CASES)
def test_batch(driver: Driver, name: str) -> None:
    case = CASES[name]
    with ScriptedServer(case.script()) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                await case.check(pool)
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().lost == 1
                assert pool.stats().size == 1

        driver.run(scenario)
        assert len(server.peers) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["A", "A-executing", "M2", "M3", "M5"])
def test_m7_every_split(driver: Driver, name: str) -> None:
    """The same at every byte boundary, and byte by byte, through one pool that heals each time."""
    case = CASES[name]
    size = sum(len(encoded(write)) for write in case.writes)
    scripts = [case.script(lambda data, at=at: [data[:at], data[at:]]) for at in range(1, size)]  # type: ignore[misc]
    scripts.append(case.script(lambda data: [data[at : at + 1] for at in range(len(data))]))
    with ScriptedServer(*scripts) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                for _ in scripts:
                    await case.check(pool)
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().lost == len(scripts)

        driver.run(scenario, deadline=60)
    assert len(server.peers) == len(scripts) + 1


def test_b_as_pgx_has_it(driver: Driver) -> None:
    """RowDescription as the first answer to a Parse is nonsense: it is not absorbed, it ends the session."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(*[Parse, Describe] * 3, Sync)
        for each in (RowDescription([column()]), fatal(), fatal()):
            peer.raw(each)
        peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                batch = Batch()
                items = [batch.queue(sql) for sql in QUERIES]
                with pytest.raises(pgproto.RemoteProtocolError, match="RowDescription in state PARSE"):
                    await pool.send_batch(batch)
                assert [item.outcome for item in items] == list(PREPARING)
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


def test_c_fatals_while_a_statement_is_closed(driver: Driver) -> None:
    """pgx #2470: the flight that closes an invalidated statement, to heal it, is answered by two FATALs."""

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer)
        peer.expect(Bind, Execute, Sync)
        peer.send(error("0A000", "cached plan must not change result type"), ReadyForQuery("I"))
        closing, *_ = peer.expect(Close, Parse, Describe, Sync)
        assert isinstance(closing, Close)
        assert closing.kind == "S"
        peer.raw(*BOTH)
        peer.finish()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                with pytest.raises(ConnectionLost) as lost:
                    await pool.fetch("select 1")
                assert lost.value.outcome is NOT_SENT
                assert words(lost.value) == ["57P01", "08P01"]
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


@pytest.mark.parametrize("answer", [BOTH, (OLD_POOLER,), ()], ids=["fatals", "old pooler", "eof"])
def test_c_rollback_is_not_answered(driver: Driver, answer: tuple[Message, ...]) -> None:
    """The error that made the ROLLBACK necessary is the one that the caller sees."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Bind, Execute, Parse, Describe, Sync)
        peer.send(ParseComplete(), BindComplete(), CommandComplete("BEGIN"), *DESCRIBED, ReadyForQuery("T"))
        peer.expect(Bind, Execute, Sync)
        peer.send(BindComplete(), error("22012", "division by zero"), ReadyForQuery("E"))
        assert peer.expect_one(Query).query == "ROLLBACK"
        peer.raw(*answer)
        peer.finish()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                with pytest.raises(PostgresError) as caught:
                    async with pool.transaction() as conn:
                        await conn.fetch("select 1")
                assert caught.value.sqlstate == "22012"
                assert caught.value.outcome is FAILED
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().lost == 1

        driver.run(scenario)


@pytest.mark.parametrize("executing", [False, True], ids=["preparing", "executing"])
def test_d_the_caller_gives_up_and_closes(driver: Driver, executing: bool) -> None:
    """Nobody reads the results: the answers, FATALs and all, find the caller gone."""

    def script(peer: Peer) -> None:
        peer.start()
        if executing:
            prepared(peer, 2)
            peer.expect(*[Bind, Execute] * 2, Sync)
            peer.server.cancelled.wait(10)
            peer.raw(*ONE, fatal(), fatal())
        else:
            peer.expect(*[Parse, Describe] * 2, Sync)
            peer.server.wait_for("given up")
            peer.raw(*DESCRIBED, fatal(), fatal())
        peer.server.signal("answered").set()
        peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                async with pool.acquire() as conn:
                    batch = Batch()
                    items = [batch.queue(sql) for sql in QUERIES[:2]]
                    with pytest.raises((pgproto.QueryTimeout, ConnectionLost)):
                        await conn.send_batch(batch, timeout=0.05)
                    server.signal("given up").set()
                    await pg.in_thread(lambda: server.wait_for("answered"))
                    await conn.close()
                    await conn.close()
                    expected = [ROLLED_BACK, FAILED] if executing else [NOT_SENT, NOT_SENT]
                    assert [item.outcome for item in items] == expected
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


@pytest.mark.parametrize("count", [1, 2, 3, 40])
@pytest.mark.parametrize("end", ["fin", "open"])
def test_e_errors_without_end(driver: Driver, count: int, end: str) -> None:
    """More errors than requests: each reading of one makes progress, or ends the session."""

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer, 2)
        peer.expect(*[Bind, Execute] * 2, Sync)
        peer.raw(*[error("XX000", f"error {number}") for number in range(count)])
        peer.finish() if end == "fin" else peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                batch = Batch()
                items = [batch.queue(sql) for sql in QUERIES[:2]]
                with pytest.raises(pgproto.Error):
                    await pool.send_batch(batch, timeout=2)
                assert [item.outcome for item in items] == [FAILED, SKIPPED]
                assert isinstance(items[0].error, PostgresError)
                assert items[0].error.message == "error 0"
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


COPY_CASES = [
    (answer, end)
    for answer in (BOTH, (fatal(),), (OLD_POOLER,))
    for end in ("fin", "unread", "open")
    if (answer, end) != ((OLD_POOLER,), "open")  # that is the deadline's
]


@pytest.mark.parametrize(("answer", "end"), COPY_CASES, ids=[f"{len(a)} {e}" for a, e in COPY_CASES])
def test_f_copy(driver: Driver, answer: tuple[Message, ...], end: str) -> None:
    """pgx #2364: FATAL while COPY data is under way.  No CopyDone was sent, so nothing was committed."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Query)
        peer.send(CopyInResponse(0, [0]))
        peer.expect(CopyData)
        peer.raw(*answer)
        if end == "unread":
            peer.sock.close()  # the client's data were not read, so this is a RST
        elif end == "fin":
            peer.finish()
        else:
            peer.keep_open()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                async with pool.acquire() as conn:
                    with pytest.raises(pgproto.Error) as caught:
                        await conn.copy_in("copy t from stdin", (b"1\n" * 8000 for _ in range(2000)))
                    lost = caught.value
                    if answer == (OLD_POOLER,):
                        assert words(lost) == ["08P01"]
                    else:
                        assert words(lost) == ["57P01", "08P01"][: len(answer)]
                    assert lost.outcome in (NOT_COMMITTED, FAILED)
                    await conn.close()
                    await conn.close()
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


@pytest.mark.parametrize("last", [fatal(), pooler_fatal(), OLD_POOLER], ids=["fatal", "pooler", "old pooler"])
@pytest.mark.parametrize("simple", [False, True], ids=["extended", "simple"])
def test_g_and_m5_fatal_instead_of_ready(driver: Driver, simple: bool, last: Message) -> None:
    """pgx #800: CommandComplete is not an acknowledgement, and nobody waits for ReadyForQuery alone."""

    def script(peer: Peer) -> None:
        peer.start()
        if simple:
            peer.expect(Query)
            peer.raw(RowDescription([column(format=0)]), DataRow([b"1"]), CommandComplete("SELECT 1"), last)
        else:
            prepared(peer)
            peer.expect(Bind, Execute, Sync)
            peer.raw(*ONE, last)
        peer.finish()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                async with pool.acquire() as conn:
                    with pytest.raises(ConnectionLost) as caught:
                        await (conn.script("select 1") if simple else conn.fetch("select 1"))
                    assert caught.value.outcome is UNKNOWN
                    assert caught.value.executed
                    await conn.close()
                    await conn.close()
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


@pytest.mark.parametrize("own_words", [True, False], ids=["server", "pooler"])
def test_h_a_write_fails(driver: Driver, own_words: bool) -> None:
    """pgx #2332: the server is gone while a large batch is being written; its last words are read out."""

    def script(peer: Peer) -> None:
        peer.start()
        peer.expect(Parse, Describe, Sync)
        peer.send(ParseComplete(), ParameterDescription([17]), RowDescription([column()]), ReadyForQuery("I"))
        peer.expect(Bind)
        peer.raw(*(BOTH if own_words else BOTH[1:]))
        peer.sock.close()  # there is unread data: RST

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                async with pool.acquire() as conn:
                    batch = Batch()
                    items = [batch.queue("select length($1)", bytes(65536)) for _ in range(300)]
                    with pytest.raises(ConnectionLost) as caught:
                        await conn.send_batch(batch)
                    assert words(caught.value) == (["57P01", "08P01"] if own_words else ["08P01"])
                    outcomes = {item.outcome for item in items}
                    assert outcomes == (
                        {FAILED, SKIPPED, NOT_SENT} if own_words else {NOT_COMMITTED, NOT_SENT}
                    )
                    await conn.close()
                    await conn.close()
                assert await pool.fetchval("select 1") == 1

        driver.run(scenario)


def test_i_closed_connection(driver: Driver) -> None:
    """GHSA-fqpg-rq76-99pq: every call on a closed connection says so, and sends nothing."""
    with ScriptedServer() as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                await conn.close()
                await conn.close()
                batch = Batch()
                item = batch.queue("select 1")
                works: tuple[Callable[[], Awaitable[Any]], ...] = (
                    lambda: conn.fetch("select 1"),
                    lambda: conn.execute("select 1"),
                    lambda: conn.script("select 1"),
                    lambda: conn.prepare("select 1"),
                    lambda: conn.send_batch(batch),
                    lambda: conn.copy_in("copy t from stdin", b""),
                    lambda: conn.reset(),
                )
                for work in works:
                    with pytest.raises(pgproto.ConnectionClosed) as caught:
                        await work()
                    assert caught.value.outcome is NOT_SENT
                assert item.outcome in (None, NOT_SENT)
                assert conn.closed
                conn.abort()

        driver.run(scenario)
    assert b"select 1" not in server.peers[0].received


def test_i_busy_connection(driver: Driver) -> None:
    """A second operation during a stream is refused, and does not disturb the first."""

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer)
        peer.expect(Bind, Execute, Sync)
        peer.send(BindComplete(), DataRow([b"\0\0\0\1"]))
        peer.server.wait_for("refused")
        peer.send(DataRow([b"\0\0\0\2"]), CommandComplete("SELECT 2"), ReadyForQuery("I"))
        Health(peer).run()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.connect(server.dsn()) as conn:
                rows = []
                async for row in conn.stream("select n from t"):
                    rows.append(row[0])
                    if len(rows) == 1:
                        with pytest.raises(pgproto.LocalProtocolError, match="busy"):
                            await conn.fetch("select 1")
                        server.signal("refused").set()
                assert rows == [1, 2]
                assert await conn.fetchval("select 3") == 3

        driver.run(scenario)
        assert len(server.peers) == 1
