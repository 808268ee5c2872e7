"""Every type of a server has a codec, and every value comes back as it went, and as the server reads it.

The types are those of `pg_type`: what PostgreSQL brings along, row types of its catalogs and types of the
information schema included, and a schema with types of a user's.
"""

from __future__ import annotations

import itertools
from typing import Any, Final

from pgproto.sqlstates import FeatureNotSupported
from pgproto.types import BUILT_IN, Codec, TypeMap, quote_literal
from pgproto.types.catalog import LOOK_UP
from pgproto.types.scalars import OpaqueCodec
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.types.values import BASE, CATALOG, NO_VALUES, Catalog, Type, same

_AS_PRINTED: Final = "its text says all, and Python has nothing for it"
_ITS_NAME: Final = "its text is the object's name, its binary form only a number"
TEXT_ONLY: Final[dict[str, str]] = {
    "aclitem": "it has no binary form",
    "gtsvector": "it has no binary form",
    "money": "its binary form is a number whose meaning depends on the locale",
    "pg_snapshot": _AS_PRINTED,
    "txid_snapshot": _AS_PRINTED,
    "tsquery": _AS_PRINTED,
    "tsvector": _AS_PRINTED,
    "pg_brin_bloom_summary": _AS_PRINTED,
    "pg_brin_minmax_multi_summary": _AS_PRINTED,
    "pg_dependencies": _AS_PRINTED,
    "pg_mcv_list": _AS_PRINTED,
    "pg_ndistinct": _AS_PRINTED,
    "pg_node_tree": _AS_PRINTED,
    "regclass": _ITS_NAME,
    "regcollation": _ITS_NAME,
    "regconfig": _ITS_NAME,
    "regdictionary": _ITS_NAME,
    "regnamespace": _ITS_NAME,
    "regoper": _ITS_NAME,
    "regoperator": _ITS_NAME,
    "regproc": _ITS_NAME,
    "regprocedure": _ITS_NAME,
    "regrole": _ITS_NAME,
    "regtype": _ITS_NAME,
}
"""Base types whose values are str, as PostgreSQL prints them, and why."""

on_blocking = only("blocking")


async def catalog_of(conn: Any) -> Catalog:
    without = []
    try:
        await conn.fetch("select '<a/>'::xml")
    except FeatureNotSupported:  # built without libxml
        without.append("xml")
    return Catalog(await conn.fetch(CATALOG), without)


async def types_of(conn: Any, catalog: Catalog) -> TypeMap:
    types = TypeMap(BUILT_IN)
    types.learn(await conn.fetch(LOOK_UP, [oid for oid in catalog.types if types.known(oid) is None]))
    return types


@on_blocking
def test_every_type_has_a_codec(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            catalog = await catalog_of(conn)
            types = await types_of(conn, catalog)
        names = {row.name for row in catalog}
        assert set(TEXT_ONLY) | set(NO_VALUES) | set(BASE) <= names
        assert {row.kind for row in catalog} == set("brmdec")
        without = [row.name for row in catalog if type(types.codec(row.oid)) is OpaqueCodec]
        assert sorted(without) == sorted(TEXT_ONLY)

    driver.run(scenario, deadline=60)


async def check(conn: Any, catalog: Catalog, row: Type, codec: Codec) -> list[str]:
    """What is wrong with the samples of a type: as parameters, as made by the server of text, and as text."""
    samples = catalog.samples(row.oid)
    columns: list[str] = []
    for n, each in enumerate(samples, 1):
        written = quote_literal(codec.encode_text(each.value))
        columns += [
            f"${n}::{row.name}",
            each.sql,
            f"(${n}::{row.name})::text = ({each.sql})::text",
            f"({each.sql})::text",
            f"({written}::{row.name})::text = ({each.sql})::text",
        ]
    try:
        result = await conn.fetch(f"select {', '.join(columns)}", *[each.value for each in samples])
    except Exception as error:
        return [f"{row.name}: {error!r}"[:2000]]
    wrong = []
    values = iter(result[0])
    for sample in samples:
        back, of_text, equal, printed, equal_as_text = itertools.islice(values, 5)
        seen = [back, of_text, equal, codec.decode_text(printed), equal_as_text]
        if not all(map(same, seen, [sample.value, sample.value, True, sample.value, True])):
            wrong.append(f"{row.name}: {sample.value!r:.200} is {seen!r:.900}; {sample.sql:.300}")
    return wrong


async def round_trips(pg: Driver, dsn: str, wanted: str, least: int) -> None:
    wrong: list[str] = []
    checked = 0
    async with pg.connect(dsn) as conn:
        catalog = await catalog_of(conn)
        types = await types_of(conn, catalog)
        for row in catalog:
            if catalog.valueless(row.oid) or not row.name.startswith(wanted):
                continue
            checked += 1
            wrong += await check(conn, catalog, row, types.codec(row.oid))
    assert wrong == []
    assert checked > least


@on_blocking
def test_every_value_comes_back(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        await round_trips(pg, dsn, "", 500)

    driver.run(scenario, deadline=110)


@only("asyncio", "trio")
def test_every_value_comes_back_everywhere(driver: Driver, dsn18: str) -> None:
    async def scenario(pg: Driver) -> None:
        await round_trips(pg, dsn18, "every.", 20)

    driver.run(scenario, deadline=60)
