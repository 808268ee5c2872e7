"""What the model server answers in the tests of the client: rows, errors, COPY, COMMIT."""

from __future__ import annotations

from pgproto.client import Connection
from pgproto.testing import (
    Answer,
    ModelServer,
    copy_in,
    copy_out,
    error_fields,
    fails,
    ok,
    rows_of,
    table,
)

INT4 = 23
TABLE = {
    "select 1": rows_of(1),
    "select many": rows_of(*range(1000)),
    "select huge": rows_of(*range(20_000)),
    "select slow": rows_of(1, delay=100.0),
    "bad": fails("22012"),
    "insert": ok(),
    "insert $1": ok("INSERT 0 1", types=[INT4]),
    "bad $1": Answer("INSERT 0 1", types=[INT4], error=error_fields("23505"), spares=1),
    "copy in": copy_in("COPY 2"),
    "copy refused": Answer("COPY 0", copy="in", error=error_fields("42501")),
    "copy out": copy_out(b"a\n", b"b\n"),
    'SELECT "a" FROM "t"': table({"a": INT4}, []),
    'COPY "t" ("a") FROM STDIN (FORMAT binary)': copy_in("COPY 3"),
    'SELECT "a" FROM "s"."t"': table({"a": INT4}, []),
    'COPY "s"."t" ("a") FROM STDIN (FORMAT binary)': copy_in("COPY 1"),
    "deferred": ok(),
    "COMMIT": ok("COMMIT"),
}


def server() -> ModelServer:
    return ModelServer(TABLE)


async def usable(conn: Connection) -> bool:
    value: int = await conn.fetchval("select 1")
    return value == 1
