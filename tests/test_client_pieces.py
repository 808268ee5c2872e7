"""Streams, COPY and executemany of the client, in virtual time."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pgproto import (
    ConnectionClosed,
    DataError,
    LocalProtocolError,
    Outcome,
    PostgresError,
    QueryTimeout,
)
from pgproto.client import Connection
from pgproto.session import HIGH_WATER
from pgproto.testing import (
    Cancelled,
    Faults,
    Peer,
    Script,
    ScriptedServer,
    VirtualRuntime,
    error,
)
from pgproto.wire import CopyData, CopyInResponse, Query, ReadyForQuery
from tests.support.virtual import with_connection, world
from tests.support.virtual_answers import server, usable

# ---- Streams


def test_a_stream_is_read_to_its_end() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.stream("select many") as rows:
            assert [row[0] async for row in rows] == list(range(1000))
            with pytest.raises(StopAsyncIteration):
                await anext(rows)
        assert await usable(conn)

    with_connection(work, server())


def test_a_stream_that_is_left_is_no_whole() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("select many")
        assert (await anext(rows))[0] == 0
        await rows.aclose()
        await rows.aclose()
        for _ in range(2):
            with pytest.raises(LocalProtocolError, match="left before its end"):
                await anext(rows)
        assert await usable(conn)
        never = conn.stream("select many")
        await never.aclose()
        with pytest.raises(LocalProtocolError, match="left before its end"):
            await anext(never)

    with_connection(work, server())


def test_a_stream_that_is_left_while_the_server_runs_is_cancelled() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("select slow")
        task = runtime.spawn(anext, rows)
        await runtime.sleep(1)
        await rows.aclose()
        assert await usable(conn)
        await task.ended.wait()
        assert isinstance(task.error, LocalProtocolError)
        assert runtime.requests == 1

    with_connection(work, server())


def test_a_stream_that_is_dropped_is_abandoned() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows: Any = conn.stream("select huge")
        await anext(rows)
        with pytest.raises(LocalProtocolError):
            await conn.fetch("select 1")  # nothing can be queued after a stream
        del rows
        gc.collect()
        await conn.settled()
        assert await usable(conn)

    with_connection(work, server())


def test_nobody_waits_for_a_stream_that_somebody_has_in_hand() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("select huge", timeout=None)
        await anext(rows)
        begin = runtime.now()
        await conn.settled()
        assert runtime.now() == begin
        with pytest.raises(LocalProtocolError):
            await conn.fetch("select 1")
        assert len([row async for row in rows]) == 19_999

    with_connection(work, server(), command_timeout=None)


def test_the_error_of_a_stream_stays() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("bad")
        for _ in range(2):
            with pytest.raises(PostgresError, match="22012"):
                await anext(rows)
        slow = conn.stream("select slow", timeout=1.0)
        with pytest.raises(QueryTimeout):
            await anext(slow)
        assert await usable(conn)

    with_connection(work, server())


def test_a_stream_has_one_reader_at_a_time() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("select slow")
        task = runtime.spawn(anext, rows)
        await runtime.sleep(1)
        with pytest.raises(LocalProtocolError, match="another task waits"):
            await anext(rows)
        await task.stop()
        assert isinstance(task.error, Cancelled)
        with pytest.raises(LocalProtocolError, match="left before its end"):
            await anext(rows)
        await conn.settled()
        assert await usable(conn)

    with_connection(work, server())


def test_a_stream_of_a_connection_that_is_closed() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        rows = conn.stream("select 1")
        await conn.close()
        with pytest.raises(ConnectionClosed):
            await anext(rows)

    with_connection(work, server())


def test_the_time_of_the_reader_is_not_the_servers() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        count = 0
        async for _ in conn.stream("select many", timeout=1.0):
            count += 1
            if count == 1:
                await runtime.sleep(5)
        assert count == 1000

    with_connection(work, server())


# ---- COPY


def test_copy_in_takes_what_a_source_gives() -> None:
    async def later() -> AsyncIterator[bytes]:
        yield b"3\n"
        yield b"4\n"

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert await conn.copy_in("copy in", b"1\n2\n", timeout=None) == 2
        assert await conn.copy_in("copy in", [b"5\n", b"6\n"]) == 2
        assert await conn.copy_in("copy in", later()) == 2

    model = server()
    with_connection(work, model)
    assert b"".join(model.sessions[0].copied) == b"1\n2\n5\n6\n3\n4\n"
    assert model.committed == ["copy in"] * 3


def test_copy_in_waits_for_a_server_that_reads_slowly() -> None:
    model = server()
    runtime = VirtualRuntime(model, [Faults(window=10_000, latency=0.5)])

    async def later(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 50_000

    async def main() -> None:
        async with runtime.connect() as conn:
            begin = runtime.now()
            assert await conn.copy_in("copy in", [b"x" * 50_000] * 10) == 2
            assert await conn.copy_in("copy in", later(10)) == 2
            assert runtime.now() - begin > 2 * 500_000 / 10_000 * 0.5 - 2 * HIGH_WATER / 10_000

    runtime.run(main)
    assert sum(map(len, model.sessions[0].copied)) == 1_000_000


def test_a_source_that_raises_undoes_the_copy() -> None:
    def source() -> Iterator[bytes]:
        yield b"1\n"
        raise ValueError("mine")

    async def later() -> AsyncIterator[bytes]:
        for chunk in source():
            yield chunk

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        for each in (source(), later()):
            with pytest.raises(ValueError, match="mine"):
                await conn.copy_in("copy in", each)
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert model.committed == ["select 1"]


def test_a_copy_that_the_server_refuses() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        for sql in ("copy refused", "unknown"):
            with pytest.raises(PostgresError):
                await conn.copy_in(sql, [b"1\n"])
        assert await usable(conn)

    with_connection(work, server())


@pytest.mark.parametrize("kind", ["waits", "goes on", "at once"])
def test_a_copy_that_fails_in_the_middle_stops_its_source(kind: str) -> None:
    closed: list[bool] = []

    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.expect(Query)
        peer.send(CopyInResponse(0, ()))
        yield from peer.until(CopyData)
        peer.send(error("22P04", "not like that"), ReadyForQuery("I"))
        yield from peer.expect_end()

    def source() -> Iterator[bytes]:
        while True:
            yield b"x" * HIGH_WATER

    with ScriptedServer(script) as scripted:
        runtime = world(scripted)

        async def later() -> AsyncIterator[bytes]:
            try:
                yield b"x" * HIGH_WATER
                while kind == "goes on":
                    yield b"x" * HIGH_WATER
                await runtime.sleep(1000)
            finally:
                closed.append(True)

        async def main() -> None:
            async with runtime.connect() as conn:
                begin = runtime.now()
                with pytest.raises(PostgresError, match="not like that"):
                    await conn.copy_in("copy", source() if kind == "at once" else later())
                assert runtime.now() - begin < 1

        runtime.run(main)
    assert closed == [True] * (kind != "at once")
    assert runtime.reports == []


def test_a_source_that_gives_nothing_in_time() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def later() -> AsyncIterator[bytes]:
            yield b"1\n"
            await runtime.sleep(100)

        with pytest.raises(QueryTimeout, match="the source gave nothing"):
            await conn.copy_in("copy in", later(), timeout=2.0)
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert model.committed == ["select 1"]


def test_a_source_that_cannot_be_closed_is_reported() -> None:
    class Source:
        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> bytes:
            raise ValueError("mine")

        async def aclose(self) -> None:
            raise RuntimeError("no")

    runtime = world(server())

    async def main() -> None:
        async with runtime.connect() as conn:
            with pytest.raises(ValueError, match="mine"):
                await conn.copy_in("copy in", Source())

    runtime.run(main)
    assert [(name, str(error)) for name, error in runtime.reports] == [("closing a source", "no")]


def test_a_copy_that_is_cancelled_stores_nothing() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def later() -> AsyncIterator[bytes]:
            yield b"1\n"
            await runtime.sleep(100)

        task = runtime.spawn(conn.copy_in, "copy in", later())
        await runtime.sleep(1)
        await task.stop()
        assert isinstance(task.error, Cancelled)
        await conn.settled()
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert model.committed == ["select 1"]


def test_records_are_stored_by_binary_copy() -> None:
    async def later() -> AsyncIterator[dict[str, Any]]:
        yield {"a": 7, "more": "ignored"}

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert await conn.copy_records("t", [(1,), (2,), (None,)], columns=["a"]) == 3
        assert await conn.copy_records("t", later(), columns=["a"], schema="s") == 1
        with pytest.raises(DataError):
            await conn.copy_records("t", [("x",)], columns=["a"])
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    data = b"".join(model.sessions[0].copied)
    assert data.count(b"PGCOPY\n") == 2
    assert b"\0\1\0\0\0\4\0\0\0\7" in data


def test_copy_out_comes_piece_by_piece() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.copy_out("copy out") as pieces:
            assert b"".join([piece async for piece in pieces]) == b"a\nb\n"

    with_connection(work, server())


# ---- executemany


def test_executemany_is_all_or_nothing() -> None:
    async def later(values: list[int]) -> AsyncIterator[tuple[int]]:
        for value in values:
            yield (value,)

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        assert await conn.executemany("insert $1", [(1,), (2,), (3,)]) == 3
        assert await conn.executemany("insert $1", later([4, 5])) == 2
        assert await conn.executemany("insert $1", later([])) == 0
        with pytest.raises(DataError):
            await conn.executemany("insert $1", [(1,), ("x",)])
        with pytest.raises(PostgresError, match="23505") as caught:
            await conn.executemany("bad $1", [(1,), (2,), (3,)])
        assert caught.value.outcome is Outcome.FAILED
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert model.committed.count("insert $1") == 5
    assert "bad $1" not in model.committed


def test_many_records_of_an_async_source_are_sent_in_runs() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def later() -> AsyncIterator[tuple[int]]:
            for value in range(20_000):
                yield (value,)

        assert await conn.executemany("insert $1", later()) == 20_000

    with_connection(work, server())
