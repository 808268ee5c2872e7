"""`Pool.listen` in virtual time: losses, gaps, ends, and what is raised."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConnectError, ListenGap, LocalProtocolError, PoolClosed
from pgproto.client import Connection, PoolNotifications
from pgproto.session.inbox import LIMIT
from pgproto.testing import ModelServer, VirtualRuntime
from tests.support.virtual import TABLE


class Wrong(Exception):
    """What a hook raises."""


def world() -> tuple[ModelServer, VirtualRuntime]:
    server = ModelServer(TABLE)
    return server, VirtualRuntime(server)


def payload(event: Any) -> str:
    return str(event.payload)


def test_a_lost_connection_is_replaced_and_a_gap_is_told() -> None:
    server, runtime = world()

    async def main() -> None:
        async with runtime.Pool(min_size=0) as pool, pool.listen("news") as events:
            with pytest.raises(LocalProtocolError, match="entered already"):
                await events.__aenter__()
            server.notify("news", "one")
            assert payload(await anext(events)) == "one"
            server.notify("news", "two")
            await runtime.sleep(1)
            before = runtime.now()
            server.sessions[0].die_after(0)
            server.sessions[0].notify("news", "never")
            await runtime.sleep(1)
            assert payload(await events.get()) == "two"
            gap = await anext(events)
            assert isinstance(gap, ListenGap)
            assert gap.error is not None
            assert (gap.since < before, gap.dropped) == (True, 0)
            assert "error=Connection" in repr(gap)
            server.notify("news", "three")
            assert payload(await anext(events)) == "three"
            assert await events.get(timeout=0) is None
            assert await events.get(timeout=2) is None

    runtime.run(main)
    assert runtime.reports == []
    assert len(server.sessions) == 2


def test_what_nobody_takes_is_a_gap() -> None:
    server, runtime = world()

    async def main() -> None:
        async with runtime.Pool(min_size=0) as pool, pool.listen("news") as events:
            for number in range(LIMIT + 5):
                server.notify("news", str(number))
                if number % 1000 == 0:
                    await runtime.sleep(0.01)
            await runtime.sleep(1)
            gap = await anext(events)
            assert isinstance(gap, ListenGap)
            assert (gap.error, gap.dropped) == (None, 5)
            assert payload(await anext(events)) == "5"

    runtime.run(main)


def opening(*failures: type[Exception] | None) -> Any:
    """An `on_connect` that fails so, one time after the other."""
    left = list(failures)

    def on_connect(conn: Connection) -> None:
        failure = left.pop(0) if left else None
        if failure is not None:
            raise failure

    return on_connect


def test_it_connects_as_often_as_it_takes() -> None:
    server, runtime = world()

    async def main() -> None:
        hook = opening(None, OSError, OSError, OSError)
        async with runtime.Pool(min_size=0, on_connect=hook) as pool, pool.listen("news") as events:
            server.sessions[0].die_after(0)
            server.sessions[0].notify("news")
            assert isinstance(await anext(events), ListenGap)

    runtime.run(main)
    assert len(server.sessions) == 5


def test_a_failure_for_good_is_raised_and_the_next_step_tries_again() -> None:
    server, runtime = world()

    async def main() -> None:
        hook = opening(Wrong, None, Wrong)
        async with runtime.Pool(min_size=0, on_connect=hook) as pool:
            listening = pool.listen("news")
            with pytest.raises(ConnectError, match="Wrong"):
                await listening.__aenter__()
            async with listening as events:
                server.sessions[1].die_after(0)
                server.sessions[1].notify("news")
                with pytest.raises(ConnectError, match="Wrong"):
                    await anext(events)
                assert isinstance(await anext(events), ListenGap)

    runtime.run(main)


@pytest.mark.parametrize("connected", [True, False])
def test_it_ends_with_the_pool(connected: bool) -> None:
    server, runtime = world()
    told: list[list[Any]] = []

    async def listen(events: PoolNotifications) -> None:
        told.append([event async for event in events])

    async def main() -> None:
        hook = opening(None, *[OSError] * 1000)
        pool = runtime.Pool(min_size=0, on_connect=hook, max_backoff=100, backoff=100)
        async with pool, pool.listen("news") as events:
            runtime.spawn(listen, events)
            await runtime.sleep(1)
            if not connected:
                server.sessions[0].die_after(0)
                server.sessions[0].notify("news")
                await runtime.sleep(50)
            await pool.close()
            await runtime.sleep(1)
            assert told == [[]]
            with pytest.raises(PoolClosed, match="the pool is closed, or the block"):
                await events.get()

    runtime.run(main)


@pytest.mark.parametrize("seconds", [5, 1])
def test_a_pool_that_is_closed_during_the_connect(seconds: int) -> None:
    """It waits no longer for a connection than others do; or it has one in this very moment."""
    _, runtime = world()

    async def main() -> None:
        async def on_connect(conn: Connection) -> None:
            await runtime.sleep(seconds)

        pool = runtime.Pool(min_size=0, on_connect=on_connect)
        async with pool:
            listening = pool.listen("news")
            task = runtime.spawn(entered, listening)
            await runtime.sleep(1)
            begun = runtime.now()
            listening.end()
            await task.wait()
            assert runtime.now() - begun < 1

    async def entered(listening: PoolNotifications) -> None:
        with pytest.raises(PoolClosed):
            await listening.__aenter__()

    runtime.run(main)
    assert runtime.reports == []


@pytest.mark.parametrize("begun", [True, False])
def test_a_pool_that_is_closed_does_not_listen(begun: bool) -> None:
    server, runtime = world()

    async def main() -> None:
        pool = runtime.Pool(min_size=0)
        if begun:
            await pool.fetchval("select 1")
        await pool.close()
        sessions = len(server.sessions)
        with pytest.raises(PoolClosed):
            await pool.listen("news").__aenter__()
        assert len(server.sessions) == sessions

    runtime.run(main)


def test_the_time_of_get_is_that_of_all_attempts(caplog: pytest.LogCaptureFixture) -> None:
    server, runtime = world()

    async def main() -> None:
        pool = runtime.Pool(min_size=0, on_connect=opening(None, *[OSError] * 1000))
        async with pool, pool.listen("news") as events:
            server.sessions[0].die_after(0)
            server.sessions[0].notify("news")
            begun = runtime.now()
            assert await events.get(timeout=7) is None
            assert 7 <= runtime.now() - begun < 7.5

    runtime.run(main)
    said = [each for each in caplog.records if each.name == "pgproto.pool" and "listening" in each.message]
    assert said
    assert {each.levelname for each in said} == {"WARNING"}
    assert "OSError" in said[0].message


@pytest.mark.parametrize("raised", [OSError, None])
def test_a_pool_that_is_closed_by_the_hook_of_another_connection(raised: type[Exception] | None) -> None:
    server, runtime = world()

    async def main() -> None:
        async def on_connect(conn: Connection) -> None:
            if len(server.sessions) == 2:
                events.end()
                if raised is not None:
                    raise raised

        pool = runtime.Pool(min_size=0, on_connect=on_connect)
        async with pool, pool.listen("news") as events:
            server.sessions[0].die_after(0)
            server.sessions[0].notify("news")
            begun = runtime.now()
            with pytest.raises(PoolClosed):
                await events.get()
            assert runtime.now() - begun < 1

    runtime.run(main)


def test_two_tasks_do_not_take_from_one() -> None:
    _, runtime = world()

    async def main() -> None:
        async with runtime.Pool(min_size=0) as pool, pool.listen("news") as events:
            task = runtime.spawn(anext, events)
            await runtime.sleep(1)
            with pytest.raises(LocalProtocolError, match="another task waits"):
                await anext(events)
            await task.stop()

    runtime.run(main)


def test_names_and_blocks_are_checked() -> None:
    _, runtime = world()
    bad: list[tuple[Any, ...]] = [(), ("",), (1,)]

    async def main() -> None:
        async with runtime.Pool(min_size=0) as pool:
            for wrong in bad:
                with pytest.raises((LocalProtocolError, TypeError)):
                    pool.listen(*wrong)
            with pytest.raises(LocalProtocolError, match="nothing listens yet"):
                await anext(pool.listen("news"))

    runtime.run(main)


class Busy:
    """The turn of another thread."""

    async def take(self, deadline: float | None) -> bool:
        return False

    def leave(self) -> None:
        raise AssertionError("it was not taken")


def test_another_thread_has_the_turn_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    _, runtime = world()

    async def main() -> None:
        monkeypatch.setattr(VirtualRuntime, "turn", lambda self, refusal: Busy())
        async with runtime.Pool(min_size=0) as pool, pool.listen("news") as events:
            assert await events.get(timeout=1) is None

    runtime.run(main)
