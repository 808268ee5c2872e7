"""The client's pool in virtual time: hooks, its jobs, its beginning and its end."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from pgproto import (
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    PoolClosed,
    PoolTimeout,
    QueryTimeout,
)
from pgproto.client import Connection, Pool
from pgproto.pool import Check, Reset
from pgproto.testing import (
    Cancelled,
    Faults,
    ModelServer,
    Peer,
    Script,
    ScriptedServer,
    VirtualRuntime,
    fails,
    fatal,
)
from tests.support.virtual_pool import TABLE, kill, with_pool


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves is collected in it, where its warnings belong."""
    yield
    gc.collect()


# ---- Hooks


def test_hooks_are_asked_in_their_order() -> None:
    asked: list[str] = []

    async def on_connect(conn: Connection) -> None:
        asked.append("connect")
        await conn.execute("set x = 1")

    def on_acquire(conn: Connection) -> None:
        asked.append("acquire")

    async def on_release(conn: Connection) -> bool:
        asked.append("release")
        return True

    def on_close(conn: Connection) -> None:
        asked.append("close")

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.fetch("select 1")
        await runtime.sleep(1)

    with_pool(work, on_connect=on_connect, on_acquire=on_acquire, on_release=on_release, on_close=on_close)
    assert asked == ["connect", "acquire", "release", "close"]


def test_a_connection_that_is_refused_is_replaced() -> None:
    seen: list[int] = []

    async def on_acquire(conn: Connection) -> bool:
        seen.append(conn.pid)
        return len(seen) != 1

    async def on_release(conn: Connection) -> bool:
        return len(seen) != 2

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        for _ in range(2):
            assert await pool.fetchval("select 1") == 1
            await runtime.sleep(1)
        assert pool.stats().retired["refused"] >= 1

    with_pool(work, max_size=1, on_acquire=on_acquire, on_release=on_release)
    assert seen == [4711, 4712, 4713]


