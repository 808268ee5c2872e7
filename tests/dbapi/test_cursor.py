"""Cursors: statements and rows, and cursors whose rows stay on the server."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from pgproto_blocking import dbapi

SERIES = "select n::int4 from generate_series(1, $1) n"


def test_rows(conn: dbapi.Connection) -> None:
    cursor = conn.execute("select n::int4, n * 1.5 as half from generate_series(1, $1) n", [5])
    assert cursor.description == [
        ("n", 23, None, None, None, None, None),
        ("half", 1700, None, None, None, None, None),
    ]
    assert cursor.rowcount == 5
    assert cursor.fetchone() == (1, Decimal("1.5"))
    assert cursor.rownumber == 1
    assert cursor.fetchmany() == [(2, Decimal("3.0"))]
    cursor.arraysize = 2
    assert [row[0] for row in cursor.fetchmany()] == [3, 4]
    assert list(cursor) == [(5, Decimal("7.5"))]
    assert cursor.fetchone() is None
    assert cursor.fetchmany(3) == []
    assert cursor.fetchall() == []
    cursor.scroll(-2)
    assert [row[0] for row in cursor.fetchall()] == [4, 5]
    cursor.scroll(0, "absolute")
    assert len(cursor.fetchall()) == 5
    for value in (1, -6):
        with pytest.raises(IndexError):
            cursor.scroll(value)
    with pytest.raises(dbapi.ProgrammingError, match="mode"):
        cursor.scroll(1, "sideways")  # type: ignore[arg-type]
    assert type(cursor.execute("select 1").fetchall()) is list
    assert cursor.lastrowid is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("'x'::text", dbapi.STRING),
        ("'x'::varchar(3)", dbapi.STRING),
        ("1::int8", dbapi.NUMBER),
        ("1.5", dbapi.NUMBER),
        ("now()", dbapi.DATETIME),
        ("'x'::bytea", dbapi.BINARY),
        ("1::oid", dbapi.ROWID),
    ],
)
def test_type_objects(conn: dbapi.Connection, value: str, kind: object) -> None:
    description = conn.execute(f"select {value}").description
    assert description is not None
    kinds = [dbapi.STRING, dbapi.BINARY, dbapi.NUMBER, dbapi.DATETIME, dbapi.ROWID]
    assert [each for each in kinds if description[0][1] == each] == [kind]
    assert kind == kind
    assert {kind: 1}[kind] == 1
    assert kind != "x"


def test_times_of_ticks() -> None:
    ticks = time.mktime((2002, 12, 25, 13, 45, 30, 0, 0, -1))
    assert dbapi.DateFromTicks(ticks) == datetime.date(2002, 12, 25)
    assert dbapi.TimeFromTicks(ticks) == datetime.time(13, 45, 30)
    assert dbapi.TimestampFromTicks(ticks) == datetime.datetime(2002, 12, 25, 13, 45, 30)


@pytest.mark.parametrize(
    ("style", "sql", "values"),
    [
        ("numeric_dollar", "select $1::int4 + $2", [1, 2]),
        ("numeric_dollar", "select $a::int4 + :b", {"a": 1, "b": 2}),
        ("format", "select %s::int4 + %s %% 5", [1, 2]),
        ("pyformat", "select %(a)s::int4 + %(b)s", {"a": 1, "b": 2}),
    ],
)
def test_styles(dsn: str, style: dbapi.Style, sql: str, values: dbapi.Parameters) -> None:
    with dbapi.connect(dsn, paramstyle=style) as conn:
        assert conn.execute(sql, values).fetchone() == (3,)
        assert conn.execute("select 7 % 4, '%s'").fetchone() == (3, "%s")
        with pytest.raises(dbapi.ProgrammingError):
            conn.execute("select %(a)s, $b", {"a": 1, "c": 1})
        conn.rollback()


def test_executemany(conn: dbapi.Connection) -> None:
    cursor = conn.cursor()
    cursor.execute("create temporary table t (n int4, name text)")
    conn.commit()

    def records() -> Iterator[dict[str, object]]:
        for n in range(1000):
            yield {"n": n, "name": f"name {n}"}

    cursor.executemany("insert into t values ($n, $name)", records())
    assert cursor.rowcount == 1000
    assert conn.in_transaction
    conn.rollback()
    cursor.executemany("insert into t values ($1, $2)", [])
    assert cursor.rowcount == 0
    assert conn.session.transaction_status == "I"
    cursor.executemany("insert into t values ($1, $2)", [(1, "a"), (2, "b")])
    cursor.executemany("update t set n = n + $1", [(1,), (2,)])
    assert cursor.rowcount == 4
    assert cursor.description is None
    with pytest.raises(dbapi.DataError):
        cursor.executemany("insert into t values ($1, $2)", [(1, "a"), ("x", "b")])


def test_callproc(conn: dbapi.Connection) -> None:
    cursor = conn.cursor()
    cursor.execute(
        """create function pg_temp."Twice"(n int4, plus int4 default 0)
        returns table (first int4, second int4) language sql as 'select n, 2 * n + plus'"""
    )
    conn.commit()
    assert cursor.callproc("pg_temp.Twice", [4]) == [4]
    assert cursor.fetchall() == [(4, 8)]
    assert cursor.callproc("pg_temp.Twice", {"plus": 1, "n": 2}) == {"plus": 1, "n": 2}
    assert cursor.fetchall() == [(2, 5)]


def test_a_closed_cursor(conn: dbapi.Connection) -> None:
    with conn.cursor() as cursor:
        cursor.execute("select 1")
    assert cursor.closed
    for call in (cursor.fetchone, cursor.fetchall, cursor.nextset, lambda: cursor.execute("select 1")):
        with pytest.raises(dbapi.InterfaceError, match="cursor is closed"):
            call()


def test_a_script_begins_a_transaction(conn: dbapi.Connection) -> None:
    conn.execute("create temporary table t (n int4); insert into t values (1); create index on t (n)")
    assert conn.in_transaction
    conn.rollback()
    with pytest.raises(dbapi.ProgrammingError):
        conn.execute("select * from t")


# ---- On the server


@pytest.fixture(params=["conn", "auto"])
def either(request: pytest.FixtureRequest) -> dbapi.Connection:
    """A connection in a transaction, where a named cursor is a portal, and one with autocommit: WITH HOLD."""
    found: dbapi.Connection = request.getfixturevalue(request.param)
    return found


def test_rows_stay_on_the_server(either: dbapi.Connection) -> None:
    with either.cursor("mine") as cursor:
        cursor.execute(SERIES, [5000])
        assert cursor.description == [("n", 23, None, None, None, None, None)]
        assert cursor.rowcount == -1
        assert len(cursor._rows) < 5000
        assert cursor.fetchone() == (1,)
        assert cursor.fetchmany(3) == [(2,), (3,), (4,)]
        assert either.execute("select 'between'").fetchone() == ("between",)
        assert len(cursor.fetchmany(2000)) == 2000
        assert [n for (n,) in cursor] == list(range(2005, 5001))
        assert cursor.fetchone() is None
        assert cursor.fetchall() == []
        cursor.execute(SERIES, [3000])
        assert cursor.fetchall() == [(n,) for n in range(1, 3001)]
        cursor.execute(SERIES, [0])
        assert cursor.fetchall() == []


def test_errors_come_with_execute(either: dbapi.Connection) -> None:
    cursor = either.cursor("mine")
    with pytest.raises(dbapi.DataError):
        cursor.execute("select 1 / (n - 1) from generate_series($1::int4, 5) n", [1])
    either.rollback()
    with pytest.raises(dbapi.DataError):  # WITH HOLD computes all rows at once
        cursor.execute("select 1 / (700 - n) from generate_series($1::int4, 1000) n", [1])
        cursor.fetchall()


def test_several_at_once(either: dbapi.Connection) -> None:
    one, two = either.cursor("a"), either.cursor("b")
    one.execute(SERIES, [1200])
    two.execute(SERIES, [1300])
    pairs = list(zip(one, two, strict=False))
    assert len(pairs) == 1200
    one.close()
    two.close()
    three = either.cursor("c")
    three.execute(SERIES, [2])
    assert three.fetchall() == [(1,), (2,)]
    three.close()
    left = either.execute("select name from pg_cursors where name <> ''").fetchall()
    assert left == []


def test_scrolling_on_the_server(conn: dbapi.Connection) -> None:
    cursor = conn.cursor("mine")
    cursor.execute(SERIES, [3000])
    cursor.scroll(2500)
    assert cursor.fetchone() == (2501,)
    assert cursor.rownumber is None
    with pytest.raises(IndexError):
        cursor.scroll(1000)
    with pytest.raises(dbapi.NotSupportedError):
        cursor.scroll(-1)
    with pytest.raises(dbapi.NotSupportedError):
        cursor.scroll(0, "absolute")


def test_a_portal_ends_with_its_transaction(conn: dbapi.Connection) -> None:
    cursor = conn.cursor("mine")
    cursor.execute(SERIES, [5000])
    conn.commit()
    with pytest.raises(dbapi.InterfaceError):
        cursor.fetchall()


def test_a_connection_that_is_gone_closes_its_cursors_silently(auto: dbapi.Connection) -> None:
    cursor = auto.cursor("mine")
    cursor.execute(SERIES, [5000])
    auto.close()
    cursor.close()
    assert cursor.closed
