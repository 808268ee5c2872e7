"""The pages about migrating have every public name of asyncpg and psycopg, and no others.

The code on the pages runs in tests/postgres/test_migrating_examples.py.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

import pgproto
import pgproto_asyncio
import pgproto_blocking
from pgproto import client
from pgproto.client import blocking
from pgproto.client.habits import WAYS
from tests.support.migrating import ASYNCPG, PSYCOPG, named, public, rows

ADAPTERS = ["pgproto_asyncio", "pgproto_trio", "pgproto_anyio", "pgproto_blocking"]
POOL: Any = {"asyncio": pgproto_asyncio.Pool, "blocking": pgproto_blocking.Pool}


def no_errors(asyncpg: Any) -> set[str]:
    """What asyncpg exports beside its exceptions."""
    exported = {name: getattr(asyncpg, name) for name in asyncpg.__all__}
    return {
        name
        for name, value in exported.items()
        if not (inspect.isclass(value) and issubclass(value, BaseException))
    }


def asyncpg_names() -> dict[str, set[str]]:
    asyncpg = pytest.importorskip("asyncpg")
    cursor = importlib.import_module("asyncpg.cursor")
    prepared = importlib.import_module("asyncpg.prepared_stmt")
    transaction = importlib.import_module("asyncpg.transaction")
    connect = {"host", *inspect.signature(asyncpg.connect).parameters}
    return {
        "asyncpg": no_errors(asyncpg),
        "Connection": public(asyncpg.Connection),
        "Pool": public(asyncpg.Pool),
        "PreparedStatement": public(prepared.PreparedStatement),
        "Transaction": public(transaction.Transaction),
        "Cursor": public(cursor.Cursor),
        "Record": public(asyncpg.Record),
        "connect()": connect,
        "create_pool()": public(asyncpg.create_pool),
    }


def psycopg_names() -> dict[str, set[str]]:
    psycopg = pytest.importorskip("psycopg")
    psycopg_pool = pytest.importorskip("psycopg_pool")
    rows_of = importlib.import_module("psycopg.rows")
    sql = importlib.import_module("psycopg.sql")
    both = {name: getattr(psycopg, name) for name in psycopg.__all__}
    pools = [name for name in psycopg_pool.__all__ if name.endswith("Pool")]
    return {
        "psycopg": set(psycopg.__all__),
        **{
            name: public(both[name])
            for prefix in ("", "Async")
            for name in (
                *(prefix + kind for kind in ("Connection", "Cursor", "ServerCursor", "Copy", "Transaction")),
                prefix + "Pipeline",
            )
        },
        **{name: public(both[name]) for name in ("RawCursor", "ClientCursor", "ConnectionInfo", "Column")},
        **{name: public(both[name]) for name in ("Notify", "Xid", "Capabilities")},
        **{name: public(getattr(psycopg_pool, name)) for name in pools},
        "ConnectionPool()": public(psycopg_pool.ConnectionPool.__init__),
        "connect()": public(psycopg.connect),
        "rows": {name for name in dir(rows_of) if name.endswith("_row")},
        "sql": {
            name
            for name, value in vars(sql).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == "psycopg.sql"
        }
        | {"NULL", "DEFAULT", "as_string", "as_bytes"},
    }


def test_every_name_of_asyncpg_has_a_row() -> None:
    assert named(ASYNCPG) == asyncpg_names()


def test_every_name_of_psycopg_has_a_row() -> None:
    names = psycopg_names()
    found = named(PSYCOPG)
    types = found.pop("types")
    assert found == names
    psycopg_types = importlib.import_module("psycopg.types")
    for name in types:
        module, _, last = name.rpartition(".")
        inner = importlib.import_module(f"psycopg.types.{module}") if module else psycopg_types
        assert hasattr(inner, last), name


def test_the_tables_are_read() -> None:
    found = [*rows(ASYNCPG), *rows(PSYCOPG)]
    assert len(found) > 150
    assert [str(row) for row in found if not (row.owners and row.names and row.code)] == []
    assert {"add_listener", "set_type_codec"} <= named(ASYNCPG)["Connection"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Connection", ["asyncpg:Connection", "psycopg:Connection", "psycopg:AsyncConnection"]),
        ("Pool", ["asyncpg:Pool", "psycopg_pool:ConnectionPool", "psycopg_pool:AsyncConnectionPool"]),
        ("PreparedStatement", ["asyncpg.prepared_stmt:PreparedStatement"]),
        ("Cursor", ["asyncpg.cursor:Cursor", "psycopg:ServerCursor", "psycopg:AsyncClientCursor"]),
        ("TransactionContext", ["asyncpg.transaction:Transaction", "psycopg:Transaction"]),
    ],
)
def test_a_name_that_is_not_here_says_what_is(ours: str, theirs: list[str]) -> None:
    """Every public name of the others' classes is ours, too, or its AttributeError names the way."""
    for module in (client, blocking):
        cls = pgproto_blocking.Pool if (module, ours) == (blocking, "Pool") else getattr(module, ours, None)
        cls = cls or getattr(importlib.import_module(f"{module.__name__}.cursors"), ours)
        for where in theirs:
            package, _, name = where.partition(":")
            for attribute in public(getattr(pytest.importorskip(package), name)):
                if attribute in dir(cls) and hasattr(cls, attribute):
                    continue
                with pytest.raises(AttributeError, match=f"{ours} has no '{attribute}'; here it is: "):
                    getattr(cls, attribute)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_module_says_what_is_there_instead(adapter: str) -> None:
    module = pytest.importorskip(adapter)
    for name in WAYS[""]:
        with pytest.raises(AttributeError, match=f"{adapter} has no '{name}'; here it is: "):
            getattr(module, name)
    assert not hasattr(module, "create_pool")
    assert "create_pool" not in dir(module)
    with pytest.raises(ImportError, match=r"here it is: `(async )?with Pool\(dsn"):
        exec(f"from {adapter} import create_pool")
    with pytest.raises(AttributeError, match=f"module '{adapter}' has no attribute 'creat_pool'$"):
        module.creat_pool  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'creat_pool'"):
        exec(f"from {adapter} import creat_pool")


