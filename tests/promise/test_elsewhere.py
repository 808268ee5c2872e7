"""Connections and pools in another event loop than their own, and in a forked process."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import pgproto_asyncio
from pgproto import Batch, LocalProtocolError, Outcome
from pgproto_pytest import Driver
from tests.support.owned import Owned

Work = Callable[[], Awaitable[Any]]

# ---- Two event loops


async def _in_another_loop(pg: Driver, work: Work) -> None:
    """Run in the event loop of another thread, which has to refuse it."""

    async def refused() -> None:
        with pytest.raises(LocalProtocolError, match="belongs to another event loop") as caught:
            await work()
        assert caught.value.outcome is Outcome.NOT_SENT

    run = asyncio.run if pg.name == "asyncio" else lambda work: trio.run(lambda: work)
    await pg.in_thread(lambda: run(refused()))


async def _call(work: Callable[[], Any]) -> Any:
    return work()


@pytest.mark.holds("L14")
def test_a_connection_in_another_event_loop(parallel: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn, conn.listen("news") as notifications:
            prepared = await conn.prepare(owned.insert(1))
            started = conn.transaction()
            batch = Batch()
            item = batch.queue(owned.insert(1))
            rows = conn.stream("select generate_series(1, 100000)")
            works: dict[str, Work] = {
                "fetch": lambda: conn.fetch("select 1"),
                "fetchrow": lambda: conn.fetchrow("select 1"),
                "fetchval": lambda: conn.fetchval("select 1"),
                "execute": lambda: conn.execute(owned.insert(1)),
                "script": lambda: conn.script(owned.insert(1)),
                "send_batch": lambda: conn.send_batch(batch),
                "executemany": lambda: conn.executemany(f"insert into {owned.name} values ($1)", [(1,)]),
                "copy_records": lambda: conn.copy_records(owned.name, [(1,)], columns=["n"]),
                "copy_in": lambda: conn.copy_in(f"copy {owned.name} from stdin", b"1\n"),
                "copy_out": lambda: anext(conn.copy_out(f"copy {owned.name} to stdout")),
                "stream": lambda: anext(conn.stream("select 1")),
                "prepare": lambda: conn.prepare("select 1"),
                "prepared": prepared.execute,
                "prepared.close": prepared.close,
                "transaction": conn.transaction().__aenter__,
                "start": started.start,
                "commit": started.commit,
                "rollback": started.rollback,
                "listen": conn.listen("other").__aenter__,
                "notification": notifications.__anext__,
                "reset": conn.reset,
                "close": conn.close,
                "abort": lambda: _call(conn.abort),
            }
            async with conn.transaction():
                for work in works.values():
                    await _in_another_loop(pg, work)
                assert item.outcome is Outcome.NOT_SENT
            assert (await anext(rows))[0] == 1
            for work in (rows.aclose, lambda: _drain(rows)):
                await _in_another_loop(pg, work)
            await rows.aclose()
            assert await conn.fetchval("select 42") == 42
        assert owned.stored == []

    parallel.run(scenario)


async def _drain(rows: Any) -> None:
    while True:
        await anext(rows)


@pytest.mark.holds("L14")
def test_a_pool_in_another_event_loop(parallel: Driver, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            lease = pool.acquire()
            works: dict[str, Work] = {
                "fetch": lambda: pool.fetch("select 1"),
                "execute": lambda: pool.execute(owned.insert(1)),
                "acquire": pool.acquire().__aenter__,
                "transaction": pool.transaction().__aenter__,
                "retry": lambda: pool.retry(lambda conn: conn.execute(owned.insert(1))),
                "copy_out": lambda: anext(pool.copy_out(f"copy {owned.name} to stdout")),
                "send_batch": lambda: pool.send_batch(Batch()),
                "expire": lambda: _call(pool.expire),
                "close": pool.close,
            }
            async with lease as conn:
                works |= {
                    "release": lambda: pool.release(conn),
                    "leave": lambda: lease.__aexit__(None, None, None),
                    "its connection": lambda: conn.execute(owned.insert(1)),
                }
                for work in works.values():
                    await _in_another_loop(pg, work)
                assert await pg.in_thread(lambda: pool.stats().used) == 1
                assert await conn.fetchval("select 42") == 42
            assert await pool.fetchval("select 42") == 42
        assert owned.stored == []

    parallel.run(scenario)


@pytest.mark.holds("L14")
def test_a_loop_that_is_over_leaves_nothing_usable_behind(owned: Owned) -> None:
    """A session-wide fixture: opened in a loop that has ended, used in the next one."""

    async def make() -> tuple[pgproto_asyncio.Pool, pgproto_asyncio.Connection]:
        pool = await pgproto_asyncio.Pool(owned.dsn, max_size=1).open()
        return pool, await pgproto_asyncio.connect(owned.dsn)

    async def use(pool: pgproto_asyncio.Pool, conn: pgproto_asyncio.Connection) -> None:
        for work in (pool.fetch, conn.fetch):
            with pytest.raises(LocalProtocolError, match="belongs to another event loop"):
                await work("select 1")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        opened = asyncio.run(make())
        asyncio.run(use(*opened))
        del opened
        gc.collect()


# ---- Two processes

FORK = """
import asyncio, gc, os, sys, warnings
import trio
import pgproto_asyncio, pgproto_blocking, pgproto_trio
from pgproto import LocalProtocolError

