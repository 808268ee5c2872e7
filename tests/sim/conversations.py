"""Conversations that the model server and the real one must answer alike, written by hand.

A conversation is a list of steps, a step a list of messages that are sent in one write.  A step ends where
the server must answer: with Sync, Flush, a simple Query, or the end of COPY data.
"""

from __future__ import annotations

import struct
from typing import Final

from pgproto.wire import (
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    FunctionCall,
    Message,
    Parse,
    Query,
    Sync,
)

__all__ = ["BY_HAND", "INSERT", "ROWS", "Step", "bound", "query"]

Step = list[Message]

ROWS: Final = "select $1::text as tag, n from generate_series(1, $2::int4) as n"
BREAK: Final = "select $1::text as tag, 1/($2::int4 - n) as n from generate_series(1, $3::int4) as n"
INSERT: Final = "insert into ledger values ($1)"
DEFER: Final = "insert into deferred values ($1)"
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def query(*texts: str) -> list[Step]:
    """Simple queries, each a step."""
    return [[Query(text)] for text in texts]


def bound(sql: str, *values: bytes | None, limit: int = 0) -> Step:
    """Parse, Bind and Execute, unnamed, values in text."""
    return [Parse("", sql), Bind("", "", (), values, ()), Execute("", limit)]


def binary(number: int) -> bytes:
    """An int8 as binary COPY has it, in a row of its own."""
    return struct.pack(">hiq", 1, 8, number)


S: Final = Sync()

