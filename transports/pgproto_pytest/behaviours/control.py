"""What is done with a session beside its statements: cancel them, count the time, keep something with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

import pgproto
from pgproto import Outcome, PostgresError
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver

FAR = "select pg_sleep(30)"


async def cancelled(pg: Driver, other: Any, conn: Any, work: Callable[[], Awaitable[Any]]) -> PostgresError:
    """Cancel what runs on a connection until some work has ended: the work's error."""
    errors: list[PostgresError] = []

    async def run() -> None:
        try:
            with pytest.raises(PostgresError) as caught:
                await work()
            errors.append(caught.value)
        except BaseException:
            errors.append(PostgresError({}))
            raise

    async def stop() -> None:
        while not errors:
            await conn.cancel()
            await other.fetchval("select 1")

    for result in await pg.together(run, stop):
        assert result is None, result
    return errors[0]


@behaviour
async def x_cancel_what_runs(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        assert await conn.cancel() is False
        error = await cancelled(pg, other, conn, partial(conn.fetch, FAR))
        assert (error.sqlstate, error.outcome) == ("57014", Outcome.FAILED)
        assert conn.transaction_status == "I"
        assert await conn.fetchval("select 42") == 42
        assert await conn.cancel() is False


@behaviour
async def x_cancel_hits_no_later_statement(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        for _ in range(3):
            error = await cancelled(pg, other, conn, partial(conn.fetch, FAR))
            assert error.sqlstate == "57014"
            for number in range(20):
                assert await conn.fetchval("select $1::int4", number) == number


@behaviour
async def x_cancel_in_a_transaction(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:

        async def work() -> None:
            async with conn.transaction():
                await conn.execute(f"insert into {table} values (1)")
                await conn.fetch(FAR)

        assert (await cancelled(pg, other, conn, work)).sqlstate == "57014"
        assert await conn.fetchval(f"select count(*) from {table}") == 0


@behaviour
async def x_cancel_on_a_lent_connection(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, max_size=1) as pool, pg.connect(db.dsn) as other:
        async with pool.acquire() as conn:
            error = await cancelled(pg, other, conn, partial(conn.fetch, FAR))
            assert error.sqlstate == "57014"
        with pytest.raises(pgproto.ConnectionClosed):
            await conn.cancel()
        assert await pool.fetchval("select 1") == 1


@behaviour
async def c_cancel_needs_an_open_connection(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn:
        for wrong in ("1", True, float("nan")):
            with pytest.raises((TypeError, ValueError)):
                await conn.cancel(timeout=wrong)
        await conn.close()
        with pytest.raises(pgproto.ConnectionClosed):
            await conn.cancel()


@behaviour
async def c_idle_for(pg: Driver, db: Database) -> None:
    async with pg.connect(db.dsn) as conn, pg.connect(db.dsn) as other:
        assert 0 <= conn.idle_for < 10
        await other.fetchval("select 1 from pg_sleep(0.1)")
        assert conn.idle_for >= 0.1
        await conn.fetchval("select 1")
        assert conn.idle_for < other.idle_for + 0.1
        await other.fetchval("select 1 from pg_sleep(0.1)")
        assert conn.idle_for >= 0.1


@behaviour
async def l_data_of_a_session(pg: Driver, db: Database) -> None:
    """They outlive a lease and a reset, and each session has its own."""

    def on_connect(conn: Any) -> None:
        conn.data.setdefault("leases", 0)

    async with pg.Pool(db.dsn, max_size=1, on_connect=on_connect, reset="always") as pool:
        for number in range(3):
            async with pool.acquire() as conn:
                assert conn.data == {"leases": number}
                conn.data["leases"] += 1
                await conn.execute("set application_name = 'x'")
        async with pool.acquire() as conn:
            conn.abort()
        async with pool.acquire() as conn:
            assert conn.data == {"leases": 0}
