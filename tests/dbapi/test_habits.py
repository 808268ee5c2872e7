"""What is easily done wrong: calls within calls, two phases that fail, cursors that are dropped."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pgproto_blocking import dbapi

BUSY = "in the middle of a call by this very thread"


def test_records_that_use_their_own_connection(conn: dbapi.Connection) -> None:
    conn.execute("create temp table t (n int4)")
    conn.commit()

    def records() -> Iterator[tuple[Any, ...]]:
        yield (1,)
        yield conn.execute("select 2").fetchone() or ()

    with pytest.raises(dbapi.InterfaceError, match=BUSY):
        conn.cursor().executemany("insert into t values ($1)", records())
    conn.rollback()
    source = conn.cursor("source")
    source.execute("select generate_series(1, 5000)")
    with pytest.raises(dbapi.InterfaceError, match=BUSY):
        conn.cursor().executemany("insert into t values ($1)", source)
    conn.rollback()
    assert conn.execute("select count(*) from t").fetchall() == [(0,)]


def test_a_notice_that_uses_its_own_connection(conn: dbapi.Connection) -> None:
    found: list[str] = []

    def handle(notice: object) -> None:
        try:
            conn.execute("select 1")
        except dbapi.InterfaceError as error:
            found.append(str(error))

    conn.driver_connection.on_notice = handle
    conn.execute("do $$ begin raise notice 'x'; end $$")
    assert len(found) == 1
    assert BUSY in found[0]
    assert conn.execute("select 1").fetchall() == [(1,)]


def test_threads_share_a_cursor_on_the_server(conn: dbapi.Connection) -> None:
    conn.execute("create temp table t (n int4)")
    errors: list[Exception] = []

    def read() -> None:
        for _ in range(10):
            with conn.cursor("n") as cursor:
                cursor.execute("select generate_series(1, 3000)")
                cursor.scroll(2000)
                assert len(cursor.fetchall()) == 1000

    def write() -> None:
        for _ in range(10):
            conn.cursor().executemany("insert into t values ($1)", ((n,) for n in range(300)))

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in (read, read, write, write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


# ---- Two phases


def test_nothing_but_the_second_phase_comes_after_the_first(
    conn: dbapi.Connection, auto: dbapi.Connection
) -> None:
    conn.tpc_begin("habits_1")
    conn.execute("create table habits_tpc (n int4)")
    conn.tpc_prepare()
    calls: list[Callable[[], Any]] = [
        lambda: conn.execute("select 1"),
        lambda: conn.execute("select 1; select 2"),
        lambda: conn.cursor("n").execute("select 1"),
        lambda: conn.cursor().executemany("select $1::int4", [(1,)]),
    ]
    for call in calls:
        with pytest.raises(dbapi.ProgrammingError, match="is prepared"):
            call()
    conn.tpc_rollback()
    assert auto.tpc_recover() == []
    assert conn.execute("select 1").fetchall() == [(1,)]


def test_a_first_phase_that_is_refused(conn: dbapi.Connection) -> None:
    conn.execute("create temp table t (n int4)")
    conn.commit()
    conn.tpc_begin("habits_2")
    conn.execute("insert into t values (1)")
    with pytest.raises(dbapi.Error):
        conn.tpc_prepare()  # there is a temporary table in it
    with pytest.raises(dbapi.ProgrammingError, match="rolled back"):
        conn.execute("select 1")
    for _ in range(2):
        with pytest.raises(dbapi.InternalError, match="rolled back"):
            conn.tpc_commit()
    conn.tpc_rollback()
    assert conn.execute("select count(*) from t").fetchall() == [(0,)]


def test_a_second_phase_that_fails(conn: dbapi.Connection) -> None:
    conn.execute("create temp table u (n int4 unique deferrable initially deferred)")
    conn.commit()
    conn.tpc_begin("habits_3")
    conn.execute("insert into u values (1), (1)")
    with pytest.raises(dbapi.IntegrityError):
        conn.tpc_commit()
    with pytest.raises(dbapi.InternalError):
        conn.tpc_commit()
    conn.rollback()
    assert conn.execute("select count(*) from u").fetchall() == [(0,)]


# ---- Cursors WITH HOLD


def held(auto: dbapi.Connection) -> Any:
    return auto.execute("select count(*) from pg_cursors where is_holdable").fetchall()


def test_dropped_cursors_are_closed(auto: dbapi.Connection) -> None:
    for _ in range(3):
        cursor = auto.cursor("a")
        cursor.execute("select generate_series(1, 2000)")
        cursor.fetchone()
    del cursor
    gc.collect()
    assert held(auto) == [(0,)]


def test_dropped_cursors_are_closed_by_a_rollback(auto: dbapi.Connection) -> None:
    cursor = auto.cursor("a")
    cursor.execute("select generate_series(1, 2000)")
    cursor.close()
    auto.rollback()
    names = auto.driver_connection.fetchval("select count(*) from pg_cursors where is_holdable")
    assert names == 0


def test_a_cursor_that_is_closed_in_a_failed_block(auto: dbapi.Connection) -> None:
    kept = auto.cursor("a")
    kept.execute("select generate_series(1, 2000)")
    auto.execute("begin")
    with auto.cursor("b") as gone:
        gone.execute("select 1")
    with pytest.raises(dbapi.DataError):
        auto.execute("select 1 / 0")
    kept.close()
    auto.rollback()
    for _ in range(3):
        with auto.cursor("c") as cursor:
            cursor.execute("select 1")
            assert cursor.fetchall() == [(1,)]
    assert held(auto) == [(0,)]


def test_scrolling_a_held_cursor(auto: dbapi.Connection) -> None:
    cursor = auto.cursor("a")
    cursor.execute("select generate_series(1, 2000)")
    cursor.fetchmany(701)
    assert cursor.rownumber is None
    with pytest.raises(dbapi.NotSupportedError):
        cursor.scroll(0, "absolute")
    cursor.scroll(600)
    assert cursor.fetchone() == (1302,)
    with pytest.raises(IndexError):
        cursor.scroll(1000)
    assert cursor.fetchone() is None


# ---- Parameters


def test_records_without_values(conn: dbapi.Connection) -> None:
    cursor = conn.execute("create temp table t (n int4 default 5)")
    cursor.executemany("insert into t default values", [None, None])
    assert cursor.rowcount == 2
    assert conn.execute("select n from t").fetchall() == [(5,), (5,)]


@pytest.mark.parametrize("style", ["numeric_dollar", "format"])
@pytest.mark.parametrize("none", [(), [], {}])
def test_several_statements_with_no_values(dsn: str, style: dbapi.Style, none: dbapi.Parameters) -> None:
    with dbapi.connect(dsn, paramstyle=style) as conn:
        cursor = conn.execute("select 'a'; select 'b'", none)
        assert cursor.fetchall() == [("a",)]
        assert cursor.nextset()
        assert cursor.fetchall() == [("b",)]


def test_a_negative_number_of_rows(conn: dbapi.Connection) -> None:
    with pytest.raises(dbapi.ProgrammingError, match="fetchmany"):
        conn.execute("select 1").fetchmany(-1)


def test_a_style_that_there_is_not(dsn: str) -> None:
    style: Any = "qmark"
    with pytest.raises(dbapi.InterfaceError, match="qmark"):
        dbapi.connect(dsn, paramstyle=style)


def test_a_name_that_looks_like_an_option(dsn: str) -> None:
    with dbapi.connect(f"{dsn}&application_name=no_command_timeout") as conn:
        assert conn.timeout is None


@pytest.mark.parametrize("values", [(), (1, 2), ("x",)])
def test_values_that_do_not_fit(conn: dbapi.Connection, values: tuple[Any, ...]) -> None:
    with pytest.raises(dbapi.DataError):
        conn.execute("select $1::int4", values)


def test_another_thread_closes_the_connection(conn: dbapi.Connection, auto: dbapi.Connection) -> None:
    errors: list[dbapi.Error] = []

    def wait() -> None:
        try:
            conn.execute("select pg_sleep(600) as habits_sleep")
        except dbapi.Error as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    seen = (
        "select count(*) from pg_stat_activity where query like '%as habits_sleep' and wait_event = 'PgSleep'"
    )
    while not auto.execute(seen).fetchall()[0][0]:
        pass
    conn.close()
    thread.join()
    assert isinstance(errors[0], dbapi.OperationalError)
    assert str(errors[0]) == "the connection was closed while the statement ran"
