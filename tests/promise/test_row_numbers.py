"""The row that cannot be decoded is named by its number in the result, however the rows arrived."""

from __future__ import annotations

import pytest

from pgproto import Batch, DataError
from pgproto_pytest import Driver
from tests.support.owned import Owned

# Some hundred kilobytes: they arrive in several pieces.
SQL = """select case g when {} then 'infinity'::date else '2020-01-01' end, repeat('x', 50)
    from generate_series(1, 9000) g"""


@pytest.mark.holds("L2")
@pytest.mark.parametrize("row", [1, 5000, 9000])
def test_the_row_is_named_by_its_number_in_the_result(driver: Driver, owned: Owned, row: int) -> None:
    async def scenario(pg: Driver) -> None:
        sql = SQL.format(row)
        async with pg.connect(owned.dsn) as conn:
            with pytest.raises(DataError, match=f"^row {row}, column 1"):
                await conn.fetch(sql)
            with pytest.raises(DataError, match=f"^row {row}, column 1"):
                async for _ in conn.stream(sql):
                    pass
            batch = Batch()
            items = [batch.queue(SQL.format(0)), batch.queue(sql)]
            with pytest.raises(DataError, match=f"^row {row}, column 1"):
                await conn.send_batch(batch)
            assert str(items[1].error).startswith(f"row {row}, column 1")

    driver.run(scenario)
