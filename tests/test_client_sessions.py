"""The client's connection in virtual time: what its callers get, what the server hears, in which order."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from pgproto import (
    Batch,
    ConnectionClosed,
    LocalProtocolError,
    Outcome,
    PostgresError,
    QueryTimeout,
)
from pgproto.client import Connection, Queries
from pgproto.session import GRACE, Operation
from pgproto.session import Script as SimpleQuery
from pgproto.testing import (
    Answer,
    Cancelled,
    ModelServer,
    ModelSession,
    Peer,
    Script,
    ScriptedServer,
    VirtualRuntime,
    error,
    error_fields,
)
from pgproto.wire import (
    CommandComplete,
    NoticeResponse,
    Query,
    ReadyForQuery,
    Terminate,
)
from tests.support.virtual import TABLE, queries, with_connection, world


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves is collected in it, where its warnings belong."""
    yield
    gc.collect()


# ---- Queries


def test_the_four_ways_to_run_a_statement() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert [row["n"] for row in await conn.fetch("select three")] == [1, 2, 3]
        row = await conn.fetchrow("select three")
        assert row is not None
        assert row[0] == 1
        assert await conn.fetchrow("select none") is None
        assert await conn.fetchval("select 1") == 1
        assert await conn.fetchval("select none") is None
        assert await conn.execute("insert") == "INSERT 0 1"
        assert [tuple(row) for row in await conn.fetch("say")] == [("x", True, b"\0\1"), (None, False, b"")]

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert server.committed.count("insert") == 1
    assert isinstance(server.sessions[0].heard[-1], Terminate)


def test_a_script_has_rows_as_text() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        first, second = await conn.script("say; insert")
        assert [tuple(row) for row in first.rows] == [("x", "t", "\\x0001"), (None, "f", "\\x")]
        assert second.tag == "INSERT 0 1"

    with_connection(work)


def test_what_the_client_knows_of_its_session() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert conn.config.user == "tester"
        assert conn.pid == 4711
        assert conn.transaction_status == "I"
        assert conn.parameters["server_version"] == "18.0"
        assert repr(conn) == "<Connection to localhost:5432, pid 4711, I>"
        traces = [conn.dirty]
        await conn.execute("set x = 1")
        traces.append(conn.dirty)
        await conn.reset()
        conn.forget_traces()
        assert [*traces, conn.dirty] == [False, True, False]
        quiet = conn.quiet
        await conn.close()
        assert repr(conn) == "<Connection closed>"
        assert (quiet, conn.quiet) == (True, False)
        await conn.close()
        conn.abort()
        with pytest.raises(ConnectionClosed) as caught:
            await conn.fetch("select 1")
        assert caught.value.outcome is Outcome.NOT_SENT

    with_connection(work)


def test_a_server_that_tells_no_key() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.receive_startup()
        peer.raw(bytes.fromhex("520000000800000000"), ReadyForQuery("I"))
        yield from peer.expect_end()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert conn.pid == 0

    with ScriptedServer(script) as server:
        with_connection(work, server)


def test_several_tasks_are_pipelined_and_answered_in_order() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        await conn.fetch("select 1")
        begin = runtime.now()
        tasks = [runtime.spawn(conn.execute, sql) for sql in ("insert", "bad", "select 1", "insert")]
        results = []
        for task in tasks:
            await task.ended.wait()
            results.append(task.error.sqlstate if isinstance(task.error, PostgresError) else task.result())
        assert results == ["INSERT 0 1", "22012", "SELECT 1", "INSERT 0 1"]
        assert runtime.now() - begin == pytest.approx(0.004)  # to prepare, and to execute

    with_connection(work)


def test_a_batch_and_what_became_of_its_items() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        batch = Batch()
        first, bad, last = batch.queue("insert"), batch.queue("bad"), batch.queue("insert")
        with pytest.raises(PostgresError):
            await conn.send_batch(batch)
        assert [item.outcome for item in (first, bad, last)] == [
            Outcome.ROLLED_BACK,
            Outcome.FAILED,
            Outcome.SKIPPED,
        ]
        single = Batch(atomic=False)
        for sql in ("insert", "bad", "select 1"):
            single.queue(sql)
        items = await conn.send_batch(single)
        assert [item.outcome for item in items] == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert server.committed == ["insert", "select 1"]


