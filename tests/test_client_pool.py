"""The client's pool in virtual time: borrowing and giving back."""

from __future__ import annotations

import copy
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pgproto import (
    Batch,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    Retry,
    TooManyWaiting,
)
from pgproto.client import Connection, Pool
from pgproto.testing import (
    Answer,
    Cancelled,
    ModelServer,
    Peer,
    Script,
    ScriptedServer,
    VirtualRuntime,
    error_fields,
    ok,
)
from pgproto.wire import CommandComplete, NoticeResponse, Query, ReadyForQuery
from tests.support.virtual_pool import TABLE, with_pool

# ---- Queries


def test_what_a_connection_can_a_pool_can() -> None:
    async def records() -> AsyncIterator[tuple[int]]:
        yield (1,)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        assert await pool.fetchval("select 1") == 1
        assert len(await pool.fetch("select many")) == 100
        assert await pool.fetchrow("select 1") is not None
        assert await pool.execute("insert") == "INSERT 0 1"
        batch = Batch()
        batch.queue("insert")
        assert [item.outcome for item in await pool.send_batch(batch)] == [Outcome.COMMITTED]
        assert await pool.executemany("insert $1", records()) == 1
        assert await pool.copy_in("copy in", b"1\n2\n") == 2
        assert await pool.copy_records("t", [(1,)], columns=["a"]) == 1
        async with pool.copy_out("copy out") as pieces:
            assert b"".join([piece async for piece in pieces]) == b"a\nb\n"
        async with pool.transaction(isolation="serializable") as conn:
            await conn.execute("insert")
        assert pool.stats().size == 1
        assert pool.stats().idle == 1

    with_pool(work)


def test_what_a_hook_has_kept_is_no_borrowers() -> None:
    kept: list[Connection] = []

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire() as conn:
            with pytest.raises(LocalProtocolError, match="the pool has lent this connection") as refused:
                await kept[0].fetchval("select 1")
            assert refused.value.outcome is Outcome.NOT_SENT
            assert await conn.fetchval("select 1") == 1
        assert await kept[0].fetchval("select 1") == 1  # it is idle now: nobody knows what that has done
        assert await pool.fetchval("select 1") == 1
        assert (len(kept), pool.stats().opens) == (2, 2)

    with_pool(work, on_connect=kept.append)


def test_an_error_gives_the_connection_back() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        with pytest.raises(PostgresError):
            await pool.fetch("bad")
        with pytest.raises(QueryTimeout):
            await pool.fetch("select slow", timeout=1.0)
        with pytest.raises(TypeError):
            await pool.fetch(42)  # type: ignore[call-overload]
        out = pool.copy_out("unknown")
        with pytest.raises(PostgresError):
            await anext(out)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_a_copy_that_is_left_gives_the_connection_back() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        out: Any = pool.copy_out("copy out")
        assert await anext(out) == b"a\nb\n"
        await out.aclose()
        assert await pool.fetchval("select 1") == 1
        out = pool.copy_out("copy out")
        await anext(out)
        del out
        gc.collect()
        assert await pool.fetchval("select 1") == 1

    with_pool(work, max_size=1)


# ---- Borrowing


def test_connections_are_lent_and_come_back() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire() as conn:
            assert pool.stats().used == 1
            assert await conn.fetchval("select 1") == 1
        assert pool.stats().used == 0
        with pytest.raises(ConnectionClosed, match="the lease is over"):
            await conn.fetch("select 1")
        with pytest.raises(ConnectionClosed, match="the lease is over"):
            _ = conn.transaction_status
        conn = await pool.acquire()
        await pool.release(conn)
        await pool.release(conn)
        assert pool.stats().used == 0
        assert pool.stats().opens == 1

    with_pool(work)


def test_a_lease_is_no_connection_and_is_used_once_at_a_time() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        lease: Any = pool.acquire()
        with pytest.raises(AttributeError, match="a lease is no connection"):
            lease.fetch("select 1")
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.copy(lease)
        async with lease:
            with pytest.raises(LocalProtocolError, match="the lease is in use"):
                await lease
        conn = await lease
        lease.release()
        lease.release(conn)
        async with runtime.connect() as other:
            with pytest.raises(LocalProtocolError, match="not lent by this pool"):
                await pool.release(other)

    with_pool(work)


def test_who_waits_gets_it_in_order() -> None:
    served: list[int] = []

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async def borrow(number: int) -> None:
            async with pool.acquire():
                served.append(number)
                await runtime.sleep(1)

        tasks = [runtime.spawn(borrow, number) for number in range(5)]
        for task in tasks:
            await task.wait()

    with_pool(work, max_size=2)
    assert served == [0, 1, 2, 3, 4]


def test_waiting_has_an_end() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire():
            begin = runtime.now()
            with pytest.raises(PoolTimeout) as caught:
                await pool.execute("insert", timeout=2.0)
            assert caught.value.outcome is Outcome.NOT_SENT
            assert runtime.now() - begin == pytest.approx(2.0)
            waiting = runtime.spawn(pool.fetchval, "select 1")
            await runtime.sleep(1)
            with pytest.raises(TooManyWaiting):
                await pool.acquire()
            await waiting.stop()
            assert pool.stats().waiting == 0
        assert await pool.fetchval("select 1") == 1

    with_pool(work, max_size=1, max_waiting=1)


