"""Every type of a server has a codec, and every value comes back as it went, and as the server reads it.

The types are those of `pg_type`: what PostgreSQL brings along, row types of its catalogs and types of the
information schema included, and a schema with types of a user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pgproto.sqlstates import FeatureNotSupported
from pgproto.types import BUILT_IN, TypeMap
from pgproto.types.catalog import LOOK_UP
from pgproto.types.scalars import OpaqueCodec
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.types.values import BASE, CATALOG, NO_VALUES, Catalog, Type, same

_AS_PRINTED: Final = "its text says all, and Python has no type for it"
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


def is_text(catalog: Catalog, row: Type) -> bool:
    """True if something of it has no codec: then all of it is a str."""
    return any(part.name in TEXT_ONLY for part in catalog.parts(row.oid))


@on_blocking
def test_every_type_has_a_codec(driver: Driver, dsn: str) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            catalog = await catalog_of(conn)
            types = TypeMap(BUILT_IN)
            unknown = [oid for oid in catalog.types if types.known(oid) is None]
            types.learn(await conn.fetch(LOOK_UP, unknown))
        names = {row.name for row in catalog}
        assert set(TEXT_ONLY) | set(NO_VALUES) | set(BASE) <= names
        assert {row.kind for row in catalog} == set("brmdec")
        without = []
        for row in catalog:
            codec = types.known(row.oid)
            if codec is None or (isinstance(codec, OpaqueCodec) and not is_text(catalog, row)):
                without.append(row.name)
        assert without == []
        # What is made of what has a codec has one, and nothing is listed above that has one.
        assert [name for name in TEXT_ONLY if not isinstance(types.named(name), OpaqueCodec)] == []

    driver.run(scenario, deadline=60)


async def check(conn: Any, catalog: Catalog, row: Type) -> list[str]:
    """What is wrong with the samples of a type: as parameters, and as the server makes them of text."""
    samples = catalog.samples(row.oid)
    sent = ", ".join([f"${n + 1}::{row.name}" for n in range(len(samples))])
    made = ", ".join([each.sql for each in samples])
    texts = ", ".join(
        [f"(${n + 1}::{row.name})::text = ({each.sql})::text" for n, each in enumerate(samples)]
    )
    try:
        result = await conn.fetch(f"select {sent}, {made}, {texts}", *[each.value for each in samples])
    except Exception as error:
        return [f"{row.name}: {error!r}"[:2000]]
    values: Sequence[Any] = list(result[0])
    count = len(samples)
    wrong = []
    for n, sample in enumerate(samples):
        back, of_text, equal = values[n], values[count + n], values[2 * count + n]
        if not (same(back, sample.value) and same(of_text, sample.value) and equal is True):
            got = f"{back!r:.200}, of text {of_text!r:.200}, as text {equal}"
            wrong.append(f"{row.name}: {sample.value!r:.200} gave {got}; {sample.sql:.300}")
    return wrong


async def round_trips(pg: Driver, dsn: str, wanted: str, least: int) -> None:
    wrong: list[str] = []
    checked = 0
    async with pg.connect(dsn) as conn:
        catalog = await catalog_of(conn)
        for row in catalog:
            if catalog.valueless(row.oid) or not row.name.startswith(wanted):
                continue
            if is_text(catalog, row) and row.name not in BASE:
                continue
            checked += 1
            wrong += await check(conn, catalog, row)
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
