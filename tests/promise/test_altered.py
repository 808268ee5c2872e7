"""A session that alters a table does not go on with what it has learned of it before."""

from __future__ import annotations

import pytest

from pgproto_pytest import Driver
from tests.support.owned import Owned


@pytest.mark.parametrize("rolled_back", [False, True])
def test_values_are_stored_as_the_columns_type_of_now(
    driver: Driver, owned: Owned, rolled_back: bool
) -> None:
    """0.1 as float4, cast to float8, is 0.10000000149011612."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(owned.dsn) as conn:
            await conn.script("create temp table altered (v float4)")
            sql = "insert into altered values ($1)"
            kept = await conn.prepare(sql)
            await conn.execute(sql, 0.1)
            await kept.execute(0.1)
            if rolled_back:
                await conn.script("begin; alter table altered alter v type text")
                await conn.execute(sql, "x")
                await kept.execute("x")
                await conn.script("rollback; truncate altered")
            else:
                await conn.execute("truncate altered")
                await conn.execute("alter table altered alter v type float8")
            await conn.execute(sql, 0.1)
            await kept.execute(0.1)
            await conn.executemany(sql, [(0.1,)])
            stored = await conn.fetch("select v::float8 from altered")
            assert [row[0] for row in stored] == [0.10000000149011612 if rolled_back else 0.1] * 3

    driver.run(scenario)
