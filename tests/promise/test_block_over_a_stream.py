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


def stream(conn: Any) -> Any:
    return conn.stream(_MUCH)


def copy_out(conn: Any) -> Any:
    return conn.copy_out(f"copy ({_MUCH}) to stdout")


READING = pytest.mark.parametrize("read", [stream, copy_out])
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
                        pieces = stream(conn)
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
