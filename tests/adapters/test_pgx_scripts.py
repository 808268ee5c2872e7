"""The scripts A to I and M1 to M6 that broke pgx, on all adapters: the server, or the pooler in front, goes away.

Each test is one script on real TCP and one promise: no hang, one honest outcome for every query, both
SQLSTATEs kept (57P01 as the cause, the pooler's 08P01 in `.also`), `close()` twice is fine, and the next
query through the pool succeeds on a fresh connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pgproto
import pytest
from pgproto import Batch, ConnectionLost, Outcome, PostgresError
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
from tests.support.drivers import Driver
from tests.support.healthy import Health
from tests.support.scripted import (
    Peer,
    Script,
    ScriptedServer,
    column,
    encoded,
    error,
    fatal,
    pooler_fatal,
)

DESCRIBED = (ParseComplete(), ParameterDescription([]), RowDescription([column()]))
ONE = (BindComplete(), DataRow([b"\0\0\0\1"]), CommandComplete("SELECT 1"))
BOTH = (fatal("57P01"), pooler_fatal())
QUERIES = ("select 1", "select 2", "select 3")
# A connection that dies in its infancy counts as a failed connect; the next one need not wait for long.
ONE_SLOT: dict[str, Any] = {"min_size": 0, "max_size": 1, "backoff": 0.001, "max_backoff": 0.001}

NOT_SENT, FAILED, SKIPPED = Outcome.NOT_SENT, Outcome.FAILED, Outcome.SKIPPED
ROLLED_BACK, UNKNOWN, NOT_COMMITTED = Outcome.ROLLED_BACK, Outcome.UNKNOWN, Outcome.NOT_COMMITTED


def states(errors: Sequence[Exception]) -> list[str]:
    """The SQLSTATEs of the server's errors among these."""
    return [each.sqlstate for each in errors if isinstance(each, PostgresError)]


def words(lost: BaseException | None) -> list[str]:
    """All SQLSTATEs that an error keeps, the first cause first."""
    assert isinstance(lost, ConnectionLost), repr(lost)
    return states([each for each in (lost.__cause__, *lost.also) if isinstance(each, Exception)])


def prepared(peer: Peer, count: int = 1) -> None:
    """Serve the round trip that prepares."""
    peer.expect(*[Parse, Describe] * count, Sync)
    peer.send(*DESCRIBED * count, ReadyForQuery("I"))


@dataclass(frozen=True)
class Case:
    """What the server does to a cold batch of three, and what must become of it.

    Args:
        executing: False while the statements are being prepared, True while they run.
        writes: the server's writes.
        end: "fin", "reset", or "open": it says no more, and does not close.
        outcomes: of the three items.
        words: the SQLSTATEs that the error must keep.
    """

    executing: bool
    writes: tuple[tuple[Message | bytes, ...], ...]
    end: str
    outcomes: tuple[Outcome, ...]
    words: tuple[str, ...]

    def script(self, split: Callable[[bytes], list[bytes]] | None = None) -> Script:
        """The script; `split` cuts all of its bytes into the pieces that are written one by one."""

        def run(peer: Peer) -> None:
            peer.start()
            if self.executing:
                prepared(peer, 3)
                peer.expect(*[Bind, Execute] * 3, Sync)
            else:
                peer.expect(*[Parse, Describe] * 3, Sync)
            if split is not None:
                peer.write_pieces(split(b"".join(encoded(write) for write in self.writes)))
            else:
                for write in self.writes:
                    peer.raw(*write)
            if self.end == "reset":
                peer.wait_taken()
                peer.reset()
            elif self.end == "fin":
                peer.finish()
            else:
                peer.keep_open()

        return run

    async def check(self, pool: Any) -> None:
        """Send the batch, and look at its end."""
        batch = Batch()
        items = [batch.queue(sql) for sql in QUERIES]
        async with pool.acquire() as conn:
            with pytest.raises(ConnectionLost) as caught:
                await conn.send_batch(batch)
            assert tuple(item.outcome for item in items) == self.outcomes
            assert words(caught.value) == list(self.words)
            for item in items:
                assert isinstance(item.error, pgproto.Error)
                assert item.error.outcome is item.outcome
            assert conn.closed
            await conn.close()
            await conn.close()


PREPARING = (NOT_SENT, NOT_SENT, NOT_SENT)
IN_THE_SECOND = (ROLLED_BACK, FAILED, SKIPPED)
NO_WORD = (UNKNOWN, UNKNOWN, UNKNOWN)
OLD_POOLER = pooler_fatal(severity="ERROR")

