"""The drivers keep the contract of `pgproto_pytest.Driver`: a fault that they miss is not found."""

from __future__ import annotations

import asyncio

import pytest

from pgproto_pytest import AsyncioDriver, Driver, Hang
from tests.support.postgres import PostgresServer


def test_a_scenario_that_does_not_end(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(application_name="hanging")) as conn:
            await conn.fetch("select pg_sleep(60)")

    with pytest.raises(Hang):
        driver.run(scenario, deadline=0.2)
    hanging = "from pg_stat_activity where application_name = 'hanging'"
    pg18.query(f"select pg_terminate_backend(pid, 10000) {hanging}")


def test_what_a_scenario_raises(driver: Driver) -> None:
    mine = AssertionError("mine")

    async def scenario(pg: Driver) -> None:
        raise mine

    with pytest.raises(AssertionError) as caught:
        driver.run(scenario)
    assert caught.value is mine


def test_together(driver: Driver) -> None:
    mine = ValueError("mine")

    async def fail() -> int:
        raise mine

    async def give() -> int:
        return 7

    async def scenario(pg: Driver) -> None:
        assert await pg.together(give, fail, give) == [7, mine, 7]
        assert await pg.together() == []
        assert await pg.in_thread(lambda: 8) == 8
        with pytest.raises(ZeroDivisionError):
            await pg.in_thread(lambda: 1 // 0)

    driver.run(scenario)


def test_a_task_that_is_left_behind() -> None:
    async def scenario(pg: Driver) -> None:
        left.append(asyncio.create_task(asyncio.Event().wait()))

    left: list[object] = []
    with pytest.raises(AssertionError, match="tasks left behind"):
        AsyncioDriver().run(scenario)


def test_an_exception_that_nobody_has_handled() -> None:
    async def scenario(pg: Driver) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        AsyncioDriver().run(scenario)
