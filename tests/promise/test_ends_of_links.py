"""Names that are none, and peers that are gone without a word: an error in time, never a hang."""

from __future__ import annotations

import os
import socket
import stat
import time
from typing import Any

import pytest

from pgproto import Batch, ConnectError
from pgproto.config.options import OPTIONS, Option
from pgproto_pytest import Driver
from tests.support.postgres import PostgresServer

BIG = "x" * 3_000_000


@pytest.mark.holds("D3")
@pytest.mark.parametrize("name", ["db..internal", "x" * 64 + ".y", ".", "..", "a..b." + "c" * 70])
def test_a_name_that_is_none(driver: Driver, pg18: PostgresServer, name: str) -> None:
    where: dict[str, Any] = {"user": "postgres", "port": pg18.port, "sslmode": "disable"}

    async def scenario(pg: Driver) -> None:
        async with pg.connect(host=f"{name},127.0.0.1", **where) as conn:
            assert await conn.fetchval("select 1") == 1
        with pytest.raises(ConnectError) as caught:
            async with pg.connect(host=name, **where):
                pass
        assert isinstance(caught.value.errors[0], ConnectError | OSError)

    driver.run(scenario)


@pytest.mark.holds("D3")
def test_a_name_that_is_none_is_none_for_tls_either(driver: Driver, pg15: PostgresServer) -> None:
    """Where the address is given, the name only matters to the handshake."""
    where: dict[str, Any] = {"user": "postgres", "port": pg15.port, "sslmode": "require"}

    async def scenario(pg: Driver) -> None:
        for name in (".internal", "db..internal", "x" * 64 + ".y"):
            try:
                async with pg.connect(host=f"{name},x", hostaddr="127.0.0.1,127.0.0.1", **where) as conn:
                    assert await conn.fetchval("select 1") == 1
            except ConnectError:
                pass

    driver.run(scenario)


def sockets(port: int) -> list[socket.socket]:
    """This process's sockets that are connected to a port (duplicates of them)."""
    found: dict[int, socket.socket] = {}  # by inode
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
            if not stat.S_ISSOCK(status.st_mode) or status.st_ino in found:
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        try:
            if copy.getpeername()[1] == port:
                found[status.st_ino] = copy
                continue
        except (OSError, IndexError):
            pass
        copy.close()
    return list(found.values())


def options(port: int) -> tuple[int, ...]:
    """What is set on the one connection to a port: keepalives, idle, interval, count, user timeout."""
    (sock,) = sockets(port)
    names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    with sock:
        alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        return (alive, *(sock.getsockopt(socket.IPPROTO_TCP, name) for name in names))


@pytest.mark.holds("T8")
def test_a_peer_that_is_gone_is_found_out_by_the_system(driver: Driver, pg18: PostgresServer) -> None:
    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()):
            assert options(pg18.port) == (1, 30, 10, 3, 30_000)
        async with pg.connect(pg18.dsn(tcp_user_timeout=0, keepalives_idle=0, keepalives_count=7)):
            with socket.socket() as fresh:
                idle = fresh.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            assert options(pg18.port) == (1, idle, 10, 7, 0)
        async with pg.connect(pg18.dsn(keepalives=0, tcp_user_timeout=1234)):
            assert (options(pg18.port)[0], options(pg18.port)[4]) == (0, 1234)

    driver.run(scenario)


@pytest.mark.holds("T8")
def test_a_server_that_does_not_read_for_a_while_is_alive(
    driver: Driver, pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes a closed window for silence: what we set by ourselves must not end that session."""
    monkeypatch.setattr("pgproto.config.options.OPTIONS", dict(_options(tcp_user_timeout="700")))
    monkeypatch.setattr("pgproto.config.parse.OPTIONS", dict(_options(tcp_user_timeout="700")))

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn()) as conn:
            assert options(pg18.port)[4] == 700
            begun = time.monotonic()
            # While the first of these sleeps the server reads nothing, and its window is closed soon.
            batch = Batch(atomic=False)
            batch.queue("select pg_sleep(2)")
            for _ in range(4):
                batch.queue("select length($1::text)", BIG)
            items = await conn.send_batch(batch)
            assert [item.rows[0][0] for item in items[1:]] == [len(BIG)] * 4
            assert time.monotonic() - begun > 1.9
            assert options(pg18.port)[4] == 700

    driver.run(scenario)


def _options(**defaults: str) -> Any:
    for name, option in OPTIONS.items():
        yield name, Option(option.variable, defaults[name]) if name in defaults else option