BY_HAND: Final[dict[str, list[Step]]] = {
    "one by one": [
        [Parse("s", ROWS), Describe("S", "s"), S],
        [Bind("", "s", (0, 1), (b"q", b"\0\0\0\2"), (1,)), Describe("P", ""), Execute(), S],
        [Bind("", "s", (), (b"q", b"2"), (0, 1)), Execute(), S],
        [Close("S", "s"), Close("S", "s"), Bind("", "s", (), (b"q", b"2"), ()), S],
    ],
    "simple": query(
        "select 1", "", ";", " -- nothing\n", "select 1; select 2", "select 1;; select 1/0; select 1"
    ),
    "syntax": query("selec 1", "select 1; selec 2", "begin; selec 1", "select * from missing", "select 1"),
    "block": query("begin", "select 1", "select 1/0", "select 1", "", "selec 1", "commit", "select 1"),
    "warnings": query(
        "commit", "rollback", "begin", "begin", "rollback", "begin; begin; commit; commit", "end"
    ),
    "script is one transaction": query(
        "insert into ledger values (1); select 1/0",
        "insert into ledger values (2); commit; select 1/0",
        "insert into ledger values (3); rollback; insert into ledger values (4)",
        "select id from ledger",
        "begin; insert into ledger values (5)",
        "select 1/0",
        "rollback",
        "select count(*) from ledger",
    ),
    "savepoints": query(
        "savepoint a",
        "release a",
        "rollback to a",
        "begin",
        "savepoint a",
        "insert into ledger values (1)",
        "savepoint b",
        "insert into ledger values (1)",
        "savepoint c",
        "rollback to b",
        "insert into ledger values (2)",
        "release b",
        "rollback to b",
        "rollback to a",
        "select count(*) from ledger",
        "release savepoint a",
        "rollback to savepoint a",
        "release a",
        "commit",
        "select id from ledger",
    ),
    "savepoints in a script": query(
        "savepoint a; select 1", "begin; savepoint a; select 1/0", "rollback to a; commit"
    ),
    "deferred at commit": query(
        "insert into deferred values (1)",
        "insert into deferred values (1)",
        "select 1",
        "begin",
        "insert into deferred values (1)",
        "select 1",
        "commit",
        "select 1",
    ),
    "deferred at sync": [
        [*bound(DEFER, b"1"), S],
        [*bound(DEFER, b"1"), *bound("select 1"), S],
        [*bound(DEFER, b"1"), *bound("commit"), *bound("select 1"), S],
        [*bound("begin"), *bound(DEFER, b"1"), *bound("commit"), *bound("select 1"), S],
        [S],
    ],
    "pipeline is one transaction": [
        [*bound(INSERT, b"1"), *bound(INSERT, b"2"), *bound(INSERT, b"1"), *bound(INSERT, b"3"), S],
        [*bound(INSERT, b"1"), S, *bound(INSERT, b"1"), S, *bound(INSERT, b"2"), S],
        *query("select id from ledger"),
        [*bound(INSERT, b"7"), *bound("commit"), *bound("select 1/0"), S],
        [*bound(INSERT, b"8"), *bound("rollback"), *bound(INSERT, b"9"), S],
        [*bound(INSERT, b"10"), *bound("begin"), *bound(INSERT, b"11"), S],
        *query("rollback", "select id from ledger"),
        [*bound("begin"), *bound(INSERT, b"12"), *bound("commit"), *bound(INSERT, b"12"), S],
        [*bound("savepoint a"), S],
        [*bound("select 1"), *bound("savepoint a"), S],
        *query("select count(*) from ledger"),
    ],
    "failed block": [
        [*bound("begin"), *bound("select 1/0"), S],
        [Parse("x", "select 1"), S],
        [Parse("x", "rollback"), Describe("S", "x"), Bind("", "x", (), (), ()), Execute(), S],
        [*bound("begin"), Parse("y", "select 1"), *bound("select fail('22012')"), S],
        [Describe("S", "y"), S],
        [Bind("", "y", (), (), ()), S],
        [Close("S", "y"), Parse("", ""), Bind("", "", (), (), ()), Execute(), S],
        [*bound("commit"), S],
    ],
    "errors of bind": [
        [Parse("s", ROWS), Parse("t", "select 1"), S],
        [Bind("", "s", (), (b"q",), ()), S],
        [Bind("", "s", (0, 0, 0), (b"q", b"1"), ()), S],
        [Bind("", "s", (0, 1), (b"q", b"\0\1"), ()), S],
        [Bind("", "s", (0, 1), (b"q", b"\0\1\2\3\4"), ()), S],
        [Bind("", "s", (), (b"q", b"x"), ()), S],
        [Bind("", "s", (), (b"q", b"99999999999"), ()), S],
        [Bind("", "s", (), (b"q", b"1"), (0, 0, 0)), S],
        [Bind("", "missing", (), (), ()), S],
        [Bind("", "", (), (), ()), S],
        [Bind("", "s", (), (None, None), (0,)), Execute(), S],
        [Parse("", "select 1/0"), Describe("S", ""), Bind("", "", (), (), ()), Execute(), S],
        [Bind("p", "t", (), (), ()), Bind("p", "t", (), (), ()), S],
    ],
    "errors of parse and describe": [
        [Parse("s", "select 1"), Parse("s", "select 2"), S],
        [Parse("s", "select 3"), S],
        [Parse("", "select 1; select 2"), S],
        [Parse("", "selec"), Describe("S", ""), S],
        [Parse("", "select * from missing"), S],
        [Describe("S", "missing"), S],
        [Describe("P", "missing"), S],
        [Execute("missing"), S],
        [Close("P", "missing"), S],
    ],
    "errors of execute": [
        [*bound("select fail($1)", b"40001"), S],
        [*bound(BREAK, b"q", b"3", b"5"), *bound("select 1"), S],
        [*bound(BREAK, b"q", b"9", b"3"), S],
        [*bound(INSERT, None), S],
        [*bound(INSERT, b"x"), S],
        [*bound("select warn($1)", b"careful"), S],
    ],
    "portals": [
        [
            Parse("s", ROWS),
            Bind("p", "s", (), (b"q", b"5"), ()),
            Execute("p", 2),
            Execute("p", 2),
            Execute("p", 2),
            S,
        ],
        [Execute("p"), S],
        [Bind("p", "s", (), (b"q", b"2"), ()), Execute("p", 2), Execute("p", 2), Execute("p"), S],
        *query("begin"),
        [Bind("p", "s", (), (b"q", b"3"), ()), Execute("p", 1), S],
        [Execute("p", 1), Close("P", "p"), Execute("p"), S],
        *query("rollback"),
        [Parse("i", INSERT), Bind("p", "i", (), (b"1",), ()), Execute("p"), Execute("p"), S],
        [Bind("p", "i", (), (b"2",), ()), Execute("p", 1), S],
        [
            *bound("begin"),
            Bind("p", "s", (), (b"q", b"3"), ()),
            *bound("savepoint a"),
            Bind("r", "s", (), (b"q", b"3"), ()),
            *bound("rollback to a"),
            Execute("p", 1),
            Execute("r"),
            S,
        ],
        [Execute("p"), S],
        *query("rollback to a"),
        [Execute("p"), S],
        *query("rollback"),
    ],
    "simple query takes the unnamed ones": [
        [Parse("", "select 1"), Bind("", "", (), (), ()), *query("select 2")[0]],
        [Bind("", "", (), (), ()), S],
        [Execute(), S],
    ],
    "flush": [
        [Parse("", "select 1"), Flush()],
        [Bind("", "", (), (), ()), Execute(), Flush()],
        [Parse("", "select 1/0"), Bind("", "", (), (), ()), Flush()],
        [Parse("", "select 1"), Flush(), S],
        [S, S, *query("select 1")[0]],
    ],
    "cached plan": [
        [Parse("s", "select * from shape"), Describe("S", "s"), S],
        *query("alter table shape add column b int4"),
        [Describe("S", "s"), S],
        [Bind("", "s", (), (), ()), Execute(), S],
        [Parse("", "select * from shape"), Bind("", "", (), (), ()), Describe("P", ""), Execute(), S],
        *query(
            "alter table shape add column b int4",
            "begin; alter table shape add column c int4",
            "select * from shape",
            "rollback",
            "select * from shape",
        ),
    ],
    "forgetting": [
        [Parse("s", "select 1"), Parse("t", "select 1"), S],
        *query("deallocate s", "deallocate s", "begin; discard all", "select 1; discard all", "rollback"),
        [*bound("select 1"), *bound("discard all"), S],
        [Describe("S", "t"), S],
        *query("discard all"),
        [Describe("S", "t"), S],
        [Parse("u", "select 1"), S],
        *query("deallocate all"),
        [Describe("S", "u"), S],
        [*bound("deallocate all"), *bound("discard all"), S],
        [*bound("discard all"), *bound("select 1"), S],
    ],
    "settings": query(
        "set application_name = 'x'",
        "show application_name",
        "begin; set application_name = 'y'",
        "rollback",
        "begin; set local application_name = 'z'",
        "commit",
        "set local application_name = 'w'",
        "reset application_name",
        "set nonsense = 1",
        "set a.b = 1",
        "show a.b",
        "reset all",
        "set statement_timeout = x",
        "show nonsense",
        "set application_name to 'v'; select 1/0",
        "show application_name",
        "set default_transaction_read_only = on",
        "insert into ledger values (1)",
        "set default_transaction_read_only = off",
        "begin read only",
        "insert into ledger values (1)",
        "rollback",
        "start transaction isolation level serializable",
        "commit",
        "set application_name = 'q'; discard all",
    ),
    "temporary tables and locks": [
        *query(
            "create temp table t (id int4)",
            "create temp table t (id int4)",
            "drop table t",
            "drop table t",
            "begin; create temp table t (id int4)",
            "rollback",
            "drop table t",
            "select pg_advisory_lock_shared(1)",
            "select pg_advisory_unlock_all()",
            "select pg_sleep(0)",
            "vacuum ledger",
            "begin; vacuum ledger",
            "rollback",
            "select 1; vacuum ledger",
        ),
        [*bound("vacuum ledger"), *bound("select 1"), S],
        [*bound("select 1"), *bound("vacuum ledger"), S],
    ],
    "notifications": [
        *query(
            "listen news",
            "notify news",
            "notify news, 'a'; notify news, 'a'; notify news, 'b'",
            "begin; notify news, 'c'",
            "rollback",
            "begin",
            "notify news, 'd'",
            "savepoint s; notify news, 'e'; rollback to s",
            "commit",
            "select pg_notify('news', 'f')",
            "begin; unlisten news",
            "rollback",
            "notify news, 'g'",
            "unlisten *",
            "notify news, 'h'",
            'listen "News"; notify "News"',
            'unlisten "News"',
            "listen news; select 1/0",
            "notify news, 'i'",
        ),
        [*bound("listen news"), *bound("notify news, 'j'"), S],
        [*bound("notify news"), *bound("select 1"), S],
    ],
    "cursors": [
        *query(
            "declare c cursor for select 1",
            "begin",
            "declare c cursor for select 'q'::text as tag, n from generate_series(1, 3::int4) as n",
            "fetch 2 from c",
            "fetch c",
            "fetch c",
            "close c",
            "close c",
            "rollback",
            "declare c cursor for select 1; fetch c",
        ),
        [
            *bound("begin"),
            Parse("f", "fetch 1 from c"),
            Describe("S", "f"),
            *bound("declare c cursor for select 1"),
            Bind("", "f", (), (), ()),
            Describe("P", ""),
            Execute(),
            S,
        ],
        [*bound("declare c cursor for select 1"), S],
        [*bound("rollback"), S],
    ],
    "copy in": [
        *query("copy ledger from stdin"),
        [CopyData(b"1\n2"), CopyData(b"\n3"), CopyDone()],
        *query("copy ledger from stdin"),
        [CopyData(b"4\nx\n5\n"), CopyData(b"6\n"), CopyDone(), *query("select 1")[0]],
        *query("copy ledger from stdin"),
        [CopyData(b"7\n"), CopyFail("enough")],
        *query("begin; copy ledger from stdin; select 1"),
        [CopyData(b"8\n"), CopyDone()],
        *query("select 1/0", "copy ledger from stdin", "commit"),
        *query("copy ledger from stdin"),
        [CopyData(b"9\n\\.\n"), CopyDone()],
        *query("copy ledger from stdin"),
        [CopyData(b"10\t11\n"), CopyDone()],
        *query("copy ledger from stdin"),
        [CopyData(b"\\N\n"), CopyDone()],
        *query("copy ledger from stdin"),
        [CopyData(b"1\n"), CopyDone()],
        *query("copy ledger from stdin"),
        [CopyDone()],
        *query("select id from ledger", "begin read only", "copy ledger from stdin", "rollback"),
    ],
    "copy in, extended": [
        [*bound("copy ledger from stdin"), Flush()],
        [CopyData(b"1\n"), CopyDone(), S],
        [*bound("copy ledger from stdin"), S],
        [CopyData(b"2\n"), CopyDone(), S],
        [*bound("copy ledger from stdin"), Flush()],
        [CopyData(b"x\n"), CopyData(b"3\n"), CopyDone(), S],
        [*bound("copy ledger from stdin"), Flush()],
        [CopyFail("no"), *bound("select 1"), S],
        [*bound(INSERT, b"9"), *bound("copy ledger from stdin"), Flush()],
        [CopyData(b"9\n"), CopyDone(), S],
        *query("select id from ledger"),
    ],
    "copy in, binary": [
        *query("copy ledger (id) from stdin (format binary)"),
        [
            CopyData(HEADER + binary(1)),
            CopyData(binary(2)[:5]),
            CopyData(binary(2)[5:]),
            CopyData(b"\xff\xff"),
            CopyDone(),
        ],
        *query("copy ledger from stdin (format binary)"),
        [CopyData(HEADER + binary(3)), CopyDone()],
        *query("copy ledger from stdin (format binary)"),
        [CopyData(b"x" * 30), CopyDone()],
        *query("copy ledger from stdin (format binary)"),
        [CopyData(HEADER + b"\0\2" + binary(4)), CopyDone()],
        *query("select id from ledger"),
    ],
    "copy out": [
        *query(
            "insert into ledger values (1)",
            "copy ledger to stdout",
            "copy (select 'q'::text as tag, n from generate_series(1, 3::int4) as n) to stdout; select 1",
            "copy (select 'q'::text as tag, n "
            "from generate_series(1, 2::int4) as n) to stdout (format binary)",
            "copy (select 'q'::text as tag, 1/(2::int4 - n) as n "
            "from generate_series(1, 3::int4) as n) to stdout",
            "copy (select 1/0) to stdout",
        ),
        [*bound("copy ledger to stdout"), *bound("select 1"), S],
    ],
    "function call": [[FunctionCall(1, (), (), 0)], *query("select 1")],
}
