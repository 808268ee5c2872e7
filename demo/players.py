"""The demo's two acts, once for each adapter: the same calls, with and without `await`.

`race` runs the same queries one by one and as one batch.  `outage` sends three batches through a pool of
two connections at once, and keeps what each of them ends with.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Protocol

import trio

import pgproto
import pgproto_asyncio
import pgproto_blocking
import pgproto_trio

from .scene import COUNT, ROUNDS, SELECT, Part, Race, numbers

__all__ = ["PLAYERS", "Player"]

Meter = Callable[[], int]
POLL_SECONDS = 0.01
"""How often a pool's statistics are asked for: it has no event for "all connections are lent"."""


class Player(Protocol):
    """One adapter, played to its end in the calling thread."""

    name: str

    def race(self, dsn: str, meter: Meter) -> Race:
        """Run COUNT queries one by one and as a batch; `meter` tells the round trips so far."""

    def outage(self, dsn: str, parts: list[Part]) -> None:
        """Send all parts at once through a pool with two connections."""


class AsyncioPlayer:
    """pgproto_asyncio."""

    name = "asyncio"

    def race(self, dsn: str, meter: Meter) -> Race:
        async def main() -> Race:
            race = Race(meter)
            async with pgproto_asyncio.Pool(dsn, max_size=1) as pool:
                await pool.fetchval(SELECT, 0)
                for _ in range(ROUNDS):
                    with race.one_by_one:
                        race.one_by_one.answers = [await pool.fetchval(SELECT, n) for n in range(COUNT)]
                    batch = numbers()
                    with race.batch:
                        await pool.send_batch(batch)
                    race.batch.answers = [item.rows[0][0] for item in batch.items]
            return race

        return asyncio.run(main())

    def outage(self, dsn: str, parts: list[Part]) -> None:
        async def main() -> None:
            async with pgproto_asyncio.Pool(dsn, max_size=2) as pool:

                async def send(part: Part) -> None:
                    try:
                        await pool.send_batch(part.batch)
                    except pgproto.Error as error:
                        part.error = error
                    part.ended = time.monotonic()

                async with asyncio.TaskGroup() as tasks:
                    for part in parts[:2]:
                        tasks.create_task(send(part))
                    while pool.stats().used < 2:  # noqa: ASYNC110
                        await asyncio.sleep(POLL_SECONDS)
                    tasks.create_task(send(parts[2]))

        asyncio.run(main())


class TrioPlayer:
    """pgproto_trio."""

    name = "trio"

    def race(self, dsn: str, meter: Meter) -> Race:
        async def main() -> Race:
            race = Race(meter)
            async with pgproto_trio.Pool(dsn, max_size=1) as pool:
                await pool.fetchval(SELECT, 0)
                for _ in range(ROUNDS):
                    with race.one_by_one:
                        race.one_by_one.answers = [await pool.fetchval(SELECT, n) for n in range(COUNT)]
                    batch = numbers()
                    with race.batch:
                        await pool.send_batch(batch)
                    race.batch.answers = [item.rows[0][0] for item in batch.items]
            return race

        return trio.run(main)

    def outage(self, dsn: str, parts: list[Part]) -> None:
        async def main() -> None:
            async with pgproto_trio.Pool(dsn, max_size=2) as pool:

                async def send(part: Part) -> None:
                    try:
                        await pool.send_batch(part.batch)
                    except pgproto.Error as error:
                        part.error = error
                    part.ended = time.monotonic()

                async with trio.open_nursery() as nursery:
                    for part in parts[:2]:
                        nursery.start_soon(send, part)
                    while pool.stats().used < 2:  # noqa: ASYNC110
                        await trio.sleep(POLL_SECONDS)
                    nursery.start_soon(send, parts[2])

        trio.run(main)


class BlockingPlayer:
    """pgproto_blocking; threads share the pool."""

    name = "blocking"

    def race(self, dsn: str, meter: Meter) -> Race:
        race = Race(meter)
        with pgproto_blocking.Pool(dsn, max_size=1) as pool:
            pool.fetchval(SELECT, 0)
            for _ in range(ROUNDS):
                with race.one_by_one:
                    race.one_by_one.answers = [pool.fetchval(SELECT, n) for n in range(COUNT)]
                batch = numbers()
                with race.batch:
                    pool.send_batch(batch)
                race.batch.answers = [item.rows[0][0] for item in batch.items]
        return race

    def outage(self, dsn: str, parts: list[Part]) -> None:
        with pgproto_blocking.Pool(dsn, max_size=2) as pool:

            def send(part: Part) -> None:
                try:
                    pool.send_batch(part.batch)
                except pgproto.Error as error:
                    part.error = error
                part.ended = time.monotonic()

            threads = [threading.Thread(target=send, args=(part,), daemon=True) for part in parts]
            for thread in threads[:2]:
                thread.start()
            while pool.stats().used < 2:
                time.sleep(POLL_SECONDS)
            threads[2].start()
            for thread in threads:
                thread.join()


PLAYERS: tuple[Player, ...] = (AsyncioPlayer(), TrioPlayer(), BlockingPlayer())
