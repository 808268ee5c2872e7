"""A hook may keep the connection that it got: what it does with it later concerns no borrower."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import LocalProtocolError, Outcome
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere
from tests.support.postgres import PostgresServer

HOOKS = ("on_connect", "on_acquire", "on_release")


@everywhere
@pytest.mark.holds("L6")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("reset", ["auto", "never"])
def test_used_while_it_is_idle_it_is_not_lent_again(
    driver: Driver, pg18: PostgresServer, hook: str, reset: str
) -> None:
    kept: list[Any] = []

    async def keep(conn: Any) -> None:
        kept.append(conn)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, reset=reset, **{hook: keep}) as pool:
            assert await pool.fetchval("show application_name") != "mine"
            async with pool.acquire() as conn:
                first = conn.pid
            while pool.stats().idle == 0:
                await pg.in_thread(lambda: None)
            await kept[-1].execute("set application_name = 'mine'")
            assert await pool.fetchval("show application_name") != "mine"
            async with pool.acquire() as conn:
                assert conn.pid != first

    driver.run(scenario)


@everywhere
@pytest.mark.holds("L6")
@pytest.mark.parametrize("hook", HOOKS)
def test_used_while_somebody_has_it_it_is_refused(driver: Driver, pg18: PostgresServer, hook: str) -> None:
    kept: list[Any] = []

    async def keep(conn: Any) -> None:
        kept.append(conn)

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1, **{hook: keep}) as pool:
            assert await pool.fetchval("select 1") == 1
            async with pool.acquire() as conn:
                with pytest.raises(LocalProtocolError, match="lent this connection") as refused:
                    await kept[-1].execute("set application_name = 'mine'")
                assert refused.value.outcome is Outcome.NOT_SENT
                assert await conn.fetchval("show application_name") != "mine"
            assert await pool.fetchval("select 1") == 1
            assert pool.stats().opens == 1

    driver.run(scenario)
