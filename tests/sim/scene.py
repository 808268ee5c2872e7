"""One call whose caller strikes, its neighbours, and the judgement about all of them.

- The call ends with the caller's own exception, or with a declared error; never as if nothing had been.
- Nothing of it is stored that was one piece, and its label says so (`checks` looks at that in the end).
- Its neighbours get their rows, and the connection (or the pool) serves the next query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from pgproto import Error, LocalProtocolError, PoolClosed, PoolTimeout

from .catalogue import CALLERS
from .corners import ROWS
from .mischief import Strike
from .moving import Oops

if TYPE_CHECKING:
    from .clients import Clients

__all__ = ["Scene"]

_CANCELS: Final = ("cancel", "lost task", "CancelledError")


class Scene:
    """One deed and who is there.

    Args:
        clients: whose operation it is.
        place: a place of `catalogue.CALLERS`.
        on: the connection, or the pool.
        calls: how many calls of the caller's code there may be, about.
        once: an exception is raised once, not at all later calls too.
        busy: the call has the connection for itself, so neighbours may be turned away.

    Attributes:
        strike: the deed.
        target: what "abort", "close" and "query" are done to.
        contained: it is nobody's call that the code is called for, so its exceptions are told to the loop.
        allowed: exceptions that the call may end with, besides the caller's own and the declared ones.
        error: what the call raised, once it was played; `cancelled`: it ended as cancelled.
    """

    def __init__(
        self, clients: Clients, place: str, on: Any, calls: int, *, once: bool = False, busy: bool = False
    ) -> None:
        rng = clients.rng
        self.clients = clients
        self.world = clients.world
        self.place = place
        self.on = self.target = on
        self.busy = busy
        self.contained = False
        self.allowed: tuple[type[BaseException], ...] = ()
        self.error: BaseException | None = None
        self.cancelled = False
        self._others: list[asyncio.Task[Any]] = []
        self._task: asyncio.Task[Any] | None = None
        deed = rng.choice(CALLERS[place])
        at = rng.randrange(1, calls + 1)
        ends_the_pool = on is clients.pool and place != "retry" and deed in ("abort", "close")
        if ends_the_pool:
            deed = "nothing"
        self.strike = Strike(deed, at, self._act, once=once)

    def _act(self, deed: str) -> None:
        self.clients.happened.add((self.place, deed))
        self.world.note("the caller's code: %s, %s", self.place, deed)
        if deed == "cancel" and self._task is not None:
            self._task.cancel()
        elif deed == "abort":
            self.target.abort()
        elif deed == "close":
            self.aside(self.target.close())
        elif deed == "query":
            self.aside(self._neighbour())

    def told(self) -> None:
        """What a callback of nobody's call has raised must have been told to the loop: it is not lost."""
        strike = self.strike
        told = [each for each in self.clients.told if strike.caused(each)]
        if len(told) < len(strike.errors):
            self.world.violation(f"{self.place}: nobody was told of {strike!r}", "swallowed")

    def happened(self) -> None:
        """What is done by the operation itself has happened."""
        self.strike.fired = True
        self._act(self.strike.deed)

    def aside(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work of another task; it is awaited before the scene ends."""
        task = asyncio.ensure_future(work)
        self._others.append(task)
        self.clients.cancelled[task] = self.clients.world.now  # it may be, with the operation

    async def play(
        self, call: Callable[[], Coroutine[Any, Any, Any]], *, before: float = 0.5, after: float = 0.3
    ) -> None:
        """Run the call, with neighbours around it, and judge.

        Args:
            call: makes the call.
            before: the probability of a neighbour that is there first.
            after: of one that comes when the call was made.
        """
        rng = self.clients.rng
        others = self._others
        for _ in range(2):
            if rng.random() < before:
                self.aside(self._neighbour())
        if others and rng.random() < 0.5:
            await asyncio.sleep(0)
        task = self._task = asyncio.ensure_future(call())
        self.clients.cancelled[task] = self.clients.world.now
        await asyncio.sleep(0)
        if rng.random() < after:
            self.aside(self._neighbour())
        limit = 2 * self._limit + 1.0
        try:
            while waiting := [each for each in (task, *others) if not each.done()]:
                await self.clients.within(limit, self.place, asyncio.wait(waiting))
        except asyncio.CancelledError:
            everybody = [task, *others]
            for each in everybody:
                each.cancel()
                each.add_done_callback(_seen)
            await asyncio.wait(everybody)
            raise
        self._judge(task)
        for other in others:
            error = None if other.cancelled() else other.exception()
            if error is not None and not isinstance(error, Error | Oops) and not self.strike.caused(error):
                text = f"beside a caller's code ({self.strike!r}), a call ended with {error!r}"
                self.world.violation(text, "neighbour")
        if not self.strike.ends:
            await self._next_query()

    def _judge(self, task: asyncio.Task[Any]) -> None:
        strike = self.strike
        if task.cancelled():
            self.cancelled = True
            if not strike.fired or strike.deed not in _CANCELS:
                self.world.violation(f"{self.place}: it ended as cancelled ({strike})", "caller")
            return
        self.error = error = task.exception()
        self.world.note("%s: it ended with %r (%s)", self.place, error, strike)
        if error is None:
            if strike.raises and not self.contained:
                self.world.violation(f"{self.place}: {strike!r} was swallowed", "swallowed")
        elif isinstance(error, Error | Oops):
            # A pool of one's own may be full for its own reasons, a connection of one's own be lost.
            own = isinstance(error, PoolTimeout) or strike.deed == "elsewhere"
            if not strike.ends and not own:
                self.clients.surprised(error)
        elif not strike.caused(error) and not isinstance(error, self.allowed):
            self.world.violation(f"{self.place}: it ended with {error!r} ({strike})", "caller")

    @property
    def _limit(self) -> float:
        return self.clients._limit(self.clients.pool)

    async def _neighbour(self) -> None:
        """A query of somebody else, which gets its rows whatever the other code does."""
        clients = self.clients
        tag = clients.record.new_tag()
        asked = clients.record.ask(tag)
        before = self.world.now
        try:
            rows = await self.on.fetch(ROWS, tag, 2)
        except (Error, Oops) as error:
            clients.record.failed(asked, error)
            ended = self.strike.ends or isinstance(error, PoolTimeout | PoolClosed)
            ended = ended or (self.busy and isinstance(error, LocalProtocolError))
            ended = ended or self.strike.caused(error)
            if clients.brisk and not ended and self.world.now - before < clients._query_time - 1e-6:
                text = f"{self.place}: beside {self.strike!r}, {tag} ended with {error!r}"
                self.world.violation(text, "neighbour")
            return
        clients.record.done(asked)
        clients.record.rows(tag, rows, 2)

    async def _next_query(self) -> None:
        clients = self.clients
        tag = clients.record.new_tag()
        asked = clients.record.ask(tag)
        call = self.on.fetch(ROWS, tag, 1)
        try:
            rows = await clients.within(self._limit, f"what follows {self.place}", call)
        except BaseException as error:
            clients.record.failed(asked, error)
            if self.strike.caused(error):
                return
            if isinstance(error, PoolTimeout) and self.on is not clients.pool:
                return  # see `_judge`
            if not isinstance(error, Error):
                raise
            if clients.brisk and not isinstance(error, PoolTimeout):
                text = f"{self.place}: after {self.strike!r} the next query ends with {error!r}"
                self.world.violation(text, "unusable")
            raise
        clients.record.done(asked)
        clients.record.rows(tag, rows, 1)


def _seen(task: asyncio.Future[Any]) -> None:
    """What a task raises that nobody waits for any more is no complaint."""
    if not task.cancelled():
        task.exception()
