"""Cursors and streams of the client, in virtual time."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from pgproto import DataError, LocalProtocolError, Outcome, PostgresError, QueryTimeout, parse_config
from pgproto.client import Connection
from pgproto.session import Script
from pgproto.testing import ModelServer, VirtualRuntime, ok, rows_of
from tests.support.virtual import TABLE, with_connection, world

MANY = 3000
SERVER = TABLE | {"select few": rows_of(*range(10)), "select many": rows_of(*range(MANY)), "insert": ok()}


def server() -> ModelServer:
    return ModelServer(SERVER)


def session(runtime: VirtualRuntime) -> Any:
    model: Any = runtime._server
    return model.sessions[0]


async def usable(conn: Connection) -> bool:
    value: int = await conn.fetchval("select 1")
    return value == 1


def test_rows_are_taken_as_they_are_wanted() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction(), conn.cursor("select many") as cursor:
            assert not [column.name for column in cursor.description]
            assert [row[0] for row in await cursor.fetch(3)] == [0, 1, 2]
            assert [column.name for column in cursor.description] == ["n"]
            row = await cursor.fetchrow()
            assert row is not None
            assert row[0] == 3
            assert await usable(conn)
            assert await cursor.forward(6) == 6
            assert (await anext(cursor))[0] == 10
            assert await cursor.forward(20) == 20  # of those at hand
            assert [row[0] for row in await cursor.fetch(2)] == [31, 32]
            assert [row[0] async for row in cursor] == list(range(33, MANY))
            assert await cursor.fetch(1) == []
            assert await cursor.fetchrow() is None
            assert await cursor.forward(1) == 0
            with pytest.raises(StopAsyncIteration):
                await anext(cursor)
        assert await usable(conn)

    with_connection(work, server())


def test_a_cursor_may_begin_with_a_skip() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            cursor: Any = conn.cursor("select many", into=int)
            assert await cursor.forward(5) == 5
            assert await cursor.fetch(1) == [5]
            assert await cursor.forward(MANY) == MANY - 6
            assert await cursor.fetch(1) == []
            short = conn.cursor("select none")
            assert await short.forward(5) == 0

    with_connection(work, server())


@pytest.mark.parametrize("prefetch", [1, 7, None])
def test_prefetch(prefetch: int | None) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            assert [n async for n in conn.cursor("select many", into=int, prefetch=prefetch)] == list(
                range(MANY)
            )

    with_connection(work, server())


def test_leaving_costs_nothing() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            async with conn.cursor("select many") as cursor:
                await cursor.fetch(1)
            heard = len(session(runtime).heard)
            await cursor.aclose()
            assert len(session(runtime).heard) == heard
            assert session(runtime).portals
            assert await usable(conn)
            assert not session(runtime).portals
            for call in (cursor.fetch(1), cursor.fetchrow(), cursor.forward(1), anext(cursor)):
                with pytest.raises(LocalProtocolError, match="closed") as caught:
                    await call
                assert caught.value.outcome is Outcome.NOT_SENT
            dropped: Any = conn.cursor("select many")
            await dropped.fetch(1)
            del dropped
            gc.collect()
            assert await usable(conn)
            assert not session(runtime).portals
        assert runtime.requests == 0

    with_connection(work, server())


def test_what_is_refused() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        odd: Any = conn.cursor
        for prefetch, error in ((0, ValueError), (1.5, TypeError), (True, TypeError), ("3", TypeError)):
            with pytest.raises(error, match="prefetch must be"):
                odd("select many", prefetch=prefetch)
        with pytest.raises(TypeError):
            conn.cursor(3)  # type: ignore[call-overload]
        cursor = conn.cursor("select many")
        number: Any
        for number, error in (
            (0, ValueError),
            (-1, ValueError),
            (1.5, TypeError),
            (True, TypeError),
            ("3", TypeError),
        ):
            with pytest.raises(error, match="n must be"):
                await cursor.fetch(number)
            with pytest.raises(error, match="n must be"):
                await cursor.forward(number)
        with pytest.raises(LocalProtocolError, match="lives in a transaction"):
            await cursor.fetch(1)
        async with conn.transaction():
            inner = conn.cursor("select many")
            assert len(await inner.fetch(1)) == 1
        with pytest.raises(
            LocalProtocolError, match="block in which the cursor or stream was opened has ended"
        ):
            await inner.fetch(1)
        assert await usable(conn)

    with_connection(work, server())


def test_two_tasks_cannot_take_turns() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            cursor = conn.cursor("select few")
            session(runtime).silent = True
            task = runtime.spawn(anext, cursor)
            await runtime.sleep(1)
            for call in (cursor.fetch(1), cursor.forward(1), anext(cursor)):
                with pytest.raises(LocalProtocolError, match="another task reads"):
                    await call
            session(runtime).silent = False
            session(runtime).work()
            session(runtime)._tell()
            await task.ended.wait()
            assert task.error is None

    with_connection(work, server())


def test_more_rows_than_a_message_can_ask_for() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            assert len(await conn.cursor("select many").fetch(1 << 40)) == MANY
            assert await conn.cursor("select many").forward(1 << 40) == MANY

    with_connection(work, server())


@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.FAILED])
def test_a_call_that_is_refused_where_it_is_made_does_not_end_it(outcome: Outcome) -> None:
    """Such as that of a task for which another one's block is open; contexts are not of virtual time."""

    class Refusing:
        async def run(self, operation: object, time: float | None) -> None:
            refusal = LocalProtocolError("not you")
            refusal.outcome = outcome
            raise refusal

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            cursor = conn.cursor("select many", into=int)
            assert await cursor.fetch(1) == [0]
            refusing: Any = Refusing()
            with pytest.raises(LocalProtocolError, match="not you"):
                await cursor._run(refusing, Script("never sent"), None)
            if outcome is Outcome.NOT_SENT:
                assert await cursor.fetch(1) == [1]
            else:
                with pytest.raises(LocalProtocolError, match="closed"):
                    await cursor.fetch(1)

    with_connection(work, server())


