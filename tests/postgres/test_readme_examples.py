"""Every example of the README and of its pages runs, on a real server; what their tables say is so."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pgproto
import pgproto_asyncio
import pgproto_blocking
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.proxy import Proxy
from tests.support.readme import Block, blocks, table
from tests.support.standin import GEOMETRY

DATABASE = "readme"
DSN = '"postgresql://app@db/app"'
LOGIN = 'Client(("db", 5432), user="app", password="secret", database="app")'

LITERALS = {
    "bool": "true",
    "int2": "1",
    "int4": "1",
    "int8": "1",
    "oid": "1",
    "xid": "1",
    "xid8": "1",
    "cid": "1",
    "float4": "1.5",
    "float8": "1.5",
    "numeric": "1.5",
    "money": "1.5",
    "text": "x",
    "varchar": "x",
    "bpchar": "x",
    "name": "x",
    "xml": None,  # this server is built without it
    '"char"': "x",
    "bytea": r"\x01",
    "uuid": "00000000-0000-0000-0000-000000000001",
    "json": '{"a": 1}',
    "jsonb": '{"a": 1}',
    "date": "2026-01-02",
    "time": "01:02:03",
    "timetz": "01:02:03+00",
    "timestamp": "2026-01-02 03:04:05",
    "timestamptz": "2026-01-02 03:04:05+00",
    "interval": "1 month",
    "inet": "10.0.0.1",
    "cidr": "10.0.0.0/8",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "bit": "1",
    "varbit": "101",
    "point": "(1,2)",
    "line": "{1,2,3}",
    "lseg": "[(1,2),(3,4)]",
    "box": "(3,4),(1,2)",
    "path": "[(1,2),(3,4)]",
    "polygon": "((1,2),(3,4))",
    "circle": "<(1,2),3>",
    "int4range": "[1,2)",
    "int8range": "[1,2)",
    "numrange": "[1,2)",
    "daterange": "[2026-01-02,2026-01-03)",
    "tsrange": "[2026-01-02,2026-01-03)",
    "tstzrange": "[2026-01-02 00:00+00,)",
    "int4multirange and the others": None,
    "tid": "(1,2)",
    "int2vector": "1 2",
    "oidvector": "1 2",
    "tsvector": "'a'",
    "tsquery": "'a' & 'b'",
    "jsonpath": "$.a",
    "pg_lsn": "0/1",
    "pg_snapshot": "10:20:10",
    "aclitem": "=r/postgres",
    "refcursor": "x",
    "regtype": "int4",
    "regclass and the other reg types": None,
    "an enum": None,
    "a composite type": None,
    "record": None,
    "a domain": None,
}


@pytest.fixture
def dsn(pg18: PostgresServer) -> Iterator[str]:
    """A database of its own, so that the examples can use the names that they use."""
    pg18.query(f"create database {DATABASE}")
    yield pg18.dsn(dbname=DATABASE)
    pg18.query(f"drop database {DATABASE} with (force)")


def prepared(block: Block, dsn: str) -> Any:
    """The block's code, with the server of the test in it; errors name the page's line."""
    source = "\n" * (block.line - 1) + block.source.replace(DSN, repr(dsn))
    return compile(source, block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("block", blocks("program"), ids=str)
def test_programs(block: Block, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert DSN in block.source
    exec(prepared(block, dsn), {"__name__": "__main__"})
    assert capsys.readouterr().out


def test_a_program_with_its_own_server(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("whole")
    exec(block.source, {"__name__": "__main__"})
    assert capsys.readouterr().out.startswith("PostgreSQL 18")


JOBS = "create table jobs (id int4 primary key, name text); insert into jobs values (1);"


def pages(kind: str) -> list[str]:
    return sorted({block.page for block in blocks(kind)})


@pytest.mark.parametrize("page", pages("await"))
def test_what_is_awaited(page: str, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples write files
    found = [block for block in blocks("await") if block.page == page]

    async def main() -> None:
        async with (
            pgproto_asyncio.Pool(dsn, max_size=3) as pool,
            pgproto_asyncio.connect(dsn) as conn,
        ):
            await conn.script(JOBS + GEOMETRY)
            names: dict[str, Any] = {"asyncio": asyncio, "pgproto": pgproto, "pg": pgproto_asyncio}
            for block in found:
                names |= {"pool": pool, "conn": conn}  # a block may have others by these names
                done = eval(prepared(block, dsn), names)
                if inspect.isawaitable(done):
                    await done
                assert conn.transaction_status == "I", block
            assert pool.stats().used == 0

    asyncio.run(main())


@pytest.mark.parametrize("page", pages("blocking"))
def test_what_blocks(page: str, dsn: str) -> None:
    for name in {name for block in blocks("blocking") if block.page == page for name in block.needs}:
        pytest.importorskip(name)
    with pgproto_blocking.Pool(dsn, max_size=3) as pool, pgproto_blocking.connect(dsn) as conn:
        conn.script(JOBS)
        names: dict[str, Any] = {"pgproto": pgproto, "pg": pgproto_blocking}
        for block in blocks("blocking"):
            if block.page == page:
                names |= {"pool": pool, "conn": conn}
                exec(prepared(block, dsn), names)
                assert conn.transaction_status == "I", block
        assert pool.stats().used == 0


def test_the_service_answers(dsn: str) -> None:
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    (block,) = blocks("service")
    names: dict[str, Any] = {}
    exec(prepared(block, dsn), names)
    with testclient.TestClient(names["app"]) as client:
        assert client.post("/notes", params={"text": "paint"}).json() == {"id": 1}
        refused = client.post("/notes", params={"text": "paint"})
        assert (refused.status_code, refused.json()) == (409, {"detail": "there is such a note already"})
        assert client.get("/notes").json() == [{"id": 1, "text": "paint"}]


@pytest.mark.parametrize("block", blocks("asyncpg"), ids=str)
def test_what_is_said_about_asyncpg(block: Block, dsn: str) -> None:
    asyncpg = pytest.importorskip("asyncpg")

    async def main() -> None:
        conn = await asyncpg.connect(dsn)
        try:
            await conn.execute(JOBS)
            done = eval(
                prepared(block, dsn), {"asyncio": asyncio, "asyncpg": asyncpg, "io": io, "conn": conn}
            )
            if inspect.isawaitable(done):
                await done
        finally:
            await conn.close()

    asyncio.run(main())


@pytest.mark.parametrize("block", blocks("psycopg"), ids=str)
def test_what_is_said_about_psycopg(block: Block, dsn: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(dsn) as conn:
        exec(prepared(block, dsn), {"psycopg": psycopg, "conn": conn})


def test_the_client_logs_in_with_scram_and_gets_rows(
    pg18: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = blocks("client")
    assert LOGIN in block.source
    login = (
        f'Client(({pg18.host!r}, {pg18.port}), user="scram_user", password={PASSWORD!r}, database="postgres")'
    )
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(block.source.replace(LOGIN, login), names)
    client = names["client"]
    try:
        assert capsys.readouterr().out.splitlines() == [f"Row(n={n}, square={n * n})" for n in (1, 2, 3)]
        with pytest.raises(pgproto.PostgresError, match="division by zero"):
            client.query("select 1 / $1::int4", 0)
        assert [tuple(row) for row in client.query("select $1::text, null", "x")] == [("x", None)]
        assert client.query("select pg_terminate_backend(0) where false") == []
        with pytest.raises(pgproto.PostgresError) as caught:
            client.query("select pg_terminate_backend(pg_backend_pid())")
        assert caught.value.sqlstate == "57P01"
    finally:
        client.sock.close()


def test_the_client_fits_in_about_thirty_lines() -> None:
    (block,) = blocks("client")
    lines = [line for line in block.source.splitlines() if line.strip() and '"""' not in line]
    assert len(lines) < 55


