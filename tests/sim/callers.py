"""What callers do with code of their own in the library's hands: values, records, sources.

Each operation is a `Scene`: one deed happens at one call of the caller's code.  `hooked`, `intruders` and
`nonsense` have the other places; `catalogue.CALLERS` has them all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pgproto import Batch, Error, Outcome

from .corners import INSERT, Block
from .mischief import VALUES, Strike, records_of, source_of
from .scene import Scene

if TYPE_CHECKING:
    import random

    from .record import Asked, Record
    from .settings import Settings
    from .world import World

__all__ = ["Callers"]

GIVEN: Final = "select $1::text as tag, ($2::{} is not null)::int4 as n"


class Callers:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    settings: Settings
    pool: Any
    blocks: list[Block]
    batches: list[tuple[Batch, list[Asked]]]
    lease: Callable[..., Awaitable[None]]

    async def whole(self, pool: Any) -> None:
        """Check that a pool lends as many connections as it may have, all at once."""
        patience = self.settings.connect_timeout + 5.0  # who dials into the void has to find out first
        leases = [pool.acquire(timeout=patience) for _ in range(self.settings.max_size)]
        entered: list[Any] = []
        try:
            for lease in leases:
                await lease.__aenter__()
                entered.append(lease)
        except Error as error:
            count = f"{len(entered)} of {len(leases)}"
            self.world.violation(f"only {count} connections can be borrowed: {error!r}", "slots")
        finally:
            for lease in entered:
                await lease.__aexit__(None, None, None)

    # ---- Values

    async def odd_value(self, on: Any) -> None:
        """A value whose conversion is the caller's code, in any kind of call."""
        if on is self.pool and self.rng.random() < 0.7:
            await self.lease(on, ["odd_value"])
            return
        kind = self.rng.choice(tuple(VALUES))
        form = self.rng.choice(("call", "call", "atomic", "single", "stream"))
        if form == "stream" and on is self.pool:
            form = "call"
        scene = Scene(self, f"value {kind}", on, 2, busy=form == "stream")  # type: ignore[arg-type]
        if form in ("atomic", "single"):
            await scene.play(lambda: self._odd_batch(on, kind, scene.strike, atomic=form == "atomic"))
        else:
            await scene.play(lambda: self._odd_call(on, kind, scene.strike, streamed=form == "stream"))

    def _told(self, kind: str, strike: Strike) -> tuple[str, str, tuple[object, ...]]:
        """A statement with an odd value: its tag, its text, its values.

        An int or a str of a class of the caller's is no such value: what goes out is what it is, and none of
        its own methods is called.
        """
        tag = self.record.new_tag()
        type_name, make = VALUES[kind]
        return tag, GIVEN.format(type_name), (tag, make(strike))

    async def _odd_call(self, on: Any, kind: str, strike: Strike, *, streamed: bool) -> None:
        key, sql, args = self._told(kind, strike)
        asked = self.record.ask(key)
        try:
            rows = [row async for row in on.stream(sql, *args)] if streamed else await on.fetch(sql, *args)
        except Error as error:
            self.record.failed(asked, error)
            raise
        except BaseException as error:
            asked.error = error
            if strike.raises:
                asked.label = Outcome.NOT_SENT
            raise
        self.record.done(asked)
        if isinstance(key, str):
            self.record.rows(key, rows, 1)

    async def _odd_batch(self, on: Any, kind: str, strike: Strike, *, atomic: bool) -> None:
        batch = Batch(atomic=atomic)
        asked: list[Asked] = []
        block = Block()
        size = self.rng.choice((1, 2, 4))
        odd = self.rng.randrange(size)
        for number in range(size):
            key: int | str = self.record.new_id()
            sql: str = INSERT
            args: tuple[object, ...] = (key,)
            if number == odd:
                key, sql, args = self._told(kind, strike)
            entry = self.record.ask(key)
            entry.item = batch.queue(sql, *args)
            asked.append(entry)
            if atomic and isinstance(key, int):
                block.keys.append(key)
        self.blocks.append(block)
        self.batches.append((batch, asked))
        await on.send_batch(batch)
        block.verdict = "done" if atomic else None
        error = None if atomic else asked[odd].item.error
        if error is not None:
            raise error

    # ---- Sources

    async def odd_source(self, on: Any) -> None:
        """A source of records or of COPY data that is the caller's code."""
        if on is self.pool and self.rng.random() < 0.7:
            await self.lease(on, ["odd_source"])
            return
        count = self.rng.choice((1, 3, 20))
        kind = self.rng.choice(_SOURCES)
        scene = Scene(self, kind, on, count, busy=True)  # type: ignore[arg-type]
        await scene.play(lambda: self._odd_source(on, kind, count, scene.strike))

    async def _odd_source(self, on: Any, kind: str, count: int, strike: Strike) -> None:
        ids = [self.record.new_id() for _ in range(count)]
        asked = self.record.ask(self.record.new_tag())
        asked.copy = True
        asked.parts = ids
        whole = kind != "record"
        form = self.rng.choice(("copy_in", "copy_records", "executemany"))
        if kind == "file" or (form == "copy_in" and whole):
            call = on.copy_in("copy ledger from stdin", source_of(kind, [b"%d\n" % id for id in ids], strike))
        else:
            records: Any = records_of(ids, strike, kind)
            if whole:
                records = source_of(kind, records, strike)
            elif self.rng.random() < 0.3:
                records = source_of("async generator", records, Strike("nothing", 1, _idle))
            if form == "executemany":
                call = on.executemany(INSERT, records)
            else:
                call = on.copy_records("ledger", records, columns=["id"])
        try:
            stored = await call
        except Error as error:
            self.record.failed(asked, error)
            raise
        except BaseException as error:
            asked.error = error
            if strike.raises:
                asked.label = Outcome.ROLLED_BACK
            raise
        self.record.done(asked)
        if stored != count and not self.record.lied:
            self.world.violation(f"{count} rows were counted as {stored}", "rows")


_SOURCES: Final = (
    "generator",
    "iterator",
    "async generator",
    "async iterator",
    "file",
    "record",
)


def _idle(what: str) -> None:
    """Nothing happens."""