def test_a_batch_that_is_cancelled_has_its_outcomes_at_once() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        batch = Batch(atomic=False)
        items = [batch.queue("insert"), batch.queue("select slow"), batch.queue("insert")]
        await conn.fetch("select 1")
        task = runtime.spawn(conn.send_batch, batch)
        await runtime.sleep(1)
        task.cancel()
        await task.ended.wait()
        assert isinstance(task.error, Cancelled)
        assert [item.outcome for item in items] == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]
        assert runtime.requests == 1
        assert await conn.fetchval("select 1") == 1

    with_connection(work)


def test_a_statement_that_is_kept() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        one = await conn.prepare("select three")
        assert [row[0] for row in await one.fetch()] == [1, 2, 3]
        first = await one.fetchrow()
        assert first is not None
        assert await one.fetchval() == 1
        assert await one.execute() == "SELECT 3"
        assert await conn.fetchval(one) == 1
        insert = await conn.prepare("insert")
        assert await insert.executemany([(), ()]) == 2
        await one.close()
        await one.close()
        with pytest.raises(LocalProtocolError):
            await one.fetch()
        with pytest.raises(PostgresError, match="42601"):
            await conn.prepare("unknown")
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.copy(one)
        last = await conn.prepare("select 1")
        await conn.close()
        await last.close()  # it is closed with its session

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert queries(server.sessions[0]).count("select three") == 1


def test_a_statement_that_nobody_keeps_is_closed_by_the_server() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        statement = await conn.prepare("select 1")
        name = statement.statement.name
        assert name in server.sessions[0]._statements
        del statement
        gc.collect()
        await conn.fetch("select three")
        assert name not in server.sessions[0]._statements

    server = ModelServer(TABLE)
    with_connection(work, server)


# ---- Deadlines and cancelling


def test_a_deadline_cancels_the_query_and_leaves_the_connection() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        begin = runtime.now()
        with pytest.raises(QueryTimeout) as caught:
            await conn.fetch("select slow", timeout=2.0)
        assert caught.value.outcome is Outcome.FAILED
        assert runtime.now() - begin == pytest.approx(2.0, abs=0.01)
        assert await conn.fetchval("select 1") == 1

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert [(each.process_id, each.secret_key) for each in server.cancels] == [(4711, b"0123")]


def test_the_command_timeout_is_for_every_call_that_names_none() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(QueryTimeout):
            await conn.fetch("select slow")
        assert await conn.fetchval("select slow", timeout=None) == 1

    with_connection(work, command_timeout=3.0)


@pytest.mark.parametrize("timeout", [0, -1])
def test_a_deadline_that_has_passed_sends_nothing(timeout: float) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(QueryTimeout) as caught:
            await conn.execute("insert", timeout=timeout)
        assert caught.value.outcome is Outcome.NOT_SENT

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert server.committed == []


def test_a_query_that_is_cancelled_at_each_of_its_suspensions() -> None:
    """It ends by the cancellation, nobody else notices, and the connection goes on."""
    counts = []
    for suspension in range(1, 10):

        async def work(runtime: VirtualRuntime, conn: Connection, suspension: int = suspension) -> bool:
            task = runtime.spawn(conn.fetch, "select slow")
            task.cancel_at(suspension)
            other = runtime.spawn(conn.fetchval, "select 1")
            await task.ended.wait()
            assert await other.wait() == 1
            assert await conn.fetchval("select 1") == 1
            counts.append(suspension)
            return isinstance(task.error, Cancelled)

        runtime = world()

        async def main(runtime: VirtualRuntime = runtime, work: Any = work) -> bool:
            async with runtime.connect() as conn:
                return bool(await work(runtime, conn))

        if not runtime.run(main):
            break
    assert counts == [1, 2]  # it waits once