def test_a_hook_that_hangs_costs_its_connection() -> None:
    async def hang(conn: Connection) -> None:
        await conn.fetch("select slow", timeout=None)

    async def on_acquire(runtime: VirtualRuntime, pool: Pool) -> None:
        begin = runtime.now()
        with pytest.raises(PoolTimeout, match="on_acquire"):
            await pool.acquire(timeout=2.0)
        assert runtime.now() - begin == pytest.approx(2.0, abs=0.1)

    async def on_release(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.fetch("select 1")
        await runtime.sleep(20)
        assert pool.stats().used == 0

    with_pool(on_acquire, on_acquire=hang)
    runtime = with_pool(on_release, on_release=hang, reset_timeout=1.0)
    assert [name for name, _ in runtime.reports] == ["on_release"]
    runtime = with_pool(on_release, on_close=hang, reset_timeout=1.0)
    assert [name for name, _ in runtime.reports] == ["on_close"]


def test_what_hooks_raise_is_told() -> None:
    def broken(conn: Connection) -> None:
        raise ValueError("mine")

    def late(conn: Connection) -> None:
        raise TimeoutError("of the hook's own")

    async def on_release(runtime: VirtualRuntime, pool: Pool) -> None:
        assert await pool.fetchval("select 1") == 1
        await runtime.sleep(1)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2

    async def on_acquire(runtime: VirtualRuntime, pool: Pool) -> None:
        with pytest.raises(ValueError, match="mine"):
            await pool.acquire()

    runtime = with_pool(on_release, on_release=broken)
    assert {name for name, _ in runtime.reports} == {"on_release"}
    runtime = with_pool(on_release, on_release=late)
    assert {str(error) for _, error in runtime.reports} == {"of the hook's own"}
    with_pool(on_acquire, on_acquire=broken)

    async def main() -> None:
        with pytest.raises(ConnectError) as caught:
            async with runtime.Pool(on_connect=broken):
                pytest.fail("it has no connection")
        assert "mine" in str(caught.value) or "mine" in str(caught.value.__cause__)

    runtime.run(main)


def test_a_hook_that_leaves_the_connection_busy() -> None:
    async def leave(conn: Connection) -> None:
        await conn.script("BEGIN")

    async def on_acquire(runtime: VirtualRuntime, pool: Pool) -> None:
        with pytest.raises(LocalProtocolError, match="on_acquire left the connection"):
            await pool.fetch("select 1")

    async def on_release(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.fetch("select 1")
        await runtime.sleep(1)

    with_pool(on_acquire, on_acquire=leave)
    runtime = with_pool(on_release, on_release=leave)
    assert [name for name, _ in runtime.reports] == ["on_release"]


def test_a_hook_that_closes_the_connection_does_not_want_it() -> None:
    seen: list[int] = []

    async def on_acquire(conn: Connection) -> None:
        seen.append(conn.pid)
        if len(seen) == 1:
            await conn.close()

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        assert await pool.fetchval("select 1") == 1

    with_pool(work, on_acquire=on_acquire)
    assert seen == [4711, 4712]


def test_a_hook_that_leaves_a_stream_is_waited_for() -> None:
    async def leave(conn: Connection) -> None:
        rows: Any = conn.stream("select huge")
        await anext(rows)
        del rows
        gc.collect()

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        for _ in range(2):
            assert await pool.fetchval("select 1") == 1
            await runtime.sleep(1)
        assert pool.stats().opens == 1

    runtime = with_pool(work, on_connect=leave, on_acquire=leave, on_release=leave)
    assert runtime.reports == []


def test_on_release_does_not_excuse_a_borrower_who_left_a_transaction_open() -> None:
    seen: list[str] = []

    def on_release(conn: Connection) -> None:
        seen.append(conn.transaction_status)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire() as conn:
            await conn.script("BEGIN")
        await runtime.sleep(1)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2

    runtime = with_pool(work, on_release=on_release, max_size=1)
    assert seen[0] == "T"
    assert runtime.reports == []


@pytest.mark.filterwarnings("ignore:unclosed connection:ResourceWarning")
@pytest.mark.parametrize("which", ["on_connect", "on_acquire", "on_release", "on_close"])
def test_an_interrupt_in_a_hook_goes_up(which: str) -> None:
    def interrupt(conn: Connection) -> None:
        raise KeyboardInterrupt

    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        hooks: Any = {which: interrupt}
        async with runtime.Pool(**hooks) as pool:
            await pool.fetchval("select 1")
            await runtime.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)
    gc.collect()
    assert runtime.reports == []


@pytest.mark.filterwarnings("ignore:unclosed connection:ResourceWarning")
@pytest.mark.parametrize("moment", ["opening", "closing", "borrowing", "releasing"])
def test_what_an_interrupt_leaves_is_ended_by_the_collector(moment: str) -> None:
    """Its run is over: nothing is begun, and nothing raised."""
    runtime = VirtualRuntime(ModelServer(TABLE), [Faults(deaf=True)] if moment == "opening" else [])

    async def hang(conn: Connection) -> None:
        await runtime.sleep(1000)

    async def main() -> None:
        hooks: Any = {"on_close": hang} if moment == "closing" else {}
        if moment == "releasing":
            hooks = {"on_release": hang}
        pool = await runtime.Pool(max_size=1, **hooks).open(wait=moment != "opening")
        if moment == "closing":
            runtime.spawn(pool.close)
        elif moment == "borrowing":
            runtime.spawn(pool.acquire().start)
            runtime.spawn(pool.acquire().start)
        elif moment == "releasing":
            await pool.release(await pool.acquire())
        await runtime.sleep(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main)
    gc.collect()
    assert runtime.reports == []


# ---- Its jobs


def test_a_dirty_connection_is_reset_and_set_up_again() -> None:
    set_up: list[str] = []
    server = ModelServer(TABLE)

    async def on_connect(conn: Connection) -> None:
        set_up.append("set up")

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.execute("set x = 1")
        await runtime.sleep(1)
        assert pool.stats().opens == 1

    with_pool(work, server, on_connect=on_connect)
    assert set_up == ["set up"] * 2
    assert any(getattr(each, "query", "") == "DISCARD ALL" for each in server.sessions[0].heard)


def test_a_reset_that_fails_closes_the_connection() -> None:
    server = ModelServer({**TABLE, "DISCARD ALL": fails("42501")})

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.execute("set x = 1")
        await runtime.sleep(1)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2

    with_pool(work, server)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", "mine"),
        ("hangs", "on_connect did not return in time"),
        ("hangs in its own query", "on_connect did not return in time"),
    ],
)
def test_on_connect_that_fails_after_a_reset_is_reported(how: str, said: str) -> None:
    calls: list[int] = []

    async def on_connect(conn: Connection) -> None:
        calls.append(1)
        if len(calls) == 2 and how == "raises":
            raise ValueError("mine")
        if len(calls) == 2 and how == "hangs":
            await conn.runtime.sleep(1000)
        if len(calls) == 2:
            await conn.fetch("select slow", timeout=None)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.execute("set x = 1")
        await runtime.sleep(20)
        assert await pool.fetchval("select 1") == 1

    runtime = with_pool(work, on_connect=on_connect, reset_timeout=1.0)
    assert [(name, str(error)) for name, error in runtime.reports] == [("on_connect", said)]


