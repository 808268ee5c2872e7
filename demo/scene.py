"""What is played: the queries of the race, the batches of the outage, and what is expected of each query.

COMMITTED     its row must be in the table after the restart
UNKNOWN       it may be, or not: the only honest answer where a Sync was sent and nothing came back
all others    its row must not be there
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from pgproto import Batch, Error, Outcome

__all__ = [
    "COUNT",
    "CREATE",
    "INSERT",
    "PARTS",
    "ROUNDS",
    "SELECT",
    "SLEEP",
    "Part",
    "Race",
    "Timer",
    "numbers",
]

COUNT = 100
ROUNDS = 3
SELECT = "select $1::int4"
CREATE = "create table demo_orders (adapter text not null, number int4 not null)"
INSERT = "insert into demo_orders values ($1, $2)"
SLEEP = "select pg_sleep(60)"
SLOW = 0

# Name, whether it is all or nothing, and its statements: an order's number or SLOW, with what becomes of it.
PARTS: tuple[tuple[str, bool, tuple[tuple[int, Outcome], ...]], ...] = (
    (
        "batch 1, all or nothing",
        True,
        (
            (1, Outcome.ROLLED_BACK),
            (2, Outcome.ROLLED_BACK),
            (SLOW, Outcome.FAILED),
            (3, Outcome.SKIPPED),
        ),
    ),
    (
        "batch 2, each on its own",
        False,
        (
            (4, Outcome.COMMITTED),
            (5, Outcome.COMMITTED),
            (SLOW, Outcome.FAILED),
            (6, Outcome.UNKNOWN),
        ),
    ),
    (
        "batch 3, in the queue",
        True,
        (
            (7, Outcome.COMMITTED),
            (8, Outcome.COMMITTED),
        ),
    ),
)


def numbers() -> Batch:
    """A batch of COUNT selects."""
    batch = Batch()
    for number in range(COUNT):
        batch.queue(SELECT, number)
    return batch


class Part:
    """One batch of one adapter, and how it ended.

    Attributes:
        batch: what to send.
        orders: the number of each statement's order; SLOW for the slow statement.
        expected: what is to become of each statement.
        error: what `send_batch` raised; None if nothing.
        ended: when it returned, on the monotonic clock; None if it has not.
    """

    def __init__(self, adapter: str, part: int) -> None:
        self.name, atomic, statements = PARTS[part]
        self.batch = Batch(atomic=atomic)
        self.orders = [number for number, _ in statements]
        self.expected = [outcome for _, outcome in statements]
        self.error: Error | None = None
        self.ended: float | None = None
        for number in self.orders:
            if number == SLOW:
                self.batch.queue(SLEEP)
            else:
                self.batch.queue(INSERT, adapter, number)

    @property
    def outcomes(self) -> list[Outcome | None]:
        """What became of each statement."""
        return [item.outcome for item in self.batch.items]


class Timer:
    """Times a block of code and counts its round trips; keeps the best of several."""

    def __init__(self, meter: Callable[[], int]) -> None:
        self.seconds = float("inf")
        self.round_trips = 0
        self.answers: list[int] = []
        self._meter = meter
        self._start = (0.0, 0)

    def __enter__(self) -> None:
        self._start = (time.perf_counter(), self._meter())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        started, trips = self._start
        self.seconds = min(self.seconds, time.perf_counter() - started)
        self.round_trips = self._meter() - trips


class Race:
    """The same queries one by one and in one batch."""

    def __init__(self, meter: Callable[[], int]) -> None:
        self.one_by_one = Timer(meter)
        self.batch = Timer(meter)
