"""Faults under trio: timeouts, lost servers, silence, and leaked resources."""

from __future__ import annotations

import gc
import os
import socket
from typing import Any

import pytest
import trio
import trio.testing

import pgproto_trio as pg
from pgproto import ConnectError, ConnectionClosed, ConnectionLost, Outcome, PostgresError, QueryTimeout
from pgproto.session import GRACE
from pgproto_trio import Connection
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy
from tests.support.under_trio import on_connection, run


def test_a_query_that_takes_too_long_is_cancelled(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        with pytest.raises(QueryTimeout) as caught:
            await conn.fetchval("select pg_sleep(60)", timeout=0.05)
        assert caught.value.outcome is Outcome.FAILED
        assert not conn.closed
        assert await conn.fetchval("select 1") == 1

    on_connection(pg18, scenario)


def test_the_servers_last_words_are_heard_before_anything_is_sent(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        pg18.query(f"select pg_terminate_backend({conn.pid}, 5000)")
        with pytest.raises(ConnectionClosed) as caught:
            await conn.execute("select 1")
        assert isinstance(caught.value.__cause__, PostgresError)
        assert caught.value.__cause__.sqlstate == "57P01"

    on_connection(pg18, scenario)


def test_closing_ends_the_calls_of_other_tasks(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        errors: list[Exception] = []

        async def one(sql: str) -> None:
            try:
                await conn.script(sql)
            except ConnectionLost as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, "select pg_sleep(60)")
            nursery.start_soon(one, "select pg_sleep(61)")
            await trio.testing.wait_all_tasks_blocked()
            conn.abort()
        assert [error.outcome for error in errors if isinstance(error, ConnectionLost)] == [
            Outcome.UNKNOWN,
            Outcome.UNKNOWN,
        ]

    on_connection(pg18, scenario)


def test_a_silent_host_costs_its_budget_on_trios_clock() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async def main() -> None:
            before = trio.current_time()
            with pytest.raises(ConnectError, match="in time"):
                await pg.connect(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable", timeout=50)
            assert 50 <= trio.current_time() - before < 51

        run(main, seconds=100, clock=trio.testing.MockClock(autojump_threshold=0.05))


def test_what_does_not_answer_within_grace_is_closed(pg18: PostgresServer) -> None:
    with Proxy(("127.0.0.1", pg18.port)) as proxy:

        async def main() -> None:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                await conn.fetchval("select 1")
                proxy.black_hole()
                before = trio.current_time()
                with trio.move_on_after(0.05) as scope:
                    await conn.fetchval("select 1")
                assert scope.cancelled_caught
                assert conn.closed
                assert trio.current_time() - before < 2

        run(main)


def test_no_address_answers() -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match="refused"):
            await pg.connect("postgresql://u@localhost:1/d?sslmode=disable")
        with pytest.raises(ConnectError):
            await pg.connect("host=/nonexistent user=u dbname=d")
        with pytest.raises(ConnectError):
            await pg.connect("postgresql://u@name.invalid:1/d", timeout=5)

    run(main)


def test_an_unclosed_connection_warns_and_leaks_no_descriptor(pg18: PostgresServer) -> None:
    async def main() -> None:
        conn = await pg.connect(pg18.dsn())
        assert await conn.fetchval("select 1") == 1

    def leave_it() -> None:
        run(main)
        gc.collect()

    before = len(os.listdir("/proc/self/fd"))
    with pytest.warns(ResourceWarning, match="unclosed"):
        leave_it()
    assert len(os.listdir("/proc/self/fd")) == before


def test_notices_go_to_the_callback_whatever_it_does(
    pg18: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(conn: Connection) -> None:
        heard: list[str] = []

        def callback(notice: PostgresError) -> None:
            heard.append(notice.message)
            raise RuntimeError("a bad callback")

        conn.on_notice = callback
        await conn.execute("do $$ begin raise notice 'hear me'; end $$")
        assert heard == ["hear me"]
        assert await conn.fetchval("select 1") == 1
        assert "a bad callback" in caplog.text

    on_connection(pg18, scenario)


def test_a_cancel_request_that_gets_nowhere(pg18: PostgresServer) -> None:
    with Proxy(("127.0.0.1", pg18.port)) as proxy:

        async def main() -> None:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                await conn.fetchval("select 1")
                proxy.refuse()
                before = trio.current_time()
                with pytest.raises(QueryTimeout) as caught:
                    await conn.script("select pg_sleep(60)", timeout=0.05)
                assert caught.value.outcome is Outcome.UNKNOWN
                assert conn.closed
                assert trio.current_time() - before < 2 * GRACE

        run(main)


def test_a_reset_before_a_query_is_seen_before_it_is_sent(pg18: PostgresServer) -> None:
    with Proxy(("127.0.0.1", pg18.port)) as proxy:

        async def main() -> None:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                proxy.reset("client")
                with pytest.raises(ConnectionClosed) as caught:
                    await conn.execute("select 1")
                assert isinstance(caught.value.__cause__, ConnectionLost)

        run(main)


def test_after_a_failed_write_last_words_are_awaited(pg18: PostgresServer) -> None:
    with Proxy(("127.0.0.1", pg18.port)) as proxy:

        async def scenario(conn: Connection) -> None:
            await conn.fetchval("select $1::int4", 1)
            proxy.black_hole()
            with socket.socket(fileno=os.dup(conn.link.descriptor)) as same:
                same.shutdown(socket.SHUT_WR)
            before = trio.current_time()
            with pytest.raises(ConnectionLost) as caught:
                await conn.fetchval("select $1::int4", 1)
            assert caught.value.outcome is Outcome.NOT_SENT
            assert GRACE <= trio.current_time() - before < 2 * GRACE
            assert conn.closed

        on_connection(pg18, scenario, port=proxy.port)


def test_a_name_with_an_address_that_is_silent(pg18: PostgresServer) -> None:
    class Resolver(trio.abc.HostnameResolver):
        """Knows a name with three addresses: silent, refusing, and right."""

        async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
            ports = [full.getsockname()[1], 1, port]
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", each)) for each in ports]

        async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
            raise NotImplementedError

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        dsn = pg18.dsn(host="three.example")
        async with pg.connect(dsn, timeout=1.5) as conn:
            assert await conn.fetchval("select 1") == 1
        with pytest.raises(ConnectError, match=r"127.0.0.1: no answer in time; 127.0.0.1: .*refused"):
            await pg.connect(pg18.dsn(host="three.example", port=1), timeout=0.3)

    # A queue for one connection that is full: further ones are never answered.
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (one, two):
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        run(main)


def test_a_transaction_cancelled_in_its_last_moment_is_rolled_back(pg18: PostgresServer) -> None:
    async def scenario(conn: Connection) -> None:
        for failing in (False, True):
            with trio.CancelScope() as scope:
                async with conn.transaction():
                    await conn.execute("create temp table t (a int4)")
                    scope.cancel()
                    if failing:
                        raise RuntimeError
            assert scope.cancelled_caught
            assert conn.transaction_status == "I"
            assert await conn.fetchval("select to_regclass('t')::text") is None

    on_connection(pg18, scenario)


def test_a_stream_that_outlives_its_run(pg18: PostgresServer) -> None:
    kept: list[object] = []

    async def scenario(conn: Connection) -> None:
        rows = conn.stream("select generate_series(1, 100000)")
        await anext(rows)
        kept.append(rows)

    on_connection(pg18, scenario)
    kept.clear()
    gc.collect()
    # What __del__ raised would be a failure here (unraisable exceptions are errors).
