"""What ends in the middle, and should cost nobody more than that: a stream that is left, a session that dies.

- Whoever leaves a stream early keeps the connection, although what is under way takes longer than GRACE.
- A session that has answered and dies in its first lease is no failed connect: the next one is not put off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pgproto_asyncio as pg
from pgproto import ConnectionClosed, ConnectionLost, Error, PoolTimeout

from .corners import ROWS, link_of
from .faults import FATAL

if TYPE_CHECKING:
    import random

    from .record import Record
    from .settings import Settings
    from .world import World

__all__ = ["Endings"]

_ROWS: Final = 180  # of so many bytes, which is less than a window
_SIZE: Final = 3000
# So fast they arrive: in more than GRACE, and in less than what the library has for it at the most.
_PIECE: Final = 20_000
_GAP: Final = 0.02
_CUTS: Final = 80
_BACKOFF: Final = 60.0


class Endings:
    """Operations of `Clients`."""

    world: World
    rng: random.Random
    record: Record
    settings: Settings
    pool: Any
    dsn: str
    calm: Any
    brisk: Any
    options: Any
    lease: Callable[..., Awaitable[None]]
    fetch: Callable[..., Awaitable[None]]

    async def left_early(self, on: Any) -> None:
        """Leave a stream, or a COPY, at its first piece; then ask for something else."""
        if on is self.pool:
            await self.lease(on, ["left_early"])
            return
        slow = self._slowed(link_of(on)) if self.rng.random() < 0.8 else contextlib.nullcontext()
        with slow:
            await self._left_early(on)

    async def _left_early(self, on: Any) -> None:
        tag = self.record.new_tag() + "x" * _SIZE
        if self.rng.random() < 0.5:
            self.record.ask(tag)
            pieces = on.stream(ROWS, tag, _ROWS, timeout=10.0)
        else:
            rows = f"select '{tag}'::text as tag, n from generate_series(1, {_ROWS}::int4) as n"
            pieces = on.copy_out(f"copy ({rows}) to stdout", timeout=10.0)
        async for _ in pieces:
            break
        before = self.world.now
        rest = link_of(on).down.size
        if self.rng.random() < 0.5:
            await pieces.aclose()
        else:
            del pieces
        tag = self.record.new_tag()
        asked = self.record.ask(tag)
        try:
            rows = await on.fetch(ROWS, tag, 1, timeout=10.0)
        except Error as error:
            self.record.failed(asked, error)
            if self.calm and not self.settings.cancelling:
                took = self.world.now - before
                text = f"a stream was left with {rest} bytes under way, and {took:.3f} s later: {error!r}"
                self.world.violation(text, "unusable")
            raise
        self.record.done(asked)
        self.record.rows(tag, rows, 1)

    @contextlib.contextmanager
    def _slowed(self, link: Any) -> Iterator[None]:
        """What the server says arrives slowly for a while."""
        pipe = link.down
        before = pipe.pieces, pipe.gap
        pipe.pieces, pipe.gap, pipe.cuts = _PIECE, _GAP, _CUTS
        try:
            yield
        finally:
            pipe.pieces, pipe.gap = before

    async def short_lived(self, on: Any) -> None:
        """A pool of one's own, whose sessions die when they have answered: in a lease, or behind it."""
        pool = pg.Pool(
            self.dsn,
            min_size=0,
            max_size=1,
            acquire_timeout=self.settings.acquire_timeout,
            backoff=_BACKOFF,
            max_backoff=_BACKOFF,
            **self.options,
        )
        answered = 0
        try:
            for _ in range(3):
                async with pool.acquire() as conn:
                    with contextlib.suppress(ConnectionLost, ConnectionClosed):  # it may be the last one yet
                        await self.fetch(conn)
                        answered += 1
                        await self._kill(conn)
        except PoolTimeout as error:
            if answered and self.brisk:
                text = f"after {answered} sessions that had answered, the next one is put off: {error!r}"
                self.world.violation(text, "late")
        finally:
            await pool.close(timeout=1.0)

    async def _kill(self, conn: Any) -> None:
        link = link_of(conn)
        if self.rng.random() < 0.5:
            self.world.call_later(0.0, link.fin)  # behind the lease
            return
        link.far.send(FATAL)
        link.fin()
        if self.rng.random() < 0.5:
            await self.fetch(conn)
