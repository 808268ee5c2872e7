"""What happens to servers, pools and callers at a moment of its own, whatever goes over the links then.

The other half of a schedule's faults: restarts, failover, cancelled tasks, a pool that is closed under its
callers, time that jumps.  Each notes the cells of the catalogue that it really hit, by the positions in
which the links were.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from .position import where

if TYPE_CHECKING:
    from .clients import Clients
    from .faults import Faults
    from .network import Link, Network
    from .pooler import Pooler
    from .settings import Settings
    from .world import World

__all__ = ["Events"]

# What may happen to the server, with weights.
_SERVER: Final = {
    "terminate": 6,
    "shut_down": 3,
    "immediate": 2,
    "crash": 2,
    "kill": 1,
    "full": 2,
    "failover": 1,
    "refuse": 2,
    "hang": 1,
    "hour": 1,
    "forget": 2,
    "standby": 2,
    "late_cancel": 2,
    "chatter": 2,
    "moved": 1,
    "password": 1,
    "old": 1,
}

_POOLER: Final = ("kill", "shut_down", "kill_database", "kill_client", "reconnect", "pause", "suspend")


class Events:
    """The events of one schedule."""

    def __init__(
        self,
        world: World,
        settings: Settings,
        network: Network,
        server: Any,
        faults: Faults,
        pooler: Pooler | None,
    ) -> None:
        self.pooler = pooler
        self.world = world
        self.rng = world.rng
        self.settings = settings
        self.network = network
        self.server = server
        self.faults = faults
        self.over = False

    def plan(self, clients: Clients, tasks: list[asyncio.Task[None]], pool: Any) -> None:
        """Set the timers of what will happen."""
        rng = self.rng
        span = self.settings.spread + 0.3
        if self.settings.faulty and rng.random() < 0.5:
            names = rng.choices(list(_SERVER), list(_SERVER.values()), k=rng.choice((1, 1, 2)))
            for name in names:
                self._at(
                    rng.choice((0.0, 0.02, 0.1, 1.0)) * span * rng.random(), name, getattr(self, f"_{name}")
                )
        if self.pooler is not None and self.settings.faulty and rng.random() < 0.6:
            name = rng.choice(_POOLER)
            self._at(
                rng.choice((0.02, 0.1, 1.0)) * span * rng.random(),
                f"pooler {name}",
                lambda: self._pooler(name),
            )
        if "P9" in self.faults.armed:
            self._at(span * rng.random(), "terminate", self._terminate)
        if self.settings.cancelling:
            victims = [task for task in tasks if rng.random() < 0.5]
            for task in victims:
                when = (
                    rng.choice((0.0, 0.005, 0.05, 0.5)) * rng.random() + self.settings.spread * rng.random()
                )
                self._at(when, "cancel", lambda task=task: self._cancel(clients, task))
            if len(victims) > self.settings.max_size:
                self.faults.hit.add((38, "P11"))
        if self.settings.close_early:
            self._at(span * rng.random(), "close", lambda: self._close(clients, pool))

    def _at(self, seconds: float, name: str, what: Any) -> None:
        def happen() -> None:
            if not self.over:
                self.world.note("event: %s", name)
                what()

        self.world.loop.call_later(seconds, happen)

    def stop(self) -> None:
        """Heal everything; nothing happens any more."""
        self.over = True
        if self.pooler is not None:
            self.pooler.wait_timeout = 120.0
            self.pooler.idle_transaction = 0.0
            self.pooler.cancel_delay = 0.0
            self.pooler.start()
            self.pooler.resume()
        server = self.server
        server.max_connections = 1000
        server.protocol = 196610
        server.cancel_delay = 0.0
        server.secrets.pop("sim", None)
        server.database.read_only = False
        server.database.replication_delay = 0.0
        server.start()

    # ---- Callers

    def _cancel(self, clients: Clients, task: asyncio.Task[None]) -> None:
        if task.done():
            return
        for link in self.network.links:
            if link.alive:
                self.faults.hit.add((29, where(link)))
        clients.cancel(task)
        if self.rng.random() < 0.3:
            delay = self.rng.choice((0.0, 0.0005, 0.005, 0.05))
            self.world.loop.call_later(delay, self._again, task)

    def _again(self, task: asyncio.Task[None]) -> None:
        if not task.done() and not self.over:
            self.faults.hit.add((30, "P11"))
            task.cancel()

    def _close(self, clients: Clients, pool: Any) -> None:
        self.faults.hit.add((39, "P11"))
        clients.closing = asyncio.ensure_future(pool.close(timeout=self.rng.choice((0.0, 0.05, 1.0))))

    # ---- The pooler

    def _pooler(self, name: str) -> None:
        pooler = self.pooler
        if pooler is None:
            return
        self._cell(22)
        if name in ("kill", "shut_down"):
            getattr(pooler, name)(self.rng.choice((0.05, 0.5)))
            return
        getattr(pooler, name)()
        if name in ("pause", "suspend"):
            self.world.loop.call_later(self.rng.choice((0.05, 0.5, 4.0)), pooler.resume)

    # ---- The server

    def _cell(self, number: int) -> None:
        for link in self._links():
            self.faults.hit.add((number, where(link)))

    def _links(self) -> list[Link]:
        return [link for link in self.network.links if link.alive]

    def _sessions(self) -> list[Any]:
        return list(self.server.sessions.values())

    def _terminate(self) -> None:
        sessions = self._sessions()
        if sessions:
            self._cell(1)
            self.rng.choice(sessions).terminate()

    def _shut_down(self) -> None:
        self._cell(19)
        self.server.shut_down(self.rng.choice((0.05, 0.5, 2.0)))

    def _immediate(self) -> None:
        self._cell(5)
        self.server.shut_down_at_once(self.rng.choice((0.05, 0.5)), words=self.rng.random() < 0.7)

    def _crash(self) -> None:
        self._cell(5)
        sessions = self._sessions()
        pid = self.rng.choice(sessions).pid if sessions and self.rng.random() < 0.7 else 0
        self.server.crash(pid, self.rng.choice((0.05, 0.5)), words=self.rng.random() < 0.7)

    def _kill(self) -> None:
        self._cell(8)
        self.server.kill(self.rng.choice((0.05, 0.5)))

    def _full(self) -> None:
        self.faults.hit.add((20, "P12"))
        self.server.max_connections = self.rng.choice((0, 1, 2))
        self.world.loop.call_later(self.rng.choice((0.05, 0.5)), self._roomy)

    def _roomy(self) -> None:
        self.server.max_connections = 1000

    def _failover(self) -> None:
        self._cell(23)
        self.server.demote(0.05)
        self.world.loop.call_later(self.rng.choice((0.1, 0.5)), self.server.promote)

    def _refuse(self) -> None:
        self.faults.dials += [self.rng.choice(("refused", "dns"))] * self.rng.choice((1, 2, 4))
        for link in self._links()[:1]:
            link.rst(keep=False)

    def _hang(self) -> None:
        self.faults.dials.append("hang")
        for link in self._links()[:1]:
            link.rst(keep=False)

    def _hour(self) -> None:
        self._cell(34)
        self.faults.jumped = True
        self.world.loop.end += 3600.0
        self.world.loop.advance(3600.0)

    def _forget(self) -> None:
        """Somebody has DEALLOCATEd everything behind the library's back."""
        self._cell(36)
        for session in self._sessions():
            session.statements.clear()

    def _standby(self) -> None:
        """Commits wait for a standby; somebody stops the wait."""
        self.server.database.replication_delay = 0.05
        how = self.rng.choice(("terminate", "cancel"))

        def strike() -> None:
            for session in self._sessions():
                if session.busy:
                    self.faults.hit.add((6 if how == "terminate" else 7, "P7"))
                    getattr(session, how)()

        for delay in (0.01, 0.03, 0.06, 0.1):
            self._at(delay, how, strike)

    def _late_cancel(self) -> None:
        self._cell(37)
        self.server.cancel_delay = self.rng.choice((0.01, 0.1))

    def _chatter(self) -> None:
        self._cell(13)
        for session in self._sessions():
            if not session.dead:
                session.warn("01000", "by the way")

    def _moved(self) -> None:
        self.faults.hit.add((24, "P11"))
        self.network.hosts["pool"] = "elsewhere"

    def _password(self) -> None:
        if self.pooler is not None:
            return
        self.faults.hit.add((21, "P12"))
        self.server.secrets["sim"] = self.network.wrong_secret
        for link in self._links()[:1]:
            link.rst(keep=False)

    def _old(self) -> None:
        self.faults.hit.add((41, "P12"))
        self.server.protocol = 196608
        for link in self._links()[:1]:
            link.rst(keep=False)
