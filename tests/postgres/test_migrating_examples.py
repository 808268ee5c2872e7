"""The code in the tables of the pages about migrating runs, on a real server."""

from __future__ import annotations

import ast
import asyncio
import enum
import inspect
from typing import Any

import pgproto
import pgproto_asyncio
import pgproto_blocking
from tests.support.migrating import ASYNCPG, PSYCOPG, Row, rows
from tests.support.postgres import PostgresServer

TABLE = "create temp table jobs (id int4, name text)"


def names(dsn: str) -> dict[str, Any]:
    """What the code of a cell may use."""
    batch = pgproto.Batch()
    batch.queue("select 1")
    return {
        "pgproto": pgproto,
        "enum": enum,
        "dsn": dsn,
        "sql": "select $1::int4 as id",
        "args": (1,),
        "insert": "insert into jobs values ($1, $2)",
        "records": [(1, "paint"), (2, "saw")],
        "source": b"3\tglue\n",
        "channel": "new_jobs",
        "token": "secret",
        "callback": lambda *_: None,
        "batch": batch,
        "types": pgproto.TypeMap(),
    }


def compiled(code: str, row: Row) -> Any:
    """The code of a cell; a block has nothing in it."""
    source = "\n" * (row.line - 1) + code + (" pass" if code.endswith(":") else "")
    mode = "exec" if code.endswith(":") or " = " in code.split("(")[0] else "eval"
    return compile(source, row.page, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def end(done: object, pool: pgproto_blocking.Pool) -> None:
    """Close what the code of a cell has opened."""
    if isinstance(done, pgproto_blocking.Connection) and done.lent_by is not None:
        pool.release(done)
    elif isinstance(done, pgproto_blocking.Connection | pgproto_blocking.Pool):
        done.close()


def test_asyncpg_side(pg18: PostgresServer) -> None:
    async def run(row: Row, code: str) -> None:
        found = names(pg18.dsn()) | {"pg": pgproto_asyncio}
        async with (
            pgproto_asyncio.Pool(pg18.dsn(), on_connect=set_up) as pool,
            pgproto_asyncio.connect(pg18.dsn()) as conn,
        ):
            await conn.execute(TABLE)
            found |= {"pool": pool, "conn": conn}
            found["statement"] = await conn.prepare(found["sql"])
            found["row"] = await conn.fetchrow("select 1 as id")
            if "tx." in code or "cursor" in code:
                found["tx"] = tx = conn.transaction()
                await tx.start()
                found["cursor"] = conn.cursor("select 1")
            done = eval(compiled(code, row), found)
            if inspect.iscoroutine(done):
                await done

    async def set_up(conn: pgproto_asyncio.Connection) -> None:
        await conn.execute(TABLE)

    async def main() -> None:
        for row in rows(ASYNCPG):
            for code in row.code:
                try:
                    await run(row, code)
                except Exception as error:
                    raise AssertionError(f"{row}: {code}") from error

    asyncio.run(main())


def test_psycopg_side(pg18: PostgresServer) -> None:
    def set_up(conn: pgproto_blocking.Connection) -> None:
        conn.execute(TABLE)

    for row in rows(PSYCOPG):
        for code in row.code:
            found = names(pg18.dsn()) | {"pg": pgproto_blocking}
            with (
                pgproto_blocking.Pool(pg18.dsn(), on_connect=set_up) as pool,
                pgproto_blocking.connect(pg18.dsn()) as conn,
            ):
                conn.execute(TABLE)
                found |= {"pool": pool, "conn": conn}
                found["statement"] = conn.prepare(found["sql"])
                if "tx." in code or "cursor" in code:
                    found["tx"] = tx = conn.transaction()
                    tx.start()
                    found["cursor"] = conn.cursor("select 1")
                try:
                    end(eval(compiled(code, row), found), pool)
                except Exception as error:
                    raise AssertionError(f"{row}: {code}") from error
