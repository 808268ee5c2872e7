"""The ledger: batches with unique ids through a pool, what each item was said to have become, and the truth.

Workers insert ids that are never used twice, in atomic and in non-atomic batches, some of which are bound to
fail, while the test takes servers away.  Each item's outcome is written down, and when the weather is fine
again the table is asked: `check` compares.
"""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from pgproto import (
    Batch,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    Outcome,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    QueuedQuery,
)
from tests.support.drivers import Driver
from tests.support.process import wait_until

ABSENT = frozenset(
    {Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK, Outcome.FAILED}
)
"""Whose ids must not be in the table."""

# What a caller may see when servers go away, and nothing else.
EXPECTED = (ConnectionLost, ConnectionClosed, ConnectError, PoolTimeout, QueryTimeout, PostgresError)

BATCH = 5
CREATE = "create table if not exists {} (id bigint not null, note text)"


class Ledger:
    """What was said about every id.

    Args:
        table: where the ids go.
        deadline: seconds that a batch may take, and that a caller waits for a connection.
    """

    def __init__(self, table: str, deadline: float) -> None:
        self.table = table
        self.deadline = deadline
        self.insert = f"insert into {table} (id, note) values ($1, pg_sleep(0.002)::text)"
        self.outcomes: dict[int, Outcome] = {}
        self.errors: list[Error] = []
        self.surprises: list[BaseException] = []
        self.longest = 0.0
        self.successes: list[float] = []
        """When each batch was committed, in monotonic seconds."""
        self.stop = threading.Event()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    async def work(self, pool: Any, atomic: bool) -> None:
        """Send one batch after the other until told to stop."""
        rounds = 0
        while not self.stop.is_set():
            rounds += 1
            await self._send(pool, atomic, bad=rounds % 10 == 0)

    async def _send(self, pool: Any, atomic: bool, bad: bool) -> None:
        batch = Batch(atomic=atomic)
        with self._lock:
            ids = [next(self._numbers) for _ in range(BATCH)]
        items = [batch.queue(self.insert, number) for number in ids]
        if bad:
            batch.queue(self.insert, None)
            ids.append(next(self._numbers))
            items.append(batch.queue(self.insert, ids[-1]))
        started = time.monotonic()
        error: BaseException | None = None
        try:
            await pool.send_batch(batch, timeout=self.deadline)
        except EXPECTED as caught:
            error = caught
            self.errors.append(caught)
        except Exception as caught:
            error = caught
            self.surprises.append(caught)
        ended = time.monotonic()
        with self._lock:
            self.longest = max(self.longest, ended - started)
        self._note(ids, items, error, sent=batch.sent)
        if all(item.outcome is Outcome.COMMITTED for item in items):
            with self._lock:
                self.successes.append(time.monotonic())

    def _note(
        self, ids: list[int], items: list[QueuedQuery], error: BaseException | None, *, sent: bool
    ) -> None:
        for number, item in zip(ids, items, strict=True):
            outcome = item.outcome
            if not sent and isinstance(error, Error):
                outcome = error.outcome  # no connection could be had
            if outcome is None or (isinstance(item.error, Error) and item.error.outcome is not outcome):
                self.surprises.append(
                    AssertionError(f"{item} ended with {outcome}, {item.error!r}, {error!r}")
                )
            else:
                self.outcomes[number] = outcome
            if isinstance(item.error, Error) and item.error is not error:
                self.errors.append(item.error)

    # ---- Afterwards

    def first_success_after(self, moment: float, timeout: float) -> float:
        """When the first batch was committed after a moment; waits for it."""
        start = bisect.bisect_right(self.successes, moment)
        wait_until(lambda: len(self.successes) > start, timeout, "a committed batch")
        return self.successes[start]

    def wait_for_load(self, timeout: float) -> None:
        """Wait until a few more batches were committed."""
        wanted = len(self.successes) + 16
        wait_until(lambda: len(self.successes) >= wanted, timeout, "load")

    def check(self, stored: Iterable[int]) -> None:
        """Compare with the ids in the table."""
        assert not self.surprises, self.surprises[:3]
        # A call may overrun its deadline by the second in which it is cancelled, and it may have waited
        # for a connection before.
        assert self.longest < 2 * self.deadline + 1, f"a batch took {self.longest:.2f} s"
        counts = Counter(stored)
        assert max(counts.values()) == 1, "an effect happened twice"
        for number, outcome in self.outcomes.items():
            if outcome is Outcome.COMMITTED:
                assert number in counts, f"{number} was acknowledged and is lost"
            elif outcome in ABSENT:
                assert number not in counts, f"{number} was called {outcome.name} and is in the table"
            else:
                assert outcome is Outcome.UNKNOWN, f"{number}: {outcome.name}"
        assert set(counts) <= set(self.outcomes), "ids in the table that nobody was told about"

    def tally(self) -> Counter[str]:
        """How many items have each outcome."""
        return Counter(outcome.name for outcome in self.outcomes.values())

    def words(self) -> Counter[tuple[str, ...]]:
        """The SQLSTATEs of each lost connection in the order of their arrival, and how often."""
        return Counter(sqlstates(error) for error in self.errors if isinstance(error, ConnectionLost))


def sqlstates(error: Error) -> tuple[str, ...]:
    """The SQLSTATEs that an error has to tell: its cause's, then those that came behind."""
    chain = [error.__cause__, *error.also]
    return tuple(each.sqlstate for each in chain if isinstance(each, PostgresError))


class Workload:
    """Workers on a driver of their own, in a thread, while the test does its worst; a context manager.

    Args:
        driver: the adapter.
        dsn: where the pool connects to.
        ledger: what the workers write down.
        workers: how many; every second one sends atomic batches.
        options: the pool's.
    """

    def __init__(
        self, driver: Driver, dsn: str, ledger: Ledger, *, workers: int = 8, **options: object
    ) -> None:
        self._driver = driver
        self._dsn = dsn
        self._ledger = ledger
        self._workers = workers
        self._options = options
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name=f"workload-{driver.name}", daemon=True)

    def _run(self) -> None:
        try:
            self._driver.run(self._main, deadline=100)
        except BaseException as error:
            self._failures.append(error)

    async def _main(self, pg: Driver) -> None:
        def worker(number: int) -> Callable[[], Awaitable[None]]:
            return lambda: self._ledger.work(pool, atomic=number % 2 == 0)

        size = self._workers
        patience = self._ledger.deadline
        async with pg.Pool(self._dsn, max_size=size, acquire_timeout=patience, **self._options) as pool:
            ends = await pg.together(*[worker(number) for number in range(size)])
            stats = pool.stats()
        assert ends == [None] * size
        assert stats.used == stats.waiting == 0, stats
        assert stats.size <= size, stats

    def __enter__(self) -> Workload:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ledger.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the workers hang"
        if self._failures:
            raise self._failures[0]
