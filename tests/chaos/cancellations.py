"""`python -m tests.chaos.cancellations`: 20,000 calls cancelled, or timed out, at random moments.

The clients make every kind of call (see `load`) through a pool, and on connections that several of them
share.  Most calls are cut short: by cancelling their task, after a random time or a random number of turns of
the event loop, or by a deadline.  Then the table is asked, as after any other campaign: what was cancelled
before its COMMIT is not there, nothing is there by halves, and what was answered holds.

No row may be somebody else's or missing, no query may be cancelled (57014) that nobody cancelled, every
cancelled task ends cancelled and at once, the server never sees more connections than the pool may have, and
a second after the storm the pool is whole.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from pgproto_pytest import Driver
from pgproto_pytest.process import wait_until
from tests.chaos.campaign import SETTINGS, USER, Watch, prepare
from tests.chaos.lag import Lag
from tests.chaos.ledger import Ledger, Page
from tests.chaos.load import ATOMIC, CREATE, KINDS, PIPELINED
from tests.chaos.shared import Shared
from tests.support.drivers import DRIVERS
from tests.support.postgres import PostgresServer
from tests.support.proxy import open_sockets

MAX_SIZE = 8
CLIENTS = 24
SHARED = 3
"""Connections that several clients share."""
PROMPT = 1.0
"""Seconds that a cancelled task may take to its end."""
WHOLE = 1.0
"""Seconds that the pool may take to be whole again."""
HUNG = 10.0

Work = Callable[[], Awaitable[None]]
Moment = float | int
"""When to cancel: after so many seconds, or (an int) after so many turns of the event loop."""


async def cut_asyncio(work: Work, moment: Moment) -> float | None:
    """Run work and cancel it; None if it was faster, else the seconds that it took to end."""
    task = asyncio.ensure_future(work())
    if isinstance(moment, int):
        for _ in range(moment):
            await asyncio.sleep(0)
    else:
        await asyncio.wait([task], timeout=moment)
    if task.done():
        task.result()
        return None
    before = time.monotonic()
    task.cancel()
    await asyncio.wait([task], timeout=HUNG)
    assert task.done(), "a cancelled task hangs"
    assert task.cancelled(), f"a cancellation was swallowed: {task.exception()!r}"
    return time.monotonic() - before


async def cut_trio(work: Work, moment: Moment) -> float | None:
    """The same under trio, which delivers a cancellation until it is heard."""
    done = trio.Event()
    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await work()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        if isinstance(moment, int):
            for _ in range(moment):
                await trio.lowlevel.checkpoint()
        else:
            with trio.move_on_after(moment):
                await done.wait()
        if done.is_set():
            return None
        before = time.monotonic()
        scope.cancel()
        with trio.fail_after(HUNG):
            await done.wait()
    # What had its result already may end with it.
    return time.monotonic() - before if scope.cancelled_caught else None


CUT = {"asyncio": cut_asyncio, "trio": cut_trio}


class Storm:
    """Clients whose calls are cut short.

    Args:
        driver: asyncio's or trio's.
        server: a real one.
        wanted: how many cancellations and timeouts.
        seed: of everything that is random.
    """

    def __init__(self, driver: Driver, server: PostgresServer, wanted: int, seed: int = 0) -> None:
        self.ledger = Ledger(f"storm_{driver}")
        self.slowest = 0.0
        self.settled = 0.0
        self.most = 0
        self.lag = 0.0
        self.replaced = 0
        self.stats: Any = None
        self.moments: Counter[str] = Counter()
        self._driver = driver
        self._server = server
        self._wanted = wanted
        self._seed = seed
        # How long each kind takes, so that moments are spread over all of it.
        self._length: dict[str, float] = dict.fromkeys(KINDS, 0.01)

    @property
    def count(self) -> int:
        """How many calls were cut short."""
        return self.moments.total()

    async def _client(self, targets: Sequence[tuple[Any, Sequence[str]]], number: int) -> None:
        dice = random.Random(f"{self._seed} {number}")
        cut = CUT[self._driver.name]
        while self.count < self._wanted:
            target, kinds = dice.choice(targets)
            kind = dice.choice(kinds)
            page = Page(self.ledger, kind)
            call = functools.partial(self._call, target, page, number)
            span = dice.random() * 1.5 * self._length[kind]
            way = dice.choice(["seconds", "turns", "timeout", "patience", "none"])
            if way == "timeout":
                page.timeout = span
            elif way == "patience":
                page.patience = span / 4
            moment: Moment = HUNG
            if way == "seconds":
                moment = span
            elif way == "turns":
                moment = int(dice.expovariate(1 / 20))
            late = await cut(call, moment)
            if late is not None:
                self.moments[way] += 1
                self.slowest = max(self.slowest, late)

    async def _call(self, target: Any, page: Page, client: int) -> None:
        started = time.monotonic()
        error: Exception | None = None
        try:
            await KINDS[page.kind](target, page)
        except Exception as caught:
            error = caught
        except BaseException:
            self.ledger.cut(page)
            raise
        self.ledger.ended(page, client, error)
        if error is None:
            self._length[page.kind] += (time.monotonic() - started - self._length[page.kind]) / 8
        elif isinstance(error, TimeoutError):
            self.moments[f"{type(error).__name__}"] += 1

    async def _scenario(self, pg: Driver) -> None:
        everything, pipelined = list(KINDS), list(PIPELINED)
        async with contextlib.AsyncExitStack() as stack:
            pool = await stack.enter_async_context(
                pg.Pool(
                    self._server.dsn(user=USER),
                    max_size=MAX_SIZE,
                    acquire_timeout=self.ledger.patience,
                    command_timeout=self.ledger.timeout,
                )
            )
            targets: list[tuple[Any, Sequence[str]]] = [(pool, everything)] * SHARED
            shared = [Shared(pg, self._server.dsn()) for _ in range(SHARED)]
            for each in shared:
                await each.open()
                stack.push_async_callback(each.close)
                targets.append((each, pipelined))
            works = [functools.partial(self._client, targets, number) for number in range(CLIENTS)]
            ends = await pg.together(*works)
            problems = [end for end in ends if end is not None]
            assert not problems, problems[:3]
            started = time.monotonic()

            def whole() -> bool:
                stats = pool.stats()
                return bool(stats.size == stats.idle and stats.waiting == 0)

            await pg.in_thread(lambda: wait_until(whole, WHOLE, f"the pool is whole: {pool.stats()}"))
            self.settled = time.monotonic() - started
            for _ in range(2 * MAX_SIZE):
                assert await pool.fetchval("select $1::int8", 42) == 42
            self.stats = pool.stats()
            self.replaced = sum(each.replaced for each in shared)

    def run(self, deadline: float) -> None:
        """Run it, and hold what the callers were told against the table."""
        ledger, server = self.ledger, self._server
        server.query(CREATE.format(ledger.table) + f"; grant all on {ledger.table} to {USER}")
        sockets = open_sockets()
        with Lag() as lag, Watch(server) as watch:
            self._driver.run(self._scenario, deadline=deadline)
        self.most, self.lag = watch.most, lag.worst
        assert open_sockets() <= sockets, "sockets are left"
        assert watch.looks > 10, "nobody has counted the connections"
        busy = "select count(*) from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid()"
        wait_until(lambda: server.query(busy) == [["0"]], 20, "the end of the clients' sessions")
        stored = [int(row[0]) for row in server.query(f"select id from {ledger.table}")]
        server.query(f"drop table {ledger.table}")
        print("\n".join(self.lines(stored)))
        ledger.check(stored, lag.worst)
        ledger.check_halves(stored, ATOMIC)
        assert self.most <= MAX_SIZE, f"{self.most} connections on the server"
        assert self.slowest < PROMPT + lag.worst, f"a cancelled task took {self.slowest:.2f} s to end"

    def lines(self, stored: Sequence[int]) -> Sequence[str]:
        """What was seen."""
        ledger = self.ledger
        doubtful = ledger.doubtful(stored)
        return [
            f"{self._driver}: {self.count} calls cut short: {dict(self.moments)}",
            f"  calls         {ledger.calls.total()}, cancelled {dict(ledger.cancelled)}",
            f"  ids           {dict(ledger.tally())}, of the UNKNOWN {doubtful} stored",
            f"  errors        {dict(ledger.errors.most_common(12))}",
            f"  slowest end   {self.slowest:.3f} s after the cancellation, {ledger.overrun:+.2f} s after a"
            f" deadline ({ledger.slowest})",
            f"  connections   {self.most} at most, of {MAX_SIZE}; pool whole after {self.settled:.3f} s",
            f"                {self.stats}",
            f"  machine       {self.lag:.2f} s late at its worst",
            f"  shared        {SHARED} connections, replaced {self.replaced} times",
        ]


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for."""
    names = [each.name for each in DRIVERS if each.asynchronous]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cancellations", description=__doc__)
    parser.add_argument("--cancellations", type=int, default=20_000, help="how many, in all")
    parser.add_argument("--adapter", choices=names, help="one adapter only")
    parser.add_argument("--server", choices=["18", "15"], default="18", help="PostgreSQL's version")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    asked = parser.parse_args(argv)
    drivers = [each for each in DRIVERS if each.name in names and asked.adapter in (None, each.name)]
    failed = 0
    with PostgresServer(asked.server, tls=False, settings=SETTINGS) as server:
        prepare(server)
        for driver in drivers:
            started = time.monotonic()
            storm = Storm(driver, server, asked.cancellations // len(drivers), asked.seed)
            try:
                storm.run(deadline=3600)
            except AssertionError as error:
                failed = 1
                print(f"FAILED with seed {asked.seed}: {error}")
            print(f"  time          {time.monotonic() - started:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
