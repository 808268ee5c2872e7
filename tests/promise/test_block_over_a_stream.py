"""A transaction block that ends while a stream or a COPY in it is half read: the connection is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto import Error, Outcome, TransactionAborted
from pgproto_pytest import Driver
from tests.support.owned import Owned
from tests.support.postgres import PostgresServer

# More than any buffer on the way holds.
_MUCH = "select repeat('x', 1000) from generate_series(1, 100000)"


def stream_columns(conn: Any) -> Any:
    return conn.stream_columns(_MUCH)


def copy_out(conn: Any) -> Any:
    return conn.copy_out(f"copy ({_MUCH}) to stdout")


READING = pytest.mark.parametrize("read", [stream_columns, copy_out])
Reading = Callable[[Any], Any]


async def is_over(pieces: Any, outcome: Outcome) -> None:
    """A part never passes for the whole."""
    with pytest.raises(Error, match="the transaction block ended before this did") as caught:
        while True:
            await anext(pieces)
    assert caught.value.outcome is outcome


@READING
def test_a_block_that_is_left(driver: Driver, owned: Owned, read: Reading) -> None:
    """As if the iterator had been dropped: cancelling it fails the transaction."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(TransactionAborted) as caught:
                async with conn.transaction():
                    await conn.execute(owned.insert(1))
                    pieces = read(conn)
                    await anext(pieces)
            assert caught.value.outcome is Outcome.ROLLED_BACK
            await is_over(pieces, Outcome.FAILED)
            assert await conn.fetchval("select 42") == 42
            assert conn.transaction_status == "I"
        assert owned.stored == []

    driver.run(scenario)


@READING
def test_a_block_that_an_error_ends(driver: Driver, owned: Owned, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(KeyError):
                async with conn.transaction():
                    await conn.execute(owned.insert(1))
                    pieces = read(conn)
                    await anext(pieces)
                    raise KeyError
            await is_over(pieces, Outcome.FAILED)
            assert await conn.fetchval("select 42") == 42
        assert owned.stored == []

    driver.run(scenario)


def test_a_savepoint_block(driver: Driver, owned: Owned) -> None:
    """The transaction around it goes on."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            async with conn.transaction():
                await conn.execute(owned.insert(1))
                with pytest.raises(KeyError):
                    async with conn.transaction():
                        await conn.execute(owned.insert(2))
                        pieces = stream_columns(conn)
                        await anext(pieces)
                        raise KeyError
                await conn.execute(owned.insert(3))
            await is_over(pieces, Outcome.FAILED)
        assert owned.stored == [1, 3]

    driver.run(scenario)


@READING
def test_in_a_pool(driver: Driver, pg18: PostgresServer, read: Reading) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.Pool(pg18.dsn(), max_size=1) as pool:
            with pytest.raises(TransactionAborted):
                async with pool.transaction() as conn:
                    pieces = read(conn)
                    await anext(pieces)
            assert await pool.fetchval("select 42") == 42
            assert pool.stats().opens == 1
            with pytest.raises(Error):
                while True:
                    await anext(pieces)

    driver.run(scenario)


@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_of_rows_is_no_reason_to_fail(driver: Driver, owned: Owned, fails: bool) -> None:
    """Its rows come by a cursor, which ends with the block."""

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(owned.dsn, max_size=1) as pool:
            try:
                async with pool.transaction() as conn:
                    await conn.execute(owned.insert(1))
                    pieces = conn.stream(_MUCH)
                    await anext(pieces)
                    if fails:
                        raise KeyError
            except KeyError:
                assert fails
            with pytest.raises(Error):
                while True:
                    await anext(pieces)
            async with pool.acquire() as conn:
                async with conn.transaction():
                    pieces = conn.stream(_MUCH)
                    await anext(pieces)
                with pytest.raises(
                    Error, match="block in which the cursor or stream was opened has ended"
                ) as caught:
                    while True:
                        await anext(pieces)
                assert caught.value.outcome is Outcome.NOT_SENT
                assert await conn.fetchval("select 42") == 42
            assert pool.stats().opens == 1
        assert owned.stored == ([] if fails else [1])

    driver.run(scenario)
