"""What `psycopg.pq` owes to its surroundings: no warnings, no leaks, forks, files, several hosts."""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import weakref
from typing import Any

import pgproto_psycopg

pgproto_psycopg.install()

from psycopg import pq  # noqa: E402 - after the choice


def left_behind(dsn: bytes) -> None:
    """Dropped at every moment of its life, a connection leaves nothing, and says nothing."""
    gc.disable()
    attempts = []
    for steps in range(12):
        conn = pq.PGconn.connect_start(dsn)
        for _ in range(steps):
            status = conn.connect_poll()
            if status in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
                break
            reading = [conn.socket] if status == pq.PollingStatus.READING else []
            select.select(reading, [] if reading else [conn.socket], [], 10)
        attempts.append(weakref.ref(conn))
        del conn
    assert [ref() for ref in attempts] == [None] * 12
    conn = pq.PGconn.connect(dsn)
    conn.send_query(b"select generate_series(1, 100000)")
    conn.trace(os.open(os.devnull, os.O_WRONLY))
    polled: Any = conn.cancel_conn()
    polled.start()
    result = weakref.ref(conn.make_empty_result(2))
    ref = weakref.ref(conn)
    del conn, polled
    assert ref() is None
    assert result() is None
    gc.enable()
    assert gc.collect() >= 0


def in_a_child(dsn: bytes) -> None:
    """A forked child may finish what it inherited: the session goes on."""
    conn = pq.PGconn.connect(dsn)
    child = os.fork()
    if not child:
        conn.finish()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert conn.exec_(b"select 1").get_value(0, 0) == b"1"
    conn.finish()


def several_hosts(dsn: bytes) -> None:
    """The first that answers and fits; attributes tell which it was."""
    given = {option.keyword: option.val for option in pq.Conninfo.parse(dsn)}
    port = given[b"port"] or b""
    hosts = b"host=127.0.0.1,127.0.0.1 port=1," + port + b" user=postgres dbname=postgres"
    conn = pq.PGconn.connect(hosts)
    assert conn.status == pq.ConnStatus.OK, conn.error_message
    assert (conn.host, conn.port, conn.hostaddr) == (b"127.0.0.1", port, b"127.0.0.1")
    conn.finish()
    conn = pq.PGconn.connect(hosts + b" target_session_attrs=standby")
    assert conn.status == pq.ConnStatus.BAD
    assert b"Connection refused" in conn.error_message
    assert b"not in hot standby mode" in conn.error_message
    conn.finish()
    for attrs in (b"read-write", b"primary", b"prefer-standby", b"any"):
        conn = pq.PGconn.connect(hosts + b" target_session_attrs=" + attrs)
        assert conn.status == pq.ConnStatus.OK
        conn.finish()


def by_files(dsn: bytes, folder: str) -> None:
    """A service file, a password file, a unix socket and the environment."""
    given = {option.keyword: option.val for option in pq.Conninfo.parse(dsn)}
    port = (given[b"port"] or b"").decode()
    with open(f"{folder}/service", "w") as file:
        file.write(f"[mine]\nhost=127.0.0.1\nport={port}\nuser=scram_user\ndbname=postgres\n")
    with open(f"{folder}/pass", "w") as file:
        file.write(f"127.0.0.1:{port}:*:scram_user:s3cret\n")
    os.chmod(f"{folder}/pass", 0o600)
    os.environ.update(PGSERVICEFILE=f"{folder}/service", PGPASSFILE=f"{folder}/pass", PGAPPNAME="mine")
    conn = pq.PGconn.connect(b"service=mine")
    assert conn.status == pq.ConnStatus.OK, conn.error_message
    assert (conn.user, conn.used_password, conn.password) == (b"scram_user", True, b"s3cret")
    assert conn.exec_(b"show application_name").get_value(0, 0) == b"mine"
    conn.finish()
    os.chmod(f"{folder}/pass", 0o644)
    conn = pq.PGconn.connect(b"service=mine")
    assert conn.needs_password
    conn.finish()
    conn = pq.PGconn.connect(b"service=none")
    assert b'definition of service "none" not found' in conn.error_message.replace(b"'", b'"')
    conn.finish()
    socket = sys.argv[3].encode()
    conn = pq.PGconn.connect(b"host=" + socket + b" user=postgres dbname=postgres port=" + port.encode())
    assert conn.status == pq.ConnStatus.OK, conn.error_message
    assert (conn.host, conn.hostaddr, conn.ssl_in_use) == (socket, b"", False)
    conn.finish()


def main() -> None:
    """All of it; an assertion ends it."""
    dsn = sys.argv[1].encode()
    for name in list(os.environ):
        if name.startswith("PG") and not name.startswith("PGPROTO"):
            del os.environ[name]
    left_behind(dsn)
    in_a_child(dsn)
    several_hosts(dsn)
    by_files(dsn, sys.argv[2])
    json.dump("fine", sys.stdout)


if __name__ == "__main__":
    main()