def test_a_call_that_is_cancelled_before_it_sends_anything() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        task = runtime.spawn(conn.execute, "insert")
        task.cancel()
        await task.ended.wait()
        assert isinstance(task.error, Cancelled)

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert server.committed == []


def test_a_server_that_does_not_stop_loses_the_session_after_the_grace() -> None:
    def deaf(session: ModelSession) -> None:
        session.cancel = lambda: None  # type: ignore[method-assign]

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        begin = runtime.now()
        with pytest.raises(QueryTimeout) as caught:
            await conn.fetch("select slow", timeout=1.0)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert runtime.now() - begin == pytest.approx(1 + GRACE)
        assert conn.closed

    with_connection(work, ModelServer(TABLE, deaf))


# ---- Callbacks


def test_notices_and_the_end_are_told() -> None:
    notices: list[str] = []
    ends: list[str] = []

    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        notice = NoticeResponse(error_fields("01000", "look out", "WARNING"))
        peer.send(notice, CommandComplete("DO"), ReadyForQuery("I"))
        yield from peer.expect_end()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        conn.on_notice = lambda notice: notices.append(notice.message)
        conn.on_lost = lambda: ends.append("lost")
        await conn.script("do something")

    with ScriptedServer(script) as server:
        with_connection(work, server)
    assert notices == ["look out"]
    assert ends == ["lost"]


def test_what_a_callback_raises_is_reported_and_changes_nothing() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        peer.send(
            NoticeResponse(error_fields("01000", "x", "WARNING")), CommandComplete("DO"), ReadyForQuery("I")
        )
        yield from peer.expect_end()

    def on_notice(notice: PostgresError) -> None:
        raise ValueError("mine")

    with ScriptedServer(script) as server:
        runtime = world(server)

        async def main() -> None:
            async with runtime.connect() as conn:
                conn.on_notice = on_notice
                assert (await conn.script("do"))[0].tag == "DO"

        runtime.run(main)
    assert [(name, str(error)) for name, error in runtime.reports] == [("on_notice", "mine")]


def test_an_interrupt_in_a_callback_ends_the_session_and_goes_up() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        peer.send(
            NoticeResponse(error_fields("01000", "x", "WARNING")), CommandComplete("DO"), ReadyForQuery("I")
        )

    def on_notice(notice: PostgresError) -> None:
        raise KeyboardInterrupt

    kept: list[Connection] = []
    with ScriptedServer(script) as server:
        runtime = world(server)

        async def main() -> None:
            conn = await runtime.connect()
            kept.append(conn)
            conn.on_notice = on_notice
            await conn.script("do")

        with pytest.raises(KeyboardInterrupt):
            runtime.run(main)
    assert kept[0].closed


# ---- Where it belongs


def test_a_connection_belongs_to_its_run() -> None:
    runtime = world()
    kept: list[Connection] = []

    async def first() -> None:
        kept.append(await runtime.connect())

    async def second() -> None:
        (conn,) = kept
        for call in (conn.fetch("select 1"), conn.close()):
            with pytest.raises(LocalProtocolError, match="another event loop"):
                await call
        with pytest.raises(LocalProtocolError, match="another event loop"):
            conn.abort()

    runtime.run(first)
    runtime.run(second)
    with pytest.warns(ResourceWarning, match="unclosed"):
        kept.clear()


def test_in_a_forked_child_it_is_the_parents() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        runtime.fork()
        with pytest.raises(ConnectionClosed, match="parent process"):
            await conn.fetch("select 1")
        conn.abort()

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert not server.sessions[0].ended  # it says nothing to the server


def test_there_is_only_one_of_it() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(TypeError, match="a Connection cannot be copied"):
            copy.copy(conn)

    with_connection(work)


def test_error_of_the_server_has_its_class() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        peer.send(error("23505", "taken", n="key"), ReadyForQuery("I"))
        yield from peer.expect_end()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(PostgresError, match="taken") as caught:
            await conn.script("insert")
        assert caught.value.constraint_name == "key"

    with ScriptedServer(script) as server:
        with_connection(work, server)


