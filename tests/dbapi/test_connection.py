"""Transactions, errors and the end of connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pgproto
from pgproto_blocking import dbapi
from pgproto_blocking.dbapi import errors
from tests.support.postgres import PostgresServer


def status(conn: dbapi.Connection) -> str:
    """The state of the transaction: mypy would take a property's value for constant."""
    assert conn.closed or conn.in_transaction == (conn.session.transaction_status != "I")
    return conn.session.transaction_status


def test_begin_goes_with_the_first_statement(conn: dbapi.Connection) -> None:
    cursor = conn.cursor()
    assert status(conn) == "I"
    cursor.execute("select 1")
    assert status(conn) == "T"
    cursor.execute("select now() = transaction_timestamp()")
    assert cursor.fetchall() == [(True,)]
    conn.commit()
    assert status(conn) == "I"
    conn.commit()
    conn.rollback()


def test_commit_and_rollback(conn: dbapi.Connection, dsn: str) -> None:
    cursor = conn.cursor()
    cursor.execute("create temporary table t (n int4)")
    conn.commit()
    cursor.execute("insert into t values (1)")
    conn.rollback()
    cursor.execute("insert into t values (2)")
    conn.commit()
    cursor.execute("select n from t")
    assert cursor.fetchall() == [(2,)]


def test_a_statement_that_cannot_be_prepared_begins_no_transaction(conn: dbapi.Connection) -> None:
    with pytest.raises(dbapi.ProgrammingError):
        conn.execute("select nothing")
    assert status(conn) == "I"
    conn.execute("select 1")
    with pytest.raises(dbapi.DataError):
        conn.execute("select 1 / $1::int4", [0])
    assert status(conn) == "E"
    with pytest.raises(dbapi.InternalError) as refused:
        conn.execute("select 1")
    assert refused.value.sqlstate == "25P02"
    with pytest.raises(dbapi.InternalError, match="answered with ROLLBACK"):
        conn.commit()
    assert status(conn) == "I"


def test_autocommit(auto: dbapi.Connection) -> None:
    auto.execute("select 1")
    assert status(auto) == "I"
    auto.execute("begin")
    assert status(auto) == "T"
    with pytest.raises(dbapi.ProgrammingError, match="a transaction is open"):
        auto.autocommit = False
    auto.rollback()
    auto.autocommit = False
    auto.execute("select 1")
    assert status(auto) == "T"


def test_the_properties_of_transactions(conn: dbapi.Connection) -> None:
    conn.isolation_level = "serializable"
    conn.read_only = True
    conn.deferrable = True
    shown = [
        conn.execute(f"show transaction_{name}").fetchone()
        for name in ("isolation", "read_only", "deferrable")
    ]
    assert shown == [("serializable",), ("on",), ("on",)]
    with pytest.raises(dbapi.ProgrammingError, match="a transaction is open"):
        conn.read_only = False
    conn.rollback()
    conn.isolation_level = None
    conn.read_only = conn.deferrable = False
    assert conn.execute("show transaction_read_only").fetchone() == ("off",)
    with pytest.raises(dbapi.ProgrammingError, match="no isolation level"):
        conn.isolation_level = "chaos"
    assert (conn.isolation_level, conn.read_only, conn.deferrable) == (None, False, False)


def test_a_context_commits_or_rolls_back_and_closes(dsn: str) -> None:
    with dbapi.connect(dsn) as conn:
        conn.execute("create table kept (n int4)")
    assert conn.closed
    with pytest.raises(RuntimeError, match="mine"), dbapi.connect(dsn) as conn:
        conn.execute("drop table kept")
        raise RuntimeError("mine")
    with dbapi.connect(dsn) as conn:
        assert conn.execute("select * from kept").fetchall() == []
        conn.execute("drop table kept")


