"""The blocking pool: threads that share it, exact times, and nothing left behind at its end."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import pgproto
import pgproto_blocking as pg
from pgproto import Batch, ConnectionClosed, ConnectionLost, Outcome, PoolClosed, PoolTimeout
from pgproto.client.blocking import Hook
from pgproto.pool import Retry
from pgproto.sqlstates import QueryCanceled
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy, open_sockets

BOUND = 20.0
ROOT = Path(__file__).parents[2]


@pytest.fixture
def pool(pg18: PostgresServer) -> Iterator[pg.Pool]:
    with pg.Pool(pg18.dsn(), min_size=1, max_size=4) as shared:
        yield shared
    assert shared.stats().size == 0
    assert pool_threads() == []


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pgproto pool")]


def test_threads_share_a_pool(pool: pg.Pool) -> None:
    def work(number: int) -> bool:
        if number % 7 == 0:
            with pytest.raises(pgproto.sqlstates.DivisionByZero):
                pool.execute("select 1 / $1::int4", 0)
        if number % 5 == 0:
            with pool.transaction() as conn:
                return bool(conn.fetchval("select $1::int4", number) == number)
        return bool(pool.fetchval("select $1::int4", number) == number)

    with ThreadPoolExecutor(16) as executor:
        assert all(executor.map(work, range(600)))
    stats = pool.stats()
    assert stats.size <= 4
    assert stats.used == stats.waiting == 0
    assert stats.waits > 0


def test_every_call(pool: pg.Pool) -> None:
    pool.execute("create table pool_calls (a int4)")
    try:
        assert pool.copy_records("pool_calls", [(1,), (2,)], columns=["a"]) == 2
        assert pool.copy_in("copy pool_calls from stdin", b"3\n") == 1
        assert b"".join(pool.copy_out("copy pool_calls to stdout")) == b"1\n2\n3\n"
        batch = Batch()
        item = batch.queue("select sum(a) from pool_calls")
        assert pool.send_batch(batch) == [item]
        assert item.rows[0][0] == 6
        row = pool.fetchrow("select a from pool_calls where a > 2")
        assert row is not None
        assert row["a"] == 3
        assert len(pool.fetch("select * from pool_calls")) == 3
        with pytest.raises(ZeroDivisionError), pool.transaction() as conn:
            conn.execute("delete from pool_calls")
            raise ZeroDivisionError
        assert pool.fetchval("select count(*) from pool_calls") == 3
    finally:
        pool.execute("drop table pool_calls")


def test_a_handle_ends_with_its_lease(pool: pg.Pool) -> None:
    with pool.acquire() as conn:
        assert conn.fetchval("select 1") == 1
    with pytest.raises(ConnectionClosed):
        conn.fetch("select 1")
    conn.close()
    assert pool.fetchval("select 2") == 2


def test_what_a_borrower_leaves_behind_is_reset(pool: pg.Pool) -> None:
    with pool.acquire() as conn:
        pid = conn.pid
        conn.execute("set application_name = 'dirty'")
    with pool.acquire() as conn:
        assert conn.fetchval("show application_name") != "dirty"
    with pool.acquire() as conn:
        conn.script("begin")
    with pool.acquire() as conn:
        assert conn.transaction_status == "I"
    assert pid


def test_the_timeout_of_acquire_is_exact(pg18: PostgresServer) -> None:
    with pg.Pool(pg18.dsn(), min_size=0, max_size=1) as pool, pool.acquire():
        for timeout in (0.0, 0.15):
            begun = time.monotonic()
            with pytest.raises(PoolTimeout), pool.acquire(timeout=timeout):
                pass
            assert timeout <= time.monotonic() - begun < timeout + 0.5


def test_hooks(pg18: PostgresServer) -> None:
    seen: list[str] = []
    answers = {"acquire": iter([False, True, True]), "release": iter([True, False])}

    def hook(name: str) -> Hook:
        def call(conn: pg.Connection) -> bool | None:
            seen.append(name)
            assert name == "close" or conn.fetchval("select 1") == 1
            return next(answers[name], None) if name in answers else None

        return call

    with pg.Pool(
        pg18.dsn(),
        min_size=0,
        max_size=1,
        on_connect=hook("connect"),
        on_acquire=hook("acquire"),
        on_release=hook("release"),
        on_close=hook("close"),
    ) as pool:
        assert pool.fetchval("select 1") == 1
        assert pool.fetchval("select 2") == 2
    rejected = ["connect", "acquire", "close"]
    assert seen == [*rejected, "connect", "acquire", "release", "acquire", "release", "close"]


def test_retry_repeats_what_is_safe(pool: pg.Pool, pg18: PostgresServer) -> None:
    runs: list[int] = []

    def work(conn: pg.Connection) -> int:
        runs.append(conn.pid)
        if len(runs) == 1:
            conn.script("do $$ begin raise exception using errcode = '40001'; end $$")
        if len(runs) == 2:
            pg18.query(f"select pg_terminate_backend({conn.pid}, 10000)")
        return int(conn.fetchval("select 5"))

    assert pool.retry(work, retry=Retry(3, delay=0.001)) == 5
    assert len(runs) == 3
    with pytest.raises(pgproto.sqlstates.DivisionByZero):
        pool.retry(lambda conn: conn.fetch("select 1 / 0"))


def test_it_heals_after_a_restart(pg_restartable: PostgresServer) -> None:
    with pg.Pool(pg_restartable.dsn(), min_size=2, max_size=2) as pool:
        assert pool.fetchval("select 1") == 1
        for mode in ("fast", "immediate"):
            pg_restartable.restart(mode)
            begun = time.monotonic()
            assert pool.fetchval("select 2") == 2
            assert time.monotonic() - begun < 1.0


def test_unused_connections_are_closed_by_the_keeper(pg18: PostgresServer) -> None:
    closed = threading.Event()
    with pg.Pool(
        pg18.dsn(), min_size=0, max_size=1, max_idle=0.05, on_close=lambda conn: closed.set()
    ) as pool:
        pool.fetchval("select 1")
        assert closed.wait(BOUND)
        assert pool.stats().retired["idle"] == 1


def test_expire(pool: pg.Pool) -> None:
    with pool.acquire() as conn:
        pid = conn.pid
        pool.expire()
    with pool.acquire() as conn:
        assert conn.pid != pid


def test_close_takes_away_what_is_not_given_back(pg18: PostgresServer) -> None:
    before = open_sockets()
    pool = pg.Pool(pg18.dsn(), min_size=1, max_size=1)
    asleep = threading.Event()
    errors: list[Exception] = []

    def borrow() -> None:
        try:
            with pool.acquire() as conn:
                asleep.set()
                conn.fetch("select pg_sleep(30)")
        except Exception as error:
            errors.append(error)

    def wait_in_vain() -> None:
        try:
            pool.fetch("select 1")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=borrow), threading.Thread(target=wait_in_vain)]
    threads[0].start()
    assert asleep.wait(BOUND)
    threads[1].start()
    begun = time.monotonic()
    pool.close(timeout=0.1)
    pool.close()
    assert time.monotonic() - begun < 2.0
    for thread in threads:
        thread.join(BOUND)
    (closed,) = [error for error in errors if isinstance(error, PoolClosed)]
    (lost,) = [error for error in errors if error is not closed]
    # It was cancelled before it was cut off; its thread may still have read that, or not.
    assert isinstance(lost, ConnectionLost | QueryCanceled)
    assert lost.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT, Outcome.FAILED)
    with pytest.raises(PoolClosed):
        pool.fetch("select 1")
    assert pool_threads() == []
    assert open_sockets() == before


def test_close_does_not_wait_for_a_connect_that_hangs(pg18: PostgresServer) -> None:
    with Proxy((pg18.host, pg18.port)) as proxy:
        proxy.black_hole()
        pool = pg.Pool(pg18.dsn(port=proxy.port), min_size=1, max_size=2)
        with pytest.raises(PoolTimeout), pool.acquire(timeout=0.05):
            pass
        begun = time.monotonic()
        pool.close()
        assert time.monotonic() - begun < 1.5
        assert pool_threads() == []


def test_close_before_anything_was_opened(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn())
    pool.close()
    with pytest.raises(PoolClosed), pool.acquire():
        pass
    assert pool_threads() == []


def test_a_forgotten_pool_ends(pg18: PostgresServer) -> None:
    pool = pg.Pool(pg18.dsn(), min_size=0)
    assert pool.fetchval("select 1") == 1
    keeper = pool._driver._keeper
    assert keeper is not None
    threads = [*pool._driver._workers, keeper]
    gone = weakref.ref(pool)
    held = [pool]
    del pool

    def forget() -> None:
        held.clear()
        assert gone() is None
        for thread in threads:  # one of them may have held the rest of it just then
            thread.join(BOUND)

    with pytest.warns(ResourceWarning, match="unclosed connection"):
        forget()
    assert not keeper.is_alive()


def test_the_interpreter_ends_with_an_open_pool(pg18: PostgresServer) -> None:
    script = """
    import sys
    import pgproto_blocking as pg

    pool = pg.Pool(sys.argv[1], min_size=3)
    assert pool.fetchval("select 1") == 1
    lease = pool.acquire()
    conn = lease.__enter__()
    rows = conn.stream("select generate_series(1, 1000000)")
    next(rows)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), pg18.dsn()],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'transports'}"},
        capture_output=True,
        text=True,
        timeout=BOUND,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