def test_an_unknown_statement_and_an_answer_that_fails_later() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        for _ in range(2):
            assert await conn.execute("twice") == "INSERT 0 1"
        with pytest.raises(PostgresError, match="23505"):
            await conn.execute("twice")

    answer = Answer("INSERT 0 1", error=error_fields("23505"), spares=2)
    with_connection(work, ModelServer({"twice": answer}))


def test_a_connection_that_was_awaited_is_entered_too() -> None:
    runtime = world()

    async def main() -> None:
        conn = await runtime.connect()
        async with conn as same:
            assert same is conn
        assert conn.closed
        await conn.settled()  # there is nothing to wait for

    runtime.run(main)


def test_what_is_done_last_takes_two_graces_at_the_most() -> None:
    """Of a cancelled caller: a flow that would go on for longer costs the session."""

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        def flow() -> Generator[Operation, None, None]:
            while True:
                with contextlib.suppress(QueryTimeout):
                    yield SimpleQuery("select slow")

        begin = runtime.now()
        await conn.clean_up(flow, Cancelled())
        assert runtime.now() - begin == pytest.approx(2 * GRACE)
        assert conn.closed

    with_connection(work)


def test_a_flow_that_the_collector_ends_after_its_run() -> None:
    runtime = world()
    kept: list[Any] = []

    async def main() -> None:
        conn = await runtime.connect()
        work = conn.listen("jobs").__aenter__()
        work.send(None)
        kept.extend([conn, work])

    runtime.run(main)
    conn, work = kept
    work.close()
    assert not conn.closed  # nobody is there to end it
    kept.clear()
    with pytest.warns(ResourceWarning):  # noqa: PT031 - the one who holds it last
        del work, conn
        gc.collect()


def test_what_has_no_way_to_run_statements_says_so() -> None:
    async def main() -> None:
        with pytest.raises(NotImplementedError):
            await Queries().fetch("select 1")
        with pytest.raises(NotImplementedError):
            Queries().stream("select 1")

    world().run(main)


def test_a_call_that_is_cancelled_is_cancelled_where_it_begins() -> None:
    """Nothing of it is sent, and a batch can be sent once more."""

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        batch = Batch()
        batch.queue("insert")

        async def cancelled() -> None:
            task.cancel()
            await conn.send_batch(batch)

        task = runtime.spawn(cancelled)
        await task.ended.wait()
        assert isinstance(task.error, Cancelled)
        assert server.committed == []

    server = ModelServer(TABLE)
    with_connection(work, server)


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_answer_is_the_same_whatever_the_order_of_tasks(seed: int) -> None:
    runtime = VirtualRuntime(ModelServer(TABLE), seed=seed)

    async def main() -> None:
        async with runtime.connect() as conn:
            tasks = [
                runtime.spawn(conn.fetch, sql) for sql in ("select 1", "select three", "select none") * 5
            ]
            lengths = [len(await task.wait()) for task in tasks]
            assert lengths == [1, 3, 0] * 5

    runtime.run(main)


# ---- Blocks and listeners that an interrupt leaves


class Interrupt(BaseException):
    """What a signal handler raises."""


def test_an_interrupt_when_a_block_was_just_opened_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would end the block, and what came next would be a part of it."""

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        def interrupted(self: object, work: Any, *rest: object) -> None:
            work()
            raise Interrupt

        monkeypatch.setattr(type(conn.link), "alone", interrupted)
        with pytest.raises(Interrupt):
            await conn.transaction().start()
        monkeypatch.undo()
        assert conn.closed

    with_connection(work)


def test_an_interrupt_when_a_block_is_about_to_end_ends_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        def interrupted(self: object, *rest: object) -> None:
            raise Interrupt

        with pytest.raises(Interrupt):
            async with conn.transaction():
                monkeypatch.setattr(type(conn.link), "alone", interrupted)
        monkeypatch.undo()
        assert conn.closed

    with_connection(work)
