"""Every method in every state: what a connection answers, and in which state it is then."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any

from psycopg import OperationalError, pq

from .recorder import Recorder

Connection = Any


def ready(conn: Connection, timeout: float = 10) -> None:
    """Wait until something has arrived."""
    assert select.select([conn.socket], [], [], timeout)[0]


def idle(dsn: bytes) -> Connection:
    return pq.PGconn.connect(dsn)


def nonblocking(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.nonblocking = 1
    return conn


def in_transaction(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.exec_(b"begin")
    return conn


def in_failed(dsn: bytes) -> Connection:
    conn = in_transaction(dsn)
    conn.exec_(b"select 1/0")
    return conn


def busy(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.send_query(b"select 1; select 2 as b")
    return conn


def answered(dsn: bytes) -> Connection:
    conn = busy(dsn)
    while conn.is_busy():
        ready(conn)
        conn.consume_input()
    return conn


def taken(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.send_query_params(b"select 1", None)
    conn.get_result()
    return conn


def failed(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.exec_params(b"select 'x'::int4", None)
    return conn


def copy_in(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.exec_(b"create temp table t (a int4, b text)")
    conn.exec_(b"copy t from stdin")
    return conn


def copy_in_extended(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.exec_(b"create temp table t (a int4, b text)")
    conn.exec_params(b"copy t from stdin (format binary)", None)
    return conn


def copy_out(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.exec_(b"copy (select * from generate_series(1, 3)) to stdout")
    return conn


def pipeline(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.enter_pipeline_mode()
    return conn


def pipeline_sent(dsn: bytes) -> Connection:
    conn = pipeline(dsn)
    conn.send_query_params(b"select $1::int4", [b"1"])
    conn.send_query_params(b"select 'y'", None, result_format=1)
    conn.pipeline_sync()
    return conn


def pipeline_failed(dsn: bytes) -> Connection:
    conn = pipeline(dsn)
    conn.send_query_params(b"select 1/0", None)
    conn.send_query_params(b"select 2", None)
    conn.send_prepare(b"p", b"select 3")
    conn.pipeline_sync()
    conn.get_result()
    return conn


def pipeline_synced(dsn: bytes) -> Connection:
    conn = pipeline_sent(dsn)
    for _ in range(4):
        conn.get_result()
    return conn


def pipeline_done(dsn: bytes) -> Connection:
    conn = pipeline_synced(dsn)
    conn.get_result()
    return conn


def killed(dsn: bytes) -> Connection:
    conn = idle(dsn)
    other = idle(dsn)
    other.exec_(b"select pg_terminate_backend(%d)" % conn.backend_pid)
    other.finish()
    ready(conn)
    return conn


def lost(dsn: bytes) -> Connection:
    conn = killed(dsn)
    for _ in range(3):
        try:
            ready(conn)
            conn.consume_input()
        except OperationalError:
            break
    return conn


def refused(dsn: bytes) -> Connection:
    return pq.PGconn.connect(b"host=127.0.0.1 port=1 user=somebody dbname=some password=secret")


def misunderstood(dsn: bytes) -> Connection:
    return pq.PGconn.connect(b"host=localhost nothing=1")


def finished(dsn: bytes) -> Connection:
    conn = idle(dsn)
    conn.finish()
    return conn


STATES: dict[str, Callable[[bytes], Connection]] = {
    each.__name__: each
    for each in (
        *(idle, nonblocking, in_transaction, in_failed, busy, answered, taken, failed),
        *(copy_in, copy_in_extended, copy_out),
        *(pipeline, pipeline_sent, pipeline_failed, pipeline_synced, pipeline_done),
        *(killed, lost, refused, misunderstood, finished),
    )
}


def traced(conn: Connection) -> bytes:
    """What a trace of one query shows."""
    read, write = os.pipe()
    try:
        conn.trace(write)
        conn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS | pq.Trace.REGRESS_MODE)
        conn.exec_(b"select 1 as one from pg_class limit 1")
        conn.untrace()
        os.set_blocking(read, False)
        return os.read(read, 65536)
    finally:
        os.close(read)


def set_nonblocking(conn: Connection) -> int:
    conn.nonblocking = 1
    return int(conn.nonblocking)


# What changes nothing.
LOOKS: dict[str, Callable[[Connection], object]] = {
    "db": lambda c: c.db,
    "user": lambda c: c.user,
    "password": lambda c: c.password,
    "host": lambda c: c.host,
    "hostaddr": lambda c: c.hostaddr,
    "tty": lambda c: c.tty,
    "options": lambda c: c.options,
    "parameter_status": lambda c: c.parameter_status(b"server_encoding"),
    "parameter_status of none": lambda c: c.parameter_status(b"no_such_thing"),
    "get_error_message": lambda c: c.get_error_message(),
    "get_error_message in latin1": lambda c: c.get_error_message("latin1"),
    "encoding": lambda c: c._encoding,
    "protocol_version": lambda c: c.protocol_version,
    "full_protocol_version": lambda c: c.full_protocol_version,
    "server_version": lambda c: c.server_version,
    "socket": lambda c: c.socket >= 0,
    "backend_pid": lambda c: c.backend_pid > 0,
    "needs_password": lambda c: c.needs_password,
    "used_password": lambda c: c.used_password,
    "used_gssapi": lambda c: c.used_gssapi,
    "ssl_in_use": lambda c: c.ssl_in_use,
    "make_empty_result": lambda c: c.make_empty_result(pq.ExecStatus.TUPLES_OK),
    "make_empty_result of an error": lambda c: c.make_empty_result(pq.ExecStatus.FATAL_ERROR),
    "unescape_bytea": lambda c: pq.Escaping(c).unescape_bytea(b"\\x00ff"),
}

CALLS: dict[str, Callable[[Connection], object]] = {
    "connect_poll": lambda c: c.connect_poll(),
    "reset": lambda c: c.reset(),
    "exec_": lambda c: c.exec_(b"select 10; select 'a' as b, null"),
    "exec_ of an error": lambda c: c.exec_(b"select 1; select nothing"),
    "exec_ of nothing": lambda c: c.exec_(b""),
    "exec_ of str": lambda c: c.exec_("select 1"),
    "exec_params": lambda c: c.exec_params(b"select $1::int4, $2", [b"7", None], result_format=1),
    "exec_params of too few types": lambda c: c.exec_params(b"select $1", [b"7"], [23, 23]),
    "send_query": lambda c: c.send_query(b"select 1"),
    "send_query of None": lambda c: c.send_query(None),
    "send_query_params": lambda c: c.send_query_params(b"select $1::text", [b"a\0b"]),
    "send_prepare": lambda c: c.send_prepare(b"s", b"select $1::int4", [20]),
    "send_query_prepared": lambda c: c.send_query_prepared(b"none", [b"1"], [0]),
    "prepare": lambda c: c.prepare(b"s", b"select $1, $2::text, 3 as three", [23]),
    "prepare of an error": lambda c: c.prepare(b"s", b"select\n  nothing\nfrom nowhere"),
    "exec_prepared": lambda c: c.exec_prepared(b"none", [b"1"]),
    "describe_prepared": lambda c: c.describe_prepared(b"none"),
    "send_describe_prepared": lambda c: c.send_describe_prepared(b"none"),
    "describe_portal": lambda c: c.describe_portal(b"none"),
    "send_describe_portal": lambda c: c.send_describe_portal(b"none"),
    "close_prepared": lambda c: c.close_prepared(b"none"),
    "send_close_prepared": lambda c: c.send_close_prepared(b"none"),
    "close_portal": lambda c: c.close_portal(b"none"),
    "send_close_portal": lambda c: c.send_close_portal(b"none"),
    "get_result": lambda c: c.get_result(),
    "consume_input": lambda c: c.consume_input(),
    "is_busy": lambda c: c.is_busy(),
    "set nonblocking": set_nonblocking,
    "flush": lambda c: c.flush(),
    "set_single_row_mode": lambda c: c.set_single_row_mode(),
    "set_chunked_rows_mode": lambda c: c.set_chunked_rows_mode(2),
    "get_cancel": lambda c: c.get_cancel(),
    "cancel": lambda c: c.get_cancel().cancel(),
    "cancel_conn": lambda c: c.cancel_conn().status,
    "cancel_conn start": lambda c: c.cancel_conn().blocking(),
    "notifies": lambda c: c.notifies(),
    "put_copy_data": lambda c: c.put_copy_data(b"1\tx\n"),
    "put_copy_end": lambda c: c.put_copy_end(),
    "put_copy_end with an error": lambda c: c.put_copy_end(b"a reason"),
    "get_copy_data": lambda c: c.get_copy_data(0),
    "trace": traced,
    "encrypt_password": lambda c: c.encrypt_password(b"secret", b"somebody", b"md5"),
    "encrypt_password by what the server does": lambda c: c.encrypt_password(b"s", b"u")[:14],
    "encrypt_password by none": lambda c: c.encrypt_password(b"secret", b"somebody", b"rot13"),
    "change_password": lambda c: c.change_password(b"there is none", b"secret"),
    "enter_pipeline_mode": lambda c: c.enter_pipeline_mode(),
    "exit_pipeline_mode": lambda c: c.exit_pipeline_mode(),
    "pipeline_sync": lambda c: c.pipeline_sync(),
    "send_flush_request": lambda c: c.send_flush_request(),
    "escape_literal": lambda c: pq.Escaping(c).escape_literal(b"it's a \\"),
    "escape_identifier": lambda c: pq.Escaping(c).escape_identifier(b'a"b'),
    "escape_string": lambda c: pq.Escaping(c).escape_string(b"it's a \\"),
    "escape_bytea": lambda c: pq.Escaping(c).escape_bytea(b"\0\xff"),
    "finish": lambda c: c.finish(),
    "finish twice": lambda c: (c.finish(), c.finish()),
}

# What depends on time.
UNTESTED = {
    # A cancel request may come before, in the middle of or after these statements.
    *[(state, call) for state in ("busy", "pipeline_sent") for call in ("cancel", "cancel_conn start")],
}

# Without a session nothing is owed.  (libpq gives one more error if the session was lost at its start.)
NO_SESSION = ("lost", "refused", "misunderstood")


def in_state(record: Recorder, dsn: bytes, name: str) -> None:
    """Each call on a new connection in this state, the state after it, and the results that are owed."""
    conn = STATES[name](dsn)
    for label, call in LOOKS.items():
        record(label, call, conn)
        record.state(f"{label}, then", conn)
    conn.finish()
    for label, call in CALLS.items():
        if (name, label) in UNTESTED:
            continue
        conn = STATES[name](dsn)
        record(label, call, conn)
        record.state(f"{label}, then", conn)
        if name in NO_SESSION:
            conn.finish()
            continue
        if conn.pipeline_status and label != "get_result":
            # Without a Sync the server does not answer.
            record(f"{label}, then sync", conn.pipeline_sync)
        record.drain(f"{label}, then", conn)
        record.state(f"{label}, at the end", conn)
        conn.finish()