def test_a_call_shares_its_time_with_the_wait() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn = await pool.acquire()
        begin = runtime.now()
        task = runtime.spawn(lambda: pool.fetchval("select slow", timeout=3.0))
        await runtime.sleep(2)
        await pool.release(conn)
        await task.ended.wait()
        assert isinstance(task.error, QueryTimeout)
        assert runtime.now() - begin == pytest.approx(3.0, abs=0.1)

    with_pool(work, max_size=1)


def test_a_lease_that_is_dropped_warns_and_comes_back() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn: Any = await pool.acquire()
        del conn
        with pytest.warns(ResourceWarning, match="not given back"):
            gc.collect()
        await runtime.sleep(1)
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_a_lease_in_a_generator_that_is_closed() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async def numbers() -> AsyncIterator[int]:
            async with pool.acquire() as conn:
                yield await conn.fetchval("select 1")

        generator: Any = numbers()
        await anext(generator)
        await generator.aclose()
        await runtime.sleep(1)
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_borrowing_that_is_cancelled_at_each_suspension_borrows_nothing() -> None:
    ended = 0
    for suspension in range(1, 20):
        runtime = VirtualRuntime(ModelServer(TABLE))

        async def main(runtime: VirtualRuntime = runtime, suspension: int = suspension) -> bool:
            async with runtime.Pool(max_size=1) as pool:

                async def borrow() -> None:
                    async with pool.acquire() as conn:
                        await conn.fetchval("select 1")

                task = runtime.spawn(borrow)
                task.cancel_at(suspension)
                await task.ended.wait()
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().used == 0
                return isinstance(task.error, Cancelled)

        if not runtime.run(main):
            break
        assert runtime.reports == []
        ended += 1
    assert 2 <= ended < 19


def test_what_is_in_flight_when_a_lease_ends_is_stopped() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn = await pool.acquire()
        task = runtime.spawn(conn.fetch, "select slow")
        await runtime.sleep(1)
        await pool.release(conn)
        await task.ended.wait()
        assert isinstance(task.error, ConnectionLost)
        assert "the lease is over" in str(task.error)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 1

    with_pool(work, max_size=1)


def test_listeners_end_with_their_lease() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn = await pool.acquire()
        notifications = conn.listen("jobs")
        await notifications.__aenter__()
        await pool.release(conn)
        with pytest.raises(ConnectionClosed, match="lease is over"):
            await anext(notifications)
        await notifications.__aexit__(None, None, None)

    with_pool(work)


def test_a_copy_that_is_left_while_it_waits_for_a_connection() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn = await pool.acquire()
        out = pool.copy_out("copy out")
        task = runtime.spawn(anext, out)
        await runtime.sleep(1)
        await out.aclose()
        await pool.release(conn)
        await task.ended.wait()
        assert isinstance(task.error, LocalProtocolError)
        assert await pool.fetchval("select 1") == 1

    with_pool(work, max_size=1)


def test_a_connection_that_dies_after_it_was_granted_is_replaced() -> None:
    server = ModelServer(TABLE)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        conn = await pool.acquire()
        task = runtime.spawn(pool.fetchval, "select 1")
        await runtime.sleep(1)
        link = conn.link
        assert conn.lease is not None
        lease = conn.lease()
        assert lease is not None
        lease.release()  # it is granted to the other
        link.engine.transport_failed(OSError("cut"))
        link.flush()
        assert await task.wait() == 1
        assert pool.stats().opens == 2

    with_pool(work, server, max_size=1)


def test_a_decision_that_comes_before_anybody_waits_for_it() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        driver: Any = pool._driver
        conn = await pool.acquire()
        ticket = driver._machine.acquire(runtime.now())
        await pool.release(conn)
        await driver._decided(ticket)
        assert ticket.connection is not None
        driver._end(ticket, ticket.connection)
        assert await pool.fetchval("select 1") == 1

    with_pool(work, max_size=1)


def test_an_interrupt_as_a_caller_takes_its_place_or_has_got_it() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    def interrupt() -> float:
        raise KeyboardInterrupt

    async def main() -> None:
        async with runtime.Pool(max_size=1) as pool:
            driver: Any = pool._driver
            driver._now = interrupt
            with pytest.raises(KeyboardInterrupt):
                await pool.acquire()
            del driver._now
            borrow = driver.borrow

            async def interrupted(timeout: float | None, keep: Any) -> None:
                await borrow(timeout, keep)
                raise KeyboardInterrupt

            driver.borrow = interrupted
            with pytest.raises(KeyboardInterrupt):
                await pool.acquire()
            del driver.borrow
            assert await pool.fetchval("select 1") == 1

    runtime.run(main)


