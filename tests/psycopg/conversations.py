"""Conversations: longer than one call, each about one concept."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from psycopg import pq

from .recorder import Recorder, summary
from .states import idle, nonblocking, ready

Conversation = Callable[[Recorder, bytes], None]
CONVERSATIONS: dict[str, Conversation] = {}


def conversation(function: Conversation) -> Conversation:
    """Add it to the table."""
    CONVERSATIONS[function.__name__.replace("_", " ")] = function
    return function


def poll(record: Recorder, label: str, pollable: Any, step: Callable[[], int]) -> None:
    """Poll to the end; only the end is written down, because the way depends on time."""
    while (status := step()) not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
        reading = status == pq.PollingStatus.READING
        waiting = [pollable.socket]
        assert any(select.select(waiting if reading else [], [] if reading else waiting, [], 10))
    record(label, lambda: int(status))


def pumped(conn: Any) -> list[Any]:
    """The results of a command, as psycopg fetches them."""
    while conn.flush():
        select.select([conn.socket], [conn.socket], [], 10)
        conn.consume_input()
    found: list[Any] = []
    while True:
        while conn.is_busy():
            ready(conn)
            conn.consume_input()
        if (one := conn.get_result()) is None:
            return found
        found.append(one)


def numbers(conn: Any, call: Callable[[], None], size: int) -> list[tuple[int, int]]:
    """The status and the number of rows of each result, in parts of this size."""
    call()
    if size == 1:
        conn.set_single_row_mode()
    else:
        conn.set_chunked_rows_mode(size)
    return [(int(one.status), one.ntuples) for one in pumped(conn)]


@conversation
def connecting(record: Recorder, dsn: bytes) -> None:
    conn = pq.PGconn.connect_start(dsn)
    record("password at the start", lambda: conn.needs_password)
    poll(record, "connected", conn, conn.connect_poll)
    record("polled again", conn.connect_poll)
    record("summary", lambda: summary(conn).replace(conn.port.decode(), "PORT"))
    record("encrypted", lambda: conn.ssl_in_use)
    record("info", lambda: [option for option in conn.info if option.keyword not in (b"port", b"passfile")])
    record.state("connected", conn)
    before = conn.backend_pid
    conn.reset_start()
    poll(record, "reset", conn, conn.reset_poll)
    record("another process", lambda: conn.backend_pid != before)
    record("works", lambda: conn.exec_(b"select 1"))
    conn.reset()
    record("reset again", lambda: conn.exec_(b"select 2"))
    conn.finish()
    record("reset of a finished one", conn.reset_start)
    record("summary of a finished one", lambda: summary(conn))


REFUSED = {
    "a refused port": b"host=127.0.0.1 port=1 user=u",
    "two refused ports": b"host=127.0.0.1,127.0.0.1 port=1,2 user=u",
    "no such socket": b"host=/nowhere port=1 user=u",
    "no such name": b"host=no-such-host.invalid user=u",
    "a bad port": b"host=127.0.0.1 port=x user=u",
    "a large port": b"host=127.0.0.1 port=70000 user=u",
    "too many ports": b"host=127.0.0.1 port=1,2 user=u",
    "a bad sslmode": b"host=127.0.0.1 sslmode=perhaps",
    "a bad target": b"host=127.0.0.1 target_session_attrs=x",
    "a bad timeout": b"host=127.0.0.1 port=1 connect_timeout=soon",
    "an unknown option": b"host=127.0.0.1 hots=1",
    "no equals sign": b"host",
    "an open quote": b"host='a",
    "gssencmode": b"host=127.0.0.1 gssencmode=require",
}


@conversation
def refusals(record: Recorder, dsn: bytes) -> None:
    for label, conninfo in REFUSED.items():
        conn = pq.PGconn.connect(conninfo)
        record.state(label, conn)
        for name in ("host", "port", "user", "db", "hostaddr", "password", "needs_password", "used_password"):
            record(f"{label}: {name}", lambda conn=conn, name=name: getattr(conn, name))
        record(f"{label}: server_version", lambda conn=conn: conn.server_version)
        record(f"{label}: polled", conn.connect_poll)
        record(f"{label}: ping", pq.PGconn.ping, conninfo)
        conn.finish()
    others = {
        "no database": b" dbname=there_is_none",
        "no user": b" user=there_is_none",
        "no password": b" user=scram_user password=''",
        "a wrong password": b" user=scram_user password=wrong",
        "a bad option": b" options='-c nothing=1'",
        "a bad encoding": b" client_encoding=nothing",
        "no standby": b" target_session_attrs=standby",
    }
    for label, more in others.items():
        conn = pq.PGconn.connect(dsn + more)
        record(f"{label}: status", lambda conn=conn: conn.status)
        record(f"{label}: needs", lambda conn=conn: conn.needs_password)
        record(f"{label}: used", lambda conn=conn: conn.used_password)
        record(f"{label}: ping", pq.PGconn.ping, dsn + more)
        message = conn.error_message
        record(f"{label}: error", lambda message=message, conn=conn: message.replace(conn.port, b"PORT"))
        conn.finish()
    record("ping of one that runs", pq.PGconn.ping, dsn)
    record("ping of str", pq.PGconn.ping, "")
    for function in (pq.PGconn.connect, pq.PGconn.connect_start, pq.Conninfo.parse):
        record(f"{function.__name__} of str", function, "host=x")
    conn = pq.PGconn.connect_start(REFUSED["a refused port"])
    record("started with a refused port", lambda: conn.status)
    poll(record, "started with a refused port, polled", conn, conn.connect_poll)
    conn.finish()
    conn = pq.PGconn.connect_start(b"port=x")
    record("started with a bad port", lambda: conn.status)
    record("started with a bad port, polled", conn.connect_poll)


DSNS = [
    b"",
    b"host=a port=1 dbname=c user='d e' password=\\'x",
    b"host = a  port =  ",
    b"host=a,b port=1,,x hostaddr=1.2.3.4,",
    b"postgresql://",
    b"postgres://u:p@h:1/d?sslmode=require&application_name=a%20b",
    b"postgresql://h1:1,h2,[::1]:3/d?target_session_attrs=any",
    b"postgresql://u@%2Ftmp/d",
    b"postgresql:///d?host=/tmp&ssl=true",
    b"postgresql://[::1",
    b"postgresql://[]/",
    b"postgresql://[::1]x/",
    b"postgresql://h/?a",
    b"postgresql://h/?port=1=2",
    b"postgresql://h/?nothing=2",
    b"postgresql://h/d%",
    b"postgresql://h/d%00",
    b"postgresql://h/d%zz",
    b"postgresql://h/a b",
    b"requiressl=1",
    b"requiressl=0 oauth_issuer=x oauth_client_id=y krbsrvname=z scram_client_key=k",
    b"nothing=1",
    b"host",
    b"host a",
    b"=1",
    b"host='unterminated",
    b"host=a\\",
    b"dbname='\xc3\xa9'",
    b"user=u\0ser",
]


@conversation
def conninfo(record: Recorder, dsn: bytes) -> None:
    record("defaults", pq.Conninfo.get_defaults)
    os.environ.update(PGHOST="envhost", PGUSER="envuser", PGREQUIRESSL="1", PGPASSWORD="envsecret")
    record("defaults of the environment", pq.Conninfo.get_defaults)
    for name in ("PGHOST", "PGUSER", "PGREQUIRESSL", "PGPASSWORD"):
        del os.environ[name]
    for each in DSNS:
        record(f"parse {each!r}", pq.Conninfo.parse, each)


ESCAPED = [
    b"",
    b"a",
    b"it's",
    b'"',
    b"back\\slash",
    b"\\'",
    b"nul\0after",
    "ünïcode €".encode(),
    b"\xff\xfe",
    b"\xc3",
]


UNESCAPED = [
    *(b"", b"\\x", b"\\x00ff", b"\\xFf", b"\\x0", b"\\x0g41", b"plain", b"\\\\", b"\\000\\377"),
    *(b"a\\", b"a\\b", b"\\400", b"x\\x41", b"nul\0after"),
]


@conversation
def escaping(record: Recorder, dsn: bytes) -> None:
    conn = idle(dsn)
    for setting in (b"on", b"off"):
        conn.exec_(b"set standard_conforming_strings to " + setting)
        for encoding in (b"UTF8", b"LATIN1", b"SQL_ASCII", b"EUC_JP", b"SJIS", b"BIG5", b"GBK", b"GB18030"):
            conn.exec_(b"set client_encoding to " + encoding)
            for data in ESCAPED:
                escaping = pq.Escaping(conn)
                for name in ("escape_literal", "escape_identifier", "escape_string", "escape_bytea"):
                    label = f"{name} {data!r} {encoding!r} {setting!r}"
                    record(label, getattr(escaping, name), data)
    buffers: list[Any] = [bytearray(b"it's"), memoryview(b"it's")]
    for buffer in buffers:
        for name in ("escape_literal", "escape_identifier", "escape_string", "escape_bytea"):
            record(f"{name} {type(buffer)}", getattr(pq.Escaping(conn), name), buffer)
    for data in (
        b"",
        b"\\x",
        b"\\x00ff",
        b"\\xFf",
        b"plain",
        b"\\\\",
        b"\\000\\377",
        b"a\\",
        b"a\\b",
        b"\\400",
        b"x\\x41",
    ):
        record(f"unescape {data!r}", pq.Escaping(conn).unescape_bytea, data)
        record(f"unescape {data!r} alone", pq.Escaping().unescape_bytea, data)
    conn.exec_(b"set standard_conforming_strings to on")
    conn.finish()
    conn = idle(dsn)
    for name in ("escape_literal", "escape_identifier", "escape_string", "escape_bytea"):
        record(f"{name} without a connection", getattr(pq.Escaping(), name), b"it's \\")
    conn.finish()


@conversation
def results(record: Recorder, dsn: bytes) -> None:
    conn = idle(dsn)
    notices: list[bytes] = []
    conn.notice_handler = lambda notice: notices.append(notice.error_message)
    for sql in (
        b"select",
        b"",
        b";",
        b"select 1 where false",
        b"create temp table t (id int primary key, v numeric(10,2), b bytea)",
        b"insert into t values (1, 2, 'x'), (2, null, null)",
        b"insert into t values (1, 2, 'x')",
        b"select * from t order by id",
        b"update t set v = 5",
        b"delete from t where id = 2",
        b"merge into t using (values (1)) s(id) on s.id = t.id when matched then update set v = 7",
        b"begin",
        b"declare c cursor for select generate_series(1, 5)",
        b"fetch 2 from c",
        b"move 1 from c",
        b"commit",
        b"do $$ begin raise notice 'hello %', 1 using hint = 'h', detail = 'd'; end $$",
        b"do $$ begin raise exception 'no %', 1 using hint = 'h', detail = 'd'; end $$",
        b"do $$ begin perform nothing(); end $$",
        b"select * from nowhere",
        b"select\n1,\n  nothing,\r\n\t2 from pg_class",
        "select 'ünï', nothing, 'more'".encode(),
        b"select '" + b"x" * 80 + b"', nothing, '" + b"y" * 80 + b"'",
        b"select nothing, '" + b"y" * 180 + b"'",
        b"select '" + b"x" * 180 + b"', nothing",
        "select '日本語日本語日本語日本語日本語日本語日本語日本語日本語日本語', nothing".encode(),
        b"select 1 +",
        b"selec 1",
        b"select 1; select 2; select 3",
        b"select 1; select 1/0; select 3",
        b"set client_encoding to latin1",
        b"select 'caf\xe9', nothing",
        b"set client_encoding to nothing",
        b"set client_encoding to utf8",
    ):
        record(f"exec {sql!r}", conn.exec_, sql)
        record.state(f"exec {sql!r}", conn)
        record(f"exec_params {sql!r}", conn.exec_params, sql, None)
        record(f"prepare {sql!r}", conn.prepare, b"", sql)
        record(f"exec_prepared {sql!r}", conn.exec_prepared, b"", None, None, 1)
        record(f"encoding {sql!r}", lambda: (conn._encoding, conn.parameter_status(b"client_encoding")))
    # libpq gives notices of its own about columns that are not there.
    record("notices", lambda: [each for each in notices if b"out of range" not in each])
    record(
        "typed", conn.exec_params, b"select $1, $2, $3", [b"1", b"\0\0\0\2", None], [23, 23, 25], [0, 1, 0], 0
    )
    record("prepared", conn.prepare, b"named", b"select $1::int8, $2::text as t, 3::numeric(5,1)")
    record("described", conn.describe_prepared, b"named")
    record("run", conn.exec_prepared, b"named", [b"1", bytearray(b"x\0y")])
    record("prepared again", conn.prepare, b"named", b"select 1")
    record("wrong values", conn.exec_prepared, b"named", [b"x", b"y"])
    record("too few values", conn.exec_prepared, b"named", [b"1"])
    record("described nothing", conn.prepare, b"nothing", b"set timezone to utc")
    record("described nothing", conn.describe_prepared, b"nothing")
    record("closed", conn.close_prepared, b"named")
    record("closed again", conn.close_prepared, b"named")
    record("too many", conn.exec_params, b"select 1", [b"1"] * 65536)
    conn.exec_(b"begin")
    conn.exec_(b"declare d cursor for select 1 as one")
    record("portal", conn.describe_portal, b"d")
    record("closed portal", conn.close_portal, b"d")
    record("portal again", conn.describe_portal, b"d")
    made = conn.make_empty_result(pq.ExecStatus.TUPLES_OK)
    columns = [pq.PGresAttDesc(b"a", 1, 2, 1, 23, 4, -1), pq.PGresAttDesc(b"b", 0, 0, 0, 25, -1, 5)]
    record("set columns", made.set_attributes, columns)
    record("made", lambda: made)
    record("set columns again", made.set_attributes, columns)
    made.clear()
    made.clear()
    record("cleared", lambda: made)
    for status in pq.ExecStatus:
        record(f"empty {status}", conn.make_empty_result, status)
    conn.finish()


@conversation
def rows_in_parts(record: Recorder, dsn: bytes) -> None:
    conn = nonblocking(dsn)
    sql = b"select generate_series(1, 7)"
    broken = b"select 6 / (4 - n) from generate_series(1, 7) n"
    for size in (1, 2, 3, 7, 8):
        for statement in (sql, b"select 1 where false", b"set timezone to utc", sql + b"; select 8", broken):
            record(f"{size} {statement!r}", numbers, conn, lambda s=statement: conn.send_query(s), size)
            if b";" not in statement:
                record(
                    f"{size} {statement!r} extended",
                    lambda s=statement, n=size: numbers(conn, lambda: conn.send_query_params(s, None), n),
                )
    conn.send_query(sql)
    conn.set_chunked_rows_mode(3)
    for number, one in enumerate(pumped(conn)):
        record(f"part {number}", lambda one=one: one)
    record("no mode when idle", conn.set_single_row_mode)
    conn.send_query(sql)
    record("no size", conn.set_chunked_rows_mode, 0)
    record("whole", lambda: [one.ntuples for one in pumped(conn)])
    conn.finish()


@conversation
def copying(record: Recorder, dsn: bytes) -> None:
    for label, start in (("simple", "exec_"), ("extended", "exec_params")):
        conn = idle(dsn)
        run = getattr(conn, start)
        more = [None] if start == "exec_params" else []
        conn.exec_(b"create temp table t (a int4, b text)")
        record(f"{label}: in", run, b"copy t from stdin", *more)
        record(f"{label}: again", conn.get_result)
        for data in (b"1\tx\n2\t", bytearray(b"y\n"), memoryview(b"3\tz\n"), b""):
            record(f"{label}: put", conn.put_copy_data, data)
        record(f"{label}: end", conn.put_copy_end)
        record.drain(f"{label}: after", conn)
        run(b"copy t from stdin", *more)
        record(f"{label}: wrong data", conn.put_copy_data, b"x\n")
        record(f"{label}: wrong end", conn.put_copy_end)
        record.drain(f"{label}: after wrong", conn)
        run(b"copy t from stdin", *more)
        record(f"{label}: failed", conn.put_copy_end, b"my reason")
        record.drain(f"{label}: after failed", conn)
        record(f"{label}: out", run, b"copy t to stdout", *more)
        for number in range(5):
            record(f"{label}: get {number}", conn.get_copy_data, 0)
        record.drain(f"{label}: after out", conn)
        record(f"{label}: binary", run, b"copy t to stdout (format binary)", *more)
        for number in range(6):
            record(f"{label}: get binary {number}", conn.get_copy_data, 0)
        record.drain(f"{label}: after binary", conn)
        run(b"copy (select 1 / (3 - n) from generate_series(1, 5) n) to stdout", *more)
        for number in range(4):
            record(f"{label}: get until it fails {number}", conn.get_copy_data, 0)
        record.drain(f"{label}: after it failed", conn)
        record(f"{label}: none", run, b"copy nowhere from stdin", *more)
        run(b"copy t from stdin", *more)
        record(f"{label}: left", conn.exec_, b"select 1")
        run(b"copy t to stdout", *more)
        record(f"{label}: left out", conn.exec_, b"select count(*) from t")
        conn.finish()
    conn = idle(dsn)
    conn.exec_(b"create temp table t (a int4); insert into t select generate_series(1, 3)")
    record("several", conn.exec_, b"select 1; copy t to stdout; select 2")
    while conn.get_copy_data(0)[0] > 0:
        pass
    record.drain("several", conn)
    conn.finish()


@conversation
def pipelining(record: Recorder, dsn: bytes) -> None:
    conn = idle(dsn)
    conn.enter_pipeline_mode()
    conn.enter_pipeline_mode()
    conn.send_query_params(b"select $1::text", [b"a"])
    conn.send_prepare(b"s", b"select $1::int4 as n")
    conn.send_query_prepared(b"s", [b"5"])
    conn.send_describe_prepared(b"s")
    conn.send_close_prepared(b"s")
    record("not now", conn.exit_pipeline_mode)
    conn.pipeline_sync()
    record.drain("all kinds", conn, 16)
    record("exit", conn.exit_pipeline_mode)
    conn.enter_pipeline_mode()
    for statement in (b"select 1", b"select 1/0", b"select 2", b"set timezone to utc"):
        conn.send_query_params(statement, None)
    conn.pipeline_sync()
    conn.send_query_params(b"select 3", None)
    conn.pipeline_sync()
    for number in range(14):
        record(f"failing: {number}", conn.get_result)
        record.state(f"failing: {number}", conn)
    conn.send_query_params(b"create temp table d (a int primary key deferrable initially deferred)", None)
    conn.pipeline_sync()
    record.drain("deferred", conn)
    conn.send_query_params(b"insert into d values (1), (1)", None)
    conn.pipeline_sync()
    record.drain("deferred", conn)
    conn.send_query_params(b"select generate_series(1, 3)", None)
    conn.send_flush_request()
    record("flushed", conn.flush)
    record.drain("flushed", conn, 3)
    conn.send_query_params(b"select 7", None)
    conn.send_flush_request()
    record("one", conn.get_result)
    record("exit before the None", conn.exit_pipeline_mode)
    record.state("out", conn)
    record("simple again", conn.exec_, b"select 8")
    conn.finish()
    conn = nonblocking(dsn)
    conn.enter_pipeline_mode()
    for _ in range(3):
        conn.send_query_params(b"select generate_series(1, 3)", None)
    conn.pipeline_sync()
    conn.flush()
    for number in range(3):
        record(f"rows {number}: None", lambda n=number: conn.get_result() if n else None)
        record(f"rows {number}: mode", conn.set_single_row_mode)
        record.drain(f"rows {number}", conn, 4)
    record.drain("rows", conn)
    conn.finish()


@conversation
def traces(record: Recorder, dsn: bytes) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    conn = idle(dsn)
    conn.trace(write)
    for flags in (pq.Trace.SUPPRESS_TIMESTAMPS, pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE):
        conn.set_trace_flags(flags)
        conn.exec_params(b"select $1::int4 as a, $2::text", [b"1", None])
        conn.exec_(b"create temp table t (a text); copy t from stdin")
        conn.put_copy_data(b"some data\x01\n")
        conn.put_copy_end()
        while conn.get_result():
            pass
        conn.exec_(b"copy t to stdout")
        while conn.get_copy_data(0)[0] > 0:
            pass
        while conn.get_result():
            pass
        conn.prepare(b"p%d" % flags, b"select $1::int4 + $2::int4")
        conn.describe_prepared(b"p%d" % flags)
        conn.close_prepared(b"p%d" % flags)
        conn.exec_(b"drop table t; set application_name to 'x'; do $$ begin raise notice 'n'; end $$")
    conn.exec_(b"selec")
    conn.enter_pipeline_mode()
    conn.send_query_params(b"select 1", None)
    conn.send_query_prepared(b"nothing", None)
    conn.send_flush_request()
    conn.pipeline_sync()
    for _ in range(5):
        conn.get_result()
    conn.exit_pipeline_mode()
    conn.untrace()
    conn.exec_(b"select 2")
    for line in os.read(read, 65536).decode().split("\n"):
        if "Response" not in line or "\tNN\t" in line:  # places in the server's source differ
            record("line", lambda line=line: line)
    conn.finish()
    os.close(read)


@conversation
def notifications(record: Recorder, dsn: bytes) -> None:
    conn, other = idle(dsn), idle(dsn)
    conn.exec_(b"listen one; listen two")
    other.exec_(b"notify one, 'payload'; notify two")
    conn.exec_(b"notify one, 'own'")
    found: list[Any] = []
    while len(found) < 3:
        notify = conn.notifies()
        if notify is None:
            ready(conn)
            conn.consume_input()
            continue
        assert notify.be_pid in (conn.backend_pid, other.backend_pid)
        found.append((notify.relname, notify.extra, notify.be_pid == conn.backend_pid))
    record("notifications", lambda: found)
    record("no more", conn.notifies)
    conn.notice_handler = lambda notice: 1 / 0
    record("a handler that fails", conn.exec_, b"do $$ begin raise notice 'n'; end $$")
    conn.finish()
    other.finish()


def sleep(conn: Any, dsn: bytes) -> None:
    """Send a statement that sleeps, and wait until the server runs it."""
    conn.send_query(b"select pg_sleep(60)")
    other = idle(dsn)
    running = (
        b"select count(*) from pg_stat_activity where wait_event = 'PgSleep' and pid = %d" % conn.backend_pid
    )
    while other.exec_(running).get_value(0, 0) != b"1":
        pass
    other.finish()


@conversation
def cancelling(record: Recorder, dsn: bytes) -> None:
    conn = idle(dsn)
    cancel = conn.get_cancel()
    sleep(conn, dsn)
    record("cancel", cancel.cancel)
    record.drain("cancelled", conn)
    polled = conn.cancel_conn()
    record("allocated", lambda: polled.status)
    record("no socket", lambda: polled.socket)
    record("not started", polled.poll)
    sleep(conn, dsn)
    record("reset", polled.reset)
    record("start", polled.start)
    poll(record, "polled", polled, polled.poll)
    record("ok", lambda: polled.status)
    record.drain("cancelled by polling", conn)
    record("start again", polled.start)
    record("error", lambda: polled.error_message)
    record("reset", polled.reset)
    record("after reset", lambda: (polled.status, polled.error_message))
    sleep(conn, dsn)
    record("blocking", polled.blocking)
    record.drain("cancelled by blocking", conn)
    polled.finish()
    polled.finish()
    for name in ("start", "blocking", "poll", "reset"):
        record(f"{name} when finished", getattr(polled, name))
    record("status when finished", lambda: polled.status)
    record("error when finished", polled.get_error_message)
    conn.finish()
    record("cancel when finished", cancel.cancel)
    cancel.free()
    cancel.free()
    record("cancel when freed", cancel.cancel)
    record("cancel_conn of a finished one", lambda: conn.cancel_conn().status)
    record("start for a finished one", lambda: conn.cancel_conn().start())


@conversation
def passwords(record: Recorder, dsn: bytes) -> None:
    conn = idle(dsn)
    record("user", conn.exec_, b'create role "some ""one" login')
    record("change", conn.change_password, b'some "one', b"new")
    record("changed", conn.exec_, b"select left(rolpassword, 14) from pg_authid where rolname = 'some \"one'")
    record("md5", conn.encrypt_password, b"p", b"u", b"md5")
    record("scram", lambda: conn.encrypt_password(b"p", b"u", b"scram-sha-256")[:19])
    record("str", conn.encrypt_password, "p", b"u")
    conn.exec_(b'drop role "some ""one"')
    conn.finish()
    record("finished", conn.encrypt_password, b"p", b"u", b"md5")
    with_password = pq.PGconn.connect(dsn + b" user=scram_user password=s3cret")
    record("used", lambda: (with_password.used_password, with_password.needs_password))
    with_password.finish()


@conversation
def large(record: Recorder, dsn: bytes) -> None:
    conn = nonblocking(dsn)
    text = b"x" * 3_000_000
    conn.send_query(b"select '" + text + b"'")
    record("large query", lambda: [len(one.get_value(0, 0)) for one in pumped(conn)])
    conn.send_query_params(b"select length($1), $1", [text])
    record("large value", lambda: [(one.get_value(0, 0), len(one.get_value(0, 1))) for one in pumped(conn)])
    conn.nonblocking = 0
    conn.enter_pipeline_mode()
    for _ in range(8):  # both buffers are full
        conn.send_query_params(b"select $1", [text])
    conn.pipeline_sync()
    found = [conn.get_result() for _ in range(16)]
    record("large pipeline", lambda: [one and len(one.get_value(0, 0)) for one in found])
    record("sync", conn.get_result)
    conn.finish()


@conversation
def encodings(record: Recorder, dsn: bytes) -> None:
    for encoding in (b"LATIN1", b"SQL_ASCII", b"EUC_JP", b"UTF8", b"auto"):
        conn = pq.PGconn.connect(dsn + b" client_encoding=" + encoding)
        record(f"{encoding!r}", lambda conn=conn: (conn.parameter_status(b"client_encoding"), conn._encoding))
        record(f"{encoding!r} text", conn.exec_, b'select chr(233), 1 as "\xe9"')
        record(f"{encoding!r} error", conn.exec_, b'select 1 as a, "\xe9"')
        conn.finish()
    conn = pq.PGconn.connect(dsn + b" options='-c client_encoding=latin1'")
    record("by options", lambda: (conn.parameter_status(b"client_encoding"), conn._encoding))
    conn.finish()
    os.environ["PGCLIENTENCODING"] = "latin9"
    conn = pq.PGconn.connect(dsn)
    del os.environ["PGCLIENTENCODING"]
    record("by the environment", lambda: (conn.parameter_status(b"client_encoding"), conn._encoding))
    conn.finish()
