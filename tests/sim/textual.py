"""Transactions as text: BEGIN, SAVEPOINT, COMMIT AND CHAIN, PREPARE TRANSACTION as statements of a batch.

What a batch says of each of its items must be what the database knows at that very moment: stored, prepared,
open in a transaction, or nowhere.  The library has the tags and ReadyForQuery; the model has the truth.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from pgproto import Batch, Outcome, PostgresError

from .corners import INSERT, ROWS

if TYPE_CHECKING:
    import random

    from .record import Asked, Record
    from .world import World

__all__ = ["Textual"]

_STATES: Final = {
    Outcome.COMMITTED: "stored",
    Outcome.PREPARED: "prepared",
    Outcome.OK_IN_TX: "open",
    Outcome.ROLLED_BACK: "",
    Outcome.FAILED: "",
    Outcome.SKIPPED: "",
    Outcome.NOT_SENT: "",
    Outcome.NOT_COMMITTED: "",
}
"""Where the database has what an outcome says.  UNKNOWN is no answer where nothing went wrong."""

_ENDS: Final = (
    "commit",
    "commit",
    "end",
    "rollback",
    "abort",
    "commit and chain",
    "rollback and chain",
    "prepare",
    "prepare",
    "",
)
_NAMES: Final = ("a", "b", '"A b"')


class Textual:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    pool: Any
    calm: Any
    batches: list[tuple[Batch, list[Asked]]]
    lease: Callable[..., Awaitable[None]]
    within: Callable[..., Awaitable[Any]]
    _limit: Callable[..., float]

    async def text_batch(self, on: Any) -> None:
        """A batch whose statements end and begin transactions."""
        if on is self.pool:
            await self.lease(on, ["text_batch"])
            return
        if on.engine.blocks.open:
            return
        rng = self.rng
        for _ in range(rng.choice((1, 1, 2))):
            batch = Batch(atomic=rng.random() < 0.5)
            asked = self._queue(batch)
            self.batches.append((batch, asked))
            try:
                await self.within(self._limit(on), "text batch", on.send_batch(batch))
            except PostgresError:
                pass  # as it was written, or as somebody left something out
            if self.calm:
                for entry in asked:
                    self._compare(entry)
            if on.closed:
                return
        if on.transaction_status != "I":
            await self.within(self._limit(on), "the end", on.script(rng.choice(("rollback", "commit"))))

    def _compare(self, entry: Asked) -> None:
        """Hold an item's outcome against the database as it is now."""
        database = self.world.servers["postgres"].database  # type: ignore[attr-defined]
        outcome = entry.item.outcome
        if not isinstance(entry.key, int) or outcome is None or self.record.lied:
            return
        found = database.state_of(entry.key)
        if _STATES.get(outcome) != found:
            where = found or "nowhere"
            self.world.violation(f"{entry.key} is {outcome}, but in the database it is {where}", "ledger")

    def _queue(self, batch: Batch) -> list[Asked]:
        """Blocks, as people write them, and sometimes not quite."""
        asked: list[Asked] = []
        texts = self._texts()
        for text in texts:
            self.world.note("text batch: %s", text)
            if text == INSERT:
                key: int | str = self.record.new_id()
                item = batch.queue(INSERT, key)
            elif text == ROWS:
                key = self.record.new_tag()
                item = batch.queue(ROWS, key, 1)
            else:
                batch.queue(text)
                continue
            entry = self.record.ask(key)
            entry.item = item
            asked.append(entry)
        return asked

    def _texts(self) -> list[str]:
        rng = self.rng
        texts: list[str] = []
        prepared = False
        for _ in range(rng.choice((1, 1, 2, 3))):
            if rng.random() < 0.3:
                texts += [INSERT] * rng.choice((1, 2))
            end = rng.choice(_ENDS)
            texts.append(
                rng.choice(("begin", "begin", "start transaction", "begin isolation level serializable"))
            )
            texts += self._inside()
            if end == "prepare":
                name = f"g{self.record.new_id()}"
                texts.append(f"prepare transaction '{name}'")
                prepared = True
            elif end:
                texts.append(end)
        if not prepared and rng.random() < 0.25:  # as a bug in the caller would have it
            del texts[rng.randrange(len(texts))]
        return texts or [INSERT]

    def _inside(self) -> list[str]:
        rng = self.rng
        texts: list[str] = []
        open_: list[str] = []
        for _ in range(rng.choice((1, 2, 3, 5, 9))):
            chosen = rng.random()
            if chosen < 0.5:
                texts.append(INSERT)
            elif chosen < 0.65:
                open_.append(rng.choice(_NAMES))
                texts.append(f"savepoint {open_[-1]}")
            elif chosen < 0.8 and open_:
                name = rng.choice(open_)
                texts.append(rng.choice((f"rollback to {name}", f"rollback to savepoint {name}")))
            elif chosen < 0.87 and open_:
                texts.append(f"release savepoint {open_.pop()}")
            elif chosen < 0.93:
                texts.append(ROWS)
            else:
                texts.append(rng.choice(("select 1/0", "select fail('P0001')", "selec")))
        return texts
