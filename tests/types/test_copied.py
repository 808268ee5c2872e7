"""COPY in text format: every type's values are stored as by a parameter."""

from __future__ import annotations

from typing import Any

from pgproto.types import BUILT_IN, CopyTextEncoder, TypeMap
from pgproto.types.catalog import LOOK_UP
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.types.test_complete import catalog_of
from tests.types.values import Type, same

_COLUMNS = 40  # of a table


async def copied(conn: Any, types: TypeMap, rows: list[tuple[Type, list[Any]]]) -> list[str]:
    """What is wrong with the values of some types, of which each has a column."""
    table = ", ".join([f"c{n} {row.name}" for n, (row, _) in enumerate(rows)])
    await conn.script(f"drop table if exists copied; create temp table copied (n int4, {table})")
    names = ["n", *[f"c{n}" for n in range(len(rows))]]
    encoder = CopyTextEncoder(names, [23, *[row.oid for row, _ in rows]], types)
    most = max(len(values) for _, values in rows)
    records = [(n, *[values[n % len(values)] for _, values in rows]) for n in range(most)]
    assert (
        await conn.copy_in("copy copied from stdin", [encoder.encode(record) for record in records]) == most
    )
    found = await conn.fetch("select * from copied order by n")
    wrong = []
    for record, back in zip(records, found, strict=True):
        for (row, _), value, stored in zip(rows, record[1:], list(back)[1:], strict=True):
            if not same(stored, value):
                wrong.append(f"{row.name}: {value!r:.200} is stored as {stored!r:.200}")
    return wrong


@only("blocking")
def test_every_type(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        wrong: list[str] = []
        async with pg.connect(dsn) as conn:
            catalog = await catalog_of(conn)
            types = TypeMap(BUILT_IN)
            types.learn(await conn.fetch(LOOK_UP, [oid for oid in catalog.types if types.known(oid) is None]))
            chosen = [
                row
                for row in catalog
                if not catalog.valueless(row.oid) and not row.name.startswith(("pg_", "information_schema."))
            ]
            rows = [(row, [each.value for each in catalog.samples(row.oid)]) for row in chosen]
            assert len(rows) > 150
            for start in range(0, len(rows), _COLUMNS):
                wrong += await copied(conn, types, rows[start : start + _COLUMNS])
        assert wrong == []

    driver.run(scenario, deadline=110)