def test_every_name_of_the_others_modules_is_pointed_out() -> None:
    asyncpg, psycopg = pytest.importorskip("asyncpg"), pytest.importorskip("psycopg")
    psycopg_pool = pytest.importorskip("psycopg_pool")
    names = no_errors(asyncpg) | set(psycopg.__all__)
    names |= {name for name in psycopg_pool.__all__ if name.endswith("Pool")}
    names -= {"apilevel", "threadsafety", "paramstyle", *dir(pgproto_asyncio)}
    assert sorted(names - WAYS[""].keys()) == []


def test_what_is_pointed_out_is_no_attribute() -> None:
    pool = pgproto_asyncio.Pool("postgresql://app@db/app")
    assert not hasattr(pool, "getconn")
    assert "getconn" not in dir(pool)
    assert "acquire" in dir(pool)
    with pytest.raises(AttributeError) as caught:
        pool.getconn  # type: ignore[attr-defined]  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("getconn", pool)


def test_no_name_that_is_pointed_out_is_ours() -> None:
    for ours, ways in WAYS.items():
        for module in (client, blocking):
            cls = vars(module).get(ours)
            assert [name for name in ways if cls is not None and hasattr(cls, name)] == []


def test_the_blocking_client_speaks_of_blocking_code() -> None:
    with pytest.raises(AttributeError) as caught:
        pgproto_blocking.Pool.getconn  # type: ignore[attr-defined]  # noqa: B018
    assert "`conn = pool.acquire().start()`, and later `pool.release(conn)`" in str(caught.value)
    for owner, ways in WAYS.items():
        cls = {"Pool": pgproto_blocking.Pool, "Connection": blocking.Connection}.get(owner)
        for name in ways if cls is not None else ():
            with pytest.raises(AttributeError) as caught:
                getattr(cls, name)
            assert "await" not in str(caught.value)
            assert "async " not in str(caught.value)


@pytest.mark.parametrize("module", [client, blocking])
def test_a_cursor_is_made_of_its_statement(module: Any) -> None:
    with pytest.raises(TypeError, match=r"conn\.fetch\(sql, \*args\)"):
        object.__new__(module.Connection).cursor()


def test_a_pool_is_not_awaited() -> None:
    with pytest.raises(TypeError, match=r"pool = await Pool\(dsn\)\.open\(\)"):
        POOL["asyncio"]("postgresql://app@db/app").__await__()
    assert not hasattr(POOL["blocking"], "__await__")


def test_every_error_of_the_others_has_a_class_here() -> None:
    asyncpg, psycopg = pytest.importorskip("asyncpg"), pytest.importorskip("psycopg")
    errors = [value for value in vars(asyncpg.exceptions).values() if inspect.isclass(value)]
    errors += [value for value in vars(psycopg.errors).values() if inspect.isclass(value)]
    codes = {code for error in errors if isinstance(code := getattr(error, "sqlstate", None), str)}
    assert len(codes) > 250
    classes = pgproto.PostgresError.by_sqlstate
    assert {code for code in codes if code not in classes and code[:2] not in classes} == set()
    same = [name for name in vars(psycopg.errors) if hasattr(pgproto.sqlstates, name)]
    assert len(same) > 180
