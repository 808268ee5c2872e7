"""One schedule from its seed to its verdict: `run(seed)`.

The course: a world, a network, a model server, a pool; clients that use it while faults strike; then all is
healed, a query through the same pool must succeed (liveness), all is closed, and the account is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any, Final

import pgproto_asyncio as pg
from pgproto import Error, PoolClosed
from pgproto.client import Driver
from pgproto.protocol.verifier import ScramVerifier

from . import harness
from .checks import Checks
from .clients import Clients, Oops
from .database import Database
from .events import Events
from .faults import Faults
from .loop import Deadlock, VirtualLoop
from .network import Network
from .pooler import Pooler
from .postgres import Postmaster
from .postgres_process import Process
from .record import Record
from .settings import Settings
from .walk import walk
from .world import Violation, World

__all__ = ["Report", "run"]

# Virtual seconds after which a schedule must have ended.
_HORIZON: Final = 300.0
# Virtual seconds within which a query must succeed once everything is healed.
_HEAL: Final = 4.0


class _Pool(pg.Pool):
    """A pool that is watched: `look` sees each connection at the moment at which it is lent."""

    look: Callable[[pg.Connection], None]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        driver = self._driver
        assert isinstance(driver, Driver)
        accepted = driver._jobs.accepted

        async def watched(conn: pg.Connection, deadline: float) -> bool:
            if not conn.closed:  # else it is not lent
                self.look(conn)
            return await accepted(conn, deadline)

        setattr(driver._jobs, "accepted", watched)  # noqa: B010 - a method, for mypy


class Report:
    """What a schedule that went well has done.

    Attributes:
        queries: asked for; succeeded: of them.
        links: connections made.
        cells: (fault, position) that were hit.
        deeds: (place, deed) of callers' own code that happened.
        seconds: of virtual time.
        trace: if it was asked for.
    """

    __slots__ = ("cells", "deeds", "links", "queries", "seconds", "seed", "succeeded", "trace")

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.queries = 0
        self.succeeded = 0
        self.links = 0
        self.seconds = 0.0
        self.cells: frozenset[tuple[int, str]] = frozenset()
        self.deeds: frozenset[tuple[str, str]] = frozenset()
        self.trace = ""


_wrong = ScramVerifier.from_password("another", b"salt", 1).format()
_right = ScramVerifier.from_password(harness.CANARY, b"salt", 1).format()


def run(seed: int, profile: str = "all", *, trace: bool = False) -> Report:
    """Run one schedule.

    Args:
        seed: decides everything.
        profile: one of `settings.PROFILES`.
        trace: keep the whole trace (slow).  A violation is always run again with it.

    Raises:
        Violation: a promise was broken.
    """
    schedule = _Schedule(seed, profile, trace)
    report = schedule.play()
    broken = schedule.world.broken
    if broken is None:
        if trace:
            report.trace = schedule.world.lines(1_000_000)
        return report
    if not trace:
        # The same again, with every line of the trace: a schedule is a function of its seed.
        again = _Schedule(seed, profile, True)
        again.play()
        if again.world.broken is not None:
            schedule, broken = again, again.world.broken
    raise Violation(broken[0], broken[1], seed, profile, schedule.world.lines())


class _Server(Postmaster):
    """Notes whom cancel requests hit."""

    def __init__(self, world: World, database: Database, network: Network) -> None:
        super().__init__(world, database)
        self._network = network

    def _cancel(self, session: Process) -> None:
        self._network.cell(37, "P2" if session.busy else "P10")
        super()._cancel(session)


class _Schedule:
    def __init__(self, seed: int, profile: str, trace: bool) -> None:
        self.loop = VirtualLoop()
        self.world = World(seed, profile, self.loop, tracing=trace)
        self.settings = Settings(self.world)
        self.network = Network(self.world)
        self.database = Database()
        self.server = _Server(self.world, self.database, self.network)
        self.server.row_delay = self.world.rng.choice((0.0, 0.0, 0.0, 0.0001))
        self.server.buffer_size = self.world.rng.choice((8192, 8192, 64, 1))
        if self.settings.scram and not self.settings.pooler:
            self.server.secrets["sim"] = _right
        self.network.wrong_secret = _wrong
        self.world.servers["postgres"] = self.server
        self.world.servers["elsewhere"] = self.server
        self.network.hosts = {"pool": "postgres", "direct": "postgres"}
        self.database.read_only = self.settings.standby
        self.database.cramped = self.settings.cramped
        self.record = Record(self.world)
        self.faults = Faults(self.world, self.settings, self.record)
        if self.settings.faulty:
            self.network.faults = self.faults
        self.deeds: set[tuple[str, str]] = set()
        self.checks = Checks(self.world, self.network, self.record, self.server)
        self.pooler = self._make_pooler() if self.settings.pooler else None
        self.loop.on_error = self.checks.told
        self.events = Events(self.world, self.settings, self.network, self.server, self.faults, self.pooler)
        self.loop.end = self.loop.time() + _HORIZON

    def _make_pooler(self) -> Pooler:
        rng = self.world.rng
        following = self.settings.following
        mode = "transaction" if following or self.settings.named_statements is False else "session"
        # A session keeps its server: with fewer of them than sessions, somebody rightly waits for ever.
        size = rng.choice((1, 2, 100)) if mode == "transaction" else 100
        pooler = Pooler(self.world, "postgres", mode=mode, size=size, max_prepared=following)
        pooler.old = rng.random() < 0.2 and not following
        pooler.wait_timeout = rng.choice((0.3, 120.0))
        pooler.idle_transaction = rng.choice((0.0, 0.0, 0.05))
        pooler.lifetime = rng.choice((3600.0, 0.05))
        self.world.servers["pooler"] = pooler
        self.network.hosts = {"pool": "pooler", "direct": "pooler"}
        return pooler

    def play(self) -> Report:
        """Whatever comes out of it is a violation of this seed: a crash of the library, or of the rig."""
        try:
            return self._walk() if self.settings.walks else self._run()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.world.violation(f"{error!r} came out\n{''.join(traceback.format_exception(error))}", "crash")
            return Report(self.world.seed)

    def _run(self) -> Report:
        """The whole course."""
        world = self.world
        loop = self.loop
        before = loop.time()
        with harness.installed(world):
            try:
                asyncio.set_event_loop(loop)
                loop.run_until_complete(loop.create_task(self._main()))
            except Deadlock as error:
                world.violation(f"{error}: {self._pending()}", "hang")
            finally:
                self._abandon()
                asyncio.set_event_loop(None)
                loop.close()
        report = Report(world.seed)
        report.queries = len(self.record.asked) + len(self.record.amounts)
        report.succeeded = self.record.succeeded
        report.links = len(self.network.links)
        report.seconds = loop.time() - before
        report.cells = frozenset(self.faults.hit)
        report.deeds = frozenset(self.deeds)
        return report

    def _walk(self) -> Report:
        """Not a pool this time: the protocol core alone."""
        report = Report(self.world.seed)
        try:
            report.queries = walk(self.world)
        finally:
            self.loop.close()
        return report

    def _pending(self) -> str:
        waiting = [task for task in self.loop.tasks if not task.done()]
        return "; ".join(repr(task.get_coro()) for task in waiting[:6])

    def _abandon(self) -> None:
        """Whatever is left after a violation is cancelled, so that nothing of it speaks up later."""
        loop = self.loop
        loop.end = float("inf")
        for _ in range(5):
            left = [task for task in loop.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            with contextlib.suppress(Deadlock, RuntimeError):
                loop.run_until_complete(asyncio.sleep(30.0))
        for task in loop.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            if task.done():
                task._log_traceback = False

    def _make_pool(self) -> _Pool:
        settings = self.settings
        rng = self.world.rng

        def on_notice(notice: Any) -> None:
            if rng.random() < 0.5:
                self.faults.hit.add((40, "P2"))
                raise Oops("on_notice")

        async def set_up(conn: pg.Connection) -> None:
            if settings.set_up:
                await conn.script("set my.tenant = 'sim'")

        async def on_connect(conn: pg.Connection) -> None:
            conn.on_notice = on_notice
            await set_up(conn)
            if rng.random() < 0.1:
                self.faults.hit.add((40, "P12"))
                raise Oops("on_connect")

        async def on_acquire(conn: pg.Connection) -> bool:
            if rng.random() < 0.1:
                self.faults.hit.add((40, "P11"))
                raise Oops("on_acquire")
            if rng.random() < 0.3:
                await asyncio.sleep(0.001)
            return rng.random() < 0.9

        def on_release(conn: pg.Connection) -> bool:
            if rng.random() < 0.1:
                raise Oops("on_release")
            return rng.random() < 0.9

        async def on_close(conn: pg.Connection) -> None:
            if rng.random() < 0.3:
                await asyncio.sleep(0.05)
            if rng.random() < 0.3:
                self.faults.hit.add((40, "P10"))
                raise Oops("on_close")

        hooks: dict[str, Any] = {"on_connect": set_up} if settings.set_up else {}
        if settings.set_up:
            self.checks.set_up = ["set my.tenant = sim"]
        if settings.hooks:
            every = {
                "on_connect": on_connect,
                "on_acquire": on_acquire,
                "on_release": on_release,
                "on_close": on_close,
            }
            hooks |= {name: hook for name, hook in every.items() if rng.random() < 0.6}
        return _Pool(
            f"host=pool user=sim dbname=sim password={harness.CANARY} sslmode=disable",
            min_size=settings.min_size,
            max_size=settings.max_size,
            acquire_timeout=settings.acquire_timeout,
            max_lifetime=settings.max_lifetime,
            check_after=settings.check_after,
            check_timeout=0.5,
            reset_timeout=0.5,
            connect_timeout=settings.connect_timeout,
            command_timeout=settings.command_timeout,
            statement_cache_size=settings.statement_cache_size,
            statement_mode="cache_statement" if settings.named_statements else "cache_describe",
            reset=settings.reset,
            **hooks,
        )

    async def _main(self) -> None:
        world = self.world
        settings = self.settings
        pool = self._make_pool()
        dsn = f"host=direct user=sim dbname=sim password={harness.CANARY} sslmode=disable"
        clients = Clients(world, self.record, settings, dsn, pool)
        clients.check_lent = self.checks.lent
        pool.look = clients.fresh
        clients.faults = self.faults
        clients.happened = self.deeds
        clients.told = self.checks.contained
        self.network.on_link = lambda: self.checks.connections(settings.max_size)
        await pool.open(wait=False)
        tasks = [self.loop.create_task(clients.run(number)) for number in range(settings.tasks)]
        self.events.plan(clients, tasks, pool)
        await asyncio.wait(tasks)
        for task in tasks:
            self._ended(clients, task)
        world.note("the clients are done")
        if not settings.faulty and clients.closing is None:
            await asyncio.sleep(2.0)  # more than the library's grace
            if self.pooler is None:  # a cancel request for a client that waits at the pooler is for nothing
                self.checks.quiet()
            if not settings.hooks:
                with contextlib.suppress(Error):
                    await clients.lease(pool, [])
        self.events.stop()
        self.faults.stop()
        self.network.heal()
        if clients.closing is None:
            await self._alive(pool)
            if world.profile == "callers" and not settings.hooks:
                await clients.whole(pool)
        await self._close(pool, clients)
        await asyncio.sleep(20.0)  # servers notice, grace periods end
        if self.pooler is not None:
            if self.pooler.count:
                world.violation(f"{self.pooler.count} clients are left at the pooler", "leak")
            self.pooler.kill()
            await asyncio.sleep(5.0)
        current = asyncio.current_task()
        self.checks.tasks({current})
        self.checks.links()
        self.checks.labels(clients, self.database.committed)
        self.checks.amounts(self.database)
        self.checks.storm(settings.max_size)
        self.checks.secrets()

    def _ended(self, clients: Clients, task: asyncio.Task[None]) -> None:
        asked = task in clients.cancelled
        if task.cancelled():
            if not asked:
                self.world.violation("a task was cancelled that nobody has cancelled", "cancel")
            return
        error = task.exception()
        if error is not None:
            where = "".join(traceback.format_exception(error)[-4:])
            self.world.violation(f"a client got {error!r}\n{where}", "error")
        elif asked:
            self.world.violation("a cancellation was swallowed", "cancel")

    async def _alive(self, pool: pg.Pool) -> None:
        """I13: a query through the same pool succeeds soon."""
        world = self.world
        until = world.now + _HEAL + self.settings.connect_timeout
        while True:
            try:
                tag = self.record.new_tag()
                rows = await pool.fetch(
                    "select $1::text as tag, n from generate_series(1, $2::int4) as n", tag, 1, timeout=1.0
                )
            except (Error, Oops) as error:
                if world.now > until or isinstance(error, PoolClosed):
                    world.violation(f"no query succeeds after all is healed: {error!r}", "liveness")
                    return
                await asyncio.sleep(0.05)
            else:
                self.record.rows(tag, rows, 1)
                return

    async def _close(self, pool: pg.Pool, clients: Clients) -> None:
        before = self.world.now
        if clients.closing is not None:
            await clients.closing
        await pool.close(timeout=1.0)
        await pool.close()
        if self.world.now - before > 4.0:
            self.world.violation(f"closing the pool took {self.world.now - before:.3f} s", "late")
        stats = pool.stats()
        if stats.size:
            self.world.violation(f"a closed pool has {stats.size} connections", "leak")
