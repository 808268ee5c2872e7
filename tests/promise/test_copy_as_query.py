"""COPY that is run as a query: refused, or told that its data were dropped; the session goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pgproto import Batch, LocalProtocolError, Outcome
from pgproto_pytest import Driver
from tests.support.owned import Owned


async def fetch(conn: Any, sql: str) -> None:
    await conn.fetch(sql)


async def prepared(conn: Any, sql: str) -> None:
    await conn.execute(await conn.prepare(sql))


async def stream(conn: Any, sql: str) -> None:
    async for _ in conn.stream(sql):
        pass


async def script(conn: Any, sql: str) -> None:
    await conn.script(sql)


async def many(conn: Any, sql: str) -> None:
    await conn.executemany(sql, [(), ()])


async def batch(conn: Any, sql: str) -> None:
    items = Batch()
    for text in (sql, "select 1"):
        items.queue(text)
    await conn.send_batch(items)


Way = Callable[[Any, str], Awaitable[None]]


@pytest.mark.holds("L8")
@pytest.mark.parametrize("way", [fetch, prepared, stream, script, many, batch])
@pytest.mark.parametrize("in_block", [False, True], ids=["", "in a block"])
def test_the_data_of_a_copy_out_are_not_dropped_in_silence(
    driver: Driver, owned: Owned, way: Way, in_block: bool
) -> None:
    sql = f"copy ({owned.insert(1)} returning n) to stdout"

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            if in_block:
                await conn.script("begin")
            with pytest.raises(LocalProtocolError, match="use copy_out") as caught:
                await way(conn, sql)
            assert caught.value.outcome is (Outcome.OK_IN_TX if in_block else Outcome.COMMITTED)
            assert await conn.fetchval("select 42") == 42
        assert owned.stored == ([] if in_block else [1, 1] if way is many else [1])

    driver.run(scenario)


@pytest.mark.holds("L8")
@pytest.mark.parametrize("way", [fetch, prepared, stream, script, many, batch])
def test_copy_from_stdin_is_not_sent(driver: Driver, owned: Owned, way: Way) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(LocalProtocolError, match="use copy_in") as caught:
                await way(conn, f"copy {owned.name} from stdin")
            assert caught.value.outcome is Outcome.NOT_SENT
            assert caught.value.query == f"copy {owned.name} from stdin"
            assert await conn.fetchval("select 42") == 42

    driver.run(scenario)


@pytest.mark.holds("L8")
def test_a_script_with_copy_from_stdin_does_not_take_what_comes_after_it(
    parallel: Driver, owned: Owned
) -> None:
    """It would take the neighbours' calls for its data, and the session would end."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            results = await pg.together(
                lambda: conn.script(f"{owned.insert(1)}; copy {owned.name} from stdin; {owned.insert(2)}"),
                lambda: conn.fetchval("select 42"),
                lambda: conn.execute(owned.insert(3)),
            )
            assert isinstance(results[0], LocalProtocolError)
            assert results[1:] == [42, "INSERT 0 1"]
        assert owned.stored == [3]

    parallel.run(scenario)
