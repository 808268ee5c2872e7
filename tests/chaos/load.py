"""The load: clients of one pool that store unique ids in every way there is, and read their own rows.

Each kind of call is a coroutine of its own.  What it is told about its ids goes to its `Page`: by default
they were committed if it returns, and became what the error says if it raises; a kind that knows better
(batches: each item; transactions: the whole and not the query) says so.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pgproto import Batch, Error, Outcome, PostgresError
from pgproto.pool import PoolStats, Retry, transaction_outcome
from pgproto_pytest import Driver
from tests.chaos.ledger import Ledger, Page
from tests.chaos.shared import Shared

__all__ = ["ATOMIC", "CREATE", "KINDS", "PIPELINED", "Kind", "Load"]

CREATE = "create table if not exists {} (id bigint not null, note text)"
ITEMS = 4
RECORDS = 12
ROWS = 200
POISON = b"S\0\0\0\4" + b"Q\0\0\0\x0dselect 0\0" + b"X\0\0\0\4"

Kind = Callable[[Any, Page], Awaitable[None]]


class Undo(Exception):
    """The application changes its mind."""


def insert(page: Page) -> str:
    # A few milliseconds each, so that servers die while something is under way.
    return f"insert into {page.ledger.table} (id, note) values ($1, pg_sleep(0.002)::text)"


def own_rows(page: Page) -> tuple[str, int]:
    return f"select $1::int8 as tag, g from generate_series(1, {ROWS}) g", page.ledger.numbers(1)[0]


def expect(page: Page, tag: int, found: list[int]) -> None:
    """All rows, and nobody else's."""
    if found != [tag] * ROWS:
        page.ledger.surprise(AssertionError(f"{page.kind} {tag}: {len(found)} rows, of {set(found)}"))


async def single(pool: Any, page: Page) -> None:
    """One statement, on a connection borrowed for it."""
    limit = page.timeout
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        await page.within(limit, conn.execute(insert(page), page.new(1)[0], timeout=limit))


async def pooled(pool: Any, page: Page) -> None:
    """One statement, through the pool's own method."""
    limit = page.timeout
    total = limit + page.ledger.patience
    await page.within(total, pool.execute(insert(page), page.new(1)[0], timeout=limit))


async def batch(pool: Any, page: Page, *, atomic: bool, bad: bool) -> None:
    """A batch; a bad one has a statement that fails between two that could succeed."""
    limit = page.timeout
    work = Batch(atomic=atomic)
    ids = page.new(ITEMS)
    items = [work.queue(insert(page), number) for number in ids]
    if bad:
        work.queue(insert(page), None)
        ids += page.new(1)
        items.append(work.queue(insert(page), ids[-1]))
    try:
        async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
            await page.within(limit, conn.send_batch(work, timeout=limit))
        for item in items:
            if isinstance(item.error, PostgresError):
                page.ledger.doubt(item.error)
    finally:
        page.told(ids, items)


async def transaction(pool: Any, page: Page, *, undo: bool = False, savepoint: bool = False) -> None:
    """A transaction of some statements; one that is undone; one of which a part is undone."""
    block = pool.transaction(timeout=page.patience)
    try:
        # Leaving it may take a ROLLBACK after a query that was late.
        async with page.timed(block, page.patience, page.ledger.timeout) as conn:
            for number in page.new(2):
                await page.within(page.timeout, conn.execute(insert(page), number, timeout=page.timeout))
            if savepoint:
                (number,) = page.new(1)
                page.labels[number] = Outcome.ROLLED_BACK
                with contextlib.suppress(Undo):
                    async with conn.transaction():
                        await conn.execute(insert(page), number)
                        raise Undo
            if undo:
                raise Undo
    except Undo:
        page.labels = dict.fromkeys(page.ids, Outcome.ROLLED_BACK)
    except Error as error:
        page.fate = transaction_outcome(error, commit_sent=block.committing)
        raise
    except BaseException:
        # Cancelled: before COMMIT was sent, that is as good as ROLLBACK.
        page.fate = None if block.committing else Outcome.ROLLED_BACK
        raise


async def retried(pool: Any, page: Page) -> None:
    """A function that is run again where that is safe; if it were where it is not, ids would double."""
    ids = page.new(2)

    async def work(conn: Any) -> None:
        for number in ids:
            await conn.execute(insert(page), number)

    await pool.retry(work, retry=Retry(3, delay=0.02))


async def copy_records(pool: Any, page: Page) -> None:
    """Binary COPY: all records or none."""
    records = [(number, "record") for number in page.new(RECORDS)]
    limit = page.timeout
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        work = conn.copy_records(page.ledger.table, records, columns=["id", "note"], timeout=limit)
        await page.within(2 * limit, work)


async def copy_in(pool: Any, page: Page) -> None:
    """Text COPY from an iterable."""
    lines = [f"{number}\tline\n".encode() for number in page.new(RECORDS)]
    limit = page.timeout
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        sql = f"copy {page.ledger.table} (id, note) from stdin"
        await page.within(limit, conn.copy_in(sql, lines, timeout=limit))


async def fetch(pool: Any, page: Page) -> None:
    """Read rows; each has the tag of who asked."""
    sql, tag = own_rows(page)
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        rows = await conn.fetch(sql, tag, timeout=page.timeout)
    expect(page, tag, [row[0] for row in rows])


