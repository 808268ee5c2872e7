"""The ledger: what callers were told about every id, and the truth.

Clients store ids that are never used twice, while servers are taken away.  What each call was said to have
become is written down, and when the weather is fine again the table is asked: `check` compares.

Every wait of a call has a limit, which is the deadline that was given to the library for it.  The ledger
keeps by how much the worst one was exceeded.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Container, Iterable
from types import TracebackType
from typing import Any, TypeVar

from pgproto import (
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    Error,
    Outcome,
    PoolTimeout,
    PostgresError,
    QueryTimeout,
    QueuedQuery,
    TransactionAborted,
)
from pgproto_pytest.process import wait_until

T = TypeVar("T")

ABSENT = frozenset(
    {Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK, Outcome.FAILED}
)
"""Whose ids must not be in the table."""

# What a caller may see when servers go away, and nothing else.
EXPECTED = (
    ConnectionLost,
    ConnectionClosed,
    ConnectError,
    PoolTimeout,
    QueryTimeout,
    PostgresError,
    TransactionAborted,
)

OVERRUN = 1.0
"""Seconds by which a call may exceed its deadline: a query that is late is cancelled first."""


class Page:
    """One call: its ids, and what the caller was told about them.

    Attributes:
        ids: those that it stores.
        labels: what it was told about single ids; for the others what it was told about the whole counts.
        fate: what became of the whole, where the error that was raised is about a part of it.
        timeout: seconds that each of its queries may take.
        patience: seconds that it waits for a connection.
    """

    def __init__(self, ledger: Ledger, kind: str) -> None:
        self.ledger = ledger
        self.kind = kind
        self.ids: list[int] = []
        self.labels: dict[int, Outcome] = {}
        self.fate: Outcome | None = None
        self.timeout = ledger.timeout
        self.patience = ledger.patience

    def new(self, count: int) -> list[int]:
        """So many ids that nobody else has."""
        ids = self.ledger.numbers(count)
        self.ids += ids
        return ids

    def told(self, ids: Iterable[int], items: Iterable[QueuedQuery]) -> None:
        """What the items of a batch say about its ids."""
        for number, item in zip(ids, items, strict=True):
            if item.outcome is None:
                continue
            self.labels[number] = item.outcome
            if isinstance(item.error, Error) and item.error.outcome is not item.outcome:
                self.ledger.surprise(AssertionError(f"{item} has the error {item.error!r}, which disagrees"))

    async def within(self, seconds: float, work: Awaitable[T]) -> T:
        """Wait for something that has a deadline."""
        started = time.monotonic()
        try:
            return await work
        finally:
            self.ledger.waited(self.kind, time.monotonic() - started - seconds)

    def timed(self, manager: Any, enter: float, leave: float) -> Timed:
        """A context manager to enter and to leave of which both have a deadline."""
        return Timed(self, manager, enter, leave)


class Timed:
    """A context manager that notes how long it takes to enter and to leave another one."""

    def __init__(self, page: Page, manager: Any, enter: float, leave: float) -> None:
        self._page = page
        self._manager = manager
        self._enter = enter
        self._leave = leave

    async def __aenter__(self) -> Any:
        return await self._page.within(self._enter, self._manager.__aenter__())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if await self._page.within(self._leave, self._manager.__aexit__(kind, error, trace)):
            raise AssertionError(f"{self._manager} swallowed {error!r}")


class Ledger:
    """What was said about every id.

    Args:
        table: where the ids go.
        timeout: seconds that a query may take.
        patience: seconds that a caller waits for a connection.
    """

    def __init__(self, table: str, *, timeout: float = 3.0, patience: float = 6.0) -> None:
        self.table = table
        self.timeout = timeout
        self.patience = patience
        self.outcomes: dict[int, Outcome] = {}
        self.surprises: list[BaseException] = []
        self.overrun = 0.0
        """By how much the worst wait exceeded its deadline, in seconds."""
        self.slowest = ""
        """The kind of call that this was."""
        self.calls: Counter[str] = Counter()
        """How many calls of each kind ended."""
        self.errors: Counter[str] = Counter()
        """How many calls ended with each error: its class, its SQLSTATEs, its outcome."""
        self.sqlstates: Counter[str] = Counter()
        """How often each SQLSTATE was seen in an error, however deep."""
        self.words: Counter[tuple[str, ...]] = Counter()
        """The SQLSTATEs of each lost connection in the order of their arrival, and how often."""
        self.cancelled: Counter[str] = Counter()
        """How many calls of each kind were cancelled."""
        self.halves: list[Page] = []
        """The calls that were cancelled."""
        self.succeeded = 0
        """How many calls have succeeded."""
        self._firsts: dict[int, float] | None = None
        self._since = 0.0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    # ---- What the clients say

    def numbers(self, count: int) -> list[int]:
        """So many new ids."""
        with self._lock:
            return [next(self._numbers) for _ in range(count)]

    def surprise(self, error: BaseException) -> None:
        """Something happened that may not happen."""
        with self._lock:
            self.surprises.append(error)

    def waited(self, kind: str, overrun: float) -> None:
        """A wait ended, so many seconds after its deadline."""
        with self._lock:
            if overrun > self.overrun:
                self.overrun, self.slowest = overrun, kind

    def ended(self, page: Page, client: int, error: BaseException | None) -> None:
        """A call ended: write down what its caller was told."""
        if error is not None and not isinstance(error, EXPECTED):
            self.surprise(error)
        whole: Outcome | None = Outcome.COMMITTED if error is None else page.fate
        if whole is None and isinstance(error, Error):
            whole = error.outcome
        with self._lock:
            self.calls[page.kind] += 1
            for number in page.ids:
                outcome = page.labels.get(number, whole)
                if outcome is None:
                    self.surprises.append(AssertionError(f"{page.kind}: {error!r} says nothing"))
                else:
                    self.outcomes[number] = outcome
            if isinstance(error, Error):
                self._note(error)
            elif error is None:
                self._succeeded(client, time.monotonic())

    def _note(self, error: Error) -> None:
        words = sqlstates(error)
        outcome = "" if error.outcome is None else error.outcome.name
        self.errors[" ".join([type(error).__name__, *words, outcome])] += 1
        self.sqlstates.update(words)
        if isinstance(error, ConnectionLost):
            self.words[words] += 1
        if isinstance(error, PostgresError) and "user request" in error.message:
            self.surprises.append(AssertionError(f"a query that nobody cancelled: {error}"))

    def doubt(self, error: PostgresError) -> None:
        """An item of a batch, which as a whole was not late, has failed."""
        if "user request" in error.message:
            self.surprise(AssertionError(f"an item that nobody cancelled: {error}"))

    def cut(self, page: Page) -> None:
        """A call was cancelled: its caller was told nothing, but for what it had found out before."""
        with self._lock:
            self.calls[page.kind] += 1
            self.cancelled[page.kind] += 1
            self.halves.append(page)
            for number in page.ids:
                self.outcomes[number] = page.labels.get(number, page.fate or Outcome.UNKNOWN)

    def _succeeded(self, client: int, now: float) -> None:
        self.succeeded += 1
        if self._firsts is not None and now >= self._since:
            self._firsts.setdefault(client, now - self._since)

    # ---- What the campaign asks

    def wait_for_load(self, successes: int, timeout: float) -> None:
        """Wait until so many more calls have succeeded."""
        wanted = self.succeeded + successes
        wait_until(lambda: self.succeeded >= wanted, timeout, "load")

    def wait_for(self, sqlstate: str, seen: int, timeout: float) -> None:
        """Wait until more calls than `seen` have ended with this SQLSTATE."""
        wait_until(lambda: self.sqlstates[sqlstate] > seen, timeout, f"an error {sqlstate}")

    def healing(self, clients: int, timeout: float) -> tuple[float, float]:
        """Seconds until the first call succeeds from now on, and until one of every client has."""
        firsts: dict[int, float] = {}
        with self._lock:
            self._firsts, self._since = firsts, time.monotonic()
        wait_until(lambda: len(firsts) == clients, timeout, f"{clients} clients served again")
        with self._lock:
            self._firsts = None
        return min(firsts.values()), max(firsts.values())

    def check(self, stored: Iterable[int], lag: float = 0.0) -> None:
        """Compare with the ids in the table; raise an AssertionError with all that disagrees.

        Args:
            stored: the ids.
            lag: seconds by which the machine woke us too late.
        """
        problems = [repr(each) for each in self.surprises[:5]]
        if self.overrun > OVERRUN + lag:
            problems.append(f"a wait ({self.slowest}) exceeded its deadline by {self.overrun:.2f} s")
        counts = Counter(stored)
        for number, count in counts.items():
            if count > 1:
                problems.append(f"{number} was stored {count} times")
            if number not in self.outcomes:
                problems.append(f"{number} is in the table, and nobody was told about it")
        for number, outcome in self.outcomes.items():
            if outcome is Outcome.COMMITTED and number not in counts:
                problems.append(f"{number} was acknowledged and is lost")
            elif outcome in ABSENT and number in counts:
                problems.append(f"{number} was called {outcome.name} and is in the table")
            elif outcome is Outcome.OK_IN_TX:
                problems.append(f"{number}: a transaction that has ended is called {outcome.name}")
        assert not problems, f"{len(problems)} contradictions: {problems[:5]}"

    def check_halves(self, stored: Iterable[int], atomic: Container[str]) -> None:
        """Nothing may be stored by halves; raise an AssertionError if a cancelled call of these kinds was."""
        there = set(stored)
        for page in self.halves:
            ids = {number for number in page.ids if number not in page.labels}
            if page.kind in atomic:
                assert not ids & there or ids <= there, f"{page.kind}: {ids & there} of {ids} are stored"

    def tally(self) -> Counter[str]:
        """How many ids have each outcome."""
        return Counter(outcome.name for outcome in self.outcomes.values())

    def doubtful(self, stored: Iterable[int]) -> int:
        """How many UNKNOWN ids are in the table."""
        return sum(self.outcomes.get(number) is Outcome.UNKNOWN for number in set(stored))


def sqlstates(error: Error) -> tuple[str, ...]:
    """The SQLSTATEs that an error has to tell: its own or its cause's, then those that came behind."""
    chain: list[BaseException | None] = [error, error.__cause__, *error.also]
    if isinstance(error, ConnectError):
        chain += error.errors
    cause = error.__cause__
    if isinstance(error, PoolTimeout) and isinstance(cause, Error):
        return sqlstates(cause)
    words = [each.sqlstate for each in chain if isinstance(each, PostgresError)]
    return tuple(dict.fromkeys(words)) if isinstance(error, ConnectError) else tuple(words)
