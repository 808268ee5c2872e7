"""The clients: tasks that use the pool in every way there is, at random, and keep account of it.

Each operation asks for something whose answer can be recognised, is bounded by a deadline of its own, and
may raise what the library declares, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import pgproto_asyncio as pg
from pgproto import Batch, Error, Outcome, PoolTimeout, PostgresError, QueryTimeout, Retry
from pgproto.session import DEFAULT, LONGEST_GRACE, Default

from .callers import Callers
from .corners import INSERT, ROWS, Block, Corners, link_of
from .endings import Endings
from .faults import Faults
from .fresh import stale
from .hooked import Hooked
from .intruders import Intruders
from .labels import Labels
from .leavings import Leaving
from .limits import Limits
from .migrations import Migrations
from .moving import Moving, Oops
from .record import Asked, Record
from .settings import Settings
from .surprises import surprise
from .textual import Textual
from .world import World

__all__ = ["Clients", "Oops"]

T = TypeVar("T")

BREAKS: Final = "select $1::text as tag, 1/($2::int4 - n) as n from generate_series(1, $3::int4) as n"
DEFER: Final = "insert into deferred values ($1)"
SLEEP: Final = "select pg_sleep($1)"

# Texts that the server refuses at Parse, Bind and Execute.
FAILING: Final[tuple[tuple[str, tuple[object, ...]], ...]] = (
    ("selec", ()),
    ("select * from missing", ()),
    ("select 1/0", ()),
    ("select fail($1)", ("22012",)),
    ("select fail($1)", ("40001",)),
    ("select fail($1)", ("P0001",)),
)

# A call that is over its deadline may take this long to say so.  The promise is "within a second".
LATE: Final = 1.0


class Clients(
    Corners, Leaving, Moving, Callers, Hooked, Intruders, Textual, Limits, Endings, Migrations, Labels
):
    """All tasks of one schedule."""

    def __init__(self, world: World, record: Record, settings: Settings, dsn: str, pool: pg.Pool) -> None:
        self.world = world
        self.rng = world.rng
        self.record = record
        self.settings = settings
        self.dsn = dsn
        self.pool = pool
        self.blocks: list[Block] = []
        self.logical: dict[int, list[int]] = {}
        self.batches: list[tuple[Batch, list[Asked]]] = []
        self.notified: set[str] = set()
        self.waiting: dict[int, asyncio.Task[Any]] = {}
        self.cancelled: dict[asyncio.Task[Any], float] = {}  # when
        self.closing: asyncio.Task[None] | None = None
        self.faults: Faults | None = None
        self.happened: set[tuple[str, str]] = set()
        self.told: list[BaseException | None] = []
        self.expired_at = 0.0
        self._turn = 0

    async def run(self, number: int) -> None:
        """One task's life."""
        settings = self.settings
        await asyncio.sleep(self.rng.random() * settings.spread)
        profile = settings.profile
        for name in self.rng.choices(profile.names, profile.weights, k=settings.steps):
            self.world.note("client %d: %s", number, name)
            try:
                await getattr(self, name)(self.pool)
            except (Error, Oops) as error:
                self.surprised(error)
                self.world.note("client %d: %s ends with %r", number, name, error)

    # ---- Deadlines and expectations

    async def within(self, seconds: float, what: str, call: Awaitable[T], *, hurried: bool = False) -> T:
        """Await a call; it must not take longer, nor be out of time for nothing unless it is `hurried`.

        What a cancelled call has under way is read to its end, for so long as that comes.
        """
        before = self.world.now
        try:
            return await call
        except QueryTimeout as error:
            took = self.world.now - before
            if took >= self._query_time - 1e-6 and what != "sleep" and self.brisk and not hurried:
                self.world.violation(f"{what} timed out, and nothing held it up: {error!r}", "hang")
            raise
        except PoolTimeout as error:
            self._hasty = error if hurried else None
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task in self.cancelled:
                seconds = max(seconds, self.cancelled[task] - before + LONGEST_GRACE)
            raise
        finally:
            took = self.world.now - before
            if took > seconds + LATE and not (self.faults is not None and self.faults.jumped):
                self.world.violation(f"{what} took {took:.3f} s of {seconds:.3f} s", "late")

    @property
    def _query_time(self) -> float:
        return self.settings.command_timeout

    def _limit(self, on: Any, timeout: float | Default = DEFAULT) -> float:
        if not isinstance(timeout, Default):
            return timeout  # of a pool's call too: the wait for a connection is a part of it
        longest = self._query_time
        return longest + self.settings.acquire_timeout + 0.1 if on is self.pool else longest

    def _timeout(self) -> float | Default:
        return DEFAULT if self.rng.random() < 0.85 else self.rng.choice((0.0, 0.0005, 0.01, 0.2))

    async def ask(self, on: Any, method: str, key: int | str, sql: str, *args: object) -> Any:
        """Run one query and keep account of it."""
        timeout = self._timeout()
        asked = self.record.ask(key)
        call = getattr(on, method)(sql, *args, timeout=timeout)
        try:
            limit = self._limit(on, timeout)
            answer = await self.within(limit, f"{method} {key}", call, hurried=timeout is not DEFAULT)
        except Error as error:
            self.record.failed(asked, error)
            if isinstance(error, PostgresError) and error.sqlstate == "26000":
                self._cell(36, "P2")
            raise
        self.record.done(asked)
        return answer

    def _insert_text(self) -> str:
        chosen = self.rng.random()
        return INSERT if chosen < 0.7 else f"{INSERT} /* {int(chosen * 40)} */"

    # ---- The operations

    async def fetch(self, on: Any) -> None:
        """Rows that carry the query's tag."""
        tag = self.record.new_tag()
        count = self.rng.choice((0, 1, 1, 2, 5, 40)) if self.rng.random() < 0.99 else 2000
        rows = await self.ask(on, "fetch", tag, ROWS, tag, count)
        self.record.rows(tag, rows, count)

    async def insert(self, on: Any) -> None:
        """An id for the ledger."""
        key = self.record.new_id()
        answer = await self.ask(on, "execute", key, self._insert_text(), key)
        if answer != "INSERT 0 1" and not self.record.lied:
            self.world.violation(f"insert {key} answered {answer!r}", "rows")

    async def fails(self, on: Any) -> None:
        """A statement that the server refuses."""
        sql, args = self.rng.choice(FAILING)
        if self.rng.random() < 0.2:
            key = self.record.new_tag()
            sql, args = BREAKS, (key, 2, 5)
        try:
            await self.within(self._limit(on), sql, on.fetch(sql, *args))
        except PostgresError as error:
            if error.outcome is not Outcome.FAILED:
                self.world.violation(f"{sql} failed, but is {error.outcome}", "label")
            raise
        except Error as error:
            if error.outcome is None:
                self.world.violation(f"{sql}: {error!r} has no outcome", "label")
            raise
        self.world.violation(f"{sql} did not fail", "rows")

    async def batch(self, on: Any) -> None:
        """A batch of anything."""
        batch = Batch(atomic=self.rng.random() < 0.6)
        size = self.rng.choice((1, 2, 3, 4, 6)) if self.rng.random() < 0.99 else 150
        asked: list[Asked] = []
        wanted: list[tuple[Any, str, int]] = []
        for _ in range(size):
            kind = self.rng.random()
            if kind < 0.5:
                key: int | str = self.record.new_id()
                item = batch.queue(self._insert_text(), key)
            elif kind < 0.86:
                key = self.record.new_tag()
                count = self.rng.choice((0, 1, 3))
                item = batch.queue(ROWS, key, count)
                wanted.append((item, key, count))
            elif kind < 0.94:
                sql, args = self.rng.choice(FAILING)
                batch.queue(sql, *args)
                continue
            elif kind < 0.97:
                batch.queue("")
                continue
            else:
                key = self.rng.choice(list(self.record.asked)) if self.record.asked else 0
                if isinstance(key, int):
                    batch.queue(DEFER, 7)
                else:
                    batch.queue(INSERT, "not a number")
                continue
            entry = self.record.ask(key)
            entry.item = item
            asked.append(entry)
        self.batches.append((batch, asked))
        try:
            await self.within(self._limit(on), "batch", on.send_batch(batch))
        finally:
            for item, tag, count in wanted:
                if item.outcome in (Outcome.COMMITTED, Outcome.OK_IN_TX) and item.error is None:
                    self.record.rows(tag, item.rows, count)

    async def transaction(self, on: Any) -> None:
        """A block of inserts, with a savepoint and mishaps."""
        if on is self.pool:
            context = on.transaction()
        else:
            if on.engine.blocks.open:
                return
            context = on.transaction()
        block = Block()
        self.blocks.append(block)
        try:
            async with context as conn:
                for _ in range(self.rng.choice((0, 1, 2, 3))):
                    key = self.record.new_id()
                    await self.ask(conn, "execute", key, INSERT, key)
                    block.keys.append(key)
                    if self.rng.random() < 0.15:
                        await self._savepoint(conn, block)
                    if self.rng.random() < 0.1:
                        await self.cursor(conn)
                    if self.rng.random() < 0.06:
                        raise Oops("in a transaction")
                    if self.rng.random() < 0.06:
                        await self.fails(conn)
        except Error as error:
            block.verdict = error.outcome if context.committing else Outcome.ROLLED_BACK
            raise
        except Oops:
            block.verdict = Outcome.ROLLED_BACK
            raise
        block.verdict = "done"

    async def _savepoint(self, conn: Any, block: Block) -> None:
        key = self.record.new_id()
        try:
            async with conn.transaction():
                await self.ask(conn, "execute", key, INSERT, key)
                if self.rng.random() < 0.4:
                    raise Oops("in a savepoint")
                if self.rng.random() < 0.3:
                    await self.fails(conn)
        except Oops:
            return
        except PostgresError:
            return
        block.keys.append(key)

    async def retry(self, on: Any) -> None:
        """Work that is repeated while it is safe: its effect happens once at the most."""
        logical = self.record.new_id()
        attempts = self.logical[logical] = []

        async def work(conn: Any) -> int:
            key = self.record.new_id()
            attempts.append(key)
            await self.ask(conn, "execute", key, INSERT, key)
            if self.rng.random() < 0.2:
                await conn.fetch("select fail($1)", "40001")
            return key

        key = await self.pool.retry(work, retry=Retry(3, delay=0.01))
        self.record.asked[key].logical = logical

    async def prepared(self, on: Any) -> None:
        """A statement that the caller keeps."""
        if on is self.pool:
            await self.lease(on, ["prepared"])
            return
        statement = await self.within(self._limit(on), "prepare", on.prepare(ROWS))
        for _ in range(2):
            tag = self.record.new_tag()
            asked = self.record.ask(tag)
            try:
                rows = await self.within(self._limit(on), "prepared", statement.fetch(tag, 2))
            except Error as error:
                self.record.failed(asked, error)
                raise
            self.record.done(asked)
            self.record.rows(tag, rows, 2)
        if self.rng.random() < 0.5:
            await statement.close()

    async def shared(self, on: Any) -> None:
        """Several tasks on one connection; some give up."""
        if on is self.pool:
            await self.lease(on, ["shared"])
            return
        limit = self._limit(on)

        async def one(number: int) -> None:
            kinds = ("fetch", "nap", "insert", "fails")
            work = getattr(self, self.rng.choices(kinds, (55, 10, 25, 10))[0])(on)
            if self.rng.random() < 0.2:
                async with asyncio.timeout(self.rng.random() * 0.02):
                    await work
            else:
                await work

        self._cell(33, "P2")
        tasks = [asyncio.ensure_future(one(number)) for number in range(self.rng.choice((2, 3, 5)))]
        try:
            done = await self.within(2 * limit, "shared", asyncio.gather(*tasks, return_exceptions=True))
        except asyncio.CancelledError:
            # gather has cancelled them; on a lease that ends now they must be gone before it does.
            self.cancelled.update(dict.fromkeys(tasks, self.world.now))
            await asyncio.wait(tasks)
            raise
        for result in done:
            if isinstance(result, Error):
                self.surprised(result)
            if isinstance(result, BaseException) and not isinstance(result, Error | TimeoutError | Oops):
                self.world.violation(f"a query on a shared connection raised {result!r}", "error")

    async def sleep(self, on: Any) -> None:
        """A slow statement, whose caller may have less time."""
        seconds = self.rng.choice((0.01, 0.1, 5.0))
        timeout = self.rng.choice((DEFAULT, 0.05))
        call = on.execute(SLEEP, seconds, timeout=timeout)
        await self.within(self._limit(on, timeout), "sleep", call, hurried=timeout is not DEFAULT)

    async def misuse(self, on: Any) -> None:
        """What only the caller can do wrong."""
        kind = self.rng.choice(("argument", "count", "nul", "copy"))
        if kind == "argument":
            await on.fetch(ROWS, "t", "three")
        elif kind == "count":
            await on.fetch(ROWS, "t")
        elif kind == "nul":
            await on.fetch("select '\0'")
        else:
            await on.execute("copy ledger from stdin")

    async def direct(self, on: Any) -> None:
        """A connection of one's own; closing it twice is once."""
        settings = self.settings
        conn = await self.within(
            settings.connect_timeout, "connect", _made(pg.connect(self.dsn, **self.options))
        )
        try:
            await self.lease_of(conn, 1)
        finally:
            await self.within(1.01, "close", conn.close())  # what was abandoned is cancelled first
            await self.within(0.01, "close", conn.close())
            if not conn.closed:
                self.world.violation("a closed connection is not closed", "closed")

    @property
    def options(self) -> dict[str, Any]:
        """The connections' options."""
        return {
            "connect_timeout": self.settings.connect_timeout,
            "command_timeout": self.settings.command_timeout,
            "statement_cache_size": self.settings.statement_cache_size,
            "statement_mode": "cache_statement" if self.settings.named_statements else "cache_describe",
        }

    async def expire(self, on: Any) -> None:
        """Replace all."""
        self.expired_at = self.world.now
        self.pool.expire()

    async def lease(self, on: Any, names: list[str] | None = None) -> None:
        """Several things on one borrowed connection."""
        if on is not self.pool:
            return
        self._turn += 1
        turn = self._turn
        task = asyncio.current_task()
        assert task is not None
        lease = on.acquire()
        limit = self.settings.acquire_timeout + (0.2 if self.settings.hooks else 0.0)
        self.waiting[turn] = task
        try:
            conn = await self.within(limit, "acquire", lease.__aenter__())
        finally:
            del self.waiting[turn]
        error: BaseException | None = None
        link = link_of(conn)
        try:
            self.lent(conn, turn)
            if link is not None:
                link.lent += 1
            if names is None:
                await self.lease_of(conn, self.rng.choice((1, 2, 3)))
            else:
                for name in names:
                    await getattr(self, name)(conn)
        except BaseException as raised:
            error = raised
            raise
        finally:
            if link is not None:
                link.lent -= 1
                link.returned = self.world.now
                if link.near.get_write_buffer_size():
                    self._cell(42, "P1")
            await lease.__aexit__(None, error, None)
            self.snatch()

    def snatch(self) -> None:
        """Cancel the caller who is next, in the very moment in which he may have been served."""
        if self.waiting and self.settings.cancelling and self.rng.random() < 0.2:
            task = self.waiting[min(self.waiting)]
            self.cancel(task)

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, and know of it."""
        self.cancelled[task] = self.world.now
        task.cancel()

    async def lease_of(self, conn: Any, steps: int) -> None:
        """Use a connection."""
        for name in self.rng.choices(("fetch", "insert", "fails", "batch", "transaction", "sleep"), k=steps):
            try:
                await getattr(self, name)(conn)
            except (Error, Oops) as error:
                self.surprised(error)
                if conn.closed:
                    return

    def _cell(self, number: int, position: str) -> None:
        if self.faults is not None:
            self.faults.hit.add((number, position))

    # ---- Looking at what was lent

    def lent(self, conn: Any, turn: int) -> None:
        """Check a connection at the moment at which it was lent."""
        if not self.settings.faulty and not self.settings.hooks:
            for other, task in self.waiting.items():
                if other < turn and task not in self.cancelled:
                    self.world.violation(f"caller {turn} was served before caller {other}", "fifo")
        link = link_of(conn)
        if link is None or link.near is None:
            return
        checker = self.check_lent
        if checker is not None:
            checker(link, conn)

    def fresh(self, conn: Any) -> None:
        """Check that a connection that is about to be lent is fit for it, seen from outside."""
        link = link_of(conn)
        if link is None or self.settings.hooks:
            return
        reason = stale(link, self.world.now, self.settings, self.expired_at)
        if reason and not (self.faults is not None and self.faults.jumped):
            self.world.violation(f"link {link.number} was lent with {reason}", "stale")

    @property
    def calm(self) -> bool:
        """True if nothing happens in this schedule that could cost a connection."""
        settings = self.settings
        return not settings.faulty and not settings.close_early and not settings.hooks and not settings.pooler

    @property
    def brisk(self) -> bool:
        """True if no call needs long in this schedule."""
        settings = self.settings
        patient = settings.command_timeout >= 1.0 and not settings.cancelling
        return self.calm and patient and self.world.network.weather.brisk

    def surprised(self, error: BaseException) -> None:
        """See whether an error is one that a caller can have expected."""
        settings = self.settings
        hit = self.faults.hit if self.faults is not None else set()
        calm = self.calm
        if isinstance(error, PoolTimeout) and calm and error is not self._hasty:
            stats = self.pool.stats()
            room = stats.size < stats.max_size and not stats.opening  # opening may be slow
            if room or stats.idle:
                self.world.violation(f"{error}, and nobody told who waits of the room", "late")
        strange = {number for number, _ in hit}
        kind, what = surprise(
            error,
            calm=calm,
            honest=not settings.faulty,
            forgotten=bool(strange & {36, 16, 17, 18, 13}),
            cancelled=settings.pooler or bool(strange & {7, 17, 18}),
        )
        if kind:
            self.world.violation(what, kind)

    check_lent: Any = None
    _hasty: PoolTimeout | None = None  # the last one of a call with a time of its own, which may be short


async def _made(awaitable: Awaitable[T]) -> T:
    return await awaitable