async def echo(pool: Any, page: Page) -> None:
    """Send what must not be taken for messages, small or large, and get it back."""
    tag = page.ledger.numbers(1)[0]
    value = POISON * (1, 30, 900, 3000)[tag % 4]
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        (row,) = await conn.fetch("select $1::int8, $2::bytea", tag, value, timeout=page.timeout)
    if tuple(row) != (tag, value):
        page.ledger.surprise(AssertionError(f"{page.kind} {tag}: {row[0]} and {len(row[1])} bytes"))


async def stream(pool: Any, page: Page) -> None:
    """Read rows as they come."""
    sql, tag = own_rows(page)
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        found = [row[0] async for row in conn.stream(sql, tag, timeout=page.timeout)]
    expect(page, tag, found)


async def copy_out(pool: Any, page: Page) -> None:
    """Read by COPY."""
    tag = page.ledger.numbers(1)[0]
    async with page.timed(pool.acquire(timeout=page.patience), page.patience, 0) as conn:
        sql = f"copy (select {tag} from generate_series(1, {ROWS})) to stdout"
        chunks = [chunk async for chunk in conn.copy_out(sql, timeout=page.timeout)]
    expect(page, tag, [int(line) for line in b"".join(chunks).splitlines()])


KINDS: Mapping[str, Kind] = {
    "single": single,
    "pooled": pooled,
    "atomic batch": functools.partial(batch, atomic=True, bad=False),
    "atomic batch that fails": functools.partial(batch, atomic=True, bad=True),
    "batch": functools.partial(batch, atomic=False, bad=False),
    "batch that fails": functools.partial(batch, atomic=False, bad=True),
    "transaction": transaction,
    "transaction undone": functools.partial(transaction, undo=True),
    "transaction with savepoint": functools.partial(transaction, savepoint=True),
    "retry": retried,
    "copy records": copy_records,
    "copy in": copy_in,
    "fetch": fetch,
    "echo": echo,
    "stream": stream,
    "copy out": copy_out,
}
ATOMIC = frozenset(name for name in KINDS if not name.startswith("batch"))
"""All of their ids are stored, or none."""
PIPELINED = (
    "single",
    "pooled",
    "atomic batch",
    "atomic batch that fails",
    "batch",
    "batch that fails",
    "fetch",
    "echo",
)
"""What several callers can do on one connection at a time."""


class Load:
    """Clients on an adapter of their own, in a thread, while the campaign does its worst; a context manager.

    Args:
        driver: the adapter.
        dsn: where the pool connects to.
        ledger: what the clients write down.
        clients: how many.
        max_size: the pool's; smaller than `clients`, so that some wait.
        shared: connections besides the pool, on each of which several callers work at once.
        seed: of the order of calls.
        deadline: seconds after which all of it counts as hanging.
        options: more options of the pool.
    """

    def __init__(
        self,
        driver: Driver,
        dsn: str,
        ledger: Ledger,
        *,
        clients: int = 32,
        max_size: int = 16,
        shared: int = 0,
        seed: int = 0,
        deadline: float = 600.0,
        **options: object,
    ) -> None:
        self.clients = clients
        self.stats: PoolStats | None = None
        """The pool's, once it is closed."""
        self._driver = driver
        self._dsn = dsn
        self._ledger = ledger
        self._max_size = max_size
        self._shared = shared if driver.asynchronous else 0
        self._seed = seed
        self._deadline = deadline
        self._options = options
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name=f"load-{driver.name}", daemon=True)

    def _run(self) -> None:
        try:
            self._driver.run(self._main, deadline=self._deadline)
        except BaseException as error:
            self._failures.append(error)

    async def _main(self, pg: Driver) -> None:
        ledger = self._ledger
        async with pg.Pool(
            self._dsn,
            max_size=self._max_size,
            acquire_timeout=ledger.patience,
            command_timeout=ledger.timeout,
            **self._options,
        ) as pool:
            shared = [Shared(pg, self._dsn, command_timeout=ledger.timeout) for _ in range(self._shared)]
            for each in shared:
                await each.open()
            targets: list[tuple[Any, Sequence[str]]] = [(pool, list(KINDS))]
            targets += [(each, PIPELINED) for each in shared]
            works = [functools.partial(self._client, targets, number) for number in range(self.clients)]
            ends = await pg.together(*works)
            for each in shared:
                await each.close()
            before = pool.stats()
        self.stats = pool.stats()
        assert ends == [None] * self.clients, ends
        assert before.used == before.waiting == 0, before
        assert before.size <= self._max_size, before
        assert self.stats.size == 0, self.stats

    async def _client(self, targets: Sequence[tuple[Any, Sequence[str]]], number: int) -> None:
        """Make one call after the other until told to stop."""
        dice = random.Random(f"{self._seed} {number}")
        while not self._stop.is_set():
            target, names = targets[0] if len(targets) == 1 else dice.choice(targets)
            kind = dice.choice(names)
            page = Page(self._ledger, kind)
            error: BaseException | None = None
            try:
                await KINDS[kind](target, page)
            except Exception as caught:
                error = caught
            self._ledger.ended(page, number, error)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), "the clients hang"
        if self._failures:
            raise self._failures[0]
