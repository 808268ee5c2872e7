"""What the adapters did differently before they had one client, as far as no other file is about it."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

import pgproto
from pgproto_pytest import Driver
from tests.promise.everywhere import everywhere
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

_NAME = "moves.example"


@everywhere
@pytest.mark.holds("A4")
def test_a_cancel_request_goes_to_the_address_of_its_session(
    driver: Driver, pg18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name may mean another server when it is looked up again."""
    lookups: list[str] = []
    look_up = socket.getaddrinfo

    def moving(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == _NAME:
            lookups.append(name)
            host = "127.0.0.1" if len(lookups) == 1 else "127.0.0.2"  # where nobody listens
        return look_up(host, *args, **options)

    async def scenario(pg: Driver) -> None:
        async with pg.connect(pg18.dsn(), host=_NAME, sslmode="disable") as conn:
            process = await conn.fetchval("select pg_backend_pid()")
            began = time.monotonic()
            with pytest.raises(pgproto.QueryTimeout):
                await conn.execute("select pg_sleep(30)", timeout=0.1)
            assert await conn.fetchval("select pg_backend_pid()", timeout=5) == process
            assert time.monotonic() - began < 5

    monkeypatch.setattr(socket, "getaddrinfo", moving)
    driver.run(scenario)
    assert lookups == [_NAME]


@everywhere
@pytest.mark.holds("A5")
@pytest.mark.parametrize("what", ["connection", "pool"])
@pytest.mark.parametrize("timeout", [0.0, 0.4])
def test_a_close_takes_its_time_and_a_grace_for_the_rest(
    driver: Driver, pg18: PostgresServer, what: str, timeout: float
) -> None:
    """While a statement runs, and the network has become silent."""

    async def scenario(pg: Driver) -> None:
        with Proxy((pg18.host, pg18.port)) as proxy:
            dsn = pg18.dsn(port=proxy.port)
            async with pg.Pool(dsn) as pool, pool.acquire() as conn:
                await conn.fetchval("select 1")
                proxy.black_hole()
                began = time.monotonic()
                await (conn if what == "connection" else pool).close(timeout=timeout)
                took = time.monotonic() - began
                assert took < timeout + pgproto.session.GRACE + 0.5
                if what == "pool":  # the borrower has so long to give it back
                    assert took > timeout - 0.02
                with pytest.raises((pgproto.ConnectionLost, pgproto.ConnectionClosed)):
                    await conn.fetchval("select 1")

    driver.run(scenario)
