"""Calls that do not belong where they are made, and calls with arguments that make no sense.

What is asked from outside of a transaction block, from a savepoint that another task has closed, or after the
block's end must be refused: it would run under rules that its author does not know.  What makes no sense is
refused at the door, by that call alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pgproto_asyncio as pg
from pgproto import Error, Outcome, QueryTimeout

from .corners import INSERT, ROWS, Block
from .moving import Oops
from .scene import Scene

if TYPE_CHECKING:
    import random

    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Intruders"]

_TIMEOUTS: Final[dict[str, Any]] = {
    "timeout text": "1",
    "timeout decimal": Decimal(5),
    "timeout nan": float("nan"),
    "timeout bool": True,
}


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Intruders:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    settings: Settings
    pool: Any
    dsn: str
    blocks: list[Block]
    options: Any
    lease: Callable[..., Awaitable[None]]
    ask: Callable[..., Awaitable[Any]]

    # ---- Who is where he does not belong

    async def intrude(self, on: Any) -> None:
        """Calls of a task that is not where the call is."""
        if on is self.pool:
            await self.lease(on, ["intrude"])
            return
        if on.engine.blocks.open:
            return
        scene = Scene(self, "intruder", on, 1, busy=True)  # type: ignore[arg-type]
        deed = scene.strike.deed
        if deed == "nothing":
            return
        scene.allowed = (RuntimeError,)
        scene.happened()
        method = getattr(self, "_" + deed.replace(" ", "_"))
        # In the block of a borrower is who has his connection: no neighbours here.
        await scene.play(lambda: method(on), before=0.0, after=0.0)

    async def _put(self, on: Any, block: Block) -> None:
        key = self.record.new_id()
        await self.ask(on, "execute", key, INSERT, key)
        block.keys.append(key)

    async def _savepoint_of_another(self, on: Any) -> None:
        """Two tasks in savepoints of one transaction: the rollback of one must not take the other's work."""
        outer, inner = Block(), Block()
        entered = asyncio.Event()
        ended = asyncio.Event()

        async def other() -> None:
            await entered.wait()
            try:
                async with on.transaction():
                    await self._put(on, inner)
                inner.verdict = "left"
            except Error as error:
                self.world.note("the other savepoint ends with %r", error)
            finally:
                ended.set()

        async with on.transaction():
            await self._put(on, outer)
            task = asyncio.ensure_future(other())
            try:
                async with on.transaction():
                    await self.ask(on, "fetch", tag := self.record.new_tag(), ROWS, tag, 1)
                    entered.set()
                    await ended.wait()
                    raise Oops("in the savepoint")
            except Oops:
                pass
            finally:
                entered.set()
                await task
        outer.verdict = "done"
        if inner.verdict == "left":
            inner.verdict = "done"
            self.blocks.append(inner)
        self.blocks.append(outer)

    async def _outlives_the_block(self, on: Any) -> None:
        """A task that was started in a block goes on when it has ended."""
        key = self.record.new_id()
        left = asyncio.Event()

        async def other() -> None:
            await left.wait()
            await self._refused(on, key, "a task whose transaction block has ended")

        block = Block()
        task: asyncio.Task[None] | None = None
        try:
            async with on.transaction():
                await self._put(on, block)
                task = asyncio.ensure_future(other())
            block.verdict = "done"
            self.blocks.append(block)
        finally:
            left.set()
            if task is not None:
                await task

    async def _outsider(self, on: Any) -> None:
        """A task of outside asks while a block is open, on a connection that no pool has lent."""
        conn = await pg.connect(self.dsn, **self.options)
        key = self.record.new_id()
        entered = asyncio.Event()

        async def other() -> None:
            await entered.wait()
            await self._refused(conn, key, "a task outside of the open transaction block")

        task = asyncio.ensure_future(other())
        block = Block()
        try:
            async with conn.transaction():
                await self._put(conn, block)
                entered.set()
                await task
            block.verdict = "done"
            self.blocks.append(block)
        finally:
            task.cancel()
            with contextlib.suppress(Error, asyncio.CancelledError):
                await task
            await conn.close()

    async def _refused(self, on: Any, key: int, who: str) -> None:
        try:
            await self.ask(on, "execute", key, INSERT, key)
        except Error as error:
            self.world.note("%s is refused: %r", who, error)
        else:
            self.world.violation(f"{who} was served", "stray")

    async def _after_the_lease(self, on: Any) -> None:
        """A borrowed connection is used when it was given back."""
        async with self.pool.acquire(timeout=0.1) as conn:
            pass
        await self._refused(conn, self.record.new_id(), "a borrower whose lease has ended")

    async def _lease_twice(self, on: Any) -> None:
        """A lease is entered twice."""
        lease = self.pool.acquire(timeout=0.1)
        async with lease:
            await self._twice(lease, "a lease")

    async def _transaction_twice(self, on: Any) -> None:
        """A transaction is entered twice."""
        context = on.transaction()
        block = Block()
        async with context:
            await self._put(on, block)
            await self._twice(context, "a transaction")
        block.verdict = "done"
        self.blocks.append(block)

    async def _listen_twice(self, on: Any) -> None:
        """A listener is entered twice."""
        context = on.listen("news")
        async with context:
            await self._twice(context, "a listener")

    async def _twice(self, context: Any, what: str) -> None:
        try:
            await context.__aenter__()
        except (Error, RuntimeError) as error:
            self.world.note("%s is not entered twice: %r", what, error)
        else:
            self.world.violation(f"{what} was entered twice", "stray")
            await context.__aexit__(None, None, None)

    # ---- Nonsense

    async def nonsense(self, on: Any) -> None:
        """A call with arguments that make no sense: it ends at the door, with an exception of its own."""
        if on is self.pool and self.rng.random() < 0.8:
            await self.lease(on, ["nonsense"])
            return
        scene = Scene(self, "nonsense", on, 1, busy=True)  # type: ignore[arg-type]
        deed = scene.strike.deed
        if deed == "nothing" or (on is self.pool and deed in ("prepared statement", "foreign statement")):
            return
        scene.allowed = (TypeError, ValueError)
        if deed.startswith("copy"):
            scene.allowed = (_Unprintable, UnicodeError)
        scene.happened()
        await scene.play(lambda: self._nonsense(on, deed))
        if scene.error is None and not scene.cancelled and deed != "prepared statement":
            self.world.violation(f"{deed} was taken for an argument", "nonsense")
        if deed == "past" and isinstance(scene.error, Error) and not isinstance(scene.error, QueryTimeout):
            self.world.violation(f"a deadline that has passed is {scene.error!r}", "nonsense")

    async def _nonsense(self, on: Any, deed: str) -> None:
        key = self.record.new_id()
        if deed in ("None", "number", "bytes"):
            await on.fetch({"None": None, "number": 123, "bytes": b"select 1"}[deed])
        elif deed == "prepared statement":
            await self._as_statement(on)
        elif deed == "foreign statement":
            await self._foreign(on)
        elif deed.startswith("record"):
            await self._odd_record(on, deed, key)
        elif deed.startswith("copy"):
            await self._unsayable(on, deed, key)
        else:
            timeout = _TIMEOUTS.get(deed, -0.001)
            await self._stored_nothing(key, on.execute(INSERT, key, timeout=timeout))

    async def _stored_nothing(self, key: int, call: Awaitable[Any]) -> None:
        """The call is refused, and nothing of it is stored."""
        asked = self.record.ask(key)
        try:
            await call
        except Error as error:
            self.record.failed(asked, error)
            raise
        except Exception as error:
            asked.error = error
            asked.label = Outcome.NOT_SENT
            raise
        self.record.done(asked)

    async def _as_statement(self, on: Any) -> None:
        statement = await on.prepare(ROWS)
        tag = self.record.new_tag()
        asked = self.record.ask(tag)
        try:
            rows = await on.fetch(statement, tag, 1)
        except Error as error:
            self.record.failed(asked, error)
            raise
        self.record.done(asked)
        self.record.rows(tag, rows, 1)

    async def _foreign(self, on: Any) -> None:
        """A statement that was prepared on another connection."""
        conn = await pg.connect(self.dsn, **self.options)
        try:
            statement = await conn.prepare(ROWS)
            tag = self.record.new_tag()
            asked = self.record.ask(tag)
            try:
                await on.fetch(statement.statement, tag, 1)
            except Error as error:
                self.record.failed(asked, error)
                raise
            self.record.done(asked)
        finally:
            await conn.close()

    async def _odd_record(self, on: Any, deed: str, key: int) -> None:
        record: Any = {key: "value"} if deed == "record dict" else {key}
        asked = self.record.ask(self.record.new_tag())
        asked.copy = True
        other = self.record.new_id()
        asked.parts = [other, key]
        if self.rng.random() < 0.5:
            call = on.executemany(INSERT, [(other,), record])
        else:
            call = on.copy_records("ledger", [(other,), record], columns=["id"])
        try:
            await call
        except Error as error:
            self.record.failed(asked, error)
            raise
        except Exception:
            asked.label = Outcome.ROLLED_BACK
            raise
        self.record.done(asked)

    async def _unsayable(self, on: Any, deed: str, key: int) -> None:
        """A source whose exception has no text that could be told to the server."""

        def source() -> Any:
            yield b"%d\n" % key
            if deed == "copy surrogate":
                raise UnicodeError("\ud800")
            raise _Unprintable

        asked = self.record.ask(self.record.new_tag())
        asked.copy = True
        asked.parts = [key]
        try:
            await on.copy_in("copy ledger from stdin", source())
        except Error as error:
            self.record.failed(asked, error)
            raise
        except Exception:
            asked.label = Outcome.ROLLED_BACK
            raise
        self.record.done(asked)
