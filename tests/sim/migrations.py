"""Migrations under load: a column changes its type while statements that use it are prepared everywhere.

Behind a pooler that follows names a client meets servers that have parsed a statement before the change, and
others that parse it after, and nobody says which.  Whatever the library learned before:

- every value in a row is decoded as what the column was while the query ran;
- every value that is stored is the one that was passed (`Checks.amounts` looks once more in the end);
- a value of the type that the column has is not refused;
- outside of a block, and where nothing was given away yet, nobody hears of statements that are out of date.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from pgproto import Batch, DataError, Error, Outcome, PostgresError

if TYPE_CHECKING:
    import random

    from .database import Database
    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Migrations", "is_same"]

STORE: Final = "insert into amounts values ($1, $2)"
LOOK: Final = "select id, amount from amounts where id = $1"

_MADE: Final[dict[int, Callable[[int], object]]] = {20: int, 701: float, 25: str}
_TYPES: Final = ("int8", "float8", "text")
# Calls that can be repeated unseen.
_REPEATED: Final = ("store", "look", "many", "kept")
_OUT_OF_DATE: Final = ("0A000", "26000")


def is_same(stored: object, amount: int) -> bool:
    """True if a value is this amount, whatever its type."""
    return stored in (amount, str(amount))


class Migrations:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    pool: Any
    lease: Callable[..., Awaitable[None]]
    within: Callable[..., Awaitable[Any]]
    surprised: Callable[[BaseException], None]
    settings: Settings
    _limit: Callable[..., float]
    _query_time: Any

    @property
    def _database(self) -> Database:
        return self.world.servers["postgres"].database  # type: ignore[attr-defined,no-any-return]

    async def retype(self, on: Any) -> None:
        """The migration."""
        name = self.rng.choice(_TYPES)
        sql = f"alter table amounts alter column amount type {name} using amount::{name}"
        await self.within(self._limit(on), "retype", on.execute(sql))

    async def amounts_on_lease(self, on: Any) -> None:
        """One connection for long, so that it has prepared what is changed then."""
        await self.lease(on, ["amounts_in_turn"])

    async def amounts_in_turn(self, on: Any) -> None:
        """Store and look, by every kind of call."""
        for _ in range(self.rng.choice((2, 4, 8))):
            kind = self.rng.choice(
                ("store", "store", "look", "look", "batch", "many", "block", "stream", "kept")
            )
            if on is self.pool and kind in ("stream", "kept"):
                kind = "look"
            begun = self.world.now
            try:
                await getattr(self, f"_amounts_by_{kind}")(on)
            except Error as error:
                self.surprised(error)
                self.world.note("amounts by %s: %r", kind, error)
                told = isinstance(error, PostgresError) and error.sqlstate in _OUT_OF_DATE
                in_time = self.world.now - begun < self.settings.command_timeout
                if told and kind in _REPEATED and in_time and not self.settings.faulty:
                    self.world.violation(f"amounts by {kind}: nobody should hear of {error!r}", "surprise")
                if on is not self.pool and on.closed:
                    return
            await asyncio.sleep(self.rng.choice((0.0, 0.001, 0.01, 0.03)))

    # ---- Values

    def _new(self) -> tuple[int, object]:
        """An id, and an amount as what the column is now, or what it was when the program was written."""
        id = self.record.new_id()
        amount = self.record.amounts[id] = self.rng.randrange(1, 1_000_000)
        made = _MADE[self._database.amount_type]
        if self.rng.random() < 0.2:
            made = self.rng.choice(list(_MADE.values()))
        return id, made(amount)

    @contextlib.contextmanager
    def _fitting(self, *values: object) -> Iterator[None]:
        """Values of the type that the column has all the time are not refused."""
        begun = self.world.now
        try:
            yield
        except (DataError, PostgresError) as error:
            refused = not isinstance(error, PostgresError) or error.sqlstate == "42804"
            types = {_MADE[oid] for oid in self._types(begun)}
            same = len(types) == 1 and {type(value) for value in values} == types
            if refused and same and not self.record.lied:
                what = f"{values!r} is refused, and fits all the time: {error!r}"
                self.world.violation(what, "types")
            raise

    def _types(self, begun: float) -> set[int]:
        """What the column was at any moment since then."""
        history = self._database.amount_types
        oids = {oid for when, oid in history if when >= begun}
        return oids | {[oid for when, oid in history if when <= begun][-1]}

    def _known(self) -> int | None:
        """An id that is stored."""
        found = [id for id in self.record.amounts if id in self._database.amounts.committed]
        return self.rng.choice(found) if found else None

    def _stored(self, id: int, *, committed: bool = True) -> None:
        """The library has said so."""
        self.record.succeeded += 1
        database = self._database
        if self.record.lied:
            return
        if committed and id not in database.amounts.committed:
            self.world.violation(f"amount {id} was stored, but is not in the database", "truth")
        elif id in database.amount and not is_same(database.amount[id], self.record.amounts[id]):
            text = f"amount {id} is {database.amount[id]!r} in the database, not {self.record.amounts[id]}"
            self.world.violation(text, "types")

    def _right(self, rows: Any, id: int, begun: float) -> None:
        """The row is what the column was at a moment since `begun`."""
        self.record.succeeded += 1
        if self.record.lied:
            return
        oids = self._types(begun)
        amount = self.record.amounts[id]
        found = [tuple(row) for row in rows]
        if not any(repr(found) == repr([(id, _MADE[oid](amount))]) for oid in oids):
            names = ", ".join(sorted(_MADE[oid].__name__ for oid in oids))
            self.world.violation(f"amount {id} is {amount} as {names}, but came as {found}", "types")

    # ---- Calls

    async def _amounts_by_store(self, on: Any) -> None:
        id, amount = self._new()
        with self._fitting(amount):
            await self.within(self._limit(on), "store", on.execute(STORE, id, amount))
        self._stored(id)

    async def _amounts_by_many(self, on: Any) -> None:
        records = [self._new() for _ in range(self.rng.choice((1, 2, 5)))]
        with self._fitting(*(amount for _, amount in records)):
            await self.within(self._limit(on) + 1.0, "store many", on.executemany(STORE, records))
        for id, _ in records:
            self._stored(id)

    async def amounts_by_copy(self, on: Any) -> None:
        """By COPY, whose data are made of what the columns were described as."""
        records = [self._new() for _ in range(self.rng.choice((1, 2, 5)))]
        with self._fitting(*(amount for _, amount in records)):
            call = on.copy_records("amounts", records, columns=["id", "amount"])
            await self.within(self._limit(on) + self._query_time + 1.0, "copy", call)
        for id, _ in records:
            self._stored(id)

    async def _amounts_by_look(self, on: Any) -> None:
        id = self._known()
        if id is not None:
            begun = self.world.now
            self._right(await self.within(self._limit(on), "look", on.fetch(LOOK, id)), id, begun)

    async def _amounts_by_stream(self, on: Any) -> None:
        id = self._known()
        if id is not None:
            begun = self.world.now
            self._right([row async for row in on.stream(LOOK, id)], id, begun)

    async def _amounts_by_kept(self, on: Any) -> None:
        """A statement that the caller keeps, over a while."""
        statement = await self.within(self._limit(on), "prepare", on.prepare(LOOK))
        try:
            for _ in range(2):
                id = self._known()
                if id is not None:
                    begun = self.world.now
                    self._right(await self.within(self._limit(on), "kept", statement.fetch(id)), id, begun)
                await asyncio.sleep(self.rng.choice((0.0, 0.02)))
        finally:
            if not on.closed:
                await statement.close()

    async def _amounts_by_batch(self, on: Any) -> None:
        batch = Batch(atomic=self.rng.random() < 0.5)
        stored: list[tuple[Any, int]] = []
        looked: list[tuple[Any, int]] = []
        values: list[object] = []
        begun = self.world.now
        for _ in range(self.rng.choice((1, 2, 4))):
            known = self._known()
            if known is None or self.rng.random() < 0.5:
                id, amount = self._new()
                values.append(amount)
                stored.append((batch.queue(STORE, id, amount), id))
            else:
                looked.append((batch.queue(LOOK, known), known))
        try:
            with self._fitting(*values):
                await self.within(self._limit(on), "batch of amounts", on.send_batch(batch))
        finally:
            for item, id in stored:
                if item.outcome is Outcome.COMMITTED and item.error is None:
                    self._stored(id)
            for item, id in looked:
                if item.outcome is Outcome.COMMITTED and item.error is None:
                    self._right(item.rows, id, begun)

    async def _amounts_by_block(self, on: Any) -> None:
        """In a transaction block, where nothing can be repeated."""
        if on is not self.pool and on.engine.blocks.open:
            return
        ids: list[int] = []
        async with on.transaction() as conn:
            for _ in range(2):
                id, amount = self._new()
                with self._fitting(amount):
                    await self.within(self._limit(conn), "store", conn.execute(STORE, id, amount))
                self._stored(id, committed=False)
                ids.append(id)
                await self._amounts_by_look(conn)
        for id in ids:
            self._stored(id)
