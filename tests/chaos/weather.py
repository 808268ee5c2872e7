"""What happens to servers, poolers and networks under load, and how it ends.

A weather begins, lasts, and ends.  It lasts until the clients have noticed (an SQLSTATE that somebody has to
be told), or for a time.  `end` returns when the server is back: from then on the healing is measured.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

import pgproto_blocking
from pgproto import ConnectError
from pgproto_pytest.process import DaemonError, wait_until
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.proxy import Proxy

__all__ = ["Weather", "behind_pgbouncer", "kills", "network", "on_a_server"]

NOTICED = 10.0
CROWD = "crowd"
"""The role of those who take all the connections."""


@dataclass(frozen=True)
class Weather:
    """One thing that can happen.

    Attributes:
        name: for the report.
        begin: makes it happen.
        end: undoes it, and returns when the server is back.
        until: the SQLSTATE that a caller sees because of it; "" if there is none.
        lasts: seconds that it lasts, where nobody is told anything.
        kill: the server is killed by it (SIGKILL).
    """

    name: str
    begin: Callable[[], object]
    end: Callable[[], object]
    until: str = ""
    lasts: float = 0.0
    kill: bool = False


def answers(server: PostgresServer) -> bool:
    """True if the server can be logged in to."""
    try:
        return server.query("select 1") == [["1"]]
    except DaemonError:
        return False


def back(server: PostgresServer) -> None:
    """Wait until the server has recovered from a crash."""
    wait_until(lambda: answers(server), 30, "recovery from the crash")


def kill_backend(server: PostgresServer, user: str, dice: random.Random) -> None:
    """SIGKILL for one of the clients' backends: the postmaster ends all others, and recovers."""
    rows = server.query(f"select pid from pg_stat_activity where usename = '{user}' order by state, pid")
    size = server.log.stat().st_size
    os.kill(int(dice.choice(rows)[0]), signal.SIGKILL)

    def noticed() -> bool:
        with server.log.open("rb") as log:
            log.seek(size)
            return b"reinitializing" in log.read()

    wait_until(noticed, NOTICED, "the postmaster notices")


def kills(server: PostgresServer, user: str, dice: random.Random) -> tuple[Weather, ...]:
    """The two ways to kill a server."""
    return (
        Weather(
            "SIGKILL backend",
            functools.partial(kill_backend, server, user, dice),
            functools.partial(back, server),
            kill=True,
        ),
        Weather("SIGKILL postmaster", server.kill, server.start, kill=True),
    )


def _set(server: PostgresServer, **settings: str | None) -> None:
    """Change settings of running and future sessions, through the configuration file."""

    def done(sql: str) -> bool:
        """The limits hold for everybody's login, so it may take more than one."""
        try:
            server.query(sql)
        except DaemonError:
            return False
        return True

    for name, value in settings.items():
        sql = f"alter system reset {name}" if value is None else f"alter system set {name} = '{value}'"
        wait_until(functools.partial(done, sql), NOTICED, sql)
    wait_until(functools.partial(done, "select pg_reload_conf()"), NOTICED, "the settings are read")


def terminate(server: PostgresServer, user: str) -> None:
    """pg_terminate_backend for every session of the clients."""
    server.query(f"select pg_terminate_backend(pid) from pg_stat_activity where usename = '{user}'")


class Crowd:
    """Somebody else who takes every connection that the server has."""

    def __init__(self, server: PostgresServer, user: str) -> None:
        self._server = server
        self._user = user
        self._stack = contextlib.ExitStack()

    def come(self) -> None:
        """Take all connections, the clients' too."""
        mine = self._server.dsn(user=CROWD)
        theirs = f"select count(*) from pg_stat_activity where usename = '{self._user}'"
        for _ in range(50):
            with contextlib.suppress(ConnectError):
                while True:
                    self._stack.enter_context(pgproto_blocking.connect(mine))
            if self._server.query(theirs) == [["0"]]:
                return
            terminate(self._server, self._user)
        raise DaemonError("the clients hold on to their connections")

    def go(self) -> None:
        """Give them back."""
        self._stack.close()


def on_a_server(server: PostgresServer, user: str) -> tuple[Weather, ...]:
    """What happens to a server without killing it."""
    settings = functools.partial(_set, server)
    crowd = Crowd(server, user)

    def limit(name: str, value: str, sqlstate: str) -> Weather:
        return Weather(
            name,
            functools.partial(settings, **{name: value}),
            functools.partial(settings, **{name: None}),
            until=sqlstate,
        )

    weathers = [
        Weather(
            "pg_terminate_backend",
            functools.partial(terminate, server, user),
            lambda: None,
            until="57P01",
        ),
        Weather("fast restart", functools.partial(server.stop, "fast"), server.start),
        Weather("immediate restart", functools.partial(server.stop, "immediate"), server.start),
        Weather("max_connections exhausted", crowd.come, crowd.go, lasts=0.5),
        limit("statement_timeout", "2ms", "57014"),
        limit("idle_in_transaction_session_timeout", "1ms", "25P03"),
        limit("idle_session_timeout", "1ms", "57P05"),
        limit("default_transaction_read_only", "on", "25006"),
    ]
    if server.version == "18":
        weathers.append(limit("transaction_timeout", "4ms", "25P04"))
    return tuple(weathers)


def behind_pgbouncer(server: PostgresServer, bouncer: PgBouncer) -> tuple[Weather, ...]:
    """What happens to a pooler, and to the server behind it."""
    admin = bouncer.admin

    def resume() -> None:
        admin("RESUME postgres")

    fast, immediate = functools.partial(server.stop, "fast"), functools.partial(server.stop, "immediate")
    weathers = [
        Weather("fast restart behind pgbouncer", fast, server.start),
        Weather("immediate restart behind pgbouncer", immediate, server.start),
        Weather("pgbouncer SIGKILL", bouncer.kill, bouncer.start),
        Weather("pgbouncer stopped", bouncer.stop, bouncer.start),
        Weather("pgbouncer RECONNECT", lambda: admin("RECONNECT postgres"), lambda: None),
        Weather("pgbouncer KILL and RESUME", lambda: admin("KILL postgres"), resume, lasts=0.3),
    ]
    if bouncer.pool_mode == "transaction":  # in session mode it would wait for the end of all sessions
        pause = Weather("pgbouncer PAUSE and RESUME", lambda: admin("PAUSE postgres"), resume, lasts=0.3)
        weathers.append(pause)
    return tuple(weathers)


def network(proxy: Proxy, lasts: float) -> tuple[Weather, ...]:
    """What happens to the network: silence that outlasts the callers' time, resets, refusals."""

    def refuse() -> None:
        proxy.refuse()
        proxy.close_connections()

    return (
        Weather("black hole", proxy.black_hole, proxy.heal, lasts=lasts),
        Weather("resets", proxy.reset, lambda: None),
        Weather("refused connections", refuse, proxy.heal, lasts=0.3),
        Weather("short silence", proxy.black_hole, proxy.heal, lasts=0.1),
    )
