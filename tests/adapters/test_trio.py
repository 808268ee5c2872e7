"""Features of the trio adapter only: a waiting task is the pump, streams without a task, trio's clock."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import pgproto_trio as pg
from pgproto import (
    Batch,
    ConnectionClosed,
    DataError,
    LocalProtocolError,
    Outcome,
    PostgresError,
)
from pgproto_trio import Connection
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.under_trio import on_connection, run


class SmallSocket(socket.socket):
    """A socket whose buffers were small before it was connected."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.family == socket.AF_INET:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


@pytest.fixture
def narrow(pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to a server through socket buffers of 4 KiB, those of the adapter included."""
    with Proxy(("127.0.0.1", pg18.port), buffer_size=4096) as proxy:
        monkeypatch.setattr(socket, "socket", SmallSocket)
        yield proxy


# ---- The API, once around


def test_the_ways_to_query(pg: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        assert [row[0] for row in await conn.fetch("select generate_series(1, $1::int4)", 3)] == [1, 2, 3]
        row = await conn.fetchrow("select 1 as a, 'x' as b")
        assert row is not None
        assert (row["a"], row["b"]) == (1, "x")
        assert await conn.fetchrow("select 1 where false") is None
        assert await conn.fetchval("select $1::text", "é") == "é"
        assert await conn.execute("create temp table t (a int4)") == "CREATE TABLE"
        assert [each.tag for each in await conn.script("insert into t values (1); select 2")] == [
            "INSERT 0 1",
            "SELECT 1",
        ]
        statement = await conn.prepare("select $1::int4 * 2")
        assert (await statement.fetchval(4), await statement.execute(4)) == (8, "SELECT 1")
        assert [row[0] for row in await statement.fetch(5)] == [10]
        assert await statement.fetchrow(6) == (12,)
        await statement.close()
        batch = Batch()
        first, second = batch.queue("select $1::int4", 1), batch.queue("select 'b'")
        await conn.send_batch(batch)
        assert (first.rows[0][0], second.rows[0][0], second.outcome) == (1, "b", Outcome.COMMITTED)
        await conn.reset()
        assert (conn.transaction_status, conn.closed, conn.pid > 0) == ("I", False, True)
        assert conn.parameters["client_encoding"] == "UTF8"
        assert repr(conn).startswith("<Connection to 127.0.0.1")

    on_connection(pg, scenario)


def test_connect_can_be_awaited_and_close_is_idempotent(pg18: PostgresServer) -> None:
    async def main() -> None:
        conn = await pg.connect(pg18.dsn(host=str(pg18.directory)))
        assert await conn.fetchval("select 1") == 1
        with trio.CancelScope() as scope:
            scope.cancel()
            await conn.close()  # shielded: Cancelled does not come out of it
            await conn.close(timeout=0.0)
        assert conn.closed
        assert repr(conn) == "<Connection closed>"
        conn.abort()
        with pytest.raises(ConnectionClosed):
            await conn.fetch("select 1")

    run(main)


def test_copy_both_ways(pg: PostgresServer) -> None:
    async def records() -> AsyncIterator[tuple[int, str]]:
        for number in range(3):
            await trio.lowlevel.checkpoint()
            yield (number, "x")

    async def scenario(conn: Connection) -> None:
        await conn.execute("create temp table t (a int4, b text)")
        assert await conn.copy_in("copy t from stdin", b"1\ta\n") == 1
        assert await conn.copy_in("copy t from stdin", [b"2\t", b"b\n"]) == 1
        assert await conn.copy_records("t", [(3, None)], columns=["a", "b"]) == 1
        assert await conn.copy_records("t", records(), columns=["a", "b"]) == 3
        async with conn.copy_out("copy (select a, b from t order by 1, 2) to stdout") as chunks:
            data = b"".join([chunk async for chunk in chunks])
        assert data == b"0\tx\n1\ta\n1\tx\n2\tb\n2\tx\n3\t\\N\n"
        with pytest.raises(LocalProtocolError):
            await conn.copy_in("select 1", b"")
        with pytest.raises(DataError):
            await conn.copy_records("t", [("no number", "x")], columns=["a", "b"])
        assert await conn.fetchval("select count(*) from t") == 6

    on_connection(pg, scenario)


def test_a_slow_source_is_interrupted_when_the_server_refuses_its_data(pg18: PostgresServer) -> None:
    ended = []

    async def source() -> AsyncIterator[bytes]:
        try:
            yield b"not a number\n"
            await trio.sleep_forever()
        finally:
            ended.append(True)

    async def scenario(conn: Connection) -> None:
        await conn.execute("create temp table t (a int4)")
        with pytest.raises(PostgresError) as caught:
            await conn.copy_in("copy t from stdin", source())
        assert caught.value.sqlstate == "22P02"
        assert ended == [True]
        assert await conn.fetchval("select count(*) from t") == 0

    on_connection(pg18, scenario)


def test_a_source_that_fails_undoes_the_copy_and_raises_its_own_error(pg18: PostgresServer) -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"1\n"
        raise RuntimeError("no more")

    async def scenario(conn: Connection) -> None:
        await conn.execute("create temp table t (a int4)")
        with pytest.raises(RuntimeError, match="no more"):
            await conn.copy_in("copy t from stdin", source())
        assert await conn.fetchval("select count(*) from t") == 0

    on_connection(pg18, scenario)


def test_streams_end_and_can_be_left_in_every_way(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        assert len([row async for row in conn.stream("select generate_series(1, 10000)")]) == 10000
        async with conn.stream("select generate_series(1, 100000)") as rows:
            async for row in rows:
                assert row[0] == 1
                break
            with pytest.raises(LocalProtocolError, match="busy"):
                await conn.fetchval("select 1")
        assert await conn.fetchval("select 2") == 2
        with pytest.raises(LocalProtocolError, match="left before its end"):
            await anext(rows)
        async for row in conn.stream("select generate_series(1, 100000)"):
            assert row[0] == 1
            break  # dropped: no aclose, no warning, and the connection is free at once
        assert await conn.fetchval("select 3") == 3
        with pytest.raises(PostgresError) as caught:
            async for _ in conn.stream("select 1 / (10 - x) from generate_series(1, 20) as x"):
                pass
        assert caught.value.sqlstate == "22012"
        unused = conn.stream("select 4")
        await unused.aclose()
        assert await conn.fetchval("select 5") == 5

    on_connection(pg18, scenario)


# ---- Several tasks on one connection


def test_a_hundred_tasks_share_one_connection(pg18: PostgresServer) -> None:
    with Proxy(("127.0.0.1", pg18.port), latency=0.1) as proxy:

        async def main() -> None:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                results: dict[int, Any] = {}

                async def one(number: int) -> None:
                    sql = "select $1::int4" if number != 50 else "select 1 / ($1::int4 - 50)"
                    try:
                        results[number] = await conn.fetchval(sql, number)
                    except PostgresError as error:
                        results[number] = error.sqlstate

                await conn.fetchval("select $1::int4", 0)
                proxy.reset_counters()
                async with trio.open_nursery() as nursery:
                    for number in range(100):
                        nursery.start_soon(one, number)
                assert results.pop(50) == "22012"
                assert results == {number: number for number in range(100) if number != 50}
                assert proxy.round_trips <= 2

        run(main)


def test_the_pump_passes_on_when_its_task_leaves(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        results: list[object] = []

        async def one(number: int) -> None:
            results.append(await conn.fetchval("select $1::int4 from pg_sleep(0.1)", number))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(one, number)
                await trio.testing.wait_all_tasks_blocked()
        assert results == [0, 1, 2, 3]

    on_connection(pg18, scenario)


def test_a_cancelled_task_leaves_its_neighbours_alone(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        results: list[object] = []

        async def patient() -> None:
            results.append(await conn.fetchval("select 'patient' from pg_sleep(0.3)"))

        async def cancelled(scope: trio.CancelScope) -> None:
            with scope:
                results.append(await conn.fetchval("select 'foreign' from pg_sleep(0.01)"))

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patient)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(cancelled, scope)
            await trio.testing.wait_all_tasks_blocked()
            before = trio.current_time()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert trio.current_time() - before < 0.2  # it did not wait for the other one's answer
        assert results == ["patient"]
        assert await conn.fetchval("select 'own'") == "own"

    on_connection(pg18, scenario)


def test_notifications_arrive_while_others_query(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        got: list[str] = []

        async def listen(ready: trio.Event) -> None:
            async with conn.listen("jobs") as notifications:
                ready.set()
                async for notification in notifications:
                    got.append(notification.payload)
                    if len(got) == 20:
                        break

        ready = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, ready)
            await ready.wait()
            for number in range(20):
                await conn.execute("select pg_notify('jobs', $1::text)", str(number))
                assert await conn.fetchval("select $1::int4", number) == number
        assert got == [str(number) for number in range(20)]

    on_connection(pg18, scenario)


def test_a_listener_on_an_idle_connection_hears_others_and_the_end(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        async with pg.connect(pg18.dsn()) as other, conn.listen("jobs") as notifications:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.execute, "notify jobs, 'hello'")
                assert (await anext(notifications)).payload == "hello"
            assert notifications.dropped == 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(other.fetchval, "select pg_terminate_backend($1::int4)", conn.pid))
                with pytest.raises(ConnectionClosed) as caught:
                    await anext(notifications)
            assert isinstance(caught.value.__cause__, PostgresError)
            assert caught.value.__cause__.sqlstate == "57P01"

    on_connection(pg18, scenario)


def test_only_one_task_takes_from_a_listener(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        async with conn.listen("jobs") as notifications, trio.open_nursery() as nursery:
            nursery.start_soon(anext, notifications)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError, match="another task"):
                await anext(notifications)
            nursery.cancel_scope.cancel()
        assert await conn.fetchval("select 1") == 1

    on_connection(pg18, scenario)


# ---- Sizes


@pytest.mark.slow
def test_big_batches_through_small_buffers(pg18: PostgresServer, narrow: Proxy) -> None:
    async def scenario(conn: Connection) -> None:
        batch = Batch()
        items = [batch.queue("select $1::int4", number) for number in range(20_000)]
        text = "x" * 1_000_000
        big = [batch.queue("select $1::text", text) for _ in range(3)]
        await conn.send_batch(batch)
        assert [item.rows[0][0] for item in items] == list(range(20_000))
        assert [item.rows[0][0] == text for item in big] == [True] * 3
        await conn.execute("create temp table t (a text)")
        assert await conn.copy_records("t", [(text,)] * 3, columns=["a"]) == 3
        assert sum([len(chunk) async for chunk in conn.copy_out("copy t to stdout")]) == 3_000_003

    on_connection(pg18, scenario, port=narrow.port)


def test_output_of_one_task_moves_while_another_is_the_pump(pg18: PostgresServer, narrow: Proxy) -> None:
    async def scenario(conn: Connection) -> None:
        text = "x" * 500_000
        results: list[object] = []

        async def one(value: str) -> None:
            results.append(await conn.fetchval("select $1::text", value) == value)

        async with conn.listen("nothing") as notifications, trio.open_nursery() as nursery:
            nursery.start_soon(anext, notifications)  # it is the pump, and waits for reading only
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as inner:
                inner.start_soon(one, text)
                inner.start_soon(one, text + "y")
            nursery.cancel_scope.cancel()
        assert results == [True, True]

    on_connection(pg18, scenario, port=narrow.port)