def test_on_connect_that_fails_in_passing_after_a_reset_is_not_reported() -> None:
    calls: list[int] = []

    def on_connect(conn: Connection) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise QueryTimeout("the server is slow")

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await pool.execute("set x = 1")
        await runtime.sleep(1)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2

    runtime = with_pool(work, on_connect=on_connect)
    assert runtime.reports == []


def test_a_job_that_begins_after_the_end_of_its_connection_does_nothing() -> None:
    """Tasks begin in any order on some loops."""

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        driver: Any = pool._driver
        (slot,) = driver._slots.values()
        generation = slot.generation
        kill(server.sessions[0])
        await runtime.sleep(1)
        slot.connection = None
        await driver._look_after(Check(slot, generation))
        await driver._look_after(Reset(slot, generation))
        await driver._stop_opening(slot, generation)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2

    server = ModelServer(TABLE)
    with_pool(work, server)


def test_an_idle_connection_is_checked_before_it_is_lent() -> None:
    server = ModelServer(TABLE)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await runtime.sleep(100)
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 1
        server.sessions[0].silent = True
        await runtime.sleep(100)
        begin = runtime.now()
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 2
        assert runtime.now() - begin < 10

    with_pool(work, server, max_size=1, check_after=10.0, check_timeout=1.0)


def test_connections_that_die_are_replaced() -> None:
    server = ModelServer(TABLE)

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        kill(server.sessions[0])
        await runtime.sleep(1)
        assert pool.stats().lost == 1
        assert pool.stats().size == 1
        assert await pool.fetchval("select 1") == 1
        conn = await pool.acquire()
        kill(server.sessions[1])
        await runtime.sleep(1)
        assert conn.closed
        await pool.release(conn)
        assert await pool.fetchval("select 1") == 1

    with_pool(work, server, max_size=1)


def test_a_borrower_is_told_of_the_end_and_the_owner_too() -> None:
    told: list[str] = []
    server = ModelServer(TABLE)

    def on_connect(conn: Connection) -> None:
        conn.on_lost = lambda: told.append("owner")

    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        async with pool.acquire() as conn:
            conn.on_lost = lambda: told.append("borrower")
            kill(server.sessions[0])
            await runtime.sleep(1)

    with_pool(work, server, max_size=1, on_connect=on_connect)
    assert told[:2] == ["owner", "borrower"]


def test_old_connections_are_replaced() -> None:
    async def work(runtime: VirtualRuntime, pool: Pool) -> None:
        await runtime.sleep(100)
        assert pool.stats().retired["lifetime"] >= 1
        pool.expire()
        await runtime.sleep(1)
        assert pool.stats().retired["expired"] == 1
        assert pool.stats().size == 1

    with_pool(work, max_lifetime=60.0)


