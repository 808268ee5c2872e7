"""LISTEN and transactions of the client, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pgproto import (
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
    TransactionAborted,
)
from pgproto.client import Connection
from pgproto.session import GRACE
from pgproto.testing import (
    Answer,
    Cancelled,
    ModelServer,
    VirtualRuntime,
    fails,
)
from tests.support.virtual import with_connection
from tests.support.virtual_answers import TABLE, server, usable

# ---- LISTEN


def test_notifications_arrive_while_the_block_is_open() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.listen("jobs") as notifications:
            task = runtime.spawn(anext, notifications)
            await runtime.sleep(1)
            with pytest.raises(LocalProtocolError, match="another task waits"):
                await anext(notifications)
            model.notify("jobs", "one")
            model.notify("others", "two")
            first = await task.wait()
            assert (first.channel, first.payload, first.pid) == ("jobs", "one", 4711)
            model.notify("jobs", "three")
            async for each in notifications:
                assert each.payload == "three"
                break
            assert notifications.dropped == 0
            assert await usable(conn)
        assert model.sessions[0].listening == set()
        with pytest.raises(LocalProtocolError, match="was left"):
            await anext(notifications)

    with_connection(work, model)


def test_who_waits_for_notifications_can_be_cancelled() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def listen() -> None:
            async with conn.listen("jobs") as notifications:
                await anext(notifications)

        task = runtime.spawn(listen)
        await runtime.sleep(1)
        assert model.sessions[0].listening == {"jobs"}
        await task.stop()
        assert isinstance(task.error, Cancelled)
        assert model.sessions[0].listening == set()
        assert await usable(conn)

    with_connection(work, model)


def test_the_end_of_the_session_ends_the_notifications() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.listen("jobs") as notifications:
            task = runtime.spawn(anext, notifications)
            await runtime.sleep(1)
            model.notify("jobs", "before the end")
            model.sessions[0].ended = "reset"
            assert model.sessions[0].on_output is not None
            model.sessions[0].on_output()
            assert (await task.wait()).payload == "before the end"
            await runtime.sleep(1)
            assert conn.closed
            with pytest.raises(ConnectionClosed):
                await anext(notifications)

    with_connection(work, model)


def test_a_waiter_is_told_of_the_end() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.listen("jobs") as notifications:
            task = runtime.spawn(anext, notifications)
            await runtime.sleep(1)
            conn.abort()
            await task.ended.wait()
            assert isinstance(task.error, ConnectionClosed)

    with_connection(work, server())


def test_a_notification_is_waited_for_with_a_limit() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.listen("jobs") as notifications:
            begin = runtime.now()
            assert await notifications.get(timeout=0) is None
            assert runtime.now() - begin < 0.1
            assert await notifications.get(timeout=2.0) is None
            assert runtime.now() - begin == pytest.approx(2.0, abs=0.1)
            model.notify("jobs", "one")
            found = await notifications.get(timeout=2.0)
            assert found is not None
            assert found.payload == "one"
            task = runtime.spawn(notifications.get)
            await runtime.sleep(1)
            with pytest.raises(LocalProtocolError, match="another task waits"):
                await notifications.get(timeout=1.0)
            await task.stop()

    with_connection(work, model)


def test_a_listen_that_is_refused_or_cancelled_leaves_nothing() -> None:
    model = ModelServer(
        {**TABLE, 'LISTEN "no"': fails("42501"), 'LISTEN "slow"': Answer("LISTEN", delay=9.0)}
    )

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(PostgresError, match="42501"):
            async with conn.listen("no"):
                pytest.fail("it does not listen")
        task = runtime.spawn(conn.listen("slow").__aenter__)
        await runtime.sleep(1)
        await task.stop()
        assert isinstance(task.error, Cancelled)
        await conn.settled()
        assert await usable(conn)
        assert model.sessions[0].listening == set()

    with_connection(work, model)


def test_a_turn_that_does_not_come_in_time() -> None:
    """Of a blocking client: there several threads take turns."""

    class Taken:
        async def take(self, deadline: float | None) -> bool:
            return False

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        notifications: Any = conn.listen("jobs")
        async with notifications:
            notifications._turn = Taken()
            assert await notifications.get(timeout=1.0) is None

    with_connection(work, server())


def test_an_interrupt_as_it_begins_to_listen_leaves_nobody_listening() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Any) -> None:
        run_flow = conn.run_flow
        flows: list[Any] = []

        async def interrupted(flow: Any) -> None:
            flows.append(flow)
            operation = next(flow)
            await conn.link.run(operation, None)
            raise KeyboardInterrupt

        conn.run_flow = interrupted
        with pytest.raises(KeyboardInterrupt):
            async with conn.listen("jobs"):
                pytest.fail("it was interrupted")
        conn.run_flow = run_flow
        assert await usable(conn)
        await runtime.sleep(1)
        assert model.sessions[0].listening == set()

    with_connection(work, model)


def test_an_error_in_the_block_stops_the_listening() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with conn.listen("jobs"):
                raise ValueError("mine")
        assert model.sessions[0].listening == set()

    with_connection(work, model)


# ---- Transactions


def test_a_transaction_is_committed_or_undone() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            await conn.execute("insert")
            statuses.append(conn.transaction_status)
        with pytest.raises(ValueError, match="mine"):
            async with conn.transaction():
                await conn.execute("insert")
                raise ValueError("mine")
        statuses.append(conn.transaction_status)
        block = conn.transaction(isolation="serializable", readonly=True, deferrable=True)
        committing = [block.committing]
        await block.start()
        with pytest.raises(LocalProtocolError):
            await block.start()
        await block.rollback()
        await block.start()
        await conn.execute("insert")
        await block.commit()
        assert [*committing, block.committing] == [False, True]
        assert block.block is not None
        with pytest.raises(LocalProtocolError):
            await block.commit()

    model = server()
    statuses: list[str] = []
    with_connection(work, model)
    assert model.committed == ["insert", "insert"]
    assert statuses == ["T", "I"]


def test_a_block_that_another_task_ends() -> None:
    model = ModelServer({**TABLE, "COMMIT": Answer("COMMIT", delay=2.0)})

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        block = conn.transaction()
        with pytest.raises(ValueError, match="mine"):
            async with block:
                await conn.execute("insert")
                task = runtime.spawn(block.commit)
                await runtime.sleep(1)
                raise ValueError("mine")
        await task.wait()
        assert await usable(conn)

    with_connection(work, model)
    assert model.committed == ["insert", "COMMIT", "select 1"] or model.committed == ["insert", "select 1"]


def test_an_interrupt_as_a_block_is_entered_ends_it() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        link: Any = conn.link
        alone = link.alone

        def interrupted(*args: Any) -> None:
            alone(*args)
            raise KeyboardInterrupt

        link.alone = interrupted
        with pytest.raises(KeyboardInterrupt):
            await conn.transaction().start()
        assert conn.closed

    with_connection(work, server())


def test_a_savepoint_undoes_its_part() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async with conn.transaction():
            await conn.execute("insert")
            with pytest.raises(PostgresError):
                async with conn.transaction():
                    await conn.execute("insert $1", 1)
                    await conn.execute("bad")
            assert conn.transaction_status == "T"

    model = server()
    with_connection(work, model)
    assert model.committed == ["insert"]


def test_a_commit_that_rolls_back_says_so() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(TransactionAborted):
            async with conn.transaction():
                with pytest.raises(PostgresError):
                    await conn.execute("bad")

    with_connection(work, server())


def test_a_transaction_that_is_cancelled_is_undone() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def transaction() -> None:
            async with conn.transaction():
                await conn.execute("insert")
                await runtime.sleep(100)

        task = runtime.spawn(transaction)
        await runtime.sleep(1)
        await task.stop()
        assert isinstance(task.error, Cancelled)
        assert conn.transaction_status == "I"
        assert await usable(conn)

    model = server()
    with_connection(work, model)
    assert model.committed == ["select 1"]


def test_a_commit_is_not_submitted_by_who_is_cancelled_before_it() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def transaction() -> None:
            block = conn.transaction()
            await block.start()
            await conn.execute("insert")
            task.cancel()
            await block.commit()

        task = runtime.spawn(transaction)
        await task.ended.wait()
        assert isinstance(task.error, Cancelled)
        assert conn.transaction_status == "I"

    model = server()
    with_connection(work, model)
    assert model.committed == []


def test_a_rollback_that_hangs_ends_the_session() -> None:
    """Whoever is cancelled does not wait for it longer than the grace."""
    model = ModelServer({**TABLE, "ROLLBACK": Answer("ROLLBACK", delay=100.0)})

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def transaction() -> None:
            async with conn.transaction():
                await conn.execute("insert")
                await runtime.sleep(100)

        task = runtime.spawn(transaction)
        await runtime.sleep(1)
        model.sessions[0].cancel = lambda: None  # type: ignore[method-assign]
        begin = runtime.now()
        await task.stop()
        assert runtime.now() - begin <= 2 * GRACE + 0.1
        assert isinstance(task.error, Cancelled)
        assert conn.closed

    with_connection(work, model)


def test_a_session_that_is_lost_in_a_transaction() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(ConnectionLost) as caught:
            async with conn.transaction():
                await conn.execute("insert")
                model.sessions[0].die_after(0)
                await conn.execute("insert")
        assert caught.value.outcome is Outcome.ROLLED_BACK

    with_connection(work, model)
    assert model.committed == []


def test_a_commit_whose_answer_is_lost_is_unknown() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(ConnectionLost) as caught:
            async with conn.transaction():
                await conn.execute("insert")
                model.sessions[0].die_after(0)
        assert caught.value.outcome is Outcome.UNKNOWN

    with_connection(work, model)


def test_blocks_in_a_generator_that_is_closed() -> None:
    model = server()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        async def rows() -> AsyncIterator[int]:
            async with conn.transaction():
                yield await conn.fetchval("select 1")

        async def pieces() -> AsyncIterator[int]:
            async with conn.stream("select many") as stream:
                async for row in stream:
                    yield row[0]

        async def listening() -> AsyncIterator[int]:
            async with conn.listen("jobs"):
                yield 1

        for make in (rows, pieces, listening):
            generator: Any = make()
            await anext(generator)
            await generator.aclose()
            await runtime.sleep(1)
            assert conn.transaction_status == "I"
            assert await usable(conn)
        assert model.sessions[0].listening == set()

    with_connection(work, model)
