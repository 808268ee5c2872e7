"""A primary and its standby, with synchronous replication, which swap roles under load.

What was acknowledged is on the standby (manual: "Synchronous Replication"), so it must be in the table of
whoever is the primary at the end, no matter how the other one went.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from pgproto_pytest.process import wait_until
from tests.chaos.weather import Weather
from tests.support.postgres import PostgresServer, Version

__all__ = ["Pair"]


class Pair:
    """Two servers; a context manager that starts and removes them.

    Attributes:
        primary: the one that is being written to.
        standby: the one that follows.
    """

    def __init__(self, version: Version, settings: Mapping[str, str]) -> None:
        self.primary = PostgresServer(version, tls=False, settings=settings)
        self.standby = self.primary
        self._version: Version = version
        self._made = [self.primary]
        self._ports: tuple[int, int] = (0, 0)

    def __enter__(self) -> Pair:
        self.primary.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._made:
            server.close()

    def add_standby(self, port: int = 0) -> None:
        """Copy the primary; when the copy follows, commits begin to wait for it."""
        standby = PostgresServer(self._version, standby_of=self.primary)
        self._made.append(standby)
        standby.port = port
        standby.start()
        self.standby = standby
        self._follow(self.primary)
        if not port:
            self._ports = (self.primary.port, standby.port)

    def _follow(self, primary: PostgresServer) -> None:
        primary.query("alter system set synchronous_standby_names = '*'")
        primary.query("select pg_reload_conf()")
        sql = "select count(*) from pg_stat_replication where sync_state = 'sync'"
        wait_until(lambda: primary.query(sql) == [["1"]], 20, "the standby follows")

    def dsn(self, user: str) -> str:
        """A connection URL with both of them; whoever can be written to is meant."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"postgresql://{user}@{hosts}/postgres?sslmode=disable&target_session_attrs=read-write"

    def _promote(self) -> None:
        """The standby becomes the primary."""
        self.primary, self.standby = self.standby, self.primary
        self.primary.query("select pg_promote()")

    def restore(self) -> None:
        """Who lost its role comes back as the standby, in its old place."""
        if not self.standby.running:
            port = self.standby.port
            self.standby.close()
            self.add_standby(port)

    def weathers(self) -> tuple[Weather, ...]:
        """The ways in which the roles change, and the standby's absence.  Restore the pair after each."""

        return (
            Weather("primary killed, standby promoted", lambda: self.primary.kill(), self._promote),
            Weather("primary shut down, standby promoted", lambda: self.primary.stop("fast"), self._promote),
            # Commits wait for the standby, for longer than their callers do; they are there all the same.
            Weather("standby away", lambda: self.standby.stop("immediate"), self._return, lasts=1.5),
        )

    def _return(self) -> None:
        self.standby.start()
        self._follow(self.primary)
