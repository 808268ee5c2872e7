"""What clients do with data that moves piece by piece: COPY, executemany, notifications, streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

from pgproto import Error, Outcome

from .corners import ROWS

if TYPE_CHECKING:
    import random

    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Moving", "Oops"]


class Oops(Exception):
    """Raised by the clients' own code and hooks."""


class Moving:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    settings: Settings
    pool: Any
    notified: set[str]
    lease: Callable[..., Awaitable[None]]
    within: Callable[..., Awaitable[Any]]
    fetch: Callable[..., Awaitable[None]]
    surprised: Callable[[BaseException], None]
    _limit: Callable[..., float]
    _insert_text: Callable[[], str]
    _query_time: Any

    async def copy_in(self, on: Any) -> None:
        """Ids by COPY, from any kind of source, which may raise."""
        ids = [self.record.new_id() for _ in range(self.rng.choice((0, 1, 3, 20)))]
        kind = self.rng.choice(("bytes", "list", "async", "raises", "records"))
        lines = [b"%d\n" % key for key in ids]
        if kind == "records":
            call = on.copy_records("ledger", [(key,) for key in ids], columns=["id"])
        elif kind == "bytes":
            call = on.copy_in("copy ledger from stdin", b"".join(lines))
        else:
            call = on.copy_in("copy ledger from stdin", self._source(kind, lines))
        await self._store(on, ids, call)

    async def executemany(self, on: Any) -> None:
        """Ids by one statement with many records, from any kind of source, which may raise."""
        ids = [self.record.new_id() for _ in range(self.rng.choice((0, 1, 3, 20, 20, 2500)))]
        kind = self.rng.choice(("list", "async", "raises", "misfit", "twice"))
        records: list[tuple[Any, ...]] = [(key,) for key in ids]
        if kind == "misfit":
            records.append(("no id",))
        elif kind == "twice" and ids:
            records.append(records[0])  # 23505
        await self._store(on, ids, on.executemany(self._insert_text(), self._source(kind, records)))

    async def _store(self, on: Any, ids: list[int], call: Awaitable[int]) -> None:
        """Ids that are stored all or none."""
        asked = self.record.ask(self.record.new_tag())
        asked.copy = True
        asked.parts = ids
        limit = self._limit(on) + self._query_time * (len(ids) + 2)
        try:
            count = await self.within(limit, "storing", call)
        except Error as error:
            self.record.failed(asked, error)
            raise
        except Oops:
            asked.label = Outcome.ROLLED_BACK
            raise
        self.record.done(asked)
        if count != len(ids) and not self.record.lied:
            self.world.violation(f"{len(ids)} rows were counted as {count}", "rows")

    def _source(self, kind: str, things: list[Any]) -> Any:
        def raising() -> Iterator[Any]:
            yield from things
            raise Oops("in a source")

        async def slow() -> AsyncIterator[Any]:
            for thing in things:
                if self.rng.random() < min(0.3, 10 / len(things)):
                    await asyncio.sleep(0.001)
                yield thing

        if kind == "async":
            return slow()
        if kind == "raises":
            return raising()
        return things

    async def copy_out(self, on: Any) -> None:
        """Rows by COPY; the consumer may stop."""
        tag = self.record.new_tag()
        count = self.rng.choice((0, 3, 30))
        sql = f"copy (select '{tag}'::text as tag, n from generate_series(1, {count}::int4) as n) to stdout"
        expected = b"".join(b"%s\t%d\n" % (tag.encode(), n) for n in range(1, count + 1))
        stop = self.rng.random() < 0.2
        got = b""
        pieces = on.copy_out(sql)
        async for piece in pieces:
            got += piece
            if stop:
                await self.within(1.0, "aclose", pieces.aclose())
                break
        if not self.record.lied and got != expected and not (stop and expected.startswith(got)):
            self.world.violation(f"COPY of {tag} brought {got[:60]!r}", "rows")

    async def listen(self, on: Any) -> None:
        """A notification of our own arrives."""
        if on is self.pool:
            await self.lease(on, ["listen"])
            return
        payload = self.record.new_tag()
        self.notified.add(payload)
        async with on.listen("news") as notifications:
            await self.within(
                self._limit(on), "notify", on.execute("select pg_notify($1, $2)", "news", payload)
            )
            try:
                async with asyncio.timeout(1.0):
                    async for note in notifications:
                        if note.channel != "news" or note.payload not in self.notified:
                            self.world.violation(f"a notification of nobody: {note!r}", "rows")
                        if note.payload == payload:
                            return
            except TimeoutError:
                if not self.settings.faulty and not self.settings.pooler:
                    self.world.violation(f"the notification {payload} got lost", "rows")

    async def stream(self, on: Any) -> None:
        """Rows piece by piece."""
        if on is self.pool:
            await self.lease(on, ["stream"])
            return
        tag = self.record.new_tag()
        count = self.rng.choice((0, 3, 60))
        asked = self.record.ask(tag)
        stop = self.rng.choice((0, 1, 2)) if self.rng.random() < 0.3 else -1
        if self.rng.random() < 0.01:
            tag = self.record.new_tag() + 3000 * "_"  # more than the library wants to hold
            asked = self.record.ask(tag)
            count = 120
        got: list[Any] = []
        stream = on.stream(ROWS, tag, count)
        try:
            while True:
                if len(got) == stop:
                    await self.within(1.0, "aclose", stream.aclose())
                    break
                got.append(await self.within(self._query_time, "stream", anext(stream)))
                if len(got) == 1 and len(tag) > 3000:
                    await asyncio.sleep(0.2)
        except StopAsyncIteration:
            stop = -1
        except Error as error:
            self.record.failed(asked, error)
            raise
        self.record.rows(tag, got, len(got) if stop >= 0 else count)
        if stop < 0:
            self.record.done(asked)

    async def cursor(self, conn: Any) -> None:
        """Rows piece by piece, in a block, with queries in between."""
        tag = self.record.new_tag()
        count = self.rng.choice((0, 3, 20))
        asked = self.record.ask(tag)
        leave = self.rng.random() < 0.3
        got: list[Any] = []
        async with conn.cursor(ROWS, tag, count) as cursor:
            try:
                piece = await self.within(self._query_time, "fetch", cursor.fetch(2))
            except Error as error:
                self.record.failed(asked, error)
                raise
            self.record.done(asked)  # each later fetch is a request of its own, without values
            while piece:
                got += piece
                if leave:
                    break
                if self.rng.random() < 0.5:
                    await self.fetch(conn)
                piece = await self.within(self._query_time, "fetch", cursor.fetch(2))
        self.record.rows(tag, got, len(got) if leave else count)