def test_attempts_that_fail_are_repeated() -> None:
    refused = Faults(refused=True)

    async def main(runtime: VirtualRuntime) -> None:
        async with runtime.Pool().open(wait=False) as pool:
            assert await pool.fetchval("select 1") == 1
            assert pool.stats().open_failures == 2

    runtime = VirtualRuntime(ModelServer(TABLE), [refused, refused])
    runtime.run(main, runtime)


# ---- Its beginning and its end


def test_a_pool_that_cannot_connect_says_so_at_once() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.receive_startup()
        peer.raw(fatal("28P01", "no such user"))
        peer.hang_up()

    with ScriptedServer(script) as server:
        runtime = VirtualRuntime(server)

        async def main() -> None:
            pool = runtime.Pool()
            with pytest.raises(ConnectError, match="no such user"):
                async with pool:
                    pytest.fail("it has no connection")
            with pytest.raises(PoolClosed):
                await pool.open()

        runtime.run(main)


def test_opening_that_is_cancelled_or_takes_too_long_closes_the_pool() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE), [Faults(deaf=True)] * 5)

    async def main() -> None:
        pool = runtime.Pool(acquire_timeout=2.0, connect_timeout=100)
        with pytest.raises(PoolTimeout):
            await pool.open()
        other = runtime.Pool()

        async def open_it() -> None:
            await other.open()

        task = runtime.spawn(open_it)
        await runtime.sleep(1)
        await task.stop()
        assert isinstance(task.error, Cancelled)
        for each in (pool, other):
            with pytest.raises(PoolClosed):
                await each.acquire()

    runtime.run(main)


def test_a_pool_is_entered_once_and_opened_by_its_first_call() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool = runtime.Pool()
        assert await pool.fetchval("select 1") == 1
        async with pool:
            with pytest.raises(LocalProtocolError, match="entered already"):
                async with pool.open():
                    pytest.fail("it is entered twice")
        never = runtime.Pool()
        never.expire()
        await never.close()
        with pytest.raises(PoolClosed):
            await never.fetch("select 1")
        opened = await runtime.Pool().open()
        assert await opened.open() is opened
        await opened.close()
        await opened.close()

    runtime.run(main)


def test_closing_waits_for_borrowers_and_then_takes_away() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool = await runtime.Pool(max_size=2).open()
        conn = await pool.acquire()
        waiting = runtime.spawn(conn.fetch, "select slow")
        begin = runtime.now()
        await pool.close(timeout=3.0)
        assert 3 <= runtime.now() - begin < 6
        await waiting.ended.wait()
        assert isinstance(waiting.error, ConnectionClosed | ConnectionLost)
        with pytest.raises(ConnectionClosed):
            await conn.fetch("select 1")
        await pool.release(conn)
        with pytest.raises(PoolClosed):
            await pool.fetch("select 1")

    runtime.run(main)


def test_who_waits_is_told_of_the_end() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool = await runtime.Pool(max_size=1).open()
        conn = await pool.acquire()
        waiting = runtime.spawn(pool.fetch, "select 1")
        await runtime.sleep(1)
        closing = runtime.spawn(pool.close)
        await waiting.ended.wait()
        assert isinstance(waiting.error, PoolClosed)
        await pool.release(conn)
        await closing.wait()

    runtime.run(main)


def test_closing_that_is_cancelled_takes_everything_away_at_once() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool = await runtime.Pool(max_size=1).open()
        conn = await pool.acquire()
        begin = runtime.now()
        closing = runtime.spawn(pool.close)
        await runtime.sleep(1)
        await closing.stop()
        assert isinstance(closing.error, Cancelled)
        assert runtime.now() - begin < 2
        assert conn.closed
        assert pool.stats().size == 0
        await pool.release(conn)

    runtime.run(main)