def test_threads_share_a_connection(conn: dbapi.Connection) -> None:
    conn.execute("create temporary table t (n int4)")
    conn.rollback()
    conn.execute("create temporary table t (n int4)")
    conn.commit()
    failed: list[BaseException] = []

    def insert(start: int) -> None:
        try:
            for n in range(start, start + 50):
                conn.execute("insert into t values ($1)", [n])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=insert, args=(start,)) for start in range(0, 200, 50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    conn.commit()
    assert conn.execute("select count(*), count(distinct n) from t").fetchone() == (200, 200)


def test_a_plan_that_another_connection_has_made_stale(
    conn: dbapi.Connection, auto: dbapi.Connection
) -> None:
    auto.execute("create table altered (n int4)")
    try:
        assert conn.execute("select * from altered").fetchall() == []
        conn.commit()
        auto.execute("alter table altered add column name text")
        assert len(conn.execute("select * from altered").description or ()) == 2
        assert status(conn) == "T"
        conn.commit()
    finally:
        auto.execute("drop table altered")


# ---- Errors


@pytest.mark.parametrize(
    ("sql", "kind", "sqlstate"),
    [
        ("select 1 / 0", dbapi.DataError, "22012"),
        ("insert into pg_temp.u values (1), (1)", dbapi.IntegrityError, "23505"),
        ("selec", dbapi.ProgrammingError, "42601"),
        ("select * from nowhere", dbapi.ProgrammingError, "42P01"),
        ("do $$ begin raise exception 'mine'; end $$", dbapi.ProgrammingError, "P0001"),
        ("do $$ begin raise sqlstate 'ZZ001'; end $$", dbapi.DatabaseError, "ZZ001"),
        ("do $$ begin raise sqlstate '40001'; end $$", dbapi.OperationalError, "40001"),
        ("set session authorization nobody_at_all", dbapi.DataError, "22023"),
        ("select pg_read_file('/no/such/file')", dbapi.OperationalError, "58P01"),
    ],
)
def test_errors_go_by_their_sqlstate(
    auto: dbapi.Connection, sql: str, kind: type[dbapi.Error], sqlstate: str
) -> None:
    auto.execute("create temporary table u (n int4 unique)")
    with pytest.raises(dbapi.Error) as refused:
        auto.execute(sql)
    error = refused.value
    assert type(error) is kind
    assert error.sqlstate == error.pgcode == sqlstate
    assert error.outcome is (pgproto.Outcome.UNKNOWN if sql.startswith("do") else pgproto.Outcome.FAILED)
    assert isinstance(error.__cause__, pgproto.PostgresError)
    assert str(error) == str(error.__cause__)


def test_a_value_that_does_not_fit(conn: dbapi.Connection) -> None:
    with pytest.raises(dbapi.DataError) as refused:
        conn.execute("select $1::int4", ["x"])
    assert refused.value.outcome is pgproto.Outcome.NOT_SENT
    assert refused.value.pgcode is None


def test_other_errors() -> None:
    def kind(error: pgproto.Error) -> type[dbapi.Error]:
        return errors.kind_of(error)

    assert kind(pgproto.ConnectionLost("x")) is dbapi.OperationalError
    assert kind(pgproto.QueryTimeout("x")) is dbapi.OperationalError
    assert kind(pgproto.ConfigError("x")) is dbapi.InterfaceError
    assert kind(pgproto.ConnectionClosed("x")) is dbapi.InterfaceError
    closed = pgproto.ConnectionClosed("x")
    closed.__cause__ = pgproto.PostgresError({"C": "57P01", "M": "shutdown"})
    assert kind(closed) is dbapi.OperationalError
    assert errors.translated(closed).sqlstate == "57P01"


def test_a_closed_connection(conn: dbapi.Connection) -> None:
    cursor = conn.cursor()
    conn.close()
    conn.close()
    for call in (conn.commit, conn.rollback, conn.cursor, conn.tpc_recover, cursor.fetchone, conn.__enter__):
        with pytest.raises(dbapi.InterfaceError):
            call()
    assert not conn.in_transaction


def test_a_connection_that_the_server_has_ended(conn: dbapi.Connection, auto: dbapi.Connection) -> None:
    row = conn.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    auto.execute("select pg_terminate_backend($1, 5000)", [row[0]])
    with pytest.raises(dbapi.OperationalError) as lost:
        conn.execute("select 1")
    assert lost.value.sqlstate == "57P01"
    assert conn.closed
    with pytest.raises(dbapi.OperationalError, match="57P01") as closed:
        conn.execute("select 1")
    assert closed.value.outcome is pgproto.Outcome.NOT_SENT


def test_connecting(dsn: str) -> None:
    with pytest.raises(dbapi.InterfaceError):
        dbapi.connect("postgresql://localhost/?no_such_option=1")
    with pytest.raises(dbapi.OperationalError) as refused:
        dbapi.connect(dsn, dbname="no_such_database")
    assert refused.value.sqlstate == "3D000"


@pytest.mark.parametrize(
    ("options", "limit"), [({}, None), ({"command_timeout": 7}, 7.0), ({"command_timeout": None}, None)]
)
def test_no_statement_has_a_limit_unless_it_is_asked_for(
    dsn: str, options: dict[str, Any], limit: float | None
) -> None:
    with dbapi.connect(dsn, **options) as conn:
        assert conn.timeout == limit
    with dbapi.connect(f"{dsn}{'&' if '?' in dsn else '?'}command_timeout=9") as conn:
        assert conn.timeout == 9.0
    with dbapi.connect(pgproto.parse_config(dsn)) as conn:
        assert conn.timeout == 300.0


def test_the_connection_of_pgproto_is_at_hand(conn: dbapi.Connection) -> None:
    conn.execute("create temporary table t (n int4)")
    assert conn.driver_connection.copy_in("copy t from stdin", b"1\n2\n") == 2
    assert conn.execute("select sum(n) from t").fetchone() == (3,)


# ---- Transactions in two phases


def test_two_phases(conn: dbapi.Connection, auto: dbapi.Connection) -> None:
    auto.execute("create table phased (n int4)")
    try:
        xid = conn.xid(7, "mine_1", "branch'")
        assert tuple(xid) == (7, "mine_1", "branch'")
        conn.tpc_begin(xid)
        assert status(conn) == "T"
        conn.execute("insert into phased values (1)")
        with pytest.raises(dbapi.ProgrammingError, match="begun by tpc_begin"):
            conn.commit()
        conn.tpc_prepare()
        assert status(conn) == "I"
        with pytest.raises(dbapi.ProgrammingError, match="prepared already"):
            conn.tpc_prepare()
        assert auto.tpc_recover() == [xid]
        conn.tpc_commit()
        assert auto.tpc_recover() == []
        conn.tpc_begin("of another program")
        conn.execute("insert into phased values (2)")
        conn.tpc_commit()  # in one phase
        conn.tpc_begin("of another program")
        conn.execute("insert into phased values (3)")
        conn.tpc_prepare()
        conn.tpc_rollback()
        assert auto.execute("select n from phased order by n").fetchall() == [(1,), (2,)]
    finally:
        auto.execute("drop table phased")


def test_a_prepared_transaction_of_a_connection_that_is_gone(dsn: str, auto: dbapi.Connection) -> None:
    for finish in ("tpc_commit", "tpc_rollback"):
        with dbapi.connect(dsn) as gone:
            gone.tpc_begin(gone.xid(1, "a", ""))
            gone.execute("select 1")
            gone.tpc_prepare()
        (found,) = auto.tpc_recover()
        assert found == (1, "a", "")
        getattr(auto, finish)(found)
        assert auto.tpc_recover() == []


def test_what_two_phases_refuse(conn: dbapi.Connection, auto: dbapi.Connection) -> None:
    with pytest.raises(dbapi.ProgrammingError, match="autocommit"):
        auto.tpc_begin("x")
    for call in (conn.tpc_prepare, conn.tpc_commit, conn.tpc_rollback):
        with pytest.raises(dbapi.ProgrammingError, match="no transaction was begun"):
            call()
    conn.execute("select 1")
    with pytest.raises(dbapi.ProgrammingError, match="a transaction is open"):
        conn.tpc_begin("x")
    assert conn.tpc_recover() == []
    assert status(conn) == "T"
    conn.rollback()
    assert conn.tpc_recover() == []
    assert status(conn) == "I"
    conn.tpc_begin("x")
    with pytest.raises(dbapi.DataError):
        conn.execute("select 1 / 0")
    with pytest.raises(dbapi.InternalError, match="answered with ROLLBACK"):
        conn.tpc_prepare()
    conn.tpc_rollback()
    conn.execute("select 1")
    conn.rollback()


@pytest.mark.parametrize("text", ["plain", "1_a", "x_YQ==_YQ==", "1_YQ==_Y", "1_YQ==_YQ==_", "01_YQ==_YQ=="])
def test_identifiers_of_other_programs(text: str) -> None:
    assert dbapi.Xid.parse(text) == (None, text, None)
    assert str(dbapi.Xid.parse(text)) == text


def test_our_identifiers_come_back() -> None:
    for xid in (dbapi.Xid(0, "", ""), dbapi.Xid(7, "é_'", "b")):
        assert dbapi.Xid.parse(str(xid)) == xid


def test_psycopg_and_ours_have_the_same_text(pg18: PostgresServer) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(pg18.dsn()) as theirs:
        assert str(theirs.xid(7, "mine", "branch")) == str(dbapi.Xid(7, "mine", "branch"))


@pytest.mark.parametrize(
    ("before", "autocommit", "outcome"),
    [
        (None, False, pgproto.Outcome.ROLLED_BACK),  # BEGIN went with it
        ("select 1", False, pgproto.Outcome.ROLLED_BACK),
        (None, True, pgproto.Outcome.UNKNOWN),
    ],
)
def test_a_statement_whose_session_is_lost(
    pg_restartable: PostgresServer, before: str | None, autocommit: bool, outcome: pgproto.Outcome
) -> None:
    """What runs in a transaction is committed by its COMMIT and by nothing else."""
    server = pg_restartable
    server.start()
    connection = dbapi.connect(server.dsn(), autocommit=autocommit)
    cursor = connection.cursor()
    if before is not None:
        cursor.execute(before)

    def stop() -> None:
        while not server.query("select 1 from pg_stat_activity where wait_event = 'PgSleep'"):
            pass
        server.stop("immediate")

    with ThreadPoolExecutor(1) as threads:
        stopped = threads.submit(stop)
        with pytest.raises(dbapi.OperationalError) as lost:
            cursor.execute("select pg_sleep(100)")
        stopped.result()
    connection.close()
    server.start()
    assert lost.value.outcome is outcome
