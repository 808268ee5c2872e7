"""A stream, a COPY, an executemany that loses its connection: a part never passes for the whole."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from pgproto import ConnectionClosed, ConnectionLost, Error, LocalProtocolError, Outcome
from pgproto.sqlstates import QueryCanceled
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer

LEASE = "the lease is over"
LEFT = "left before its end"
WAITS = "waits for the next piece already"

# More than any buffer on the way holds.
_MUCH = "select repeat('x', 1000) from generate_series(1, 100000)"
# Something at once, and then nothing for long.
_SLOW = "select repeat('x', 100), case when g > 2000 then pg_sleep(60) end from generate_series(1, 3000) g"


def stream(conn: Any, sql: str) -> Any:
    return conn.stream(sql)


def copy_out(conn: Any, sql: str) -> Any:
    return conn.copy_out(f"copy ({sql}) to stdout")


READING = pytest.mark.parametrize("read", [stream, copy_out])
Reading = Callable[[Any, str], Any]


async def drained(pieces: Any) -> int:
    """How many rows there were."""
    count = 0
    async for piece in pieces:
        count += rows_in(piece)
    return count


def rows_in(piece: Any) -> int:
    """A piece of a stream is a row; one of a COPY is the lines that have arrived."""
    return piece.count(b"\n") if isinstance(piece, bytes) else 1


async def fails(pieces: Any, kind: type[BaseException], match: str) -> Error:
    """Reading on is an error, each time."""
    with pytest.raises(kind, match=match) as caught:
        await drained(pieces)
    with pytest.raises(kind, match=match):
        await anext(pieces)
    assert isinstance(caught.value, Error)
    return caught.value


@READING
def test_what_is_read_after_the_lease_is_no_end(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with pool.acquire() as conn:
                pieces = read(conn, _MUCH)
                unbegun = read(conn, _MUCH)
                await anext(pieces)
            error = await fails(pieces, ConnectionLost, LEASE)
            assert error.outcome is Outcome.FAILED
            error = await fails(unbegun, ConnectionClosed, LEASE)
            assert error.outcome is Outcome.NOT_SENT
            assert await pool.fetchval("select 1") == 1
            assert pool.stats().opens == 1

    driver.run(scenario)


def test_the_stream_of_a_prepared_statement(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with pool.acquire() as conn:
                rows = conn.stream(await conn.prepare(_MUCH))
                await anext(rows)
            await fails(rows, ConnectionLost, LEASE)

    driver.run(scenario)


def test_what_the_stream_did_is_told(driver: Driver, pg18: PostgresServer, owned: Owned) -> None:
    async def scenario(pg: Driver) -> None:
        table = owned.name
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with pool.acquire() as conn:
                rows = conn.stream(
                    f"insert into {table} select generate_series(1, 100000) returning repeat('x', 1000)"
                )
                await anext(rows)
            error = await fails(rows, ConnectionLost, LEASE)
            stored = await pool.fetchval(f"select count(*) from {table}")
            assert (error.outcome, stored) in ((Outcome.FAILED, 0), (Outcome.COMMITTED, 100000))

    driver.run(scenario)


@READING
def test_who_iterates_when_the_lease_ends(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            conn = await pool.acquire()
            began = threading.Event()

            async def reader() -> int:
                pieces = read(conn, _SLOW)
                await anext(pieces)
                began.set()
                return await drained(pieces)

            async def ender() -> None:
                await pg.in_thread(began.wait)
                await pool.release(conn)

            error, _ = await pg.together(reader, ender)
            assert type(error) is ConnectionLost
            assert LEASE in str(error)
            assert error.outcome in (Outcome.FAILED, Outcome.UNKNOWN)
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)


@pytest.mark.parametrize("how", ["close", "abort", "pool"])
@READING
def test_who_iterates_when_the_session_ends(
    driver: Driver, pg18: PostgresServer, read: Reading, how: str
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            conn = await pool.acquire()
            began = threading.Event()

            async def reader() -> int:
                pieces = read(conn, _SLOW)
                await anext(pieces)
                began.set()
                try:
                    return await drained(pieces)
                finally:
                    with pytest.raises((ConnectionLost, QueryCanceled)):
                        await anext(pieces)

            async def ender() -> None:
                await pg.in_thread(began.wait)
                if how == "close":
                    await conn.close()
                elif how == "abort":
                    conn.abort()
                else:
                    await pool.close(timeout=0)

            error, _ = await pg.together(reader, ender)
            if isinstance(error, QueryCanceled):  # the server was told first, and was quick
                assert pg.name == "blocking"
                assert error.outcome is Outcome.FAILED
            else:
                assert isinstance(error, ConnectionLost)
                assert error.outcome is Outcome.UNKNOWN
            await pool.release(conn)

    driver.run(scenario)


# ---- Data on its way to the server


def executemany(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.executemany(f"insert into {table} values ($1)", source)  # type: ignore[no-any-return]


def copy_records(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.copy_records(table, source, columns=["n"])  # type: ignore[no-any-return]


def copy_in(conn: Any, table: str, source: Any) -> Awaitable[int]:
    return conn.copy_in(f"copy {table} from stdin", source)  # type: ignore[no-any-return]


Feeding = Callable[[Any, str, Any], Awaitable[int]]


@pytest.mark.parametrize("fed", [0, 1, 3000])
@pytest.mark.parametrize("feed", [executemany, copy_records, copy_in])
@pytest.mark.parametrize("block", [False, True])
def test_who_feeds_when_the_lease_ends(
    driver: Driver, pg18: PostgresServer, owned: Owned, feed: Feeding, fed: int, block: bool
) -> None:
    def good(number: int) -> Any:
        return b"%d\n" % number * 50 if feed is copy_in else (number,)

    async def scenario(pg: Driver) -> None:
        table = owned.name
        began, ended = threading.Event(), threading.Event()

        def pieces() -> Iterator[Any]:
            yield from map(good, range(fed))
            began.set()
            ended.wait()
            yield from map(good, range(10))

        async def slowly() -> AsyncIterator[Any]:
            for number in range(fed):
                yield good(number)
            began.set()
            await pg.in_thread(ended.wait)
            for number in range(10):
                yield good(number)

        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            conn = await pool.acquire()
            if block:
                await conn.script("begin")

            async def feeder() -> int:
                return await feed(conn, table, pieces() if pg.name == "blocking" else slowly())

            async def ender() -> None:
                await pg.in_thread(began.wait)
                await pool.release(conn)
                ended.set()

            error, other = await pg.together(feeder, ender)
            assert other is None
            unsent = error.outcome is Outcome.NOT_SENT
            assert type(error) is (ConnectionClosed if unsent else ConnectionLost), error
            assert LEASE in str(error)
            # Small records are collected before they are sent.
            unsent = feed is executemany and fed < 2
            assert error.outcome is (Outcome.NOT_SENT if unsent else Outcome.ROLLED_BACK)
            assert await pool.fetchval(f"select count(*) from {table}") == 0

    driver.run(scenario)


# ---- Who goes on reading after an end of another kind


@READING
def test_reading_on_after_the_iteration_was_left(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, pg.Pool(pg18.dsn(), max_size=1) as pool:
            async with read(conn, _MUCH) as pieces:
                await anext(pieces)
            await fails(pieces, LocalProtocolError, LEFT)
            pieces = read(conn, _MUCH)
            await pieces.aclose()
            await fails(pieces, LocalProtocolError, LEFT)
            assert await conn.fetchval("select 1") == 1
            if read is copy_out:
                async with read(pool, _MUCH) as pieces:
                    await anext(pieces)
                await fails(pieces, LocalProtocolError, LEFT)
                assert await pool.fetchval("select 1") == 1
                assert pool.stats().opens == 1

    driver.run(scenario)


@READING
def test_reading_on_after_the_end_and_after_an_error(
    driver: Driver, pg18: PostgresServer, read: Reading
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, pg.Pool(pg18.dsn(), max_size=1) as pool:
            for on in (conn, pool) if read is copy_out else (conn,):
                pieces = read(on, "select generate_series(1, 3)")
                assert await drained(pieces) == 3
                assert await drained(pieces) == 0
                pieces = read(on, "select 1 / (50000 - g) from generate_series(1, 60000) g")
                await fails(pieces, Error, "division by zero")
                assert await on.fetchval("select 1") == 1

    driver.run(scenario)


@READING
def test_one_that_was_refused_stays_refused(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            refused = read(conn, "select 1")
            async with read(conn, _MUCH) as pieces:
                await anext(pieces)
                with pytest.raises(LocalProtocolError, match="busy"):
                    await anext(refused)
                assert await anext(pieces)
            await fails(refused, LocalProtocolError, "busy")
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


@READING
def test_reading_on_after_a_cancellation(parallel: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, pg.Pool(pg18.dsn(), max_size=1) as pool:
            for on in (conn, pool) if read is copy_out else (conn,):
                pieces = read(on, _SLOW)
                await anext(pieces)
                await cancelled(pg, drained(pieces))
                await fails(pieces, LocalProtocolError, LEFT)
                assert await on.fetchval("select 1") == 1

    parallel.run(scenario)


async def cancelled(pg: Driver, work: Any) -> None:
    """Wait for something that does not come soon, for a moment."""
    if pg.name == "asyncio":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await work
    else:
        with trio.move_on_after(0.2) as scope:
            await work
        assert scope.cancelled_caught


# ---- Two tasks on one of them


@everywhere
@pytest.mark.holds("A2")
@READING
def test_two_tasks_on_one_iterator(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    """One is refused, and the other one goes on."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            pieces = read(conn, "select pg_sleep(0.3), g from generate_series(1, 2) g")
            results = await pg.together(lambda: anext(pieces), lambda: anext(pieces))
            refused = [each for each in results if isinstance(each, Error)]
            assert len(refused) == 1
            assert type(refused[0]) is LocalProtocolError
            assert WAITS in str(refused[0])
            (taken,) = [each for each in results if not isinstance(each, Error)]
            assert rows_in(taken) + await drained(pieces) == 2
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


@READING
def test_one_task_ends_what_another_one_waits_for(
    driver: Driver, pg18: PostgresServer, read: Reading
) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), command_timeout=2) as conn:
            pieces = read(conn, _SLOW)
            await anext(pieces)
            began = threading.Event()

            async def reader() -> int:
                began.set()
                return await drained(pieces)

            async def ender() -> None:
                await pg.in_thread(began.wait)
                await pieces.aclose()

            error, other = await pg.together(reader, ender)
            assert other is None
            assert isinstance(error, LocalProtocolError)
            assert LEFT in str(error)

    driver.run(scenario)
