"""Features of the blocking adapter only: threads, forks, its own sockets."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pgproto
import pgproto_blocking as pg
from pgproto import Batch, ConnectError, ConnectionClosed, ConnectionLost, LocalProtocolError, Outcome
from pgproto.sqlstates import QueryCanceled
from pgproto_pytest.process import listening_socket
from pgproto_sockets import options, readiness
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.proxy import Proxy, open_sockets

# A bound for what must not hang; nothing here takes a tenth of it.
BOUND = 20.0


@pytest.fixture
def conn(pg18: PostgresServer) -> Iterator[pg.Connection]:
    with pg.connect(pg18.dsn()) as connection:
        yield connection


def in_thread(work: Callable[[], Any]) -> Any:
    """Run some work in another thread; its result, or the exception that it raised."""

    def run() -> Any:
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result(BOUND)


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Socket buffers of 4 KiB, set before the connection is made (later it would stall the kernel)."""
    configure = options.configure_socket

    def configure_small(sock: socket.socket, config: pgproto.Config) -> None:
        configure(sock, config)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    monkeypatch.setattr(options, "configure_socket", configure_small)


# ---- The calls


def test_every_call(conn: pg.Connection) -> None:
    assert conn.execute("create temp table t (a int4, b text)") == "CREATE TABLE"
    assert conn.copy_records("t", ((i, str(i)) for i in range(5000)), columns=["a", "b"]) == 5000
    assert conn.copy_in("copy t from stdin", (b"%d\tx\n" % i for i in range(5000))) == 5000
    assert b"".join(conn.copy_out("copy (select 7, 'z') to stdout")) == b"7\tz\n"
    assert [row["a"] for row in conn.stream("select a from t where b <> 'x' order by a")] == list(range(5000))
    statement = conn.prepare("select a from t where b = $1")
    assert statement.fetchval("17") == 17
    assert statement.fetchrow("none") is None
    assert [row[0] for row in statement.fetch("18")] == [18]
    assert statement.execute("18") == "SELECT 1"
    statement.close()
    assert [result.tag for result in conn.script("select 1; delete from t")] == ["SELECT 1", "DELETE 10000"]
    with conn.transaction():
        conn.execute("insert into t values (1, 'kept')")
        with pytest.raises(ZeroDivisionError), conn.transaction():
            conn.execute("insert into t values (2, 'undone')")
            raise ZeroDivisionError
    assert [row["b"] for row in conn.fetch("select b from t")] == ["kept"]
    notices: list[str] = []
    conn.on_notice = lambda notice: notices.append(notice.message)
    conn.script("do $$ begin raise notice 'hello'; end $$")
    assert notices == ["hello"]
    conn.reset()
    with pytest.raises(pgproto.sqlstates.UndefinedTable):
        conn.fetch("select * from t")


