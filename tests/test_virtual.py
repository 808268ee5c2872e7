"""Tasks, scopes and timers in virtual time."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pgproto.testing.virtual import Cancelled, Deadlock, Event, Run, Scope, Task


def run(work: Callable[[Run], Coroutine[Any, Any, Any]]) -> Any:
    the_run = Run()
    return the_run.run(work, the_run)


def test_time_passes_only_where_all_wait() -> None:
    seen: list[tuple[str, float]] = []

    async def main(run: Run) -> float:
        async def other() -> None:
            await run.sleep(2)
            seen.append(("other", run.now))

        task = run.spawn(other)
        await run.sleep(1)
        seen.append(("main", run.now))
        await task.wait()
        await run.sleep(0)
        return run.now

    assert run(main) == 1002.0
    assert seen == [("main", 1001.0), ("other", 1002.0)]


def test_what_is_due_at_one_moment_comes_in_order() -> None:
    seen: list[int] = []

    async def main(run: Run) -> None:
        for number in range(3):
            run.call_at(run.now + 1, lambda number=number: seen.append(number))  # type: ignore[misc]
        run.call_at(run.now + 1, lambda: seen.append(9)).cancel()
        await run.sleep(1)

    run(main)
    assert seen == [0, 1, 2]


def test_a_deadline_ends_a_scope_and_nothing_else() -> None:
    async def main(run: Run) -> None:
        async with Scope(run, run.now + 1) as scope:
            await run.sleep(5)
        assert scope.expired
        assert run.now == 1001.0
        async with Scope(run, run.now + 1) as scope:
            await run.sleep(0.5)
        assert not scope.expired
        await run.sleep(5)  # the timer of a scope that was left does nothing

    run(main)


def test_a_scope_whose_deadline_is_moved() -> None:
    async def main(run: Run) -> None:
        async with Scope(run, run.now + 9) as scope:
            scope.shorten(run.now + 20)
            scope.shorten(run.now + 1)
            await run.sleep(math.inf)
        assert scope.expired
        assert run.now == 1001.0
        early = Scope(run)
        early.shorten(run.now - 1)
        async with early:
            await run.sleep(1)
        assert early.expired
        assert run.now == 1001.0

    run(main)


def test_a_scope_that_is_cancelled_before_it_is_entered() -> None:
    async def main(run: Run) -> None:
        scope = Scope(run)
        scope.cancel()
        async with scope:
            await run.sleep(1)
        assert scope.expired
        assert run.now == 1000.0

    run(main)


def test_who_is_cancelled_before_it_is_woken_is_cancelled() -> None:
    async def main(run: Run) -> None:
        event = Event(run)
        task = run.spawn(event.wait)
        await run.sleep(1)
        task.cancel()
        event.set()
        await task.ended.wait()
        assert isinstance(task.error, Cancelled)

    run(main)


def test_cancelling_is_by_level_until_the_scope_is_left() -> None:
    raised: list[str] = []

    async def main(run: Run) -> None:
        async with Scope(run) as scope:
            scope.cancel()
            for wait in (run.running().checkpoint, Event(run).wait, lambda: run.sleep(1)):
                try:
                    await wait()
                except Cancelled:
                    raised.append("once more")
            await run.running().pause()  # it raises nothing
            raised.append("paused")
        assert not scope.expired  # nothing was left by it
        await run.running().checkpoint()

    run(main)
    assert raised == ["once more"] * 3 + ["paused"]


def test_a_shield_keeps_it_away_and_has_an_end_of_its_own() -> None:
    async def main(run: Run) -> None:
        async with Scope(run) as outer:
            outer.cancel()
            async with Scope(run, run.now + 2, shield=True) as shield:
                await run.sleep(1)
                assert run.now == 1001.0
                await run.sleep(5)
            assert shield.expired
            assert run.now == 1002.0
            await run.sleep(1)
        assert outer.expired
        assert run.now == 1002.0

    run(main)


def test_the_outermost_scope_that_is_cancelled_ends() -> None:
    async def main(run: Run) -> None:
        async with Scope(run) as outer:
            async with Scope(run) as inner:
                inner.cancel()
                outer.cancel()
                await run.sleep(1)
            pytest.fail("it goes on in a scope that is cancelled")
        assert outer.expired
        assert not inner.expired

    run(main)


def test_an_error_goes_through_a_scope() -> None:
    async def main(run: Run) -> None:
        with pytest.raises(ValueError, match="mine"):
            async with Scope(run) as scope:
                scope.cancel()
                raise ValueError("mine")

    run(main)


def test_a_task_is_cancelled_stopped_and_waited_for() -> None:
    async def main(run: Run) -> None:
        event = Event(run)
        waiting = run.spawn(event.wait)
        await run.sleep(1)
        await waiting.stop()
        assert isinstance(waiting.error, Cancelled)
        event.set()  # for nobody
        assert event.is_set
        await waiting.stop()  # idempotent
        with pytest.raises(Cancelled):
            waiting.result()

        async def answer() -> int:
            await event.wait()
            return 42

        assert await run.spawn(answer).wait() == 42

    run(main)


def test_who_was_woken_before_it_is_cancelled_goes_on() -> None:
    async def main(run: Run) -> None:
        event = Event(run)
        task = run.spawn(event.wait)
        await run.sleep(1)
        event.set()
        task.cancel()
        await task.wait()

    run(main)


@pytest.mark.parametrize("suspension", [1, 2, 3])
def test_a_task_is_cancelled_at_a_chosen_suspension(suspension: int) -> None:
    reached: list[int] = []

    async def work(run: Run) -> None:
        for number in range(1, 4):
            reached.append(number)
            await run.sleep(1)

    async def main(run: Run) -> Task:
        task = run.spawn(work, run)
        task.cancel_at(suspension)
        await task.ended.wait()
        return task

    task = run(main)
    assert reached == list(range(1, suspension + 1))
    assert isinstance(task.error, Cancelled)
    assert task.suspensions == suspension


def test_everybody_waits_for_ever() -> None:
    async def main(run: Run) -> None:
        await Event(run).wait()

    with pytest.raises(Deadlock, match=r"waits for ever.*main"):
        run(main)


def test_time_does_not_pass() -> None:
    async def main(run: Run) -> None:
        while True:
            await run.running().checkpoint()

    with pytest.raises(Deadlock, match="no time passes"):
        run(main)


def test_what_is_left_running_is_cancelled_and_waited_for() -> None:
    ended: list[float] = []

    async def main(run: Run) -> None:
        async def left() -> None:
            try:
                await run.sleep(100)
            finally:
                async with Scope(run, shield=True):
                    await run.sleep(1)
                ended.append(run.now)

        run.spawn(left)
        await run.sleep(1)

    run(main)
    assert ended == [1002.0]


def test_an_interrupt_goes_up_at_once() -> None:
    async def main(run: Run) -> None:
        async def interrupted() -> None:
            raise KeyboardInterrupt

        run.spawn(interrupted)
        await run.sleep(1)
        pytest.fail("it goes on after an interrupt")

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_outside_of_a_task_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="no task"):
        Run().running()


def test_a_scope_is_left_twice_by_an_exit_that_is_called_by_hand() -> None:
    async def main(run: Run) -> None:
        async with Scope(run) as scope:
            await scope.__aexit__(None, None, None)

    run(main)
