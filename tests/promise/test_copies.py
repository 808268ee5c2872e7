"""One of each connection, pool and lease: a copy would own the same session, and end it when dropped."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from typing import Any

import pytest

import pgproto_asyncio
import pgproto_blocking
import pgproto_trio
from pgproto import client
from pgproto.client import blocking
from pgproto.client.unique import Unique
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

PARTS = {"Connect"}  # nobody is given one
# Where the classes are of which callers are given objects.
MODULES = ("connection", "leases", "notifications", "pieces", "pool", "prepared", "transactions")


def classes() -> list[type]:
    found: list[type] = []
    for package in (client, blocking):
        for name in MODULES:
            module = importlib.import_module(f"{package.__name__}.{name}")
            members = [each for each in vars(module).values() if inspect.isclass(each)]
            found += [each for each in members if each.__module__ == module.__name__]
    return found


def test_every_class_of_which_callers_are_given_objects_is_unique() -> None:
    names = {each.__name__ for each in classes() if issubclass(each, Unique)}
    assert {"Connection", "Pool", "Lease", "Pieces", "PreparedStatement", "TransactionContext"} <= names
    assert "Notifications" in names
    others = {each.__name__ for each in classes() if not issubclass(each, Unique)}
    assert others <= PARTS


def refuses(thing: Any) -> None:
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            way(thing)


def bare(thing: Any) -> Any:
    """What a test's wrapper is around."""
    while hasattr(thing, "target"):
        thing = thing.target
    return thing


def test_nothing_is_copied(driver: Driver, pg18: PostgresServer) -> None:
    library: Any = {"asyncio": pgproto_asyncio, "trio": pgproto_trio, "blocking": pgproto_blocking}[
        driver.name
    ]

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn, pg.Pool(pg18.dsn(), max_size=1) as pool:
            prepared = await conn.prepare("select 1")
            plain, plain_pool = bare(conn), bare(pool)
            for thing in (
                plain,
                plain_pool,
                bare(prepared),
                plain_pool.acquire(),
                plain_pool.transaction(),
                plain.transaction(),
                plain.listen("here"),
                plain.stream("select 1"),
                plain.copy_out("copy (select 1) to stdout"),
                plain_pool.copy_out("copy (select 1) to stdout"),
                plain_pool.open() if pg.name != "blocking" else plain_pool,
                library.connect(pg18.dsn()) if pg.name != "blocking" else plain,
            ):
                refuses(thing)
            async with pool.acquire() as lent:
                refuses(bare(lent))
            with pytest.raises(TypeError, match="a Connection cannot be copied"):
                copy.deepcopy({"conn": plain})
            assert await conn.fetchval("select 1") == 1
            assert await prepared.fetchval() == 1
            assert await pool.fetchval("select 1") == 1

    driver.run(scenario)
