"""Campaigns: one weather after the other under load, measured, compared with the table, added up.

A *scene* is an adapter, a server, and what stands between them.  Its clients run from the first weather to
the last.  Then the ledger is compared with the table, the server must have been asked for no more connections
than the pool may have, and nothing may be left behind: no socket, no thread, no task.
"""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pgproto_blocking
from pgproto import Error
from pgproto_pytest import Driver
from pgproto_pytest.process import running, wait_until
from tests.chaos.failover import Pair
from tests.chaos.lag import Lag
from tests.chaos.ledger import Ledger
from tests.chaos.load import CREATE, Load
from tests.chaos.weather import CROWD, NOTICED, Weather, behind_pgbouncer, kills, network, on_a_server
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer, PoolMode
from tests.support.postgres import PostgresServer, Version
from tests.support.proxy import Proxy, open_sockets

__all__ = ["HEALED", "SETTINGS", "Report", "Scenes", "prepare"]

USER = "chaos"
HEALED = 1.0
"""Seconds from the server's return to the first call that succeeds."""
SERVED = 30.0
"""Seconds after which a client that was not served counts as forgotten."""
MAX_SIZE = 16
ALL = slice(None)
MIXED = (b"invalid frontend message", b"invalid message format", b"insufficient data left in message")
"""What a server says where messages of several clients were mixed up."""
POOLED = 6
"""Servers behind a pooler, where they are scarce."""
SHARED = 3
"""Connections that several callers use at once, where there are such."""

SETTINGS = {"shared_buffers": "4MB", "max_connections": "60", "wal_level": "replica", "max_wal_senders": "4"}
"""A server that starts fast, and can be crowded."""

OTHERS = "pid <> pg_backend_pid() and backend_type = 'client backend'"

# The campaign's own sessions are not meant by the limits that it sets.
LIMITS = (
    "statement_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "default_transaction_read_only",
)
ROLES = "".join(
    [
        f"create role {USER} login; create role {CROWD} login;",
        *(f"alter role postgres set {name} = {int(False)};" for name in LIMITS),
    ]
)


def prepare(server: PostgresServer) -> None:
    """Create the roles that the clients and the crowd log in as."""
    if server.query(f"select 1 from pg_roles where rolname = '{USER}'") == []:
        server.query(ROLES)
        if server.version == "18":
            server.query("alter role postgres set transaction_timeout = 0")


@dataclass
class Report:
    """What a campaign has seen."""

    kills: int = 0
    weathers: Counter[str] = field(default_factory=Counter)
    scenes: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    words: Counter[tuple[str, ...]] = field(default_factory=Counter)
    stored: int = 0
    unknown_stored: int = 0
    healing: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    overrun: float = 0.0
    slowest: str = ""
    most: int = 0
    lag: float = 0.0
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """The report as text."""
        yield f"scenes            {len(self.scenes)}: {', '.join(self.scenes)}"
        yield f"kills             {self.kills}"
        for name, count in sorted(self.weathers.items()):
            yield f"                  {count:4d}  {name}"
        yield f"calls             {self.calls.total()}"
        for kind, count in sorted(self.calls.items()):
            yield f"                  {count:6d}  {kind}"
        yield f"ids               {self.outcomes.total()}, in the table {self.stored}"
        for outcome, count in self.outcomes.most_common():
            extra = f", of which {self.unknown_stored} were committed" if outcome == "UNKNOWN" else ""
            yield f"                  {count:6d}  {outcome}{extra}"
        yield "contradictions    0: every scene's table agrees with every label"
        yield "errors"
        for error, count in self.errors.most_common(25):
            yield f"                  {count:6d}  {error}"
        yield f"healing           {percentiles(self.healing)} until the first call succeeds"
        yield f"                  {percentiles(self.served)} until every client was served"
        yield f"latest            {self.overrun:+.2f} s after its deadline ({self.slowest or 'none late'})"
        yield f"connections       {self.most} at most, of {MAX_SIZE}"
        yield f"time              {self.seconds:.0f} s; the machine was {self.lag:.2f} s late at its worst"


def percentiles(values: Sequence[float]) -> str:
    """The middle, the 99th percentile and the worst, in seconds."""
    if len(values) < 2:
        return f"{max(values, default=0):.2f} s"
    return (
        f"p50 {statistics.median(values):.2f} s, p99 {statistics.quantiles(values, n=100)[98]:.2f} s,"
        f" max {max(values):.2f} s"
    )