def test_a_callback_cannot_call_and_cannot_break_the_session(
    conn: pg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    conn.on_notice = lambda notice: conn.fetch("select 1")  # type: ignore[assignment]
    conn.script("do $$ begin raise notice 'hello'; end $$")
    assert "in the middle of a call" in caplog.text
    assert conn.fetchval("select 1") == 1


def test_a_source_that_fails_undoes_the_copy(conn: pg.Connection) -> None:
    conn.execute("create temp table t (a int4)")

    def source() -> Iterator[bytes]:
        yield b"1\n" * 50000
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        conn.copy_in("copy t from stdin", source())
    with pytest.raises(pgproto.PostgresError) as caught:
        conn.copy_in("copy t from stdin", (b"x\n" for _ in range(10_000_000)))
    assert caught.value.outcome is Outcome.FAILED
    assert conn.fetchval("select count(*) from t") == 0


@pytest.mark.parametrize("stop", ["close", "collect"])
def test_an_iteration_that_is_left_is_brought_to_its_end(conn: pg.Connection, stop: str) -> None:
    rows = conn.stream("select repeat('x', 1000) from generate_series(1, 1000000)")
    assert len(next(rows)[0]) == 1000
    with pytest.raises(LocalProtocolError, match="busy"):
        conn.fetch("select 1")
    pid = conn.pid
    if stop == "close":
        rows.close()
    del rows
    assert conn.fetchval("select pg_backend_pid()") == pid


def test_timeouts_are_kept_and_leave_the_session_usable(conn: pg.Connection) -> None:
    begun = time.monotonic()
    with pytest.raises(pgproto.QueryTimeout) as caught:
        conn.fetch("select pg_sleep(30)", timeout=0.1)
    assert time.monotonic() - begun < 1.5
    assert caught.value.outcome is Outcome.FAILED
    assert conn.fetchval("select 1") == 1


# ---- Sockets


@pytest.mark.slow
@pytest.mark.usefixtures("small_buffers")
def test_a_batch_of_100000_with_small_buffers(pg18: PostgresServer) -> None:
    with (
        Proxy((pg18.host, pg18.port), buffer_size=4096) as proxy,
        pg.connect(pg18.dsn(port=proxy.port)) as conn,
    ):
        batch = Batch()
        items = [batch.queue("select $1::int4", number) for number in range(100_000)]
        conn.send_batch(batch, timeout=100)
        assert [item.rows[0][0] for item in items] == list(range(100_000))


@pytest.mark.usefixtures("small_buffers")
def test_large_values_both_ways_with_small_buffers(pg18: PostgresServer) -> None:
    value = os.urandom(1 << 20) * 4
    begun = time.process_time()
    with Proxy((pg18.host, pg18.port)) as proxy, pg.connect(pg18.dsn(port=proxy.port)) as conn:
        batch = Batch()
        items = [batch.queue("select $1::bytea", value) for _ in range(2)]
        conn.send_batch(batch, timeout=100)
        assert {item.rows[0][0] for item in items} == {value}
    assert time.process_time() - begun < 10  # not quadratic


def test_tls_and_unix_sockets(pg15: PostgresServer) -> None:
    with pg.connect(
        pg15.dsn(
            host="localhost",
            sslmode="verify-full",
            sslrootcert=str(pg15.tls.ca),
            user="scram_user",
            password=PASSWORD,
        )
    ) as conn:
        assert conn.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()") is True
        batch = Batch()
        items = [batch.queue("select $1::text", "x" * 10_000) for _ in range(1000)]
        conn.send_batch(batch)
        assert {len(item.rows[0][0]) for item in items} == {10_000}
        with pytest.raises(pgproto.QueryTimeout):
            conn.fetch("select pg_sleep(30)", timeout=0.05)
        assert conn.fetchval("select 1") == 1
    with pg.connect(pg15.dsn(host=str(pg15.directory))) as conn:
        assert conn.fetchval("select inet_client_addr()") is None


def test_other_hosts_and_addresses_are_tried(pg18: PostgresServer, tmp_path: Path) -> None:
    with listening_socket() as full:
        full.listen(0)
        silent = full.getsockname()[1]
        refused = listening_socket()
        port = refused.getsockname()[1]
        refused.close()
        dsn = (
            f"postgresql://postgres@/postgres?host={tmp_path},127.0.0.1,127.0.0.1,localhost"
            f"&port=1,{port},{silent},{pg18.port}&sslmode=disable"
        )
        with pg.connect(dsn, timeout=0.5) as conn:
            assert conn.fetchval("select 1") == 1
        with pytest.raises(ConnectError) as caught:
            pg.connect(f"postgresql://postgres@127.0.0.1:{port}/x")
        assert isinstance(caught.value.errors[0], OSError)


def test_a_host_that_cannot_be_looked_up() -> None:
    with pytest.raises(ConnectError, match=r"no-such-host\.invalid"):
        pg.connect("postgresql://u@no-such-host.invalid/x", timeout=5)


def test_a_look_up_has_the_hosts_time(monkeypatch: pytest.MonkeyPatch) -> None:
    hang = threading.Event()

    def getaddrinfo(host: str, port: int, *, type: int, flags: int) -> list[Any]:
        if flags:
            raise socket.gaierror
        hang.wait(BOUND)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with pytest.raises(ConnectError, match="could not be looked up in time"):
            pg.connect("postgresql://u@slow.example/x", timeout=0.05)
    finally:
        hang.set()


def test_a_server_that_hangs_is_left_within_the_deadline_and_grace(pg18: PostgresServer) -> None:
    with Proxy((pg18.host, pg18.port)) as proxy:
        conn = pg.connect(pg18.dsn(port=proxy.port))
        conn.fetchval("select 1")
        proxy.black_hole()
        begun = time.monotonic()
        with pytest.raises(pgproto.QueryTimeout) as caught:
            conn.execute("select 1", timeout=0.1)
        assert time.monotonic() - begun < 1.5
        assert caught.value.outcome is Outcome.UNKNOWN
        assert conn.closed
        conn.close()
        with pytest.raises(ConnectError):
            pg.connect(pg18.dsn(port=proxy.port), timeout=0.1)


def test_an_idle_session_that_ended_is_seen_before_anything_is_sent(pg18: PostgresServer) -> None:
    conn = pg.connect(pg18.dsn())
    pg18.query(f"select pg_terminate_backend({conn.pid}, 10000)")
    assert readiness.wait(conn.link.descriptor, readiness.READABLE, BOUND)
    batch = Batch()
    item = batch.queue("select 1")
    with pytest.raises(ConnectionClosed) as caught:
        conn.send_batch(batch)
    assert caught.value.outcome is item.outcome is Outcome.NOT_SENT
    assert isinstance(caught.value.__cause__, pgproto.PostgresError)
    assert caught.value.__cause__.sqlstate == "57P01"
    assert conn.closed
    conn.close()


def test_the_servers_last_words_survive_a_failed_write(pg18: PostgresServer) -> None:
    """The RST comes while the batch is being written; what was said before is read all the same."""
    with Proxy((pg18.host, pg18.port)) as proxy:
        conn = pg.connect(pg18.dsn(port=proxy.port))
        pid = conn.pid

        def terminate() -> Iterator[bytes]:
            yield b"1\n" * 100_000
            pg18.query(f"select pg_terminate_backend({pid}, 10000)")
            while True:
                yield b"1\n" * 100_000

        conn.execute("create temp table t (a int4)")
        with pytest.raises(ConnectionLost) as caught:
            conn.copy_in("copy t from stdin", terminate())
        assert caught.value.sqlstate == "57P01"
        assert caught.value.outcome is Outcome.NOT_COMMITTED
        conn.close()


def test_nothing_stays_open(pg18: PostgresServer) -> None:
    before = open_sockets()
    conn = pg.connect(pg18.dsn())
    with conn.listen("here"):
        assert open_sockets() > before
    conn.close()
    conn.close()
    conn.abort()
    assert open_sockets() == before
    with pytest.raises(ConnectionClosed):
        conn.fetch("select 1")


def test_a_forgotten_connection_warns_and_is_closed(pg18: PostgresServer) -> None:
    before = open_sockets()
    conn = pg.connect(pg18.dsn())
    with pytest.warns(ResourceWarning, match="unclosed connection"):
        del conn
    assert open_sockets() == before


def test_a_forked_child_leaves_the_session_alone(conn: pg.Connection, pg18: PostgresServer) -> None:
    with pg.Pool(pg18.dsn(), min_size=1, max_size=2) as pool:
        pids = {conn.fetchval("select pg_backend_pid()"), pool.fetchval("select pg_backend_pid()")}
        child = os.fork()
        if child == 0:
            status = 1
            try:
                closed = conn.closed
                conn.close()
                fresh = pool.fetchval("select pg_backend_pid()")
                pool.close(timeout=1)
                status = 0 if closed and fresh not in pids else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert {conn.fetchval("select pg_backend_pid()"), pool.fetchval("select pg_backend_pid()")} == pids


# ---- Threads


def test_threads_share_a_connection(conn: pg.Connection) -> None:
    def work(number: int) -> bool:
        if number % 5 == 0:
            with pytest.raises(pgproto.sqlstates.DivisionByZero):
                conn.fetch("select 1 / $1::int4", 0)
        return bool(conn.fetchval("select $1::int4", number) == number)

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(400)))