def test_closing_stops_attempts_and_hooks() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server, [Faults(deaf=True)])

    async def hang(conn: Connection) -> None:
        await runtime.sleep(1000)

    async def main() -> None:
        begin = runtime.now()
        pool = await runtime.Pool(connect_timeout=None).open(wait=False)
        await runtime.sleep(1)
        await pool.close()
        other = await runtime.Pool(on_close=hang, reset_timeout=100.0).open()
        await other.close(timeout=0.0)
        assert runtime.now() - begin < 10

    runtime.run(main)
    assert [name for name, _ in runtime.reports] == ["on_close"]


def test_closing_does_not_wait_for_on_release() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def hang(conn: Connection) -> None:
        await runtime.sleep(1000)

    async def main() -> None:
        pool = await runtime.Pool(on_release=hang, reset_timeout=100.0).open()
        await pool.fetch("select 1")
        await runtime.sleep(1)  # it is asked
        begin = runtime.now()
        await pool.close(timeout=0.0)
        assert runtime.now() - begin < 2

    runtime.run(main)
    assert [name for name, _ in runtime.reports] == ["on_release"]


def test_an_attempt_that_does_not_let_itself_be_stopped_is_closed() -> None:
    server = ModelServer(TABLE)
    runtime = VirtualRuntime(server)

    async def stubborn(conn: Connection) -> None:
        try:
            await runtime.sleep(10)
        except Cancelled:
            pass

    async def main() -> None:
        pool = await runtime.Pool(on_connect=stubborn).open(wait=False)
        await runtime.sleep(1)
        await pool.close()
        assert pool.stats().size == 0

    runtime.run(main)
    assert server.sessions[0].ended


def test_a_connection_that_outlives_its_pool() -> None:
    kept: list[Connection] = []
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        pool: Any = await runtime.Pool(on_connect=kept.append).open()
        del pool
        gc.collect()
        assert not kept[0].lent
        await kept[0].close()
        assert kept[0].closed

    runtime.run(main)


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_pool_is_whole_whatever_the_order_of_tasks(seed: int) -> None:
    """Borrowers who come, go and are cancelled, sessions that die, attempts that fail, and then the end."""
    server = ModelServer(TABLE)
    faults = [Faults(), Faults(refused=True), Faults(cut_after=600), Faults(latency=0.4)] * 3
    runtime = VirtualRuntime(server, faults, seed=seed)

    async def borrow(pool: Pool, number: int) -> None:
        await runtime.sleep(number * 0.3)
        async with pool.acquire(timeout=20.0) as conn:
            await conn.execute("set x = 1")
            assert await conn.fetchval("select slow" if number % 5 == 0 else "select 1", timeout=0.5) == 1

    async def main() -> None:
        async with runtime.Pool(min_size=2, max_size=3, max_lifetime=3.0, check_after=0.5).open(
            wait=False
        ) as pool:
            tasks = [runtime.spawn(borrow, pool, number) for number in range(20)]
            for number, task in enumerate(tasks):
                if number % 4 == 1:
                    task.cancel_at(seed % 7 + 1)
            await runtime.sleep(2)
            for session in server.sessions[::2]:
                if not session.ended:
                    kill(session)
            pool.expire()
            for task in tasks:
                await task.ended.wait()
                assert task.error is None or isinstance(
                    task.error, Cancelled | QueryTimeout | ConnectionLost | ConnectionClosed
                )
            assert await pool.fetchval("select 1", timeout=20.0) == 1
            assert pool.stats().used == 0
        assert pool.stats().size == 0

    runtime.run(main)
    assert all(session.ended for session in server.sessions)
    assert runtime.reports == []


def test_an_error_in_the_block_does_not_wait_for_borrowers() -> None:
    runtime = VirtualRuntime(ModelServer(TABLE))

    async def main() -> None:
        begin = runtime.now()
        with pytest.raises(ValueError, match="mine"):
            async with runtime.Pool(max_size=2) as pool:
                conn = await pool.acquire()
                raise ValueError("mine")
        assert runtime.now() - begin < 2
        await pool.release(conn)

    runtime.run(main)
