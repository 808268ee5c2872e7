"""What a session is beside its statements: `cancel`, `idle_for`, `data`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto import ConnectError
from pgproto.client import Connection
from pgproto.errors import PostgresError
from pgproto.session import GRACE
from pgproto.testing import ModelServer, Peer, Script, ScriptedServer, VirtualRuntime, error_fields, table
from pgproto.wire import CommandComplete, NoticeResponse, Query, ReadyForQuery
from tests.support.backend import Answer
from tests.support.pair import Pair
from tests.support.queries import query
from tests.support.virtual import TABLE, with_connection


def test_the_statement_that_runs_is_cancelled_and_no_other() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        errors: list[PostgresError] = []
        began = runtime.now()

        async def slow() -> None:
            with pytest.raises(PostgresError) as caught:
                await conn.fetchval("select slow")
            errors.append(caught.value)

        assert await conn.cancel() is False
        runtime.spawn(slow)
        await runtime.sleep(1)
        assert conn.idle_for == 0
        assert await conn.cancel() is True
        assert await conn.fetchval("select 1") == 1
        assert [error.sqlstate for error in errors] == ["57014"]
        assert runtime.now() - began < 2
        await runtime.sleep(3)
        assert conn.idle_for == pytest.approx(3, abs=0.1)

    with_connection(work)


def test_a_request_that_cannot_be_delivered() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def fails(key: object, seconds: float) -> bool:
            asked.append(seconds)
            return False

        asked: list[float] = []
        conn.link.send_cancel = fails
        task = runtime.spawn(conn.fetchval, "select slow")
        await runtime.sleep(1)
        with pytest.raises(ConnectError, match="could not be delivered"):
            await conn.cancel(timeout=3)
        with pytest.raises(ConnectError):
            await conn.cancel()
        with pytest.raises(ConnectError):
            await conn.cancel(timeout=None)
        conn.link.send_cancel = None
        assert await conn.cancel() is True  # something runs
        assert asked[:2] == [3.0, 5.0]
        assert asked[2] > 1e6
        await task.stop()

    with_connection(work)


def test_a_request_that_has_no_time_or_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        task = runtime.spawn(conn.fetchval, "select slow")
        await runtime.sleep(1)
        with pytest.raises(ConnectError, match="could not be delivered"):
            await conn.cancel(timeout=0)
        with monkeypatch.context() as patch, pytest.raises(ConnectError, match="could not be delivered"):
            patch.setattr(runtime, "dial", refuse)
            await conn.cancel()
        await task.stop()

    async def refuse(*args: object) -> None:
        raise OSError("refused")

    with_connection(work)


def test_two_cancel_at_once() -> None:
    """The second one finds the request under way."""

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        answers: list[Any] = []

        async def slow() -> None:
            with pytest.raises(PostgresError):
                await conn.fetchval("select slow")

        async def stop() -> None:
            answers.append(await conn.cancel())

        runtime.spawn(slow)
        await runtime.sleep(1)
        tasks = [runtime.spawn(stop), runtime.spawn(stop)]
        await runtime.sleep(1)
        assert answers == [True, True]
        del tasks

    with_connection(work, ModelServer(TABLE))


def test_the_key_for_what_runs() -> None:
    pair = Pair({"select 1": Answer("SELECT 1")})
    assert pair.engine.take_cancel(running=True) is None
    answered = [pair.engine.answered]
    pair.run(query("select 1"))
    answered.append(pair.engine.answered)
    assert answered == [None, pair.now]
    pair.backend.silent = True
    one = query("select 1")
    pair.run(one)
    assert pair.engine.take_cancel() is None
    key = pair.engine.take_cancel(running=True)
    assert key is not None
    assert pair.engine.take_cancel(running=True) is None
    later = query("select 1")
    pair.engine.submit(later)
    assert pair.send() == b""  # nothing new until it is delivered
    pair.engine.cancel_done()
    assert pair.send() != b""
    pair.pass_time(GRACE)
    assert not pair.engine.wants_cancel  # it is not repeated: its caller waits
    assert not one.finished


# ---- Listeners for notices


def saying(times: int) -> ScriptedServer:
    """A server that says something so many times."""

    def script(peer: Peer) -> Script:
        yield from peer.start()
        for _ in range(times):
            yield from peer.until(Query)
            notice = NoticeResponse(error_fields("00000", "it", "NOTICE"))
            peer.send(notice, CommandComplete("DO"), ReadyForQuery("I"))
        yield from peer.expect_end()

    return ScriptedServer(script)


def noticed(messages: list[str], name: str) -> Callable[[PostgresError], None]:
    return lambda notice: messages.append(f"{name} {notice.message}")


def test_each_listener_hears_each_notice_in_the_order_of_adding() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        heard: list[str] = []
        conn.on_notice = noticed(heard, "on_notice")
        assert len(conn.notices) == 0
        one = conn.notices.add(noticed(heard, "one"))
        with conn.notices.add(noticed(heard, "two")):
            await conn.script("say")
        assert heard == ["on_notice it", "one it", "two it"]
        await conn.script("say")
        assert heard[3:] == ["on_notice it", "one it"]
        one.remove()
        one.remove()
        await conn.script("say")
        assert heard[5:] == ["on_notice it"]

    with saying(3) as server:
        with_connection(work, server)


def test_listeners_that_change_the_list() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        heard: list[str] = []

        def first(notice: PostgresError) -> None:
            heard.append("first")
            second.remove()
            conn.notices.add(noticed(heard, "third"))

        conn.notices.add(first)
        second = conn.notices.add(noticed(heard, "second"))
        await conn.script("say")
        assert heard == ["first"]
        wrong: Any = "not callable"
        with pytest.raises(TypeError, match="must be a function, not str"):
            conn.notices.add(wrong)

    with saying(1) as server:
        with_connection(work, server)


def test_one_that_raises_is_reported_and_stops_nobody() -> None:
    heard: list[str] = []

    def raises(notice: PostgresError) -> None:
        raise KeyError(notice.message)

    async def main() -> None:
        async with runtime.connect() as conn:
            conn.notices.add(raises)
            conn.notices.add(noticed(heard, "next"))
            await conn.script("say")

    with saying(1) as server:
        runtime = VirtualRuntime(server)
        runtime.run(main)
    assert heard == ["next it"]
    assert [(name, type(error)) for name, error in runtime.reports] == [("a listener for notices", KeyError)]


def test_listeners_end_with_the_lease_and_those_of_on_connect_stay() -> None:
    heard: list[str] = []

    def on_connect(conn: Connection) -> None:
        conn.notices.add(noticed(heard, "pool"))

    async def main() -> None:
        async with runtime.Pool(max_size=1, on_connect=on_connect, reset="never") as pool:
            async with pool.acquire() as conn:
                conn.notices.add(noticed(heard, "lease"))
                await conn.script("say")
            async with pool.acquire() as other:
                await other.script("say")

    with saying(2) as server:
        runtime = VirtualRuntime(server)
        runtime.run(main)
    assert heard == ["pool it", "lease it", "pool it"]


# ---- EXPLAIN


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "EXPLAIN (FORMAT JSON) select 1"),
        ({"analyze": True, "rollback": False}, "EXPLAIN (FORMAT JSON, ANALYZE) select 1"),
        ({"verbose": True, "costs": False}, "EXPLAIN (FORMAT JSON, VERBOSE TRUE, COSTS FALSE) select 1"),
    ],
)
def test_what_explain_sends(options: dict[str, Any], text: str) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert await conn.explain("select 1", **options) == [{"Plan": {}}]

    with_connection(work, ModelServer({text: table({"QUERY PLAN": 25}, [('[{"Plan": {}}]',)])}))


def test_a_pool_explains() -> None:
    runtime = VirtualRuntime(
        ModelServer({"EXPLAIN (FORMAT JSON) x": table({"p": 25}, [('[{"Plan": {}}]',)])})
    )

    async def main() -> None:
        async with runtime.Pool() as pool:
            assert await pool.explain("x") == [{"Plan": {}}]

    runtime.run(main)


def test_what_explain_analyses_is_rolled_back() -> None:
    server = ModelServer({"EXPLAIN (FORMAT JSON, ANALYZE) insert": table({"p": 114}, [([{}],)])})

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert await conn.explain("insert", analyze=True) == [{}]
        assert conn.transaction_status == "I"
        with pytest.raises(PostgresError):
            await conn.explain("unknown", analyze=True)
        assert conn.transaction_status == "I"

    with_connection(work, server)
    assert server.committed == []


@pytest.mark.parametrize("options", [{"format": True}, {"ANALYZE": True}, {"verbose": 1}, {"x)": True}])
def test_options_that_explain_does_not_take(options: dict[str, Any]) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(TypeError, match="is no option of EXPLAIN"):
            await conn.explain("select 1", **options)

    with_connection(work)
