"""An application of pgproto on Twisted: `python -m tests.embedding.uses_twisted DSN`.

Each function is one thing that has to work; its name is printed once it has.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater, react

from pgproto import Batch, ConnectError, ConnectionLost, PoolTimeout, QueryTimeout, sqlstates
from pgproto.client import Connection
from tests.embedding.on_twisted import Pool, Socket, connect

together = Deferred.fromCoroutine


async def queries(conn: Connection, pool: Pool) -> None:
    await conn.execute("create temp table jobs (id int4 primary key, name text)")
    await conn.execute("insert into jobs values ($1, $2)", 1, "paint")
    assert await conn.fetchval("select name from jobs where id = $1", 1) == "paint"
    calls = [together(conn.fetchval("select $1::int4 * $1", number)) for number in range(100)]
    assert (await gatherResults(calls))[9] == 81
    with pytest.raises(sqlstates.DivisionByZero):
        await conn.execute("select 1 / 0")
    statement = await conn.prepare("select $1::text")
    assert await statement.fetchval("x") == "x"


async def batches(conn: Connection, pool: Pool) -> None:
    batch = Batch()
    batch.queue("insert into jobs values ($1, $2)", 2, "saw")
    count = batch.queue("select count(*) from jobs")
    await conn.send_batch(batch)
    assert count.rows[0][0] == 2


async def transactions(conn: Connection, pool: Pool) -> None:
    async with conn.transaction():
        await conn.execute("insert into jobs values (3, 'glue')")
        with pytest.raises(sqlstates.UniqueViolation):
            async with conn.transaction():
                await conn.execute("insert into jobs values (3, 'again')")
    assert await conn.fetchval("select count(*) from jobs") == 3
    async with pool.transaction(readonly=True) as other:
        assert await other.fetchval("show transaction_read_only") == "on"


async def copies(conn: Connection, pool: Pool) -> None:
    async def slow() -> AsyncIterator[tuple[int, str]]:
        for number in range(10, 20):
            await deferLater(reactor, 0.001)
            yield number, "slow"

    assert await conn.copy_records("jobs", slow(), columns=["id", "name"]) == 10
    assert await conn.copy_in("copy jobs from stdin (format csv)", b"5,bolt\n6,screw\n") == 2
    out = b"".join([chunk async for chunk in conn.copy_out("copy (select 1) to stdout")])
    assert out == b"1\n"
    assert [row[0] async for row in conn.stream("select * from generate_series(1, 5000)")][-1] == 5000
    assert (
        await conn.executemany("insert into jobs values ($1, $2)", ((n, "x") for n in range(100, 200))) == 100
    )
    too_much = "select repeat('x', 100000) from generate_series(1, 200)"
    assert len([row async for row in conn.stream(too_much)]) == 200


async def notifications(conn: Connection, pool: Pool) -> None:
    async with conn.listen("news") as news:
        await pool.execute("select pg_notify('news', 'hello')")
        assert (await anext(news)).payload == "hello"


async def timeouts(conn: Connection, pool: Pool) -> None:
    with pytest.raises(QueryTimeout):
        await conn.fetch("select pg_sleep(60)", timeout=0.05)
    assert await conn.fetchval("select 1") == 1
    async with pool.acquire(), pool.acquire():
        with pytest.raises(PoolTimeout):
            await pool.fetchval("select 1", timeout=0.05)


async def cancellations(conn: Connection, pool: Pool) -> None:
    for who in (conn, pool):
        call = together(who.execute("select pg_sleep(60)"))
        await deferLater(reactor, 0.05)
        call.cancel()
        with pytest.raises(CancelledError):
            await call
        assert await who.fetchval("select 1") == 1
    busy = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
    while await conn.fetchval(busy):  # the cancel request may still be on its way
        await deferLater(reactor, 0.01)


async def losses(conn: Connection, pool: Pool) -> None:
    async with pool.acquire() as lent:
        pid = await lent.fetchval("select pg_backend_pid()")
        call = together(lent.execute("select pg_sleep(60)"))
        await conn.execute("select pg_terminate_backend($1)", pid)
        with pytest.raises(ConnectionLost, match="terminating"):
            await call
    assert await pool.fetchval("select 1") == 1


async def refusals(conn: Connection, pool: Pool) -> None:
    with pytest.raises(ConnectError):
        await connect("host=127.0.0.1 port=1 user=nobody")


async def crowds(conn: Connection, pool: Pool) -> None:
    calls = [together(pool.fetchval("select $1::int4", number)) for number in range(200)]
    assert await gatherResults(calls) == list(range(200))
    assert pool.stats().size == 2


async def main(clock: Any, dsn: str) -> None:
    async with connect(dsn) as conn, Pool(dsn, max_size=2) as pool:
        for use in USES:
            await use(conn, pool)
            print(use.__name__, flush=True)
    assert (conn.closed, pool.stats().size) == (True, 0)
    pool = await Pool(dsn).open()
    assert await pool.fetchval("select 1") == 1
    await pool.close()
    assert not [each for each in (*clock.getReaders(), *clock.getWriters()) if isinstance(each, Socket)]


USES = (
    queries,
    batches,
    transactions,
    copies,
    notifications,
    timeouts,
    cancellations,
    losses,
    refusals,
    crowds,
)

if __name__ == "__main__":
    react(lambda clock: together(main(clock, sys.argv[1])))