CASES = {
    # pgx #1920: two FATALs in one read, the first one met while preparing.
    "A": Case(False, ((*DESCRIBED, *BOTH),), "fin", PREPARING, ("57P01", "08P01")),
    "A-executing": Case(True, ((*ONE, *BOTH),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "A-in-a-row": Case(True, ((*ONE, *ONE[:2], *BOTH),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    # The test of pgx's first fix: three writes, and the connection stays open.
    "B": Case(False, (DESCRIBED, (fatal(),), (fatal(),)), "open", PREPARING, ("57P01", "57P01")),
    # pgx #2470: all in one write.
    "D": Case(False, ((*DESCRIBED, fatal(), fatal()),), "open", PREPARING, ("57P01", "57P01")),
    "M1": Case(False, ((*DESCRIBED, *BOTH),), "open", PREPARING, ("57P01", "08P01")),
    "M1-executing": Case(True, ((*ONE, *BOTH),), "open", IN_THE_SECOND, ("57P01", "08P01")),
    "M2": Case(True, (ONE, (fatal(),), (pooler_fatal(),)), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "M2-one": Case(True, (ONE, (fatal(),)), "fin", IN_THE_SECOND, ("57P01",)),
    "M2-open": Case(True, (ONE, (fatal(),), (pooler_fatal(),)), "open", IN_THE_SECOND, ("57P01", "08P01")),
    "M2-reset": Case(True, (ONE, BOTH), "reset", IN_THE_SECOND, ("57P01", "08P01")),
    # pgbouncer before 1.16: ERROR, and it hangs up.
    "M3": Case(True, ((*ONE, OLD_POOLER),), "fin", NO_WORD, ("08P01",)),
    "M3-preparing": Case(False, ((*DESCRIBED, OLD_POOLER),), "fin", PREPARING, ("08P01",)),
    "pooler-alone": Case(True, ((*ONE, pooler_fatal()),), "fin", NO_WORD, ("08P01",)),
    # Everything was executed, and then the server died: it may have committed.
    "M5": Case(True, ((*ONE * 3, *BOTH),), "fin", NO_WORD, ("57P01", "08P01")),
    "M5-reset": Case(True, ((*ONE * 3, *BOTH),), "reset", NO_WORD, ("57P01", "08P01")),
    # Behind FATAL nothing counts: no result, no ReadyForQuery, no half message.
    "more": Case(
        True,
        ((*ONE, fatal(), *ONE * 2, ReadyForQuery("I"), pooler_fatal(), b"D\0\0"),),
        "fin",
        IN_THE_SECOND,
        ("57P01", "08P01"),
    ),
    "junk": Case(True, ((*ONE, *BOTH, b"\xff\0\0\0\0junk"),), "fin", IN_THE_SECOND, ("57P01", "08P01")),
    "panic": Case(
        True,
        ((*ONE, fatal("XX000").__class__({**fatal("XX000").fields, "S": "PANIK", "V": "PANIC"})),),
        "open",
        IN_THE_SECOND,
        ("XX000",),
    ),
    "translated": Case(
        True, ((*ONE, error("57P01").__class__({"S": "FATAAL", "V": "FATAL", "C": "57P01"})),), "open",
        IN_THE_SECOND, ("57P01",),
    ),
    "eof": Case(True, (ONE,), "fin", NO_WORD, ()),
    "eof-in-a-message": Case(True, ((*ONE, b"D\0\0\0\x20\0\1"),), "fin", NO_WORD, ()),
    "reset": Case(True, (ONE,), "reset", NO_WORD, ()),
}  # fmt: skip


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
    """pgx #2470: the flight that closes an invalidated statement is answered by two FATALs."""

    def script(peer: Peer) -> None:
        peer.start()
        prepared(peer)
        peer.expect(Bind, Execute, Sync)
        peer.send(BindComplete(), error("0A000", "cached plan must not change result type"), ReadyForQuery("I"))
        closing, *_ = peer.expect(Close, Parse, Describe, Sync)
        assert isinstance(closing, Close)
        assert closing.kind == "S"
        peer.raw(*BOTH)
        peer.finish()

    with ScriptedServer(script) as server:

        async def scenario(pg: Driver) -> None:
            async with pg.Pool(server.dsn(), **ONE_SLOT) as pool:
                with pytest.raises(PostgresError) as refused:
                    await pool.fetch("select 1")
                assert refused.value.outcome is FAILED
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


@pytest.mark.parametrize("end", ["fin", "unread", "open"])
@pytest.mark.parametrize("answer", [BOTH, (fatal(),), (OLD_POOLER,)], ids=["both", "one", "old pooler"])
def test_f_copy(driver: Driver, answer: tuple[Message, ...], end: str) -> None:
    """pgx #2364: FATAL while COPY data is under way.  No CopyDone was sent, so nothing was committed."""
    if answer == (OLD_POOLER,) and end == "open":
        pytest.skip("an ERROR that nothing follows: the source goes on until its deadline; see M3")

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
                    assert outcomes == ({FAILED, SKIPPED, NOT_SENT} if own_words else {NOT_COMMITTED, NOT_SENT})
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
                for work in (
                    lambda: conn.fetch("select 1"),
                    lambda: conn.execute("select 1"),
                    lambda: conn.script("select 1"),
                    lambda: conn.prepare("select 1"),
                    lambda: conn.send_batch(batch),
                    lambda: conn.copy_in("copy t from stdin", b""),
                    lambda: conn.reset(),
                ):
                    with pytest.raises(pgproto.ConnectionClosed) as caught:
                        await work()
                    assert caught.value.outcome is NOT_SENT
                assert item.outcome in (None, NOT_SENT)
                assert conn.closed
                conn.abort()

        driver.run(scenario)
        assert server.peers[0].connection.closed


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
