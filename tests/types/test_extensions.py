"""The types of extensions, on servers that have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pgproto import Cube, SparseVector
from pgproto_pytest import Driver
from tests.support.drivers import only
from tests.support.postgres import PostgresServer

on_blocking = only("blocking")

# Type, its extension, and values: in, as SQL, and out if that is not the same.
SAMPLES: list[tuple[str, str, Any, str, Any]] = [
    ("citext", "citext", "aB", "'aB'", "aB"),
    ("hstore", "hstore", {}, "''", {}),
    ("hstore", "hstore", {"a": "1", 'b"\\': None, "": ""}, """'a=>1, "b\\"\\\\"=>NULL, ""=>""'""", ...),
    ("ltree", "ltree", "a.b_c", "'a.b_c'", ...),
    ("lquery", "ltree", "a.*{1,2}", "'a.*{1,2}'", ...),
    ("ltxtquery", "ltree", "a & b*", "'a & b*'", ...),
    ("cube", "cube", Cube((1.5, 2.0), (1.5, 2.0)), "'(1.5, 2)'", ...),
    ("cube", "cube", Cube((1.5, -2.0), (3.0, 2.0)), "'(1.5, -2),(3, 2)'", ...),
    ("cube", "cube", [1, 2], "'(1, 2)'", Cube((1.0, 2.0), (1.0, 2.0))),
]
VECTORS: list[tuple[str, str, Any, str, Any]] = [
    ("vector", "vector", (1.0, -2.5, 0.10000000149011612), "'[1,-2.5,0.1]'", ...),
    ("vector", "vector", np.array([1, 2], dtype=np.float32), "'[1,2]'", (1.0, 2.0)),
    ("halfvec", "vector", (1.0, -2.5), "'[1,-2.5]'", ...),
    ("sparsevec", "vector", SparseVector(5, (0, 4), (1.0, -2.5)), "'{1:1,5:-2.5}/5'", ...),
    ("sparsevec", "vector", SparseVector(5, (), ()), "'{}/5'", ...),
]


@pytest.fixture(scope="module", params=["18", "15"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, list[Any]]]:
    """A version, a database with extensions in a schema out of the search_path, and samples."""
    server: PostgresServer = request.getfixturevalue(f"pg{request.param}")
    samples = SAMPLES + (VECTORS if request.param == "18" else [])
    with server.database() as name:
        server.query("create schema ext", dbname=name)
        for extension in sorted({each[1] for each in samples}):
            server.query(f"create extension {extension} schema ext", dbname=name)
        server.query("create type vector as enum ('a', 'b'); create domain hstore as text", dbname=name)
        yield request.param, server.dsn(dbname=name), samples


def test_values_of_extensions(driver: Driver, place: tuple[str, str, list[Any]]) -> None:
    _, dsn, samples = place

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            for name, _, given, sql, expected in samples:
                same = f"ext.{name} {sql}"
                out = given if expected is ... else expected
                query = (
                    f"select $1::ext.{name}, {same}, $2::ext.{name}[], $1::ext.{name}::text = {same}::text, "
                    f"$3::ext.{name}[]"
                )
                row = await conn.fetchrow(query, given, [given, None], [[out], [out]])
                assert tuple(row) == (out, out, [out, None], True, [[out], [out]]), name
                assert type(row[0]) is type(out)

    driver.run(scenario, deadline=60)


def test_a_type_of_the_same_name_is_another(driver: Driver, place: tuple[str, str, list[Any]]) -> None:
    _, dsn, _ = place

    async def scenario(pg: Driver) -> None:
        async with pg.connect(dsn) as conn:
            row = await conn.fetchrow("select $1::public.vector, $2::public.hstore", "a", "b=>c")
            assert tuple(row) == ("a", "b=>c")

    driver.run(scenario, deadline=60)