def test_the_server_answers(pg18: PostgresServer) -> None:
    (block,) = blocks("server")
    names: dict[str, Any] = {"__name__": "readme"}
    exec(block.source, names)
    failures: list[BaseException] = []

    def run(listener: socket.socket) -> None:
        for _ in range(2):
            sock, _address = listener.accept()
            with sock:
                try:
                    names["serve"](sock)
                except BaseException as error:
                    failures.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=run, args=(listener,), daemon=True)
        thread.start()
        with pgproto_blocking.connect(f"postgresql://app@127.0.0.1:{port}/app") as conn:
            (result,) = conn.script("what is the answer?")
            assert [tuple(row) for row in result.rows] == [("42",)]
        assert pg18.psql("select 1", host="127.0.0.1", port=port, dbname="app") == [["42"]]
        thread.join(10)
        assert not thread.is_alive()
    assert failures == []


def test_the_table_of_types_is_right(pg18: PostgresServer) -> None:
    rows = {sql: row[1] for row in table("SQL") for sql in row[0].split(", ")}
    assert rows.keys() == LITERALS.keys()
    with pgproto_blocking.connect(pg18.dsn()) as conn:
        for sql, python in rows.items():
            if (text := LITERALS[sql]) is None:
                continue
            text = text.replace("'", "''")
            value = conn.fetchval(f"select '{text}'::{sql}")
            wanted = "dict" if python.startswith("what json.loads gives") else python.split()[0].rstrip(",")
            assert type(value).__name__ == wanted.removeprefix("pgproto."), sql
            assert conn.fetchval(f"select $1::{sql}", value) == value, sql
            assert conn.fetchval(f"select array['{text}'::{sql}, null]") == [value, None], sql


