"""The nine sub-tests of PostgreSQL's libpq_pipeline that have a trace, on the core, with golden traces.

libpq_pipeline (src/test/modules in PostgreSQL) keeps what goes over the wire beside each of them; so do we,
in our trace format, in `traces/`.  To write them anew after a change that is meant:

    PGPROTO_UPDATE_TRACES=1 python -m pytest tests/postgres/test_libpq_pipeline_traces.py

What libpq calls a pipeline is what every connection here is; its NULL between results and its PIPELINE_SYNC
are events here, CommandComplete (or ErrorResponse, or Skipped) and ReadyForQuery.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pgproto import LocalProtocolError
from pgproto.protocol import Skipped
from pgproto.wire import (
    Bind,
    BindComplete,
    Close,
    CloseComplete,
    CommandComplete,
    CopyData,
    DataRow,
    Describe,
    ErrorResponse,
    Execute,
    Flush,
    Message,
    NoData,
    ParameterDescription,
    Parse,
    ParseComplete,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
)
from tests.support.postgres import PostgresServer
from tests.support.raw import Raw

TRACES = Path(__file__).parent / "traces"
RESULT = (ParseComplete, BindComplete, RowDescription, DataRow, CommandComplete)
DONE = (ParseComplete, BindComplete, NoData, CommandComplete)
SKIPPED = (Skipped,) * 4
INT4 = (23,)
TABLE = "create temp table pq_pipeline_demo (id serial primary key, itemno integer, int8filler int8)"
INSERT = "INSERT INTO pq_pipeline_demo(itemno) VALUES ($1)"


@pytest.fixture
def raw(pg: PostgresServer) -> Iterator[Raw]:
    with Raw(pg) as raw:
        yield raw


def ask(sql: str, *values: int | str, types: tuple[int, ...] = INT4, rows: int = 0) -> list[Message]:
    """What PQsendQueryParams sends."""
    parameters = [str(value).encode() for value in values]
    return [
        Parse("", sql, types if values else ()),
        Bind("", "", (), parameters, (0,)),
        Describe("P", ""),
        Execute("", rows),
    ]


def run(name: str, *values: int | str) -> list[Message]:
    """What PQsendQueryPrepared sends."""
    parameters = [str(value).encode() for value in values]
    return [Bind("", name, (), parameters, (0,)), Describe("P", ""), Execute()]


def create(raw: Raw) -> None:
    """The table, before the trace begins."""
    raw.send(Query(TABLE))
    raw.until_ready()
    raw.forget()


def golden(name: str, raw: Raw) -> None:
    """The trace must be the one that is kept."""
    path = TRACES / f"{name}.trace"
    lines = "".join([f"{line}\n" for line in raw.trace()])
    if os.environ.get("PGPROTO_UPDATE_TRACES"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(lines)
    assert lines == path.read_text()


def test_simple_pipeline(raw: Raw) -> None:
    """One query and a Sync; the answer belongs to the query, ReadyForQuery to the Sync; nothing behind it.

    libpq refuses to leave pipeline mode with work in progress; here there is no mode, and what must hold is
    that the connection is not taken for idle: `in_flight` counts until ReadyForQuery.
    """
    assert raw.connection.in_flight == 0
    raw.send(*ask("SELECT $1", 1), Sync())
    assert raw.connection.in_flight == 5
    *_, row, tag = raw.expect(*RESULT)
    assert isinstance(row, DataRow)
    assert row.values == [b"1"]
    assert isinstance(tag, CommandComplete)
    assert tag.command_tag == "SELECT 1"
    assert raw.connection.in_flight == 1
    assert isinstance(raw.one(ReadyForQuery).request, Sync)
    assert raw.quiet()
    golden("simple_pipeline", raw)


def test_nosync(raw: Raw) -> None:
    """Ten queries, no Sync, only a Flush: one result for each, and nothing else."""
    for _ in range(10):
        raw.send(*ask("SELECT repeat('xyzxz', 12)"))
    raw.send(Flush())
    for _ in range(10):
        raw.expect(*RESULT)
    assert raw.quiet()
    golden("nosync", raw)
    raw.send(Sync())
    raw.one(ReadyForQuery)


def test_multi_pipelines(raw: Raw) -> None:
    """Three segments before any answer is read: result, ready, result, ready, result, ready."""
    for number in (1, 2, 3):
        raw.send(*ask("SELECT $1", number), Sync())
    assert raw.connection.in_flight == 15
    for number in (1, 2, 3):
        *_, row, _ = raw.expect(*RESULT)
        assert isinstance(row, DataRow)
        assert row.values == [str(number).encode()]
        assert raw.connection.in_flight == 5 * (3 - number) + 1
        raw.one(ReadyForQuery)
    assert raw.quiet()
    golden("multi_pipelines", raw)


def test_pipeline_abort(raw: Raw) -> None:
    """The rest of a segment is skipped after an error, the next one is not; a segment is a transaction."""
    create(raw)
    raw.send(*ask(INSERT, 1), *ask("SELECT no_such_function($1)", 1), *ask(INSERT, 2), Sync())
    raw.send(*ask(INSERT, 3), Sync())
    raw.expect(*DONE)
    assert raw.error() == "42883"
    skipped = raw.expect(*[Skipped] * 3, *SKIPPED, ReadyForQuery)
    assert isinstance(skipped[0].request, Bind)
    assert isinstance(skipped[3].request, Parse)
    raw.expect(*DONE, ReadyForQuery)
    # Several statements in one Parse.
    raw.send(*ask("SELECT 1; SELECT 2"), Sync())
    assert raw.error() == "42601"
    raw.expect(*[Skipped] * 3, ReadyForQuery)
    # An error in the middle of the rows.
    raw.send(*ask("SELECT 1.0/g FROM generate_series(3, -1, -1) g"), Sync())
    raw.expect(ParseComplete, BindComplete, RowDescription, DataRow, DataRow, DataRow)
    assert raw.error() == "22012"
    raw.one(ReadyForQuery)
    # What was inserted in the segment that failed is gone.
    raw.send(Query("SELECT itemno FROM pq_pipeline_demo"))
    assert raw.values() == [b"3"]
    golden("pipeline_abort", raw)


def test_pipeline_idle(raw: Raw) -> None:
    """Flush alone, results, and no message that comes when nothing was asked; a WARNING within a result."""
    raw.send(*ask("SELECT 1"), Flush())
    assert raw.connection.in_flight == 4
    raw.expect(*RESULT)
    assert raw.quiet()
    raw.send(*ask("SELECT 1"), Flush())
    raw.expect(*RESULT)
    raw.send(*ask("SELECT pg_catalog.pg_advisory_unlock(1,1)"), Flush())
    raw.expect(*RESULT)
    assert [notice.fields["S"] for notice in raw.notices] == ["WARNING"]
    assert raw.quiet()
    raw.send(Sync())
    raw.one(ReadyForQuery)
    golden("pipeline_idle", raw)


def test_prepared(raw: Raw) -> None:
    """Parse, Describe and Close of a statement and of a portal; what is closed cannot be described."""
    sql = "SELECT $1, '42', $1::numeric, interval '1 sec'"
    raw.send(Parse("select_one", sql, INT4), Describe("S", "select_one"), Sync())
    raw.one(ParseComplete)
    assert raw.one(ParameterDescription).parameter_types == INT4
    fields = raw.one(RowDescription).fields
    assert [field.type_oid for field in fields] == [23, 25, 1700, 1186]
    raw.one(ReadyForQuery)
    raw.send(Close("S", "select_one"), Sync())
    raw.expect(CloseComplete, ReadyForQuery)
    raw.send(Describe("S", "select_one"), Sync())
    assert raw.error() == "26000"
    raw.one(ReadyForQuery)
    raw.send(Close("S", "select_one"), Sync())
    raw.expect(CloseComplete, ReadyForQuery)
    # The same with a portal.
    raw.send(Query("BEGIN"))
    raw.until_ready()
    raw.send(Query("DECLARE cursor_one CURSOR FOR SELECT 1"))
    raw.until_ready()
    raw.send(Describe("P", "cursor_one"), Sync())
    assert [field.type_oid for field in raw.one(RowDescription).fields] == [23]
    raw.one(ReadyForQuery)
    raw.send(Close("P", "cursor_one"), Sync())
    raw.expect(CloseComplete, ReadyForQuery)
    raw.send(Describe("P", "cursor_one"), Sync())
    assert raw.error() == "34000"
    assert raw.one(ReadyForQuery).status == "E"
    raw.send(Close("P", "cursor_one"), Sync())
    raw.expect(CloseComplete, ReadyForQuery)
    golden("prepared", raw)


def test_singlerow(raw: Raw) -> None:
    """Rows one at a time for two of three queries, and in chunks: 3, 2, and the end.

    libpq's modes say how results are handed over.  On the wire a chunk is an Execute with a limit.
    """
    for last in (44, 45, 46):
        raw.send(*ask("SELECT generate_series(42, $1)", last))
    raw.send(Sync())
    for last in (44, 45, 46):
        raw.expect(ParseComplete, BindComplete, RowDescription)
        rows = [raw.one(DataRow).values for _ in range(42, last + 1)]
        assert rows == [[str(value).encode()] for value in range(42, last + 1)]
        assert raw.one(CommandComplete).command_tag == f"SELECT {last - 41}"
    raw.one(ReadyForQuery)
    raw.send(*ask("SELECT generate_series(1, $1)", 5, rows=3), Execute("", 3), Execute("", 3), Sync())
    names = [type(event).__name__ for event in raw.until_ready()]
    assert names == [
        "ParseComplete", "BindComplete", "RowDescription", "DataRow", "DataRow", "DataRow", "PortalSuspended",
        "DataRow", "DataRow", "CommandComplete", "CommandComplete", "ReadyForQuery",
    ]  # fmt: skip
    golden("singlerow", raw)


def test_transaction(raw: Raw) -> None:
    """BEGIN and an error; what follows is skipped, then refused (25P02), until the ROLLBACK."""
    create(raw)
    raw.send(Parse("rollback", "ROLLBACK"), *ask("BEGIN"), *ask("SELECT 0/0"))
    raw.send(*run("rollback"), *ask(INSERT, 1), Sync())
    raw.send(*ask(INSERT, 2), Sync())
    raw.send(*run("rollback"), *ask(INSERT, 3), Sync(), Sync())
    raw.expect(ParseComplete, *DONE)
    raw.one(ParseComplete)
    assert raw.error() == "22012"  # of the planner, at Bind
    raw.expect(*[Skipped] * 2, *[Skipped] * 3, *SKIPPED)
    assert raw.one(ReadyForQuery).status == "E"
    assert raw.error() == "25P02"
    raw.expect(*[Skipped] * 3)
    assert raw.one(ReadyForQuery).status == "E"
    raw.expect(BindComplete, NoData, CommandComplete, *DONE)
    assert [raw.one(ReadyForQuery).status for _ in range(2)] == ["I", "I"]
    assert raw.quiet()
    raw.send(Query("SELECT itemno FROM pq_pipeline_demo"))
    assert raw.values() == [b"3"]
    golden("transaction", raw)


DISALLOWED: list[tuple[str, Callable[[Raw], None]]] = [
    ("cannot send CopyData in state SYNC", lambda raw: raw.send(CopyData(b"x"))),
    ("cannot send ReadyForQuery", lambda raw: raw.send(ReadyForQuery("I"))),
]


def test_disallowed_in_pipeline(raw: Raw) -> None:
    """What is not legal while something is in flight is refused with a text, and changes nothing.

    libpq refuses PQexec and PQsendQuery in pipeline mode.  That is a rule of its API: the protocol lets a
    simple Query follow, and so do we; what cannot follow is COPY data and a backend's message.
    """
    raw.send(Sync())
    for text, attempt in DISALLOWED:
        before = raw.connection.in_flight
        with pytest.raises(LocalProtocolError, match=text):
            attempt(raw)
        assert raw.connection.in_flight == before
    raw.one(ReadyForQuery)
    raw.send(*ask("SELECT 1"), Sync(), Query("SELECT 2"), Sync())
    raw.expect(*RESULT, ReadyForQuery, RowDescription, DataRow, CommandComplete, ReadyForQuery, ReadyForQuery)
    assert raw.quiet()
    golden("disallowed_in_pipeline", raw)


def test_uniqviol(raw: Raw) -> None:
    """Fill the socket until it blocks, read meanwhile: one unique violation, and the rest is skipped."""
    raw.send(Query("create temp table ppln_uniqviol (id bigint primary key, idata text)"))
    raw.until_ready()
    raw.send(Parse("insertion", "insert into ppln_uniqviol values ($1, $2) returning id", (20, 25)), Sync())
    raw.until_ready()
    text = "x" * 4000
    count, dup = 5000, 4000
    raw.send(*[message for n in range(count) for message in run("insertion", n if n != dup else 0, text)])
    raw.send(Sync())
    events = raw.until_ready()
    assert [type(event) for event in events].count(CommandComplete) == dup
    assert [event.fields["C"] for event in events if isinstance(event, ErrorResponse)] == ["23505"]
    assert [type(event) for event in events].count(Skipped) == 3 * (count - dup) - 3
    raw.send(Query("SELECT count(*) FROM ppln_uniqviol"))
    assert raw.values() == [b"0"]
