"""What pgbouncer 1.18 makes of the protocol.  How it goes away and comes back: tests/chaos."""

from __future__ import annotations

from typing import Any

import pytest

from pgproto import ConnectError, ConnectionLost, PostgresError, QueryTimeout
from pgproto.wire import PROTOCOL_3_0
from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS
from tests.support.pgbouncer import PgBouncerFactory
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_pgbouncer_refuses_the_protocol_and_is_asked_again(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver
) -> None:
    """pgbouncer 1.18 answers 3.2 with FATAL 08P01 "bad packet header"; the next attempt asks for 3.0."""
    bouncer = pgbouncer_factory(pg15, "session")

    async def scenario(pg: Driver) -> None:
        dsn = bouncer.dsn(port=proxy.port)
        async with pg.connect(dsn) as conn:
            assert await conn.fetchval("select 42") == 42
            assert conn.engine.connection.protocol == PROTOCOL_3_0
            # The way back works too: a cancel request with a key of four bytes.
            with pytest.raises(QueryTimeout) as caught:
                await conn.fetch("select pg_sleep(60)", timeout=0.1)
            assert isinstance(caught.value.__cause__, PostgresError)
            assert caught.value.__cause__.sqlstate == "57014"
        before = proxy.connections
        assert before >= 3  # refused, accepted, and each cancel request: a slow server gets more than one
        async with pg.connect(dsn, max_protocol_version="3.0") as conn:
            assert await conn.fetchval("select 42") == 42
        assert proxy.connections == before + 1
        with pytest.raises(ConnectError, match="bad packet header") as refused:
            async with pg.connect(dsn, min_protocol_version="3.2"):
                pass
        assert refused.value.sqlstate == "08P01"
        assert proxy.connections == before + 2

    with Proxy((bouncer.host, bouncer.port)) as proxy:
        driver.run(scenario)


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_a_transaction_in_statement_mode_is_tried_once(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver
) -> None:
    """It is refused each time: by words alone, the code is that of much that passes."""
    bouncer = pgbouncer_factory(pg15, "statement")
    runs: list[int] = []

    async def scenario(pg: Driver) -> None:
        async with pg.Pool(bouncer.dsn(), max_size=1, statement_mode="cache_describe") as pool:

            async def work(conn: Any) -> None:
                runs.append(1)
                await conn.fetchval("select 1")

            with pytest.raises(ConnectionLost, match="statement pooling mode"):
                await pool.retry(work)
            assert await pool.fetchval("select 2") == 2

    driver.run(scenario)
    assert runs == [1]


@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_a_hook_with_a_transaction_in_statement_mode_is_told_at_once(
    pg15: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver
) -> None:
    bouncer = pgbouncer_factory(pg15, "statement")
    asked: list[Any] = []

    async def scenario(pg: Driver) -> None:
        async def on_connect(conn: Any) -> None:
            asked.append(conn)
            async with conn.transaction():
                await conn.execute("select 1")

        options = {"statement_mode": "cache_describe", "on_connect": on_connect}
        with pytest.raises(ConnectError, match="statement pooling mode"):
            async with pg.Pool(bouncer.dsn(), min_size=0, max_size=1, **options) as pool:
                await pool.fetchval("select 1")
        assert len(asked) == 1

    driver.run(scenario)
