"""The stream of events: one connection listens for the process, and its subscribers share what comes.

Who is told "gap" may have missed something, because the server was away or the subscriber too slow, and reads
the list after the last transfer that it knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pgproto
import pgproto_asyncio as pg

__all__ = ["Events"]

GAP = "event: gap\ndata: {}\n\n"
WAITING = 1000  # events for one subscriber
HEARTBEAT = 15.0  # seconds


class Events:
    """Who listens."""

    def __init__(self) -> None:
        self._subscribers: set[asyncio.Queue[str | None]] = set()
        self._closed = False

    async def run(self, pool: pg.Pool, channel: str, listening: asyncio.Event) -> None:
        """Listen until the pool is closed or the task is cancelled; a lost connection is replaced.

        Args:
            pool: opens the connection.
            channel: what to listen to.
            listening: set when nothing is missed any more.
        """
        async with pool.listen(channel) as events:
            listening.set()
            async for event in events:
                if isinstance(event, pgproto.ListenGap):
                    self._tell(GAP)
                else:
                    self._tell(f"event: transfer\ndata: {event.payload}\n\n")

    def _tell(self, text: str | None) -> None:
        for queue in self._subscribers:
            if queue.full() or text is None:
                while not queue.empty():
                    queue.get_nowait()
                text = text and GAP
            queue.put_nowait(text)

    async def subscribe(self) -> AsyncIterator[str]:
        """The events from now on, as text/event-stream."""
        queue: asyncio.Queue[str | None] = asyncio.Queue(WAITING)
        self._subscribers.add(queue)
        try:
            yield ": you are listening\n\n"
            while not self._closed:
                try:
                    text = await asyncio.wait_for(queue.get(), HEARTBEAT)
                except TimeoutError:
                    text = ":\n\n"
                if text is not None:
                    yield text
        finally:
            self._subscribers.discard(queue)

    def close(self) -> None:
        """End all streams: a server that shuts down waits for its answers, and these have no end."""
        self._closed = True
        self._tell(None)