def test_another_threads_transaction_is_out_of_bounds(conn: pg.Connection) -> None:
    with conn.transaction():
        conn.execute("select 1")
        for work in (lambda: conn.fetch("select 2"), lambda: conn.transaction().__enter__()):
            error = in_thread(work)
            assert isinstance(error, LocalProtocolError), error
            assert "transaction" in str(error)
        assert conn.fetchval("select 3") == 3
    assert in_thread(lambda: conn.fetchval("select 4")) == 4


def test_waiting_for_another_thread_counts_as_waiting(conn: pg.Connection) -> None:
    asleep = threading.Event()
    conn.on_notice = lambda notice: asleep.set()
    script = "do $$ begin raise notice 'now'; perform pg_sleep(0.5); end $$"
    thread = threading.Thread(target=conn.script, args=(script,))
    thread.start()
    assert asleep.wait(BOUND)
    batch = Batch()
    item = batch.queue("select 1")
    with pytest.raises(pgproto.QueryTimeout) as caught:
        conn.send_batch(batch, timeout=0.05)
    assert caught.value.outcome is item.outcome is Outcome.NOT_SENT
    assert conn.fetchval("select 1") == 1
    thread.join(BOUND)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_another_thread_ends_the_session(conn: pg.Connection, how: str) -> None:
    asleep = threading.Event()
    conn.on_notice = lambda notice: asleep.set()

    def end() -> None:
        assert asleep.wait(BOUND)
        if how == "close":
            conn.close(timeout=0.05)
        else:
            conn.abort()

    thread = threading.Thread(target=end)
    thread.start()
    # It is cancelled before the socket is closed; the server's answer to that can be the first to arrive.
    with pytest.raises((ConnectionLost, QueryCanceled)) as caught:
        conn.script("do $$ begin raise notice 'now'; perform pg_sleep(30); end $$")
    assert caught.value.outcome is Outcome.UNKNOWN  # a DO may have committed by then
    thread.join(BOUND)
    assert conn.closed


def test_listening_does_not_keep_others_away(conn: pg.Connection) -> None:
    with conn.listen("jobs", "Other") as notifications:
        assert notifications.get(timeout=0) is None
        assert notifications.get(timeout=0.01) is None
        with ThreadPoolExecutor(2) as executor:
            waiting = [executor.submit(notifications.get, BOUND) for _ in range(2)]
            assert conn.fetchval("select 1") == 1
            conn.script("notify jobs, '1'; notify \"Other\", '2'; notify nobody")
            found = {(n.channel, n.payload) for n in (future.result(BOUND) for future in waiting) if n}
        assert found == {("jobs", "1"), ("Other", "2")}
        conn.script("notify jobs, '3'")
        assert next(iter(notifications)).payload == "3"
        ended = threading.Timer(0.05, conn.abort)
        ended.start()
        with pytest.raises(ConnectionClosed):
            notifications.get()
        ended.join()