@pytest.mark.parametrize("streamed", [False, True])
def test_it_may_be_closed_while_its_first_rows_are_waited_for(streamed: bool) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            rows: Any = conn.stream("select many") if streamed else conn.cursor("select many")

            async def close() -> None:
                await rows.aclose()

            async def first() -> None:
                with pytest.raises(LocalProtocolError):
                    await anext(rows)

            session(runtime).silent = True
            closing = runtime.spawn(close)
            session(runtime).silent = False
            await first()
            await closing.ended.wait()
            with pytest.raises(LocalProtocolError):
                await anext(rows)
            assert await usable(conn)
            assert not session(runtime).portals
            statements = conn.engine.channel.statements._entries
            assert {statement.users for statement in statements.values()} == {0}

    with_connection(work, server())


def test_forward_leaves_the_cached_statements_alone() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            for _ in range(3):
                async with conn.cursor("select many") as cursor:
                    await cursor.fetch(1)
                    assert await cursor.forward(5) == 5
        entries = conn.engine.channel.statements._entries
        assert list(entries) == ["select many"]
        assert not conn.dirty

    with_connection(work, server())


def test_after_its_end_nothing_looks_complete() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            cursor = conn.cursor("select few")
            await anext(cursor)
            assert await cursor.forward(100) == 9
            assert await cursor.forward(1) == 0
            await cursor.aclose()
            for call in (cursor.forward(3), cursor.fetch(3)):
                with pytest.raises(LocalProtocolError, match="closed"):
                    await call

    with_connection(work, server())


