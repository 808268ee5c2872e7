"""A real pgbouncer in front of a `PostgresServer`, in session, transaction or statement mode.

It is stopped and killed by its own process id, keeps its port over restarts, and trusts every user of
`USERS`; the admin console is the database `pgbouncer`.  Its time limits are set so low that a test
sees in tenths of a second what takes production fifteen seconds.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pgproto_pytest.process import Daemon, DaemonError, free_port, give, log_tail, owned_directory
from pgproto_pytest.server import make_dsn
from tests.support import pgbouncer_build
from tests.support.postgres import PASSWORD, PostgresServer

PoolMode = Literal["session", "transaction", "statement"]
Version = Literal["", "1.18", "1.24"]

USERS = ("postgres", "scram_user", "md5_user", "password_user", "chaos")
SETTINGS: dict[str, str] = {
    "listen_addr": "127.0.0.1",
    "auth_type": "trust",
    "admin_users": "postgres",
    "max_client_conn": "500",
    "default_pool_size": "50",
    # After a failed login pgbouncer answers everybody with that failure for so long (default 15 s).
    "server_login_retry": "0.1",
    "server_check_delay": "0",
    "ignore_startup_parameters": "extra_float_digits",
    "log_connections": "0",
    "log_disconnections": "0",
}


def binary(version: Version = "") -> Path | None:
    """The pgbouncer binary, or None.

    Args:
        version: "1.24" for the one that `pgbouncer_build` has built, else the installed one (the environment
            variable PGPROTO_PGBOUNCER names another), which must be 1.18 if that is asked for.
    """
    if version == "1.24":
        return pgbouncer_build.built()
    named = os.environ.get("PGPROTO_PGBOUNCER") or shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(named).exists() or not _version_of(named).startswith(version):
        return None
    return Path(named)


@functools.cache
def _version_of(program: str) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return said.split()[1] if len(said.split()) > 1 else ""


def missing(version: Version = "") -> str | None:
    """Why pgbouncer can't be started here; None if it can."""
    if binary(version):
        return None
    if version == "1.24":
        return "pgbouncer 1.24 was not built (python -m tests.support.pgbouncer_build)"
    return f"pgbouncer {version} is not installed (apt-get install pgbouncer)"


class PgBouncer:
    """One pgbouncer; a context manager that starts it and, at the end, removes everything of it.

    Args:
        server: where it connects to, over TCP; its databases are passed through by name.
        pool_mode: "session", "transaction" or "statement".
        version: "1.18", "1.24", or "" for the installed one.
        settings: more lines for the section [pgbouncer], replacing those of `SETTINGS`.
    """

    def __init__(
        self,
        server: PostgresServer,
        pool_mode: PoolMode = "transaction",
        *,
        version: Version = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.server = server
        self.version: Version = version
        self.pool_mode: PoolMode = pool_mode
        self.host = "127.0.0.1"
        self.port = 0
        self.directory = owned_directory("pgproto-bouncer-")
        self.log = self.directory / "pgbouncer.log"
        self._settings = SETTINGS | {"pool_mode": pool_mode} | dict(settings or {})
        self._daemon: Daemon | None = None
        self._removed = False
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        """True while the process runs."""
        return self._daemon is not None and self._daemon.running

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._daemon is not None, "not started"
        return self._daemon.pid

    def start(self, timeout: float = 30.0) -> None:
        """Start it, and return when it accepts connections; nothing to do if it runs."""
        if self.running:
            return
        program = binary(self.version)
        if program is None:
            raise DaemonError(str(missing(self.version)))
        if self.version == "1.24":
            # The process may be another user's, who cannot read the cache.
            program = Path(shutil.copy(program, self.directory))
            give(program, 0o700)
        for attempt in range(5):
            port = self.port or free_port()
            self._daemon = Daemon([program, self._write(port)], cwd=self.directory, log=self.log)
            try:
                self._daemon.wait_ready(functools.partial(self._accepts, port), timeout)
            except DaemonError:
                self._daemon.end(signal.SIGTERM, 10)
                if self.port or attempt == 4:
                    raise
            else:
                self.port = port
                return

    def _accepts(self, port: int) -> bool:
        """It opens the unix socket last, so that both have to answer."""
        try:
            socket.create_connection((self.host, port), 1).close()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.directory / f".s.PGSQL.{port}"))
        except OSError:
            return False
        return True

    def _write(self, port: int) -> Path:
        users = self.directory / "users.txt"
        users.write_text("".join(f'"{user}" "{PASSWORD}"\n' for user in USERS))
        files = {"listen_port": str(port), "unix_socket_dir": str(self.directory), "auth_file": str(users)}
        ini = self.directory / "pgbouncer.ini"
        ini.write_text(
            f"[databases]\n* = host={self.server.host} port={self.server.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in (files | self._settings).items())
        )
        give(users, 0o600)
        give(ini, 0o600)
        return ini

    def stop(self, timeout: float = 20.0) -> None:
        """Immediate shutdown (SIGTERM): its clients see the connection end."""
        if self._daemon is not None:
            self._daemon.end(signal.SIGTERM, timeout)

    def restart(self) -> None:
        """Stop, then start on the same port."""
        self.stop()
        self.start()

    def kill(self, timeout: float = 20.0) -> None:
        """SIGKILL: its clients see the connection end without a word."""
        if self._daemon is not None:
            self._daemon.end(signal.SIGKILL, timeout)

    def close(self) -> None:
        """Stop it and remove its directory; idempotent."""
        if self._removed:
            return
        self._removed = True
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def dsn(self, **overrides: str | int | None) -> str:
        """A connection URL through the pooler, as `PostgresServer.dsn`."""
        mine: dict[str, str | int | None] = {"host": self.host, "port": self.port, "sslmode": "disable"}
        return make_dsn({"user": "postgres", "dbname": "postgres", **mine, **overrides})

    def admin_dsn(self) -> str:
        """A connection URL to the admin console (it speaks the simple query protocol only)."""
        return self.dsn(dbname="pgbouncer")

    def admin(self, command: str) -> list[list[str]]:
        """Run one command of the admin console through psql: the rows as text."""
        return self.server.psql(command, host=str(self.directory), port=self.port, dbname="pgbouncer")

    def query(self, sql: str, *, dbname: str = "postgres") -> list[list[str]]:
        """Run SQL through the pooler with psql: the rows as text."""
        return self.server.psql(sql, host=str(self.directory), port=self.port, dbname=dbname)

    def log_text(self) -> str:
        """The end of its log."""
        return log_tail(self.log)


class PgBouncerFactory:
    """Starts pgbouncers and closes all of them at the end (the fixture `pgbouncer_factory`)."""

    def __init__(self) -> None:
        self._started: list[PgBouncer] = []

    def __call__(
        self,
        server: PostgresServer,
        pool_mode: PoolMode = "transaction",
        *,
        version: Version = "",
        settings: Mapping[str, str] | None = None,
    ) -> PgBouncer:
        """A started pgbouncer; the arguments are those of `PgBouncer`."""
        bouncer = PgBouncer(server, pool_mode, version=version, settings=settings)
        self._started.append(bouncer)
        bouncer.start()
        return bouncer

    def close(self) -> None:
        """Close every pgbouncer it started."""
        for bouncer in self._started:
            bouncer.close()