def test_what_stands_below_the_table_of_types(pg18: PostgresServer) -> None:
    with pgproto_blocking.connect(pg18.dsn()) as conn:
        assert conn.fetchval("select '{[1,3)}'::int8multirange") == pgproto.Multirange([pgproto.Range(1, 3)])
        assert conn.fetchval("select 'pg_class'::regclass") == "pg_class"
        conn.script(
            "create type pg_temp.mood as enum ('sad'); create type pg_temp.pair as (a int4, b text);"
            " create domain pg_temp.price as numeric[]"
        )
        assert conn.fetchval("select 'sad'::pg_temp.mood") == "sad"
        assert tuple(conn.fetchval("select row(1, 'x')")) == (1, "x")
        assert conn.fetchval("select row(1, 'x')::pg_temp.pair")["b"] == "x"
        assert conn.fetchval("select '{1}'::pg_temp.price") == [1]
        bounded = conn.fetchval("select '[0:1]={1,2}'::int4[]")
        assert isinstance(bounded, pgproto.Array)
        assert bounded.lower_bounds == (0,)
        with pytest.raises(pgproto.DataError):
            conn.fetchval("select 'infinity'::date")
        assert conn.fetchval("select 'infinity'::date::text") == "infinity"


def test_the_column_of_round_trips_is_right(pg18: PostgresServer) -> None:
    rows = {row[0]: row[1] for row in table("round trips")}
    query = "select $1::int4 + 1"
    found: dict[str, int] = {}

    async def main(proxy: Proxy) -> None:
        async def count(name: str, work: Callable[[], Awaitable[object]]) -> None:
            proxy.reset_counters()
            await work()
            found[name] = proxy.round_trips

        async def transaction() -> None:
            async with conn.transaction():
                await conn.fetch(query, 1)

        async def batch() -> None:
            batch = pgproto.Batch()
            for number in range(100):
                batch.queue(query, number)
            await conn.send_batch(batch)

        dsn = pg18.dsn(host=proxy.host, port=proxy.port)
        async with pgproto_asyncio.connect(dsn) as conn:
            await count("query with parameters, first time", lambda: conn.fetch(query, 1))
            await count("the same again", lambda: conn.fetch(query, 1))
            await count("transaction of one known statement", transaction)
            await count("100 known statements as a batch", batch)
            await count(
                "100 concurrent calls on one connection",
                lambda: asyncio.gather(*[conn.fetch(query, number) for number in range(100)]),
            )
        async with pgproto_asyncio.Pool(dsn, max_size=1) as pool:
            await pool.fetch(query, 1)
            await count("pool: borrow, one known query, give back", lambda: pool.fetch(query, 1))

    # With some latency, so that a hundred calls are under way before the first answer is there.
    with Proxy((pg18.host, pg18.port), latency=0.02) as proxy:
        asyncio.run(main(proxy))
    assert {name: str(number) for name, number in found.items()} == rows
