"""`copy_records` through real poolers: an extended query with a COPY in it, which each has to let through.

A COPY that its caller or the server ends in the middle must leave session and server in step.
"""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import DataError, Outcome, PostgresError
from pgproto_pytest import Driver
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer, PoolMode, Version
from tests.support.postgres import PostgresServer


@pytest.mark.holds("L1", "L13")
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
@pytest.mark.parametrize("version", ["1.18", "1.24"])
def test_records_through_a_pooler(
    pg18: PostgresServer, driver: Driver, version: Version, mode: PoolMode, named: bool
) -> None:
    if (reason := pgbouncer.missing(version)) is not None:
        pytest.skip(reason)
    table = f"copied_{driver.name}_{mode}_{int(named)}_{version.replace('.', '')}"
    pg18.query(f"create table {table} (a int4 primary key, b text)")

    async def scenario(pg: Driver) -> None:
        async with pg.connect(
            bouncer.dsn(), statement_mode="cache_statement" if named else "cache_describe"
        ) as conn:

            async def copy(records: Any) -> int:
                return int(await conn.copy_records(table, records, columns=["a", "b"]))

            for round_ in range(3):
                first = round_ * 10_000
                assert await copy([(first + each, "x" * 50) for each in range(5_000)]) == 5_000
                with pytest.raises(DataError) as unfit:
                    await copy(
                        [*((first + 5_000 + each, "x" * 50) for each in range(4_000)), ("no number", "")]
                    )
                assert unfit.value.outcome is not Outcome.COMMITTED
                with pytest.raises(PostgresError) as twice:
                    await copy([(first + 5_000 + each, "y" * 50) for each in range(4_000)] * 2)
                assert twice.value.sqlstate == "23505"
                with pytest.raises(PostgresError) as unknown:
                    await conn.copy_records("nowhere", [(1,)], columns=["a"])
                assert unknown.value.sqlstate == "42P01"
                assert await conn.fetchval(f"select count(*) from {table}") == 5_000 * (round_ + 1)

    with PgBouncer(pg18, mode, version=version, settings={"default_pool_size": "1"}) as bouncer:
        driver.run(scenario, deadline=60)
        assert "invalid" not in bouncer.log_text()
    pg18.query(f"drop table {table}")
