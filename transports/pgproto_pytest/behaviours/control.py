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


NOTICE = "do $$ begin raise notice '{}'; end $$"


@behaviour
async def c_several_listeners_for_notices(pg: Driver, db: Database) -> None:
    heard: list[str] = []

    def listener(name: str) -> Callable[[PostgresError], None]:
        return lambda notice: heard.append(f"{name} {notice.message}")

    async with pg.Pool(db.dsn, max_size=1) as pool:
        async with pool.acquire() as conn:
            conn.notices.add(listener("one"))
            two = conn.notices.add(listener("two"))
            await conn.execute(NOTICE.format("a"))
            two.remove()
            await conn.execute(NOTICE.format("b"))
        await pool.execute(NOTICE.format("c"))  # the lease is over
    assert heard == ["one a", "two a", "one b"]


@behaviour
async def q_explain(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.connect(db.dsn) as conn:
        [plan] = await conn.explain(f"select * from {table} where a = $1", 7, verbose=True, costs=False)
        assert plan["Plan"]["Relation Name"] == table
        assert "Actual Rows" not in plan["Plan"]
        assert "Total Cost" not in plan["Plan"]
        insert = f"insert into {table} values ($1)"
        [plan] = await conn.explain(insert, 1, analyze=True)
        assert plan["Plan"]["Actual Loops"] == 1
        assert await conn.fetchval(f"select count(*) from {table}") == 0
        async with conn.transaction():
            await conn.execute(insert, 2)
            await conn.explain(insert, 3, analyze=True)
        assert await conn.fetchval(f"select sum(a) from {table}") == 2
        await conn.explain(insert, 4, analyze=True, rollback=False)
        assert await conn.fetchval(f"select sum(a) from {table}") == 6
        with pytest.raises(PostgresError):
            await conn.explain("select 1/0", analyze=True)
        assert conn.transaction_status == "I"
        prepared = await conn.prepare("select $1::int4")
        assert "Plan" in (await conn.explain(prepared, 1))[0]
    async with pg.Pool(db.dsn) as pool:
        [plan] = await pool.explain(f"insert into {table} values ($1)", 1, analyze=True)
        assert await pool.fetchval(f"select sum(a) from {table}") == 6


@behaviour
async def l_errors_that_retire(pg: Driver, db: Database) -> None:
    asked: list[str] = []

    def retire_on(error: PostgresError) -> bool:
        asked.append(error.sqlstate)
        return error.sqlstate == "22012"

    async with pg.Pool(db.dsn, max_size=1, retire_on=retire_on) as pool:
        pids = [await pool.fetchval("select pg_backend_pid()")]
        for sql in ("select * from nowhere", "select 1/0"):
            with pytest.raises(PostgresError):
                await pool.fetchval(sql)
            pids.append(await pool.fetchval("select pg_backend_pid()"))
    assert asked == ["42P01", "22012"]
    assert pids[0] == pids[1] != pids[2]


@behaviour
async def c_a_host_is_accepted_or_not(pg: Driver, db: Database) -> None:
    asked: list[int] = []

    async def accept(conn: Any) -> bool:
        asked.append(await conn.fetchval("select pg_backend_pid()"))
        return len(asked) > 1

    with pytest.raises(pgproto.ConnectError, match="accept"):
        async with pg.connect(db.dsn, accept=accept):
            pass
    async with pg.connect(db.dsn, accept=accept) as conn:
        assert conn.pid == asked[1]
        assert await conn.fetchval("select 1") == 1
    async with pg.Pool(db.dsn, accept=accept, max_size=1) as pool:
        assert await pool.fetchval("select pg_backend_pid()") == asked[2]


@behaviour
async def l_who_is_pinged(pg: Driver, db: Database) -> None:
    asked: list[bool] = []

    def ping(conn: Any) -> bool:
        asked.append(conn.idle_for >= 0)
        return True

    async with pg.Pool(db.dsn, max_size=1, ping=ping) as pool:
        await pool.fetchval("select 1")
        asked.clear()
        await pool.fetchval("select 1")
        assert asked == [True]


@behaviour
async def n_listen_on_a_pool(pg: Driver, db: Database) -> None:
    """It outlives its connection, says where something may be missing, and takes none of the pool's."""
    one, other = f"{db.name}_1", f"{db.name}_2"
    async with pg.Pool(db.dsn, max_size=1) as pool:
        async with pool.listen(one, other) as events:
            await pool.execute(f"notify {one}, 'a'")
            await pool.execute(f"notify {other}, 'b'")
            found = [await events.get(timeout=5) for _ in range(2)]
            assert [(each.channel, each.payload) for each in found] == [(one, "a"), (other, "b")]
            assert await events.get(timeout=0) is None
            await pool.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query like $1 "
                "and pid <> pg_backend_pid()",
                f"%LISTEN%{one}%",
            )
            gap = await events.get(timeout=5)
            assert isinstance(gap, pgproto.ListenGap)
            assert isinstance(gap.error, pgproto.Error)
            assert gap.since < gap.until
            await pool.execute(f"notify {one}, 'c'")
            async for event in events:
                assert event.payload == "c"
                break
        with pytest.raises(pgproto.PoolClosed):
            await events.get()
        assert [event async for event in events] == []
        with pytest.raises(pgproto.LocalProtocolError):
            pool.listen("")


@behaviour
async def n_listen_ends_with_its_pool(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, max_size=1) as pool:

        async def listen() -> list[Any]:
            async with pool.listen(db.name) as events:
                ready.append(True)
                return [event async for event in events]

        async def close() -> None:
            while not ready:
                await pool.fetchval("select 1")
            await pool.close()

        ready: list[bool] = []
        assert await pg.together(listen, close) == [[], None]
