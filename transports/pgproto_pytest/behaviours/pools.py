"""The pool."""

from __future__ import annotations

from typing import Any

import pytest

import pgproto
from pgproto import Outcome, PostgresError
from pgproto.pool import Retry
from pgproto_pytest.behaviour import Database, behaviour
from pgproto_pytest.driver import Driver


async def kill(pool: Any, pids: list[int], db: Database) -> None:
    """Terminate backends, and return when they are gone."""
    listed = ",".join(map(str, pids))
    db.server.query(f"select pg_terminate_backend(pid, 10000) from unnest(array[{listed}]) pid")


@behaviour
async def l08_acquire_and_release(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=2) as pool:
        async with pool.acquire() as conn:
            assert await conn.fetchval("select 1") == 1
            assert pool.stats().used == 1
            kept = conn
        with pytest.raises(pgproto.ConnectionClosed):
            await kept.fetchval("select 1")
        stats = pool.stats()
        assert (stats.size, stats.used, stats.opens) == (1, 0, 1)


@behaviour
async def l08_what_a_borrower_left_half_read_does_not_keep_its_slot(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            rows = conn.stream("select n, repeat('x', 1000) from generate_series(1, 100000) n")
            async for row in rows:
                assert row[0] == 1
                break
        assert await pool.fetchval("select 1", timeout=5) == 1
        del rows  # somebody has kept it until here


@behaviour
async def l10_dead_idle_connections(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=3) as pool:
        async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
            pids = [one.pid, two.pid, three.pid]
        await kill(pool, pids, db)
        assert await pool.fetchval("select pg_backend_pid()") not in pids
        assert pool.stats().opens == 4


@behaviour
async def l16_on_connect(pg: Driver, db: Database) -> None:
    seen: list[int] = []

    async def prepare(conn: Any) -> None:
        await conn.execute("set application_name = 'hooked'")
        seen.append(conn.pid)

    async with pg.Pool(db.dsn, min_size=0, max_size=1, on_connect=prepare, reset="") as pool:
        for _ in range(3):
            assert await pool.fetchval("show application_name") == "hooked"
    assert len(seen) == 1


@behaviour
async def l16_on_connect_fails(pg: Driver, db: Database) -> None:
    async def refuse(conn: Any) -> None:
        await conn.fetch("select 1/0")

    async with pg.Pool(db.dsn, min_size=0, max_size=1, on_connect=refuse) as pool:
        with pytest.raises(pgproto.Error):
            await _acquire(pool, 0.3)
        assert pool.stats().used == 0


async def _acquire(pool: Any, timeout: float) -> None:
    async with pool.acquire(timeout=timeout):
        pass


@behaviour
async def l17_on_acquire(pg: Driver, db: Database) -> None:
    answers = [False, False, True]

    async def look(conn: Any) -> bool:
        return answers.pop(0) if answers else True

    async with pg.Pool(db.dsn, min_size=0, max_size=2, on_acquire=look) as pool:
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 3


@behaviour
async def l19_on_release(pg: Driver, db: Database) -> None:
    count = 0

    def look(conn: Any) -> bool:
        nonlocal count
        count += 1
        return count % 2 == 1

    pids: set[int] = set()
    async with pg.Pool(db.dsn, min_size=0, max_size=1, on_release=look) as pool:
        for _ in range(10):
            async with pool.acquire() as conn:
                pids.add(conn.pid)
    assert len(pids) == 5


@behaviour
async def l20_on_close(pg: Driver, db: Database) -> None:
    closed: list[int] = []

    async def note(conn: Any) -> None:
        closed.append(conn.pid)

    async with pg.Pool(db.dsn, min_size=0, max_size=3, on_close=note) as pool:
        async with pool.acquire() as one, pool.acquire() as two:
            pids = [one.pid, two.pid]
        pool.expire()
        async with pool.acquire() as third:
            pids.append(third.pid)
    assert sorted(closed) == sorted(pids)


@behaviour
async def l22_expire(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=2) as pool:
        async with pool.acquire() as conn:
            pid = conn.pid
            pool.expire()
            assert await conn.fetchval("select 1") == 1
        assert await pool.fetchval("select pg_backend_pid()") != pid


@behaviour
async def l30_statements_through_the_pool(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        assert await pool.execute(f"insert into {table} values (1), (2)") == "INSERT 0 2"
        assert [row[0] for row in await pool.fetch(f"select a from {table} order by a")] == [1, 2]
        assert tuple(await pool.fetchrow("select 1, 2")) == (1, 2)
        assert await pool.fetchrow("select 1 where false") is None
        assert await pool.copy_in(f"copy {table} from stdin", b"3\n") == 1
        assert await pool.copy_records(table, [(4,)], columns=["a"]) == 1
        data = [chunk async for chunk in pool.copy_out(f"copy {table} to stdout")]
        assert b"".join(data) == b"1\n2\n3\n4\n"
        assert pool.stats().opens == 1


@behaviour
async def l34_failed_transaction(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        for statement in ("select 1", "select 1/0"):
            async with pool.acquire() as conn:
                await conn.script("begin")
                try:
                    await conn.fetch(statement)
                except PostgresError:
                    pass
                status = conn.transaction_status
                assert status == ("E" if "/0" in statement else "T")
            async with pool.acquire() as conn:
                assert conn.transaction_status == "I"
                assert await conn.fetchval("select 1") == 1


@behaviour
async def l36_closed_by_the_borrower(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            await conn.close()
        async with pool.acquire() as conn:
            conn.abort()
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().opens == 3


@behaviour
async def l37_concurrent_load(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=5) as pool:
        works = [lambda number=number: pool.fetchval("select $1::int4", number) for number in range(100)]
        assert await pg.together(*works) == list(range(100))
        stats = pool.stats()
        assert stats.size <= 5
        assert stats.acquires == 100


@behaviour
async def l40_nested_transactions(pg: Driver, db: Database) -> None:
    table = db.make_table()
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.transaction() as conn:
            await conn.execute(f"insert into {table} values (1)")
            with pytest.raises(PostgresError):
                async with conn.transaction():
                    await conn.execute(f"insert into {table} values (2)")
                    await conn.execute("select 1/0")
        assert await pool.fetchval(f"select sum(a) from {table}") == 1


@behaviour
async def l42_closed_pool(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=1, max_size=1) as pool:
        assert await pool.fetchval("select 1") == 1
        await pool.close()
        await pool.close()
        with pytest.raises(pgproto.PoolClosed) as caught:
            await pool.fetchval("select 1")
        assert caught.value.outcome is Outcome.NOT_SENT
        assert pool.stats().size == 0


@behaviour
async def l42_close_takes_connections_away(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool, pool.acquire() as conn:
        assert await conn.fetchval("select 1") == 1
        await pool.close(timeout=0)
        with pytest.raises((pgproto.ConnectionClosed, pgproto.ConnectionLost)):
            await conn.fetchval("select 2")


@behaviour
async def l_acquire_timeout(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1, acquire_timeout=0.1) as pool:
        async with pool.acquire():
            for work in (
                lambda: pool.fetchval("select 1"),
                lambda: _acquire(pool, 0.05),
                lambda: _acquire(pool, 0),
            ):
                with pytest.raises(pgproto.PoolTimeout) as caught:
                    await work()
                assert isinstance(caught.value, TimeoutError)
                assert caught.value.outcome is Outcome.NOT_SENT
        assert await pool.fetchval("select 1") == 1
        assert pool.stats().timeouts == 3


@behaviour
async def l_too_many_waiting(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1, max_waiting=0) as pool, pool.acquire():
        with pytest.raises(pgproto.TooManyWaiting):
            await pool.fetchval("select 1")


@behaviour
async def l51_traces_are_removed(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            pid = conn.pid
            await conn.script("set work_mem = '7MB'; create temp table t (a int); select pg_advisory_lock(1)")
        async with pool.acquire() as conn:
            assert conn.pid == pid
            assert await conn.fetchval("show work_mem") != "7MB"
            assert (
                await conn.fetchval(
                    "select count(*) from pg_class where relname = 't' and relpersistence = 't'"
                )
                == 0
            )
            assert (
                await conn.fetchval(
                    "select count(*) from pg_locks where locktype = 'advisory' and pid = $1", pid
                )
                == 0
            )


@behaviour
async def l43_min_size(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=3, max_size=5) as pool:
        async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
            assert len({one.pid, two.pid, three.pid}) == 3
        assert pool.stats().opens >= 3


@behaviour
async def l_retry(pg: Driver, db: Database) -> None:
    table = db.make_table()
    attempts = 0

    async def work(conn: Any) -> int:
        nonlocal attempts
        attempts += 1
        await conn.execute(f"insert into {table} values ($1)", attempts)
        if attempts < 3:
            await conn.script("do $$ begin raise exception 'again' using errcode = '40001'; end $$")
        return attempts

    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        assert await pool.retry(work, retry=Retry(attempts=5, delay=0.001)) == 3
        assert await pool.fetchval(f"select sum(a) from {table}") == 3

        async def wrong(conn: Any) -> None:
            nonlocal attempts
            attempts += 1
            await conn.execute("select 1/0")

        attempts = 0
        with pytest.raises(PostgresError):
            await pool.retry(wrong)
        assert attempts == 1


@behaviour
async def l_refused_for_good(pg: Driver, db: Database) -> None:
    """A permanent failure reaches who waits at once, and is not tried for ever."""
    dsn = db.server.dsn(dbname="no_such_database")
    async with pg.Pool(dsn, min_size=0, max_size=2) as pool:
        with pytest.raises(pgproto.ConnectError) as caught:
            await pool.fetchval("select 1")
        assert caught.value.sqlstate == "3D000"
        assert pool.stats().open_failures == 1


@behaviour
async def l37_two_close_at_once(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, max_size=2) as pool:
        async with pool.acquire() as conn:
            assert await conn.fetchval("select 1") == 1
        assert await pg.together(pool.close, pool.close, pool.close) == [None] * 3
        assert pool.stats().size == 0


@behaviour
async def l38_a_stream_that_ends_after_its_lease_keeps_the_slot_no_longer(pg: Driver, db: Database) -> None:
    async with pg.Pool(db.dsn, min_size=0, max_size=1) as pool:
        async with pool.acquire() as conn:
            rows = conn.stream("select generate_series(1, 300000)")
            assert (await anext(rows))[0] == 1
        await pg.together(rows.aclose)  # by then the pool has begun to bring the connection to rest
        assert await pool.fetchval("select 1", timeout=1.5) == 1
