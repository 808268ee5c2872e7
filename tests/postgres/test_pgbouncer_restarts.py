"""PostgreSQL goes away behind pgbouncer, and without it, while batches run through a pool.

The story that this library exists for, on real software.  What is shown each time: every batch ends within
its deadline with a declared error, what was acknowledged is in the table once, what was called undone is
not, the server's and the pooler's last words are both kept, and the pool heals within a second of the
server's return.  24 restarts behind pgbouncer, and the same without it, with crashes.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable

import pytest

from pgproto import ConnectError, PostgresError, QueryTimeout, ServerCrash
from pgproto.wire import PROTOCOL_3_0
from tests.support.drivers import DRIVERS, Driver
from tests.support.ledger import CREATE, Ledger, Workload
from tests.support.pgbouncer import PgBouncerFactory, PoolMode
from tests.support.postgres import PostgresServer, StopMode
from tests.support.process import DaemonError, wait_until
from tests.support.proxy import Proxy

DEADLINE = 5.0
HEALED = 1.0
"""Seconds from the server's return to the first committed batch."""

RESTARTS: tuple[StopMode, ...] = ("fast", "immediate", "fast", "immediate")


def make_ledger(server: PostgresServer, table: str) -> Ledger:
    server.query(CREATE.format(table))
    return Ledger(table, DEADLINE)


def settle(server: PostgresServer, ledger: Ledger, healing: list[float]) -> None:
    """Compare the ledger with the table, and say what was seen."""
    print(f"{dict(ledger.tally())}, last words {dict(ledger.words())},")
    print(f"longest batch {ledger.longest:.2f} s, healed within {max(healing):.2f} s")
    ledger.check(int(row[0]) for row in server.query(f"select id from {ledger.table}"))
    # One of them may meet a machine that is busy with something else.
    assert sorted(healing)[-2] < HEALED, healing
    assert max(healing) < 3 * HEALED, healing
    assert ledger.tally()["COMMITTED"] > 100


def outage(ledger: Ledger, begin: Callable[[], None], end: Callable[[], None]) -> float:
    """An outage under load; the seconds from its end to the first committed batch."""
    ledger.wait_for_load(DEADLINE + 5)
    begin()
    gone = time.monotonic()
    end()
    back = time.monotonic()
    return max(0.0, ledger.first_success_after(gone, DEADLINE + 5) - back)


def answers(server: PostgresServer) -> bool:
    try:
        return server.query("select 1") == [["1"]]
    except DaemonError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
@pytest.mark.parametrize("pool_mode", ["session", "transaction"])
def test_restarts_behind_pgbouncer(
    pg15_restartable: PostgresServer, pgbouncer_factory: PgBouncerFactory, pool_mode: PoolMode, driver: Driver
) -> None:
    server = pg15_restartable
    bouncer = pgbouncer_factory(server, pool_mode)
    # This pgbouncer knows no prepared statements, so in transaction mode none may have a name.
    named = int(pool_mode == "session")
    ledger = make_ledger(server, f"bouncer_{pool_mode}_{driver}")
    with Workload(driver, bouncer.dsn(named_statements=named), ledger):
        healing = [outage(ledger, functools.partial(server.stop, mode), server.start) for mode in RESTARTS]
    settle(server, ledger, healing)
    # PostgreSQL says 57P01 (fast: a FATAL; immediate: a WARNING), then pgbouncer adds its own 08P01.
    assert ledger.words()["57P01", "08P01"], ledger.words()


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_pgbouncer_itself_is_killed(
    pg15_restartable: PostgresServer, pgbouncer_factory: PgBouncerFactory, driver: Driver
) -> None:
    bouncer = pgbouncer_factory(pg15_restartable, "session")
    ledger = make_ledger(pg15_restartable, f"bouncer_killed_{driver}")
    with Workload(driver, bouncer.dsn(), ledger):
        healing = [outage(ledger, begin, bouncer.start) for begin in (bouncer.kill, bouncer.stop)]
    settle(pg15_restartable, ledger, healing)


@pytest.mark.slow
@pytest.mark.parametrize("driver", DRIVERS, ids=repr)
def test_restarts_and_crashes_of_the_server(pg_restartable: PostgresServer, driver: Driver) -> None:
    server = pg_restartable
    ledger = make_ledger(server, f"restarts_{driver}")

    def kill_backend() -> None:
        pids = server.query(
            "select pid from pg_stat_activity where backend_type = 'client backend' and state = 'active'"
            " and pid <> pg_backend_pid() limit 1"
        )
        if not pids:  # a moment in which none was active
            pids = server.query(
                "select pid from pg_stat_activity where backend_type = 'client backend'"
                " and pid <> pg_backend_pid() limit 1"
            )
        os.kill(int(pids[0][0]), signal.SIGKILL)
        wait_until(lambda: not answers(server), 10, "the server notices")

    def recovered() -> None:
        wait_until(lambda: answers(server), 20, "recovery from the crash")

    with Workload(driver, server.dsn(), ledger):
        healing = [
            outage(ledger, functools.partial(server.stop, "fast"), server.start),
            outage(ledger, functools.partial(server.stop, "immediate"), server.start),
            outage(ledger, server.kill, server.start),
            outage(ledger, kill_backend, recovered),
        ]
        # The others' "terminating connection because of crash of another server process" is sent where it
        # can be: sooner or later somebody hears it.
        while not ledger.words()["57P02",] and len(healing) < 10:
            healing.append(outage(ledger, kill_backend, recovered))
    settle(server, ledger, healing)
    words = ledger.words()
    assert words["57P01",], words  # fast: FATAL, immediate: WARNING
    assert words["57P02",], words
    assert any(isinstance(error, ServerCrash) for error in ledger.errors)


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
        assert proxy.connections == 3  # refused, accepted, cancel
        async with pg.connect(dsn, max_protocol_version="3.0") as conn:
            assert await conn.fetchval("select 42") == 42
        assert proxy.connections == 4
        with pytest.raises(ConnectError, match="bad packet header") as refused:
            async with pg.connect(dsn, min_protocol_version="3.2"):
                pass
        assert refused.value.sqlstate == "08P01"
        assert proxy.connections == 5

    with Proxy((bouncer.host, bouncer.port)) as proxy:
        driver.run(scenario)