warnings.simplefilter("ignore")
dsn, adapter, insert, kind = sys.argv[1:]


async def touched(work):
    try:
        await work()
    except LocalProtocolError as error:
        assert "parent process" in str(error), error
    else:
        raise AssertionError("the child could use it")


async def child(pool, conn, lent):
    await touched(lambda: conn.execute(insert))
    await touched(conn.transaction().__aenter__)
    await touched(lambda: lent.execute(insert))
    await touched(lambda: pool.execute(insert))
    await touched(pool.acquire().__aenter__)
    await conn.close()
    conn.abort()
    assert conn.closed and lent.closed
    await pool.close()


def in_child(run, pool, conn, lent):
    if kind == "use":
        run(pool, conn, lent)
        del pool, conn, lent
        gc.collect()
        sys.stdout.write("child was refused ")
        sys.stdout.flush()
    if kind == "leave":
        raise SystemExit(0)  # through every context manager, and the interpreter's end
    os._exit(0)


def fork(run, pool, conn, lent):
    pid = os.fork()
    if not pid:
        try:
            in_child(run, pool, conn, lent)
        except Exception as error:
            sys.stdout.write(repr(error))
            sys.stdout.flush()
            os._exit(1)
    return pid


def new_loop(pool, conn, lent):
    asyncio.run(child(pool, conn, lent))


def new_run(pool, conn, lent):
    trio.run(child, pool, conn, lent)


def elsewhere(start, *args):
    import threading

    problems = []

    def target():
        try:
            start(*args)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if problems:
        raise problems[0]


async def parent(connect, pools, run):
    async with pools(dsn, max_size=2) as pool, connect(dsn) as conn, pool.acquire() as lent:
        unused = pools(dsn, max_size=1)
        assert await conn.fetchval("select 1") == 1
        assert await lent.fetchval("select 1") == 1
        pid = fork(lambda *args: elsewhere(run, *args), pool, conn, lent)
        status = os.waitpid(pid, 0)[1]
        assert status == 0, status
        for n in range(50):
            assert await conn.fetchval("select $1::int4", n) == n
            assert await lent.fetchval("select $1::int4", n) == n
            assert await pool.fetchval("select $1::int4", n) == n
        assert not conn.closed and not lent.closed


if adapter == "asyncio":
    asyncio.run(parent(pgproto_asyncio.connect, pgproto_asyncio.Pool, new_loop))
else:
    trio.run(parent, pgproto_trio.connect, pgproto_trio.Pool, new_run)
print("parent goes on")
"""


@pytest.mark.holds("L4")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize(
    (
        "library",
        "kind",
    ),  # a forked child cannot leave blocks of its parent's trio run
    [("asyncio", "use"), ("asyncio", "leave"), ("asyncio", "exit"), ("trio", "use"), ("trio", "exit")],
)
def test_a_forked_child_neither_uses_nor_ends_its_parents_connections(
    library: str, owned: Owned, kind: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, owned.dsn, library, owned.insert(1), kind],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    expected = "child was refused parent goes on\n" if kind == "use" else "parent goes on\n"
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr
    assert owned.stored == []


FORKED_BLOCKING = """
import os, sys
import pgproto_blocking
from pgproto import LocalProtocolError

dsn, insert = sys.argv[1:]
with pgproto_blocking.connect(dsn) as conn, pgproto_blocking.Pool(dsn, max_size=1) as pool:
    with pool.acquire() as lent:
        pid = os.fork()
        if not pid:
            for each in (conn, lent):
                try:
                    each.execute(insert)
                except LocalProtocolError:
                    pass
                else:
                    os._exit(1)
            assert pool.fetchval("select 5") == 5  # with a connection of its own
            pool.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert lent.fetchval("select 1") == 1
    assert conn.fetchval("select 2") == 2
    assert pool.fetchval("select 3") == 3
"""


@pytest.mark.holds("L4")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_of_blocking_code(owned: Owned) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED_BLOCKING, owned.dsn, owned.insert(1)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert owned.stored == []
