"""What clients do seldom, and where others have fallen over: the corners of batches and transactions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pgproto import Batch, DataError, Error, Outcome, PostgresError
from pgproto.session import Default

if TYPE_CHECKING:
    import random

    from .network import Link
    from .record import Asked, Record
    from .world import World

__all__ = ["Block", "Corners", "link_of"]

ROWS: Final = "select $1::text as tag, n from generate_series(1, $2::int4) as n"
INSERT: Final = "insert into ledger values ($1)"

# What an operation may hold for a consumer that does not take: its own limit, one read, one row.
_HELD: Final = 4 * 65536 + 65536 + 4096
_REST: Final = 1 << 18  # what is read from a socket that has failed: see readiness.read_rest


class Block:
    """A transaction block: the ids that were inserted in it, and how it ended."""

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.verdict: Outcome | str | None = None


class Corners:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    pool: Any
    blocks: list[Block]
    batches: list[tuple[Batch, list[Asked]]]
    altered: int = 0  # how often the table `shape` was altered ...
    altering: int = 0  # ... and how many attempts nobody knows the end of
    ask: Callable[..., Awaitable[Any]]
    within: Callable[..., Awaitable[Any]]
    lease: Callable[..., Awaitable[None]]
    fails: Callable[[Any], Awaitable[None]]
    batch: Callable[[Any], Awaitable[None]]
    fetch: Callable[[Any], Awaitable[None]]
    _limit: Callable[..., float]
    _timeout: Callable[[], float | Default]

    async def fat_batch(self, on: Any) -> None:
        """More bytes than two socket buffers hold, each way."""
        batch = Batch(atomic=self.rng.random() < 0.5)
        asked: list[Asked] = []
        wanted: list[tuple[Any, str]] = []
        block = Block()
        self.blocks.append(block)
        for _ in range(self.rng.choice((15, 40))):
            tag = self.record.new_tag() + "x" * 9000
            item = batch.queue(ROWS, tag, 1)
            wanted.append((item, tag))
            entry = self.record.ask(tag)
            entry.item = item
            asked.append(entry)
            key = self.record.new_id()
            entry = self.record.ask(key)
            entry.item = batch.queue(INSERT, key)
            asked.append(entry)
            if batch.atomic:
                block.keys.append(key)
        self.batches.append((batch, asked))
        timeout = self._timeout()
        call = on.send_batch(batch, timeout=timeout)
        await self.within(
            self._limit(on, timeout), "fat_batch", call, hurried=not isinstance(timeout, Default)
        )
        for item, tag in wanted:
            if item.error is None:
                self.record.rows(tag, item.rows, 1)

    async def nap(self, on: Any) -> None:
        """A statement that takes some time."""
        await self.within(self._limit(on), "nap", on.execute("select pg_sleep($1)", 0.01))

    async def hasty_copy(self, on: Any) -> None:
        """A COPY that is given up early, and a query right behind it."""
        if on is self.pool:
            await self.lease(on, ["hasty_copy"])
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.rng.random() * 0.02):
                await getattr(self, "copy_in")(on)  # noqa: B009 - another part of the clients has it
        await self.fetch(on)

    async def big_stream(self, on: Any) -> None:
        """More rows than are kept for a consumer who takes his time."""
        if on is self.pool:
            await self.lease(on, ["big_stream"])
            return
        tag = self.record.new_tag() + "x" * 3000
        count = 150
        asked = self.record.ask(tag)
        stream = on.stream(ROWS, tag, count)
        got: list[Any] = []
        try:
            async for row in stream:
                got.append(row)
                if len(got) == 1:
                    await asyncio.sleep(0.1)
                    held = stream._operation._size
                    if held > _HELD + (_REST if on.closed else 0):
                        self.world.violation(f"a stream holds {held} bytes that nobody takes", "memory")
        except Error as error:
            self.record.failed(asked, error)
            raise
        self.record.done(asked)
        self.record.rows(tag, got, count)

    async def reshape(self, on: Any) -> None:
        """A table gets another shape under a cached statement: one error for each connection, not more."""
        if on is self.pool:
            await self.lease(on, ["reshape"])
            return
        failed_at = -1
        for _ in range(3):
            altered = self.altered if not self.altering else -2
            try:
                await self.within(self._limit(on), "reshape", on.fetch("select * from shape"))
            except PostgresError as error:
                again = failed_at == altered == self.altered and not self.altering
                if error.sqlstate == "0A000" and again:
                    self.world.violation(f"again: {error}", "surprise")
                failed_at = altered
            if self.rng.random() < 0.5:
                self.altering += 1
                sql = f"alter table shape add column c{self.record.new_id()} int4"
                await self.within(self._limit(on), "alter", on.execute(sql))
                self.altering -= 1
                self.altered += 1

    async def misfit(self, on: Any) -> None:
        """A value that does not fit a cached statement: its types may have changed, so it is asked again."""
        if on is self.pool:
            await self.lease(on, ["misfit"])
            return
        link = link_of(on)
        tag = self.record.new_tag()
        await self.ask(on, "fetch", tag, ROWS, tag, 1)
        before = _parses(link)
        with contextlib.suppress(DataError):
            await on.fetch(ROWS, "t", "three")
        if link is not None and not link.lied and _parses(link) == before:
            self.world.violation("a value was held against the types of a cached statement", "surprise")
        tag = self.record.new_tag()
        await self.ask(on, "fetch", tag, ROWS, tag, 1)

    async def odd_transaction(self, on: Any) -> None:
        """A block with statements at once, a batch, an error that is swallowed, one not waited for."""
        if on is self.pool:
            await self.lease(on, ["odd_transaction"])
            return
        if on.engine.blocks.open:
            return
        block = Block()
        self.blocks.append(block)
        context = on.transaction(readonly=self.rng.choice((None, False)))
        late: asyncio.Future[Any] | None = None
        try:
            async with context as conn:
                kind = self.rng.choice(("swallow", "batch", "late", "together"))
                keys = [self.record.new_id() for _ in range(3 if kind == "together" else 1)]
                block.keys += keys
                asks = [self.ask(conn, "execute", key, INSERT, key) for key in keys]
                for answer in await asyncio.gather(*asks, return_exceptions=True):
                    if isinstance(answer, BaseException):
                        raise answer
                if kind == "swallow":
                    with contextlib.suppress(PostgresError):
                        await self.fails(conn)
                elif kind == "batch":
                    await self.batch(conn)
                elif kind == "late":
                    key = self.record.new_id()
                    late = asyncio.ensure_future(self.ask(conn, "execute", key, INSERT, key))
                    await asyncio.sleep(0)
        except Error as error:
            block.verdict = error.outcome if context.committing else Outcome.ROLLED_BACK
            raise
        else:
            block.verdict = "done"
        finally:
            if late is not None:
                with contextlib.suppress(Error):
                    await late


def link_of(conn: Any) -> Any:
    """The simulated link below a connection."""
    link = conn._link
    near = link._transport if link is not None else None
    return near.link if near is not None else None


def _parses(link: Link | None) -> int:
    return 0 if link is None else sum(frame[0] == 0x50 for frame in link.tap.sent)
