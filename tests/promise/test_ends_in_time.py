"""Leaving in the middle takes as long as the session needs to come to rest, and never long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from pgproto import Error, QueryTimeout
from pgproto_pytest import Driver
from pgproto_pytest.process import listening_socket
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

BOUND = 2.0  # GRACE for the ROLLBACK, GRACE for its answer, and a slow machine


class Interrupt(BaseException):
    """As Ctrl-C, out of the caller's own code."""


async def left_within(pg: Driver, seconds: float, work: Callable[[], Awaitable[Any]], begun: Any) -> float:
    """Run some work, and cancel it when it has begun; how long it took to leave."""
    if pg.name == "asyncio":
        task = asyncio.ensure_future(work())
        await begun.wait()
        at = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await begun.wait()
            at = time.monotonic()
            nursery.cancel_scope.cancel()
    return time.monotonic() - at


@pytest.mark.holds("T3")
@pytest.mark.parametrize("where", ["call", "own code", "listen", "stream", "nested", "pool"])
@pytest.mark.parametrize("name", ["asyncio", "trio"])
def test_a_cancelled_task_leaves_a_dead_link_soon(pg18: PostgresServer, name: str, where: str) -> None:
    from tests.support.drivers import DRIVERS

    (driver,) = [each for each in DRIVERS if each.name == name]

    async def scenario(pg: Driver) -> None:
        begun: Any = asyncio.Event() if name == "asyncio" else trio.Event()
        with Proxy((pg18.host, pg18.port)) as proxy:
            dsn = pg18.dsn(port=proxy.port)

            async def sleep() -> None:
                proxy.black_hole()
                begun.set()
                await (asyncio.sleep if name == "asyncio" else trio.sleep)(60)

            async def work(conn: Any) -> None:
                if where == "listen":
                    async with conn.listen("here"):
                        await sleep()
                elif where == "stream":
                    async with conn.stream("select generate_series(1, 10000000)") as rows:
                        await anext(rows)
                        await sleep()
                else:
                    async with conn.transaction():
                        await conn.execute("select 1")
                        if where == "call":
                            proxy.black_hole()
                            begun.set()
                            await conn.execute("select 1")
                        elif where == "nested":
                            async with conn.transaction():
                                await conn.execute("select 1")
                                await sleep()
                        await sleep()

            if where == "pool":
                async with pg.Pool(dsn) as pool:

                    async def borrowed() -> None:
                        async with pool.transaction() as conn:
                            await conn.execute("select 1")
                            await sleep()

                    assert await left_within(pg, BOUND, borrowed, begun) < BOUND
                    before = time.monotonic()
                    await pool.close(timeout=0.5)
                    assert time.monotonic() - before < 3
            else:
                async with pg.connect(dsn) as conn:
                    assert await left_within(pg, BOUND, lambda: work(conn), begun) < BOUND

    driver.run(scenario, deadline=20)


@contextlib.contextmanager
def lingering(server: PostgresServer) -> Iterator[int]:
    """A port: the first connection is relayed; of later ones the first words are, and they stay open."""
    kept: list[socket.socket] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                there = socket.create_connection((server.host, server.port))
                kept.extend([client, there])
                if len(kept) == 2:
                    for each in ((client, there), (there, client)):
                        threading.Thread(target=pump, args=each, daemon=True).start()
                else:
                    there.sendall(client.recv(65536))

    with listening_socket() as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in kept:
            each.close()


@pytest.mark.holds("T3")
def test_a_close_leaves_no_cancel_request_under_way(driver: Driver, pg18: PostgresServer) -> None:
    """The query has ended, and who was to tell the server so has not hung up yet."""

    async def scenario(pg: Driver) -> None:
        with lingering(pg18) as port:
            before = 0.0
            async with pg.connect(pg18.dsn(port=port)) as conn:
                await conn.fetch("select 1")
                with pytest.raises(QueryTimeout):
                    await conn.fetch("select pg_sleep(20)", timeout=0.1)
                before = time.monotonic()
            assert time.monotonic() - before < BOUND

    driver.run(scenario)  # which looks whether a task is left


@pytest.mark.holds("T3")
@pytest.mark.parametrize("where", ["transaction", "listen"])
def test_an_interrupt_of_the_callers_code_leaves_a_dead_link_soon(
    driver: Driver, pg18: PostgresServer, where: str
) -> None:
    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                before = 0.0
                with pytest.raises(Interrupt):
                    async with conn.transaction() if where == "transaction" else conn.listen("here"):
                        await conn.execute("select 1")
                        proxy.black_hole()
                        before = time.monotonic()
                        raise Interrupt
                assert time.monotonic() - before < BOUND + 0.5
                assert conn.closed

    driver.run(scenario, deadline=20)


@pytest.mark.holds("T3")
@pytest.mark.parametrize("text", ["select 1", "select 2"], ids=["known", "new"])
@pytest.mark.parametrize("where", ["call", "transaction"])
def test_a_query_that_is_not_answered_costs_the_session(
    driver: Driver, pg18: PostgresServer, where: str, text: str
) -> None:
    """Also if it is only its Parse that is not answered; nobody has to ask once more to find that out."""

    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            async with pg.connect(pg18.dsn(port=proxy.port)) as conn:
                await conn.execute("select 1")
                before = time.monotonic()
                with pytest.raises(QueryTimeout):
                    if where == "call":
                        proxy.black_hole()
                        await conn.execute(text, timeout=0.2)
                    else:
                        async with conn.transaction():
                            await conn.execute("select 1")
                            proxy.black_hole()
                            await conn.execute(text, timeout=0.2)
                assert time.monotonic() - before < BOUND
                assert conn.closed

    driver.run(scenario, deadline=20)


@pytest.mark.holds("D6")
@pytest.mark.parametrize("what", ["copy_out", "stream"])
def test_a_break_in_much_data_keeps_the_session(driver: Driver, pg18: PostgresServer, what: str) -> None:
    """What the network has taken in already takes a slow reader longer than GRACE."""

    async def scenario(pg: Driver) -> None:
        query = "select n, n, n from generate_series(1, 5000000) n"
        async with pg.connect(pg18.dsn()) as conn:
            pid = conn.pid
            for _ in range(3):
                pieces = (
                    conn.copy_out(f"copy ({query}) to stdout") if what == "copy_out" else conn.stream(query)
                )
                async for _piece in pieces:
                    break
                if hasattr(pieces, "aclose"):
                    await pieces.aclose()
                assert await conn.fetchval("select 1") == 1
            assert conn.pid == pid

    driver.run(scenario, deadline=60)


@pytest.mark.holds("D6")
def test_a_server_that_never_stops_talking_is_left(driver: Driver, pg18: PostgresServer) -> None:
    """A cancel request that does not arrive: data keep coming, and the grace has an end all the same."""

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            await conn.execute("select 1")
            conn.engine.connection.backend_key = None
            pieces = conn.stream("select n, pg_sleep(0.001) from generate_series(1, 1000000) n")
            async for _piece in pieces:
                break
            before = time.monotonic()
            await pieces.aclose()
            with pytest.raises(Error):
                await conn.fetchval("select 1", timeout=5)
            assert time.monotonic() - before < 5

    driver.run(scenario, deadline=20)
