"""How connections begin and end in virtual time: cuts, refusals, last words, what callers are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from pgproto import (
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
)
from pgproto.client import Connection
from pgproto.testing import (
    Cancelled,
    Faults,
    ModelServer,
    Peer,
    Script,
    ScriptedServer,
    VirtualRuntime,
    fatal,
)
from pgproto.wire import (
    Query,
)
from tests.support.virtual import TABLE, with_connection, world

# ---- The end of a session


@pytest.mark.parametrize("reset", [True, False])
def test_a_connection_that_is_lost_says_what_is_known(reset: bool) -> None:
    """Cut at every byte of the server's answers: while it prepares, while it executes, and after it."""
    outcomes: list[Outcome | None] = []
    length = total_bytes()
    for cut in range(length[0] + 1, length[1] + 2):
        server = ModelServer(TABLE)
        runtime = world(server, [Faults(cut_after=cut, reset=reset)])
        told: list[str] = []

        async def main(runtime: VirtualRuntime = runtime, told: list[str] = told) -> Outcome | None:
            conn = await runtime.connect()
            conn.on_lost = lambda: told.append("lost")
            try:
                await conn.execute("insert")
            except ConnectionLost as error:
                assert conn.closed
                return error.outcome
            finally:
                await conn.close()
            return Outcome.COMMITTED

        outcomes.append(runtime.run(main))
        assert told == ["lost"]
        assert runtime.reports == []
    order = [Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.COMMITTED]
    assert list(dict.fromkeys(outcomes)) == order


def total_bytes() -> tuple[int, int]:
    """How much a server says until it is ready, and until an insert is done."""
    server = ModelServer(TABLE)
    runtime = world(server)
    counts: list[int] = []

    async def main() -> None:
        async with runtime.connect() as conn:
            wire = conn.link._wire  # type: ignore[attr-defined]
            counts.append(wire._said)
            await conn.execute("insert")
            counts.append(wire._said)

    runtime.run(main)
    return counts[0], counts[1]


def test_bytes_that_come_one_by_one() -> None:
    runtime = world(faults=[Faults(piece=1)])

    async def main() -> None:
        async with runtime.connect() as conn:
            assert [row[0] for row in await conn.fetch("select three")] == [1, 2, 3]

    runtime.run(main)


def test_last_words_are_the_error() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield from peer.until(Query)
        peer.raw(fatal("57P01"))
        peer.hang_up()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        with pytest.raises(ConnectionLost, match="57P01") as caught:
            await conn.script("insert")
        assert isinstance(caught.value.__cause__, PostgresError)
        assert caught.value.outcome is Outcome.FAILED
        assert conn.closed

    with ScriptedServer(script) as server:
        with_connection(work, server)


def test_a_session_that_dies_while_nobody_waits() -> None:
    told: list[str] = []

    def script(peer: Peer) -> Script:
        yield from peer.start()
        yield 5.0
        peer.raw(fatal("57P01"))
        peer.reset()

    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        conn.on_lost = lambda: told.append("lost")
        await runtime.sleep(10)
        assert told == ["lost"]
        assert conn.closed
        with pytest.raises(ConnectionClosed) as caught:
            await conn.execute("insert")
        assert caught.value.outcome is Outcome.NOT_SENT

    with ScriptedServer(script) as server:
        with_connection(work, server)
    assert told == ["lost"]


def test_close_cancels_what_runs() -> None:
    async def work(runtime: VirtualRuntime, conn: Connection) -> None:
        task = runtime.spawn(conn.fetch, "select slow")
        await runtime.sleep(1)
        await conn.close()
        await task.ended.wait()
        assert isinstance(task.error, ConnectionClosed | ConnectionLost)
        assert task.error.outcome is Outcome.UNKNOWN

    server = ModelServer(TABLE)
    with_connection(work, server)
    assert len(server.cancels) == 1


def test_a_connection_that_nobody_closes_warns_and_is_aborted() -> None:
    server = ModelServer(TABLE)
    runtime = world(server)

    async def main() -> None:
        conn: Any = await runtime.connect()
        assert not server.sessions[0].ended
        with pytest.warns(ResourceWarning, match="unclosed connection to localhost:5432"):
            del conn
        await runtime.sleep(1)
        assert server.sessions[0].ended

    runtime.run(main)


def test_a_block_that_the_collector_ends() -> None:
    server = ModelServer(TABLE)
    runtime = world(server)

    async def user() -> AsyncGenerator[int]:
        async with runtime.connect() as conn:
            yield await conn.fetchval("select 1")

    async def main() -> None:
        generator = user()
        assert await anext(generator) == 1
        await generator.aclose()
        await runtime.sleep(1)
        assert server.sessions[0].ended == "fin"

    runtime.run(main)


# ---- Connecting


def test_connecting_fails_for_a_reason() -> None:
    runtime = world(faults=[Faults(refused=True), Faults(deaf=True)])

    async def main() -> None:
        with pytest.raises(ConnectError, match="Connection refused"):
            await runtime.connect()
        begin = runtime.now()
        with pytest.raises(ConnectError, match="no answer"):
            await runtime.connect(timeout=3)
        assert runtime.now() - begin == pytest.approx(3)
        async with runtime.connect() as conn:
            assert await conn.fetchval("select 1") == 1

    runtime.run(main)


def test_the_next_host_is_tried() -> None:
    runtime = VirtualRuntime({"b": ModelServer(TABLE)})

    async def main() -> None:
        async with runtime.connect("host=a,b") as conn:
            assert repr(conn).startswith("<Connection to b:5432")
        with pytest.raises(ConnectError, match="no host is called 'c'"):
            await runtime.connect("host=c")

    runtime.run(main)


def test_a_server_that_refuses_the_user() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.receive_startup()
        peer.raw(fatal("28000", "no"))
        peer.hang_up()

    with ScriptedServer(script) as server:
        runtime = world(server)

        async def main() -> None:
            with pytest.raises(ConnectError, match="no"):
                await runtime.connect()

        runtime.run(main)


def test_an_attempt_that_is_cancelled_closes_what_it_has_opened() -> None:
    def script(peer: Peer) -> Script:
        yield from peer.receive_startup()
        yield 100.0

    server = ScriptedServer(script)
    runtime = world(server)

    async def main() -> None:
        async def connect() -> None:
            await runtime.connect()

        task = runtime.spawn(connect)
        await runtime.sleep(1)
        await task.stop()
        await runtime.sleep(1)
        assert isinstance(task.error, Cancelled)
        assert server.peers[0].connection.closed is not None

    runtime.run(main)


def test_what_connect_returns_is_entered_once_at_a_time() -> None:
    runtime = world()

    async def main() -> None:
        connecting = runtime.connect()
        async with connecting:
            with pytest.raises(LocalProtocolError, match="entered already"):
                async with connecting:
                    pytest.fail("it is entered twice")
        async with connecting as conn:
            assert await conn.fetchval("select 1") == 1
        runtime.faults.append(Faults(refused=True))
        with pytest.raises(ConnectError):
            async with connecting:
                pytest.fail("it was refused")
        await connecting.__aexit__(None, None, None)  # nothing is left to be closed

    runtime.run(main)