class Watch:
    """Counts the clients' connections on the server, over a connection of its own; a context manager.

    A backend that was killed stays in pg_stat_activity until the postmaster has noticed, so where there seem
    to be more than may be, those count that run.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.most = 0
        self.looks = 0
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def _run(self) -> None:
        sql = f"select pid from pg_stat_activity where usename = '{USER}'"
        while not self._stop.wait(0.02):
            with contextlib.suppress(Error), pgproto_blocking.connect(self._server.dsn(), timeout=1) as conn:
                while not self._stop.wait(0.02):
                    pids = [row[0] for row in conn.fetch(sql, timeout=1)]
                    if len(pids) > self.most:
                        self.most = max(self.most, len(running(pids)))
                    self.looks += 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(20)


class Scenes:
    """Plays scenes, and adds up what they show.

    Args:
        clients: how many callers there are at a time.
        seed: of everything that is random.
    """

    def __init__(self, *, clients: int = 32, seed: int = 0) -> None:
        self.report = Report()
        self._clients = clients
        self._dice = random.Random(seed)
        self._tables = 0

    def kills(self, driver: Driver, server: PostgresServer, count: int) -> None:
        """The server is killed so often."""
        ways = kills(server, USER, self._dice)
        weathers = [ways[number % len(ways)] for number in range(count)]
        self.play(f"{driver} {server.version} kills", driver, lambda: server, server.dsn(user=USER), weathers)

    def on_a_server(self, driver: Driver, server: PostgresServer, part: slice = ALL) -> None:
        """Everything that can happen to a server besides, or a part of it."""
        weathers = on_a_server(server, USER)[part]
        self.play(f"{driver} {server.version}", driver, lambda: server, server.dsn(user=USER), weathers)

    def behind_pgbouncer(
        self, driver: Driver, server: PostgresServer, pool_mode: PoolMode, part: slice = ALL
    ) -> None:
        """The server and its pooler in turn."""
        with PgBouncer(server, pool_mode) as bouncer:
            # This pgbouncer knows no prepared statements, so in transaction mode none may have a name.
            dsn = bouncer.dsn(
                user="postgres",
                statement_mode="cache_statement" if pool_mode == "session" else "cache_describe",
            )
            weathers = behind_pgbouncer(server, bouncer)[part]
            name = f"{driver} {server.version} pgbouncer {pool_mode}"
            self.play(name, driver, lambda: server, dsn, weathers, watch=False)

    def kills_behind_pgbouncer(
        self, driver: Driver, server: PostgresServer, version: pgbouncer.Version, named: bool, count: int
    ) -> None:
        """The server or its pooler is killed so often, while several callers share connections.

        In transaction mode, with fewer servers than clients, so that the servers change hands all the time.
        """
        # A small buffer, so that more of a client is cut off in the middle when a server changes hands.
        settings = {"default_pool_size": str(POOLED), "pkt_buf": "512"}
        with PgBouncer(server, "transaction", version=version, settings=settings) as bouncer:
            dsn = bouncer.dsn(user=USER, statement_mode="cache_statement" if named else "cache_describe")
            pooler = Weather("pgbouncer SIGKILL", bouncer.kill, bouncer.start, kill=True)
            ways = (*kills(server, USER, self._dice), pooler)
            first = self._tables  # another way to begin with in each scene
            weathers = [ways[(first + number) % len(ways)] for number in range(count)]
            name = f"{driver} {server.version} pgbouncer {version} {'' if named else 'un'}named kills"
            before = self.report.errors.copy()
            size = server.log.stat().st_size
            self.play(name, driver, lambda: server, dsn, weathers, watch=False, shared=SHARED)
            with server.log.open("rb") as log:
                log.seek(size)
                mixed = [line for line in log if any(text in line for text in MIXED)]
            assert not mixed, f"the server got what no client has sent: {mixed[:3]}"
            lost = [error for error in self.report.errors - before if "26000" in error]
            assert named or not lost, f"a statement went to one server and its values to another: {lost}"

    def network(self, driver: Driver, server: PostgresServer) -> None:
        """The network is silent for longer than anybody waits."""
        with Proxy((server.host, server.port)) as proxy:
            weathers = network(proxy, lasts=2.0)
            name = f"{driver} {server.version} network"
            dsn = server.dsn(user=USER, port=proxy.port)
            # A connection that was given up is still known to the server, so they can't be counted there.
            self.play(name, driver, lambda: server, dsn, weathers, watch=False, timeout=0.5, patience=1.0)

    def failover(self, driver: Driver, version: Version) -> None:
        """The primary goes, the standby takes its place, and back again."""
        with Pair(version, SETTINGS) as pair:
            prepare(pair.primary)
            pair.add_standby()
            self.play(
                f"{driver} {version} failover",
                driver,
                lambda: pair.primary,
                pair.dsn(USER),
                pair.weathers(),
                watch=False,
                timeout=1.0,
                after=pair.restore,
            )

    def play(
        self,
        name: str,
        driver: Driver,
        server: Callable[[], PostgresServer],
        dsn: str,
        weathers: Sequence[Weather],
        *,
        watch: bool = True,
        after: Callable[[], object] = lambda: None,
        timeout: float = 3.0,
        patience: float = 6.0,
        shared: int = 0,
    ) -> None:
        """One scene.

        Args:
            name: for the report.
            driver: the adapter.
            server: the one that has the table now.
            dsn: where the clients connect to.
            weathers: what happens, one after the other.
            watch: hold the server's count of connections against the pool's maximum.
            after: what to do after each weather, before the next.
            timeout: seconds that a query may take.
            patience: seconds that a caller waits for a connection.
            shared: connections besides the pool's, which several callers use at once.
        """
        report = self.report
        started = time.monotonic()
        sockets, threads = open_sockets(), set(threading.enumerate())
        self._tables += 1
        ledger = Ledger(f"chaos_{self._tables}", timeout=timeout, patience=patience)
        server().query(CREATE.format(ledger.table) + f"; grant all on {ledger.table} to {USER}")
        healing: list[float] = []
        with contextlib.ExitStack() as stack:
            lag = stack.enter_context(Lag())
            counted = stack.enter_context(Watch(server())) if watch else None
            seed = self._dice.randrange(1 << 30)
            load = Load(
                driver, dsn, ledger, clients=self._clients, max_size=MAX_SIZE, shared=shared, seed=seed
            )
            with load:
                for number, weather in enumerate(weathers, 1):
                    # At a random moment of the load.
                    ledger.wait_for_load(self._dice.randrange(1, 4 * self._clients), SERVED)
                    seen = ledger.sqlstates[weather.until]  # before: callers may be faster than `begin`
                    weather.begin()
                    if weather.until:
                        ledger.wait_for(weather.until, seen, NOTICED)
                    threading.Event().wait(weather.lasts)
                    weather.end()
                    first, every = ledger.healing(self._clients, SERVED)
                    healing.append(first)
                    report.served.append(every)
                    report.weathers[weather.name] += 1
                    report.kills += weather.kill
                    if number < len(weathers):
                        after()
        self._settle(server(), ledger, lag.worst)
        assert counted is None or counted.most <= MAX_SIZE, f"{counted.most} connections on the server"
        gc.collect()
        assert open_sockets() <= sockets, f"{open_sockets() - sockets} sockets are left"
        wait_until(lambda: set(threading.enumerate()) <= threads, 5, "the end of all threads")
        slow = [seconds for seconds in healing if seconds >= HEALED + lag.worst]
        # One in twenty may meet a machine that is busy with something else.
        assert len(slow) <= 1 + len(healing) // 20, healing
        assert max(healing) < 3 * HEALED + lag.worst, healing
        report.lag = max(report.lag, lag.worst)
        report.scenes.append(name)
        report.healing += healing
        report.most = max(report.most, counted.most if counted else 0)
        report.seconds += time.monotonic() - started

    def _settle(self, server: PostgresServer, ledger: Ledger, lag: float) -> None:
        """Compare the ledger with the table, when nobody works on it any more."""
        # A pooler's sessions stay; an open transaction is neither idle nor over.
        busy = f"select count(*) from pg_stat_activity where state <> 'idle' and {OTHERS}"
        wait_until(lambda: server.query(busy) == [["0"]], 20, "the end of the clients' sessions")
        stored = [int(row[0]) for row in server.query(f"select id from {ledger.table}")]
        ledger.check(stored, lag)
        report = self.report
        report.unknown_stored += ledger.doubtful(stored)
        report.stored += len(stored)
        report.calls += ledger.calls
        report.outcomes += ledger.tally()
        report.errors += ledger.errors
        report.words += ledger.words
        if ledger.overrun > report.overrun:
            report.overrun, report.slowest = ledger.overrun, ledger.slowest
        server.query(f"drop table {ledger.table}")
