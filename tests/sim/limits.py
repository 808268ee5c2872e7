"""Texts, values and numbers of statements around the limits: the high-water mark, the cache, narrow windows.

Output is produced up to the high-water mark (64 KiB), and what is written before a statement (names to close,
a Parse, a BEGIN) may have taken all of it.  So texts here are about as long as that, batches have as many
statements as fill it with their names, and cached statements come back after they were evicted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pgproto import Batch, Error, Outcome

from .corners import INSERT, ROWS, Block

if TYPE_CHECKING:
    import random

    from .record import Asked, Record
    from .world import World

__all__ = ["Limits"]

_MARK: Final = 65536


class Limits:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    pool: Any
    blocks: list[Block]
    batches: list[tuple[Batch, list[Asked]]]
    lease: Callable[..., Awaitable[None]]
    ask: Callable[..., Awaitable[Any]]
    within: Callable[..., Awaitable[Any]]
    _limit: Callable[..., float]

    def _padded(self, sql: str, size: int) -> str:
        """The statement with a comment that makes it about so long, and one of many."""
        mark = f" -- {self.rng.randrange(40)} "
        return sql + mark + "x" * max(0, size - len(sql) - len(mark))

    def _size(self) -> int:
        """A length around a limit."""
        limit = self.rng.choice((0, 64, 4096, _MARK, _MARK, 2 * _MARK))
        return max(0, limit + self.rng.choice((-300, -100, -60, -30, -10, -2, -1, 0, 1, 2, 30, 100)))

    async def long_text(self, on: Any) -> None:
        """One statement with a text around a limit, in any kind of call."""
        if on is self.pool:
            await self.lease(on, ["long_text"])
            return
        tag = self.record.new_tag()
        sql = self._padded(ROWS, self._size())
        kind = self.rng.choice(("fetch", "fetch", "prepare", "stream", "transaction"))
        if kind == "transaction" and not on.engine.blocks.open:
            block = Block()
            self.blocks.append(block)
            key = self.record.new_id()
            async with on.transaction():
                await self.ask(on, "execute", key, self._padded(INSERT, self._size()), key)
                block.keys.append(key)
            block.verdict = "done"
        elif kind == "prepare":
            statement = await self.within(self._limit(on), "prepare", on.prepare(sql))
            await self._rows(tag, statement.fetch(tag, 2), self._limit(on))
        elif kind == "stream":
            asked = self.record.ask(tag)
            try:
                rows = [row async for row in on.stream(sql, tag, 2)]
            except Error as error:
                self.record.failed(asked, error)
                raise
            self.record.done(asked)
            self.record.rows(tag, rows, 2)
        else:
            await self._rows(tag, on.fetch(sql, tag, 2), self._limit(on))

    async def _rows(self, tag: str, call: Awaitable[Any], limit: float) -> None:
        asked = self.record.ask(tag)
        try:
            rows = await self.within(limit, "a long text", call)
        except Error as error:
            self.record.failed(asked, error)
            raise
        self.record.done(asked)
        self.record.rows(tag, rows, 2)

    async def many_texts(self, on: Any) -> None:
        """A batch of many distinct statements, some long, some with long values."""
        if on is self.pool:
            await self.lease(on, ["many_texts"])
            return
        rng = self.rng
        batch = Batch(atomic=rng.random() < 0.5)
        asked: list[Asked] = []
        wanted: list[tuple[Any, str]] = []
        block = Block()
        self.blocks.append(block)
        count = rng.choice((2, 5, 40, 300))
        each = rng.choice((60, 230, 600)) if count > 40 else self._size()
        for number in range(count):
            pad = f" -- {number} " + "x" * rng.randrange(max(1, each)) if rng.random() < 0.9 else ""
            if rng.random() < 0.5:
                key: int | str = self.record.new_id()
                item = batch.queue(INSERT + pad, key)
                if batch.atomic:
                    block.keys.append(int(key))
            else:
                key = self.record.new_tag() + "y" * rng.choice((0, 0, 0, self._size() if count < 10 else 300))
                item = batch.queue(ROWS + pad, key, 2)
                wanted.append((item, key))
            entry = self.record.ask(key)
            entry.item = item
            asked.append(entry)
        self.batches.append((batch, asked))
        timeout = 20.0
        await self.within(timeout + 4.0, "many texts", on.send_batch(batch, timeout=timeout))
        for item, key in wanted:
            if item.outcome in (Outcome.COMMITTED, Outcome.OK_IN_TX) and item.error is None:
                self.record.rows(key, item.rows, 2)
        if batch.atomic:
            block.verdict = "done"

    async def evictions(self, on: Any) -> None:
        """More statements than the cache has room for: their names are closed with whatever comes next."""
        if on is self.pool:
            await self.lease(on, ["evictions"])
            return
        rng = self.rng
        batch = Batch(atomic=rng.random() < 0.5)
        count = rng.choice((3, 120, 120, 2600))
        tag = self.record.new_tag()
        entry = self.record.ask(tag)
        for number in range(count):
            batch.queue(f"select {number}")
        entry.item = batch.queue(ROWS, tag, 1)
        self.batches.append((batch, [entry]))
        await self.within(64.0, "evictions", on.send_batch(batch, timeout=60.0))
        for _ in range(2):
            tag = self.record.new_tag()
            await self._rows(tag, on.fetch(ROWS, tag, 2, timeout=20.0), 20.0)
