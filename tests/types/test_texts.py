"""The text forms of all types: what a server prints is read, and what is written it reads, as in binary.

Under every setting of a session that changes what the server prints.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from pgproto import DataError
from pgproto.types import BUILT_IN, TypeMap, quote_literal
from pgproto.types.catalog import LOOK_UP
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.types.test_complete import catalog_of
from tests.types.values import Catalog, Type, same

SETTINGS: Final[dict[str, str]] = {
    "all": "set timezone = 'UTC'",
    "postgres_verbose": "set intervalstyle = postgres_verbose; set timezone = 'Asia/Kathmandu'",
    "sql_standard": "set intervalstyle = sql_standard; set bytea_output = escape",
    "iso_8601": "set intervalstyle = iso_8601; set datestyle = 'ISO, DMY'; set timezone = 'America/St_Johns'",
    "German": "set datestyle = German",
    "Postgres, MDY": "set datestyle = 'Postgres, MDY'",
    "Postgres, DMY": "set datestyle = 'Postgres, DMY'; set intervalstyle = sql_standard",
    "SQL, MDY": "set datestyle = 'SQL, MDY'",
    "SQL, DMY": "set datestyle = 'SQL, DMY'; set timezone = '<+0530>-05:30'",
}
CHANGED: Final = {"bytea", "date", "interval", "timestamp without time zone", "timestamp with time zone"}
"""The types of which these settings change the texts; all others are checked once."""
UNCLEAR: Final[dict[str, set[str]]] = {
    "German": {"timestamp with time zone"},
    "Postgres": {"timestamp with time zone", "date"},
    "SQL": {"timestamp with time zone", "timestamp without time zone", "date"},
}
"""The types whose texts are refused in a DateStyle."""


def is_any(names: set[str], catalog: Catalog, row: Type) -> bool:
    """True if a type is one of these, or made of one."""
    return any(part.name in names for part in catalog.parts(row.oid))


async def read(conn: Any, types: TypeMap, catalog: Catalog, row: Type, unclear: set[str]) -> list[str]:
    """What is wrong with the texts that the server prints of a type's samples."""
    samples = catalog.samples(row.oid)
    printed = ", ".join([f"format('%s', {each.sql})" for each in samples])
    texts = list(await conn.fetchrow(f"select {printed}"))
    wrong = []
    for sample, text in zip(samples, texts, strict=True):
        try:
            value = types.codec(row.oid).decode_text(text)
        except DataError as error:
            if "set DateStyle to ISO" in str(error) and is_any(unclear, catalog, row):
                continue
            wrong.append(f"{row.name}: {text:.200} is not read: {error}")
        else:
            if row.name in unclear:
                wrong.append(f"{row.name}: {text:.200} is read, which leaves a doubt")
            elif not same(value, sample.value):
                wrong.append(f"{row.name}: {text:.200} is read as {value!r:.200}, not {sample.value!r:.200}")
    return wrong


async def written(conn: Any, types: TypeMap, catalog: Catalog, row: Type, unclear: set[str]) -> list[str]:
    """What is wrong with what the server makes of the texts that are written."""
    samples = catalog.samples(row.oid)
    codec = types.codec(row.oid)
    texts = [codec.encode_text(each.value) for each in samples]
    # As literals: a cast of a text to regclass is not the type's input.
    values = [f"{quote_literal(text)}::{row.name}" for text in texts]
    equal = [f"({value})::text = ({each.sql})::text" for value, each in zip(values, samples, strict=True)]
    in_text = not codec.format and is_any(unclear, catalog, row)  # so its values cannot be fetched
    result: list[Any] = list(await conn.fetchrow(f"select {', '.join(equal + ([] if in_text else values))}"))
    wrong = []
    for n, sample in enumerate(samples):
        value = sample.value if in_text else result[len(samples) + n]
        if not (same(value, sample.value) and result[n] is True):
            wrong.append(f"{row.name}: {texts[n]:.200} gave {value!r:.200}, not {sample.value!r:.200}")
    return wrong


async def scenario(pg: Driver, dsn: str, setting: str) -> None:
    wrong: list[str] = []
    checked = 0
    unclear = UNCLEAR.get(setting.partition(",")[0], set())
    async with pg.connect(dsn) as conn:
        catalog = await catalog_of(conn)
        types = TypeMap(BUILT_IN)
        types.learn(await conn.fetch(LOOK_UP, [oid for oid in catalog.types if types.known(oid) is None]))
        await conn.script(SETTINGS[setting])
        for row in catalog:
            if catalog.valueless(row.oid):
                continue
            if setting != "all" and not is_any(CHANGED, catalog, row):
                continue
            checked += 1
            for check in (
                read(conn, types, catalog, row, unclear),
                written(conn, types, catalog, row, unclear),
            ):
                try:
                    wrong += await check
                except Exception as error:
                    wrong.append(f"{row.name}: {error!r}"[:2000])
    assert wrong == []
    assert checked > (500 if setting == "all" else 50)


@only("blocking")
@pytest.mark.parametrize("setting", SETTINGS)
def test_texts(driver: Driver, dsn: str, setting: str) -> None:
    async def run(pg: Driver) -> None:
        await scenario(pg, dsn, setting)

    driver.run(run, deadline=110)
