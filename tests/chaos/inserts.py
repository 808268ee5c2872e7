"""`python -m tests.chaos.inserts`: 300,000 small inserts of concurrent callers through pgbouncer.

Nothing fails here.  Several callers share each connection, there are fewer servers than connections, and
values contain messages.  Every row must be there once, as it was given; no call may fail, or wait for its
deadline.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any

from pgproto import Batch
from pgproto_pytest import Driver
from pgproto_pytest.process import wait_until
from tests.support.drivers import DRIVERS
from tests.support.pgbouncer import PgBouncer, Version
from tests.support.postgres import PostgresServer

__all__ = ["Inserts"]

CONNECTIONS = 8
CALLERS = 8
SERVERS = 4
DEADLINE = 30
# Every so many calls one is a batch that isolates errors, of so many items.
BATCH_EVERY, ITEMS = 10, 5
NOTES = (b"", b"S\0\0\0\4", b"X\0\0\0\4", b"Q\0\0\0\x0dselect 1\0", b"Z\0\0\0\5I" * 20)


class Inserts:
    """So many inserts.

    Args:
        driver: the adapter; where connections cannot be shared each caller has its own.
        server: the server.
        version: pgbouncer's.
        wanted: how many rows.

    Attributes:
        slowest: seconds that the slowest call took.
        seconds: that all of it took.
    """

    def __init__(self, driver: Driver, server: PostgresServer, version: Version, wanted: int) -> None:
        self.slowest = 0.0
        self.seconds = 0.0
        self._driver = driver
        self._server = server
        self._version: Version = version
        self._wanted = wanted
        self._numbers = itertools.count()
        self._table = f"inserts_{driver.name}_{version.replace('.', '_')}"

    async def _caller(self, conn: Any) -> None:
        sql = f"insert into {self._table} values ($1, $2)"
        for turn in itertools.count(1):
            numbers = [next(self._numbers) for _ in range(ITEMS if turn % BATCH_EVERY == 0 else 1)]
            numbers = [number for number in numbers if number < self._wanted]
            if not numbers:
                return
            started = time.monotonic()
            if len(numbers) == 1:
                (number,) = numbers
                assert await conn.execute(sql, number, NOTES[number % len(NOTES)]) == "INSERT 0 1"
            else:
                batch = Batch(atomic=False)
                items = [batch.queue(sql, number, NOTES[number % len(NOTES)]) for number in numbers]
                await conn.send_batch(batch)
                assert [item.tag for item in items] == ["INSERT 0 1"] * len(items)
            self.slowest = max(self.slowest, time.monotonic() - started)

    def run(self) -> None:
        """Insert, and look at the table."""
        server = self._server
        server.query(f"create table {self._table} (id bigint, note bytea)")
        # A small buffer, so that what follows is cut off in the middle, as larger rows are by a larger one.
        settings = {"default_pool_size": str(SERVERS), "pkt_buf": "512"}
        with PgBouncer(server, "transaction", version=self._version, settings=settings) as bouncer:
            dsn = bouncer.dsn(user="postgres", statement_mode="cache_describe", command_timeout=DEADLINE)

            async def scenario(pg: Driver) -> None:
                callers = CALLERS if pg.asynchronous else 1
                conns: list[Any] = []
                contexts = [pg.connect(dsn) for _ in range(CONNECTIONS * (1 if callers > 1 else 2))]
                try:
                    for context in contexts:
                        conn = await context.__aenter__()
                        conns.append(conn)
                    works = [functools.partial(self._caller, conn) for conn in conns for _ in range(callers)]
                    ends = await pg.together(*works)
                finally:
                    for context, _ in zip(contexts, conns, strict=False):
                        await context.__aexit__(None, None, None)
                problems = [end for end in ends if end is not None]
                assert not problems, problems[:3]

            started = time.monotonic()
            self._driver.run(scenario, deadline=3600)
            self.seconds = time.monotonic() - started
            assert "08P01" not in bouncer.log_text()
        busy = "select count(*) from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid()"
        wait_until(lambda: server.query(busy) == [["0"]], 20, "the end of the clients' sessions")
        rows = server.query(f"select count(*), count(distinct id), min(id), max(id) from {self._table}")
        assert rows == [[str(self._wanted), str(self._wanted), "0", str(self._wanted - 1)]], rows
        notes = [
            row[0]
            for row in server.query(f"select distinct id % {len(NOTES)} || ' ' || note from {self._table}")
        ]
        assert len(notes) == len(NOTES), notes
        assert self.slowest < DEADLINE, f"a call took {self.slowest:.1f} s"
        server.query(f"drop table {self._table}")

    def line(self) -> str:
        """What was seen."""
        return (
            f"{self._driver} pgbouncer {self._version}: {self._wanted} rows, none wrong, missing or twice;"
            f" {self.seconds:.0f} s, the slowest call {self.slowest:.2f} s"
        )


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.inserts", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000, help="how many, in all")
    parser.add_argument("--adapter", choices=[each.name for each in DRIVERS], help="one adapter only")
    parser.add_argument("--pooler", choices=["1.18", "1.24"], default="1.18", help="pgbouncer's version")
    asked = parser.parse_args(argv)
    drivers = [each for each in DRIVERS if asked.adapter in (None, each.name)]
    failed = 0
    with PostgresServer("18", tls=False, settings={"fsync": "off"}) as server:
        for driver in drivers:
            inserts = Inserts(driver, server, asked.pooler, asked.rows // len(drivers))
            try:
                inserts.run()
                print(inserts.line(), flush=True)
            except AssertionError as error:
                failed = 1
                print(f"FAILED: {driver}: {error}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
