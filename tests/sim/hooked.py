"""Callbacks of callers: hooks of a pool, what is called with a notice or at the end, the work of `retry`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import pgproto_asyncio as pg
from pgproto import Error, Outcome, PoolTimeout, Retry

from .corners import INSERT, ROWS, Block
from .moving import Oops
from .scene import Scene

if TYPE_CHECKING:
    import random

    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Hooked"]

_HOOKS: Final = ("on_connect", "on_acquire", "on_release", "on_close")
# A hook that hangs is given up; the pool's own bounds come to less than this.
_HANGS: Final = 1000.0
_BOUND: Final = 12.0


class Hooked:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    settings: Settings
    pool: Any
    dsn: str
    blocks: list[Block]
    logical: dict[int, list[int]]
    brisk: Any
    options: Any
    ask: Callable[..., Awaitable[Any]]
    within: Callable[..., Awaitable[Any]]

    # ---- A pool's hooks

    async def hooked(self, on: Any) -> None:
        """A pool of one's own, one of whose hooks strikes."""
        name = self.rng.choice(_HOOKS)
        awaited = self.rng.random() < 0.5
        once = name != "on_connect" or self.rng.random() < 0.5
        scene = Scene(self, name, None, 2, once=once)  # type: ignore[arg-type]
        strike = scene.strike
        scene.contained = True  # or somebody else's call has got it
        if name in ("on_release", "on_close"):
            strike.seconds = _HANGS

        def hook(conn: Any) -> None:
            scene.target = conn
            strike()

        async def later(conn: Any) -> None:
            scene.target = conn
            await strike.later()

        hooks: Any = {name: later if awaited or strike.deed == "slow" else hook}
        pool = pg.Pool(
            self.dsn,
            min_size=0,
            max_size=self.rng.choice((1, 1, 2)),
            acquire_timeout=self.settings.acquire_timeout,
            reset_timeout=0.5,
            **hooks,
            **self.options,
        )
        scene.on = pool
        try:
            await scene.play(lambda: self._borrow(pool, scene), before=0.3)
        finally:
            before = self.world.now
            await pool.close(timeout=1.0)
            took = self.world.now - before
            if took > (_BOUND if strike.deed == "slow" else 4.0):
                self.world.violation(f"closing a pool with {name} ({strike}) took {took:.3f} s", "late")
            if pool.stats().size:
                self.world.violation(f"a closed pool has {pool.stats().size} connections", "leak")
            if name in ("on_release", "on_close"):
                scene.told()

    async def _borrow(self, pool: Any, scene: Scene) -> None:
        for _ in range(2):
            tag = self.record.new_tag()
            asked = self.record.ask(tag)
            try:
                rows = await pool.fetch(ROWS, tag, 1)
            except Error as error:
                self.record.failed(asked, error)
                if isinstance(error, PoolTimeout) and scene.strike.raises and self.brisk:
                    text = f"{scene.place} raised {scene.strike!r}, and the caller waited: {error!r}"
                    self.world.violation(text, "hook")
                raise
            self.record.done(asked)
            self.record.rows(tag, rows, 1)

    # ---- A connection's callbacks

    async def called_back(self, on: Any) -> None:
        """A connection of one's own, one of whose callbacks strikes."""
        name = self.rng.choice(("on_notice", "on_lost"))
        conn = await pg.connect(self.dsn, **self.options)
        scene = Scene(self, name, conn, 1 if name == "on_lost" else 2, once=True)  # type: ignore[arg-type]

        scene.contained = True

        def strike(*_: Any) -> None:
            scene.strike()

        setattr(conn, name, strike)
        try:
            if name == "on_notice":
                await scene.play(lambda: self._noticed(conn))
            else:
                conn.abort()
                await asyncio.sleep(0.01)
        finally:
            await self.within(1.1, "close", conn.close())
            if not conn.closed:
                self.world.violation(f"after {scene.strike!r} in {name} it is not closed", "closed")
            scene.told()

    async def _noticed(self, conn: Any) -> None:
        for _ in range(2):
            await conn.fetch("select warn($1)", "by the way")

    # ---- The function of `retry`

    async def retried(self, on: Any) -> None:
        """Work that strikes, commits by hand, or fails elsewhere: it is repeated only where that is safe."""
        scene = Scene(self, "retry", self.pool, 2, once=True)  # type: ignore[arg-type]
        strike = scene.strike
        attempts = self.logical[self.record.new_id()] = []
        others = self.logical[self.record.new_id()] = []
        block = Block()
        by_hand = strike.deed == "commit by hand"

        async def work(conn: Any) -> None:
            scene.target = conn
            key = self.record.new_id()
            attempts.append(key)
            await self.ask(conn, "execute", key, INSERT, key)
            if by_hand:
                scene.happened()
                await conn.execute("commit")
                await conn.fetch("select fail($1)", "40001")
            elif strike.deed == "elsewhere":
                scene.happened()
                await self._elsewhere(others)
            else:
                await strike.later()
            block.keys = [key]

        async def call() -> None:
            await self.pool.retry(work, retry=Retry(3, delay=0.01))
            block.verdict = "done"

        await scene.play(call)
        if not by_hand:
            self.blocks.append(block)
            if scene.error is not None and strike.caused(scene.error):
                block.keys = list(attempts)
                block.verdict = Outcome.ROLLED_BACK

    async def _elsewhere(self, keys: list[int]) -> None:
        """Write through a connection that is lost before the answer, so that nobody knows."""
        conn = await pg.connect(self.dsn, **self.options)
        key = self.record.new_id()
        keys.append(key)
        asked = self.record.ask(key)
        task = asyncio.ensure_future(conn.execute(INSERT, key))
        try:
            await asyncio.wait([task], timeout=self.rng.choice((0.0, 0.0005, 0.002, 0.01, 0.03)))
            conn.abort()
            await task
        except Error as error:
            self.record.failed(asked, error)
            raise
        finally:
            if not task.done():
                task.cancel()
            with contextlib.suppress(Error, asyncio.CancelledError, Oops):
                await task
            await conn.close()