def test_a_lease_is_claimed_once() -> None:
    """Several may want to end it at once, in threads of their own."""

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        driver: Any = pool._driver
        lease: Any = pool.acquire()
        await lease
        held = lease._held
        assert held.claim()
        assert not held.claim()
        lease.release()
        assert pool.stats().used == 1
        driver.give_back(held, lease._let_go)
        assert pool.stats().used == 0
        later: list[Any] = []
        driver.give_back = lambda held, done: later.append((held, done))
        await lease
        lease.release()
        del driver.give_back
        driver.give_back(*later.pop())
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_a_lease_in_a_generator_that_is_closed_in_a_forked_child() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server)

    async def main() -> None:
        pool = await runtime.Pool(max_size=1).open()

        async def numbers() -> AsyncIterator[int]:
            async with pool.acquire():
                yield 1

        generator: Any = numbers()
        await anext(generator)
        runtime.fork()
        await generator.aclose()

    runtime.run(main)
    assert [session.ended for session in server.sessions] == [""]


def test_a_lease_that_was_given_back_by_hand_in_a_generator_that_is_closed() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async def numbers() -> AsyncIterator[int]:
            async with pool.acquire() as conn:
                await pool.release(conn)
                yield 1

        generator: Any = numbers()
        await anext(generator)
        await generator.aclose()
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_a_handle_that_is_taken_back_is_taken_back_once() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with runtime.connect() as conn:
            lent = conn.lend()
            assert lent.take_back() is conn
            assert lent.take_back() is conn
            assert lent.closed
            assert await conn.fetchval("select 1") == 1

    with_pool(work)


def test_the_owners_notices_are_not_the_borrowers() -> None:
    told: list[str] = []

    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        notice = NoticeResponse(error_fields("01000", "look out", "WARNING"))
        peer.send(notice, CommandComplete("DO"), ReadyForQuery("I"))
        yield from peer.expect_end()

    def on_connect(conn: Connection) -> None:
        conn.on_notice = lambda notice: told.append(notice.message)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire() as conn:
            await conn.script("do")

    with ScriptedServer(script) as server:
        with_pool(work, server, on_connect=on_connect, max_size=1, reset="never")
    assert told == ["look out"]


# ---- Transactions and retry


def test_a_transaction_that_fails_to_begin_gives_the_connection_back() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        block = pool.transaction()
        await block.__aexit__(None, None, None)  # nothing was begun
        assert block.block is None
        assert not block.committing
        with pytest.raises(PostgresError):
            async with block as conn:
                await conn.execute("bad")
        with pytest.raises(LocalProtocolError):
            async with pool.transaction(isolation="chaos"):
                pytest.fail("there is no such level")
        assert pool.stats().used == 0

    with_pool(work, max_size=1)


def test_retry_repeats_what_is_safe() -> None:
    attempts: list[int] = []
    server = ModelServer({**TABLE, "flaky": Answer(error=error_fields("40001"))})

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async def fn(conn: Connection) -> str:
            attempts.append(1)
            if len(attempts) == 3:
                server.table["flaky"] = ok()
            return await conn.execute("flaky")

        assert await pool.retry(fn) == "INSERT 0 1"
        assert len(attempts) == 3

        async def bad(conn: Connection) -> None:
            attempts.append(1)
            await conn.execute("bad")

        attempts.clear()
        with pytest.raises(PostgresError, match="22012"):
            await pool.retry(bad, retry=Retry(attempts=5))
        assert len(attempts) == 1

    with_pool(work, server)


# ---- Where it belongs


def test_a_pool_belongs_to_its_run() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))
    kept: list[Any] = []

    async def first() -> None:
        pool = await runtime.Pool().open()
        kept.extend([pool, await pool.acquire()])

    async def second() -> None:
        pool, conn = kept
        with pytest.raises(LocalProtocolError, match="another event loop"):
            await pool.fetch("select 1")
        with pytest.raises(LocalProtocolError, match="another event loop"):
            await pool.close()
        await pool.release(conn)  # nobody is there to take it back

    runtime.run(first)
    runtime.run(second)
    kept.clear()
    with pytest.warns(ResourceWarning):
        gc.collect()


def test_in_a_forked_child_it_is_the_parents() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server)

    async def main() -> None:
        fresh = runtime.Pool()
        pool = await runtime.Pool(max_size=2).open()
        conn = await pool.acquire()
        lost: Any = await pool.acquire()
        runtime.fork()
        with pytest.raises(ConnectionClosed, match="parent process"):
            await pool.fetch("select 1")
        with pytest.raises(ConnectionClosed, match="parent process"):
            await conn.fetch("select 1")
        await pool.release(conn)
        del lost
        gc.collect()
        await pool.close()
        assert await fresh.fetchval("select 1") == 1  # it was never opened, so it is nobody's
        await fresh.close()

    runtime.run(main)
    assert [session.ended for session in server.sessions] == ["", "", "fin"]


def test_a_pool_that_nobody_refers_to_ends() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server)

    async def main() -> None:
        pool: Any = await runtime.Pool().open()
        with pytest.warns(ResourceWarning, match="unclosed connection"):
            del pool
        await runtime.sleep(1000)
        assert server.sessions[0].ended

    runtime.run(main)