def test_after_an_error_it_is_closed() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(PostgresError) as caught:
            async with conn.transaction():
                cursor = conn.cursor("bad")
                await cursor.fetch(1)
        assert caught.value.query == "bad"
        assert await usable(conn)
        with pytest.raises(QueryTimeout):
            async with conn.transaction():
                slow = conn.cursor("select few", timeout=1)
                assert len(await slow.fetch(1)) == 1
                session(runtime).silent = True
                await slow.fetch(1)
        with pytest.raises(LocalProtocolError):
            await slow.fetch(1)

    with_connection(work, server())


def odd(n: int) -> int:
    if n == 4:
        raise ValueError("four")
    return n


class Stopped(BaseException):
    """What nobody expects."""


def stopping(n: int) -> int:
    raise Stopped


def test_a_row_of_which_no_object_can_be_made() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        for take in (conn.cursor, conn.stream):
            async with conn.transaction():
                rows: Any = take("select few", into=odd)
                assert [await anext(rows) for _ in range(4)] == [0, 1, 2, 3]
                with pytest.raises(DataError):
                    await anext(rows)
                with pytest.raises((DataError, LocalProtocolError)):
                    await anext(rows)
                assert await usable(conn)
        async with conn.transaction():
            with pytest.raises(Stopped):
                await conn.cursor("select few", into=stopping).fetch(1)
            first = conn.cursor("select few", into=lambda n: 1 // n)
            with pytest.raises(DataError):
                await first.fetch(1)
            assert await usable(conn)

    with_connection(work, server())


# ---- Streams in a transaction block


@pytest.mark.parametrize("sql", ["select few", "select many"])
def test_a_stream_in_a_block_leaves_the_connection_free(sql: str) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            async for row in conn.stream(sql):
                assert await usable(conn)
                if row[0] == 5:
                    break
            rows = conn.stream(sql)
            assert (await anext(rows))[0] == 0
            await rows.aclose()
            with pytest.raises(LocalProtocolError, match="left before its end"):
                await anext(rows)
            whole = conn.stream(sql)
            assert [row[0] async for row in whole] == list(range(10 if sql == "select few" else MANY))
            with pytest.raises(StopAsyncIteration):
                await anext(whole)
            assert await conn.execute("insert") == "INSERT 0 1"
            gc.collect()
            assert await usable(conn)
            assert not session(runtime).portals
        assert runtime.requests == 0

    runtime = with_connection(work, server())
    assert session(runtime).committed.count("insert") == 1


def test_errors_of_a_stream_in_a_block() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(PostgresError):
            async with conn.transaction():
                rows = conn.stream("bad")
                await anext(rows)
        with pytest.raises(PostgresError):
            await anext(rows)
        with pytest.raises(Stopped):
            async with conn.transaction():
                await anext(conn.stream("select few", into=stopping))
        assert await usable(conn)

    with_connection(work, server())


@pytest.mark.parametrize("sql", ["select few", "select many"])
def test_outside_of_a_block_a_stream_has_the_connection_to_itself(sql: str) -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async for row in conn.stream(sql):
            assert row[0] == 0
            with pytest.raises(LocalProtocolError, match="busy with a COPY, a stream") as caught:
                await conn.fetchval("select 1")
            assert caught.value.outcome is Outcome.NOT_SENT
            break
        gc.collect()
        await conn.settled()
        assert await usable(conn)
        assert len([row async for row in conn.stream(sql)]) in (10, MANY)
        assert await usable(conn)

    with_connection(work, server())


def test_a_stream_that_a_borrower_has_not_left_does_not_disturb_the_next_one() -> None:
    async def main() -> None:
        async with runtime.Pool(config, max_size=1) as pool:
            assert pool.config is config
            assert pool.settings.max_size == 1
            async with pool.acquire() as conn:
                rows = conn.stream("select few")
                await anext(rows)
            assert await pool.fetchval("select 1") == 1
            assert [n async for n in pool.stream("select few", into=int)] == list(range(10))
            async with pool.stream("select many") as left:
                await anext(left)
            assert await pool.fetchval("select 1") == 1
            assert len(model.sessions) == 1

    config = parse_config("user=me host=there")
    model = server()
    runtime = world(model)
    runtime.run(main)
