"""Big jobs in a process of their own, so that the memory that they need can be weighed.

    python -m tests.support.weigh DRIVER JOB DSN

prints one JSON object: how far the peak of the resident memory rose above where it was before the job
(`growth`), how much of that the caller asked for and holds (`payload`), and the time.  The sockets' buffers
are as small as the kernel allows: 4 KiB are asked for, both ways.
"""

from __future__ import annotations

import gc
import json
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from pgproto import Batch, Outcome
from pgproto_pytest import Driver
from tests.support.drivers import DRIVERS

MB = 1 << 20
BUFFER = 4096

STATEMENTS = 100_000
VALUES = 500
VALUE = 50 * MB // VALUES
ROWS = 300_000


def status(field: str) -> int:
    """A figure of /proc/self/status in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


class Scales:
    """What a job gets: `start` when all is ready, and how much of the growth it keeps itself."""

    def __init__(self) -> None:
        self.before = 0
        self.started = 0.0

    def start(self) -> None:
        """From here on memory counts."""
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        self.before = status("VmRSS")
        self.started = time.perf_counter()

    def report(self, payload: int) -> dict[str, float]:
        """What the job took."""
        growth = status("VmHWM") - self.before
        return {"growth": growth, "payload": payload, "seconds": time.perf_counter() - self.started}


async def statements(conn: Any, scales: Scales) -> int:
    """100,000 statements, each with a value and a row."""
    batch = Batch()
    for number in range(STATEMENTS):
        batch.queue("select $1::int4", number)
    scales.start()
    items = await conn.send_batch(batch)
    assert all(item.outcome is Outcome.COMMITTED for item in items)
    assert [item.rows[0][0] for item in items] == list(range(STATEMENTS))
    # Each item keeps a list with one row, which keeps one value.
    return STATEMENTS * (sys.getsizeof([None]) + sys.getsizeof(items[-1].rows[0]) + sys.getsizeof(STATEMENTS))


async def values(conn: Any, scales: Scales) -> int:
    """50 MB of parameters, and the same again as results."""
    batch = Batch()
    for number in range(VALUES):
        batch.queue("select $1::bytea", number.to_bytes(4, "big") * (VALUE // 4))
    scales.start()
    items = await conn.send_batch(batch)
    assert all(item.rows[0][0] == item.args[0] for item in items)
    return VALUES * VALUE


async def copy_in(conn: Any, scales: Scales) -> int:
    """50 MB into a table, from an iterable that never has more than one piece."""
    await conn.execute("create temp table weighed (line text)")
    line = b"x" * 1023 + b"\n"

    def pieces() -> Iterator[bytes]:
        for _ in range(50 * MB // (64 * len(line))):
            yield line * 64

    scales.start()
    assert await conn.copy_in("copy weighed from stdin", pieces()) == 50 * MB // len(line)
    return 0


async def copy_out(conn: Any, scales: Scales) -> int:
    """50 MB out of the server, for a consumer that keeps nothing."""
    scales.start()
    size = 0
    async for chunk in conn.copy_out(
        f"copy (select repeat('x', 1023) from generate_series(1, {50 * MB // 1024})) to stdout"
    ):
        size += len(chunk)
    assert size == 50 * MB
    return 0


async def stream(conn: Any, scales: Scales) -> int:
    """300,000 rows, one after the other."""
    scales.start()
    total = 0
    async for row in conn.stream("select g, 'row ' || g from generate_series(1, $1::int) g", ROWS):
        total += row[0]
    assert total == ROWS * (ROWS + 1) // 2
    return 0


JOBS: dict[str, Callable[[Any, Scales], Awaitable[int]]] = {
    job.__name__: job for job in (statements, values, copy_in, copy_out, stream)
}


class SmallSocket(socket.socket):
    """A socket whose buffers are as small as can be.

    They have to be so before it connects: if a window shrinks later, the kernel waits for room that never
    comes, and goes on only now and then.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.family == socket.AF_INET:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def main(name: str, job: str, dsn: str) -> None:
    """Do one job and print what it took."""
    setattr(socket, "socket", SmallSocket)  # noqa: B010 - before anything connects
    results: list[dict[str, float]] = []

    async def scenario(pg: Driver) -> None:
        scales = Scales()
        async with pg.connect(dsn) as conn:
            await conn.fetchval("select $1::int", 1)  # what is loaded once is loaded
            payload = await JOBS[job](conn, scales)
            results.append(scales.report(payload))

    next(each for each in DRIVERS if each.name == name).run(scenario, deadline=60)
    print(json.dumps(results[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
