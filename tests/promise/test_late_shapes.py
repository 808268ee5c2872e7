"""What FETCH and EXECUTE return depends on what their name stands for at that moment."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import Batch, PostgresError
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.holds("L12")

WORDS = "'a' & 'b'"  # this type has no binary form, and so do tsvector and money
SHAPES: list[tuple[str, tuple[object, ...]]] = [
    ("select 'a & b'::tsquery, 5::int4", (WORDS, 5)),
    ("select 7::int4, 5::int4", (7, 5)),
    ("select 'x'::text", ("x",)),
    ("select 1::int2, null::date, 'a'::tsvector, 'y'::\"char\"", (1, None, "'a'", b"y")),
    ("select", ()),
]


def values(rows: list[Any]) -> list[tuple[object, ...]]:
    return [tuple(row) for row in rows]


def same(found: tuple[object, ...], expected: tuple[object, ...]) -> bool:
    """As long as a cursor is not described again, its values may come as text."""
    return len(found) == len(expected) and all(
        each == other or str(each) == str(other) or isinstance(other, bytes)
        for each, other in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("kind", ["cursor", "statement"])
@pytest.mark.parametrize("named", [True, False])
def test_the_same_text_for_another_shape(driver: Driver, pg: PostgresServer, kind: str, named: bool) -> None:
    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(
            pg.dsn(), statement_mode="cache_statement" if named else "cache_describe"
        ) as conn:
            fetch = "fetch 1 from cc" if kind == "cursor" else "execute cc"
            kept = await conn.prepare("fetch 1 from cc" if kind == "cursor" else "execute cc")
            for select, expected in SHAPES * 2:
                async with conn.transaction():
                    await conn.script(
                        f"declare cc cursor for {select}" if kind == "cursor" else f"prepare cc as {select}"
                    )
                    assert same(tuple(await conn.fetchrow(fetch)), expected)
                    if kind == "cursor":
                        await conn.script(f"close cc; declare cc cursor for {select}")
                    assert same(tuple(await kept.fetchrow()), expected)
                    if kind == "cursor":
                        await conn.script(f"close cc; declare cc cursor for {select}")
                    rows = [row async for row in conn.stream(fetch)]
                    assert same(tuple(rows[0]), expected)
                    await conn.script("close cc" if kind == "cursor" else "deallocate cc")
                    assert conn.transaction_status == "T"

    driver.run(scenario, deadline=30)


@pytest.mark.parametrize("atomic", [True, False])
def test_declared_and_fetched_in_one_batch(driver: Driver, pg18: PostgresServer, atomic: bool) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            for select, expected in SHAPES * 2:
                batch = Batch(atomic=atomic)
                batch.queue("begin")
                batch.queue(f"declare cc cursor for {select}")
                item = batch.queue("fetch 1 from cc")
                batch.queue("close cc")
                batch.queue("commit")
                await conn.send_batch(batch)
                assert [each.error for each in batch.items] == [None] * 5
                assert same(tuple(item.rows[0]), expected)
            batch = Batch(atomic=atomic)
            batch.queue("prepare px (int) as select $1 * 2 as twice")
            item = batch.queue("execute px(21)")
            await conn.send_batch(batch)
            assert values(item.rows) == [(42,)]
            assert item.columns == ("twice",)

    driver.run(scenario)


def test_a_cursor_that_is_not_there(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            with pytest.raises(PostgresError) as caught:
                await conn.fetch("fetch 1 from nowhere")
            assert caught.value.sqlstate == "34000"
            batch = Batch()
            batch.queue("select 1")
            batch.queue("select 1 / 0")
            batch.queue("fetch 1 from nowhere")
            with pytest.raises(PostgresError) as caught:
                await conn.send_batch(batch)
            assert caught.value.sqlstate == "22012"
            assert await conn.fetchval("select 1") == 1

    driver.run(scenario)


@pytest.mark.parametrize(
    "text", ["call pg_temp.p(1, 'a & b')", "explain select 1", "show work_mem", "show all"]
)
def test_described_right_when_parsed(driver: Driver, pg: PostgresServer, text: str) -> None:
    """CALL, EXPLAIN and SHOW need no second look."""

    async def scenario(pg_: Driver) -> None:
        async with pg_.connect(pg.dsn()) as conn:
            await conn.script(
                "create or replace procedure pg_temp.p(inout a int, inout b tsquery) language sql"
                " as $$ select a + 1, b $$"
            )
            for _ in range(2):
                rows = await conn.fetch(text)
                if text.startswith("call"):
                    assert values(rows) == [(2, WORDS)]
                assert all(isinstance(row[0], (str, int)) for row in rows)
                assert rows

    driver.run(scenario)
